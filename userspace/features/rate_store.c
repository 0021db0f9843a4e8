/* SPDX-License-Identifier: GPL-2.0-only */
/* rate_store.c - a limit that several proxies share: the exchange waits until its store has decided. */
#include "base/check.h"
#include "base/hex.h"
#include "features/rate_limit.h"
#include "proxy/worker.h"
#include "proxy/worker_stores.h"

struct rate_question {
	struct store_check check;
	struct worker_store *store;
	struct exchange *exchange;
	bool is_over;
};

/*
 * A key is the prefix, and a hash of what makes it this limit and of what it counts by.  All proxies must find the
 * same, so no secret is in it; SHA-1 because nobody finds a second text for the hash of somebody else's bucket.  It
 * begins with the sum of the identity: what usually follows is in the same block.
 */
void rate_store_open(struct rate_object *o)
{
	uint8_t sum[SHA1_LEN];

	sha1(span_str(o->limit->identity), sum);
	sha1_begin(&o->key_begin);
	sha1_add(&o->key_begin, sum, sizeof(sum));
}

static struct span key_make(struct exchange *x, const struct config_rate_limit *c, const struct rate_object *o)
{
	size_t prefix = strlen(c->store->prefix);
	char *key = arena_alloc(x->arena, prefix + 2 * SHA1_LEN);
	struct sha1 hash = o->key_begin;
	uint8_t sum[SHA1_LEN];

	rate_key_hash(&hash, x, c);
	sha1_end(&hash, sum);
	memcpy(key, c->store->prefix, prefix);
	hex_write(sum, SHA1_LEN, key + prefix);
	return span_of(key, prefix + 2 * SHA1_LEN);
}

static void on_done(struct store_check *k)
{
	struct rate_question *q = container_of(k, struct rate_question, check);

	q->is_over = true;
	worker_store_count(q->store, k->failure, (loop_now_ns(q->exchange->worker->loop) - k->begin_ns) / 1000);
	exchange_resume(q->exchange);
}

static struct rate_question *ask(struct exchange *x, const struct rate_object *o, const struct config_rate_limit *c)
{
	struct rate_question *q = arena_zalloc(x->arena, sizeof(*q));
	enum store_failure f;

	q->exchange = x;
	q->store = worker_store_get(x->worker, o->store);
	q->check.key = key_make(x, c, o);
	q->check.interval_us = c->store->interval_us;
	q->check.tolerance_us = c->store->tolerance_us;
	q->check.delay_max_us = c->store->delay_max_us;
	q->check.on_done = on_done;
	f = store_check_begin(q->store->side, &q->check);
	if (f != STORE_ANSWERED) {
		q->check.failure = f;
		q->is_over = true;
		worker_store_count(q->store, f, 0);
	}
	return q;
}

static void decision_take(const struct store_check *k, uint64_t now_ns, struct limit_decision *out)
{
	*out = (struct limit_decision){
		.is_admitted = k->is_admitted,
		.wait_ns = k->wait_us * 1000,
		.remaining = k->remaining,
		.full_ns = k->full_us * 1000,
		.tat = now_ns + k->full_us * 1000,
	};
}

enum rate_answer rate_store_ask(struct exchange *x, const struct rate_object *o, const struct config_rate_limit *c,
				struct rate_question **q, struct limit_key local, struct limit_decision *out)
{
	uint64_t now = loop_now_ns(x->worker->loop);

	if (!*q)
		*q = ask(x, o, c);
	if (!(*q)->is_over)
		return RATE_ANSWER_WAIT;
	if ((*q)->check.failure != STORE_ANSWERED)
		return RATE_ANSWER_NONE;
	decision_take(&(*q)->check, now, out);
	limit_set_level(o->limit, local, now, out->full_ns);
	return RATE_ANSWER_STORE;
}

void rate_store_give_back(const struct rate_question *q)
{
	store_give_back(q->store->side, q->check.key, q->check.interval_us);
}

void rate_store_cancel(struct rate_question *q)
{
	if (q)
		store_check_cancel(&q->check);
}
