/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * log.h - the daemon's own log: what an operator must know about the process itself.
 * One line is one write(2), at most LOG_LINE_MAX bytes, longer messages end in "...".  Nothing that arrives
 * from outside can forge a line or drive a terminal: control bytes are escaped.
 * Any thread, no lock.  A pipe or terminal that takes no bytes loses lines (counted) instead of blocking.
 *
 *   text:  2026-11-24T16:05:15.123Z warn  upstream api: no target is reachable
 *   JSON:  {"timestamp":"2026-11-24T16:05:15.123Z","level":"warn","message":"..."}
 */
#ifndef SN_OBSERVE_LOG_H
#define SN_OBSERVE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

#define LOG_LINE_MAX 4096 /* bytes with the newline; not above PIPE_BUF, so that lines never mix */

enum log_level {
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARN,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_COUNT
};

enum log_format {
	LOG_FORMAT_TEXT,
	LOG_FORMAT_JSON
};

struct metrics_shard;

/*
 * Without this: text to standard error, from LOG_LEVEL_INFO on.  fd is borrowed and must stay open.
 * Levels are coloured if fd is a terminal and the format is text.
 */
void log_init(int fd, enum log_level min, enum log_format format);
void log_level_set(enum log_level min);
enum log_level log_level_min(void);
/* "debug" "info" "warn" "error"; false: not a level, *out_level untouched. */
bool log_level_parse(struct span name, enum log_level *out_level);

/*
 * Write to the file `path` from now on (created with mode 0640, appended to).  Called again, after the file
 * was renamed by a log rotation, it opens the new one; a line that is being written goes to either file.
 * One thread at a time.  0 or -errno; after an error the log stays where it was.
 */
int log_reopen(const char *path);

/* Lines lost since the start. */
uint64_t log_lines_dropped(void);
/* Feed log_lines_dropped_total{log="daemon"} in a shard of the caller's: for metrics_on_collect(). */
void log_collect(struct metrics_shard *shard);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Arguments are evaluated only if the level is on. */
#define log_at(level, ...)                            \
	do {                                          \
		if ((level) >= log_level_min())       \
			log_write(level, __VA_ARGS__); \
	} while (0)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)

/*
 * For messages that a client can cause: at most one in interval_ns.  Shared by threads.
 *
 *   static struct log_limit limit = { .interval_ns = 1000000000 };
 *   if (log_every(&limit, now))
 *           log_warn("... (%lu more)", log_limit_suppressed(&limit));
 */
struct log_limit {
	uint64_t interval_ns; /* const after birth */

	_Atomic uint64_t next_ns;    /* 0: nothing was let through yet */
	_Atomic uint64_t suppressed; /* since the last log_limit_suppressed() */
};

bool log_every(struct log_limit *l, uint64_t now_ns);
/* How many were held back since the last call. */
uint64_t log_limit_suppressed(struct log_limit *l);

#endif
