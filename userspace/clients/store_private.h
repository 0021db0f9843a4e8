/* SPDX-License-Identifier: GPL-2.0-only */
/* store_private.h - between store_worker.c (who asks), store_connection.c (places in order) and the protocols. */
#ifndef SN_CLIENTS_STORE_PRIVATE_H
#define SN_CLIENTS_STORE_PRIVATE_H

#include "clients/store_worker.h"
#include "net/stream.h"
#include "net/tls_context.h"

#define TAG_STORE_CONNECTION TAG('s', 't', 'c', 'n')

/* A reply that is expected.  Replies come in the order of places. */
enum place_kind {
	PLACE_NOBODY, /* who asked is gone, or never wanted to know */
	PLACE_HELLO,  /* must be good, or the connection is not */
	PLACE_PING,
	PLACE_CHECK,
};

struct place {
	enum place_kind kind;
	struct store_check *check; /* CHECK */
};

/* Room for the greeting, a probe, tokens that go back, and second commands of a question. */
#define PLACES (2 * STORE_IN_FLIGHT_MAX)

enum connection_state {
	CONNECTION_OPENING, /* until the greeting is answered */
	CONNECTION_READY,
	CONNECTION_ENDING,
};

struct store_connection {
	uint32_t tag;
	enum connection_state state;
	struct list node; /* in worker->connections */
	struct store_worker *worker;
	struct stream *stream;
	void *reader; /* of the protocol */
	struct timer timer; /* opening, or a probe's answer */
	bool is_probe;
	unsigned hellos; /* not answered yet */

	struct iobuf *out; /* owned: commands are written there; NULL: none was */
	uint32_t out_used;

	uint64_t first, next; /* places [first, next) are taken; index modulo PLACES */
	struct place places[PLACES];
};

struct store_worker {
	struct loop *loop;
	struct store *store; /* one hold */
	const struct store_protocol *protocol;
	const struct store_events *events;
	void *ctx;

	struct list connections;
	unsigned open_count; /* of these, those that are not ENDING */
	struct list waiting; /* checks by deadline: all have the same time */
	struct timer deadline_timer, probe_timer;
	unsigned failures; /* in a row */
	uint64_t probe_pause_ms;
	bool is_down, is_closing;
	struct tls_session_cache sessions;
};

struct store_protocol {
	void *(*reader_new)(void);
	void (*reader_free)(void *reader);
	void (*greet)(struct store_connection *c); /* writes what comes first, with place_add(HELLO) */
	void (*ping)(struct store_connection *c);
	void (*ask)(struct store_connection *c, struct store_check *k);
	void (*give_back)(struct store_connection *c, struct span key, uint64_t interval_us);
	/* Takes replies apart and answers places.  -EPROTO: this is no reply of ours. */
	int (*read)(struct store_connection *c, struct span bytes);
};

extern const struct store_protocol store_redis, store_memcached;

/* ---- for protocols ---- */

/*
 * Commands of a turn lie one behind another, so that one send takes all of them.  Room for `max` bytes, then: so many
 * were written there.
 */
char *connection_room(struct store_connection *c, size_t max);
void connection_write(struct store_connection *c, size_t len);
/* The next reply is of this kind.  Write the command as well. */
void place_add(struct store_connection *c, enum place_kind kind, struct store_check *k);
bool connection_has_room(const struct store_connection *c);
/*
 * A reply came.  What nobody waits for, greetings and probes are done with here: no NULL is the text of the reply if it
 * is not the one that these want.  1: it is for *out_check; 0: done; -EPROTO: nothing was asked.
 */
int connection_reply(struct store_connection *c, const char *no, struct store_check **out_check);
/* Answers a check; it may be gone when this returns. */
void check_done(struct store_check *k, enum store_failure f);
/* The store said no to it: why is its text. */
void check_refused(struct store_check *k, const char *why);

/* ---- between the other two ---- */

/* NULL: *out_failure says why. */
struct store_connection *connection_open(struct store_worker *sw, bool is_probe, enum store_failure *out_failure);
/* Checks on it fail so; the stream ends, and with it the connection. */
void connection_end(struct store_connection *c, enum store_failure f, bool is_counted);
void worker_succeeded(struct store_worker *sw);
void worker_failed(struct store_worker *sw, const char *why);

#endif
