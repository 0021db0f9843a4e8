/* SPDX-License-Identifier: GPL-2.0-only */
/* status.c - what the daemon tells of itself: metrics of the control thread, status, the guard. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/certificates.h"
#include "app/control.h"
#include "app/limit_metrics.h"
#include "app/sockets.h"
#include "app/store_status.h"
#include "app/upgrade.h"
#include "app/about.h"
#include "app/memory.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "observe/log.h"
#include "schema/value.h"

/* ---- metrics ---- */

static uint64_t descriptor_count(void)
{
	uint64_t n = 0;
	DIR *d = opendir("/proc/self/fd");

	if (!d)
		return 0;
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n > 3 ? n - 3 : 0; /* `.`, `..` and the folder itself */
}

static uint64_t cpu_us(void)
{
	struct rusage use;

	if (getrusage(RUSAGE_SELF, &use) < 0)
		return 0;
	return (uint64_t)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static void collect(void *ctx)
{
	struct control *c = ctx;
	const struct span version = span_str(about_version());

	metric_set(c->metrics, METRIC_UP, 1);
	metric_cell_set(metric_cell(c->metrics, METRIC_BUILD_INFO, &version), 1);
	metric_set(c->metrics, METRIC_MEMORY_USAGE_BYTES, memory_resident());
	metric_set(c->metrics, METRIC_CPU_SECONDS_TOTAL, cpu_us());
	metric_set(c->metrics, METRIC_OPEN_DESCRIPTORS, descriptor_count());
	log_collect(c->metrics);
	certificates_collect(c);
	guard_collect(&c->guard);
	geo_watch_collect(&c->geo);
	limit_metrics_collect(c);
	kernel_tunnels_collect(c->kernel_tunnels, c->metrics);
}

void control_collect_start(struct control *c)
{
	metrics_on_collect(collect, c);
}

/* ---- status for people ---- */

static const char *state_text(const struct control *c)
{
	static const char *const texts[] = {
		[CONTROL_STARTING] = "starting",
		[CONTROL_RUNNING] = "running",
		[CONTROL_LEAVING] = "replaced",
		[CONTROL_DRAINING] = "draining",
		[CONTROL_STOPPING] = "stopping",
	};

	return texts[c->state];
}

static void listeners_text(const struct control *c, struct strbuf *out)
{
	for (unsigned i = 0; i < c->current->listener_count; i++) {
		const struct listener *l = &c->current->listeners[i];
		char text[ADDR_TEXT_MAX];

		if (l->is_removed)
			continue;
		addr_format(&l->addr, text);
		strbuf_printf(out, "listener      %s  %s%s\n", l->id, text,
			      sockets_listener_is_open(c, l->number) ? "" : "  (not open: its port was taken)");
	}
}

static const char *endpoint_text(struct endpoint *e, char *buf, size_t size)
{
	if (atomic_load(&e->health) == ENDPOINT_DOWN)
		return "down";
	if (atomic_load(&e->addr_count) > 0)
		return "up";
	pthread_mutex_lock(&e->lock);
	(void)snprintf(buf, size, "no address%s%s", e->resolve_error[0] ? ": " : " yet", e->resolve_error);
	pthread_mutex_unlock(&e->lock);
	return buf;
}

static void upstreams_text(const struct control *c, struct strbuf *out)
{
	char buf[128];

	for (unsigned i = 0; i < c->current->upstream_count; i++) {
		const struct upstream *u = &c->current->upstreams[i];

		for (unsigned e = 0; e < u->endpoint_count; e++)
			strbuf_printf(out, "upstream      %s  %s  %s\n", u->id, u->endpoints[e]->name,
				      endpoint_text(u->endpoints[e], buf, sizeof(buf)));
	}
}

static void status_text(struct control *c, struct strbuf *out)
{
	char uptime[VALUE_TEXT_MAX], loaded[32];

	loaded[clock_rfc3339(c->loaded_wall_ns, loaded)] = '\0';
	value_duration_text(uptime, (clock_mono_ns() - c->start_ns) / 1000000000 * 1000);
	strbuf_printf(out, "sentinel %s   %s for %s, process %d, %u worker%s\n", about_version(), state_text(c),
		      uptime, getpid(), c->worker_count, c->worker_count == 1 ? "" : "s");
	strbuf_printf(out, "configuration %s, generation %llu, loaded %s\n", c->path,
		      (unsigned long long)c->generation, loaded);
	if (c->last_error[0])
		strbuf_printf(out, "              the last reload failed: %s\n", c->last_error);
	if (c->live > 1)
		strbuf_printf(out, "              %u older generations still have open requests\n", c->live - 1);
	upgrade_text(c->upgrade, out);
	listeners_text(c, out);
	certificates_text(c, out);
	upstreams_text(c, out);
	store_status_text(&c->registry.stores, out);
	guard_describe(&c->guard, out);
	geo_watch_text(&c->geo, out);
	kernel_tunnels_text(c->kernel_tunnels, out);
	steering_text(&c->steering, out);
	strbuf_printf(out, "connections   %llu open\n",
		      (unsigned long long)atomic_load_explicit(&c->shared.connections, memory_order_relaxed));
}

/* ---- the same for programs ---- */

/* Those that hold; the table remembers others. */
static size_t bans_active(struct control *c)
{
	size_t count;

	free(bans_list(fastpath_bans(c->guard.fastpath), clock_boot_ns(), &count));
	return count;
}

/* Who counts: null where there is no such budget. */
static void budgets_json(struct control *c, struct json *j)
{
	bool is_attached = fastpath_is_attached(c->guard.fastpath);
	const char *connections = NULL, *packets = NULL;

	for (size_t i = 0; i < c->guard.plan.budget_count; i++)
		if (c->guard.plan.budgets[i].is_packets)
			packets = is_attached ? "kernel" : "not enforced";
		else
			connections = is_attached ? "kernel" : "accepted connections";
	json_object(j, "budgets");
	json_str(j, "connections", connections);
	json_str(j, "packets", packets);
	json_bool(j, "saturated", fastpath_is_saturated(c->guard.fastpath));
	json_end(j, '}');
}

static void guard_json(struct control *c, struct json *j)
{
	struct fastpath_status s;
	struct fastpath_stats stats;

	fastpath_status(c->guard.fastpath, &s);
	json_object(j, "kernel");
	json_bool(j, "loaded", s.is_loaded);
	json_bool(j, "degraded", s.is_degraded);
	json_bool(j, "monitor", s.is_monitor);
	json_str(j, "reason", s.reason[0] ? s.reason : NULL);
	json_array(j, "interfaces");
	for (size_t i = 0; i < s.interface_count; i++) {
		json_object(j, NULL);
		json_str(j, "name", s.interfaces[i].name);
		json_str(j, "mode", plan_mode_name(s.interfaces[i].mode));
		json_bool(j, "attached", s.interfaces[i].attached != FASTPATH_ATTACH_NONE);
		json_str(j, "how", fastpath_attach_name(s.interfaces[i].attached));
		json_bool(j, "adopted", s.interfaces[i].is_adopted);
		json_str(j, "reason", s.interfaces[i].reason[0] ? s.interfaces[i].reason : NULL);
		json_end(j, '}');
	}
	json_end(j, ']');
	json_array(j, "maps");
	for (size_t i = 0; s.is_loaded && i < FASTPATH_MAP_COUNT; i++) {
		json_object(j, NULL);
		json_str(j, "name", s.maps[i].name);
		json_u64(j, "entries", s.maps[i].entries);
		json_u64(j, "entries_max", s.maps[i].entries_max);
		json_end(j, '}');
	}
	json_end(j, ']');
	json_object(j, "drops");
	if (fastpath_stats(c->guard.fastpath, &stats) == 0)
		for (unsigned i = SN_DROP_NONE + 1; i < SN_DROP_COUNT; i++)
			json_u64(j, rules_reason_label((uint8_t)i), stats.drops[i].packets);
	json_end(j, '}');
	json_u64(j, "bans", bans_active(c));
	budgets_json(c, j);
	json_end(j, '}');
}

static void listeners_json(const struct control *c, struct json *j)
{
	char text[ADDR_TEXT_MAX];

	json_array(j, "listeners");
	for (unsigned i = 0; i < c->current->listener_count; i++) {
		const struct listener *l = &c->current->listeners[i];

		if (l->is_removed)
			continue;
		json_object(j, NULL);
		json_str(j, "id", l->id);
		json_span(j, "address", span_of(text, addr_format(&l->addr, text)));
		json_bool(j, "open", sockets_listener_is_open(c, l->number));
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void upstreams_json(const struct control *c, struct json *j)
{
	char buf[128];

	json_array(j, "upstreams");
	for (unsigned i = 0; i < c->current->upstream_count; i++) {
		const struct upstream *u = &c->current->upstreams[i];

		json_object(j, NULL);
		json_str(j, "id", u->id);
		json_array(j, "targets");
		for (unsigned e = 0; e < u->endpoint_count; e++) {
			json_object(j, NULL);
			json_str(j, "address", u->endpoints[e]->name);
			json_str(j, "state", endpoint_text(u->endpoints[e], buf, sizeof(buf)));
			json_end(j, '}');
		}
		json_end(j, ']');
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void status_json(struct control *c, struct strbuf *out)
{
	struct json j;

	json_init(&j, out, true);
	json_object(&j, NULL);
	json_str(&j, "version", about_version());
	json_str(&j, "state", state_text(c));
	json_u64(&j, "pid", (uint64_t)getpid());
	json_u64(&j, "uptime_secs", (clock_mono_ns() - c->start_ns) / 1000000000);
	json_str(&j, "configuration", c->path);
	json_u64(&j, "generation", c->generation);
	json_u64(&j, "generations_in_use", c->live);
	json_str(&j, "last_reload_error", c->last_error[0] ? c->last_error : NULL);
	json_u64(&j, "workers", c->worker_count);
	json_u64(&j, "connections", atomic_load_explicit(&c->shared.connections, memory_order_relaxed));
	upgrade_json(c->upgrade, &j);
	listeners_json(c, &j);
	certificates_json(c, &j);
	upstreams_json(c, &j);
	store_status_json(&c->registry.stores, &j);
	guard_json(c, &j);
	geo_watch_json(&c->geo, &j);
	kernel_tunnels_json(c->kernel_tunnels, &j);
	steering_json(&c->steering, &j);
	json_end(&j, '}');
	strbuf_add_char(out, '\n');
}

static void kernel_json(struct control *c, struct strbuf *out)
{
	struct json j;

	json_init(&j, out, true);
	json_object(&j, NULL);
	guard_json(c, &j);
	json_end(&j, '}');
	strbuf_add_char(out, '\n');
}

static void kernel_text(struct control *c, struct strbuf *out)
{
	struct fastpath_status s;
	struct fastpath_stats stats;

	guard_describe(&c->guard, out);
	fastpath_status(c->guard.fastpath, &s);
	for (size_t i = 0; s.is_loaded && i < FASTPATH_MAP_COUNT; i++)
		strbuf_printf(out, "map           %-12s %u of %u\n", s.maps[i].name, s.maps[i].entries,
			      s.maps[i].entries_max);
	if (!s.is_loaded || fastpath_stats(c->guard.fastpath, &stats) < 0)
		return;
	for (unsigned i = SN_DROP_NONE + 1; i < SN_DROP_COUNT; i++)
		strbuf_printf(out, "dropped       %-12s %llu packets, %llu bytes: %s\n",
			      rules_reason_label((uint8_t)i), (unsigned long long)stats.drops[i].packets,
			      (unsigned long long)stats.drops[i].bytes, rules_reason_text((uint8_t)i));
	for (unsigned i = 0; i < SN_COUNTER_COUNT; i++)
		strbuf_printf(out, "counted       %-12s %llu packets: %s\n", stats_counter_label(i),
			      (unsigned long long)stats.counters[i].packets, stats_counter_text(i));
}

void control_render(struct control *c, const char *what, struct strbuf *out)
{
	if (strcmp(what, "metrics") == 0)
		metrics_render(out);
	else if (strcmp(what, "status") == 0)
		status_text(c, out);
	else if (strcmp(what, "status-json") == 0)
		status_json(c, out);
	else if (strcmp(what, "kernel") == 0)
		kernel_text(c, out);
	else if (strcmp(what, "kernel-json") == 0)
		kernel_json(c, out);
}
