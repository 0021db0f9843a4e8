/* SPDX-License-Identifier: GPL-2.0-only */
/* test_listener.c - listening sockets and accepting: a port in use, no descriptors left, an orderly end. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "listen_any.h"

struct door {
	struct acceptor a;
	int fds[4096];
	unsigned accepted, refused, closed;
	int refused_err;
	bool answers; /* each connection at once with one byte, and closes it */
};

static struct loop *loop;

static void on_accept(struct acceptor *a, int fd)
{
	struct door *d = container_of(a, struct door, a);

	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	if (d->answers) {
		assert_int_equal(write(fd, "x", 1), 1);
		close(fd);
	} else {
		d->fds[d->accepted] = fd;
	}
	d->accepted++;
}

static void on_refused(struct acceptor *a, int err)
{
	struct door *d = container_of(a, struct door, a);

	d->refused++;
	d->refused_err = err;
}

static void on_closed(struct acceptor *a)
{
	container_of(a, struct door, a)->closed++;
}

#define wait_until(condition)                                                           \
	do {                                                                            \
		uint64_t wait_end_ = loop_now_ms(loop) + 60000;                         \
		while (!(condition)) {                                                  \
			assert_int_equal(loop_turn(loop, 20), 0);                       \
			if (loop_now_ms(loop) > wait_end_)                              \
				fail_msg("after 60 s: %s", #condition);                 \
		}                                                                       \
	} while (0)

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(span_str(text), &a), 0);
	return a;
}

static int listen_on(const char *text, struct addr *out_addr)
{
	struct addr a = addr_of(text);
	int fd = listener_socket(&a, 512, true);

	assert_true(fd >= 0);
	assert_int_equal(socket_local(fd, out_addr), 0);
	return fd;
}

static void door_open(struct door *d, int fd)
{
	*d = (struct door){ .a = { .on_accept = on_accept, .on_refused = on_refused, .on_closed = on_closed } };
	acceptor_start(&d->a, loop, fd);
}

static void door_close(struct door *d)
{
	acceptor_close(&d->a);
	wait_until(d->closed);
	for (unsigned i = 0; i < d->accepted && !d->answers; i++)
		close(d->fds[i]);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(d->closed, 1);
}

static int setup(void **state)
{
	const char *reason = "";

	(void)state;
	if (loop_new(&loop, NULL, &reason) != 0)
		fail_msg("%s", reason);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

static void test_a_second_daemon_on_the_port_is_told(void **state)
{
	struct addr a;
	int first = listen_on("127.0.0.1:0", &a), worker, again;

	(void)state;
	assert_int_equal(listener_socket(&a, 16, true), -EADDRINUSE);
	worker = listener_socket(&a, 16, false); /* the second worker of the same daemon */
	assert_true(worker >= 0);
	close(first);
	assert_int_equal(listener_socket(&a, 16, true), -EADDRINUSE);
	close(worker);
	again = listener_socket(&a, 16, true);
	assert_true(again >= 0);
	close(again);
}

static void test_connections_in_time_wait_do_not_block_a_restart(void **state)
{
	struct addr a;
	int listener = listen_on("127.0.0.1:0", &a), client = connect_to(&a), server = accept(listener, NULL, NULL);
	char c;

	(void)state;
	close(server); /* first: the server's side waits in TIME_WAIT */
	assert_int_equal(read(client, &c, 1), 0);
	close(client);
	close(listener);
	listener = listener_socket(&a, 16, true);
	assert_true(listener >= 0);
	close(listener);
}

static void test_any_v6_takes_v4(void **state)
{
	struct addr a, v4;
	int listener, client;

	(void)state;
	listener = listen_on("[::]:0", &a);
	v4 = addr_of("127.0.0.1:0");
	addr_set_port(&v4, addr_port(&a));
	client = connect_to(&v4);
	close(client);
	close(listener);
}

static void test_accepted_sockets_do_not_delay(void **state)
{
	static struct door d;
	struct addr a;
	int nodelay = 0, client;
	socklen_t len = sizeof(nodelay);

	(void)state;
	door_open(&d, listen_on("127.0.0.1:0", &a));
	client = connect_to(&a);
	wait_until(d.accepted == 1);
	assert_int_equal(getsockopt(d.fds[0], IPPROTO_TCP, TCP_NODELAY, &nodelay, &len), 0);
	assert_true(nodelay);
	assert_int_equal(fcntl(d.fds[0], F_GETFL) & O_NONBLOCK, 0);
	close(client);
	door_close(&d);
}

static void test_unix_socket_file_left_over_is_replaced(void **state)
{
	char path[64], text[80];
	struct addr a;
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_listener.%d", getpid());
	snprintf(text, sizeof(text), "unix:%s", path);
	a = addr_of(text);
	fd = listener_socket(&a, 16, true);
	assert_true(fd >= 0);
	assert_int_equal(listener_socket(&a, 16, true), -EADDRINUSE);
	assert_int_equal(listener_socket(&a, 16, false), -EOPNOTSUPP);
	close(fd); /* the file stays, as after a crash */
	fd = listener_socket(&a, 16, true);
	assert_true(fd >= 0);
	close(fd);
	unlink(path);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(listener_socket(&a, 16, true), -EEXIST);
	close(fd);
	unlink(path);
}

static void test_no_descriptor_left_pauses_and_goes_on(void **state)
{
	static struct door d;
	struct rlimit limit, low;
	struct addr a;
	int clients[3], next, listener = listen_on("127.0.0.1:0", &a);

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		clients[i] = connect_to(&a);
	next = dup(0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = (struct rlimit){ (rlim_t)next, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	door_open(&d, listener); /* the kernel remembers the limit of when the accept was begun */
	for (unsigned i = 0; i < 3000 && d.refused < 2; i++)
		assert_int_equal(loop_turn(loop, 20), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(d.accepted, 0);
	assert_int_equal(d.refused, 2); /* it tried again, and not in every turn */
	assert_int_equal(d.refused_err, -EMFILE);
	wait_until(d.accepted == 3);
	for (unsigned i = 0; i < 3; i++)
		close(clients[i]);
	door_close(&d);
}

static void test_close_with_a_full_queue_serves_all(void **state)
{
	static struct door d;
	struct addr a;
	int clients[100];

	(void)state;
	door_open(&d, listen_on("127.0.0.1:0", &a));
	d.answers = true;
	for (unsigned i = 0; i < 100; i++)
		clients[i] = connect_to(&a);
	door_close(&d);
	assert_int_equal(d.accepted, 100);
	for (unsigned i = 0; i < 100; i++) {
		char c = 0;

		assert_int_equal(read(clients[i], &c, 1), 1);
		close(clients[i]);
	}
}

/* Clients that connect without a pause, until they are told that nobody listens. */
struct flood {
	pthread_t thread;
	struct addr to;
	unsigned served, reset, given_up;
	int end; /* why the last connect failed */
	bool stops;
};

static void *flood_main(void *arg)
{
	struct flood *f = arg;

	while (!__atomic_load_n(&f->stops, __ATOMIC_RELAXED)) {
		struct pollfd p = { .events = POLLOUT };
		int err;
		char c;

		p.fd = socket(f->to.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (connect(p.fd, &f->to.sa, f->to.len) != 0 && errno == EINPROGRESS && poll(&p, 1, 300) == 0) {
			close(p.fd); /* the SYN was dropped: nobody told this client anything, or not yet */
			f->given_up++;
			continue;
		}
		err = socket_error(p.fd);
		if (err) {
			f->end = err;
			close(p.fd);
			break;
		}
		fcntl(p.fd, F_SETFL, 0);
		if (read(p.fd, &c, 1) == 1)
			f->served++;
		else
			f->reset++; /* was told that it is connected, and lost */
		close(p.fd);
	}
	return NULL;
}

static void test_closing_under_load_resets_nobody(void **state)
{
	static struct door doors[2];
	struct flood floods[8];
	unsigned served = 0, given_up = 0, accepted = 0;
	struct addr a;
	uint64_t until;

	(void)state;
	door_open(&doors[0], listen_on("127.0.0.1:0", &a));
	door_open(&doors[1], listener_socket(&a, 512, false)); /* as with two workers */
	doors[0].answers = doors[1].answers = true;
	for (unsigned i = 0; i < ARRAY_LEN(floods); i++) {
		floods[i] = (struct flood){ .to = a };
		pthread_create(&floods[i].thread, NULL, flood_main, &floods[i]);
	}
	until = loop_now_ms(loop) + 150;
	while (loop_now_ms(loop) < until)
		assert_int_equal(loop_turn(loop, 20), 0);
	wait_until(doors[0].accepted + doors[1].accepted > 100);
	acceptor_close(&doors[0].a);
	acceptor_close(&doors[1].a);
	wait_until(doors[0].closed && doors[1].closed);
	assert_int_equal(loop_turn(loop, 0), 0);
	for (unsigned i = 0; i < ARRAY_LEN(floods); i++) {
		pthread_join(floods[i].thread, NULL);
		assert_int_equal(floods[i].reset, 0);
		assert_int_equal(floods[i].end, -ECONNREFUSED);
		served += floods[i].served;
		given_up += floods[i].given_up;
	}
	accepted = doors[0].accepted + doors[1].accepted;
	assert_true(served > 50);
	assert_in_range(accepted, served, served + given_up);
}

static void test_close_while_paused(void **state)
{
	static struct door d;
	struct rlimit limit, low;
	struct addr a;
	int next, listener = listen_on("127.0.0.1:0", &a), client = connect_to(&a);

	(void)state;
	next = dup(0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = (struct rlimit){ (rlim_t)next, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	door_open(&d, listener);
	for (unsigned i = 0; i < 3000 && !d.refused; i++)
		assert_int_equal(loop_turn(loop, 20), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(d.refused, 1);
	door_close(&d);
	assert_int_equal(d.accepted, 1); /* from the queue, at the very end */
	close(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		cmocka_unit_test(test_a_second_daemon_on_the_port_is_told),
		cmocka_unit_test(test_connections_in_time_wait_do_not_block_a_restart),
		cmocka_unit_test(test_any_v6_takes_v4),
		TEST(test_accepted_sockets_do_not_delay),
		cmocka_unit_test(test_unix_socket_file_left_over_is_replaced),
		TEST(test_no_descriptor_left_pauses_and_goes_on),
		TEST(test_close_with_a_full_queue_serves_all),
		TEST(test_closing_under_load_resets_nobody),
		TEST(test_close_while_paused),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
