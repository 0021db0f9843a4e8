/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_suites.h - cipher suites by their IANA names, as OpenSSL wants them: two lists, TLS 1.3 and TLS 1.2. */
#ifndef SN_NET_TLS_SUITES_H
#define SN_NET_TLS_SUITES_H

#include "net/tls_context.h"

/* OpenSSL's names with ':' between them; "" is a version without suites. */
struct tls_suites {
	char v13[128];
	char v12[384];
};

/* No names: the defaults.  0, or -EINVAL with an error for each unknown or repeated name. */
int tls_suites_parse(struct tls_suites *out, const char *label, const char *const *names, size_t count,
		     struct tls_report *r);
/*
 * Versions that both settings and suites allow; an error if none is left or a bound was asked for that the suites
 * contradict, a warning if the suites take a version away.  0, or -EINVAL.
 */
int tls_suites_versions(const struct tls_suites *s, const char *label, enum tls_version min, enum tls_version max,
			enum tls_version *out_min, enum tls_version *out_max, struct tls_report *r);

#endif
