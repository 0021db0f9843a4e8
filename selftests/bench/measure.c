/* SPDX-License-Identifier: GPL-2.0-only */
/* measure.c - the clock, the latency histogram and the CPU time of processes for the load generators. */
#include "bench/measure.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
	PIDS_MAX = 64,
	OCTAVE_BUCKETS = 64, /* of the histogram: 1.6 % wide */
	HISTOGRAM_BUCKETS = 40 * OCTAVE_BUCKETS,
};

struct measure measure;
static uint64_t buckets[HISTOGRAM_BUCKETS];
static int watched[PIDS_MAX];
static int watched_count;

int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static unsigned bucket_of(int64_t ns)
{
	uint64_t value = ns < 1 ? 1 : (uint64_t)ns;
	unsigned octave = 63 - (unsigned)__builtin_clzll(value);
	uint64_t fraction = octave >= 6 ? (value >> (octave - 6)) & 63 : (value << (6 - octave)) & 63;
	unsigned index = octave * OCTAVE_BUCKETS + (unsigned)fraction;

	return index < HISTOGRAM_BUCKETS ? index : HISTOGRAM_BUCKETS - 1;
}

static double percentile_us(double share)
{
	uint64_t target = (uint64_t)ceil(share * (double)measure.operations), seen = 0;
	unsigned i;

	for (i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += buckets[i];
		if (seen >= target && seen)
			return ldexp(1 + (i % OCTAVE_BUCKETS + 0.5) / OCTAVE_BUCKETS,
				     (int)(i / OCTAVE_BUCKETS)) / 1000;
	}
	return 0;
}

/* Run time of all threads of one process, from the first number of schedstat. */
static uint64_t process_cpu_ns(int pid)
{
	char path[300];
	struct dirent *entry;
	uint64_t sum = 0, ns;
	FILE *file;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", pid, entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
		if (!file)
			continue;
		if (fscanf(file, "%lu", &ns) == 1)
			sum += ns;
		fclose(file);
	}
	closedir(dir);
	return sum;
}

static uint64_t cpu_ns(void)
{
	uint64_t sum = 0;
	int i;

	for (i = 0; i < watched_count; i++)
		sum += process_cpu_ns(watched[i]);
	return sum;
}

void measure_watch(char *pids)
{
	char *word;

	while ((word = strsep(&pids, ",")) && watched_count < PIDS_MAX)
		watched[watched_count++] = (int)strtol(word, NULL, 10);
}

void measure_begin(void)
{
	measure.begin_cpu_ns = cpu_ns();
	measure.begin_ns = now_ns();
	measure.is_counting = true;
}

void measure_operation(int64_t due_ns)
{
	int64_t took = now_ns() - due_ns;

	if (!measure.is_counting)
		return;
	measure.operations++;
	buckets[bucket_of(took)]++;
	if (took > measure.max_ns)
		measure.max_ns = took;
}

void measure_errors(unsigned count)
{
	if (measure.is_counting)
		measure.errors += count;
}

void measure_print(const char *mode, const char *more)
{
	uint64_t cpu = cpu_ns() - measure.begin_cpu_ns;
	double seconds = (double)(now_ns() - measure.begin_ns) / 1e9;

	printf("{\"mode\": \"%s\", \"seconds\": %.3f, \"operations\": %lu, \"errors\": %lu, \"late\": %lu, "
	       "\"per_second\": %.1f, \"cpu_us_per_operation\": %.3f, \"cpu_seconds\": %.3f, "
	       "\"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f%s}\n",
	       mode, seconds, measure.operations, measure.errors, measure.late,
	       (double)measure.operations / seconds,
	       measure.operations ? (double)cpu / 1000 / (double)measure.operations : 0, (double)cpu / 1e9,
	       percentile_us(0.5), percentile_us(0.9), percentile_us(0.99), percentile_us(0.999),
	       (double)measure.max_ns / 1000, more);
}

void files_raise(void)
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}
