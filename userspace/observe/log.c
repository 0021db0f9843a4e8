/* SPDX-License-Identifier: GPL-2.0-only */
/* log.c - the daemon's own log. */
#include "observe/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "observe/metrics.h"

#define LOG_FILE_MODE 0640

_Static_assert(LOG_LINE_MAX <= PIPE_BUF, "a line must be one atomic write to a pipe");

static struct {
	_Atomic int fd;
	_Atomic int min;
	_Atomic int format;
	_Atomic bool is_file; /* fd is a regular file: writing never waits for a reader */
	_Atomic bool has_color;
	_Atomic uint64_t dropped;
} daemon_log = { .fd = STDERR_FILENO, .min = LOG_LEVEL_INFO };

static const struct {
	const char *name;
	const char *padded;
	const char *color;
} levels[LOG_LEVEL_COUNT] = {
	[LOG_LEVEL_DEBUG] = { "debug", "debug", "\033[2m" },
	[LOG_LEVEL_INFO] = { "info", "info ", "\033[32m" },
	[LOG_LEVEL_WARN] = { "warn", "warn ", "\033[33m" },
	[LOG_LEVEL_ERROR] = { "error", "error", "\033[31m" },
};

static bool fd_is_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

void log_init(int fd, enum log_level min, enum log_format format)
{
	CHECK(min < LOG_LEVEL_COUNT);
	atomic_store(&daemon_log.is_file, fd_is_file(fd));
	atomic_store(&daemon_log.has_color, format == LOG_FORMAT_TEXT && isatty(fd) == 1);
	atomic_store(&daemon_log.format, (int)format);
	atomic_store(&daemon_log.fd, fd);
	log_level_set(min);
}

void log_level_set(enum log_level min)
{
	atomic_store_explicit(&daemon_log.min, (int)min, memory_order_relaxed);
}

enum log_level log_level_min(void)
{
	return (enum log_level)atomic_load_explicit(&daemon_log.min, memory_order_relaxed);
}

bool log_level_parse(struct span name, enum log_level *out_level)
{
	for (unsigned i = 0; i < LOG_LEVEL_COUNT; i++) {
		if (span_eq_nocase(name, span_str(levels[i].name))) {
			*out_level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

int log_reopen(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, LOG_FILE_MODE);
	int current = atomic_load(&daemon_log.fd);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (current <= STDERR_FILENO) {
		/* The standard streams stay what they are; the new descriptor is ours for ever. */
		atomic_store(&daemon_log.is_file, fd_is_file(fd));
		atomic_store(&daemon_log.has_color, false);
		atomic_store(&daemon_log.fd, fd);
		return 0;
	}
	/* The number stays valid for threads that are about to write to it. */
	if (dup3(fd, current, O_CLOEXEC) < 0)
		err = -errno;
	else
		atomic_store(&daemon_log.is_file, fd_is_file(current));
	(void)close(fd);
	return err;
}

uint64_t log_lines_dropped(void)
{
	return atomic_load_explicit(&daemon_log.dropped, memory_order_relaxed);
}

void log_collect(struct metrics_shard *shard)
{
	metric_cell_set(metric_cell(shard, METRIC_LOG_LINES_DROPPED_TOTAL, &SPAN("daemon")),
			log_lines_dropped());
}

/* A line under construction; `max` keeps room for what must come after the message. */
struct line {
	char text[LOG_LINE_MAX];
	size_t len;
	size_t max;
};

static bool put(struct line *l, const char *bytes, size_t len)
{
	if (len > l->max - l->len)
		return false;
	memcpy(l->text + l->len, bytes, len);
	l->len += len;
	return true;
}

static void put_str(struct line *l, const char *s)
{
	(void)put(l, s, strlen(s));
}

static bool put_hex(struct line *l, const char *prefix, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char text[8];
	size_t n = strlen(prefix);

	memcpy(text, prefix, n);
	text[n++] = hex[c >> 4];
	text[n++] = hex[c & 15];
	return put(l, text, n);
}

/* The C1 controls, which some terminals obey, are U+0080 to U+009F: c2 80 to c2 9f. */
static bool is_c1_control(const char *p, size_t sequence)
{
	return sequence == 2 && (unsigned char)p[0] == 0xc2 && (unsigned char)p[1] < 0xa0;
}

/* One character of the message; false if it has no room.  *len: bytes it consists of. */
static bool put_char(struct line *l, const char *p, size_t *len, bool is_json)
{
	unsigned char c = (unsigned char)p[0];
	size_t sequence = utf8_sequence(p, *len);

	*len = MAX(sequence, 1);
	if (is_json && sequence == 0)
		return put(l, UTF8_REPLACEMENT, 3);
	if (is_json && (c == '"' || c == '\\'))
		return put(l, (char[]){ '\\', (char)c }, 2);
	if (is_json && is_c1_control(p, sequence))
		return put_hex(l, "\\u00", (unsigned char)p[1]);
	if (is_c1_control(p, sequence))
		*len = 1; /* \xc2, and its second byte is invalid by itself */
	else if (c >= 0x20 && c != 0x7f && sequence)
		return put(l, p, sequence);
	return put_hex(l, is_json ? "\\u00" : "\\x", c);
}

static void put_message(struct line *l, struct span message, bool is_json, const char *end)
{
	size_t end_len = strlen(end);

	l->max = LOG_LINE_MAX - end_len - 3;
	while (message.len) {
		size_t len = message.len;

		if (!put_char(l, message.ptr, &len, is_json)) {
			l->max += 3;
			put_str(l, "...");
			break;
		}
		message = span_skip(message, len);
	}
	l->max = LOG_LINE_MAX;
	(void)put(l, end, end_len);
}

static void line_build(struct line *l, enum log_level level, struct span message)
{
	bool has_color = atomic_load_explicit(&daemon_log.has_color, memory_order_relaxed);
	char time_text[25];

	l->len = 0;
	l->max = LOG_LINE_MAX;
	(void)clock_rfc3339(clock_wall_ns(), time_text);
	if (atomic_load_explicit(&daemon_log.format, memory_order_relaxed) == LOG_FORMAT_JSON) {
		put_str(l, "{\"timestamp\":\"");
		put_str(l, time_text);
		put_str(l, "\",\"level\":\"");
		put_str(l, levels[level].name);
		put_str(l, "\",\"message\":\"");
		put_message(l, message, true, "\"}\n");
		return;
	}
	put_str(l, time_text);
	put_str(l, " ");
	if (has_color)
		put_str(l, levels[level].color);
	put_str(l, levels[level].padded);
	put_str(l, has_color ? "\033[0m " : " ");
	put_message(l, message, false, "\n");
}

/* A pipe or socket with room for PIPE_BUF bytes takes the whole line at once. */
static bool has_room(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) && !(p.revents & (POLLERR | POLLNVAL));
}

static void line_write(const struct line *l)
{
	int fd = atomic_load(&daemon_log.fd);
	ssize_t n;

	if (!atomic_load_explicit(&daemon_log.is_file, memory_order_relaxed) && !has_room(fd)) {
		atomic_fetch_add_explicit(&daemon_log.dropped, 1, memory_order_relaxed);
		return;
	}
	do {
		n = write(fd, l->text, l->len);
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)l->len)
		atomic_fetch_add_explicit(&daemon_log.dropped, 1, memory_order_relaxed);
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char message[LOG_LINE_MAX];
	int saved_errno = errno;
	struct line l;
	va_list ap;
	int len;

	CHECK(level < LOG_LEVEL_COUNT);
	va_start(ap, fmt);
	len = vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	CHECK(len >= 0);
	/* Cut here already: so long that it is cut again, with the dots, when the line is built. */
	line_build(&l, level, span_of(message, MIN((size_t)len, sizeof(message) - 1)));
	line_write(&l);
	errno = saved_errno;
}

bool log_every(struct log_limit *l, uint64_t now_ns)
{
	uint64_t next = atomic_load_explicit(&l->next_ns, memory_order_relaxed);

	/* Of several threads that come at once the one whose exchange succeeds speaks. */
	if (now_ns >= next &&
	    atomic_compare_exchange_strong_explicit(&l->next_ns, &next, now_ns + l->interval_ns,
						    memory_order_relaxed, memory_order_relaxed))
		return true;
	atomic_fetch_add_explicit(&l->suppressed, 1, memory_order_relaxed);
	return false;
}

uint64_t log_limit_suppressed(struct log_limit *l)
{
	return atomic_exchange_explicit(&l->suppressed, 0, memory_order_relaxed);
}
