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
