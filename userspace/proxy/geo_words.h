/* SPDX-License-Identifier: GPL-2.0-only */
/* geo_words.h - what the filter `geo` and `kernel { geo }` have in common: databases, lists of countries. */
#ifndef SN_PROXY_GEO_WORDS_H
#define SN_PROXY_GEO_WORDS_H

#include "geo/file.h"
#include "schema/schema.h"

/* By the name: `.mmdb` is MaxMind's. */
enum geo_format geo_words_format(const char *path);
/* Open it, or report to s->diag at pos and return NULL.  The reference ends with s->arena. */
struct geo_file *geo_words_open(struct schema *s, const char *path, enum geo_format format, struct schema_pos pos);
bool geo_words_has_asn(struct geo_file *f);
/* "DE,FR" "JP": each once, in s->arena; what is no country is reported. */
geo_country *geo_words_countries(struct schema *s, const struct schema_strings *list, size_t *out_count);

#endif
