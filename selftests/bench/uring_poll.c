/* SPDX-License-Identifier: GPL-2.0-only */
/* uring_poll.c - preloaded under valgrind, which stops all threads while one waits in io_uring_enter(). */
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A thread has one ring here.  poll() on the ring itself does not see what DEFER_TASKRUN has put off. */
static __thread struct io_uring *watched;
static __thread int event_fd;

static int watch(struct io_uring *ring)
{
	if (watched == ring)
		return 0;
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	watched = ring;
	return event_fd < 0 ? -errno : io_uring_register_eventfd(ring, event_fd);
}

/* Wait in ppoll(), during which the other threads run; whoever comes here takes what there is. */
static int submit_and_poll(struct io_uring *ring, const struct timespec *timeout)
{
	struct pollfd p = { .events = POLLIN };
	int submitted, err = watch(ring);
	uint64_t events;
	bool is_late;

	if (err < 0)
		return err;
	p.fd = event_fd;
	(void)!read(event_fd, &events, sizeof(events));
	submitted = io_uring_submit_and_get_events(ring);
	if (submitted < 0 || io_uring_cq_ready(ring))
		return submitted;
	is_late = ppoll(&p, 1, timeout, NULL) == 0;
	(void)io_uring_get_events(ring);
	return is_late && !io_uring_cq_ready(ring) ? -ETIME : submitted;
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned count)
{
	(void)count;
	return submit_and_poll(ring, NULL);
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **out_cqe, unsigned count,
				     struct __kernel_timespec *timeout, sigset_t *mask)
{
	const struct timespec wait = { .tv_sec = timeout->tv_sec, .tv_nsec = timeout->tv_nsec };

	(void)out_cqe;
	(void)count;
	(void)mask;
	return submit_and_poll(ring, &wait);
}
