/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ktls.h - TLS records made by the kernel (TCP_ULP "tls"), for sending only.
 *
 * Once it has the keys of a socket, all bytes that are sent leave as application data; other records need a control
 * message with their type, and are sent alone.  There is no way back, and before Linux 6.14 no way to other keys.
 * The kernel may hold a part of the last record that did not fit into the socket, outside of what TCP knows: a FIN
 * would cut it off.  ktls_is_drained() says when that has gone.
 */
#ifndef SN_NET_KTLS_H
#define SN_NET_KTLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/iobuf.h"

/* Does this kernel have it?  Asked once for the process; as root this loads the module. */
bool ktls_is_there(void);
/*
 * Without waiting, what has to be in the socket before; what it does not take stays queued.  Bytes that were taken.
 * Not by send(): see say_goodbye() in stream_tls.c.
 */
uint32_t ktls_send_before(int fd, struct slice_queue *q);
/*
 * From the next byte on.  crypto_info: one of linux/tls.h's tls12_crypto_info_*, as OpenSSL gives it.  0 or -errno, and
 * then the socket goes on as before.
 */
int ktls_start(int fd, const void *crypto_info);

/* Control message for a record: lives for ever.  NULL: not a type that we send. */
const void *ktls_control(uint32_t record, size_t *out_len);

/*
 * Nothing is held outside of the TCP socket, or that can not be known.  bytes_out: all bytes that were given to this
 * socket, which was accepted.
 */
bool ktls_is_drained(int fd, uint64_t bytes_out);

#endif
