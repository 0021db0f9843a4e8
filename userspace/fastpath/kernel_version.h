/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kernel_version.h - which kernel this is, and whether its sockmap has known bugs.
 *
 * The self-test (offload_selftest.h) finds what can be provoked; what cannot (races, use after free) is a table of
 * versions.  `uname -r` of a distribution hides the patch level, so `uname -v` (Debian) and /proc/version_signature
 * (Ubuntu) come first.
 */
#ifndef SN_FASTPATH_KERNEL_VERSION_H
#define SN_FASTPATH_KERNEL_VERSION_H

#include <stdbool.h>

#include "base/strbuf.h"

struct kernel_version {
	unsigned major, minor, patch;
	bool has_patch; /* false: the patch level is not known */
};

enum kernel_verdict {
	KERNEL_GOOD,
	KERNEL_DOUBTFUL, /* use it if the self-test passes, and say so */
	KERNEL_REFUSED,
};

/* uname -r, uname -v, and /proc/version_signature (NULL: there is none).  All zero if nothing is a version. */
void kernel_version_parse(struct kernel_version *out, const char *release, const char *version,
			  const char *signature);
void kernel_version_read(struct kernel_version *out);

/* May sockets be spliced by sockmap?  Unless it is good, one sentence in out_why. */
enum kernel_verdict kernel_version_judge(const struct kernel_version *v, struct strbuf *out_why);

#endif
