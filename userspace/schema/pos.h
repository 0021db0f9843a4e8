/* SPDX-License-Identifier: GPL-2.0-only */
/* pos.h - a place in a configuration file. */
#ifndef SN_SCHEMA_POS_H
#define SN_SCHEMA_POS_H

#include <stdbool.h>
#include <stdint.h>

/* All zero: no place (a default, or a value that no file names). */
struct schema_pos {
	uint32_t file;	/* number of the file in its struct source_set, from 1 */
	uint32_t line;	/* from 1 */
	uint32_t col;	/* from 1, in code points */
	uint32_t width; /* code points to underline, on this line only; at least 1 */
};

static inline bool schema_pos_is_set(struct schema_pos pos)
{
	return pos.line != 0;
}

#endif
