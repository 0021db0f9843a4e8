/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_memcached_reply.c - replies of memcached: in one piece, and in pieces of any size, the same comes out. */
#include <string.h>

#include "base/check.h"
#include "clients/memcached_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define REPLIES_MAX 64

struct outcome {
	int end; /* 0 or -EPROTO */
	unsigned count;
	struct memcached_reply replies[REPLIES_MAX];
};

static void reply_check(const struct memcached_reply *r)
{
	CHECK(r->kind <= MEMCACHED_ERROR);
	CHECK(strnlen(r->text, sizeof(r->text)) <= MEMCACHED_TEXT_MAX);
	for (const char *p = r->text; *p; p++)
		CHECK(*p >= ' ' && *p < 0x7f);
}

static void run(struct span bytes, size_t piece, struct outcome *out)
{
	struct memcached_reader r = { 0 };

	memset(out, 0, sizeof(*out));
	while (bytes.len && out->end == 0 && out->count < REPLIES_MAX) {
		struct span part = span_of(bytes.ptr, MIN(piece, bytes.len));
		int err = 1;

		bytes = span_skip(bytes, part.len);
		while (out->count < REPLIES_MAX &&
		       (err = memcached_reader_next(&r, &part, &out->replies[out->count])) == 1)
			reply_check(&out->replies[out->count++]);
		CHECK(err != 0 || part.len == 0);
		out->end = MIN(err, 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct outcome whole, pieces;
	struct span bytes = span_of((const char *)data, len);

	if (len < 1)
		return 0;
	bytes = span_skip(bytes, 1);
	run(bytes, bytes.len + 1, &whole);
	run(bytes, 1 + data[0] % 32, &pieces);
	CHECK(whole.count == pieces.count && whole.end == pieces.end);
	for (unsigned i = 0; i < whole.count; i++)
		CHECK(memcmp(&whole.replies[i], &pieces.replies[i], sizeof(whole.replies[i])) == 0);
	return 0;
}
