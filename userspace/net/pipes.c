/* SPDX-License-Identifier: GPL-2.0-only */
/* pipes.c - the pipes of the whole process through which splice(2) moves bytes. */
#include "net/pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/span.h"
#include "loop/small_file.h"

static uint64_t limit_read(const char *name)
{
	char path[64], text[32];
	uint64_t value = 0;

	(void)snprintf(path, sizeof(path), "/proc/sys/fs/%s", name);
	(void)small_file_read(path, text, sizeof(text));
	(void)span_to_u64(span_chomp(span_str(text)), &value);
	return value;
}

void pipe_pool_init_with(struct pipe_pool *p, uint64_t user_pages_soft, uint64_t user_pages_hard, uint64_t bytes_max)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), pages = user_pages_soft;

	*p = (struct pipe_pool){ 0 };
	(void)pthread_mutex_init(&p->lock, NULL);
	if (user_pages_hard && (!pages || user_pages_hard < pages))
		pages = user_pages_hard;
	p->bytes = bytes_max && bytes_max < PIPE_BYTES ? (uint32_t)bytes_max : PIPE_BYTES;
	p->open_max = PIPES_MAX;
	if (pages)
		p->open_max = (unsigned)MIN(pages / 2 * page / p->bytes, (uint64_t)PIPES_MAX);
	if (p->bytes < PIPE_BYTES_MIN)
		p->bytes = 0;
}

void pipe_pool_init(struct pipe_pool *p)
{
	pipe_pool_init_with(p, limit_read("pipe-user-pages-soft"), limit_read("pipe-user-pages-hard"),
			    limit_read("pipe-max-size"));
}

static void pipe_close(struct pipe_pair pipe)
{
	(void)close(pipe.in);
	(void)close(pipe.out);
}

void pipe_pool_fini(struct pipe_pool *p)
{
	CHECK(p->open_count == p->idle_count);
	while (p->idle_count > 0)
		pipe_close(p->idle[--p->idle_count]);
	p->open_count = 0;
	(void)pthread_mutex_destroy(&p->lock);
}

/* The largest that the kernel gives. */
static bool pipe_open(uint32_t bytes, struct pipe_pair *out)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
		return false;
	for (; bytes >= PIPE_BYTES_MIN; bytes /= 2) {
		if (fcntl(fds[1], F_SETPIPE_SZ, (int)bytes) < 0)
			continue;
		*out = (struct pipe_pair){ .in = fds[1], .out = fds[0], .bytes_max = bytes };
		return true;
	}
	pipe_close((struct pipe_pair){ .in = fds[1], .out = fds[0] });
	return false;
}

/* Locked.  Whether one may be opened now; it is counted then. */
static bool may_open(struct pipe_pool *p, uint64_t now_ms)
{
	if (!p->bytes || p->open_count >= p->open_max || now_ms < p->try_again_ms)
		return false;
	p->open_count++;
	return true;
}

static void count_refusal(struct pipe_pool *p, bool was_open, uint64_t now_ms)
{
	(void)pthread_mutex_lock(&p->lock);
	p->refused++;
	if (was_open) {
		p->open_count--;
		p->try_again_ms = now_ms + PIPES_TRY_AGAIN_MS;
	}
	(void)pthread_mutex_unlock(&p->lock);
}

bool pipe_pool_take(struct pipe_pool *p, uint64_t now_ms, struct pipe_pair *out)
{
	bool is_found, may = false;

	(void)pthread_mutex_lock(&p->lock);
	is_found = p->idle_count > 0;
	if (is_found)
		*out = p->idle[--p->idle_count];
	else
		may = may_open(p, now_ms);
	p->spare = MIN(p->spare, p->idle_count);
	(void)pthread_mutex_unlock(&p->lock);
	if (is_found || (may && pipe_open(p->bytes, out)))
		return true;
	count_refusal(p, may, now_ms);
	return false;
}

void pipe_pool_give(struct pipe_pool *p, struct pipe_pair pipe, bool is_empty)
{
	if (!is_empty)
		pipe_close(pipe);
	(void)pthread_mutex_lock(&p->lock);
	CHECK(p->open_count > p->idle_count);
	if (is_empty)
		p->idle[p->idle_count++] = pipe; /* the last one used is the warmest */
	else
		p->open_count--;
	(void)pthread_mutex_unlock(&p->lock);
}

void pipe_pool_trim(struct pipe_pool *p)
{
	struct pipe_pair spare[PIPES_MAX];
	unsigned count;

	(void)pthread_mutex_lock(&p->lock);
	count = p->spare;
	/* The first ones have been lying there for the longest time. */
	memcpy(spare, p->idle, count * sizeof(*spare));
	memmove(p->idle, p->idle + count, (p->idle_count - count) * sizeof(*spare));
	p->idle_count -= count;
	p->open_count -= count;
	p->spare = p->idle_count;
	(void)pthread_mutex_unlock(&p->lock);
	while (count > 0)
		pipe_close(spare[--count]);
}

void pipe_pool_gauges(struct pipe_pool *p, struct pipe_pool_gauges *out)
{
	(void)pthread_mutex_lock(&p->lock);
	*out = (struct pipe_pool_gauges){ p->open_count, p->idle_count, p->refused };
	(void)pthread_mutex_unlock(&p->lock);
}
