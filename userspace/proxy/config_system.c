/* SPDX-License-Identifier: GPL-2.0-only */
/* config_system.c - rows of `system`, `listeners` and `limits`. */
#include "proxy/config_rows.h"

static const struct schema_word trace_id_words[] = {
	{ "tinyflake", TRACE_ID_TINYFLAKE, .help = "11 characters that sort by time" },
	{ "uuid", TRACE_ID_UUID, "uuid4 uuidv4", "a random UUID (version 4)" },
	{ NULL },
};

static const struct schema_word auto_words[] = {
	{ "auto", 0, .help = "one for each CPU" },
	{ NULL },
};

static const char *instance_verify(const char *text, struct arena *a)
{
	(void)a;
	if (text[0] == '.' || strlen(text) > 63)
		return "is not a name of an instance: at most 63 characters, the first is no dot";
	for (const char *p = text; *p; p++)
		if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9') &&
		    !strchr("-_.", *p))
			return "is not a name of an instance: letters, digits, `-`, `_` and `.` only";
	return NULL;
}

static const char *absolute_verify(const char *text, struct arena *a)
{
	(void)a;
	return text[0] == '/' ? NULL : "is not an absolute path";
}

static const char *socket_verify(const char *text, struct arena *a)
{
	if (strlen(text) > 107)
		return "is too long for a socket: 107 bytes at most";
	return absolute_verify(text, a);
}

static const struct schema_row admin_rows[] = {
	ROW_PATH(struct config_admin, socket, "socket", NULL,
		 "Unix socket for `sentinel reload`, `status`, `stop` and `ban`.  Only root and the user of "
		 "the "
		 "daemon may talk to it.  Default: /run/sentinel/INSTANCE.sock for root, else "
		 "$XDG_RUNTIME_DIR/sentinel-INSTANCE.sock (without that variable "
		 "/tmp/sentinel-UID/INSTANCE.sock).",
		 .verify = socket_verify),
	ROW_END,
};

static const struct schema_block admin_block =
	SCHEMA_BLOCK(struct config_admin, "admin", admin_rows, NULL, "How the daemon is administered.");

static const struct schema_row system_rows[] = {
	ROW_UINT(struct config_system, worker_count, "worker-threads", 0, 1024, "auto",
		 "Worker threads.  Each has its own event loop and its own listening sockets.  0 is `auto`.  "
		 "Cannot be changed by a reload.",
		 .words = auto_words),
	ROW_UINT(struct config_system, max_connections, "max-connections", 1, 10000000, "10000",
		 "Client connections of the whole process; more are refused with a reset and counted."),
	ROW_DURATION(struct config_system, drain_timeout_ms, "graceful-shutdown-timeout-secs", SCHEMA_SECONDS,
		     0, SCHEMA_DAY, "30",
		     "After SIGTERM: how long open exchanges and tunnels may go on before they are ended."),
	ROW_DURATION(struct config_system, upgrade_drain_ms, "upgrade-drain-timeout", SCHEMA_SECONDS, 1,
		     30 * SCHEMA_DAY, "none",
		     "After `sentinel upgrade`: how long the process that was replaced may go on with what it has "
		     "open."),
	ROW_PATH(struct config_system, pid_file, "pid-file", NULL,
		 "File for the number of the process.  Cannot be changed by a reload."),
	ROW_STRING(
		struct config_system, user, "user", NULL,
		"Run as this user.  Needs root; the control thread keeps the capabilities that reloads need, "
		"the workers keep none.  Cannot be changed by a reload."),
	ROW_STRING(struct config_system, group, "group", NULL,
		   "Run with this group; default: that of the user.  Cannot be changed by a reload."),
	ROW_PATH(struct config_system, working_directory, "working-directory", NULL,
		 "Change to this directory at the start.  Cannot be changed by a reload."),
	ROW_PATH(struct config_system, state_directory, "state-directory", NULL,
		 "Folder for what outlives a restart (OCSP answers).  Default: $STATE_DIRECTORY, else "
		 "/var/lib/sentinel/INSTANCE for root, else $XDG_STATE_HOME/sentinel/INSTANCE.  Cannot be changed by a "
		 "reload.",
		 .verify = absolute_verify),
	ROW_BOOL(struct config_system, auto_reload, "auto-reload", "#false",
		 "Reload by itself 200 ms after the file, or one that it includes, was changed."),
	ROW_UINT(struct config_system, route_cache_size, "route-cache-size", 1, 100000000, "1000",
		 "Accepted for compatibility and without effect: routes are compiled into tables whose "
		 "look-up "
		 "is as fast as a cache would be."),
	ROW_ENUM(struct config_system, trace_id_format, "trace-id-format", trace_id_words, "tinyflake",
		 "Form of the ids of requests."),
	ROW_STRING(struct config_system, instance, "instance", "default",
		   "Name of this daemon among several on one machine: of its admin socket and of its pins in "
		   "the "
		   "BPF file system.  Cannot be changed by a reload.",
		   .verify = instance_verify),
	ROW_BLOCK(struct config_system, admin, "admin", &admin_block, "How the daemon is administered."),
	ROW_CIDRS(struct config_system, trusted_proxies, "trusted-proxies", NULL,
		  "Networks of proxies in front: their X-Forwarded-* fields are believed.  The client's "
		  "address is "
		  "the right-most one that is not theirs.  A listener may have its own."),
	ROW_LATER("daemon"),
	ROW_LATER("drain-timeout"),
	ROW_END,
};

const struct schema_block config_system_block =
	SCHEMA_BLOCK(struct config_system, "system", system_rows, NULL, "The process.");

static const struct schema_word protocol_words[] = {
	{ "http", CONFIG_PROTOCOL_HTTP, .help = "HTTP/1.1 and HTTP/1.0 in plain text" },
	{ "https", CONFIG_PROTOCOL_HTTPS, .help = "TLS; HTTP/2 or HTTP/1.1 as the client chooses (ALPN)" },
	{ "h2", CONFIG_PROTOCOL_H2, .aliases = "http2", .help = "TLS; HTTP/2 only, chosen by ALPN" },
	{ "h2c", CONFIG_PROTOCOL_H2C, .help = "HTTP/2 in plain text by prior knowledge" },
	{ "tcp", CONFIG_PROTOCOL_TCP, .help = "any bytes, to the upstream of the default route" },
	{ "tls-passthrough", CONFIG_PROTOCOL_TLS_PASSTHROUGH, .aliases = "tls",
	  .help = "TLS that is not terminated here: routes see its server name as host" },
	{ "h3", .aliases = "http3", .is_later = true },
	{ NULL },
};

static const struct schema_word proxy_protocol_words[] = {
	{ "off", SERVER_PROXY_OFF, .aliases = "false", .help = "connections begin with a request" },
	{ "accept", SERVER_PROXY_ACCEPT, .aliases = "true",
	  .help = "connections of `trusted-proxies` may begin with a header of the PROXY protocol, version 1 or 2" },
	{ "require", SERVER_PROXY_REQUIRE, .help = "they must, and nobody else is served" },
	{ NULL },
};

#define LISTENER struct config_listener

static void listener_check(struct schema *s, void *config)
{
	LISTENER *c = config;
	bool wants_tls;

	if (c->tls && !SCHEMA_HAS(c, protocol))
		c->protocol = CONFIG_PROTOCOL_HTTPS;
	wants_tls = c->protocol == CONFIG_PROTOCOL_HTTPS || c->protocol == CONFIG_PROTOCOL_H2;
	if (wants_tls && !c->tls)
		diag_hint(s->diag,
			  diag_error(s->diag, SCHEMA_POS(c, protocol), "listener \"%s\" has no certificate", c->id),
			  "add `tls { cert-file \"...\"; key-file \"...\" }`");
	if (!wants_tls && c->tls && SCHEMA_HAS_VALID(c, protocol))
		diag_hint(s->diag,
			  diag_error(s->diag, c->tls->meta.pos, "`tls` has no meaning with this protocol"),
			  "write `protocol \"https\"`");
	if (SCHEMA_HAS_VALID(c, request_timeout_ms) && !SCHEMA_HAS(c, head_timeout_ms))
		c->head_timeout_ms = c->request_timeout_ms;
	if (SCHEMA_HAS_VALID(c, request_timeout_ms) && !SCHEMA_HAS(c, body_timeout_ms))
		c->body_timeout_ms = c->request_timeout_ms;
}

static const struct schema_row listener_rows[] = {
	ROW_ID(LISTENER, id, "Name of the listener."),
	ROW_ADDR(LISTENER, address, "address", NULL, "IP:PORT to listen on.  `[::]:PORT` takes IPv4 as well.",
		 .flags = SCHEMA_REQUIRED),
	ROW_ENUM(LISTENER, protocol, "protocol", protocol_words, "http",
		 "What clients speak.  A listener with `tls` that does not say is `https`."),
	ROW_DURATION(LISTENER, head_timeout_ms, "head-timeout-secs", SCHEMA_SECONDS, 1, SCHEMA_HOUR, "10",
		     "The head of a request must be complete this long after its first byte; of the first "
		     "one, after "
		     "the connection was accepted.  Then 408."),
	ROW_DURATION(LISTENER, body_timeout_ms, "body-idle-timeout-secs", SCHEMA_SECONDS, 1, SCHEMA_DAY, "30",
		     "Longest wait for the next bytes of a request's body.  Then 408."),
	ROW_DURATION(
		LISTENER, request_timeout_ms, "request-timeout-secs", SCHEMA_SECONDS, 1, SCHEMA_DAY, NULL,
		"Short for `head-timeout-secs` and `body-idle-timeout-secs` with the same time; where one of "
		"them is written too, that one counts."),
	ROW_DURATION(LISTENER, keep_alive_timeout_ms, "keepalive-timeout-secs", SCHEMA_SECONDS, 1, SCHEMA_DAY,
		     "75", "Close a connection after this long without a request."),
	ROW_DURATION(LISTENER, write_timeout_ms, "write-idle-timeout-secs", SCHEMA_SECONDS, 1, SCHEMA_DAY,
		     "30", "End a connection whose client took no byte of a response for this long."),
	ROW_UINT(LISTENER, keep_alive_requests_max, "keepalive-max-requests", 1, 1000000000000LL, "none",
		 "Close a connection after this many requests."),
	ROW_STRING(LISTENER, default_route, "default-route", NULL,
		   "Route for requests that no route matches; without one they get 404."),
	ROW_STRING(LISTENER, namespace_id, "namespace", NULL,
		   "Serve the routes of this namespace and of its services, and no others.  Without it the routes that "
		   "are in no namespace."),
	ROW_CIDRS(LISTENER, trusted_proxies, "trusted-proxies", NULL,
		  "As in `system`, for this listener instead of those."),
	ROW_OPTIONAL(LISTENER, tls, "tls", &config_tls_block, "Certificates, and who may connect."),
	ROW_DURATION(LISTENER, handshake_timeout_ms, "handshake-timeout-secs", SCHEMA_SECONDS, 100, SCHEMA_HOUR, "10",
		     "Everything before the first request - PROXY header and TLS handshake - must be over this long "
		     "after the connection was accepted."),
	ROW_UINT(LISTENER, handshakes_max, "max-handshakes", 1, 1000000, "1000",
		 "TLS handshakes of this listener in progress, in each worker; more connections wait for their turn."),
	ROW_ENUM(LISTENER, proxy_protocol, "proxy-protocol", proxy_protocol_words, "off",
		 "Whether connections begin with a header that names the real client."),
	ROW_UINT(LISTENER, h2_streams_max, "max-concurrent-streams", 1, 10000, "100",
		 "Requests that an HTTP/2 client may have open at once on a connection.  Of their bodies we hold at "
		 "most 128 KiB for each, and 8 MiB more for all."),
	ROW_DURATION(LISTENER, h2_ping_interval_ms, "h2-ping-interval-secs", SCHEMA_SECONDS, 1000, SCHEMA_DAY, "none",
		     "Ask an HTTP/2 client whether it is there after so long without a byte from it, and close when it "
		     "does not answer."),
	ROW_END,
};

static const struct schema_block listener_block = SCHEMA_BLOCK(
	LISTENER, "listener", listener_rows, listener_check, "A socket that takes connections of clients.");

const struct schema_row config_listeners_rows[] = {
	ROW_LIST(struct config, listeners, listener_count, "listener", &listener_block,
		 "A socket that takes connections of clients.", .flags = SCHEMA_REQUIRED),
	ROW_END,
};

static const struct schema_row limits_rows[] = {
	ROW_SIZE(struct config_limits, head_max, "max-header-size", 1024, 1 << 20, "16KiB",
		 "Bytes of a request's head with its first line; more is 431.",
		 .aliases = "max-header-size-bytes"),
	ROW_SIZE(struct config_limits, request_line_max, "max-request-line-size", 256, 1 << 20, "8KiB",
		 "Bytes of a request's first line; more is 414.", .aliases = "max-request-line-size-bytes"),
	ROW_UINT(struct config_limits, fields_max, "max-header-count", 1, 10000, "100",
		 "Fields of a request's head; more is 431."),
	ROW_SIZE(struct config_limits, body_max, "max-body-size", 0, 1LL << 50, "10MiB",
		 "Bytes of a request's body; more is 413.  A route may have its own limit.",
		 .aliases = "max-body-size-bytes"),
	ROW_SIZE(struct config_limits, min_rate, "min-rate", 0, 1 << 30, "240",
		 "Bytes a second that a client must send of a head or body, and take of a response, on average of 30 "
		 "seconds and after 10 of grace; then 408, or the connection ends.  Only time counts in which we wait "
		 "for the client.  0: no limit.  Tunnels have none."),
	ROWS_LIMITS_LATER,
	ROW_UINT(struct config_limits, client_connections_max, "max-connections-per-client", 1, 10000000, "none",
		 "Connections that a client address (of IPv6, a /64) may have; more are refused with a reset.  Those "
		 "of `trusted-proxies` and of this host do not count, clients that a PROXY header names do.",
		 .aliases = "!max-connections"),
	ROW_UINT(struct config_limits, route_connections_max, "max-connections-per-route", 1, 10000000, "none",
		 "Requests and tunnels that a route may have in progress; more are 503.  Builtin handlers have no "
		 "limit."),
	ROW_UINT(struct config_limits, connections_max, "max-total-connections", 1, 10000000, NULL,
		 "As `max-connections` of `system`; if both are written, the smaller one counts."),
	ROW_UINT(struct config_limits, idle_connections_max, "max-idle-connections-per-upstream", 1, 10000000, "none",
		 "Idle connections kept for an upstream, split over its targets (at least one each) and the workers; "
		 "`max-idle` of its `connection-pool` counts if it is less."),
	ROW_UINT(struct config_limits, in_flight_max, "max-in-flight-requests", 1, 10000000, "10000",
		 "Requests and tunnels of the whole process in progress; more are 503.  Builtin handlers answer all "
		 "the same."),
	ROW_UINT(struct config_limits, in_flight_worker_max, "max-in-flight-requests-per-worker", 1, 10000000, "none",
		 "The same for each worker."),
	ROW_UINT(struct config_limits, queued_max, "max-queued-requests", 1, 1000000, "1000",
		 "Requests that may wait for a connection to one target, in each worker; more are 503."),
	ROW_UINT(struct config_limits, rps_global, "max-requests-per-second-global", 1, 100000000, "none",
		 "Requests of everybody to all routes together; ten times as many may come at once.  More is 429."),
	ROW_UINT(struct config_limits, rps_client, "max-requests-per-second-per-client", 1, 100000000, "none",
		 "The same for each client address (of IPv6, for each /64)."),
	ROW_UINT(struct config_limits, rps_route, "max-requests-per-second-per-route", 1, 100000000, "none",
		 "The same for each route."),
	ROW_SIZE(struct config_limits, memory_max, "max-memory-bytes", 1 << 20, 1LL << 50, "none",
		 "Resident memory of the process above which requests are refused with 503; looked at every second.  "
		 "Builtin handlers answer all the same."),
	ROW_UINT(struct config_limits, memory_percent, "max-memory-percent", 1, 100, "none",
		 "The same, of the machine's memory or of what its control group may have."),
	ROW_END,
};

static void limits_check(struct schema *s, void *config)
{
	struct config_limits *c = config;

	if (c->request_line_max > c->head_max && SCHEMA_HAS(c, request_line_max))
		diag_error(s->diag, SCHEMA_POS(c, request_line_max),
			   "the first line may not be larger than the whole head (max-header-size)");
	else if (c->request_line_max > c->head_max)
		c->request_line_max = c->head_max;
}

const struct schema_block config_limits_block =
	SCHEMA_BLOCK(struct config_limits, "limits", limits_rows, limits_check,
		     "What a client may send; the limits apply to all listeners.");
