/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tcp_memory.c - what the kernel says of TCP's memory, read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fastpath/tcp_memory.h"

static void test_used_pages(void **state)
{
	(void)state;
	assert_int_equal(tcp_memory_used("sockets: used 18\n"
					 "TCP: inuse 1 orphan 0 tw 2551 alloc 1 mem 7949\n"
					 "UDP: inuse 0 mem 3\n"),
			 7949);
	assert_int_equal(tcp_memory_used("TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 0\n"), 0);
	/* Another protocol's, none, no number. */
	assert_int_equal(tcp_memory_used("TCP: inuse 1\nUDP: inuse 0 mem 3\n"), -1);
	assert_int_equal(tcp_memory_used("UDP: inuse 0 mem 3\n"), -1);
	assert_int_equal(tcp_memory_used("TCP: inuse 1 mem much\n"), -1);
	assert_int_equal(tcp_memory_used(""), -1);
}

static void test_low_mark(void **state)
{
	(void)state;
	assert_int_equal(tcp_memory_low("287901\t383868\t575802\n"), 287901);
	assert_int_equal(tcp_memory_low("0 0 0"), 0);
	assert_int_equal(tcp_memory_low("-1 0 0"), -1);
	assert_int_equal(tcp_memory_low(""), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_used_pages),
		cmocka_unit_test(test_low_mark),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
