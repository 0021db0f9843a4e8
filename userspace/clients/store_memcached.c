/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * store_memcached.c - a token bucket in memcached: a counter that is the instant at which the bucket is full, in µs of
 * the proxies' clocks.  Adding makes it if it is not there.  One that lies in the past is moved to now by
 * compare-and-swap.  Who loses looks, which disturbs nobody: still in the past, and he tries again; else the winner has
 * overwritten what he had added, and he adds it once more.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "clients/memcached_wire.h"
#include "clients/store_private.h"

#define ATTEMPTS_MAX 16 /* commands that a question may cost */
/* memcached's clock goes by whole seconds, two at once when a tick is late: what ends in two may be over now. */
#define LATE_TICKS_SECS 3

enum phase {
	PHASE_ADD,
	PHASE_SWAP,
	PHASE_LOOK,
};

static void *reader_new(void)
{
	return mem_zalloc(sizeof(struct memcached_reader));
}

static void command_send(struct store_connection *c, const struct strbuf *b)
{
	stream_write(c->stream, slice_copy(b->ptr, (uint32_t)b->len));
}

static void greet(struct store_connection *c)
{
	(void)c;
}

static void ping(struct store_connection *c)
{
	stream_write(c->stream, slice_static("mn\r\n", 4));
	place_add(c, PLACE_PING, NULL);
}

static uint64_t now_us(struct store_connection *c)
{
	return loop_wall_ns(c->worker->loop) / 1000;
}

/* Until the fullest bucket would be full: a counter that is gone is a full bucket. */
static unsigned long long ttl_secs(const struct store_connection *c, const struct store_check *k)
{
	uint64_t longest = (k->tolerance_us + k->delay_max_us + k->interval_us) / 1000000 + 1;

	return MIN(MAX(longest, c->worker->store->settings.ttl_secs) + LATE_TICKS_SECS, (uint64_t)30 * 86400);
}

/* What is there plus one interval, and its mark for a swap. */
static void ask(struct store_connection *c, struct store_check *k)
{
	unsigned long long ttl = ttl_secs(c, k);
	struct strbuf b = { 0 };

	k->phase = PHASE_ADD;
	k->initial = now_us(c) + k->interval_us;
	strbuf_printf(&b, "ma " SPAN_FMT " v c D%llu N%llu J%llu T%llu\r\n", SPAN_ARG(k->key),
		      (unsigned long long)k->interval_us, ttl, (unsigned long long)k->initial, ttl);
	command_send(c, &b);
	strbuf_fini(&b);
	place_add(c, PLACE_CHECK, k);
}

static void give_back(struct store_connection *c, struct span key, uint64_t interval_us)
{
	struct strbuf b = { 0 };

	strbuf_printf(&b, "ma " SPAN_FMT " MD D%llu\r\n", SPAN_ARG(key), (unsigned long long)interval_us);
	command_send(c, &b);
	strbuf_fini(&b);
	place_add(c, PLACE_NOBODY, NULL);
}

static void swap(struct store_connection *c, struct store_check *k, uint64_t cas)
{
	char number[24];
	int len = snprintf(number, sizeof(number), "%llu", (unsigned long long)(now_us(c) + k->interval_us));
	struct strbuf b = { 0 };

	k->phase = PHASE_SWAP;
	strbuf_printf(&b, "ms " SPAN_FMT " %d C%llu T%llu\r\n%s\r\n", SPAN_ARG(k->key), len, (unsigned long long)cas,
		      ttl_secs(c, k), number);
	command_send(c, &b);
	strbuf_fini(&b);
	place_add(c, PLACE_CHECK, k);
}

static void look(struct store_connection *c, struct store_check *k)
{
	struct strbuf b = { 0 };

	k->phase = PHASE_LOOK;
	strbuf_printf(&b, "mg " SPAN_FMT " v c\r\n", SPAN_ARG(k->key));
	command_send(c, &b);
	strbuf_fini(&b);
	place_add(c, PLACE_CHECK, k);
}

static void admit(struct store_check *k, uint64_t level_before)
{
	uint64_t level = level_before + k->interval_us;

	k->is_admitted = true;
	k->full_us = level;
	k->wait_us = level_before > k->tolerance_us ? level_before - k->tolerance_us : 0;
	k->remaining = level > k->tolerance_us ? 0 : (k->tolerance_us - level) / k->interval_us + 1;
	check_done(k, STORE_ANSWERED);
}

static void refuse(struct store_connection *c, struct store_check *k, uint64_t level)
{
	give_back(c, k->key, k->interval_us);
	k->is_admitted = false;
	k->full_us = level;
	k->wait_us = level - k->tolerance_us;
	k->remaining = 0;
	check_done(k, STORE_ANSWERED);
}

/* False: the question has cost all the commands that it may. */
static bool may_go_on(struct store_check *k)
{
	if (k->attempts < ATTEMPTS_MAX)
		return true;
	check_done(k, STORE_BUSY);
	return false;
}

/* The counter with our interval in it. */
static int judge(struct store_connection *c, struct store_check *k, const struct memcached_reply *r)
{
	uint64_t now = now_us(c), before, level;

	if (r->number < k->interval_us)
		return -EPROTO;
	before = r->number - k->interval_us;
	if (r->number == k->initial) { /* it is new */
		admit(k, 0);
		return 0;
	}
	if (before < now && r->cas == 0) {
		check_refused(k, "compare-and-swap is off (-C)");
		return 0;
	}
	if (before < now) {
		if (may_go_on(k))
			swap(c, k, r->cas);
		return 0;
	}
	level = before - now;
	if (level > k->tolerance_us + k->delay_max_us)
		refuse(c, k, MIN(level, k->tolerance_us + k->delay_max_us + k->interval_us));
	else
		admit(k, level);
	return 0;
}

/* False: this is no answer to what was asked. */
static bool step(struct store_connection *c, struct store_check *k, const struct memcached_reply *r)
{
	bool is_missing = r->kind == MEMCACHED_MISSING, is_value = r->kind == MEMCACHED_VALUE;

	switch (k->phase) {
	case PHASE_ADD:
		return is_value && judge(c, k, r) == 0;
	case PHASE_SWAP:
		if (r->kind == MEMCACHED_DONE) {
			admit(k, 0);
			return true;
		}
		if (r->kind != MEMCACHED_EXISTS && !is_missing)
			return false;
		if (!may_go_on(k))
			return true;
		if (is_missing)
			ask(c, k);
		else
			look(c, k);
		return true;
	default:
		if (!is_value && !is_missing)
			return false;
		if (!may_go_on(k))
			return true;
		if (is_value && r->number < now_us(c) && r->cas)
			swap(c, k, r->cas);
		else
			ask(c, k);
		return true;
	}
}

static int check_reply(struct store_connection *c, struct store_check *k, const struct memcached_reply *r)
{
	if (r->kind == MEMCACHED_ERROR) {
		check_refused(k, r->text);
		return 0;
	}
	if (step(c, k, r))
		return 0;
	check_done(k, STORE_GARBAGE);
	return -EPROTO;
}

/* Of what a probe wants to hear. */
static const char *no_of(const struct memcached_reply *r)
{
	if (r->kind == MEMCACHED_PONG)
		return NULL;
	return r->kind == MEMCACHED_ERROR ? r->text : "it speaks no meta protocol";
}

static int reply(struct store_connection *c, const struct memcached_reply *r)
{
	struct store_check *k;
	int err = connection_reply(c, no_of(r), &k);

	return err == 1 ? check_reply(c, k, r) : err;
}

static int read_replies(struct store_connection *c, struct span bytes)
{
	struct memcached_reply r;
	int err = 0;

	while (err >= 0 && c->state != CONNECTION_ENDING) {
		err = memcached_reader_next(c->reader, &bytes, &r);
		if (err <= 0)
			return err;
		err = reply(c, &r);
	}
	return err;
}

const struct store_protocol store_memcached = {
	.reader_new = reader_new,
	.reader_free = free,
	.greet = greet,
	.ping = ping,
	.ask = ask,
	.give_back = give_back,
	.read = read_replies,
};
