/* SPDX-License-Identifier: GPL-2.0-only */
/* geo_kernel.c - countries in the kernel: tables that were built beside it, and how they come in force. */
#include "fastpath/geo_kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

/* ---- tables ---- */

void geo_built_init(struct geo_built *b)
{
	*b = (struct geo_built){ .table_fd = -1, .trie_fd = -1 };
}

static void fd_close(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

void geo_built_fini(struct geo_built *b)
{
	fd_close(b->table_fd);
	fd_close(b->trie_fd);
	geo_database_put(b->database);
	geo_built_init(b);
}

static int failed(int err, const char *what, struct strbuf *out_why)
{
	if (err)
		strbuf_printf(out_why, "map %s: %s", what, err_name(err));
	return err;
}

static int table_make(const struct geo_tables *t)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	int err, fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "geo_table", 4, 8, SN_GEO4_WORDS, &opts);
	uint8_t *bytes;

	if (fd < 0)
		return fd;
	bytes = mmap(NULL, GEO_TABLE4_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bytes != MAP_FAILED) {
		memcpy(bytes, t->v4, GEO_TABLE4_BYTES);
		(void)munmap(bytes, GEO_TABLE4_BYTES);
		return fd;
	}
	err = -errno;
	(void)close(fd);
	return err;
}

static int trie_make(const struct geo_tables *t)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	int err = 0, fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "geo_trie", sizeof(struct sn_geo6_key), 1,
					 SN_GEO6_MAX, &opts);

	for (size_t i = 0; fd >= 0 && i < t->v6_count && !err; i++) {
		struct sn_geo6_key key = { .plen = t->v6[i].len };

		memcpy(key.addr, t->v6[i].ip, sizeof(key.addr));
		err = bpf_map_update_elem(fd, &key, &t->v6[i].number, BPF_ANY);
	}
	if (!err)
		return fd;
	fd_close(fd);
	return err;
}

static int maps_make(struct geo_built *b, const struct geo_tables *t, struct strbuf *out_why)
{
	b->table_fd = table_make(t);
	if (b->table_fd < 0)
		return failed(b->table_fd, "geo4", out_why);
	if (t->is_v6_left_out)
		return 0;
	b->trie_fd = trie_make(t);
	return b->trie_fd < 0 ? failed(b->trie_fd, "geo6", out_why) : 0;
}

int geo_built_make(struct geo_built *out_built, struct geo_database *d, const geo_country *named, size_t count,
		   struct strbuf *out_why)
{
	uint64_t begin = clock_mono_ns();
	struct geo_tables t;
	struct geo_built b;
	int err = geo_compile(&t, d, named, count, out_why);

	if (err)
		return err;
	geo_built_init(&b);
	err = maps_make(&b, &t, out_why);
	if (err) {
		geo_built_fini(&b);
	} else {
		b.database = geo_database_get(d);
		memcpy(b.named, named, count * sizeof(*named));
		b.named_count = count;
		b.mixed4 = t.v4_mixed;
		b.prefixes6 = (uint32_t)t.v6_count;
		b.mixed6 = t.v6_mixed;
		b.spent_ns = clock_mono_ns() - begin;
		*out_built = b;
	}
	geo_tables_fini(&t);
	return err;
}

/* ---- the slots ---- */

void geo_kernel_init(struct geo_kernel *g, const struct fastpath_maps *m)
{
	*g = (struct geo_kernel){ .maps = m, .slot = SN_GEO_OFF };
	geo_built_init(&g->built);
	geo_built_init(&g->next);
	rows_init(&g->policies, sizeof(struct sn_geo_policy_key), sizeof(struct sn_geo_policy));
}

void geo_kernel_fini(struct geo_kernel *g)
{
	geo_built_fini(&g->built);
	geo_built_fini(&g->next);
	rows_fini(&g->policies);
}

void geo_kernel_reset(struct geo_kernel *g)
{
	const struct fastpath_maps *m = g->maps;

	geo_kernel_fini(g);
	geo_kernel_init(g, m);
}

static bool is_made_for(const struct geo_built *b, const struct geo_plan *p)
{
	return geo_plan_names_same(p, b->named, b->named_count);
}

/* Tables of the plan's database: made for its countries, else for others, else NULL. */
static struct geo_built *built_for(struct geo_kernel *g, const struct geo_plan *p)
{
	struct geo_built *const candidates[] = { &g->next, &g->built };
	struct geo_database *now = geo_file_database(p->file);
	struct geo_built *found = NULL;

	for (size_t i = 0; i < ARRAY_LEN(candidates); i++)
		if (candidates[i]->database == now && (!found || !is_made_for(found, p)))
			found = candidates[i];
	geo_database_put(now);
	return found;
}

static bool plan_is_empty(const struct geo_plan *p)
{
	return !p->file || p->choice_count == 0;
}

bool geo_kernel_wants(const struct geo_kernel *g, const struct geo_plan *p)
{
	const struct geo_built *b = plan_is_empty(p) ? NULL : built_for((struct geo_kernel *)(uintptr_t)g, p);

	return !plan_is_empty(p) && (!b || !is_made_for(b, p));
}

void geo_kernel_give(struct geo_kernel *g, struct geo_built *b)
{
	geo_built_fini(&g->next);
	g->next = *b;
	geo_built_init(b);
}

static int slot_set(const struct fastpath_maps *m, uint32_t slot)
{
	const struct sn_geo_config c = { .slot = slot };
	const uint32_t zero = 0;

	return bpf_map_update_elem(m->fd[MAP_GEO_CONFIG], &zero, &c, BPF_ANY);
}

/* Rows of one slot, all of them or those that are not wanted. */
static int policies_delete(const struct fastpath_maps *m, uint32_t slot)
{
	struct rows actual;
	int err;

	rows_init(&actual, sizeof(struct sn_geo_policy_key), sizeof(struct sn_geo_policy));
	err = rows_read(&actual, m->fd[MAP_GEO_POLICIES]);
	for (size_t i = 0; i < actual.count && !err; i++) {
		const struct sn_geo_policy_key *key = rows_key(&actual, i);

		if (key->slot == slot)
			err = bpf_map_delete_elem(m->fd[MAP_GEO_POLICIES], key);
	}
	rows_fini(&actual);
	return err;
}

/* Nobody looks at this slot any more: the outer maps waited for who did. */
static int slot_clear(const struct fastpath_maps *m, uint32_t slot)
{
	const enum fastpath_map outer[] = { MAP_GEO4, MAP_GEO6 };

	for (size_t i = 0; i < ARRAY_LEN(outer); i++) {
		int err = bpf_map_delete_elem(m->fd[outer[i]], &slot);

		if (err && err != -ENOENT)
			return err;
	}
	return policies_delete(m, slot);
}

static int codes_write(const struct fastpath_maps *m, uint32_t slot, const struct geo_built *b)
{
	struct sn_geo_count *zeroes = mem_array((size_t)MAX(libbpf_num_possible_cpus(), 1), sizeof(*zeroes));
	int err = 0;

	for (uint32_t number = 0; number <= b->named_count && !err; number++) {
		uint32_t index = slot * SN_GEO_NUMBERS + number;
		struct sn_geo_code code = { 0 };
		char text[3];

		memcpy(code.text, geo_country_text(number ? b->named[number - 1] : 0, text), sizeof(code.text));
		err = bpf_map_update_elem(m->fd[MAP_GEO_CODES], &index, &code, BPF_ANY);
		if (!err)
			err = bpf_map_update_elem(m->fd[MAP_GEO_COUNTS], &code, zeroes, BPF_NOEXIST);
		err = err == -EEXIST ? 0 : err;
	}
	free(zeroes);
	return err;
}

/* In the numbers of these tables. */
static void policies_of(struct rows *out, const struct geo_plan *p, uint32_t slot, const struct geo_built *b)
{
	rows_init(out, sizeof(struct sn_geo_policy_key), sizeof(struct sn_geo_policy));
	for (size_t i = 0; i < p->choice_count; i++) {
		const struct sn_geo_policy_key key = { .slot = slot, .listener = p->choices[i].listener };
		struct sn_geo_policy policy = geo_choice_policy(&p->choices[i], b->named, b->named_count);

		policy.flags |= b->trie_fd < 0 ? SN_GEO_POLICY_V4_ONLY : 0;
		rows_add(out, &key, &policy);
	}
	rows_sort(out);
}

static int slot_fill(const struct fastpath_maps *m, uint32_t slot, const struct geo_built *b,
		     const struct geo_plan *p)
{
	struct rows policies;
	int err = slot_clear(m, slot);

	if (!err)
		err = bpf_map_update_elem(m->fd[MAP_GEO4], &slot, &b->table_fd, BPF_ANY);
	if (!err && b->trie_fd >= 0)
		err = bpf_map_update_elem(m->fd[MAP_GEO6], &slot, &b->trie_fd, BPF_ANY);
	if (!err)
		err = codes_write(m, slot, b);
	policies_of(&policies, p, slot, b);
	for (size_t i = 0; i < policies.count && !err; i++)
		err = bpf_map_update_elem(m->fd[MAP_GEO_POLICIES], rows_key(&policies, i), rows_value(&policies, i),
					  BPF_ANY);
	rows_fini(&policies);
	return err;
}

static bool rows_are_same(const struct rows *a, const struct rows *b)
{
	return a->count == b->count &&
	       (a->count == 0 || memcmp(a->items, b->items, a->count * (a->key_size + a->value_size)) == 0);
}

/* Nothing of an earlier run, an earlier plan or an earlier database holds from here on. */
static int switch_off(struct geo_kernel *g)
{
	int err = slot_set(g->maps, SN_GEO_OFF);

	g->slot = SN_GEO_OFF;
	for (uint32_t slot = 0; slot < SN_GEO_SLOTS && !err; slot++)
		err = slot_clear(g->maps, slot);
	geo_built_fini(&g->built);
	geo_built_fini(&g->next);
	return err;
}

/* Fill the slot that nobody looks at, then the one store by which everything is exchanged. */
static int exchange(struct geo_kernel *g, const struct geo_plan *p, const struct geo_built *b)
{
	const struct fastpath_maps *m = g->maps;
	uint32_t slot = g->slot == 0 ? 1 : 0, old = g->slot;
	int err = slot_fill(m, slot, b, p);

	if (!err)
		err = slot_set(m, slot);
	if (err)
		return err;
	g->slot = slot;
	return old == SN_GEO_OFF ? 0 : slot_clear(m, old);
}

int geo_kernel_apply(struct geo_kernel *g, const struct geo_plan *p, struct strbuf *out_why)
{
	struct geo_built *b = plan_is_empty(p) ? NULL : built_for(g, p);
	struct rows policies;
	int err = 0;

	if (!b)
		return failed(switch_off(g), "geo_config", out_why);
	policies_of(&policies, p, 0, b);
	if (g->slot == SN_GEO_OFF || b == &g->next || !rows_are_same(&policies, &g->policies))
		err = exchange(g, p, b);
	if (err) {
		rows_fini(&policies);
		return failed(err, "geo4", out_why);
	}
	rows_fini(&g->policies);
	g->policies = policies;
	if (b == &g->next) {
		geo_built_fini(&g->built);
		g->built = g->next;
		geo_built_init(&g->next);
	}
	return 0;
}

/* ---- what others want to know ---- */

void geo_kernel_status(const struct geo_kernel *g, struct geo_kernel_status *out_status)
{
	*out_status = (struct geo_kernel_status){
		.is_in_force = g->slot != SN_GEO_OFF,
		.is_v4_only = g->built.trie_fd < 0,
		.mixed4 = g->built.mixed4,
		.prefixes6 = g->built.prefixes6,
		.mixed6 = g->built.mixed6,
		.spent_ns = g->built.spent_ns,
	};
}

int geo_kernel_counts(const struct geo_kernel *g, void (*fn)(void *ctx, const struct geo_kernel_count *c),
		      void *ctx)
{
	const struct fastpath_maps *m = g->maps;
	int err = 0, cpus = libbpf_num_possible_cpus();
	struct sn_geo_count *cells;
	struct sn_geo_code key, *previous = NULL;

	if (!maps_are_open(m))
		return 0;
	if (cpus < 0)
		return cpus;
	cells = mem_array((size_t)cpus, sizeof(*cells));
	/* Rows are never deleted, so the walk meets each once. */
	while ((err = bpf_map_get_next_key(m->fd[MAP_GEO_COUNTS], previous, &key)) == 0) {
		struct geo_kernel_count c = { .country = { key.text[0], key.text[1] } };

		previous = &key;
		err = bpf_map_lookup_elem(m->fd[MAP_GEO_COUNTS], &key, cells);
		if (err)
			break;
		for (int cpu = 0; cpu < cpus; cpu++) {
			c.packets += cells[cpu].packets;
			c.monitored += cells[cpu].monitored;
		}
		fn(ctx, &c);
	}
	free(cells);
	return err == -ENOENT ? 0 : err;
}
