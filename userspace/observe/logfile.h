/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * logfile.h - a buffered file of lines that is only appended to: the access log and the audit log.
 *
 * Each worker has its own `struct logfile` of the same path.  Lines are collected in its buffer and written,
 * whole lines at a time, when the buffer is full or LOGFILE_DELAY_NS after the first one (the owner calls
 * logfile_flush_due() at least once a second).  O_APPEND keeps lines of several workers apart.
 *
 * A regular file is written synchronously.  A pipe, terminal or other device is opened non-blocking: what it
 * does not take is dropped and counted.  Lines that a full disk refuses are dropped and counted as well;
 * memory never grows.  Writing to a pipe without a reader raises SIGPIPE: the process ignores it.
 *
 * One thread at a time, except logfile_reopen_all().
 */
#ifndef SN_OBSERVE_LOGFILE_H
#define SN_OBSERVE_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

#define LOGFILE_BUFFER_BYTES	 8192 /* default */
#define LOGFILE_BUFFER_BYTES_MIN 1024
#define LOGFILE_BUFFER_BYTES_MAX (16 * 1024 * 1024)
#define LOGFILE_DELAY_NS	 1000000000ull

struct metric_cell;

struct logfile {
	uint32_t tag;
	char *path; /* owned */
	size_t buffer_bytes;
	struct metric_cell *dropped_cell; /* borrowed; may be NULL */

	int fd;
	bool is_regular;
	bool is_torn;	/* a failed write left half a line at the end of the file */
	int last_error; /* negative errno of the last write or reopen, or 0: what was reported */
	unsigned generation; /* of logfile_reopen_all() */
	char *buffer;	     /* owned; whole lines */
	size_t used;
	uint64_t oldest_ns; /* when the first line came into the buffer */

	uint64_t lines_dropped;
};

/*
 * Open for appending; the file (0640) and its parent folders (0755) are created.  buffer_bytes: MIN to MAX,
 * or -EINVAL.  Other errors: what open(2) and mkdir(2) say; a FIFO without a reader is -ENXIO.  f needs no
 * initialisation, and on error nothing is held.
 */
int logfile_open(struct logfile *f, const char *path, size_t buffer_bytes);
/* Feed a metric with what is dropped: a cell of the thread that owns f. */
void logfile_count_drops(struct logfile *f, struct metric_cell *cell);
/* Flush and close; NULL ok, and a logfile that was zero or is closed. */
void logfile_close(struct logfile *f);

/*
 * Append one line; the newline is added here.  A line longer than the buffer is written at once.
 *
 * This and the two below return 0, or the negative errno of a write or reopen that failed - once, until it
 * succeeds again or fails with another errno - so the caller can log what is returned without flooding.
 */
int logfile_write(struct logfile *f, struct span line, uint64_t now_ns);
/* Write if the oldest line has waited long enough, or the file must be reopened.  Cheap when not. */
int logfile_flush_due(struct logfile *f, uint64_t now_ns);
int logfile_flush(struct logfile *f);

/*
 * Every logfile opens its path again before its next write (log rotation).  What is in a buffer goes to the
 * old file.  If the path cannot be opened the old file is kept.  Any thread; safe in a signal handler.
 */
void logfile_reopen_all(void);

#endif
