/* SPDX-License-Identifier: GPL-2.0-only */
/* test_fastpath.c - what works without any privilege: no guard, one reason, traffic judged in userspace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "fastpath/fastpath.h"
#include "fastpath/hostaddrs.h"

static void test_no_interface_loads_nothing(void **state)
{
	const struct fastpath_options o = { .instance = "unit", .bpffs = "/nonexistent" };
	struct fastpath *fp = fastpath_new(&o);
	struct fastpath_plan p = { 0 };
	struct fastpath_status s;
	struct fastpath_stats stats;

	(void)state;
	assert_int_equal(plan_add_interface(&p, "lo", FASTPATH_MODE_OFF), 0);
	assert_int_equal(fastpath_apply(fp, &p), 0);
	assert_int_equal(fastpath_retry(fp), 0);
	fastpath_status(fp, &s);
	assert_false(s.is_loaded);
	assert_false(s.is_degraded);
	assert_int_equal(s.interface_count, 1);
	assert_string_equal(fastpath_attach_name(s.interfaces[0].attached), "not attached");
	assert_int_equal(fastpath_stats(fp, &stats), 0);
	assert_int_equal(stats.counters[0].packets, 0);
	assert_int_equal(fastpath_events_fd(fp), -1);
	assert_int_equal(fastpath_events_consume(fp), 0);
	assert_int_equal(fastpath_addresses_fd(fp), -1);
	assert_int_equal(fastpath_addresses_update(fp), 0);
	fastpath_stop(fp);
	fastpath_free(fp);
	fastpath_free(NULL);
	plan_fini(&p);
}

static void test_a_missing_file_system_is_one_reason(void **state)
{
	const struct fastpath_options o = { .instance = "unit", .bpffs = "/nonexistent" };
	struct fastpath *fp = fastpath_new(&o);
	struct fastpath_plan p = { 0 };
	struct fastpath_status s;

	(void)state;
	assert_int_equal(plan_add_interface(&p, "lo", FASTPATH_MODE_AUTO), 0);
	assert_int_equal(fastpath_apply(fp, &p), -EAGAIN);
	assert_int_equal(fastpath_retry(fp), -EAGAIN);
	fastpath_status(fp, &s);
	assert_true(s.is_degraded);
	assert_int_equal(s.apply_failures, 2);
	assert_int_equal(strncmp(s.reason, "/nonexistent: ", 14), 0);
	fastpath_stop(fp);
	fastpath_status(fp, &s);
	assert_false(s.is_degraded);
	fastpath_free(fp);
	plan_fini(&p);
}

static void test_bans_and_heartbeat_work_without_a_guard(void **state)
{
	const struct fastpath_options o = { .instance = "unit" };
	struct fastpath *fp = fastpath_new(&o);
	const uint8_t ip[16] = { 0x20, 1 };
	uint64_t now = clock_boot_ns();

	(void)state;
	assert_int_equal(bans_add(fastpath_bans(fp), ip, now, now + 5, 1), 0);
	assert_true(bans_until(fastpath_bans(fp), ip) == now + 5);
	heartbeat_control(fastpath_heartbeat(fp), now);
	assert_true(heartbeat_beat(fastpath_heartbeat(fp), now));
	fastpath_free(fp);
}

static void test_pins_of_nobody(void **state)
{
	struct strbuf text = { 0 };

	(void)state;
	strbuf_init(&text);
	assert_int_equal(fastpath_pins_describe("/nonexistent", "unit", &text), -ENOENT);
	assert_int_equal(fastpath_pins_detach("/nonexistent", "unit", &text), -ENOENT);
	assert_int_equal(fastpath_pins_detach(NULL, "", &text), -EINVAL);
	assert_int_equal(fastpath_pins_detach(NULL, "../x", &text), -EINVAL);
	assert_int_equal(text.len, 0);
	strbuf_fini(&text);
}

static void test_counters_have_names(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < SN_COUNTER_COUNT; i++) {
		assert_true(strlen(stats_counter_label(i)) > 0);
		assert_true(strlen(stats_counter_text(i)) > 0);
	}
	for (i = 0; i < SN_DROP_COUNT; i++) {
		assert_true(strlen(rules_reason_label((uint8_t)i)) > 0);
		assert_true(strlen(rules_reason_text((uint8_t)i)) > 0);
	}
}

static void test_own_addresses_are_sorted_and_single(void **state)
{
	struct hostaddrs h = { 0 };
	size_t i;
	int fd;

	(void)state;
	assert_int_equal(hostaddrs_read(&h), 0);
	for (i = 1; i < h.count; i++)
		assert_true(memcmp(h.items[i - 1].ip, h.items[i].ip, 16) < 0);
	for (i = 0; i < h.count; i++)
		assert_int_not_equal(h.items[i].ifindex, 0);
	/* Again into the same: the old list goes. */
	assert_int_equal(hostaddrs_read(&h), 0);
	hostaddrs_fini(&h);
	hostaddrs_fini(NULL);
	fd = hostaddrs_watch();
	assert_true(fd >= 0);
	/* The host's addresses may change while this runs, but not between all of these. */
	for (i = 0; i < 100 && hostaddrs_drain(fd); i++)
		;
	assert_true(i < 100);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_interface_loads_nothing),
		cmocka_unit_test(test_a_missing_file_system_is_one_reason),
		cmocka_unit_test(test_bans_and_heartbeat_work_without_a_guard),
		cmocka_unit_test(test_pins_of_nobody),
		cmocka_unit_test(test_counters_have_names),
		cmocka_unit_test(test_own_addresses_are_sorted_and_single),
	};

	hash_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
