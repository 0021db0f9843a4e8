/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * reload.c - parse, check, build, bind, publish, then the kernel's plan.  Everything that can fail happens
 * before publishing; a failure changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "app/audit.h"
#include "app/certificates.h"
#include "app/control.h"
#include "app/logs.h"
#include "app/sockets.h"
#include "app/upgrade.h"
#include "app/watch.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "loop/mailbox.h"
#include "observe/log.h"

/* ---- the end of a snapshot: any thread to control ---- */

struct unused {
	struct mail mail;
	struct snapshot *snapshot;
};

static void unused_deliver(struct mail *m)
{
	struct unused *u = (struct unused *)m;
	struct control *c = u->snapshot->owner;

	snapshot_free(u->snapshot);
	free(u);
	c->live--;
	metric_set(c->metrics, METRIC_SNAPSHOTS, c->live);
	resolver_sync(c->resolver);
	endpoint_registry_sweep(&c->registry.endpoints);
}

static void on_unused(struct snapshot *s)
{
	struct unused *u = mem_zalloc(sizeof(*u));

	u->mail.on_deliver = unused_deliver;
	u->snapshot = s;
	mailbox_give(((struct control *)s->owner)->loop, NULL, &u->mail);
}

/* ---- one candidate ---- */

struct candidate {
	struct snapshot *snapshot;
	struct fastpath_plan plan;
	struct sockets *sockets;
	const struct guard_rules *rules;
	bool is_rebuild; /* the same text, other certificates */
};

static void candidate_drop(struct candidate *n, struct control *c)
{
	sockets_free(n->sockets, c->worker_count);
	plan_fini(&n->plan);
	snapshot_put(n->snapshot);
	*n = (struct candidate){ 0 };
}

/* Parse, check, build; print what is to be said about the file. */
static int candidate_build(struct candidate *n, struct control *c, struct strbuf *out)
{
	struct diag d;
	int err;

	diag_init(&d, NULL);
	if (n->is_rebuild)
		err = config_rebuild(&n->snapshot, &c->registry, c->current, &d);
	else
		err = config_build(&n->snapshot, c->path, &c->registry, c->current, &d);
	diag_print(&d, out);
	diag_fini(&d);
	return err;
}

static int candidate_prepare(struct candidate *n, struct control *c, struct strbuf *out)
{
	int err = candidate_build(n, c, out);
	const char *key;

	if (err < 0)
		return err;
	key = c->current ? config_needs_restart(c->current->config, n->snapshot->config) : NULL;
	if (key) {
		strbuf_printf(out, "\"%s\" was changed: it needs a restart\n", key);
		return -EINVAL;
	}
	err = guard_plan(&n->plan, n->snapshot, out);
	if (err < 0) {
		strbuf_add_char(out, '\n');
		return err;
	}
	n->rules = guard_rules(&n->plan, n->snapshot);
	err = logs_prepare(n->snapshot, out);
	if (err < 0)
		return err;
	return c->current ? sockets_open(&n->sockets, c, n->snapshot, out) : 0;
}

static void candidate_publish(struct candidate *n, struct control *c)
{
	struct snapshot *old = c->current;

	n->snapshot->generation = ++c->generation;
	n->snapshot->worker_count = c->worker_count;
	n->snapshot->owner = c;
	n->snapshot->on_unused = on_unused;
	config_tls_registry_publish(&c->registry.tls);
	c->current = n->snapshot;
	c->rules = n->rules;
	c->live++;
	c->loaded_wall_ns = clock_wall_ns();
	if (c->certificates)
		certificates_changed(c->certificates);
	for (unsigned i = 0; i < c->worker_count && c->workers; i++)
		worker_adopt(c->workers[i], c->current, c->rules);
	if (c->workers)
		sockets_publish(n->sockets, c);
	sockets_free(n->sockets, c->worker_count);
	snapshot_put(old);
	metric_set(c->metrics, METRIC_CONFIG_GENERATION, c->generation);
	metric_set(c->metrics, METRIC_CONFIG_LAST_RELOAD, c->loaded_wall_ns / 1000000000);
	metric_set(c->metrics, METRIC_SNAPSHOTS, c->live);
	logs_apply(c);
	guard_apply(&c->guard, &n->plan);
	punisher_apply(&c->punisher);
	geo_watch_plan(&c->geo);
	kernel_tunnels_reloaded(c->kernel_tunnels, c->current);
	resolver_sync(c->resolver);
	watch_set(c->watch, c->current->config->system.auto_reload ? c->current->config : NULL);
}

/* ---- what others call ---- */

int control_load_first(struct control *c, struct strbuf *out)
{
	struct candidate n = { 0 };
	int err = candidate_prepare(&n, c, out);

	if (err < 0) {
		candidate_drop(&n, c);
		return err;
	}
	config_tls_registry_publish(&c->registry.tls);
	c->generation = 1;
	n.snapshot->generation = 1;
	n.snapshot->owner = c;
	n.snapshot->on_unused = on_unused;
	c->current = n.snapshot;
	c->rules = n.rules;
	c->live = 1;
	c->loaded_wall_ns = clock_wall_ns();
	c->first_plan = n.plan;
	return 0;
}

static void count(struct control *c, const char *result)
{
	const struct span label = span_str(result);

	metric_cell_add(metric_cell(c->metrics, METRIC_CONFIG_RELOADS_TOTAL, &label), 1);
}

static enum reload_result refuse(struct control *c, struct strbuf *out)
{
	count(c, "refused");
	if (c->state != CONTROL_RUNNING)
		strbuf_add_str(out, "the daemon is stopping\n");
	else if (upgrade_is_under_way(c->upgrade))
		strbuf_add_str(out, "an upgrade is under way: try again\n");
	else
		strbuf_printf(
			out,
			"%u configurations are still in use by open requests: nothing more is loaded until "
			"some of them end\n",
			c->live);
	return RELOAD_REFUSED;
}

/* The first error, or the first line if none is marked as one. */
static void first_error_keep(struct control *c, const struct strbuf *text)
{
	struct span rest = strbuf_span(text), line, first = { 0 };

	while (span_next(&rest, '\n', &line)) {
		bool is_error = memmem(line.ptr, line.len, " error: ", 8) != NULL;

		if (first.len == 0 || is_error)
			first = line;
		if (is_error)
			break;
	}
	first.len = MIN(first.len, sizeof(c->last_error) - 1);
	memcpy(c->last_error, first.ptr, first.len);
	c->last_error[first.len] = '\0';
}

enum reload_result control_reload(struct control *c, struct strbuf *out)
{
	struct candidate n = { 0 };
	struct strbuf text = { 0 };
	unsigned changes;

	if (c->state != CONTROL_RUNNING || c->live >= CONTROL_GENERATIONS_MAX || upgrade_is_under_way(c->upgrade))
		return refuse(c, out);
	strbuf_init(&text);
	heartbeat_control_busy(fastpath_heartbeat(c->guard.fastpath), clock_boot_ns(), 30ull * 1000000000);
	if (candidate_prepare(&n, c, &text) < 0) {
		candidate_drop(&n, c);
		count(c, "failure");
		first_error_keep(c, &text);
		log_error("reload: %s is not used: %s", c->path, c->last_error);
		audit_event(c->audit, "config_change", "reload_failed", c->last_error);
		strbuf_add_span(out, strbuf_span(&text));
		strbuf_printf(out, "%s is not used; generation %llu goes on\n", c->path,
			      (unsigned long long)c->generation);
		strbuf_fini(&text);
		return RELOAD_WRONG;
	}
	changes = config_changes(c->current->config, n.snapshot->config, &text);
	candidate_publish(&n, c);
	count(c, "success");
	c->last_error[0] = '\0';
	log_info("reload: generation %llu of %s, %u change%s", (unsigned long long)c->generation, c->path,
		 changes, changes == 1 ? "" : "s");
	audit_event(c->audit, "config_change", "reload_success", strbuf_span(&text).ptr);
	strbuf_add_span(out, strbuf_span(&text));
	strbuf_printf(out, "%sgeneration %llu serves\n", changes ? "" : "nothing changed; ",
		      (unsigned long long)c->generation);
	strbuf_fini(&text);
	return RELOAD_DONE;
}

bool control_refresh(struct control *c, struct strbuf *out)
{
	struct candidate n = { .is_rebuild = true };

	if (c->state != CONTROL_RUNNING || upgrade_is_under_way(c->upgrade)) {
		strbuf_add_str(out, "an upgrade is under way\n");
		return false;
	}
	if (c->live >= CONTROL_GENERATIONS_MAX) {
		strbuf_printf(out, "%u configurations are still in use by open requests\n", c->live);
		return false;
	}
	if (candidate_prepare(&n, c, out) < 0) {
		candidate_drop(&n, c);
		return false;
	}
	candidate_publish(&n, c);
	return true;
}

int control_listen(struct control *c, struct strbuf *out)
{
	return sockets_open(&c->first_sockets, c, c->current, out);
}
