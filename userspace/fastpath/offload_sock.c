/* SPDX-License-Identifier: GPL-2.0-only */
/* offload_sock.c - questions to a TCP socket that is, was or shall be in the kernel's map. */
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "fastpath/offload_private.h"

#define STATE_ESTABLISHED 1 /* TCP_ESTABLISHED and TCP_FIN_WAIT2 of <netinet/tcp.h>, which <linux/tcp.h> excludes */
#define STATE_FIN_WAIT2 5
#define SNDBUF_BYTES (2 * 1024 * 1024)
#define EXACT_TRIES 1000 /* both are quick, and one quiet microsecond is enough */

uint64_t sock_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0 ? 0 : cookie;
}

static struct tcp_info info(int fd)
{
	struct tcp_info i = { 0 };
	socklen_t len = sizeof(i);

	(void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len);
	return i;
}

bool sock_is_established(int fd)
{
	return info(fd).tcpi_state == STATE_ESTABLISHED;
}

void sock_lock_once(int fd)
{
	(void)info(fd);
}

int sock_unacked(int fd)
{
	int bytes = 0;

	(void)ioctl(fd, SIOCOUTQ, &bytes);
	return bytes;
}

/* In this order: an acknowledgement between the two questions makes the sum too small for a moment, never too large. */
uint64_t sock_written(int fd)
{
	uint64_t acked = info(fd).tcpi_bytes_acked;

	return acked + (uint64_t)sock_unacked(fd);
}

int sock_written_exactly(int fd, uint64_t *out_bytes)
{
	uint64_t before, after = info(fd).tcpi_bytes_acked;

	for (int tries = 0; tries < EXACT_TRIES; tries++) {
		uint64_t unacked;

		before = after;
		unacked = (uint64_t)sock_unacked(fd);
		after = info(fd).tcpi_bytes_acked;
		if (before == after) {
			*out_bytes = after + unacked;
			return 0;
		}
	}
	return -EAGAIN;
}

static bool state_has_fin(unsigned state)
{
	return state > STATE_FIN_WAIT2;
}

int sock_read_exactly(int fd, uint64_t *out_bytes, bool *out_has_fin)
{
	struct tcp_info before, after = info(fd);

	for (int tries = 0; tries < EXACT_TRIES; tries++) {
		int queued = 0;

		before = after;
		(void)ioctl(fd, SIOCINQ, &queued);
		after = info(fd);
		if (before.tcpi_bytes_received != after.tcpi_bytes_received || before.tcpi_state != after.tcpi_state)
			continue;
		*out_bytes = after.tcpi_bytes_received - (uint64_t)queued;
		*out_has_fin = state_has_fin(after.tcpi_state);
		return 0;
	}
	return -EAGAIN;
}

void sock_set_rcvlowat(int fd, int bytes)
{
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

int sock_window(int fd)
{
	int bytes = 0;
	socklen_t len = sizeof(bytes);

	return getsockopt(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &bytes, &len) < 0 ? 0 : bytes;
}

void sock_set_window(int fd, int bytes)
{
	(void)setsockopt(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &bytes, sizeof(bytes));
}

int sock_sndbuf(int fd)
{
	int bytes = 0;
	socklen_t len = sizeof(bytes);

	(void)getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &len);
	return bytes;
}

/*
 * The kernel redirects only what fits into the send buffer, and one packet may have 64 KiB, counted twice: what a
 * connection begins with is too small for any.  And it must not shrink, as it does by itself under memory pressure:
 * what had room would be parked, and the other direction would wait behind it.  A size that was set is fixed.
 */
void sock_fix_sndbuf(int fd)
{
	int now = sock_sndbuf(fd), wanted;

	wanted = MAX(now, SNDBUF_BYTES) / 2; /* the kernel doubles it */
	/* Without the right to force it, the system's maximum must do. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof(wanted)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted));
}

void sock_abort(int fd)
{
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	(void)connect(fd, &nobody, sizeof(nobody));
}
