/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * endpoint.h - one target "host:port": a registry object keyed by its name, counted.
 * Control creates and frees it.  Health and idle connections survive a reload because the endpoint does.
 */
#ifndef SN_UPSTREAM_ENDPOINT_H
#define SN_UPSTREAM_ENDPOINT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hmap.h"
#include "net/addr.h"

#define ENDPOINT_ADDRS_MAX 64

enum endpoint_health { /* control writes, workers read */
		       ENDPOINT_UP,
		       ENDPOINT_DOWN,
};

struct endpoint {
	uint32_t tag;
	char *name; /* "host:port" or "unix:/path"; owned */
	char *host; /* owned; without brackets; the path of a Unix socket */
	uint16_t port;
	bool is_numeric; /* no resolution needed */
	uint32_t slot;	 /* small, unique among live endpoints: index of a worker's table */

	_Atomic uint32_t refs;
	_Atomic uint32_t health;      /* enum endpoint_health; endpoint_set_health() only */

	/* Addresses: written by control.  The lock is taken once a new connection, never a request. */
	pthread_mutex_t lock;
	struct addr addrs[ENDPOINT_ADDRS_MAX];
	_Atomic unsigned addr_count; /* 0: not resolved (yet) */
	unsigned next_addr;
	char resolve_error[96]; /* why addr_count is 0 */
};

/* The registry: control thread only. */
struct endpoint_registry {
	struct hmap by_name;
	uint64_t *slots_used; /* bitmap, owned */
	uint32_t slot_count;
};

#define ENDPOINTS_MAX 65536 /* slots */

void endpoint_registry_init(struct endpoint_registry *r);
void endpoint_registry_fini(struct endpoint_registry *r); /* every endpoint must have been put */
/* "host:port", "[v6]:port" or "unix:/path"; port 1..65535; host: letters, digits, - _ and ., 255 at most. */
bool endpoint_name_is_valid(const char *name);
/* Find or create; takes a reference.  The name must be valid.  NULL: the bound is reached. */
/* A numeric name has its address at once; another one has none until endpoint_set_addrs(). */
struct endpoint *endpoint_get(struct endpoint_registry *r, const char *name);
/* Control thread only: the last reference frees it. */
void endpoint_put(struct endpoint_registry *r, struct endpoint *e);
/* A worker's hold, for as long as it keeps connections to it.  Any thread; never frees: the sweep does. */
void endpoint_ref(struct endpoint *e);
void endpoint_unref(struct endpoint *e);
/* Control thread: free endpoints whose last hold was a worker's. */
void endpoint_registry_sweep(struct endpoint_registry *r);
/* The first ENDPOINT_ADDRS_MAX are taken.  count 0: error says why (copied, cut to fit; may be NULL). */
void endpoint_set_addrs(struct endpoint *e, const struct addr *addrs, unsigned count, const char *error);
void endpoint_set_health(struct endpoint *e, enum endpoint_health health);
/*
 * Changes whenever an endpoint_is_usable() may have changed: a worker keeps what it computed until then.
 * Read it before the endpoints.  Any thread.
 */
uint64_t endpoint_epoch(void);
/* Any thread: the next address, round robin.  0, or -EADDRNOTAVAIL when there is none. */
int endpoint_next_addr(struct endpoint *e, struct addr *out_addr);
/* Usable by a balancer: up and with an address. */
bool endpoint_is_usable(const struct endpoint *e);

#endif
