/* SPDX-License-Identifier: GPL-2.0-only */
/* heartbeat.c - the daemon's sign of life to the guard, which fails open without it. */
#include "fastpath/heartbeat.h"

#include "base/clock.h"
#include "sentinel/abi.h"

void heartbeat_control(struct heartbeat *h, uint64_t now_ns)
{
	heartbeat_control_busy(h, now_ns, HEARTBEAT_CONTROL_MAX_NS);
}

void heartbeat_control_busy(struct heartbeat *h, uint64_t now_ns, uint64_t max_ns)
{
	atomic_store_explicit(&h->control_until_ns, now_ns + max_ns, memory_order_relaxed);
}

/* Control may put another page under the cell meanwhile (mmap, MAP_FIXED); ThreadSanitizer takes that for a write. */
__attribute__((no_sanitize("thread"))) bool heartbeat_beat(struct heartbeat *h, uint64_t now_ns)
{
	uint64_t monotonic_ns = clock_mono_ns();

	if (now_ns >= atomic_load_explicit(&h->control_until_ns, memory_order_relaxed))
		return false;
	/* Several workers may write: each value is a true one. */
	__atomic_store_n(&h->cell->offset_ns, now_ns > monotonic_ns ? now_ns - monotonic_ns : 0, __ATOMIC_RELAXED);
	__atomic_store_n(&h->cell->at_ns, now_ns, __ATOMIC_RELAXED);
	return true;
}
