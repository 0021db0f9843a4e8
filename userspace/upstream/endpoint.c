/* SPDX-License-Identifier: GPL-2.0-only */
/* endpoint.c - the registry of targets, their addresses and the process-wide count of their connections. */
#include "upstream/endpoint.h"

#include <errno.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"

#define ENDPOINT_TAG TAG('E', 'N', 'D', 'P')
#define HOST_LEN_MAX 255 /* RFC 1035 2.3.4 */

/* Of all endpoints: changes are rare, and one word is cheap to look at with every pick. */
static _Atomic uint64_t epoch;

struct endpoint_name {
	struct span host;
	uint16_t port;
	bool is_unix;
};

static bool host_is_valid(struct span host, bool is_bracketed)
{
	struct addr addr;

	if (is_bracketed)
		return addr_parse_ip(host, &addr) == 0 && addr.sa.sa_family == AF_INET6;
	if (!host.len || host.len > HOST_LEN_MAX)
		return false;
	for (size_t i = 0; i < host.len; i++) {
		char c = host.ptr[i];

		bool is_alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

		if (!is_alnum && c != '-' && c != '_' && c != '.')
			return false;
	}
	return host.ptr[0] != '.' && host.ptr[0] != '-';
}

static bool name_parse(struct span name, struct endpoint_name *out)
{
	struct span host, port_text;
	bool is_bracketed = name.len && name.ptr[0] == '[';
	struct addr addr;
	uint64_t port;
	size_t colon;

	if (span_starts(name, SPAN("unix:"))) {
		if (addr_parse(name, &addr) < 0)
			return false;
		*out = (struct endpoint_name){ .host = span_skip(name, strlen("unix:")), .is_unix = true };
		return true;
	}
	if (is_bracketed) {
		size_t end = span_find(name, ']');

		colon = end + 1;
		if (colon >= name.len || name.ptr[colon] != ':')
			return false;
		host = span_of(name.ptr + 1, end - 1);
	} else {
		colon = span_find(name, ':');
		host = span_of(name.ptr, colon);
	}
	port_text = span_skip(name, colon + 1);
	if (!span_to_u64(port_text, &port) || port < 1 || port > UINT16_MAX)
		return false;
	if (!host_is_valid(host, is_bracketed))
		return false;
	*out = (struct endpoint_name){ .host = host, .port = (uint16_t)port };
	return true;
}

bool endpoint_name_is_valid(const char *name)
{
	struct endpoint_name parsed;

	return name_parse(span_str(name), &parsed);
}

void endpoint_registry_init(struct endpoint_registry *r)
{
	*r = (struct endpoint_registry){ 0 };
	hmap_init(&r->by_name);
}

void endpoint_registry_fini(struct endpoint_registry *r)
{
	if (!r)
		return;
	CHECK(r->by_name.count == 0);
	hmap_fini(&r->by_name);
	free(r->slots_used);
	*r = (struct endpoint_registry){ 0 };
}

/* The smallest free slot: workers' tables stay short.  -ENOSPC: all are taken. */
static int slot_take(struct endpoint_registry *r, uint32_t *out_slot)
{
	uint32_t words = r->slot_count / 64, w;

	for (w = 0; w < words && r->slots_used[w] == UINT64_MAX; w++)
		;
	if (w == words) {
		uint32_t grown = words ? words * 2 : 1;

		if (r->slot_count >= ENDPOINTS_MAX)
			return -ENOSPC;
		r->slots_used = mem_resize(r->slots_used, grown, sizeof(*r->slots_used));
		memset(r->slots_used + words, 0, (grown - words) * sizeof(*r->slots_used));
		r->slot_count = grown * 64;
	}
	*out_slot = w * 64 + (uint32_t)__builtin_ctzll(~r->slots_used[w]);
	r->slots_used[w] |= UINT64_C(1) << (*out_slot % 64);
	return 0;
}

static void slot_give(struct endpoint_registry *r, uint32_t slot)
{
	CHECK(slot < r->slot_count && (r->slots_used[slot / 64] >> (slot % 64) & 1));
	r->slots_used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

static void endpoint_set_numeric(struct endpoint *e, const struct endpoint_name *name)
{
	struct addr addr;

	if (name->is_unix) {
		e->is_numeric = addr_parse(span_str(e->name), &addr) == 0;
	} else if (addr_parse_ip(name->host, &addr) == 0) {
		addr_set_port(&addr, name->port);
		e->is_numeric = true;
	}
	if (e->is_numeric)
		endpoint_set_addrs(e, &addr, 1, NULL);
}

struct endpoint *endpoint_get(struct endpoint_registry *r, const char *name)
{
	struct endpoint *e = hmap_get(&r->by_name, span_str(name));
	struct endpoint_name parsed;
	uint32_t slot;

	if (e) {
		OBJ_CHECK(e, ENDPOINT_TAG);
		atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
		return e;
	}
	CHECK(name_parse(span_str(name), &parsed));
	if (slot_take(r, &slot) < 0)
		return NULL;
	e = mem_zalloc(sizeof(*e));
	e->tag = ENDPOINT_TAG;
	e->name = mem_strdup(name);
	e->host = mem_strndup(parsed.host.ptr, parsed.host.len);
	e->port = parsed.port;
	e->slot = slot;
	atomic_store_explicit(&e->refs, 1, memory_order_relaxed);
	pthread_mutex_init(&e->lock, NULL);
	endpoint_set_numeric(e, &parsed);
	hmap_set(&r->by_name, span_str(e->name), e);
	return e;
}

static void endpoint_free(struct endpoint_registry *r, struct endpoint *e)
{
	CHECK(hmap_remove(&r->by_name, span_str(e->name)) == e);
	slot_give(r, e->slot);
	pthread_mutex_destroy(&e->lock);
	e->tag = 0;
	free(e->name);
	free(e->host);
	free(e);
}

void endpoint_put(struct endpoint_registry *r, struct endpoint *e)
{
	if (!e)
		return;
	OBJ_CHECK(e, ENDPOINT_TAG);
	if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1)
		endpoint_free(r, e);
}

void endpoint_ref(struct endpoint *e)
{
	OBJ_CHECK(e, ENDPOINT_TAG);
	atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
}

void endpoint_unref(struct endpoint *e)
{
	OBJ_CHECK(e, ENDPOINT_TAG);
	CHECK(atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) > 0);
}

void endpoint_registry_sweep(struct endpoint_registry *r)
{
	struct endpoint *unused;

	do {
		struct span name;
		size_t pos = 0;
		void *value;

		unused = NULL;
		while (!unused && hmap_next(&r->by_name, &pos, &name, &value))
			if (atomic_load_explicit(&((struct endpoint *)value)->refs, memory_order_acquire) == 0)
				unused = value;
		if (unused)
			endpoint_free(r, unused);
	} while (unused);
}

static void epoch_advance(void)
{
	atomic_fetch_add_explicit(&epoch, 1, memory_order_release);
}

uint64_t endpoint_epoch(void)
{
	return atomic_load_explicit(&epoch, memory_order_acquire);
}

void endpoint_set_addrs(struct endpoint *e, const struct addr *addrs, unsigned count, const char *error)
{
	OBJ_CHECK(e, ENDPOINT_TAG);
	count = MIN(count, ENDPOINT_ADDRS_MAX);
	pthread_mutex_lock(&e->lock);
	if (count)
		memcpy(e->addrs, addrs, count * sizeof(*addrs));
	atomic_store_explicit(&e->addr_count, count, memory_order_relaxed);
	snprintf(e->resolve_error, sizeof(e->resolve_error), "%s", count || !error ? "" : error);
	pthread_mutex_unlock(&e->lock);
	epoch_advance();
}

void endpoint_set_health(struct endpoint *e, enum endpoint_health health)
{
	OBJ_CHECK(e, ENDPOINT_TAG);
	atomic_store_explicit(&e->health, health, memory_order_relaxed);
	epoch_advance();
}

int endpoint_next_addr(struct endpoint *e, struct addr *out_addr)
{
	unsigned count;

	OBJ_CHECK(e, ENDPOINT_TAG);
	pthread_mutex_lock(&e->lock);
	count = atomic_load_explicit(&e->addr_count, memory_order_relaxed);
	if (count) {
		*out_addr = e->addrs[e->next_addr % count];
		e->next_addr = (e->next_addr + 1) % count;
	}
	pthread_mutex_unlock(&e->lock);
	return count ? 0 : -EADDRNOTAVAIL;
}

bool endpoint_is_usable(const struct endpoint *e)
{
	return atomic_load_explicit(&e->health, memory_order_relaxed) == ENDPOINT_UP &&
	       atomic_load_explicit(&e->addr_count, memory_order_relaxed) > 0;
}
