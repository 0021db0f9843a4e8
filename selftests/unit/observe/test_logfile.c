/* SPDX-License-Identifier: GPL-2.0-only */
/* test_logfile.c - buffering, the one second, rotation, full disks and slow readers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "observe/logfile.h"
#include "observe/metrics.h"

#define S 1000000000ull

static char folder[32];
static char path[64];
static char rotated[64];

static int setup(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof(folder), "/tmp/sn-file-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/access.log", folder);
	(void)snprintf(rotated, sizeof(rotated), "%s/access.log.1", folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	(void)unlink(rotated);
	return rmdir(folder);
}

static const char *content(const char *name)
{
	static char text[1 << 20];
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	assert_true(n >= 0);
	(void)close(fd);
	text[n] = '\0';
	return text;
}

static void test_lines_wait_for_at_most_a_second(void **state)
{
	struct logfile f;

	(void)state;
	assert_int_equal(logfile_open(&f, path, LOGFILE_BUFFER_BYTES), 0);
	assert_int_equal(logfile_flush_due(&f, 100 * S), 0);
	assert_int_equal(logfile_write(&f, SPAN("one"), 5 * S), 0);
	assert_int_equal(logfile_write(&f, SPAN("two"), 5 * S + S / 2), 0);
	assert_int_equal(logfile_flush_due(&f, 6 * S - 1), 0);
	assert_string_equal(content(path), "");
	assert_int_equal(logfile_flush_due(&f, 6 * S), 0);
	assert_string_equal(content(path), "one\ntwo\n");
	assert_int_equal(logfile_write(&f, SPAN(""), 7 * S), 0);
	logfile_close(&f);
	assert_string_equal(content(path), "one\ntwo\n\n");
	logfile_close(&f);
	logfile_close(NULL);
}

static void test_full_buffer_is_written_in_whole_lines(void **state)
{
	struct logfile f;
	char line[100];
	const char *text;

	(void)state;
	memset(line, 'x', sizeof(line));
	assert_int_equal(logfile_open(&f, path, LOGFILE_BUFFER_BYTES_MIN), 0);
	for (unsigned i = 0; i < 11; i++)
		assert_int_equal(logfile_write(&f, span_of(line, 100), S), 0);
	text = content(path);
	assert_int_equal(strlen(text), 1010);
	assert_int_equal(text[1009], '\n');
	logfile_close(&f);
	assert_int_equal(strlen(content(path)), 1111);
}

static void test_exact_fit_and_longer_than_the_buffer(void **state)
{
	static char line[5000];
	struct logfile f;

	(void)state;
	memset(line, 'x', sizeof(line));
	assert_int_equal(logfile_open(&f, path, LOGFILE_BUFFER_BYTES_MIN), 0);
	assert_int_equal(logfile_write(&f, span_of(line, LOGFILE_BUFFER_BYTES_MIN - 1), S), 0);
	assert_int_equal(strlen(content(path)), 0);
	assert_int_equal(logfile_write(&f, span_of(line, LOGFILE_BUFFER_BYTES_MIN), S), 0);
	assert_int_equal(strlen(content(path)), 2 * LOGFILE_BUFFER_BYTES_MIN + 1);
	assert_int_equal(logfile_write(&f, span_of(line, sizeof(line)), S), 0);
	assert_int_equal(f.used, 0);
	logfile_close(&f);
	assert_int_equal(strlen(content(path)), 2 * LOGFILE_BUFFER_BYTES_MIN + 1 + 5001);
}

static void test_open_creates_folders_and_appends(void **state)
{
	char deep[96];
	struct logfile f;
	struct stat st;

	(void)state;
	(void)snprintf(deep, sizeof(deep), "%s/a/b/log", folder);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(logfile_open(&f, deep, LOGFILE_BUFFER_BYTES), 0);
		assert_int_equal(logfile_write(&f, SPAN("x"), S), 0);
		logfile_close(&f);
	}
	assert_string_equal(content(deep), "x\nx\n");
	assert_int_equal(stat(deep, &st), 0);
	assert_int_equal(st.st_mode & 07, 0);
	(void)unlink(deep);
	deep[strlen(folder) + 4] = '\0';
	(void)rmdir(deep);
	deep[strlen(folder) + 2] = '\0';
	(void)rmdir(deep);
}

static void test_open_refuses_what_it_cannot_do(void **state)
{
	struct logfile f;

	(void)state;
	assert_int_equal(logfile_open(&f, "", LOGFILE_BUFFER_BYTES), -EINVAL);
	assert_int_equal(logfile_open(&f, path, LOGFILE_BUFFER_BYTES_MIN - 1), -EINVAL);
	assert_int_equal(logfile_open(&f, path, LOGFILE_BUFFER_BYTES_MAX + 1), -EINVAL);
	assert_int_equal(logfile_open(&f, folder, LOGFILE_BUFFER_BYTES), -EISDIR);
	assert_int_equal(logfile_open(&f, "/dev/null/x", LOGFILE_BUFFER_BYTES), -ENOTDIR);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(logfile_open(&f, path, LOGFILE_BUFFER_BYTES), -ENXIO);
	logfile_close(&f);
}

static void test_reopen_follows_a_rotation(void **state)
{
	struct logfile f, other;

	(void)state;
	assert_int_equal(logfile_open(&f, path, LOGFILE_BUFFER_BYTES), 0);
	assert_int_equal(logfile_open(&other, path, LOGFILE_BUFFER_BYTES), 0);
	assert_int_equal(logfile_write(&f, SPAN("before"), S), 0);
	assert_int_equal(rename(path, rotated), 0);
	logfile_reopen_all();
	assert_int_equal(logfile_flush_due(&f, S), 0);
	assert_int_equal(logfile_write(&f, SPAN("after"), S), 0);
	assert_int_equal(logfile_write(&other, SPAN("other"), S), 0);
	logfile_close(&f);
	logfile_close(&other);
	assert_string_equal(content(rotated), "before\n");
	assert_string_equal(content(path), "after\nother\n");
}

static void test_failed_reopen_keeps_the_old_file_and_is_told_once(void **state)
{
	struct logfile f;

	(void)state;
	assert_int_equal(logfile_open(&f, path, LOGFILE_BUFFER_BYTES), 0);
	assert_int_equal(rename(path, rotated), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	logfile_reopen_all();
	assert_int_equal(logfile_write(&f, SPAN("x"), S), -EISDIR);
	assert_int_equal(logfile_flush_due(&f, S), 0);
	assert_int_equal(rmdir(path), 0);
	logfile_close(&f);
	assert_string_equal(content(rotated), "x\n");
}

/* A limit on the size of files stands for a full disk: a short write, then an error. */
static void test_full_disk_drops_counts_and_recovers(void **state)
{
	struct metrics_shard *shard = metrics_shard_new();
	struct metric_cell *cell = metric_cell(shard, METRIC_LOG_LINES_DROPPED_TOTAL, &SPAN("access"));
	struct rlimit before, small;
	struct logfile f;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){ .rlim_cur = 10, .rlim_max = before.rlim_max };
	assert_int_equal(logfile_open(&f, path, LOGFILE_BUFFER_BYTES), 0);
	logfile_count_drops(&f, cell);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	logfile_write(&f, SPAN("12345"), S);
	logfile_write(&f, SPAN("67890"), S);
	logfile_write(&f, SPAN("abcde"), S);
	assert_int_equal(logfile_flush(&f), -EFBIG);
	assert_int_equal(f.lines_dropped, 2);
	logfile_write(&f, SPAN("again"), S);
	assert_int_equal(logfile_flush(&f), 0); /* still failing, already told */
	assert_int_equal(f.lines_dropped, 3);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	logfile_write(&f, SPAN("room"), S);
	assert_int_equal(logfile_flush(&f), 0);
	assert_int_equal(f.lines_dropped, 3);
	assert_int_equal(cell->value, 3);
	/* The half line is ended, so that the next one is whole. */
	assert_string_equal(content(path), "12345\n6789\nroom\n");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	logfile_write(&f, SPAN("x"), S);
	assert_int_equal(logfile_flush(&f), -EFBIG); /* news again */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	logfile_close(&f);
	metrics_fini();
}

static void test_slow_reader_of_a_pipe_costs_lines_not_time(void **state)
{
	static char text[1 << 20];
	char line[200];
	struct logfile f;
	size_t used = 0;
	int reader;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(logfile_open(&f, path, 3 * PIPE_BUF), 0);
	memset(line, 'x', sizeof(line));
	alarm(60);
	for (unsigned i = 0; i < 1000; i++)
		logfile_write(&f, span_of(line, sizeof(line)), S);
	(void)logfile_flush(&f);
	alarm(0);
	assert_in_range(f.lines_dropped, 1, 999);
	for (ssize_t n; (n = read(reader, text + used, sizeof(text) - used)) > 0;)
		used += (size_t)n;
	/* What came through is whole lines. */
	assert_int_equal(used, (1000 - f.lines_dropped) * 201);
	for (size_t i = 200; i < used; i += 201)
		assert_int_equal(text[i], '\n');
	logfile_close(&f);
	(void)close(reader);
}

#define THREADS 4
#define LINES	2000

static void *write_many(void *arg)
{
	char line[64];
	struct logfile f;

	CHECK(logfile_open(&f, path, LOGFILE_BUFFER_BYTES_MIN) == 0);
	memset(line, 'a' + (int)(intptr_t)arg, sizeof(line));
	for (unsigned i = 0; i < LINES; i++) {
		(void)logfile_write(&f, span_of(line, 1 + i % sizeof(line)), S);
		if (i % 500 == 0)
			logfile_reopen_all();
	}
	logfile_close(&f);
	return NULL;
}

static void test_workers_share_a_file_without_mixing_lines(void **state)
{
	pthread_t threads[THREADS];
	struct span rest, line;
	unsigned lines = 0;

	(void)state;
	for (intptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	rest = span_str(content(path));
	while (span_next(&rest, '\n', &line) && line.len) {
		for (size_t i = 1; i < line.len; i++)
			assert_int_equal(line.ptr[i], line.ptr[0]);
		lines++;
	}
	assert_int_equal(lines, THREADS * LINES);
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_lines_wait_for_at_most_a_second),
		test(test_full_buffer_is_written_in_whole_lines),
		test(test_exact_fit_and_longer_than_the_buffer),
		test(test_open_creates_folders_and_appends),
		test(test_open_refuses_what_it_cannot_do),
		test(test_reopen_follows_a_rotation),
		test(test_failed_reopen_keeps_the_old_file_and_is_told_once),
		test(test_full_disk_drops_counts_and_recovers),
		test(test_slow_reader_of_a_pipe_costs_lines_not_time),
		test(test_workers_share_a_file_without_mixing_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
