/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_forwarding.c - fields of a client: its address, what the origin reads, ids, the error page, the log line. */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/hash.h"
#include "proxy/access_log.h"
#include "proxy/client_addr.h"
#include "proxy/error_page.h"
#include "proxy/forwarding.h"
#include "proxy/request_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned count_of(const struct headers *h, enum header_token t)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < h->count; i++)
		count += h->items[i].token == t;
	return count;
}

static void check_log(struct access_record *r)
{
	struct access_clock clock = { 0 };
	struct strbuf line;

	strbuf_init(&line);
	for (unsigned format = ACCESS_LOG_JSON; format <= ACCESS_LOG_COMBINED; format++) {
		strbuf_reset(&line);
		access_log_format(&clock, format, r, &line);
		CHECK(line.len <= ACCESS_LINE_MAX);
		for (size_t i = 0; i < line.len; i++)
			CHECK((unsigned char)line.ptr[i] >= ' ' && line.ptr[i] != 0x7f);
	}
	strbuf_fini(&line);
}

static void check_page(struct span accept, struct span id)
{
	const char *type = NULL;
	struct slice page = error_page_render(400, "Bad Request", id, accept, false, &type);

	CHECK(type && page.len > id.len);
	slice_put(&page);
}

/* First byte: is the peer trusted; then a field a line. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = span_of((const char *)data, size), row;
	struct forwarding_input in = { .scheme = SPAN("http"), .host = SPAN("h") };
	struct client_addr_result client;
	struct access_record r = { .status = 200 };
	struct headers headers;
	struct prefix trusted;
	char ip[ADDR_TEXT_MAX];
	struct addr peer;
	struct arena a;

	if (!size || size > 8192)
		return 0;
	hash_init();
	arena_init(&a, 4096);
	headers_init(&headers, &a);
	CHECK(addr_parse(data[0] & 1 ? SPAN("10.0.0.1:1") : SPAN("[2001:db8::1]:1"), &peer) == 0);
	CHECK(prefix_parse(SPAN("10.0.0.0/8"), &trusted) == 0);
	rest = span_skip(rest, 1);
	while (headers.count < 64 && span_next(&rest, '\n', &row)) {
		size_t colon = span_find(row, ':');

		headers_add_name(&headers, span_of(row.ptr, colon), span_trim(span_skip(row, colon + 1)));
	}
	client_addr_find(&peer, &headers, &trusted, 1, &client);
	CHECK(client.is_peer_trusted == (data[0] & 1));
	CHECK(client.hops <= CLIENT_ADDR_HOPS_MAX && (client.is_peer_trusted || !client.hops));
	in.peer_ip = span_of(ip, addr_format_ip(&peer, ip));
	in.is_peer_trusted = client.is_peer_trusted;
	in.client_ip = client_addr_text(&client, &a);
	in.request_id = request_id_of(&headers, TRACE_ID_TINYFLAKE, &a);
	CHECK(request_id_is_valid(in.request_id));
	r = (struct access_record){
		.path = row.len ? row : SPAN("/"),
		.query = headers_value(&headers, TOKEN_COOKIE),
		.host = headers_value(&headers, TOKEN_HOST),
		.user_agent = headers_value(&headers, TOKEN_USER_AGENT),
		.referer = headers_value(&headers, TOKEN_REFERER),
		.client_ip = in.client_ip,
		.request_id = in.request_id,
	};
	check_log(&r);
	check_page(headers_value(&headers, TOKEN_ACCEPT), headers_value(&headers, TOKEN_X_REQUEST_ID));
	forwarding_apply(&headers, &in, &a);
	CHECK(count_of(&headers, TOKEN_X_FORWARDED_FOR) == 1 && count_of(&headers, TOKEN_X_REAL_IP) == 1);
	CHECK(count_of(&headers, TOKEN_X_REQUEST_ID) == 1 && count_of(&headers, TOKEN_X_INTERNAL_TOKEN) == 0);
	CHECK(in.is_peer_trusted || count_of(&headers, TOKEN_FORWARDED) == 0);
	CHECK(span_ends(headers_value(&headers, TOKEN_X_FORWARDED_FOR), data[0] & 1 ? SPAN("10.0.0.1") : in.client_ip));
	arena_fini(&a);
	return 0;
}
