/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tlsio.h - one TLS connection without I/O: cipher bytes in, plain bytes out, and back.
 *
 * The caller owns the bytes of both sides (struct tlsio_io) and moves them.  A call looks at what is in `in`, puts what
 * the peer must get into `out`, and never waits; after each call the caller sends `out`, also after one that failed:
 * it may hold the alert.  A call may leave bytes in `in`; it wants more only when `in` is empty.
 *
 * Handshake first, until TLSIO_DONE.  Then reading and writing, which go through an engine: today OpenSSL's record
 * layer for the whole life.  Another engine may take a connection over between the handshake and the first read or
 * write: by then OpenSSL has taken whole records only, and what follows is still in `in`.
 *
 * 0-RTT (server): if the SSL's server has it enabled, TLSIO_DONE comes as soon as early bytes are there.  Then
 * tlsio_is_early() is true until the handshake is complete, which happens while reading: what one tlsio_read() gives is
 * either early or not, never both, and it is early exactly if tlsio_is_early() is true after the call.  Answers that
 * are written meanwhile are protected, but nobody knows yet that the client is alive.
 *
 * What the peer can make us do without sending plain bytes (KeyUpdate, tickets, warnings) comes out of a budget, which
 * useful bytes and idle time fill up again; without budget the connection fails.
 */
#ifndef SN_NET_TLSIO_H
#define SN_NET_TLSIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/iobuf.h"
#include "base/span.h"
#include "net/tls_verify.h"

struct ssl_st;
struct tlsio;
struct tls_server;

#define TLSIO_RECORD_MAX 16384 /* plain bytes of a record */
/* The first records after silence are small: the peer can use them before the last packet of 16 KiB is there. */
#define TLSIO_SMALL_RECORD  1400
#define TLSIO_SMALL_RECORDS 8
/*
 * A connection that is used that often without silence keeps OpenSSL's buffers (34 kB) between uses, which is cheaper;
 * one that has had a single request does not hold memory while others come.
 */
#define TLSIO_WARM_USES 6

/* Bytes on their way; zero is a valid start. */
struct tlsio_io {
	struct slice in; /* owned; from the peer, not looked at yet */
	struct slice early; /* owned; plain bytes that the handshake came upon: tlsio_read() gives them first */
	struct slice_queue out; /* for the peer; the caller takes them after each call */
	/*
	 * > 0: all bytes of before are in this socket, so that its kernel may take over (see tlsio_kernel_sends());
	 * what OpenSSL has to say before that is sent to it at once, and counted in `sent`.
	 */
	int socket;
	uint32_t sent;
};

enum tlsio_result {
	TLSIO_DONE,
	TLSIO_WANTS_INPUT, /* `in` is used up */
	TLSIO_END,	   /* the peer's close_notify; writing still works */
	TLSIO_FAILED,	   /* tlsio_failure() says why; again on each call from now on */
};

/* What moves records once the handshake is complete.  See the functions of the same names. */
struct tlsio_engine {
	enum tlsio_result (*read)(struct tlsio *t, struct tlsio_io *io, size_t max, struct slice *out_plain);
	enum tlsio_result (*write)(struct tlsio *t, struct tlsio_io *io, struct slice_queue *plain, size_t max);
	void (*close)(struct tlsio *t, struct tlsio_io *io);
	bool (*release)(struct tlsio *t);
};

enum tlsio_state {
	TLSIO_STATE_HELLO,	/* a server that may get early data, before it knows */
	TLSIO_STATE_HANDSHAKE,
	TLSIO_STATE_EARLY,	/* reading early data */
	TLSIO_STATE_EARLY_DONE, /* the last early byte was read, the handshake is not complete */
	TLSIO_STATE_OPEN,
	TLSIO_STATE_ENDED, /* close_notify came */
	TLSIO_STATE_FAILED,
};

enum tlsio_kernel {
	TLSIO_KERNEL_NOT,
	TLSIO_KERNEL_SENDS,
	TLSIO_KERNEL_STUCK, /* the peer wants other keys of us */
};

/* Embed it; the fields are the engine's. */
struct tlsio {
	const struct tlsio_engine *engine;
	struct ssl_st *ssl; /* owned */
	char *detail;	    /* owned; of a failure */
	uint32_t handshake_bytes;
	uint16_t partial; /* bytes of a record that is not complete, at most TLSIO_RECORD_MAX */
	uint16_t pending; /* plain bytes that were decrypted and not read */
	uint8_t state, failure;
	uint8_t budget; /* of records without plain bytes */
	uint8_t small_left; /* small records still to come */
	uint8_t uses; /* reads and writes since silence, up to TLSIO_WARM_USES */
	uint8_t kernel; /* enum tlsio_kernel */
};

/*
 * Take an SSL without BIO, in accept or connect state.  has_early: a server's that may accept early data.
 * All tlsios of a thread share one BIO, which exists only inside of their calls: so no SSL may be used past these.
 */
void tlsio_init(struct tlsio *t, struct ssl_st *ssl, bool has_early);
void tlsio_fini(struct tlsio *t); /* NULL ok; sends nothing */

void tlsio_io_fini(struct tlsio_io *io); /* NULL ok */

/* Go on with the handshake.  TLSIO_END does not happen. */
enum tlsio_result tlsio_handshake(struct tlsio *t, struct tlsio_io *io);

/*
 * TLSIO_DONE: *out_plain has what could be decrypted, len > 0, its reference is the caller's; at most max and a record
 * more.  It may lie in the buffer of `in` itself (then without an allocation), in front of what is left there.
 */
static inline enum tlsio_result tlsio_read(struct tlsio *t, struct tlsio_io *io, size_t max, struct slice *out_plain)
{
	return t->engine->read(t, io, max, out_plain);
}

/* A read may have something to say without more input. */
static inline bool tlsio_has_input(const struct tlsio *t, const struct tlsio_io *io)
{
	return io->in.len || io->early.len || t->pending || t->state >= TLSIO_STATE_ENDED;
}

/*
 * Encrypt from the front of `plain` until it is empty or max bytes are taken (or a record more).  TLSIO_DONE: all of
 * that was done.  TLSIO_WANTS_INPUT: a message of the peer is incomplete; try again with input.
 */
static inline enum tlsio_result tlsio_write(struct tlsio *t, struct tlsio_io *io, struct slice_queue *plain,
					    size_t max)
{
	return t->engine->write(t, io, plain, max);
}

/* close_notify, once; nothing may be written after it.  Does nothing before the handshake is complete. */
static inline void tlsio_close(struct tlsio *t, struct tlsio_io *io)
{
	t->engine->close(t, io);
}

/* The connection is idle: free its buffers.  False: half a record is in them. */
static inline bool tlsio_release(struct tlsio *t)
{
	return t->engine->release(t);
}

/*
 * Records are made by the kernel (ktls.h), of a server that has it configured, if io.socket was set when the keys came.
 * Then `out` has plain bytes, and slices with a `record`.  That the peer asks for new keys is a failure then.
 */
static inline bool tlsio_kernel_sends(const struct tlsio *t)
{
	return t->kernel != TLSIO_KERNEL_NOT;
}

/* --- what is known of the connection; spans and strings live as long as it, or for ever --- */

static inline bool tlsio_is_early(const struct tlsio *t)
{
	return t->state == TLSIO_STATE_EARLY || t->state == TLSIO_STATE_EARLY_DONE;
}

bool tlsio_is_resumed(const struct tlsio *t);
struct span tlsio_alpn(const struct tlsio *t);	      /* "h2"; empty: none */
struct span tlsio_server_name(const struct tlsio *t); /* SNI; empty: none */
const char *tlsio_version(const struct tlsio *t);     /* "TLSv1.3" */
const char *tlsio_cipher(const struct tlsio *t);      /* "TLS_AES_128_GCM_SHA256"; "": none yet */
/* Of a server's connection: for tls_server_names_share_certificate().  NULL: another kind of SSL. */
const struct tls_server *tlsio_server(const struct tlsio *t);
/* As tls_peer_identity(). */
bool tlsio_peer_identity(const struct tlsio *t, struct tls_peer *out);
/* Cipher bytes of the handshake, both ways. */
static inline uint32_t tlsio_handshake_bytes(const struct tlsio *t)
{
	return t->handshake_bytes;
}

static inline enum tls_failure tlsio_failure(const struct tlsio *t)
{
	return (enum tls_failure)t->failure;
}

/* OpenSSL's words for the log; "": there are none. */
static inline const char *tlsio_failure_detail(const struct tlsio *t)
{
	return t->detail ? t->detail : "";
}

/* For what only the caller knows: CLOSED, TIMEOUT.  An earlier one stays. */
void tlsio_set_failure(struct tlsio *t, enum tls_failure f);

#endif
