/* SPDX-License-Identifier: GPL-2.0-only */
/* rate_key.c - the parts of a limit's key. */
#include "base/check.h"
#include "features/rate_limit.h"
#include "http/uri.h"
#include "net/addr.h"

/* Either a keyed hash, or the parts themselves, each behind its length, or a hash of these. */
struct sink {
	struct limit_key *key;
	struct strbuf *text;
	struct sha1 *hash;
};

static void sink_add(struct sink *k, const void *part, size_t len)
{
	const uint32_t size = (uint32_t)len;

	if (k->key) {
		limit_key_add(k->key, part, len);
		return;
	}
	if (k->hash) {
		sha1_add(k->hash, &size, sizeof(size));
		sha1_add(k->hash, part, len);
		return;
	}
	strbuf_add(k->text, &size, sizeof(size));
	strbuf_add(k->text, part, len);
}

/* No value of a request has a NUL. */
static const char absent[] = "\0absent";

static void value_add(struct sink *k, struct span value)
{
	if (value.ptr)
		sink_add(k, value.ptr, value.len);
	else
		sink_add(k, absent, sizeof(absent));
}

/* IPv6: the network.  Whatever comes over a Unix socket is one client. */
static void client_add(struct sink *k, const struct exchange *x, unsigned ipv6_prefix)
{
	const struct addr *client = &x->client_addr;
	uint8_t ip[16] = { 0 };

	if (likely(client->sa.sa_family == AF_INET)) {
		sink_add(k, &client->in.sin_addr, sizeof(client->in.sin_addr));
		return;
	}
	if (addr_to_ip16(client, ip) && ip16_is_v4(ip)) {
		sink_add(k, ip + 12, 4);
		return;
	}
	for (unsigned bit = ipv6_prefix; bit < 128; bit = (bit & ~7u) + 8)
		ip[bit / 8] &= (uint8_t)(0xff00 >> (bit & 7));
	sink_add(k, ip, sizeof(ip));
}

/* All fields of the name: a second one is another value. */
static void header_add(struct sink *k, const struct exchange *x, struct span name)
{
	const struct header *f = headers_find_name(&x->request->headers, name);

	value_add(k, f ? f->value : (struct span){ 0 });
	while (f && (f = headers_next(&x->request->headers, f)))
		value_add(k, f->value);
}

static struct span cookie_of(const struct exchange *x, struct span name)
{
	for (const struct header *f = headers_find(&x->request->headers, TOKEN_COOKIE); f;
	     f = headers_next(&x->request->headers, f)) {
		struct span rest = f->value, pair;

		while (span_next(&rest, ';', &pair))
			if (pair.len > name.len && pair.ptr[name.len] == '=' && span_starts(pair, name))
				return span_skip(pair, name.len + 1);
	}
	return (struct span){ 0 };
}

static struct span query_of(const struct exchange *x, struct span wanted)
{
	struct span rest = x->query, name, value;

	while (rest.ptr && uri_query_next(&rest, &name, &value))
		if (span_eq(uri_decode(name, x->arena, true), wanted))
			return value.ptr ? uri_decode(value, x->arena, true) : SPAN("");
	return (struct span){ 0 };
}

static void part_add(struct sink *k, struct exchange *x, const struct config_rate_limit *c,
		     const struct rate_key_part *part)
{
	switch (part->kind) {
	case RATE_KEY_CLIENT_IP:
		client_add(k, x, c->ipv6_prefix);
		break;
	case RATE_KEY_PATH:
		value_add(k, x->path);
		break;
	case RATE_KEY_ROUTE:
		value_add(k, span_str(x->route_id));
		break;
	case RATE_KEY_HEADER:
		header_add(k, x, part->name);
		break;
	case RATE_KEY_COOKIE:
		value_add(k, cookie_of(x, part->name));
		break;
	case RATE_KEY_QUERY:
		value_add(k, query_of(x, part->name));
		break;
	default:
		CHECK(!"a kind of key that is only written");
	}
}

static void parts_add(struct sink *k, struct exchange *x, const struct config_rate_limit *c)
{
	if (c->part_count == 0)
		sink_add(k, "", 0);
	for (unsigned i = 0; i < c->part_count; i++)
		part_add(k, x, c, &c->parts[i]);
}

void rate_key_add(struct limit_key *k, struct exchange *x, const struct config_rate_limit *c)
{
	struct sink sink = { .key = k };

	if (likely(c->part_count == 1 && c->parts[0].kind == RATE_KEY_CLIENT_IP))
		client_add(&sink, x, c->ipv6_prefix);
	else
		parts_add(&sink, x, c);
}

void rate_key_text(struct strbuf *b, struct exchange *x, const struct config_rate_limit *c)
{
	struct sink sink = { .text = b };

	parts_add(&sink, x, c);
}

void rate_key_hash(struct sha1 *s, struct exchange *x, const struct config_rate_limit *c)
{
	struct sink sink = { .hash = s };

	parts_add(&sink, x, c);
}

bool rate_key_others(struct limit_key *k, struct exchange *x, const struct config_rate_limit *c)
{
	struct sink sink = { .key = k };
	bool has_any = false;

	for (unsigned i = 0; i < c->part_count; i++) {
		if (c->parts[i].kind == RATE_KEY_CLIENT_IP || c->parts[i].kind == RATE_KEY_ROUTE)
			continue;
		part_add(&sink, x, c, &c->parts[i]);
		has_any = true;
	}
	return has_any;
}
