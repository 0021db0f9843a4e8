/* SPDX-License-Identifier: GPL-2.0-only */
/* logfile.c - a buffered file of lines that is only appended to. */
#include "observe/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "observe/metrics.h"

#define TAG_LOGFILE	 TAG('L', 'O', 'G', 'F')
#define LOGFILE_MODE	 0640
#define LOGFILE_DIR_MODE 0755

static atomic_uint reopen_generation;

void logfile_reopen_all(void)
{
	atomic_fetch_add_explicit(&reopen_generation, 1, memory_order_relaxed);
}

/* mkdir -p of everything before the last slash. */
static int parents_create(const char *path)
{
	char *copy = mem_strdup(path);
	int err = 0;

	for (char *slash = strchr(copy + 1, '/'); slash && !err; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, LOGFILE_DIR_MODE) != 0 && errno != EEXIST)
			err = -errno;
		*slash = '/';
	}
	free(copy);
	return err;
}

/* A descriptor, or -errno. */
static int path_open(const char *path, bool *out_is_regular)
{
	/* O_NONBLOCK is of no effect for regular files. */
	const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd = open(path, flags, LOGFILE_MODE);
	struct stat st;

	if (fd < 0 && errno == ENOENT) {
		int err = parents_create(path);

		if (err)
			return err;
		fd = open(path, flags, LOGFILE_MODE);
	}
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0) {
		int err = -errno;

		(void)close(fd);
		return err;
	}
	*out_is_regular = S_ISREG(st.st_mode);
	return fd;
}

int logfile_open(struct logfile *f, const char *path, size_t buffer_bytes)
{
	unsigned generation = atomic_load_explicit(&reopen_generation, memory_order_relaxed);
	bool is_regular;
	int fd;

	*f = (struct logfile){ .fd = -1 };
	if (!path[0] || buffer_bytes < LOGFILE_BUFFER_BYTES_MIN ||
	    buffer_bytes > LOGFILE_BUFFER_BYTES_MAX)
		return -EINVAL;
	fd = path_open(path, &is_regular);
	if (fd < 0)
		return fd;
	*f = (struct logfile){
		.tag = TAG_LOGFILE,
		.path = mem_strdup(path),
		.buffer_bytes = buffer_bytes,
		.fd = fd,
		.is_regular = is_regular,
		.generation = generation,
		.buffer = mem_alloc(buffer_bytes),
	};
	return 0;
}

void logfile_count_drops(struct logfile *f, struct metric_cell *cell)
{
	OBJ_CHECK(f, TAG_LOGFILE);
	f->dropped_cell = cell;
}

void logfile_close(struct logfile *f)
{
	if (!f || !f->tag)
		return;
	OBJ_CHECK(f, TAG_LOGFILE);
	(void)logfile_flush(f);
	(void)close(f->fd);
	free(f->path);
	free(f->buffer);
	*f = (struct logfile){ .fd = -1 };
}

/* The error, if it is news. */
static int report(struct logfile *f, int err)
{
	bool is_new = err && err != f->last_error;

	f->last_error = err;
	return is_new ? err : 0;
}

static void count_dropped(struct logfile *f, struct span lines)
{
	uint64_t n = 0;
	size_t at;

	for (; lines.len; lines = span_skip(lines, at + 1), n++)
		at = span_find(lines, '\n');
	f->lines_dropped += n;
	if (f->dropped_cell)
		metric_cell_add(f->dropped_cell, n);
}

/* One write of whole lines; what could not be written is dropped.  0 or -errno. */
static int lines_write(struct logfile *f, struct span lines)
{
	struct iovec parts[2] = {
		{ (void *)(uintptr_t)"\n", f->is_torn },
		{ (void *)(uintptr_t)lines.ptr, lines.len },
	};
	size_t torn = f->is_torn;

	while (lines.len) {
		ssize_t n = writev(f->fd, parts, 2);
		size_t done;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int err = n < 0 ? -errno : -EIO;

			count_dropped(f, lines);
			return err;
		}
		done = (size_t)n > torn ? (size_t)n - torn : 0;
		torn -= MIN(torn, (size_t)n);
		/* The rest of a line that was begun is worth one more try; usually it says why. */
		lines = span_skip(lines, done);
		f->is_torn = done ? lines.len && lines.ptr[-1] != '\n' : torn > 0;
		parts[0].iov_len = torn;
		parts[1] = (struct iovec){ (void *)(uintptr_t)lines.ptr, lines.len };
	}
	return 0;
}

/* The longest prefix of whole lines that a pipe takes at once or not at all; never empty. */
static size_t atomic_prefix(struct span lines)
{
	const char *end;

	if (lines.len < PIPE_BUF)
		return lines.len;
	end = memrchr(lines.ptr, '\n', PIPE_BUF - 1); /* one byte for the end of a torn line */
	if (end)
		return (size_t)(end - lines.ptr) + 1;
	return MIN(span_find(lines, '\n') + 1, lines.len);
}

static int bytes_write(struct logfile *f, struct span lines)
{
	int err = 0;

	if (f->is_regular)
		return lines_write(f, lines);
	while (lines.len) {
		size_t n = atomic_prefix(lines);
		int part_err = lines_write(f, span_of(lines.ptr, n));

		err = err ? err : part_err;
		lines = span_skip(lines, n);
	}
	return err;
}

static int buffer_write(struct logfile *f)
{
	int err;

	if (!f->used)
		return 0;
	err = bytes_write(f, span_of(f->buffer, f->used));
	f->used = 0;
	return report(f, err);
}

static bool reopen_is_due(const struct logfile *f)
{
	return f->generation != atomic_load_explicit(&reopen_generation, memory_order_relaxed);
}

static int reopen(struct logfile *f)
{
	bool is_regular;
	int fd;

	/* Once per request, also if it fails: the operator sends the signal again. */
	f->generation = atomic_load_explicit(&reopen_generation, memory_order_relaxed);
	fd = path_open(f->path, &is_regular);
	if (fd < 0)
		return report(f, fd);
	(void)close(f->fd);
	f->fd = fd;
	f->is_regular = is_regular;
	f->is_torn = false;
	return 0;
}

int logfile_flush(struct logfile *f)
{
	int err, reopen_err;

	OBJ_CHECK(f, TAG_LOGFILE);
	err = buffer_write(f);
	reopen_err = reopen_is_due(f) ? reopen(f) : 0;
	return err ? err : reopen_err;
}

int logfile_flush_due(struct logfile *f, uint64_t now_ns)
{
	OBJ_CHECK(f, TAG_LOGFILE);
	if ((f->used && now_ns >= f->oldest_ns + LOGFILE_DELAY_NS) || reopen_is_due(f))
		return logfile_flush(f);
	return 0;
}

/* Does not fit into an empty buffer: written by itself, in one piece. */
static int long_line_write(struct logfile *f, struct span line)
{
	char *copy = mem_strndup(line.ptr, line.len);
	int err;

	copy[line.len] = '\n'; /* in place of the terminating 0 */
	err = bytes_write(f, span_of(copy, line.len + 1));
	free(copy);
	return report(f, err);
}

int logfile_write(struct logfile *f, struct span line, uint64_t now_ns)
{
	int err = 0;

	OBJ_CHECK(f, TAG_LOGFILE);
	if (line.len >= f->buffer_bytes - f->used || reopen_is_due(f))
		err = logfile_flush(f);
	if (line.len >= f->buffer_bytes) {
		int long_err = long_line_write(f, line);

		return err ? err : long_err;
	}
	if (!f->used)
		f->oldest_ns = now_ns;
	if (line.len)
		memcpy(f->buffer + f->used, line.ptr, line.len);
	f->buffer[f->used + line.len] = '\n';
	f->used += line.len + 1;
	return err;
}
