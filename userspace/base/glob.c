/* SPDX-License-Identifier: GPL-2.0-only */
/* glob.c - shell-style match of a whole string. */
#include "base/glob.h"

bool glob_match(struct span pattern, struct span text)
{
	size_t p = 0, t = 0;
	size_t after_star = 0, star_text = 0;
	bool has_star = false;

	while (t < text.len) {
		if (p < pattern.len && pattern.ptr[p] == '*') {
			has_star = true;
			after_star = ++p;
			star_text = t;
		} else if (p < pattern.len &&
			   (pattern.ptr[p] == '?' || pattern.ptr[p] == text.ptr[t])) {
			p++;
			t++;
		} else if (has_star) {
			/* Only the last star grows: an earlier one that took less cannot be wrong. */
			p = after_star;
			t = ++star_text;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.ptr[p] == '*')
		p++;
	return p == pattern.len;
}

bool glob_is_pattern(struct span s)
{
	return span_find(s, '*') < s.len || span_find(s, '?') < s.len;
}
