/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * headers.h - header fields of one message: known names as tokens.
 * Bytes are borrowed from the head's storage until changed.
 * Order of arrival is kept.  All memory is in the message's arena; nothing is freed one by one.
 */
#ifndef SN_HTTP_HEADERS_H
#define SN_HTTP_HEADERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"
#include "http/scan.h"

/* tokens.def: TOKEN(HOST, "host") … lower case, sorted by nothing; TOKEN_OTHER is 0. */
enum header_token {
	TOKEN_OTHER = 0,
#define TOKEN(ID, name) TOKEN_##ID,
#include "http/tokens.def"
#undef TOKEN
	TOKEN_COUNT,
};

/* Which tokens. */
struct token_set {
	uint64_t bits[2];
};

static inline void token_set_add(struct token_set *set, enum header_token t)
{
	set->bits[t / 64] |= 1ULL << t % 64;
}

static inline bool token_set_has(const struct token_set *set, enum header_token t)
{
	return set->bits[t / 64] >> t % 64 & 1;
}

static inline bool token_sets_meet(const struct token_set *a, const struct token_set *b)
{
	return (a->bits[0] & b->bits[0]) | (a->bits[1] & b->bits[1]);
}

struct header {
	enum header_token token;
	bool is_secret;	   /* came never indexed (RFC 7541 7.1.3), and leaves so */
	bool is_made_here; /* value: by us, of nothing but visible ASCII, so that nobody needs to look at it again */
	struct span name;  /* as it came */
	struct span value; /* without surrounding white space */
};

struct headers {
	struct header *items; /* in arena */
	uint32_t count, cap;
	struct arena *arena; /* borrowed; where changes live */
	struct token_set seen; /* of all fields there ever were: what is not in here needs no search */
};

void headers_init(struct headers *h, struct arena *a);
/* Room for `cap` fields without moving them. */
void headers_reserve(struct headers *h, uint32_t cap);
/* Behind the last field: an empty list may have no address to count from. */
static inline struct header *headers_end(const struct headers *h)
{
	return h->count ? h->items + h->count : h->items;
}

enum header_token header_token_of(struct span name); /* case-insensitive; TOKEN_OTHER if unknown */
struct span header_token_name(enum header_token t);  /* lower case, static */

/* First field with the name, or NULL. */
struct header *headers_search(const struct headers *h, enum header_token t);
static inline struct header *headers_find(const struct headers *h, enum header_token t)
{
	return token_set_has(&h->seen, t) ? headers_search(h, t) : NULL;
}

struct header *headers_find_name(const struct headers *h, struct span name);
/* Next one with the same name after `prev`. */
struct header *headers_next(const struct headers *h, const struct header *prev);
/* Value of the first, or an empty span with ptr NULL. */
static inline struct span headers_value(const struct headers *h, enum header_token t)
{
	const struct header *f = headers_find(h, t);

	return f ? f->value : span_of(NULL, 0);
}


/* Spans are borrowed: they must live as long as the arena (use arena_span() for others). */
void headers_add(struct headers *h, enum header_token t, struct span value); /* canonical name */
void headers_add_name(struct headers *h, struct span name, struct span value);
/* t: what header_token_of() says of the name. */
void headers_add_as(struct headers *h, enum header_token t, struct span name, struct span value);
/* Several at once, with these tokens: the caller fills them in, all of each. */
struct header *headers_append(struct headers *h, uint32_t count, const struct token_set *tokens);
void headers_set(struct headers *h, enum header_token t, struct span value); /* replaces all of them by one */
void headers_set_name(struct headers *h, struct span name, struct span value);
unsigned headers_take_out(struct headers *h, enum header_token t);
/* How many there were. */
static inline unsigned headers_remove(struct headers *h, enum header_token t)
{
	return token_set_has(&h->seen, t) ? headers_take_out(h, t) : 0;
}

unsigned headers_remove_name(struct headers *h, struct span name);
/* Names too that a gateway may confuse with it (RFC 3875 4.1.18): any case, and any other sign in the place of '-'. */
unsigned headers_remove_alike(struct headers *h, struct span name);
unsigned headers_rename(struct headers *h, struct span from, struct span to);
/*
 * Remove hop-by-hop fields and those that Connection names (RFC 9110 7.6.1).  A TE that lists trailers stays, reduced
 * to "trailers".  Fields that every recipient needs (Host, Content-Length, Authorization, Cookie ...) stay even when
 * Connection names them: a sender must not, and obeying would let a client strip them.  Upgrade goes too: what is to
 * be upgraded is in message.upgrade.
 */
void headers_remove_hop_by_hop(struct headers *h);
/* Of that only what Connection names, and itself: before fields are added that nobody may have removed so. */
void headers_remove_connection(struct headers *h);
/* A comma list in all fields of the name contains the member (case-insensitive). */
bool headers_list_has(const struct headers *h, enum header_token t, struct span member);
/* RFC 9110 5.6.2 token; field-value without CTL but HTAB. */
bool header_name_is_valid(struct span name);
static inline bool header_value_is_valid(struct span value)
{
	return scan_is_clean((const uint8_t *)value.ptr, value.len);
}

#endif
