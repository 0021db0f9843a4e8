/* SPDX-License-Identifier: GPL-2.0-only */
/* proxy_protocol.c - PROXY protocol headers, read and written. */
#include "net/proxy_protocol.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "base/check.h"
#include "base/utf8.h"
#include "net/cursor.h"

#define V1_WORD "PROXY "
#define V2_FIXED_BYTES 16
#define V2_CRC_BYTES 4
#define V2_UNIX_BYTES 108

static const struct span v1_word = { V1_WORD, sizeof(V1_WORD) - 1 };
static const struct span v2_signature = { "\r\n\r\n\0\r\nQUIT\n", 12 };

enum {
	V2_LOCAL = 0x20,
	V2_PROXY = 0x21,
};

enum {
	TLV_CRC32C = 0x03,
	TLV_TLS = 0x20,
};

/* A TLV that is a span of struct proxy_header. */
struct tlv_row {
	uint8_t type;
	bool is_text;
	uint16_t bytes_max;
	size_t offset;
};

#define TLV(type, member, bytes_max, is_text) { type, is_text, bytes_max, offsetof(struct proxy_header, member) }

static const struct tlv_row rows[] = {
	TLV(0x01, alpn, PROXY_PROTOCOL_NAME_MAX, false),
	TLV(0x02, authority, PROXY_PROTOCOL_NAME_MAX, true),
	TLV(0x05, unique_id, PROXY_PROTOCOL_UNIQUE_ID_MAX, false),
	TLV(0x30, netns, PROXY_PROTOCOL_V2_MAX, true),
	{ 0 },
};

/* Inside of TLV_TLS. */
static const struct tlv_row tls_rows[] = {
	TLV(0x21, tls.version, PROXY_PROTOCOL_V2_MAX, true), TLV(0x22, tls.cn, PROXY_PROTOCOL_V2_MAX, true),
	TLV(0x23, tls.cipher, PROXY_PROTOCOL_V2_MAX, true),  TLV(0x24, tls.sig_alg, PROXY_PROTOCOL_V2_MAX, true),
	TLV(0x25, tls.key_alg, PROXY_PROTOCOL_V2_MAX, true), { 0 },
};

static bool value_is_valid(const struct tlv_row *row, struct span value)
{
	size_t width;

	if (value.len > row->bytes_max)
		return false;
	for (; row->is_text && value.len > 0; value = span_skip(value, width)) {
		width = utf8_sequence(value.ptr, value.len);
		if (width == 0 || (unsigned char)value.ptr[0] < ' ' || value.ptr[0] == 0x7f)
			return false;
	}
	return true;
}

/* CRC-32C by half bytes: headers are short and come once a connection. */
static uint32_t crc32c_add(uint32_t crc, const void *bytes, size_t len)
{
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
		0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len; i++) {
		crc ^= at[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return crc;
}

/* Of a header, as if the checksum in it were 0. */
static uint32_t header_crc32c(const uint8_t *header, size_t len, const uint8_t *checksum)
{
	static const uint8_t zero[V2_CRC_BYTES];
	const uint8_t *behind = checksum + V2_CRC_BYTES;
	uint32_t crc = crc32c_add(UINT32_MAX, header, (size_t)(checksum - header));

	crc = crc32c_add(crc, zero, sizeof(zero));
	return ~crc32c_add(crc, behind, len - (size_t)(behind - header));
}

/* ---- reading version 1 ---- */

static struct span word_take(struct span *rest)
{
	struct span word = { rest->ptr, span_find(*rest, ' ') };

	*rest = span_skip(*rest, word.len + 1);
	return word;
}

static bool v1_address(struct span text, sa_family_t family, struct addr *out)
{
	uint8_t ip[16];
	struct addr a;

	/* A zone means nothing on another machine. */
	if (span_find(text, '%') != text.len || addr_parse_ip(text, &a) != 0 || a.sa.sa_family != family)
		return false;
	addr_to_ip16(&a, ip);
	addr_from_ip16(ip, 0, out);
	return true;
}

static bool v1_port(struct span text, struct addr *a)
{
	uint64_t port;

	if ((text.len > 1 && text.ptr[0] == '0') || !span_to_u64(text, &port) || port > UINT16_MAX)
		return false;
	addr_set_port(a, (uint16_t)port);
	return true;
}

/* What stands between "PROXY " and CR LF. */
static bool v1_line_read(struct span line, struct proxy_header *h)
{
	struct span protocol = word_take(&line);
	sa_family_t family = span_eq(protocol, SPAN("TCP4")) ? AF_INET : AF_INET6;

	if (span_eq(protocol, SPAN("UNKNOWN")))
		return true;
	if (family == AF_INET6 && !span_eq(protocol, SPAN("TCP6")))
		return false;
	h->has_addresses = true;
	/* The last word is the rest: a space behind it is no digit. */
	return v1_address(word_take(&line), family, &h->source) &&
	       v1_address(word_take(&line), family, &h->destination) && v1_port(word_take(&line), &h->source) &&
	       v1_port(line, &h->destination);
}

static enum proxy_protocol_result v1_read(struct span in, struct proxy_header *h, size_t *used)
{
	struct span line = { in.ptr, MIN(in.len, PROXY_PROTOCOL_V1_MAX) };
	size_t cr = span_find(line, '\r'), lf = span_find(line, '\n');

	h->version = 1;
	*used = lf + 1;
	if (lf == line.len && cr + 1 >= line.len)
		return line.len < PROXY_PROTOCOL_V1_MAX ? PROXY_PROTOCOL_MORE : PROXY_PROTOCOL_MALFORMED;
	if (cr + 1 != lf)
		return PROXY_PROTOCOL_MALFORMED;
	line.len = cr;
	return v1_line_read(span_skip(line, v1_word.len), h) ? PROXY_PROTOCOL_DONE : PROXY_PROTOCOL_MALFORMED;
}

/* ---- reading version 2 ---- */

struct tlv_reader {
	struct proxy_header *header;
	const uint8_t *checksum; /* NULL: none so far */
	bool has_tls;		 /* also if the client uses none */
};

/* False: malformed.  A type without a row is skipped. */
static bool span_tlv_read(const struct tlv_row *row, uint32_t type, struct cursor value, struct proxy_header *h)
{
	struct span *member;

	while (row->type && row->type != type)
		row++;
	if (!row->type)
		return true;
	member = (struct span *)(void *)((char *)h + row->offset);
	if (member->ptr || !value_is_valid(row, cursor_span(value)))
		return false;
	*member = cursor_span(value);
	return true;
}

static bool tls_tlv_read(struct tlv_reader *r, struct cursor value)
{
	struct proxy_header_tls *tls = &r->header->tls;
	struct cursor sub;
	uint32_t type;

	if (r->has_tls || !cursor_number(&value, 1, &type) || !cursor_number(&value, 4, &tls->verify))
		return false;
	r->has_tls = true;
	tls->client = (uint8_t)type;
	while (value.left > 0)
		if (!cursor_number(&value, 1, &type) || !cursor_vector(&value, 2, &sub) ||
		    !span_tlv_read(tls_rows, type, sub, r->header))
			return false;
	r->header->has_tls = true;
	return true;
}

static bool tlv_read(struct tlv_reader *r, uint32_t type, struct cursor value)
{
	switch (type) {
	case TLV_CRC32C:
		if (r->checksum || value.left != V2_CRC_BYTES)
			return false;
		r->checksum = value.at;
		return true;
	case TLV_TLS:
		return tls_tlv_read(r, value);
	default:
		return span_tlv_read(rows, type, value, r->header);
	}
}

static bool tlvs_read(struct cursor header, struct cursor tlvs, struct proxy_header *h)
{
	struct tlv_reader r = { .header = h };
	struct cursor value;
	uint32_t type, sum;

	while (tlvs.left > 0)
		if (!cursor_number(&tlvs, 1, &type) || !cursor_vector(&tlvs, 2, &value) || !tlv_read(&r, type, value))
			return false;
	if (!r.checksum)
		return true;
	h->has_crc32c = true;
	value = (struct cursor){ r.checksum, V2_CRC_BYTES };
	return cursor_number(&value, V2_CRC_BYTES, &sum) &&
	       sum == header_crc32c(header.at, header.left, r.checksum);
}

static bool v2_ip_addresses_read(struct cursor *c, size_t ip_bytes, struct proxy_header *h)
{
	struct cursor source, destination;
	uint32_t source_port, destination_port;
	uint8_t ip[2][16] = { { [10] = 0xff, [11] = 0xff }, { [10] = 0xff, [11] = 0xff } };

	if (!cursor_take(c, ip_bytes, &source) || !cursor_take(c, ip_bytes, &destination) ||
	    !cursor_number(c, 2, &source_port) || !cursor_number(c, 2, &destination_port))
		return false;
	memcpy(ip[0] + 16 - ip_bytes, source.at, ip_bytes);
	memcpy(ip[1] + 16 - ip_bytes, destination.at, ip_bytes);
	addr_from_ip16(ip[0], (uint16_t)source_port, &h->source);
	addr_from_ip16(ip[1], (uint16_t)destination_port, &h->destination);
	return true;
}

static bool v2_unix_address_read(struct cursor *c, struct addr *out)
{
	struct addr a = { .un.sun_family = AF_UNIX };
	struct cursor path;
	size_t len;

	if (!cursor_take(c, V2_UNIX_BYTES, &path))
		return false;
	len = strnlen((const char *)path.at, V2_UNIX_BYTES);
	memcpy(a.un.sun_path, path.at, len);
	a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (len > 0 && len < V2_UNIX_BYTES));
	*out = a;
	return true;
}

/* The family's upper half is the addresses', the lower the transport: 0 of both, or 1 (stream) and 2 (datagrams). */
static bool v2_family_is_known(uint8_t family)
{
	unsigned kind = family >> 4, transport = family & 15;

	return family == 0 || (kind >= 1 && kind <= 3 && transport >= 1 && transport <= 2);
}

static bool v2_addresses_read(struct cursor *c, uint8_t family, struct proxy_header *h)
{
	h->has_addresses = true;
	switch (family >> 4) {
	case 1:
		return v2_ip_addresses_read(c, 4, h);
	case 2:
		return v2_ip_addresses_read(c, 16, h);
	default:
		return v2_unix_address_read(c, &h->source) && v2_unix_address_read(c, &h->destination);
	}
}

static enum proxy_protocol_result v2_read(struct cursor in, struct proxy_header *h, size_t *used)
{
	struct cursor c = in, body;
	uint32_t command, family, len;

	h->version = 2;
	if (!cursor_take(&c, v2_signature.len, &body) || !cursor_number(&c, 1, &command))
		return PROXY_PROTOCOL_MORE;
	if (command != V2_LOCAL && command != V2_PROXY)
		return PROXY_PROTOCOL_MALFORMED;
	if (!cursor_number(&c, 1, &family))
		return PROXY_PROTOCOL_MORE;
	if (command == V2_PROXY && !v2_family_is_known((uint8_t)family))
		return PROXY_PROTOCOL_MALFORMED;
	if (!cursor_number(&c, 2, &len))
		return PROXY_PROTOCOL_MORE;
	if (len > PROXY_PROTOCOL_V2_MAX - V2_FIXED_BYTES)
		return PROXY_PROTOCOL_MALFORMED;
	if (!cursor_take(&c, len, &body))
		return PROXY_PROTOCOL_MORE;
	*used = V2_FIXED_BYTES + len;
	if (command == V2_LOCAL || family == 0)
		return PROXY_PROTOCOL_DONE;
	in.left = *used;
	return v2_addresses_read(&body, (uint8_t)family, h) && tlvs_read(in, body, h) ? PROXY_PROTOCOL_DONE :
											  PROXY_PROTOCOL_MALFORMED;
}

static bool may_start(struct span in, struct span what)
{
	return span_starts(what, span_of(in.ptr, MIN(in.len, what.len)));
}

enum proxy_protocol_result proxy_protocol_read(const void *bytes, size_t len, struct proxy_header *out,
					       size_t *out_used)
{
	enum proxy_protocol_result result = PROXY_PROTOCOL_ABSENT;
	struct span in = { bytes, len };
	struct proxy_header h = { 0 };
	size_t used;

	if (may_start(in, v1_word))
		result = len < v1_word.len ? PROXY_PROTOCOL_MORE : v1_read(in, &h, &used);
	else if (may_start(in, v2_signature))
		result = v2_read((struct cursor){ bytes, len }, &h, &used);
	if (result != PROXY_PROTOCOL_DONE)
		return result;
	*out = h;
	*out_used = used;
	return PROXY_PROTOCOL_DONE;
}

/* ---- writing ---- */

enum family {
	FAMILY_NONE, /* no addresses */
	FAMILY_MIXED,
	FAMILY_IP4,
	FAMILY_IP6,
	FAMILY_UNIX,
};

/* ip: both addresses, if they are of an IP family. */
static enum family family_of(const struct proxy_header *h, uint8_t ip[2][16])
{
	bool is_ip[2] = { addr_to_ip16(&h->source, ip[0]), addr_to_ip16(&h->destination, ip[1]) };
	struct addr source, destination;

	if (!h->has_addresses)
		return FAMILY_NONE;
	if (!is_ip[0] && !is_ip[1])
		return h->source.sa.sa_family == AF_UNIX && h->destination.sa.sa_family == AF_UNIX ? FAMILY_UNIX :
												      FAMILY_MIXED;
	if (!is_ip[0] || !is_ip[1])
		return FAMILY_MIXED;
	addr_from_ip16(ip[0], 0, &source);
	addr_from_ip16(ip[1], 0, &destination);
	return source.sa.sa_family == AF_INET && destination.sa.sa_family == AF_INET ? FAMILY_IP4 : FAMILY_IP6;
}

/* A buffer that stops taking when it is full. */
struct writer {
	uint8_t *buf; /* borrowed from the caller */
	size_t size, len;
	bool is_full, is_invalid;
};

static void put(struct writer *w, const void *bytes, size_t len)
{
	w->is_full |= len > w->size - w->len;
	if (w->is_full || len == 0)
		return;
	memcpy(w->buf + w->len, bytes, len);
	w->len += len;
}

static void put_number(struct writer *w, size_t width, size_t value)
{
	uint8_t digits[4];

	for (size_t i = 0; i < width; i++)
		digits[i] = (uint8_t)(value >> 8 * (width - 1 - i));
	put(w, digits, width);
}

/* The length of what was written behind `start`, into the two bytes before it. */
static void patch_len(struct writer *w, size_t start)
{
	struct writer field = { .size = 2 };

	if (w->is_full)
		return;
	field.buf = w->buf + start - field.size;
	put_number(&field, field.size, w->len - start);
}

static void put_spans(struct writer *w, const struct tlv_row *row, const struct proxy_header *h)
{
	for (; row->type; row++) {
		const struct span *value = (const struct span *)(const void *)((const char *)h + row->offset);

		if (value->len == 0)
			continue;
		w->is_invalid |= !value_is_valid(row, *value);
		put_number(w, 1, row->type);
		put_number(w, 2, value->len);
		put(w, value->ptr, value->len);
	}
}

static void put_tls(struct writer *w, const struct proxy_header *h)
{
	size_t start;

	put_number(w, 1, TLV_TLS);
	put_number(w, 2, 0);
	start = w->len;
	put_number(w, 1, h->tls.client);
	put_number(w, 4, h->tls.verify);
	put_spans(w, tls_rows, h);
	patch_len(w, start);
}

static void put_path(struct writer *w, const struct addr *a)
{
	uint8_t path[V2_UNIX_BYTES] = { 0 };
	size_t held = a->len > offsetof(struct sockaddr_un, sun_path) ?
			      a->len - offsetof(struct sockaddr_un, sun_path) : 0;

	memcpy(path, a->un.sun_path, strnlen(a->un.sun_path, MIN(held, sizeof(path))));
	put(w, path, sizeof(path));
}

static void put_addresses(struct writer *w, const struct proxy_header *h, enum family family, uint8_t ip[2][16])
{
	size_t skip = family == FAMILY_IP4 ? 12 : 0;

	if (family == FAMILY_UNIX) {
		put_path(w, &h->source);
		put_path(w, &h->destination);
		return;
	}
	put(w, ip[0] + skip, 16 - skip);
	put(w, ip[1] + skip, 16 - skip);
	put_number(w, 2, addr_port(&h->source));
	put_number(w, 2, addr_port(&h->destination));
}

static void v2_write(struct writer *w, const struct proxy_header *h)
{
	static const uint8_t families[] = { [FAMILY_IP4] = 0x11, [FAMILY_IP6] = 0x21, [FAMILY_UNIX] = 0x31 };
	uint8_t ip[2][16];
	enum family family = family_of(h, ip);
	size_t checksum;

	put(w, v2_signature.ptr, v2_signature.len);
	put_number(w, 1, family == FAMILY_NONE ? V2_LOCAL : V2_PROXY);
	put_number(w, 1, families[family]);
	put_number(w, 2, 0);
	if (family == FAMILY_NONE || family == FAMILY_MIXED)
		return;
	put_addresses(w, h, family, ip);
	put_spans(w, rows, h);
	if (h->has_tls)
		put_tls(w, h);
	if (h->has_crc32c) {
		put_number(w, 1, TLV_CRC32C);
		put_number(w, 2, V2_CRC_BYTES);
		put_number(w, V2_CRC_BYTES, 0);
	}
	patch_len(w, V2_FIXED_BYTES);
	if (!h->has_crc32c || w->is_full)
		return;
	checksum = w->len - V2_CRC_BYTES;
	w->len = checksum;
	put_number(w, V2_CRC_BYTES, header_crc32c(w->buf, checksum + V2_CRC_BYTES, w->buf + checksum));
}

static void v1_write(struct writer *w, const struct proxy_header *h)
{
	char text[PROXY_PROTOCOL_V1_MAX + 1], names[2][INET6_ADDRSTRLEN];
	uint8_t ip[2][16];
	enum family family = family_of(h, ip);
	int af = family == FAMILY_IP4 ? AF_INET : AF_INET6, len;
	size_t skip = family == FAMILY_IP4 ? 12 : 0;

	if (family != FAMILY_IP4 && family != FAMILY_IP6) {
		put(w, V1_WORD "UNKNOWN\r\n", sizeof(V1_WORD "UNKNOWN\r\n") - 1);
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		CHECK(inet_ntop(af, ip[i] + skip, names[i], sizeof(names[i])));
	len = snprintf(text, sizeof(text), V1_WORD "TCP%c %s %s %u %u\r\n", family == FAMILY_IP4 ? '4' : '6', names[0],
		       names[1], addr_port(&h->source), addr_port(&h->destination));
	CHECK(len > 0 && (size_t)len < sizeof(text));
	put(w, text, (size_t)len);
}

int proxy_protocol_write(const struct proxy_header *h, void *buf, size_t size, size_t *out_len)
{
	struct writer w = { .buf = buf, .size = MIN(size, PROXY_PROTOCOL_V2_MAX) };

	CHECK(h->version == 1 || h->version == 2);
	if (h->version == 1)
		v1_write(&w, h);
	else
		v2_write(&w, h);
	if (w.is_invalid)
		return -EINVAL;
	if (w.is_full)
		return -ENOSPC;
	*out_len = w.len;
	return 0;
}
