/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * store_worker.h - one worker's side of a store: a few connections, questions under way, a breaker.
 *
 * Questions are pipelined.  Each has the store's deadline, in which a connection that is not there yet is opened
 * too.  After STORE_FAILURES_MAX failures in a row nothing is asked any more (STORE_DOWN, at once); the worker then
 * tries by itself, with growing pauses, whether the store is there again.  Thread of the loop.
 */
#ifndef SN_CLIENTS_STORE_WORKER_H
#define SN_CLIENTS_STORE_WORKER_H

#include "base/list.h"
#include "clients/store.h"
#include "loop/loop.h"

struct store_connection;
struct store_worker;

#define STORE_FAILURES_MAX   3
#define STORE_IN_FLIGHT_MAX  1024 /* questions on a connection */
#define STORE_CONNECT_MS     1000 /* TCP, TLS and greeting, when no question waits for it */
#define STORE_PROBE_MIN_MS   100  /* pauses between attempts, doubled each time */
#define STORE_PROBE_MAX_MS   5000
#define STORE_KEY_MAX	     240

/* May one more request pass?  Embed it; zero is a valid state.  `key` and what it points to stay until the end. */
struct store_check {
	struct span key;
	uint64_t interval_us, tolerance_us, delay_max_us; /* see limits/gcra.h */
	void (*on_done)(struct store_check *c);

	enum store_failure failure; /* ANSWERED: what follows is the answer */
	bool is_admitted;
	uint64_t remaining, full_us, wait_us; /* as in struct limit_decision */
	uint64_t begin_ns;

	struct list node; /* by deadline; next NULL: it never waited */
	uint64_t deadline_ms;
	struct store_connection *connection; /* NULL: it is not under way */
	uint64_t place; /* there */
	uint64_t initial; /* of memcached: what a new counter would be */
	unsigned phase;	  /* the same */
	unsigned attempts; /* what this question cost in commands */
};

struct store_events {
	/* It is not asked any more / is asked again. */
	void (*on_change)(void *ctx, struct store *s, bool is_down);
};

/* Holds the store.  events: borrowed, may be NULL. */
struct store_worker *store_worker_new(struct loop *l, struct store *s, const struct store_events *events, void *ctx);
struct store *store_worker_store(const struct store_worker *sw);
/*
 * ANSWERED: on_done() comes, once, from the loop.  Else the failure: nothing comes.
 */
enum store_failure store_check_begin(struct store_worker *sw, struct store_check *c);
static inline bool store_check_waits(const struct store_check *c)
{
	return c->connection != NULL;
}
void store_check_cancel(struct store_check *c); /* who asked is gone; not waiting: nothing */
/* A request that was admitted does not take place after all: its token goes back, if the store can be asked. */
void store_give_back(struct store_worker *sw, struct span key, uint64_t interval_us);

bool store_worker_is_closing(const struct store_worker *sw);
bool store_worker_is_idle(const struct store_worker *sw); /* no question is under way */
/* Connections end; nothing may wait.  Then wait for is_closed(), then free. */
void store_worker_close(struct store_worker *sw);
bool store_worker_is_closed(const struct store_worker *sw);
void store_worker_free(struct store_worker *sw); /* NULL ok */

#endif
