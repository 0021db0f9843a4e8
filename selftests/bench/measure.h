/* SPDX-License-Identifier: GPL-2.0-only */
/* measure.h - what the load generators of the bench share: clock, latency histogram, CPU time of processes. */
/*
 * One measurement a program, one thread.  Nothing is counted before measure_begin(); operations, errors and the
 * CPU time of the processes that are watched then cover the same interval.
 */
#ifndef SN_BENCH_MEASURE_H
#define SN_BENCH_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

struct measure {
	bool is_counting;
	uint64_t operations, errors;
	uint64_t late; /* open-loop requests that found the queue full */
	int64_t max_ns;
	int64_t begin_ns;
	uint64_t begin_cpu_ns;
};

extern struct measure measure;

int64_t now_ns(void);

/* Takes a list of process ids with commas, whose run time is read at the begin and the end. */
void measure_watch(char *pids);

void measure_begin(void);

/* An operation that was due at `due_ns` is complete.  Both are ignored before measure_begin(). */
void measure_operation(int64_t due_ns);
void measure_errors(unsigned count);

/* Ends the measurement and prints it as one line of JSON; `more` is "" or further members, each after a comma. */
void measure_print(const char *mode, const char *more);

/* The hard limit of descriptors is taken. */
void files_raise(void);

#endif
