/* SPDX-License-Identifier: GPL-2.0-only */
/* offload_sock.c - questions to a TCP socket that is, was or shall be in the kernel's map. */
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "fastpath/offload_private.h"

#define STATE_ESTABLISHED 1 /* TCP_ESTABLISHED and TCP_FIN_WAIT2 of <netinet/tcp.h>, which <linux/tcp.h> excludes */
#define STATE_FIN_WAIT2 5
#define SNDBUF_BYTES (2 * 1024 * 1024)
#define READ_TRIES 100

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

static bool state_has_fin(unsigned state)
{
	return state > STATE_FIN_WAIT2;
}

uint64_t sock_read(int fd, bool *out_has_fin)
{
	struct tcp_info before, after = info(fd);
	int queued, tries = 0;

	do {
		before = after;
		queued = 0;
		(void)ioctl(fd, SIOCINQ, &queued);
		after = info(fd);
	} while (++tries < READ_TRIES &&
		 (before.tcpi_bytes_received != after.tcpi_bytes_received || before.tcpi_state != after.tcpi_state));
	*out_has_fin = state_has_fin(after.tcpi_state);
	return after.tcpi_bytes_received - (uint64_t)queued;
}

void sock_set_rcvlowat(int fd, int bytes)
{
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

/*
 * The kernel redirects only what fits into the send buffer, and one packet may have 64 KiB, counted twice: what a
 * connection begins with is too small for any.  And it must not shrink, as it does by itself under memory pressure: what
 * had room would be parked, and the other direction would wait behind it.  A size that was set is fixed.
 */
void sock_fix_sndbuf(int fd)
{
	int now = 0, wanted;
	socklen_t len = sizeof(now);

	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &now, &len) < 0)
		return;
	wanted = MAX(now, SNDBUF_BYTES) / 2; /* the kernel doubles it */
	/* Without the right to force it, the system's maximum must do. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof(wanted)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted));
}

void sock_reset_on_close(int fd)
{
	const struct linger l = { .l_onoff = 1 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}
