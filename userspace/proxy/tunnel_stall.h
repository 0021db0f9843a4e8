/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tunnel_stall.h - a receiver that takes nothing, while the kernel carries its bytes and no write of ours could tell.
 *
 * Stuck is a socket that was full, and acknowledged nothing, for the whole write time-out.  A system call is made once
 * after bytes have ceased to come, and at every look while the socket is full: none for a tunnel that just rests.
 */
#ifndef SN_PROXY_TUNNEL_STALL_H
#define SN_PROXY_TUNNEL_STALL_H

#include <stdbool.h>
#include <stdint.h>

/* Of one direction.  Zero is valid, for every new stay in the kernel. */
struct stall {
	uint64_t bytes; /* that had come at the last look */
	uint64_t full_since_ms; /* 0: it is not full */
	int unacked;
	bool is_at_rest; /* there was room after the last byte: it cannot become full without others */
};

/* bytes: that came for `fd` so far.  True: it has been stuck for limit_ms (0: for ever is right). */
bool stall_look(struct stall *s, int fd, uint64_t bytes, uint64_t now_ms, uint64_t limit_ms);

#endif
