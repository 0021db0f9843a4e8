/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_verify.c - identity of the peer as header values, and failures of handshakes by name. */
#include "net/tls_verify.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "base/check.h"

#define SUBJECT_BYTES_MAX 1024

struct failure_row {
	const char *name, *text;
};

static const struct failure_row failures[TLS_FAILURE_COUNT] = {
#define X(NAME, label, sentence) [TLS_FAILURE_##NAME] = { label, sentence },
	TLS_FAILURES(X)
#undef X
};

const char *tls_failure_name(enum tls_failure f)
{
	CHECK(f < TLS_FAILURE_COUNT);
	return failures[f].name;
}

const char *tls_failure_text(enum tls_failure f)
{
	CHECK(f < TLS_FAILURE_COUNT);
	return failures[f].text;
}

static enum tls_failure failure_of_verify(long result)
{
	switch (result) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return TLS_FAILURE_EXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_FAILURE_NOT_YET_VALID;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return TLS_FAILURE_WRONG_NAME;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_UNTRUSTED:
		return TLS_FAILURE_UNKNOWN_CA;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		return TLS_FAILURE_SELF_SIGNED;
	case X509_V_ERR_CERT_REVOKED:
		return TLS_FAILURE_REVOKED;
	case X509_V_ERR_UNABLE_TO_GET_CRL:
	case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
	case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
	case X509_V_ERR_CRL_SIGNATURE_FAILURE:
	case X509_V_ERR_CRL_NOT_YET_VALID:
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD:
	case X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD:
		return TLS_FAILURE_CRL;
	case X509_V_ERR_CERT_CHAIN_TOO_LONG:
		return TLS_FAILURE_CHAIN_TOO_LONG;
	default:
		return TLS_FAILURE_BAD_CERTIFICATE;
	}
}

static enum tls_failure failure_of_alert(int reason)
{
	switch (reason) {
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
		return TLS_FAILURE_ALERT_CERTIFICATE;
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
		return TLS_FAILURE_ALERT_CERTIFICATE_REQUIRED;
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
		return TLS_FAILURE_ALERT_UNKNOWN_CA;
	case SSL_R_TLSV1_UNRECOGNIZED_NAME:
		return TLS_FAILURE_ALERT_UNRECOGNIZED_NAME;
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
		return TLS_FAILURE_NO_SHARED_VERSION;
	case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
		return TLS_FAILURE_NO_SHARED_ALPN;
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
	case SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY:
		return TLS_FAILURE_ALERT_HANDSHAKE;
	default:
		return TLS_FAILURE_ALERT_OTHER;
	}
}

static enum tls_failure failure_of_reason(int reason, long verify_result)
{
	if (reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
		return failure_of_alert(reason);
	switch (reason) {
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return failure_of_verify(verify_result);
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return TLS_FAILURE_NO_CERTIFICATE;
	case SSL_R_CALLBACK_FAILED: /* ours that refuses names; for others it raises an error of its own before */
		return TLS_FAILURE_UNRECOGNIZED_NAME;
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
	case SSL_R_VERSION_TOO_HIGH:
	case SSL_R_WRONG_SSL_VERSION:
	case SSL_R_NO_PROTOCOLS_AVAILABLE:
		return TLS_FAILURE_NO_SHARED_VERSION;
	case SSL_R_NO_SHARED_CIPHER:
	case SSL_R_NO_SHARED_GROUPS:
	case SSL_R_NO_SUITABLE_KEY_SHARE:
	case SSL_R_NO_SUITABLE_GROUPS:
	case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
	case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
	case SSL_R_NO_CIPHERS_AVAILABLE:
	case SSL_R_WRONG_SIGNATURE_TYPE:
		return TLS_FAILURE_NO_SHARED_CIPHER;
	case SSL_R_NO_APPLICATION_PROTOCOL:
		return TLS_FAILURE_NO_SHARED_ALPN;
	case SSL_R_HTTP_REQUEST:
	case SSL_R_HTTPS_PROXY_REQUEST:
	case SSL_R_WRONG_VERSION_NUMBER:
		return TLS_FAILURE_NOT_TLS;
	case SSL_R_UNEXPECTED_EOF_WHILE_READING:
		return TLS_FAILURE_CLOSED;
	case ERR_R_INTERNAL_ERROR:
	case ERR_R_MALLOC_FAILURE:
		return TLS_FAILURE_INTERNAL;
	default:
		return TLS_FAILURE_PROTOCOL;
	}
}

/* The first error of libssl is the cause; what lower libraries said before it is only how. */
static unsigned long error_take(void)
{
	unsigned long code = ERR_peek_error(), next;

	while ((next = ERR_get_error()) != 0) {
		if (ERR_GET_LIB(next) == ERR_LIB_SSL) {
			code = next;
			break;
		}
	}
	ERR_clear_error();
	return code;
}

static void detail_add(struct strbuf *detail, unsigned long code, long verify_result)
{
	const char *reason = ERR_reason_error_string(code);

	if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		strbuf_add_str(detail, X509_verify_cert_error_string(verify_result));
	else if (reason)
		strbuf_add_str(detail, reason);
	else if (code)
		strbuf_printf(detail, "OpenSSL error %lx", code);
	else
		strbuf_add_str(detail, "connection ended");
}

enum tls_failure tls_failure_take(struct ssl_st *ssl, int ssl_error, struct strbuf *detail)
{
	unsigned long code = error_take();
	long verify_result = SSL_get_verify_result(ssl);

	if (detail)
		detail_add(detail, code, verify_result);
	if (code == 0)
		return ssl_error == SSL_ERROR_SSL ? TLS_FAILURE_INTERNAL : TLS_FAILURE_CLOSED;
	if (ERR_GET_LIB(code) != ERR_LIB_SSL)
		return TLS_FAILURE_PROTOCOL;
	return failure_of_reason(ERR_GET_REASON(code), verify_result);
}

/* --- identity ---------------------------------------------------------------------------------------------------- */

/* Spans move while the text grows: they are places until it is complete. */
struct place {
	size_t at, len;
};

static struct place place_end(const struct strbuf *text, size_t at)
{
	return (struct place){ at, text->len - at };
}

static struct span place_span(const struct strbuf *text, struct place p)
{
	return span_of(text->ptr + p.at, p.len);
}

static void escaped_add(struct strbuf *out, const unsigned char *bytes, size_t len, const char *special)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = bytes[i];

		if (c < 0x20 || c > 0x7e || (c != '\0' && strchr(special, c)))
			strbuf_printf(out, "%%%02X", c);
		else
			strbuf_add_char(out, (char)c);
	}
}

static struct place name_add(struct tls_peer *p, const X509_NAME *name)
{
	size_t at = p->text.len;
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long len;

	CHECK(bio);
	X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253);
	len = BIO_get_mem_data(bio, &data);
	if (len > SUBJECT_BYTES_MAX) {
		len = SUBJECT_BYTES_MAX;
		p->is_cut = true;
	}
	if (len > 0)
		escaped_add(&p->text, (const unsigned char *)data, (size_t)len, "");
	BIO_free(bio);
	return place_end(&p->text, at);
}

static struct place serial_add(struct tls_peer *p, const X509 *x)
{
	size_t at = p->text.len;
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	char *hex = number ? BN_bn2hex(number) : NULL;

	if (hex)
		strbuf_add_str(&p->text, hex);
	OPENSSL_free(hex);
	BN_free(number);
	return place_end(&p->text, at);
}

static struct place fingerprint_add(struct tls_peer *p, const X509 *x)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	size_t at = p->text.len;

	CHECK(X509_digest(x, EVP_sha256(), digest, &len));
	for (unsigned i = 0; i < len; i++)
		strbuf_printf(&p->text, "%02x", digest[i]);
	return place_end(&p->text, at);
}

static void general_name_add(struct strbuf *out, const GENERAL_NAME *name)
{
	static const char *const labels[] = { [GEN_EMAIL] = "EMAIL:", [GEN_DNS] = "DNS:", [GEN_URI] = "URI:" };
	char ip[INET6_ADDRSTRLEN];
	int type;
	const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
	const unsigned char *bytes;
	int len;

	if (type != GEN_EMAIL && type != GEN_DNS && type != GEN_URI && type != GEN_IPADD)
		return;
	bytes = ASN1_STRING_get0_data(value);
	len = ASN1_STRING_length(value);
	if (type != GEN_IPADD) {
		strbuf_add_str(out, labels[type]);
		escaped_add(out, bytes, (size_t)len, "%,\"\\");
	} else if ((len == 4 && inet_ntop(AF_INET, bytes, ip, sizeof(ip))) ||
		   (len == 16 && inet_ntop(AF_INET6, bytes, ip, sizeof(ip)))) {
		strbuf_printf(out, "IP:%s", ip);
	}
}

static struct place names_add(struct tls_peer *p, const X509 *x)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	size_t at = p->text.len;
	int count = MIN(sk_GENERAL_NAME_num(names), TLS_PEER_NAMES_MAX);

	p->is_cut |= sk_GENERAL_NAME_num(names) > TLS_PEER_NAMES_MAX;
	for (int i = 0; i < count; i++) {
		size_t before = p->text.len, begin;

		if (before > at)
			strbuf_add_char(&p->text, ',');
		begin = p->text.len;
		general_name_add(&p->text, sk_GENERAL_NAME_value(names, i));
		if (p->text.len > begin && p->text.len - at <= TLS_PEER_BYTES_MAX)
			continue;
		p->is_cut |= p->text.len > begin;
		p->text.len = before;
		p->text.ptr[before] = '\0';
	}
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return place_end(&p->text, at);
}

static int64_t time_secs(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
}

bool tls_peer_identity(const struct ssl_st *ssl, struct tls_peer *out)
{
	X509 *x = SSL_get0_peer_certificate(ssl);
	struct tls_peer p = { 0 };
	struct place subject, issuer, serial, fingerprint, names;

	if (!x || SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE || SSL_get_verify_result(ssl) != X509_V_OK)
		return false;
	strbuf_init(&p.text);
	subject = name_add(&p, X509_get_subject_name(x));
	issuer = name_add(&p, X509_get_issuer_name(x));
	serial = serial_add(&p, x);
	fingerprint = fingerprint_add(&p, x);
	names = names_add(&p, x);
	p.subject = place_span(&p.text, subject);
	p.issuer = place_span(&p.text, issuer);
	p.serial = place_span(&p.text, serial);
	p.fingerprint = place_span(&p.text, fingerprint);
	p.names = place_span(&p.text, names);
	p.not_before = time_secs(X509_get0_notBefore(x));
	p.not_after = time_secs(X509_get0_notAfter(x));
	ERR_clear_error(); /* odd names leave some, which the next SSL call must not find */
	*out = p;
	return true;
}

void tls_peer_fini(struct tls_peer *p)
{
	if (!p)
		return;
	strbuf_fini(&p->text);
	*p = (struct tls_peer){ 0 };
}
