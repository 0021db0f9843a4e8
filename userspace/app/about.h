/* SPDX-License-Identifier: GPL-2.0-only */
/* about.h - which version this is, and what it was built with. */
#ifndef SN_APP_ABOUT_H
#define SN_APP_ABOUT_H

#include "base/strbuf.h"

const char *about_version(void); /* "0.1.0" */
/* Libraries, kernel, filters, handlers: one a line. */
void about_describe(struct strbuf *out);

#endif
