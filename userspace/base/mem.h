/* SPDX-License-Identifier: GPL-2.0-only */
/* mem.h - allocation that never returns NULL: running out of memory aborts (limits come earlier). */
#ifndef SN_BASE_MEM_H
#define SN_BASE_MEM_H

#include <stddef.h>

#define MEM_LINE 64 /* bytes of a cache line */

void *mem_alloc(size_t size);	      /* uninitialised */
void *mem_zalloc(size_t size);	      /* zeroed */
void *mem_zalloc_lines(size_t size); /* zeroed, in cache lines of its own */
void *mem_array(size_t n, size_t size); /* zeroed; overflow of n * size aborts */
/* Grow or shrink; p may be NULL.  Overflow aborts. */
void *mem_resize(void *p, size_t n, size_t size);
/*
 * For a daemon, before its threads: buffers that come and go all the time stay in the process.  Without it glibc gives
 * what is above 128 KiB back to the kernel at once and takes it again, page fault by page fault: a third of the cost of
 * a megabyte over TLS.
 */
void mem_tune(void);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t len); /* NUL-terminated copy of exactly len bytes */
/* free() is used directly. */

#endif
