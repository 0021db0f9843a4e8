/* SPDX-License-Identifier: GPL-2.0-only */
/* mmdb_build.c - makes a MaxMind database in memory. */
#include "lib/mmdb_build.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define NOTHING (-1)

static int node_new(struct mmdb_build *b, int value)
{
	if (b->count == b->size) {
		b->size = b->size ? 2 * b->size : 256;
		b->nodes = mem_resize(b->nodes, b->size, sizeof(*b->nodes));
	}
	b->nodes[b->count][0] = b->nodes[b->count][1] = value;
	return (int)b->count++;
}

void mmdb_build_init(struct mmdb_build *b, unsigned ip_version, unsigned record_bits)
{
	*b = (struct mmdb_build){ .record_bits = record_bits, .ip_version = ip_version, .type = "Test-Country" };
	(void)node_new(b, NOTHING);
}

void mmdb_build_fini(struct mmdb_build *b)
{
	free(b->nodes);
}

/* Where a prefix hangs: the node and the side; nodes on the way are made. */
static int *place_of(struct mmdb_build *b, const uint8_t ip[16], unsigned from, unsigned len)
{
	size_t node = 0;

	CHECK(len > from);
	for (unsigned bit = from;; bit++) {
		unsigned side = ip[bit / 8] >> (7 - bit % 8) & 1;
		int child = b->nodes[node][side];

		if (bit + 1 == len)
			return &b->nodes[node][side];
		if (child < 0) {
			child = node_new(b, child);
			b->nodes[node][side] = child;
		}
		node = (size_t)child;
	}
}

static int data_index(struct mmdb_build *b, const struct mmdb_build_data *data)
{
	int i;

	for (i = 0; i < b->data_count; i++)
		if (strcmp(b->data[i].country, data->country) == 0 && b->data[i].asn == data->asn &&
		    b->data[i].is_flat == data->is_flat)
			return i;
	CHECK(i < MMDB_BUILD_DATA_MAX);
	b->data[b->data_count++] = *data;
	return i;
}

void mmdb_build_add(struct mmdb_build *b, const uint8_t ip[16], unsigned len, struct mmdb_build_data data)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	uint8_t at[16];
	bool is_v4 = len >= 96 && memcmp(ip, mapped, sizeof(mapped)) == 0;

	memcpy(at, ip, sizeof(at));
	if (is_v4)
		memset(at, 0, 12);
	CHECK(is_v4 || b->ip_version == 6);
	*place_of(b, at, b->ip_version == 4 ? 96 : 0, len) = -2 - data_index(b, &data);
}

void mmdb_build_add_text(struct mmdb_build *b, const char *prefix, const char *country, uint32_t asn)
{
	struct mmdb_build_data data = { .asn = asn };
	uint8_t ip[16] = { [10] = 0xff, [11] = 0xff };
	const char *slash = strchr(prefix, '/');
	char text[64] = "";
	unsigned len;

	CHECK(slash && (size_t)(slash - prefix) < sizeof(text) && strlen(country) <= 2);
	memcpy(text, prefix, (size_t)(slash - prefix));
	memcpy(data.country, country, strlen(country));
	len = (unsigned)strtoul(slash + 1, NULL, 10);
	if (strchr(text, ':'))
		CHECK(inet_pton(AF_INET6, text, ip) == 1);
	else
		CHECK(inet_pton(AF_INET, text, ip + 12) == 1);
	mmdb_build_add(b, ip, strchr(text, ':') ? len : 96 + len, data);
}

void mmdb_build_alias(struct mmdb_build *b)
{
	static const struct {
		uint8_t ip[16];
		unsigned len;
	} aliases[] = { { { 0x20, 0x02 }, 16 }, { { 0x20, 0x01 }, 32 }, { { [10] = 0xff, [11] = 0xff }, 96 } };
	static const uint8_t zero[16];
	int v4 = *place_of(b, zero, 0, 96);

	for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
		*place_of(b, aliases[i].ip, 0, aliases[i].len) = v4;
}

/* ---- the file ---- */

static void put_text(struct strbuf *out, const char *text)
{
	CHECK(strlen(text) < 29);
	strbuf_add_char(out, (char)(0x40 | strlen(text)));
	strbuf_add_str(out, text);
}

static void put_number(struct strbuf *out, unsigned control, unsigned bytes, uint64_t value)
{
	strbuf_add_char(out, (char)(control | bytes));
	if (control == 0)
		strbuf_add_char(out, 2); /* extended: type 9, 64 bits */
	while (bytes--)
		strbuf_add_char(out, (char)(value >> 8 * bytes));
}

static void put_data(struct strbuf *out, const struct mmdb_build_data *d)
{
	strbuf_add_char(out, (char)(0xe0 | ((d->country[0] != '\0') + (d->asn != 0))));
	if (d->country[0] && d->is_flat) {
		put_text(out, "country_code");
		put_text(out, d->country);
	} else if (d->country[0]) {
		put_text(out, "country");
		strbuf_add_char(out, (char)0xe1);
		put_text(out, "iso_code");
		put_text(out, d->country);
	}
	if (d->asn) {
		put_text(out, "autonomous_system_number");
		put_number(out, 0xc0, 4, d->asn);
	}
}

static void put_metadata(const struct mmdb_build *b, struct strbuf *out)
{
	strbuf_add(out, "\xab\xcd\xefMaxMind.com", 14);
	strbuf_add_char(out, (char)0xe9);
	put_text(out, "binary_format_major_version");
	put_number(out, 0xa0, 2, 2);
	put_text(out, "binary_format_minor_version");
	put_number(out, 0xa0, 2, 0);
	put_text(out, "build_epoch");
	put_number(out, 0, 8, 1700000000);
	put_text(out, "database_type");
	put_text(out, b->type);
	put_text(out, "description");
	strbuf_add_char(out, (char)0xe0);
	put_text(out, "ip_version");
	put_number(out, 0xa0, 2, b->ip_version);
	put_text(out, "languages");
	strbuf_add(out, "\0\4", 2);
	put_text(out, "node_count");
	put_number(out, 0xc0, 4, b->count);
	put_text(out, "record_size");
	put_number(out, 0xa0, 2, b->record_bits);
}

static uint32_t record_of(const struct mmdb_build *b, int child, const size_t *offsets)
{
	if (child >= 0)
		return (uint32_t)child;
	return (uint32_t)(child == NOTHING ? b->count : b->count + 16 + offsets[-2 - child]);
}

static void put_node(struct strbuf *out, unsigned bits, uint32_t left, uint32_t right)
{
	uint8_t r[8] = { (uint8_t)(left >> 16), (uint8_t)(left >> 8), (uint8_t)left };

	CHECK(bits == 32 || (left >> bits == 0 && right >> bits == 0));
	if (bits == 32) {
		const uint32_t both[2] = { htonl(left), htonl(right) };

		strbuf_add(out, both, sizeof(both));
		return;
	}
	if (bits == 28)
		r[3] = (uint8_t)(left >> 24 << 4 | right >> 24);
	for (unsigned i = 0; i < 3; i++)
		r[(bits == 28 ? 4 : 3) + i] = (uint8_t)(right >> (16 - 8 * i));
	strbuf_add(out, r, bits / 4);
}

void mmdb_build_write(const struct mmdb_build *b, struct strbuf *out)
{
	size_t offsets[MMDB_BUILD_DATA_MAX];
	struct strbuf data = { 0 };

	strbuf_init(&data);
	for (int i = 0; i < b->data_count; i++) {
		offsets[i] = data.len;
		put_data(&data, &b->data[i]);
	}
	for (size_t i = 0; i < b->count; i++)
		put_node(out, b->record_bits, record_of(b, b->nodes[i][0], offsets),
			 record_of(b, b->nodes[i][1], offsets));
	strbuf_add(out, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	strbuf_add_span(out, strbuf_span(&data));
	put_metadata(b, out);
	strbuf_fini(&data);
}
