/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_suites.c - the nine suites that a configuration may name. */
#include "net/tls_suites.h"

#include <errno.h>
#include <stdio.h>

#include "base/check.h"

struct suite {
	const char *iana, *openssl;
	bool is_v13;
};

/* In the order of the defaults: cheap first, forward secret and authenticated all. */
static const struct suite suites[] = {
	{ "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", true },
	{ "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", true },
	{ "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", true },
	{ "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", false },
	{ "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", false },
	{ "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", false },
	{ "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", false },
	{ "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", false },
	{ "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", false },
};

static const char known[] = "TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, "
			    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "
			    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "
			    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "
			    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";

const char *tls_cipher_suites_known(void)
{
	return known;
}

static const struct suite *suite_find(const char *iana)
{
	for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
		if (strcmp(suites[i].iana, iana) == 0)
			return &suites[i];
	}
	return NULL;
}

bool tls_cipher_suite_is_known(const char *iana_name)
{
	return suite_find(iana_name) != NULL;
}

/* Both lists hold every suite once, so there is always room. */
static void suite_add(struct tls_suites *out, const struct suite *suite)
{
	char *list = suite->is_v13 ? out->v13 : out->v12;
	size_t size = suite->is_v13 ? sizeof(out->v13) : sizeof(out->v12), len = strlen(list);
	int n = snprintf(list + len, size - len, "%s%s", len ? ":" : "", suite->openssl);

	CHECK(n > 0 && (size_t)n < size - len);
}

int tls_suites_parse(struct tls_suites *out, const char *label, const char *const *names, size_t count,
		     struct tls_report *r)
{
	struct tls_suites list = { 0 };
	unsigned seen = 0, errors = r->error_count;

	for (size_t i = 0; i < ARRAY_LEN(suites) && count == 0; i++)
		suite_add(&list, &suites[i]);
	for (size_t i = 0; i < count; i++) {
		const struct suite *suite = suite_find(names[i]);

		if (!suite) {
			tls_report_error(r, "%s: cipher-suite %s is unknown, known are %s", label, names[i], known);
		} else if (seen & 1u << (suite - suites)) {
			tls_report_error(r, "%s: cipher-suite %s is there twice", label, names[i]);
		} else {
			seen |= 1u << (suite - suites);
			suite_add(&list, suite);
		}
	}
	if (r->error_count != errors)
		return -EINVAL;
	*out = list;
	return 0;
}

static const char *version_name(enum tls_version v)
{
	return v == TLS_VERSION_13 ? "1.3" : "1.2";
}

int tls_suites_versions(const struct tls_suites *s, const char *label, enum tls_version min, enum tls_version max,
			enum tls_version *out_min, enum tls_version *out_max, struct tls_report *r)
{
	enum tls_version low = s->v12[0] ? TLS_VERSION_12 : TLS_VERSION_13;
	enum tls_version high = s->v13[0] ? TLS_VERSION_13 : TLS_VERSION_12;
	enum tls_version from = min ? min : TLS_VERSION_12, to = max ? max : TLS_VERSION_13;

	if (from > to) {
		tls_report_error(r, "%s: min-version %s is above max-version %s", label, version_name(from),
				 version_name(to));
		return -EINVAL;
	}
	if ((min && low > from) || to < low) {
		tls_report_error(r, "%s: no cipher-suite of TLS 1.2 is listed, but TLS 1.2 is asked for", label);
		return -EINVAL;
	}
	if ((max && high < to) || from > high) {
		tls_report_error(r, "%s: no cipher-suite of TLS 1.3 is listed, but TLS 1.3 is asked for", label);
		return -EINVAL;
	}
	if (low > from)
		tls_report_warning(r, "%s: TLS 1.2 is off, since no cipher-suite of it is listed", label);
	if (high < to)
		tls_report_warning(r, "%s: TLS 1.3 is off, since no cipher-suite of it is listed", label);
	*out_min = MAX(from, low);
	*out_max = MIN(to, high);
	return 0;
}
