/* SPDX-License-Identifier: GPL-2.0-only */
/* admin_limits.c - finds a limit by its identity, the bucket by its key, and says how full it is. */
#include "app/admin_limits.h"

#include "base/check.h"
#include "base/clock.h"

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_read(struct span text, struct strbuf *out)
{
	if (text.len % 2)
		return false;
	for (size_t i = 0; i < text.len; i += 2) {
		int high = digit_of(text.ptr[i]), low = digit_of(text.ptr[i + 1]);

		if (high < 0 || low < 0)
			return false;
		strbuf_add_char(out, (char)(high << 4 | low));
	}
	return true;
}

/* Parts, each behind its length. */
static bool key_read(struct span parts, struct limit_key *k)
{
	uint32_t size;

	while (parts.len > 0) {
		if (parts.len < sizeof(size))
			return false;
		memcpy(&size, parts.ptr, sizeof(size));
		parts = span_skip(parts, sizeof(size));
		if (size > parts.len)
			return false;
		limit_key_add(k, parts.ptr, size);
		parts = span_skip(parts, size);
	}
	return true;
}

static void level_text(const struct limit *l, const struct limit_decision *d, struct strbuf *out)
{
	strbuf_printf(out, "%llu of %llu left", (unsigned long long)d->remaining,
		      (unsigned long long)(l->gcra.tolerance_ns / l->gcra.interval_ns + 1));
	if (d->wait_ns)
		strbuf_printf(out, ", the next one in %.3f s", (double)d->wait_ns / 1e9);
	if (d->full_ns)
		strbuf_printf(out, ", full again in %.3f s", (double)d->full_ns / 1e9);
	strbuf_add_char(out, '\n');
}

bool admin_limit(struct control *c, const struct admin_request *r, struct strbuf *out)
{
	struct strbuf identity = { 0 }, key = { 0 };
	struct limit_decision d;
	struct limit_key k;
	struct limit *l = NULL;
	bool is_key = false;

	strbuf_init(&identity);
	strbuf_init(&key);
	if (hex_read(r->limit_identity, &identity) && hex_read(r->limit_key, &key)) {
		l = limit_find(&c->registry.limits, strbuf_span(&identity));
		k = l ? limit_key_begin(l) : (struct limit_key){ { 0 } };
		is_key = key_read(strbuf_span(&key), &k);
	}
	if (l && is_key) {
		limit_peek(l, k, clock_mono_ns(), &d);
		level_text(l, &d, out);
	} else {
		strbuf_add_str(out, is_key ? "the daemon has no such limit\n" : "this is not a key\n");
	}
	strbuf_fini(&identity);
	strbuf_fini(&key);
	return l && is_key;
}
