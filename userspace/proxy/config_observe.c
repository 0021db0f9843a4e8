/* SPDX-License-Identifier: GPL-2.0-only */
/* config_observe.c - rows of `observability` and `kernel`. */
#include "proxy/config_rows.h"

#include <net/if.h>

#include "observe/logfile.h"

#define METRICS struct config_metrics

static const char *metrics_path_verify(const char *text, struct arena *a)
{
	(void)a;
	return text[0] == '/' && !strpbrk(text, "?# \t") ? NULL : "is not a path";
}

static const struct schema_row metrics_rows[] = {
	ROW_BOOL(METRICS, is_enabled, "enabled", "#true", "Serve metrics."),
	ROW_ADDR(METRICS, address, "address", "127.0.0.1:9090",
		 "Where.  If the key is not written and the port is taken, the daemon starts without metrics "
		 "and warns."),
	ROW_STRING(METRICS, path, "path", "/metrics",
		   "Path of the metrics.  `/health` and `/status` are there too.",
		   .verify = metrics_path_verify),
	ROW_LATER("high-cardinality"),
	ROW_END,
};

static const struct schema_block metrics_block =
	SCHEMA_BLOCK(METRICS, "metrics", metrics_rows, NULL, "Metrics for Prometheus.");

static const struct schema_word level_words[] = {
	{ "debug", CONFIG_LOG_DEBUG, "trace" },
	{ "info", CONFIG_LOG_INFO },
	{ "warn", CONFIG_LOG_WARN, "warning" },
	{ "error", CONFIG_LOG_ERROR },
	{ NULL },
};

static const struct schema_word access_format_words[] = {
	{ "json", CONFIG_LOG_JSON, .help = "one object a line" },
	{ "combined", CONFIG_LOG_COMBINED, "clf common", "the format of Apache and nginx" },
	{ NULL },
};

static const struct schema_word format_words[] = {
	{ "text", CONFIG_LOG_TEXT, .help = "for people" },
	{ "json", CONFIG_LOG_JSON, .help = "one object a line" },
	{ NULL },
};

#define LOG struct config_log

static const struct schema_row access_log_rows[] = {
	ROW_BOOL(LOG, is_enabled, "enabled", "#true", "Write the access log."),
	ROW_PATH(LOG, file, "file", NULL,
		 "Default: /var/log/sentinel/access.log for root, else $XDG_STATE_HOME/sentinel/access.log "
		 "(or that "
		 "below ~/.local/state).  A default file that cannot be opened switches the log off with a "
		 "warning; "
		 "one that is written here stops the start."),
	ROW_ENUM(LOG, format, "format", access_format_words, "json", "Form of a line."),
	ROW_SIZE(LOG, buffer_bytes, "buffer-size", LOGFILE_BUFFER_BYTES_MIN, LOGFILE_BUFFER_BYTES_MAX, "8192",
		 "Bytes that each worker collects before it writes; it waits no longer than a second."),
	ROW_LATER("sample-rate"),
	ROW_LATER("sample-errors-always"),
	ROW_LATER("include-trace-id"),
	ROW_LATER("fields"),
	ROW_END,
};

static const struct schema_block access_log_block =
	SCHEMA_BLOCK(LOG, "access-log", access_log_rows, NULL, "A line for every request.");

static const struct schema_row error_log_rows[] = {
	ROW_BOOL(LOG, is_enabled, "enabled", "#true",
		 "Use the file; else the daemon writes to standard error."),
	ROW_PATH(LOG, file, "file", NULL,
		 "Where the daemon writes what it has to say.  Default: standard error."),
	ROW_ENUM(LOG, level, "level", level_words, "info",
		 "The least important level that is written to the file."),
	ROW_LATER("buffer-size"),
	ROW_END,
};

static const struct schema_block error_log_block =
	SCHEMA_BLOCK(LOG, "error-log", error_log_rows, NULL, "What the daemon has to say.");

static const struct schema_row audit_log_rows[] = {
	ROW_BOOL(LOG, is_enabled, "enabled", "#true", "Write the audit log."),
	ROW_PATH(LOG, file, "file", NULL, "Default as that of the access log, with the name audit.log."),
	ROW_SIZE(LOG, buffer_bytes, "buffer-size", LOGFILE_BUFFER_BYTES_MIN, LOGFILE_BUFFER_BYTES_MAX, "8192",
		 "Bytes collected before they are written, a second later at the latest."),
	ROW_BOOL(LOG, logs_blocked, "log-blocked", "#true", "Write who was refused by the guard (samples)."),
	ROW_LATER("log-agent-decisions"),
	ROW_LATER("log-waf-events"),
	ROW_END,
};

static const struct schema_block audit_log_block = SCHEMA_BLOCK(
	LOG, "audit-log", audit_log_rows, NULL,
	"Refusals, bans and changes of the configuration, one JSON object a line.  Off without the block.");

#define LOGGING struct config_logging

static const struct schema_row logging_rows[] = {
	ROW_ENUM(LOGGING, level, "level", level_words, "info",
		 "The least important level that is written to standard error."),
	ROW_ENUM(LOGGING, format, "format", format_words, "text", "Form of what the daemon has to say."),
	ROW_BLOCK(LOGGING, access, "access-log", &access_log_block, "A line for every request."),
	ROW_BLOCK(LOGGING, error, "error-log", &error_log_block, "What the daemon has to say."),
	ROW_BLOCK(LOGGING, audit, "audit-log", &audit_log_block, "Refusals and changes."),
	ROW_LATER("timestamps"),
	ROW_LATER("file"),
	ROW_END,
};

static const struct schema_block logging_block =
	SCHEMA_BLOCK(LOGGING, "logging", logging_rows, NULL, "Logs.");

static const struct schema_row observability_rows[] = {
	ROW_BLOCK(struct config_observability, metrics, "metrics", &metrics_block, "Metrics for Prometheus."),
	ROW_BLOCK(struct config_observability, logging, "logging", &logging_block, "Logs."),
	ROW_LATER("tracing"),
	ROW_END,
};

const struct schema_block config_observability_block = SCHEMA_BLOCK(
	struct config_observability, "observability", observability_rows, NULL, "Metrics and logs.");

/* ---- kernel ---- */

static const struct schema_word mode_words[] = {
	{ "auto", CONFIG_GUARD_AUTO, .help = "XDP where the driver of a physical device has it, else tc" },
	{ "xdp", CONFIG_GUARD_XDP, .help = "XDP in the driver, else after it" },
	{ "tc", CONFIG_GUARD_TC, .help = "tc ingress: right for veth and bonds" },
	{ "off", CONFIG_GUARD_OFF,
	  .help = "nothing is loaded; the rules still hold for accepted connections" },
	{ NULL },
};

static const struct schema_word on_stop_words[] = {
	{ "detach", CONFIG_ON_STOP_DETACH, .help = "an orderly stop removes the guard" },
	{ "keep", CONFIG_ON_STOP_KEEP, .help = "the guard goes on; the next start takes it over" },
	{ NULL },
};

static const char *interface_verify(const char *text, struct arena *a)
{
	(void)a;
	if (strlen(text) >= IF_NAMESIZE)
		return "is too long for the name of an interface";
	return strpbrk(text, "/ \t\n") ? "is not the name of an interface" : NULL;
}

static const struct schema_row interface_rows[] = {
	ROW_STRING(struct config_interface, name, "name", NULL, "Name of the interface.",
		   .flags = SCHEMA_ARG | SCHEMA_ARG_ONLY | SCHEMA_ID | SCHEMA_REQUIRED,
		   .verify = interface_verify),
	ROW_ENUM(struct config_interface, mode, "mode", mode_words, NULL,
		 "As `mode` of the block, for this interface.", .flags = SCHEMA_PROP),
	ROW_END,
};

static const struct schema_block interface_block =
	SCHEMA_BLOCK(struct config_interface, "interface", interface_rows, NULL,
		     "A network interface that clients come in by.");

static const struct schema_row acl_rows[] = {
	ROW_CIDRS(struct config_acl, deny, "deny", NULL,
		  "Networks whose packets to our listeners are dropped."),
	ROW_CIDRS(struct config_acl, allow, "allow", NULL,
		  "Networks that are let through, whatever else is said of them.  The most specific network "
		  "decides; between equals `allow`."),
	ROW_END,
};

static const struct schema_block acl_block =
	SCHEMA_BLOCK(struct config_acl, "acl", acl_rows, NULL, "Who may come in.");

const struct schema_word config_splice_words[] = {
	{ "auto", SPLICE_ENGINE_AUTO,
	  .help = "splice(2) for what is long or busy, sockmap for tunnels of a busy worker, copy the rest" },
	{ "copy", SPLICE_ENGINE_COPY, .help = "everything through userspace" },
	{ "splice", SPLICE_ENGINE_SPLICE, .help = "tunnels of plain text from their beginning, bodies as `auto`" },
	{ "sockmap", SPLICE_ENGINE_SOCKMAP,
	  .help = "tunnels of plain text by sockmap where the kernel passed its test, else as `auto`" },
	{ NULL },
};

#define KERNEL struct config_kernel

static const struct schema_row kernel_rows[] = {
	ROW_LIST(KERNEL, interfaces, interface_count, "interface", &interface_block,
		 "A network interface to guard; without any nothing is loaded into the kernel."),
	ROW_ENUM(KERNEL, mode, "mode", mode_words, "auto", "Where the guard is attached."),
	ROW_ENUM(KERNEL, on_stop, "on-stop", on_stop_words, "detach",
		 "What an orderly stop does with the guard."),
	ROW_BOOL(KERNEL, is_monitor, "monitor", "#false",
		 "Count and report what would be dropped, drop nothing."),
	ROW_BLOCK(KERNEL, acl, "acl", &acl_block, "Who may come in."),
	ROW_BLOCK(KERNEL, budget, "budget", &config_budget_block, "How fast each source may come."),
	ROW_OPTIONAL(KERNEL, ban, "ban", &config_ban_block, "Bans that come by themselves."),
	ROW_OPTIONAL(KERNEL, geo, "geo", &config_geo_block, "Who may come in, by country."),
	ROW_ENUM(KERNEL, splice, "splice", config_splice_words, "auto",
		 "What moves bytes that nobody looks at, between plain HTTP/1 or TCP connections: bodies with a "
		 "Content-Length of 64 KiB or more, and tunnels.  By splice(2) and by sockmap they do not pass "
		 "through userspace.  Sockmap carries both directions of a tunnel without waiting for a busy worker, "
		 "but bulk more slowly.  A route may have its own word."),
	ROW_LATER("rate-limit"),
	ROW_END,
};

const struct schema_block config_kernel_block = SCHEMA_BLOCK(
	KERNEL, "kernel", kernel_rows, NULL,
	"The guard: what the kernel refuses before it costs anything.  Every accepted connection is "
	"checked by the same rules, also where no guard is loaded.  And `splice`: what the kernel moves for us.");
