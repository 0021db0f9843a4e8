/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_kernel_tunnels.c - what is said and done when the kernel cannot have tunnels, and when it can.  Maps, version
 * and self-test are fakes of this file, so it takes no rights and no certain kernel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "app/kernel_tunnels.h"
#include "base/check.h"
#include "fastpath/kernel_version.h"
#include "fastpath/offload.h"
#include "fastpath/offload_selftest.h"
#include "observe/log.h"
#include "proxy/config.h"
#include "proxy/snapshot.h"

/* ---- fakes ---- */

static struct {
	enum kernel_verdict verdict;
	const char *load_error;	 /* NULL: it loads */
	const char *failed_case; /* NULL: it passes */
	unsigned opened, closed, tested, tunnels_per_worker;
} fake;

void kernel_version_parse(struct kernel_version *out, const char *release, const char *version, const char *signature)
{
	(void)release;
	(void)version;
	(void)signature;
	*out = (struct kernel_version){ 0 };
}

void kernel_version_read(struct kernel_version *out)
{
	*out = (struct kernel_version){ 6, 1, 100, true };
}

enum kernel_verdict kernel_version_judge(const struct kernel_version *v, struct strbuf *out_why)
{
	(void)v;
	if (fake.verdict != KERNEL_GOOD)
		strbuf_add_str(out_why, "Linux 6.1.100 is not liked");
	return fake.verdict;
}

struct flows *flows_open(const struct flows_options *o, struct strbuf *out_why)
{
	fake.opened++;
	fake.tunnels_per_worker = o->tunnels_per_worker;
	if (fake.load_error) {
		strbuf_add_str(out_why, fake.load_error);
		return NULL;
	}
	return (struct flows *)&fake;
}

void flows_close(struct flows *f)
{
	fake.closed += f != NULL;
}

void offload_selftest(struct flows *f, struct offload_selftest *out)
{
	assert_ptr_equal(f, &fake);
	fake.tested++;
	*out = (struct offload_selftest){ .failed_case = "", .cases = 7, .took_ns = 48000000 };
	out->has_passed = !fake.failed_case;
	if (fake.failed_case) {
		out->failed_case = fake.failed_case;
		(void)snprintf(out->why, sizeof(out->why), "a wrong byte came");
	}
}

/* No tunnel ever joins here. */
bool flows_can_iterate(const struct flows *f)
{
	(void)f;
	return false;
}

unsigned flows_rows_per_worker(const struct flows *f)
{
	(void)f;
	return 2;
}

struct flow_row flows_row(struct flows *f, uint32_t slot)
{
	(void)f;
	(void)slot;
	fail();
	return (struct flow_row){ 0 };
}

int flows_row_take(struct flows *f, uint32_t slot, uint64_t cookie, uint64_t peer, uint32_t worker)
{
	(void)f;
	(void)slot;
	(void)cookie;
	(void)peer;
	(void)worker;
	return -EIO;
}

void flows_row_drop(struct flows *f, uint64_t cookie)
{
	(void)f;
	(void)cookie;
}

int flows_insert(struct flows *f, uint64_t cookie, int fd)
{
	(void)f;
	(void)cookie;
	(void)fd;
	return -EIO;
}

int flows_delete(struct flows *f, uint64_t cookie)
{
	(void)f;
	(void)cookie;
	return -EIO;
}

int flows_iterator_open(struct flows *f)
{
	(void)f;
	return -EIO;
}

struct flows *flows_get(struct flows *f)
{
	return f;
}

void flows_put(struct flows *f)
{
	(void)f;
}

bool flows_is_shared(const struct flows *f)
{
	(void)f;
	return false;
}

unsigned flows_fds(const struct flows *f, int out_fds[FLOWS_FDS_MAX])
{
	(void)f;
	(void)out_fds;
	fail();
	return 0;
}

struct flows *flows_adopt(unsigned age, const int *fds, unsigned fd_count)
{
	(void)age;
	(void)fds;
	(void)fd_count;
	return NULL;
}

bool flows_are_of(const struct flows *f, int socks_fd)
{
	(void)f;
	(void)socks_fd;
	return false;
}

unsigned flows_age(const struct flows *f)
{
	(void)f;
	return 0;
}

int flows_row_claim(struct flows *f, uint64_t cookie, uint32_t *out_slot)
{
	(void)f;
	(void)cookie;
	(void)out_slot;
	return -ENOENT;
}

void flows_row_unclaim(struct flows *f, uint32_t slot)
{
	(void)f;
	(void)slot;
}

void flows_ring_lead(struct flows *f, uint32_t worker, int ring_fd)
{
	(void)f;
	(void)worker;
	(void)ring_fd;
}

int flows_ring_fd(const struct flows *f, unsigned worker)
{
	(void)f;
	(void)worker;
	return -1; /* no ring: that worker goes without */
}

/* ---- one start ---- */

struct start {
	struct kernel_tunnels *tunnels;
	char log[4096], text[1024], json[2048], metrics[65536];
	bool has_hook;
};

static void log_take(FILE *file, char *out, size_t size)
{
	size_t n;

	rewind(file);
	n = fread(out, 1, size - 1, file);
	out[n] = '\0';
	(void)fclose(file);
	log_init(STDERR_FILENO, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
}

static void shown(struct start *s)
{
	struct metrics_shard *m = metrics_shard_new();
	struct strbuf text = { 0 };
	struct json j;

	strbuf_init(&text);
	kernel_tunnels_text(s->tunnels, &text);
	(void)snprintf(s->text, sizeof(s->text), "%s", text.ptr);
	strbuf_fini(&text);
	strbuf_init(&text);
	json_init(&j, &text, false);
	json_object(&j, NULL);
	kernel_tunnels_json(s->tunnels, &j);
	json_end(&j, '}');
	(void)snprintf(s->json, sizeof(s->json), "%s", text.ptr);
	strbuf_fini(&text);
	strbuf_init(&text);
	kernel_tunnels_collect(s->tunnels, m);
	metrics_render(&text);
	(void)snprintf(s->metrics, sizeof(s->metrics), "%s", text.ptr);
	strbuf_fini(&text);
	metrics_fini();
}

static void start(struct start *s, enum splice_engine kernel, enum splice_engine route)
{
	struct config config = { .kernel.splice = kernel };
	struct upstream upstream = { 0 };
	struct route routes[2] = { { 0 }, { .upstream = &upstream, .splice = route } }; /* the first answers here */
	struct snapshot snapshot = { .config = &config, .routes = routes, .route_count = 2, .max_connections = 10 };
	struct proxy_worker worker = { .index = 0 };
	FILE *file = tmpfile();

	assert_non_null(file);
	log_init(fileno(file), LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	s->tunnels = kernel_tunnels_open(&snapshot, 3);
	assert_null(kernel_tunnels_join(s->tunnels, &worker));
	s->has_hook = worker.offload.join != NULL;
	shown(s);
	config.kernel.splice = SPLICE_ENGINE_AUTO;
	kernel_tunnels_reloaded(s->tunnels, &snapshot);
	kernel_tunnels_reloaded(s->tunnels, &snapshot);
	log_take(file, s->log, sizeof(s->log));
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

#define CONTAINS(text, what)                                      \
	do {                                                      \
		if (!strstr(text, what))                          \
			fail_msg("no \"%s\" in:\n%s", what, text); \
	} while (0)

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	return 0;
}

/* ---- tests ---- */

static void test_a_case_that_failed_is_named_everywhere(void **state)
{
	struct start s;

	(void)state;
	fake.failed_case = "half-read data";
	start(&s, SPLICE_ENGINE_AUTO, SPLICE_ENGINE_COPY);
	assert_int_equal(fake.closed, 1); /* at once: nobody can use it */
	assert_false(s.has_hook);
	assert_int_equal(count(s.log, "\n"), 1);
	CONTAINS(s.log, "warn");
	CONTAINS(s.log, "case \"half-read data\" of the self-test failed: a wrong byte came");
	CONTAINS(s.text, "kernel tunnels off: case \"half-read data\" of the self-test failed: a wrong byte came\n");
	CONTAINS(s.json, "\"available\":false,\"state\":\"self_test\"");
	CONTAINS(s.json, "\"failed_case\":\"half-read data\"");
	CONTAINS(s.metrics, "sentinel_sockmap_available{reason=\"self_test\",case=\"half-read data\"} 0\n");
	CONTAINS(s.metrics, "sentinel_sockmap_selftest_seconds 0.048\n");
	kernel_tunnels_close(s.tunnels);
	assert_int_equal(fake.closed, 1);
}

static void test_a_refused_kernel_is_not_tried(void **state)
{
	struct start s;

	(void)state;
	fake.verdict = KERNEL_REFUSED;
	start(&s, SPLICE_ENGINE_AUTO, SPLICE_ENGINE_AUTO);
	assert_int_equal(fake.opened + fake.tested, 0);
	assert_int_equal(count(s.log, "\n"), 1);
	CONTAINS(s.log, "Linux 6.1.100 is not liked");
	CONTAINS(s.text, "off: Linux 6.1.100 is not liked\n");
	CONTAINS(s.metrics, "sentinel_sockmap_available{reason=\"kernel_version\",case=\"none\"} 0\n");
	kernel_tunnels_close(s.tunnels);
}

static void test_missing_rights_are_no_warning(void **state)
{
	struct start s;

	(void)state;
	fake.load_error = "not permitted: it takes CAP_BPF";
	start(&s, SPLICE_ENGINE_AUTO, SPLICE_ENGINE_AUTO);
	assert_int_equal(fake.tested + fake.closed, 0);
	assert_int_equal(count(s.log, "\n"), 1);
	assert_null(strstr(s.log, "warn"));
	CONTAINS(s.log, "not permitted: it takes CAP_BPF");
	CONTAINS(s.text, "off: not permitted: it takes CAP_BPF\n");
	CONTAINS(s.json, "\"reason\":\"not permitted: it takes CAP_BPF\"");
	CONTAINS(s.metrics, "{reason=\"not_loaded\",case=\"none\"} 0\n");
	kernel_tunnels_close(s.tunnels);
}

static void test_a_file_that_names_it_is_warned(void **state)
{
	struct start s;

	(void)state;
	fake.load_error = "not permitted: it takes CAP_BPF";
	start(&s, SPLICE_ENGINE_AUTO, SPLICE_ENGINE_SOCKMAP); /* by one route; reloads change nothing of that */
	assert_int_equal(count(s.log, "\n"), 1);
	CONTAINS(s.log, "warn");
	CONTAINS(s.log, "not permitted: it takes CAP_BPF");
	kernel_tunnels_close(s.tunnels);
}

static void test_a_doubtful_kernel_that_passes_is_used_with_a_warning(void **state)
{
	struct start s;

	(void)state;
	fake.verdict = KERNEL_DOUBTFUL;
	start(&s, SPLICE_ENGINE_AUTO, SPLICE_ENGINE_AUTO);
	assert_int_equal(fake.opened + fake.tested, 2);
	assert_int_equal(fake.tunnels_per_worker, 10);
	CONTAINS(s.log, "warn");
	CONTAINS(s.log, "Linux 6.1.100 is not liked; the self-test passed, so it is used");
	CONTAINS(s.log, "worker 0 goes without"); /* a ring that cannot be had is that worker's loss only */
	CONTAINS(s.text, "kernel tunnels on (self-test 7 cases, 48 ms), 0 tunnels in the kernel\n");
	CONTAINS(s.text, "              Linux 6.1.100 is not liked\n");
	CONTAINS(s.json, "\"available\":true,\"state\":\"on\",\"reason\":null");
	CONTAINS(s.json, "\"doubt\":\"Linux 6.1.100 is not liked\"");
	CONTAINS(s.metrics, "sentinel_sockmap_available{reason=\"on\",case=\"none\"} 1\n");
	kernel_tunnels_close(s.tunnels);
	assert_int_equal(fake.closed, 1);
}

static void test_a_file_that_excludes_it_loads_nothing(void **state)
{
	struct start s;

	(void)state;
	start(&s, SPLICE_ENGINE_SPLICE, SPLICE_ENGINE_COPY);
	assert_int_equal(fake.opened + fake.tested, 0);
	CONTAINS(s.metrics, "{reason=\"excluded\",case=\"none\"} 0\n");
	CONTAINS(s.text, "off: no `splice` of the file asks for it\n");
	/* two reloads that ask for it: said once, and in the status from then on */
	assert_int_equal(count(s.log, "\n"), 1);
	CONTAINS(s.log, "takes effect at the next start");
	shown(&s);
	CONTAINS(s.text, "from the next start on\n");
	kernel_tunnels_close(s.tunnels);

	setup(NULL);
	start(&s, SPLICE_ENGINE_COPY, SPLICE_ENGINE_AUTO); /* one route is enough */
	assert_int_equal(fake.opened + fake.tested, 2);
	kernel_tunnels_close(s.tunnels);
}

static bool may_move(const struct kernel_tunnels *k, uint32_t theirs, char why[256])
{
	struct strbuf text = { 0 };
	bool may;

	strbuf_init(&text);
	may = kernel_tunnels_may_move(k, theirs, &text);
	(void)snprintf(why, 256, "%s", text.len ? text.ptr : "");
	strbuf_fini(&text);
	return may;
}

/* To a process that says which version of the kernel's programs it knows, or that it has none. */
static void test_tunnels_move_as_they_are_between_equal_versions(void **state)
{
	struct start s;
	char why[256];

	(void)state;
	start(&s, SPLICE_ENGINE_AUTO, SPLICE_ENGINE_AUTO);
	assert_true(may_move(s.tunnels, SN_ABI_VERSION, why));
	assert_string_equal(why, "");
	assert_false(may_move(s.tunnels, SN_ABI_VERSION + 1, why));
	CONTAINS(why, "its kernel programs are of version");
	assert_false(may_move(s.tunnels, SN_ABI_VERSION - 1, why));
	assert_false(may_move(s.tunnels, 0, why));
	CONTAINS(why, "it takes none in the kernel");
	/* no worker has joined it: it has no ring here */
	assert_int_equal(kernel_tunnels_abi(s.tunnels), 0);
	kernel_tunnels_close(s.tunnels);

	/* where there are none, there is nothing to say */
	setup(NULL);
	start(&s, SPLICE_ENGINE_COPY, SPLICE_ENGINE_COPY);
	assert_false(may_move(s.tunnels, 0, why));
	assert_string_equal(why, "");
	assert_int_equal(kernel_tunnels_abi(s.tunnels), 0);
	kernel_tunnels_close(s.tunnels);
}

/* Descriptors that are no maps; and of more processes than may have had them. */
static void test_what_cannot_be_inherited_is_closed_and_refused(void **state)
{
	struct offload_parcel p = { .age = OFFLOAD_AGE_MAX + 1 };
	int fds[5];
	struct start s;

	(void)state;
	start(&s, SPLICE_ENGINE_AUTO, SPLICE_ENGINE_AUTO);
	for (unsigned i = 0; i < 5; i++)
		fds[i] = dup(STDERR_FILENO);
	assert_null(kernel_tunnels_inherit(s.tunnels, &p, fds, 5));
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(close(fds[i]), -1);
	p.age = 1;
	assert_null(kernel_tunnels_inherit(s.tunnels, &p, fds, 5));
	kernel_tunnels_tick(s.tunnels);
	kernel_tunnels_close(s.tunnels);
}

static void test_shares_fit_into_the_maps(void **state)
{
	static const uint64_t connections[] = { 1, 10, 10000, SN_FLOWS_MAX, 1000000, UINT64_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(connections); i++) {
		for (unsigned workers = 1; workers <= SN_SPLICE_WORKERS_MAX; workers++) {
			unsigned share = kernel_tunnels_share(connections[i], workers);

			assert_true(share >= 1);
			assert_true(2 * share * workers <= SN_FLOWS_MAX);
			/* one worker may get all connections, so less is right only where the maps end */
			assert_true(share >= connections[i] || 2 * (share + 1) * workers > SN_FLOWS_MAX);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_case_that_failed_is_named_everywhere, setup),
		cmocka_unit_test_setup(test_a_refused_kernel_is_not_tried, setup),
		cmocka_unit_test_setup(test_missing_rights_are_no_warning, setup),
		cmocka_unit_test_setup(test_a_file_that_names_it_is_warned, setup),
		cmocka_unit_test_setup(test_a_doubtful_kernel_that_passes_is_used_with_a_warning, setup),
		cmocka_unit_test_setup(test_a_file_that_excludes_it_loads_nothing, setup),
		cmocka_unit_test_setup(test_tunnels_move_as_they_are_between_equal_versions, setup),
		cmocka_unit_test_setup(test_what_cannot_be_inherited_is_closed_and_refused, setup),
		cmocka_unit_test_setup(test_shares_fit_into_the_maps, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
