/* SPDX-License-Identifier: GPL-2.0-only */
/* test_server.c - HTTP/1 server sessions on a socket pair, with a small owner instead of the proxy. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "lib/steady_clock.h"
#include "net/socket.h"
#include "session/server.h"

/* The owner: answers when the request is complete with its body, or at once if `answers_early`. */
struct owner {
	struct server_host host;
	struct server_settings settings;
	bool has_no_listener, answers_early;
	bool holds; /* the test answers */
	size_t first_credit;

	struct http_stream *st;
	struct arena *arena;
	struct strbuf body;
	unsigned requests, bad_requests, ends, fails, sessions_ended;
	enum session_fault last_fault;
	unsigned last_status;
	bool is_tunnel;
};

static struct owner *owner_of(struct server_host *h)
{
	return container_of(h, struct owner, host);
}

static const struct server_settings *get_settings(struct server_host *h, uint32_t id)
{
	struct owner *o = owner_of(h);

	(void)id;
	return o->has_no_listener ? NULL : &o->settings;
}

static void owner_accept(struct owner *o, int fd)
{
	struct addr peer;

	socket_peer_find(fd, &peer);
	server_accept(&o->host, 1, &o->settings, fd, &peer);
}

static void leave(struct owner *o)
{
	arena_cache_give(&o->host.arenas, o->arena);
	o->arena = NULL;
	o->st = NULL;
}

static void answer(struct owner *o)
{
	struct message m;

	message_init(&m, o->arena);
	m.status = 200;
	m.framing = BODY_LENGTH;
	m.content_length = o->body.len;
	http_stream_send_head(o->st, &m);
	http_stream_send_body(o->st, slice_copy(o->body.ptr, (uint32_t)o->body.len));
	http_stream_send_end(o->st, NULL);
	strbuf_reset(&o->body);
	http_stream_done(o->st);
	leave(o);
}

static void on_body(struct http_stream *st, struct slice data)
{
	struct owner *o = st->owner;

	if (o->is_tunnel)
		http_stream_send_body(st, slice_ref(data));
	else
		strbuf_add(&o->body, data.ptr, data.len);
	http_stream_credit(st, data.len);
	slice_put(&data);
}

static void on_end(struct http_stream *st, struct headers *trailers)
{
	struct owner *o = st->owner;

	(void)trailers;
	o->ends++;
	if (o->holds)
		return;
	if (o->is_tunnel) {
		http_stream_send_end(st, NULL);
		http_stream_done(st);
		leave(o);
		return;
	}
	answer(o);
}

static void on_sent(struct http_stream *st)
{
	(void)st;
}

static void on_fail(struct http_stream *st, const struct session_failure *f)
{
	struct owner *o = st->owner;

	o->fails++;
	o->last_fault = f->fault;
	http_stream_reset(st);
	leave(o);
}

static const struct http_stream_events events = {
	.on_body = on_body,
	.on_end = on_end,
	.on_sent = on_sent,
	.on_fail = on_fail,
};

static void on_request(struct server_host *h, struct http_stream *st, uint32_t id, struct message *m, struct arena *a)
{
	struct owner *o = owner_of(h);

	(void)id;
	o->requests++;
	o->st = st;
	o->arena = a;
	st->owner = o;
	st->events = &events;
	strbuf_reset(&o->body);
	strbuf_add_span(&o->body, m->path);
	if (o->answers_early) {
		answer(o);
		return;
	}
	if (m->upgrade.len > 0) {
		struct message switching;

		message_init(&switching, a);
		switching.status = 101;
		switching.framing = BODY_TUNNEL;
		switching.upgrade = m->upgrade;
		o->is_tunnel = true;
		http_stream_credit(st, 65536);
		return;
	}
	http_stream_credit(st, o->first_credit);
}

static void on_bad_request(struct server_host *h, uint32_t id, struct stream *s, const struct session_failure *f,
			   unsigned status, struct strbuf *body, const char **content_type)
{
	struct owner *o = owner_of(h);

	(void)id;
	(void)s;
	o->bad_requests++;
	o->last_fault = f->fault;
	o->last_status = status;
	strbuf_add_str(body, "bad");
	*content_type = "text/plain";
}

static void on_session_end(struct server_host *h, uint32_t id, struct stream *st)
{
	(void)id;
	(void)st;
	owner_of(h)->sessions_ended++;
}

struct fixture {
	struct loop *loop;
	struct owner o;
	int fd; /* the client's end */
	char got[65536];
	size_t got_len;
	bool is_eof;
};

static int set_up(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));
	const char *reason;
	int pair[2];

	hash_init();
	assert_int_equal(loop_new(&f->loop, &(struct loop_config){ 0 }, &reason), 0);
	f->o.settings = (struct server_settings){
		.limits = { 8192, 16384, 100, 8192, 256 },
		.head_timeout_ms = 60,
		.body_idle_timeout_ms = 60,
		.keep_alive_timeout_ms = 60,
		.write_idle_timeout_ms = 60,
	};
	f->o.first_credit = 65536;
	f->o.host = (struct server_host){
		.loop = f->loop,
		.settings = get_settings,
		.on_request = on_request,
		.on_bad_request = on_bad_request,
		.on_session_end = on_session_end,
	};
	strbuf_init(&f->o.body);
	server_host_init(&f->o.host, 2);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	f->fd = pair[0];
	owner_accept(&f->o, pair[1]);
	*state = f;
	return 0;
}

static void turn(struct fixture *f)
{
	loop_turn(f->loop, 5);
	while (f->got_len < sizeof(f->got) - 1) {
		ssize_t n = recv(f->fd, f->got + f->got_len, sizeof(f->got) - 1 - f->got_len, MSG_DONTWAIT);

		if (n <= 0) {
			f->is_eof |= n == 0 || (n < 0 && errno != EAGAIN);
			break;
		}
		f->got_len += (size_t)n;
	}
	f->got[f->got_len] = 0;
}

static void turn_until(struct fixture *f, bool (*is_done)(struct fixture *f))
{
	for (int i = 0; i < 400; i++) {
		if (is_done(f))
			return;
		turn(f);
	}
	fail_msg("nothing happened; got: %s", f->got);
}

static bool is_closed(struct fixture *f)
{
	return server_session_count(&f->o.host) == 0;
}

static bool is_eof(struct fixture *f)
{
	return f->is_eof;
}

static unsigned count(const char *in, const char *what)
{
	unsigned n = 0;

	for (const char *p = in; (p = strstr(p, what)); p++)
		n++;
	return n;
}

static bool has_answers(struct fixture *f, unsigned n)
{
	return count(f->got, "HTTP/1.1 200") >= n;
}

static bool has_one(struct fixture *f)
{
	return has_answers(f, 1) && f->o.st == NULL;
}

static bool has_three(struct fixture *f)
{
	return has_answers(f, 3) && f->o.st == NULL;
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(send(f->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close(f->fd);
	f->fd = -1;
	for (int i = 0; i < 1000 && !is_closed(f); i++)
		loop_turn(f->loop, 5);
	assert_int_equal(server_session_count(&f->o.host), 0);
	assert_int_equal(f->o.host.arenas.used, 0);
	server_host_fini(&f->o.host);
	strbuf_fini(&f->o.body);
	loop_free(f->loop);
	test_free(f);
	return 0;
}

static void test_kept_connection_serves_one_after_another(void **state)
{
	struct fixture *f = *state;

	say(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	turn_until(f, has_one);
	assert_non_null(strstr(f->got, "\r\n\r\n/a"));
	say(f, "GET /b HTTP/1.1\r\nHost: x\r\n\r\nGET /c HTTP/1.1\r\nHost: x\r\n\r\n");
	turn_until(f, has_three);
	assert_non_null(strstr(f->got, "/b"));
	assert_non_null(strstr(f->got, "/c"));
	assert_int_equal(f->o.requests, 3);
	assert_null(strstr(f->got, "close"));
}

static void test_body_comes_only_with_credit(void **state)
{
	struct fixture *f = *state;

	f->o.first_credit = 0;
	f->o.settings.body_idle_timeout_ms = 10000;
	say(f, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
	for (int i = 0; i < 5; i++)
		turn(f);
	assert_int_equal(f->o.requests, 1);
	assert_int_equal(f->o.body.len, 2);
	http_stream_credit(f->o.st, 100);
	turn_until(f, has_one);
	assert_non_null(strstr(f->got, "/phello"));
}

static void test_continue_is_sent_with_the_first_credit(void **state)
{
	struct fixture *f = *state;

	say(f, "POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	for (int i = 0; i < 5; i++)
		turn(f);
	assert_string_equal(f->got, "HTTP/1.1 100 Continue\r\n\r\n");
	say(f, "ok");
	turn_until(f, has_one);
}

static void test_close_is_said_and_done(void **state)
{
	struct fixture *f = *state;

	say(f, "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	turn_until(f, is_closed);
	turn_until(f, is_eof);
	assert_non_null(strstr(f->got, "Connection: close\r\n"));
	assert_non_null(strstr(f->got, "/a"));
}

static void test_half_closed_client_gets_its_answer(void **state)
{
	struct fixture *f = *state;

	f->o.first_credit = 1;
	say(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	shutdown(f->fd, SHUT_WR);
	turn_until(f, is_closed);
	turn(f);
	assert_non_null(strstr(f->got, "/a"));
	assert_int_equal(f->o.fails, 0);
}

static void test_malformed_head_is_answered_and_closed(void **state)
{
	struct fixture *f = *state;

	say(f, "GET / HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
	turn_until(f, is_eof);
	assert_non_null(strstr(f->got, "HTTP/1.1 400 "));
	assert_int_equal(f->o.requests, 0);
	assert_int_equal(f->o.bad_requests, 1);
}

static void test_slow_head_is_408(void **state)
{
	struct fixture *f = *state;

	say(f, "GET / HT");
	turn_until(f, is_eof);
	assert_int_equal(f->o.last_status, 408);
	assert_int_equal(f->o.last_fault, SESSION_FAULT_HEAD_TIMEOUT);
	assert_non_null(strstr(f->got, "HTTP/1.1 408 "));
}

static void test_silent_client_is_closed_without_a_word(void **state)
{
	struct fixture *f = *state;

	turn_until(f, is_closed);
	turn(f);
	assert_int_equal(f->got_len, 0);
	assert_int_equal(f->o.bad_requests, 0);
	assert_int_equal(f->o.sessions_ended, 1);
}

static void test_slow_body_fails_the_owner(void **state)
{
	struct fixture *f = *state;

	say(f, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
	turn_until(f, is_closed);
	assert_int_equal(f->o.fails, 1);
	assert_int_equal(f->o.last_fault, SESSION_FAULT_BODY_TIMEOUT);
}

static void test_end_inside_a_body_fails_the_owner(void **state)
{
	struct fixture *f = *state;

	say(f, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
	shutdown(f->fd, SHUT_WR);
	turn_until(f, is_closed);
	assert_int_equal(f->o.fails, 1);
	assert_int_equal(f->o.last_fault, SESSION_FAULT_EOF);
}

static void test_early_answer_drains_a_small_body_and_goes_on(void **state)
{
	struct fixture *f = *state;

	f->o.answers_early = true;
	say(f, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
	turn_until(f, has_one);
	say(f, "defghiGET /y HTTP/1.1\r\nHost: x\r\n\r\nGET /z HTTP/1.1\r\nHost: x\r\n\r\n");
	turn_until(f, has_three);
	assert_non_null(strstr(f->got, "/z"));
}

static void test_early_answer_gives_up_a_large_body(void **state)
{
	struct fixture *f = *state;
	static char block[8192];

	f->o.answers_early = true;
	f->o.settings.body_idle_timeout_ms = 10000;
	say(f, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n");
	for (int i = 0; i < 400 && !f->is_eof; i++) {
		(void)send(f->fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);
		turn(f);
	}
	assert_true(f->is_eof);
	assert_non_null(strstr(f->got, "/x"));
	assert_int_equal(f->o.requests, 1);
}

static void test_early_answer_to_a_large_body_says_close_at_once(void **state)
{
	struct fixture *f = *state;

	f->o.answers_early = true;
	f->o.settings.body_idle_timeout_ms = 60000;
	say(f, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n");
	turn_until(f, is_eof);
	assert_non_null(strstr(f->got, "Connection: close\r\n"));
}

static void test_keep_alive_request_limit_closes(void **state)
{
	struct fixture *f = *state;

	f->o.settings.keep_alive_requests_max = 2;
	say(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n"
	       "GET /c HTTP/1.1\r\nHost: x\r\n\r\n");
	turn_until(f, is_eof);
	assert_int_equal(f->o.requests, 2);
	assert_int_equal(count(f->got, "Connection: close"), 1);
}

static void test_draining_host_answers_once_more_and_closes(void **state)
{
	struct fixture *f = *state;

	f->o.host.is_draining = true;
	server_drain(&f->o.host, 0);
	say(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	turn_until(f, is_eof);
	assert_non_null(strstr(f->got, "Connection: close"));
	assert_non_null(strstr(f->got, "/a"));
}

static void test_host_is_full_at_its_maximum(void **state)
{
	struct fixture *f = *state;
	int a[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	assert_false(server_is_full(&f->o.host));
	owner_accept(&f->o, a[1]);
	assert_true(server_is_full(&f->o.host));
	close(a[0]);
}

/* A second client of the worker asks; true: it got an answer. */
static bool another_is_served(struct fixture *f)
{
	static const char request[] = "GET /b HTTP/1.1\r\nHost: x\r\n\r\n";
	char buf[1024];
	ssize_t n = -1;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	owner_accept(&f->o, pair[1]);
	assert_int_equal(send(pair[0], request, sizeof(request) - 1, 0), sizeof(request) - 1);
	for (int i = 0; i < 100 && n < 0; i++) {
		turn(f);
		n = recv(pair[0], buf, sizeof(buf) - 1, MSG_DONTWAIT);
	}
	close(pair[0]);
	for (int i = 0; i < 100 && f->o.host.session_count > 1; i++)
		turn(f);
	return n > 0 && strncmp(buf, "HTTP/1.1 200", 12) == 0;
}

/* Codecs go from one connection to the next, but not what the one had begun. */
static void test_line_ends_of_one_client_are_not_anothers(void **state)
{
	struct fixture *f = *state;

	f->o.settings.head_timeout_ms = 10000;
	f->o.settings.keep_alive_timeout_ms = 10000;
	say(f, "\r");
	turn(f);
	turn(f);
	assert_true(another_is_served(f));
	say(f, "\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	turn_until(f, has_one);
	assert_int_equal(f->o.bad_requests, 0);
	say(f, "\r\n");
	turn(f);
	turn(f);
	assert_true(another_is_served(f));
	say(f, "\r\n\r\n"); /* one is forgiven */
	turn_until(f, is_eof);
	assert_int_equal(f->o.bad_requests, 1);
}

static void test_codec_of_a_closed_connection_is_used_again(void **state)
{
	static const char *const beginnings[] = {
		"", "\r", "GET /a HT", "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "\1\2\3\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
		"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7",
	};
	struct fixture *f = *state;

	f->o.settings.keep_alive_timeout_ms = 10000;
	say(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	turn_until(f, has_one);
	assert_int_equal(f->o.host.codec_count, 1);
	for (unsigned i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		owner_accept(&f->o, pair[1]);
		assert_true(send(pair[0], beginnings[i], strlen(beginnings[i]), 0) >= 0);
		turn(f);
		turn(f);
		close(pair[0]);
		for (int k = 0; k < 100 && f->o.host.session_count > 1; k++)
			turn(f);
		assert_int_equal(f->o.host.codec_count, 1);
		assert_true(another_is_served(f));
		assert_int_equal(f->o.host.codec_count, 1);
	}
}

static int tcp_connect(struct fixture *f)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(at);

	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	owner_accept(&f->o, accept(listener, NULL, NULL));
	close(listener);
	return fd;
}

/* The codec refuses to write what its owner let through: the client must not take it for an answer. */
static void test_answer_that_cannot_be_written_is_a_reset(void **state)
{
	struct fixture *f = *state;
	struct message m;
	ssize_t n = -1;
	char byte;

	close(f->fd);
	f->fd = tcp_connect(f);
	f->o.holds = true;
	say(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	for (int i = 0; i < 100 && !f->o.st; i++)
		loop_turn(f->loop, 5);
	message_init(&m, f->o.arena);
	m.status = 200;
	m.framing = BODY_LENGTH;
	m.content_length = 0;
	headers_add_name(&m.headers, SPAN("x-bad"), SPAN("a\r\nb"));
	http_stream_send_head(f->o.st, &m);
	http_stream_send_end(f->o.st, NULL);
	http_stream_done(f->o.st);
	leave(&f->o);
	errno = EAGAIN;
	for (int i = 0; i < 100 && n < 0 && errno == EAGAIN; i++) {
		loop_turn(f->loop, 5);
		n = recv(f->fd, &byte, 1, MSG_DONTWAIT);
	}
	assert_int_equal(n, -1);
	assert_int_equal(errno, ECONNRESET);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_kept_connection_serves_one_after_another),
		T(test_body_comes_only_with_credit),
		T(test_continue_is_sent_with_the_first_credit),
		T(test_close_is_said_and_done),
		T(test_half_closed_client_gets_its_answer),
		T(test_malformed_head_is_answered_and_closed),
		T(test_slow_head_is_408),
		T(test_silent_client_is_closed_without_a_word),
		T(test_slow_body_fails_the_owner),
		T(test_end_inside_a_body_fails_the_owner),
		T(test_early_answer_drains_a_small_body_and_goes_on),
		T(test_early_answer_gives_up_a_large_body),
		T(test_early_answer_to_a_large_body_says_close_at_once),
		T(test_keep_alive_request_limit_closes),
		T(test_draining_host_answers_once_more_and_closes),
		T(test_host_is_full_at_its_maximum),
		T(test_line_ends_of_one_client_are_not_anothers),
		T(test_codec_of_a_closed_connection_is_used_again),
		T(test_answer_that_cannot_be_written_is_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
