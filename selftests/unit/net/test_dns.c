/* SPDX-License-Identifier: GPL-2.0-only */
/* test_dns.c - names: literals, /etc/hosts, cancelling, freeing, the bound, and servers that answer or do not. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "net/dns.h"

struct answer {
	unsigned calls, count;
	int status;
	struct addr first, second;
	unsigned ttl_secs;
	bool has_reason;
};

static struct loop *loop;
static struct dns *dns;

static void on_done(void *ctx, const struct dns_result *r)
{
	struct answer *a = ctx;

	a->calls++;
	a->status = r->status;
	a->count = r->count;
	a->ttl_secs = r->ttl_secs;
	a->has_reason = r->reason != NULL;
	if (r->count > 0)
		a->first = r->addrs[0];
	if (r->count > 1)
		a->second = r->addrs[1];
}

static void wait_for(const struct answer *a)
{
	uint64_t until = loop_now_ms(loop) + 15000;

	while (!a->calls) {
		assert_int_equal(loop_turn(loop, 100), 0);
		assert_true(loop_now_ms(loop) < until);
	}
}

static int setup(void **state)
{
	const char *reason = "";

	(void)state;
	if (loop_new(&loop, NULL, &reason) != 0)
		fail_msg("%s", reason);
	assert_int_equal(dns_new(&dns, loop), 0);
	return 0;
}

static int teardown(void **state)
{
	struct loop_gauges gauges;

	(void)state;
	dns_free(dns);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(loop_turn(loop, 1), 0);
	loop_gauges(loop, &gauges);
	assert_int_equal(gauges.ops_inflight, 0);
	loop_free(loop);
	return 0;
}

static void expect_text(const struct addr *a, const char *text)
{
	char buf[ADDR_TEXT_MAX];

	addr_format(a, buf);
	assert_string_equal(buf, text);
}

static void test_an_address_is_its_own_answer(void **state)
{
	struct answer v4 = { 0 }, v6 = { 0 };

	(void)state;
	assert_non_null(dns_resolve(dns, "192.0.2.7", 80, on_done, &v4));
	assert_non_null(dns_resolve(dns, "2001:db8::7", 81, on_done, &v6));
	assert_int_equal(v4.calls + v6.calls, 0); /* never from inside the call */
	wait_for(&v4);
	wait_for(&v6);
	assert_int_equal(v4.count, 1);
	expect_text(&v4.first, "192.0.2.7:80");
	expect_text(&v6.first, "[2001:db8::7]:81");
}

static void test_hosts_file(void **state)
{
	struct answer a = { 0 };

	(void)state;
	assert_non_null(dns_resolve(dns, "localhost", 8080, on_done, &a));
	wait_for(&a);
	assert_int_equal(a.status, 0);
	assert_true(a.count >= 1);
	assert_true(addr_is_loopback(&a.first));
	assert_int_equal(addr_port(&a.first), 8080);
}

static void test_a_bad_name_fails_with_a_reason(void **state)
{
	struct answer a = { 0 };
	char label[80];

	(void)state;
	memset(label, 'a', 70); /* a label has at most 63 */
	memcpy(label + 70, ".test", 6);
	assert_non_null(dns_resolve(dns, label, 1, on_done, &a));
	wait_for(&a);
	assert_true(a.status < 0);
	assert_true(a.has_reason);
	assert_int_equal(a.count, 0);
}

static void test_cancelled_is_not_heard(void **state)
{
	struct answer a = { 0 }, b = { 0 };
	struct dns_query *q = dns_resolve(dns, "localhost", 1, on_done, &a);

	(void)state;
	assert_non_null(q);
	dns_cancel(q);
	assert_non_null(dns_resolve(dns, "localhost", 1, on_done, &b));
	wait_for(&b);
	assert_int_equal(a.calls, 0);
}

static void test_more_than_the_bound_is_refused(void **state)
{
	static struct answer answers[1025];
	struct dns_query *first = NULL;

	(void)state;
	for (unsigned i = 0; i < 1024; i++) {
		struct dns_query *q = dns_resolve(dns, "192.0.2.1", 1, on_done, &answers[i]);

		assert_non_null(q);
		first = first ? first : q;
	}
	assert_null(dns_resolve(dns, "192.0.2.1", 1, on_done, &answers[1024]));
	dns_cancel(first);
	assert_non_null(dns_resolve(dns, "192.0.2.1", 1, on_done, &answers[1024]));
	wait_for(&answers[1024]);
	for (unsigned i = 1; i < 1024; i++)
		assert_int_equal(answers[i].calls, 1);
}

/* --- with a server of our own: a resolv.conf of this process's private mount namespace --- */

static int server = -1;

static bool use_own_server(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(53) };
	char path[] = "/tmp/test_dns.XXXXXX";
	static const char conf[] = "nameserver 127.0.0.53\n";
	int fd = mkstemp(path);
	bool ok;

	a.sin_addr.s_addr = htonl(0x7f000035);
	ok = fd >= 0 && write(fd, conf, sizeof(conf) - 1) > 0 && unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 &&
	     mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	     mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0;
	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	if (!ok || system("ip link set lo up 2>/dev/null") != 0)
		return false;
	server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return bind(server, (struct sockaddr *)&a, sizeof(a)) == 0;
}

/* Answer the question in buf: one A record with a time to live of 60 s, or for AAAA one of 30 s, or "no such name". */
static void server_answer(uint8_t *buf, size_t len, const struct sockaddr_in *to, bool knows)
{
	static const uint8_t v4[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 9 };
	static const uint8_t v6[] = { 0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 30, 0, 16, 0x20, 0x01, 0x0d, 0xb8,
				      0,    0,	0, 0,  0, 0, 0, 0, 0, 0,  0, 9 };
	size_t question = 12;
	bool is_v6;

	while (question < len && buf[question])
		question += buf[question] + 1U;
	is_v6 = buf[question + 2] == 28;
	len = question + 5;
	buf[2] = 0x84;
	buf[3] = knows ? 0 : 3;
	buf[7] = knows;
	memset(buf + 8, 0, 4); /* no EDNS in the answer */
	if (knows) {
		memcpy(buf + len, is_v6 ? v6 : v4, is_v6 ? sizeof(v6) : sizeof(v4));
		len += is_v6 ? sizeof(v6) : sizeof(v4);
	}
	assert_int_equal(sendto(server, buf, len, 0, (const struct sockaddr *)to, sizeof(*to)), (int)len);
}

static unsigned serve(const struct answer *a, bool knows)
{
	uint64_t until = loop_now_ms(loop) + 15000;
	unsigned questions = 0;

	while (!a->calls && loop_now_ms(loop) < until) {
		uint8_t buf[1024];
		struct sockaddr_in from;
		socklen_t from_len = sizeof(from);
		ssize_t n;

		assert_int_equal(loop_turn(loop, 10), 0);
		while ((n = recvfrom(server, buf, 512, 0, (struct sockaddr *)&from, &from_len)) > 0) {
			questions++;
			server_answer(buf, (size_t)n, &from, knows);
		}
	}
	return questions;
}

static void test_a_server_answers_both_families(void **state)
{
	struct answer a = { 0 };

	(void)state;
	if (server < 0)
		skip();
	assert_non_null(dns_resolve(dns, "origin.example.", 443, on_done, &a));
	assert_true(serve(&a, true) >= 2);
	assert_int_equal(a.calls, 1);
	assert_int_equal(a.status, 0);
	assert_int_equal(a.count, 2);
	assert_int_equal(a.ttl_secs, 30);
	assert_int_equal(addr_port(&a.first), 443);
	assert_int_equal(addr_port(&a.second), 443);
	assert_true(a.first.sa.sa_family != a.second.sa.sa_family);
}

static void test_no_such_name(void **state)
{
	struct answer a = { 0 };

	(void)state;
	if (server < 0)
		skip();
	assert_non_null(dns_resolve(dns, "nobody.example.", 443, on_done, &a));
	serve(&a, false);
	assert_int_equal(a.calls, 1);
	assert_int_equal(a.status, -ENOENT);
	assert_true(a.has_reason);
}

static void test_freed_while_a_server_is_silent(void **state)
{
	struct answer a = { 0 }, b = { 0 };
	struct dns_query *q;

	(void)state;
	if (server < 0)
		skip();
	assert_non_null(dns_resolve(dns, "silent.example.", 443, on_done, &a));
	q = dns_resolve(dns, "other.example.", 443, on_done, &b);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(loop_turn(loop, 5), 0);
	dns_cancel(q);
	teardown(NULL); /* polls are in flight */
	assert_int_equal(a.calls + b.calls, 0);
	setup(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_an_address_is_its_own_answer),
		TEST(test_hosts_file),
		TEST(test_a_bad_name_fails_with_a_reason),
		TEST(test_cancelled_is_not_heard),
		TEST(test_more_than_the_bound_is_refused),
		TEST(test_a_server_answers_both_families),
		TEST(test_no_such_name),
		TEST(test_freed_while_a_server_is_silent),
#undef TEST
	};

	if (!use_own_server())
		server = -1; /* not root: the tests that need it say that they were skipped */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
