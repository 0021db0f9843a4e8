/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * loop_turns.h - for unit tests (include cmocka.h first) that turn a loop by hand: the loop, and waiting on it.
 * loop_setup() and loop_teardown() are cmocka's; who needs more begins with loop_start().
 */
#ifndef SN_SELFTESTS_LIB_LOOP_TURNS_H
#define SN_SELFTESTS_LIB_LOOP_TURNS_H

#include <sys/socket.h>
#include <unistd.h>

#include "lib/steady_clock.h"
#include "loop/loop.h"

#define DEADLINE_MS 60000

static struct loop *loop;

#define wait_until(condition)                                                          \
	do {                                                                           \
		uint64_t wait_end_ = loop_now_ms(loop) + DEADLINE_MS;                  \
		while (!(condition)) {                                                 \
			assert_int_equal(loop_turn(loop, 5), 0);                       \
			if (loop_now_ms(loop) > wait_end_)                             \
				fail_msg("after %d ms: %s", DEADLINE_MS, #condition);  \
		}                                                                      \
	} while (0)

static inline void turns(unsigned count)
{
	while (count--)
		assert_int_equal(loop_turn(loop, 5), 0);
}

static inline int loop_start(const struct loop_config *config)
{
	const char *reason = "";

	if (loop_new(&loop, config, &reason) != 0)
		fail_msg("%s", reason);
	return 0;
}

/* Receives stand where the kernel can, or never. */
static inline int loop_setup(void **state)
{
	(void)state;
	return loop_start(NULL);
}

static inline int loop_setup_one_shot(void **state)
{
	const struct loop_config config = { .is_one_shot = true };

	(void)state;
	return loop_start(&config);
}

/* Whatever a test did: nothing may be in flight and no buffer pinned. */
static inline int loop_teardown(void **state)
{
	struct loop_gauges gauges;

	(void)state;
	turns(2);
	loop_gauges(loop, &gauges);
	assert_int_equal(gauges.ops_inflight, 0);
	assert_int_equal(gauges.buffers_pinned[LOOP_BUFFERS_SMALL], 0);
	assert_int_equal(gauges.buffers_pinned[LOOP_BUFFERS_LARGE], 0);
	loop_free(loop);
	return 0;
}

/* Closes a connection with a reset. */
static inline void reset(int fd)
{
	const struct linger now = { 1, 0 };

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(fd);
}

#endif
