/* SPDX-License-Identifier: GPL-2.0-only */
/* test_kernel_version.c - versions as distributions write them, and what is made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/check.h"
#include "fastpath/kernel_version.h"

struct row {
	const char *release, *version, *signature;
	struct kernel_version expected;
	enum kernel_verdict verdict;
};

static const struct row rows[] = {
	{ "6.1.0-42-cloud-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-01)", NULL,
	  { 6, 1, 192, true }, KERNEL_GOOD },
	{ "6.1.0-18-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)", NULL,
	  { 6, 1, 76, true }, KERNEL_REFUSED },
	{ "6.1.0-38-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.146-1 (2025-08-01)", NULL,
	  { 6, 1, 146, true }, KERNEL_REFUSED },
	{ "6.1.0-39-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.147-1 (2025-08-01)", NULL,
	  { 6, 1, 147, true }, KERNEL_DOUBTFUL },
	{ "6.12.34+bpo-amd64", "#1 SMP", NULL, { 6, 12, 34, true }, KERNEL_REFUSED },
	{ "6.12.35+bpo-amd64", "#1 SMP", NULL, { 6, 12, 35, true }, KERNEL_DOUBTFUL },
	{ "6.12.95+deb12-cloud-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.95-1~bpo12+1 (2026-07-01)", NULL,
	  { 6, 12, 95, true }, KERNEL_GOOD },
	{ "6.18.44-fc-v657", "#1 SMP PREEMPT_DYNAMIC @0", NULL, { 6, 18, 44, true }, KERNEL_GOOD },
	{ "7.3.4", "#1 SMP", NULL, { 7, 3, 4, true }, KERNEL_GOOD },
	{ "6.8.0-45-generic", "#45-Ubuntu SMP PREEMPT_DYNAMIC", "Ubuntu 6.8.0-45.45-generic 6.8.12",
	  { 6, 8, 12, true }, KERNEL_DOUBTFUL },
	{ "5.15.0-91-generic", "#101-Ubuntu SMP", "Ubuntu 5.15.0-91.101-generic 5.15.131",
	  { 5, 15, 131, true }, KERNEL_REFUSED },
	/* Nobody says which patch level: the self-test has the word. */
	{ "6.1.0-42-cloud-amd64", "#1 SMP", NULL, { 6, 1, 0, false }, KERNEL_DOUBTFUL },
	{ "6.12.0-55.el10.x86_64", "#1 SMP", NULL, { 6, 12, 0, false }, KERNEL_DOUBTFUL },
	{ "5.14.0-362.el9.x86_64", "#1 SMP", NULL, { 5, 14, 0, false }, KERNEL_REFUSED },
	{ "6.1.0", "#1 SMP", NULL, { 6, 1, 0, true }, KERNEL_REFUSED },
	{ "6.12-rc3", "#1 SMP", NULL, { 6, 12, 0, false }, KERNEL_DOUBTFUL },
	{ "6.1.0-1", "Debian next", "", { 6, 1, 0, false }, KERNEL_DOUBTFUL },
	{ "linux", "#1", NULL, { 0, 0, 0, false }, KERNEL_DOUBTFUL },
	{ "", "", " ", { 0, 0, 0, false }, KERNEL_DOUBTFUL },
};

static void test_versions(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];
		struct kernel_version v;
		struct strbuf why = { 0 };
		enum kernel_verdict verdict;

		strbuf_init(&why);
		kernel_version_parse(&v, r->release, r->version, r->signature);
		verdict = kernel_version_judge(&v, &why);
		if (v.major != r->expected.major || v.minor != r->expected.minor || v.patch != r->expected.patch ||
		    v.has_patch != r->expected.has_patch || verdict != r->verdict)
			fail_msg("%s | %s: %u.%u.%u known %d, verdict %d (%s)", r->release, r->version, v.major,
				 v.minor, v.patch, v.has_patch, verdict, why.ptr);
		assert_int_equal(why.len == 0, verdict == KERNEL_GOOD);
		strbuf_fini(&why);
	}
}

static void test_this_kernel(void **state)
{
	struct kernel_version v;

	(void)state;
	kernel_version_read(&v);
	assert_true(v.major >= 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_this_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
