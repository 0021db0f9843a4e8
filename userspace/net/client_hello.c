/* SPDX-License-Identifier: GPL-2.0-only */
/* client_hello.c - server name and protocols in a ClientHello (RFC 8446 4.1.2 and 5.1, RFC 6066 3, RFC 7301). */
#include "net/client_hello.h"

#include "base/check.h"
#include "net/cursor.h"

#define RECORD_HANDSHAKE 22
#define RECORD_HEADER_BYTES 5
#define RECORD_BYTES_MAX 16384
#define VERSION_MAJOR 3 /* SSL 3 and every TLS */
#define MESSAGE_CLIENT_HELLO 1
#define MESSAGE_HEADER_BYTES 4
#define RANDOM_BYTES 32
#define SESSION_ID_MAX 32
#define EXTENSION_SERVER_NAME 0
#define EXTENSION_ALPN 16
#define NAME_TYPE_HOST 0
#define LABEL_MAX 63

/* ---- records ---- */

/* The next record's part of the message; `declared` bytes when it is all there. */
static enum client_hello_result record_take(struct cursor *in, struct cursor *out_piece, size_t *out_declared)
{
	struct cursor head;
	size_t declared;

	if (!cursor_take(in, RECORD_HEADER_BYTES, &head))
		return CLIENT_HELLO_MORE;
	declared = (size_t)head.at[3] << 8 | head.at[4];
	if (head.at[0] != RECORD_HANDSHAKE || head.at[1] != VERSION_MAJOR || declared == 0 ||
	    declared > RECORD_BYTES_MAX)
		return CLIENT_HELLO_MALFORMED;
	*out_declared = declared;
	(void)cursor_take(in, MIN(in->left, declared), out_piece);
	return CLIENT_HELLO_DONE;
}

/* The length of the message with its header. */
static enum client_hello_result length_read(const uint8_t header[MESSAGE_HEADER_BYTES], size_t *out_len)
{
	size_t len = MESSAGE_HEADER_BYTES + ((size_t)header[1] << 16 | (size_t)header[2] << 8 | header[3]);

	if (header[0] != MESSAGE_CLIENT_HELLO || len > CLIENT_HELLO_MESSAGE_MAX)
		return CLIENT_HELLO_MALFORMED;
	*out_len = len;
	return CLIENT_HELLO_DONE;
}

/* Walk the records, which looks at nothing but their headers and the message's: how many hold how long a message? */
static enum client_hello_result records_measure(struct cursor in, unsigned *out_count, size_t *out_len)
{
	uint8_t header[MESSAGE_HEADER_BYTES];
	size_t have = 0, len = 0, declared;
	enum client_hello_result result;
	struct cursor piece;

	for (unsigned count = 1; count <= CLIENT_HELLO_RECORDS_MAX; count++) {
		result = record_take(&in, &piece, &declared);
		if (result != CLIENT_HELLO_DONE)
			return result;
		for (size_t i = 0; i < piece.left && have + i < sizeof(header); i++)
			header[have + i] = piece.at[i];
		if (len == 0 && have + piece.left >= sizeof(header) &&
		    length_read(header, &len) != CLIENT_HELLO_DONE)
			return CLIENT_HELLO_MALFORMED;
		if (len && have + declared > len)
			return CLIENT_HELLO_MALFORMED;
		if (piece.left < declared)
			return CLIENT_HELLO_MORE;
		have += declared;
		if (have == len) {
			*out_count = count;
			*out_len = len;
			return CLIENT_HELLO_DONE;
		}
	}
	return CLIENT_HELLO_MALFORMED;
}

/* ---- the message ---- */

/* A host name, folded into out.  The length, or 0: it is none. */
static size_t name_fold(struct span name, char out[CLIENT_HELLO_NAME_MAX + 1])
{
	size_t label = 0;

	if (name.len > 0 && name.ptr[name.len - 1] == '.')
		name.len--;
	if (name.len > CLIENT_HELLO_NAME_MAX)
		return 0;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c + ('a' - 'A'));
		label = c == '.' ? 0 : label + 1;
		if (c == '.' ? i == 0 || out[i - 1] == '.' : label > LABEL_MAX)
			return 0;
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
			return 0;
		out[i] = c;
	}
	/* A name of dots alone, or with two at the end. */
	if (label == 0)
		return 0;
	out[name.len] = '\0';
	return name.len;
}

/* Other types of names never came to be, and nobody could skip one: its form is not defined. */
static bool server_name_read(struct cursor c, struct client_hello *h)
{
	struct cursor list, name;
	uint32_t type;

	if (!cursor_vector(&c, 2, &list) || c.left > 0 || !cursor_number(&list, 1, &type) ||
	    type != NAME_TYPE_HOST || !cursor_vector(&list, 2, &name) || list.left > 0)
		return false;
	h->name_len = name_fold(cursor_span(name), h->name);
	return h->name_len > 0;
}

static bool alpn_read(struct cursor c, struct client_hello *h)
{
	struct cursor list, left, protocol;

	if (!cursor_vector(&c, 2, &list) || c.left > 0 || list.left == 0 || list.left > sizeof(h->alpn))
		return false;
	for (left = list; left.left > 0;)
		if (!cursor_vector(&left, 1, &protocol) || protocol.left == 0)
			return false;
	memcpy(h->alpn, list.at, list.left);
	h->alpn_len = list.left;
	return true;
}

static bool extensions_read(struct cursor c, struct client_hello *h)
{
	struct cursor value;
	uint32_t type;

	while (c.left > 0) {
		if (!cursor_number(&c, 2, &type) || !cursor_vector(&c, 2, &value))
			return false;
		/* What was read is never empty: a second one is seen by that. */
		if (type == EXTENSION_SERVER_NAME && (h->name_len || !server_name_read(value, h)))
			return false;
		if (type == EXTENSION_ALPN && (h->alpn_len || !alpn_read(value, h)))
			return false;
	}
	return true;
}

static bool hello_read(struct cursor c, struct client_hello *h)
{
	struct cursor session_id, ciphers, compressions, extensions, skipped;
	uint32_t major;

	if (!cursor_take(&c, MESSAGE_HEADER_BYTES, &skipped) || !cursor_number(&c, 1, &major) ||
	    major != VERSION_MAJOR || !cursor_take(&c, 1 + RANDOM_BYTES, &skipped))
		return false;
	if (!cursor_vector(&c, 1, &session_id) || session_id.left > SESSION_ID_MAX)
		return false;
	if (!cursor_vector(&c, 2, &ciphers) || ciphers.left == 0 || ciphers.left % 2)
		return false;
	if (!cursor_vector(&c, 1, &compressions) || compressions.left == 0)
		return false;
	if (c.left == 0)
		return true; /* before TLS 1.2 extensions could be left out */
	return cursor_vector(&c, 2, &extensions) && c.left == 0 && extensions_read(extensions, h);
}

enum client_hello_result client_hello_read(const void *bytes, size_t len, struct client_hello *out)
{
	uint8_t message[CLIENT_HELLO_MESSAGE_MAX];
	struct cursor in = { bytes, len }, piece;
	struct client_hello h = { 0 };
	enum client_hello_result result;
	size_t message_len, used = 0, declared;
	unsigned count;

	if ((len >= 1 && in.at[0] != RECORD_HANDSHAKE) || (len >= 2 && in.at[1] != VERSION_MAJOR))
		return CLIENT_HELLO_NOT_TLS;
	result = records_measure(in, &count, &message_len);
	if (result != CLIENT_HELLO_DONE)
		return result;
	for (; count > 0 && record_take(&in, &piece, &declared) == CLIENT_HELLO_DONE; count--) {
		memcpy(message + used, piece.at, piece.left);
		used += piece.left;
	}
	CHECK(count == 0 && used == message_len);
	if (!hello_read((struct cursor){ message, used }, &h))
		return CLIENT_HELLO_MALFORMED;
	*out = h;
	return CLIENT_HELLO_DONE;
}

bool client_hello_alpn_next(struct span *rest, struct span *out_protocol)
{
	struct cursor c = { (const uint8_t *)rest->ptr, rest->len }, protocol;

	if (!cursor_vector(&c, 1, &protocol))
		return false;
	*out_protocol = cursor_span(protocol);
	*rest = cursor_span(c);
	return true;
}
