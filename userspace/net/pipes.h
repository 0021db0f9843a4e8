/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pipes.h - the pipes of the whole process through which splice(2) moves bytes, kept for the next use.
 *
 * The kernel lets a user without privileges have `pipe-user-pages-soft` pages in all pipes; half of it is for another
 * generation of this program.  A pipe that cannot be made large is not used at all: moving 64 KiB at a time is no
 * better than copying.  Any thread; zero is a valid pool without pipes.
 */
#ifndef SN_NET_PIPES_H
#define SN_NET_PIPES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define PIPE_BYTES	   (1024 * 1024)
#define PIPE_BYTES_MIN	   (256 * 1024)
#define PIPES_MAX	   256
#define PIPES_TRY_AGAIN_MS 1000 /* after the kernel refused one */

struct pipe_pair {
	int in, out; /* written to, read from; 0: none */
	uint32_t bytes_max;
};

struct pipe_pool {
	pthread_mutex_t lock;
	uint32_t bytes; /* that a pipe is asked to hold; 0: none are made */
	unsigned open_max;

	unsigned open_count, idle_count;
	unsigned spare; /* that were never needed since the last pipe_pool_trim() */
	struct pipe_pair idle[PIPES_MAX];
	uint64_t try_again_ms;
	uint64_t refused; /* times that a caller got none */
};

struct pipe_pool_gauges {
	unsigned open, idle;
	uint64_t refused;
};

/* Reads the limits of the system. */
void pipe_pool_init(struct pipe_pool *p);
/* The same with given limits, 0: no limit: tests. */
void pipe_pool_init_with(struct pipe_pool *p, uint64_t user_pages_soft, uint64_t user_pages_hard, uint64_t bytes_max);
void pipe_pool_fini(struct pipe_pool *p); /* none may be in use */

/* False, and counted: there is none.  now_ms: any monotonic clock. */
bool pipe_pool_take(struct pipe_pool *p, uint64_t now_ms, struct pipe_pair *out);
/* One that holds bytes is closed: whoever got it next would send them. */
void pipe_pool_give(struct pipe_pool *p, struct pipe_pair pipe, bool is_empty);
/* Close the spare ones.  To be called now and then. */
void pipe_pool_trim(struct pipe_pool *p);
void pipe_pool_gauges(struct pipe_pool *p, struct pipe_pool_gauges *out);

#endif
