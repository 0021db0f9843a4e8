/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ocsp.h - OCSP stapling without I/O: what to ask, whether an answer is right, when to ask again, what to staple.
 *
 * A struct ocsp_staple belongs to one certificate of a TLS context.  The control thread fetches: it posts the bytes of
 * ocsp_staple_request() to the URL (Content-Type: application/ocsp-request) and gives the body of a 200 answer to
 * ocsp_staple_accept(), which verifies it: signed by the issuer or by a responder that the issuer named for it, about
 * this certificate, within thisUpdate..nextUpdate, status good.  On disk an answer is kept as the same DER, in a file
 * named by the fingerprint; ocsp_staple_load() judges it again, so the file need not be trusted.
 * Workers copy the newest answer during handshakes, without a lock; an expired one is not copied.
 */
#ifndef SN_NET_OCSP_H
#define SN_NET_OCSP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "base/strbuf.h"

struct x509_st;
struct ocsp_staple;

#define OCSP_RESPONSE_BYTES_MAX 8192 /* what may be stapled: more would not fit clients' patience */
#define OCSP_VALID_SECS_MAX (14 * 86400) /* after thisUpdate: an answer with nextUpdate later than that ends there */
#define OCSP_VALID_SECS_OPEN 86400	 /* after thisUpdate, of an answer without nextUpdate */
#define OCSP_CLOCK_SKEW_SECS 300
#define OCSP_RETRY_SECS_MIN 60
#define OCSP_RETRY_SECS_MAX 3600

/* leaf and issuer are borrowed and must outlive the staple. */
struct ocsp_staple *ocsp_staple_new(struct x509_st *leaf, struct x509_st *issuer);
void ocsp_staple_free(struct ocsp_staple *s); /* NULL ok */

/* --- control thread --- */

/* The first http:// responder that the certificate names, or NULL: only a configured one can be asked. */
const char *ocsp_staple_url(const struct ocsp_staple *s);
/* SHA-256 of the certificate in lower-case hex: the name for files and logs. */
const char *ocsp_staple_fingerprint(const struct ocsp_staple *s);
/* The certificate demands a staple (RFC 7633): clients refuse a handshake without. */
bool ocsp_staple_is_required(const struct ocsp_staple *s);
/* Append the DER of the request (without nonce, so that responders may answer from their cache). */
void ocsp_staple_request(const struct ocsp_staple *s, struct strbuf *out);
/*
 * Judge an answer; on 0 it is what workers staple from now on.  Else the staple stays as it was, with the reason in
 * *out_error (static or thread-local text): -EBADMSG no OCSP answer, -EAGAIN the responder said tryLater or another
 * error, -EPERM signature or signer wrong, -ENOENT not about this certificate, -ESTALE not valid now, -EMSGSIZE too
 * large, -EKEYREVOKED revoked (a staple that is there is removed), -ENODATA status unknown.
 */
int ocsp_staple_accept(struct ocsp_staple *s, struct span der, int64_t now, const char **out_error);
/* The same for an answer that was kept on disk: failing is no failed try, and the next time to ask may be past. */
int ocsp_staple_load(struct ocsp_staple *s, struct span der, int64_t now, const char **out_error);
/*
 * The next time to ask, in seconds since the epoch: with a staple half-way through its life; after failures
 * OCSP_RETRY_SECS_MIN, doubled up to OCSP_RETRY_SECS_MAX.  0: at once (nothing was asked yet).
 */
int64_t ocsp_staple_next(const struct ocsp_staple *s);
/* Asking failed before an answer came (connect, time-out, status): sets the next try.  accept() does so by itself. */
void ocsp_staple_failed(struct ocsp_staple *s, int64_t now);
/* End of validity of what is stapled, or 0: none.  An expired staple is removed by this call. */
int64_t ocsp_staple_until(struct ocsp_staple *s, int64_t now);
/* The DER of what is stapled, to be kept on disk: false if there is none. */
bool ocsp_staple_der(const struct ocsp_staple *s, struct strbuf *out);
/*
 * The same certificate was loaded again: take the answer over, if the fingerprints agree and this one has none that
 * lasts longer.  True if they agree.  Failures are not taken over: who is asked may be somebody else now.
 */
bool ocsp_staple_adopt(struct ocsp_staple *s, const struct ocsp_staple *old);

/* --- any thread --- */

/* Copy what is to be stapled at `now` into buf (OCSP_RESPONSE_BYTES_MAX); the length, 0: nothing. */
size_t ocsp_staple_copy(const struct ocsp_staple *s, int64_t now, void *buf);

#endif
