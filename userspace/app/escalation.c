/* SPDX-License-Identifier: GPL-2.0-only */
/* escalation.c - counts whom filters refuse, over all workers, and says who is to be banned. */
#include "app/escalation.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "net/addr.h"

#define SHARDS 64
#define WAYS 8
#define SETS (ESCALATION_CLIENTS_MAX / SHARDS / WAYS)
#define REFUSED_SLOTS 10 /* of `within` */
#define ADMITTED_SLOTS 6
#define ADMITTED_SLOT_NS 10000000000ull
#define SECOND_NS 1000000000ull
#define MINUTE_NS (60 * SECOND_NS)
#define PARTS_MAX 4 /* pairs of limit and other key parts that are remembered of a client */

/* How often something happened in the last slots; the running one is partly over, so this is never too long a time. */
struct window {
	uint64_t at; /* number of the running slot */
	uint32_t counts[REFUSED_SLOTS];
};

struct parts {
	uint64_t limit, others;
	uint64_t at_ns; /* admitted last; 0: none */
};

struct client {
	uint8_t ip[16]; /* all zero: free */
	uint64_t seen_ns;
	bool is_shared_told;
	struct window refused, admitted;
	struct parts parts[PARTS_MAX];
};

struct shard {
	pthread_mutex_t lock;
	struct window admitted; /* of all clients, also of those that are not in the table any more */
	struct client *clients;	/* owned; SETS x WAYS, NULL while there are no automatic bans */
};

struct escalation {
	struct shard shards[SHARDS];
	_Atomic bool is_on;

	pthread_mutex_t lock; /* guards the rest */
	struct escalation_policy policy;
	uint64_t second;
	uint32_t second_count; /* bans in it */
};

struct escalation *escalation_new(void)
{
	struct escalation *e = mem_zalloc(sizeof(*e));

	CHECK(pthread_mutex_init(&e->lock, NULL) == 0);
	for (unsigned i = 0; i < SHARDS; i++)
		CHECK(pthread_mutex_init(&e->shards[i].lock, NULL) == 0);
	return e;
}

void escalation_free(struct escalation *e)
{
	if (!e)
		return;
	for (unsigned i = 0; i < SHARDS; i++) {
		free(e->shards[i].clients);
		pthread_mutex_destroy(&e->shards[i].lock);
	}
	pthread_mutex_destroy(&e->lock);
	free(e);
}

/* A reload that changes nothing forgets nothing. */
void escalation_set(struct escalation *e, const struct escalation_policy *p)
{
	bool is_other = p && e->policy.within_ns && e->policy.within_ns != p->within_ns;

	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &e->shards[i];

		pthread_mutex_lock(&s->lock);
		if (!p || is_other) { /* the slots mean another time now */
			free(s->clients);
			s->clients = NULL;
		}
		if (p && !s->clients)
			s->clients = mem_array(SETS * WAYS, sizeof(*s->clients));
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_lock(&e->lock);
	e->policy = p ? *p : (struct escalation_policy){ 0 };
	pthread_mutex_unlock(&e->lock);
	atomic_store(&e->is_on, p != NULL);
}

bool escalation_is_on(const struct escalation *e)
{
	return atomic_load_explicit(&e->is_on, memory_order_relaxed);
}

const _Atomic bool *escalation_flag(const struct escalation *e)
{
	return &e->is_on;
}

/* ---- windows ---- */

static void window_move(struct window *w, uint64_t at, unsigned slots)
{
	if (at >= w->at + slots) {
		memset(w->counts, 0, sizeof(w->counts));
		w->at = at;
	}
	while (w->at < at)
		w->counts[++w->at % slots] = 0;
}

static void window_add(struct window *w, uint64_t at, unsigned slots)
{
	window_move(w, at, slots);
	if (w->counts[w->at % slots] < UINT32_MAX)
		w->counts[w->at % slots]++;
}

static uint64_t window_sum(struct window *w, uint64_t at, unsigned slots)
{
	uint64_t sum = 0;

	window_move(w, at, slots);
	for (unsigned i = 0; i < slots; i++)
		sum += w->counts[i];
	return sum;
}

/* ---- clients ---- */

static bool key_of(const struct addr *client, uint8_t out_ip[16])
{
	if (addr_is_loopback(client) || !addr_to_ip16(client, out_ip))
		return false;
	ip16_to_client(out_ip);
	return true;
}

/* The one to give up: rather one that was not refused, of those the one that was quiet for longest. */
static bool is_better_victim(const struct client *a, const struct client *b)
{
	bool a_is_refused = a->refused.at != 0, b_is_refused = b->refused.at != 0;

	if (a_is_refused != b_is_refused)
		return !a_is_refused;
	return a->seen_ns < b->seen_ns;
}

/* Under the shard's lock. */
static struct client *client_of(struct shard *s, const uint8_t ip[16], uint64_t hash, uint64_t now_ns)
{
	struct client *set = &s->clients[hash / SHARDS % SETS * WAYS], *victim = set;

	for (struct client *c = set; c < set + WAYS; c++) {
		if (memcmp(c->ip, ip, sizeof(c->ip)) == 0) {
			c->seen_ns = now_ns;
			return c;
		}
		if (is_better_victim(c, victim))
			victim = c;
	}
	*victim = (struct client){ .seen_ns = now_ns };
	memcpy(victim->ip, ip, sizeof(victim->ip));
	return victim;
}

/* ---- admitted ---- */

/* Two values of a limit are as good as many. */
static struct parts *parts_place(struct client *c, const struct refusal *r)
{
	struct parts *oldest = &c->parts[0], *other = NULL;
	unsigned same = 0;

	for (struct parts *p = c->parts; p < c->parts + PARTS_MAX; p++) {
		if (p->at_ns && p->limit == r->limit) {
			if (p->others == r->others)
				return p;
			same++;
			if (!other || p->at_ns < other->at_ns)
				other = p;
		}
		if (p->at_ns < oldest->at_ns)
			oldest = p;
	}
	return same >= 2 ? other : oldest;
}

void escalation_admitted(struct escalation *e, const struct refusal *r, uint64_t now_ns)
{
	uint64_t at = now_ns / ADMITTED_SLOT_NS, hash;
	struct shard *s;
	struct client *c;
	uint8_t ip[16];

	if (!escalation_is_on(e) || !key_of(r->client, ip))
		return;
	hash = hash_bytes(ip, sizeof(ip));
	s = &e->shards[hash % SHARDS];
	pthread_mutex_lock(&s->lock);
	c = s->clients ? client_of(s, ip, hash, now_ns) : NULL;
	if (c && r->limit) {
		*parts_place(c, r) = (struct parts){ r->limit, r->others, now_ns };
	} else if (c) {
		window_add(&c->admitted, at, ADMITTED_SLOTS);
		window_add(&s->admitted, at, ADMITTED_SLOTS);
	}
	pthread_mutex_unlock(&s->lock);
}

/* ---- refused ---- */

static bool has_other_people(const struct client *c, const struct refusal *r, uint64_t now_ns)
{
	for (const struct parts *p = c->parts; r->limit && p < c->parts + PARTS_MAX; p++)
		if (p->at_ns && p->limit == r->limit && p->others != r->others && now_ns < p->at_ns + MINUTE_NS)
			return true;
	return false;
}

/* No lock is held: the sum need not be of one moment. */
static uint64_t admitted_by_all(struct escalation *e, uint64_t now_ns)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < SHARDS; i++) {
		pthread_mutex_lock(&e->shards[i].lock);
		sum += window_sum(&e->shards[i].admitted, now_ns / ADMITTED_SLOT_NS, ADMITTED_SLOTS);
		pthread_mutex_unlock(&e->shards[i].lock);
	}
	return sum;
}

/* One more ban in this second? */
static bool may_ban(struct escalation *e, uint64_t now_ns)
{
	bool may;

	pthread_mutex_lock(&e->lock);
	if (now_ns / SECOND_NS > e->second) { /* a worker whose clock is behind asks within the newest */
		e->second = now_ns / SECOND_NS;
		e->second_count = 0;
	}
	may = e->second_count < e->policy.per_second;
	e->second_count += may;
	pthread_mutex_unlock(&e->lock);
	return may;
}

struct count {
	uint64_t admitted;
	bool is_enough; /* refusals */
	bool has_others;
	bool is_told;
};

static struct count refusal_count(struct shard *s, const struct escalation_policy *p, const struct refusal *r,
				  const uint8_t ip[16], uint64_t hash, uint64_t now_ns)
{
	uint64_t at = now_ns / MAX(p->within_ns / REFUSED_SLOTS, 1ull);
	struct count n = { 0 };
	struct client *c;

	pthread_mutex_lock(&s->lock);
	if (s->clients) {
		c = client_of(s, ip, hash, now_ns);
		window_add(&c->refused, at, REFUSED_SLOTS);
		n.is_enough = window_sum(&c->refused, at, REFUSED_SLOTS) >= p->after;
		n.has_others = has_other_people(c, r, now_ns);
		n.admitted = window_sum(&c->admitted, now_ns / ADMITTED_SLOT_NS, ADMITTED_SLOTS);
		n.is_told = c->is_shared_told;
	}
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* The refusals start anew; a client that is told of keeps that. */
static void count_reset(struct shard *s, const uint8_t ip[16], uint64_t hash, uint64_t now_ns, bool is_shared)
{
	struct client *c;

	pthread_mutex_lock(&s->lock);
	if (s->clients) {
		c = client_of(s, ip, hash, now_ns);
		memset(c->refused.counts, 0, sizeof(c->refused.counts));
		c->is_shared_told |= is_shared;
	}
	pthread_mutex_unlock(&s->lock);
}

enum escalation_verdict escalation_refused(struct escalation *e, const struct refusal *r, uint64_t now_ns)
{
	struct escalation_policy policy;
	bool is_shared;
	struct shard *s;
	struct count n;
	uint64_t hash;
	uint8_t ip[16];

	if (!escalation_is_on(e) || !key_of(r->client, ip))
		return ESCALATION_NOTHING;
	pthread_mutex_lock(&e->lock);
	policy = e->policy;
	pthread_mutex_unlock(&e->lock);
	if (!policy.after)
		return ESCALATION_NOTHING;
	hash = hash_bytes(ip, sizeof(ip));
	s = &e->shards[hash % SHARDS];
	n = refusal_count(s, &policy, r, ip, hash, now_ns);
	if (!n.is_enough)
		return ESCALATION_NOTHING;
	is_shared = n.has_others || (n.admitted >= ESCALATION_SHARE_MIN &&
				     n.admitted * ESCALATION_SHARE > admitted_by_all(e, now_ns));
	if (!is_shared && !may_ban(e, now_ns))
		return ESCALATION_NOTHING; /* its next refusal asks again */
	count_reset(s, ip, hash, now_ns, is_shared);
	if (!is_shared)
		return ESCALATION_BAN;
	return n.is_told ? ESCALATION_NOTHING : ESCALATION_SHARED;
}
