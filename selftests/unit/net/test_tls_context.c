/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tls_context.c - TLS servers: certificates by name and kind, versions, suites, ALPN, and what is refused. */
#include "tls_pki.h"

#include "base/check.h"

static struct pki ca, ec, rsa, other, wild;
static struct tls_pair_config ec_pair, rsa_pair, other_pair, wild_pair;
static struct tls_shared *shared;
static SSL_CTX *any; /* a client that verifies nothing */

static int setup(void **state)
{
	(void)state;
	pki_begin();
	ca = pki_make((struct pki_spec){ .name = "Test CA", .is_ca = true });
	ec = pki_make((struct pki_spec){ .name = "www", .issuer = &ca, .san = "DNS:www.example,DNS:Alt.Example" });
	rsa = pki_make((struct pki_spec){ .name = "www", .issuer = &ca, .san = "DNS:www.example", .is_rsa = true });
	other = pki_make((struct pki_spec){ .name = "other.example", .issuer = &ca });
	wild = pki_make((struct pki_spec){ .name = "w", .issuer = &ca, .san = "DNS:*.w.example" });
	ec_pair = pki_write("ec", &ec, &ca);
	rsa_pair = pki_write("rsa", &rsa, &ca);
	other_pair = pki_write("other", &other, &ca);
	wild_pair = pki_write("wild", &wild, &ca);
	shared = tls_shared_new(0);
	any = SSL_CTX_new(TLS_client_method());
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tls_shared_free(shared);
	SSL_CTX_free(any);
	pki_free(&ca);
	pki_free(&ec);
	pki_free(&rsa);
	pki_free(&other);
	pki_free(&wild);
	pki_end();
	return 0;
}

static struct tls_server_config config_of(const struct tls_pair_config *pair)
{
	struct tls_server_config c;

	tls_server_config_init(&c);
	c.label = "listener `t`";
	c.defaults = pair;
	c.default_count = pair ? 1 : 0;
	return c;
}

/* The certificate that a client with this name gets; NULL: the handshake failed, with link's failures. */
static const struct pki *served(struct tls_server *s, SSL_CTX *ctx, const char *sni, struct tls_link *out_link)
{
	const struct pki *all[] = { &ec, &rsa, &other, &wild }, *found = NULL;
	struct tls_link l = link_new(any_client(ctx, sni), tls_server_ssl(s));
	X509 *x;

	link_run(&l);
	x = l.is_up ? SSL_get0_peer_certificate(l.client) : NULL;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (x && X509_cmp(x, all[i]->x) == 0)
			found = all[i];
	}
	if (out_link) {
		out_link->client_failure = l.client_failure;
		out_link->server_failure = l.server_failure;
	}
	link_free(&l);
	return found;
}

static void test_name_chooses_certificate(void **state)
{
	const char *const hosts[] = { "Host.Other.example" };
	const struct tls_sni_config sni[] = {
		{ .pair = other_pair, .hostnames = hosts, .hostname_count = 1 },
		{ .pair = wild_pair }, /* names from the certificate */
	};
	const struct {
		const char *sni;
		const struct pki *expected;
	} rows[] = {
		{ NULL, &ec },
		{ "unknown.example", &ec },
		{ "www.example", &ec },
		{ "host.other.example", &other },
		{ "HOST.OTHER.EXAMPLE", &other },
		{ "other.example", &ec }, /* hostnames replace the names in the certificate */
		{ "a.w.example", &wild },
		{ "a.b.w.example", &wild },
		{ "w.example", &ec },
	};
	struct tls_server_config c = config_of(&ec_pair);
	struct tls_server *s;

	(void)state;
	c.certificates = sni;
	c.certificate_count = ARRAY_LEN(sni);
	s = server_make(&c, shared);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (served(s, any, rows[i].sni, NULL) != rows[i].expected)
			fail_msg("%s", rows[i].sni ? rows[i].sni : "no name");
	}
	tls_server_put(s);
}

static void test_strict_refuses_unknown_names(void **state)
{
	const struct tls_sni_config sni[] = { { .pair = wild_pair } };
	struct tls_server_config c = config_of(&ec_pair);
	struct tls_link l;
	struct tls_server *s;

	(void)state;
	c.strict_sni = true;
	c.certificates = sni;
	c.certificate_count = 1;
	s = server_make(&c, shared);
	assert_ptr_equal(served(s, any, "alt.example", NULL), &ec);
	assert_ptr_equal(served(s, any, "x.w.example", NULL), &wild);
	assert_null(served(s, any, "unknown.example", &l));
	assert_int_equal(l.server_failure, TLS_FAILURE_UNRECOGNIZED_NAME);
	assert_int_equal(l.client_failure, TLS_FAILURE_ALERT_UNRECOGNIZED_NAME);
	assert_null(served(s, any, NULL, &l));
	assert_int_equal(l.client_failure, TLS_FAILURE_ALERT_UNRECOGNIZED_NAME);
	assert_false(tls_server_names_share_certificate(s, SPAN("alt.example"), SPAN("unknown.example")));
	tls_server_put(s);

	c.default_count = 0;
	s = server_make(&c, shared);
	assert_null(served(s, any, "alt.example", NULL));
	assert_ptr_equal(served(s, any, "x.w.example", NULL), &wild);
	tls_server_put(s);
}

static void test_host_of_another_certificate(void **state)
{
	const struct tls_sni_config sni[] = { { .pair = wild_pair }, { .pair = other_pair } };
	struct tls_server_config c = config_of(&ec_pair);
	struct tls_server *s;

	(void)state;
	c.certificates = sni;
	c.certificate_count = 2;
	s = server_make(&c, shared);
	assert_true(tls_server_names_share_certificate(s, SPAN("a.w.example"), SPAN("B.w.example")));
	assert_true(tls_server_names_share_certificate(s, SPAN("www.example"), SPAN("alt.example")));
	assert_true(tls_server_names_share_certificate(s, SPAN(""), SPAN("192.0.2.1")));
	assert_true(tls_server_names_share_certificate(s, SPAN(""), SPAN("www.example")));
	assert_false(tls_server_names_share_certificate(s, SPAN("a.w.example"), SPAN("other.example")));
	assert_false(tls_server_names_share_certificate(s, SPAN("a.w.example"), SPAN("unknown.example")));
	assert_false(tls_server_names_share_certificate(s, SPAN(""), SPAN("other.example")));
	tls_server_put(s);
}

static SSL_CTX *client_for(const char *sigalgs, int min, int max, const char *v12_suites)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (sigalgs)
		assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, sigalgs), 1);
	if (v12_suites)
		assert_int_equal(SSL_CTX_set_cipher_list(ctx, v12_suites), 1);
	SSL_CTX_set_min_proto_version(ctx, min);
	SSL_CTX_set_max_proto_version(ctx, max);
	return ctx;
}

static void served_to(struct tls_server *s, SSL_CTX *ctx, const char *sni, const struct pki *expected)
{
	assert_ptr_equal(served(s, ctx, sni, NULL), expected);
	SSL_CTX_free(ctx);
}

static void test_kind_of_key_is_what_the_client_offers(void **state)
{
	const struct tls_pair_config both[] = { rsa_pair, ec_pair };
	const char *const hosts[] = { "both.example" };
	const struct tls_sni_config sni[] = {
		{ .pair = rsa_pair, .hostnames = hosts, .hostname_count = 1 },
		{ .pair = ec_pair, .hostnames = hosts, .hostname_count = 1 },
	};
	struct tls_server_config c = config_of(both);
	struct tls_server *s;

	(void)state;
	c.default_count = 2;
	for (unsigned pass = 0; pass < 2; pass++) {
		const char *name = pass ? "both.example" : NULL;

		s = server_make(&c, shared);
		assert_ptr_equal(served(s, any, name, NULL), &ec);
		served_to(s, client_for("RSA-PSS+SHA256", TLS1_3_VERSION, TLS1_3_VERSION, NULL), name, &rsa);
		served_to(s, client_for("ECDSA+SHA256", TLS1_3_VERSION, TLS1_3_VERSION, NULL), name, &ec);
		served_to(s, client_for(NULL, TLS1_2_VERSION, TLS1_2_VERSION, "aRSA"), name, &rsa);
		served_to(s, client_for(NULL, TLS1_2_VERSION, TLS1_2_VERSION, "aECDSA"), name, &ec);
		served_to(s, client_for(NULL, TLS1_2_VERSION, TLS1_2_VERSION, NULL), name, &ec);
		/* alt.example is in the ECDSA certificate only, but both are the default. */
		if (!pass)
			served_to(s, client_for("RSA-PSS+SHA256", TLS1_3_VERSION, TLS1_3_VERSION, NULL),
				  "alt.example", &rsa);
		tls_server_put(s);
		c = config_of(&other_pair);
		c.certificates = sni;
		c.certificate_count = 2;
	}
}

/* The client guesses a group that we do not have, and says everything again: the name is judged twice. */
static void test_second_hello(void **state)
{
	const struct tls_sni_config sni[] = { { .pair = wild_pair } };
	struct tls_server_config c = config_of(&ec_pair);
	SSL_CTX *ctx = client_for(NULL, TLS1_3_VERSION, TLS1_3_VERSION, NULL);
	struct tls_server *s;

	(void)state;
	assert_int_equal(SSL_CTX_set1_groups_list(ctx, "P-521:X25519"), 1);
	c.certificates = sni;
	c.certificate_count = 1;
	c.strict_sni = true;
	s = server_make(&c, shared);
	assert_ptr_equal(served(s, ctx, "a.w.example", NULL), &wild);
	assert_null(served(s, ctx, "unknown.example", NULL));
	SSL_CTX_free(ctx);
	tls_server_put(s);
}

/* The version and suite that a client gets, or the failure on its side. */
static enum tls_failure negotiated(struct tls_server *s, SSL_CTX *ctx, int *version, const char **suite)
{
	struct tls_link l = link_new(any_client(ctx, NULL), tls_server_ssl(s));
	enum tls_failure failure;

	link_run(&l);
	*version = l.is_up ? SSL_version(l.client) : 0;
	*suite = l.is_up ? SSL_CIPHER_get_name(SSL_get_current_cipher(l.client)) : "";
	failure = l.server_failure;
	link_free(&l);
	SSL_CTX_free(ctx);
	return failure;
}

#define AES128 "ECDHE-ECDSA-AES128-GCM-SHA256"
#define AES256 "ECDHE-ECDSA-AES256-GCM-SHA384"
#define CHACHA "ECDHE-ECDSA-CHACHA20-POLY1305"

static void test_versions_and_suites(void **state)
{
	static const char *const only12[] = { "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" };
	static const char *const only13[] = { "TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256" };
	struct tls_server_config c = config_of(&ec_pair);
	struct tls_server *s = server_make(&c, shared);
	const char *suite;
	int version;

	(void)state;
	assert_int_equal(negotiated(s, client_for(NULL, 0, 0, NULL), &version, &suite), TLS_FAILURE_NONE);
	assert_int_equal(version, TLS1_3_VERSION);
	assert_string_equal(suite, "TLS_AES_128_GCM_SHA256");
	negotiated(s, client_for(NULL, 0, TLS1_2_VERSION, NULL), &version, &suite);
	assert_int_equal(version, TLS1_2_VERSION);
	assert_string_equal(suite, AES128);
	/* Not authenticated by AEAD, or no forward secrecy: nothing in common. */
	assert_int_equal(negotiated(s, client_for(NULL, 0, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256"), &version,
				    &suite), TLS_FAILURE_NO_SHARED_CIPHER);
	assert_int_equal(negotiated(s, client_for(NULL, TLS1_1_VERSION, TLS1_1_VERSION, "ALL:@SECLEVEL=0"), &version,
				    &suite), TLS_FAILURE_NO_SHARED_VERSION);
	/* Who has no AES in hardware says so by its order. */
	negotiated(s, client_for(NULL, 0, TLS1_2_VERSION, CHACHA ":" AES128),
		   &version, &suite);
	assert_string_equal(suite, CHACHA);
	negotiated(s, client_for(NULL, 0, TLS1_2_VERSION, AES256 ":" AES128),
		   &version, &suite);
	assert_string_equal(suite, AES128);
	tls_server_put(s);

	c.prefer_client = true;
	s = server_make(&c, shared);
	negotiated(s, client_for(NULL, 0, TLS1_2_VERSION, AES256 ":" AES128),
		   &version, &suite);
	assert_string_equal(suite, AES256);
	tls_server_put(s);
	c.prefer_client = false;

	c.version_min = TLS_VERSION_13;
	s = server_make(&c, shared);
	assert_int_equal(negotiated(s, client_for(NULL, 0, TLS1_2_VERSION, NULL), &version, &suite),
			 TLS_FAILURE_NO_SHARED_VERSION);
	tls_server_put(s);

	c.version_min = TLS_VERSION_DEFAULT;
	c.version_max = TLS_VERSION_12;
	s = server_make(&c, shared);
	negotiated(s, client_for(NULL, 0, 0, NULL), &version, &suite);
	assert_int_equal(version, TLS1_2_VERSION);
	tls_server_put(s);

	c.version_max = TLS_VERSION_DEFAULT;
	c.cipher_suites = only12;
	c.cipher_suite_count = 1;
	s = server_make(&c, shared);
	negotiated(s, client_for(NULL, 0, 0, NULL), &version, &suite);
	assert_int_equal(version, TLS1_2_VERSION);
	assert_string_equal(suite, CHACHA);
	tls_server_put(s);

	c.cipher_suites = only13;
	c.cipher_suite_count = 2;
	s = server_make(&c, shared);
	negotiated(s, client_for(NULL, 0, 0, NULL), &version, &suite);
	assert_string_equal(suite, "TLS_AES_256_GCM_SHA384");
	assert_int_equal(negotiated(s, client_for(NULL, 0, TLS1_2_VERSION, NULL), &version, &suite),
			 TLS_FAILURE_NO_SHARED_VERSION);
	tls_server_put(s);
}

/* A listener for HTTP/2 alone has no use for a client that does not say that it speaks it. */
static void test_alpn_may_be_required(void **state)
{
	static const char *const protocols[] = { "h2" };
	static const char *const offers[] = { NULL, "\x08http/1.1", "\x08http/1.1\x02h2" };
	struct tls_server_config c = config_of(&ec_pair);
	struct tls_server *s;

	(void)state;
	c.alpn = protocols;
	c.alpn_count = 1;
	c.requires_alpn = true;
	s = server_make(&c, shared);
	for (size_t i = 0; i < ARRAY_LEN(offers); i++) {
		struct tls_link l = link_new(any_client(any, NULL), tls_server_ssl(s));
		enum tls_failure expected = i < 2 ? TLS_FAILURE_NO_SHARED_ALPN : TLS_FAILURE_NONE;

		if (offers[i])
			SSL_set_alpn_protos(l.client, (const void *)offers[i], (unsigned)strlen(offers[i]));
		link_run(&l);
		assert_int_equal(l.is_up, expected == TLS_FAILURE_NONE);
		assert_int_equal(l.server_failure, expected);
		assert_int_equal(l.client_failure, expected);
		link_free(&l);
	}
	tls_server_put(s);
}

static void test_alpn(void **state)
{
	static const char *const protocols[] = { "h2", "http/1.1" };
	struct tls_server_config c = config_of(&ec_pair);
	struct tls_server *s;
	static const struct {
		const char *offer;
		const char *expected; /* NULL: refused */
	} rows[] = {
		{ "\x08http/1.1\x02h2", "h2" },
		{ "\x08http/1.1", "http/1.1" },
		{ "\x06spdy/3", NULL },
		{ NULL, "" },
	};

	(void)state;
	c.alpn = protocols;
	c.alpn_count = 2;
	s = server_make(&c, shared);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tls_link l = link_new(any_client(any, NULL), tls_server_ssl(s));
		const unsigned char *got = NULL;
		unsigned len = 0;

		if (rows[i].offer)
			SSL_set_alpn_protos(l.client, (const void *)rows[i].offer, (unsigned)strlen(rows[i].offer));
		link_run(&l);
		assert_int_equal(l.is_up, rows[i].expected != NULL);
		assert_int_equal(l.client_failure, rows[i].expected ? TLS_FAILURE_NONE : TLS_FAILURE_NO_SHARED_ALPN);
		SSL_get0_alpn_selected(l.server, &got, &len);
		if (rows[i].expected) {
			assert_int_equal(len, strlen(rows[i].expected));
			assert_memory_equal(got ? (const char *)got : "", rows[i].expected, len);
		}
		link_free(&l);
	}
	tls_server_put(s);
}

static void test_connection_outlives_its_server(void **state)
{
	struct tls_server_config c = config_of(&ec_pair);
	struct tls_server *s = server_make(&c, shared);
	struct tls_link l = link_new(any_client(any, "www.example"), tls_server_ssl(s));

	(void)state;
	tls_server_put(s); /* before the first byte of the handshake */
	link_run(&l);
	assert_true(l.is_up);
	assert_true(span_eq(tls_ssl_sni(l.server), SPAN("www.example")));
	assert_ptr_equal(tls_ssl_server(l.server), s);
	assert_null(tls_ssl_server(l.client));
	link_free(&l);
}

static void test_renegotiation_is_refused(void **state)
{
	struct tls_server_config c = config_of(&ec_pair);
	struct tls_server *s = server_make(&c, shared);
	SSL_CTX *ctx = client_for(NULL, 0, TLS1_2_VERSION, NULL);
	struct tls_link l = link_new(any_client(ctx, NULL), tls_server_ssl(s));
	char byte;

	(void)state;
	link_run(&l);
	assert_true(l.is_up);
	assert_int_equal(SSL_renegotiate(l.client), 1);
	(void)SSL_do_handshake(l.client);
	assert_true(SSL_read(l.server, &byte, 1) <= 0);
	assert_true(SSL_do_handshake(l.client) <= 0);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
	ERR_clear_error();
	link_free(&l);
	SSL_CTX_free(ctx);
	tls_server_put(s);
}

static void test_rules_between_settings(void **state)
{
	static const char *const unknown[] = { "TLS_RSA_WITH_AES_128_CBC_SHA" };
	static const char *const twice[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256" };
	const struct tls_pair_config same_kind[] = { ec_pair, other_pair };
	struct tls_server_config c = config_of(NULL);

	(void)state;
	server_refused(&c, shared, "cert-file and key-file are missing");
	c = config_of(same_kind);
	c.default_count = 2;
	server_refused(&c, shared, "both of kind ECDSA");
	c = config_of(&ec_pair);
	c.cipher_suites = unknown;
	c.cipher_suite_count = 1;
	server_refused(&c, shared, "TLS_RSA_WITH_AES_128_CBC_SHA is unknown, known are TLS_AES_128_GCM_SHA256");
	c.cipher_suites = twice;
	c.cipher_suite_count = 2;
	server_refused(&c, shared, "is there twice");
	c.cipher_suite_count = 1;
	c.version_max = TLS_VERSION_12;
	server_refused(&c, shared, "no cipher-suite of TLS 1.2");
	c = config_of(&ec_pair);
	c.version_min = TLS_VERSION_13;
	c.version_max = TLS_VERSION_12;
	server_refused(&c, shared, "min-version 1.3 is above max-version 1.2");
	c = config_of(&ec_pair);
	c.client_auth = TLS_CLIENT_AUTH_REQUIRED;
	server_refused(&c, shared, "client-auth needs a ca-file");
	c.ca_file = ec_pair.key_file;
	server_refused(&c, shared, "has no certificate in PEM form");
	c = config_of(&ec_pair);
	c.ca_file = ec_pair.cert_file;
	server_refused(&c, shared, "no effect without client-auth");
	c = config_of(&ec_pair);
	c.early_data = true;
	c.session_resumption = false;
	server_refused(&c, shared, "early-data needs session-resumption");
	c.session_resumption = true;
	c.client_auth = TLS_CLIENT_AUTH_OPTIONAL;
	c.ca_file = ec_pair.cert_file;
	server_refused(&c, shared, "can not be combined with client-auth");
}

static void test_name_conflicts(void **state)
{
	const char *const hosts[] = { "x.example" }, *const bad[] = { "x..example" };
	struct tls_sni_config sni[] = {
		{ .pair = ec_pair, .hostnames = hosts, .hostname_count = 1 },
		{ .pair = other_pair, .hostnames = hosts, .hostname_count = 1 },
	};
	struct pki nameless = pki_make((struct pki_spec){ .issuer = &ca, .san = "IP:192.0.2.1" });
	struct tls_server_config c = config_of(&rsa_pair);
	struct tls_server *s;

	(void)state;
	c.certificates = sni;
	c.certificate_count = 2;
	server_refused(&c, shared, "x.example is in two sni blocks");
	sni[1].has_priority = true;
	s = server_make(&c, shared);
	assert_ptr_equal(served(s, any, "x.example", NULL), &other);
	tls_server_put(s);
	sni[0].has_priority = true;
	server_refused(&c, shared, "with priority");
	sni[0].hostnames = bad;
	server_refused(&c, shared, "x..example is no host name");
	sni[0].pair = pki_write("nameless", &nameless, NULL);
	sni[0].hostname_count = 0;
	server_refused(&c, shared, "has no host name in it");
	pki_free(&nameless);
}

static void test_changed_files_are_seen(void **state)
{
	struct tls_pair_config pair = pki_write("changing", &ec, &ca);
	struct tls_server_config c = config_of(&pair);
	struct tls_server *s = server_make(&c, shared);
	struct strbuf text = { 0 };
	uint64_t look;

	(void)state;
	tls_server_describe(s, &text);
	assert_non_null(strstr(text.ptr, "CN=www ECDSA 256, until 20"));
	assert_non_null(strstr(text.ptr, "names www.example alt.example\n"));
	strbuf_fini(&text);
	assert_false(tls_server_files_changed(s));
	look = tls_server_files_look(s);
	assert_true(tls_server_files_look(s) == look);
	pki_write("changing", &ec, &ca); /* a new file of the same size */
	assert_true(tls_server_files_changed(s));
	assert_true(tls_server_files_look(s) != look);
	tls_server_put(s);
	s = server_make(&c, shared);
	assert_false(tls_server_files_changed(s));
	assert_int_equal(unlink(pair.key_file), 0);
	assert_true(tls_server_files_changed(s));
	tls_server_put(s);
}

static void test_keylog_only_when_asked_for(void **state)
{
	struct tls_server_config c = config_of(&ec_pair);
	struct tls_server *s;
	char line[512];
	struct stat st;
	FILE *f;

	(void)state;
	c.keylog_file = pki_path("keys.log");
	s = server_make(&c, shared);
	assert_ptr_equal(served(s, any, NULL, NULL), &ec);
	tls_server_put(s);
	assert_int_equal(stat(c.keylog_file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	f = fopen(c.keylog_file, "r");
	assert_non_null(fgets(line, sizeof(line), f));
	assert_int_equal(strncmp(line, "SERVER_HANDSHAKE_TRAFFIC_SECRET ", 32) == 0 ||
			 strncmp(line, "CLIENT_HANDSHAKE_TRAFFIC_SECRET ", 32) == 0, 1);
	fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_name_chooses_certificate),
		cmocka_unit_test(test_strict_refuses_unknown_names),
		cmocka_unit_test(test_host_of_another_certificate),
		cmocka_unit_test(test_kind_of_key_is_what_the_client_offers),
		cmocka_unit_test(test_second_hello),
		cmocka_unit_test(test_versions_and_suites),
		cmocka_unit_test(test_alpn),
		cmocka_unit_test(test_alpn_may_be_required),
		cmocka_unit_test(test_connection_outlives_its_server),
		cmocka_unit_test(test_renegotiation_is_refused),
		cmocka_unit_test(test_rules_between_settings),
		cmocka_unit_test(test_name_conflicts),
		cmocka_unit_test(test_changed_files_are_seen),
		cmocka_unit_test(test_keylog_only_when_asked_for),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
