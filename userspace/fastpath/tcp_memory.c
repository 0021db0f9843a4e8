/* SPDX-License-Identifier: GPL-2.0-only */
/* tcp_memory.c - how much memory the kernel believes TCP to use, and from how much on it cares. */
#include "fastpath/tcp_memory.h"

#include <stdio.h>
#include <string.h>

#include "loop/small_file.h"

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

bool tcp_memory_is_short(void)
{
	char text[FILE_BYTES];
	int64_t used, low;

	(void)small_file_read("/proc/sys/net/ipv4/tcp_mem", text, sizeof(text));
	low = tcp_memory_low(text);
	(void)small_file_read("/proc/net/sockstat", text, sizeof(text));
	used = tcp_memory_used(text);
	return low >= 0 && used > low;
}
