/* SPDX-License-Identifier: GPL-2.0-only */
/* diag_line.h - a line that must not be shown.  Inside schema/ only. */
#ifndef SN_SCHEMA_DIAG_LINE_H
#define SN_SCHEMA_DIAG_LINE_H

#include <stdint.h>

struct diag_line {
	uint32_t file, line;
	struct diag_line *next;
};

#endif
