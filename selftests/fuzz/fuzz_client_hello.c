/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_client_hello.c - any bytes as a ClientHello: a name is a host name, and how it was cut makes no difference. */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "net/client_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void hello_check(const struct client_hello *h)
{
	struct span rest = { h->alpn, h->alpn_len }, protocol;
	size_t total = 0;

	CHECK(h->name_len <= CLIENT_HELLO_NAME_MAX && strlen(h->name) == h->name_len);
	CHECK(strspn(h->name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == h->name_len);
	CHECK(h->name[0] != '.' && !strstr(h->name, ".."));
	CHECK(h->name_len == 0 || h->name[h->name_len - 1] != '.');
	while (client_hello_alpn_next(&rest, &protocol)) {
		CHECK(protocol.len > 0);
		total += 1 + protocol.len;
	}
	CHECK(rest.len == 0 && total == h->alpn_len && total <= CLIENT_HELLO_ALPN_MAX);
}

/* The message of records that were read, in records of `size` bytes; the length of all, 0 if that takes too many. */
static size_t cut_again(const uint8_t *data, size_t size, uint8_t *out)
{
	static uint8_t message[CLIENT_HELLO_MESSAGE_MAX];
	size_t have = 0, want = 4, used = 0;

	while (have < want) {
		size_t piece = (size_t)data[3] << 8 | data[4];

		memcpy(message + have, data + 5, piece);
		have += piece;
		data += 5 + piece;
		if (have >= 4)
			want = 4 + ((size_t)message[2] << 8 | message[3]);
	}
	if (have > size * CLIENT_HELLO_RECORDS_MAX)
		return 0;
	for (size_t at = 0, piece; at < have; at += piece, used += 5 + piece) {
		piece = MIN(size, have - at);
		memcpy(out + used, (const uint8_t[]){ 22, 3, 1, (uint8_t)(piece >> 8), (uint8_t)piece }, 5);
		memcpy(out + used + 5, message + at, piece);
	}
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t again[CLIENT_HELLO_BYTES_MAX];
	struct client_hello h, other;
	size_t cut = len ? data[len - 1] % len : 0, size = len ? 1 + data[len - 1] : 1;
	enum client_hello_result result = client_hello_read(data, len, &h);
	enum client_hello_result first = client_hello_read(data, cut, &other);

	/* Fewer bytes never say anything else, only less. */
	CHECK(first == CLIENT_HELLO_MORE || first == result);
	if (result == CLIENT_HELLO_MORE)
		CHECK(len < CLIENT_HELLO_BYTES_MAX);
	if (result != CLIENT_HELLO_DONE)
		return 0;
	hello_check(&h);
	len = cut_again(data, size, again);
	if (len == 0)
		return 0;
	CHECK(client_hello_read(again, len, &other) == CLIENT_HELLO_DONE);
	CHECK(memcmp(&h, &other, sizeof(h)) == 0);
	CHECK(client_hello_read(again, len - 1, &other) == CLIENT_HELLO_MORE);
	return 0;
}
