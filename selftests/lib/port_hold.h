/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * port_hold.h - for unit tests (include cmocka.h first) of what happens when nobody listens: a port that is free can be
 * another program's a moment later.
 */
#ifndef SN_SELFTESTS_LIB_PORT_HOLD_H
#define SN_SELFTESTS_LIB_PORT_HOLD_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* Closes a listening socket of IPv4.  What is returned keeps its port and refuses who connects; it may listen(2). */
static inline int port_hold(int listener)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const int on = 1;
	struct sockaddr_in at;
	socklen_t len = sizeof(at);

	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(close(listener), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

#endif
