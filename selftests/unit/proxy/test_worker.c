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

/* ---- connections of each client ---- */

static void client_is(struct fixture *f, const char *ip)
{
	assert_int_equal(addr_parse_ip(span_str(ip), &f->client_addr), 0);
}

static uint32_t counted(struct fixture *f, const char *ip)
{
	struct addr addr;
	uint8_t key[16];

	assert_int_equal(addr_parse_ip(span_str(ip), &addr), 0);
	assert_true(addr_to_ip16(&addr, key));
	return counts_of(&f->shared.clients, key);
}

static void test_client_has_so_many_connections(void **state)
{
	struct fixture *f = *state;

	f->snapshot->limits.connections_per_client = 1;
	begin(f);
	dial(f, 0);
	client_sees_the_end(f, dial(f, 1));
	assert_true(f->clients[1].is_reset);
	assert_int_equal(refused(f, "client_connections"), 1);
	client_is(f, "192.0.2.2");
	dial(f, 2);
	assert_int_equal(counted(f, "192.0.2.1"), 1);
	assert_int_equal(counted(f, "192.0.2.2"), 1);
}

/* They are counted all the same: a reload may take the trust away while the connection is there. */
static void test_trusted_proxy_has_as_many_as_it_likes(void **state)
{
	struct fixture *f = *state;
	struct prefix proxies;

	assert_int_equal(prefix_parse(SPAN("192.0.2.0/24"), &proxies), 0);
	f->listener.trusted_proxies = &proxies;
	f->listener.trusted_proxy_count = 1;
	f->snapshot->limits.connections_per_client = 1;
	begin(f);
	for (unsigned i = 0; i < 3; i++)
		dial(f, i);
	assert_int_equal(counted(f, "192.0.2.1"), 3);
	assert_int_equal(refused(f, "client_connections"), 0);
	f->listener.trusted_proxy_count = 0;
}

static void test_loopback_is_not_counted(void **state)
{
	static const char *const ips[] = { "127.0.0.1", "127.9.8.7", "::1" };
	struct fixture *f = *state;

	f->snapshot->limits.connections_per_client = 1;
	begin(f);
	for (unsigned i = 0; i < 3; i++) {
		client_is(f, ips[i]);
		dial(f, i);
	}
	for (unsigned i = 0; i < COUNTS_SHARDS; i++)
		assert_int_equal(f->shared.clients.shards[i].used, 0);
	assert_int_equal(server_session_count(&f->worker.host), 3);
}

/* The proxy that the listener trusts names somebody: the connection is his from there on. */
static void connection_moves(struct fixture *f, const char *from, const char *to)
{
	struct prefix proxies;
	struct client *c;
	char line[128];

	assert_int_equal(prefix_parse(span_str(from), &proxies), 0);
	f->listener.server.proxy_protocol = SERVER_PROXY_REQUIRE;
	f->listener.server.proxy_protocol_from = &proxies;
	f->listener.server.proxy_protocol_from_count = 1;
	client_is(f, from);
	c = dial(f, 0);
	assert_int_equal(counted(f, from), strcmp(from, "127.0.0.1") != 0);
	assert_int_equal(counted(f, to), 0);
	(void)snprintf(line, sizeof(line), "PROXY TCP4 %s 198.51.100.1 4711 443\r\nGET /", to);
	ask(c, line);
	turns(f, 5);
	assert_int_equal(counted(f, from), 0);
	assert_int_equal(counted(f, to), strcmp(to, "127.0.0.1") != 0);
	client_leaves(c);
	for (int i = 0; i < TURNS_MAX && server_session_count(&f->worker.host); i++)
		turn(f);
	assert_int_equal(counted(f, from), 0);
	assert_int_equal(counted(f, to), 0);
	f->listener.server.proxy_protocol_from_count = 0;
}

static void test_connection_is_counted_for_whom_a_header_names(void **state)
{
	struct fixture *f = *state;

	f->snapshot->limits.connections_per_client = 1;
	begin(f);
	connection_moves(f, "192.0.2.1", "203.0.113.7");
	connection_moves(f, "127.0.0.1", "203.0.113.7");
	connection_moves(f, "192.0.2.1", "127.0.0.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_full_worker_resets_who_comes_next),
		TEST(test_connections_of_all_workers_are_bounded),
		TEST(test_connection_of_a_listener_that_is_gone_is_reset),
		TEST(test_client_has_so_many_connections),
		TEST(test_trusted_proxy_has_as_many_as_it_likes),
		TEST(test_loopback_is_not_counted),
		TEST(test_connection_is_counted_for_whom_a_header_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
