/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tunnel_stall.c - receivers that are stuck, slow, or at rest; on a real connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net/socket.h"
#include "proxy/tunnel_stall.h"

#define LIMIT_MS 1000

struct fixture {
	int fd, peer;
	uint64_t bytes; /* written to fd */
	struct stall stall;
};

static int set_up(void **state)
{
	static struct fixture f;
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(a);

	f = (struct fixture){ .fd = socket(AF_INET, SOCK_STREAM, 0) };
	assert_int_equal(setsockopt(l, SOL_SOCKET, SO_RCVBUF, &(int){ 16384 }, sizeof(int)), 0);
	assert_int_equal(setsockopt(f.fd, SOL_SOCKET, SO_SNDBUF, &(int){ 65536 }, sizeof(int)), 0);
	assert_int_equal(bind(l, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(connect(f.fd, (struct sockaddr *)&a, sizeof(a)), 0);
	f.peer = accept(l, NULL, NULL);
	assert_true(f.peer >= 0);
	(void)close(l);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)close(f->fd);
	(void)close(f->peer);
	return 0;
}

/* Until the socket takes no more. */
static void fill(struct fixture *f)
{
	static char block[4096];
	ssize_t n;

	for (int quiet = 0; quiet < 5; quiet++) {
		while ((n = send(f->fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
			f->bytes += (uint64_t)n;
			quiet = 0;
		}
		(void)nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
}

static bool look(struct fixture *f, uint64_t now_ms)
{
	return stall_look(&f->stall, f->fd, f->bytes, now_ms, LIMIT_MS);
}

static void test_full_and_silent_is_stuck(void **state)
{
	struct fixture *f = *state;

	fill(f);
	assert_true(socket_is_full(f->fd));
	assert_true(socket_unacked(f->fd) > 0);
	assert_false(look(f, 10000)); /* bytes have come */
	assert_false(look(f, 20000)); /* full, from now on */
	assert_false(look(f, 20999));
	assert_true(look(f, 21000));
	assert_false(stall_look(&f->stall, f->fd, f->bytes, 30000, 0)); /* no time-out */
}

static void test_who_takes_a_little_is_not(void **state)
{
	static char block[65536];
	struct fixture *f = *state;
	int before;

	fill(f);
	(void)look(f, 10000);
	assert_false(look(f, 20000));
	before = socket_unacked(f->fd);
	for (int i = 0; i < 200 && socket_unacked(f->fd) == before; i++) {
		assert_true(recv(f->peer, block, sizeof(block), MSG_DONTWAIT) != 0);
		(void)nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	assert_true(socket_unacked(f->fd) < before);
	assert_false(look(f, 30000));
}

static void test_a_tunnel_at_rest_is_not(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send(f->fd, "hello", 5, 0), 5);
	f->bytes += 5;
	assert_false(look(f, 10000));
	assert_false(look(f, 20000));
	assert_true(f->stall.is_at_rest);
	assert_false(look(f, 90000));
	fill(f); /* more bytes: it is looked at again */
	assert_false(look(f, 90001));
	assert_false(look(f, 90002));
	assert_true(look(f, 90002 + LIMIT_MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_full_and_silent_is_stuck, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_who_takes_a_little_is_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_tunnel_at_rest_is_not, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
