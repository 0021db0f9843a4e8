/* SPDX-License-Identifier: GPL-2.0-only */
/* path_rewrite.h - another path, whole or its prefix: shared by the filters redirect and url-rewrite. */
#ifndef SN_PROXY_PATH_REWRITE_H
#define SN_PROXY_PATH_REWRITE_H

#include "base/arena.h"
#include "schema/schema.h"

struct path_rewrite_config {
	struct schema_map prefix; /* replace-prefix-match { "/old" "/new" }: one pair; or */
	const char *full;	  /* replace-full-path; or NULL */
};

#define ROWS_PATH_REWRITE(S, m)                                                                              \
	ROW_STRING(S, m.full, "replace-full-path", NULL, "The whole path."),                                  \
		ROW_MAP(S, m.prefix, "replace-prefix-match",                                                   \
			"`replace-prefix-match { \"/old\" \"/new\" }`: paths below the first go below the second.")

bool path_rewrite_is_set(const struct path_rewrite_config *c);
/* Paths begin with / and hold visible ASCII only.  full_pos: SCHEMA_POS(config, path.full). */
void path_rewrite_check(struct schema *s, const struct path_rewrite_config *c, struct schema_pos full_pos);
/* `path` is normalised and has no query.  The result is borrowed from the configuration, the path, or in a. */
struct span path_rewrite_apply(const struct path_rewrite_config *c, struct span path, struct arena *a);
/* A host name or address, no port. */
bool path_rewrite_host_is_valid(struct span host);

#endif
