/* SPDX-License-Identifier: GPL-2.0-only */
/* err.h - names for errno values. */
#ifndef SN_BASE_ERR_H
#define SN_BASE_ERR_H

/* "ECONNREFUSED"; err may be negative or positive.  "OK" for 0.  Static or thread-local storage. */
const char *err_name(int err);
/* "connection refused" in lower case, no trailing dot.  Static or thread-local storage. */
const char *err_text(int err);

#endif
