/* SPDX-License-Identifier: GPL-2.0-only */
/* socket.c - socket calls that are made in more than one place. */
#include "net/socket.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"

/* Bytes that the kernel holds unsent for a peer that does not take them: beyond that it stops us, not the memory. */
#define NOTSENT_MAX (256 * 1024)

int socket_stream(int family)
{
	const int on = 1;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (family != AF_UNIX) { /* accepted sockets inherit both from the one that listens */
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		socket_limit_unsent(fd, true);
	}
	return fd;
}

void socket_limit_unsent(int fd, bool on)
{
	const int bytes = on ? NOTSENT_MAX : -1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

int socket_error(int fd)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		return -errno;
	return -err;
}

/* The kernel says how long a name is, which may be more than fits: a Unix path without its final NUL. */
static int name_done(int result, socklen_t len, struct addr *a, struct addr *out_addr)
{
	if (result != 0)
		return -errno;
	a->len = len > sizeof(a->un) ? sizeof(a->un) : len;
	*out_addr = *a;
	return 0;
}

int socket_peer(int fd, struct addr *out_addr)
{
	struct addr a = { 0 };
	socklen_t len = sizeof(a.un);

	return name_done(getpeername(fd, &a.sa, &len), len, &a, out_addr);
}

void socket_peer_find(int fd, struct addr *out_addr)
{
	if (socket_peer(fd, out_addr) < 0) /* what is read will say why */
		*out_addr = (struct addr){ .len = sizeof(sa_family_t), .sa.sa_family = AF_UNIX };
}

int socket_local(int fd, struct addr *out_addr)
{
	struct addr a = { 0 };
	socklen_t len = sizeof(a.un);

	return name_done(getsockname(fd, &a.sa, &len), len, &a, out_addr);
}

void socket_reset_on_close(int fd)
{
	const struct linger reset = { .l_onoff = 1 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

void socket_close_reset(int fd)
{
	socket_reset_on_close(fd);
	(void)close(fd);
}

bool socket_has_input(int fd)
{
	int bytes = 0;

	return ioctl(fd, SIOCINQ, &bytes) == 0 && bytes > 0;
}

/* As POLLOUT looks at it: two thirds. */
static bool is_full(const uint32_t info[SK_MEMINFO_VARS])
{
	return info[SK_MEMINFO_SNDBUF] < info[SK_MEMINFO_WMEM_QUEUED] + info[SK_MEMINFO_WMEM_QUEUED] / 2;
}

bool socket_is_full(int fd)
{
	uint32_t info[SK_MEMINFO_VARS];
	socklen_t len = sizeof(info);

	return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) == 0 && is_full(info);
}

int socket_unacked(int fd)
{
	int bytes = 0;

	return ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

size_t socket_room(int fd)
{
	uint32_t info[SK_MEMINFO_VARS];
	socklen_t len = sizeof(info);
	size_t room = SIZE_MAX;
	int unsent = 0;

	/* The two things that POLLOUT looks at, by the same rules. */
	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) == 0) {
		if (is_full(info))
			return 0;
		room = info[SK_MEMINFO_SNDBUF] - info[SK_MEMINFO_WMEM_QUEUED];
	}
	if (ioctl(fd, SIOCOUTQNSD, &unsent) == 0) {
		if (unsent * 2 >= NOTSENT_MAX)
			return 0;
		room = MIN(room, (size_t)(NOTSENT_MAX - unsent));
	}
	return room;
}
