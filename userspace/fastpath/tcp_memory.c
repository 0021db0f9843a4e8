/* SPDX-License-Identifier: GPL-2.0-only */
/* tcp_memory.c - how much memory the kernel believes TCP to use, and from how much on it cares. */
#include "fastpath/tcp_memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES 1024

static int64_t number(const char *text)
{
	long long value;

	return sscanf(text, " %18lld", &value) == 1 && value >= 0 ? value : -1;
}

int64_t tcp_memory_used(const char *sockstat)
{
	const char *line = strstr(sockstat, "TCP: "), *end, *word;

	if (!line)
		return -1;
	end = line + strcspn(line, "\n");
	word = strstr(line, " mem ");
	return word && word < end ? number(word + strlen(" mem ")) : -1;
}

int64_t tcp_memory_low(const char *tcp_mem)
{
	return number(tcp_mem);
}

/* An empty text if it cannot be read. */
static void file_read(const char *path, char text[FILE_BYTES])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, FILE_BYTES - 1);

	text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		(void)close(fd);
}

bool tcp_memory_is_short(void)
{
	char text[FILE_BYTES];
	int64_t used, low;

	file_read("/proc/sys/net/ipv4/tcp_mem", text);
	low = tcp_memory_low(text);
	file_read("/proc/net/sockstat", text);
	used = tcp_memory_used(text);
	return low >= 0 && used > low;
}
