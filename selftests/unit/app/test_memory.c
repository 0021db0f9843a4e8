/* SPDX-License-Identifier: GPL-2.0-only */
/* test_memory.c - what the kernel says of the memory that we have and may have. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "app/memory.h"
#include "proxy/worker.h"

static void test_the_group_is_found(void **state)
{
	static const struct {
		const char *text, *path, *file;
	} rows[] = {
		{ "0::/\n", "/sys/fs/cgroup/", "memory.max" },
		{ "0::/system.slice/a.service\n", "/sys/fs/cgroup/system.slice/a.service", "memory.max" },
		{ "5:cpu,memory:/a:b\n1:name=x:/x\n0::/\n", "/sys/fs/cgroup/memory/a:b", "memory.limit_in_bytes" },
		{ "2:memory:/c", "/sys/fs/cgroup/memory/c", "memory.limit_in_bytes" },
		{ "4:memory2,cpu:/a\n0::/b\n", "/sys/fs/cgroup/b", "memory.max" },
		{ "1:name=systemd:/x\n", NULL, NULL },
		{ "", NULL, NULL },
		{ ":::\n::\n0::", NULL, NULL },
		{ "memory", NULL, NULL },
	};
	char path[PATH_MAX];
	const char *file;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool is_found = memory_group_find(span_str(rows[i].text), path, &file);

		assert_int_equal(is_found, rows[i].path != NULL);
		if (is_found) {
			assert_string_equal(path, rows[i].path);
			assert_string_equal(file, rows[i].file);
		}
	}
}

static void test_a_path_that_is_too_long_is_none(void **state)
{
	char text[PATH_MAX + 16], path[PATH_MAX];
	const char *file;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "0::/", 4);
	assert_false(memory_group_find(span_of(text, sizeof(text)), path, &file));
}

static void test_the_smaller_mark_counts(void **state)
{
	struct client_limits none = { 0 }, bytes = { .memory_bytes = 700 }, percent = { .memory_percent = 50 };
	struct client_limits both = { .memory_bytes = 700, .memory_percent = 50 };

	(void)state;
	assert_int_equal(memory_mark(&none, 1000), UINT64_MAX);
	assert_int_equal(memory_mark(&bytes, 1000), 700);
	assert_int_equal(memory_mark(&percent, 1000), 500);
	assert_int_equal(memory_mark(&both, 1000), 500);
	assert_int_equal(memory_mark(&both, 10000), 700);
}

#define PIECES	    8192
#define PIECE_BYTES 4096

static void test_the_mark_is_about_what_is_in_use(void **state)
{
	static struct proxy_shared shared;
	static char *pieces[PIECES];
	uint64_t before = memory_resident(), mark = before + PIECES * PIECE_BYTES / 4;
	const struct client_limits limits = { .memory_bytes = mark };

	(void)state;
	assert_true(before > 0 && before < memory_allowed());
	for (unsigned i = 0; i < PIECES; i++) {
		pieces[i] = malloc(PIECE_BYTES);
		memset(pieces[i], 1, PIECE_BYTES);
	}
	assert_true(memory_resident() > mark);
	memory_tick(&shared, &limits);
	assert_true(shared.is_short_of_memory);
	/* The last one keeps the others in the process: the tick gives them back. */
	for (unsigned i = 0; i < PIECES - 1; i++)
		free(pieces[i]);
	memory_tick(&shared, &limits);
	if (mallinfo2().arena > 0) /* a sanitizer's allocator keeps them */
		assert_false(shared.is_short_of_memory);
	free(pieces[PIECES - 1]);
	memory_tick(&shared, &(struct client_limits){ .memory_bytes = 1 });
	assert_true(shared.is_short_of_memory);
	memory_tick(&shared, &(struct client_limits){ 0 });
	assert_false(shared.is_short_of_memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_group_is_found),
		cmocka_unit_test(test_a_path_that_is_too_long_is_none),
		cmocka_unit_test(test_the_smaller_mark_counts),
		cmocka_unit_test(test_the_mark_is_about_what_is_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
