/* SPDX-License-Identifier: GPL-2.0-only */
/* tunnel_stall.c - a receiver that takes nothing, while the kernel carries its bytes. */
#include "proxy/tunnel_stall.h"

#include "net/socket.h"

bool stall_look(struct stall *s, int fd, uint64_t bytes, uint64_t now_ms, uint64_t limit_ms)
{
	int unacked;

	if (bytes != s->bytes || limit_ms == 0) {
		*s = (struct stall){ .bytes = bytes };
		return false;
	}
	if (s->is_at_rest)
		return false;
	if (!socket_is_full(fd)) {
		*s = (struct stall){ .bytes = bytes, .is_at_rest = true };
		return false;
	}
	unacked = socket_unacked(fd);
	if (!s->full_since_ms || unacked != s->unacked) {
		s->full_since_ms = now_ms;
		s->unacked = unacked;
	}
	return now_ms - s->full_since_ms >= limit_ms;
}
