/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_redis_reply.c - replies of Redis through our bounds: whole and in pieces the same comes out. */
#include <string.h>

#include "base/check.h"
#include "clients/redis_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define REPLIES_MAX 64

struct outcome {
	int end; /* 0 or -EPROTO */
	unsigned count;
	struct redis_reply replies[REPLIES_MAX];
};

static void reply_check(const struct redis_reply *r)
{
	CHECK(r->kind <= REDIS_NUMBERS && r->count <= REDIS_ELEMENTS_MAX);
	CHECK(strnlen(r->text, sizeof(r->text)) <= REDIS_TEXT_MAX);
	for (const char *p = r->text; *p; p++)
		CHECK(*p >= ' ' && *p < 0x7f);
}

static void run(struct span bytes, size_t piece, struct outcome *out)
{
	struct redis_reader *r = redis_reader_new();

	memset(out, 0, sizeof(*out));
	while (bytes.len && out->end == 0 && out->count < REPLIES_MAX) {
		size_t len = MIN(piece, bytes.len);
		int err = redis_reader_feed(r, span_of(bytes.ptr, len));

		bytes = span_skip(bytes, len);
		while (err >= 0 && out->count < REPLIES_MAX &&
		       (err = redis_reader_next(r, &out->replies[out->count])) == 1)
			reply_check(&out->replies[out->count++]);
		out->end = MIN(err, 0);
	}
	redis_reader_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct outcome whole, pieces;
	struct span bytes = span_of((const char *)data, len);

	/* longer: the bound of a reply is looked at between pieces */
	if (len < 1 || len > REDIS_REPLY_MAX)
		return 0;
	bytes = span_skip(bytes, 1);
	run(bytes, bytes.len + 1, &whole);
	run(bytes, 1 + data[0] % 32, &pieces);
	CHECK(whole.count == pieces.count && whole.end == pieces.end);
	for (unsigned i = 0; i < whole.count; i++)
		CHECK(memcmp(&whole.replies[i], &pieces.replies[i], sizeof(whole.replies[i])) == 0);
	return 0;
}
