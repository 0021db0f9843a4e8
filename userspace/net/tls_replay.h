/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tls_replay.h - remembers the ClientHellos whose early data was accepted: none is accepted twice (RFC 8446 8.2).
 * One table a process, fixed in size, exact over all threads, without a lock.  A hello that can not be remembered is
 * refused: when its bucket is full, or when the clock stepped back.  OpenSSL accepts early data only while the client's
 * ticket age is right to 10 s; an entry is kept for longer than that (TLS_REPLAY_SECS).
 * After a restart nothing needs to be remembered: ticket keys are new too.  Where a binary upgrade keeps the keys, no
 * early data is accepted until the former process's last hello would be forgotten (tls_shared_take_tickets()).
 */
#ifndef SN_NET_TLS_REPLAY_H
#define SN_NET_TLS_REPLAY_H

#include <stddef.h>
#include <stdint.h>

#define TLS_REPLAY_SECS 15
#define TLS_REPLAY_SLOTS_DEFAULT (128u << 10) /* 1 MiB: about 4,000 a second before some are refused */

struct tls_replay;

enum tls_replay_verdict {
	TLS_REPLAY_FRESH, /* never seen: accept, it is remembered now */
	TLS_REPLAY_SEEN,
	TLS_REPLAY_FULL,
	TLS_REPLAY_CLOCK, /* the wall clock is behind that of an earlier answer */
	TLS_REPLAY_UPGRADE, /* not from the filter: another process may have accepted it */
	TLS_REPLAY_VERDICT_COUNT,
};

const char *tls_replay_verdict_name(enum tls_replay_verdict v); /* "fresh": label of the metric */

/* slots is rounded up to a power of two, at least 16, at most 2^24. */
struct tls_replay *tls_replay_new(size_t slots);
void tls_replay_free(struct tls_replay *r); /* NULL ok; no thread may be in tls_replay_check() */
/*
 * Any thread.  id: what makes a hello unique and is protected by its binder, such as the client's random.  wall_secs:
 * the clock by which ticket ages are judged, time().
 */
enum tls_replay_verdict tls_replay_check(struct tls_replay *r, const void *id, size_t id_len, uint64_t wall_secs);

#endif
