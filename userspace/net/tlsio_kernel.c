/* SPDX-License-Identifier: GPL-2.0-only */
/* tlsio_kernel.c - the engine of connections whose sent records the kernel makes; OpenSSL reads. */
#include <openssl/ssl.h>

#include "base/mem.h"
#include "net/tlsio_private.h"

/* The peer asked for new keys: nothing that we send can be what it expects. */
static bool kernel_is_stuck(struct tlsio *t, struct tlsio_io *io)
{
	static const char alert[] = { SSL3_AL_FATAL, SSL_AD_INTERNAL_ERROR };
	struct slice s = slice_static(alert, sizeof(alert));

	if (t->state == TLSIO_STATE_FAILED)
		return false;
	if (t->kernel != TLSIO_KERNEL_STUCK && SSL_get_key_update_type(t->ssl) == SSL_KEY_UPDATE_NONE)
		return false;
	tlsio_set_failure(t, TLS_FAILURE_PROTOCOL);
	if (!t->detail)
		t->detail = mem_strdup("the peer asks for new keys, which the kernel's TLS does not take");
	t->state = TLSIO_STATE_FAILED;
	s.record = SSL3_RT_ALERT;
	slice_queue_push(&io->out, s);
	return true;
}

static enum tlsio_result kernel_read(struct tlsio *t, struct tlsio_io *io, size_t max, struct slice *out_plain)
{
	enum tlsio_result result = tlsio_openssl_read(t, io, max, out_plain);

	/* What came before is given first; the next call fails. */
	return kernel_is_stuck(t, io) && result != TLSIO_DONE ? TLSIO_FAILED : result;
}

/* Nothing is copied: the plain bytes themselves are for the socket. */
static enum tlsio_result kernel_write(struct tlsio *t, struct tlsio_io *io, struct slice_queue *plain, size_t max)
{
	enum tlsio_result result;

	if (t->state == TLSIO_STATE_FAILED || kernel_is_stuck(t, io))
		return TLSIO_FAILED;
	if (SSL_in_init(t->ssl)) {
		result = tlsio_openssl_write(t, io, plain, max);
		return kernel_is_stuck(t, io) ? TLSIO_FAILED : result;
	}
	while (plain->count > 0 && max > 0) {
		const struct slice *first = slice_queue_at(plain, 0);
		uint32_t n = (uint32_t)MIN((size_t)first->len, max);

		slice_queue_push(&io->out, slice_part(*first, 0, n));
		slice_queue_consume(plain, n);
		max -= n;
	}
	return TLSIO_DONE;
}

const struct tlsio_engine tlsio_kernel_engine = {
	.read = kernel_read,
	.write = kernel_write,
	.close = tlsio_openssl_close,
	.release = tlsio_openssl_release,
};
