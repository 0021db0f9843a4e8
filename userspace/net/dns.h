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
void dns_free(struct dns *d); /* NULL ok; open queries end without a callback */

struct dns_result {
	int status;	   /* 0, or -errno: -ENOENT no such name, -ETIMEDOUT, -ECONNREFUSED … */
	const char *reason; /* text for status != 0 */
	const struct addr *addrs; /* with port; valid during the callback */
	unsigned count;
	unsigned ttl_secs; /* smallest of the records; 0 unknown */
};

/* Resolve A and AAAA.  on_done is called from the loop, exactly once unless cancelled.  NULL when the bound is reached. */
struct dns_query *dns_resolve(struct dns *d, const char *name, uint16_t port,
			      void (*on_done)(void *ctx, const struct dns_result *r), void *ctx);
void dns_cancel(struct dns_query *q);

#endif
