/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fuzz_http1_split.c - the same bytes in one piece, in two, and one by one give the same events.
 * Byte 0: bit 0 a server, bits 1-2 the method a client asked with, bit 3 small limits.  Byte 1: where to cut.
 */
#include <stdint.h>

#include "http/http1.h"
#include "unit/http/drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const enum http_method methods[] = { METHOD_GET, METHOD_HEAD, METHOD_CONNECT, METHOD_POST };
	struct drive d = { .shows_fields = true };
	struct strbuf whole, cut, bytes;
	struct span in;

	if (len < 2 || len > 65536)
		return 0;
	d.is_server = data[0] & 1;
	d.method = methods[data[0] >> 1 & 3];
	if (data[0] & 8)
		d.limits = (struct http1_limits){ 32, 96, 4, 24, 12 };
	in = span_of((const char *)data + 2, len - 2);
	strbuf_init(&whole);
	strbuf_init(&cut);
	strbuf_init(&bytes);
	drive_run(&d, in, CUT_NOWHERE, &whole);
	drive_run(&d, in, data[1], &cut);
	drive_run(&d, in, CUT_EVERYWHERE, &bytes);
	CHECK(span_eq(strbuf_span(&whole), strbuf_span(&cut)));
	CHECK(span_eq(strbuf_span(&whole), strbuf_span(&bytes)));
	strbuf_fini(&whole);
	strbuf_fini(&cut);
	strbuf_fini(&bytes);
	return 0;
}
