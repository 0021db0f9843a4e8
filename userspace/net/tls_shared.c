/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_shared.c - what all TLS servers of the process share. */
#include "net/tls_shared.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

#define TAG_TLS_SHARED TAG('t', 's', 'h', 'r')
#define NS_SEC 1000000000ull

struct tls_shared *tls_shared_new(size_t replay_slots)
{
	struct tls_shared *s = mem_zalloc(sizeof(*s));

	s->tag = TAG_TLS_SHARED;
	s->replay_slots = replay_slots ? replay_slots : TLS_REPLAY_SLOTS_DEFAULT;
	s->tickets = tls_tickets_new(clock_mono_ns() / NS_SEC);
	return s;
}

void tls_shared_free(struct tls_shared *s)
{
	if (!s)
		return;
	OBJ_CHECK(s, TAG_TLS_SHARED);
	s->tag = 0;
	tls_tickets_free(s->tickets);
	tls_replay_free(s->replay);
	free(s);
}

bool tls_shared_tick(struct tls_shared *s, uint64_t mono_ns)
{
	OBJ_CHECK(s, TAG_TLS_SHARED);
	return tls_tickets_tick(s->tickets, mono_ns / NS_SEC) > 0;
}

void tls_shared_rotate(struct tls_shared *s, uint64_t mono_ns)
{
	OBJ_CHECK(s, TAG_TLS_SHARED);
	tls_tickets_rotate(s->tickets, mono_ns / NS_SEC);
}

void tls_shared_give_tickets(struct tls_shared *s, struct tls_ticket_keys *out)
{
	OBJ_CHECK(s, TAG_TLS_SHARED);
	atomic_store(&s->is_given, true);
	tls_tickets_copy(s->tickets, out);
}

void tls_shared_keep_tickets(struct tls_shared *s)
{
	OBJ_CHECK(s, TAG_TLS_SHARED);
	atomic_store(&s->is_given, false);
}

int tls_shared_take_tickets(struct tls_shared *s, const struct tls_ticket_keys *keys, uint64_t mono_ns,
			    uint64_t wall_secs)
{
	OBJ_CHECK(s, TAG_TLS_SHARED);
	/* First: who opens a ticket must see it.  Hellos are remembered for a second less, and one may have begun. */
	atomic_store(&s->early_from_secs, wall_secs + TLS_REPLAY_SECS + 2);
	return tls_tickets_replace(s->tickets, keys, mono_ns / NS_SEC);
}

bool tls_shared_takes_early_data(const struct tls_shared *s, uint64_t wall_secs)
{
	return !atomic_load(&s->is_given) && wall_secs >= atomic_load(&s->early_from_secs);
}

void tls_shared_need_replay(struct tls_shared *s)
{
	OBJ_CHECK(s, TAG_TLS_SHARED);
	if (!s->replay)
		s->replay = tls_replay_new(s->replay_slots);
}

void tls_shared_stats(const struct tls_shared *s, struct tls_shared_stats *out)
{
	OBJ_CHECK(s, TAG_TLS_SHARED);
	out->tickets_issued = atomic_load_explicit(&s->tickets_issued, memory_order_relaxed);
	out->tickets_read = atomic_load_explicit(&s->tickets_read, memory_order_relaxed);
	out->tickets_refused = atomic_load_explicit(&s->tickets_refused, memory_order_relaxed);
	for (unsigned i = 0; i < TLS_REPLAY_VERDICT_COUNT; i++)
		out->early_data[i] = atomic_load_explicit(&s->early_data[i], memory_order_relaxed);
}
