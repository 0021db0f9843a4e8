/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * redis_wire.h - Redis' protocol without I/O: commands as bytes, bytes as replies.  hiredis parses, and
 * formats all but what is asked often.
 *
 * Replies are hostile: one is a status, an error, a text, nothing, or a flat array of at most REDIS_ELEMENTS_MAX
 * numbers, of REDIS_REPLY_MAX bytes; anything else ends the reader for good.
 */
#ifndef SN_CLIENTS_REDIS_WIRE_H
#define SN_CLIENTS_REDIS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/iobuf.h"

#define REDIS_REPLY_MAX	   8192
#define REDIS_ELEMENTS_MAX 8
#define REDIS_TEXT_MAX	   128 /* bytes of a text that are kept */

enum redis_reply_kind {
	REDIS_NOTHING,
	REDIS_STATUS,
	REDIS_ERROR,
	REDIS_TEXT,
	REDIS_NUMBER, /* numbers[0] */
	REDIS_NUMBERS,
};

struct redis_reply {
	enum redis_reply_kind kind;
	unsigned count; /* of numbers */
	int64_t numbers[REDIS_ELEMENTS_MAX];
	char text[REDIS_TEXT_MAX + 1]; /* cut; what is not printable is ? */
};

struct redis_reader;

struct redis_reader *redis_reader_new(void);
void redis_reader_free(struct redis_reader *r); /* NULL ok */
/* 0, or -EPROTO: these bytes can be no reply of ours. */
int redis_reader_feed(struct redis_reader *r, struct span bytes);
/* 1: a reply; 0: more bytes are needed; -EPROTO. */
int redis_reader_next(struct redis_reader *r, struct redis_reply *out);

/* A command in the protocol's form; the reference is the caller's. */
struct slice redis_command(const struct span *words, unsigned count);

#define REDIS_WORDS_MAX 8

/* The same in place, for what is asked often: first the count, then the words.  Each gives where the next one goes. */
#define REDIS_WORD_ROOM	  24 /* more than its bytes: length and line ends */
#define REDIS_NUMBER_ROOM 28
char *redis_put_count(char *at, unsigned count); /* of words; REDIS_WORD_ROOM bytes */
char *redis_put(char *at, struct span word);
char *redis_put_number(char *at, uint64_t n);

#endif
