/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hostaddrs.h - the host's own addresses, by rtnetlink: the list, and a descriptor that tells of changes.
 *
 * What a wildcard listener covers.  Addresses that only a "local" route gives to the host (AnyIP) are not in
 * the list: such a listener is to be written with its address.  Control thread.
 */
#ifndef SN_FASTPATH_HOSTADDRS_H
#define SN_FASTPATH_HOSTADDRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hostaddr {
	uint8_t ip[16]; /* IPv4-mapped */
	uint32_t ifindex;
};

struct hostaddrs {
	struct hostaddr *items; /* owned; sorted by address, each once */
	size_t count;
};

/* A socket that becomes readable when an address comes or goes (owned by the caller), or -errno. */
int hostaddrs_watch(void);
/* Read all notices.  True if there were any, or if some were lost. */
bool hostaddrs_drain(int watch_fd);

/*
 * Ask the kernel for the list.  0; -E2BIG: more than SN_HOST_ADDRS_MAX; -errno.  *out is replaced on success,
 * freed with hostaddrs_fini().
 */
int hostaddrs_read(struct hostaddrs *out);
void hostaddrs_fini(struct hostaddrs *h); /* NULL ok */

#endif
