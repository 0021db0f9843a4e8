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
/*
 * That a write waits when the kernel holds much that is not sent; every socket_stream() has it.  What the kernel
 * redirects knows of a full send buffer only: without the limit.
 */
void socket_limit_unsent(int fd, bool on);
int socket_error(int fd); /* SO_ERROR as -errno, 0: none; clears it */
int socket_peer(int fd, struct addr *out_addr);	 /* getpeername(); 0 or -errno (-ENOTCONN) */
/* Of a connection: one that was reset already has none, and counts as a Unix socket without a name. */
void socket_peer_find(int fd, struct addr *out_addr);
int socket_local(int fd, struct addr *out_addr); /* getsockname(); 0 or -errno */
void socket_reset_on_close(int fd); /* then the peer sees a reset, and what is queued is forgotten */
void socket_close_reset(int fd);    /* now */
bool socket_has_input(int fd); /* bytes wait to be received */
/* Bytes that can be written before the socket is full; 0: when there is room again, POLLOUT comes. */
size_t socket_room(int fd);
bool socket_is_full(int fd); /* of memory: POLLOUT does not come before the peer has acknowledged some */
int socket_unacked(int fd); /* bytes that were written, and not acknowledged by the peer */

#endif
