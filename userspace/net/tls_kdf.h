/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tls_kdf.h - the key schedule of TLS 1.3 by hashing directly: it saves a tenth of a handshake's time, which OpenSSL
 * 3.0 spends on looking up and setting up its KDF 21 times.  An OpenSSL provider inside of the program, for "TLS13-KDF"
 * only; all else stays with the default provider.
 */
#ifndef SN_NET_TLS_KDF_H
#define SN_NET_TLS_KDF_H

#include <stdbool.h>

/*
 * Once, at start, before the first tls_server or tls_client is made.  Compares itself with the default provider over
 * all digests, modes and many lengths.  False: it is not used, everything works as before but slower; the reason is
 * for the log.  Called again: the first answer.
 */
bool tls_kdf_start(const char **out_reason);
/* Property query for SSL_CTX_new_ex(), or NULL when it is not used. */
const char *tls_kdf_query(void);
/* Derivations of this thread so far: proof that OpenSSL really comes here. */
unsigned long tls_kdf_count(void);

#endif
