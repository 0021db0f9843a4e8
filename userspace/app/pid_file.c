/* SPDX-License-Identifier: GPL-2.0-only */
/* pid_file.c - the file with the number of the process. */
#include "app/pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/span.h"

static int owner_of(int fd)
{
	char text[16] = "";
	uint64_t number;
	ssize_t len = pread(fd, text, sizeof(text), 0);

	if (len <= 0 || !span_to_u64(span_chomp(span_of(text, (size_t)len)), &number) || number > INT32_MAX)
		return 0;
	return (int)number;
}

/* Whoever had the file before may have removed it since it was opened. */
static bool is_at(const char *path, int fd)
{
	struct stat opened, named;

	return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino &&
	       opened.st_dev == named.st_dev;
}

int pid_file_open(struct pid_file *p, const char *path, int *out_owner)
{
	int fd;

	if (!path)
		return 0;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	/* A file system without locks is no reason not to start. */
	if ((flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) || !is_at(path, fd)) {
		*out_owner = owner_of(fd);
		(void)close(fd);
		return -EWOULDBLOCK;
	}
	pid_file_adopt(p, path, fd);
	return 0;
}

void pid_file_adopt(struct pid_file *p, const char *path, int fd)
{
	*p = (struct pid_file){ .path = mem_strdup(path), .fd = fd };
}

int pid_file_write(struct pid_file *p)
{
	char text[16];
	int len;

	if (!p->path)
		return 0;
	len = snprintf(text, sizeof(text), "%d\n", getpid());
	if (pwrite(p->fd, text, (size_t)len, 0) != len || ftruncate(p->fd, len) < 0)
		return -errno;
	return 0;
}

void pid_file_leave(struct pid_file *p)
{
	if (p->path)
		(void)close(p->fd);
	free(p->path);
	*p = (struct pid_file){ 0 };
}

void pid_file_remove(struct pid_file *p)
{
	if (p->path)
		(void)unlink(p->path);
	pid_file_leave(p);
}
