/* SPDX-License-Identifier: GPL-2.0-only */
/* config_stores.c - from the keys of a limit to the store that it shares. */
#include "proxy/config_stores.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/config.h"

/* Whoever resolves targets of upstreams resolves this one too. */
struct address {
	struct config_registry *registry;
	struct endpoint *endpoint; /* one reference */
};

static int next_addr(void *ctx, struct addr *out_addr)
{
	return endpoint_next_addr(((struct address *)ctx)->endpoint, out_addr);
}

static void release(void *ctx)
{
	struct address *a = ctx;

	endpoint_put(&a->registry->endpoints, a->endpoint);
	free(a);
}

/* The same settings as of an upstream, so that a changed file is noticed. */
static struct tls_client *tls_open(struct config_registry *r, const struct config_rate_limit *c, struct diag *d)
{
	struct config_upstream_tls tls = {
		.meta = c->meta,
		.ca_file = c->store->ca_file,
		.has_resumption = true,
	};
	const struct config_upstream u = { .meta = c->meta, .id = c->store->url.endpoint, .tls = &tls };

	return config_tls_client(&r->tls, &u, d);
}

struct store *config_store_open(struct config_registry *r, const struct config_rate_limit *c, struct diag *d)
{
	const struct config_store *set = c->store;
	struct store_settings settings = {
		.url = set->url, .pool_max = set->pool_max, .timeout_ms = set->timeout_ms, .ttl_secs = set->ttl_secs };
	struct address *a = NULL;
	struct strbuf id = { 0 };
	struct store *s;

	if (set->url.is_tls) {
		settings.tls = tls_open(r, c, d);
		if (!settings.tls)
			return NULL;
	}
	strbuf_printf(&id, "%d %s %u %s\n%s\n%u %llu %llu %p", set->url.kind, set->url.endpoint, set->url.database,
		      set->url.user, set->url.password, set->pool_max, (unsigned long long)set->timeout_ms,
		      (unsigned long long)set->ttl_secs, (void *)settings.tls);
	s = store_find(&r->stores, id.ptr);
	if (s) {
		tls_client_put(settings.tls);
		strbuf_fini(&id);
		return s;
	}
	a = mem_zalloc(sizeof(*a));
	a->registry = r;
	a->endpoint = endpoint_get(&r->endpoints, set->url.endpoint);
	if (!a->endpoint) {
		diag_error(d, c->meta.pos, "there are too many targets");
		tls_client_put(settings.tls);
		free(a);
	} else {
		settings.next_addr = next_addr;
		settings.release = release;
		settings.ctx = a;
		s = store_new(&r->stores, id.ptr, &settings);
	}
	strbuf_fini(&id);
	return s;
}
