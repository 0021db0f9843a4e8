/* SPDX-License-Identifier: GPL-2.0-only */
/* pid_file.c - the file with the number of the process. */
#include "app/pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

int pid_file_open(struct pid_file *p, const char *path)
{
	int fd;

	if (!path)
		return 0;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
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
