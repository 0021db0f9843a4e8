/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * steady_clock.h - for unit tests of one thread: a monotonic clock that does not tell when the machine stood still.
 *
 * From one look to the next it goes on by STEADY_STEP_MS at most, however long the machine was busy elsewhere.  So a
 * deadline of 60 ms leaves a loop some ten turns of work on any machine, and expires all the same when nothing comes.
 * steady_pass() is for a test that needs much time to be over.
 */
#ifndef SN_SELFTESTS_LIB_STEADY_CLOCK_H
#define SN_SELFTESTS_LIB_STEADY_CLOCK_H

#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STEADY_STEP_MS 5

static uint64_t steady_now_ns;

/* So much time is over at the next look. */
static inline void steady_pass(uint64_t ms)
{
	steady_now_ns += ms * 1000000;
}

/* Stands before libc's, for what is linked into this program; libraries keep theirs. */
__attribute__((visibility("hidden"))) int clock_gettime(clockid_t id, struct timespec *out)
{
	static uint64_t looked_ns;
	int err = (int)syscall(SYS_clock_gettime, id, out);
	uint64_t real_ns, step_ns;

	if (err || id != CLOCK_MONOTONIC)
		return err;
	real_ns = (uint64_t)out->tv_sec * 1000000000 + (uint64_t)out->tv_nsec;
	step_ns = real_ns - looked_ns;
	if (!looked_ns)
		steady_now_ns += real_ns;
	else
		steady_now_ns += step_ns < STEADY_STEP_MS * 1000000 ? step_ns : STEADY_STEP_MS * 1000000;
	looked_ns = real_ns;
	out->tv_sec = (time_t)(steady_now_ns / 1000000000);
	out->tv_nsec = (long)(steady_now_ns % 1000000000);
	return 0;
}

#endif
