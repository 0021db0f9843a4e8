/* SPDX-License-Identifier: GPL-2.0-only */
/* test_steer.c - which worker's socket a new connection comes to: real sockets on loopback, the real program (root). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "fastpath/steer.h"
#include "net/listener.h"
#include "net/socket.h"

#define WORKERS 3

struct group {
	struct addr addr;
	int fds[WORKERS];
};

static struct steer *steer;
static struct group group;

static void group_open(struct group *g, const char *text)
{
	assert_int_equal(addr_parse(span_str(text), &g->addr), 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		g->fds[i] = listener_socket(&g->addr, 1024, i == 0);
		assert_true(g->fds[i] >= 0);
		assert_int_equal(fcntl(g->fds[i], F_SETFL, O_NONBLOCK), 0);
		if (i == 0)
			assert_int_equal(socket_local(g->fds[0], &g->addr), 0);
	}
}

static void group_close(struct group *g)
{
	for (unsigned i = 0; i < WORKERS; i++)
		if (g->fds[i] >= 0)
			(void)close(g->fds[i]);
}

static int setup(void **state)
{
	struct strbuf why = { 0 };

	(void)state;
	strbuf_init(&why);
	steer = steer_open(WORKERS, &why);
	if (!steer)
		fail_msg("%s", why.ptr);
	strbuf_fini(&why);
	group_open(&group, "127.0.0.1:0");
	assert_int_equal(steer_add(steer, &group.addr, group.fds), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	group_close(&group);
	steer_close(steer);
	return 0;
}

static void loads(uint64_t a, uint64_t b, uint64_t c)
{
	steer_publish(steer, 0, a);
	steer_publish(steer, 1, b);
	steer_publish(steer, 2, c);
}

static unsigned accept_all(int fd)
{
	unsigned n = 0;
	int got;

	while ((got = accept(fd, NULL, NULL)) >= 0) {
		(void)close(got);
		n++;
	}
	return n;
}

/* Connect so often; where they came in is in out. */
static void connect_many(const struct group *g, const struct addr *to, unsigned count, unsigned out[WORKERS])
{
	memset(out, 0, WORKERS * sizeof(*out));
	for (unsigned i = 0; i < count; i++) {
		int fd = socket_stream(to->sa.sa_family);

		assert_true(fd >= 0);
		assert_int_equal(connect(fd, &to->sa, to->len), 0);
		(void)close(fd);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		if (g->fds[i] >= 0)
			out[i] = accept_all(g->fds[i]);
}

static void test_least_loaded_gets_all_until_it_is_no_longer(void **state)
{
	unsigned got[WORKERS];

	(void)state;
	loads(100, 40, 100);
	connect_many(&group, &group.addr, 50, got);
	assert_int_equal(got[0], 0);
	assert_int_equal(got[1], 50);
	assert_int_equal(got[2], 0);
	assert_int_equal(steer_picks(steer, 1), 50);
	/* Not published: 90 by now, and ten more make it the others' equal. */
	connect_many(&group, &group.addr, 40, got);
	assert_int_equal(got[0] + got[1] + got[2], 40);
	assert_true(got[1] >= 19 && got[1] <= 21);
	assert_true(got[0] >= 9 && got[0] <= 11);
}

static void test_burst_within_one_turn_spreads(void **state)
{
	unsigned got[WORKERS];

	(void)state;
	loads(0, 0, 0);
	connect_many(&group, &group.addr, 300, got);
	for (unsigned i = 0; i < WORKERS; i++)
		assert_int_equal(got[i], 100);
}

static void test_publication_forgets_what_never_came(void **state)
{
	unsigned got[WORKERS];

	(void)state;
	loads(0, 1000, 1000);
	connect_many(&group, &group.addr, 500, got);
	assert_int_equal(got[0], 500);
	loads(0, 10, 10); /* they are over */
	connect_many(&group, &group.addr, 9, got);
	assert_int_equal(got[0], 9);
}

static void test_closed_socket_leaves_the_choice_to_the_hash(void **state)
{
	unsigned got[WORKERS];

	(void)state;
	loads(10, 0, 10);
	(void)close(group.fds[1]);
	group.fds[1] = -1;
	connect_many(&group, &group.addr, 60, got);
	assert_int_equal(got[0] + got[2], 60);
	assert_true(got[0] > 5 && got[2] > 5);
}

static void test_removed_group_is_the_hashes(void **state)
{
	unsigned got[WORKERS];

	(void)state;
	loads(1000, 0, 1000);
	steer_remove(steer, &group.addr);
	connect_many(&group, &group.addr, 90, got);
	assert_int_equal(got[0] + got[1] + got[2], 90);
	assert_true(got[0] > 5 && got[2] > 5);
	/* The sockets are free for another map, as in another process. */
	assert_int_equal(steer_add(steer, &group.addr, group.fds), 0);
	connect_many(&group, &group.addr, 20, got);
	assert_int_equal(got[1], 20);
}

static void test_sockets_of_another_are_refused(void **state)
{
	struct strbuf why = { 0 };
	struct steer *other;
	unsigned got[WORKERS];

	(void)state;
	strbuf_init(&why);
	other = steer_open(WORKERS, &why);
	assert_non_null(other);
	assert_int_equal(steer_add(other, &group.addr, group.fds), -EBUSY);
	loads(50, 50, 0); /* and the first goes on */
	connect_many(&group, &group.addr, 20, got);
	assert_int_equal(got[2], 20);
	steer_remove(steer, &group.addr);
	assert_int_equal(steer_add(other, &group.addr, group.fds), 0);
	steer_publish(other, 0, 9);
	steer_publish(other, 1, 0);
	steer_publish(other, 2, 9);
	connect_many(&group, &group.addr, 8, got);
	assert_int_equal(got[1], 8);
	steer_close(other);
	strbuf_fini(&why);
}

static void test_every_listener_has_its_own_sockets(void **state)
{
	struct group six, both;
	struct addr to;
	unsigned got[WORKERS];

	(void)state;
	group_open(&six, "[::1]:0");
	group_open(&both, "[::]:0");
	assert_int_equal(steer_add(steer, &six.addr, six.fds), 0);
	assert_int_equal(steer_add(steer, &both.addr, both.fds), 0);
	loads(7, 7, 0);
	connect_many(&six, &six.addr, 5, got);
	assert_int_equal(got[2], 5);
	loads(0, 7, 7);
	assert_int_equal(addr_parse(SPAN("[::1]:1"), &to), 0);
	addr_set_port(&to, addr_port(&both.addr));
	connect_many(&both, &to, 5, got);
	assert_int_equal(got[0], 5);
	loads(7, 0, 7);
	assert_int_equal(addr_parse(SPAN("127.0.0.1:1"), &to), 0); /* IPv4 at a dual-stack listener */
	addr_set_port(&to, addr_port(&both.addr));
	connect_many(&both, &to, 5, got);
	assert_int_equal(got[1], 5);
	loads(0, 7, 7);
	connect_many(&group, &group.addr, 5, got);
	assert_int_equal(got[0], 5);
	group_close(&six);
	group_close(&both);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_least_loaded_gets_all_until_it_is_no_longer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_burst_within_one_turn_spreads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_publication_forgets_what_never_came, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_socket_leaves_the_choice_to_the_hash, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_group_is_the_hashes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sockets_of_another_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_listener_has_its_own_sockets, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
