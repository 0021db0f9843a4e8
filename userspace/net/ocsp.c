/* SPDX-License-Identifier: GPL-2.0-only */
/* ocsp.c - requests for certificate status, judgement of answers, and the answer that is stapled. */
#include "net/ocsp.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/check.h"
#include "base/hex.h"
#include "base/mem.h"
#include "net/shared_bytes.h"

#define TAG_OCSP_STAPLE TAG('o', 'c', 's', 'p')
#define FINGERPRINT_BYTES 32
#define TLS_FEATURE_STATUS_REQUEST 5

/* What workers copy. */
struct stapled {
	int64_t until;
	unsigned char der[OCSP_RESPONSE_BYTES_MAX];
};

struct ocsp_staple {
	uint32_t tag;
	bool is_required;
	X509 *leaf, *issuer; /* borrowed */
	char *url; /* owned */
	char fingerprint[2 * FINGERPRINT_BYTES + 1];

	int64_t until, next; /* the control thread's */
	unsigned failure_count;
	struct shared_bytes shared; /* struct stapled, as long as its answer */
};

static char *url_of(X509 *leaf)
{
	STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(leaf);
	char *found = NULL;

	for (int i = 0; i < sk_OPENSSL_STRING_num(urls) && !found; i++) {
		const char *url = sk_OPENSSL_STRING_value(urls, i);

		if (strncasecmp(url, "http://", 7) == 0)
			found = mem_strdup(url);
	}
	X509_email_free(urls);
	return found;
}

static bool feature_is_required(X509 *leaf)
{
	TLS_FEATURE *features = X509_get_ext_d2i(leaf, NID_tlsfeature, NULL, NULL);
	bool found = false;

	for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++)
		found |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == TLS_FEATURE_STATUS_REQUEST;
	TLS_FEATURE_free(features);
	return found;
}

struct ocsp_staple *ocsp_staple_new(struct x509_st *leaf, struct x509_st *issuer)
{
	struct ocsp_staple *s = mem_zalloc(sizeof(*s));
	unsigned char digest[EVP_MAX_MD_SIZE];

	s->tag = TAG_OCSP_STAPLE;
	s->leaf = leaf;
	s->issuer = issuer;
	s->url = url_of(leaf);
	s->is_required = feature_is_required(leaf);
	CHECK(X509_digest(leaf, EVP_sha256(), digest, NULL));
	hex_write(digest, FINGERPRINT_BYTES, s->fingerprint);
	shared_bytes_init(&s->shared, sizeof(struct stapled));
	ERR_clear_error();
	return s;
}

void ocsp_staple_free(struct ocsp_staple *s)
{
	if (!s)
		return;
	OBJ_CHECK(s, TAG_OCSP_STAPLE);
	s->tag = 0;
	shared_bytes_fini(&s->shared);
	free(s->url);
	free(s);
}

const char *ocsp_staple_url(const struct ocsp_staple *s)
{
	return s->url;
}

const char *ocsp_staple_fingerprint(const struct ocsp_staple *s)
{
	return s->fingerprint;
}

bool ocsp_staple_is_required(const struct ocsp_staple *s)
{
	return s->is_required;
}

/* SHA-1 is only a lookup key here, and the one that every responder knows (RFC 5019). */
static OCSP_CERTID *id_new(const struct ocsp_staple *s)
{
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), s->leaf, s->issuer);

	CHECK(id);
	return id;
}

void ocsp_staple_request(const struct ocsp_staple *s, struct strbuf *out)
{
	OCSP_REQUEST *request = OCSP_REQUEST_new();
	unsigned char *der = NULL;
	int len;

	OBJ_CHECK(s, TAG_OCSP_STAPLE);
	CHECK(request && OCSP_request_add0_id(request, id_new(s)));
	len = i2d_OCSP_REQUEST(request, &der);
	CHECK(len > 0);
	strbuf_add(out, der, (size_t)len);
	OPENSSL_free(der);
	OCSP_REQUEST_free(request);
}

/* Trust is the issuer alone, at the time of the caller's clock. */
static bool signature_is_right(const struct ocsp_staple *s, OCSP_BASICRESP *basic, int64_t now)
{
	X509_STORE *store = X509_STORE_new();
	STACK_OF(X509) *known = sk_X509_new_null();
	bool is_right;

	CHECK(store && known && X509_STORE_add_cert(store, s->issuer) && sk_X509_push(known, s->issuer));
	X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
	X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store), (time_t)now);
	is_right = OCSP_basic_verify(basic, known, store, 0) == 1;
	sk_X509_free(known);
	X509_STORE_free(store);
	return is_right;
}

static bool time_secs(const ASN1_GENERALIZEDTIME *t, int64_t *out)
{
	struct tm tm;

	if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*out = timegm(&tm);
	return true;
}

struct judgement {
	int64_t this_update, until;
	const char *reason;
};

static int times_judge(const ASN1_GENERALIZEDTIME *this_update, const ASN1_GENERALIZEDTIME *next_update, int64_t now,
		       struct judgement *j)
{
	int64_t next;

	if (!time_secs(this_update, &j->this_update) || (next_update && !time_secs(next_update, &next))) {
		j->reason = "a time in it is malformed";
		return -EBADMSG;
	}
	if (!next_update)
		next = j->this_update + OCSP_VALID_SECS_OPEN;
	j->until = MIN(next, j->this_update + OCSP_VALID_SECS_MAX);
	if (j->this_update > now + OCSP_CLOCK_SKEW_SECS) {
		j->reason = "it is not valid yet";
		return -ESTALE;
	}
	if (j->until <= now) {
		j->reason = "it is not valid any more";
		return -ESTALE;
	}
	return 0;
}

static int status_judge(const struct ocsp_staple *s, OCSP_BASICRESP *basic, int64_t now, struct judgement *j)
{
	ASN1_GENERALIZEDTIME *revoked, *this_update, *next_update;
	OCSP_CERTID *id = id_new(s);
	int status, reason, found;

	found = OCSP_resp_find_status(basic, id, &status, &reason, &revoked, &this_update, &next_update);
	OCSP_CERTID_free(id);
	if (!found) {
		j->reason = "it is not about this certificate";
		return -ENOENT;
	}
	if (times_judge(this_update, next_update, now, j) != 0)
		return j->this_update ? -ESTALE : -EBADMSG;
	if (status == V_OCSP_CERTSTATUS_REVOKED) {
		j->reason = "the certificate is revoked";
		return -EKEYREVOKED;
	}
	if (status != V_OCSP_CERTSTATUS_GOOD) {
		j->reason = "the responder does not know the certificate";
		return -ENODATA;
	}
	return 0;
}

static int response_judge(const struct ocsp_staple *s, OCSP_RESPONSE *response, int64_t now, struct judgement *j)
{
	OCSP_BASICRESP *basic;
	int err;

	if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
		j->reason = OCSP_response_status_str(OCSP_response_status(response));
		return -EAGAIN;
	}
	basic = OCSP_response_get1_basic(response);
	if (!basic) {
		j->reason = "it is no basic answer";
		return -EBADMSG;
	}
	if (signature_is_right(s, basic, now)) {
		err = status_judge(s, basic, now, j);
	} else {
		j->reason = "its signature is not the issuer's";
		err = -EPERM;
	}
	OCSP_BASICRESP_free(basic);
	return err;
}

static void staple_clear(struct ocsp_staple *s)
{
	s->until = 0;
	shared_bytes_set(&s->shared, "", 0);
}

static void staple_set(struct ocsp_staple *s, struct span der, const struct judgement *j)
{
	struct stapled value = { .until = j->until };

	memcpy(value.der, der.ptr, der.len);
	shared_bytes_set(&s->shared, &value, offsetof(struct stapled, der) + der.len);
	s->until = j->until;
	s->next = j->this_update + (j->until - j->this_update) / 2;
	s->failure_count = 0;
}

int ocsp_staple_load(struct ocsp_staple *s, struct span der, int64_t now, const char **out_error)
{
	const unsigned char *p = (const unsigned char *)der.ptr;
	struct judgement j = { 0 };
	OCSP_RESPONSE *response;
	int err;

	OBJ_CHECK(s, TAG_OCSP_STAPLE);
	if (der.len > OCSP_RESPONSE_BYTES_MAX) {
		*out_error = "it is too large to be stapled";
		return -EMSGSIZE;
	}
	response = d2i_OCSP_RESPONSE(NULL, &p, (long)der.len);
	if (response && p == (const unsigned char *)der.ptr + der.len) {
		err = response_judge(s, response, now, &j);
	} else {
		j.reason = "it is no OCSP answer";
		err = -EBADMSG;
	}
	OCSP_RESPONSE_free(response);
	ERR_clear_error();
	if (!err) {
		staple_set(s, der, &j);
		return 0;
	}
	if (err == -EKEYREVOKED)
		staple_clear(s);
	*out_error = j.reason;
	return err;
}

int ocsp_staple_accept(struct ocsp_staple *s, struct span der, int64_t now, const char **out_error)
{
	int err = ocsp_staple_load(s, der, now, out_error);

	if (err)
		ocsp_staple_failed(s, now);
	else
		s->next = MAX(s->next, now + OCSP_RETRY_SECS_MIN);
	return err;
}

int64_t ocsp_staple_next(const struct ocsp_staple *s)
{
	return s->next;
}

void ocsp_staple_failed(struct ocsp_staple *s, int64_t now)
{
	int64_t wait = (int64_t)OCSP_RETRY_SECS_MIN << MIN(s->failure_count, 16u);

	s->failure_count++;
	s->next = now + MIN(wait, (int64_t)OCSP_RETRY_SECS_MAX);
}

int64_t ocsp_staple_until(struct ocsp_staple *s, int64_t now)
{
	if (s->until && s->until <= now)
		staple_clear(s);
	return s->until;
}

bool ocsp_staple_der(const struct ocsp_staple *s, struct strbuf *out)
{
	struct stapled value;
	size_t len = shared_bytes_get(&s->shared, &value, sizeof(value));

	if (len <= offsetof(struct stapled, der))
		return false;
	strbuf_add(out, value.der, len - offsetof(struct stapled, der));
	return true;
}

bool ocsp_staple_adopt(struct ocsp_staple *s, const struct ocsp_staple *old)
{
	struct stapled value;
	size_t len;

	OBJ_CHECK(s, TAG_OCSP_STAPLE);
	OBJ_CHECK(old, TAG_OCSP_STAPLE);
	if (memcmp(s->fingerprint, old->fingerprint, sizeof(s->fingerprint)) != 0)
		return false;
	if (old->until == 0 || old->until < s->until)
		return true;
	len = shared_bytes_get(&old->shared, &value, sizeof(value));
	shared_bytes_set(&s->shared, &value, len);
	s->until = old->until;
	s->next = old->next;
	s->failure_count = old->failure_count;
	return true;
}

size_t ocsp_staple_copy(const struct ocsp_staple *s, int64_t now, void *buf)
{
	struct stapled value;
	size_t len = shared_bytes_get(&s->shared, &value, sizeof(value));

	if (len <= offsetof(struct stapled, der) || value.until <= now)
		return 0;
	len -= offsetof(struct stapled, der);
	memcpy(buf, value.der, len);
	return len;
}
