/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * top_screen.h - readings of kernel_top.h as a table, and the terminal on which it is drawn again and again.
 *
 * screen_open() takes the alternate screen and reads keys one by one; screen_close() gives everything back, and so does
 * a signal that ends the program.
 */
#ifndef SN_APP_TOP_SCREEN_H
#define SN_APP_TOP_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/strbuf.h"

#define TOP_DROPS_MAX 32
#define TOP_ROWS_MAX 32

struct top_drop {
	char name[32];
	uint64_t packets, bytes, monitored;
};

struct top_row {
	char name[64], reason[32];
	uint64_t count, monitored;
};

struct top_reading {
	uint64_t at_ns;
	struct top_drop drops[TOP_DROPS_MAX];
	struct top_row countries[TOP_ROWS_MAX], networks[TOP_ROWS_MAX], sources[TOP_ROWS_MAX];
	unsigned drop_count, country_count, network_count, source_count;
};

/* Understand an answer of the daemon; what is not understood is left out. */
void top_reading_parse(struct span text, struct top_reading *out);
/*
 * The table; rates a second if there is a reading before.  At most `lines` lines of `columns` columns (0: no bound).
 */
void top_reading_draw(const struct top_reading *r, const struct top_reading *before, unsigned lines, unsigned columns,
		      bool has_colour, struct strbuf *out);

/* False: standard input or output is no terminal. */
bool screen_open(void);
void screen_close(void);
/* Draw text in place of what is there. */
void screen_show(struct span text);
void screen_size(unsigned *out_lines, unsigned *out_columns);
/* Wait for a key or a new size, at most ms.  The key, 0: time is over or the size is new, -1: the end was asked for. */
int screen_wait(int ms);

#endif
