/* SPDX-License-Identifier: GPL-2.0-only */
/* check.c - the end of the process when one of our own assertions fails. */
#include "base/check.h"

#include <unistd.h>

_Noreturn void check_failed(const char *file, int line, const char *what)
{
	/* dprintf writes without stdio's locks, which the failing thread may hold. */
	(void)dprintf(STDERR_FILENO, "sentinel: check failed at %s:%d: %s\n", file, line, what);
	abort();
}
