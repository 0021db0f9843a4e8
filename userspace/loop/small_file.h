/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * small_file.h - a short text of the kernel's (/proc, /sys), read at once.  It waits for no disk, so no ring is needed.
 * Any thread.
 */
#ifndef SN_LOOP_SMALL_FILE_H
#define SN_LOOP_SMALL_FILE_H

#include <stddef.h>

/* At most size - 1 bytes (size is 1 or more), and a NUL behind them.  Their number; 0: empty, or it cannot be read. */
size_t small_file_read(const char *path, char *buf, size_t size);

#endif
