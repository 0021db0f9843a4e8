/* SPDX-License-Identifier: GPL-2.0-only */
/* config_registry.c - what outlives configurations, found again by its name. */
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/config_rows.h"

void config_registry_init(struct config_registry *r)
{
	*r = (struct config_registry){ 0 };
	endpoint_registry_init(&r->endpoints);
	limits_init(&r->limits);
	config_tls_registry_init(&r->tls);
}

void config_registry_fini(struct config_registry *r)
{
	struct span key;
	void *value;
	size_t pos = 0;

	while (hmap_next(&r->listener_numbers, &pos, &key, &value))
		free((void *)(uintptr_t)key.ptr);
	hmap_fini(&r->listener_numbers);
	stores_fini(&r->stores);
	config_tls_registry_fini(&r->tls);
	limits_fini(&r->limits);
	pos = 0;
	while (hmap_next(&r->progress_counts, &pos, &key, &value)) {
		free((void *)(uintptr_t)key.ptr);
		free(value);
	}
	hmap_fini(&r->progress_counts);
	endpoint_registry_fini(&r->endpoints);
}

uint32_t config_listener_number(struct config_registry *r, const char *id, const struct addr *addr)
{
	char text[ADDR_TEXT_MAX], key[ADDR_TEXT_MAX + 300];
	int len;
	void *number;

	addr_format(addr, text);
	len = snprintf(key, sizeof(key), "%s %s", id, text);
	CHECK(len > 0 && (size_t)len < sizeof(key));
	number = hmap_get(&r->listener_numbers, span_of(key, (size_t)len));
	if (number)
		return (uint32_t)(uintptr_t)number;
	r->listener_number_last++;
	hmap_set(&r->listener_numbers, span_of(mem_strndup(key, (size_t)len), (size_t)len),
		 (void *)(uintptr_t)r->listener_number_last);
	return r->listener_number_last;
}

_Atomic uint64_t *config_progress_count(struct config_registry *r, const char *id)
{
	_Atomic uint64_t *count = hmap_get(&r->progress_counts, span_str(id));

	if (count)
		return count;
	count = mem_zalloc(sizeof(*count));
	hmap_set(&r->progress_counts, span_str(mem_strdup(id)), (void *)count);
	return count;
}
