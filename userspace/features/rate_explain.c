/* SPDX-License-Identifier: GPL-2.0-only */
/* rate_explain.c - limits for `sentinel explain`: what the file says, and the question for the level of a bucket. */
#include "base/hex.h"
#include "features/rate_limit.h"
#include "schema/value.h"

extern const struct filter filter_rate_limit;

void rate_limit_explain(const void *config, const struct addr *client, struct strbuf *out)
{
	static const char *const words[] = { "refused with", "delayed, then", "only logged" };
	const struct config_rate_limit *c = config;
	char text[VALUE_TEXT_MAX];

	(void)client;
	strbuf_printf(out, "%s, %u at once, by %s; more is %s", value_rate_text(text, c->rate), c->burst, c->key_text,
		      words[c->action]);
	if (c->action != RATE_LOG_ONLY)
		strbuf_printf(out, " %u", c->status);
}

static void hex_add(struct strbuf *out, struct span bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		char text[2];

		hex_write(bytes.ptr + i, 1, text);
		strbuf_add(out, text, sizeof(text));
	}
}

bool rate_limit_question(struct exchange *x, const struct filter_use *u, struct strbuf *out)
{
	struct strbuf key = { 0 };

	if (u->filter != &filter_rate_limit)
		return false;
	strbuf_init(&key);
	rate_key_text(&key, x, u->config);
	strbuf_add_str(out, "limit ");
	hex_add(out, span_str(((const struct rate_object *)u->object)->limit->identity));
	strbuf_add_char(out, ' ');
	hex_add(out, strbuf_span(&key));
	strbuf_fini(&key);
	return true;
}
