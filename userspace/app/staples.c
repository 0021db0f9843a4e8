/* SPDX-License-Identifier: GPL-2.0-only */
/* staples.c - OCSP answers: one fetch is resolve, connect, POST, judge, keep. */
#include "app/staples.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/state.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "http/uri.h"
#include "net/dns.h"
#include "observe/log.h"
#include "session/client.h"

struct staples {
	struct loop *loop;
	struct config_tls_registry *registry;
	struct metrics_shard *metrics;
	char *state, *folder; /* owned; the state directory and `ocsp` in it; NULL: nothing is kept */
	struct dns *dns;
	struct list fetches;
	unsigned fetch_count;
	struct tls_server *server; /* during a walk */
	bool looks_at_required;	   /* during a walk: at certificates that demand a staple, and at no others */
};

/* The staple itself may go with its server while we ask: only its name is kept. */
struct fetch {
	struct list node; /* staples->fetches */
	struct staples *staples;
	char *fingerprint, *host, *path; /* owned */
	uint16_t port;
	struct addr addrs[STAPLES_ADDRESSES_MAX];
	unsigned addr_count, addr_next;
	struct strbuf request, answer;
	struct dns_query *query;
	struct client_pool pool;
	struct http_stream *stream;
	struct arena arena;
	struct timer timer;
	struct task end_task, next_task;
	const char *error; /* static; NULL: the answer is whole */
	bool is_open; /* the pool was used */
};

static int64_t now_secs(void)
{
	return (int64_t)(clock_wall_ns() / 1000000000);
}

/* ---- all staples of a certificate ---- */

struct walk {
	struct staples *staples;
	const char *fingerprint;
	void (*fn)(struct walk *w, struct ocsp_staple *s);
	struct span der;
	const char *error;
	struct ocsp_staple *found;
	int err;
};

static void walk_staple(void *ctx, struct ocsp_staple *s)
{
	struct walk *w = ctx;

	if (strcmp(ocsp_staple_fingerprint(s), w->fingerprint) == 0)
		w->fn(w, s);
}

static void walk_server(void *ctx, struct tls_server *server)
{
	tls_server_for_each_staple(server, walk_staple, ctx);
}

static void walk_all(struct walk *w)
{
	config_tls_for_each_server(w->staples->registry, walk_server, w);
}

static void accept_one(struct walk *w, struct ocsp_staple *s)
{
	const char *error = NULL;

	w->err = ocsp_staple_accept(s, w->der, now_secs(), &error);
	if (w->err < 0)
		w->error = error;
	else
		w->found = s;
}

static void fail_one(struct walk *w, struct ocsp_staple *s)
{
	(void)w;
	ocsp_staple_failed(s, now_secs());
}

/* ---- on disk ---- */

static bool file_path(const struct staples *s, const char *fingerprint, char *buf, size_t size)
{
	return s->folder && snprintf(buf, size, "%s/%s.der", s->folder, fingerprint) < (int)size;
}

/* The folder may be missing: stapling came by a reload, or somebody cleaned up. */
static int file_create(const struct staples *s, const char *path)
{
	const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
	int fd = open(path, flags, 0640), err;

	if (fd < 0 && errno == ENOENT) {
		err = state_prepare(s->state, NULL);
		if (err < 0)
			return err;
		fd = open(path, flags, 0640);
	}
	return fd < 0 ? -errno : fd;
}

static void file_write(const struct staples *s, const char *fingerprint, struct span der)
{
	char path[4096], part[4096 + 5];
	int fd;

	if (!file_path(s, fingerprint, path, sizeof(path)))
		return;
	(void)snprintf(part, sizeof(part), "%s.new", path);
	fd = file_create(s, part);
	if (fd < 0 || write(fd, der.ptr, der.len) != (ssize_t)der.len || rename(part, path) < 0)
		log_warn("ocsp: %s cannot be kept: %s", path, err_text(fd < 0 ? fd : -errno));
	if (fd >= 0)
		(void)close(fd);
}

static void file_read(const struct staples *s, struct ocsp_staple *staple)
{
	char path[4096], buf[OCSP_RESPONSE_BYTES_MAX];
	const char *error = NULL;
	ssize_t len;
	int fd;

	if (!file_path(s, ocsp_staple_fingerprint(staple), path, sizeof(path)))
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	len = read(fd, buf, sizeof(buf));
	(void)close(fd);
	if (len > 0 && ocsp_staple_load(staple, span_of(buf, (size_t)len), now_secs(), &error) < 0) {
		log_info("ocsp: %s is not used: %s", path, error);
		(void)unlink(path);
	}
}

/* ---- one fetch ---- */

static void count(struct staples *s, const char *result)
{
	const struct span label = span_str(result);

	metric_cell_add(metric_cell(s->metrics, METRIC_OCSP_FETCHES_TOTAL, &label), 1);
}

static void fetch_judge(struct fetch *f)
{
	struct staples *s = f->staples;
	struct walk w = { .staples = s, .fingerprint = f->fingerprint, .der = strbuf_span(&f->answer) };

	w.fn = f->error ? fail_one : accept_one;
	w.error = f->error;
	walk_all(&w);
	if (w.error) {
		count(s, "failure");
		log_warn("ocsp: no answer from %s for certificate %.16s…: %s", f->host, f->fingerprint, w.error);
	} else if (w.found) {
		count(s, "success");
		file_write(s, f->fingerprint, w.der);
	}
}

static void fetch_free(struct fetch *f)
{
	list_remove(&f->node);
	f->staples->fetch_count--;
	timer_disarm(f->staples->loop, &f->timer);
	loop_undefer(f->staples->loop, &f->end_task);
	loop_undefer(f->staples->loop, &f->next_task);
	if (f->is_open)
		client_pool_fini(&f->pool);
	arena_fini(&f->arena);
	strbuf_fini(&f->request);
	strbuf_fini(&f->answer);
	free(f->fingerprint);
	free(f->host);
	free(f->path);
	free(f);
}

/* A connection closed: if it was the last, nothing of the fetch is left. */
static void on_release(struct client_pool *p, unsigned count)
{
	struct fetch *f = p->owner;

	(void)count;
	if (!f->stream && p->open_count == 0)
		fetch_free(f);
}

static void run_end(struct task *t)
{
	struct fetch *f = container_of(t, struct fetch, end_task);
	struct http_stream *stream = f->stream;

	timer_disarm(f->staples->loop, &f->timer);
	loop_undefer(f->staples->loop, &f->next_task);
	if (f->query)
		dns_cancel(f->query);
	f->query = NULL;
	fetch_judge(f);
	f->stream = NULL;
	if (stream)
		http_stream_reset(stream);
	else if (!f->is_open || f->pool.open_count == 0)
		fetch_free(f);
}

/* error: static text, or NULL. */
static void fetch_end(struct fetch *f, const char *error)
{
	f->error = error;
	loop_defer(f->staples->loop, &f->end_task);
}

static void on_head(struct http_stream *st, struct message *m)
{
	struct fetch *f = st->owner;

	if (m->status < 200)
		return;
	if (m->status != 200)
		fetch_end(f, "the responder did not answer with status 200");
	else
		http_stream_credit(st, STAPLES_ANSWER_MAX + 1);
}

static void on_body(struct http_stream *st, struct slice data)
{
	struct fetch *f = st->owner;

	if (f->answer.len + data.len > STAPLES_ANSWER_MAX)
		fetch_end(f, "the answer is too large");
	else
		strbuf_add(&f->answer, data.ptr, data.len);
	slice_put(&data);
}

static void on_end(struct http_stream *st, struct headers *trailers)
{
	(void)trailers;
	fetch_end(st->owner, ((struct fetch *)st->owner)->error);
}

static void on_sent(struct http_stream *st)
{
	(void)st;
}

static void on_fail(struct http_stream *st, const struct session_failure *failure)
{
	struct fetch *f = st->owner;
	bool is_unreached =
		failure->fault == SESSION_FAULT_CONNECT || failure->fault == SESSION_FAULT_CONNECT_TIMEOUT;

	if (is_unreached && f->addr_next < f->addr_count)
		loop_defer(f->staples->loop, &f->next_task);
	else
		fetch_end(f, session_fault_name(failure->fault));
}

static const struct http_stream_events fetch_events = {
	.on_head = on_head,
	.on_body = on_body,
	.on_end = on_end,
	.on_sent = on_sent,
	.on_fail = on_fail,
};

static void fetch_send(struct fetch *f)
{
	struct message *m = arena_zalloc(&f->arena, sizeof(*m)); /* as long as the stream */
	char *authority;

	message_init(m, &f->arena);
	authority = arena_printf(&f->arena, f->port == 80 ? "%s" : "%s:%u", f->host, f->port);
	m->method = METHOD_POST;
	m->method_name = method_text(METHOD_POST);
	m->path = m->target = span_str(f->path);
	m->authority = span_str(authority);
	m->framing = BODY_LENGTH;
	m->content_length = f->request.len;
	m->wants_keep_alive = false;
	headers_add(&m->headers, TOKEN_CONTENT_TYPE, SPAN("application/ocsp-request"));
	headers_add(&m->headers, TOKEN_ACCEPT, SPAN("application/ocsp-response"));
	http_stream_send_head(f->stream, m);
	http_stream_send_body(f->stream, slice_copy(f->request.ptr, (uint32_t)f->request.len));
	http_stream_send_end(f->stream, NULL);
}

/* To the next address that can be tried at all. */
static void fetch_connect(struct fetch *f)
{
	static const struct client_settings settings = {
		.connect_timeout_ms = STAPLES_CONNECT_TIMEOUT_MS,
		.read_timeout_ms = STAPLES_FETCH_TIMEOUT_MS,
		.write_timeout_ms = STAPLES_FETCH_TIMEOUT_MS,
		.idle_timeout_ms = 1000,
	};
	int err = 0;

	while (f->addr_next < f->addr_count) {
		f->stream = client_open(&f->pool, &f->addrs[f->addr_next++], &settings, true, &f->arena, &err);
		if (!f->stream)
			continue;
		f->stream->owner = f;
		f->stream->events = &fetch_events;
		fetch_send(f);
		return;
	}
	fetch_end(f, err_text(err));
}

static void run_next(struct task *t)
{
	struct fetch *f = container_of(t, struct fetch, next_task);
	struct http_stream *failed = f->stream;

	f->stream = NULL;
	fetch_connect(f);
	if (f->stream)
		http_stream_reset(failed);
	else
		f->stream = failed; /* for the end, which comes next */
}

static void on_resolved(void *ctx, const struct dns_result *r)
{
	struct fetch *f = ctx;

	f->query = NULL;
	if (r->status != 0 || r->count == 0) {
		fetch_end(f, "the responder's name does not resolve");
		return;
	}
	f->addr_count = MIN(r->count, STAPLES_ADDRESSES_MAX);
	memcpy(f->addrs, r->addrs, f->addr_count * sizeof(*f->addrs));
	client_pool_init(&f->pool, f->staples->loop);
	f->pool.owner = f;
	f->pool.on_release = on_release;
	f->is_open = true;
	fetch_connect(f);
}

static void on_timeout(struct timer *t)
{
	fetch_end(container_of(t, struct fetch, timer), "the responder took too long");
}

/* "http://host[:port]/path": into f.  False: it is nothing that we can ask. */
static bool url_split(struct fetch *f, const char *url)
{
	struct span rest = span_str(url), host;
	unsigned port = 0;
	size_t len;

	if (rest.len <= 7 || memcmp(rest.ptr, "http://", 7) != 0)
		return false;
	rest = span_of(rest.ptr + 7, rest.len - 7);
	len = strcspn(rest.ptr, "/?#");
	if (!uri_split_authority(span_of(rest.ptr, len), &host, &port) || host.len == 0)
		return false;
	f->host = mem_strndup(host.ptr, host.len);
	f->port = port ? (uint16_t)port : 80;
	f->path = rest.ptr[len] == '/' ? mem_strdup(rest.ptr + len) : mem_strdup("/");
	return true;
}

static void fetch_start(struct staples *s, struct ocsp_staple *staple, const char *url)
{
	struct fetch *f = mem_zalloc(sizeof(*f));

	f->staples = s;
	f->fingerprint = mem_strdup(ocsp_staple_fingerprint(staple));
	f->end_task.run = run_end;
	f->next_task.run = run_next;
	timer_init(&f->timer, on_timeout);
	arena_init(&f->arena, 4096);
	list_append(&s->fetches, &f->node);
	s->fetch_count++;
	ocsp_staple_request(staple, &f->request);
	if (!url_split(f, url)) {
		f->host = mem_strdup(url);
		fetch_end(f, "the responder's address is not like http://host/path");
		return;
	}
	timer_arm(s->loop, &f->timer, STAPLES_FETCH_TIMEOUT_MS);
	f->query = dns_resolve(s->dns, f->host, f->port, on_resolved, f);
	if (!f->query)
		fetch_end(f, "too many names are being resolved");
}

/* ---- what is due ---- */

static bool is_being_fetched(const struct staples *s, const char *fingerprint)
{
	struct list *pos;

	list_for_each(pos, &s->fetches)
		if (strcmp(list_entry(pos, struct fetch, node)->fingerprint, fingerprint) == 0)
			return true;
	return false;
}

static void look(void *ctx, struct ocsp_staple *staple)
{
	struct staples *s = ctx;
	const char *url = tls_server_ocsp_url(s->server) ? tls_server_ocsp_url(s->server) : ocsp_staple_url(staple);
	int64_t now = now_secs();

	if (s->looks_at_required && !ocsp_staple_is_required(staple))
		return;
	(void)ocsp_staple_until(staple, now); /* an answer that has ended goes now */
	if (ocsp_staple_next(staple) == 0)
		file_read(s, staple);
	if (!url || s->fetch_count >= STAPLES_FETCHES_MAX || ocsp_staple_next(staple) > now ||
	    is_being_fetched(s, ocsp_staple_fingerprint(staple)))
		return;
	fetch_start(s, staple, url);
}

static void look_server(void *ctx, struct tls_server *server)
{
	struct staples *s = ctx;

	s->server = server;
	tls_server_for_each_staple(server, look, s);
}

void staples_tick(struct staples *s)
{
	s->looks_at_required = true;
	config_tls_for_each_server(s->registry, look_server, s);
	s->looks_at_required = false;
	config_tls_for_each_server(s->registry, look_server, s);
}

struct staples *staples_new(struct loop *l, struct config_tls_registry *registry, const char *folder,
			    struct metrics_shard *metrics)
{
	struct staples *s = mem_zalloc(sizeof(*s));
	struct strbuf path = { 0 };
	int err = dns_new(&s->dns, l);

	s->loop = l;
	s->registry = registry;
	s->metrics = metrics;
	list_init(&s->fetches);
	if (err < 0) {
		log_warn("ocsp: nothing can be fetched: %s", err_text(err));
		free(s);
		return NULL;
	}
	if (folder) {
		strbuf_printf(&path, "%s/ocsp", folder);
		s->state = mem_strdup(folder);
		s->folder = mem_strdup(path.ptr);
		strbuf_fini(&path);
	}
	return s;
}

void staples_free(struct staples *s)
{
	struct list *pos, *tmp;

	if (!s)
		return;
	list_for_each_safe(pos, tmp, &s->fetches)
	{
		struct fetch *f = list_entry(pos, struct fetch, node);

		if (f->query)
			dns_cancel(f->query);
		if (f->stream)
			http_stream_reset(f->stream);
		loop_undefer(s->loop, &f->next_task);
		f->stream = NULL;
		f->query = NULL;
		if (!f->is_open || f->pool.open_count == 0)
			fetch_free(f);
	}
	dns_free(s->dns);
	/* Connections that are closing end in the next turns; their fetches go with them. */
	while (s->fetch_count > 0)
		if (loop_turn(s->loop, 10) < 0)
			break;
	free(s->state);
	free(s->folder);
	free(s);
}
