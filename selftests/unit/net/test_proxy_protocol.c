/* SPDX-License-Identifier: GPL-2.0-only */
/* test_proxy_protocol.c - PROXY headers: which are read, which are refused, and that we read what we write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "base/check.h"
#include "net/proxy_protocol.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define IP4 "\x0a\x01\x02\x03\xc0\x00\x02\x01\x9c\x40\x01\xbb" /* 10.1.2.3:40000 to 192.0.2.1:443 */
#define IP4_HEAD SIGNATURE "\x21\x11"
#define B(literal) { "" literal, sizeof(literal) - 1 }

static const char *const result_names[] = { "MORE", "DONE", "MALFORMED", "ABSENT" };

struct row {
	const char *name;
	struct span bytes;
	enum proxy_protocol_result want;
	size_t used; /* 0: all of it */
	const char *source, *destination; /* NULL: the socket's */
};

static void addr_check(const char *name, const struct addr *a, const char *want)
{
	char text[ADDR_TEXT_MAX];

	addr_format(a, text);
	if (strcmp(text, want) != 0)
		fail_msg("%s: %s instead of %s", name, text, want);
}

/* In an allocation of its own, so that a byte too many is seen. */
static enum proxy_protocol_result read_exactly(struct span in, struct proxy_header *h, size_t *used)
{
	char *copy = malloc(in.len ? in.len : 1);
	enum proxy_protocol_result result;

	memcpy(copy, in.ptr, in.len);
	result = proxy_protocol_read(copy, in.len, h, used);
	free(copy);
	return result;
}

static void row_check(const struct row *row)
{
	struct proxy_header h = { .version = 77 };
	size_t used = 77, want_used = row->used ? row->used : row->bytes.len;
	enum proxy_protocol_result got = read_exactly(row->bytes, &h, &used);

	if (got != row->want)
		fail_msg("%s: %s instead of %s", row->name, result_names[got], result_names[row->want]);
	if (got != PROXY_PROTOCOL_DONE) {
		assert_int_equal(h.version, 77);
		assert_int_equal(used, 77);
		return;
	}
	if (used != want_used || h.has_addresses != (row->source != NULL))
		fail_msg("%s: %zu bytes used, addresses %d", row->name, used, h.has_addresses);
	if (row->source) {
		addr_check(row->name, &h.source, row->source);
		addr_check(row->name, &h.destination, row->destination);
		assert_true(h.source.len <= sizeof(h.source.un) && h.destination.len <= sizeof(h.source.un));
	}
	/* Every beginning wants more, and what follows changes nothing. */
	for (size_t len = 0; len < used; len++)
		if (read_exactly(span_of(row->bytes.ptr, len), &h, &used) != PROXY_PROTOCOL_MORE)
			fail_msg("%s: decided after %zu bytes", row->name, len);
}

static void rows_check(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		row_check(&rows[i]);
}

#define DONE PROXY_PROTOCOL_DONE
#define MORE PROXY_PROTOCOL_MORE
#define MALFORMED PROXY_PROTOCOL_MALFORMED
#define ABSENT PROXY_PROTOCOL_ABSENT
#define FULL_IP6 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

static void test_version_1(void **state)
{
	static const struct row rows[] = {
		{ "IPv4", B("PROXY TCP4 10.1.2.3 192.0.2.1 40000 443\r\n"),
		  DONE, 0, "10.1.2.3:40000", "192.0.2.1:443" },
		{ "bytes behind it", B("PROXY TCP4 127.0.0.1 127.0.0.1 50110 32821\r\nGET / HTTP/1.0\r\n\r\n"),
		  DONE, 44,
		  "127.0.0.1:50110", "127.0.0.1:32821" },
		{ "ports at the ends", B("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"), DONE, 0, "0.0.0.0:0",
		  "255.255.255.255:65535" },
		{ "IPv6", B("PROXY TCP6 2001:db8::1 ::1 1 2\r\n"), DONE, 0, "[2001:db8::1]:1", "[::1]:2" },
		{ "the longest IPv6", B("PROXY TCP6 " FULL_IP6 " " FULL_IP6 " 65535 65535\r\n"), DONE, 0,
		  "[" FULL_IP6 "]:65535", "[" FULL_IP6 "]:65535" },
		{ "capitals", B("PROXY TCP6 2001:DB8::A ::B 1 2\r\n"), DONE, 0, "[2001:db8::a]:1", "[::b]:2" },
		{ "mapped", B("PROXY TCP6 ::ffff:10.1.2.3 ::1 1 2\r\n"), DONE, 0, "10.1.2.3:1", "[::1]:2" },
		{ "UNKNOWN", B("PROXY UNKNOWN\r\n"), DONE },
		{ "UNKNOWN with addresses", B("PROXY UNKNOWN " FULL_IP6 " " FULL_IP6 " 65535 65535\r\n"), DONE },
		{ "UNKNOWN with anything", B("PROXY UNKNOWN \0 what ever\xff\r\n"), DONE },
	};

	(void)state;
	assert_int_equal(rows[8].bytes.len, PROXY_PROTOCOL_V1_MAX);
	rows_check(rows, ARRAY_LEN(rows));
}

#define LONG_50 "12345678901234567890123456789012345678901234567890"

static void test_version_1_refused(void **state)
{
	static const struct row rows[] = {
		{ "protocol", B("PROXY TCP5 10.1.2.3 192.0.2.1 1 2\r\n"), MALFORMED },
		{ "protocol of IPv6", B("PROXY TCP7 ::1 ::1 1 2\r\n"), MALFORMED },
		{ "protocol in lower case", B("PROXY tcp4 10.1.2.3 192.0.2.1 1 2\r\n"), MALFORMED },
		{ "UDP4", B("PROXY UDP4 10.1.2.3 192.0.2.1 1 2\r\n"), MALFORMED },
		{ "nothing", B("PROXY \r\n"), MALFORMED },
		{ "UNKNOWNs", B("PROXY UNKNOWNs\r\n"), MALFORMED },
		{ "two spaces", B("PROXY  TCP4 10.1.2.3 192.0.2.1 1 2\r\n"), MALFORMED },
		{ "two spaces later", B("PROXY TCP4 10.1.2.3  192.0.2.1 1 2\r\n"), MALFORMED },
		{ "a tab", B("PROXY TCP4 10.1.2.3\t192.0.2.1 1 2\r\n"), MALFORMED },
		{ "space at the end", B("PROXY TCP4 10.1.2.3 192.0.2.1 1 2 \r\n"), MALFORMED },
		{ "a word too many", B("PROXY TCP4 10.1.2.3 192.0.2.1 1 2 3\r\n"), MALFORMED },
		{ "no ports", B("PROXY TCP4 10.1.2.3 192.0.2.1\r\n"), MALFORMED },
		{ "one port", B("PROXY TCP4 10.1.2.3 192.0.2.1 1\r\n"), MALFORMED },
		{ "one port and a space", B("PROXY TCP4 10.1.2.3 192.0.2.1 1 \r\n"), MALFORMED },
		{ "port of 65536", B("PROXY TCP4 10.1.2.3 192.0.2.1 65536 2\r\n"), MALFORMED },
		{ "port of six digits", B("PROXY TCP4 10.1.2.3 192.0.2.1 1 000001\r\n"), MALFORMED },
		{ "leading zero", B("PROXY TCP4 10.1.2.3 192.0.2.1 080 2\r\n"), MALFORMED },
		{ "zeros", B("PROXY TCP4 10.1.2.3 192.0.2.1 00 2\r\n"), MALFORMED },
		{ "sign", B("PROXY TCP4 10.1.2.3 192.0.2.1 +1 2\r\n"), MALFORMED },
		{ "negative", B("PROXY TCP4 10.1.2.3 192.0.2.1 1 -2\r\n"), MALFORMED },
		{ "hex", B("PROXY TCP4 10.1.2.3 192.0.2.1 0x1 2\r\n"), MALFORMED },
		{ "name", B("PROXY TCP4 localhost 192.0.2.1 1 2\r\n"), MALFORMED },
		{ "three numbers", B("PROXY TCP4 10.1.2 192.0.2.1 1 2\r\n"), MALFORMED },
		{ "octal", B("PROXY TCP4 010.1.2.3 192.0.2.1 1 2\r\n"), MALFORMED },
		{ "number of 256", B("PROXY TCP4 10.1.2.3 192.0.2.256 1 2\r\n"), MALFORMED },
		{ "IPv6 in TCP4", B("PROXY TCP4 ::1 192.0.2.1 1 2\r\n"), MALFORMED },
		{ "IPv4 in TCP6", B("PROXY TCP6 ::1 192.0.2.1 1 2\r\n"), MALFORMED },
		{ "zone", B("PROXY TCP6 fe80::1%lo ::1 1 2\r\n"), MALFORMED },
		{ "brackets", B("PROXY TCP6 [::1] ::1 1 2\r\n"), MALFORMED },
		{ "NUL", B("PROXY TCP4 10.1.2.3\0 192.0.2.1 1 2\r\n"), MALFORMED },
		{ "LF alone", B("PROXY TCP4 10.1.2.3 192.0.2.1 1 2\n"), MALFORMED },
		{ "LF CR", B("PROXY TCP4 10.1.2.3 192.0.2.1 1 2\n\r"), MALFORMED },
		{ "CR alone", B("PROXY TCP4 10.1.2.3 192.0.2.1 1 2\rGET"), MALFORMED },
		{ "CR CR LF", B("PROXY TCP4 10.1.2.3 192.0.2.1 1 2\r\r\n"), MALFORMED },
		{ "CR in UNKNOWN", B("PROXY UNKNOWN a\rb\r\n"), MALFORMED },
		{ "106 bytes without an end", B("PROXY UNKNOWN 3456789" LONG_50 "1234567890123456789012345678901234\r"),
		  MORE },
		{ "107 bytes without an end",
		  B("PROXY UNKNOWN 3456789" LONG_50 "12345678901234567890123456789012345\r"),
		  MALFORMED },
		{ "108 bytes", B("PROXY UNKNOWN 3456789" LONG_50 "1234567890123456789012345678901234x\r\n"),
		  MALFORMED },
		{ "long, no end", B("PROXY UNKNOWN " LONG_50 LONG_50 LONG_50), MALFORMED },
		{ "a request of that method", B("PROXY /index.html HTTP/1.1\r\n"), MALFORMED },
	};

	(void)state;
	rows_check(rows, ARRAY_LEN(rows));
}

static void test_absent(void **state)
{
	static const struct row rows[] = {
		{ "nothing yet", B(""), MORE },
		{ "a request", B("GET / HTTP/1.1\r\n"), ABSENT },
		{ "P", B("P"), MORE },
		{ "POST", B("PO"), ABSENT },
		{ "PROXYING", B("PROXYI"), ABSENT },
		{ "lower case", B("proxy TCP4"), ABSENT },
		{ "TLS", B("\x16\x03\x01"), ABSENT },
		{ "empty lines before a request", B("\r\n\r\nGET"), ABSENT },
		{ "CR LF", B("\r\n"), MORE },
		{ "a signature but for its last byte", B("\r\n\r\n\0\r\nQUIT\r"), ABSENT },
	};

	(void)state;
	rows_check(rows, ARRAY_LEN(rows));
}

#define IP6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" "\0\x01\0\x02"
#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02\x03" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" "\0\x01\0\x02"
#define ZERO_18 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define ZERO_90 ZERO_18 ZERO_18 ZERO_18 ZERO_18 ZERO_18
#define UNIX_A "/run/client.socket" ZERO_90
#define UNIX_B ZERO_18 ZERO_90
#define A_18 "/aaaaaaaaaaaaaaaaa"
#define PATH_108 A_18 A_18 A_18 A_18 A_18 A_18
#define ABSTRACT "\0/abstract/socket.." ZERO_90

static void test_version_2(void **state)
{
	static const struct row rows[] = {
		{ "TCP4", B(IP4_HEAD "\0\x0c" IP4), DONE, 0, "10.1.2.3:40000", "192.0.2.1:443" },
		{ "bytes behind it", B(IP4_HEAD "\0\x0c" IP4 "\x05\0\x01"),
		  DONE, 28, "10.1.2.3:40000", "192.0.2.1:443" },
		{ "UDP4", B(SIGNATURE "\x21\x12\0\x0c" IP4), DONE, 0, "10.1.2.3:40000", "192.0.2.1:443" },
		{ "TCP6", B(SIGNATURE "\x21\x21\0\x24" IP6), DONE, 0, "[2001:db8::1]:1", "[::1]:2" },
		{ "UDP6", B(SIGNATURE "\x21\x22\0\x24" IP6), DONE, 0, "[2001:db8::1]:1", "[::1]:2" },
		{ "mapped", B(SIGNATURE "\x21\x21\0\x24" MAPPED), DONE, 0, "10.1.2.3:1", "[::1]:2" },
		{ "Unix", B(SIGNATURE "\x21\x31\0\xd8" UNIX_A UNIX_B), DONE, 0, "unix:/run/client.socket", "unix:" },
		{ "Unix datagrams", B(SIGNATURE "\x21\x32\0\xd8" UNIX_A UNIX_B),
		  DONE, 0, "unix:/run/client.socket", "unix:" },
		{ "Unix without NUL", B(SIGNATURE "\x21\x31\0\xd8" PATH_108 PATH_108), DONE, 0, "unix:" PATH_108,
		  "unix:" PATH_108 },
		{ "Unix, abstract", B(SIGNATURE "\x21\x31\0\xd9" ABSTRACT UNIX_B), MALFORMED },
		{ "Unix, an abstract name", B(SIGNATURE "\x21\x31\0\xd8\0/abstract/socket." ZERO_90 UNIX_B),
		  DONE, 0, "unix:",
		  "unix:" },
		{ "UNSPEC", B(SIGNATURE "\x21\0\0\0"), DONE },
		{ "UNSPEC with bytes", B(SIGNATURE "\x21\0\0\x03\x02\xff\xff"), DONE },
		{ "LOCAL", B(SIGNATURE "\x20\0\0\0"), DONE },
		{ "LOCAL with addresses", B(SIGNATURE "\x20\x11\0\x0c" IP4), DONE },
		{ "LOCAL of an unknown family", B(SIGNATURE "\x20\x99\0\x02" "ab"), DONE },
	};

	(void)state;
	rows_check(rows, ARRAY_LEN(rows));
}

static void test_version_2_refused(void **state)
{
	static const struct row rows[] = {
		{ "version 1", B(SIGNATURE "\x11"), MALFORMED },
		{ "version 3", B(SIGNATURE "\x31"), MALFORMED },
		{ "command 2", B(SIGNATURE "\x22"), MALFORMED },
		{ "family 4", B(SIGNATURE "\x21\x41"), MALFORMED },
		{ "transport 3", B(SIGNATURE "\x21\x13"), MALFORMED },
		{ "family without transport", B(SIGNATURE "\x21\x10"), MALFORMED },
		{ "transport without family", B(SIGNATURE "\x21\x01"), MALFORMED },
		{ "short TCP4", B(IP4_HEAD "\0\x0b" IP4), MALFORMED },
		{ "empty TCP4", B(IP4_HEAD "\0\0"), MALFORMED },
		{ "short TCP6", B(SIGNATURE "\x21\x21\0\x23" IP6), MALFORMED },
		{ "short Unix", B(SIGNATURE "\x21\x31\0\xd7" UNIX_A UNIX_B), MALFORMED },
		{ "the longest", B(IP4_HEAD "\x10\0" IP4), MORE },
		{ "too long", B(IP4_HEAD "\x10\x01"), MALFORMED },
		{ "LOCAL, too long", B(SIGNATURE "\x20\0\xff\xff"), MALFORMED },
		{ "TLV of one byte", B(IP4_HEAD "\0\x0d" IP4 "\x04"), MALFORMED },
		{ "TLV of two bytes", B(IP4_HEAD "\0\x0e" IP4 "\x04\0"), MALFORMED },
		{ "TLV too long by one", B(IP4_HEAD "\0\x0f" IP4 "\xee\0\x01"), MALFORMED },
		{ "two ALPN", B(IP4_HEAD "\0\x14" IP4 "\x01\0\x01h\x01\0\x01h"), MALFORMED },
		{ "two empty ALPN", B(IP4_HEAD "\0\x12" IP4 "\x01\0\0\x01\0\0"), MALFORMED },
		{ "authority with LF", B(IP4_HEAD "\0\x12" IP4 "\x02\0\x03" "a\nb"), MALFORMED },
		{ "authority with NUL", B(IP4_HEAD "\0\x12" IP4 "\x02\0\x03" "a\0b"), MALFORMED },
		{ "authority with DEL", B(IP4_HEAD "\0\x12" IP4 "\x02\0\x03" "a\x7f" "b"), MALFORMED },
		{ "authority, no UTF-8", B(IP4_HEAD "\0\x12" IP4 "\x02\0\x03" "a\xff" "b"), MALFORMED },
		{ "authority of 256",
		  B(IP4_HEAD "\x01\x0f" IP4 "\x02\x01\0" LONG_50 LONG_50 LONG_50 LONG_50 LONG_50 "123456"),
		  MALFORMED },
		{ "id of 129", B(IP4_HEAD "\0\x90" IP4 "\x05\0\x81" LONG_50 LONG_50 "12345678901234567890123456789"),
		  MALFORMED },
		{ "checksum of 3", B(IP4_HEAD "\0\x12" IP4 "\x03\0\x03\0\0\0"), MALFORMED },
		{ "wrong checksum", B(IP4_HEAD "\0\x13" IP4 "\x03\0\x04\0\0\0\0"), MALFORMED },
		{ "two checksums, the last one right",
		  B(IP4_HEAD "\0\x1a" IP4 "\x03\0\x04\0\0\0\0\x03\0\x04\xd9\x2d\xe3\xb3"),
		  MALFORMED },
		{ "short TLS", B(IP4_HEAD "\0\x13" IP4 "\x20\0\x04\x01\0\0\0"), MALFORMED },
		{ "empty TLS", B(IP4_HEAD "\0\x0f" IP4 "\x20\0\0"), MALFORMED },
		{ "two TLS", B(IP4_HEAD "\0\x1c" IP4 "\x20\0\x05\x01\0\0\0\0\x20\0\x05\x01\0\0\0\0"), MALFORMED },
		{ "TLS with half a TLV", B(IP4_HEAD "\0\x16" IP4 "\x20\0\x07\x01\0\0\0\0\x21\0"), MALFORMED },
		{ "TLS with a TLV that leaves it", B(IP4_HEAD "\0\x18" IP4 "\x20\0\x08\x01\0\0\0\0\x21\0\x01" "a"),
		  MALFORMED },
		{ "TLS with two names", B(IP4_HEAD "\0\x1c" IP4 "\x20\0\x0d\x01\0\0\0\0\x22\0\x01" "a\x22\0\x01" "b"),
		  MALFORMED },
		{ "TLS with CR in a name", B(IP4_HEAD "\0\x18" IP4 "\x20\0\x09\x01\0\0\0\0\x22\0\x01\r"), MALFORMED },
	};

	(void)state;
	rows_check(rows, ARRAY_LEN(rows));
}

static void test_a_long_header_is_waited_for(void **state)
{
	static char header[PROXY_PROTOCOL_V2_MAX] = IP4_HEAD "\x10\0" IP4 "\xee\x0f\xf1";
	struct proxy_header h;
	size_t used;

	(void)state;
	assert_int_equal(read_exactly(span_of(header, sizeof(header) - 1), &h, &used), MORE);
	assert_int_equal(read_exactly(span_of(header, sizeof(header)), &h, &used), DONE);
	assert_int_equal(used, sizeof(header));
}

static void span_check(struct span got, const char *want)
{
	if (!span_eq(got, span_str(want)))
		fail_msg("\"%.*s\" instead of \"%s\"", SPAN_ARG(got), want);
}

/* What HAProxy 2.6 sends: proxy-v2-options crc32c,authority,unique-id,ssl,cert-cn,ssl-cipher,cert-key,cert-sig. */
static const struct span from_haproxy =
	B(SIGNATURE "\x21\x11\0\x99\x7f\0\0\x01\x7f\0\0\x01\xa4\x28\xdf\x51"
	  "\x03\0\x04\x34\x4d\xa6\xce"
	  "\x01\0\x02h2"
	  "\x02\0\x08web.test"
	  "\x05\0\x24" "5a8418ac-4ef9-4ce3-a01c-14c7b704f1e2"
	  "\x20\0\x4c\x07\0\0\0\0"
	  "\x21\0\x07TLSv1.3\x22\0\x0a" "client one\x25\0\x07RSA2048\x24\0\x0aRSA-SHA256"
	  "\x23\0\x16TLS_AES_256_GCM_SHA384");

static void haproxy_check(const struct proxy_header *h)
{
	addr_check("haproxy", &h->source, "127.0.0.1:42024");
	addr_check("haproxy", &h->destination, "127.0.0.1:57169");
	assert_true(h->has_crc32c);
	assert_true(h->has_tls);
	span_check(h->alpn, "h2");
	span_check(h->authority, "web.test");
	span_check(h->unique_id, "5a8418ac-4ef9-4ce3-a01c-14c7b704f1e2");
	span_check(h->netns, "");
	assert_int_equal(h->tls.client, PROXY_TLS_USED | PROXY_TLS_CERT_CONNECTION | PROXY_TLS_CERT_SESSION);
	assert_int_equal(h->tls.verify, 0);
	span_check(h->tls.version, "TLSv1.3");
	span_check(h->tls.cn, "client one");
	span_check(h->tls.cipher, "TLS_AES_256_GCM_SHA384");
	span_check(h->tls.sig_alg, "RSA-SHA256");
	span_check(h->tls.key_alg, "RSA2048");
}

static void test_what_haproxy_says_of_tls(void **state)
{
	struct proxy_header h;
	char copy[512], again[512];
	size_t used, len;

	(void)state;
	assert_int_equal(proxy_protocol_read(from_haproxy.ptr, from_haproxy.len, &h, &used), DONE);
	assert_int_equal(used, from_haproxy.len);
	haproxy_check(&h);
	/* What follows is not summed. */
	memcpy(copy, from_haproxy.ptr, from_haproxy.len);
	copy[from_haproxy.len] = 'x';
	assert_int_equal(read_exactly(span_of(copy, from_haproxy.len + 1), &h, &used), DONE);
	assert_int_equal(used, from_haproxy.len);
	/* Its checksum covers every byte - but the type that says that there is one. */
	for (size_t i = 16; i < from_haproxy.len; i++) {
		if (i == 28)
			continue;
		memcpy(copy, from_haproxy.ptr, from_haproxy.len);
		copy[i] ^= 0x40;
		assert_int_equal(read_exactly(span_of(copy, from_haproxy.len), &h, &used), MALFORMED);
	}
	assert_int_equal(proxy_protocol_read(from_haproxy.ptr, from_haproxy.len, &h, &used), DONE);
	assert_int_equal(proxy_protocol_write(&h, again, sizeof(again), &len), 0);
	assert_int_equal(len, from_haproxy.len);
	assert_int_equal(proxy_protocol_read(again, len, &h, &used), DONE);
	haproxy_check(&h);
}

static void test_tlvs_nobody_knows_are_skipped(void **state)
{
	static const struct span bytes = B(IP4_HEAD "\0\x2c" IP4 "\x04\0\x02\0\0" "\x04\0\0" "\xee\0\x01z"
					   "\x30\0\x02ns"
					   "\x20\0\x0c\0\0\0\0\x09\x29\0\x01?\x21\0\0");
	struct proxy_header h;
	size_t used;

	(void)state;
	assert_int_equal(proxy_protocol_read(bytes.ptr, bytes.len, &h, &used), DONE);
	span_check(h.netns, "ns");
	assert_false(h.has_crc32c);
	assert_true(h.has_tls);
	assert_int_equal(h.tls.client, 0);
	assert_int_equal(h.tls.verify, 9);
	span_check(h.tls.version, "");
}

/* ---- writing ---- */

static struct addr addr_of(const char *text)
{
	struct addr a = { .len = sizeof(sa_family_t), .un.sun_family = AF_UNIX }; /* a socket without a name */

	if (*text)
		assert_int_equal(addr_parse(span_str(text), &a), 0);
	return a;
}

static void test_addresses_as_written(void **state)
{
	static const struct {
		const char *source, *destination; /* NULL: none */
		const char *v1;
		struct span v2;
	} rows[] = {
		{ "10.1.2.3:40000", "192.0.2.1:443", "PROXY TCP4 10.1.2.3 192.0.2.1 40000 443\r\n",
		  B(IP4_HEAD "\0\x0c" IP4) },
		{ "[::ffff:10.1.2.3]:40000", "192.0.2.1:443", "PROXY TCP4 10.1.2.3 192.0.2.1 40000 443\r\n",
		  B(IP4_HEAD "\0\x0c" IP4) },
		{ "[2001:db8::1]:1", "[::1]:2", "PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
		  B(SIGNATURE "\x21\x21\0\x24" IP6) },
		{ "10.1.2.3:1", "[::1]:2", "PROXY TCP6 ::ffff:10.1.2.3 ::1 1 2\r\n",
		  B(SIGNATURE "\x21\x21\0\x24" MAPPED) },
		{ "[fe80::1%1]:1", "[::1]:2", "PROXY TCP6 fe80::1 ::1 1 2\r\n", { NULL, 0 } },
		{ "unix:/run/client.socket", "", "PROXY UNKNOWN\r\n", B(SIGNATURE "\x21\x31\0\xd8" UNIX_A UNIX_B) },
		{ "unix:/run/client.socket", "10.1.2.3:1", "PROXY UNKNOWN\r\n", B(SIGNATURE "\x21\0\0\0") },
		{ "[::1]:1", "", "PROXY UNKNOWN\r\n", B(SIGNATURE "\x21\0\0\0") },
		{ NULL, NULL, "PROXY UNKNOWN\r\n", B(SIGNATURE "\x20\0\0\0") },
	};
	char buf[PROXY_PROTOCOL_V2_MAX];
	size_t len;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct proxy_header h = { .version = 1, .has_addresses = rows[i].source != NULL };

		if (rows[i].source) {
			h.source = addr_of(rows[i].source);
			h.destination = addr_of(rows[i].destination);
		}
		assert_int_equal(proxy_protocol_write(&h, buf, sizeof(buf), &len), 0);
		span_check(span_of(buf, len), rows[i].v1);
		if (!rows[i].v2.ptr)
			continue;
		h.version = 2;
		assert_int_equal(proxy_protocol_write(&h, buf, sizeof(buf), &len), 0);
		if (!span_eq(span_of(buf, len), rows[i].v2))
			fail_msg("row %zu: another version 2", i);
	}
}

/* The kernel says how long a path is; what stands behind is rubbish. */
static void test_a_path_ends_where_its_length_says(void **state)
{
	struct proxy_header h = { .version = 2, .has_addresses = true }, back;
	char buf[PROXY_PROTOCOL_V2_MAX];
	size_t len, used;

	(void)state;
	h.source = addr_of("unix:/run/client");
	h.destination = addr_of("unix:/run/server");
	h.source.len -= 3;
	h.destination.len = sizeof(sa_family_t);
	assert_int_equal(proxy_protocol_write(&h, buf, sizeof(buf), &len), 0);
	assert_int_equal(proxy_protocol_read(buf, len, &back, &used), DONE);
	addr_check("cut", &back.source, "unix:/run/clie");
	addr_check("nameless", &back.destination, "unix:");
}

static void test_the_longest_line(void **state)
{
	struct proxy_header h = { .version = 1, .has_addresses = true };
	char buf[PROXY_PROTOCOL_V1_MAX];
	size_t len;

	(void)state;
	h.source = h.destination = addr_of("[" FULL_IP6 "]:65535");
	assert_int_equal(proxy_protocol_write(&h, buf, sizeof(buf), &len), 0);
	span_check(span_of(buf, len), "PROXY TCP6 " FULL_IP6 " " FULL_IP6 " 65535 65535\r\n");
	len = 77;
	assert_int_equal(proxy_protocol_write(&h, buf, 103, &len), -ENOSPC);
	assert_int_equal(len, 77);
}

static struct proxy_header with_tls(void)
{
	return (struct proxy_header){
		.version = 2, .has_addresses = true, .has_tls = true, .has_crc32c = true,
		.source = addr_of("10.1.2.3:40000"), .destination = addr_of("[::1]:443"),
		.alpn = SPAN("http/1.1"), .authority = SPAN("b\xc3\xbc" "cher.example"),
		.tls = { .client = PROXY_TLS_USED, .verify = 0x01020304, .version = SPAN("TLSv1.2"),
			 .cipher = SPAN("ECDHE-RSA-AES128-GCM-SHA256") },
	};
}

static void test_a_buffer_of_any_size_is_enough_or_refused(void **state)
{
	struct proxy_header h = with_tls(), back;
	char whole[512];
	size_t len, other, used;

	(void)state;
	assert_int_equal(proxy_protocol_write(&h, whole, sizeof(whole), &len), 0);
	assert_int_equal(proxy_protocol_read(whole, len, &back, &used), DONE);
	span_check(back.authority, "b\xc3\xbc" "cher.example");
	assert_int_equal(back.tls.verify, 0x01020304);
	assert_true(back.has_crc32c);
	assert_true(addr_eq(&back.source, &h.source) && addr_eq(&back.destination, &h.destination));
	for (size_t size = 0; size <= len; size++) {
		char *exact = malloc(size ? size : 1);

		assert_int_equal(proxy_protocol_write(&h, exact, size, &other), size < len ? -ENOSPC : 0);
		if (size == len)
			assert_memory_equal(exact, whole, len);
		free(exact);
	}
}

static void test_what_is_not_written(void **state)
{
	static char text[PROXY_PROTOCOL_V2_MAX], buf[2 * PROXY_PROTOCOL_V2_MAX];
	struct proxy_header h = with_tls();
	size_t len;

	(void)state;
	memset(text, 'x', sizeof(text));
	h.authority = span_of(text, PROXY_PROTOCOL_NAME_MAX);
	assert_int_equal(proxy_protocol_write(&h, buf, sizeof(buf), &len), 0);
	h.authority.len++;
	assert_int_equal(proxy_protocol_write(&h, buf, sizeof(buf), &len), -EINVAL);
	h.authority = SPAN("a\r\nb");
	assert_int_equal(proxy_protocol_write(&h, buf, sizeof(buf), &len), -EINVAL);
	h.version = 1; /* carries none of it */
	assert_int_equal(proxy_protocol_write(&h, buf, sizeof(buf), &len), 0);
	h = with_tls();
	h.unique_id = span_of(text, PROXY_PROTOCOL_UNIQUE_ID_MAX + 1);
	assert_int_equal(proxy_protocol_write(&h, buf, sizeof(buf), &len), -EINVAL);
	h.unique_id = span_of(text, PROXY_PROTOCOL_UNIQUE_ID_MAX);
	assert_int_equal(proxy_protocol_write(&h, buf, sizeof(buf), &len), 0);
	h.tls.cn = SPAN("\xff");
	assert_int_equal(proxy_protocol_write(&h, buf, sizeof(buf), &len), -EINVAL);
	/* Longer than we would read, though there is room. */
	h.tls.cn = span_of(text, 4000);
	assert_int_equal(proxy_protocol_write(&h, buf, sizeof(buf), &len), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version_1),
		cmocka_unit_test(test_version_1_refused),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_version_2),
		cmocka_unit_test(test_version_2_refused),
		cmocka_unit_test(test_a_long_header_is_waited_for),
		cmocka_unit_test(test_what_haproxy_says_of_tls),
		cmocka_unit_test(test_tlvs_nobody_knows_are_skipped),
		cmocka_unit_test(test_addresses_as_written),
		cmocka_unit_test(test_a_path_ends_where_its_length_says),
		cmocka_unit_test(test_the_longest_line),
		cmocka_unit_test(test_a_buffer_of_any_size_is_enough_or_refused),
		cmocka_unit_test(test_what_is_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
