/* SPDX-License-Identifier: GPL-2.0-only */
/* failure.c - the table of failures.def. */
#include "base/check.h"
#include "proxy/exchange.h"

const struct failure_row *failure_row(enum failure f)
{
	static const struct failure_row rows[FAILURE_COUNT] = {
#define FAILURE(ID, status_, retry_, label_, text_) \
	[FAIL_##ID] = { .id = #ID, .label = label_, .text = text_, .status = status_, .retry = FAILURE_RETRY_##retry_ },
#include "proxy/failures.def"
#undef FAILURE
	};

	CHECK(f > FAIL_NONE && f < FAILURE_COUNT);
	return &rows[f];
}
