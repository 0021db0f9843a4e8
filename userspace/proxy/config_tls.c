/* SPDX-License-Identifier: GPL-2.0-only */
/* config_tls.c - rows of `tls` on both sides, and of `http-version`. */
#include "proxy/config_rows.h"

#include "http/headers.h"

static const struct schema_word client_auth_words[] = {
	{ "none", TLS_CLIENT_AUTH_NONE, .aliases = "false off", .help = "clients are not asked for a certificate" },
	{ "optional", TLS_CLIENT_AUTH_OPTIONAL, .help = "one that is given must be right" },
	{ "required", TLS_CLIENT_AUTH_REQUIRED, .aliases = "true", .help = "a client without a right one is refused" },
	{ NULL },
};

/* The older words are accepted and mean the oldest that we speak. */
static const struct schema_word version_min_words[] = {
	{ "1.2", TLS_VERSION_12, .aliases = "tls1.2 tlsv1.2 1.0 1.1 tls1.0 tls1.1 tlsv1.0 tlsv1.1", .help = "TLS 1.2" },
	{ "1.3", TLS_VERSION_13, .aliases = "tls1.3 tlsv1.3", .help = "TLS 1.3" },
	{ NULL },
};

static const struct schema_word version_max_words[] = {
	{ "newest", TLS_VERSION_DEFAULT, .help = "the newest that both sides know" },
	{ "1.2", TLS_VERSION_12, .aliases = "tls1.2 tlsv1.2", .help = "TLS 1.2" },
	{ "1.3", TLS_VERSION_13, .aliases = "tls1.3 tlsv1.3", .help = "TLS 1.3" },
	{ NULL },
};

static const struct schema_word ktls_words[] = {
	{ "off", CONFIG_KTLS_OFF, .aliases = "false", .help = "records are made in user space" },
	{ "auto", CONFIG_KTLS_AUTO, .aliases = "true", .help = "the kernel makes them where it can" },
	{ NULL },
};

static const char *suite_verify(const char *text, struct arena *a)
{
	if (tls_cipher_suite_is_known(text))
		return NULL;
	return arena_printf(a, "is not a cipher suite that we have; these are: %s", tls_cipher_suites_known());
}

static const char *hostname_verify(const char *text, struct arena *a)
{
	const char *name = strncmp(text, "*.", 2) == 0 ? text + 2 : text;

	(void)a;
	if (strchr(name, '*'))
		return "is not a host name: only the first label may be `*`";
	for (const char *p = name; *p; p++)
		if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9') &&
		    !strchr("-_.", *p))
			return "is not a host name: letters, digits, `-` and dots (others as xn--…)";
	return name[0] && name[0] != '.' && strlen(name) <= 253 ? NULL : "is not a host name";
}

static const char *field_verify(const char *text, struct arena *a)
{
	(void)a;
	if (!header_name_is_valid(span_str(text)))
		return "is not a name of a header field";
	return header_token_of(span_str(text)) == TOKEN_OTHER ? NULL : "is a header field with a meaning of its own";
}

static const char *url_verify(const char *text, struct arena *a)
{
	(void)a;
	return strncmp(text, "http://", 7) == 0 && text[7] ? NULL : "is not an address like http://host/path";
}

/* ---- listener ---- */

#define SNI struct config_sni

static const struct schema_row sni_rows[] = {
	ROW_STRINGS(SNI, hostnames, "hostnames", NULL,
		    "Names that this certificate serves: `a.example.com`, or `*.example.com` for all below it (not "
		    "for example.com itself).  Default: the names in the certificate.",
		    .aliases = "hostname", .verify = hostname_verify),
	ROW_STRINGS(SNI, priority_hostnames, "priority-hostnames", NULL,
		    "The same, and where another certificate serves the name too, this one is used.",
		    .verify = hostname_verify),
	ROW_PATH(SNI, cert_file, "cert-file", NULL, "PEM file: the certificate, then its issuers.",
		 .flags = SCHEMA_REQUIRED),
	ROW_PATH(SNI, key_file, "key-file", NULL, "PEM file: its private key.", .flags = SCHEMA_REQUIRED),
	ROW_LATER("acme"),
	ROW_END,
};

static void sni_check(struct schema *s, void *config)
{
	SNI *c = config;

	if (c->hostnames.count > 0 && c->priority_hostnames.count > 0)
		diag_error(s->diag, SCHEMA_POS(c, priority_hostnames),
			   "an `sni` has either `hostnames` or `priority-hostnames`");
}

static const struct schema_block sni_block =
	SCHEMA_BLOCK(SNI, "sni", sni_rows, sni_check, "A certificate for some names.");

#define FIELDS struct config_client_fields

static const struct schema_row fields_rows[] = {
	ROW_STRING(FIELDS, verified, "verified", "X-Client-Cert-Verified",
		   "Field that says `SUCCESS` or `NONE` (no certificate was given).", .verify = field_verify),
	ROW_STRING(FIELDS, subject, "subject", "X-Client-Cert-Subject", "Field for the subject (RFC 2253).",
		   .verify = field_verify),
	ROW_STRING(FIELDS, fingerprint, "fingerprint", "X-Client-Cert-Fingerprint",
		   "Field for the SHA-256 of the certificate, in hex.", .verify = field_verify),
	ROW_STRING(FIELDS, names, "names", "X-Client-Cert-SAN",
		   "Field for the alternative names: `DNS:a.example,URI:spiffe://b`.", .verify = field_verify),
	ROW_END,
};

static const struct schema_block fields_block =
	SCHEMA_BLOCK(FIELDS, "client-cert-headers", fields_rows, NULL,
		     "Names of the header fields that tell origins who the client is.");

#define TLS struct config_tls

static const struct schema_row tls_rows[] = {
	ROW_STRINGS(TLS, cert_files, "cert-file", NULL,
		    "PEM file of the certificate for clients that name no other: the certificate, then its issuers.  "
		    "Several with different kinds of keys (RSA and ECDSA) may be given; the client's offer decides."),
	ROW_STRINGS(TLS, key_files, "key-file", NULL,
		    "PEM file of the private key; as many as `cert-file`, in the same order.  It belongs to root or to "
		    "the daemon's user; its group may read it, others may not, and nobody else may write it."),
	ROW_LIST(TLS, snis, sni_count, "sni", &sni_block,
		 "A certificate for some names.  An exact name wins over a wildcard."),
	ROW_BOOL(TLS, strict_sni, "strict-sni", "#false",
		 "Refuse clients that name no host or an unknown one; else they get the default certificate."),
	ROW_ENUM(TLS, client_auth, "client-auth", client_auth_words, "none", "Certificates of clients (mutual TLS)."),
	ROW_PATH(TLS, ca_file, "ca-file", NULL, "PEM file of the authorities whose client certificates are right."),
	ROW_PATH(TLS, crl_file, "crl-file", NULL, "PEM file of their revocation lists: one of each authority."),
	ROW_UINT(TLS, verify_depth, "verify-depth", 0, 100, "4",
		 "Intermediate authorities at most between a client's certificate and `ca-file`."),
	ROW_BLOCK(TLS, client_fields, "client-cert-headers", &fields_block,
		  "Names of the header fields that tell origins who the client is.  Fields of these names that a "
		  "client sends are removed.  With `client-auth` only."),
	ROW_ENUM(TLS, version_min, "min-version", version_min_words, "1.2", "Oldest version.  Older than 1.2 is 1.2."),
	ROW_ENUM(TLS, version_max, "max-version", version_max_words, "newest", "Newest version."),
	ROW_STRINGS(TLS, cipher_suites, "cipher-suites", NULL,
		    "Cipher suites by their IANA names, in order of preference.  Default: all that we have, "
		    "AES-128-GCM first.",
		    .aliases = "cipher-suite", .verify = suite_verify),
	ROW_BOOL(TLS, prefers_client_suites, "prefer-client-ciphers", "#false",
		 "Follow the client's order of suites instead of ours."),
	ROW_BOOL(TLS, has_ocsp_stapling, "ocsp-stapling", "#true",
		 "Staple OCSP answers.  They are fetched in the background, and kept on disk over restarts."),
	ROW_STRING(TLS, ocsp_url, "ocsp-responder", NULL,
		   "Address to ask instead of the one in the certificate: `http://host/path`.", .verify = url_verify),
	ROW_BOOL(TLS, has_resumption, "session-resumption", "#true",
		 "Let clients resume by ticket.  Keys are in memory only, shared by the workers, and change every 12 "
		 "hours."),
	ROW_BOOL(TLS, has_early_data, "early-data", "#false",
		 "Take requests in the first flight of a resumed handshake (0-RTT).  Only safe methods; origins get "
		 "`Early-Data: 1`; replays are refused."),
	ROW_ENUM(TLS, ktls, "ktls", ktls_words, "off",
		 "Who makes the records that are sent.  The kernel cannot change keys: then a client that asks for new "
		 "ones (KeyUpdate) is ended."),
	ROW_PATH(TLS, keylog_file, "keylog-file", NULL,
		 "For debugging only: append the secrets of all connections, so that a capture can be read."),
	ROW_LATER("acme"),
	ROW_END,
};

static void tls_check(struct schema *s, void *config)
{
	TLS *c = config;
	struct schema_pos pos = c->meta.pos;

	if (c->cert_files.count != c->key_files.count)
		diag_error(s->diag, pos, "there are %zu cert-file and %zu key-file: each certificate needs its key",
			   c->cert_files.count, c->key_files.count);
	else if (c->cert_files.count == 0 && !(c->strict_sni && c->sni_count > 0))
		diag_hint(s->diag, diag_error(s->diag, pos, "`tls` has no default certificate"),
			  "add `cert-file` and `key-file`, or `strict-sni #true` beside `sni`");
	if (c->client_auth != TLS_CLIENT_AUTH_NONE && !c->ca_file && !SCHEMA_HAS(c, ca_file))
		diag_error(s->diag, SCHEMA_POS(c, client_auth), "`client-auth` needs a `ca-file`");
	if (c->client_auth == TLS_CLIENT_AUTH_NONE && SCHEMA_HAS_VALID(c, ca_file))
		diag_error(s->diag, SCHEMA_POS(c, ca_file), "`ca-file` has no effect without `client-auth`");
	if (c->version_max == TLS_VERSION_12 && c->version_min == TLS_VERSION_13)
		diag_error(s->diag, SCHEMA_POS(c, version_max), "`max-version` is older than `min-version`");
	if (c->has_early_data && !c->has_resumption)
		diag_error(s->diag, SCHEMA_POS(c, has_early_data), "`early-data` needs `session-resumption`");
	if (c->has_early_data && c->client_auth != TLS_CLIENT_AUTH_NONE)
		diag_error(s->diag, SCHEMA_POS(c, has_early_data), "`early-data` cannot be had with `client-auth`");
	if (c->has_early_data && c->ktls != CONFIG_KTLS_OFF)
		diag_error(s->diag, SCHEMA_POS(c, ktls), "`ktls` cannot be had with `early-data`");
	if (c->client_auth == TLS_CLIENT_AUTH_NONE && SCHEMA_HAS(c, client_fields))
		diag_warning(s->diag, c->client_fields.meta.pos,
			     "`client-cert-headers` has no effect without `client-auth`");
	if (c->keylog_file)
		diag_warning(s->diag, SCHEMA_POS(c, keylog_file),
			     "`keylog-file`: whoever reads that file can read all connections");
}

const struct schema_block config_tls_block =
	SCHEMA_BLOCK(TLS, "tls", tls_rows, tls_check, "Certificates, and who may connect.");

/* ---- upstream ---- */

#define UTLS struct config_upstream_tls

static const struct schema_row upstream_tls_rows[] = {
	ROW_STRING(UTLS, sni, "sni", NULL,
		   "Name to ask for and to verify; default: the host of the target.", .verify = hostname_verify),
	ROW_PATH(UTLS, ca_file, "ca-file", NULL,
		 "PEM file of the authorities that are trusted; default: those of the system.", .aliases = "ca-cert"),
	ROW_PATH(UTLS, client_cert, "client-cert", NULL,
		 "PEM file of our certificate; it may hold the key too."),
	ROW_PATH(UTLS, client_key, "client-key", NULL, "PEM file of its key."),
	ROW_BOOL(UTLS, skips_verification, "insecure-skip-verify", "#false",
		 "Talk to anybody who answers.  Whoever is in between can read and change everything."),
	ROW_ENUM(UTLS, version_min, "min-version", version_min_words, "1.2", "Oldest version."),
	ROW_ENUM(UTLS, version_max, "max-version", version_max_words, "newest", "Newest version."),
	ROW_BOOL(UTLS, has_resumption, "session-resumption", "#true", "Resume sessions with the target."),
	ROW_END,
};

static void upstream_tls_check(struct schema *s, void *config)
{
	UTLS *c = config;

	if (c->client_key && !c->client_cert)
		diag_error(s->diag, SCHEMA_POS(c, client_key), "`client-key` needs a `client-cert`");
	if (c->skips_verification)
		diag_warning(s->diag, SCHEMA_POS(c, skips_verification),
			     "the target's certificate is not verified: this is no protection against an attacker");
}

const struct schema_block config_upstream_tls_block =
	SCHEMA_BLOCK(UTLS, "tls", upstream_tls_rows, upstream_tls_check, "TLS to the targets.");

#define VERSION struct config_http_version

static const struct schema_row http_version_rows[] = {
	ROW_UINT(VERSION, min, "min-version", 1, 2, "1",
		 "Oldest version.  2: HTTP/2 only; without `tls` by prior knowledge."),
	ROW_UINT(VERSION, max, "max-version", 1, 2, "2",
		 "Newest version.  With `tls` the target chooses (ALPN); without it HTTP/2 is spoken only if "
		 "`min-version` is 2."),
	ROW_DURATION(VERSION, h2_ping_interval_ms, "h2-ping-interval", SCHEMA_SECONDS, 0, SCHEMA_DAY, "0",
		     "Ask an HTTP/2 target whether it is there after so long without a byte from it, and close when it "
		     "does not answer; 0: never.",
		     .aliases = "h2-ping-interval-secs"),
	ROW_UINT(VERSION, h2_streams_max, "max-h2-streams", 1, 10000, "100",
		 "Requests at once on one HTTP/2 connection; the target may allow fewer."),
	ROW_END,
};

static void http_version_check(struct schema *s, void *config)
{
	VERSION *c = config;

	if (c->max < c->min)
		diag_error(s->diag, SCHEMA_POS(c, max), "`max-version` is older than `min-version`");
}

const struct schema_block config_http_version_block =
	SCHEMA_BLOCK(VERSION, "http-version", http_version_rows, http_version_check,
		     "Which HTTP is spoken to the targets.");
