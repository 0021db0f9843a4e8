/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tlsio.c - two engines that talk through memory, cut everywhere, and one whose peer breaks the rules. */
#include "tls_pki.h"

#include "base/mem.h"
#include "net/tlsio.h"

/* One side: its engine, its bytes, and what it read. */
struct side {
	struct tlsio t;
	struct tlsio_io io;
	enum tlsio_result result; /* of the last call */
	bool is_up;
	struct strbuf got;
	unsigned reads, early_reads;
};

static struct pki ca, leaf;
static struct tls_pair_config leaf_files;
static const char *ca_file;
static struct tls_shared *shared;
static struct tls_server *server, *early_server, *old_server, *asking_server;
static struct tls_client *client, *named_client;
static SSL_CTX *any_ctx;
static bool others_fail;

static int group_setup(void **state)
{
	static const char *const alpn[] = { "h2", "http/1.1" };
	struct tls_server_config c;
	struct tls_client_config cc;

	(void)state;
	pki_begin();
	ca = pki_make((struct pki_spec){ .name = "root", .is_ca = true });
	leaf = pki_make((struct pki_spec){ .name = "a.example", .san = "DNS:a.example", .issuer = &ca });
	leaf_files = pki_write("leaf", &leaf, NULL);
	ca_file = pki_write_cert("ca.pem", &ca, NULL);
	shared = tls_shared_new(0);
	tls_server_config_init(&c);
	c.label = "test";
	c.defaults = &leaf_files;
	c.default_count = 1;
	c.alpn = alpn;
	c.alpn_count = 2;
	server = server_make(&c, shared);
	c.early_data = true;
	early_server = server_make(&c, shared);
	c.early_data = false;
	c.version_max = TLS_VERSION_12;
	old_server = server_make(&c, shared);
	c.version_max = TLS_VERSION_DEFAULT;
	c.client_auth = TLS_CLIENT_AUTH_REQUIRED;
	c.ca_file = ca_file;
	asking_server = server_make(&c, shared);
	tls_client_config_init(&cc);
	cc.label = "test";
	cc.ca_file = ca_file;
	cc.alpn = alpn;
	cc.alpn_count = 2;
	client = client_make(&cc);
	cc.client_cert = leaf_files.cert_file;
	cc.client_key = leaf_files.key_file;
	named_client = client_make(&cc);
	any_ctx = SSL_CTX_new(TLS_client_method());
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	SSL_CTX_free(any_ctx);
	tls_client_put(client);
	tls_client_put(named_client);
	tls_server_put(server);
	tls_server_put(early_server);
	tls_server_put(old_server);
	tls_server_put(asking_server);
	tls_shared_free(shared);
	pki_free(&leaf);
	pki_free(&ca);
	pki_end();
	return 0;
}

static void sides_open(struct side *c, struct side *s, struct tls_server *with, struct tls_session_cache *cache)
{
	*c = *s = (struct side){ 0 };
	tlsio_init(&c->t, tls_client_ssl(client, SPAN("a.example"), cache), false);
	tlsio_init(&s->t, tls_server_ssl(with), tls_server_has_early_data(with));
}

static void side_close(struct side *x)
{
	tlsio_io_fini(&x->io);
	tlsio_fini(&x->t);
	strbuf_fini(&x->got);
}

/* Everything that `from` has for its peer, as one buffer. */
static struct slice take_out(struct side *from)
{
	struct slice all = { 0 };
	struct iobuf *b;
	uint32_t used = 0;

	if (from->io.out.bytes == 0)
		return all;
	b = iobuf_new((uint32_t)from->io.out.bytes);
	while (from->io.out.count) {
		struct slice part = slice_queue_pop(&from->io.out);

		memcpy(b->data + used, part.ptr, part.len);
		used += part.len;
		slice_put(&part);
	}
	slice_queue_fini(&from->io.out);
	return (struct slice){ b, b->data, used };
}

/* One call with what is in io.in. */
static void side_step(struct side *x)
{
	struct slice plain;

	if (others_fail)
		ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH); /* left behind by somebody else */
	if (!x->is_up) {
		x->result = tlsio_handshake(&x->t, &x->io);
		x->is_up = x->result == TLSIO_DONE;
		return;
	}
	x->result = tlsio_read(&x->t, &x->io, 4096, &plain);
	if (x->result != TLSIO_DONE)
		return;
	assert_true(plain.len > 0);
	x->reads++;
	x->early_reads += tlsio_is_early(&x->t);
	strbuf_add(&x->got, plain.ptr, plain.len);
	slice_put(&plain);
}

/* Give bytes in pieces of `cut`, each time in a buffer of its own, and let the engine use them up. */
static void side_feed(struct side *x, const uint8_t *bytes, size_t len, size_t cut)
{
	while (len > 0 && x->result != TLSIO_FAILED) {
		size_t n = MIN(cut, len);

		assert_int_equal(x->io.in.len, 0);
		x->io.in = slice_copy(bytes, (uint32_t)n);
		do
			side_step(x);
		while (x->result < TLSIO_END && tlsio_has_input(&x->t, &x->io));
		bytes += n;
		len -= n;
	}
}

static void carry(struct side *from, struct side *to, size_t cut)
{
	struct slice all = take_out(from);

	side_feed(to, all.ptr, all.len, cut);
	slice_put(&all);
}

static void shake(struct side *c, struct side *s, size_t cut)
{
	side_step(c);
	for (unsigned i = 0; i < 6; i++) {
		carry(c, s, cut);
		carry(s, c, cut);
	}
	assert_true(c->is_up && s->is_up);
	assert_false(tlsio_is_early(&s->t));
}

static void write_bytes(struct side *x, const void *bytes, size_t len)
{
	struct slice_queue q = { 0 };

	slice_queue_push(&q, slice_copy(bytes, (uint32_t)len));
	assert_int_equal(tlsio_write(&x->t, &x->io, &q, SIZE_MAX / 2), TLSIO_DONE);
	assert_int_equal(q.bytes, 0);
	slice_queue_fini(&q);
}

static void got(struct side *x, const void *bytes, size_t len)
{
	assert_int_equal(x->got.len, len);
	if (len)
		assert_memory_equal(x->got.ptr, bytes, len);
	strbuf_reset(&x->got);
}

static unsigned record_count(const struct slice *s)
{
	unsigned count = 0;

	for (uint32_t at = 0; at + 5 <= s->len; count++)
		at += 5u + s->ptr[at + 3] * 256u + s->ptr[at + 4];
	return count;
}

static void test_every_cut_of_handshake_and_data(void **state)
{
	static const size_t cuts[] = { 1, 2, 3, 4, 5, 6, 7, 11, 64, 500, 1000, 100000 };
	struct tls_server *const servers[] = { server, old_server, early_server };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cuts) * ARRAY_LEN(servers) * 2; i++) {
		size_t cut = cuts[i / ARRAY_LEN(servers) % ARRAY_LEN(cuts)];
		struct side c, s;

		others_fail = i >= ARRAY_LEN(cuts) * ARRAY_LEN(servers);

		sides_open(&c, &s, servers[i % ARRAY_LEN(servers)], NULL);
		shake(&c, &s, cut);
		write_bytes(&c, "hello", 5);
		write_bytes(&c, "world", 5);
		carry(&c, &s, cut);
		got(&s, "helloworld", 10);
		write_bytes(&s, "answer", 6);
		tlsio_close(&s.t, &s.io);
		tlsio_close(&s.t, &s.io);
		carry(&s, &c, cut);
		got(&c, "answer", 6);
		if (c.result != TLSIO_END)
			side_step(&c);
		assert_int_equal(c.result, TLSIO_END);
		/* The other direction still works. */
		write_bytes(&c, "more", 4);
		carry(&c, &s, cut);
		got(&s, "more", 4);
		side_close(&c);
		side_close(&s);
	}
	others_fail = false;
	ERR_clear_error();
}

/* Two records in one buffer, cut at each byte. */
static void test_every_cut_of_two_records(void **state)
{
	struct side c, s;
	struct slice all;

	(void)state;
	sides_open(&c, &s, server, NULL);
	shake(&c, &s, 100000);
	for (uint32_t cut = 0;; cut++) {
		write_bytes(&c, "first record", 12);
		write_bytes(&c, "second", 6);
		all = take_out(&c);
		if (cut > all.len)
			break;
		side_feed(&s, all.ptr, cut, 100000);
		side_feed(&s, all.ptr + cut, all.len - cut, 100000);
		got(&s, "first recordsecond", 18);
		slice_put(&all);
	}
	slice_put(&all);
	side_close(&c);
	side_close(&s);
}

static void test_names_of_a_connection(void **state)
{
	struct side c, s;
	struct tls_peer peer = { 0 };

	(void)state;
	sides_open(&c, &s, server, NULL);
	assert_string_equal(tlsio_cipher(&c.t), "");
	shake(&c, &s, 100000);
	assert_true(span_eq(tlsio_alpn(&s.t), SPAN("h2")));
	assert_true(span_eq(tlsio_alpn(&c.t), SPAN("h2")));
	assert_true(span_eq(tlsio_server_name(&s.t), SPAN("a.example")));
	assert_string_equal(tlsio_version(&s.t), "TLSv1.3");
	assert_string_equal(tlsio_cipher(&s.t), "TLS_AES_128_GCM_SHA256");
	assert_false(tlsio_is_resumed(&s.t));
	assert_ptr_equal(tlsio_server(&s.t), server);
	assert_null(tlsio_server(&c.t));
	assert_int_equal(tlsio_handshake_bytes(&c.t), tlsio_handshake_bytes(&c.t));
	assert_in_range(tlsio_handshake_bytes(&s.t), 1000, 4000);
	assert_false(tlsio_peer_identity(&s.t, &peer));
	assert_true(tlsio_peer_identity(&c.t, &peer));
	assert_true(span_eq(peer.subject, SPAN("CN=a.example")));
	tls_peer_fini(&peer);
	side_close(&c);
	side_close(&s);
}

static void test_a_session_is_resumed(void **state)
{
	struct tls_session_cache cache = { 0 };
	struct side c, s;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		sides_open(&c, &s, server, &cache);
		shake(&c, &s, 100000);
		assert_int_equal(tlsio_is_resumed(&c.t), i > 0);
		assert_int_equal(tlsio_is_resumed(&s.t), i > 0);
		side_close(&c);
		side_close(&s);
	}
	tls_session_cache_fini(&cache);
}

/* A head and a small body are one record and one buffer; what comes alone in a buffer is decrypted in it. */
static void test_small_slices_are_gathered(void **state)
{
	struct slice_queue q = { 0 };
	struct slice all, plain;
	struct side c, s;
	uint8_t *place;

	(void)state;
	sides_open(&c, &s, server, NULL);
	shake(&c, &s, 100000);
	slice_queue_push(&q, slice_copy("head", 4));
	slice_queue_push(&q, slice_static("body", 4));
	assert_int_equal(tlsio_write(&s.t, &s.io, &q, 1 << 17), TLSIO_DONE);
	assert_int_equal(s.io.out.count, 1);
	all = take_out(&s);
	assert_int_equal(record_count(&all), 1);
	place = all.ptr;
	c.io.in = all;
	assert_int_equal(tlsio_read(&c.t, &c.io, 4096, &plain), TLSIO_DONE);
	assert_int_equal(plain.len, 8);
	assert_memory_equal(plain.ptr, "headbody", 8);
	assert_ptr_equal(plain.ptr, place);
	assert_null(c.io.in.buf);
	slice_put(&plain);
	slice_queue_fini(&q);
	side_close(&c);
	side_close(&s);
}

/* Somebody else still looks at the buffer: its bytes stay as they are. */
static void test_a_shared_buffer_is_not_written(void **state)
{
	struct side c, s;
	struct slice all, mine, copy, plain;

	(void)state;
	sides_open(&c, &s, server, NULL);
	shake(&c, &s, 100000);
	write_bytes(&c, "some bytes", 10);
	all = take_out(&c);
	mine = slice_ref(all);
	copy = slice_copy(all.ptr, all.len);
	s.io.in = all;
	assert_int_equal(tlsio_read(&s.t, &s.io, 4096, &plain), TLSIO_DONE);
	assert_memory_equal(plain.ptr, "some bytes", 10);
	assert_memory_equal(mine.ptr, copy.ptr, copy.len);
	slice_put(&plain);
	slice_put(&mine);
	slice_put(&copy);
	side_close(&c);
	side_close(&s);
}

static void test_first_records_after_silence_are_small(void **state)
{
	static uint8_t bytes[200000];
	struct side c, s;
	struct slice all;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 + i / 255);
	sides_open(&c, &s, server, NULL);
	shake(&c, &s, 100000);
	/* One record is enough: nothing is made small. */
	write_bytes(&s, bytes, TLSIO_RECORD_MAX);
	all = take_out(&s);
	assert_int_equal(record_count(&all), 1);
	side_feed(&c, all.ptr, all.len, 100000);
	slice_put(&all);
	strbuf_reset(&c.got);
	for (unsigned i = 0; i < 3; i++) {
		unsigned small = i == 1 ? 0 : TLSIO_SMALL_RECORDS;
		size_t large = sizeof(bytes) - small * TLSIO_SMALL_RECORD;

		write_bytes(&s, bytes, sizeof(bytes));
		assert_true(s.io.out.count <= sizeof(bytes) / 65536 + 1);
		all = take_out(&s);
		assert_int_equal(record_count(&all), small + (large + TLSIO_RECORD_MAX - 1) / TLSIO_RECORD_MAX);
		if (small)
			assert_in_range(all.ptr[3] * 256 + all.ptr[4], TLSIO_SMALL_RECORD, TLSIO_SMALL_RECORD + 20);
		side_feed(&c, all.ptr, all.len, 60000);
		slice_put(&all);
		got(&c, bytes, sizeof(bytes));
		if (i == 1)
			assert_true(tlsio_release(&s.t)); /* silence */
	}
	side_close(&c);
	side_close(&s);
}

/* A write goes as far as it may, to the end of a record. */
static void test_a_write_is_bounded(void **state)
{
	static uint8_t bytes[300000];
	struct slice_queue q = { 0 };
	struct side c, s;

	(void)state;
	sides_open(&c, &s, server, NULL);
	shake(&c, &s, 100000);
	slice_queue_push(&q, slice_static((const char *)bytes, sizeof(bytes)));
	assert_int_equal(tlsio_write(&s.t, &s.io, &q, 1), TLSIO_DONE);
	assert_in_range(sizeof(bytes) - q.bytes, 1, TLSIO_RECORD_MAX);
	while (q.count) {
		size_t before = q.bytes;

		assert_int_equal(tlsio_write(&s.t, &s.io, &q, 65536), TLSIO_DONE);
		assert_in_range(before - q.bytes, 1, 65536 + TLSIO_RECORD_MAX);
	}
	carry(&s, &c, 100000);
	got(&c, bytes, sizeof(bytes));
	slice_queue_fini(&q);
	side_close(&c);
	side_close(&s);
}

static void test_a_bad_record_comes_after_the_good_ones(void **state)
{
	struct side c, s;
	struct slice all;

	(void)state;
	sides_open(&c, &s, server, NULL);
	shake(&c, &s, 100000);
	write_bytes(&c, "good", 4);
	write_bytes(&c, "evil", 4);
	all = take_out(&c);
	all.ptr[all.len - 1] ^= 1;
	side_feed(&s, all.ptr, all.len, 100000);
	slice_put(&all);
	got(&s, "good", 4);
	if (s.result != TLSIO_FAILED)
		side_step(&s);
	assert_int_equal(s.result, TLSIO_FAILED);
	assert_int_equal(tlsio_failure(&s.t), TLS_FAILURE_PROTOCOL);
	assert_non_null(strstr(tlsio_failure_detail(&s.t), "decryption failed"));
	/* The alert comes out, and the other side understands it. */
	carry(&s, &c, 100000);
	assert_int_equal(c.result, TLSIO_FAILED);
	assert_int_equal(tlsio_failure(&c.t), TLS_FAILURE_ALERT_OTHER);
	/* It stays so. */
	side_step(&s);
	assert_int_equal(s.result, TLSIO_FAILED);
	tlsio_close(&s.t, &s.io);
	assert_int_equal(s.io.out.count, 0);
	side_close(&c);
	side_close(&s);
}

static void test_what_is_no_tls_fails(void **state)
{
	static const char *const junk[] = { "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
					    "\x16\x03\x01\xff\xff too long a record", "\x17\x03\x03\x00\x05hello",
					    "\x16\x03\x01\x00\x04\x63\x00\x00\x00" };
	struct side c, s;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(junk); i++) {
		size_t len = i == 4 ? 9 : i == 3 ? 10 : strlen(junk[i]);

		sides_open(&c, &s, i % 2 ? early_server : server, NULL);
		side_feed(&s, (const uint8_t *)junk[i], len, 100000);
		assert_int_equal(s.result, TLSIO_FAILED);
		assert_true(tlsio_failure(&s.t) == TLS_FAILURE_NOT_TLS || tlsio_failure(&s.t) == TLS_FAILURE_PROTOCOL);
		assert_string_not_equal(tlsio_failure_detail(&s.t), "");
		side_close(&c);
		side_close(&s);
	}
}

static void test_key_updates_are_answered_and_bounded(void **state)
{
	static char useful[8192];
	struct side c, s;
	unsigned count;

	(void)state;
	sides_open(&c, &s, server, NULL);
	shake(&c, &s, 100000);
	/* With useful bytes in between there may be any number. */
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(SSL_key_update(c.t.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		write_bytes(&c, useful, sizeof(useful));
		carry(&c, &s, 100000);
		got(&s, useful, sizeof(useful));
		write_bytes(&s, useful, sizeof(useful));
		carry(&s, &c, 100000);
		got(&c, useful, sizeof(useful));
	}
	/* Idle time makes up for one. */
	assert_true(tlsio_release(&s.t));
	for (count = 0; count < 200 && s.result < TLSIO_END; count++) {
		assert_int_equal(SSL_key_update(c.t.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		write_bytes(&c, "x", 1);
		carry(&c, &s, 100000);
	}
	if (s.result != TLSIO_FAILED)
		side_step(&s);
	assert_int_equal(s.result, TLSIO_FAILED);
	assert_in_range(count, 30, 40);
	assert_int_equal(tlsio_failure(&s.t), TLS_FAILURE_PROTOCOL);
	assert_string_equal(tlsio_failure_detail(&s.t), "too many records without data");
	side_close(&c);
	side_close(&s);
}

static void test_renegotiation_is_refused(void **state)
{
	struct side c, s;

	(void)state;
	sides_open(&c, &s, old_server, NULL);
	shake(&c, &s, 100000);
	SSL_clear_options(c.t.ssl, SSL_OP_NO_RENEGOTIATION);
	assert_int_equal(SSL_renegotiate(c.t.ssl), 1);
	c.is_up = false;
	c.t.state = TLSIO_STATE_HANDSHAKE;
	side_step(&c);
	assert_true(c.io.out.count > 0);
	carry(&c, &s, 100000);
	assert_int_equal(s.result, TLSIO_WANTS_INPUT);
	carry(&s, &c, 100000);
	assert_int_equal(c.result, TLSIO_FAILED);
	assert_int_equal(SSL_num_renegotiations(s.t.ssl), 0);
	side_close(&c);
	side_close(&s);
}

/* A ticket in two records of which one is here: OpenSSL does not write before it has the other. */
static void test_a_write_waits_for_half_a_message(void **state)
{
	struct slice_queue q = { 0 };
	struct side c = { 0 }, s = { 0 };
	struct slice all;
	uint32_t first;

	(void)state;
	tlsio_init(&c.t, tls_client_ssl(named_client, SPAN("a.example"), NULL), false);
	tlsio_init(&s.t, tls_server_ssl(asking_server), false);
	SSL_set_max_send_fragment(s.t.ssl, 512);
	side_step(&c);
	carry(&c, &s, 100000);
	carry(&s, &c, 100000);
	carry(&c, &s, 100000);
	assert_true(c.is_up && s.is_up);
	all = take_out(&s); /* with the client's certificate in it */
	assert_int_equal(record_count(&all), 2);
	first = 5u + all.ptr[3] * 256u + all.ptr[4];
	side_feed(&c, all.ptr, first, 100000);
	assert_int_equal(c.result, TLSIO_WANTS_INPUT);
	slice_queue_push(&q, slice_copy("waits", 5));
	assert_int_equal(tlsio_write(&c.t, &c.io, &q, 1000), TLSIO_WANTS_INPUT);
	c.io.in = slice_copy(all.ptr + first, 3);
	assert_int_equal(tlsio_write(&c.t, &c.io, &q, 1000), TLSIO_WANTS_INPUT);
	assert_int_equal(q.bytes, 5);
	c.io.in = slice_copy(all.ptr + first + 3, all.len - first - 3);
	assert_int_equal(tlsio_write(&c.t, &c.io, &q, 1000), TLSIO_DONE);
	assert_int_equal(q.bytes, 0);
	carry(&c, &s, 100000);
	got(&s, "waits", 5);
	slice_put(&all);
	slice_queue_fini(&q);
	side_close(&c);
	side_close(&s);
}

static SSL *early_client(SSL_SESSION *session)
{
	SSL *ssl = any_client(any_ctx, "a.example");

	assert_int_equal(SSL_set_session(ssl, session), 1);
	return ssl;
}

static SSL_SESSION *early_session;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(early_session);
	early_session = session;
	return 1;
}

/* A session of the server that allows early data. */
static void early_session_make(void)
{
	struct side c = { 0 }, s = { 0 };

	SSL_CTX_set_session_cache_mode(any_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(any_ctx, keep_session);
	tlsio_init(&c.t, any_client(any_ctx, "a.example"), false);
	tlsio_init(&s.t, tls_server_ssl(early_server), true);
	shake(&c, &s, 100000);
	side_close(&c);
	side_close(&s);
	assert_non_null(early_session);
	assert_true(SSL_SESSION_get_max_early_data(early_session) > 0);
}

static void test_early_data_is_read_first_and_marked(void **state)
{
	static const size_t cuts[] = { 1, 7, 100, 100000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
		struct side c = { 0 }, s = { 0 };
		size_t written = 0;
		struct slice first;

		early_session_make();
		tlsio_init(&c.t, early_client(early_session), false);
		tlsio_init(&s.t, tls_server_ssl(early_server), true);
		/* The client's hello and its early bytes leave together. */
		{
			BIO *out = BIO_new(BIO_s_mem());
			char *bytes;
			long len;

			BIO_up_ref(SSL_get_rbio(c.t.ssl));
			SSL_set0_wbio(c.t.ssl, out);
			assert_int_equal(SSL_write_early_data(c.t.ssl, "GET /early", 10, &written), 1);
			len = BIO_get_mem_data(out, &bytes);
			first = slice_copy(bytes, (uint32_t)len);
			SSL_set0_wbio(c.t.ssl, SSL_get_rbio(c.t.ssl));
		}
		side_feed(&s, first.ptr, first.len, cuts[i]);
		slice_put(&first);
		assert_true(s.is_up);
		got(&s, "GET /early", 10);
		assert_true(tlsio_is_early(&s.t));
		assert_int_equal(s.early_reads, s.reads);
		/* An answer before the handshake is complete; no close_notify yet. */
		write_bytes(&s, "early answer", 12);
		tlsio_close(&s.t, &s.io);
		side_step(&c);
		carry(&s, &c, 100000);
		assert_true(c.is_up);
		write_bytes(&c, "late", 4);
		carry(&c, &s, cuts[i]);
		assert_false(tlsio_is_early(&s.t));
		got(&s, "late", 4);
		assert_true(s.early_reads < s.reads);
		assert_true(tlsio_is_resumed(&s.t));
		got(&c, "early answer", 12);
		write_bytes(&s, "late answer", 11);
		tlsio_close(&s.t, &s.io);
		carry(&s, &c, 100000);
		got(&c, "late answer", 11);
		side_close(&c);
		side_close(&s);
	}
	SSL_SESSION_free(early_session);
	early_session = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cut_of_handshake_and_data),
		cmocka_unit_test(test_every_cut_of_two_records),
		cmocka_unit_test(test_names_of_a_connection),
		cmocka_unit_test(test_a_session_is_resumed),
		cmocka_unit_test(test_small_slices_are_gathered),
		cmocka_unit_test(test_a_shared_buffer_is_not_written),
		cmocka_unit_test(test_first_records_after_silence_are_small),
		cmocka_unit_test(test_a_write_is_bounded),
		cmocka_unit_test(test_a_bad_record_comes_after_the_good_ones),
		cmocka_unit_test(test_what_is_no_tls_fails),
		cmocka_unit_test(test_key_updates_are_answered_and_bounded),
		cmocka_unit_test(test_renegotiation_is_refused),
		cmocka_unit_test(test_a_write_waits_for_half_a_message),
		cmocka_unit_test(test_early_data_is_read_first_and_marked),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
