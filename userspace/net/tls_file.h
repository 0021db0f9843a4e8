/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tls_file.h - reads the small files that TLS needs: bounded, regular files only, with a stamp to see changes later.
 * A key file must belong to root or to the daemon's user, must not be writable by group or others, nor readable by
 * others.  Readable by its group is allowed; it is a warning unless the group is root's or one of the daemon's own.
 */
#ifndef SN_NET_TLS_FILE_H
#define SN_NET_TLS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/tls_report.h"

#define TLS_FILE_BYTES_MAX (4u << 20) /* CA bundles and CRLs are the large ones */

/* What a file was when it was read: content may have changed if any of it differs. */
struct tls_stamp {
	char *path; /* owned */
	uint64_t device, inode, bytes;
	int64_t mtime_ns, ctime_ns;
};

/* Zero-initialise. */
struct tls_stamps {
	struct tls_stamp *items; /* owned */
	size_t count;
};

void tls_stamps_fini(struct tls_stamps *s); /* NULL ok */
void tls_stamps_add(struct tls_stamps *s, const struct tls_stamps *more); /* copies */
/* True if a file is not the one that was read: replaced, written, removed, or another behind a symbolic link. */
bool tls_stamps_differ(const struct tls_stamps *s);
/* What the files are now, in a number that is another one after each change. */
uint64_t tls_stamps_look(const struct tls_stamps *s);

struct tls_file {
	char *data; /* owned; NUL-terminated */
	size_t bytes;
};

/*
 * Read `path` whole.  what is its part in sentences ("cert-file").  stamps may be NULL.  is_secret: check the rights
 * as said above.  0, or -errno with an error in the report; a path is stamped in both cases, so that a repair is seen.
 */
int tls_file_read(struct tls_file *out, const char *what, const char *path, bool is_secret, struct tls_stamps *stamps,
		  struct tls_report *r);
void tls_file_fini(struct tls_file *f); /* overwrites the content; NULL ok */

#endif
