/* SPDX-License-Identifier: GPL-2.0-only */
/* dns.c - name resolution: c-ares with its sockets polled by the loop. */
#include "net/dns.h"

#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>

#include "base/list.h"
#include "base/mem.h"

#define TAG_DNS	    TAG('d', 'n', 's', ' ')
#define QUERIES_MAX 1024
#define ADDRS_MAX   64
#define TRY_MS	    5000
#define TRIES	    2
#define NS_PER_MS   1000000ULL

/* A socket of c-ares.  It lives until its last poll has ended, which may be after c-ares has closed it. */
struct dns_socket {
	struct list node;
	struct dns *dns;   /* borrowed: counted there */
	ares_socket_t fd;  /* c-ares' own; ARES_SOCKET_BAD once it is closed */
	unsigned events;   /* wanted; 0: none */
	unsigned polled;   /* of the poll in flight; 0: none */
	struct op op;
};

struct dns {
	uint32_t tag;
	bool is_freed; /* the memory waits for the polls in flight */
	struct loop *loop; /* borrowed */
	ares_channel channel;

	struct list sockets, queries;
	unsigned query_count;
	struct timer timer; /* the nearest time-out of c-ares */
	struct task task;   /* starts queries and delivers what ended at once: no callback from inside dns_resolve() */
};

struct dns_query {
	struct list node;
	struct dns *dns; /* borrowed */
	char *name;	 /* owned */
	uint16_t port;
	bool is_started, is_cancelled;
	void (*on_done)(void *ctx, const struct dns_result *r);
	void *ctx;
};

static void sockets_poll(struct dns *d);

static void dns_release(struct dns *d)
{
	if (list_is_empty(&d->sockets))
		free(d);
}

static void query_free(struct dns_query *q)
{
	list_remove(&q->node);
	q->dns->query_count--;
	free(q->name);
	free(q);
}

static void timer_update(struct dns *d)
{
	struct timeval tv, *next = ares_timeout(d->channel, NULL, &tv);

	if (next)
		timer_arm(d->loop, &d->timer, (uint64_t)next->tv_sec * 1000 + (uint64_t)next->tv_usec / 1000 + 1);
	else
		timer_disarm(d->loop, &d->timer);
}

/* After c-ares has run: its sockets and its next time-out may have changed. */
static void dns_update(struct dns *d)
{
	sockets_poll(d);
	timer_update(d);
}

static void poll_done(struct op *op, int res, unsigned flags)
{
	struct dns_socket *s = container_of(op, struct dns_socket, op);
	struct dns *d = s->dns;
	unsigned got = res > 0 ? (unsigned)res : 0;

	(void)flags;
	s->polled = 0;
	if (s->fd == ARES_SOCKET_BAD) {
		list_remove(&s->node);
		free(s);
		if (d->is_freed)
			dns_release(d);
		return;
	}
	if (got & (POLLERR | POLLHUP))
		got |= s->events; /* reading or writing tells c-ares what is wrong */
	ares_process_fd(d->channel, got & POLLIN ? s->fd : ARES_SOCKET_BAD,
			got & POLLOUT ? s->fd : ARES_SOCKET_BAD);
	dns_update(d);
}

static void sockets_poll(struct dns *d)
{
	struct list *at, *tmp;

	list_for_each_safe(at, tmp, &d->sockets) {
		struct dns_socket *s = list_entry(at, struct dns_socket, node);

		if (s->polled)
			continue; /* a changed wish is seen when this one ends, or was cancelled for it */
		if (s->fd == ARES_SOCKET_BAD) {
			list_remove(&s->node);
			free(s);
		} else if (s->events) {
			s->polled = s->events;
			loop_poll(d->loop, &s->op, s->fd, s->events);
		}
	}
}

/* Called by c-ares, from inside of any of its functions: only notes the wish. */
static void socket_state(void *ctx, ares_socket_t fd, int readable, int writable)
{
	struct dns *d = ctx;
	struct dns_socket *s = NULL;
	struct list *at;

	list_for_each(at, &d->sockets) {
		struct dns_socket *other = list_entry(at, struct dns_socket, node);

		if (other->fd == fd)
			s = other;
	}
	if (!s) {
		if (!readable && !writable)
			return;
		s = mem_zalloc(sizeof(*s));
		s->dns = d;
		s->fd = fd;
		s->op.on_done = poll_done;
		list_append(&d->sockets, &s->node);
	}
	s->events = (readable ? POLLIN : 0) | (writable ? POLLOUT : 0);
	if (s->polled && s->polled != s->events)
		loop_cancel(d->loop, &s->op);
	/* Neither: c-ares closes the descriptor right after this. */
	if (!s->events)
		s->fd = ARES_SOCKET_BAD;
}

static void time_out(struct timer *t)
{
	struct dns *d = container_of(t, struct dns, timer);

	ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	dns_update(d);
}

static int status_errno(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return 0;
	case ARES_ENOTFOUND:
	case ARES_ENODATA:
	case ARES_ENONAME:
		return -ENOENT;
	case ARES_ETIMEOUT:
		return -ETIMEDOUT;
	case ARES_ECONNREFUSED:
		return -ECONNREFUSED;
	case ARES_EREFUSED:
		return -EACCES;
	case ARES_ENOMEM:
		return -ENOMEM;
	case ARES_EBADNAME:
	case ARES_EBADQUERY:
	case ARES_EFORMERR:
		return -EINVAL;
	default:
		return -EIO; /* a server that fails or answers nonsense */
	}
}

static bool addr_from_node(const struct ares_addrinfo_node *node, uint16_t port, struct addr *out_addr)
{
	if (node->ai_family != AF_INET && node->ai_family != AF_INET6)
		return false;
	*out_addr = (struct addr){ .len = node->ai_addrlen };
	if (node->ai_addrlen > sizeof(out_addr->in6))
		return false;
	memcpy(&out_addr->sa, node->ai_addr, node->ai_addrlen);
	addr_set_port(out_addr, port);
	return true;
}

static bool is_known(const struct addr *addrs, unsigned count, const struct addr *a)
{
	for (unsigned i = 0; i < count; i++)
		if (addr_eq(&addrs[i], a))
			return true;
	return false;
}

static void query_done(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct dns_query *q = arg;
	struct addr addrs[ADDRS_MAX];
	struct dns_result result = { .status = status_errno(status), .addrs = addrs };
	unsigned ttl = UINT32_MAX;

	(void)timeouts;
	for (struct ares_addrinfo_node *n = info ? info->nodes : NULL; n && result.count < ADDRS_MAX; n = n->ai_next) {
		if (!addr_from_node(n, q->port, &addrs[result.count]) ||
		    is_known(addrs, result.count, &addrs[result.count]))
			continue;
		result.count++;
		ttl = MIN(ttl, n->ai_ttl > 0 ? (unsigned)n->ai_ttl : 0);
	}
	if (info)
		ares_freeaddrinfo(info);
	result.ttl_secs = result.count ? ttl : 0;
	if (!result.status && !result.count)
		result.status = -ENOENT;
	if (result.status)
		result.reason = ares_strerror(status ? status : ARES_ENODATA);
	if (!q->is_cancelled)
		q->on_done(q->ctx, &result);
	query_free(q);
}

/* c-ares 1.18 asks its servers for an IPv4 address when both families are wanted: answered here. */
static bool answer_literal(struct dns_query *q)
{
	struct addr a;
	struct dns_result result = { .addrs = &a, .count = 1 };

	if (addr_parse_ip(span_str(q->name), &a) != 0)
		return false;
	addr_set_port(&a, q->port);
	q->on_done(q->ctx, &result);
	query_free(q);
	return true;
}

static void task_run(struct task *t)
{
	struct dns *d = container_of(t, struct dns, task);
	const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct list starting, *n;

	/* A query may end inside ares_getaddrinfo(), and its owner may start another. */
	list_init(&starting);
	list_splice(&starting, &d->queries);
	while ((n = list_pop(&starting))) {
		struct dns_query *q = list_entry(n, struct dns_query, node);

		list_append(&d->queries, n);
		if (q->is_started || answer_literal(q))
			continue;
		q->is_started = true;
		ares_getaddrinfo(d->channel, q->name, NULL, &hints, query_done, q);
	}
	dns_update(d);
}

int dns_new(struct dns **out_dns, struct loop *l)
{
	struct dns *d = mem_zalloc(sizeof(*d));
	struct ares_options options = {
		.timeout = TRY_MS,
		.tries = TRIES,
		.sock_state_cb = socket_state,
		.sock_state_cb_data = d,
	};
	int status = ares_library_init(ARES_LIB_INIT_ALL);

	if (!status)
		status = ares_init_options(&d->channel, &options,
					   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
	if (status) {
		free(d);
		return status == ARES_EFILE ? -ENOENT : status_errno(status);
	}
	d->tag = TAG_DNS;
	d->loop = l;
	list_init(&d->sockets);
	list_init(&d->queries);
	timer_init(&d->timer, time_out);
	d->task.run = task_run;
	*out_dns = d;
	return 0;
}

void dns_free(struct dns *d)
{
	struct list *at, *tmp;

	if (!d)
		return;
	OBJ_CHECK(d, TAG_DNS);
	d->tag = 0;
	timer_disarm(d->loop, &d->timer);
	loop_undefer(d->loop, &d->task);
	list_for_each(at, &d->queries)
		list_entry(at, struct dns_query, node)->is_cancelled = true;
	ares_destroy(d->channel); /* ends what was started: query_done() frees it */
	ares_library_cleanup();
	list_for_each_safe(at, tmp, &d->queries)
		query_free(list_entry(at, struct dns_query, node));
	sockets_poll(d); /* every descriptor is closed: frees those without a poll */
	d->is_freed = true;
	dns_release(d);
}

struct dns_query *dns_resolve(struct dns *d, const char *name, uint16_t port,
			      void (*on_done)(void *ctx, const struct dns_result *r), void *ctx)
{
	struct dns_query *q;

	OBJ_CHECK(d, TAG_DNS);
	if (d->query_count == QUERIES_MAX)
		return NULL;
	q = mem_zalloc(sizeof(*q));
	q->dns = d;
	q->name = mem_strdup(name);
	q->port = port;
	q->on_done = on_done;
	q->ctx = ctx;
	list_append(&d->queries, &q->node);
	d->query_count++;
	loop_defer(d->loop, &d->task);
	return q;
}

void dns_cancel(struct dns_query *q)
{
	/* c-ares cannot end one query: it goes on, unheard, and is freed when it ends. */
	if (q->is_started)
		q->is_cancelled = true;
	else
		query_free(q);
}
