/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tls_ocsp.c - answers of OCSP responders: judged, stapled, renewed, adopted by a reload. */
#include "tls_pki.h"

#include <errno.h>

#include "base/check.h"

static struct pki ca, ca2, responder, impostor, leaf, other;
static struct tls_pair_config pair;
static struct tls_shared *shared;
static int64_t now;

static int setup(void **state)
{
	(void)state;
	pki_begin();
	now = time(NULL);
	ca = pki_make((struct pki_spec){ .name = "Test CA", .is_ca = true });
	ca2 = pki_make((struct pki_spec){ .name = "Test CA", .is_ca = true }); /* the same name, another key */
	responder = pki_make((struct pki_spec){ .name = "responder", .issuer = &ca, .usage = "OCSPSigning" });
	impostor = pki_make((struct pki_spec){ .name = "impostor", .issuer = &ca });
	leaf = pki_make((struct pki_spec){ .name = "one", .issuer = &ca, .san = "DNS:one.example",
					   .is_must_staple = true,
					   .aia = "OCSP;URI:https://tls.example,OCSP;URI:http://ocsp.example/x" });
	other = pki_make((struct pki_spec){ .name = "two", .issuer = &ca, .san = "DNS:two.example" });
	pair = pki_write("one", &leaf, &ca);
	shared = tls_shared_new(0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tls_shared_free(shared);
	pki_free(&ca);
	pki_free(&ca2);
	pki_free(&responder);
	pki_free(&impostor);
	pki_free(&leaf);
	pki_free(&other);
	pki_end();
	return 0;
}

/* Zero means: of the leaf, by its CA, good, from an hour ago until in ten days. */
struct answer {
	const struct pki *about, *signer;
	int status;
	long this_update, next_update; /* seconds from now */
	bool is_open; /* no nextUpdate */
	bool is_bare; /* without the signer's certificate, which no signature covers */
	int response_status;
	size_t padding;
};

/* So many seconds from the tests' now, however long they take. */
static ASN1_TIME *time_at(long secs)
{
	time_t base = now;

	return X509_time_adj_ex(NULL, 0, secs, &base);
}

static struct strbuf answer_make(struct answer a)
{
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	const struct pki *about = a.about ? a.about : &leaf, *signer = a.signer ? a.signer : &ca;
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), about->x, ca.x);
	bool is_usual = a.this_update == 0 && a.next_update == 0;
	ASN1_TIME *from = time_at(is_usual ? -3600 : a.this_update);
	ASN1_TIME *until = a.is_open ? NULL : time_at(is_usual ? 10 * DAY : a.next_update);
	ASN1_TIME *revoked = time_at(-DAY);
	OCSP_RESPONSE *response;
	unsigned char *der = NULL;
	struct strbuf out = { 0 };
	int len;

	assert_non_null(OCSP_basic_add1_status(basic, id, a.status, OCSP_REVOKED_STATUS_NOSTATUS,
					       a.status == V_OCSP_CERTSTATUS_REVOKED ? revoked : NULL, from, until));
	if (a.padding) {
		ASN1_OCTET_STRING *bytes = ASN1_OCTET_STRING_new();
		void *zeros = calloc(1, a.padding);
		X509_EXTENSION *ext;

		ASN1_OCTET_STRING_set(bytes, zeros, (int)a.padding);
		ext = X509_EXTENSION_create_by_NID(NULL, NID_netscape_comment, 0, bytes);
		assert_int_equal(OCSP_BASICRESP_add_ext(basic, ext, -1), 1);
		X509_EXTENSION_free(ext);
		ASN1_OCTET_STRING_free(bytes);
		free(zeros);
	}
	assert_int_equal(OCSP_basic_sign(basic, signer->x, signer->key, EVP_sha256(), NULL,
					 a.is_bare ? OCSP_NOCERTS : 0), 1);
	response = OCSP_response_create(a.response_status, a.response_status ? NULL : basic);
	len = i2d_OCSP_RESPONSE(response, &der);
	strbuf_init(&out);
	strbuf_add(&out, der, (size_t)len);
	OPENSSL_free(der);
	OCSP_RESPONSE_free(response);
	OCSP_BASICRESP_free(basic);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(from);
	ASN1_TIME_free(until);
	ASN1_TIME_free(revoked);
	return out;
}

static int accept_made(struct ocsp_staple *s, struct answer a, int64_t when, const char **out_reason)
{
	struct strbuf der = answer_make(a);
	int err = ocsp_staple_accept(s, strbuf_span(&der), when, out_reason);

	assert_int_equal(ERR_peek_error(), 0);
	strbuf_fini(&der);
	return err;
}

static void test_request_is_about_the_certificate(void **state)
{
	struct ocsp_staple *s = ocsp_staple_new(leaf.x, ca.x);
	struct strbuf der = { 0 };
	const unsigned char *p;
	OCSP_REQUEST *request;
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), leaf.x, ca.x);

	(void)state;
	assert_string_equal(ocsp_staple_url(s), "http://ocsp.example/x");
	assert_true(ocsp_staple_is_required(s));
	assert_int_equal(strlen(ocsp_staple_fingerprint(s)), 64);
	ocsp_staple_request(s, &der);
	p = (const unsigned char *)der.ptr;
	request = d2i_OCSP_REQUEST(NULL, &p, (long)der.len);
	assert_non_null(request);
	assert_int_equal(OCSP_request_onereq_count(request), 1);
	assert_int_equal(OCSP_id_cmp(OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, 0)), id), 0);
	OCSP_REQUEST_free(request);
	OCSP_CERTID_free(id);
	strbuf_fini(&der);
	ocsp_staple_free(s);
	s = ocsp_staple_new(other.x, ca.x);
	assert_null(ocsp_staple_url(s));
	assert_false(ocsp_staple_is_required(s));
	ocsp_staple_free(s);
}

static void test_answers_are_judged(void **state)
{
	const struct {
		struct answer a;
		int err;
		const char *words;
	} rows[] = {
		{ { 0 }, 0, "" },
		{ { .signer = &responder }, 0, "" },
		{ { .this_update = 200, .next_update = DAY }, 0, "" }, /* the responder's clock is a little ahead */
		{ { .this_update = -DAY / 2, .is_open = true }, 0, "" },
		{ { .this_update = -2 * DAY, .is_open = true }, -ESTALE, "not valid any more" },
		{ { .this_update = -2 * DAY, .next_update = -60 }, -ESTALE, "not valid any more" },
		{ { .this_update = 3600, .next_update = DAY }, -ESTALE, "not valid yet" },
		{ { .signer = &ca2 }, -EPERM, "signature is not the issuer's" },
		{ { .signer = &impostor }, -EPERM, "signature is not the issuer's" },
		{ { .signer = &leaf }, -EPERM, "signature is not the issuer's" },
		{ { .about = &other }, -ENOENT, "not about this certificate" },
		{ { .status = V_OCSP_CERTSTATUS_REVOKED }, -EKEYREVOKED, "revoked" },
		{ { .status = V_OCSP_CERTSTATUS_UNKNOWN }, -ENODATA, "does not know" },
		{ { .response_status = OCSP_RESPONSE_STATUS_TRYLATER }, -EAGAIN, "trylater" },
		{ { .padding = OCSP_RESPONSE_BYTES_MAX }, -EMSGSIZE, "too large" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct ocsp_staple *s = ocsp_staple_new(leaf.x, ca.x);
		unsigned char buf[OCSP_RESPONSE_BYTES_MAX];
		const char *reason = "";
		int err = accept_made(s, rows[i].a, now, &reason);

		if (err != rows[i].err || !strstr(reason, rows[i].words))
			fail_msg("row %zu: %d %s", i, err, reason);
		assert_int_equal(ocsp_staple_copy(s, now, buf) > 0, err == 0);
		assert_true(ocsp_staple_next(s) >= now + OCSP_RETRY_SECS_MIN);
		ocsp_staple_free(s);
	}
}

static void test_damaged_answers(void **state)
{
	struct ocsp_staple *s = ocsp_staple_new(leaf.x, ca.x);
	struct strbuf der = answer_make((struct answer){ .is_bare = true });
	const char *reason = "";

	(void)state;
	for (size_t len = 0; len < der.len; len++) {
		char *cut = malloc(len + 1); /* of its own, so that reading over the end is seen */

		memcpy(cut, der.ptr, len);
		assert_int_equal(ocsp_staple_accept(s, span_of(cut, len), now, &reason), -EBADMSG);
		free(cut);
	}
	for (size_t i = 0; i < der.len; i++) {
		der.ptr[i] ^= 1;
		if (ocsp_staple_accept(s, strbuf_span(&der), now, &reason) >= 0)
			fail_msg("accepted with byte %zu of %zu changed", i, der.len);
		der.ptr[i] ^= 1;
	}
	strbuf_add_char(&der, 'x');
	assert_int_equal(ocsp_staple_accept(s, strbuf_span(&der), now, &reason), -EBADMSG);
	assert_int_equal(ERR_peek_error(), 0);
	strbuf_fini(&der);
	ocsp_staple_free(s);
}

static void test_when_to_ask_again(void **state)
{
	struct ocsp_staple *s = ocsp_staple_new(leaf.x, ca.x);
	const char *reason = "";
	int64_t wait = OCSP_RETRY_SECS_MIN;
	struct answer a;

	(void)state;
	assert_int_equal(ocsp_staple_next(s), 0);
	for (unsigned i = 0; i < 40; i++) {
		ocsp_staple_failed(s, now);
		assert_int_equal(ocsp_staple_next(s), now + wait);
		wait = MIN(wait * 2, OCSP_RETRY_SECS_MAX);
	}
	a = (struct answer){ .this_update = -DAY, .next_update = 9 * DAY };
	assert_int_equal(accept_made(s, a, now, &reason), 0);
	assert_int_equal(ocsp_staple_next(s), now + 4 * DAY);
	assert_int_equal(ocsp_staple_until(s, now), now + 9 * DAY);
	/* A failure keeps what is stapled, and starts with a short wait. */
	ocsp_staple_failed(s, now + 4 * DAY);
	assert_int_equal(ocsp_staple_next(s), now + 4 * DAY + OCSP_RETRY_SECS_MIN);
	assert_true(ocsp_staple_until(s, now + 4 * DAY) > 0);
	/* nextUpdate in a year is not believed for so long. */
	a = (struct answer){ .this_update = -60, .next_update = 365 * DAY };
	assert_int_equal(accept_made(s, a, now, &reason), 0);
	assert_int_equal(ocsp_staple_until(s, now), now + OCSP_VALID_SECS_MAX - 60);
	/* An answer in its last minutes does not make us ask all the time. */
	assert_int_equal(accept_made(s, (struct answer){ .this_update = -DAY, .next_update = 60 }, now, &reason), 0);
	assert_int_equal(ocsp_staple_next(s), now + OCSP_RETRY_SECS_MIN);
	ocsp_staple_free(s);
}

static void test_expired_and_revoked_answers_go(void **state)
{
	struct ocsp_staple *s = ocsp_staple_new(leaf.x, ca.x);
	unsigned char buf[OCSP_RESPONSE_BYTES_MAX];
	const char *reason = "";

	(void)state;
	assert_int_equal(accept_made(s, (struct answer){ 0 }, now, &reason), 0);
	assert_true(ocsp_staple_copy(s, now, buf) > 0);
	assert_int_equal(ocsp_staple_copy(s, now + 11 * DAY, buf), 0);
	/* A worse answer leaves the better one. */
	assert_int_equal(accept_made(s, (struct answer){ .about = &other }, now, &reason), -ENOENT);
	assert_true(ocsp_staple_copy(s, now, buf) > 0);
	assert_int_equal(ocsp_staple_until(s, now + 11 * DAY), 0);
	assert_int_equal(ocsp_staple_copy(s, now, buf), 0);
	assert_int_equal(accept_made(s, (struct answer){ 0 }, now, &reason), 0);
	assert_int_equal(accept_made(s, (struct answer){ .status = V_OCSP_CERTSTATUS_REVOKED }, now, &reason),
			 -EKEYREVOKED);
	assert_int_equal(ocsp_staple_copy(s, now, buf), 0);
	ocsp_staple_free(s);
}

/* --- in a server --- */

static void staple_keep(void *ctx, struct ocsp_staple *staple)
{
	struct ocsp_staple **out = ctx;

	assert_null(*out);
	*out = staple;
}

static void stapled(struct tls_server *s, int version, const struct strbuf *expected)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct tls_link l;
	unsigned char *der;
	long len;

	SSL_CTX_set_max_proto_version(ctx, version);
	l = link_new(any_client(ctx, "one.example"), tls_server_ssl(s));
	SSL_set_tlsext_status_type(l.client, TLSEXT_STATUSTYPE_ocsp);
	link_run(&l);
	assert_true(l.is_up);
	len = SSL_get_tlsext_status_ocsp_resp(l.client, &der);
	if (expected) {
		assert_int_equal(len, expected->len);
		assert_memory_equal(der, expected->ptr, expected->len);
	} else {
		assert_true(len <= 0);
	}
	link_free(&l);
	SSL_CTX_free(ctx);
}

static void test_answer_is_stapled(void **state)
{
	struct tls_server_config c;
	struct strbuf der = answer_make((struct answer){ 0 }), kept = { 0 };
	struct tls_server *s, *next;
	struct ocsp_staple *staple = NULL, *next_staple = NULL;
	const char *reason = "";

	(void)state;
	tls_server_config_init(&c);
	c.defaults = &pair;
	c.default_count = 1;
	s = server_make(&c, shared);
	tls_server_for_each_staple(s, staple_keep, &staple);
	assert_non_null(staple);
	stapled(s, TLS1_3_VERSION, NULL);
	assert_int_equal(ocsp_staple_load(staple, strbuf_span(&der), now, &reason), 0);
	stapled(s, TLS1_3_VERSION, &der);
	stapled(s, TLS1_2_VERSION, &der);

	/* What is written to disk, and what a reload takes over. */
	assert_true(ocsp_staple_der(staple, &kept));
	assert_true(span_eq(strbuf_span(&kept), strbuf_span(&der)));
	next = server_make(&c, shared);
	stapled(next, TLS1_3_VERSION, NULL);
	tls_server_adopt_staples(next, s);
	tls_server_for_each_staple(next, staple_keep, &next_staple);
	assert_int_equal(ocsp_staple_next(next_staple), ocsp_staple_next(staple));
	tls_server_put(s);
	stapled(next, TLS1_3_VERSION, &der);
	tls_server_put(next);

	c.ocsp_stapling = false;
	s = server_make(&c, shared);
	staple = NULL;
	tls_server_for_each_staple(s, staple_keep, &staple);
	assert_null(staple);
	stapled(s, TLS1_3_VERSION, NULL);
	tls_server_put(s);
	strbuf_fini(&der);
	strbuf_fini(&kept);
}

static void test_demand_that_cannot_be_met_is_a_warning(void **state)
{
	struct tls_pair_config alone = pki_write("alone", &leaf, NULL);
	struct tls_server_config c;

	(void)state;
	tls_server_config_init(&c);
	c.default_count = 1;
	for (unsigned i = 0; i < 3; i++) {
		struct tls_report r = { 0 };
		struct tls_server *s;

		c.defaults = i == 0 ? &alone : &pair;
		c.ocsp_stapling = i < 2;
		assert_int_equal(tls_server_new(&s, &c, shared, &r), 0);
		assert_int_equal(r.warning_count, i != 1);
		if (i != 1)
			assert_non_null(strstr(r.warnings.ptr, i ? "but that is off" : "issuer or responder"));
		tls_server_put(s);
		tls_report_fini(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_is_about_the_certificate),
		cmocka_unit_test(test_answers_are_judged),
		cmocka_unit_test(test_damaged_answers),
		cmocka_unit_test(test_when_to_ask_again),
		cmocka_unit_test(test_expired_and_revoked_answers_go),
		cmocka_unit_test(test_answer_is_stapled),
		cmocka_unit_test(test_demand_that_cannot_be_met_is_a_warning),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
