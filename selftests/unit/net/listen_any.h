/* SPDX-License-Identifier: GPL-2.0-only */
/* listen_any.h - a listening socket for unit tests, and one that connects to it (include cmocka.h first). */
#ifndef SN_SELFTESTS_UNIT_NET_LISTEN_ANY_H
#define SN_SELFTESTS_UNIT_NET_LISTEN_ANY_H

#include "lib/port_hold.h"
#include "net/listener.h"
#include "net/socket.h"

/* On 127.0.0.1, at a port that was free; *out_addr says which. */
static inline int listen_any(struct addr *out_addr)
{
	int fd;
	socklen_t len = sizeof(out_addr->in);

	assert_int_equal(addr_parse(SPAN("127.0.0.1:0"), out_addr), 0);
	fd = listener_socket(out_addr, 64, true);
	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, &out_addr->sa, &len), 0);
	return fd;
}

/* The same, but it refuses who connects. */
static inline int hold_any(struct addr *out_addr)
{
	return port_hold(listen_any(out_addr));
}

static inline int connect_to(const struct addr *a)
{
	int fd = socket_stream(a->sa.sa_family);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, &a->sa, a->len), 0);
	return fd;
}

#endif
