/* SPDX-License-Identifier: GPL-2.0-only */
/* tables.c - a plan as the rows of the kernel's maps, and the edits that bring the maps there. */
#include "fastpath/tables.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "fastpath/budgets.h"
#include "fastpath/hints.h"
#include "fastpath/ticks.h"

static const uint8_t v4_any[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0 };
static const uint8_t v6_any[16];

static void add_vip(struct rows *r, const struct fastpath_vip *v, const uint8_t ip[16])
{
	struct sn_vip_key key = { .port = htons(v->port), .proto = v->proto };
	const struct sn_vip value = { .listener = v->listener };

	memcpy(key.addr, ip, sizeof(key.addr));
	rows_add(r, &key, &value);
}

static void add_vips(struct tables *t, const struct fastpath_plan *p)
{
	size_t i;

	for (i = 0; i < p->vip_count; i++) {
		const struct fastpath_vip *v = &p->vips[i];

		add_vip(&t->vips, v, v->ip);
		if (memcmp(v->ip, v6_any, sizeof(v6_any)) == 0)
			add_vip(&t->vips, v, v4_any);
		t->ports[v->port / 64] |= 1ull << v->port % 64;
	}
	rows_sort(&t->vips);
}

static void add_acls(struct tables *t, const struct fastpath_plan *p)
{
	struct fastpath_acl *acls = mem_array(p->acl_count + 1, sizeof(*acls));
	size_t i, count;

	if (p->acl_count)
		memcpy(acls, p->acls, p->acl_count * sizeof(*acls));
	count = plan_acl_normalise(acls, p->acl_count);
	for (i = 0; i < count; i++) {
		const struct sn_acl value = { .action = acls[i].action, .rule = acls[i].rule };

		if (plan_acl_is_v4(&acls[i])) {
			struct sn_acl4_key key = { .plen = acls[i].len - 96u };

			memcpy(&key.addr, acls[i].ip + 12, sizeof(key.addr));
			rows_add(&t->acl4, &key, &value);
		} else {
			struct sn_acl6_key key = { .plen = acls[i].len };

			memcpy(key.addr, acls[i].ip, sizeof(key.addr));
			rows_add(&t->acl6, &key, &value);
		}
	}
	free(acls);
	rows_sort(&t->acl4);
	rows_sort(&t->acl6);
}

static void add_host_addrs(struct tables *t, const struct hostaddrs *addrs)
{
	size_t i;

	for (i = 0; i < addrs->count; i++) {
		const struct sn_host_addr value = { .ifindex = addrs->items[i].ifindex };

		rows_add(&t->host_addrs, addrs->items[i].ip, &value);
	}
	rows_sort(&t->host_addrs);
}

void tables_init(struct tables *t, const struct fastpath_plan *p, const struct hostaddrs *addrs,
		 struct sn_budgets *budgets)
{
	*t = (struct tables){ .budgets = budgets };
	rows_init(&t->vips, sizeof(struct sn_vip_key), sizeof(struct sn_vip));
	rows_init(&t->host_addrs, sizeof(struct sn_addr), sizeof(struct sn_host_addr));
	rows_init(&t->acl4, sizeof(struct sn_acl4_key), sizeof(struct sn_acl));
	rows_init(&t->acl6, sizeof(struct sn_acl6_key), sizeof(struct sn_acl));
	add_vips(t, p);
	add_acls(t, p);
	add_host_addrs(t, addrs);
	t->hints = hints_new(&t->vips);
	t->config.flags = (p->is_monitor ? SN_CONFIG_MONITOR : 0) | (t->acl4.count ? SN_CONFIG_ACL4 : 0) |
			  (t->acl6.count ? SN_CONFIG_ACL6 : 0);
}

void tables_fini(struct tables *t)
{
	if (!t)
		return;
	rows_fini(&t->vips);
	rows_fini(&t->host_addrs);
	rows_fini(&t->acl4);
	rows_fini(&t->acl6);
	free(t->hints);
	t->hints = NULL;
}

static bool is_allow(const void *value)
{
	return ((const struct sn_acl *)value)->action == SN_ACL_ALLOW;
}

static bool is_deny(const void *value)
{
	return ((const struct sn_acl *)value)->action == SN_ACL_DENY;
}

static int failed(int err, enum fastpath_map map, struct strbuf *out_why)
{
	if (err)
		strbuf_printf(out_why, "map %s: %s", maps_name(map), err_name(err));
	return err;
}

/* Every flag lets in or makes rows count: all that are wanted come before the rows, the others go after them. */
static int config_put(struct tables *t, const struct fastpath_maps *m, bool keeps_present)
{
	struct sn_config next = t->config, present;
	int err = maps_config_get(m, &present);

	if (err)
		return err;
	if (keeps_present)
		next.flags |= present.flags;
	ticks_fill(&next);
	return maps_config_set(m, &next);
}

/* What was sampled of the levels that go on stays, or a flood would meet a fresh second at each reload. */
static int budgets_put(struct tables *t, const struct fastpath_maps *m)
{
	struct sn_budgets present;
	int err = maps_budgets_get(m, &present);

	if (err)
		return err;
	budgets_keep_saturation(t->budgets, &present);
	return maps_budgets_set(m, t->budgets);
}

typedef int (*rows_edit)(int map_fd, const struct rows *wanted, const struct rows *actual, rows_filter filter);

static int edit(rows_edit change, const struct fastpath_maps *m, enum fastpath_map map, const struct rows *wanted,
		rows_filter only, struct strbuf *out_why)
{
	struct rows actual;
	int err;

	rows_init(&actual, wanted->key_size, wanted->value_size);
	err = rows_read(&actual, m->fd[map]);
	if (!err)
		err = change(m->fd[map], wanted, &actual, only);
	rows_fini(&actual);
	return failed(err, map, out_why);
}

static int put(const struct fastpath_maps *m, enum fastpath_map map, const struct rows *wanted, rows_filter only,
	       struct strbuf *out_why)
{
	return edit(maps_put, m, map, wanted, only, out_why);
}

static int prune(const struct fastpath_maps *m, enum fastpath_map map, const struct rows *wanted, rows_filter only,
		 struct strbuf *out_why)
{
	return edit(maps_prune, m, map, wanted, only, out_why);
}

int tables_grant(struct tables *t, const struct fastpath_maps *m, struct strbuf *out_why)
{
	int err = failed(maps_ports_prune(m, t->ports), MAP_PORTS, out_why);

	if (!err)
		err = failed(config_put(t, m, true), MAP_CONFIG, out_why);
	if (!err)
		err = put(m, MAP_ACL4, &t->acl4, is_allow, out_why);
	if (!err)
		err = put(m, MAP_ACL6, &t->acl6, is_allow, out_why);
	return err;
}

int tables_put(struct tables *t, const struct fastpath_maps *m, struct strbuf *out_why)
{
	int err = failed(budgets_put(t, m), MAP_BUDGETS, out_why);

	if (!err)
		err = put(m, MAP_ACL4, &t->acl4, NULL, out_why);
	if (!err)
		err = put(m, MAP_ACL6, &t->acl6, NULL, out_why);
	return err;
}

/* To whom it all applies: new ones before the old ones go, so that no listener is without its guard meanwhile. */
static int listeners_edit(struct tables *t, const struct fastpath_maps *m, struct strbuf *out_why)
{
	int err = failed(hints_clear(m, t->hints), MAP_PORT_HINTS, out_why);

	if (!err)
		err = put(m, MAP_HOST_ADDRS, &t->host_addrs, NULL, out_why);
	if (!err)
		err = put(m, MAP_VIPS, &t->vips, NULL, out_why);
	if (!err)
		err = failed(maps_ports_put(m, t->ports), MAP_PORTS, out_why);
	if (!err)
		err = prune(m, MAP_VIPS, &t->vips, NULL, out_why);
	if (!err)
		err = prune(m, MAP_HOST_ADDRS, &t->host_addrs, NULL, out_why);
	if (!err)
		err = failed(hints_set(m, t->hints), MAP_PORT_HINTS, out_why);
	return err;
}

int tables_lift(struct tables *t, const struct fastpath_maps *m, struct strbuf *out_why)
{
	int err = prune(m, MAP_ACL4, &t->acl4, is_deny, out_why);

	if (!err)
		err = prune(m, MAP_ACL6, &t->acl6, is_deny, out_why);
	return err ? err : listeners_edit(t, m, out_why);
}

int tables_prune(struct tables *t, const struct fastpath_maps *m, struct strbuf *out_why)
{
	int err = prune(m, MAP_ACL4, &t->acl4, NULL, out_why);

	if (!err)
		err = prune(m, MAP_ACL6, &t->acl6, NULL, out_why);
	if (!err)
		err = failed(config_put(t, m, false), MAP_CONFIG, out_why);
	return err;
}
