/* SPDX-License-Identifier: GPL-2.0-only */
/* redis_wire.c - hiredis behind bounds: objects are fields of one struct, nothing is allocated for a reply. */
#include "clients/redis_wire.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/decimal.h"
#include "base/mem.h"

struct redis_reader {
	redisReader *parser; /* owned */
	struct redis_reply reply; /* being built */
};

/* NULL from one of these ends the parser with an error: the reply is not of a kind that we take. */

static struct redis_reply *top(const redisReadTask *task)
{
	return task->parent ? NULL : &((struct redis_reader *)task->privdata)->reply;
}

static void *on_text(const redisReadTask *task, char *text, size_t len)
{
	struct redis_reply *r = top(task);

	if (!r)
		return NULL;
	*r = (struct redis_reply){ .kind = REDIS_TEXT };
	if (task->type == REDIS_REPLY_ERROR)
		r->kind = REDIS_ERROR;
	else if (task->type == REDIS_REPLY_STATUS)
		r->kind = REDIS_STATUS;
	for (size_t i = 0; i < MIN(len, (size_t)REDIS_TEXT_MAX); i++)
		r->text[i] = text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?';
	return r;
}

static void *on_array(const redisReadTask *task, int count)
{
	struct redis_reply *r = top(task);

	if (!r || count < 0 || count > REDIS_ELEMENTS_MAX)
		return NULL;
	*r = (struct redis_reply){ .kind = REDIS_NUMBERS, .count = (unsigned)count };
	return r;
}

static void *on_number(const redisReadTask *task, long long number)
{
	struct redis_reply *r;

	if (task->parent) {
		r = task->parent->obj;
		if (!r || task->idx < 0 || task->idx >= REDIS_ELEMENTS_MAX)
			return NULL;
		r->numbers[task->idx] = number;
		return r;
	}
	r = top(task);
	*r = (struct redis_reply){ .kind = REDIS_NUMBER, .count = 1, .numbers = { number } };
	return r;
}

static void *on_nothing(const redisReadTask *task)
{
	struct redis_reply *r = top(task);

	if (r)
		*r = (struct redis_reply){ .kind = REDIS_NOTHING };
	return r;
}

static void on_free(void *reply)
{
	(void)reply; /* nothing is its own */
}

static redisReplyObjectFunctions functions = {
	.createString = on_text,
	.createArray = on_array,
	.createInteger = on_number,
	.createNil = on_nothing,
	.freeObject = on_free,
};

struct redis_reader *redis_reader_new(void)
{
	struct redis_reader *r = mem_zalloc(sizeof(*r));

	r->parser = redisReaderCreateWithFunctions(&functions);
	CHECK(r->parser);
	r->parser->privdata = r;
	return r;
}

void redis_reader_free(struct redis_reader *r)
{
	if (!r)
		return;
	redisReaderFree(r->parser);
	free(r);
}

int redis_reader_feed(struct redis_reader *r, struct span bytes)
{
	return redisReaderFeed(r->parser, bytes.ptr, bytes.len) == REDIS_OK ? 0 : -EPROTO;
}

int redis_reader_next(struct redis_reader *r, struct redis_reply *out)
{
	void *done = NULL;

	if (redisReaderGetReply(r->parser, &done) != REDIS_OK)
		return -EPROTO;
	if (done) {
		*out = r->reply;
		return 1;
	}
	/* what is left is a part of one reply */
	return r->parser->len - r->parser->pos > REDIS_REPLY_MAX ? -EPROTO : 0;
}

struct slice redis_command(const struct span *words, unsigned count)
{
	const char *argv[REDIS_WORDS_MAX];
	size_t lens[REDIS_WORDS_MAX];
	struct slice out;
	char *bytes;
	int len;

	CHECK(count > 0 && count <= REDIS_WORDS_MAX);
	for (unsigned i = 0; i < count; i++) {
		argv[i] = words[i].len ? words[i].ptr : "";
		lens[i] = words[i].len;
	}
	len = redisFormatCommandArgv(&bytes, (int)count, argv, lens);
	CHECK(len > 0);
	out = slice_copy(bytes, (uint32_t)len);
	redisFreeCommand(bytes);
	return out;
}

static char *put_line(char *at, char kind, uint64_t n)
{
	*at++ = kind;
	at = decimal_put(at, n);
	*at++ = '\r';
	*at++ = '\n';
	return at;
}

char *redis_put_count(char *at, unsigned count)
{
	return put_line(at, '*', count);
}

char *redis_put(char *at, struct span word)
{
	at = put_line(at, '$', word.len);
	if (word.len)
		memcpy(at, word.ptr, word.len);
	at += word.len;
	*at++ = '\r';
	*at++ = '\n';
	return at;
}

char *redis_put_number(char *at, uint64_t n)
{
	char digits[DECIMAL_MAX], *end = decimal_put(digits, n);

	return redis_put(at, span_of(digits, (size_t)(end - digits)));
}
