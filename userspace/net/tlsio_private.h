/* SPDX-License-Identifier: GPL-2.0-only */
/* tlsio_private.h - the engines, for the files that make them: tlsio.c (OpenSSL), tlsio_kernel.c (kernel TLS). */
#ifndef SN_NET_TLSIO_PRIVATE_H
#define SN_NET_TLSIO_PRIVATE_H

#include "net/tlsio.h"

enum tlsio_result tlsio_openssl_read(struct tlsio *t, struct tlsio_io *io, size_t max, struct slice *out_plain);
enum tlsio_result tlsio_openssl_write(struct tlsio *t, struct tlsio_io *io, struct slice_queue *plain, size_t max);
void tlsio_openssl_close(struct tlsio *t, struct tlsio_io *io);
bool tlsio_openssl_release(struct tlsio *t);

/* Takes over as soon as the kernel has the keys, which may be inside of the handshake. */
extern const struct tlsio_engine tlsio_kernel_engine;

#endif
