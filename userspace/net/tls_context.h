/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tls_context.h - TLS settings ready for use: a server's certificates and rules, a client's trust, what all share.
 *
 * A tls_server or tls_client is built by the control thread from a configuration, never changes after that (but for
 * the staples), is counted, and is used by all workers.  Every SSL made from one holds a reference until SSL_free(): a
 * reload puts the old object and its connections live on.  No SSL has a BIO yet; nothing here does I/O on sockets.
 *
 * A server has one SSL_CTX for each set of certificates; a set is what one name has, at most one of each kind of key.
 * The set is chosen in the ClientHello callback, before any ticket is looked at: so a ticket is bound to names,
 * certificates' subjects, client-auth, ca-file and crl-file (by content), and is refused where one of them differs.  A
 * renewed certificate of the same subject and names takes the old tickets.
 */
#ifndef SN_NET_TLS_CONTEXT_H
#define SN_NET_TLS_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "base/strbuf.h"
#include "net/ocsp.h"
#include "net/tls_certificate.h"
#include "net/tls_replay.h"
#include "net/tls_report.h"
#include "net/tls_tickets.h"

struct ssl_st;
struct tls_server;
struct tls_client;
struct tls_shared;

#define TLS_EARLY_DATA_BYTES_MAX 16384
#define TLS_CERTIFICATES_MAX 10000

enum tls_version {
	TLS_VERSION_DEFAULT, /* min: 1.2, max: the newest */
	TLS_VERSION_12,
	TLS_VERSION_13,
};

enum tls_client_auth {
	TLS_CLIENT_AUTH_NONE,
	TLS_CLIENT_AUTH_OPTIONAL, /* a certificate that is given must be right */
	TLS_CLIENT_AUTH_REQUIRED,
};

/* --- what all servers of the process share: ticket keys, replay filter, counters --- */

struct tls_shared_stats {
	uint64_t tickets_issued;
	uint64_t tickets_read;	  /* decrypted; not all are then resumed: they may be bound to something else */
	uint64_t tickets_refused; /* unknown key, or the client's certificate has expired since */
	uint64_t early_data[TLS_REPLAY_VERDICT_COUNT];
};

/* Control thread.  replay_slots 0: TLS_REPLAY_SLOTS_DEFAULT; the filter's memory is taken when a server needs it. */
struct tls_shared *tls_shared_new(size_t replay_slots);
void tls_shared_free(struct tls_shared *s); /* NULL ok; after the last server and SSL */
/* Control thread, at least once an hour: new ticket keys when it is time.  True if they were rotated. */
bool tls_shared_tick(struct tls_shared *s, uint64_t mono_ns);
void tls_shared_rotate(struct tls_shared *s, uint64_t mono_ns); /* at once */
/*
 * Control thread: a binary upgrade passes the keys on.  From giving on no early data is accepted, until the keys are
 * kept after all; the process that has taken them accepts some when none of the other's can be played to it again.
 * -EINVAL: these are no keys.  The caller wipes its copies.
 */
void tls_shared_give_tickets(struct tls_shared *s, struct tls_ticket_keys *out);
void tls_shared_keep_tickets(struct tls_shared *s);
int tls_shared_take_tickets(struct tls_shared *s, const struct tls_ticket_keys *keys, uint64_t mono_ns,
			    uint64_t wall_secs);
void tls_shared_stats(const struct tls_shared *s, struct tls_shared_stats *out); /* any thread */

/* --- server --- */

struct tls_pair_config {
	const char *cert_file, *key_file;
};

/* One sni block: hostnames, or (none) the names in the certificate itself. */
struct tls_sni_config {
	struct tls_pair_config pair;
	const char *const *hostnames;
	size_t hostname_count;
	bool has_priority; /* over another certificate of the same kind for the same name */
};

/* Borrowed during tls_server_new() only.  Start from tls_server_config_init(). */
struct tls_server_config {
	const char *label; /* "listener `web`": begins sentences */

	const struct tls_pair_config *defaults; /* for unknown and absent names; several only of different kinds */
	size_t default_count;
	const struct tls_sni_config *certificates;
	size_t certificate_count;
	bool strict_sni; /* refuse unknown and absent names (alert unrecognized_name); then no default is needed */

	enum tls_version version_min, version_max;
	const char *const *cipher_suites; /* IANA names in order of preference; none: tls_cipher_suites_default() */
	size_t cipher_suite_count;
	bool prefer_client; /* the client's order of suites; else ours, but ChaCha20 first for who prefers that */
	const char *const *alpn; /* in order of preference: "h2", "http/1.1"; none: ALPN is not answered */
	size_t alpn_count;
	bool requires_alpn; /* refuse clients that offer none (alert no_application_protocol) */

	enum tls_client_auth client_auth;
	const char *ca_file; /* needed for client_auth; all its certificates are trust anchors */
	const char *crl_file; /* NULL: none.  Else every client certificate's issuer must have a valid list in it */
	unsigned verify_depth; /* intermediates at most */

	bool session_resumption;
	bool early_data; /* needs session_resumption, TLS 1.3, and no client_auth */
	bool ocsp_stapling;
	const char *ocsp_url; /* instead of the certificates' own responders; NULL: theirs */
	bool kernel_tls; /* let the kernel make the records that are sent, where it can (ktls.h); not with early_data */
	const char *keylog_file; /* secrets of every connection in the clear: for debugging */
};

/* TLS 1.2 and newer, default suites, our order, resumption and stapling on, depth 4. */
void tls_server_config_init(struct tls_server_config *c);
/*
 * Load and check everything.  0; or -EINVAL, with all errors in the report, each naming file and reason.  Warnings come
 * in both cases.  shared: borrowed, must outlive the server and its connections.  One reference is the caller's.
 */
int tls_server_new(struct tls_server **out, const struct tls_server_config *c, struct tls_shared *shared,
		   struct tls_report *r);
struct tls_server *tls_server_get(struct tls_server *s); /* any thread */
void tls_server_put(struct tls_server *s);		 /* any thread; NULL ok */
/* A connection's SSL in accept state, for the caller to SSL_free().  Holds a reference. */
struct ssl_st *tls_server_ssl(struct tls_server *s);
/*
 * True: read with SSL_read_early_data() before anything else, until it gives SSL_READ_EARLY_DATA_FINISH; then go on
 * with SSL_accept() and SSL_read().  While it gives SSL_READ_EARLY_DATA_SUCCESS, bytes are early, and a request of
 * which one byte is early is an early request: only safe methods, `Early-Data: 1` to the origin, or 425.  Answers may
 * be written with SSL_write_early_data() after SUCCESS.  A connection has early bytes only if
 * SSL_get_early_data_status() is SSL_EARLY_DATA_ACCEPTED.  They are from a client that proved to know a ticket, once,
 * but not that it is alive.
 */
bool tls_server_has_early_data(const struct tls_server *s);
/*
 * May a connection that was made for `sni` (empty: none) carry requests for `host` (no port)?  False, hence 421, when
 * the host would have got other certificates; with strict_sni also when it has none.
 */
bool tls_server_names_share_certificate(const struct tls_server *s, struct span sni, struct span host);
/* The SNI of a connection as the client sent it, or empty.  Lives as long as the SSL. */
struct span tls_ssl_sni(const struct ssl_st *ssl);
/* Any file that was read is not the same any more (stat calls: control thread).  Then build anew and swap. */
bool tls_server_files_changed(const struct tls_server *s);
uint64_t tls_server_files_look(const struct tls_server *s); /* tls_stamps_look() of them */
/* Control thread.  Certificates that want an OCSP answer; fetch for those whose ocsp_staple_next() has come. */
void tls_server_for_each_staple(struct tls_server *s, void (*fn)(void *ctx, struct ocsp_staple *staple), void *ctx);
/* The responder that is asked instead of the certificates' own (ocsp_url), or NULL. */
const char *tls_server_ocsp_url(const struct tls_server *s);
/* Answers of `old` for certificates that are in `s` too.  Control thread, before s is published; old may be NULL. */
void tls_server_adopt_staples(struct tls_server *s, const struct tls_server *old);
void tls_server_for_each_certificate(const struct tls_server *s,
				     void (*fn)(void *ctx, const struct tls_certificate *c), void *ctx);
/* One line for each certificate: tls_certificate_describe() and '\n'. */
void tls_server_describe(const struct tls_server *s, struct strbuf *out);
const struct tls_server *tls_ssl_server(const struct ssl_st *ssl); /* NULL: a client's, or none of ours */

/* "TLS_AES_128_GCM_SHA256, …": all nine names that cipher_suites takes, for messages. */
const char *tls_cipher_suites_known(void);
bool tls_cipher_suite_is_known(const char *iana_name);

/* --- client --- */

struct tls_client_config {
	const char *label; /* "upstream `api`" */
	const char *ca_file; /* trust anchors; NULL: the system's */
	const char *client_cert, *client_key; /* both, or a client_cert that holds the key too, or neither */
	bool insecure_skip_verify;
	enum tls_version version_min, version_max;
	const char *const *alpn;
	size_t alpn_count;
	unsigned verify_depth;
	bool session_resumption;
	const char *keylog_file;
};

/* Verifying, TLS 1.2 and newer, resumption, depth 4. */
void tls_client_config_init(struct tls_client_config *c);
int tls_client_new(struct tls_client **out, const struct tls_client_config *c, struct tls_report *r);
struct tls_client *tls_client_get(struct tls_client *c);
void tls_client_put(struct tls_client *c); /* any thread; NULL ok */
bool tls_client_files_changed(const struct tls_client *c);
uint64_t tls_client_files_look(const struct tls_client *c);

#define TLS_SESSION_CACHE_MAX 4

/*
 * The newest sessions of one target, to be resumed.  Zero-initialise; the caller's, one for each worker and target,
 * one thread.  Sessions of another client object or host are dropped by themselves.  Must outlive the SSLs made with
 * it, or be taken from them with tls_ssl_forget_cache().
 */
struct tls_session_cache {
	struct ssl_session_st *items[TLS_SESSION_CACHE_MAX]; /* owned; oldest first */
	unsigned count;
	uint64_t client_id, host_hash;
	uintptr_t owner; /* counts the changes of these: late tickets of an earlier one are not taken */
	uint64_t stored, offered; /* statistics */
};

void tls_session_cache_fini(struct tls_session_cache *s); /* NULL ok */
/*
 * An SSL in connect state that sends `host` as SNI and accepts only a certificate for it.  For an IP address no SNI is
 * sent and the address is compared.  A session of `cache` is offered if there is one (NULL: none is kept or
 * offered).  TLS 1.3 sessions are used once, except for the last one.  NULL: host is no host name and no address.
 */
struct ssl_st *tls_client_ssl(struct tls_client *c, struct span host, struct tls_session_cache *cache);
void tls_ssl_forget_cache(struct ssl_st *ssl);
/* This connection offers these protocols instead of its client's; as in the extension: "\2h2\10http/1.1". */
void tls_ssl_set_alpn(struct ssl_st *ssl, struct span names);

#endif
