/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * store_redis.c - a token bucket in Redis: one script, called by its hash.
 * Numbers of Lua are doubles: microseconds since 1970 are exact in them, but not when printed by tostring().
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/hex.h"
#include "base/sha1.h"
#include "clients/redis_wire.h"
#include "clients/store_private.h"

/* KEYS: bucket.  ARGV: interval, tolerance, longest delay in µs; 1 takes a token, -1 gives it back. */
static const char script[] =
	"local t = redis.call('TIME')\n"
	"local now = t[1] * 1000000 + t[2]\n"
	"local interval, tolerance, delay = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])\n"
	"local level = (tonumber(redis.call('GET', KEYS[1])) or 0) - now\n"
	"if level < 0 then level = 0 end\n"
	/* a clock that was set back must not lock anybody out */
	"if level > tolerance + delay + interval then level = tolerance + delay + interval end\n"
	"local taken, wait = 1, 0\n"
	"if ARGV[4] == '-1' then\n"
	"  if level <= interval then redis.call('DEL', KEYS[1]); return {0, 0, 0, 0} end\n"
	"  level = level - interval\n"
	"else\n"
	"  if level > tolerance then wait = level - tolerance end\n"
	"  if wait > delay then return {0, 0, level, wait} end\n"
	"  level = level + interval\n"
	"end\n"
	"redis.call('SET', KEYS[1], string.format('%.0f', now + level), 'PX', math.ceil(level / 1000) + 1)\n"
	"local remaining = 0\n"
	"if level <= tolerance then remaining = math.floor((tolerance - level) / interval) + 1 end\n"
	"return {1, remaining, level, wait}\n";

/* How a call begins: the command, the script or its hash, and that there is one key. */
struct opening {
	size_t len;
	char bytes[sizeof(script) + 5 * REDIS_WORD_ROOM];
};

static struct opening by_hash, by_text;

#define CALL_WORDS 8

static void opening_make(struct opening *o, struct span command, struct span what)
{
	char *at = redis_put_count(o->bytes, CALL_WORDS);

	at = redis_put(at, command);
	at = redis_put(at, what);
	at = redis_put_number(at, 1);
	o->len = (size_t)(at - o->bytes);
}

__attribute__((constructor)) static void openings_make(void)
{
	const struct span text = span_of(script, sizeof(script) - 1);
	char hash[2 * SHA1_LEN];
	uint8_t sum[SHA1_LEN];

	sha1(text, sum);
	hex_write(sum, SHA1_LEN, hash);
	opening_make(&by_hash, SPAN("EVALSHA"), span_of(hash, sizeof(hash)));
	opening_make(&by_text, SPAN("EVAL"), text);
}

static void *reader_new(void)
{
	return redis_reader_new();
}

static void reader_free(void *reader)
{
	redis_reader_free(reader);
}

static void command_send(struct store_connection *c, const struct span *words, unsigned count)
{
	stream_write(c->stream, redis_command(words, count));
}

static void greet(struct store_connection *c)
{
	const struct store_url *u = &c->worker->store->settings.url;
	char number[16];

	if (u->password[0] && u->user[0]) {
		command_send(c, (struct span[]){ SPAN("AUTH"), span_str(u->user), span_str(u->password) }, 3);
		place_add(c, PLACE_HELLO, NULL);
	} else if (u->password[0]) {
		command_send(c, (struct span[]){ SPAN("AUTH"), span_str(u->password) }, 2);
		place_add(c, PLACE_HELLO, NULL);
	}
	if (u->database) {
		int len = snprintf(number, sizeof(number), "%u", u->database);

		command_send(c, (struct span[]){ SPAN("SELECT"), span_of(number, (size_t)len) }, 2);
		place_add(c, PLACE_HELLO, NULL);
	}
}

static void ping(struct store_connection *c)
{
	command_send(c, (struct span[]){ SPAN("PING") }, 1);
	place_add(c, PLACE_PING, NULL);
}

static void call(struct store_connection *c, const struct opening *o, const struct store_check *k,
		 struct span what)
{
	size_t max = o->len + k->key.len + 2 * REDIS_WORD_ROOM + 3 * REDIS_NUMBER_ROOM;
	char *begin = connection_room(c, max), *at = begin;

	memcpy(at, o->bytes, o->len);
	at = redis_put(at + o->len, k->key);
	at = redis_put_number(at, k->interval_us);
	at = redis_put_number(at, k->tolerance_us);
	at = redis_put_number(at, k->delay_max_us);
	at = redis_put(at, what);
	connection_write(c, (size_t)(at - begin));
}

static void ask(struct store_connection *c, struct store_check *k)
{
	call(c, &by_hash, k, SPAN("1"));
	place_add(c, PLACE_CHECK, k);
}

static void give_back(struct store_connection *c, struct span key, uint64_t interval_us)
{
	/* the longest level does not matter: it is as it was when the token was taken */
	const struct store_check k = {
		.key = key, .interval_us = interval_us, .tolerance_us = 1ULL << 50, .delay_max_us = 0 };

	call(c, &by_hash, &k, SPAN("-1"));
	place_add(c, PLACE_NOBODY, NULL);
}

/* False: this is no answer of the script. */
static bool answer(struct store_check *k, const struct redis_reply *r)
{
	uint64_t longest = k->tolerance_us + k->delay_max_us + k->interval_us;

	if (r->kind != REDIS_NUMBERS || r->count != 4)
		return false;
	for (unsigned i = 0; i < 4; i++)
		if (r->numbers[i] < 0)
			return false;
	if (r->numbers[0] > 1 || (uint64_t)r->numbers[2] > longest || (uint64_t)r->numbers[3] > longest)
		return false;
	k->is_admitted = r->numbers[0] == 1;
	k->remaining = (uint64_t)r->numbers[1];
	k->full_us = (uint64_t)r->numbers[2];
	k->wait_us = (uint64_t)r->numbers[3];
	return true;
}

static int check_reply(struct store_connection *c, struct store_check *k, const struct redis_reply *r)
{
	if (r->kind == REDIS_ERROR && strncmp(r->text, "NOSCRIPT", 8) == 0 && k->attempts == 1) {
		call(c, &by_text, k, SPAN("1"));
		place_add(c, PLACE_CHECK, k);
		return 0;
	}
	if (r->kind == REDIS_ERROR) {
		check_refused(k, r->text);
		return 0;
	}
	if (!answer(k, r)) {
		check_done(k, STORE_GARBAGE);
		return -EPROTO;
	}
	check_done(k, STORE_ANSWERED);
	return 0;
}

/* Of what a greeting or a probe wants to hear. */
static const char *no_of(const struct redis_reply *r)
{
	if (r->kind == REDIS_STATUS)
		return NULL;
	return r->kind == REDIS_ERROR ? r->text : "no greeting";
}

static int reply(struct store_connection *c, const struct redis_reply *r)
{
	struct store_check *k;
	int err = connection_reply(c, no_of(r), &k);

	return err == 1 ? check_reply(c, k, r) : err;
}

static int read_replies(struct store_connection *c, struct span bytes)
{
	struct redis_reply r;
	int err = redis_reader_feed(c->reader, bytes);

	while (err >= 0 && c->state != CONNECTION_ENDING) {
		err = redis_reader_next(c->reader, &r);
		if (err <= 0)
			return err;
		err = reply(c, &r);
	}
	return err;
}

const struct store_protocol store_redis = {
	.reader_new = reader_new,
	.reader_free = reader_free,
	.greet = greet,
	.ping = ping,
	.ask = ask,
	.give_back = give_back,
	.read = read_replies,
};
