/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_uri.c - any bytes as a path, a query and an authority: what comes out keeps its promises. */
#include <stdint.h>

#include "base/check.h"
#include "http/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void path_check(struct span path, struct arena *a)
{
	struct span once, twice;
	bool dots;

	if (uri_normalise(path, a, &once, &dots) < 0)
		return;
	CHECK(once.len > 0 && once.len <= path.len && once.ptr[0] == '/');
	CHECK(!memchr(once.ptr, 0, once.len) && !memchr(once.ptr, '\\', once.len));
	for (size_t i = 0; i < once.len; i++) {
		struct span rest = span_skip(once, i);
		bool is_last = rest.len == 3;

		CHECK(!span_starts(rest, SPAN("/../")) && !(is_last && span_eq(rest, SPAN("/.."))));
		CHECK(!span_starts(rest, SPAN("/./")));
		CHECK(!span_starts(rest, SPAN("%2e")) && !span_starts(rest, SPAN("%2E")));
	}
	CHECK(uri_normalise(once, a, &twice, &dots) == 0 && span_eq(once, twice) && !dots);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span in = span_of((const char *)data, len), path, query, name, value, host;
	unsigned port;
	struct arena a;

	arena_init(&a, 4096);
	uri_split(in, &path, &query);
	CHECK(path.len + query.len + (query.ptr != NULL) == len);
	path_check(path, &a);
	while (uri_query_next(&query, &name, &value))
		CHECK(uri_decode(name, &a, true).len <= name.len && uri_decode(value, &a, false).len <= value.len);
	if (uri_split_authority(in, &host, &port))
		CHECK(host.len > 0 && host.len <= len && port <= 65535);
	arena_fini(&a);
	return 0;
}
