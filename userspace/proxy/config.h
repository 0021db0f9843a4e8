/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config.h - the file as it was written: structs that the schema's rows fill, with the place of every setting.
 *
 * A configuration lives in a snapshot's arena and is constant once it was loaded.  config_build() makes of it
 * what the data path reads (settings.h).  Control thread only; durations in ms, sizes in bytes.
 */
#ifndef SN_PROXY_CONFIG_H
#define SN_PROXY_CONFIG_H

#include "proxy/config_rate_limit.h"
#include "proxy/config_geo.h"
#include "proxy/config_guard.h"
#include "proxy/config_namespace.h"
#include "proxy/config_tls_build.h"
#include "proxy/header_ops.h"
#include "proxy/router.h"
#include "clients/store.h"
#include "limits/limits.h"
#include "net/tls_context.h"
#include "proxy/settings.h"
#include "schema/schema.h"
#include "schema/source.h"
#include "upstream/endpoint.h"

struct snapshot;

/* ---- system ---- */

struct config_admin {
	struct schema_meta meta;
	const char *socket; /* path; NULL: the default, see README of app/ */
};

struct config_system {
	struct schema_meta meta;
	uint32_t worker_count; /* 0: one a CPU */
	uint64_t max_connections;
	uint64_t drain_timeout_ms;
	uint64_t upgrade_drain_ms; /* 0: no limit */
	const char *pid_file;	       /* or NULL, as the next three */
	const char *user, *group;
	const char *working_directory;
	const char *state_directory; /* NULL: the default of state.h */
	enum trace_id_format trace_id_format;
	bool auto_reload;
	uint32_t route_cache_size;
	const char *instance;
	struct config_admin admin;
	struct schema_cidrs trusted_proxies;
};

/* ---- listeners ---- */

enum config_protocol {
	CONFIG_PROTOCOL_HTTP,
	CONFIG_PROTOCOL_HTTPS,
	CONFIG_PROTOCOL_H2, /* TLS with HTTP/2 only */
	CONFIG_PROTOCOL_H2C,
	CONFIG_PROTOCOL_TCP,
	CONFIG_PROTOCOL_TLS_PASSTHROUGH,
};

struct config_sni {
	struct schema_meta meta;
	struct schema_strings hostnames, priority_hostnames;
	const char *cert_file, *key_file;
};

/* Names of the fields that tell the origin who the client is; NULL: not told. */
struct config_client_fields {
	struct schema_meta meta;
	const char *verified, *subject, *fingerprint, *names;
};

enum config_ktls {
	CONFIG_KTLS_OFF,
	CONFIG_KTLS_AUTO,
};

struct config_tls {
	struct schema_meta meta;
	struct schema_strings cert_files, key_files; /* pairs, by position */
	struct config_sni *snis;
	size_t sni_count;
	bool strict_sni;
	enum tls_client_auth client_auth;
	const char *ca_file, *crl_file;
	uint32_t verify_depth;
	struct config_client_fields client_fields;
	enum tls_version version_min, version_max;
	struct schema_strings cipher_suites;
	bool prefers_client_suites;
	bool has_ocsp_stapling, has_resumption, has_early_data;
	const char *ocsp_url;
	enum config_ktls ktls;
	const char *keylog_file;
};

struct config_listener {
	struct schema_meta meta;
	const char *id;
	union value_addr address;
	enum config_protocol protocol;
	uint64_t head_timeout_ms, body_timeout_ms, request_timeout_ms, keep_alive_timeout_ms;
	uint64_t write_timeout_ms;
	uint64_t keep_alive_requests_max; /* 0: no limit */
	const char *default_route;	  /* or NULL; canonical once it is resolved */
	const char *namespace_id;	  /* or NULL: the routes that are in none */
	struct schema_cidrs trusted_proxies;
	struct config_tls *tls; /* or NULL */
	uint64_t handshake_timeout_ms;
	uint32_t handshakes_max;
	enum server_proxy_protocol proxy_protocol;
	uint32_t h2_streams_max;
	uint64_t h2_ping_interval_ms;
};

/* ---- routes ---- */

struct config_match {
	enum match_kind kind;
	const char *name;  /* header, query-param */
	const char *value; /* or NULL: presence */
	struct schema_pos pos;
	struct config_match *next;
};

struct config_matches {
	struct config_match *first, **tail; /* in the order written */
	unsigned count;
};

struct config_retry {
	struct schema_meta meta;
	uint32_t attempts_max;
	uint32_t budget_percent;
	uint64_t backoff_base_ms, backoff_max_ms;
	struct schema_uints statuses;
	bool retries_non_idempotent;
	uint64_t replay_buffer_max;
};

struct config_headers_policy {
	struct schema_meta meta;
	struct config_header_ops ops;
};

struct config_policies {
	struct schema_meta meta;
	struct config_headers_policy request_headers, response_headers;
	uint64_t timeout_ms;	 /* 0: none */
	uint64_t tunnel_idle_ms;
	uint64_t body_max;	 /* used if it was written */
	struct config_rate_limit *rate_limit; /* or NULL */
};

enum config_service {
	CONFIG_SERVICE_WEB,
	CONFIG_SERVICE_API,
	CONFIG_SERVICE_BUILTIN,
};

struct config_route {
	struct schema_meta meta;
	const char *id;
	struct config_matches matches;
	int32_t priority;
	const char *upstream; /* or NULL; canonical once it is resolved, as filters */
	struct schema_strings filters;
	struct schema_strings listeners; /* empty: all of its namespace, or all that have none */
	const char *builtin_handler;	 /* or NULL */
	enum config_service service;
	struct config_retry *retry; /* NULL: no retries */
	struct config_policies policies;
	bool allows_upgrade;
	bool allows_connect;
	enum splice_engine splice; /* if it was written; else the kernel block's */

	/* Not from a row. */
	const struct config_scope *scope; /* NULL: it is in no namespace */
};

#define CONFIG_PRIORITY_LOW 10

/* ---- upstreams ---- */

struct config_target {
	struct schema_meta meta;
	const char *address; /* "host:port" or "unix:/path" */
	uint32_t weight;
};

struct config_balancing {
	struct schema_meta meta;
	int algorithm; /* index into the words of config_upstreams.c */
};

struct config_pool {
	struct schema_meta meta;
	uint32_t max_connections, max_idle;
	uint64_t idle_timeout_ms, max_lifetime_ms, max_requests;
};

struct config_timeouts {
	struct schema_meta meta;
	uint64_t connect_ms, first_byte_ms, read_ms, write_ms;
};

struct config_upstream_tls {
	struct schema_meta meta;
	const char *sni; /* NULL: the target's host */
	const char *ca_file, *client_cert, *client_key;
	bool skips_verification;
	enum tls_version version_min, version_max;
	bool has_resumption;
};

struct config_http_version {
	struct schema_meta meta;
	uint32_t min, max;	/* 1 or 2; max is used if it was written */
	uint64_t h2_ping_interval_ms;
	uint32_t h2_streams_max;
};

enum config_proxy_protocol { /* the value is the version */
	CONFIG_PROXY_OFF,
	CONFIG_PROXY_V1,
	CONFIG_PROXY_V2,
};

struct config_upstream {
	struct schema_meta meta;
	const char *id;
	struct config_target *targets;
	size_t target_count;
	const char *address; /* a single target, or NULL */
	struct config_balancing balancing;
	struct config_pool pool;
	struct config_timeouts timeouts;
	struct config_upstream_tls *tls; /* or NULL: plain */
	struct config_http_version http_version;
	enum config_proxy_protocol proxy_protocol;
};

/* ---- limits, observability, kernel ---- */

struct config_limits {
	struct schema_meta meta;
	uint32_t request_line_max, head_max, fields_max;
	uint64_t body_max;
	uint64_t rps_global, rps_client, rps_route; /* 0: no limit, as the next ones */
	uint32_t client_connections_max;
	uint32_t min_rate;
	uint64_t route_connections_max, connections_max, in_flight_max, in_flight_worker_max;
	uint32_t queued_max, idle_connections_max, memory_percent;
	uint64_t memory_max;
};

struct config_metrics {
	struct schema_meta meta;
	bool is_enabled;
	union value_addr address;
	const char *path;
};

enum config_log_level { /* the values of enum log_level */
	CONFIG_LOG_DEBUG,
	CONFIG_LOG_INFO,
	CONFIG_LOG_WARN,
	CONFIG_LOG_ERROR,
};

enum config_log_format {
	CONFIG_LOG_JSON,
	CONFIG_LOG_COMBINED,
	CONFIG_LOG_TEXT,
};

/* Access, error and audit log. */
struct config_log {
	struct schema_meta meta;
	bool is_enabled;
	const char *file; /* NULL: the default of the kind */
	enum config_log_format format;
	enum config_log_level level;
	uint64_t buffer_bytes;
	bool logs_blocked;
};

struct config_logging {
	struct schema_meta meta;
	enum config_log_level level;
	enum config_log_format format;
	struct config_log access, error, audit;
};

struct config_observability {
	struct schema_meta meta;
	struct config_metrics metrics;
	struct config_logging logging;
};

enum config_guard_mode { /* the values of enum fastpath_mode */
	CONFIG_GUARD_AUTO,
	CONFIG_GUARD_XDP,
	CONFIG_GUARD_TC,
	CONFIG_GUARD_OFF,
};

enum config_on_stop {
	CONFIG_ON_STOP_DETACH,
	CONFIG_ON_STOP_KEEP,
};

struct config_interface {
	struct schema_meta meta;
	const char *name;
	enum config_guard_mode mode; /* if written; else that of the block */
};

struct config_acl {
	struct schema_meta meta;
	struct schema_cidrs deny, allow;
};

struct config_kernel {
	struct schema_meta meta;
	struct config_interface *interfaces;
	size_t interface_count;
	enum config_guard_mode mode;
	enum config_on_stop on_stop;
	bool is_monitor;
	struct config_acl acl;
	struct config_budget budget;
	struct config_ban *ban; /* or NULL: nobody is banned by itself */
	struct config_geo *geo; /* or NULL */
	enum splice_engine splice;
};

/* ---- the whole ---- */

struct config {
	struct schema_meta meta;
	struct config_system system;
	struct config_listener *listeners;
	size_t listener_count;
	struct config_route *routes;
	size_t route_count;
	struct config_upstream *upstreams;
	size_t upstream_count;
	struct schema_variant *filters;
	size_t filter_count;
	struct config_limits limits;
	struct config_rate_limits rate_limits;
	struct config_scope *namespaces; /* what they held is in the lists above */
	size_t namespace_count;
	struct config_observability observability;
	struct config_kernel kernel;

	/* Not from rows. */
	const char *path;
	struct source_set *sources;
	unsigned scope_count; /* namespaces and services */
};

/* Root of all rows: for parsing and for the manual.  Filter types come from features.def. */
const struct schema_block *config_block(void);

/*
 * Read, parse and check a file into arena a.  d must be initialised; its `sources` are set here.  0, or -EINVAL
 * with at least one error in d; *out_config is written in both cases (for what could be read).
 */
int config_load(struct arena *a, const char *path, struct diag *d, struct config **out_config);
/* The same from memory: tests. */
int config_load_text(struct arena *a, const char *name, struct span text, struct diag *d,
		     struct config **out_config);

/* What outlives snapshots; owned by control. */
struct config_registry {
	struct endpoint_registry endpoints;
	struct hmap listener_numbers; /* "id address" -> number; keys are owned */
	uint32_t listener_number_last;
	bool had_namespaces; /* a listener has served one, now or before */
	struct config_tls_registry tls;
	struct limits limits;
	struct stores stores;
	struct hmap progress_counts; /* route, or ":" scope -> _Atomic uint64_t; keys and values are owned */
};

void config_registry_init(struct config_registry *r);
void config_registry_fini(struct config_registry *r);

#define CONFIG_METRICS_LISTENER "(metrics)" /* id of the listener that config_build() adds */

/*
 * Parse, check and build: a complete snapshot with one reference, not yet published.  `previous` (or NULL) gives
 * the listeners that this file no longer has: they stay as removed ones for what was accepted.
 * 0, or -EINVAL with errors in d; warnings may be there in both cases.  *out is always set: d shows lines that
 * live in its arena, so the caller prints d before it puts the snapshot.
 */
int config_build(struct snapshot **out, const char *path, struct config_registry *r,
		 const struct snapshot *previous, struct diag *d);
int config_build_text(struct snapshot **out, const char *name, struct span text, struct config_registry *r,
		      const struct snapshot *previous, struct diag *d);
/*
 * The same file as it was read for `previous`, with what certificates are on disk now; a listener or an upstream whose
 * files are wrong keeps what it has.  The new snapshot keeps the one that read the file.
 */
int config_rebuild(struct snapshot **out, struct config_registry *r, const struct snapshot *previous, struct diag *d);

const struct config_upstream *config_upstream_find(const struct config *c, const char *id);
const struct config_route *config_route_find(const struct config *c, const char *id);
const struct config_listener *config_listener_find(const struct config *c, const char *id);

/* The configuration as JSON without secrets: the builtin `config` handler. */
struct span config_json(const struct config *c, struct arena *a);
/* "name of file:line" of a place. */
const char *config_place(const struct config *c, struct schema_pos pos, char *buf, size_t size);
/* One line for each thing that differs, for people: `route "api" changed`.  Returns how many. */
unsigned config_changes(const struct config *from, const struct config *to, struct strbuf *out);
/* The key that cannot change without a restart but did, or NULL. */
const char *config_needs_restart(const struct config *from, const struct config *to);

#endif
