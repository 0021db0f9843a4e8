/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * regex.h - regular expressions (PCRE2, bytes, not UTF) with bounded cost.
 * A compiled one is constant: any thread may use it, each with a scratch of its own.
 */
#ifndef SN_PROXY_REGEX_H
#define SN_PROXY_REGEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"

struct regex;
struct regex_scratch; /* per worker */

#define REGEX_PATTERN_MAX    4096   /* bytes of a pattern */
#define REGEX_MATCH_LIMIT    100000 /* steps of backtracking of one search: well below a millisecond */
#define REGEX_DEPTH_LIMIT    1000   /* nested backtracking points, without JIT */
#define REGEX_HEAP_LIMIT_KIB 1024   /* without JIT */

/*
 * In arena a, which frees it when it is reset.  With JIT where the process may have it, else interpreted.
 * -EINVAL: *out_error says what and where (in a).
 */
int regex_compile(struct regex **out, struct span pattern, struct arena *a, const char **out_error);

/*
 * Bytes that every match starts with, at the start of the subject: known if the pattern begins with '^' and
 * has no alternatives at its top.  Empty otherwise.
 */
struct span regex_literal_prefix(const struct regex *re);

struct regex_scratch *regex_scratch_new(void);
void regex_scratch_free(struct regex_scratch *s); /* NULL ok */
/* Searches that were given up at a limit, so far: they did not match. */
uint64_t regex_scratch_limit_hits(const struct regex_scratch *s);

/* Unanchored search.  At a limit: false, and counted. */
bool regex_matches(const struct regex *re, struct regex_scratch *s, struct span subject);

#endif
