/* SPDX-License-Identifier: GPL-2.0-only */
/* test_upgrade_message.c - messages of a binary upgrade: whole or refused, descriptors kept or closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/upgrade_message.h"
#include "base/check.h"

#define PARCEL { .status = 101, .peer = { .len = sizeof(struct sockaddr_in), .in = { .sin_family = AF_INET } } }

static int ends[2];
static struct upgrade_message in;
static int fds[UPGRADE_FDS_MAX];
static unsigned fd_count;

static int setup(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int teardown(void **state)
{
	(void)state;
	(void)close(ends[0]);
	(void)close(ends[1]);
	return 0;
}

static int receive(void)
{
	return upgrade_receive(ends[1], false, &in, fds, &fd_count);
}

static unsigned descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

static void test_message_arrives_with_its_descriptors(void **state)
{
	struct upgrade_message m = { .kind = UPGRADE_SOCKETS, .sockets = { .set = 7, .first = 3 } };
	int many[UPGRADE_FDS_MAX];

	(void)state;
	m.sockets.addr.sin6_family = AF_INET6;
	for (unsigned i = 0; i < UPGRADE_FDS_MAX; i++)
		many[i] = ends[0];
	assert_int_equal(receive(), -EAGAIN);
	assert_int_equal(upgrade_send(ends[0], &m, many, UPGRADE_FDS_MAX), 0);
	assert_int_equal(receive(), 1);
	assert_int_equal(in.sockets.set, 7);
	assert_int_equal(in.sockets.first, 3);
	assert_int_equal(fd_count, UPGRADE_FDS_MAX);
	assert_int_equal(fcntl(fds[63], F_GETFD), FD_CLOEXEC);
	upgrade_close_fds(fds, fd_count);
	(void)close(ends[0]);
	assert_int_equal(receive(), 0);
	ends[0] = dup(ends[1]);
}

static void test_sender_never_waits(void **state)
{
	struct upgrade_message m = { .kind = UPGRADE_NEWS };
	int err = 0, sent = 0;

	(void)state;
	while (err == 0 && sent++ < 100000)
		err = upgrade_send(ends[0], &m, NULL, 0);
	assert_int_equal(err, -EAGAIN);
}

/* Send m as it is, with a descriptor or without; what comes of it. */
static int judge(struct upgrade_message *m, bool has_fd)
{
	int err = upgrade_send(ends[0], m, ends, has_fd ? 1 : 0);

	assert_int_equal(err, 0);
	err = receive();
	if (err == 1)
		upgrade_close_fds(fds, fd_count);
	return err;
}

static void test_what_is_out_of_bounds_is_refused(void **state)
{
	struct upgrade_message m;
	unsigned before = descriptors();

	(void)state;
#define JUDGE(wanted, has_fd, ...) \
	m = (struct upgrade_message){ __VA_ARGS__ }; \
	assert_int_equal(judge(&m, has_fd), wanted)
	JUDGE(1, false, .kind = UPGRADE_HELLO);
	JUDGE(-EPROTO, true, .kind = UPGRADE_HELLO);
	JUDGE(1, false, .kind = UPGRADE_GET_SOCKETS, .number = UPGRADE_SETS_MAX - 1);
	JUDGE(-EPROTO, false, .kind = UPGRADE_GET_SOCKETS, .number = UPGRADE_SETS_MAX);
	JUDGE(-EPROTO, false, .kind = UPGRADE_GET_SOCKETS, .first = 1024);
	JUDGE(-EPROTO, false, .kind = UPGRADE_SOCKETS, .sockets = { .addr = { .sin6_family = AF_INET } });
	JUDGE(1, true, .kind = UPGRADE_SOCKETS, .sockets = { .addr = { .sin6_family = AF_INET } });
	JUDGE(-EPROTO, true, .kind = UPGRADE_SOCKETS, .sockets = { .addr = { .sin6_family = AF_UNIX } });
	JUDGE(-EPROTO, true, .kind = UPGRADE_SOCKETS, .sockets = { .set = 5000, .addr = { .sin6_family = AF_INET } });
	JUDGE(-EPROTO, false, .kind = UPGRADE_OLDER);
	JUDGE(1, false, .kind = UPGRADE_TICKETS);
	JUDGE(-EPROTO, true, .kind = UPGRADE_TICKETS);
	JUDGE(-EPROTO, true, .kind = UPGRADE_GET_TICKETS);
	JUDGE(1, true, .kind = UPGRADE_STATE, .state = { .worker_count = 1 });
	JUDGE(-EPROTO, false, .kind = UPGRADE_STATE, .state = { .worker_count = 1 });
	JUDGE(-EPROTO, true, .kind = UPGRADE_STATE, .state = { .worker_count = 0 });
	JUDGE(-EPROTO, true, .kind = UPGRADE_STATE, .state = { .worker_count = 1, .has = UPGRADE_HAS_ADMIN });
	JUDGE(-EPROTO, true, .kind = UPGRADE_STATE, .state = { .worker_count = 1, .has = 4 });
	JUDGE(-EPROTO, true, .kind = UPGRADE_STATE, .state = { .worker_count = 1, .set_count = 1025 });
	JUDGE(-EPROTO, true, .kind = UPGRADE_STATE, .state = { .worker_count = 1, .older_count = 17 });
	JUDGE(-EPROTO, false, .kind = UPGRADE_BANS, .bans = { .count = UPGRADE_BANS_PAGE + 1 });
	JUDGE(-EPROTO, false, .kind = UPGRADE_SERVING, .serving = { .worker_count = 0 });
	JUDGE(-EPROTO, true, .kind = UPGRADE_TUNNEL, .tunnel = PARCEL); /* two sockets, or none */
	JUDGE(-EPROTO, false, .kind = UPGRADE_TUNNEL, .tunnel = PARCEL);
	m = (struct upgrade_message){ .kind = UPGRADE_STATE, .state = { .worker_count = 1 } };
	memset(m.state.instance, 'x', sizeof(m.state.instance));
	assert_int_equal(judge(&m, true), -EPROTO);
	assert_int_equal(descriptors(), before);
}

static void test_parcels_of_tunnels_are_judged(void **state)
{
	struct tunnel_parcel p = PARCEL;

	(void)state;
	assert_true(tunnel_parcel_is_sound(&p));
	p.engine = 99;
	assert_false(tunnel_parcel_is_sound(&p));
	p = (struct tunnel_parcel)PARCEL;
	p.peer.sa.sa_family = AF_UNIX;
	assert_false(tunnel_parcel_is_sound(&p));
	p = (struct tunnel_parcel)PARCEL;
	memset(p.query, 'x', sizeof(p.query));
	assert_false(tunnel_parcel_is_sound(&p));
	p = (struct tunnel_parcel)PARCEL;
	p.is_raw = 2;
	assert_false(tunnel_parcel_is_sound(&p));
	p = (struct tunnel_parcel)PARCEL;
	p.is_in_kernel = 2;
	assert_false(tunnel_parcel_is_sound(&p));
}

/* What a tunnel with so many descriptors comes to. */
static int judge_tunnel(bool is_in_kernel, unsigned count)
{
	struct upgrade_message m = { .kind = UPGRADE_TUNNEL, .tunnel = PARCEL };
	int many[UPGRADE_FDS_MAX], err;

	for (unsigned i = 0; i < UPGRADE_FDS_MAX; i++)
		many[i] = ends[0];
	m.tunnel.is_in_kernel = is_in_kernel;
	assert_int_equal(upgrade_send(ends[0], &m, many, count), 0);
	err = receive();
	if (err == 1)
		upgrade_close_fds(fds, fd_count);
	return err;
}

/* Two sockets; of one in the kernel five maps, and the iterator's link where there is one. */
static void test_a_tunnel_has_the_descriptors_that_it_needs(void **state)
{
	unsigned before = descriptors();

	(void)state;
	for (unsigned count = 0; count <= UPGRADE_FDS_MAX; count++) {
		assert_int_equal(judge_tunnel(false, count), count == 2 ? 1 : -EPROTO);
		assert_int_equal(judge_tunnel(true, count), count == 7 || count == 8 ? 1 : -EPROTO);
	}
	assert_int_equal(descriptors(), before);
}

static void test_nonsense_is_refused_and_its_descriptors_closed(void **state)
{
	struct upgrade_message m = { .kind = UPGRADE_HELLO };
	unsigned before = descriptors();
	char control[CMSG_SPACE(100 * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &m, .iov_len = sizeof(m) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	(void)state;
	assert_int_equal(send(ends[0], "x", 1, 0), 1);
	assert_int_equal(receive(), -EPROTO);
	assert_int_equal(upgrade_send(ends[0], &m, NULL, 0), 0); /* fills in the magic */
	assert_int_equal(receive(), 1);
	assert_int_equal(send(ends[0], &m, sizeof(m) - 1, 0), (int)sizeof(m) - 1);
	assert_int_equal(receive(), -EPROTO);
	m.protocol++;
	assert_int_equal(send(ends[0], &m, 16, 0), 16); /* of any size */
	assert_int_equal(receive(), -EPROTONOSUPPORT);
	m.protocol--;
	m.kind = UPGRADE_KIND_COUNT;
	assert_int_equal(send(ends[0], &m, sizeof(m), 0), (int)sizeof(m));
	assert_int_equal(receive(), -EPROTO);
	m.kind = UPGRADE_SOCKETS;
	m.sockets.addr.sin6_family = AF_INET;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(100 * sizeof(int));
	for (unsigned i = 0; i < 100; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &ends[0], sizeof(int));
	assert_true(sendmsg(ends[0], &msg, 0) > 0); /* more descriptors than there is room for */
	assert_int_equal(receive(), -EPROTO);
	assert_int_equal(descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_message_arrives_with_its_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sender_never_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_out_of_bounds_is_refused, setup, teardown),
		cmocka_unit_test(test_parcels_of_tunnels_are_judged),
		cmocka_unit_test_setup_teardown(test_a_tunnel_has_the_descriptors_that_it_needs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense_is_refused_and_its_descriptors_closed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
