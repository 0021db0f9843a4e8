/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * scan.h - the first judge of every HTTP/1 byte that is not chunk data: lines end in CRLF and nothing else, no line
 * is folded, no control byte but HTAB, and sizes keep their limits.
 *
 * Bytes may come in any pieces: the verdict depends on the stream only, never on where it was cut.
 */
#ifndef SN_HTTP_SCAN_H
#define SN_HTTP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum scan_result {
	SCAN_MORE, /* all good so far */
	SCAN_DONE, /* the block is complete */
	SCAN_BARE_CR,
	SCAN_BARE_LF,
	SCAN_FOLD,
	SCAN_NUL,
	SCAN_CONTROL,
	SCAN_LINE_TOO_LONG, /* the first line */
	SCAN_TOO_LONG,	    /* the block */
	SCAN_TOO_MANY_LINES,
};

enum scan_kind {
	SCAN_HEAD,     /* a start line, fields, an empty line */
	SCAN_TRAILERS, /* fields, an empty line: may be only that */
	SCAN_LINE,     /* one line */
};

struct scan {
	uint32_t line_max;  /* bytes of the first line without CRLF */
	uint32_t bytes_max; /* bytes of the block with all CRLF */
	uint32_t lines_max; /* without the empty line at the end */

	uint32_t bytes;	     /* judged so far */
	uint32_t lines;	     /* complete ones, without the empty line */
	uint32_t first_line; /* bytes of the first line judged so far */
	uint8_t kind;	     /* enum scan_kind */
	uint8_t state;
};

/* A line limit of UINT32_MAX is none. */
void scan_begin(struct scan *s, enum scan_kind kind, uint32_t line_max, uint32_t bytes_max, uint32_t lines_max);
/* Judge the next bytes.  On MORE and DONE *out_used is how many belong to the block; after another result no call. */
enum scan_result scan_run(struct scan *s, const uint8_t *bytes, size_t len, size_t *out_used);

/* First byte that is a control byte other than HTAB (so CR and LF too, and DEL), or end.  Vectorised. */
const uint8_t *scan_find_control(const uint8_t *p, const uint8_t *end);
/* Whether there is none.  For many short pieces; p may be NULL if len is 0. */
bool scan_is_clean(const uint8_t *p, size_t len);
/* The same as scan_find_control(), one byte at a time: the referee. */
const uint8_t *scan_find_control_plain(const uint8_t *p, const uint8_t *end);

#endif
