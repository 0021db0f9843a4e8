/* SPDX-License-Identifier: GPL-2.0-only */
/* store.c - stores by their text. */
#include "clients/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "net/tls_context.h"

const char *store_failure_name(enum store_failure f)
{
	static const char *const names[STORE_FAILURE_COUNT] = {
		[STORE_ANSWERED] = "none",	[STORE_TIMEOUT] = "timeout", [STORE_CONNECT] = "connect",
		[STORE_TLS] = "tls",		[STORE_CLOSED] = "closed",   [STORE_GARBAGE] = "garbage",
		[STORE_REFUSED] = "refused",	[STORE_BUSY] = "busy",	     [STORE_DOWN] = "down",
	};

	return names[f];
}

static char *label_new(const struct store_url *u)
{
	const char *scheme = u->kind == STORE_MEMCACHED ? "memcache" : u->is_tls ? "rediss" : "redis";
	struct strbuf b = { 0 };

	if (u->host[0])
		strbuf_printf(&b, "%s://%s", scheme, u->endpoint);
	else
		strbuf_printf(&b, "%s+%s", scheme, u->endpoint);
	if (u->database)
		strbuf_printf(&b, "/%u", u->database);
	return strbuf_detach(&b);
}

struct store *store_find(struct stores *ss, const char *identity)
{
	struct store *s = hmap_get(&ss->by_identity, span_str(identity));

	if (s)
		atomic_fetch_add(&s->names, 1);
	return s;
}

struct store *store_new(struct stores *ss, const char *identity, const struct store_settings *settings)
{
	struct store *s = mem_zalloc(sizeof(*s));

	s->tag = TAG_STORE;
	s->identity = mem_strdup(identity);
	s->settings = *settings;
	s->label = label_new(&settings->url);
	s->names = 1;
	pthread_mutex_init(&s->lock, NULL);
	CHECK(!hmap_set(&ss->by_identity, span_str(s->identity), s));
	return s;
}

void store_put(struct store *s)
{
	if (!s)
		return;
	OBJ_CHECK(s, TAG_STORE);
	CHECK(atomic_fetch_sub(&s->names, 1) > 0);
}

static void store_free(struct store *s)
{
	CHECK(atomic_load(&s->holds) == 0);
	if (s->settings.release)
		s->settings.release(s->settings.ctx);
	tls_client_put(s->settings.tls);
	pthread_mutex_destroy(&s->lock);
	s->tag = 0;
	free(s->identity);
	free(s->label);
	free(s);
}

/* Removing moves others about in the map: begin anew after each. */
static bool sweep_one(struct stores *ss)
{
	struct span key;
	void *value;
	size_t pos = 0;

	while (hmap_next(&ss->by_identity, &pos, &key, &value)) {
		struct store *s = value;

		if (atomic_load(&s->names) > 0 || atomic_load(&s->holds) > 0)
			continue;
		hmap_remove(&ss->by_identity, key);
		store_free(s);
		return true;
	}
	return false;
}

void stores_sweep(struct stores *ss)
{
	while (sweep_one(ss))
		;
}

void stores_fini(struct stores *ss)
{
	stores_sweep(ss);
	CHECK(ss->by_identity.count == 0);
	hmap_fini(&ss->by_identity);
}

void stores_each(const struct stores *ss, void (*fn)(void *ctx, struct store *s), void *ctx)
{
	struct span key;
	void *value;
	size_t pos = 0;

	while (hmap_next(&ss->by_identity, &pos, &key, &value))
		fn(ctx, value);
}

void store_set_why(struct store *s, const char *text)
{
	pthread_mutex_lock(&s->lock);
	(void)snprintf(s->why, sizeof(s->why), "%s", text);
	pthread_mutex_unlock(&s->lock);
}

void store_why(struct store *s, char out[STORE_WHY_MAX])
{
	pthread_mutex_lock(&s->lock);
	memcpy(out, s->why, STORE_WHY_MAX);
	pthread_mutex_unlock(&s->lock);
}
