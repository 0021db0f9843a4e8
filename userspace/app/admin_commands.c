/* SPDX-License-Identifier: GPL-2.0-only */
/* admin_commands.c - what the admin socket can be asked for. */
#include <errno.h>
#include <stdio.h>

#include "app/admin.h"
#include "app/audit.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "schema/value.h"

struct request {
	struct control *control;
	bool wants_json;
	struct span args; /* what follows the command */
};

/* ---- reload, stop, status ---- */

static void message_json(struct strbuf *out, const char *result, struct span text)
{
	struct json j;

	json_init(&j, out, false);
	json_object(&j, NULL);
	json_str(&j, "result", result);
	json_span(&j, "message", text);
	json_end(&j, '}');
	strbuf_add_char(out, '\n');
}

static bool do_reload(struct request *r, struct strbuf *out)
{
	static const char *const words[] = { "done", "wrong", "refused" };
	struct strbuf text = { 0 };
	enum reload_result result;

	strbuf_init(&text);
	result = control_reload(r->control, &text);
	if (r->wants_json)
		message_json(out, words[result], strbuf_span(&text));
	else
		strbuf_add_span(out, strbuf_span(&text));
	strbuf_fini(&text);
	return result == RELOAD_DONE;
}

static bool do_stop(struct request *r, struct strbuf *out)
{
	bool is_now = span_eq(span_trim(r->args), SPAN("now"));

	audit_event(r->control->audit, "admin_action", is_now ? "stop_now" : "stop", NULL);
	if (is_now)
		control_stop(r->control);
	else
		control_drain(r->control);
	if (r->wants_json)
		message_json(out, "done", is_now ? SPAN("stopping now") : SPAN("stopping"));
	else
		strbuf_printf(out, "stopping%s\n", is_now ? " now" : "; open requests may end");
	return true;
}

static bool do_status(struct request *r, struct strbuf *out)
{
	control_render(r->control, r->wants_json ? "status-json" : "status", out);
	return true;
}

static bool do_metrics(struct request *r, struct strbuf *out)
{
	control_render(r->control, "metrics", out);
	return true;
}

/* ---- bans ---- */

#define BAN_DEFAULT_MS (10 * 60 * 1000)

static bool ban_address(struct span text, uint8_t ip[16], struct strbuf *out)
{
	struct addr addr;

	if (addr_parse_ip(text, &addr) == 0 && addr_to_ip16(&addr, ip))
		return true;
	strbuf_printf(out, "%.*s is not an IP address\n", SPAN_ARG(text));
	return false;
}

static bool ban_add(struct request *r, struct strbuf *out)
{
	struct bans *bans = fastpath_bans(r->control->guard.fastpath);
	uint64_t now = clock_boot_ns(), ms = BAN_DEFAULT_MS;
	struct span address, time;
	uint8_t ip[16];
	char text[VALUE_TEXT_MAX];
	int err;

	if (!span_next(&r->args, ' ', &address) || !ban_address(address, ip, out))
		return false;
	if (span_next(&r->args, ' ', &time) && time.len && value_duration(time, SCHEMA_SECONDS, &ms) < 0) {
		strbuf_printf(out, "%.*s is not a time: write 10m, 1h or a number of seconds\n",
			      SPAN_ARG(time));
		return false;
	}
	if (ms == 0 || ms > 365 * SCHEMA_DAY) {
		strbuf_add_str(out, "a ban lasts from a millisecond to a year\n");
		return false;
	}
	err = bans_add(bans, ip, now, now + ms * 1000000, SN_BAN_MANUAL);
	if (err == -ENOSPC) {
		strbuf_printf(out, "%u sources are banned: there is no room for another\n", SN_BLOCK_MAX);
		return false;
	}
	(void)snprintf(text, sizeof(text), "%.*s", SPAN_ARG(address));
	audit_event(r->control->audit, "admin_action", "ban_add", text);
	strbuf_printf(out, "%s is banned for ", text);
	strbuf_printf(out, "%s%s\n", value_duration_text(text, ms),
		      err < 0 ? " (for accepted connections only: the kernel's map refused it)" : "");
	return true;
}

static bool ban_remove(struct request *r, struct strbuf *out)
{
	struct bans *bans = fastpath_bans(r->control->guard.fastpath);
	struct span address;
	uint8_t ip[16];
	char text[VALUE_TEXT_MAX];
	int err;

	if (!span_next(&r->args, ' ', &address) || !ban_address(address, ip, out))
		return false;
	(void)snprintf(text, sizeof(text), "%.*s", SPAN_ARG(address));
	err = bans_remove(bans, ip);
	if (err == -ENOENT)
		strbuf_printf(out, "%s is not banned\n", text);
	else if (err < 0)
		strbuf_printf(out, "%s: %s\n", text, strerror(-err));
	else
		strbuf_printf(out, "%s is no longer banned\n", text);
	if (err == 0)
		audit_event(r->control->audit, "admin_action", "ban_remove", text);
	return err == 0;
}

static void ban_line(const struct ban *b, uint64_t now, struct strbuf *out)
{
	char ip[ADDR_TEXT_MAX], left[VALUE_TEXT_MAX];
	struct addr addr;
	size_t len;

	addr_from_ip16(b->ip, 0, &addr);
	len = addr_format_ip(&addr, ip);
	if (b->until_ns == SN_FOREVER)
		(void)snprintf(left, sizeof(left), "until it is removed");
	else
		value_duration_text(left, b->until_ns > now ? (b->until_ns - now) / 1000000000 * 1000 : 0);
	strbuf_printf(out, "%-40.*s %-20s %s\n", (int)len, ip, left, bans_why_name(b->why));
}

static void ban_json(const struct ban *b, uint64_t now, struct json *j)
{
	char ip[ADDR_TEXT_MAX];
	struct addr addr;

	addr_from_ip16(b->ip, 0, &addr);
	json_object(j, NULL);
	json_span(j, "address", span_of(ip, addr_format_ip(&addr, ip)));
	if (b->until_ns == SN_FOREVER)
		json_null(j, "seconds_left");
	else
		json_u64(j, "seconds_left", b->until_ns > now ? (b->until_ns - now) / 1000000000 : 0);
	json_str(j, "why", bans_why_name(b->why));
	json_u64(j, "strikes", b->strikes);
	json_end(j, '}');
}

static bool ban_list(struct request *r, struct strbuf *out)
{
	size_t count = 0;
	struct ban *list = bans_list(fastpath_bans(r->control->guard.fastpath), &count);
	uint64_t now = clock_boot_ns();
	struct json j;

	if (r->wants_json) {
		json_init(&j, out, false);
		json_array(&j, NULL);
		for (size_t i = 0; i < count; i++)
			ban_json(&list[i], now, &j);
		json_end(&j, ']');
		strbuf_add_char(out, '\n');
	} else {
		for (size_t i = 0; i < count; i++)
			ban_line(&list[i], now, out);
		if (count == 0)
			strbuf_add_str(out, "nobody is banned\n");
	}
	free(list);
	return true;
}

static bool do_ban(struct request *r, struct strbuf *out)
{
	struct span what = { 0 };

	(void)span_next(&r->args, ' ', &what);
	if (span_eq(what, SPAN("list")))
		return ban_list(r, out);
	if (span_eq(what, SPAN("add")))
		return ban_add(r, out);
	if (span_eq(what, SPAN("remove")))
		return ban_remove(r, out);
	strbuf_add_str(out, "ban list, ban add ADDRESS [TIME] or ban remove ADDRESS\n");
	return false;
}

static bool do_kernel(struct request *r, struct strbuf *out)
{
	control_render(r->control, r->wants_json ? "kernel-json" : "kernel", out);
	return true;
}

/* ---- the table ---- */

static const struct {
	const char *name;
	bool (*run)(struct request *r, struct strbuf *out);
} commands[] = {
	{ "reload", do_reload }, { "stop", do_stop },	  { "status", do_status },
	{ "ban", do_ban },	 { "kernel", do_kernel }, { "metrics", do_metrics },
};

bool admin_answer(struct control *c, struct span line, struct strbuf *out)
{
	struct request r = { .control = c, .args = span_trim(line) };
	struct span form, name;

	if (!span_next(&r.args, ' ', &form) || !span_next(&r.args, ' ', &name))
		name = (struct span){ 0 };
	r.wants_json = span_eq(form, SPAN("json"));
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (span_eq(name, span_str(commands[i].name)))
			return commands[i].run(&r, out);
	strbuf_printf(out, "unknown command\n");
	return false;
}
