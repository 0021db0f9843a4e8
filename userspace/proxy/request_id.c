/* SPDX-License-Identifier: GPL-2.0-only */
/* request_id.c - takes a client's id, or makes one. */
#include "proxy/request_id.h"

#include <time.h>

#include "base/rand.h"

#define BASE58_CUBE (58 * 58 * 58)

static const char base58[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

static void base58_write(uint64_t value, char *out, unsigned digits)
{
	while (digits > 0) {
		out[--digits] = base58[value % 58];
		value /= 58;
	}
}

static struct span tinyflake_new(struct arena *a)
{
	char *id = arena_alloc(a, REQUEST_ID_TINYFLAKE_LEN);

	base58_write((uint64_t)time(NULL) % BASE58_CUBE, id, 3);
	base58_write(rand_u64() >> 16, id + 3, 8);
	return span_of(id, REQUEST_ID_TINYFLAKE_LEN);
}

static struct span uuid_new(struct arena *a)
{
	static const char hex[] = "0123456789abcdef";
	char *id = arena_alloc(a, REQUEST_ID_UUID_LEN);
	uint64_t bits = rand_u64();

	for (unsigned i = 0; i < REQUEST_ID_UUID_LEN; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			id[i] = '-';
			continue;
		}
		if (i == 19)
			bits = rand_u64();
		id[i] = hex[bits & 15];
		bits >>= 4;
	}
	id[14] = '4';			    /* version */
	id[19] = hex[8 | (rand_u64() & 3)]; /* variant */
	return span_of(id, REQUEST_ID_UUID_LEN);
}

struct span request_id_new(enum trace_id_format format, struct arena *a)
{
	return format == TRACE_ID_UUID ? uuid_new(a) : tinyflake_new(a);
}

bool request_id_is_valid(struct span id)
{
	static const bool is_allowed[256] = {
		['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['.'] = true,
		['_'] = true,	      [':'] = true,	    ['-'] = true,
	};

	if (!id.len || id.len > REQUEST_ID_MAX)
		return false;
	for (size_t i = 0; i < id.len; i++)
		if (!is_allowed[(unsigned char)id.ptr[i]])
			return false;
	return true;
}

struct span request_id_of(const struct headers *h, enum trace_id_format format, struct arena *a)
{
	struct span ids[3] = { { 0 } };

	/* One walk: nearly no request has any of them. */
	for (uint32_t i = 0; i < h->count; i++) {
		const struct header *f = &h->items[i];
		unsigned place;

		if (f->token == TOKEN_X_TRACE_ID)
			place = 0;
		else if (f->token == TOKEN_X_CORRELATION_ID)
			place = 1;
		else if (f->token == TOKEN_X_REQUEST_ID)
			place = 2;
		else
			continue;
		if (!ids[place].len && request_id_is_valid(f->value))
			ids[place] = f->value;
	}
	for (unsigned place = 0; place < 3; place++)
		if (ids[place].len)
			return ids[place];
	return request_id_new(format, a);
}
