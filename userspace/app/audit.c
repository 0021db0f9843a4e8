/* SPDX-License-Identifier: GPL-2.0-only */
/* audit.c - writes the audit log. */
#include "app/audit.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "observe/log.h"
#include "observe/logfile.h"
#include "proxy/config.h"

struct audit {
	struct logfile file;
	bool logs_blocked;
	struct strbuf line;
};

struct audit *audit_open(const struct config_log *log, const char *path, int *out_err)
{
	struct audit *a = mem_zalloc(sizeof(*a));

	a->logs_blocked = log->logs_blocked;
	*out_err = logfile_open(&a->file, path, log->buffer_bytes);
	if (*out_err == 0)
		return a;
	free(a);
	return NULL;
}

void audit_close(struct audit *a)
{
	if (!a)
		return;
	logfile_close(&a->file);
	strbuf_fini(&a->line);
	free(a);
}

static void line_begin(struct audit *a, struct json *j, const char *type)
{
	char when[32];
	size_t len = clock_rfc3339(clock_wall_ns(), when);

	strbuf_reset(&a->line);
	json_init(j, &a->line, false);
	json_object(j, NULL);
	json_span(j, "timestamp", span_of(when, len));
	json_str(j, "event_type", type);
}

static void line_end(struct audit *a, struct json *j)
{
	int err;

	json_end(j, '}');
	err = logfile_write(&a->file, strbuf_span(&a->line), clock_mono_ns());
	if (err < 0)
		log_warn("the audit log %s loses lines: %s", a->file.path, strerror(-err));
}

void audit_blocked(struct audit *a, const struct audit_block *b)
{
	char text[ADDR_TEXT_MAX];
	struct json j;

	if (!a || !a->logs_blocked)
		return;
	line_begin(a, &j, "blocked");
	json_span(&j, "client_ip", span_of(text, addr_format(b->source, text)));
	json_span(&j, "destination", span_of(text, addr_format(b->destination, text)));
	json_str(&j, "reason", b->reason);
	if (b->rule)
		json_u64(&j, "rule_line", b->rule);
	if (b->country)
		json_str(&j, "country", b->country);
	json_str(&j, "action", b->is_monitored ? "monitor" : "drop");
	line_end(a, &j);
}

void audit_refused(struct audit *a, const struct addr *peer, const char *type, const char *reason, const char *detail)
{
	char text[ADDR_TEXT_MAX];
	struct json j;

	if (!a)
		return;
	line_begin(a, &j, type);
	json_span(&j, "client_ip", span_of(text, addr_format_ip(peer, text)));
	json_str(&j, "reason", reason);
	if (detail)
		json_str(&j, "details", detail);
	line_end(a, &j);
}

void audit_event(struct audit *a, const char *type, const char *reason, const char *detail)
{
	struct json j;

	if (!a)
		return;
	line_begin(a, &j, type);
	json_str(&j, "client_ip", "internal");
	json_str(&j, "reason", reason);
	if (detail)
		json_str(&j, "details", detail);
	line_end(a, &j);
}

void audit_flush(struct audit *a, uint64_t now_ns)
{
	int err = a ? logfile_flush_due(&a->file, now_ns) : 0;

	if (err < 0)
		log_warn("the audit log %s loses lines: %s", a->file.path, strerror(-err));
}
