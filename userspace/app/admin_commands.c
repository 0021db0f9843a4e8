/* SPDX-License-Identifier: GPL-2.0-only */
/* admin_commands.c - what the admin socket can be asked for. */
#include <errno.h>
#include <stdio.h>

#include "app/admin.h"
#include "app/admin_flows.h"
#include "app/admin_limits.h"
#include "app/admin_request.h"
#include "app/audit.h"
#include "app/ban_list.h"
#include "app/kernel_top.h"
#include "app/upgrade.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "schema/value.h"

/* ---- reload, stop, status ---- */

void admin_message(struct strbuf *out, const char *result, struct span text)
{
	struct json j;

	json_init(&j, out, false);
	json_object(&j, NULL);
	json_str(&j, "result", result);
	json_span(&j, strcmp(result, "done") == 0 ? "message" : "error", span_chomp(text));
	json_end(&j, '}');
	strbuf_add_char(out, '\n');
}

static bool do_reload(struct control *c, const struct admin_request *r, struct strbuf *out)
{
	static const char *const words[] = { "done", "wrong", "refused" };
	struct strbuf text = { 0 };
	enum reload_result result;

	strbuf_init(&text);
	result = control_reload(c, &text);
	if (r->wants_json)
		admin_message(out, words[result], strbuf_span(&text));
	else
		strbuf_add_span(out, strbuf_span(&text));
	strbuf_fini(&text);
	return result == RELOAD_DONE;
}

static bool do_stop(struct control *c, const struct admin_request *r, struct strbuf *out)
{
	audit_event(c->audit, "admin_action", r->is_now ? "stop_now" : "stop", NULL);
	if (r->is_now)
		control_stop(c);
	else
		control_drain(c);
	if (r->wants_json)
		admin_message(out, "done", r->is_now ? SPAN("stopping now") : SPAN("stopping"));
	else
		strbuf_printf(out, "stopping%s\n", r->is_now ? " now" : "; open requests may end");
	return true;
}

static bool do_status(struct control *c, const struct admin_request *r, struct strbuf *out)
{
	control_render(c, r->wants_json ? "status-json" : "status", out);
	return true;
}

static bool do_metrics(struct control *c, const struct admin_request *r, struct strbuf *out)
{
	(void)r;
	control_render(c, "metrics", out);
	return true;
}

/* ---- binary upgrade ---- */

static bool do_upgrade(struct control *c, const struct admin_request *r, struct admin_connection *from,
		       struct strbuf *out)
{
	struct strbuf text = { 0 };
	bool has_begun;

	strbuf_init(&text);
	has_begun = upgrade_begin(c->upgrade, from, r->wants_json, &text);
	if (!has_begun && r->wants_json)
		admin_message(out, "refused", strbuf_span(&text));
	else
		strbuf_add_span(out, strbuf_span(&text));
	strbuf_fini(&text);
	return has_begun;
}

/* What an upgrade must not lose or meet half-way. */
static bool is_changeable(const struct control *c, struct strbuf *out)
{
	if (c->state == CONTROL_RUNNING && !upgrade_is_under_way(c->upgrade))
		return true;
	strbuf_add_str(out, c->state == CONTROL_RUNNING ? "an upgrade is under way: try again\n"
							 : "another process serves now, or none will: try again\n");
	return false;
}

/* ---- bans ---- */

static bool ban_add(struct control *c, const struct admin_request *r, struct strbuf *out)
{
	struct bans *bans = fastpath_bans(c->guard.fastpath);
	uint64_t now = clock_boot_ns();
	char text[VALUE_TEXT_MAX];
	int err;

	if (!is_changeable(c, out))
		return false;
	(void)snprintf(text, sizeof(text), "%.*s", SPAN_ARG(r->address));
	if (punisher_is_allowed(&c->punisher, r->ip)) {
		strbuf_printf(out, "%s is not banned: kernel { acl { allow } } names it\n", text);
		return false;
	}
	err = bans_add(bans, r->ip, now, now + r->ban_ms * 1000000, SN_BAN_MANUAL);
	if (err == -ENOSPC) {
		strbuf_printf(out, "%u sources are banned: there is no room for another\n", SN_BLOCK_MAX);
		return false;
	}
	audit_event(c->audit, "admin_action", "ban_add", text);
	punisher_reset(&c->punisher, r->ip);
	strbuf_printf(out, "%s is banned for ", text);
	strbuf_printf(out, "%s%s\n", value_duration_text(text, r->ban_ms),
		      err < 0 ? " (for accepted connections only: the kernel's map refused it)" : "");
	return true;
}

static bool ban_remove(struct control *c, const struct admin_request *r, struct strbuf *out)
{
	struct bans *bans = fastpath_bans(c->guard.fastpath);
	char text[VALUE_TEXT_MAX];
	int err;

	if (!is_changeable(c, out))
		return false;
	err = bans_remove(bans, r->ip, clock_boot_ns());
	(void)snprintf(text, sizeof(text), "%.*s", SPAN_ARG(r->address));
	if (err == -ENOENT)
		strbuf_printf(out, "%s is not banned\n", text);
	else if (err < 0)
		strbuf_printf(out, "%s: %s\n", text, strerror(-err));
	else
		strbuf_printf(out, "%s is no longer banned\n", text);
	if (err == 0)
		audit_event(c->audit, "admin_action", "ban_remove", text);
	return err == 0;
}

static bool do_ban(struct control *c, const struct admin_request *r, struct strbuf *out)
{
	struct strbuf text = { 0 };
	bool is_done;

	strbuf_init(&text);
	is_done = (r->verb == ADMIN_BAN_ADD ? ban_add : ban_remove)(c, r, &text);
	if (r->wants_json)
		admin_message(out, is_done ? "done" : "refused", strbuf_span(&text));
	else
		strbuf_add_span(out, strbuf_span(&text));
	strbuf_fini(&text);
	return is_done;
}

static bool ban_list(struct control *c, const struct admin_request *r, struct strbuf *out)
{
	ban_list_render(c, r->wants_json, out);
	return true;
}

static bool do_kernel_top(struct control *c, const struct admin_request *r, struct strbuf *out)
{
	kernel_top_render(c, r->wants_json, out);
	return true;
}

static bool do_kernel(struct control *c, const struct admin_request *r, struct strbuf *out)
{
	control_render(c, r->wants_json ? "kernel-json" : "kernel", out);
	return true;
}

/* ---- the table ---- */

typedef bool command_fn(struct control *c, const struct admin_request *r, struct strbuf *out);

static command_fn *const commands[ADMIN_VERB_COUNT] = {
	[ADMIN_RELOAD] = do_reload, [ADMIN_STOP] = do_stop,	  [ADMIN_STATUS] = do_status,
	[ADMIN_KERNEL] = do_kernel,
	[ADMIN_KERNEL_TOP] = do_kernel_top,
	[ADMIN_METRICS] = do_metrics, [ADMIN_BAN_LIST] = ban_list,
	[ADMIN_BAN_ADD] = do_ban,  [ADMIN_BAN_REMOVE] = do_ban,
	[ADMIN_LIMIT] = admin_limit,
};

enum admin_result admin_answer(struct control *c, struct span line, struct admin_connection *from, struct strbuf *out)
{
	struct admin_request r;

	if (!admin_request_parse(line, &r, out))
		return ADMIN_ERROR;
	if (r.verb == ADMIN_FLOWS)
		return admin_flows(c, &r, from, out);
	if (r.verb == ADMIN_UPGRADE)
		return do_upgrade(c, &r, from, out) ? ADMIN_LATER : ADMIN_ERROR;
	return commands[r.verb](c, &r, out) ? ADMIN_OK : ADMIN_ERROR;
}
