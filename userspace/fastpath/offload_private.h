/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * offload_private.h - what the files of offload share.
 *
 * offload.c      a worker's part: events, sweep, the iterator
 * offload_pair.c a pair's life: join, run, leave, close
 * offload_dir.c  one direction: arm, disarm, drain, relay
 * offload_move.c going on in another process
 * offload_sock.c questions to a TCP socket
 */
#ifndef SN_FASTPATH_OFFLOAD_PRIVATE_H
#define SN_FASTPATH_OFFLOAD_PRIVATE_H

#include "base/hmap.h"
#include "base/list.h"
#include "fastpath/offload.h"

#define TAG_OFFLOAD TAG('o', 'f', 'f', 'l')
#define TAG_OFFLOAD_PAIR TAG('o', 'f', 'p', 'r')

#define OFFLOAD_READ_MAX (64 * 1024)

struct ring_buffer;

enum dir_state {
	DIR_PASSING,  /* userspace owns the destination: it copies what the kernel passes */
	DIR_ARMED,    /* the kernel owns it */
	DIR_DRAINING, /* disarmed; redirected bytes are on their way into the destination's queue */
	DIR_ENDED,    /* FIN passed on */
	DIR_STATE_COUNT
};

enum poll_kind {
	POLL_END, /* RDHUP, ERR, HUP; of the source; all the time, so no events are asked for */
	POLL_READ,
	POLL_WRITE,
	POLL_COUNT
};

struct offload_poll {
	struct op op;
	struct offload_pair *pair;
	uint8_t index; /* of the socket */
	uint8_t kind;
	bool is_armed;
	bool is_cancelled;
};

/* The bytes from socket `index` to the other. */
struct offload_dir {
	struct offload_pair *pair;
	unsigned index;
	int source, destination; /* borrowed */
	uint64_t cookie;	 /* of source */
	uint32_t slot;
	struct flow_row row;

	enum dir_state state;
	bool is_in_map;
	bool has_hangup; /* RDHUP was seen */
	bool is_eof;
	bool is_readable; /* a poll said so, and nothing was read since */
	bool is_slow;	 /* the receiver had no room when this was armed last */
	int window;	 /* of source, before it was made smaller; 0: it was not */
	uint64_t base_written;	/* to the destination, before the join; exact, or draining would end too early */
	uint64_t base_received; /* by the source and read, while it was not in the map */
	uint64_t user_bytes;	/* written by us */
	uint64_t consumed;	/* passed bytes that we have read */
	uint64_t slow_seen;	/* row.stat->slow when this was armed */
	uint64_t drain_written, drain_moved_ms, drain_since_ms;
	struct slice_queue held; /* of consumed, not written */
};

enum pair_state {
	PAIR_IN,
	PAIR_LEAVING,
	PAIR_FREEZING, /* waiting for polls to end */
	PAIR_FROZEN,   /* it may be another process's already: nothing is done, nothing is looked at */
	PAIR_CLOSING, /* waiting for polls to end, then the event */
};

struct offload_pair {
	uint32_t tag;
	struct offload *offload;	 /* borrowed */
	struct flows *flows;		 /* a reference; not offload's if the pair was adopted */
	const struct offload_events *events; /* borrowed */
	void *owner;			 /* borrowed */

	enum pair_state state;
	enum offload_why why;
	int err; /* < 0: on_fail() */
	bool holds_back; /* nothing more is read, so that it can be frozen */
	bool is_refused; /* one socket is not in the map: never arm */
	bool is_iterating;
	bool is_busy; /* it does not get quiet by itself, or the iterator came at a bad moment */
	unsigned leave_tries;
	uint64_t busy_at_ms;  /* while it leaves: when it is called so */
	uint64_t leave_at_ms; /* when the iterator may come again */
	struct offload_dir dirs[2];
	struct offload_poll polls[2][POLL_COUNT];
	unsigned inflight;
	struct task task;
	struct timer timer;
	struct timer gate_timer; /* opens the gate again */
	struct list node;	/* offload->pairs */
	struct list leave_node; /* offload->leavers or ->iterated */
	uint64_t user_active_ns;
	struct offload_report report;
};

struct offload {
	uint32_t tag;
	struct loop *loop;   /* borrowed */
	struct flows *flows; /* borrowed */
	unsigned worker;
	uint64_t stall_ms;
	bool is_deaf;
	bool is_memory_short; /* of TCP in the whole system, at memory_seen_ms */
	uint64_t memory_seen_ms;

	struct list pairs;
	unsigned pair_count;
	unsigned sweep_left; /* pairs of this sweep that were not looked at yet */
	struct timer sweep_timer;

	struct hmap adopted;	       /* cookie -> pair, of those that were adopted */
	struct offload_pair **by_slot; /* owned; of the others */
	uint32_t *free_slots;	       /* owned; a stack */
	unsigned free_count, slot_count;

	struct ring_buffer *ring; /* owned */
	struct op ring_op;
	bool is_ring_armed;

	struct list leavers, iterated;
	struct task iterate_task;
	struct timer iterate_timer;
	struct op iterate_op;
	int iterate_fd; /* owned; -1: not running */
	char iterate_buf[64];
	uint64_t iterate_began_ns, iterate_took_ns;

	void (*on_closed)(void *ctx);
	void *closed_ctx;
	struct task close_task;
	bool is_closing;

	struct offload_counts counts;
	uint8_t scratch[OFFLOAD_READ_MAX];
};

/*
 * Of `sent` bytes since `base`, those that the socket has not taken.  An acknowledgement between the two questions of
 * sock_written() makes `written` too small, also smaller than the base.
 */
static inline uint64_t offload_backlog(uint64_t sent, uint64_t base, uint64_t written)
{
	uint64_t arrived = written > base ? written - base : 0;

	return sent > arrived ? sent - arrived : 0;
}

/* offload.c */
void offload_iterate(struct offload *o, struct offload_pair *p);
void offload_pair_added(struct offload *o, struct offload_pair *p);
void offload_pair_gone(struct offload *o, struct offload_pair *p);

/* offload_pair.c */
struct offload_pair *pair_new(struct offload *o, struct flows *f, const int fd[2], const struct offload_events *ev,
			      void *owner);
void pair_free(struct offload_pair *p);
void pair_run(struct offload_pair *p);
void pair_run_later(struct offload_pair *p);
void pair_fail(struct offload_pair *p, int err);
void pair_wake_in(struct offload_pair *p, uint64_t ms);
void pair_poll(struct offload_pair *p, unsigned index, enum poll_kind kind, unsigned events);
void pair_poll_cancel(struct offload_pair *p, unsigned index, enum poll_kind kind);

/* offload_move.c */
void pair_freeze_step(struct offload_pair *p);

/* offload_dir.c: a step is one piece of work.  True: something moved, ask again.  Failure is in pair->err. */
bool dir_step(struct offload_dir *d);
bool dir_is_quiet(const struct offload_dir *d); /* nothing is on its way: it may leave the map */
bool dir_follows(const struct offload_dir *d); /* what is passed is read: it may be quiet when the iterator comes */
void dir_out(struct offload_dir *d); /* it has left the map */
void dir_narrow(struct offload_dir *d); /* let its sender be read up with, and an end to that */
void dir_widen(struct offload_dir *d);
void dir_disarm(struct offload_dir *d);
bool dir_needs_run(const struct offload_dir *d);
bool dir_adds_up(const struct offload_dir *d);
uint64_t dir_undelivered(const struct offload_dir *d);
uint64_t dir_passed(const struct offload_dir *d);

/* offload_sock.c */
uint64_t sock_cookie(int fd); /* 0: not a socket */
bool sock_is_established(int fd);
void sock_lock_once(int fd); /* takes the lock: whatever held it before is over */
uint64_t sock_written(int fd); /* bytes ever written; too small while acknowledgements come in */
int sock_written_exactly(int fd, uint64_t *out_bytes); /* while nobody writes: 0, or -EAGAIN */
int sock_read_exactly(int fd, uint64_t *out_bytes, bool *out_has_fin); /* received and read, while nobody reads */
int sock_unacked(int fd);
int sock_sndbuf(int fd);
void sock_set_rcvlowat(int fd, int bytes);
int sock_window(int fd); /* at most so much is offered to the peer; 0: cannot be told */
void sock_set_window(int fd, int bytes);
void sock_fix_sndbuf(int fd);
void sock_abort(int fd); /* reset, and what is queued forgotten; the descriptor stays */

#endif
