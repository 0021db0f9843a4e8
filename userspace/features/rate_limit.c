/* SPDX-License-Identifier: GPL-2.0-only */
/* rate_limit.c - filter: how many requests each key may make; the buckets are those of limits/. */
#include "features/rate_limit.h"

#include "base/check.h"
#include "base/decimal.h"
#include "http/uri.h"
#include "limits/delays.h"
#include "limits/limits.h"
#include "observe/log.h"
#include "proxy/config_rate_limit.h"
#include "proxy/config_stores.h"
#include "proxy/exchange.h"
#include "proxy/filter.h"
#include "proxy/rate_report.h"
#include "proxy/refusal.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"

enum verdict {
	VERDICT_ADMITTED,
	VERDICT_DELAYED,
	VERDICT_REFUSED,
	VERDICT_LOGGED,
	VERDICT_COUNT,
};

/* A token that an exchange took. */
struct rate_charge {
	struct rate_charge *next;
	struct limit *limit;
	struct limit_key key;
	struct limit_decision decision;
	const struct rate_question *question; /* whose answer it was; NULL: decided here */
};

struct rate_state {
	struct rate_charge charge;
	struct rate_report report;
	struct delay delay;
	struct exchange *exchange;
	struct rate_question *question; /* NULL: no store was asked */
	bool is_past; /* it was admitted, and waited if it had to */
};

struct rate_worker {
	struct metric_cell *cells[VERDICT_COUNT];
	struct delays delays;
	struct timer timer;
	struct loop *loop; /* NULL: not in use yet */
	uint64_t wall_since_ns, wall_read_ns; /* real time less the loop's, and when that was read */
	uint64_t epoch;
	char epoch_text[DECIMAL_MAX]; /* at its end */
	unsigned epoch_len;
};

/* ---- from the configuration ---- */

static void put(void *object)
{
	struct rate_object *o = object;

	limit_put(o->limit);
	store_put(o->store);
}

static struct limit *limit_of(const struct filter_use *u)
{
	return ((const struct rate_object *)u->object)->limit;
}

/* What makes it another limit, with buckets of its own. */
static void *open_limit(const struct filter_opening *o, const void *config)
{
	const struct config_rate_limit *c = config;
	const char *space = c->scope ? c->scope : "global", *scope = c->spans_routes ? space : o->route_id;
	const char *place = c->spans_routes ? "" : o->route_id;
	struct limit_terms t = { .scope = scope, .name = o->id, .gcra = c->gcra, .keys_max = c->keys_max };
	struct rate_object *object = arena_zalloc(o->arena, sizeof(*object));

	if (c->spans_routes && c->scope)
		place = arena_printf(o->arena, ":%s", c->scope); /* no route is called like this */
	t.identity = arena_printf(o->arena, "%s\n%s\n%s\n%u\n%llu/%llu\n%u", place, o->id,
				  c->key_text, c->ipv6_prefix, (unsigned long long)c->rate.count,
				  (unsigned long long)c->rate.period_ms, c->burst);
	object->limit = limit_get(o->limits, &t);
	if (c->store) {
		object->store = config_store_open(o->registry, c, o->diag);
		rate_store_open(object);
	}
	arena_on_reset(o->arena, put, object);
	return object;
}

/* ---- counting, telling ---- */

static struct metric_cell *cell_make(struct exchange *x, const struct filter_use *u, enum verdict v)
{
	static const char *const names[VERDICT_COUNT] = { "admitted", "delayed", "refused", "logged" };
	const struct limit *l = limit_of(u);
	const struct span labels[] = { span_str(l->scope), span_str(l->name), span_str(names[v]) };

	return metric_cell(x->worker->metrics, METRIC_RATE_LIMIT_REQUESTS_TOTAL, labels);
}

static inline void count(struct exchange *x, const struct filter_use *u, enum verdict v)
{
	struct rate_worker *rw = filter_worker_state(x, u);

	if (unlikely(!rw->cells[v]))
		rw->cells[v] = cell_make(x, u, v);
	metric_cell_add(rw->cells[v], 1);
}

/* The first of the limits has it in its state. */
static struct rate_report *report_of(struct exchange *x, struct rate_state *st)
{
	if (!x->rate_report)
		x->rate_report = &st->report;
	return x->rate_report;
}

static void report_take(struct exchange *x, struct rate_report *r, const struct config_rate_limit *c,
			const struct limit_decision *d, bool is_refused)
{
	if (r->limit_text.len && !is_refused &&
	    (d->remaining > r->remaining || (d->remaining == r->remaining && d->full_ns <= r->full_ns)))
		return;
	r->limit_text = c->limit_text;
	r->remaining = is_refused ? 0 : d->remaining;
	r->full_ns = d->full_ns;
	r->wait_ns = d->wait_ns;
	r->is_refused = is_refused;
	r->at_ns = loop_now_ns(x->worker->loop);
}

#define FIELD_COUNT 6

static const enum header_token field_tokens[FIELD_COUNT] = {
	TOKEN_RATELIMIT_LIMIT,	 TOKEN_RATELIMIT_REMAINING,   TOKEN_RATELIMIT_RESET,
	TOKEN_X_RATELIMIT_LIMIT, TOKEN_X_RATELIMIT_REMAINING, TOKEN_X_RATELIMIT_RESET,
};

static struct token_set field_set; /* the same; filled before main */

__attribute__((constructor)) static void field_set_fill(void)
{
	for (unsigned i = 0; i < FIELD_COUNT; i++)
		token_set_add(&field_set, field_tokens[i]);
}

/* At the end of what is free of *at; takes it off. */
static struct span number_text(char **at, uint64_t n)
{
	char *end = *at;

	*at = decimal_before(end, n);
	return span_of(*at, (size_t)(end - *at));
}

static uint64_t seconds_of(uint64_t ns)
{
	return (ns + 999999999) / 1000000000;
}

/* Only seconds of it are told: so it is read once a second. */
static uint64_t wall_of(struct rate_worker *rw, struct loop *l, uint64_t at_ns)
{
	uint64_t now = loop_now_ns(l);

	if (unlikely(!rw->wall_read_ns || now - rw->wall_read_ns >= 1000000000)) {
		rw->wall_since_ns = loop_wall_ns(l) - now;
		rw->wall_read_ns = now;
	}
	return rw->wall_since_ns + at_ns;
}

/* The same second ends many texts. */
static struct span epoch_text(struct rate_worker *rw, char **at, uint64_t epoch)
{
	if (rw->epoch != epoch) {
		char *digits = rw->epoch_text + sizeof(rw->epoch_text);

		rw->epoch_len = (unsigned)number_text(&digits, epoch).len;
		rw->epoch = epoch;
	}
	memcpy(*at - sizeof(rw->epoch_text), rw->epoch_text, sizeof(rw->epoch_text));
	*at -= rw->epoch_len;
	return span_of(*at, rw->epoch_len);
}

/* What the origin says about itself would contradict ours. */
static void fields_remove(struct headers *h)
{
	if (!token_sets_meet(&h->seen, &field_set))
		return;
	for (unsigned i = 0; i < FIELD_COUNT; i++)
		(void)headers_remove(h, field_tokens[i]);
}

#define FIELD(TOKEN, text, span_) \
	((struct header){ .token = TOKEN, .is_made_here = true, .name = { text, sizeof(text) - 1 }, .value = span_ })

static void fields_add(struct headers *h, struct span limit, struct span remaining, struct span reset,
		       struct span epoch)
{
	struct header *f = headers_append(h, FIELD_COUNT, &field_set);

	f[0] = FIELD(TOKEN_RATELIMIT_LIMIT, "RateLimit-Limit", limit);
	f[1] = FIELD(TOKEN_RATELIMIT_REMAINING, "RateLimit-Remaining", remaining);
	f[2] = FIELD(TOKEN_RATELIMIT_RESET, "RateLimit-Reset", reset);
	f[3] = FIELD(TOKEN_X_RATELIMIT_LIMIT, "X-RateLimit-Limit", limit);
	f[4] = FIELD(TOKEN_X_RATELIMIT_REMAINING, "X-RateLimit-Remaining", remaining);
	f[5] = FIELD(TOKEN_X_RATELIMIT_RESET, "X-RateLimit-Reset", epoch);
}

static enum filter_verdict on_response(struct exchange *x, const struct filter_use *u)
{
	struct rate_report *r = x->rate_report;
	struct headers *h = &x->response.headers;
	struct rate_worker *rw = filter_worker_state(x, u);
	struct span remaining, reset, epoch;
	char *at;

	if (!r || !r->limit_text.len || r->is_told)
		return FILTER_NEXT;
	r->is_told = true;
	at = (char *)arena_alloc(x->arena, 4 * DECIMAL_MAX) + 4 * DECIMAL_MAX;
	remaining = number_text(&at, r->remaining);
	reset = number_text(&at, seconds_of(r->full_ns));
	epoch = epoch_text(rw, &at, seconds_of(wall_of(rw, x->worker->loop, r->at_ns) + r->full_ns));
	fields_remove(h);
	fields_add(h, r->limit_text, remaining, reset, epoch);
	if (r->is_refused)
		headers_set(h, TOKEN_RETRY_AFTER, number_text(&at, MAX(seconds_of(r->wait_ns), 1ULL)));
	return FILTER_NEXT;
}

/* ---- refusing ---- */

static uint64_t others_of(struct exchange *x, const struct config_rate_limit *c, const struct limit *l)
{
	struct limit_key k = limit_key_begin(l);

	return rate_key_others(&k, x, c) ? k.word[0] | 1 : 0;
}

static void audit(struct exchange *x, const struct config_rate_limit *c, const struct limit *l)
{
	if (x->worker->audit)
		x->worker->audit(x->worker, &x->client_addr, "rate_limit_exceeded", l->name,
				 arena_printf(x->arena, "route %s, key %s", x->route_id, c->key_text));
}

static void give_back(struct exchange *x, struct rate_report *r)
{
	for (struct rate_charge *charge = r->charges; charge; charge = charge->next) {
		limit_give_back(charge->limit, charge->key, loop_now_ns(x->worker->loop), &charge->decision);
		if (charge->question)
			rate_store_give_back(charge->question);
	}
	r->charges = NULL;
}

/* The request is refused: the others get back what they took for it. */
static enum filter_verdict refuse(struct exchange *x, const struct filter_use *u, const struct limit_decision *d)
{
	const struct config_rate_limit *c = u->config;
	struct limit *l = limit_of(u);
	struct rate_state *st = filter_state(x, u);
	struct rate_report *r = report_of(x, st);

	give_back(x, r);
	report_take(x, r, c, d, true);
	count(x, u, VERDICT_REFUSED);
	audit(x, c, l);
	/* a fallback refuses for want of a store: nobody is banned for that */
	if (refusal_is_counted(x) && rate_key_has_client(c) && (!st->question || st->charge.question))
		refusal_report(x, "rate-limit", l->number, others_of(x, c, l));
	x->failure_status = c->status;
	x->failure_text = c->message;
	exchange_fail(x, FAIL_RATE_LIMITED, span_str(l->name));
	return FILTER_FAIL;
}

static enum filter_verdict let_pass(struct exchange *x, const struct filter_use *u)
{
	static struct log_limit limit = { .interval_ns = 1000000000 };
	const struct limit *l = limit_of(u);

	count(x, u, VERDICT_LOGGED);
	if (log_every(&limit, loop_now_ns(x->worker->loop)))
		log_info("limit %s of %s would refuse " SPAN_FMT ", request " SPAN_FMT " (%llu more)", l->name,
			 l->scope, SPAN_ARG(x->client_ip), SPAN_ARG(x->request_id),
			 (unsigned long long)log_limit_suppressed(&limit));
	return FILTER_NEXT;
}

/* ---- waiting ---- */

static void timer_set(struct rate_worker *rw)
{
	uint64_t due = delays_due_ns(&rw->delays), now = loop_now_ns(rw->loop);

	if (due)
		timer_arm(rw->loop, &rw->timer, due > now ? (due - now + 999999) / 1000000 : 0);
	else
		timer_disarm(rw->loop, &rw->timer);
}

static void on_due(struct timer *t)
{
	struct rate_worker *rw = container_of(t, struct rate_worker, timer);
	struct delay *d;

	while ((d = delays_next(&rw->delays, loop_now_ns(rw->loop)))) {
		struct rate_state *st = container_of(d, struct rate_state, delay);

		st->is_past = true;
		exchange_resume(st->exchange);
	}
	timer_set(rw);
}

static void worker_begin(struct exchange *x, struct rate_worker *rw)
{
	rw->loop = x->worker->loop;
	timer_init(&rw->timer, on_due);
	rw->delays.heap.nodes = arena_array(&x->pin->arena, DELAYS_MAX, sizeof(*rw->delays.heap.nodes));
}

/* Of those who may go at once nobody overtakes who is about to. */
static enum filter_verdict wait_turn(struct exchange *x, const struct filter_use *u, struct rate_state *st)
{
	struct rate_worker *rw = filter_worker_state(x, u);
	struct limit_decision *d = &st->charge.decision;
	uint64_t now = loop_now_ns(x->worker->loop), first = delays_due_ns(&rw->delays);

	if (!d->wait_ns && (!first || first > now)) {
		count(x, u, VERDICT_ADMITTED);
		st->is_past = true;
		return FILTER_NEXT;
	}
	if (!rw->loop)
		worker_begin(x, rw);
	if (!delays_add(&rw->delays, &st->delay, now + d->wait_ns))
		return refuse(x, u, d);
	count(x, u, VERDICT_DELAYED);
	st->exchange = x;
	timer_set(rw);
	return FILTER_WAIT;
}

static void on_done(struct exchange *x, const struct filter_use *u)
{
	struct rate_state *st = filter_state(x, u);
	struct rate_worker *rw;

	rate_store_cancel(st->question);
	if (!delay_waits(&st->delay))
		return;
	rw = filter_worker_state(x, u);
	delays_remove(&rw->delays, &st->delay);
	timer_set(rw);
}

/* ---- deciding ---- */

static enum filter_verdict decided(struct exchange *x, const struct filter_use *u, struct rate_state *st)
{
	const struct config_rate_limit *c = u->config;
	struct limit_decision *d = &st->charge.decision;
	struct rate_report *r;

	if (!d->is_admitted)
		return c->action == RATE_LOG_ONLY ? let_pass(x, u) : refuse(x, u, d);
	r = report_of(x, st);
	st->charge.next = r->charges;
	r->charges = &st->charge;
	if (c->action != RATE_LOG_ONLY)
		report_take(x, r, c, d, false);
	if (refusal_is_counted(x) && rate_key_has_client(c))
		refusal_report_admitted(x, st->charge.limit->number, others_of(x, c, st->charge.limit));
	return wait_turn(x, u, st);
}

static enum filter_verdict decide_here(struct exchange *x, const struct filter_use *u, struct rate_state *st)
{
	const struct config_rate_limit *c = u->config;

	limit_take(st->charge.limit, st->charge.key, loop_now_ns(x->worker->loop),
		   c->action == RATE_DELAY ? c->max_delay_ms * 1000000 : 0, &st->charge.decision);
	return decided(x, u, st);
}

static enum filter_verdict fall_back(struct exchange *x, const struct filter_use *u, struct rate_state *st)
{
	const struct config_rate_limit *c = u->config;

	if (c->store->fallback == RATE_FALLBACK_LOCAL)
		return decide_here(x, u, st);
	if (c->store->fallback == RATE_FALLBACK_CLOSED && c->action != RATE_LOG_ONLY) {
		give_back(x, report_of(x, st));
		count(x, u, VERDICT_REFUSED);
		exchange_fail(x, FAIL_LIMIT_STORE, span_str(st->charge.limit->name));
		return FILTER_FAIL;
	}
	count(x, u, VERDICT_ADMITTED);
	st->is_past = true;
	return FILTER_NEXT;
}

static enum filter_verdict on_request(struct exchange *x, const struct filter_use *u)
{
	const struct rate_object *o = u->object;
	const struct config_rate_limit *c = u->config;
	struct rate_state *st = filter_state(x, u);

	if (st->is_past)
		return FILTER_NEXT;
	if (delay_waits(&st->delay))
		return FILTER_WAIT;
	if (!st->charge.limit) {
		st->charge.limit = o->limit;
		st->charge.key = limit_key_begin(o->limit);
		rate_key_add(&st->charge.key, x, c);
	}
	if (likely(!o->store))
		return decide_here(x, u, st);
	switch (rate_store_ask(x, o, c, &st->question, st->charge.key, &st->charge.decision)) {
	case RATE_ANSWER_WAIT:
		return FILTER_WAIT;
	case RATE_ANSWER_STORE:
		st->charge.question = st->question;
		return decided(x, u, st);
	default:
		return fall_back(x, u, st);
	}
}

const struct filter filter_rate_limit = {
	.name = "rate-limit",
	.help = "How many requests each client, or another key, may make.",
	.rows = rate_limit_rows,
	.config_size = sizeof(struct config_rate_limit),
	.worker_size = sizeof(struct rate_worker),
	.state_size = sizeof(struct rate_state),
	.open = open_limit,
	.on_request = on_request,
	.on_response = on_response,
	.on_done = on_done,
	.keeps_fields_valid = true,
	.explain = rate_limit_explain,
};
