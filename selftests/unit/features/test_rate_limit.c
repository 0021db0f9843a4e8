/* SPDX-License-Identifier: GPL-2.0-only */
/* test_rate_limit.c - the filter `rate-limit` on exchanges without sockets: keys, tokens that go back, its cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdlib.h>

#include "features/rate_limit.h"
#include "proxy/filter.h"
#include "proxy/rate_report.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"

extern const struct filter filter_rate_limit;

struct fixture {
	struct loop *loop;
	struct proxy_worker worker;
	struct limits limits;
	struct arena arena; /* of the configuration */
	struct pin pin;
	void *worker_states[4];
	struct filter_use uses[4];
	unsigned use_count;
	struct route route;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct loop_config config = { .entries = 8, .buffer_count = { 8, 8 } };
	const char *reason;

	assert_int_equal(loop_new(&f->loop, &config, &reason), 0);
	f->worker.loop = f->loop;
	f->worker.metrics = metrics_shard_new();
	limits_init(&f->limits);
	arena_init(&f->arena, 4096);
	arena_init(&f->pin.arena, 4096);
	f->pin.filter_states = f->worker_states;
	f->route.id = "r";
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	arena_fini(&f->arena);
	arena_fini(&f->pin.arena);
	limits_fini(&f->limits);
	loop_free(f->loop);
	metrics_fini();
	free(f);
	return 0;
}

static struct config_rate_limit *use_add(struct fixture *f, const char *id, enum rate_key kind, uint64_t rps,
					 uint32_t burst)
{
	const struct filter_opening opening = { &f->limits, &f->arena, id, "r" };
	unsigned n = f->use_count++;
	struct config_rate_limit *c;
	struct diag d;

	diag_init(&d, NULL);
	c = rate_limit_simple(&f->arena, &d, (struct schema_pos){ 0 }, rps, kind);
	diag_fini(&d);
	c->burst = burst;
	assert_true(gcra_set(&c->gcra, rps, 1000, burst));
	f->uses[n] = (struct filter_use){ &filter_rate_limit, .id = id, .config = c, .slot = n, .index = n };
	f->uses[n].object = filter_rate_limit.open(&opening, c);
	f->worker_states[n] = arena_zalloc(&f->pin.arena, filter_rate_limit.worker_size);
	return c;
}

static struct limit *limit_of(struct fixture *f, unsigned n)
{
	return ((struct rate_object *)f->uses[n].object)->limit;
}

static void not_run(struct task *t)
{
	(void)t;
}

static struct exchange *exchange_make(struct fixture *f, struct arena *a, const char *ip)
{
	struct exchange *x = arena_zalloc(a, sizeof(*x));

	x->tag = TAG('x', 'c', 'h', 'g');
	x->arena = a;
	x->worker = &f->worker;
	x->resume_task.run = not_run;
	x->pin = &f->pin;
	x->route = &f->route;
	x->route_id = "r";
	x->path = SPAN("/some/path");
	x->request = arena_zalloc(a, sizeof(*x->request));
	headers_init(&x->request->headers, a);
	headers_init(&x->response.headers, a);
	x->filter_states = arena_array(a, f->use_count, sizeof(void *));
	for (unsigned i = 0; i < f->use_count; i++)
		x->filter_states[i] = arena_zalloc(a, filter_rate_limit.state_size);
	assert_int_equal(addr_parse_ip(span_str(ip), &x->client_addr), 0);
	x->client_ip = span_str(ip);
	return x;
}

static enum filter_verdict ask(struct fixture *f, struct exchange *x)
{
	for (unsigned i = 0; i < f->use_count; i++) {
		enum filter_verdict v = filter_rate_limit.on_request(x, &f->uses[i]);

		if (v != FILTER_NEXT)
			return v;
	}
	return FILTER_NEXT;
}

static enum filter_verdict ask_once(struct fixture *f, const char *ip)
{
	struct arena a;
	struct exchange *x;
	enum filter_verdict v;

	arena_init(&a, 4096);
	x = exchange_make(f, &a, ip);
	v = ask(f, x);
	loop_undefer(f->loop, &x->resume_task); /* nobody runs it */
	arena_fini(&a);
	return v;
}

static void test_refusal_has_status_and_text_of_the_file(void **state)
{
	struct fixture *f = *state;
	struct config_rate_limit *c = use_add(f, "l", RATE_KEY_CLIENT_IP, 1, 1);
	struct arena a;
	struct exchange *x;

	c->status = 420;
	c->message = "calm";
	assert_int_equal(ask_once(f, "192.0.2.1"), FILTER_NEXT);
	arena_init(&a, 4096);
	x = exchange_make(f, &a, "192.0.2.1");
	assert_int_equal(ask(f, x), FILTER_FAIL);
	assert_int_equal(x->failure, FAIL_RATE_LIMITED);
	assert_int_equal(x->failure_status, 420);
	assert_string_equal(x->failure_text, "calm");
	assert_true(x->rate_report->is_refused && x->rate_report->remaining == 0);
	assert_true(x->rate_report->wait_ns > 0 && x->rate_report->wait_ns <= 1000000000);
	loop_undefer(f->loop, &x->resume_task);
	arena_fini(&a);
}

/* The first limit is everybody's: whom the second refuses again and again takes nothing of it. */
static void test_tokens_of_a_refused_request_go_back(void **state)
{
	struct fixture *f = *state;
	struct limit_decision d;

	use_add(f, "all", RATE_KEY_NONE, 1, 10);
	use_add(f, "one", RATE_KEY_CLIENT_IP, 1, 1);
	assert_int_equal(ask_once(f, "192.0.2.1"), FILTER_NEXT);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(ask_once(f, "192.0.2.1"), FILTER_FAIL);
	for (unsigned i = 2; i < 11; i++) {
		char ip[32];

		(void)snprintf(ip, sizeof(ip), "192.0.2.%u", i);
		assert_int_equal(ask_once(f, ip), FILTER_NEXT);
	}
	assert_int_equal(ask_once(f, "192.0.2.99"), FILTER_FAIL);
	limit_peek(limit_of(f, 1), limit_key_begin(limit_of(f, 1)), loop_now_ns(f->loop), &d);
	assert_true(d.is_shared); /* a limit that was not asked knows no key */
}

static void test_ipv6_prefix_of_any_length(void **state)
{
	struct fixture *f = *state;
	struct config_rate_limit *c = use_add(f, "l", RATE_KEY_CLIENT_IP, 1, 1);
	struct arena a;

	arena_init(&a, 4096);
	for (unsigned bits = 1; bits <= 128; bits++) {
		struct exchange *x = exchange_make(f, &a, "2001:db8:5555:aaaa:1234:5678:9abc:def0");
		struct exchange *y = exchange_make(f, &a, "2001:db8:5555:aaaa:1234:5678:9abc:def0");
		uint8_t *ip = y->client_addr.in6.sin6_addr.s6_addr;
		struct limit_key one = limit_key_begin(limit_of(f, 0)), two = one, three = one;

		c->ipv6_prefix = bits;
		rate_key_add(&one, x, c);
		if (bits < 128) {
			ip[bits / 8] ^= (uint8_t)(0x80 >> bits % 8); /* the first bit behind it does not count */
			rate_key_add(&two, y, c);
			assert_memory_equal(&one, &two, sizeof(one));
		}
		ip[(bits - 1) / 8] ^= (uint8_t)(0x80 >> (bits - 1) % 8); /* its last one does */
		rate_key_add(&three, y, c);
		assert_memory_not_equal(&one, &three, sizeof(one));
	}
	arena_fini(&a);
}

static struct limit_key key_of(struct fixture *f, struct arena *a, const char *ip)
{
	struct exchange *x = exchange_make(f, a, "2001:db8::");
	struct limit_key key = limit_key_begin(limit_of(f, 0));

	assert_int_equal(inet_pton(AF_INET6, ip, &x->client_addr.in6.sin6_addr), 1);
	rate_key_add(&key, x, f->uses[0].config);
	return key;
}

/* A listener for both families tells of IPv4 clients as ::ffff:a.b.c.d. */
static void test_one_key_for_both_forms_of_an_ipv4_client(void **state)
{
	static const char *const others[] = { "0:ffff:c000:201::", "::c000:201", "0:0:0:1:0:ffff:c000:201",
					      "::fffe:c000:201", "c000:201::" };
	struct fixture *f = *state;
	struct config_rate_limit *c = use_add(f, "l", RATE_KEY_CLIENT_IP, 1, 1);
	struct limit_key plain = limit_key_begin(limit_of(f, 0)), key;
	struct arena a;

	arena_init(&a, 4096);
	for (unsigned bits = 1; bits <= 128; bits++) {
		c->ipv6_prefix = bits;
		plain = limit_key_begin(limit_of(f, 0));
		rate_key_add(&plain, exchange_make(f, &a, "192.0.2.1"), c);
		key = key_of(f, &a, "::ffff:192.0.2.1");
		assert_memory_equal(&key, &plain, sizeof(key));
		for (size_t i = 0; i < ARRAY_LEN(others); i++) {
			key = key_of(f, &a, others[i]);
			assert_memory_not_equal(&key, &plain, sizeof(key));
		}
	}
	arena_fini(&a);
}

#define ROUNDS 10000

/* Under callgrind: what a request costs more. */
static void test_cost_of_a_request(void **state)
{
	struct fixture *f = *state;
	struct arena a;

	use_add(f, "l", RATE_KEY_CLIENT_IP, 1000000, 1000000);
	arena_init(&a, 16384);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct exchange *x = exchange_make(f, &a, "192.0.2.1");

		headers_add(&x->response.headers, TOKEN_SERVER, SPAN("nginx/1.22.1"));
		headers_add(&x->response.headers, TOKEN_DATE, SPAN("Thu, 26 Nov 2026 08:00:00 GMT"));
		headers_add(&x->response.headers, TOKEN_CONTENT_TYPE, SPAN("text/html"));
		headers_add(&x->response.headers, TOKEN_LAST_MODIFIED, SPAN("Thu, 26 Nov 2026 08:00:00 GMT"));
		headers_add(&x->response.headers, TOKEN_ETAG, SPAN("\"abc-def\""));
		assert_int_equal(ask(f, x), FILTER_NEXT);
		assert_int_equal(filter_rate_limit.on_response(x, &f->uses[0]), FILTER_NEXT);
		filter_rate_limit.on_done(x, &f->uses[0]);
		assert_int_equal(x->response.headers.count, 11);
		arena_reset(&a);
	}
	arena_fini(&a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_refusal_has_status_and_text_of_the_file),
		TEST(test_tokens_of_a_refused_request_go_back),
		TEST(test_ipv6_prefix_of_any_length),
		TEST(test_one_key_for_both_forms_of_an_ipv4_client),
		TEST(test_cost_of_a_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
