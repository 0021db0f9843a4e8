/* SPDX-License-Identifier: GPL-2.0-only */
/* balancer.c - finds an algorithm by one of its names. */
#include "upstream/balancer.h"

#include "base/check.h"
#include "base/span.h"

struct balancer_names {
	const struct balancer *balancer; /* NULL: later */
	const char *names;
};

static const struct balancer_names rows[] = {
#define BALANCER(symbol, names) { &symbol, names },
#define BALANCER_LATER(names)	{ NULL, names },
#include "upstream/balancers.def"
#undef BALANCER
#undef BALANCER_LATER
};

static bool name_eq(struct span a, struct span b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		char c = b.ptr[i];

		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		if (a.ptr[i] != (c == '-' ? '_' : c))
			return false;
	}
	return true;
}

static const struct balancer_names *row_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span rest = span_str(rows[i].names), item;

		while (span_next(&rest, ' ', &item))
			if (name_eq(item, span_str(name)))
				return &rows[i];
	}
	return NULL;
}

const struct balancer *balancer_find(const char *name)
{
	const struct balancer_names *row = row_find(name);

	return row ? row->balancer : NULL;
}

bool balancer_is_later(const char *name)
{
	const struct balancer_names *row = row_find(name);

	return row && !row->balancer;
}

const struct balancer *balancer_at(size_t index)
{
	return index < ARRAY_LEN(rows) ? rows[index].balancer : NULL;
}
