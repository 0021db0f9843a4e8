/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dns.h - asynchronous name resolution on the control thread's loop (c-ares; /etc/hosts and resolv.conf as usual).
 * Bounded: at most 1,024 names at once, 64 addresses a name, 5 s x 2 tries.
 */
#ifndef SN_NET_DNS_H
#define SN_NET_DNS_H

#include "loop/loop.h"
#include "net/addr.h"

struct dns;
struct dns_query;

int dns_new(struct dns **out_dns, struct loop *l);
/*
 * NULL ok, not from inside on_done.  Open queries end without a callback.  Polls that are in flight end in the next
 * turns of the loop: run some before loop_free().
 */
void dns_free(struct dns *d);

struct dns_result {
	int status;	   /* 0, or -errno: -ENOENT no such name, -ETIMEDOUT, -ECONNREFUSED … */
	const char *reason; /* text for status != 0 */
	const struct addr *addrs; /* with port; valid during the callback */
	unsigned count;
	unsigned ttl_secs; /* smallest of the records; 0 unknown */
};

/*
 * Resolve A and AAAA.  on_done is called from the loop, exactly once unless cancelled, and never from inside this
 * call.  NULL when the bound is reached.  An IP address as name is answered with itself.
 */
struct dns_query *dns_resolve(struct dns *d, const char *name, uint16_t port,
			      void (*on_done)(void *ctx, const struct dns_result *r), void *ctx);
/* Not after on_done was called: q is gone then. */
void dns_cancel(struct dns_query *q);

#endif
