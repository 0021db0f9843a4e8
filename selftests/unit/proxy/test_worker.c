/* SPDX-License-Identifier: GPL-2.0-only */
/* test_worker.c - which connections a worker takes, and how it refuses the others. */
#include "unit/proxy/forward_fixture.h"

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

static uint64_t refused(struct fixture *f, const char *reason)
{
	const struct span label = span_str(reason);

	return atomic_load(&metric_cell(f->worker.metrics, METRIC_REFUSED_CONNECTIONS_TOTAL, &label)->value);
}

static void test_full_worker_resets_who_comes_next(void **state)
{
	struct fixture *f = *state;

	f->worker.host.sessions_max = 1;
	begin(f);
	dial(f, 0);
	client_sees_the_end(f, dial(f, 1));
	assert_true(f->clients[1].is_reset);
	assert_int_equal(refused(f, "max_connections"), 1);
	assert_int_equal(server_session_count(&f->worker.host), 1);
	client_leaves(&f->clients[0]);
	for (int i = 0; i < TURNS_MAX && server_session_count(&f->worker.host); i++)
		turn(f);
	ask(dial(f, 2), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	origin_hears(f, 0, "GET / ");
	assert_int_equal(refused(f, "max_connections"), 1);
}

static void test_connections_of_all_workers_are_bounded(void **state)
{
	struct fixture *f = *state;

	f->snapshot->max_connections = 2;
	begin(f);
	atomic_fetch_add(&f->shared.connections, 1); /* another worker's */
	dial(f, 0);
	client_sees_the_end(f, dial(f, 1));
	assert_true(f->clients[1].is_reset);
	assert_int_equal(refused(f, "max_connections"), 1);
	assert_int_equal(atomic_fetch_sub(&f->shared.connections, 1), 2);
}

static void test_connection_of_a_listener_that_is_gone_is_reset(void **state)
{
	struct fixture *f = *state;

	f->listener.number = 2;
	begin(f);
	client_sees_the_end(f, dial(f, 0));
	assert_true(f->clients[0].is_reset);
	assert_int_equal(refused(f, "listener_gone"), 1);
	assert_int_equal(atomic_load(&f->shared.connections), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_full_worker_resets_who_comes_next),
		TEST(test_connections_of_all_workers_are_bounded),
		TEST(test_connection_of_a_listener_that_is_gone_is_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
