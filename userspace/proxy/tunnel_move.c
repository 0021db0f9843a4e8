/* SPDX-License-Identifier: GPL-2.0-only */
/* tunnel_move.c - tunnels that go on in another process, and those that come from one. */
#include "proxy/tunnel_move.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/socket.h"
#include "proxy/client_limits.h"
#include "proxy/tunnel_private.h"

#define LOOK_MS 20
#define AS_THEY_ARE_MS 1000 /* that a slow receiver may take to have what is read */

/* ---- packing ---- */

static void text_set(char *to, size_t size, struct span s)
{
	size_t len = MIN(s.len, size - 1);

	if (len)
		memcpy(to, s.ptr, len);
	to[len] = '\0';
}

#define TEXT_SET(field, s) text_set(field, sizeof(field), s)

static void parcel_log_facts(struct tunnel_parcel *p, const struct exchange *x)
{
	const struct message *m = x->request;

	p->status = x->response.status;
	p->attempts = x->attempts;
	p->version = m->version;
	p->is_raw = m->is_raw;
	p->was_reused = x->was_reused;
	memcpy(p->country, x->country, sizeof(p->country));
	TEXT_SET(p->raw_protocol, x->raw_protocol);
	TEXT_SET(p->method, m->method_name);
	TEXT_SET(p->upgrade, m->upgrade);
	TEXT_SET(p->request_id, x->request_id);
	TEXT_SET(p->client_ip, x->client_ip);
	TEXT_SET(p->listener, span_str(x->listener_id));
	TEXT_SET(p->route, span_str(x->route_id ? x->route_id : ""));
	TEXT_SET(p->upstream, span_str(x->upstream_id ? x->upstream_id : ""));
	TEXT_SET(p->upstream_addr, x->upstream_addr);
	TEXT_SET(p->authority, x->authority);
	TEXT_SET(p->user_agent, headers_value(&m->headers, TOKEN_USER_AGENT));
	TEXT_SET(p->referer, headers_value(&m->headers, TOKEN_REFERER));
	TEXT_SET(p->path, x->raw_path);
	TEXT_SET(p->query, x->query);
}

static void parcel_pack(struct tunnel_parcel *p, const struct tunnel *t)
{
	struct loop *l = t->worker->loop;

	*p = (struct tunnel_parcel){
		.idle_limit_ms = t->idle_ms,
		.write_limit_ms = { t->record->tunnel_write_ms[CLIENT], t->record->tunnel_write_ms[ORIGIN] },
		.open_ns = loop_now_ns(l) - t->record->start_ns,
		.quiet_ms = loop_now_ms(l) > t->last_ms ? loop_now_ms(l) - t->last_ms : 0,
		.engine = t->engine,
		.joins = t->joins,
	};
	for (unsigned i = 0; i < SIDES; i++) {
		p->received[i] = t->flows[i].received;
		p->spliced[i] = t->transfers[i].bytes;
		p->kernel[i] = t->kernel_bytes[i];
	}
	p->peer = *stream_peer(http_stream_transport(t->streams[CLIENT]));
	parcel_log_facts(p, t->record);
}

#define TEXT_ENDS(field) (memchr(field, '\0', sizeof(field)) != NULL)

static bool addr_is_sound(const struct addr *a)
{
	return (a->sa.sa_family == AF_INET && a->len == sizeof(a->in)) ||
	       (a->sa.sa_family == AF_INET6 && a->len == sizeof(a->in6));
}

bool tunnel_parcel_is_sound(const struct tunnel_parcel *p)
{
	return addr_is_sound(&p->peer) && p->engine < SPLICE_ENGINE_COUNT && p->version <= HTTP_VERSION_2 &&
	       p->status < 1000 && p->is_raw <= 1 && p->was_reused <= 1 && p->is_in_kernel <= 1 &&
	       TEXT_ENDS(p->country) && TEXT_ENDS(p->raw_protocol) && TEXT_ENDS(p->method) && TEXT_ENDS(p->upgrade) &&
	       TEXT_ENDS(p->request_id) && TEXT_ENDS(p->client_ip) && TEXT_ENDS(p->listener) &&
	       TEXT_ENDS(p->route) && TEXT_ENDS(p->upstream) && TEXT_ENDS(p->upstream_addr) &&
	       TEXT_ENDS(p->authority) && TEXT_ENDS(p->user_agent) && TEXT_ENDS(p->referer) && TEXT_ENDS(p->path) &&
	       TEXT_ENDS(p->query);
}

/* ---- going ---- */

/* Stands for the pair of a tunnel that was copied: here nobody moves bytes until the answer comes. */
struct tunnel_moving {
	const struct offload_events *events; /* NULL: the kernel has it, and its pair is frozen */
	void *owner;
	struct tunnel *tunnel;
	int fd[SIDES]; /* borrowed */
	int abort_err; /* 0: nobody wants an end */
};

static struct tunnel_moving *moving_new(struct tunnel *t)
{
	struct tunnel_moving *what = mem_zalloc(sizeof(*what));

	what->tunnel = t;
	for (unsigned i = 0; i < SIDES; i++)
		what->fd[i] = stream_fd(http_stream_transport(t->streams[i]));
	return what;
}

static int mover_join(void *ctx, const int fd[2], const struct offload_events *ev, void *owner,
		      struct offload_pair **out_pair)
{
	struct tunnel_mover *m = ctx;
	struct tunnel *t = ((struct offloaded *)owner)->owner;
	struct tunnel_parcel parcel;
	struct tunnel_moving *what;

	parcel_pack(&parcel, t);
	if (!tunnel_parcel_is_sound(&parcel))
		return -EINVAL; /* a client that is not an address: it stays */
	what = moving_new(t);
	what->events = ev;
	what->owner = owner;
	*out_pair = (struct offload_pair *)what;
	m->pass(m, &parcel, fd, SIDES, what);
	return 0;
}

static void mover_leave(struct offload_pair *p)
{
	(void)p; /* the answer is on its way */
}

static void mover_abort(struct offload_pair *p, int err)
{
	((struct tunnel_moving *)p)->abort_err = err;
}

static void mover_progress(const struct offload_pair *p, struct offload_progress *out)
{
	(void)p;
	*out = (struct offload_progress){ 0 };
}

/*
 * The descriptors' numbers go on, so that whatever closes or resets them does not reach the sockets.  By the bare
 * system call: the ring closes them later, which sanitizers that keep books of descriptors do not see.
 */
static void sockets_forget(const struct tunnel_moving *what)
{
	for (unsigned i = 0; i < SIDES; i++)
		CHECK(syscall(SYS_dup3, what->tunnel->worker->mover->nowhere, what->fd[i], O_CLOEXEC) == what->fd[i]);
}

/* As it was in the kernel, to there or on here. */
static void pair_moved(struct tunnel_moving *what, bool is_gone)
{
	struct tunnel *t = what->tunnel;

	if (is_gone) {
		sockets_forget(what);
		t->record->is_moved = true;
		t->place = TUNNEL_HERE;
		offloaded_release(&t->offloaded);
		tunnel_break(t, "moved");
		return;
	}
	t->is_refused = true;
	if (t->place == TUNNEL_MOVING) /* or somebody wants an end */
		t->place = TUNNEL_IN;
	offloaded_thaw(&t->offloaded);
}

static void copied_moved(struct tunnel_moving *what, bool is_gone)
{
	struct slice_queue held[SIDES] = { 0 };
	struct offload_report report = { .why = OFFLOAD_LEFT_ASKED };
	struct tunnel *t = what->tunnel;

	for (unsigned i = 0; i < SIDES; i++)
		report.sides[i].held = &held[i];
	if (is_gone) {
		sockets_forget(what);
		t->record->is_moved = true;
		what->events->on_fail(what->owner, -ECANCELED, &report);
	} else if (what->abort_err) {
		what->events->on_fail(what->owner, what->abort_err, &report);
	} else {
		t->is_refused = true;
		what->events->on_left(what->owner, &report);
	}
}

void tunnel_moved(struct tunnel_moving *what, bool is_gone)
{
	if (what->events)
		copied_moved(what, is_gone);
	else
		pair_moved(what, is_gone);
	free(what);
}

bool tunnel_move_as_it_is(struct tunnel *t)
{
	struct tunnel_mover *m = t->worker->mover;
	int err;

	if (!m->takes_pairs || loop_now_ms(t->worker->loop) >= m->pairs_until_ms)
		return false;
	err = offloaded_freeze(&t->offloaded);
	if (err == 0)
		t->place = TUNNEL_MOVING;
	return err == 0 || err == -EAGAIN;
}

void tunnel_frozen(struct offloaded *o, const struct offload_parcel *pair, const int *fds, unsigned fd_count)
{
	struct tunnel *t = o->owner;
	struct tunnel_moving *what = moving_new(t);
	int all[TUNNEL_FDS_MAX] = { what->fd[CLIENT], what->fd[ORIGIN] };
	struct tunnel_parcel parcel;

	CHECK(fd_count <= OFFLOAD_FDS_MAX);
	memcpy(all + SIDES, fds, fd_count * sizeof(*fds));
	parcel_pack(&parcel, t);
	parcel.is_in_kernel = true;
	parcel.pair = *pair;
	memcpy(parcel.kernel_seen, o->kernel_seen, sizeof(parcel.kernel_seen));
	if (tunnel_parcel_is_sound(&parcel))
		t->worker->mover->pass(t->worker->mover, &parcel, all, SIDES + fd_count, what);
	else
		tunnel_moved(what, false); /* a client that is not an address: it stays */
}

static void on_look(struct timer *timer)
{
	struct tunnel_mover *m = container_of(timer, struct tunnel_mover, timer);

	tunnels_look(m->worker);
	timer_arm(m->worker->loop, timer, LOOK_MS);
}

void tunnels_move(struct proxy_worker *w, struct tunnel_mover *m)
{
	struct list *pos;
	int ends[2];

	m->worker = w;
	m->hook = (struct offload_hook){
		.join = mover_join, .leave = mover_leave, .abort = mover_abort, .progress = mover_progress, .ctx = m,
	};
	timer_init(&m->timer, on_look);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return; /* tunnels end here */
	(void)close(ends[1]);
	m->nowhere = ends[0];
	w->mover = m;
	m->pairs_until_ms = loop_now_ms(w->loop) + AS_THEY_ARE_MS;
	list_for_each(pos, &w->tunnels)
	{
		struct tunnel *t = list_entry(pos, struct tunnel, node);

		/* What the kernel said does not count for the other process. */
		t->is_refused = false;
		t->join_at_ms = 0;
	}
	timer_arm(w->loop, &m->timer, 0);
}

void tunnel_mover_fini(struct tunnel_mover *m)
{
	timer_disarm(m->worker->loop, &m->timer);
	(void)close(m->nowhere);
}

/* ---- coming ---- */

/* Until the sessions have put their own there. */
static const struct stream_events no_events;

static struct span text_copy(struct arena *a, const char *text)
{
	return arena_span(a, span_str(text));
}

static struct message *request_make(struct arena *a, const struct tunnel_parcel *p)
{
	struct message *m = arena_zalloc(a, sizeof(*m));

	message_init(m, a);
	m->version = p->version;
	m->method_name = text_copy(a, p->method);
	m->method = method_of(m->method_name);
	m->upgrade = text_copy(a, p->upgrade);
	m->is_raw = p->is_raw;
	if (p->user_agent[0])
		headers_add(&m->headers, TOKEN_USER_AGENT, text_copy(a, p->user_agent));
	if (p->referer[0])
		headers_add(&m->headers, TOKEN_REFERER, text_copy(a, p->referer));
	return m;
}

static const struct route *route_find(const struct proxy_worker *w, const char *id)
{
	const struct snapshot *s = w->current->snapshot;

	for (unsigned i = 0; i < s->route_count; i++)
		if (strcmp(s->routes[i].id, id) == 0)
			return &s->routes[i];
	return NULL;
}

static const struct listener *listener_find(const struct proxy_worker *w, const char *id)
{
	const struct snapshot *s = w->current->snapshot;

	for (unsigned i = 0; i < s->listener_count; i++)
		if (strcmp(s->listeners[i].id, id) == 0)
			return &s->listeners[i];
	return NULL;
}

/* What is left of an exchange once it is a tunnel: its record for the log. */
static struct exchange *record_make(struct proxy_worker *w, const struct tunnel_parcel *p)
{
	struct arena *a = arena_cache_take(&w->host.arenas);
	struct exchange *x = arena_zalloc(a, sizeof(*x));
	uint64_t now = loop_now_ns(w->loop);

	x->tag = EXCHANGE_TAG;
	x->arena = a;
	x->worker = w;
	x->step = STEP_DONE;
	list_init(&x->node);
	x->request = request_make(a, p);
	message_init(&x->response, a);
	x->response.status = p->status;
	x->response.framing = BODY_TUNNEL;
	x->has_response = x->is_head_sent = true;
	x->raw_path = text_copy(a, p->path);
	x->query = text_copy(a, p->query);
	x->authority = text_copy(a, p->authority);
	x->peer = p->peer;
	x->client_ip = text_copy(a, p->client_ip);
	x->request_id = text_copy(a, p->request_id);
	memcpy(x->country, p->country, sizeof(x->country));
	x->start_ns = now > p->open_ns ? now - p->open_ns : 1;
	x->listener_id = arena_strdup(a, p->listener);
	x->route_id = arena_strdup(a, p->route);
	x->upstream_id = arena_strdup(a, p->upstream);
	x->upstream_addr = text_copy(a, p->upstream_addr);
	x->raw_protocol = text_copy(a, p->raw_protocol);
	x->tls_version = x->tls_cipher = "";
	x->tunnel_engine = (enum splice_engine)p->engine;
	x->tunnel_write_ms[CLIENT] = p->write_limit_ms[CLIENT];
	x->tunnel_write_ms[ORIGIN] = p->write_limit_ms[ORIGIN];
	x->attempts = p->attempts;
	x->was_reused = p->was_reused;
	atomic_fetch_add_explicit(&w->shared->requests_in_flight, 1, memory_order_relaxed);
	return x;
}

/* Bytes that were counted elsewhere are the log's, not our metrics'.  Before a byte moves here. */
static void counts_restore(struct tunnel *t, const struct tunnel_parcel *p)
{
	uint64_t now = t->last_ms, open_ms = p->open_ns / 1000000;

	for (unsigned i = 0; i < SIDES; i++) {
		t->flows[i].received += p->received[i];
		t->flows[i].credited += p->received[i];
		t->transfers[i].bytes += p->spliced[i];
		t->kernel_bytes[i] += p->kernel[i];
	}
	t->joins += p->joins;
	t->began_ms = now > open_ms ? now - open_ms : 1;
	t->last_ms = now > p->quiet_ms ? now - p->quiet_ms : 1;
	if (t->idle_ms)
		timer_arm(t->worker->loop, &t->idle_timer, t->idle_ms > p->quiet_ms ? t->idle_ms - p->quiet_ms : 0);
}

/* Both sockets, with the place of a connection. */
static void streams_open(struct proxy_worker *w, const struct tunnel_parcel *p, const int fd[2],
			 struct stream *out_streams[SIDES])
{
	atomic_fetch_add_explicit(&w->shared->connections, 1, memory_order_relaxed);
	metric_add(w->metrics, METRIC_OPEN_CONNECTIONS, 1);
	for (unsigned i = 0; i < SIDES; i++) {
		int flags = fcntl(fd[i], F_GETFL);

		(void)fcntl(fd[i], F_SETFL, flags & ~O_NONBLOCK); /* what moved its bytes there may have wanted it */
		out_streams[i] = stream_open(w->loop, fd[i], i == CLIENT ? &p->peer : NULL, &no_events, NULL);
	}
}

int tunnel_adopt(struct proxy_worker *w, const struct tunnel_parcel *p, const int fd[2], struct flows *flows)
{
	const struct listener *l = listener_find(w, p->listener);
	struct http_stream *client, *origin;
	struct stream *streams[SIDES];
	struct exchange *x;
	struct tunnel *t;

	if (server_is_full(&w->host)) {
		for (unsigned i = 0; i < SIDES; i++)
			socket_close_reset(fd[i]);
		return -ENOBUFS;
	}
	streams_open(w, p, fd, streams);
	client_limits_adopt(w, &p->peer);
	x = record_make(w, p);
	client_limits_enter_adopted(x, route_find(w, p->route));
	client = server_raw_adopt(&w->host, l ? l->number : 0, streams[CLIENT], p->write_limit_ms[CLIENT]);
	origin = client_raw_adopt(&w->adopted, streams[ORIGIN], p->write_limit_ms[ORIGIN]);
	t = tunnel_new(x, client, origin, p->idle_limit_ms);
	counts_restore(t, p);
	if (p->is_in_kernel) {
		tunnel_engine_adopt(t, p, flows);
		return 0;
	}
	tunnel_top_up(t, CLIENT);
	tunnel_top_up(t, ORIGIN);
	return 0;
}
