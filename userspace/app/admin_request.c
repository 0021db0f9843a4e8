/* SPDX-License-Identifier: GPL-2.0-only */
/* admin_request.c - a line of the admin socket, understood or refused. */
#include "app/admin_request.h"

#include "base/check.h"
#include "net/addr.h"
#include "schema/row.h"
#include "schema/value.h"

#define BAN_MAX_MS (365 * (uint64_t)SCHEMA_DAY)

static bool address_read(struct span *args, struct admin_request *r, struct strbuf *out)
{
	struct addr addr;

	if (!span_next(args, ' ', &r->address)) {
		strbuf_add_str(out, "which address?\n");
		return false;
	}
	/* A ban holds wherever the address comes in: it has no zone. */
	if (span_find(r->address, '%') == r->address.len && addr_parse_ip(r->address, &addr) == 0 &&
	    addr_to_ip16(&addr, r->ip))
		return true;
	strbuf_printf(out, "%.*s is not an IP address\n", SPAN_ARG(r->address));
	return false;
}

static bool time_read(struct span *args, struct admin_request *r, struct strbuf *out)
{
	struct span time;

	r->ban_ms = ADMIN_BAN_DEFAULT_MS;
	if (span_next(args, ' ', &time) && value_duration(time, SCHEMA_SECONDS, &r->ban_ms) < 0) {
		strbuf_printf(out, "%.*s is not a time: write 10m, 1h or a number of seconds\n", SPAN_ARG(time));
		return false;
	}
	if (r->ban_ms == 0 || r->ban_ms > BAN_MAX_MS) {
		strbuf_add_str(out, "a ban lasts from a millisecond to a year\n");
		return false;
	}
	return true;
}

static bool ban_read(struct span *args, struct admin_request *r, struct strbuf *out)
{
	struct span what;

	if (!span_next(args, ' ', &what))
		what = SPAN("");
	if (span_eq(what, SPAN("list")))
		return true;
	if (span_eq(what, SPAN("add"))) {
		r->verb = ADMIN_BAN_ADD;
		return address_read(args, r, out) && time_read(args, r, out);
	}
	if (span_eq(what, SPAN("remove"))) {
		r->verb = ADMIN_BAN_REMOVE;
		return address_read(args, r, out);
	}
	strbuf_add_str(out, "ban list, ban add ADDRESS [TIME] or ban remove ADDRESS\n");
	return false;
}

static bool kernel_read(struct span *args, struct admin_request *r, struct strbuf *out)
{
	struct span word;

	if (!span_next(args, ' ', &word))
		return true;
	if (!span_eq(word, SPAN("top"))) {
		strbuf_add_str(out, "kernel or kernel top\n");
		return false;
	}
	r->verb = ADMIN_KERNEL_TOP;
	return true;
}

static bool stop_read(struct span *args, struct admin_request *r, struct strbuf *out)
{
	struct span word;

	if (!span_next(args, ' ', &word))
		return true;
	r->is_now = span_eq(word, SPAN("now"));
	if (!r->is_now)
		strbuf_add_str(out, "stop or stop now\n");
	return r->is_now;
}

static bool flows_read(struct span *args, struct admin_request *r, struct strbuf *out)
{
	struct span word;
	uint64_t limit;

	r->limit = ADMIN_FLOWS_DEFAULT;
	if (!span_next(args, ' ', &word))
		return true;
	if (!span_to_u64(word, &limit) || limit < 1 || limit > ADMIN_FLOWS_MAX) {
		strbuf_printf(out, "%.*s is not a number from 1 to %d\n", SPAN_ARG(word), ADMIN_FLOWS_MAX);
		return false;
	}
	r->limit = (unsigned)limit;
	return true;
}

static bool limit_read(struct span *args, struct admin_request *r, struct strbuf *out)
{
	if (span_next(args, ' ', &r->limit_identity) && span_next(args, ' ', &r->limit_key))
		return true;
	strbuf_add_str(out, "limit IDENTITY KEY\n");
	return false;
}

static const struct {
	struct span name;
	enum admin_verb verb;
	bool (*read)(struct span *args, struct admin_request *r, struct strbuf *out); /* NULL: no arguments */
} commands[] = {
	{ { "reload", 6 }, ADMIN_RELOAD, NULL },   { { "stop", 4 }, ADMIN_STOP, stop_read },
	{ { "status", 6 }, ADMIN_STATUS, NULL },   { { "kernel", 6 }, ADMIN_KERNEL, kernel_read },
	{ { "metrics", 7 }, ADMIN_METRICS, NULL }, { { "ban", 3 }, ADMIN_BAN_LIST, ban_read },
	{ { "flows", 5 }, ADMIN_FLOWS, flows_read },
	{ { "upgrade", 7 }, ADMIN_UPGRADE, NULL }, { { "limit", 5 }, ADMIN_LIMIT, limit_read },
};

bool admin_request_parse(struct span line, struct admin_request *out_request, struct strbuf *out)
{
	struct span args = span_trim(line), form = { 0 }, name = { 0 };
	struct admin_request r = { 0 };
	size_t i = 0;

	(void)span_next(&args, ' ', &form);
	r.wants_json = span_eq(form, SPAN("json"));
	if ((!r.wants_json && !span_eq(form, SPAN("text"))) || !span_next(&args, ' ', &name)) {
		strbuf_add_str(out, "text or json, then a command\n");
		return false;
	}
	while (i < ARRAY_LEN(commands) && !span_eq(name, commands[i].name))
		i++;
	if (i == ARRAY_LEN(commands)) {
		strbuf_add_str(out, "unknown command\n");
		return false;
	}
	r.verb = commands[i].verb;
	if (commands[i].read && !commands[i].read(&args, &r, out))
		return false;
	if (args.ptr) {
		strbuf_add_str(out, "too many arguments\n");
		return false;
	}
	*out_request = r;
	return true;
}
