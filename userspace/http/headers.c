/* SPDX-License-Identifier: GPL-2.0-only */
/* headers.c - header fields of one message, and the table of known names. */
#include "http/headers.h"

#include "base/check.h"

#define HEADERS_CAP_MIN 16
#define TOKEN_SLOTS	256 /* a power of two, well above TOKEN_COUNT: chains stay short */

static const struct span token_names[TOKEN_COUNT] = {
	[TOKEN_OTHER] = { "", 0 },
#define TOKEN(ID, name) [TOKEN_##ID] = { name, sizeof(name) - 1 },
#include "http/tokens.def"
#undef TOKEN
};

/* Open addressing over token_hash(); 0 is a free slot.  Filled before main, read-only afterwards. */
static uint8_t token_slots[TOKEN_SLOTS];

_Static_assert(TOKEN_COUNT * 2 < TOKEN_SLOTS, "TOKEN_SLOTS must grow");
_Static_assert(TOKEN_COUNT <= 8 * sizeof(struct token_set), "struct token_set must grow");

/* First, middle and last byte, case folded: what differs most between header names.  One of all has to step on. */
static inline unsigned token_hash(struct span name)
{
	unsigned first = (uint8_t)name.ptr[0] | 0x20, last = (uint8_t)name.ptr[name.len - 1] | 0x20;
	unsigned middle = (uint8_t)name.ptr[name.len / 2] | 0x20;

	return (first * 205 + middle * 65 + last * 223 + (unsigned)name.len * 99) & (TOKEN_SLOTS - 1);
}

__attribute__((constructor)) static void token_slots_fill(void)
{
	for (unsigned t = TOKEN_OTHER + 1; t < TOKEN_COUNT; t++) {
		unsigned slot = token_hash(token_names[t]);

		while (token_slots[slot])
			slot = (slot + 1) & (TOKEN_SLOTS - 1);
		token_slots[slot] = (uint8_t)t;
	}
}

/*
 * Eight bytes of `name` against eight bytes of a token: setting bit 5 folds the case of letters and leaves digits
 * and '-' as they are.  A control byte would fold onto those, so each byte of the name must have bit 5 or 6 set.
 */
static inline bool fold_eq8(const char *name, const char *token)
{
	uint64_t a, b;

	memcpy(&a, name, 8);
	memcpy(&b, token, 8);
	return (a | 0x2020202020202020) == b &&
	       ((a | a << 1) & 0x4040404040404040) == 0x4040404040404040;
}

static inline bool fold_eq4(const char *name, const char *token)
{
	uint32_t a, b;

	memcpy(&a, name, 4);
	memcpy(&b, token, 4);
	return (a | 0x20202020) == b && ((a | a << 1) & 0x40404040) == 0x40404040;
}

static inline bool fold_eq1(char name, char token)
{
	return (name | 0x20) == token && (name & 0x60);
}

static bool token_matches(struct span name, struct span token)
{
	size_t i = 0;

	if (name.len != token.len)
		return false;
	if (name.len < 4) {
		while (i < name.len && fold_eq1(name.ptr[i], token.ptr[i]))
			i++;
		return i == name.len;
	}
	/* The rest of either with bytes that were seen already. */
	if (name.len < 8)
		return fold_eq4(name.ptr, token.ptr) && fold_eq4(name.ptr + name.len - 4, token.ptr + name.len - 4);
	for (; i + 8 <= name.len; i += 8)
		if (!fold_eq8(name.ptr + i, token.ptr + i))
			return false;
	return fold_eq8(name.ptr + name.len - 8, token.ptr + name.len - 8);
}

enum header_token header_token_of(struct span name)
{
	unsigned slot, t;

	if (name.len == 0)
		return TOKEN_OTHER;
	for (slot = token_hash(name); (t = token_slots[slot]); slot = (slot + 1) & (TOKEN_SLOTS - 1))
		if (token_matches(name, token_names[t]))
			return t;
	return TOKEN_OTHER;
}

struct span header_token_name(enum header_token t)
{
	CHECK(t < TOKEN_COUNT);
	return token_names[t];
}

/* RFC 9110 5.6.2: tchar. */
static const uint8_t tchar[256] = {
	['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1,
	['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1,
	['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

bool header_name_is_valid(struct span name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!tchar[(uint8_t)name.ptr[i]])
			return false;
	return name.len > 0;
}

void headers_init(struct headers *h, struct arena *a)
{
	*h = (struct headers){ .arena = a };
}

void headers_reserve(struct headers *h, uint32_t cap)
{
	struct header *items;

	if (cap <= h->cap)
		return;
	CHECK(cap <= UINT32_MAX / 4);
	items = arena_alloc(h->arena, cap * sizeof(*items));
	if (h->count)
		memcpy(items, h->items, h->count * sizeof(*items));
	h->items = items;
	h->cap = cap;
}

static bool header_is(const struct header *f, enum header_token t, struct span name)
{
	return f->token == t && (t != TOKEN_OTHER || span_eq_nocase(f->name, name));
}

static struct header *header_from(const struct headers *h, uint32_t index, enum header_token t, struct span name)
{
	if (!token_set_has(&h->seen, t))
		return NULL;
	for (; index < h->count; index++)
		if (header_is(&h->items[index], t, name))
			return &h->items[index];
	return NULL;
}

struct header *headers_search(const struct headers *h, enum header_token t)
{
	CHECK(t != TOKEN_OTHER && t < TOKEN_COUNT);
	return header_from(h, 0, t, span_of(NULL, 0));
}

struct header *headers_find_name(const struct headers *h, struct span name)
{
	return header_from(h, 0, header_token_of(name), name);
}

struct header *headers_next(const struct headers *h, const struct header *prev)
{
	CHECK(prev >= h->items && prev < h->items + h->count);
	return header_from(h, (uint32_t)(prev - h->items) + 1, prev->token, prev->name);
}

void headers_add_as(struct headers *h, enum header_token t, struct span name, struct span value)
{
	if (h->count == h->cap)
		headers_reserve(h, h->cap ? h->cap * 2 : HEADERS_CAP_MIN);
	h->items[h->count++] = (struct header){ .token = t, .name = name, .value = value };
	token_set_add(&h->seen, t);
}

struct header *headers_append(struct headers *h, uint32_t count, const struct token_set *tokens)
{
	if (h->cap - h->count < count)
		headers_reserve(h, h->count + count + HEADERS_CAP_MIN);
	h->count += count;
	h->seen.bits[0] |= tokens->bits[0];
	h->seen.bits[1] |= tokens->bits[1];
	return h->items + h->count - count;
}

void headers_add(struct headers *h, enum header_token t, struct span value)
{
	CHECK(t != TOKEN_OTHER && t < TOKEN_COUNT);
	headers_add_as(h, t, token_names[t], value);
}

void headers_add_name(struct headers *h, struct span name, struct span value)
{
	headers_add_as(h, header_token_of(name), name, value);
}

/* Remove the matching fields from `index` on. */
static unsigned header_remove_from(struct headers *h, uint32_t index, enum header_token t, struct span name)
{
	struct header *first = header_from(h, index, t, name);
	uint32_t kept, count = h->count;

	if (!first)
		return 0;
	kept = (uint32_t)(first - h->items);
	for (index = kept + 1; index < count; index++)
		if (!header_is(&h->items[index], t, name))
			h->items[kept++] = h->items[index];
	h->count = kept;
	return count - kept;
}

/* The first one keeps its place. */
static void header_replace(struct headers *h, enum header_token t, struct span name, struct span value)
{
	struct header *first = header_from(h, 0, t, name);

	if (!first) {
		headers_add_as(h, t, name, value);
		return;
	}
	first->value = value;
	first->is_made_here = false;
	header_remove_from(h, (uint32_t)(first - h->items) + 1, t, name);
}

void headers_set(struct headers *h, enum header_token t, struct span value)
{
	CHECK(t != TOKEN_OTHER && t < TOKEN_COUNT);
	header_replace(h, t, token_names[t], value);
}

void headers_set_name(struct headers *h, struct span name, struct span value)
{
	header_replace(h, header_token_of(name), name, value);
}

unsigned headers_take_out(struct headers *h, enum header_token t)
{
	CHECK(t != TOKEN_OTHER && t < TOKEN_COUNT);
	return header_remove_from(h, 0, t, span_of(NULL, 0));
}

unsigned headers_remove_name(struct headers *h, struct span name)
{
	return header_remove_from(h, 0, header_token_of(name), name);
}

/* Letters in one case, every other sign as '-'. */
static char folded(char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
		return c;
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : '-';
}

static bool is_alike(struct span a, struct span b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (folded(a.ptr[i]) != folded(b.ptr[i]))
			return false;
	return true;
}

unsigned headers_remove_alike(struct headers *h, struct span name)
{
	uint32_t kept = 0, count = h->count;

	for (uint32_t i = 0; i < count; i++)
		if (!is_alike(h->items[i].name, name))
			h->items[kept++] = h->items[i];
	h->count = kept;
	return count - kept;
}

unsigned headers_rename(struct headers *h, struct span from, struct span to)
{
	enum header_token t = header_token_of(from), to_token = header_token_of(to);
	unsigned count = 0;

	for (uint32_t i = 0; i < h->count; i++) {
		if (!header_is(&h->items[i], t, from))
			continue;
		h->items[i].token = to_token;
		h->items[i].name = to;
		count++;
	}
	if (count)
		token_set_add(&h->seen, to_token);
	return count;
}

/*
 * Fields that every recipient needs: naming them in Connection is forbidden (RFC 9110 7.6.1), and obeying it would let
 * a client strip what routing, framing and the origin rely on.
 */
static bool token_is_end_to_end(enum header_token t)
{
	switch (t) {
	case TOKEN_HOST:
	case TOKEN_CONTENT_LENGTH:
	case TOKEN_CONTENT_TYPE:
	case TOKEN_CONTENT_ENCODING:
	case TOKEN_CACHE_CONTROL:
	case TOKEN_AUTHORIZATION:
	case TOKEN_COOKIE:
	case TOKEN_SET_COOKIE:
	case TOKEN_DATE:
	case TOKEN_VIA:
		return true;
	default:
		return false;
	}
}

static const enum header_token hop_by_hop_list[] = {
	TOKEN_CONNECTION,	   TOKEN_KEEP_ALIVE,	    TOKEN_PROXY_CONNECTION, TOKEN_PROXY_AUTHENTICATE,
	TOKEN_PROXY_AUTHORIZATION, TOKEN_TRANSFER_ENCODING, TOKEN_UPGRADE,	    TOKEN_HTTP2_SETTINGS,
	TOKEN_TE, /* has its own rule: see headers_remove_hop_by_hop() */
};

static struct token_set hop_by_hop; /* the same; filled before main */

__attribute__((constructor)) static void hop_by_hop_fill(void)
{
	for (size_t i = 0; i < ARRAY_LEN(hop_by_hop_list); i++)
		token_set_add(&hop_by_hop, hop_by_hop_list[i]);
}

void headers_remove_connection(struct headers *h)
{
	/* Removing moves items, so each Connection field leaves the list before its names are looked for. */
	for (;;) {
		struct header *f = headers_find(h, TOKEN_CONNECTION);
		struct span rest, name;

		if (!f)
			return;
		rest = f->value;
		memmove(f, f + 1, (size_t)(h->items + h->count - (f + 1)) * sizeof(*f));
		h->count--;
		while (span_next(&rest, ',', &name)) {
			enum header_token t = header_token_of(name);

			if (name.len && t != TOKEN_TE && t != TOKEN_CONNECTION && !token_is_end_to_end(t))
				header_remove_from(h, 0, t, name);
		}
	}
}

void headers_remove_hop_by_hop(struct headers *h)
{
	uint32_t kept = 0;
	bool takes_trailers, kept_te = false;

	if (!token_sets_meet(&h->seen, &hop_by_hop))
		return;
	takes_trailers = headers_list_has(h, TOKEN_TE, SPAN("trailers"));
	headers_remove_connection(h);
	for (uint32_t i = 0; i < h->count; i++) {
		struct header f = h->items[i];

		if (f.token == TOKEN_TE && takes_trailers && !kept_te) {
			kept_te = true;
			f.value = SPAN("trailers");
		} else if (token_set_has(&hop_by_hop, f.token)) {
			continue;
		}
		h->items[kept++] = f;
	}
	h->count = kept;
}

bool headers_list_has(const struct headers *h, enum header_token t, struct span member)
{
	for (struct header *f = headers_find(h, t); f; f = headers_next(h, f)) {
		struct span rest = f->value, item;

		while (span_next(&rest, ',', &item))
			if (span_eq_nocase(item, member))
				return true;
	}
	return false;
}
