/* SPDX-License-Identifier: GPL-2.0-only */
/* socket.h - the few socket calls that are made in more than one place.  Any thread. */
#ifndef SN_NET_SOCKET_H
#define SN_NET_SOCKET_H

#include "net/addr.h"

/*
 * A stream socket of the family: close-on-exec, blocking (io_uring waits for us), TCP_NODELAY unless Unix.
 * The descriptor or -errno.
 */
int socket_stream(int family);
int socket_error(int fd); /* SO_ERROR as -errno, 0: none; clears it */
int socket_peer(int fd, struct addr *out_addr);	 /* getpeername(); 0 or -errno (-ENOTCONN) */
int socket_local(int fd, struct addr *out_addr); /* getsockname(); 0 or -errno */
bool socket_has_input(int fd); /* bytes wait to be received */
/* Bytes that can be written before the socket is full; 0: when there is room again, POLLOUT comes. */
size_t socket_room(int fd);

#endif
