/* SPDX-License-Identifier: GPL-2.0-only */
/* config_rate_limit.c - rows of limits of requests, their keys, and what is computed of them once. */
#include "proxy/config_rate_limit.h"

#include "http/headers.h"
#include "proxy/config.h"
#include "upstream/endpoint.h"

#define C struct config_rate_limit

static const struct schema_word action_words[] = {
	{ "reject", RATE_REJECT, .help = "answer with `status-code`" },
	{ "delay", RATE_DELAY, .help = "let it wait for its turn, in order, up to `max-delay-ms`; then answer so" },
	{ "log-only", RATE_LOG_ONLY, .help = "let it pass, and say in log and metrics that it was too much" },
	{ NULL },
};

static const struct schema_word backend_words[] = {
	{ "local", RATE_BACKEND_LOCAL, .help = "this process, over all its workers" },
	{ "redis", RATE_BACKEND_REDIS, .help = "a Redis (5.0 or newer) or Valkey that other proxies use too" },
	{ "memcached", RATE_BACKEND_MEMCACHED, "memcache",
	  .help = "a memcached (1.6 or newer) that other proxies use too; their clocks must agree" },
	{ NULL },
};

static const struct schema_word fallback_words[] = {
	{ "local", RATE_FALLBACK_LOCAL, "true",
	  .help = "this process alone, from the level that was last reported; each proxy then allows the whole limit" },
	{ "open", RATE_FALLBACK_OPEN, "false", .help = "all requests pass" },
	{ "closed", RATE_FALLBACK_CLOSED, .help = "all requests get 503" },
	{ NULL },
};

#define PREFIX_MAX 200

const struct schema_row rate_limit_rows[] = {
	ROW_RATE(C, rate, "max-rps", "100", "Requests for each key: a number a second, or with a unit as in \"30/m\".",
		 .aliases = "requests-per-second rate"),
	ROW_UINT(C, burst, "burst", 1, 1000000, "10", "Requests that may come at once; they come back at the rate."),
	ROW_STRINGS(C, key, "key", "client-ip",
		    "What is counted by: `client-ip`, `path`, `route`, `client-ip-and-path`, `header:NAME`, "
		    "`cookie:NAME`, `query:NAME` (also as two words), or `composite` followed by several of them."),
	ROW_UINT(C, ipv6_prefix, "ipv6-prefix", 1, 128, "64",
		 "Bits of an IPv6 address that make a client: who has one address mostly has its /64."),
	ROW_ENUM(C, action, "on-limit", action_words, "reject", "What happens to a request that is too much."),
	ROW_UINT(C, status, "status-code", 400, 599, "429", "Status of the answer."),
	ROW_STRING(C, message, "message", "Rate limit exceeded", "What the answer says.", .max = 1024),
	ROW_DURATION(C, max_delay_ms, "max-delay-ms", SCHEMA_MILLIS, 1, SCHEMA_HOUR, "5000",
		     "With `delay`: who would wait longer is refused, and who finds 1,024 waiting in his worker."),
	ROW_UINT(C, keys_max, "max-keys", 1, 1000000, "100000",
		 "Keys that have a count of their own at once.  More share counts: they may be refused too early, "
		 "never admitted too late."),
	ROW_ENUM(C, backend, "backend", backend_words, "local", "Where the counts are."),
	ROW_STRING(C, redis_url, "redis-url", "redis://127.0.0.1:6379",
		   "Where Redis is: redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], rediss:// for TLS, or "
		   "unix:///PATH[?db=N] (with a password redis+unix://:PASSWORD@/PATH).  One server: Redis Cluster and "
		   "Redis Sentinel are not in this version.",
		   .flags = SCHEMA_SECRET, .max = 1024),
	ROW_STRING(C, redis_prefix, "redis-prefix", "sentinel:ratelimit:", "What its keys begin with.",
		   .max = PREFIX_MAX),
	ROW_UINT(C, redis_pool, "redis-pool-size", 1, 100, "10",
		 "Connections of a worker at most; one carries many questions at a time."),
	ROW_DURATION(C, redis_timeout_ms, "redis-timeout-ms", SCHEMA_MILLIS, 1, 60000, "50",
		     "How long a request waits for its answer at most."),
	ROW_ENUM(C, redis_fallback, "redis-fallback", fallback_words, "local",
		 "What decides while Redis does not answer in time."),
	ROW_FILE(C, redis_ca_file, "redis-ca-file", NULL,
		 "With rediss://: the authorities that its certificate may come from, instead of the system's."),
	ROW_STRING(C, memcached_url, "memcached-url", "memcache://127.0.0.1:11211",
		   "Where memcached is: memcache://HOST[:PORT] or unix:///PATH."),
	ROW_STRING(C, memcached_prefix, "memcached-prefix", "sentinel:ratelimit:", "What its keys begin with.",
		   .max = PREFIX_MAX),
	ROW_UINT(C, memcached_pool, "memcached-pool-size", 1, 100, "10", "As `redis-pool-size`."),
	ROW_DURATION(C, memcached_timeout_ms, "memcached-timeout-ms", SCHEMA_MILLIS, 1, 60000, "50",
		     "As `redis-timeout-ms`."),
	ROW_ENUM(C, memcached_fallback, "memcached-fallback", fallback_words, "local", "As `redis-fallback`."),
	ROW_DURATION(C, memcached_ttl_ms, "memcached-ttl", SCHEMA_SECONDS, 1000, SCHEMA_DAY, "2",
		     "How long an unused count stays at least; never less than it takes to be full."),
	ROW_END,
};

const struct schema_block rate_limit_block =
	SCHEMA_BLOCK(C, "rate-limit", rate_limit_rows, NULL,
		     "How many requests each client, or another key, may make.");

static const struct schema_row rate_limits_rows[] = {
	ROW_RATE(struct config_rate_limits, default_rate, "default-rps", NULL,
		 "`max-rps` of limits that do not say; this alone limits nobody."),
	ROW_UINT(struct config_rate_limits, default_burst, "default-burst", 1, 1000000, NULL,
		 "`burst` of limits that do not say."),
	ROW_STRINGS(struct config_rate_limits, default_key, "key", NULL, "`key` of limits that do not say."),
	ROW_OPTIONAL(struct config_rate_limits, global, "global", &rate_limit_block,
		     "A limit in front of all routes together, before their own.  Needs `max-rps`."),
	ROW_LATER("scopes"),
	ROW_END,
};

const struct schema_block rate_limits_block =
	SCHEMA_BLOCK(struct config_rate_limits, "rate-limits", rate_limits_rows, NULL,
		     "Limits of requests for all routes, and defaults of others.");

/* ---- keys ---- */

static const struct schema_word key_words[] = {
	{ "client-ip", RATE_KEY_CLIENT_IP, .aliases = "ip" },
	{ "path", RATE_KEY_PATH },
	{ "route", RATE_KEY_ROUTE },
	{ "client-ip-and-path", RATE_KEY_CLIENT_IP_AND_PATH },
	{ "header", RATE_KEY_HEADER },
	{ "cookie", RATE_KEY_COOKIE },
	{ "query", RATE_KEY_QUERY },
	{ NULL },
};

static const char *const key_names[] = { "client-ip", "path", "route", "client-ip-and-path", "header:NAME",
					 "cookie:NAME", "query:NAME", "composite" };

static bool key_has_name(enum rate_key kind)
{
	return kind == RATE_KEY_HEADER || kind == RATE_KEY_COOKIE || kind == RATE_KEY_QUERY;
}

static void part_add(struct schema *s, C *c, struct schema_pos pos, struct rate_key_part part)
{
	for (unsigned i = 0; i < c->part_count; i++)
		if (c->parts[i].kind == part.kind && span_eq(c->parts[i].name, part.name)) {
			diag_error(s->diag, pos, "this part is in the key already");
			return;
		}
	if (c->part_count == RATE_KEY_PARTS_MAX)
		diag_error(s->diag, pos, "a key has at most %d parts", RATE_KEY_PARTS_MAX);
	else
		c->parts[c->part_count++] = part;
}

/* name: of "header" "NAME"; else the text has it behind a colon. */
static void part_read(struct schema *s, C *c, const struct schema_string *item, const struct schema_string *name)
{
	struct span text = span_of(item->text, item->len);
	size_t colon = span_find(text, ':');
	const struct schema_word *word = schema_word_find(key_words, span_of(text.ptr, colon));
	struct rate_key_part part = { .name = name ? span_of(name->text, name->len) : span_skip(text, colon + 1) };

	if (!word) {
		diag_suggest(s->diag, diag_error(s->diag, item->pos, "\"%s\" is not a key", item->text), text,
			     key_names, ARRAY_LEN(key_names));
		return;
	}
	part.kind = (enum rate_key)word->value;
	if (key_has_name(part.kind) && part.name.len == 0)
		diag_hint(s->diag, diag_error(s->diag, item->pos, "\"%s\" needs a name", word->name),
			  "write \"%s:NAME\"", word->name);
	else if (!key_has_name(part.kind) && colon < text.len)
		diag_error(s->diag, item->pos, "\"%s\" takes no name", word->name);
	else if (part.kind == RATE_KEY_HEADER && !header_name_is_valid(part.name))
		diag_error(s->diag, name ? name->pos : item->pos, "this is not the name of a header field");
	else if (part.kind == RATE_KEY_CLIENT_IP_AND_PATH) {
		part_add(s, c, item->pos, (struct rate_key_part){ .kind = RATE_KEY_CLIENT_IP });
		part_add(s, c, item->pos, (struct rate_key_part){ .kind = RATE_KEY_PATH });
	} else {
		part_add(s, c, item->pos, part);
	}
}

/* "header" "X-Key" is header:X-Key. */
static bool key_is_two_words(const struct schema_strings *key)
{
	const struct schema_word *word;

	if (key->count != 2)
		return false;
	word = schema_word_find(key_words, span_str(key->items[0].text));
	return word && key_has_name((enum rate_key)word->value);
}

static void key_read(struct schema *s, C *c)
{
	const struct schema_strings *key = &c->key;
	size_t from = 0;

	c->parts = arena_array(s->arena, RATE_KEY_PARTS_MAX, sizeof(*c->parts));
	c->part_count = 0;
	if (key->count && span_eq_nocase(span_str(key->items[0].text), SPAN("composite"))) {
		from = 1;
		if (key->count == 1)
			diag_error(s->diag, key->items[0].pos, "a composite key needs parts");
	} else if (key_is_two_words(key)) {
		part_read(s, c, &key->items[0], &key->items[1]);
		return;
	} else if (key->count > 1) {
		diag_hint(s->diag, diag_error(s->diag, key->items[1].pos, "one key only"),
			  "write `key \"composite\" \"%s\" \"%s\"`", key->items[0].text, key->items[1].text);
		return;
	}
	for (size_t i = from; i < key->count; i++)
		part_read(s, c, &key->items[i], NULL);
}

static const char *key_text(const struct schema_strings *key, struct arena *a)
{
	const char *text = NULL;

	for (size_t i = 0; i < key->count; i++)
		text = text ? arena_printf(a, "%s %s", text, key->items[i].text) : key->items[i].text;
	return text ? text : "client-ip";
}

/* ---- one limit, all limits ---- */

static void limit_finish(struct arena *a, C *c)
{
	c->limit_text = span_str(arena_printf(a, "%u", c->burst));
	c->key_text = key_text(&c->key, a);
}

static void url_check(struct schema *s, struct config_store *store, enum store_kind kind, const char *url,
		      struct schema_pos pos)
{
	const char *why;

	if (!store_url_parse(&store->url, kind, span_str(url), &why))
		diag_hint(s->diag, diag_error(s->diag, pos, "this is not the address of a store"), "%s", why);
	else if (!endpoint_name_is_valid(store->url.endpoint))
		diag_error(s->diag, pos, "this is neither the name nor the address of a host");
}

static void prefix_check(struct schema *s, const char *prefix, struct schema_pos pos)
{
	for (const char *p = prefix; *p; p++)
		if (*p <= ' ' || *p == 0x7f) {
			diag_error(s->diag, pos, "a key of memcached has neither spaces nor control characters");
			return;
		}
}

/* Stores count in microseconds. */
static void interval_check(struct schema *s, const C *c, struct config_store *store)
{
	uint64_t tokens = c->gcra.interval_ns ? c->gcra.tolerance_ns / c->gcra.interval_ns : 0;

	store->interval_us = (c->gcra.interval_ns + 999) / 1000;
	store->tolerance_us = tokens * store->interval_us;
	store->delay_max_us = c->action == RATE_DELAY ? c->max_delay_ms * 1000 : 0;
	if (c->gcra.interval_ns && store->interval_us * 1000 - c->gcra.interval_ns > c->gcra.interval_ns / 100)
		diag_warning(s->diag, SCHEMA_POS(c, rate), "shared limits count in microseconds: this is %llu a second",
			     1000000ull / store->interval_us);
}

static void store_check(struct schema *s, C *c)
{
	struct config_store *store;

	if (SCHEMA_HAS(c, redis_url) && c->backend != RATE_BACKEND_REDIS)
		diag_warning(s->diag, SCHEMA_POS(c, redis_url), "nobody is asked: `backend` is not \"redis\"");
	if (SCHEMA_HAS(c, memcached_url) && c->backend != RATE_BACKEND_MEMCACHED)
		diag_warning(s->diag, SCHEMA_POS(c, memcached_url), "nobody is asked: `backend` is not \"memcached\"");
	if (c->backend == RATE_BACKEND_LOCAL)
		return;
	store = arena_zalloc(s->arena, sizeof(*store));
	if (c->backend == RATE_BACKEND_REDIS) {
		*store = (struct config_store){ .prefix = c->redis_prefix,
						.ca_file = c->redis_ca_file,
						.pool_max = c->redis_pool,
						.timeout_ms = c->redis_timeout_ms,
						.fallback = c->redis_fallback };
		url_check(s, store, STORE_REDIS, c->redis_url, SCHEMA_POS(c, redis_url));
		if (c->redis_ca_file && !store->url.is_tls)
			diag_warning(s->diag, SCHEMA_POS(c, redis_ca_file), "there is no TLS: write rediss://");
	} else {
		*store = (struct config_store){ .prefix = c->memcached_prefix,
						.pool_max = c->memcached_pool,
						.timeout_ms = c->memcached_timeout_ms,
						.ttl_secs = (c->memcached_ttl_ms + 999) / 1000,
						.fallback = c->memcached_fallback };
		url_check(s, store, STORE_MEMCACHED, c->memcached_url, SCHEMA_POS(c, memcached_url));
		prefix_check(s, c->memcached_prefix, SCHEMA_POS(c, memcached_prefix));
	}
	interval_check(s, c, store);
	c->store = store;
}

static void limit_check(struct schema *s, const struct config_rate_limits *all, C *c)
{
	if (!SCHEMA_HAS(c, rate) && SCHEMA_HAS_VALID(all, default_rate))
		c->rate = all->default_rate;
	if (!SCHEMA_HAS(c, burst) && SCHEMA_HAS_VALID(all, default_burst))
		c->burst = all->default_burst;
	if (!SCHEMA_HAS(c, key) && SCHEMA_HAS_VALID(all, default_key))
		c->key = all->default_key;
	key_read(s, c);
	limit_finish(s->arena, c);
	if (c->rate.count == 0)
		diag_hint(s->diag, diag_error(s->diag, SCHEMA_POS(c, rate), "a rate of 0 would refuse everybody"),
			  "a `builtin-handler \"not-found\"` says no too");
	else if (!gcra_set(&c->gcra, c->rate.count, c->rate.period_ms, c->burst))
		diag_error(s->diag, SCHEMA_POS(c, rate), "a burst of %u would take more than a year to come back",
			   c->burst);
	if (SCHEMA_HAS(c, max_delay_ms) && c->action != RATE_DELAY)
		diag_warning(s->diag, SCHEMA_POS(c, max_delay_ms), "nobody waits: `on-limit` is not \"delay\"");
	store_check(s, c);
}

void rate_limits_check(struct schema *s, struct config *c)
{
	const struct config_rate_limits *all = &c->rate_limits;

	for (size_t i = 0; i < c->filter_count; i++) {
		struct schema_variant *v = &c->filters[i];

		if (v->config && v->block && strcmp(v->block->name, "rate-limit") == 0)
			limit_check(s, all, v->config);
	}
	for (size_t i = 0; i < c->route_count; i++)
		if (c->routes[i].policies.rate_limit)
			limit_check(s, all, c->routes[i].policies.rate_limit);
	if (!all->global)
		return;
	if (!SCHEMA_HAS(all->global, rate))
		diag_error(s->diag, all->global->meta.pos, "`global` needs `max-rps`");
	all->global->spans_routes = true;
	limit_check(s, all, all->global);
}

struct config_rate_limit *rate_limit_simple(struct arena *a, struct diag *d, struct schema_pos pos, uint64_t rps,
					    enum rate_key key)
{
	C *c = arena_zalloc(a, sizeof(*c));
	struct schema s;

	schema_init(&s, a, d, NULL);
	CHECK(schema_defaults(&s, &rate_limit_block, c) == 0);
	schema_fini(&s);
	c->meta.pos = pos;
	c->rate = (struct value_rate){ rps, 1000 };
	c->burst = (uint32_t)(10 * rps);
	c->parts = arena_array(a, 1, sizeof(*c->parts));
	c->parts[0].kind = key;
	c->part_count = key == RATE_KEY_NONE ? 0 : 1;
	c->spans_routes = key != RATE_KEY_ROUTE;
	CHECK(gcra_set(&c->gcra, rps, 1000, c->burst));
	limit_finish(a, c);
	c->key_text = key == RATE_KEY_NONE ? "everybody" : key_names[key];
	return c;
}
