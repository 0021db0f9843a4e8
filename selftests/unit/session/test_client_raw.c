/* SPDX-License-Identifier: GPL-2.0-only */
/* test_client_raw.c - connections to origins that carry bytes, in plain text and over TLS. */
#include "tls_origin.h"

#include "lib/port_hold.h"

static int set_up(void **state)
{
	struct tls_fixture *f = test_calloc(1, sizeof(*f));

	*state = f;
	tls_fixture_set_up(f, CLIENT_RAW);
	f->k.settings.tls = NULL;
	return 0;
}

static int tear_down(void **state)
{
	struct tls_fixture *f = *state;

	tls_fixture_tear_down(f);
	test_free(f);
	return 0;
}

/* As the proxy does: a request without bytes, then a tunnel. */
static struct caller *connect_raw(struct tls_fixture *f)
{
	struct caller *c = call_open(&f->k, false);
	struct message *m = &c->request;

	c->stays = true;
	message_init(m, &c->arena);
	m->method = METHOD_CONNECT;
	m->method_name = SPAN("CONNECT");
	m->is_raw = true;
	http_stream_send_head(c->st, m);
	http_stream_send_end(c->st, NULL);
	http_stream_credit(c->st, 65536);
	return c;
}

static int take_plain(struct tls_fixture *f)
{
	int fd = -1;

	for (int i = 0; i < 200 && fd < 0; i++) {
		fd = accept4(f->k.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		loop_turn(f->k.loop, 5);
	}
	assert_true(fd >= 0);
	return fd;
}

#define LOOP_UNTIL(f, condition)										\
	do {													\
		bool is_so_ = (condition);									\
														\
		for (int turns_ = 0; turns_ < 1500 && !is_so_; turns_++) {					\
			loop_turn((f)->k.loop, 5);								\
			is_so_ = (condition);									\
		}												\
		if (!is_so_)											\
			fail_msg("never came: %s", #condition);							\
	} while (0)

static void test_bytes_both_ways(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c = connect_raw(f);
	int fd = take_plain(f);
	char buf[16] = "";
	ssize_t n = -1;

	assert_int_equal(send(fd, "hello", 5, 0), 5);
	LOOP_UNTIL(f, c->heads == 1);
	assert_int_equal(c->status, 200);
	assert_int_equal(c->framing, BODY_TUNNEL);
	assert_false(http_stream_has_written(c->st));
	for (int i = 0; i < 5; i++)
		loop_turn(f->k.loop, 5);
	assert_int_equal(c->bytes, 0); /* what was credited before is not for the tunnel */
	http_stream_credit(c->st, 100);
	LOOP_UNTIL(f, c->bytes == 5);
	assert_string_equal(c->text, "hello");
	call_say(c, "world");
	LOOP_UNTIL(f, (n = recv(fd, buf, sizeof(buf), 0)) > 0);
	assert_string_equal(buf, "world");
	close(fd);
}

static void test_tunnel_begins_after_the_request(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c = call_open(&f->k, false);
	int fd;

	c->stays = true;
	http_stream_send_head(c->st, &c->request);
	fd = take_plain(f);
	for (int i = 0; i < 10; i++)
		loop_turn(f->k.loop, 5);
	assert_int_equal(c->heads, 0);
	http_stream_send_end(c->st, NULL);
	LOOP_UNTIL(f, c->heads == 1);
	call_say(c, "x");
	for (int i = 0; i < 10; i++)
		loop_turn(f->k.loop, 5);
	{
		char buf[4];

		assert_int_equal(recv(fd, buf, sizeof(buf), 0), 1);
		assert_int_equal(recv(fd, buf, sizeof(buf), 0), -1); /* no end either */
	}
	close(fd);
}

static void test_ends_are_halves(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c = connect_raw(f);
	int fd = take_plain(f);
	char buf[16] = "";
	ssize_t n = -1;

	LOOP_UNTIL(f, c->heads == 1);
	http_stream_credit(c->st, 100);
	shutdown(fd, SHUT_WR);
	LOOP_UNTIL(f, c->ends == 1);
	call_say(c, "more");
	http_stream_send_end(c->st, NULL);
	LOOP_UNTIL(f, (n = recv(fd, buf, sizeof(buf), 0)) > 0);
	assert_string_equal(buf, "more");
	LOOP_UNTIL(f, (n = recv(fd, buf, sizeof(buf), 0)) == 0);
	caller_leave(c, true);
	LOOP_UNTIL(f, f->k.pool.open_count == 0);
	close(fd);
}

static void test_reset_both_ways(void **state)
{
	struct tls_fixture *f = *state;
	const struct linger linger = {1, 0};
	struct caller *c = connect_raw(f);
	int fd = take_plain(f);
	char byte;

	LOOP_UNTIL(f, c->heads == 1);
	http_stream_credit(c->st, 100);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
	LOOP_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_RESET);
	c = connect_raw(f);
	fd = take_plain(f);
	LOOP_UNTIL(f, c->heads == 1);
	caller_leave(c, false);
	LOOP_UNTIL(f, f->k.pool.open_count == 0);
	LOOP_UNTIL(f, recv(fd, &byte, 1, 0) == -1 && errno == ECONNRESET);
	close(fd);
}

static void test_origin_that_takes_nothing_is_a_write_timeout(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c;
	int fd;

	f->k.settings.write_timeout_ms = 80;
	c = connect_raw(f);
	fd = take_plain(f);
	LOOP_UNTIL(f, c->heads == 1);
	for (int i = 0; i < 100 && c->st; i++) {
		call_send_bytes(c, 1000000);
		loop_turn(f->k.loop, 1);
	}
	LOOP_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_WRITE_TIMEOUT);
	close(fd);
}

static void test_connections_are_never_shared(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c = connect_raw(f);
	int fd = take_plain(f);

	LOOP_UNTIL(f, c->heads == 1);
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NEW);
	f->k.settings.max_connections = 1;
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NONE);
	caller_leave(c, true);
	LOOP_UNTIL(f, f->k.pool.open_count == 0 && f->k.releases > 0);
	close(fd);
}

static void test_refused_connect(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c;

	f->k.listen_fd = port_hold(f->k.listen_fd);
	c = connect_raw(f);
	LOOP_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_CONNECT);
	assert_int_equal(c->heads, 0);
}

static void test_preface_comes_first_and_is_no_request(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c;
	char buf[32] = "";
	size_t len = 0;
	int fd;

	f->k.settings.preface = SPAN("PROXY UNKNOWN\r\n");
	c = connect_raw(f);
	fd = take_plain(f);
	LOOP_UNTIL(f, c->heads == 1);
	call_say(c, "bytes");
	for (int i = 0; i < 200 && len < 20; i++) {
		ssize_t n = recv(fd, buf + len, sizeof(buf) - 1 - len, 0);

		if (n > 0)
			len += (size_t)n;
		if (len == 15)
			assert_false(http_stream_has_written(c->st));
		loop_turn(f->k.loop, 5);
	}
	assert_string_equal(buf, "PROXY UNKNOWN\r\nbytes");
	assert_true(http_stream_has_written(c->st));
	close(fd);
}

static void test_bytes_over_tls(void **state)
{
	struct tls_fixture *f = *state;
	struct tls_origin *o = &f->origins[0];
	struct caller *c;

	f->k.settings.tls = f->client;
	c = connect_raw(f);
	TLS_UNTIL(f, c->heads == 1);
	http_stream_credit(c->st, 100);
	call_say(c, "to the origin");
	TLS_UNTIL(f, o->in_len == 13);
	tls_origin_say(o, "back");
	TLS_UNTIL(f, c->bytes == 4);
	http_stream_send_end(c->st, NULL);
	TLS_UNTIL(f, o->is_eof);
	SSL_shutdown(o->ssl);
	TLS_UNTIL(f, c->ends == 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_bytes_both_ways),
		T(test_tunnel_begins_after_the_request),
		T(test_ends_are_halves),
		T(test_reset_both_ways),
		T(test_origin_that_takes_nothing_is_a_write_timeout),
		T(test_connections_are_never_shared),
		T(test_refused_connect),
		T(test_preface_comes_first_and_is_no_request),
		T(test_bytes_over_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
