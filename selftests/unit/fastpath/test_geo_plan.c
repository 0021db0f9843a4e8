/* SPDX-License-Identifier: GPL-2.0-only */
/* test_geo_plan.c - countries of a plan: their numbers, who is refused, and the same question after accept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/hash.h"
#include "fastpath/geo_rules.h"
#include "lib/mmdb_build.h"

#define DE ((geo_country)('D' << 8 | 'E'))
#define FR ((geo_country)('F' << 8 | 'R'))
#define JP ((geo_country)('J' << 8 | 'P'))

static struct geo_file *open_database(void)
{
	char path[] = "/tmp/test_geo_plan_XXXXXX.mmdb";
	struct strbuf bytes = { 0 }, why = { 0 };
	int fd = mkstemps(path, 5);
	struct mmdb_build b;
	struct geo_file *f;

	strbuf_init(&bytes);
	strbuf_init(&why);
	mmdb_build_init(&b, 4, 24);
	mmdb_build_add_text(&b, "10.0.0.0/9", "DE", 0);
	mmdb_build_add_text(&b, "10.128.0.0/9", "FR", 0);
	mmdb_build_add_text(&b, "127.0.0.0/8", "DE", 0);
	mmdb_build_write(&b, &bytes);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes.ptr, bytes.len), bytes.len);
	assert_int_equal(close(fd), 0);
	f = geo_file_get(path, GEO_FORMAT_MAXMIND, &why);
	assert_non_null(f);
	assert_int_equal(unlink(path), 0);
	mmdb_build_fini(&b);
	strbuf_fini(&bytes);
	strbuf_fini(&why);
	return f;
}

static void choose(struct geo_plan *p, uint32_t listener, bool is_allow, bool is_monitor, geo_country a, geo_country b)
{
	geo_country countries[] = { a, b };

	geo_plan_add(p, &(struct geo_choice){ .listener = listener, .rule = 40 + listener, .is_allow = is_allow,
					      .is_monitor = is_monitor, .countries = countries, .count = b ? 2 : 1 });
}

static void test_numbers_and_policies(void **state)
{
	struct geo_plan p = { 0 }, copy;
	struct sn_geo_policy deny, allow;
	geo_country two[] = { DE, FR };

	(void)state;
	geo_plan_use(&p, open_database());
	choose(&p, 1, false, false, FR, DE);
	choose(&p, 2, true, true, DE, 0);
	assert_int_equal(geo_plan_number(&p, DE), 1);
	assert_int_equal(geo_plan_number(&p, FR), 2);
	assert_int_equal(geo_plan_number(&p, JP), SN_GEO_OTHER);
	geo_plan_copy(&copy, &p);
	geo_plan_fini(&p);
	assert_true(geo_plan_names_same(&copy, two, 2));
	assert_false(geo_plan_names_same(&copy, two, 1));
	deny = geo_plan_policy(&copy, &copy.choices[0]);
	allow = geo_plan_policy(&copy, &copy.choices[1]);
	for (unsigned number = 0; number < SN_GEO_NUMBERS; number++) {
		assert_int_equal(sn_geo_is_refused(&deny, (uint8_t)number), number == 1 || number == 2);
		assert_int_equal(sn_geo_is_refused(&allow, (uint8_t)number), number != 1 && number != SN_GEO_MIXED);
	}
	assert_int_equal(deny.flags, 0);
	assert_int_equal(allow.flags, SN_GEO_POLICY_MONITOR);
	assert_int_equal(allow.rule, 42);
	geo_plan_fini(&copy);
}

static void check_refused(const struct geo_choice *c, const geo_country *named, size_t count, bool other, bool first)
{
	struct sn_geo_policy policy = geo_choice_policy(c, named, count);

	assert_int_equal(sn_geo_is_refused(&policy, SN_GEO_OTHER), other);
	assert_int_equal(sn_geo_is_refused(&policy, 1), first);
	assert_false(sn_geo_is_refused(&policy, SN_GEO_MIXED));
}

static void test_numbers_of_other_tables(void **state)
{
	geo_country both[] = { DE, FR }, de = DE, fr = FR;
	struct geo_choice c = { .listener = 1, .rule = 42, .countries = both, .count = 2 };

	(void)state;
	check_refused(&c, &de, 1, false, true); /* FR is one of the others, which are not all refused */
	check_refused(&c, &fr, 1, false, true);
	check_refused(&c, both, 0, false, false);
	c.is_allow = true;
	check_refused(&c, &de, 1, false, false);
	check_refused(&c, both, 0, false, true);
	c.count = 1;
	check_refused(&c, &de, 1, true, false);
	check_refused(&c, &fr, 1, false, true); /* DE is one of the others, FR surely is not */
}

static void test_more_than_fits(void **state)
{
	struct fastpath_plan p = { 0 };
	struct strbuf why = { 0 };

	(void)state;
	strbuf_init(&why);
	geo_plan_use(&p.geo, open_database());
	for (unsigned i = 0; i < SN_GEO_NAMED_MAX; i++)
		choose(&p.geo, i, false, false, (geo_country)(1000 + i), 0);
	assert_int_equal(plan_check(&p, &why), 0);
	choose(&p.geo, 999, false, false, DE, 0);
	assert_int_equal(plan_check(&p, &why), -E2BIG);
	assert_non_null(strstr(why.ptr, "more than 254 countries"));
	plan_fini(&p);
	strbuf_fini(&why);
}

static struct rules_verdict ask(const struct geo_rules *r, uint32_t listener, const char *address)
{
	uint8_t ip[16] = { [10] = 0xff, [11] = 0xff };

	if (strchr(address, ':'))
		assert_int_equal(inet_pton(AF_INET6, address, ip), 1);
	else
		assert_int_equal(inet_pton(AF_INET, address, ip + 12), 1);
	return geo_rules_judge(r, listener, ip).rules;
}

static void test_after_accept(void **state)
{
	struct fastpath_plan p = { 0 };
	struct geo_rules *r;

	(void)state;
	assert_null(geo_rules_new(&p));
	assert_false(ask(NULL, 1, "10.0.0.1").is_refused);
	geo_plan_use(&p.geo, open_database());
	choose(&p.geo, 1, false, false, DE, 0);
	choose(&p.geo, 2, true, false, DE, 0);
	choose(&p.geo, 3, false, true, DE, 0);
	r = geo_rules_new(&p);
	assert_int_equal(ask(r, 1, "10.0.0.1").reason, SN_DROP_GEO);
	assert_true(ask(r, 1, "10.0.0.1").is_refused);
	assert_int_equal(ask(r, 1, "10.0.0.1").rule, 41);
	assert_false(ask(r, 1, "10.200.0.1").is_refused);
	assert_false(ask(r, 1, "11.0.0.1").is_refused);
	assert_false(ask(r, 2, "10.0.0.1").is_refused);
	assert_true(ask(r, 2, "10.200.0.1").is_refused);
	assert_true(ask(r, 2, "11.0.0.1").is_refused);
	assert_true(ask(r, 2, "2001:db8::1").is_refused); /* of which this database knows nothing */
	assert_int_equal(ask(r, 3, "10.0.0.1").reason, SN_DROP_GEO);
	assert_false(ask(r, 3, "10.0.0.1").is_refused);
	assert_false(ask(r, 4, "10.0.0.1").is_refused);
	/* Loopback is in no country, whatever the database says. */
	assert_false(ask(r, 1, "127.0.0.1").is_refused);
	assert_false(ask(r, 2, "127.255.0.1").is_refused);
	assert_false(ask(r, 2, "::1").is_refused);
	geo_rules_free(r);
	p.is_monitor = true;
	r = geo_rules_new(&p);
	assert_int_equal(ask(r, 1, "10.0.0.1").reason, SN_DROP_GEO);
	assert_false(ask(r, 1, "10.0.0.1").is_refused);
	geo_rules_free(r);
	plan_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_and_policies),
		cmocka_unit_test(test_numbers_of_other_tables),
		cmocka_unit_test(test_more_than_fits),
		cmocka_unit_test(test_after_accept),
	};

	hash_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
