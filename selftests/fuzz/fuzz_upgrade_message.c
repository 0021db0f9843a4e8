/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_upgrade_message.c - any datagram on the channel of an upgrade: refused, or within what its readers rely on. */
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/upgrade_message.h"
#include "base/check.h"
#include "net/splice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void judge(const struct upgrade_message *m, unsigned fd_count)
{
	CHECK(m->kind < UPGRADE_KIND_COUNT && fd_count == 0);
	switch (m->kind) {
	case UPGRADE_GET_SOCKETS:
		CHECK(m->number < UPGRADE_SETS_MAX && m->first < 1024);
		break;
	case UPGRADE_BANS:
		CHECK(m->bans.count <= UPGRADE_BANS_PAGE);
		break;
	case UPGRADE_SERVING:
		CHECK(m->serving.worker_count >= 1 && m->serving.worker_count <= 1024);
		break;
	default:
		/* These need descriptors, and there are none. */
		CHECK(m->kind != UPGRADE_STATE && m->kind != UPGRADE_SOCKETS && m->kind != UPGRADE_OLDER &&
		      m->kind != UPGRADE_TUNNEL);
	}
}

static void parcel_judge(const struct tunnel_parcel *p)
{
	if (!tunnel_parcel_is_sound(p))
		return;
	CHECK(p->engine < SPLICE_ENGINE_COUNT && p->peer.len <= sizeof(p->peer.in6));
	CHECK(strlen(p->listener) < sizeof(p->listener) && strlen(p->path) < sizeof(p->path) &&
	      strlen(p->query) < sizeof(p->query) && strlen(p->country) < sizeof(p->country));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct upgrade_message m;
	int ends[2], fds[UPGRADE_FDS_MAX], got;
	unsigned fd_count;

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	if (len <= 2 * sizeof(m) && send(ends[0], data, len, MSG_DONTWAIT) == (ssize_t)len) {
		got = upgrade_receive(ends[1], false, &m, fds, &fd_count);
		if (got == 1)
			judge(&m, fd_count);
	}
	if (len >= sizeof(m)) {
		memcpy(&m, data, sizeof(m));
		parcel_judge(&m.tunnel);
	}
	(void)close(ends[0]);
	(void)close(ends[1]);
	return 0;
}
