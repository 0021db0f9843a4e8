/* SPDX-License-Identifier: GPL-2.0-only */
/* test_client_pending.c - connections over TLS, and requests that wait until ALPN says what their origin speaks. */
#include "tls_origin.h"

#include "lib/port_hold.h"

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

static int set_up(void **state)
{
	struct tls_fixture *f = test_calloc(1, sizeof(*f));

	*state = f;
	return tls_fixture_set_up(f, CLIENT_AUTO);
}

static int tear_down(void **state)
{
	struct tls_fixture *f = *state;

	tls_fixture_tear_down(f);
	test_free(f);
	return 0;
}

static bool has_request(const struct tls_origin *o)
{
	return strstr(o->in, "\r\n\r\n");
}

static void test_origin_that_speaks_http1(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c = call(&f->k, "/a");
	struct tls_origin *o = &f->origins[0];

	f->alpn = "http/1.1";
	assert_true(http_stream_queued(c->st) > 0);
	assert_false(http_stream_has_written(c->st));
	TLS_UNTIL(f, f->origin_count == 1 && has_request(o));
	assert_ptr_equal(strstr(o->in, "GET /a HTTP/1.1\r\n"), o->in);
	assert_string_equal(SSL_get_servername(o->ssl, TLSEXT_NAMETYPE_host_name), "origin.example");
	assert_false(c->st->is_duplex);
	tls_origin_say(o, OK);
	TLS_UNTIL(f, c->ends == 1);
	assert_string_equal(c->text, "hi");
	assert_int_equal(f->k.pool.idle_count, 1);
	assert_int_equal(f->k.pool.open_count, 1);
	o->in_len = 0;
	c = call(&f->k, "/b");
	assert_true(http_stream_is_reused(c->st));
	TLS_UNTIL(f, strstr(o->in, "GET /b"));
	assert_int_equal(f->k.pool.connected, 1);
}

static void test_origin_that_answers_no_alpn_speaks_http1(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c = call(&f->k, "/a");

	f->alpn = NULL;
	TLS_UNTIL(f, f->origin_count == 1 && has_request(&f->origins[0]));
	tls_origin_say(&f->origins[0], OK);
	TLS_UNTIL(f, c->ends == 1);
}

static void test_origin_that_speaks_http2(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c = call(&f->k, "/a"), *later;
	struct h2_origin *h = &f->origins[0].h2;

	f->alpn = "h2";
	TLS_UNTIL(f, f->origin_count == 1 && h->ended == 1);
	assert_true(c->st->is_duplex);
	later = call(&f->k, "/b"); /* straight on the connection */
	TLS_UNTIL(f, h->ended == 2);
	h2_origin_answer(h, &h->requests[0], "200", 100000, true);
	h2_origin_answer(h, &h->requests[1], "200", 7, true);
	TLS_UNTIL(f, c->ends == 1 && later->ends == 1);
	assert_int_equal(c->bytes, 100000);
	assert_int_equal(f->k.pool.connected, 1);
	assert_int_equal(f->k.pool.idle_count, 1);
}

static void test_unknown_origin_gets_a_connection_a_request(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *a = call(&f->k, "/a"), *b = call(&f->k, "/b");

	f->alpn = "h2";
	TLS_UNTIL(f, f->origin_count == 2 && f->origins[0].h2.ended == 1 && f->origins[1].h2.ended == 1);
	assert_int_equal(a->fails + b->fails, 0);
}

/* Bring the pool to know that the origin speaks HTTP/2, without an open connection. */
static void learn_h2(struct tls_fixture *f)
{
	struct caller *c;
	unsigned n = f->origin_count;

	f->alpn = "h2";
	c = call(&f->k, "/learn");
	TLS_UNTIL(f, f->origin_count == n + 1 && f->origins[n].h2.ended == 1);
	h2_origin_answer(&f->origins[n].h2, &f->origins[n].h2.requests[0], "200", 1, true);
	TLS_UNTIL(f, c->ends == 1);
	client_pool_close(&f->k.pool);
	TLS_UNTIL(f, f->k.pool.open_count == 0);
}

static void test_requests_join_when_the_origin_spoke_http2(void **state)
{
	struct tls_fixture *f = *state;
	struct h2_origin *h = &f->origins[1].h2;
	struct caller *c[3];

	learn_h2(f);
	f->k.pool.h2_streams_seen = 3; /* the origin may have allowed so many */
	for (int i = 0; i < 3; i++)
		c[i] = call(&f->k, "/a");
	assert_int_equal(f->k.pool.open_count, 1);
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NEW);
	TLS_UNTIL(f, f->origin_count == 2 && h->ended == 3);
	for (int i = 0; i < 3; i++)
		h2_origin_answer(h, &h->requests[i], "200", 1, true);
	TLS_UNTIL(f, c[0]->ends && c[1]->ends && c[2]->ends);
	assert_int_equal(f->k.pool.open_count, 1);
}

static void test_what_is_sent_early_arrives(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c = call_open(&f->k, false);
	struct h2_origin *h = &f->origins[0].h2;
	struct headers trailers;

	f->alpn = "h2";
	call_send(c, "POST", "/up", false);
	call_send_bytes(c, 5000);
	call_send_bytes(c, 5000);
	headers_init(&trailers, &c->arena);
	headers_add_name(&trailers, SPAN("x-sum"), SPAN("1234"));
	http_stream_send_end(c->st, &trailers);
	assert_true(http_stream_queued(c->st) > 10000);
	TLS_UNTIL(f, f->origin_count == 1 && h->ended == 1);
	assert_int_equal(h->requests[0].bytes, 10000);
	assert_string_equal(h->requests[0].trailer, "1234");
	assert_int_equal(http_stream_queued(c->st), 0);
}

static void test_origin_that_went_back_to_http1(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c[3];

	learn_h2(f);
	f->alpn = "http/1.1";
	for (int i = 0; i < 3; i++)
		c[i] = call(&f->k, "/a");
	f->k.settings.max_connections = 4;
	TLS_UNTIL(f, f->origin_count == 4 && has_request(&f->origins[1]) && has_request(&f->origins[2]) &&
			     has_request(&f->origins[3]));
	for (int i = 0; i < 3; i++)
		tls_origin_say(&f->origins[1 + i], OK);
	TLS_UNTIL(f, c[0]->ends && c[1]->ends && c[2]->ends);
}

static void test_those_without_room_are_refused(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c[3];
	unsigned refused = 0;

	learn_h2(f);
	f->alpn = "http/1.1";
	f->k.settings.max_connections = 2;
	for (int i = 0; i < 3; i++)
		c[i] = call(&f->k, "/a");
	TLS_UNTIL(f, f->k.fails == 1);
	for (int i = 0; i < 3; i++)
		refused += c[i]->fails && c[i]->failure.fault == SESSION_FAULT_REFUSED;
	assert_int_equal(refused, 1);
	assert_int_equal(f->k.pool.open_count, 2);
}

static void test_owner_that_leaves_ends_the_handshake(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c = call(&f->k, "/a");

	f->is_deaf = true;
	TLS_UNTIL(f, f->origin_count == 1);
	caller_leave(c, false);
	TLS_UNTIL(f, f->k.pool.open_count == 0);
}

static void expect_tls_failure(struct tls_fixture *f, const char *reason)
{
	struct caller *c = call(&f->k, "/a");

	TLS_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_TLS);
	assert_string_equal(c->failure.tls, reason);
	assert_true(strlen(c->detail) > 0);
	TLS_UNTIL(f, f->k.pool.open_count == 0);
}

static void test_certificate_for_another_name(void **state)
{
	struct tls_fixture *f = *state;

	f->k.settings.tls_host = SPAN("other.example");
	expect_tls_failure(f, "wrong_name");
	f->k.settings.protocol = CLIENT_HTTP1;
	expect_tls_failure(f, "wrong_name");
	f->k.settings.protocol = CLIENT_HTTP2;
	expect_tls_failure(f, "wrong_name");
	f->k.settings.protocol = CLIENT_RAW;
	expect_tls_failure(f, "wrong_name");
}

static void test_certificate_of_an_unknown_authority(void **state)
{
	struct tls_fixture *f = *state;
	struct pki other = pki_make((struct pki_spec){.name = "Other CA", .is_ca = true});

	tls_client_put(f->client);
	f->client = f->k.settings.tls = tls_fixture_client(pki_write_cert("other.pem", &other, NULL));
	pki_free(&other);
	expect_tls_failure(f, "unknown_ca");
}

static void test_expired_certificate(void **state)
{
	struct tls_fixture *f = *state;
	struct pki old = pki_make((struct pki_spec){
		.name = "old", .issuer = &f->ca, .san = "DNS:origin.example", .from = -2 * DAY, .until = -DAY});

	assert_int_equal(SSL_CTX_use_certificate(f->ctx, old.x), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(f->ctx, old.key), 1);
	pki_free(&old);
	expect_tls_failure(f, "expired");
}

static void test_origin_without_tls(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c = call(&f->k, "/a");
	int fd = -1;

	for (int i = 0; i < 200 && fd < 0; i++) {
		fd = accept4(f->k.listen_fd, NULL, NULL, SOCK_CLOEXEC);
		loop_turn(f->k.loop, 5);
	}
	assert_int_equal(send(fd, OK, strlen(OK), MSG_NOSIGNAL), strlen(OK));
	TLS_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_TLS);
	assert_string_equal(c->failure.tls, "not_tls");
	close(fd);
}

static void test_handshake_that_takes_too_long(void **state)
{
	static const enum client_protocol protocols[] = {CLIENT_AUTO, CLIENT_HTTP1, CLIENT_HTTP2, CLIENT_RAW};
	struct tls_fixture *f = *state;

	f->is_deaf = true;
	f->k.settings.connect_timeout_ms = 60;
	for (unsigned i = 0; i < ARRAY_LEN(protocols); i++) {
		struct caller *c;

		f->k.settings.protocol = protocols[i];
		c = call(&f->k, "/a");
		TLS_UNTIL(f, c->fails == 1);
		assert_int_equal(c->failure.fault, SESSION_FAULT_TLS_TIMEOUT);
		assert_string_equal(c->failure.tls, "timeout");
	}
	TLS_UNTIL(f, f->k.pool.open_count == 0);
}

static void test_origin_that_closes_in_the_handshake(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c = call(&f->k, "/a");
	int fd = -1;

	for (int i = 0; i < 200 && fd < 0; i++) {
		fd = accept4(f->k.listen_fd, NULL, NULL, SOCK_CLOEXEC);
		loop_turn(f->k.loop, 5);
	}
	for (int i = 0; i < 5; i++)
		loop_turn(f->k.loop, 5);
	close(fd);
	TLS_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_TLS);
	assert_string_equal(c->failure.tls, "closed");
}

static void test_refused_connect_is_no_tls_failure(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c;

	f->k.listen_fd = port_hold(f->k.listen_fd);
	c = call(&f->k, "/a");
	for (int i = 0; i < 200 && c->fails == 0; i++)
		loop_turn(f->k.loop, 5);
	assert_int_equal(c->failure.fault, SESSION_FAULT_CONNECT);
	assert_int_equal(c->failure.err, -ECONNREFUSED);
}

static void test_http1_only_offers_nothing_else(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c;

	f->alpn = "h2"; /* not offered, so not chosen */
	f->k.settings.protocol = CLIENT_HTTP1;
	c = call(&f->k, "/a");
	TLS_UNTIL(f, f->origin_count == 1 && has_request(&f->origins[0]));
	tls_origin_say(&f->origins[0], OK);
	TLS_UNTIL(f, c->ends == 1);
	assert_int_equal(f->k.pool.idle_count, 1);
	/* Not for those who could have HTTP/2. */
	f->k.settings.protocol = CLIENT_AUTO;
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NEW);
}

static void test_http2_only_takes_nothing_else(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c;

	f->k.settings.protocol = CLIENT_HTTP2;
	expect_tls_failure(f, "no_shared_alpn");
	f->alpn = "h2";
	c = call(&f->k, "/a");
	TLS_UNTIL(f, f->origin_count == 2 && f->origins[1].h2.ended == 1);
	assert_int_equal(c->fails, 0);
}

static void test_connections_of_others_are_not_shared(void **state)
{
	struct tls_fixture *f = *state;
	struct tls_client *another;
	struct caller *c = call(&f->k, "/a");

	f->alpn = "h2";
	TLS_UNTIL(f, f->origin_count == 1 && f->origins[0].h2.ended == 1);
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_SHARED);
	f->k.settings.tls_host = SPAN("www.origin.example");
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NEW);
	f->k.settings.tls_host = SPAN("origin.example");
	another = f->k.settings.tls = tls_fixture_client(pki_path("ca.pem"));
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NEW);
	f->k.settings.tls = NULL;
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NEW);
	tls_client_put(another);
	assert_int_equal(c->fails, 0);
}

/* A pool that is full of idle connections to somebody else makes room. */
static void test_idle_connection_of_others_makes_room(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c = call(&f->k, "/a");

	TLS_UNTIL(f, f->origin_count == 1 && has_request(&f->origins[0]));
	tls_origin_say(&f->origins[0], OK);
	TLS_UNTIL(f, f->k.pool.idle_count == 1);
	assert_int_equal(c->ends, 1);
	f->k.settings.max_connections = 1;
	f->k.settings.protocol = CLIENT_HTTP1;
	f->k.releases = 0;
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NONE);
	TLS_UNTIL(f, f->k.releases > 0 && f->k.pool.open_count == 0);
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NEW);
}

static void test_sessions_are_resumed(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c;

	for (unsigned i = 0; i < 2; i++) {
		c = call(&f->k, "/a");
		TLS_UNTIL(f, f->origin_count == i + 1 && has_request(&f->origins[i]));
		assert_int_equal(SSL_session_reused(f->origins[i].ssl), i);
		tls_origin_say(&f->origins[i], OK);
		TLS_UNTIL(f, c->ends == 1);
		client_pool_close(&f->k.pool);
		TLS_UNTIL(f, f->k.pool.open_count == 0);
	}
}

static void test_preface_comes_before_tls(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c;
	char line[32] = "";
	int fd = -1;

	f->alpn = "h2";
	f->k.settings.preface = SPAN("PROXY UNKNOWN\r\n");
	c = call(&f->k, "/a");
	for (int i = 0; i < 200 && fd < 0; i++) {
		fd = accept4(f->k.listen_fd, NULL, NULL, SOCK_CLOEXEC);
		loop_turn(f->k.loop, 5);
	}
	assert_int_equal(recv(fd, line, 15, MSG_WAITALL), 15);
	assert_string_equal(line, "PROXY UNKNOWN\r\n");
	tls_origin_take(f, fd);
	TLS_UNTIL(f, f->origins[0].h2.ended == 1);
	f->k.settings.preface = (struct span){0};
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NEW);
	h2_origin_answer(&f->origins[0].h2, &f->origins[0].h2.requests[0], "200", 1, true);
	TLS_UNTIL(f, c->ends == 1 && f->k.pool.open_count == 0);
}

/* An end without close_notify may have cut the answer. */
static void test_answer_until_close_needs_close_notify(void **state)
{
	struct tls_fixture *f = *state;
	struct caller *c;

	for (unsigned i = 0; i < 2; i++) {
		c = call(&f->k, "/a");
		TLS_UNTIL(f, f->origin_count == i + 1 && has_request(&f->origins[i]));
		tls_origin_say(&f->origins[i], "HTTP/1.1 200 OK\r\n\r\nhalf");
		TLS_UNTIL(f, c->bytes == 4);
		if (i == 1)
			SSL_shutdown(f->origins[i].ssl);
		shutdown(f->origins[i].fd, SHUT_WR);
		TLS_UNTIL(f, c->fails + c->ends == 1);
		assert_int_equal(c->ends, i);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_origin_that_speaks_http1),
		T(test_origin_that_answers_no_alpn_speaks_http1),
		T(test_origin_that_speaks_http2),
		T(test_unknown_origin_gets_a_connection_a_request),
		T(test_requests_join_when_the_origin_spoke_http2),
		T(test_what_is_sent_early_arrives),
		T(test_origin_that_went_back_to_http1),
		T(test_those_without_room_are_refused),
		T(test_owner_that_leaves_ends_the_handshake),
		T(test_certificate_for_another_name),
		T(test_certificate_of_an_unknown_authority),
		T(test_expired_certificate),
		T(test_origin_without_tls),
		T(test_handshake_that_takes_too_long),
		T(test_origin_that_closes_in_the_handshake),
		T(test_refused_connect_is_no_tls_failure),
		T(test_http1_only_offers_nothing_else),
		T(test_http2_only_takes_nothing_else),
		T(test_connections_of_others_are_not_shared),
		T(test_idle_connection_of_others_makes_room),
		T(test_sessions_are_resumed),
		T(test_preface_comes_before_tls),
		T(test_answer_until_close_needs_close_notify),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
