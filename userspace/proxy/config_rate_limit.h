/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_rate_limit.h - how the file writes a limit of requests, wherever it may stand: as a filter, in a route's
 * policies, in `rate-limits`, and as max-requests-per-second-* of `limits`.  All of them become uses of the filter
 * `rate-limit`.
 */
#ifndef SN_PROXY_CONFIG_RATE_LIMIT_H
#define SN_PROXY_CONFIG_RATE_LIMIT_H

#include "clients/store_url.h"
#include "limits/gcra.h"
#include "schema/schema.h"

enum rate_key {
	RATE_KEY_CLIENT_IP,
	RATE_KEY_PATH,
	RATE_KEY_ROUTE,
	RATE_KEY_CLIENT_IP_AND_PATH, /* as written only: becomes two parts */
	RATE_KEY_HEADER,
	RATE_KEY_COOKIE,
	RATE_KEY_QUERY,
	RATE_KEY_NONE, /* not written: one bucket for all */
};

struct rate_key_part {
	enum rate_key kind;
	struct span name; /* header, cookie, query */
};

#define RATE_KEY_PARTS_MAX 8

enum rate_action {
	RATE_REJECT,
	RATE_DELAY,
	RATE_LOG_ONLY,
};

enum rate_backend {
	RATE_BACKEND_LOCAL,
	RATE_BACKEND_REDIS,
	RATE_BACKEND_MEMCACHED,
};

/* What judges while the store does not answer. */
enum rate_fallback {
	RATE_FALLBACK_LOCAL, /* the bucket of this process */
	RATE_FALLBACK_OPEN,
	RATE_FALLBACK_CLOSED,
};

/* Of the backend's keys, those that count. */
struct config_store {
	struct store_url url;
	const char *prefix, *ca_file; /* ca_file: NULL: the system's */
	uint32_t pool_max;
	uint64_t timeout_ms, ttl_secs;
	enum rate_fallback fallback;
	uint64_t interval_us, tolerance_us, delay_max_us;
};

struct config_rate_limit {
	struct schema_meta meta;
	struct value_rate rate;
	uint32_t burst;
	struct schema_strings key;
	uint32_t ipv6_prefix;
	enum rate_action action;
	uint32_t status;
	const char *message; /* NULL: the status' own words */
	uint64_t max_delay_ms;
	uint64_t keys_max;
	enum rate_backend backend;
	const char *redis_url, *redis_prefix, *redis_ca_file;
	uint32_t redis_pool;
	uint64_t redis_timeout_ms;
	enum rate_fallback redis_fallback;
	const char *memcached_url, *memcached_prefix;
	uint32_t memcached_pool;
	uint64_t memcached_timeout_ms, memcached_ttl_ms;
	enum rate_fallback memcached_fallback;

	/* Made of these by rate_limits_check(). */
	struct gcra gcra;
	const struct config_store *store; /* NULL: local */
	struct rate_key_part *parts;
	unsigned part_count;
	struct span limit_text; /* for RateLimit-Limit */
	const char *key_text;
	bool spans_routes; /* one limit for all routes together, */
	const char *scope; /* or those of this namespace or service; NULL: of the file */
};

struct config_rate_limits {
	struct schema_meta meta;
	struct value_rate default_rate;
	uint32_t default_burst;
	struct schema_strings default_key;
	struct config_rate_limit *global; /* or NULL */
};

extern const struct schema_row rate_limit_rows[];
extern const struct schema_block rate_limit_block, rate_limits_block;

struct config;
/* Fill what is missing from `rate-limits`, check all limits of the file, and make what is computed. */
void rate_limits_check(struct schema *s, struct config *c);

/* Of `limits`: so many requests a second, ten times as many at once.  NONE: of all routes together.  Has no scope. */
struct config_rate_limit *rate_limit_simple(struct arena *a, struct diag *d, struct schema_pos pos, uint64_t rps,
					    enum rate_key key);

#endif
