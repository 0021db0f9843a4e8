/* SPDX-License-Identifier: GPL-2.0-only */
/* listener.c - listening sockets, and the accepting side of one of them. */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "net/socket.h"

#define TAG_ACCEPTOR	TAG('a', 'c', 'p', 't')
#define PAUSE_MS	100 /* after a failure for want of descriptors or memory */
#define HANDSHAKE_MS	100 /* a closing listener waits so long for handshakes that were begun */
#define LEAVE_ROUNDS	1000 /* after so many others come all the time, and wake the other process */

static int set_on(int fd, int level, int option)
{
	const int on = 1;

	return setsockopt(fd, level, option, &on, sizeof(on)) ? -errno : 0;
}

/* A socket that could be bound without SO_REUSEPORT shows that nobody else listens there. */
static int probe(const struct addr *addr)
{
	int fd = socket_stream(addr->sa.sa_family);
	int err;

	if (fd < 0)
		return fd;
	/* Connections in TIME_WAIT do not count as somebody else. */
	err = set_on(fd, SOL_SOCKET, SO_REUSEADDR);
	if (!err && bind(fd, &addr->sa, addr->len) != 0)
		err = -errno;
	(void)close(fd);
	return err;
}

/* A socket file nobody listens on is left over from a process that was killed. */
static int unlink_stale(const struct addr *addr)
{
	struct stat st;
	int fd, err = 0;

	if (lstat(addr->un.sun_path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket_stream(AF_UNIX);
	if (fd < 0)
		return fd;
	if (connect(fd, &addr->sa, addr->len) == 0)
		err = -EADDRINUSE;
	else if (errno != ECONNREFUSED)
		err = -errno;
	(void)close(fd);
	if (!err && unlink(addr->un.sun_path) != 0)
		err = -errno;
	return err;
}

static int options_set(int fd, const struct addr *addr)
{
	const int off = 0;
	int err;

	if (addr->sa.sa_family == AF_UNIX)
		return 0;
	err = set_on(fd, SOL_SOCKET, SO_REUSEADDR);
	if (!err)
		err = set_on(fd, SOL_SOCKET, SO_REUSEPORT);
	/* The sysctl bindv6only may say otherwise. */
	if (!err && addr->sa.sa_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0)
		err = -errno;
	return err;
}

int listener_socket(const struct addr *addr, int backlog, bool is_first)
{
	bool is_unix = addr->sa.sa_family == AF_UNIX;
	int fd, err;

	if (is_unix && !is_first)
		return -EOPNOTSUPP;
	if (is_first) {
		err = is_unix ? unlink_stale(addr) : probe(addr);
		if (err)
			return err;
	}
	fd = socket_stream(addr->sa.sa_family);
	if (fd < 0)
		return fd;
	err = options_set(fd, addr);
	if (!err && bind(fd, &addr->sa, addr->len) != 0)
		err = -errno;
	if (!err && listen(fd, backlog) != 0)
		err = -errno;
	if (err) {
		(void)close(fd);
		return err;
	}
	return fd;
}

/* --- accepting --- */

static void accept_arm(struct acceptor *a)
{
	a->inflight++;
	loop_accept_multishot(a->loop, &a->accept_op, a->fd);
}

/* Of one connection, not of the listener (accept(2) names them): the next one may well do. */
static bool is_passing(int err)
{
	switch (-err) {
	case ECONNABORTED:
	case EPROTO:
	case EPERM:
	case EINTR:
	case EAGAIN:
	case ECANCELED:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
		return true;
	default:
		return false;
	}
}

static void accept_done(struct op *op, int res, unsigned flags)
{
	struct acceptor *a = container_of(op, struct acceptor, accept_op);

	OBJ_CHECK(a, TAG_ACCEPTOR);
	if (!(flags & OP_MORE))
		a->inflight--;
	if (res >= 0) {
		a->on_accept(a, res);
	} else if (!is_passing(res) && !a->is_closing) {
		if (!timer_is_armed(&a->pause_timer)) {
			timer_arm(a->loop, &a->pause_timer, PAUSE_MS);
			a->on_refused(a, res);
		}
		return;
	}
	if (!(flags & OP_MORE))
		loop_defer(a->loop, &a->task);
}

/*
 * The last connections: what is in the queue when nothing can be accepted by the ring any more.  Nobody else uses
 * the descriptor, so O_NONBLOCK may be set now.
 */
static void accept_rest(struct acceptor *a)
{
	int flags = fcntl(a->fd, F_GETFL);

	if (flags < 0 || fcntl(a->fd, F_SETFL, flags | O_NONBLOCK) != 0)
		return;
	for (;;) {
		int fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			a->on_accept(a, fd);
		else if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

/* Nothing is accepted any more but what has been already. */
static void accept_end(struct acceptor *a)
{
	if (a->inflight)
		loop_cancel(a->loop, &a->accept_op);
	else
		loop_defer(a->loop, &a->task);
}

/*
 * The kernel wakes only one of those who wait for a connection.  If that was our accept, and it was cancelled before it
 * ran, the connection is in the queue and the other process sleeps until the next one comes.  So look once more without
 * waiting, and take what is there; two who find it do no harm.
 */
static bool accept_left_behind(struct acceptor *a)
{
	struct pollfd p = { .fd = a->fd, .events = POLLIN };

	if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLIN) || a->leave_rounds++ >= LEAVE_ROUNDS)
		return false;
	accept_arm(a);
	accept_end(a);
	return true;
}

static void task_run(struct task *t)
{
	struct acceptor *a = container_of(t, struct acceptor, task);

	if (!a->is_closing) {
		if (a->inflight == 0 && !timer_is_armed(&a->pause_timer))
			accept_arm(a);
		return;
	}
	if (a->inflight || timer_is_armed(&a->pause_timer))
		return;
	if (a->is_leaving && accept_left_behind(a))
		return;
	if (!a->is_leaving)
		accept_rest(a);
	loop_close_fd(a->loop, a->fd);
	a->fd = -1;
	a->tag = 0;
	a->on_closed(a); /* a is gone */
}

/* The pause after a shortage is over, or the time for handshakes of a closing listener. */
static void pause_over(struct timer *t)
{
	struct acceptor *a = container_of(t, struct acceptor, pause_timer);

	if (a->is_closing)
		accept_end(a);
	else
		loop_defer(a->loop, &a->task);
}

void acceptor_start(struct acceptor *a, struct loop *l, int fd)
{
	CHECK(fd >= 0 && a->on_accept && a->on_refused && a->on_closed);
	a->tag = TAG_ACCEPTOR;
	a->loop = l;
	a->fd = fd;
	a->accept_op.on_done = accept_done;
	timer_init(&a->pause_timer, pause_over);
	a->task = (struct task){ .run = task_run };
	a->inflight = a->leave_rounds = 0;
	a->is_closing = a->is_leaving = false;
	accept_arm(a);
}

/*
 * Drop new SYNs, keep all else.  A client whose handshake had begun ends it and is served; a new one sends its SYN
 * again in a second and finds another listener, or none.  Without this, whoever comes between the last accept and
 * the close is reset after it was told that it is connected.
 */
int listener_refuse_new(int fd)
{
	struct sock_filter code[] = {
		/* The filter of a TCP socket sees the TCP header; byte 13 has the flags: SYN without ACK? */
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
	};
	struct sock_fprog program = { .len = ARRAY_LEN(code), .filter = code };
	struct addr local;

	if (socket_local(fd, &local) != 0 || local.sa.sa_family == AF_UNIX)
		return -EOPNOTSUPP;
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
}

void acceptor_close(struct acceptor *a)
{
	OBJ_CHECK(a, TAG_ACCEPTOR);
	if (a->is_closing)
		return;
	a->is_closing = true;
	timer_disarm(a->loop, &a->pause_timer);
	/* Some kernels want CAP_NET_ADMIN for it; then whoever has that has done it before. */
	if (listener_refuse_new(a->fd) != -EOPNOTSUPP)
		timer_arm(a->loop, &a->pause_timer, HANDSHAKE_MS);
	else
		accept_end(a);
}

void acceptor_leave(struct acceptor *a)
{
	OBJ_CHECK(a, TAG_ACCEPTOR);
	if (a->is_closing)
		return;
	a->is_closing = a->is_leaving = true;
	timer_disarm(a->loop, &a->pause_timer);
	accept_end(a);
}
