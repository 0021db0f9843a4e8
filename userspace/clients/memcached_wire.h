/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * memcached_wire.h - replies of memcached's meta protocol without I/O.
 *
 * Replies are hostile: a line has at most MEMCACHED_LINE_MAX bytes, a value is a number of at most 20 digits; anything
 * else is an error for good.
 */
#ifndef SN_CLIENTS_MEMCACHED_WIRE_H
#define SN_CLIENTS_MEMCACHED_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

#define MEMCACHED_LINE_MAX  512
#define MEMCACHED_VALUE_MAX 24
#define MEMCACHED_TEXT_MAX  128

enum memcached_reply_kind {
	MEMCACHED_DONE,	   /* HD */
	MEMCACHED_VALUE,   /* VA: a number */
	MEMCACHED_MISSING, /* NF, EN */
	MEMCACHED_EXISTS,  /* EX: somebody else was faster; NS */
	MEMCACHED_PONG,	   /* MN */
	MEMCACHED_ERROR,   /* ERROR, CLIENT_ERROR, SERVER_ERROR */
};

struct memcached_reply {
	enum memcached_reply_kind kind;
	uint64_t number; /* VALUE */
	uint64_t cas;	 /* flag c; 0: none */
	char text[MEMCACHED_TEXT_MAX + 1]; /* ERROR: what is not printable is ? */
};

/* Zero-initialise. */
struct memcached_reader {
	size_t len;
	char bytes[MEMCACHED_LINE_MAX + MEMCACHED_VALUE_MAX + 4]; /* of a reply that is not complete */
};

/* Takes bytes off the front.  1: a reply; 0: more bytes are needed; -EPROTO. */
int memcached_reader_next(struct memcached_reader *r, struct span *bytes, struct memcached_reply *out);

#endif
