/* SPDX-License-Identifier: GPL-2.0-only */
/* resolver.c - one entry for each endpoint with a name: a query in flight, or a timer until the next one. */
#include "app/resolver.h"

#include "base/check.h"
#include "base/mem.h"
#include "net/dns.h"
#include "observe/log.h"
#include "observe/metrics.h"

struct resolver {
	struct loop *loop;
	struct endpoint_registry *registry; /* borrowed */
	struct metrics_shard *metrics;
	struct dns *dns; /* owned */
	struct list names;
};

struct name {
	struct list node; /* in resolver->names */
	struct resolver *resolver;
	struct endpoint *endpoint; /* one reference */
	struct dns_query *query;   /* NULL: none in flight */
	struct timer timer;
	bool has_failed; /* the last time: said once */
};

static void ask(struct name *n);

static uint64_t refresh_ms(const struct dns_result *r)
{
	unsigned secs = r->status == 0 ? r->ttl_secs : RESOLVER_TTL_MIN_SECS;

	secs = MAX(secs, RESOLVER_TTL_MIN_SECS);
	return MIN(secs, RESOLVER_TTL_MAX_SECS) * 1000ull;
}

static void on_done(void *ctx, const struct dns_result *r)
{
	struct name *n = ctx;

	n->query = NULL;
	if (r->status == 0 && r->count > 0) {
		if (n->has_failed)
			log_info("target %s resolves again", n->endpoint->name);
		n->has_failed = false;
		endpoint_set_addrs(n->endpoint, r->addrs, r->count, NULL);
	} else {
		metric_add(n->resolver->metrics, METRIC_DNS_FAILURES_TOTAL, 1);
		if (!n->has_failed)
			log_warn("target %s does not resolve: %s%s", n->endpoint->name,
				 r->reason ? r->reason : "no address",
				 atomic_load(&n->endpoint->addr_count) ? "; the last addresses are kept" : "");
		n->has_failed = true;
		if (atomic_load(&n->endpoint->addr_count) == 0)
			endpoint_set_addrs(n->endpoint, NULL, 0, r->reason ? r->reason : "no address");
	}
	timer_arm(n->resolver->loop, &n->timer, refresh_ms(r));
}

static void ask(struct name *n)
{
	n->query = dns_resolve(n->resolver->dns, n->endpoint->host, n->endpoint->port, on_done, n);
	if (!n->query) /* too many at once: soon again */
		timer_arm(n->resolver->loop, &n->timer, 1000);
}

static void on_due(struct timer *t)
{
	ask(container_of(t, struct name, timer));
}

int resolver_new(struct resolver **out, struct loop *l, struct endpoint_registry *registry,
		 struct metrics_shard *metrics)
{
	struct resolver *r = mem_zalloc(sizeof(*r));
	int err = dns_new(&r->dns, l);

	if (err < 0) {
		free(r);
		return err;
	}
	r->loop = l;
	r->registry = registry;
	r->metrics = metrics;
	list_init(&r->names);
	*out = r;
	return 0;
}

static void name_free(struct name *n)
{
	struct resolver *r = n->resolver;

	if (n->query)
		dns_cancel(n->query);
	timer_disarm(r->loop, &n->timer);
	list_remove(&n->node);
	endpoint_put(r->registry, n->endpoint);
	free(n);
}

void resolver_free(struct resolver *r)
{
	struct list *pos, *tmp;

	if (!r)
		return;
	list_for_each_safe(pos, tmp, &r->names)
		name_free(list_entry(pos, struct name, node));
	dns_free(r->dns);
	free(r);
}

static bool name_is_known(const struct resolver *r, const struct endpoint *e)
{
	const struct list *pos;

	list_for_each(pos, &r->names)
		if (list_entry(pos, const struct name, node)->endpoint == e)
			return true;
	return false;
}

void resolver_sync(struct resolver *r)
{
	struct list *pos, *tmp;
	struct span key;
	void *value;
	size_t at = 0;

	if (!r)
		return;
	list_for_each_safe(pos, tmp, &r->names) {
		struct name *n = list_entry(pos, struct name, node);

		if (atomic_load(&n->endpoint->refs) == 1)
			name_free(n); /* only we hold it */
	}
	while (hmap_next(&r->registry->by_name, &at, &key, &value)) {
		struct endpoint *e = value;
		struct name *n;

		if (e->is_numeric || name_is_known(r, e))
			continue;
		n = mem_zalloc(sizeof(*n));
		n->resolver = r;
		n->endpoint = e;
		endpoint_ref(e);
		timer_init(&n->timer, on_due);
		list_append(&r->names, &n->node);
		ask(n);
	}
}

bool resolver_is_settled(const struct resolver *r)
{
	const struct list *pos;

	if (!r)
		return true;
	list_for_each(pos, &r->names) {
		const struct name *n = list_entry(pos, const struct name, node);

		if (!n->has_failed && atomic_load(&n->endpoint->addr_count) == 0)
			return false;
	}
	return true;
}
