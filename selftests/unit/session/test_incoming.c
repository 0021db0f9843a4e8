/* SPDX-License-Identifier: GPL-2.0-only */
/* test_incoming.c - what a connection goes through before it is a session: PROXY header, ClientHello, TLS. */
#include "unit/net/tls_pki.h"

#include <errno.h>
#include <fcntl.h>

#include "net/tlsio.h"
#include "unit/session/owners.h"

#define CLIENTS 8

struct client {
	int fd;
	SSL *ssl; /* NULL: plain */
	bool is_up, is_failed, is_eof;
	char got[4096];
	size_t got_len;
};

struct fixture {
	struct loop *loop;
	struct owners o;
	int listener;
	struct sockaddr_in at;
	struct prefix trusted;
	struct client clients[CLIENTS];
	unsigned count;
};

static struct pki ca, leaf;
static struct tls_shared *shared;
static struct tls_server *tls;
static SSL_CTX *client_ctx;

static int group_setup(void **state)
{
	static const char *const alpn[] = { "h2", "http/1.1" };
	struct tls_server_config c;
	static struct tls_pair_config files;

	(void)state;
	pki_begin();
	ca = pki_make((struct pki_spec){ .name = "root", .is_ca = true });
	leaf = pki_make((struct pki_spec){ .name = "a.example", .san = "DNS:a.example", .issuer = &ca });
	files = pki_write("leaf", &leaf, NULL);
	shared = tls_shared_new(0);
	tls_server_config_init(&c);
	c.label = "test";
	c.defaults = &files;
	c.default_count = 1;
	c.alpn = alpn;
	c.alpn_count = 2;
	tls = server_make(&c, shared);
	client_ctx = SSL_CTX_new(TLS_client_method());
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	SSL_CTX_free(client_ctx);
	tls_server_put(tls);
	tls_shared_free(shared);
	pki_free(&leaf);
	pki_free(&ca);
	pki_end();
	return 0;
}

static int set_up(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));
	socklen_t len = sizeof(f->at);
	const char *reason;

	hash_init();
	assert_int_equal(loop_new(&f->loop, &(struct loop_config){ 0 }, &reason), 0);
	owners_init(&f->o, f->loop, CLIENTS);
	assert_int_equal(prefix_parse(SPAN("127.0.0.0/8"), &f->trusted), 0);
	f->o.settings.proxy_protocol_from = &f->trusted;
	f->o.settings.proxy_protocol_from_count = 1;
	f->o.settings.tls = tls;
	f->at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	f->listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&f->at, sizeof(f->at)), 0);
	assert_int_equal(listen(f->listener, CLIENTS), 0);
	assert_int_equal(getsockname(f->listener, (struct sockaddr *)&f->at, &len), 0);
	*state = f;
	return 0;
}

static bool is_empty(struct fixture *f)
{
	return server_session_count(&f->o.host) == 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < f->count; i++) {
		SSL_free(f->clients[i].ssl);
		close(f->clients[i].fd);
	}
	for (int i = 0; i < 1000 && !is_empty(f); i++)
		loop_turn(f->loop, 5);
	assert_int_equal(f->o.host.handshake_count, 0);
	assert_int_equal(f->o.host.incoming.used, 0);
	owners_fini(&f->o);
	close(f->listener);
	loop_free(f->loop);
	test_free(f);
	return 0;
}

static struct client *client_open_at(struct fixture *f, uint32_t listener_id)
{
	struct client *c = &f->clients[f->count++];

	assert_true(f->count <= CLIENTS);
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(c->fd, (struct sockaddr *)&f->at, sizeof(f->at)), 0);
	assert_int_equal(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
	int fd = accept(f->listener, NULL, NULL);

	owners_accept(&f->o, listener_id, &f->o.settings, fd);
	return c;
}

static struct client *client_open(struct fixture *f)
{
	return client_open_at(f, 1);
}

static void client_tls(struct client *c, const char *alpn)
{
	c->ssl = any_client(client_ctx, "a.example");
	SSL_set_fd(c->ssl, c->fd);
	assert_int_equal(SSL_set_alpn_protos(c->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn)), 0);
}

static void client_turn(struct client *c)
{
	int n = 0;

	if (c->ssl && !c->is_up && !c->is_failed) {
		int rv = SSL_do_handshake(c->ssl);

		c->is_up = rv == 1;
		c->is_failed = rv != 1 && SSL_get_error(c->ssl, rv) != SSL_ERROR_WANT_READ;
		ERR_clear_error();
	}
	if (c->ssl && !c->is_up)
		return;
	while (c->got_len < sizeof(c->got) - 1) {
		char *to = c->got + c->got_len;
		size_t room = sizeof(c->got) - 1 - c->got_len;

		n = c->ssl ? SSL_read(c->ssl, to, (int)room) : (int)recv(c->fd, to, room, 0);
		if (n <= 0)
			break;
		c->got_len += (size_t)n;
	}
	if (!c->ssl)
		c->is_eof |= n == 0 || (n < 0 && errno != EAGAIN);
}

static void turn(struct fixture *f)
{
	for (unsigned i = 0; i < f->count; i++)
		client_turn(&f->clients[i]);
	loop_turn(f->loop, 2);
}

#define TURN_UNTIL(f, condition)                                                   \
	do {                                                                       \
		int turns_left_ = 1500;                                            \
		while (!(condition) && turns_left_-- > 0)                          \
			turn(f);                                                   \
		if (!(condition))                                                  \
			fail_msg("line %d: never came: %s", __LINE__, #condition); \
	} while (0)

static void turns(struct fixture *f, int n)
{
	for (int i = 0; i < n; i++)
		turn(f);
}

static void say_bytes(struct client *c, const void *bytes, size_t len)
{
	ssize_t n = c->ssl ? SSL_write(c->ssl, bytes, (int)len) : send(c->fd, bytes, len, MSG_NOSIGNAL);

	assert_int_equal(n, (ssize_t)len);
}

static void say(struct client *c, const char *text)
{
	say_bytes(c, text, strlen(text));
}

#define REQUEST "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"

/* ---- the PROXY header ---- */

static void test_header_of_a_trusted_peer_names_the_client(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->o.settings.proxy_protocol = SERVER_PROXY_REQUIRE;
	c = client_open(f);
	say(c, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n" REQUEST);
	TURN_UNTIL(f, strstr(c->got, "200 OK"));
	assert_string_equal(f->o.requests[0]->peer, "192.0.2.7:4711");
	assert_string_equal(f->o.requests[0]->path, "/a");
	say(c, REQUEST);
	TURN_UNTIL(f, f->o.count == 2);
	assert_string_equal(f->o.requests[1]->peer, "192.0.2.7:4711");
}

static void test_header_byte_by_byte(void **state)
{
	struct fixture *f = *state;
	const char *text = "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n" REQUEST;
	struct client *c;

	f->o.settings.proxy_protocol = SERVER_PROXY_ACCEPT;
	c = client_open(f);
	for (; *text; text++) {
		say_bytes(c, text, 1);
		turn(f);
	}
	TURN_UNTIL(f, strstr(c->got, "200 OK"));
	assert_string_equal(f->o.requests[0]->peer, "[2001:db8::1]:1");
}

static void test_client_that_is_not_admitted_is_reset(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->o.settings.proxy_protocol = SERVER_PROXY_ACCEPT;
	f->o.banned = "192.0.2.7";
	c = client_open(f);
	say(c, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n" REQUEST);
	TURN_UNTIL(f, c->is_eof && is_empty(f));
	assert_int_equal(c->got_len, 0);
	assert_int_equal(f->o.count, 0);
	assert_int_equal(f->o.handshake_failures, 0); /* who refused it has counted it */
	c = client_open(f);
	say(c, "PROXY TCP4 192.0.2.8 198.51.100.1 4711 80\r\n" REQUEST);
	TURN_UNTIL(f, strstr(c->got, "200 OK"));
}

static void test_local_header_leaves_the_address(void **state)
{
	static const char header[] = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
	struct fixture *f = *state;
	struct client *c;

	f->o.settings.proxy_protocol = SERVER_PROXY_REQUIRE;
	c = client_open(f);
	say_bytes(c, header, 16);
	say(c, REQUEST);
	TURN_UNTIL(f, strstr(c->got, "200 OK"));
	assert_memory_equal(f->o.requests[0]->peer, "127.0.0.1:", 10);
}

static void test_header_may_be_missing_if_only_accepted(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->o.settings.proxy_protocol = SERVER_PROXY_ACCEPT;
	c = client_open(f);
	say(c, "P");
	turns(f, 5);
	say(c, "UT /p HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
	TURN_UNTIL(f, strstr(c->got, "200 OK"));
	assert_string_equal(f->o.requests[0]->method, "PUT");
	assert_memory_equal(f->o.requests[0]->peer, "127.0.0.1:", 10);
}

static void refused(struct fixture *f, const char *text, enum handshake_fault fault)
{
	struct client *c = client_open(f);

	if (text)
		(void)!send(c->fd, text, strlen(text), MSG_NOSIGNAL);
	TURN_UNTIL(f, c->is_eof && is_empty(f));
	assert_int_equal(c->got_len, 0);
	assert_int_equal(f->o.count, 0);
	assert_int_equal(f->o.handshake_failures, 1);
	assert_int_equal(f->o.last_handshake, fault);
	assert_int_equal(f->o.sessions_ended, 1);
}

static void test_header_that_is_required_and_missing(void **state)
{
	struct fixture *f = *state;

	f->o.settings.proxy_protocol = SERVER_PROXY_REQUIRE;
	refused(f, REQUEST, HANDSHAKE_PROXY_HEADER);
}

static void test_header_that_is_malformed(void **state)
{
	struct fixture *f = *state;

	f->o.settings.proxy_protocol = SERVER_PROXY_ACCEPT;
	refused(f, "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n" REQUEST, HANDSHAKE_PROXY_HEADER);
}

static void test_peer_that_is_not_trusted_is_refused(void **state)
{
	struct fixture *f = *state;

	f->o.settings.proxy_protocol = SERVER_PROXY_REQUIRE;
	f->o.settings.proxy_protocol_from_count = 0;
	refused(f, NULL, HANDSHAKE_PROXY_HEADER);
}

/* Its header is not read: to HTTP/1 it is a malformed request. */
static void test_header_of_a_stranger_is_no_header(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->o.settings.proxy_protocol = SERVER_PROXY_ACCEPT;
	f->o.settings.proxy_protocol_from_count = 0;
	c = client_open(f);
	say(c, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n" REQUEST);
	TURN_UNTIL(f, f->o.bad_requests == 1);
	assert_int_equal(f->o.count, 0);
	assert_int_equal(f->o.handshake_failures, 0);
}

static void test_header_that_does_not_end_times_out(void **state)
{
	struct fixture *f = *state;

	f->o.settings.proxy_protocol = SERVER_PROXY_REQUIRE;
	f->o.settings.handshake_timeout_ms = 60;
	refused(f, "PROXY TCP4 1.2", HANDSHAKE_TIMEOUT);
}

static void test_health_check_is_no_failure(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->o.settings.proxy_protocol = SERVER_PROXY_REQUIRE;
	c = client_open(f);
	turns(f, 3);
	shutdown(c->fd, SHUT_WR);
	TURN_UNTIL(f, is_empty(f));
	c = client_open(f);
	say(c, "PROX");
	turns(f, 3);
	assert_int_equal(f->o.handshake_failures, 0);
	shutdown(c->fd, SHUT_WR);
	TURN_UNTIL(f, is_empty(f));
	assert_int_equal(f->o.handshake_failures, 1);
	assert_int_equal(f->o.last_handshake, HANDSHAKE_CLOSED);
}

/* ---- TLS that is passed through ---- */

/* What a client of OpenSSL says first. */
static size_t client_hello(char *buf, size_t size)
{
	SSL *ssl = any_client(client_ctx, "A.Example");
	BIO *out = BIO_new(BIO_s_mem());
	int n;

	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
	(void)SSL_do_handshake(ssl);
	n = BIO_read(out, buf, (int)size);
	assert_true(n > 100);
	SSL_free(ssl);
	ERR_clear_error();
	return (size_t)n;
}

static void test_passthrough_is_routed_by_name(void **state)
{
	struct fixture *f = *state;
	char hello[4096];
	size_t len = client_hello(hello, sizeof(hello));
	struct client *c;

	f->o.settings.protocol = SERVER_TLS_PASSTHROUGH;
	f->o.settings.proxy_protocol = SERVER_PROXY_REQUIRE;
	c = client_open(f);
	say(c, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n");
	for (size_t i = 0; i < len; i++) {
		say_bytes(c, hello + i, 1);
		if (i % 8 == 0)
			turn(f);
		if (i < len - 10)
			assert_int_equal(f->o.count, 0);
	}
	TURN_UNTIL(f, c->got_len == len); /* echoed: the origin gets the hello as it was sent */
	assert_memory_equal(c->got, hello, len);
	assert_string_equal(f->o.requests[0]->authority, "a.example");
	assert_string_equal(f->o.requests[0]->peer, "192.0.2.7:4711");
	assert_true(f->o.requests[0]->is_raw);
	shutdown(c->fd, SHUT_WR);
	TURN_UNTIL(f, is_empty(f));
}

static void test_passthrough_of_what_is_not_tls(void **state)
{
	struct fixture *f = *state;

	f->o.settings.protocol = SERVER_TLS_PASSTHROUGH;
	refused(f, REQUEST, HANDSHAKE_CLIENT_HELLO);
}

static void test_passthrough_of_half_a_hello(void **state)
{
	struct fixture *f = *state;

	f->o.settings.protocol = SERVER_TLS_PASSTHROUGH;
	f->o.settings.handshake_timeout_ms = 60;
	refused(f, "\x16\x03\x01\x02", HANDSHAKE_TIMEOUT);
}

/* ---- TLS ---- */

static void test_tls_without_alpn_is_http1(void **state)
{
	struct fixture *f = *state;
	uint64_t since;
	struct client *c;

	f->o.settings.protocol = SERVER_HTTPS;
	f->o.settings.handshake_timeout_ms = 500;
	c = client_open(f);
	client_tls(c, "");
	TURN_UNTIL(f, c->is_up);
	since = loop_now_ms(f->loop);
	while (loop_now_ms(f->loop) - since < 600) /* that time is over for it */
		turn(f);
	say(c, REQUEST);
	TURN_UNTIL(f, strstr(c->got, "200 OK"));
	assert_int_equal(f->o.handshake_failures, 0);
	assert_int_equal(f->o.host.handshake_count, 0);
	assert_int_equal(f->o.host.incoming.used, 0);
}

static void test_tls_with_alpn_is_http2(void **state)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" /* SETTINGS */
				      "\0\0\4\1\5\0\0\0\1\x82\x84\x86\x41"; /* … and a head that lacks a byte */
	struct fixture *f = *state;
	struct client *c;

	f->o.settings.protocol = SERVER_HTTPS;
	f->o.settings.proxy_protocol = SERVER_PROXY_REQUIRE;
	c = client_open(f);
	say(c, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n");
	client_tls(c, "\x02h2\x08http/1.1");
	TURN_UNTIL(f, c->is_up && f->o.host.h2_sessions.used == 1);
	say_bytes(c, preface, sizeof(preface) - 1);
	TURN_UNTIL(f, f->o.session_faults == 1);
	assert_int_equal(f->o.last_session_codec, CODEC_FAULT_H2_COMPRESSION);
	TURN_UNTIL(f, c->got_len > 9);
	assert_int_equal(c->got[3], 4); /* its SETTINGS came first */
}

static void test_tls_is_not_what_came(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->o.settings.protocol = SERVER_HTTPS;
	c = client_open(f);
	say(c, REQUEST);
	TURN_UNTIL(f, f->o.handshake_failures == 1);
	assert_int_equal(f->o.last_handshake, HANDSHAKE_TLS);
	TURN_UNTIL(f, c->is_eof);
	close(c->fd);
	c->fd = -1;
	TURN_UNTIL(f, is_empty(f));
}

static void test_tls_handshake_times_out(void **state)
{
	struct fixture *f = *state;
	char hello[4096];
	size_t len = client_hello(hello, sizeof(hello));
	struct client *c;

	f->o.settings.protocol = SERVER_HTTPS;
	f->o.settings.handshake_timeout_ms = 60;
	c = client_open(f);
	say_bytes(c, hello, len);
	TURN_UNTIL(f, f->o.handshake_failures == 1);
	assert_int_equal(f->o.last_handshake, HANDSHAKE_TIMEOUT);
	assert_int_equal(f->o.host.handshake_count, 0);
}

static void test_silent_client_takes_no_turn(void **state)
{
	struct fixture *f = *state;
	struct client *silent, *c;

	f->o.settings.protocol = SERVER_HTTPS;
	f->o.settings.handshakes_max = 1;
	silent = client_open(f);
	(void)silent;
	turns(f, 3);
	assert_int_equal(f->o.host.handshake_count, 0);
	c = client_open(f);
	client_tls(c, "");
	TURN_UNTIL(f, c->is_up);
	say(c, REQUEST);
	TURN_UNTIL(f, strstr(c->got, "200 OK"));
}

static void test_handshakes_above_the_bound_wait_in_order(void **state)
{
	struct fixture *f = *state;
	char hello[4096];
	size_t len = client_hello(hello, sizeof(hello));
	struct client *stuck[2], *c[3];

	f->o.settings.protocol = SERVER_HTTPS;
	f->o.settings.handshakes_max = 2;
	for (int i = 0; i < 2; i++) {
		stuck[i] = client_open(f);
		say_bytes(stuck[i], hello, len);
	}
	TURN_UNTIL(f, f->o.host.handshake_count == 2);
	for (int i = 0; i < 3; i++) {
		c[i] = client_open(f);
		client_tls(c[i], "");
		turns(f, 3);
	}
	turns(f, 20);
	assert_false(c[0]->is_up || c[1]->is_up || c[2]->is_up);
	assert_int_equal(f->o.host.handshake_count, 2);
	shutdown(stuck[0]->fd, SHUT_RDWR);
	TURN_UNTIL(f, c[0]->is_up && c[1]->is_up && c[2]->is_up);
	assert_int_equal(f->o.host.handshake_count, 1);
	assert_int_equal(f->o.handshake_failures, 1);
}

/* Somebody who fills one listener's bound is no reason to wait at another one. */
static void test_listeners_have_bounds_of_their_own(void **state)
{
	struct fixture *f = *state;
	char hello[4096];
	size_t len = client_hello(hello, sizeof(hello));
	struct client *stuck, *late, *other;

	f->o.settings.protocol = SERVER_HTTPS;
	f->o.settings.handshakes_max = 1;
	stuck = client_open_at(f, 1);
	say_bytes(stuck, hello, len);
	TURN_UNTIL(f, f->o.host.handshake_count == 1);
	late = client_open_at(f, 1);
	client_tls(late, "");
	turns(f, 5);
	for (int i = 0; i < 2; i++) {
		other = client_open_at(f, 2);
		client_tls(other, "");
		TURN_UNTIL(f, other->is_up);
	}
	assert_false(late->is_up);
	assert_int_equal(f->o.host.handshake_count, 1);
	shutdown(stuck->fd, SHUT_RDWR);
	TURN_UNTIL(f, late->is_up);
}

static void test_waiting_has_a_deadline(void **state)
{
	struct fixture *f = *state;
	char hello[4096];
	size_t len = client_hello(hello, sizeof(hello));
	struct client *stuck, *late;

	f->o.settings.protocol = SERVER_HTTPS;
	f->o.settings.handshakes_max = 1;
	stuck = client_open(f);
	say_bytes(stuck, hello, len);
	TURN_UNTIL(f, f->o.host.handshake_count == 1);
	f->o.settings.handshake_timeout_ms = 60;
	late = client_open(f);
	say_bytes(late, hello, len);
	TURN_UNTIL(f, f->o.handshake_failures == 1);
	assert_int_equal(f->o.last_handshake, HANDSHAKE_TIMEOUT);
	TURN_UNTIL(f, server_session_count(&f->o.host) == 1);
	assert_int_equal(f->o.host.handshake_count, 1);
}

/* ---- the end ---- */

static void test_drain_lets_a_handshake_end_and_abort_does_not(void **state)
{
	struct fixture *f = *state;
	char hello[4096];
	size_t len = client_hello(hello, sizeof(hello));
	struct client *c, *stuck, *silent;

	f->o.settings.protocol = SERVER_HTTPS;
	c = client_open(f);
	stuck = client_open(f);
	silent = client_open(f);
	client_tls(c, "");
	say_bytes(stuck, hello, len);
	f->o.host.is_draining = true;
	server_drain(&f->o.host, 0);
	TURN_UNTIL(f, c->is_up);
	say(c, REQUEST);
	TURN_UNTIL(f, strstr(c->got, "Connection: close"));
	assert_false(silent->is_eof);
	server_abort_all(&f->o.host);
	TURN_UNTIL(f, silent->is_eof);
	TURN_UNTIL(f, is_empty(f));
	assert_int_equal(f->o.handshake_failures, 0);
}

static void test_listener_that_leaves_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->o.settings.protocol = SERVER_HTTPS;
	c = client_open(f);
	turns(f, 2);
	f->o.has_no_listener = true;
	say(c, "\x16\x03\x01");
	TURN_UNTIL(f, c->is_eof && is_empty(f));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_header_of_a_trusted_peer_names_the_client),
		T(test_header_byte_by_byte),
		T(test_client_that_is_not_admitted_is_reset),
		T(test_local_header_leaves_the_address),
		T(test_header_may_be_missing_if_only_accepted),
		T(test_header_that_is_required_and_missing),
		T(test_header_that_is_malformed),
		T(test_peer_that_is_not_trusted_is_refused),
		T(test_header_of_a_stranger_is_no_header),
		T(test_header_that_does_not_end_times_out),
		T(test_health_check_is_no_failure),
		T(test_passthrough_is_routed_by_name),
		T(test_passthrough_of_what_is_not_tls),
		T(test_passthrough_of_half_a_hello),
		T(test_tls_without_alpn_is_http1),
		T(test_tls_with_alpn_is_http2),
		T(test_tls_is_not_what_came),
		T(test_tls_handshake_times_out),
		T(test_silent_client_takes_no_turn),
		T(test_handshakes_above_the_bound_wait_in_order),
		T(test_listeners_have_bounds_of_their_own),
		T(test_waiting_has_a_deadline),
		T(test_drain_lets_a_handshake_end_and_abort_does_not),
		T(test_listener_that_leaves_meanwhile),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
