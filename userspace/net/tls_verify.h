/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tls_verify.h - who the peer is, and why a handshake failed: for logs, metrics and header values, in both roles.
 * The thread that owns the SSL.
 */
#ifndef SN_NET_TLS_VERIFY_H
#define SN_NET_TLS_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/strbuf.h"

struct ssl_st;

/* NAME, label for metrics and logs, sentence.  "Sent" ones are alerts that the peer gave as its reason. */
#define TLS_FAILURES(X) \
	X(NONE, "none", "no failure") \
	X(EXPIRED, "expired", "the peer's certificate has expired") \
	X(NOT_YET_VALID, "not_yet_valid", "the peer's certificate is not valid yet") \
	X(WRONG_NAME, "wrong_name", "the peer's certificate is for another name") \
	X(UNKNOWN_CA, "unknown_ca", "the peer's certificate comes from an unknown authority") \
	X(SELF_SIGNED, "self_signed", "the peer's certificate is signed by itself") \
	X(REVOKED, "revoked", "the peer's certificate was revoked") \
	X(CRL, "crl", "no valid revocation list for the peer's certificate") \
	X(CHAIN_TOO_LONG, "chain_too_long", "the peer's certificate chain is too long") \
	X(BAD_CERTIFICATE, "bad_certificate", "the peer's certificate is not acceptable") \
	X(NO_CERTIFICATE, "no_certificate", "the peer gave no certificate") \
	X(UNRECOGNIZED_NAME, "unrecognized_name", "no certificate for the name asked for") \
	X(NO_SHARED_VERSION, "no_shared_version", "no protocol version in common") \
	X(NO_SHARED_CIPHER, "no_shared_cipher", "no cipher suite, group or signature in common") \
	X(NO_SHARED_ALPN, "no_shared_alpn", "no application protocol in common") \
	X(NOT_TLS, "not_tls", "the peer does not speak TLS") \
	X(ALERT_CERTIFICATE, "alert_certificate", "the peer refused our certificate") \
	X(ALERT_CERTIFICATE_REQUIRED, "alert_certificate_required", "the peer wants a certificate of ours") \
	X(ALERT_UNKNOWN_CA, "alert_unknown_ca", "the peer does not know our certificate's authority") \
	X(ALERT_UNRECOGNIZED_NAME, "alert_unrecognized_name", "the peer does not know the name") \
	X(ALERT_HANDSHAKE, "alert_handshake", "the peer found nothing in common") \
	X(ALERT_OTHER, "alert_other", "the peer sent an alert") \
	X(CLOSED, "closed", "the peer closed the connection") \
	X(TIMEOUT, "timeout", "the handshake took too long") \
	X(PROTOCOL, "protocol", "the peer broke the protocol") \
	X(INTERNAL, "internal", "TLS failed on our side")

enum tls_failure {
#define X(NAME, label, text) TLS_FAILURE_##NAME,
	TLS_FAILURES(X)
#undef X
	TLS_FAILURE_COUNT
};

const char *tls_failure_name(enum tls_failure f); /* "wrong_name" */
const char *tls_failure_text(enum tls_failure f); /* "the peer's certificate is for another name" */

/*
 * After an SSL_* call failed: why.  ssl_error is SSL_get_error()'s result (SSL_ERROR_SSL, SSL_ERROR_SYSCALL or
 * SSL_ERROR_ZERO_RETURN).  Empties the thread's error queue.  detail may be NULL; else a line for the log is appended,
 * without control characters: OpenSSL's reason, and for certificates the verifier's.
 * TIMEOUT is the caller's to say: no call of OpenSSL fails with it.
 */
enum tls_failure tls_failure_take(struct ssl_st *ssl, int ssl_error, struct strbuf *detail);

#define TLS_PEER_NAMES_MAX 64
#define TLS_PEER_BYTES_MAX 4096

/*
 * A verified peer.  The spans lie in the text buffer and are safe as header values: printable ASCII only.  What is not,
 * and '%', ',', '"' and '\' inside of a name, is written as %XX; the subject is RFC 2253, whose own escapes stay.
 */
struct tls_peer {
	struct strbuf text; /* owned */
	struct span subject, issuer;
	struct span serial;	 /* upper-case hex */
	struct span fingerprint; /* SHA-256, 64 lower-case hex digits */
	struct span names;	 /* "DNS:a.example,URI:spiffe://x/y,EMAIL:a@b,IP:192.0.2.1" */
	int64_t not_before, not_after;
	bool is_cut; /* names or subject were longer than the limits above; the rest is missing */
};

/*
 * False, and *out untouched: no certificate, or it was not verified (insecure-skip-verify).  A resumed session has the
 * identity of its full handshake.
 */
bool tls_peer_identity(const struct ssl_st *ssl, struct tls_peer *out);
void tls_peer_fini(struct tls_peer *p); /* NULL ok */

#endif
