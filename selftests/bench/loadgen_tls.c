/* SPDX-License-Identifier: GPL-2.0-only */
/* loadgen_tls.c - TLS and HTTP/2 load for the bench: closed loop, one thread, results as one JSON line. */
/*
 * Usage: loadgen_tls --port N [--mode request|full|resume|idle] [--protocol h1|h2] [--cleartext]
 *                    [--connections N] [--streams N] [--seconds S] [--warmup S] [--bytes N] [--cpu-of PID,PID...]
 *
 * request  kept connections; with h2 each has always --streams requests open
 * full     a connection for each request: full handshake, request, response, and the server's end of it
 * resume   the same with the session of the last ticket; a handshake that does not resume is an error
 * idle     opens the connections, sends one request on each, prints "ready" and holds them until stdin ends
 *
 * It speaks TLS 1.3 with OpenSSL's own offer of suites and groups, and wants by ALPN what --protocol says.  An
 * operation is a response 200 with the whole body of the right length; anything else is an error.  The first
 * error is told on stderr.  What was negotiated and how many tickets came is part of the result.
 * --bytes N asks for /bytes/N.  Certificates are not verified, the server's signature is.
 */
#include "bench/measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EVENTS_MAX = 256,
	HEAD_BYTES_MAX = 8192,
	INPUT_BYTES = 65536,
	OUTPUT_BYTES = 65536,
	FRAME_BYTES_MAX = 16384 + 9, /* that nghttp2 gives at once */
	STREAMS_MAX = 100,           /* HAProxy's and our default bound */
	WINDOW_BYTES = 1 << 24,      /* of a stream and of a connection: never what is waited for */
	OPENING_MAX = 64,
	IDLE_SECONDS_MAX = 60, /* for opening all idle connections */
};

enum mode { MODE_REQUEST, MODE_FULL, MODE_RESUME, MODE_IDLE, MODE_COUNT };
static const char *const mode_names[MODE_COUNT] = { "request", "full", "resume", "idle" };

enum phase { PHASE_FREE, PHASE_HANDSHAKE, PHASE_HEAD, PHASE_BODY, PHASE_UNTIL_CLOSE, PHASE_STREAMS };

struct stream {
	int64_t begin_ns;
	size_t body_bytes;
	bool is_ok; /* status 200 */
	bool is_open;
};

struct link {
	int fd;
	enum phase phase;
	SSL *ssl;
	SSL_SESSION *session; /* owned; of the last ticket, outlives the connection */
	nghttp2_session *h2;

	int64_t begin_ns;
	size_t body_left;
	size_t head_bytes;
	char *head; /* owned; HEAD_BYTES_MAX + 1 */

	char *output; /* owned; OUTPUT_BYTES */
	size_t output_bytes, output_sent;
	struct stream streams[]; /* options.streams of them with h2 */
};

static struct options {
	unsigned port, connections, streams;
	enum mode mode;
	bool is_h2, is_cleartext;
	double seconds, warmup;
	size_t bytes;
} options = { .connections = 8, .streams = 1, .seconds = 5, .warmup = 0.5 };

static struct negotiated {
	char version[16], suite[64], group[32];
	uint64_t handshakes, resumed, tickets;
} negotiated;

static int poll_fd;
static SSL_CTX *tls;
static nghttp2_session_callbacks *h2_callbacks;
static struct link **links, **free_links;
static unsigned free_count;
static char path[64] = "/";
static bool is_error_told;

/* The connection is gone; the session stays. */
static void link_close(struct link *l)
{
	nghttp2_session_del(l->h2);
	l->h2 = NULL;
	if (l->ssl) {
		/* Without this OpenSSL takes the connection for broken and its session with it. */
		SSL_set_shutdown(l->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
		SSL_free(l->ssl);
	}
	l->ssl = NULL;
	close(l->fd);
	l->fd = -1;
	l->output_bytes = l->output_sent = 0;
}

static void link_release(struct link *l)
{
	l->phase = PHASE_FREE;
	free_links[free_count++] = l;
}

/* Counts what was under way as errors; the link is free afterwards, without a connection. */
static void link_fail(struct link *l, const char *why)
{
	unsigned count = 0, i;

	if (!is_error_told)
		fprintf(stderr, "loadgen_tls: %s\n", why);
	is_error_told = true;
	for (i = 0; i < options.streams; i++) {
		count += l->streams[i].is_open;
		l->streams[i].is_open = false;
	}
	measure_errors(count ? count : 1);
	link_close(l);
	link_release(l);
}

/* --- bytes, with or without TLS: how many, 0 at the end of the stream, or a negative errno ------------------ */

static ssize_t ssl_result(struct link *l, int result)
{
	if (result > 0)
		return result;
	switch (SSL_get_error(l->ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE: return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN: return 0;
	default: return -EIO;
	}
}

static ssize_t link_recv(struct link *l, char *buf, size_t len)
{
	ssize_t got;

	if (l->ssl) {
		ERR_clear_error();
		return ssl_result(l, SSL_read(l->ssl, buf, (int)len));
	}
	got = recv(l->fd, buf, len, 0);
	return got < 0 ? -errno : got;
}

static ssize_t link_send(struct link *l, const char *buf, size_t len)
{
	ssize_t sent;

	if (l->ssl) {
		ERR_clear_error();
		return ssl_result(l, SSL_write(l->ssl, buf, (int)len));
	}
	sent = send(l->fd, buf, len, MSG_NOSIGNAL);
	return sent < 0 ? (errno == ENOTCONN ? -EAGAIN : -errno) : sent;
}

/* Fills the output with frames as far as they surely fit. */
static bool link_fill(struct link *l)
{
	const uint8_t *data;
	ssize_t len;

	while (l->h2 && OUTPUT_BYTES - l->output_bytes >= FRAME_BYTES_MAX) {
		len = nghttp2_session_mem_send(l->h2, &data);
		if (len <= 0)
			return len == 0;
		memcpy(l->output + l->output_bytes, data, (size_t)len);
		l->output_bytes += (size_t)len;
	}
	return true;
}

/* Sends what there is to send. */
static void link_flush(struct link *l)
{
	ssize_t sent;

	for (;;) {
		if (l->output_sent == l->output_bytes) {
			l->output_sent = l->output_bytes = 0;
			if (!link_fill(l)) {
				link_fail(l, "nghttp2 cannot send");
				return;
			}
			if (!l->output_bytes)
				return;
		}
		sent = link_send(l, l->output + l->output_sent, l->output_bytes - l->output_sent);
		if (sent == -EAGAIN)
			return;
		if (sent <= 0) {
			link_fail(l, "the connection broke while sending");
			return;
		}
		l->output_sent += (size_t)sent;
	}
}

/* --- HTTP/1.1 ------------------------------------------------------------------------------------------ */

static bool is_one_request(void)
{
	return options.mode == MODE_FULL || options.mode == MODE_RESUME;
}

static void h1_request(struct link *l)
{
	l->output_sent = l->head_bytes = 0;
	l->output_bytes = (size_t)snprintf(l->output, OUTPUT_BYTES,
					   "GET %s HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: loadgen\r\n"
					   "Accept: */*\r\n%s\r\n",
					   path, is_one_request() ? "Connection: close\r\n" : "");
	l->phase = PHASE_HEAD;
}

/* The head is complete up to `end`: returns false when it is not what was asked for. */
static bool h1_head_done(struct link *l, char *end)
{
	char *field;

	end[2] = '\0';
	field = strcasestr(l->head, "\r\ncontent-length:");
	if (strncmp(l->head, "HTTP/1.1 200", 12) != 0 || !field)
		return false;
	l->body_left = strtoul(field + 17, NULL, 10);
	l->phase = PHASE_BODY;
	return !options.bytes || l->body_left == options.bytes;
}

static bool h1_take(struct link *l, const char *data, size_t len)
{
	if (l->phase == PHASE_HEAD) {
		size_t room = HEAD_BYTES_MAX - l->head_bytes, taken = len < room ? len : room;
		size_t before = l->head_bytes;
		char *end;

		memcpy(l->head + before, data, taken);
		l->head_bytes += taken;
		l->head[l->head_bytes] = '\0';
		end = strstr(l->head, "\r\n\r\n");
		if (!end)
			return l->head_bytes < HEAD_BYTES_MAX;
		taken = (size_t)(end + 4 - l->head) - before;
		if (!h1_head_done(l, end))
			return false;
		data += taken;
		len -= taken;
	}
	if (l->phase != PHASE_BODY || len > l->body_left)
		return false;
	l->body_left -= len;
	if (!l->body_left && is_one_request()) {
		l->phase = PHASE_UNTIL_CLOSE;
	} else if (!l->body_left) {
		measure_operation(l->begin_ns);
		link_release(l);
	}
	return true;
}

/* --- HTTP/2 ---------------------------------------------------------------------------------------------- */

#define FIELD(n, v) { (uint8_t *)(n), (uint8_t *)(v), sizeof(n) - 1, strlen(v), NGHTTP2_NV_FLAG_NONE }

static void h2_request(struct link *l, struct stream *s)
{
	const nghttp2_nv fields[] = {
		FIELD(":method", "GET"),
		FIELD(":scheme", options.is_cleartext ? "http" : "https"),
		FIELD(":authority", "bench.test"),
		FIELD(":path", path),
		FIELD("user-agent", "loadgen"),
		FIELD("accept", "*/*"),
	};

	*s = (struct stream){ .begin_ns = now_ns(), .is_open = true };
	if (nghttp2_submit_request(l->h2, NULL, fields, sizeof(fields) / sizeof(fields[0]), NULL, s) < 0) {
		s->is_open = false;
		measure_errors(1);
	}
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags, (void)arg;
	if (s && name_len == 7 && !memcmp(name, ":status", 7))
		s->is_ok = value_len == 3 && !memcmp(value, "200", 3);
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
			 void *arg)
{
	struct stream *s = nghttp2_session_get_stream_user_data(session, id);

	(void)flags, (void)data, (void)arg;
	if (s)
		s->body_bytes += len;
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct stream *s = nghttp2_session_get_stream_user_data(session, id);

	(void)arg;
	if (!s)
		return 0;
	s->is_open = false;
	if (!error && s->is_ok && (options.bytes ? s->body_bytes == options.bytes : s->body_bytes > 0))
		measure_operation(s->begin_ns);
	else
		measure_errors(1);
	return 0;
}

/* A request for each stream that has ended; after a GOAWAY the connection ends with its last stream. */
static void h2_refill(struct link *l)
{
	bool is_allowed = nghttp2_session_check_request_allowed(l->h2);
	unsigned open = 0, i;

	for (i = 0; i < options.streams; i++) {
		if (!l->streams[i].is_open && is_allowed)
			h2_request(l, &l->streams[i]);
		open += l->streams[i].is_open;
	}
	if (!open) {
		link_close(l);
		link_release(l);
	}
}

static void h2_open(struct link *l)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES },
	};

	l->phase = PHASE_STREAMS;
	if (nghttp2_session_client_new(&l->h2, h2_callbacks, l))
		abort();
	nghttp2_submit_settings(l->h2, NGHTTP2_FLAG_NONE, settings, 2);
	nghttp2_session_set_local_window_size(l->h2, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES);
	h2_refill(l);
}

static bool h2_take(struct link *l, const char *data, size_t len)
{
	return nghttp2_session_mem_recv(l->h2, (const uint8_t *)data, len) == (ssize_t)len;
}

/* --- connections ----------------------------------------------------------------------------------------- */

/* A ticket came: OpenSSL gives the session to us. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct link *l = SSL_get_app_data(ssl);

	negotiated.tickets++;
	SSL_SESSION_free(l->session);
	l->session = session;
	return 1;
}

static void link_connect(struct link *l)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)options.port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = l };
	SSL_SESSION *copy;
	int on = 1;

	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0 ||
	    (connect(l->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno != EINPROGRESS)) {
		perror("loadgen_tls: connect");
		exit(1);
	}
	setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	epoll_ctl(poll_fd, EPOLL_CTL_ADD, l->fd, &event);
	l->phase = PHASE_HANDSHAKE;
	if (options.is_cleartext)
		return;
	l->ssl = SSL_new(tls);
	if (!l->ssl)
		abort();
	SSL_set_app_data(l->ssl, l);
	SSL_set_fd(l->ssl, l->fd);
	SSL_set_connect_state(l->ssl);
	SSL_set_tlsext_host_name(l->ssl, "bench.test");
	if (options.mode == MODE_RESUME && l->session) {
		/* OpenSSL lets a session be used once only; a server that gives no new ticket lets it be used again. */
		copy = SSL_SESSION_dup(l->session);
		SSL_set_session(l->ssl, copy);
		SSL_SESSION_free(copy);
	}
}

static bool is_protocol_agreed(struct link *l)
{
	const char *wanted = options.is_h2 ? "h2" : "http/1.1";
	const unsigned char *name;
	unsigned len;

	SSL_get0_alpn_selected(l->ssl, &name, &len);
	/* A server without ALPN speaks HTTP/1.1. */
	return len ? len == strlen(wanted) && !memcmp(name, wanted, len) : !options.is_h2;
}

static void negotiated_note(SSL *ssl)
{
	negotiated.handshakes++;
	negotiated.resumed += (uint64_t)SSL_session_reused(ssl);
	if (negotiated.suite[0])
		return;
	snprintf(negotiated.version, sizeof(negotiated.version), "%s", SSL_get_version(ssl));
	snprintf(negotiated.suite, sizeof(negotiated.suite), "%s", SSL_get_cipher_name(ssl));
	snprintf(negotiated.group, sizeof(negotiated.group), "%s",
		 OBJ_nid2sn((int)SSL_get_negotiated_group(ssl)));
}

/* Goes on with the handshake; when it is complete, the first requests are in the output. */
static void link_handshake(struct link *l)
{
	bool had_session = options.mode == MODE_RESUME && l->session;
	int result;

	if (l->ssl) {
		ERR_clear_error();
		result = SSL_do_handshake(l->ssl);
		if (result != 1) {
			const char *reason = ERR_reason_error_string(ERR_peek_error());

			if (ssl_result(l, result) != -EAGAIN)
				link_fail(l, reason ? reason : "the connection broke in the handshake");
			return;
		}
		negotiated_note(l->ssl);
		if (!is_protocol_agreed(l)) {
			link_fail(l, "ALPN did not choose what was wanted");
			return;
		}
		if (had_session && !SSL_session_reused(l->ssl)) {
			link_fail(l, "the session was not resumed");
			return;
		}
	}
	if (options.is_h2)
		h2_open(l);
	else
		h1_request(l);
}

/* Reads until nothing comes or a response is complete. */
static void link_read(struct link *l)
{
	static char input[INPUT_BYTES];
	ssize_t got;

	while (l->phase >= PHASE_HEAD) {
		got = link_recv(l, input, sizeof(input));
		if (got == -EAGAIN)
			return;
		if (got == 0 && l->phase == PHASE_UNTIL_CLOSE) {
			measure_operation(l->begin_ns);
			link_close(l);
			link_release(l);
		} else if (got <= 0) {
			link_fail(l, "the server closed before the response was complete");
		} else if (!(l->h2 ? h2_take(l, input, (size_t)got) : h1_take(l, input, (size_t)got))) {
			link_fail(l, "not the response that was asked for");
		}
	}
}

/* Everything that can move moves.  Whatever fails leaves the link free. */
static void link_drive(struct link *l)
{
	if (l->phase == PHASE_HANDSHAKE)
		link_handshake(l);
	if (l->phase >= PHASE_HEAD)
		link_flush(l);
	link_read(l);
	if (l->phase == PHASE_STREAMS)
		h2_refill(l);
	if (l->phase == PHASE_STREAMS)
		link_flush(l);
}

static void link_begin(struct link *l)
{
	l->begin_ns = now_ns();
	if (l->fd < 0)
		link_connect(l);
	else
		h1_request(l);
	link_drive(l);
}

static void link_event(struct link *l, unsigned events)
{
	if (l->fd < 0)
		return;
	if (l->phase != PHASE_FREE)
		link_drive(l);
	else if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		link_close(l); /* closed while idle: the next request connects anew */
}

/* --- the run ------------------------------------------------------------------------------------------------ */

static void wait_events(int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int i, count = epoll_wait(poll_fd, events, EVENTS_MAX, timeout_ms);

	for (i = 0; i < count; i++)
		link_event(events[i].data.ptr, events[i].events);
}

static void run_load(void)
{
	int64_t begin = now_ns(), counting = begin + (int64_t)(options.warmup * 1e9);
	int64_t end = counting + (int64_t)(options.seconds * 1e9), now = begin;
	char more[256];
	unsigned count;

	while (now < end) {
		if (!measure.is_counting && now >= counting)
			measure_begin();
		/* A link that fails at once comes again at the next turn, not in this loop. */
		for (count = free_count; count; count--) {
			struct link *l = free_links[0];

			free_links[0] = free_links[--free_count];
			link_begin(l);
		}
		wait_events(free_count ? 0 : (int)((end - now) / 1000000) + 1);
		now = now_ns();
	}
	snprintf(more, sizeof(more),
		 ", \"version\": \"%s\", \"suite\": \"%s\", \"group\": \"%s\", \"handshakes\": %lu, \"resumed\": %lu, "
		 "\"tickets\": %lu",
		 negotiated.version, negotiated.suite, negotiated.group, negotiated.handshakes, negotiated.resumed,
		 negotiated.tickets);
	measure_print(mode_names[options.mode], more);
}

/* At most 64 handshakes at once: the accept queue is not what is measured. */
static void run_idle(void)
{
	int64_t deadline = now_ns() + IDLE_SECONDS_MAX * 1000000000ll;
	unsigned started = 0;
	char byte;

	measure.is_counting = true;
	while (measure.operations + measure.errors < options.connections && now_ns() < deadline) {
		while (started < options.connections &&
		       started - measure.operations - measure.errors < OPENING_MAX) {
			free_count = 0;
			link_begin(links[started++]);
		}
		free_count = 0;
		wait_events(100);
	}
	printf("ready %lu %lu\n", measure.operations, options.connections - measure.operations);
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
}

/* --- start ---------------------------------------------------------------------------------------------------- */

static void options_read_mode(const char *word)
{
	for (options.mode = 0; options.mode < MODE_COUNT; options.mode++)
		if (!strcmp(word, mode_names[options.mode]))
			return;
	fprintf(stderr, "loadgen_tls: unknown mode %s\n", word);
	exit(2);
}

static void options_read(int argc, char **argv)
{
	static const struct option names[] = {
		{ "port", 1, NULL, 'p' },    { "mode", 1, NULL, 'm' },	 { "connections", 1, NULL, 'c' },
		{ "seconds", 1, NULL, 's' }, { "warmup", 1, NULL, 'w' }, { "protocol", 1, NULL, 'h' },
		{ "bytes", 1, NULL, 'b' },   { "streams", 1, NULL, 'n' }, { "cleartext", 0, NULL, 't' },
		{ "cpu-of", 1, NULL, 'o' },  { NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (option) {
		case 'p': options.port = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'm': options_read_mode(optarg); break;
		case 'c': options.connections = (unsigned)strtoul(optarg, NULL, 10); break;
		case 's': options.seconds = strtod(optarg, NULL); break;
		case 'w': options.warmup = strtod(optarg, NULL); break;
		case 'h': options.is_h2 = !strcmp(optarg, "h2"); break;
		case 'b': options.bytes = strtoul(optarg, NULL, 10); break;
		case 'n': options.streams = (unsigned)strtoul(optarg, NULL, 10); break;
		case 't': options.is_cleartext = true; break;
		case 'o': measure_watch(optarg); break;
		default: exit(2);
		}
	}
	if (!options.port || !options.connections || !options.streams || options.streams > STREAMS_MAX ||
	    (options.is_h2 && options.mode != MODE_REQUEST) || (options.is_cleartext && options.mode == MODE_RESUME)) {
		fprintf(stderr, "loadgen_tls: --port is required, --streams is at most %d, h2 has mode request only, "
				"resuming needs TLS\n", STREAMS_MAX);
		exit(2);
	}
	if (options.bytes)
		snprintf(path, sizeof(path), "/bytes/%zu", options.bytes);
}

static void tls_init(void)
{
	const char *alpn = options.is_h2 ? "\x02h2" : "\x08http/1.1";

	tls = SSL_CTX_new(TLS_client_method());
	if (!tls || SSL_CTX_set_alpn_protos(tls, (const unsigned char *)alpn, (unsigned)strlen(alpn)))
		abort();
	SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
	SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(tls, 1);
	SSL_CTX_set_default_read_buffer_len(tls, INPUT_BYTES);
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(tls, on_new_session);
}

static void h2_init(void)
{
	if (nghttp2_session_callbacks_new(&h2_callbacks))
		abort();
	nghttp2_session_callbacks_set_on_header_callback(h2_callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(h2_callbacks, on_data_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(h2_callbacks, on_stream_close);
}

static struct link *link_new(void)
{
	struct link *l = calloc(1, sizeof(*l) + options.streams * sizeof(struct stream));

	if (!l)
		abort();
	l->fd = -1;
	l->head = malloc(HEAD_BYTES_MAX + 1);
	l->output = malloc(OUTPUT_BYTES);
	if (!l->head || !l->output)
		abort();
	return l;
}

int main(int argc, char **argv)
{
	unsigned i;

	options_read(argc, argv);
	files_raise();
	prctl(PR_SET_TIMERSLACK, 1);
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	tls_init();
	h2_init();
	links = calloc(options.connections, sizeof(struct link *));
	free_links = calloc(options.connections, sizeof(struct link *));
	if (poll_fd < 0 || !links || !free_links)
		return 1;
	for (i = 0; i < options.connections; i++)
		links[i] = free_links[free_count++] = link_new();
	if (options.mode == MODE_IDLE)
		run_idle();
	else
		run_load();
	return 0;
}
