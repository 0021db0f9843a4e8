/* SPDX-License-Identifier: GPL-2.0-only */
/* tlsio.c - TLS by OpenSSL, on slices instead of a socket. */
#include "net/tlsio.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/ktls.h"
#include "net/tls_context.h"
#include "net/tlsio_private.h"

#define RECORD_OVERHEAD 32U /* header, explicit nonce, tag, inner type: 22 in TLS 1.3, 29 in 1.2 */
#define CHUNK_BYTES	(5U * (TLSIO_RECORD_MAX + RECORD_OVERHEAD)) /* holds a large receive buffer and a part before */
#define CHUNKS_MAX	8U
#define WRITE_MAX	(256U << 10) /* of one SSL_write() */
#define BUDGET_MAX	32U
#define USEFUL_BYTES	4096U /* read at once: worth a record without any */

/* OpenSSL's names for these are not in its public headers. */
#define CTRL_SET_KTLS	   72
#define CTRL_SET_KTLS_TYPE 74

/*
 * The BIO of all SSLs of this thread, and what it moves bytes between while a call lasts.  One for all because an
 * SSL calls it only from inside our calls, and a BIO of its own would cost each idle connection 200 bytes.
 * Thread-local because OpenSSL writes into it (retry flags).  It goes when the last SSL does, so that no thread leaves
 * it behind.
 */
static __thread struct bridge {
	BIO *bio;
	unsigned users;

	struct tlsio_io *io; /* NULL: no call is running */
	struct tlsio *tls;   /* of the call */
	uint8_t record; /* type of what is written next, if that is no application data */
	struct iobuf *buf; /* owned; cipher bytes being gathered for io->out */
	uint32_t used;
	size_t expected; /* cipher bytes that this call will most likely still write */
	size_t taken;	 /* from io->in by this call */
	bool was_empty;	 /* OpenSSL asked for bytes that are not there */

	struct iobuf *chunks[CHUNKS_MAX]; /* owned; free buffers of CHUNK_BYTES, kept while there are users */
	unsigned chunk_count;
} bridge;

static BIO_METHOD *bridge_method;

/* --- buffers --- */

/* malloc would give memory of this size back to the kernel each time, and fault it in again. */
static void chunk_release(struct iobuf *b)
{
	if (bridge.users > 0 && bridge.chunk_count < CHUNKS_MAX)
		bridge.chunks[bridge.chunk_count++] = b;
	else
		free(b);
}

static void chunk_drop(void)
{
	if (bridge.chunk_count > 0)
		free(bridge.chunks[--bridge.chunk_count]);
}

static struct iobuf *buffer_new(uint32_t size)
{
	struct iobuf *b;

	if (size <= CHUNK_BYTES / 2 || size > CHUNK_BYTES)
		return iobuf_new(size);
	if (bridge.chunk_count > 0) {
		b = bridge.chunks[--bridge.chunk_count];
		b->refs = 1;
		return b;
	}
	b = iobuf_new(CHUNK_BYTES);
	b->release = chunk_release;
	return b;
}

/* --- the BIO --- */

static int bridge_read(BIO *bio, char *to, int len)
{
	struct slice *in = &bridge.io->in;
	uint32_t n = MIN((uint32_t)MAX(len, 0), in->len);

	BIO_clear_retry_flags(bio);
	if (n == 0) {
		bridge.was_empty = true;
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(to, in->ptr, n);
	in->ptr += n;
	in->len -= n;
	bridge.taken += n;
	return (int)n;
}

static void bridge_flush(void)
{
	if (!bridge.buf)
		return;
	slice_queue_push(&bridge.io->out, (struct slice){ bridge.buf, bridge.buf->data, bridge.used });
	bridge.buf = NULL;
	bridge.used = 0;
}

/* For the kernel: one that is no application data.  A KeyUpdate would promise keys that it does not get. */
static __attribute__((noinline)) int write_record(const char *from, uint32_t len)
{
	struct slice s;

	if (bridge.record == SSL3_RT_HANDSHAKE && len > 0 && from[0] == SSL3_MT_KEY_UPDATE) {
		bridge.tls->kernel = TLSIO_KERNEL_STUCK;
	} else {
		bridge_flush();
		s = slice_copy(from, len);
		s.record = bridge.record;
		slice_queue_push(&bridge.io->out, s);
	}
	bridge.record = 0;
	return (int)len;
}

static int bridge_write(BIO *bio, const char *from, int len)
{
	uint32_t n = (uint32_t)MAX(len, 0);

	BIO_clear_retry_flags(bio);
	if (bridge.record)
		return write_record(from, n);
	if (bridge.buf && bridge.buf->size - bridge.used < n)
		bridge_flush();
	if (!bridge.buf)
		bridge.buf = buffer_new(MAX(n, (uint32_t)MIN(bridge.expected, CHUNK_BYTES)));
	memcpy(bridge.buf->data + bridge.used, from, n);
	bridge.used += n;
	bridge.expected -= MIN(bridge.expected, n);
	return len;
}

/* Records that follow are made by the kernel, if it can and if the socket has all that comes before. */
static __attribute__((noinline)) bool kernel_takes(const void *crypto_info)
{
	struct tlsio_io *io = bridge.io;
	uint32_t n;

	if (!io || io->socket <= 0)
		return false;
	bridge_flush();
	n = ktls_send_before(io->socket, &io->out);
	io->sent += n;
	bridge.tls->handshake_bytes += n;
	if (io->out.count > 0 || ktls_start(io->socket, crypto_info) != 0)
		return false;
	bridge.tls->engine = &tlsio_kernel_engine;
	bridge.tls->kernel = TLSIO_KERNEL_SENDS;
	return true;
}

/* OpenSSL asks the first two several times a record. */
static long bridge_ctrl(BIO *bio, int command, long number, void *arg)
{
	(void)bio;
	if (likely(command == BIO_CTRL_GET_KTLS_RECV))
		return 0;
	if (likely(command == BIO_CTRL_GET_KTLS_SEND))
		return bridge.io && bridge.tls->kernel != TLSIO_KERNEL_NOT;
	if (command == CTRL_SET_KTLS)
		return number && kernel_takes(arg); /* 0: for receiving */
	if (command == CTRL_SET_KTLS_TYPE)
		bridge.record = (uint8_t)number;
	return command == BIO_CTRL_FLUSH || command == CTRL_SET_KTLS_TYPE;
}

static int bridge_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static void bridge_method_make(void)
{
	bridge_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "slices");
	CHECK(bridge_method);
	BIO_meth_set_read(bridge_method, bridge_read);
	BIO_meth_set_write(bridge_method, bridge_write);
	BIO_meth_set_ctrl(bridge_method, bridge_ctrl);
	BIO_meth_set_create(bridge_method, bridge_create);
}

static BIO *bridge_get(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (!bridge.bio) {
		pthread_once(&once, bridge_method_make);
		bridge.bio = BIO_new(bridge_method);
		CHECK(bridge.bio);
	}
	bridge.users++;
	CHECK(BIO_up_ref(bridge.bio) == 1);
	return bridge.bio;
}

static void bridge_put(void)
{
	CHECK(bridge.users > 0);
	if (--bridge.users > 0)
		return;
	BIO_free(bridge.bio);
	bridge.bio = NULL;
	while (bridge.chunk_count > 0)
		chunk_drop();
}

static void enter(struct tlsio *t, struct tlsio_io *io)
{
	CHECK(!bridge.io);
	bridge.io = io;
	bridge.tls = t;
	bridge.record = 0; /* one that was announced and never written must not become another connection's */
	bridge.expected = 0;
	bridge.taken = 0;
	bridge.was_empty = false;
}

static void leave(void)
{
	bridge_flush();
	if (bridge.io->in.len == 0)
		slice_put(&bridge.io->in);
	bridge.io = NULL;
}

/* --- failing --- */

static enum tlsio_result fail(struct tlsio *t, int ret)
{
	struct strbuf detail = { 0 };
	enum tls_failure why = tls_failure_take(t->ssl, SSL_get_error(t->ssl, ret), &detail);

	tlsio_set_failure(t, why);
	if (!t->detail && detail.len > 0)
		t->detail = mem_strndup(detail.ptr, detail.len);
	strbuf_fini(&detail);
	t->state = TLSIO_STATE_FAILED;
	return TLSIO_FAILED;
}

void tlsio_set_failure(struct tlsio *t, enum tls_failure f)
{
	if (t->failure == TLS_FAILURE_NONE)
		t->failure = (uint8_t)f;
}

/* --- the handshake --- */

/*
 * A call of OpenSSL did not succeed: because it wants bytes?  SSL_want_read() may stay true after a failure, but a
 * failure leaves the SSL "in init".  While it is there anyway SSL_get_error() judges, which looks at the thread's error
 * queue: so that is cleared before, but not before each record (3 % of a small request).
 */
static bool wants_input(const struct tlsio *t)
{
	if (!SSL_in_init(t->ssl))
		return SSL_want_read(t->ssl) && !(SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN);
	return SSL_get_error(t->ssl, -1) == SSL_ERROR_WANT_READ;
}

/* SSL_read_early_data() until it is known if there is any.  1: yes, it is in io->early; 0: no; < 0: as SSL_read(). */
static int hello(struct tlsio *t, struct tlsio_io *io)
{
	struct iobuf *buf = iobuf_new(TLSIO_RECORD_MAX);
	size_t len = 0;
	int ret = -1;

	switch (SSL_read_early_data(t->ssl, buf->data, buf->size, &len)) {
	case SSL_READ_EARLY_DATA_SUCCESS:
		io->early = slice_copy(buf->data, (uint32_t)len);
		t->pending = (uint16_t)SSL_pending(t->ssl);
		t->state = TLSIO_STATE_EARLY;
		ret = 1;
		break;
	case SSL_READ_EARLY_DATA_FINISH:
		t->state = TLSIO_STATE_HANDSHAKE;
		ret = 0;
		break;
	default:
		break;
	}
	iobuf_put(buf);
	return ret;
}

static enum tlsio_result shake(struct tlsio *t, struct tlsio_io *io)
{
	size_t taken;
	int ret = 0;

	do {
		taken = bridge.taken;
		if (t->state == TLSIO_STATE_HELLO)
			ret = hello(t, io);
		if (t->state == TLSIO_STATE_EARLY)
			return TLSIO_DONE;
		if (t->state == TLSIO_STATE_HANDSHAKE)
			ret = SSL_do_handshake(t->ssl);
		if (ret == 1) {
			t->state = TLSIO_STATE_OPEN;
			return TLSIO_DONE;
		}
		if (!wants_input(t))
			return fail(t, ret);
	} while (io->in.len > 0 && bridge.taken > taken);
	return io->in.len > 0 ? fail(t, ret) : TLSIO_WANTS_INPUT;
}

enum tlsio_result tlsio_handshake(struct tlsio *t, struct tlsio_io *io)
{
	size_t out_before = io->out.bytes;
	enum tlsio_result result;

	if (t->state >= TLSIO_STATE_ENDED)
		return TLSIO_FAILED;
	CHECK(t->state <= TLSIO_STATE_HANDSHAKE);
	ERR_clear_error();
	enter(t, io);
	result = shake(t, io);
	t->handshake_bytes += (uint32_t)bridge.taken;
	leave();
	t->handshake_bytes += (uint32_t)(io->out.bytes - out_before);
	return result;
}

/* --- reading --- */

/* The handshake of a connection whose early data was read to its end.  As SSL_read(). */
static int finish_early(struct tlsio *t, uint8_t *to, size_t room, size_t *out_len)
{
	int ret = SSL_do_handshake(t->ssl);

	if (ret != 1)
		return ret;
	t->state = TLSIO_STATE_OPEN;
	return SSL_read_ex(t->ssl, to, room, out_len);
}

static int read_early(struct tlsio *t, uint8_t *to, size_t room, size_t *out_len)
{
	if (t->state == TLSIO_STATE_EARLY_DONE)
		return finish_early(t, to, room, out_len);
	switch (SSL_read_early_data(t->ssl, to, room, out_len)) {
	case SSL_READ_EARLY_DATA_SUCCESS:
		return 1;
	case SSL_READ_EARLY_DATA_FINISH:
		t->state = TLSIO_STATE_EARLY_DONE;
		return finish_early(t, to, room, out_len);
	default:
		return 0;
	}
}

static void note_partial(struct tlsio *t)
{
	t->partial = (uint16_t)MIN(t->partial + bridge.taken, (size_t)TLSIO_RECORD_MAX);
}

/* Nothing was read.  True: there was a record all the same, try again. */
static bool read_nothing(struct tlsio *t, int ret)
{
	/* A fatal alert counts as shut down too, but is a failure. */
	if (t->state == TLSIO_STATE_OPEN && SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN && !SSL_in_init(t->ssl)) {
		t->state = TLSIO_STATE_ENDED;
		return false;
	}
	if (!wants_input(t)) {
		fail(t, ret);
		return false;
	}
	if (bridge.was_empty) {
		note_partial(t);
		return false;
	}
	t->partial = 0;
	if (t->budget == 0) {
		tlsio_set_failure(t, TLS_FAILURE_PROTOCOL);
		t->detail = mem_strdup("too many records without data");
		t->state = TLSIO_STATE_FAILED;
		return false;
	}
	t->budget--;
	return true;
}

/* Read until there is no whole record left, or no room. */
static size_t read_all(struct tlsio *t, struct tlsio_io *io, uint8_t *to, size_t room)
{
	size_t got = 0;

	for (;;) {
		bool was_early = tlsio_is_early(t);
		size_t len = 0;
		int ret;

		bridge.taken = 0;
		bridge.was_empty = false;
		if (SSL_in_init(t->ssl))
			ERR_clear_error();
		if (was_early)
			ret = read_early(t, to + got, room - got, &len);
		else
			ret = SSL_read_ex(t->ssl, to + got, room - got, &len);
		if (ret <= 0) {
			if (!read_nothing(t, ret))
				return got;
			continue;
		}
		got += len;
		t->partial = 0;
		t->pending = (uint16_t)SSL_pending(t->ssl);
		/* Early bytes are given for themselves.  Asking OpenSSL for what can not be there would cost 10 %. */
		if (got == room || tlsio_is_early(t) || (io->in.len == 0 && t->pending == 0))
			return got;
	}
}

/*
 * Where plain bytes go: over the cipher bytes that they came from, if nobody else has these and no part of the first
 * record came in another buffer.  OpenSSL copies a record out of there before it decrypts it.
 */
static struct slice read_place(const struct tlsio *t, const struct tlsio_io *io, uint32_t room)
{
	struct iobuf *buf = io->in.buf;

	if (buf && buf->refs == 1 && t->partial == 0 && t->pending == 0 && room == io->in.len) {
		iobuf_ref(buf);
		return (struct slice){ buf, io->in.ptr, room };
	}
	buf = buffer_new(room);
	return (struct slice){ buf, buf->data, room };
}

static void note_use(struct tlsio *t)
{
	if (t->uses < TLSIO_WARM_USES && ++t->uses == TLSIO_WARM_USES)
		SSL_clear_mode(t->ssl, SSL_MODE_RELEASE_BUFFERS);
}

enum tlsio_result tlsio_openssl_read(struct tlsio *t, struct tlsio_io *io, size_t max, struct slice *out_plain)
{
	size_t room = MIN((size_t)t->pending + t->partial + io->in.len, max + TLSIO_RECORD_MAX);
	struct slice plain;

	if (io->early.len) {
		*out_plain = io->early;
		io->early = (struct slice){ 0 };
		return TLSIO_DONE;
	}
	if (t->state == TLSIO_STATE_FAILED)
		return TLSIO_FAILED;
	if (t->state == TLSIO_STATE_ENDED)
		return TLSIO_END;
	CHECK(t->state >= TLSIO_STATE_EARLY);
	if (io->in.len == 0 && t->pending == 0)
		return TLSIO_WANTS_INPUT;
	note_use(t);
	plain = read_place(t, io, (uint32_t)room);
	enter(t, io);
	plain.len = (uint32_t)read_all(t, io, plain.ptr, room);
	leave();
	if (plain.len) {
		if (plain.len >= USEFUL_BYTES && t->budget < BUDGET_MAX)
			t->budget++;
		*out_plain = plain;
		return TLSIO_DONE;
	}
	slice_put(&plain);
	if (t->state == TLSIO_STATE_FAILED)
		return TLSIO_FAILED;
	return t->state == TLSIO_STATE_ENDED ? TLSIO_END : TLSIO_WANTS_INPUT;
}

/* --- writing --- */

/* 1, or as SSL_write(); takes what was written off the queue. */
static int write_bytes(struct tlsio *t, struct slice_queue *plain, const void *bytes, size_t len)
{
	size_t written = 0;
	int ret;

	if (SSL_in_init(t->ssl))
		ERR_clear_error();
	if (tlsio_is_early(t))
		ret = SSL_write_early_data(t->ssl, bytes, len, &written);
	else
		ret = SSL_write_ex(t->ssl, bytes, len, &written);
	if (ret == 1)
		slice_queue_consume(plain, written);
	return ret;
}

/* A head and a small body become one record. */
static __attribute__((noinline)) int write_gathered(struct tlsio *t, struct slice_queue *plain, size_t limit)
{
	uint8_t record[TLSIO_RECORD_MAX];
	size_t len = 0;

	for (uint32_t i = 0; i < plain->count && len < limit; i++) {
		const struct slice *s = slice_queue_at(plain, i);
		size_t n = MIN((size_t)s->len, limit - len);

		memcpy(record + len, s->ptr, n);
		len += n;
	}
	return write_bytes(t, plain, record, len);
}

/* One SSL_write(), of one record or of many straight from a large slice. */
static int write_some(struct tlsio *t, struct slice_queue *plain, size_t max)
{
	const struct slice *first = slice_queue_at(plain, 0);
	size_t limit = TLSIO_RECORD_MAX, most = WRITE_MAX;

	if (t->small_left && plain->bytes > TLSIO_RECORD_MAX) {
		t->small_left--;
		limit = most = TLSIO_SMALL_RECORD;
	}
	if (first->len < limit && plain->count > 1)
		return write_gathered(t, plain, limit);
	return write_bytes(t, plain, first->ptr, MIN((size_t)first->len, MIN(most, max)));
}

static size_t cipher_bytes(const struct tlsio *t, size_t plain)
{
	return plain + (plain / TLSIO_RECORD_MAX + 1 + t->small_left) * RECORD_OVERHEAD;
}

enum tlsio_result tlsio_openssl_write(struct tlsio *t, struct tlsio_io *io, struct slice_queue *plain, size_t max)
{
	size_t start = plain->bytes;
	enum tlsio_result result = TLSIO_DONE;

	if (t->state == TLSIO_STATE_FAILED)
		return TLSIO_FAILED;
	CHECK(t->state >= TLSIO_STATE_EARLY);
	note_use(t);
	/* No short record in the middle. */
	max = (MIN(max, start) + TLSIO_RECORD_MAX - 1) / TLSIO_RECORD_MAX * TLSIO_RECORD_MAX;
	enter(t, io);
	bridge.expected = cipher_bytes(t, MIN(start, max));
	while (plain->count && start - plain->bytes < max) {
		int ret = write_some(t, plain, max - (start - plain->bytes));

		if (ret == 1)
			continue;
		if (wants_input(t) && io->in.len == 0)
			result = TLSIO_WANTS_INPUT;
		else
			result = fail(t, ret);
		note_partial(t);
		break;
	}
	leave();
	return result;
}

void tlsio_openssl_close(struct tlsio *t, struct tlsio_io *io)
{
	if (t->state != TLSIO_STATE_OPEN && t->state != TLSIO_STATE_ENDED)
		return;
	if (SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN)
		return;
	enter(t, io);
	if (SSL_shutdown(t->ssl) < 0)
		ERR_clear_error();
	leave();
}

bool tlsio_openssl_release(struct tlsio *t)
{
	if (!SSL_free_buffers(t->ssl))
		return false;
	chunk_drop();
	t->uses = 0;
	SSL_set_mode(t->ssl, SSL_MODE_RELEASE_BUFFERS);
	t->small_left = TLSIO_SMALL_RECORDS;
	if (t->budget < BUDGET_MAX)
		t->budget++;
	return true;
}

static const struct tlsio_engine openssl_engine = {
	.read = tlsio_openssl_read,
	.write = tlsio_openssl_write,
	.close = tlsio_openssl_close,
	.release = tlsio_openssl_release,
};

/* --- birth and death --- */

void tlsio_init(struct tlsio *t, struct ssl_st *ssl, bool has_early)
{
	BIO *bio = bridge_get();

	CHECK(ssl && (!has_early || SSL_is_server(ssl)));
	*t = (struct tlsio){
		.engine = &openssl_engine,
		.ssl = ssl,
		.state = has_early ? TLSIO_STATE_HELLO : TLSIO_STATE_HANDSHAKE,
		.budget = BUDGET_MAX,
		.small_left = TLSIO_SMALL_RECORDS,
	};
	/*
	 * Our BIO takes everything: no partial writes.  Each record without plain bytes ends SSL_read(), to be counted.
	 */
	SSL_clear_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_AUTO_RETRY);
	SSL_set_mode(ssl, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_set_read_ahead(ssl, 0);
	SSL_set_bio(ssl, bio, bio);
}

void tlsio_fini(struct tlsio *t)
{
	if (!t || !t->ssl)
		return;
	/* A connection that just ends is no reason to forget its session. */
	if (t->state == TLSIO_STATE_OPEN || t->state == TLSIO_STATE_ENDED)
		SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(t->ssl);
	free(t->detail);
	bridge_put();
	*t = (struct tlsio){ 0 };
}

void tlsio_io_fini(struct tlsio_io *io)
{
	if (!io)
		return;
	slice_put(&io->in);
	slice_put(&io->early);
	slice_queue_fini(&io->out);
}

/* --- what is known --- */

bool tlsio_is_resumed(const struct tlsio *t)
{
	return SSL_session_reused(t->ssl);
}

struct span tlsio_alpn(const struct tlsio *t)
{
	const unsigned char *name = NULL;
	unsigned len = 0;

	SSL_get0_alpn_selected(t->ssl, &name, &len);
	return (struct span){ (const char *)name, len };
}

struct span tlsio_server_name(const struct tlsio *t)
{
	return tls_ssl_sni(t->ssl);
}

const char *tlsio_version(const struct tlsio *t)
{
	return SSL_get_version(t->ssl);
}

const char *tlsio_cipher(const struct tlsio *t)
{
	const SSL_CIPHER *c = SSL_get_current_cipher(t->ssl);

	return c ? SSL_CIPHER_standard_name(c) : "";
}

const struct tls_server *tlsio_server(const struct tlsio *t)
{
	return tls_ssl_server(t->ssl);
}

bool tlsio_peer_identity(const struct tlsio *t, struct tls_peer *out)
{
	return tls_peer_identity(t->ssl, out);
}
