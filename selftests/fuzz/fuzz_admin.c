/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_admin.c - any line of the admin socket: understood within its bounds, or refused with a reason. */
#include <stdint.h>

#include "app/admin_request.h"
#include "base/check.h"
#include "net/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void ban_check(const struct admin_request *r, struct span line)
{
	uint8_t ip[16];
	struct addr a;

	CHECK(r->address.ptr >= line.ptr && r->address.ptr + r->address.len <= line.ptr + line.len);
	CHECK(addr_parse_ip(r->address, &a) == 0 && addr_to_ip16(&a, ip) && memcmp(ip, r->ip, sizeof(ip)) == 0);
	if (r->verb == ADMIN_BAN_ADD)
		CHECK(r->ban_ms >= 1 && r->ban_ms <= (uint64_t)365 * 24 * 60 * 60 * 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span line = span_of((const char *)data, len);
	struct admin_request r;
	struct strbuf out;
	bool is_understood;

	strbuf_init(&out);
	is_understood = admin_request_parse(line, &r, &out);
	CHECK(is_understood == (out.len == 0));
	if (is_understood) {
		CHECK(r.verb < ADMIN_VERB_COUNT && (!r.is_now || r.verb == ADMIN_STOP));
		if (r.verb == ADMIN_BAN_ADD || r.verb == ADMIN_BAN_REMOVE)
			ban_check(&r, line);
	} else {
		CHECK(out.ptr[out.len - 1] == '\n');
	}
	strbuf_fini(&out);
	return 0;
}
