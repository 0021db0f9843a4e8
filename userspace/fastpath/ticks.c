/* SPDX-License-Identifier: GPL-2.0-only */
/* ticks.c - how the kernel's jiffies and CLOCK_MONOTONIC go together. */
#include "fastpath/ticks.h"

#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/check.h"
#include "jiffies.skel.h"

#define SAMPLES 5
#define PAUSE_US 3000

struct sample {
	__u64 jiffies;
	__u64 monotonic_ns;
};

static int sample_take(int program_fd, struct sample *out)
{
	/* Of this type of program the context comes back where it came from. */
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = out, .ctx_size_in = sizeof(*out));

	return bpf_prog_test_run_opts(program_fd, &opts);
}

static bool ticks_agree(const struct sample *a, const struct sample *b, __u64 tick_ns)
{
	__u64 counted = (b->jiffies - a->jiffies) * tick_ns, passed = b->monotonic_ns - a->monotonic_ns;

	return counted <= passed + 2 * tick_ns && passed <= counted + 2 * tick_ns;
}

/* The smallest difference is the truest: jiffies may lag for a moment, and are never ahead. */
static int measure(int program_fd, __u64 tick_ns, struct sn_config *c)
{
	struct sample first = { 0 }, now = { 0 };

	for (int i = 0; i < SAMPLES; i++) {
		__u64 offset;
		int err = sample_take(program_fd, &now);

		if (err)
			return err;
		if (i == 0)
			first = now;
		offset = now.monotonic_ns - now.jiffies * tick_ns;
		if (i == 0 || (__s64)(offset - c->tick_offset_ns) < 0)
			c->tick_offset_ns = offset;
		(void)usleep(PAUSE_US);
	}
	if (!ticks_agree(&first, &now, tick_ns))
		return -1;
	c->tick_ns = tick_ns;
	return 0;
}

void ticks_fill(struct sn_config *c)
{
	static struct sn_config known; /* the kernel's, and it does not change */
	static bool is_known;
	struct jiffies_bpf *skeleton;
	struct timespec tick;

	if (!is_known && clock_getres(CLOCK_MONOTONIC_COARSE, &tick) == 0 && tick.tv_sec == 0 && tick.tv_nsec > 0) {
		skeleton = jiffies_bpf__open_and_load();
		if (skeleton)
			(void)measure(bpf_program__fd(skeleton->progs.sn_jiffies), (__u64)tick.tv_nsec, &known);
		jiffies_bpf__destroy(skeleton);
		is_known = true;
	}
	c->tick_ns = known.tick_ns;
	c->tick_offset_ns = known.tick_ns ? known.tick_offset_ns : 0;
}
