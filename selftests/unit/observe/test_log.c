/* SPDX-License-Identifier: GPL-2.0-only */
/* test_log.c - lines, escaping, limits, losing and reopening. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "observe/log.h"
#include "observe/metrics.h"

struct fixture {
	char folder[32];
	char path[64];
	int fd;
};

static int setup(void **state)
{
	static struct fixture f;

	(void)snprintf(f.folder, sizeof(f.folder), "/tmp/sn-log-XXXXXX");
	if (!mkdtemp(f.folder))
		return -1;
	(void)snprintf(f.path, sizeof(f.path), "%s/log", f.folder);
	f.fd = open(f.path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	*state = &f;
	return f.fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[80];

	log_init(STDERR_FILENO, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	(void)close(f->fd);
	(void)unlink(f->path);
	(void)snprintf(path, sizeof(path), "%s.1", f->path);
	(void)unlink(path);
	return rmdir(f->folder);
}

/* Everything in the file at path, terminated. */
static const char *content(const char *path)
{
	static char text[1 << 20];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	assert_true(n >= 0);
	(void)close(fd);
	text[n] = '\0';
	return text;
}

static void test_text_line_has_time_level_message(void **state)
{
	struct fixture *f = *state;
	const char *text;

	log_init(f->fd, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info("listening on %s:%d", "[::]", 8080);
	log_error("no");
	text = content(f->path);
	assert_int_equal(text[10], 'T');
	assert_int_equal(text[23], 'Z');
	assert_int_equal(strncmp(text + 24, " info  listening on [::]:8080\n", 30), 0);
	assert_string_equal(text + 54 + 24, " error no\n");
}

static void test_json_line_is_json(void **state)
{
	struct fixture *f = *state;

	log_init(f->fd, LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_warn("a \"b\" \\ \n\x1b[31m \xff \xc3\xa4 \xc2\x9b");
	assert_string_equal(content(f->path) + 14 + 24,
			    "\",\"level\":\"warn\",\"message\":\"a \\\"b\\\" \\\\ \\u000a\\u001b[31m "
			    "\xef\xbf\xbd \xc3\xa4 \\u009b\"}\n");
	assert_int_equal(strncmp(content(f->path), "{\"timestamp\":\"2", 15), 0);
}

static void test_text_cannot_be_forged(void **state)
{
	struct fixture *f = *state;

	log_init(f->fd, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_warn("x\n2026 error fake\r\x1b[2J\x7f \xff \xc2\x9b \xc3\xa4");
	assert_string_equal(content(f->path) + 24,
			    " warn  x\\x0a2026 error fake\\x0d\\x1b[2J\\x7f \\xff \\xc2\\x9b \xc3\xa4\n");
}

static unsigned evaluated;

static const char *evaluate(void)
{
	evaluated++;
	return "x";
}

static void test_levels_below_the_minimum_cost_nothing(void **state)
{
	struct fixture *f = *state;

	evaluated = 0;
	log_init(f->fd, LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	log_info("%s", evaluate());
	assert_int_equal(evaluated, 0);
	assert_string_equal(content(f->path), "");
	log_level_set(LOG_LEVEL_DEBUG);
	log_debug("%s", evaluate());
	assert_int_equal(evaluated, 1);
	assert_non_null(strstr(content(f->path), " debug x\n"));
}

static void test_level_names(void **state)
{
	enum log_level level = LOG_LEVEL_ERROR;

	(void)state;
	assert_true(log_level_parse(SPAN("Warn"), &level));
	assert_int_equal(level, LOG_LEVEL_WARN);
	assert_false(log_level_parse(SPAN("loud"), &level));
	assert_false(log_level_parse(SPAN("war"), &level));
	assert_int_equal(level, LOG_LEVEL_WARN);
}

static void assert_cut(struct fixture *f, enum log_format format, const char *filler, const char *end)
{
	static char message[20000];
	const char *text;
	size_t len;

	message[0] = '\0';
	for (len = 0; len + 5 < sizeof(message); len += strlen(filler))
		memcpy(message + len, filler, strlen(filler) + 1);
	assert_int_equal(ftruncate(f->fd, 0), 0);
	log_init(f->fd, LOG_LEVEL_INFO, format);
	log_info("%s", message);
	text = content(f->path);
	len = strlen(text);
	assert_in_range(len, LOG_LINE_MAX - 12, LOG_LINE_MAX);
	assert_string_equal(text + len - strlen(end), end);
	assert_ptr_equal(strchr(text, '\n'), text + len - 1);
}

static void test_long_messages_are_cut_between_characters(void **state)
{
	assert_cut(*state, LOG_FORMAT_TEXT, "x", "x...\n");
	assert_cut(*state, LOG_FORMAT_TEXT, "\n", "\\x0a...\n");
	assert_cut(*state, LOG_FORMAT_TEXT, "\xe2\x82\xac", "\xe2\x82\xac...\n");
	assert_cut(*state, LOG_FORMAT_JSON, "\"", "\\\"...\"}\n");
	assert_cut(*state, LOG_FORMAT_JSON, "\x01", "\\u0001...\"}\n");
}

static void test_errno_survives(void **state)
{
	struct fixture *f = *state;

	log_init(-1, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	errno = E2BIG;
	log_info("lost");
	assert_int_equal(errno, E2BIG);
	log_init(f->fd, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	errno = E2BIG;
	log_info("%m");
	assert_int_equal(errno, E2BIG);
	assert_non_null(strstr(content(f->path), "Argument list too long"));
}

static void test_full_pipe_loses_lines_and_counts(void **state)
{
	uint64_t before = log_lines_dropped();
	struct metrics_shard *shard = metrics_shard_new();
	struct strbuf out = { 0 };
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	log_init(ends[1], LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	alarm(60); /* the test ends here if the log blocks */
	for (unsigned i = 0; i < 5000; i++)
		log_info("%0100u", i);
	alarm(0);
	assert_true(log_lines_dropped() > before);
	log_collect(shard);
	metrics_render(&out);
	assert_non_null(strstr(out.ptr, "sentinel_log_lines_dropped_total{log=\"daemon\"} "));
	strbuf_fini(&out);
	metrics_fini();
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void test_reopen_follows_a_rotation(void **state)
{
	struct fixture *f = *state;
	char rotated[80];

	(void)snprintf(rotated, sizeof(rotated), "%s.1", f->path);
	log_init(f->fd, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info("first");
	assert_int_equal(rename(f->path, rotated), 0);
	log_info("second");
	assert_int_equal(log_reopen(f->path), 0);
	log_info("third");
	assert_non_null(strstr(content(rotated), "second"));
	assert_null(strstr(content(rotated), "third"));
	assert_non_null(strstr(content(f->path), "third"));
}

static void test_failed_reopen_stays(void **state)
{
	struct fixture *f = *state;

	log_init(f->fd, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	assert_int_equal(log_reopen("/proc/no/such/file"), -ENOENT);
	log_info("still here");
	assert_non_null(strstr(content(f->path), "still here"));
}

static void test_limit_lets_one_through_and_counts_the_rest(void **state)
{
	struct log_limit l = { .interval_ns = 1000 };

	(void)state;
	assert_true(log_every(&l, 5));
	for (uint64_t now = 5; now < 1005; now++)
		assert_false(log_every(&l, now));
	assert_true(log_every(&l, 1005));
	assert_int_equal(log_limit_suppressed(&l), 1000);
	assert_int_equal(log_limit_suppressed(&l), 0);
}

#define THREADS 4
#define LINES	300

static struct log_limit shared_limit = { .interval_ns = UINT64_MAX / 2 };
static _Atomic unsigned let_through;

static void *log_many(void *arg)
{
	struct fixture *f = arg;

	for (unsigned i = 0; i < LINES; i++) {
		log_info("thread line %u end", i);
		if (log_every(&shared_limit, 1))
			let_through++;
	}
	(void)f;
	return NULL;
}

static void test_threads_do_not_mix_lines(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[THREADS];
	unsigned lines = 0;
	struct span rest, line;

	log_init(f->fd, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, log_many, f), 0);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(log_reopen(f->path), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	rest = span_str(content(f->path));
	while (span_next(&rest, '\n', &line) && line.len) {
		assert_int_equal(line.ptr[23], 'Z');
		assert_true(span_ends(line, SPAN(" end")));
		lines++;
	}
	assert_int_equal(lines, THREADS * LINES);
	assert_int_equal(let_through, 1);
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_text_line_has_time_level_message),
		test(test_json_line_is_json),
		test(test_text_cannot_be_forged),
		test(test_levels_below_the_minimum_cost_nothing),
		test(test_level_names),
		test(test_long_messages_are_cut_between_characters),
		test(test_errno_survives),
		test(test_full_pipe_loses_lines_and_counts),
		test(test_reopen_follows_a_rotation),
		test(test_failed_reopen_stays),
		test(test_limit_lets_one_through_and_counts_the_rest),
		test(test_threads_do_not_mix_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
