/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * describe.h - the manual, written by the tables: man page, JSON, plain text.
 * Output depends on the tables only, so a committed copy can be compared.  Any thread.
 */
#ifndef SN_SCHEMA_DESCRIBE_H
#define SN_SCHEMA_DESCRIBE_H

#include "base/span.h"
#include "base/strbuf.h"
#include "schema/schema.h"

struct describe_page {
	const char *name;    /* "sentinel.kdl" */
	const char *section; /* "5" */
	const char *date;    /* "November 24, 2026" */
	const char *summary; /* "configuration of the sentinel proxy" */
	const char *intro;   /* mdoc text of the DESCRIPTION, or NULL */
	const char *outro;   /* mdoc text after the keys (.Sh EXAMPLES ...), or NULL */
};

/* A whole man page in mdoc(7); `mandoc -Tlint` has nothing to say about it. */
void describe_man(const struct describe_page *page, const struct schema_block *root, struct strbuf *out);
/* {"keys":[{path,name,aliases,type,default,min,max,unit,words,required,...,help,keys:[...]}]} */
void describe_json(const struct schema_block *root, struct strbuf *out);
/*
 * Plain text: all keys one a line if key is empty; else the full text of every key with that name, alias or
 * path ("listeners/listener/address"; / or . separate).  Number of keys written; 0: no such key.
 */
size_t describe_text(const struct schema_block *root, struct span key, struct strbuf *out);
/* Names of all keys, for a suggestion.  Fills at most `max`, returns how many there are. */
size_t describe_names(const struct schema_block *root, const char **out_names, size_t max);

#endif
