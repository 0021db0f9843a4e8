/* SPDX-License-Identifier: GPL-2.0-only */
/* test_client_hello.c - the name and the protocols of a ClientHello: OpenSSL's own ones, cut, and forged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "base/check.h"
#include "net/client_hello.h"

#define DONE CLIENT_HELLO_DONE
#define MORE CLIENT_HELLO_MORE
#define MALFORMED CLIENT_HELLO_MALFORMED
#define NOT_TLS CLIENT_HELLO_NOT_TLS
#define B(literal) { "" literal, sizeof(literal) - 1 }
#define HELLO_MAX (1 << 17)

static const char *const result_names[] = { "MORE", "DONE", "MALFORMED", "NOT_TLS" };

/* In an allocation of its own, so that a byte too many is seen. */
static enum client_hello_result read_exactly(struct span in, struct client_hello *h)
{
	char *copy = malloc(in.len ? in.len : 1);
	enum client_hello_result result;

	memcpy(copy, in.ptr, in.len);
	result = client_hello_read(copy, in.len, h);
	free(copy);
	return result;
}

static void expect(const char *name, struct span in, enum client_hello_result want)
{
	struct client_hello h = { .name = "untouched" };
	enum client_hello_result got = read_exactly(in, &h);

	if (got != want)
		fail_msg("%s: %s instead of %s", name, result_names[got], result_names[want]);
	if (got != DONE)
		assert_string_equal(h.name, "untouched");
}

static void expect_name(const char *what, struct span in, const char *want)
{
	struct client_hello h;

	expect(what, in, want ? DONE : MALFORMED);
	if (!want)
		return;
	assert_int_equal(read_exactly(in, &h), DONE);
	assert_string_equal(h.name, want);
	assert_int_equal(h.name_len, strlen(want));
}

/* ---- what OpenSSL sends ---- */

struct client {
	const char *what, *name, *groups;
	struct span alpn; /* as on the wire */
	int version_max;
	size_t bytes_min;
};

static struct span hello_of_openssl(const struct client *c, char *buf)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	SSL *ssl;
	int len;

	assert_int_equal(SSL_CTX_set_max_proto_version(ctx, c->version_max), 1);
	if (c->groups)
		assert_int_equal(SSL_CTX_set1_groups_list(ctx, c->groups), 1);
	ssl = SSL_new(ctx);
	if (c->name)
		assert_int_equal(SSL_set_tlsext_host_name(ssl, c->name), 1);
	if (c->alpn.len)
		assert_int_equal(SSL_set_alpn_protos(ssl, (const uint8_t *)c->alpn.ptr, (unsigned)c->alpn.len), 0);
	SSL_set_bio(ssl, in, out);
	assert_int_equal(SSL_connect(ssl), -1);
	len = BIO_read(out, buf, HELLO_MAX);
	assert_true(len > 0);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return span_of(buf, (size_t)len);
}

static const struct client clients[] = {
	{ "TLS 1.3", "www.Example.COM", NULL, B("\x02h2\x08http/1.1"), TLS1_3_VERSION },
	{ "TLS 1.3 without a name", NULL, NULL, B(""), TLS1_3_VERSION },
	{ "TLS 1.2", "a.b.example.com", NULL, B("\x0a" "acme-tls/1"), TLS1_2_VERSION },
	{ "TLS 1.2 without a name", NULL, NULL, B("\x02h2"), TLS1_2_VERSION },
	{ "a key share of 1 KiB", "big.test.", "ffdhe8192", B(""), TLS1_3_VERSION, 1100 },
};

static void test_what_openssl_sends(void **state)
{
	static const char *const names[] = { "www.example.com", "", "a.b.example.com", "", "big.test" };
	static char buf[HELLO_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		struct span in = hello_of_openssl(&clients[i], buf);
		struct client_hello h;

		assert_true(in.len > clients[i].bytes_min);
		expect_name(clients[i].what, in, names[i]);
		assert_int_equal(read_exactly(in, &h), DONE);
		assert_true(span_eq(span_of(h.alpn, h.alpn_len), clients[i].alpn));
		for (size_t len = 0; len < in.len; len++)
			expect(clients[i].what, span_of(in.ptr, len), MORE);
		buf[in.len] = 23; /* what follows is not looked at */
		expect(clients[i].what, span_of(in.ptr, in.len + 1), DONE);
	}
}

static void test_protocols_are_listed(void **state)
{
	struct span rest = SPAN("\x02h2\x08http/1.1"), protocol;

	(void)state;
	assert_true(client_hello_alpn_next(&rest, &protocol));
	assert_true(span_eq(protocol, SPAN("h2")));
	assert_true(client_hello_alpn_next(&rest, &protocol));
	assert_true(span_eq(protocol, SPAN("http/1.1")));
	assert_false(client_hello_alpn_next(&rest, &protocol));
}

/* ---- records ---- */

/* A message in records of `piece` bytes. */
static struct span cut(struct span message, size_t piece, char *buf)
{
	size_t used = 0;

	for (; message.len > 0; message = span_skip(message, piece)) {
		size_t len = MIN(piece, message.len);

		memcpy(buf + used, (const char[]){ 22, 3, 1, (char)(len >> 8), (char)len }, 5);
		memcpy(buf + used + 5, message.ptr, len);
		used += 5 + len;
	}
	return span_of(buf, used);
}

static void test_a_hello_in_many_records(void **state)
{
	static char whole[HELLO_MAX], pieces[HELLO_MAX];
	struct span message = span_skip(hello_of_openssl(&clients[0], whole), 5), in;
	size_t least = (message.len + CLIENT_HELLO_RECORDS_MAX - 1) / CLIENT_HELLO_RECORDS_MAX;

	(void)state;
	for (size_t piece = 1; piece <= message.len; piece++) {
		in = cut(message, piece, pieces);
		if (piece < least) {
			expect("too many records", in, MALFORMED);
			continue;
		}
		expect_name("pieces", in, "www.example.com");
		expect("all but a byte", span_of(in.ptr, in.len - 1), MORE);
	}
	/* Even the header of the message may be cut. */
	memcpy(pieces, (const char[]){ 22, 3, 1, 0, 1, message.ptr[0] }, 6);
	in = cut(span_skip(message, 1), 100, pieces + 6);
	expect_name("a header in two records", span_of(pieces, in.len + 6), "www.example.com");
}

#define HEAD "\x16\x03\x01\x00\x40\x01\x00\x00\x3c\x03\x03"
#define FIVE_OF_64 "\x16\x03\x01\x00\x05\x01\x00\x00\x3c\x03"

static void test_records_refused(void **state)
{
	static const struct {
		const char *name;
		struct span bytes;
		enum client_hello_result want;
	} rows[] = {
		{ "nothing yet", B(""), MORE },
		{ "one byte", B("\x16"), MORE },
		{ "two bytes", B("\x16\x03"), MORE },
		{ "a header of a record", B("\x16\x03\x01\x00\x40"), MORE },
		{ "a beginning", B(HEAD), MORE },
		{ "HTTP", B("GET / HTTP/1.1\r\n"), NOT_TLS },
		{ "an SSL 2 hello", B("\x80\x2e\x01\x03\x01\x00\x15"), NOT_TLS },
		{ "an alert", B("\x15\x03\x01\x00\x02\x01\x00"), NOT_TLS },
		{ "another major version", B("\x16\x02\x00"), NOT_TLS },
		{ "DTLS", B("\x16\xfe\xff"), NOT_TLS },
		{ "empty record", B("\x16\x03\x01\x00\x00"), MALFORMED },
		{ "record of 16,385 bytes", B("\x16\x03\x01\x40\x01"), MALFORMED },
		{ "ServerHello", B("\x16\x03\x01\x00\x40\x02\x00\x00\x3c"), MALFORMED },
		{ "message of 16,384", B("\x16\x03\x01\x40\x00\x01\x00\x3f\xfc"), MORE },
		{ "message of 16,385", B("\x16\x03\x01\x40\x00\x01\x00\x3f\xfd"), MALFORMED },
		{ "message of 16 MB", B("\x16\x03\x01\x40\x00\x01\xff\xff\xff"), MALFORMED },
		{ "record longer than the message", B("\x16\x03\x01\x00\x41\x01\x00\x00\x3c"), MALFORMED },
		{ "the second record", B(FIVE_OF_64 "\x16\x03\x01\x00\x3b"), MORE },
		{ "second record too long", B(FIVE_OF_64 "\x16\x03\x01\x00\x3c"), MALFORMED },
		{ "an alert in between", B(FIVE_OF_64 "\x15\x03\x01\x00\x02"), MALFORMED },
		{ "another version in between", B(FIVE_OF_64 "\x16\x02\x01\x00\x02"), MALFORMED },
		{ "empty record in between", B(FIVE_OF_64 "\x16\x03\x01\x00\x00"), MALFORMED },
		{ "empty hello", B("\x16\x03\x01\x00\x04\x01\x00\x00\x00"), MALFORMED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(rows[i].name, rows[i].bytes, rows[i].want);
}

/* ---- the message ---- */

#define RANDOM "0123456789abcdef0123456789abcdef"
#define CIPHERS "\0\x02\x13\x01"
#define NULL_COMPRESSION "\x01\0"
#define FRONT "\x03\x03" RANDOM "\0" CIPHERS NULL_COMPRESSION
#define ID_32 RANDOM

/* The body of a hello, in one record. */
static struct span hello_with(struct span body, char *buf)
{
	static char message[HELLO_MAX];

	memcpy(message, (const char[]){ 1, 0, (char)(body.len >> 8), (char)body.len }, 4);
	memcpy(message + 4, body.ptr, body.len);
	return cut(span_of(message, 4 + body.len), 16384, buf);
}

static void test_what_stands_before_the_extensions(void **state)
{
	static const struct {
		const char *name;
		struct span body;
		enum client_hello_result want;
	} rows[] = {
		{ "no extensions", B(FRONT), DONE },
		{ "empty extensions", B(FRONT "\0\0"), DONE },
		{ "SSL 3", B("\x03\0" RANDOM "\0" CIPHERS NULL_COMPRESSION), DONE },
		{ "session id of 32", B("\x03\x03" RANDOM "\x20" ID_32 CIPHERS NULL_COMPRESSION), DONE },
		{ "two compressions", B("\x03\x03" RANDOM "\0" CIPHERS "\x02\x01\0"), DONE },
		{ "version 2", B("\x02\0" RANDOM "\0" CIPHERS NULL_COMPRESSION), MALFORMED },
		{ "version alone", B("\x03\x03"), MALFORMED },
		{ "short random", B("\x03\x03" "0123456789abcdef0123456789abcde"), MALFORMED },
		{ "no session id", B("\x03\x03" RANDOM), MALFORMED },
		{ "session id of 33", B("\x03\x03" RANDOM "\x21" ID_32 "x" CIPHERS NULL_COMPRESSION), MALFORMED },
		{ "session id that leaves it", B("\x03\x03" RANDOM "\x20" "0123"), MALFORMED },
		{ "no ciphers", B("\x03\x03" RANDOM "\0"), MALFORMED },
		{ "empty ciphers", B("\x03\x03" RANDOM "\0" "\0\0" NULL_COMPRESSION), MALFORMED },
		{ "ciphers of 3 bytes", B("\x03\x03" RANDOM "\0" "\0\x03" "\x13\x01\x13" NULL_COMPRESSION), MALFORMED },
		{ "ciphers that leave it", B("\x03\x03" RANDOM "\0" "\0\x40" "\x13\x01"), MALFORMED },
		{ "no compressions", B("\x03\x03" RANDOM "\0" CIPHERS), MALFORMED },
		{ "empty compressions", B("\x03\x03" RANDOM "\0" CIPHERS "\0"), MALFORMED },
		{ "compressions that leave it", B("\x03\x03" RANDOM "\0" CIPHERS "\x02\0"), MALFORMED },
		{ "half a length", B(FRONT "\0"), MALFORMED },
		{ "extensions that leave it", B(FRONT "\0\x01"), MALFORMED },
		{ "bytes behind them", B(FRONT "\0\0x"), MALFORMED },
	};
	static char buf[HELLO_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(rows[i].name, hello_with(rows[i].body, buf), rows[i].want);
}

/* A hello whose extensions are these bytes. */
static struct span hello_extended(struct span extensions, char *buf)
{
	static char body[HELLO_MAX];
	size_t front = sizeof(FRONT) - 1;

	memcpy(body, FRONT, front);
	memcpy(body + front, (const char[]){ (char)(extensions.len >> 8), (char)extensions.len }, 2);
	memcpy(body + front + 2, extensions.ptr, extensions.len);
	return hello_with(span_of(body, front + 2 + extensions.len), buf);
}

#define NAME_AB "\0\0\0\x07\0\x05\0\0\x02" "ab"
#define ALPN_H2 "\0\x10\0\x05\0\x03\x02h2"

static void test_extensions(void **state)
{
	static const struct {
		const char *name;
		struct span bytes;
		const char *want; /* NULL: malformed */
	} rows[] = {
		{ "name", B(NAME_AB), "ab" },
		{ "name and protocols", B(ALPN_H2 NAME_AB), "ab" },
		{ "others around it", B("\x0a\x0a\0\0" NAME_AB "\xff\x01\0\x01\0"), "ab" },
		{ "protocols alone", B(ALPN_H2), "" },
		{ "two names", B(NAME_AB NAME_AB), NULL },
		{ "two lists of protocols", B(ALPN_H2 ALPN_H2), NULL },
		{ "extension of three bytes", B("\0\x17\0"), NULL },
		{ "extension that leaves it", B("\0\x17\0\x01"), NULL },
		{ "empty server_name", B("\0\0\0\0"), NULL },
		{ "empty list", B("\0\0\0\x02\0\0"), NULL },
		{ "list shorter than the extension", B("\0\0\0\x08\0\x05\0\0\x02" "abc"), NULL },
		{ "list longer than the extension", B("\0\0\0\x07\0\x06\0\0\x02" "ab"), NULL },
		{ "another type of name", B("\0\0\0\x07\0\x05\x01\0\x02" "ab"), NULL },
		{ "two names in the list", B("\0\0\0\x0c\0\x0a\0\0\x02" "ab\0\0\x02" "cd"), NULL },
		{ "empty name", B("\0\0\0\x05\0\x03\0\0\0"), NULL },
		{ "name shorter than the list", B("\0\0\0\x07\0\x05\0\0\x01" "ab"), NULL },
		{ "empty ALPN", B("\0\x10\0\0"), NULL },
		{ "empty list of protocols", B("\0\x10\0\x02\0\0"), NULL },
		{ "empty protocol", B("\0\x10\0\x06\0\x04\x02h2\0"), NULL },
		{ "protocol that leaves the list", B("\0\x10\0\x05\0\x03\x03h2"), NULL },
		{ "list of protocols too short", B("\0\x10\0\x06\0\x03\x02h2x"), NULL },
		{ "list of protocols too long", B("\0\x10\0\x05\0\x04\x02h2"), NULL },
	};
	static char buf[HELLO_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect_name(rows[i].name, hello_extended(rows[i].bytes, buf), rows[i].want);
}

#define LABEL_63 "012345678901234567890123456789012345678901234567890123456789abc"
#define NAME_255 LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_63

static struct span hello_named(struct span name, char *buf)
{
	static char extension[HELLO_MAX];
	uint8_t len = (uint8_t)(name.len & 0xff), high = (uint8_t)(name.len >> 8);
	uint16_t list = (uint16_t)(name.len + 3), value = (uint16_t)(name.len + 5);

	memcpy(extension, (const uint8_t[]){ 0, 0, (uint8_t)(value >> 8), (uint8_t)value, (uint8_t)(list >> 8),
					     (uint8_t)list, 0, high, len }, 9);
	memcpy(extension + 9, name.ptr, name.len);
	return hello_extended(span_of(extension, 9 + name.len), buf);
}

static void test_names(void **state)
{
	static const struct {
		struct span name;
		const char *want; /* NULL: malformed */
	} rows[] = {
		{ B("localhost"), "localhost" },
		{ B("WWW.Example.Org"), "www.example.org" },
		{ B("AZaz09.Z"), "azaz09.z" },
		{ B("example.org."), "example.org" },
		{ B("_dmarc.x-y.example"), "_dmarc.x-y.example" },
		{ B("xn--bcher-kva.example"), "xn--bcher-kva.example" },
		{ B("192.0.2.1"), "192.0.2.1" },
		{ B(LABEL_63 ".a"), LABEL_63 ".a" },
		{ B(NAME_255), NAME_255 },
		{ B(NAME_255 "."), NAME_255 },
		{ B(NAME_255 ".a"), NULL },
		{ B(LABEL_63 "d.a"), NULL },
		{ B("."), NULL },
		{ B(".."), NULL },
		{ B("a.."), NULL },
		{ B("a..b"), NULL },
		{ B(".a"), NULL },
		{ B("a\0b"), NULL },
		{ B("a\0"), NULL },
		{ B("a b"), NULL },
		{ B("a\n"), NULL },
		{ B("b\xc3\xbc" "cher"), NULL },
		{ B("*.example.org"), NULL },
		{ B("[::1]"), NULL },
		{ B("::1"), NULL },
		{ B("a:443"), NULL },
		{ B("a/b"), NULL },
		{ B("a@b"), NULL },
		{ B("a`b"), NULL },
		{ B("a{b"), NULL },
		{ B("a[b"), NULL },
	};
	static char buf[HELLO_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect_name(rows[i].name.ptr, hello_named(rows[i].name, buf), rows[i].want);
}

static void test_the_longest_list_of_protocols(void **state)
{
	static char buf[HELLO_MAX], bytes[1024] = "\0\x10\x02\x02\x02\0";
	struct client_hello h;
	struct span in;

	(void)state;
	memset(bytes + 6, 'p', CLIENT_HELLO_ALPN_MAX + 1);
	bytes[6] = bytes[6 + 256] = (char)255;
	in = hello_extended(span_of(bytes, 6 + CLIENT_HELLO_ALPN_MAX), buf);
	assert_int_equal(read_exactly(in, &h), DONE);
	assert_int_equal(h.alpn_len, CLIENT_HELLO_ALPN_MAX);
	/* A byte more, as well formed. */
	bytes[3] = 3;
	bytes[5] = 1;
	bytes[6 + 256] = 127;
	bytes[6 + 384] = (char)128;
	expect("513 bytes of protocols", hello_extended(span_of(bytes, 7 + CLIENT_HELLO_ALPN_MAX), buf), MALFORMED);
}

static void test_as_many_records_as_may_be(void **state)
{
	static char whole[HELLO_MAX], pieces[HELLO_MAX];
	char extension[CLIENT_HELLO_RECORDS_MAX] = { 0, 21 };
	size_t fill = sizeof(extension) - 4 - (sizeof(FRONT) - 1) - 2;

	(void)state;
	for (size_t more = 0; more < 2; more++) {
		extension[3] = (char)(fill + more - 4);
		expect(more ? "65 records" : "64 records",
		       cut(span_skip(hello_extended(span_of(extension, fill + more), whole), 5), 1, pieces),
		       more ? MALFORMED : DONE);
	}
}

static void test_the_longest_message(void **state)
{
	static char buf[HELLO_MAX], padding[CLIENT_HELLO_MESSAGE_MAX];
	size_t most = CLIENT_HELLO_MESSAGE_MAX - 4 - (sizeof(FRONT) - 1) - 2;
	struct span in;

	(void)state;
	memcpy(padding, (const char[]){ 0, 21, (char)((most - 4) >> 8), (char)(most - 4) }, 4);
	in = hello_extended(span_of(padding, most), buf);
	assert_int_equal(in.len, CLIENT_HELLO_MESSAGE_MAX + 5);
	expect("16,384 bytes", in, DONE);
	expect("all but a byte of them", span_of(in.ptr, in.len - 1), MORE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_openssl_sends),
		cmocka_unit_test(test_protocols_are_listed),
		cmocka_unit_test(test_a_hello_in_many_records),
		cmocka_unit_test(test_records_refused),
		cmocka_unit_test(test_what_stands_before_the_extensions),
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_the_longest_list_of_protocols),
		cmocka_unit_test(test_as_many_records_as_may_be),
		cmocka_unit_test(test_the_longest_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
