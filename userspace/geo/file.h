/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * file.h - a database's path as the process uses it: one object for everybody who names the same file, with the
 * database that was read last and was right.
 *
 * The objects are of the whole process, found by path and format, counted: a reload that names the same file finds what
 * is there.  Nothing here looks at the disk by itself: whoever watches asks geo_file_has_changed(), opens the new
 * database where that may take its time, and gives it.
 */
#ifndef SN_GEO_FILE_H
#define SN_GEO_FILE_H

#include "geo/database.h"

struct geo_file;

#define GEO_FILES_MAX 64
#define GEO_FILE_WHY_MAX 160

/*
 * A reference; reads the file if nobody holds it.  NULL, with one sentence (that begins with the path) in out_why: it
 * is wrong, or the process has GEO_FILES_MAX.  A file that became wrong while it is held is not read here: what was
 * right goes on.  Control thread.
 */
struct geo_file *geo_file_get(const char *path, enum geo_format format, struct strbuf *out_why);
void geo_file_hold(struct geo_file *f); /* one more reference; any thread */
void geo_file_put(struct geo_file *f);	/* NULL ok; any thread */

/* As geo_database_find(), of the present database.  Any thread. */
int geo_file_find(struct geo_file *f, const uint8_t ip[16], struct geo_place *out_place);
/* The present database, with a reference for the caller.  Any thread. */
struct geo_database *geo_file_database(struct geo_file *f);

const char *geo_file_path(const struct geo_file *f);
enum geo_format geo_file_format(const struct geo_file *f);

/* Exchange the database; takes d.  No look-up sees a mixture.  Control thread. */
void geo_file_give(struct geo_file *f, struct geo_database *d);
/* The file on disk could not be used: the old database goes on.  why NULL: it could.  Control thread. */
void geo_file_set_problem(struct geo_file *f, const char *why);
const char *geo_file_problem(const struct geo_file *f); /* "" if there is none */

/*
 * What the file on disk is now, as a number that is another one after each change; 0: it is not there.
 * geo_file_has_changed(): it is there, and not what the present database was read from.
 */
uint64_t geo_file_look(const struct geo_file *f);
bool geo_file_has_changed(const struct geo_file *f);

/* All files that are held, in no order.  Control thread. */
void geo_file_for_each(void (*fn)(void *ctx, struct geo_file *f), void *ctx);

#endif
