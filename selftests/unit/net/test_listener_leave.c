/* SPDX-License-Identifier: GPL-2.0-only */
/* test_listener_leave.c - two loops that share a listening socket, as two processes do in an upgrade: one leaves. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "listen_any.h"

#define CLIENTS 20

struct door {
	struct acceptor a;
	struct loop *loop;
	unsigned accepted, closed;
};

static void on_accept(struct acceptor *a, int fd)
{
	container_of(a, struct door, a)->accepted++;
	close(fd);
}

static void on_refused(struct acceptor *a, int err)
{
	(void)a;
	fail_msg("accept: %d", err);
}

static void on_closed(struct acceptor *a)
{
	container_of(a, struct door, a)->closed++;
}

static void door_open(struct door *d, int fd)
{
	const char *reason = "";

	*d = (struct door){ .a = { .on_accept = on_accept, .on_refused = on_refused, .on_closed = on_closed } };
	if (loop_new(&d->loop, NULL, &reason) != 0)
		fail_msg("%s", reason);
	acceptor_start(&d->a, d->loop, fd);
	assert_int_equal(loop_turn(d->loop, 0), 0); /* its accept waits */
}

static void door_turn(struct door *d, unsigned turns)
{
	for (unsigned i = 0; i < turns; i++)
		assert_int_equal(loop_turn(d->loop, 1), 0);
}

/* Until it has left; what comes after that is the other's alone. */
static void door_leave(struct door *d)
{
	acceptor_leave(&d->a);
	for (unsigned i = 0; i < 10000 && !d->closed; i++)
		door_turn(d, 1);
	assert_int_equal(d->closed, 1);
}

static void door_close(struct door *d)
{
	if (!d->closed)
		acceptor_close(&d->a);
	for (unsigned i = 0; i < 10000 && !d->closed; i++)
		door_turn(d, 1);
	assert_int_equal(d->closed, 1);
	assert_int_equal(loop_turn(d->loop, 0), 0);
	loop_free(d->loop);
}

/* Both wait for who connects to *out_addr; the old one has waited longer. */
static void doors_open(struct door *old, struct door *new, struct addr *out_addr)
{
	int fd = listen_any(out_addr);

	door_open(old, fd);
	door_open(new, dup(fd));
}

/* The kernel wakes one of those who wait, and the first is the one that has waited longest: it leaves just then. */
static void test_whoever_comes_as_one_leaves_is_accepted(void **state)
{
	struct door old, new;
	struct addr a;
	int client;

	(void)state;
	doors_open(&old, &new, &a);
	client = connect_to(&a);
	door_leave(&old);
	for (unsigned i = 0; i < 100 && old.accepted + new.accepted == 0; i++)
		door_turn(&new, 10);
	assert_int_equal(old.accepted + new.accepted, 1);
	close(client);
	door_close(&old);
	door_close(&new);
}

/* The one that stays has not looked yet: those in the queue are taken by either. */
static void test_those_that_came_before_are_accepted(void **state)
{
	int clients[CLIENTS];
	struct door old, new;
	struct addr a;

	(void)state;
	doors_open(&old, &new, &a);
	for (unsigned i = 0; i < CLIENTS; i++)
		clients[i] = connect_to(&a);
	door_leave(&old);
	for (unsigned i = 0; i < 100 && old.accepted + new.accepted < CLIENTS; i++)
		door_turn(&new, 10);
	assert_int_equal(old.accepted + new.accepted, CLIENTS);
	for (unsigned i = 0; i < CLIENTS; i++)
		close(clients[i]);
	door_close(&old);
	door_close(&new);
}

/* The socket itself is left as it was: who stays goes on, and is alone. */
static void test_whoever_comes_after_it_is_accepted_by_the_other(void **state)
{
	struct door old, new;
	struct addr a;
	int client;

	(void)state;
	doors_open(&old, &new, &a);
	door_leave(&old);
	assert_false(fcntl(new.a.fd, F_GETFL) & O_NONBLOCK);
	client = connect_to(&a);
	for (unsigned i = 0; i < 100 && new.accepted == 0; i++)
		door_turn(&new, 10);
	assert_int_equal(new.accepted, 1);
	assert_int_equal(old.accepted, 0);
	close(client);
	door_close(&old);
	door_close(&new);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whoever_comes_as_one_leaves_is_accepted),
		cmocka_unit_test(test_those_that_came_before_are_accepted),
		cmocka_unit_test(test_whoever_comes_after_it_is_accepted_by_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
