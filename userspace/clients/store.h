/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * store.h - a server outside that keeps counts for several proxies: its settings, and what works of it.
 *
 * A registry object, found by its text: control makes and frees it, snapshots and workers hold it.  What it is
 * never changes; what is known of it (workers that do without it, why) is atomics and a short text under a lock.
 */
#ifndef SN_CLIENTS_STORE_H
#define SN_CLIENTS_STORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hmap.h"
#include "clients/store_url.h"
#include "net/addr.h"

#define TAG_STORE TAG('s', 't', 'o', 'r')

struct tls_client;

#define STORE_WHY_MAX 160

enum store_failure {
	STORE_ANSWERED, /* none */
	STORE_TIMEOUT,	/* the deadline of the question is over */
	STORE_CONNECT,	/* no connection, or no address */
	STORE_TLS,
	STORE_CLOSED,  /* the connection ended */
	STORE_GARBAGE, /* no reply that was expected */
	STORE_REFUSED, /* it said no */
	STORE_BUSY,    /* too many questions wait */
	STORE_DOWN,    /* it was not asked: it has failed too often */
	STORE_FAILURE_COUNT,
};

const char *store_failure_name(enum store_failure f);

struct store_settings {
	struct store_url url;
	unsigned pool_max; /* connections of a worker */
	uint64_t timeout_ms;
	uint64_t ttl_secs; /* memcached: at least so long a counter stays */
	struct tls_client *tls; /* taken; NULL: plain */
	/* Where to connect to.  0, or -errno. */
	int (*next_addr)(void *ctx, struct addr *out_addr);
	void (*release)(void *ctx); /* by control, when the store ends; may be NULL */
	void *ctx;
};

struct store {
	uint32_t tag;
	char *identity; /* owned; key in the registry */
	char *label;	/* owned: address without secrets, for people and metrics */
	struct store_settings settings;

	_Atomic uint32_t names; /* holds of snapshots */
	_Atomic uint32_t holds; /* of workers */
	_Atomic uint32_t workers_down; /* that do not ask it now */
	pthread_mutex_t lock;
	char why[STORE_WHY_MAX]; /* of the last failure */
};

struct stores {
	struct hmap by_identity; /* control's */
};

void stores_fini(struct stores *ss); /* after the last worker */
struct store *store_find(struct stores *ss, const char *identity); /* with a name more; NULL: there is none */
struct store *store_new(struct stores *ss, const char *identity, const struct store_settings *settings);
void store_put(struct store *s); /* a name less; NULL ok */
void stores_sweep(struct stores *ss); /* those that nobody holds */
void stores_each(const struct stores *ss, void (*fn)(void *ctx, struct store *s), void *ctx);

void store_set_why(struct store *s, const char *text); /* any thread */
void store_why(struct store *s, char out[STORE_WHY_MAX]);

#endif
