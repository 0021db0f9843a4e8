/* SPDX-License-Identifier: GPL-2.0-only */
/* scan.c - judges lines: a vectorised search for control bytes, and a small machine for what it finds. */
#include "http/scan.h"

#include <string.h>

#include "base/check.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum scan_state {
	STATE_LINE_START, /* after CRLF */
	STATE_IN_LINE,
	STATE_CR,	/* in a line, after CR */
	STATE_EMPTY_CR, /* at the start of a line, after CR */
	STATE_OVER,
};

static inline bool byte_is_control(uint8_t c)
{
	return (c < 0x20 && c != '\t') || c == 0x7f;
}

const uint8_t *scan_find_control_plain(const uint8_t *p, const uint8_t *end)
{
	while (p < end && !byte_is_control(*p))
		p++;
	return p;
}

#ifdef __SSE2__
/* Bit n: byte n is a control byte. */
static inline unsigned control_mask(__m128i bytes)
{
	const __m128i highest = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
	__m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, highest), bytes);

	return (unsigned)_mm_movemask_epi8(
		_mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), low), _mm_cmpeq_epi8(bytes, del)));
}

static inline __m128i load16(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline __m128i load8(const uint8_t *p)
{
	return _mm_loadl_epi64((const __m128i *)(const void *)p);
}

static inline __m128i load4(const uint8_t *p)
{
	int32_t bytes;

	memcpy(&bytes, p, sizeof(bytes));
	return _mm_cvtsi32_si128(bytes);
}

/* The two ends of what is short overlap. */
bool scan_is_clean(const uint8_t *p, size_t len)
{
	const uint8_t *end;
	unsigned mask = 0;

	if (len < 4) {
		for (size_t i = 0; i < len; i++)
			mask |= byte_is_control(p[i]);
		return !mask;
	}
	end = p + len;
	if (len < 8)
		return (control_mask(_mm_unpacklo_epi32(load4(p), load4(end - 4))) & 0xff) == 0;
	if (len < 16)
		return control_mask(_mm_unpacklo_epi64(load8(p), load8(end - 8))) == 0;
	mask = control_mask(load16(end - 16));
	for (; len > 16; len -= 16, p += 16)
		mask |= control_mask(load16(p));
	return mask == 0;
}

/* The rest of a block is read again with bytes before it that were seen to be clean, instead of one by one. */
const uint8_t *scan_find_control(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *start = p;
	unsigned mask;

	for (; end - p >= 16; p += 16) {
		mask = control_mask(load16(p));
		if (mask)
			return p + __builtin_ctz(mask);
	}
	if (p == end)
		return end;
	if (end - start >= 16) {
		mask = control_mask(load16(end - 16));
		return mask ? end - 16 + __builtin_ctz(mask) : end;
	}
	if (end - start >= 8) {
		/* Two halves that may overlap: the upper one is counted from the end. */
		mask = control_mask(_mm_unpacklo_epi64(load8(p), load8(end - 8)));
		if (!mask)
			return end;
		return mask & 0xff ? p + __builtin_ctz(mask) : end - 8 + (__builtin_ctz(mask) - 8);
	}
	return scan_find_control_plain(p, end);
}
#else
/*
 * Eight bytes at a time.  Bit 7 of a byte of `low` is set if the byte is below 0x20, of `del` if it is 0x7f; a borrow
 * may also set it in the byte above such a one, so the byte itself is found by the plain search.
 */
const uint8_t *scan_find_control(const uint8_t *p, const uint8_t *end)
{
	const uint64_t ones = 0x0101010101010101, highs = 0x8080808080808080;

	while (end - p >= 8) {
		uint64_t bytes, low, del;

		memcpy(&bytes, p, 8);
		low = (bytes - ones * 0x20) & ~bytes & highs;
		del = ((bytes ^ (ones * 0x7f)) - ones) & ~(bytes ^ (ones * 0x7f)) & highs;
		if (low | del) {
			const uint8_t *found = scan_find_control_plain(p, p + 8);

			if (found < p + 8)
				return found;
		}
		p += 8;
	}
	return scan_find_control_plain(p, end);
}

bool scan_is_clean(const uint8_t *p, size_t len)
{
	return len == 0 || scan_find_control(p, p + len) == p + len;
}
#endif

void scan_begin(struct scan *s, enum scan_kind kind, uint32_t line_max, uint32_t bytes_max, uint32_t lines_max)
{
	*s = (struct scan){
		.line_max = line_max,
		.bytes_max = bytes_max,
		.lines_max = lines_max,
		.kind = kind,
		.state = kind == SCAN_TRAILERS ? STATE_LINE_START : STATE_IN_LINE,
	};
}

static enum scan_result control_judge(uint8_t c)
{
	if (c == '\n')
		return SCAN_BARE_LF;
	return c == 0 ? SCAN_NUL : SCAN_CONTROL;
}

/* Judge from *at on up to the end of a line or of the bytes. */
static enum scan_result line_run(struct scan *s, const uint8_t **at, const uint8_t *end)
{
	const uint8_t *stop = scan_find_control(*at, end);

	if (s->lines == 0) {
		s->first_line += (uint32_t)(stop - *at);
		if (s->first_line > s->line_max)
			return SCAN_LINE_TOO_LONG;
	}
	*at = stop;
	if (stop == end)
		return SCAN_MORE;
	if (*stop != '\r')
		return control_judge(*stop);
	*at = stop + 1;
	s->state = STATE_CR;
	return SCAN_MORE;
}

static enum scan_result line_end(struct scan *s, uint8_t c)
{
	if (c != '\n')
		return SCAN_BARE_CR;
	if (s->state == STATE_EMPTY_CR || s->kind == SCAN_LINE) {
		s->lines += s->state == STATE_CR;
		s->state = STATE_OVER;
		return SCAN_DONE;
	}
	if (++s->lines > s->lines_max)
		return SCAN_TOO_MANY_LINES;
	s->state = STATE_LINE_START;
	return SCAN_MORE;
}

static enum scan_result line_start(struct scan *s, const uint8_t **at)
{
	if (**at == ' ' || **at == '\t')
		return SCAN_FOLD;
	if (**at == '\r') {
		s->state = STATE_EMPTY_CR;
		(*at)++;
	} else {
		s->state = STATE_IN_LINE;
	}
	return SCAN_MORE;
}

enum scan_result scan_run(struct scan *s, const uint8_t *bytes, size_t len, size_t *out_used)
{
	size_t allowed = MIN(len, (size_t)(s->bytes_max - s->bytes));
	const uint8_t *at = bytes, *end = bytes + allowed;
	enum scan_result r = SCAN_MORE;

	CHECK(s->state != STATE_OVER);
	while (at < end && r == SCAN_MORE) {
		switch (s->state) {
		case STATE_LINE_START:
			r = line_start(s, &at);
			break;
		case STATE_IN_LINE:
			r = line_run(s, &at, end);
			break;
		default:
			r = line_end(s, *at++);
			break;
		}
	}
	if (r == SCAN_MORE && allowed < len)
		return SCAN_TOO_LONG;
	s->bytes += (uint32_t)(at - bytes);
	if (r == SCAN_MORE || r == SCAN_DONE)
		*out_used = (size_t)(at - bytes);
	return r;
}
