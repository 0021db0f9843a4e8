/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * glob.h - shell-style match of a whole string: * (any run), ? (one byte).  No recursion; at most pattern
 * times text steps, never exponential.
 */
#ifndef SN_BASE_GLOB_H
#define SN_BASE_GLOB_H

#include <stdbool.h>

#include "base/span.h"

bool glob_match(struct span pattern, struct span text);
bool glob_is_pattern(struct span s); /* contains * or ? */

#endif
