/* SPDX-License-Identifier: GPL-2.0-only */
/* test_endpoint.c - the registry of targets: identity, counting, addresses, the bound of connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/check.h"
#include "base/hash.h"
#include "upstream/endpoint.h"

static struct endpoint_registry registry;

static int setup(void **state)
{
	(void)state;
	hash_init();
	endpoint_registry_init(&registry);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	endpoint_registry_fini(&registry);
	return 0;
}

static void test_same_name_is_the_same_endpoint(void **state)
{
	struct endpoint *a = endpoint_get(&registry, "one.example:80");
	struct endpoint *b = endpoint_get(&registry, "one.example:80");
	struct endpoint *c = endpoint_get(&registry, "one.example:81");

	(void)state;
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	assert_int_not_equal(a->slot, c->slot);
	assert_string_equal(a->host, "one.example");
	assert_int_equal(c->port, 81);
	endpoint_put(&registry, b);
	assert_ptr_equal(endpoint_get(&registry, "one.example:80"), a); /* one reference was left */
	endpoint_put(&registry, a);
	endpoint_put(&registry, a);
	endpoint_put(&registry, c);
	assert_int_equal(registry.by_name.count, 0);
}

static void test_slots_are_reused_smallest_first(void **state)
{
	struct endpoint *e[130];
	char name[32];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(e); i++) {
		snprintf(name, sizeof(name), "h%u:80", i);
		e[i] = endpoint_get(&registry, name);
		assert_int_equal(e[i]->slot, i);
	}
	endpoint_put(&registry, e[70]);
	endpoint_put(&registry, e[7]);
	e[7] = endpoint_get(&registry, "new:80");
	assert_int_equal(e[7]->slot, 7);
	e[70] = endpoint_get(&registry, "newer:80");
	assert_int_equal(e[70]->slot, 70);
	for (unsigned i = 0; i < ARRAY_LEN(e); i++)
		endpoint_put(&registry, e[i]);
}

static void test_names_that_are_refused(void **state)
{
	static const char *const good[] = {
		"a:1", "a-b.c_d:65535", "127.0.0.1:80", "[::1]:80", "unix:/run/x.sock",
	};
	static const char *const bad[] = {
		"",	  "a",	    "a:",      "a:0",	  "a:65536", ":80",   "a:80x", "a b:80",
		"::1:80", "[::1]",  "[::1]80", "[zz]:80", "[",	     "[]:80", "-a:80", "[127.0.0.1]:80",
		".a:80",  "a/b:80", "unix:",
	};
	char name[300];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(good); i++)
		assert_true(endpoint_name_is_valid(good[i]));
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		if (endpoint_name_is_valid(bad[i]))
			fail_msg("accepted: %s", bad[i]);
	memset(name, 'a', sizeof(name));
	memcpy(name + 255, ":80", 4);
	assert_true(endpoint_name_is_valid(name));
	memcpy(name + 255, "a:80", 5);
	assert_false(endpoint_name_is_valid(name));
}

static void test_numeric_names_need_no_resolution(void **state)
{
	struct endpoint *v4 = endpoint_get(&registry, "127.0.0.1:8080");
	struct endpoint *v6 = endpoint_get(&registry, "[::1]:8080");
	struct endpoint *local = endpoint_get(&registry, "unix:/run/x.sock");
	struct endpoint *name = endpoint_get(&registry, "name:8080");
	struct addr addr;

	(void)state;
	assert_true(v4->is_numeric && v6->is_numeric && local->is_numeric);
	assert_false(name->is_numeric);
	assert_true(endpoint_is_usable(v4) && endpoint_is_usable(v6) && endpoint_is_usable(local));
	assert_false(endpoint_is_usable(name));
	assert_int_equal(endpoint_next_addr(v4, &addr), 0);
	assert_int_equal(addr.in.sin_port, htons(8080));
	assert_int_equal(addr.in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	assert_int_equal(endpoint_next_addr(v6, &addr), 0);
	assert_int_equal(addr.sa.sa_family, AF_INET6);
	assert_string_equal(v6->host, "::1");
	assert_int_equal(endpoint_next_addr(local, &addr), 0);
	assert_string_equal(addr.un.sun_path, "/run/x.sock");
	endpoint_put(&registry, v4);
	endpoint_put(&registry, v6);
	endpoint_put(&registry, local);
	endpoint_put(&registry, name);
}

static void test_addresses_take_turns_and_can_vanish(void **state)
{
	struct endpoint *e = endpoint_get(&registry, "name:80");
	struct addr addrs[ENDPOINT_ADDRS_MAX + 1] = { 0 }, got;
	uint64_t epoch = endpoint_epoch();

	(void)state;
	assert_int_equal(endpoint_next_addr(e, &got), -EADDRNOTAVAIL);
	for (unsigned i = 0; i < ARRAY_LEN(addrs); i++)
		addrs[i].in.sin_addr.s_addr = i;
	endpoint_set_addrs(e, addrs, 3, "not stored");
	assert_true(endpoint_epoch() > epoch);
	assert_true(endpoint_is_usable(e));
	assert_string_equal(e->resolve_error, "");
	for (unsigned i = 0; i < 7; i++) {
		assert_int_equal(endpoint_next_addr(e, &got), 0);
		assert_int_equal(got.in.sin_addr.s_addr, i % 3);
	}
	endpoint_set_addrs(e, addrs, 1, NULL); /* fewer than before: the turn starts inside again */
	assert_int_equal(endpoint_next_addr(e, &got), 0);
	assert_int_equal(got.in.sin_addr.s_addr, 0);
	endpoint_set_addrs(e, addrs, ARRAY_LEN(addrs), NULL);
	assert_int_equal(e->addr_count, ENDPOINT_ADDRS_MAX);
	endpoint_set_addrs(e, NULL, 0, "no such name");
	assert_false(endpoint_is_usable(e));
	assert_string_equal(e->resolve_error, "no such name");
	assert_int_equal(endpoint_next_addr(e, &got), -EADDRNOTAVAIL);
	endpoint_put(&registry, e);
}

static void test_health_changes_use(void **state)
{
	struct endpoint *e = endpoint_get(&registry, "127.0.0.1:80");
	uint64_t epoch = endpoint_epoch();

	(void)state;
	endpoint_set_health(e, ENDPOINT_DOWN);
	assert_false(endpoint_is_usable(e));
	assert_true(endpoint_epoch() > epoch);
	endpoint_set_health(e, ENDPOINT_UP);
	assert_true(endpoint_is_usable(e));
	endpoint_put(&registry, e);
}

static void test_worker_hold_outlives_the_last_snapshot(void **state)
{
	struct endpoint *e = endpoint_get(&registry, "127.0.0.1:80"), *other = endpoint_get(&registry, "127.0.0.1:81");
	uint32_t slot = e->slot;

	(void)state;
	endpoint_ref(e);
	endpoint_put(&registry, e);
	endpoint_registry_sweep(&registry);
	assert_ptr_equal(endpoint_get(&registry, "127.0.0.1:80"), e); /* still there, and used again */
	endpoint_put(&registry, e);
	endpoint_unref(e);
	endpoint_registry_sweep(&registry);
	e = endpoint_get(&registry, "127.0.0.1:82");
	assert_int_equal(e->slot, slot);
	endpoint_put(&registry, e);
	endpoint_put(&registry, other);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_same_name_is_the_same_endpoint),
		TEST(test_slots_are_reused_smallest_first),
		TEST(test_names_that_are_refused),
		TEST(test_numeric_names_need_no_resolution),
		TEST(test_addresses_take_turns_and_can_vanish),
		TEST(test_health_changes_use),
		TEST(test_worker_hold_outlives_the_last_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
