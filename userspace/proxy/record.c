/* SPDX-License-Identifier: GPL-2.0-only */
/* record.c - what a worker writes down: access log lines, metrics of requests, connections and attempts. */
#include "proxy/record.h"

#include "base/err.h"
#include "observe/log.h"
#include "proxy/access_log.h"
#include "proxy/counters.h"
#include "proxy/worker.h"

#define GRPC_STATUS_MAX 16 /* UNAUTHENTICATED */

/* ---- the file ---- */

static void report(const struct proxy_worker *w, int err)
{
	if (err < 0)
		log_error("the access log %s loses lines: %s; sentinel_log_lines_dropped_total counts them",
			  w->access_log.path, err_text(err));
}

static void log_close(struct proxy_worker *w)
{
	if (!w->has_access_log)
		return;
	logfile_close(&w->access_log);
	w->has_access_log = false;
}

void record_init(struct proxy_worker *w)
{
	static const char *const directions[2] = { "c2s", "s2c" };

	strbuf_init(&w->access_line);
	for (unsigned i = 0; i < 2; i++) {
		const struct span label = span_str(directions[i]);

		w->tunnel_bytes[i] = metric_cell(w->metrics, METRIC_TUNNEL_BYTES_TOTAL, &label);
		for (unsigned e = SPLICE_ENGINE_COPY; e < SPLICE_ENGINE_COUNT; e++) {
			const struct span labels[] = { span_str(splice_engine_name((enum splice_engine)e)), label };

			w->engine_bytes[e][i] = metric_cell(w->metrics, METRIC_BODY_BYTES_TOTAL, labels);
		}
	}
}

void record_fini(struct proxy_worker *w)
{
	log_close(w);
	strbuf_fini(&w->access_line);
}

void record_adopt(struct proxy_worker *w)
{
	const struct access_log_settings *set = w->current->snapshot->access_log;
	const struct span label = SPAN("access");
	int err;

	if (set && w->has_access_log && strcmp(set->file, w->access_log.path) == 0 &&
	    set->buffer_size == w->access_log.buffer_bytes)
		return;
	log_close(w);
	if (!set || !set->is_enabled)
		return;
	err = logfile_open(&w->access_log, set->file, set->buffer_size);
	if (err < 0) {
		log_error("access log %s: %s; requests are not logged", set->file, err_text(err));
		return;
	}
	w->has_access_log = true;
	logfile_count_drops(&w->access_log, metric_cell(w->metrics, METRIC_LOG_LINES_DROPPED_TOTAL, &label));
}

static void write_line(struct proxy_worker *w, const struct access_record *r)
{
	strbuf_reset(&w->access_line);
	access_log_format(&w->access_clock, w->current->snapshot->access_log->format, r, &w->access_line);
	report(w, logfile_write(&w->access_log, strbuf_span(&w->access_line), loop_now_ns(w->loop)));
}

/* ---- gauges ---- */

static void set_pool_gauges(struct proxy_worker *w)
{
	const struct snapshot *s = w->current->snapshot;

	for (unsigned i = 0; i < s->upstream_count; i++) {
		const struct upstream *u = &s->upstreams[i];
		const struct span label = span_str(u->id);
		uint64_t open = 0, idle = 0, reused = 0;

		for (unsigned e = 0; e < u->endpoint_count; e++) {
			uint32_t slot = u->endpoints[e]->slot;
			const struct endpoint_worker *ew = slot < w->endpoint_cap ? w->endpoints[slot] : NULL;

			if (!ew)
				continue;
			open += ew->pool.open_count;
			idle += ew->pool.idle_count;
			reused += ew->pool.reused;
		}
		metric_cell_set(metric_cell(w->metrics, METRIC_CONNECTION_POOL_SIZE, &label), open);
		metric_cell_set(metric_cell(w->metrics, METRIC_CONNECTION_POOL_IDLE, &label), idle);
		metric_cell_set(metric_cell(w->metrics, METRIC_CONNECTION_POOL_ACQUIRED_TOTAL, &label), reused);
	}
}

/* Of the process: one worker does it. */
static void tend_pipes(struct proxy_worker *w)
{
	const struct span busy = SPAN("busy"), idle = SPAN("idle");
	struct pipe_pool_gauges g;

	pipe_pool_trim(&w->shared->pipes);
	pipe_pool_gauges(&w->shared->pipes, &g);
	metric_cell_set(metric_cell(w->metrics, METRIC_SPLICE_PIPES, &busy), g.open - g.idle);
	metric_cell_set(metric_cell(w->metrics, METRIC_SPLICE_PIPES, &idle), g.idle);
	metric_set(w->metrics, METRIC_SPLICE_NO_PIPE_TOTAL, g.refused);
}

static uint64_t origin_sessions(const struct proxy_worker *w)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < w->endpoint_cap; i++)
		if (w->endpoints[i])
			n += w->endpoints[i]->pool.open_count;
	return n;
}

void record_tick(struct proxy_worker *w)
{
	struct loop_gauges g;

	if (w->has_access_log)
		report(w, logfile_flush(&w->access_log));
	loop_gauges(w->loop, &g);
	metric_set(w->metrics, METRIC_OPS_INFLIGHT, g.ops_inflight);
	metric_set(w->metrics, METRIC_PINNED_BUFFERS,
		   g.buffers_pinned[LOOP_BUFFERS_SMALL] + g.buffers_pinned[LOOP_BUFFERS_LARGE]);
	metric_set(w->metrics, METRIC_BUSY_WORKERS, w->turns.is_busy);
	metric_set(w->metrics, METRIC_EXCHANGES, w->exchange_count + w->tunnel_count);
	metric_set(w->metrics, METRIC_ACTIVE_REQUESTS, w->exchange_count);
	metric_set(w->metrics, METRIC_REGEX_LIMIT_HITS_TOTAL, router_scratch_limit_hits(w->scratch));
	if (w->index == 0)
		tend_pipes(w);
	metric_set(w->metrics, METRIC_SESSIONS, server_session_count(&w->host) + origin_sessions(w));
	set_pool_gauges(w);
}

/* ---- connections and bad heads ---- */

void record_accept(struct proxy_worker *w, const struct listener *l)
{
	struct pin *pin = w->current;
	struct metric_cell **cell;

	if (!pin->accept_cells)
		pin->accept_cells = arena_array(&pin->arena, pin->snapshot->listener_count, sizeof(*cell));
	cell = &pin->accept_cells[l - pin->snapshot->listeners];
	if (!*cell) {
		const struct span label = span_str(l->id);

		*cell = metric_cell(w->metrics, METRIC_ACCEPTED_CONNECTIONS_TOTAL, &label);
	}
	metric_cell_add(*cell, 1);
}

void record_bad_request(struct proxy_worker *w, struct stream *s, const struct session_failure *f, unsigned status,
			struct span request_id)
{
	const char *name = f->codec ? codec_fault_name(f->codec) : session_fault_name(f->fault);
	const struct span label = span_str(name);
	char ip[ADDR_TEXT_MAX];
	size_t ip_len;

	metric_cell_add(metric_cell(w->metrics, METRIC_CLIENT_ERRORS_TOTAL, &label), 1);
	if (!w->has_access_log)
		return;
	ip_len = addr_format_ip(stream_peer(s), ip);
	write_line(w, &(struct access_record){
			      .wall_ns = loop_wall_ns(w->loop),
			      .request_id = request_id,
			      .protocol = f->version == HTTP_VERSION_2 ? SPAN("HTTP/2") : SPAN("HTTP/1.1"),
			      .client_ip = span_of(ip, ip_len),
			      .status = status,
			      .instance = span_str(w->shared->instance_uuid),
			      .failure = label,
			      .failure_detail = f->detail,
		      });
}

static const char *listener_name(const struct proxy_worker *w, uint32_t listener_id)
{
	const struct listener *l = snapshot_listener(w->current->snapshot, listener_id);

	return l ? l->id : "(gone)";
}

void record_handshake_failure(struct proxy_worker *w, uint32_t listener_id, struct stream *s, struct span reason,
			      const char *detail)
{
	const char *listener = listener_name(w, listener_id);
	const struct span labels[] = { span_str(listener), reason };
	char ip[ADDR_TEXT_MAX];

	metric_cell_add(metric_cell(w->metrics, METRIC_HANDSHAKE_FAILURES_TOTAL, labels), 1);
	if (!log_every(&w->handshake_log, loop_now_ns(w->loop)))
		return; /* the metric counts them all */
	addr_format(stream_peer(s), ip);
	log_info("listener %s: no handshake with %s: " SPAN_FMT "%s%s", listener, ip, SPAN_ARG(reason),
		 detail[0] ? ": " : "", detail);
}

void record_session_fault(struct proxy_worker *w, uint32_t listener_id, struct stream *s,
			  const struct session_failure *f)
{
	const char *name = f->codec ? codec_fault_name(f->codec) : session_fault_name(f->fault);
	const char *listener = listener_name(w, listener_id);
	const struct span labels[] = { span_str(listener), span_str(name) };
	char ip[ADDR_TEXT_MAX];

	metric_cell_add(metric_cell(w->metrics, METRIC_SESSION_FAULTS_TOTAL, labels), 1);
	if (!log_every(&w->session_log, loop_now_ns(w->loop)))
		return;
	addr_format(stream_peer(s), ip);
	log_info("listener %s: HTTP/2 of %s: %s", listener, ip, f->codec ? codec_fault_text(f->codec) : name);
}

/* ---- attempts ---- */

void record_attempt(struct exchange *x)
{
	counters_attempt(x->worker->metrics, x->pin, x->route);
}

void record_failure(struct exchange *x, enum failure f)
{
	const struct span labels[3] = { span_str(x->route->upstream->id), span_str(x->route->id),
					span_str(failure_row(f)->label) };

	metric_cell_add(metric_cell(x->worker->metrics, METRIC_UPSTREAM_FAILURES_TOTAL, labels), 1);
}

struct span record_tls_failure(struct exchange *x, const struct session_failure *f)
{
	struct proxy_worker *w = x->worker;
	const struct span labels[] = { span_str(x->route->upstream->id), span_str(f->tls) };
	struct span text = span_str(arena_printf(x->arena, "%s: " SPAN_FMT, f->tls, SPAN_ARG(f->detail)));

	metric_cell_add(metric_cell(w->metrics, METRIC_UPSTREAM_TLS_FAILURES_TOTAL, labels), 1);
	if (log_every(&w->origin_log, loop_now_ns(w->loop)))
		log_warn("upstream %s: no handshake with " SPAN_FMT ": " SPAN_FMT, x->route->upstream->id,
			 SPAN_ARG(x->upstream_addr), SPAN_ARG(text));
	return text;
}

static void count_of_upstream(struct exchange *x, enum metric_id id)
{
	const struct span label = span_str(x->route->upstream->id);

	metric_cell_add(metric_cell(x->worker->metrics, id, &label), 1);
}

void record_retry(struct exchange *x)
{
	count_of_upstream(x, METRIC_UPSTREAM_RETRIES_TOTAL);
}

void record_budget_exhausted(struct exchange *x)
{
	count_of_upstream(x, METRIC_RETRY_BUDGET_EXHAUSTED_TOTAL);
}

/* ---- the end of an exchange ---- */

static unsigned status_of(const struct exchange *x)
{
	if (x->failure == FAIL_CLIENT_RESET || (x->failure != FAIL_NONE && !x->has_response))
		return failure_row(x->failure)->status;
	return x->response.status;
}

/* Of what became no tunnel a raw client sees the end of its connection, and nothing else. */
static bool is_seen(const struct exchange *x)
{
	return !x->request->is_raw || (x->has_response && x->response.framing == BODY_TUNNEL);
}

static uint64_t duration_us(const struct exchange *x)
{
	return (loop_now_ns(x->worker->loop) - x->start_ns) / 1000;
}

/* Whose doing a failure is.  What origins did is counted by attempt, in upstream_failures_total. */
static void count_failure(struct exchange *x)
{
	enum metric_id id = METRIC_BLOCKED_REQUESTS_TOTAL;
	struct span label;

	if (x->failure == FAIL_NONE ||
	    (x->failure >= FAIL_UPSTREAM_CONNECT && x->failure <= FAIL_UPSTREAM_WRITE_TIMEOUT))
		return;
	label = span_str(failure_row(x->failure)->label);
	if (x->failure == FAIL_CLIENT_RESET || x->failure == FAIL_CLIENT_TIMEOUT || x->failure == FAIL_CLIENT_MALFORMED)
		id = METRIC_CLIENT_ERRORS_TOTAL;
	metric_cell_add(metric_cell(x->worker->metrics, id, &label), 1);
}

/* What an origin makes up does not become a label. */
static void count_grpc(struct exchange *x)
{
	struct span labels[] = { span_str(x->route->id), x->grpc_status };
	uint64_t code;

	if (x->grpc_status.len == 0)
		labels[1] = SPAN("none");
	else if (!span_to_u64(x->grpc_status, &code) || code > GRPC_STATUS_MAX ||
		 x->grpc_status.len != (code > 9 ? 2 : 1))
		labels[1] = SPAN("unknown");
	metric_cell_add(metric_cell(x->worker->metrics, METRIC_GRPC_REQUESTS_TOTAL, labels), 1);
}

static void count_engines(struct exchange *x)
{
	uint64_t up = x->bulk[BULK_REQUEST].transfer.bytes, down = x->bulk[BULK_RESPONSE].transfer.bytes;
	struct metric_cell *(*cells)[2] = x->worker->engine_bytes;

	metric_cell_add(cells[SPLICE_ENGINE_COPY][0], x->up.received - up);
	metric_cell_add(cells[SPLICE_ENGINE_COPY][1], is_seen(x) ? x->sent_bytes - down : 0);
	metric_cell_add(cells[SPLICE_ENGINE_SPLICE][0], up);
	metric_cell_add(cells[SPLICE_ENGINE_SPLICE][1], down);
}

void record_count(struct exchange *x)
{
	struct counters_sample sample = {
		.method = x->request->method,
		.status = status_of(x),
		.duration_us = duration_us(x),
		.request_bytes = x->up.received,
		.response_bytes = is_seen(x) ? x->sent_bytes : 0,
	};

	counters_record(x->worker->metrics, x->pin, x->route, &sample);
	count_engines(x);
	if (x->is_grpc)
		count_grpc(x);
	count_failure(x);
}

static struct span protocol_of(const struct exchange *x)
{
	const struct message *m = x->request;

	if (m->is_raw)
		return x->raw_protocol;
	return m->version == HTTP_VERSION_1_0 ? SPAN("HTTP/1.0") : m->version == HTTP_VERSION_2 ? SPAN("HTTP/2") :
												  SPAN("HTTP/1.1");
}

void record_log(struct exchange *x)
{
	struct proxy_worker *w = x->worker;
	const struct message *m = x->request;
	struct access_record r;

	if (!w->has_access_log || x->is_moved)
		return;
	r = (struct access_record){
		.wall_ns = loop_wall_ns(w->loop) - (loop_now_ns(w->loop) - x->start_ns),
		.duration_us = duration_us(x),
		.request_id = x->request_id,
		.method = m->is_raw ? SPAN("") : m->method_name,
		.path = x->raw_path,
		.query = x->query,
		.host = x->authority,
		.protocol = protocol_of(x),
		.tls_version = span_str(x->tls_version),
		.tls_cipher = span_str(x->tls_cipher),
		.client_ip = x->client_ip,
		.geo_country = span_str(x->country),
		.user_agent = headers_value(&m->headers, TOKEN_USER_AGENT),
		.referer = headers_value(&m->headers, TOKEN_REFERER),
		.status = is_seen(x) ? status_of(x) : 0,
		.grpc_status = x->grpc_status,
		.body_bytes_received = x->up.received,
		.body_bytes_sent = is_seen(x) ? x->sent_bytes : 0,
		.bytes_received_spliced = x->bulk[BULK_REQUEST].transfer.bytes,
		.bytes_sent_spliced = x->bulk[BULK_RESPONSE].transfer.bytes,
		.bytes_received_sockmap = x->sockmap_bytes[BULK_REQUEST],
		.bytes_sent_sockmap = x->sockmap_bytes[BULK_RESPONSE],
		.bytes_undelivered = x->undelivered_bytes,
		.tunnel_end = span_str(x->tunnel_end ? x->tunnel_end : ""),
		.route_id = span_str(x->route_id),
		.upstream_id = span_str(x->upstream_id),
		.upstream_addr = x->upstream_addr,
		.upstream_attempts = x->attempts,
		.is_connection_reused = x->was_reused,
		.instance = span_str(w->shared->instance_uuid),
		.failure = x->failure ? span_str(failure_row(x->failure)->label) : SPAN(""),
		.failure_detail = x->failure_detail,
	};
	write_line(w, &r);
}
