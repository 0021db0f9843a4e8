/* SPDX-License-Identifier: GPL-2.0-only */
/* worker_stores.h - a worker's sides of the stores that its limits use: made on first use, closed when unused. */
#ifndef SN_PROXY_WORKER_STORES_H
#define SN_PROXY_WORKER_STORES_H

#include "clients/store_worker.h"
#include "observe/metrics.h"

struct proxy_worker;

struct worker_store {
	struct list node; /* in proxy_worker.stores */
	struct proxy_worker *worker;
	struct store_worker *side; /* owned */
	struct metric_cell *seconds, *results[STORE_FAILURE_COUNT];
};

/* The store is named by a snapshot that the caller holds. */
struct worker_store *worker_store_get(struct proxy_worker *w, struct store *s);
/* How a check ended, and after how long. */
void worker_store_count(struct worker_store *ws, enum store_failure f, uint64_t microseconds);

/* Those that no snapshot names lose their connections; when nothing is open any more they are let go. */
void worker_stores_sweep(struct proxy_worker *w);
void worker_stores_close(struct proxy_worker *w); /* no exchange is there any more */
bool worker_stores_are_closed(const struct proxy_worker *w);
void worker_stores_fini(struct proxy_worker *w);

#endif
