/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tls_verify.c - who is let in and why not: client certificates, alerts, revocation, identity, origins' names. */
#include "tls_pki.h"

#include "base/check.h"

static struct pki ca, middle, ca2, leaf, user;
static struct tls_pair_config pair;
static const char *ca_file;
static struct tls_shared *shared;

static int setup(void **state)
{
	(void)state;
	pki_begin();
	ca = pki_make((struct pki_spec){ .name = "Test CA", .is_ca = true });
	middle = pki_make((struct pki_spec){ .name = "Middle", .issuer = &ca, .is_ca = true });
	ca2 = pki_make((struct pki_spec){ .name = "Second CA", .is_ca = true });
	leaf = pki_make((struct pki_spec){ .name = "one", .issuer = &ca,
					   .san = "DNS:one.example,DNS:*.w.example,IP:192.0.2.1,IP:2001:db8::1" });
	user = pki_make((struct pki_spec){ .name = "user", .issuer = &ca });
	pair = pki_write("one", &leaf, NULL);
	ca_file = pki_write_cert("ca.pem", &ca, NULL);
	shared = tls_shared_new(0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tls_shared_free(shared);
	pki_free(&ca);
	pki_free(&middle);
	pki_free(&ca2);
	pki_free(&leaf);
	pki_free(&user);
	pki_end();
	return 0;
}

static struct tls_server_config config_of(const struct tls_pair_config *p)
{
	struct tls_server_config c;

	tls_server_config_init(&c);
	c.defaults = p;
	c.default_count = 1;
	return c;
}

static struct tls_server_config mtls_config(enum tls_client_auth auth)
{
	struct tls_server_config c = config_of(&pair);

	c.client_auth = auth;
	c.ca_file = ca_file;
	return c;
}

/* Connect with this certificate (NULL: none) and chain; failures are in the link, which the caller frees. */
static struct tls_link connect_as(struct tls_server *s, const struct pki *who, const struct pki *chain, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct tls_link l;

	SSL_CTX_set_max_proto_version(ctx, version);
	if (who) {
		assert_int_equal(SSL_CTX_use_certificate(ctx, who->x), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(ctx, who->key), 1);
	}
	if (chain)
		assert_int_equal(SSL_CTX_add1_chain_cert(ctx, chain->x), 1);
	l = link_new(any_client(ctx, NULL), tls_server_ssl(s));
	link_run(&l);
	SSL_CTX_free(ctx);
	return l;
}

static int alert_seen;

static void on_info(const SSL *ssl, int where, int value)
{
	(void)ssl;
	if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
		alert_seen = value & 0xff;
}

/* The alert that a client gets; 0: none, it was let in. */
static int alert_for(struct tls_server *s, const struct pki *who, int version, enum tls_failure *out_failure)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct tls_link l;

	SSL_CTX_set_max_proto_version(ctx, version);
	SSL_CTX_set_info_callback(ctx, on_info);
	if (who) {
		assert_int_equal(SSL_CTX_use_certificate(ctx, who->x), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(ctx, who->key), 1);
	}
	l = link_new(any_client(ctx, NULL), tls_server_ssl(s));
	alert_seen = 0;
	link_run(&l);
	assert_int_equal(l.is_up, alert_seen == 0);
	*out_failure = l.server_failure;
	link_free(&l);
	SSL_CTX_free(ctx);
	return alert_seen;
}

static void test_refused_clients_get_the_right_alert(void **state)
{
	struct pki expired = pki_make((struct pki_spec){ .name = "x", .issuer = &ca, .from = -9 * DAY, .until = -DAY });
	struct pki future = pki_make((struct pki_spec){ .name = "x", .issuer = &ca, .from = DAY, .until = 9 * DAY });
	struct pki foreign = pki_make((struct pki_spec){ .name = "x", .issuer = &ca2 });
	struct pki lonely = pki_make((struct pki_spec){ .name = "x" });
	struct pki server_only = pki_make((struct pki_spec){ .name = "x", .issuer = &ca, .usage = "serverAuth" });
	struct pki revoked = pki_make((struct pki_spec){ .name = "x", .issuer = &ca });
	const struct {
		const struct pki *who;
		int alert;
		enum tls_failure failure;
	} rows[] = {
		{ &user, 0, TLS_FAILURE_NONE },
		{ &expired, SSL_AD_CERTIFICATE_EXPIRED, TLS_FAILURE_EXPIRED },
		{ &future, SSL_AD_BAD_CERTIFICATE, TLS_FAILURE_NOT_YET_VALID },
		{ &foreign, SSL_AD_UNKNOWN_CA, TLS_FAILURE_UNKNOWN_CA },
		{ &lonely, SSL_AD_UNKNOWN_CA, TLS_FAILURE_SELF_SIGNED },
		{ &server_only, SSL_AD_UNSUPPORTED_CERTIFICATE, TLS_FAILURE_BAD_CERTIFICATE },
		{ &revoked, SSL_AD_CERTIFICATE_REVOKED, TLS_FAILURE_REVOKED },
		{ NULL, SSL_AD_CERTIFICATE_REQUIRED, TLS_FAILURE_NO_CERTIFICATE },
	};
	struct tls_server_config c = mtls_config(TLS_CLIENT_AUTH_REQUIRED);
	struct tls_server *s;
	enum tls_failure failure;

	(void)state;
	c.crl_file = pki_write_crl("ca.crl", &ca, &revoked, 10 * DAY);
	s = server_make(&c, shared);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(alert_for(s, rows[i].who, TLS1_3_VERSION, &failure), rows[i].alert);
		assert_int_equal(failure, rows[i].failure);
		/* TLS 1.2 has no certificate_required. */
		assert_int_equal(alert_for(s, rows[i].who, TLS1_2_VERSION, &failure),
				 rows[i].who ? rows[i].alert : SSL_AD_HANDSHAKE_FAILURE);
		assert_int_equal(failure, rows[i].failure);
	}
	tls_server_put(s);
	pki_free(&expired);
	pki_free(&future);
	pki_free(&foreign);
	pki_free(&lonely);
	pki_free(&server_only);
	pki_free(&revoked);
}

static void test_optional_client_certificate(void **state)
{
	struct pki foreign = pki_make((struct pki_spec){ .name = "x", .issuer = &ca2 });
	struct tls_server_config c = mtls_config(TLS_CLIENT_AUTH_OPTIONAL);
	struct tls_server *s = server_make(&c, shared);
	struct tls_peer peer;
	struct tls_link l = connect_as(s, NULL, NULL, TLS1_3_VERSION);

	(void)state;
	assert_true(l.is_up);
	assert_false(tls_peer_identity(l.server, &peer));
	link_free(&l);
	l = connect_as(s, &user, NULL, TLS1_3_VERSION);
	assert_true(l.is_up);
	assert_true(tls_peer_identity(l.server, &peer));
	tls_peer_fini(&peer);
	link_free(&l);
	l = connect_as(s, &foreign, NULL, TLS1_3_VERSION);
	assert_false(l.is_up);
	assert_int_equal(l.server_failure, TLS_FAILURE_UNKNOWN_CA);
	assert_int_equal(l.client_failure, TLS_FAILURE_ALERT_UNKNOWN_CA);
	link_free(&l);
	tls_server_put(s);
	pki_free(&foreign);
}

static void test_depth_of_chains(void **state)
{
	struct pki deep = pki_make((struct pki_spec){ .name = "deep", .issuer = &middle });
	struct tls_server_config c = mtls_config(TLS_CLIENT_AUTH_REQUIRED);
	struct tls_server *s = server_make(&c, shared);
	struct tls_link l = connect_as(s, &deep, &middle, TLS1_3_VERSION);

	(void)state;
	assert_true(l.is_up);
	link_free(&l);
	tls_server_put(s);
	c.verify_depth = 0;
	s = server_make(&c, shared);
	l = connect_as(s, &user, NULL, TLS1_3_VERSION);
	assert_true(l.is_up);
	link_free(&l);
	l = connect_as(s, &deep, &middle, TLS1_3_VERSION);
	assert_int_equal(l.server_failure, TLS_FAILURE_CHAIN_TOO_LONG);
	link_free(&l);
	tls_server_put(s);
	pki_free(&deep);
}

/* All in the ca-file is trusted by itself, an intermediate too. */
static void test_intermediate_as_anchor(void **state)
{
	struct pki deep = pki_make((struct pki_spec){ .name = "deep", .issuer = &middle });
	struct tls_server_config c = mtls_config(TLS_CLIENT_AUTH_REQUIRED);
	struct tls_server *s;
	struct tls_link l;

	(void)state;
	c.ca_file = pki_write_cert("middle.pem", &middle, NULL);
	s = server_make(&c, shared);
	l = connect_as(s, &deep, NULL, TLS1_3_VERSION);
	assert_true(l.is_up);
	link_free(&l);
	l = connect_as(s, &user, NULL, TLS1_3_VERSION);
	assert_int_equal(l.server_failure, TLS_FAILURE_UNKNOWN_CA);
	link_free(&l);
	tls_server_put(s);
	pki_free(&deep);
}

static void test_lists_that_do_not_help(void **state)
{
	struct tls_server_config c = mtls_config(TLS_CLIENT_AUTH_REQUIRED);
	struct tls_report r = { 0 };
	struct tls_server *s;
	struct tls_link l;

	(void)state;
	c.crl_file = pki_write_crl("old.crl", &ca, NULL, -DAY);
	assert_int_equal(tls_server_new(&s, &c, shared, &r), 0);
	assert_non_null(strstr(r.warnings.ptr, "is out of date"));
	tls_report_fini(&r);
	l = connect_as(s, &user, NULL, TLS1_3_VERSION);
	assert_int_equal(l.server_failure, TLS_FAILURE_CRL);
	link_free(&l);
	tls_server_put(s);

	c.crl_file = pki_write_crl("other.crl", &ca2, NULL, 10 * DAY);
	s = server_make(&c, shared);
	l = connect_as(s, &user, NULL, TLS1_3_VERSION);
	assert_int_equal(l.server_failure, TLS_FAILURE_CRL);
	link_free(&l);
	tls_server_put(s);

	c.crl_file = ca_file;
	server_refused(&c, shared, "has no revocation list in PEM form");
}

static void test_identity_is_safe_in_a_header(void **state)
{
	struct pki odd = pki_make((struct pki_spec){ .name = "B\xc3\xa4r, \"x\"\r\nX-Evil: 1", .issuer = &ca,
						     .san = "DNS:a.example,URI:spiffe://t/a%20b,email:a@b.example,"
							    "IP:192.0.2.7,IP:2001:db8::7,RID:1.2.3" });
	struct tls_server_config c = mtls_config(TLS_CLIENT_AUTH_REQUIRED);
	struct tls_server *s = server_make(&c, shared);
	struct tls_link l = connect_as(s, &odd, NULL, TLS1_3_VERSION);
	struct tls_peer p;
	const struct span *all[] = { &p.subject, &p.issuer, &p.serial, &p.fingerprint, &p.names };

	(void)state;
	assert_true(l.is_up);
	assert_true(tls_peer_identity(l.server, &p));
	assert_true(span_eq(p.subject, SPAN("CN=B\\C3\\A4r\\, \\\"x\\\"\\0D\\0AX-Evil: 1")));
	assert_true(span_eq(p.issuer, SPAN("CN=Test CA")));
	assert_int_equal(p.fingerprint.len, 64);
	assert_true(p.serial.len >= 3);
	assert_true(span_eq(p.names, SPAN("DNS:a.example,URI:spiffe://t/a%2520b,EMAIL:a@b.example,IP:192.0.2.7,"
					  "IP:2001:db8::7")));
	assert_false(p.is_cut);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		for (size_t k = 0; k < all[i]->len; k++)
			assert_true(all[i]->ptr[k] >= 0x20 && all[i]->ptr[k] <= 0x7e);
	}
	tls_peer_fini(&p);
	link_free(&l);
	tls_server_put(s);
	pki_free(&odd);
}

static void test_identity_is_bounded(void **state)
{
	struct strbuf san = { 0 };
	struct tls_server_config c = mtls_config(TLS_CLIENT_AUTH_REQUIRED);
	struct tls_server *s = server_make(&c, shared);
	struct tls_link l;
	struct tls_peer p;
	struct pki many;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		strbuf_printf(&san, "%sURI:http://%080u/%%", i ? "," : "", i);
	many = pki_make((struct pki_spec){ .name = "many", .issuer = &ca, .san = san.ptr });
	l = connect_as(s, &many, NULL, TLS1_3_VERSION);
	assert_true(tls_peer_identity(l.server, &p));
	assert_true(p.is_cut);
	assert_true(p.names.len <= TLS_PEER_BYTES_MAX && p.names.len > TLS_PEER_BYTES_MAX - 200);
	assert_true(span_ends(p.names, SPAN("/%25")));
	tls_peer_fini(&p);
	link_free(&l);
	tls_server_put(s);
	pki_free(&many);
	strbuf_fini(&san);
}

/* --- origins --- */

static struct tls_client_config client_config(void)
{
	struct tls_client_config c;

	tls_client_config_init(&c);
	c.ca_file = ca_file;
	return c;
}

static enum tls_failure verify_origin(const struct pki *origin, const struct pki *issuer, const char *host,
				      const struct tls_client_config *cc)
{
	struct tls_pair_config p = pki_write("origin", origin, issuer);
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	struct tls_client *client = client_make(cc);
	enum tls_failure failure;
	struct tls_link l;
	SSL *ssl;

	assert_int_equal(SSL_CTX_use_certificate_chain_file(ctx, p.cert_file), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, p.key_file, SSL_FILETYPE_PEM), 1);
	ssl = SSL_new(ctx);
	SSL_set_accept_state(ssl);
	l = link_new(tls_client_ssl(client, span_str(host), NULL), ssl);
	link_run(&l);
	failure = l.client_failure;
	assert_int_equal(l.is_up, failure == TLS_FAILURE_NONE);
	if (!l.is_up)
		assert_true(l.client_detail.len > 0);
	link_free(&l);
	SSL_CTX_free(ctx);
	tls_client_put(client);
	return failure;
}

static void test_origins_are_verified(void **state)
{
	struct pki expired = pki_make((struct pki_spec){ .name = "x", .issuer = &ca, .san = "DNS:one.example",
							 .from = -9 * DAY, .until = -DAY });
	struct pki future = pki_make((struct pki_spec){ .name = "x", .issuer = &ca, .san = "DNS:one.example",
							.from = DAY, .until = 9 * DAY });
	struct pki foreign = pki_make((struct pki_spec){ .name = "x", .issuer = &ca2, .san = "DNS:one.example" });
	struct pki lonely = pki_make((struct pki_spec){ .name = "x", .san = "DNS:one.example" });
	const struct {
		const struct pki *origin, *issuer;
		const char *host;
		enum tls_failure failure;
	} rows[] = {
		{ &leaf, NULL, "one.example", TLS_FAILURE_NONE },
		{ &leaf, NULL, "ONE.example.", TLS_FAILURE_NONE },
		{ &leaf, NULL, "a.w.example", TLS_FAILURE_NONE },
		{ &leaf, NULL, "192.0.2.1", TLS_FAILURE_NONE },
		{ &leaf, NULL, "2001:db8::1", TLS_FAILURE_NONE },
		{ &leaf, NULL, "two.example", TLS_FAILURE_WRONG_NAME },
		{ &leaf, NULL, "a.b.w.example", TLS_FAILURE_WRONG_NAME },
		{ &leaf, NULL, "w.example", TLS_FAILURE_WRONG_NAME },
		{ &leaf, NULL, "one", TLS_FAILURE_WRONG_NAME },
		{ &leaf, NULL, "192.0.2.2", TLS_FAILURE_WRONG_NAME },
		{ &expired, NULL, "one.example", TLS_FAILURE_EXPIRED },
		{ &future, NULL, "one.example", TLS_FAILURE_NOT_YET_VALID },
		{ &foreign, NULL, "one.example", TLS_FAILURE_UNKNOWN_CA },
		{ &foreign, &ca2, "one.example", TLS_FAILURE_UNKNOWN_CA },
		{ &lonely, NULL, "one.example", TLS_FAILURE_SELF_SIGNED },
	};
	struct tls_client_config cc = client_config();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		enum tls_failure f = verify_origin(rows[i].origin, rows[i].issuer, rows[i].host, &cc);

		if (f != rows[i].failure)
			fail_msg("row %zu, %s: %s", i, rows[i].host, tls_failure_name(f));
	}
	cc.insecure_skip_verify = true;
	assert_int_equal(verify_origin(&lonely, NULL, "two.example", &cc), TLS_FAILURE_NONE);
	cc = client_config();
	cc.ca_file = pki_write_cert("lonely.pem", &lonely, NULL); /* trusted by name, as people do with test origins */
	assert_int_equal(verify_origin(&lonely, NULL, "one.example", &cc), TLS_FAILURE_NONE);
	pki_free(&expired);
	pki_free(&future);
	pki_free(&foreign);
	pki_free(&lonely);
}

static void test_origin_names_that_are_none(void **state)
{
	static const char *const bad[] = { "", "a b", "*.example", "a..b", "one.example:443", "a/b" };
	struct tls_client_config cc = client_config();
	struct tls_client *client = client_make(&cc);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_null(tls_client_ssl(client, span_str(bad[i]), NULL));
	assert_null(tls_client_ssl(client, span_of("one\0.example", 12), NULL));
	tls_client_put(client);
}

static void test_client_proves_itself(void **state)
{
	struct tls_server_config c = mtls_config(TLS_CLIENT_AUTH_REQUIRED);
	struct tls_server *s = server_make(&c, shared);
	struct tls_client_config cc = client_config();
	struct tls_pair_config p = pki_write("user", &user, NULL);
	FILE *f = fopen(p.key_file, "a"); /* a combined file: key, then certificate */
	const char *combined = p.key_file;
	struct tls_report r = { 0 };
	struct tls_client *client;

	(void)state;
	assert_int_equal(PEM_write_X509(f, user.x), 1);
	fclose(f);
	for (unsigned i = 0; i < 3; i++) {
		struct tls_link l;

		cc.client_cert = i == 0 ? NULL : i == 1 ? p.cert_file : combined;
		cc.client_key = i == 1 ? p.key_file : NULL;
		client = client_make(&cc);
		l = link_new(tls_client_ssl(client, SPAN("one.example"), NULL), tls_server_ssl(s));
		link_run(&l);
		assert_int_equal(l.is_up, i > 0);
		assert_int_equal(l.client_failure, i ? TLS_FAILURE_NONE : TLS_FAILURE_ALERT_CERTIFICATE_REQUIRED);
		link_free(&l);
		tls_client_put(client);
	}
	cc.client_cert = NULL;
	cc.client_key = p.key_file;
	assert_int_equal(tls_client_new(&client, &cc, &r), -22);
	assert_non_null(strstr(r.errors.ptr, "client-key needs a client-cert"));
	tls_report_fini(&r);
	cc.client_cert = p.cert_file;
	cc.client_key = NULL;
	assert_int_equal(tls_client_new(&client, &cc, &r), -22);
	assert_non_null(strstr(r.errors.ptr, "must hold the key too"));
	tls_report_fini(&r);
	tls_server_put(s);
}

static void test_what_is_no_tls(void **state)
{
	struct tls_server_config c = config_of(&pair);
	struct tls_server *s = server_make(&c, shared);
	static const struct {
		const char *bytes;
		enum tls_failure failure;
	} rows[] = {
		{ "GET / HTTP/1.1\r\n\r\n", TLS_FAILURE_NOT_TLS },
		{ "\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", TLS_FAILURE_PROTOCOL },
		{ "SSH-2.0-OpenSSH_9.2\r\n", TLS_FAILURE_NOT_TLS },
		{ "\x15\x03\x01\x00\x02\x02\x28", TLS_FAILURE_PROTOCOL }, /* an alert before any hello */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		SSL *ssl = tls_server_ssl(s);
		BIO *in = BIO_new(BIO_s_mem());
		enum tls_failure f = TLS_FAILURE_NONE;
		struct strbuf detail = { 0 };
		size_t len = i == 1 ? 10 : i == 3 ? 7 : strlen(rows[i].bytes);

		BIO_write(in, rows[i].bytes, (int)len);
		SSL_set_bio(ssl, in, BIO_new(BIO_s_mem()));
		assert_int_equal(link_judge(ssl, SSL_do_handshake(ssl), &f, &detail), -1);
		if (f != rows[i].failure)
			fail_msg("row %zu: %s (%s)", i, tls_failure_name(f), detail.ptr);
		assert_true(detail.len > 0);
		strbuf_fini(&detail);
		SSL_free(ssl);
	}
	tls_server_put(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_clients_get_the_right_alert),
		cmocka_unit_test(test_optional_client_certificate),
		cmocka_unit_test(test_depth_of_chains),
		cmocka_unit_test(test_intermediate_as_anchor),
		cmocka_unit_test(test_lists_that_do_not_help),
		cmocka_unit_test(test_identity_is_safe_in_a_header),
		cmocka_unit_test(test_identity_is_bounded),
		cmocka_unit_test(test_origins_are_verified),
		cmocka_unit_test(test_origin_names_that_are_none),
		cmocka_unit_test(test_client_proves_itself),
		cmocka_unit_test(test_what_is_no_tls),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
