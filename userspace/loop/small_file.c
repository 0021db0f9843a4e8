/* SPDX-License-Identifier: GPL-2.0-only */
/* small_file.c - a short text of the kernel's, read at once. */
#include "loop/small_file.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/check.h"

size_t small_file_read(const char *path, char *buf, size_t size)
{
	int fd;
	ssize_t n;

	CHECK(size > 0);
	buf[0] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, buf, size - 1);
	(void)close(fd);
	buf[MAX(n, 0)] = '\0';
	return (size_t)MAX(n, 0);
}
