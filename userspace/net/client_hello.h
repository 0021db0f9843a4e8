/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * client_hello.h - which server a TLS client wants, read from its first records without answering them.
 * Pure functions over bytes, any thread.
 */
#ifndef SN_NET_CLIENT_HELLO_H
#define SN_NET_CLIENT_HELLO_H

#include "base/span.h"

#define CLIENT_HELLO_MESSAGE_MAX 16384 /* the message with its header of 4 bytes; real ones have 200 to 2,000 */
#define CLIENT_HELLO_RECORDS_MAX 64    /* that it is cut into */
/* No more bytes are ever asked for. */
#define CLIENT_HELLO_BYTES_MAX (CLIENT_HELLO_MESSAGE_MAX + 5 * CLIENT_HELLO_RECORDS_MAX)
#define CLIENT_HELLO_NAME_MAX 255
#define CLIENT_HELLO_ALPN_MAX 512 /* bytes of the list; real ones have 12 */

enum client_hello_result {
	CLIENT_HELLO_MORE,	/* a beginning: come back with more bytes */
	CLIENT_HELLO_DONE,
	CLIENT_HELLO_MALFORMED, /* TLS, but no ClientHello that we would route by */
	CLIENT_HELLO_NOT_TLS,	/* something else, hellos of SSL 2 included */
};

struct client_hello {
	char name[CLIENT_HELLO_NAME_MAX + 1]; /* server_name: lower case, no dot at the end; "": none was sent */
	size_t name_len;
	char alpn[CLIENT_HELLO_ALPN_MAX]; /* as on the wire: client_hello_alpn_next() walks it */
	size_t alpn_len;
};

/*
 * Read the ClientHello at the front of a connection; bytes may be a prefix of it, and more may follow it.  *out is
 * written only with DONE.  MORE costs a few instructions for each record, however often it is asked.
 *
 * Malformed are, besides what does not add up: records that are empty, too long, or hold more than the hello; what is
 * longer than the limits above; two extensions of a kind that we read; a server_name that is not one host name of
 * letters, digits, '-' and '_' in labels of 1 to 63; an empty protocol name.
 */
enum client_hello_result client_hello_read(const void *bytes, size_t len, struct client_hello *out);

/* Take the next protocol off the front of the list; it starts as span_of(h->alpn, h->alpn_len).  False at the end. */
bool client_hello_alpn_next(struct span *rest, struct span *out_protocol);

#endif
