/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * settings.h - what the file says, as plain constant structs in a snapshot's arena.
 * Filled by the schema rows in proxy/config_*.c; read by the data path.
 */
#ifndef SN_PROXY_SETTINGS_H
#define SN_PROXY_SETTINGS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/splice.h"
#include "proxy/filter.h"
#include "schema/schema.h"
#include "session/server.h"
#include "upstream/upstream.h"

struct config_client_fields;
struct handler;
struct router;

struct header_op_set { /* order: rename, set, add, remove */
	struct span *rename_from, *rename_to;
	struct span *set_name, *set_value;
	struct span *add_name, *add_value;
	struct span *remove;
	unsigned rename_count, set_count, add_count, remove_count;
};

enum trace_id_format {
	TRACE_ID_TINYFLAKE,
	TRACE_ID_UUID,
};

struct listener {
	const char *id; /* as written */
	uint32_t number; /* stable over reloads for the same id and address: the session's listener_id; > 0 */
	struct addr addr;
	struct schema_pos pos;
	struct server_settings server;
	const struct prefix *trusted_proxies; /* listener's or system's */
	unsigned trusted_proxy_count;
	const struct config_client_fields *client_fields; /* what origins are told of client certificates; NULL: none */
	const struct route *default_route; /* of requests that no route matches; or NULL */
	const struct router *router; /* the routes that this listener serves */
	bool is_removed; /* left the file with this reload: serves what was accepted, with Connection: close */
};

/* How many requests and tunnels may be in progress. */
struct route_bound {
	_Atomic uint64_t *count; /* of the registry */
	uint64_t max;
	const char *scope; /* of all routes in this namespace or service; NULL: of the route */
};

#define ROUTE_BOUNDS_MAX 3 /* the route, its service, its namespace */

enum route_upgrade {
	ROUTE_UPGRADE_REFUSED, /* 403 */
	ROUTE_UPGRADE_ALLOWED,
};

struct retry_settings {
	unsigned attempts_max; /* 1: no retry */
	bool retries_non_idempotent;
	uint64_t statuses[10]; /* bitmap of 0..639: statuses that are retried */
	uint64_t backoff_base_ms, backoff_max_ms;
	uint32_t replay_buffer_max; /* 65536 */
	unsigned budget_percent;    /* of requests: 20 */
};

struct route {
	const char *id;
	uint32_t index; /* in the snapshot, file order */
	struct schema_pos pos;

	const struct filter_use *filters; /* in the order written */
	unsigned filter_count;
	bool changes_fields; /* a filter may make a field of a response that cannot be sent */
	const struct handler *handler; /* forward, or a builtin */
	const void *handler_config;
	const struct upstream *upstream; /* forward */
	const struct route_bound *bounds; /* the nearest first */
	unsigned bound_count;

	struct header_op_set request_headers, response_headers; /* policies */
	uint64_t timeout_ms;	  /* total; 0: none */
	uint64_t tunnel_idle_ms;  /* 3,600,000 */
	uint64_t body_max;	  /* bytes; limits.max-body-size or the route's */
	struct retry_settings retry;
	enum route_upgrade websocket;
	bool allows_connect;
	bool prefers_json_errors; /* service type api or builtin */
	enum splice_engine splice; /* the route's word, or the kernel block's */
};

#endif
