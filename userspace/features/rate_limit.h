/* SPDX-License-Identifier: GPL-2.0-only */
/* rate_limit.h - between rate_limit.c, rate_key.c (the key of a request) and rate_store.c (a store that decides). */
#ifndef SN_FEATURES_RATE_LIMIT_H
#define SN_FEATURES_RATE_LIMIT_H

#include "base/sha1.h"
#include "limits/limits.h"
#include "proxy/config_rate_limit.h"
#include "proxy/exchange.h"
#include "proxy/filter.h"

/* Add what the request has for each part.  What it lacks is a value too: those without it share a bucket. */
void rate_key_add(struct limit_key *k, struct exchange *x, const struct config_rate_limit *c);
/* The same without any secret of this process: hashed, for a store, where nobody reads it; and as text. */
void rate_key_hash(struct sha1 *s, struct exchange *x, const struct config_rate_limit *c);
void rate_key_text(struct strbuf *b, struct exchange *x, const struct config_rate_limit *c);
/* Only the parts that a client may choose, without its address.  False: there are none. */
bool rate_key_others(struct limit_key *k, struct exchange *x, const struct config_rate_limit *c);
static inline bool rate_key_has_client(const struct config_rate_limit *c)
{
	for (unsigned i = 0; i < c->part_count; i++)
		if (c->parts[i].kind == RATE_KEY_CLIENT_IP)
			return true;
	return false;
}

/* ---- stores ---- */

struct store;

/* filter_use.object */
struct rate_object {
	struct limit *limit;
	struct store *store; /* NULL: local */
	struct sha1 key_begin; /* of the store's keys: what makes it this limit */
};

void rate_store_open(struct rate_object *o); /* it has a store */

/* A question to a store; in the exchange's arena. */
struct rate_question;

enum rate_answer {
	RATE_ANSWER_WAIT, /* exchange_resume() comes: ask again */
	RATE_ANSWER_STORE, /* it has decided */
	RATE_ANSWER_NONE, /* it does not answer: the fallback decides */
};

/* local: the key of the same bucket here, which is kept at the level that the store reports. */
enum rate_answer rate_store_ask(struct exchange *x, const struct rate_object *o, const struct config_rate_limit *c,
				struct rate_question **q, struct limit_key local, struct limit_decision *out);
void rate_store_give_back(const struct rate_question *q);
void rate_store_cancel(struct rate_question *q); /* NULL ok */

/* rate_explain.c */
void rate_limit_explain(const void *config, const struct addr *client, struct strbuf *out);
/* Is it a limit?  Then what `limit` of the admin socket is to be asked for the bucket of this request. */
bool rate_limit_question(struct exchange *x, const struct filter_use *u, struct strbuf *out);

#endif
