/* SPDX-License-Identifier: GPL-2.0-only */
/* guard.c - app's hand on the kernel's guard. */
#include "app/guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "app/audit.h"
#include "base/check.h"
#include "base/clock.h"
#include "net/addr.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "proxy/config.h"

_Static_assert((int)CONFIG_GUARD_AUTO == FASTPATH_MODE_AUTO && (int)CONFIG_GUARD_XDP == FASTPATH_MODE_XDP &&
		       (int)CONFIG_GUARD_TC == FASTPATH_MODE_TC && (int)CONFIG_GUARD_OFF == FASTPATH_MODE_OFF,
	       "words of the configuration");

/* ---- the plan ---- */

static void plan_interfaces(struct fastpath_plan *p, const struct config_kernel *k)
{
	for (size_t i = 0; i < k->interface_count; i++) {
		const struct config_interface *n = &k->interfaces[i];
		int mode = SCHEMA_HAS(n, mode) ? (int)n->mode : (int)k->mode;

		(void)plan_add_interface(p, n->name,
					 (enum fastpath_mode)mode); /* the schema refuses bad ones */
	}
}

static void plan_vips(struct fastpath_plan *p, const struct snapshot *s)
{
	for (unsigned i = 0; i < s->listener_count; i++) {
		const struct listener *l = &s->listeners[i];
		struct fastpath_vip vip = { .port = addr_port(&l->addr),
					    .proto = IPPROTO_TCP,
					    .listener = l->number };

		if (!l->is_removed && addr_to_ip16(&l->addr, vip.ip))
			(void)plan_add_vip(p, &vip);
	}
}

static void plan_acls(struct fastpath_plan *p, const struct schema_cidrs *cidrs, uint8_t action)
{
	for (size_t i = 0; i < cidrs->count; i++) {
		const struct value_cidr *c = &cidrs->items[i];
		/* the rule's number is its line: that is what an event leads back to */
		struct fastpath_acl acl = { .action = action, .rule = c->pos.line ? c->pos.line : 1 };

		if (c->family == AF_INET) {
			ip16_from_v4(acl.ip, c->addr);
			acl.len = (uint8_t)(96 + c->bits);
		} else {
			memcpy(acl.ip, c->addr, 16);
			acl.len = c->bits;
		}
		(void)plan_add_acl(p, &acl);
	}
}

_Static_assert((int)CONFIG_PER_IP == SN_PER_IP && (int)CONFIG_PER_24 == SN_PER_24 &&
		       (int)CONFIG_PER_64 == SN_PER_64 && (int)CONFIG_PER_48 == SN_PER_48,
	       "words of the configuration");

static void plan_budgets(struct fastpath_plan *p, const struct config_budget_row *rows, size_t count, bool is_packets)
{
	for (size_t i = 0; i < count; i++) {
		const struct config_budget_row *r = &rows[i];
		const struct fastpath_budget budget = { .is_packets = is_packets,
							.per = (uint8_t)r->per,
							.count = r->rate.count,
							.period_ms = r->rate.period_ms,
							.burst = r->burst ? r->burst : r->rate.count,
							.rule = r->meta.pos.line ? r->meta.pos.line : 1 };

		(void)plan_add_budget(p, &budget); /* the schema refuses bad ones */
	}
}

int guard_plan(struct fastpath_plan *out, const struct snapshot *s, struct strbuf *out_why)
{
	const struct config_kernel *k = &s->config->kernel;
	int err;

	*out = (struct fastpath_plan){ .keep_on_stop = k->on_stop == CONFIG_ON_STOP_KEEP,
				       .is_monitor = k->is_monitor };
	plan_interfaces(out, k);
	plan_vips(out, s);
	plan_acls(out, &k->acl.deny, SN_ACL_DENY);
	plan_acls(out, &k->acl.allow, SN_ACL_ALLOW);
	guard_geo_plan(out, s);
	plan_budgets(out, k->budget.connections, k->budget.connection_count, false);
	plan_budgets(out, k->budget.packets, k->budget.packet_count, true);
	err = plan_check(out, out_why);
	if (err < 0)
		plan_fini(out);
	return err;
}

static void rules_release(void *ptr)
{
	struct guard_rules *r = ptr;

	rules_free(r->rules);
	geo_rules_free(r->geo);
}

const struct guard_rules *guard_rules(const struct fastpath_plan *p, struct snapshot *s)
{
	struct guard_rules *r = arena_zalloc(&s->arena, sizeof(*r));

	r->rules = rules_new(p);
	r->geo = geo_rules_new(p);
	r->has_acl = p->acl_count > 0;
	r->is_monitor = p->is_monitor;
	arena_on_reset(&s->arena, rules_release, r);
	return r;
}

/* ---- events ---- */

static void on_debug(void *ctx, const char *line)
{
	(void)ctx;
	log_debug("kernel: %s", line);
}

static void on_drop(void *ctx, const struct sn_drop_event *e)
{
	struct guard *g = ctx;
	struct addr source, destination;
	char country[3];

	g->events_seen++;
	drop_top_add(&g->top, e);
	addr_from_ip16((const uint8_t *)e->source, ntohs(e->source_port), &source);
	addr_from_ip16((const uint8_t *)e->destination, ntohs(e->destination_port), &destination);
	audit_blocked(*g->audit, &(struct audit_block){
					 .source = &source,
					 .destination = &destination,
					 .reason = rules_reason_label(e->reason),
					 .rule = e->rule,
					 .country = e->reason == SN_DROP_GEO ?
							    guard_geo_country(g, (const uint8_t *)e->source, country) :
							    NULL,
					 .is_monitored = e->flags & SN_EVENT_MONITORED,
				 });
}

static void on_events(struct poller *p)
{
	struct guard *g = container_of(p, struct guard, events);

	(void)fastpath_events_consume(g->fastpath);
}

static void on_addresses(struct poller *p)
{
	struct guard *g = container_of(p, struct guard, addresses);

	(void)fastpath_addresses_update(g->fastpath);
	guard_report(g);
}

static void pollers_set(struct guard *g)
{
	poller_set(&g->events, fastpath_events_fd(g->fastpath));
	poller_set(&g->addresses, fastpath_addresses_fd(g->fastpath));
}

/* ---- life ---- */

void guard_init(struct guard *g, struct loop *l, const char *instance, struct audit **audit,
		struct metrics_shard *metrics)
{
	const struct fastpath_options options = {
		.instance = instance, .on_debug = on_debug, .on_drop = on_drop, .ctx = g
	};

	*g = (struct guard){ .audit = audit, .metrics = metrics };
	g->fastpath = fastpath_new(&options);
	poller_init(&g->events, l, on_events);
	poller_init(&g->addresses, l, on_addresses);
}

void guard_fini(struct guard *g)
{
	if (!g->fastpath)
		return;
	poller_set(&g->events, -1);
	poller_set(&g->addresses, -1);
	if (!g->is_released)
		fastpath_stop(g->fastpath);
	fastpath_free(g->fastpath);
	g->fastpath = NULL;
	plan_fini(&g->plan);
}

/* Say what is wrong once, and once when it is right again. */
void guard_report(struct guard *g)
{
	struct fastpath_status status;

	fastpath_status(g->fastpath, &status);
	if (status.note[0] && strcmp(status.note, g->noted) != 0)
		log_warn("the kernel guard: %s", status.note);
	memcpy(g->noted, status.note, sizeof(g->noted));
	if (strcmp(status.reason, g->reported) == 0)
		return;
	memcpy(g->reported, status.reason, sizeof(g->reported));
	if (g->plan.interface_count == 0)
		log_debug("the kernel guard: %s", status.reason[0] ? status.reason : "off");
	else if (status.reason[0])
		log_warn("the kernel guard is not as it should be: %s; traffic is served, accepted "
			 "connections are "
			 "checked",
			 status.reason);
	else
		log_info("the kernel guard is in force");
}

void guard_apply(struct guard *g, struct fastpath_plan *p)
{
	heartbeat_control_busy(fastpath_heartbeat(g->fastpath), clock_boot_ns(), 30ull * 1000000000);
	if (!g->is_released)
		(void)fastpath_apply(g->fastpath, p); /* what failed is in the status */
	plan_fini(&g->plan);
	g->plan = *p;
	*p = (struct fastpath_plan){ 0 };
	g->has_plan = true;
	heartbeat_control(fastpath_heartbeat(g->fastpath), clock_boot_ns());
	pollers_set(g);
	guard_report(g);
}

void guard_release(struct guard *g)
{
	g->is_released = true;
	poller_set(&g->events, -1);
	poller_set(&g->addresses, -1);
	fastpath_release(g->fastpath);
}

void guard_inherit(struct guard *g)
{
	g->is_released = false;
}

void guard_take_back(struct guard *g)
{
	struct fastpath_plan plan;

	g->is_released = false;
	if (!g->has_plan)
		return;
	plan_copy(&plan, &g->plan);
	guard_apply(g, &plan);
}

static uid_t own_uid; /* nftw() has no argument for its callback; start of the process only */
static gid_t own_gid;

static int own_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	if (chown(path, own_uid, own_gid) < 0)
		log_warn("%s cannot be given to the daemon's user: %s", path, strerror(errno));
	return 0;
}

void guard_own(struct guard *g, const char *instance, uid_t uid, gid_t gid)
{
	struct fastpath_status status;
	char path[128];

	fastpath_status(g->fastpath, &status);
	if (!status.is_loaded)
		return;
	own_uid = uid;
	own_gid = gid;
	(void)snprintf(path, sizeof(path), "/sys/fs/bpf/sentinel/%s", instance);
	(void)nftw(path, own_one, 8, FTW_PHYS);
}

void guard_tick(struct guard *g, unsigned seconds)
{
	if (g->is_released)
		return;
	heartbeat_control(fastpath_heartbeat(g->fastpath), clock_boot_ns());
	(void)bans_expire(fastpath_bans(g->fastpath), clock_boot_ns());
	fastpath_tick(g->fastpath, clock_mono_ns());
	drop_top_tick(&g->top);
	if (seconds % 5 != 0 || !g->has_plan || g->plan.interface_count == 0)
		return;
	(void)fastpath_retry(g->fastpath);
	pollers_set(g);
	guard_report(g);
}

/* ---- metrics and status ---- */

static void collect_drops(struct guard *g)
{
	struct fastpath_stats stats;

	if (fastpath_stats(g->fastpath, &stats) < 0)
		return;
	for (unsigned i = SN_DROP_NONE + 1; i < SN_DROP_COUNT; i++) {
		const struct span label = span_str(rules_reason_label((uint8_t)i));

		metric_cell_set(metric_cell(g->metrics, METRIC_KERNEL_DROPS_TOTAL, &label),
				stats.drops[i].packets);
		metric_cell_set(metric_cell(g->metrics, METRIC_KERNEL_DROP_BYTES_TOTAL, &label),
				stats.drops[i].bytes);
	}
	metric_set(g->metrics, METRIC_KERNEL_DROP_EVENTS_LOST_TOTAL,
		   stats.counters[SN_COUNTER_EVENT_LOST].packets);
}

void guard_collect(struct guard *g)
{
	struct fastpath_status status;

	collect_drops(g);
	metric_set(g->metrics, METRIC_KERNEL_SKETCH_SATURATED, fastpath_is_saturated(g->fastpath));
	fastpath_status(g->fastpath, &status);
	for (size_t i = 0; i < status.interface_count; i++) {
		const struct fastpath_interface_status *n = &status.interfaces[i];
		const struct span labels[2] = { span_str(n->name), span_str(plan_mode_name(n->mode)) };

		if (n->mode != FASTPATH_MODE_OFF)
			metric_cell_set(metric_cell(g->metrics, METRIC_KERNEL_GUARD_ATTACHED, labels),
					n->attached != FASTPATH_ATTACH_NONE);
	}
}

static void describe_budgets(struct guard *g, struct strbuf *out)
{
	bool has_connections = false, has_packets = false;

	for (size_t i = 0; i < g->plan.budget_count; i++) {
		has_packets |= g->plan.budgets[i].is_packets;
		has_connections |= !g->plan.budgets[i].is_packets;
	}
	if (has_connections && !fastpath_is_attached(g->fastpath))
		strbuf_add_str(out, "budgets       no guard is attached: connections are counted at accept\n");
	if (has_packets && !fastpath_is_attached(g->fastpath))
		strbuf_add_str(out, "budgets       no guard is attached: those of packets are not enforced\n");
	if (fastpath_is_saturated(g->fastpath))
		strbuf_add_str(out, "budgets       too many sources are over theirs: unknown ones pass\n");
}

void guard_describe(struct guard *g, struct strbuf *out)
{
	struct fastpath_status status;

	if (!g->is_released)
		describe_budgets(g, out);
	if (g->is_released) {
		strbuf_add_str(out, "kernel guard  another process has it\n");
		return;
	}
	fastpath_status(g->fastpath, &status);
	if (status.interface_count == 0) {
		strbuf_printf(
			out,
			"kernel guard  no interface is configured; %zu rules hold for accepted connections\n",
			g->plan.acl_count);
		return;
	}
	for (size_t i = 0; i < status.interface_count; i++) {
		const struct fastpath_interface_status *n = &status.interfaces[i];

		strbuf_printf(out, "kernel guard  %s: %s%s%s%s\n", n->name, fastpath_attach_name(n->attached),
			      n->is_adopted ? ", taken over from the last run" : "", n->reason[0] ? ": " : "",
			      n->reason);
	}
	if (status.is_monitor)
		strbuf_add_str(out, "              monitor: nothing is dropped, only counted\n");
	if (status.reason[0])
		strbuf_printf(out, "              not as it should be: %s\n", status.reason);
	if (status.note[0])
		strbuf_printf(out, "              %s\n", status.note);
}
