/* SPDX-License-Identifier: GPL-2.0-only */
/* store_status.c - what is known of stores, in the order of the registry. */
#include "app/store_status.h"

static void line(void *ctx, struct store *s)
{
	struct strbuf *out = ctx;
	uint32_t down = atomic_load(&s->workers_down), holds = atomic_load(&s->holds);
	char why[STORE_WHY_MAX];

	if (atomic_load(&s->names) == 0)
		return;
	store_why(s, why);
	strbuf_printf(out, "store         %s  ", s->label);
	if (down)
		strbuf_printf(out, "not asked by %u of %u workers: %s\n", down, holds, why);
	else
		strbuf_printf(out, "%s\n", holds ? "up" : "not used yet");
}

void store_status_text(const struct stores *ss, struct strbuf *out)
{
	stores_each(ss, line, out);
}

static void object(void *ctx, struct store *s)
{
	struct json *j = ctx;
	uint32_t down = atomic_load(&s->workers_down), holds = atomic_load(&s->holds);
	char why[STORE_WHY_MAX];

	if (atomic_load(&s->names) == 0)
		return;
	store_why(s, why);
	json_object(j, NULL);
	json_str(j, "address", s->label);
	json_str(j, "state", down ? "down" : holds ? "up" : "unused");
	json_u64(j, "workers", holds);
	json_u64(j, "workers_down", down);
	json_str(j, "last_failure", why[0] ? why : NULL);
	json_end(j, '}');
}

void store_status_json(const struct stores *ss, struct json *j)
{
	json_array(j, "stores");
	stores_each(ss, object, j);
	json_end(j, ']');
}
