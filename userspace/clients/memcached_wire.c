/* SPDX-License-Identifier: GPL-2.0-only */
/* memcached_wire.c - lines of the meta protocol, and the numbers behind VA. */
#include "clients/memcached_wire.h"

#include <errno.h>

#include "base/check.h"

static const struct {
	const char *word;
	enum memcached_reply_kind kind;
} words[] = {
	{ "HD", MEMCACHED_DONE },    { "VA", MEMCACHED_VALUE },	   { "NF", MEMCACHED_MISSING },
	{ "EN", MEMCACHED_MISSING }, { "EX", MEMCACHED_EXISTS },   { "NS", MEMCACHED_EXISTS },
	{ "MN", MEMCACHED_PONG },    { "ERROR", MEMCACHED_ERROR }, { "CLIENT_ERROR", MEMCACHED_ERROR },
	{ "SERVER_ERROR", MEMCACHED_ERROR },
};

static void text_take(struct memcached_reply *out, struct span line)
{
	size_t len = MIN(line.len, (size_t)MEMCACHED_TEXT_MAX);

	for (size_t i = 0; i < len; i++)
		out->text[i] = line.ptr[i] >= ' ' && line.ptr[i] < 0x7f ? line.ptr[i] : '?';
	out->text[len] = '\0';
}

/* The word, for VA the size of the value, then flags.  *out_size: bytes behind the line, without its CR LF. */
static int line_parse(struct span line, struct memcached_reply *out, uint64_t *out_size)
{
	struct span rest = line, word;
	size_t i = 0;

	if (!span_next(&rest, ' ', &word))
		return -EPROTO;
	while (i < ARRAY_LEN(words) && !span_eq(word, span_str(words[i].word)))
		i++;
	if (i == ARRAY_LEN(words))
		return -EPROTO;
	*out = (struct memcached_reply){ .kind = words[i].kind };
	*out_size = 0;
	if (out->kind == MEMCACHED_ERROR) {
		text_take(out, line);
		return 0;
	}
	if (out->kind == MEMCACHED_VALUE &&
	    (!span_next(&rest, ' ', &word) || !span_to_u64(word, out_size) || *out_size > MEMCACHED_VALUE_MAX))
		return -EPROTO;
	while (span_next(&rest, ' ', &word))
		if (word.len > 1 && word.ptr[0] == 'c' && !span_to_u64(span_skip(word, 1), &out->cas))
			return -EPROTO;
	return 0;
}

/* One whole reply at the front of `bytes`?  *out_used: what it takes. */
static int parse(struct span bytes, struct memcached_reply *out, size_t *out_used)
{
	size_t end = span_find(bytes, '\n');
	uint64_t size;
	struct span value;
	int err;

	if (end > MEMCACHED_LINE_MAX)
		return -EPROTO;
	if (end == bytes.len)
		return 0;
	if (end == 0 || bytes.ptr[end - 1] != '\r')
		return -EPROTO;
	err = line_parse(span_of(bytes.ptr, end - 1), out, &size);
	if (err < 0)
		return err;
	*out_used = end + 1;
	if (out->kind != MEMCACHED_VALUE)
		return 1;
	if (bytes.len - *out_used < size + 2)
		return 0;
	value = span_of(bytes.ptr + *out_used, size);
	if (memcmp(value.ptr + size, "\r\n", 2) != 0 || !span_to_u64(span_trim(value), &out->number))
		return -EPROTO;
	*out_used += size + 2;
	return 1;
}

int memcached_reader_next(struct memcached_reader *r, struct span *bytes, struct memcached_reply *out)
{
	size_t kept = r->len, take = MIN(sizeof(r->bytes) - kept, bytes->len), used = 0;
	int err;

	if (take)
		memcpy(r->bytes + kept, bytes->ptr, take);
	r->len += take;
	err = r->len ? parse(span_of(r->bytes, r->len), out, &used) : 0;
	if (err == 1) {
		CHECK(used > kept);
		*bytes = span_skip(*bytes, used - kept);
		r->len = 0;
		return 1;
	}
	*bytes = span_skip(*bytes, take);
	if (err == 0 && r->len == sizeof(r->bytes))
		return -EPROTO;
	return err;
}
