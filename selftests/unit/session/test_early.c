/* SPDX-License-Identifier: GPL-2.0-only */
/* test_early.c - which requests of a connection with early data (0-RTT) are told to be early, HTTP/1 and HTTP/2. */
#include "unit/net/tls_pki.h"

#include <errno.h>
#include <fcntl.h>

#include "base/strbuf.h"
#include "net/tlsio.h"
#include "unit/session/owners.h"

static struct pki ca, leaf;
static struct tls_shared *shared;
static struct tls_server *tls;
static SSL_CTX *client_ctx;
static SSL_SESSION *session; /* of the last ticket */

struct fixture {
	struct loop *loop;
	struct owners o;
	int fd;
	SSL *ssl;
	bool is_up;
	unsigned early[16];
	void (*on_request)(struct server_host *h, struct http_stream *st, uint32_t id, struct message *m,
			   struct arena *a);
};

static int on_session(SSL *ssl, SSL_SESSION *s)
{
	(void)ssl;
	SSL_SESSION_free(session);
	session = s;
	return 1;
}

static int group_setup(void **state)
{
	static const char *const alpn[] = { "h2", "http/1.1" };
	static struct tls_pair_config files;
	struct tls_server_config c;

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
	c.early_data = true;
	tls = server_make(&c, shared);
	client_ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_session_cache_mode(client_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(client_ctx, on_session);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	SSL_SESSION_free(session);
	session = NULL;
	SSL_CTX_free(client_ctx);
	tls_server_put(tls);
	tls_shared_free(shared);
	pki_free(&leaf);
	pki_free(&ca);
	pki_end();
	return 0;
}

static struct fixture *current;

static void note_request(struct server_host *h, struct http_stream *st, uint32_t id, struct message *m, struct arena *a)
{
	struct fixture *f = current;

	f->early[f->o.count] = st->is_early;
	f->on_request(h, st, id, m, a);
}

static int set_up(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));
	const char *reason;

	hash_init();
	assert_int_equal(loop_new(&f->loop, &(struct loop_config){ 0 }, &reason), 0);
	owners_init(&f->o, f->loop, 4);
	f->o.settings.protocol = SERVER_HTTPS;
	f->o.settings.tls = tls;
	f->on_request = f->o.host.on_request;
	f->o.host.on_request = note_request;
	f->fd = -1;
	current = f;
	*state = f;
	return 0;
}

static void leave(struct fixture *f)
{
	if (f->ssl) /* so that it does not take its session with it */
		SSL_set_shutdown(f->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(f->ssl);
	f->ssl = NULL;
	close(f->fd);
	for (int i = 0; i < 1000 && server_session_count(&f->o.host) > 0; i++)
		loop_turn(f->loop, 5);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	leave(f);
	owners_fini(&f->o);
	loop_free(f->loop);
	test_free(f);
	return 0;
}

static void enter(struct fixture *f, const char *alpn)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	f->fd = pair[0];
	assert_int_equal(fcntl(f->fd, F_SETFL, O_NONBLOCK), 0);
	owners_accept(&f->o, 1, &f->o.settings, pair[1]);
	f->ssl = any_client(client_ctx, "a.example");
	f->is_up = false;
	SSL_set_fd(f->ssl, f->fd);
	assert_int_equal(SSL_set_alpn_protos(f->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn)), 0);
}

static void turn(struct fixture *f, bool is_client_alive)
{
	char buf[4096];

	loop_turn(f->loop, 2);
	if (!is_client_alive)
		return;
	if (!f->is_up)
		f->is_up = SSL_do_handshake(f->ssl) == 1;
	if (f->is_up)
		(void)SSL_read(f->ssl, buf, sizeof(buf));
	ERR_clear_error();
}

static void turn_until(struct fixture *f, unsigned requests)
{
	for (int i = 0; i < 500 && f->o.count < requests; i++)
		turn(f, true);
	assert_int_equal(f->o.count, requests);
}

/* A connection with early bytes, of which the server has seen no more than these. */
static void begin(struct fixture *f, const char *alpn, const char *bytes, size_t len)
{
	SSL_SESSION *copy;
	size_t written;

	enter(f, alpn);
	for (int i = 0; i < 50; i++)
		turn(f, true); /* to a ticket */
	assert_true(f->is_up);
	assert_non_null(session);
	leave(f);
	enter(f, alpn);
	copy = SSL_SESSION_dup(session);
	assert_int_equal(SSL_set_session(f->ssl, copy), 1);
	SSL_SESSION_free(copy);
	assert_int_equal(SSL_write_early_data(f->ssl, bytes, len, &written), 1);
	assert_int_equal(written, len);
	for (int i = 0; i < 20; i++)
		turn(f, false);
}

static void go_on(struct fixture *f, const char *bytes, size_t len)
{
	for (int i = 0; i < 200 && !f->is_up; i++)
		turn(f, true);
	assert_int_equal(SSL_get_early_data_status(f->ssl), SSL_EARLY_DATA_ACCEPTED);
	assert_int_equal(SSL_write(f->ssl, bytes, (int)len), (int)len);
}

#define TEXT(s) s, sizeof(s) - 1
#define HTTP1 "\10http/1.1"
#define A "GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n"

static void test_whole_request_in_early_data(void **state)
{
	struct fixture *f = *state;

	begin(f, HTTP1, TEXT(A A));
	assert_int_equal(f->o.count, 2);
	go_on(f, TEXT(A));
	turn_until(f, 3);
	assert_true(f->early[0] && f->early[1]);
	assert_false(f->early[2]);
}

/* Most of the head comes after the handshake. */
static void test_one_byte_is_enough(void **state)
{
	struct fixture *f = *state;

	begin(f, HTTP1, TEXT("G"));
	assert_int_equal(f->o.count, 0);
	go_on(f, TEXT("ET /a HTTP/1.1\r\nHost: a.example\r\n\r\n" A));
	turn_until(f, 2);
	assert_true(f->early[0]);
	assert_false(f->early[1]);
}

/* It waits behind an early one, and is itself cut in two. */
static void test_request_that_straddles_behind_another(void **state)
{
	struct fixture *f = *state;

	begin(f, HTTP1, TEXT(A "GET /b HT"));
	assert_int_equal(f->o.count, 1);
	go_on(f, TEXT("TP/1.1\r\nHost: a.example\r\n\r\n" A));
	turn_until(f, 3);
	assert_true(f->early[0] && f->early[1]);
	assert_false(f->early[2]);
}

#define H2		"\2h2"
#define SETTINGS	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
#define FIELDS		"\x82\x87\x84\x41\x01x" /* GET, https, /, authority x */
#define HEADERS(stream) "\0\0\6\1\5\0\0\0" stream FIELDS

static void test_frames_in_early_data(void **state)
{
	struct fixture *f = *state;

	begin(f, H2, TEXT(SETTINGS HEADERS("\1")));
	assert_int_equal(f->o.count, 1);
	go_on(f, TEXT(HEADERS("\3")));
	turn_until(f, 2);
	assert_true(f->early[0]);
	assert_false(f->early[1]);
}

/* One byte of the frame's own head. */
static void test_one_byte_of_a_frame_is_enough(void **state)
{
	struct fixture *f = *state;

	begin(f, H2, TEXT(SETTINGS "\0"));
	go_on(f, TEXT("\0\6\1\5\0\0\0\1" FIELDS HEADERS("\3")));
	turn_until(f, 2);
	assert_true(f->early[0]);
	assert_false(f->early[1]);
}

/* The block ends in a CONTINUATION of after the handshake. */
static void test_block_that_straddles(void **state)
{
	struct fixture *f = *state;

	begin(f, H2, TEXT(SETTINGS "\0\0\3\1\1\0\0\0\1\x82\x87\x84"));
	go_on(f, TEXT("\0\0\3\x09\4\0\0\0\1\x41\x01x" HEADERS("\3")));
	turn_until(f, 2);
	assert_true(f->early[0]);
	assert_false(f->early[1]);
}

static void test_without_early_data_nothing_is_early(void **state)
{
	struct fixture *f = *state;

	enter(f, HTTP1);
	for (int i = 0; i < 200 && !f->is_up; i++)
		turn(f, true);
	assert_int_equal(SSL_write(f->ssl, TEXT(A A)), 2 * (sizeof(A) - 1));
	turn_until(f, 2);
	assert_false(f->early[0] || f->early[1]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_whole_request_in_early_data),
		T(test_one_byte_is_enough),
		T(test_request_that_straddles_behind_another),
		T(test_frames_in_early_data),
		T(test_one_byte_of_a_frame_is_enough),
		T(test_block_that_straddles),
		T(test_without_early_data_nothing_is_early),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
