/* SPDX-License-Identifier: GPL-2.0-only */
/* hints.c - the listener of a port where there is only one. */
#include "fastpath/hints.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

#define HINTS_BYTES (SN_PORTS * sizeof(struct sn_port_hint))
#define HINT_MANY 255 /* while they are made: the tables must be asked */

/* As in the key: a wildcard of IPv4 or of IPv6. */
static bool is_any(const struct sn_vip_key *k, bool *out_is_v4)
{
	*out_is_v4 = k->addr[0] == 0 && k->addr[1] == 0 && k->addr[2] == htonl(SN_V4_MAPPED);
	return k->addr[0] == 0 && k->addr[1] == 0 && (*out_is_v4 || k->addr[2] == 0) && k->addr[3] == 0;
}

static void add(struct sn_port_hint *h, const struct sn_vip_key *k, const struct sn_vip *v)
{
	bool is_v4, is_wild = is_any(k, &is_v4);

	if (h->kind == SN_HINT_NONE) {
		h->kind = is_wild ? SN_HINT_ANY : SN_HINT_EXACT;
		h->proto = k->proto;
		h->listener = v->listener;
		if (!is_wild)
			memcpy(h->addr, k->addr, sizeof(h->addr));
	} else if (h->kind != SN_HINT_ANY || !is_wild || h->proto != k->proto || h->listener != v->listener) {
		h->kind = HINT_MANY;
		return;
	}
	if (is_wild && is_v4)
		h->has_v4 = 1;
	else if (is_wild)
		h->has_v6 = 1;
}

struct sn_port_hint *hints_new(const struct rows *vips)
{
	struct sn_port_hint *hints = mem_array(SN_PORTS, sizeof(*hints));

	for (size_t i = 0; i < vips->count; i++) {
		const struct sn_vip_key *k = rows_key(vips, i);

		add(&hints[ntohs(k->port)], k, rows_value(vips, i));
	}
	for (size_t i = 0; i < vips->count; i++) {
		const struct sn_vip_key *k = rows_key(vips, i);
		struct sn_port_hint *h = &hints[ntohs(k->port)];

		if (h->kind == HINT_MANY)
			*h = (struct sn_port_hint){ 0 };
	}
	return hints;
}

static struct sn_port_hint *hints_map(const struct fastpath_maps *m)
{
	void *at = mmap(NULL, HINTS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd[MAP_PORT_HINTS], 0);

	return at == MAP_FAILED ? NULL : at;
}

static bool is_same(const struct sn_port_hint *a, const struct sn_port_hint *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int hints_clear(const struct fastpath_maps *m, const struct sn_port_hint *wanted)
{
	struct sn_port_hint *cells = hints_map(m);

	if (!cells)
		return -errno;
	for (size_t i = 0; i < SN_PORTS; i++)
		if (!is_same(&cells[i], &wanted[i]))
			__atomic_store_n(&cells[i].kind, SN_HINT_NONE, __ATOMIC_SEQ_CST);
	(void)munmap(cells, HINTS_BYTES);
	return 0;
}

int hints_set(const struct fastpath_maps *m, const struct sn_port_hint *wanted)
{
	struct sn_port_hint *cells = hints_map(m);

	if (!cells)
		return -errno;
	for (size_t i = 0; i < SN_PORTS; i++) {
		struct sn_port_hint without = wanted[i];

		if (is_same(&cells[i], &wanted[i]))
			continue;
		/* The kind last: before it nobody reads the others. */
		without.kind = SN_HINT_NONE;
		cells[i] = without;
		__atomic_store_n(&cells[i].kind, wanted[i].kind, __ATOMIC_SEQ_CST);
	}
	(void)munmap(cells, HINTS_BYTES);
	return 0;
}
