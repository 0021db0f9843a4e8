/* SPDX-License-Identifier: GPL-2.0-only */
/* upgrade_message.c - messages of a binary upgrade: sent whole, received whole, judged before anybody reads them. */
#include "app/upgrade_message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"

#define MAGIC TAG('S', 'n', 'U', 'p')

union control_space {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(UPGRADE_FDS_MAX * sizeof(int))];
};

int upgrade_send(int channel, struct upgrade_message *m, const int *fds, unsigned fd_count)
{
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control_space control;

	CHECK(fd_count <= UPGRADE_FDS_MAX && m->kind < UPGRADE_KIND_COUNT);
	m->magic = MAGIC;
	m->protocol = UPGRADE_PROTOCOL;
	if (fd_count) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
	}
	return sendmsg(channel, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

void upgrade_close_fds(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		(void)close(fds[i]);
}

static unsigned fds_take(struct msghdr *msg, int *out_fds)
{
	unsigned count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		unsigned n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		CHECK(count + n <= UPGRADE_FDS_MAX); /* the control buffer has no room for more */
		memcpy(out_fds + count, CMSG_DATA(c), n * sizeof(int));
		count += n;
	}
	return count;
}

static bool text_ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool state_is_sound(const struct upgrade_state *s, unsigned fd_count)
{
	unsigned wanted = 1 + !!(s->has & UPGRADE_HAS_ADMIN) + !!(s->has & UPGRADE_HAS_PID_FILE);

	return fd_count == wanted && (s->has & ~(UPGRADE_HAS_ADMIN | UPGRADE_HAS_PID_FILE)) == 0 &&
	       s->set_count <= UPGRADE_SETS_MAX && s->older_count <= UPGRADE_OLDER_MAX && s->worker_count >= 1 &&
	       s->worker_count <= 1024 && text_ends(s->instance, sizeof(s->instance)) &&
	       text_ends(s->admin_path, sizeof(s->admin_path)) && text_ends(s->pid_path, sizeof(s->pid_path));
}

static bool tunnel_is_sound(const struct tunnel_parcel *p, unsigned fd_count)
{
	/* The last one is the iterator's, where there is one. */
	bool fits = p->is_in_kernel ? fd_count == TUNNEL_FDS_MAX || fd_count == TUNNEL_FDS_MAX - 1 : fd_count == 2;

	return fits && tunnel_parcel_is_sound(p);
}

/* Bounds of what is an index or a count for whoever reads the message; and no descriptors where none belong. */
static bool is_sound(const struct upgrade_message *m, unsigned fd_count)
{
	switch (m->kind) {
	case UPGRADE_STATE:
		return state_is_sound(&m->state, fd_count);
	case UPGRADE_SOCKETS:
		return fd_count >= 1 && m->sockets.set < UPGRADE_SETS_MAX && m->sockets.first < 1024 &&
		       (m->sockets.addr.sin6_family == AF_INET || m->sockets.addr.sin6_family == AF_INET6);
	case UPGRADE_GET_SOCKETS:
		return fd_count == 0 && m->number < UPGRADE_SETS_MAX && m->first < 1024;
	case UPGRADE_OLDER:
		return fd_count == 1;
	case UPGRADE_TUNNEL:
		return tunnel_is_sound(&m->tunnel, fd_count);
	case UPGRADE_BANS:
		return fd_count == 0 && m->bans.count <= UPGRADE_BANS_PAGE;
	case UPGRADE_SERVING:
		return fd_count == 0 && m->serving.worker_count >= 1 && m->serving.worker_count <= 1024;
	default:
		return fd_count == 0 && m->kind < UPGRADE_KIND_COUNT;
	}
}

int upgrade_receive(int channel, bool may_wait, struct upgrade_message *out, int *out_fds, unsigned *out_fd_count)
{
	struct iovec iov = { .iov_base = out, .iov_len = sizeof(*out) };
	union control_space control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	unsigned fd_count;
	ssize_t n;
	int err = 1;

	n = recvmsg(channel, &msg, MSG_CMSG_CLOEXEC | (may_wait ? 0 : MSG_DONTWAIT));
	if (n < 0)
		return errno == EINTR || errno == EWOULDBLOCK ? -EAGAIN : errno == ECONNRESET ? 0 : -errno;
	fd_count = fds_take(&msg, out_fds);
	if (n == 0)
		err = 0;
	else if (n < (ssize_t)(2 * sizeof(uint32_t)) || out->magic != MAGIC)
		err = -EPROTO;
	else if (out->protocol != UPGRADE_PROTOCOL)
		err = -EPROTONOSUPPORT;
	else if (n != (ssize_t)sizeof(*out) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !is_sound(out, fd_count))
		err = -EPROTO;
	if (err != 1) {
		upgrade_close_fds(out_fds, fd_count);
		return err;
	}
	*out_fd_count = fd_count;
	return 1;
}
