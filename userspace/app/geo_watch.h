/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * geo_watch.h - what time does to geo databases: files that change are loaded again, the kernel's tables follow.
 *
 * What takes long - reading a database, compiling tables - is done by one thread at a time, which ends with its work;
 * everything here is for the control thread.
 */
#ifndef SN_APP_GEO_WATCH_H
#define SN_APP_GEO_WATCH_H

#include "app/poller.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "geo/file.h"

struct control;
struct geo_job;

#define GEO_WATCHED_MAX GEO_FILES_MAX

struct geo_watch {
	struct control *control; /* borrowed */
	struct poller done;	 /* readable: the job has ended */
	struct geo_job *job;	 /* owned; NULL: none is running */
	struct geo_database *failed; /* one reference: no tables could be made of it; or NULL */
	unsigned ticks;
	/* By file: how it looked before, and when it could not be used. */
	struct geo_watched {
		struct geo_file *file; /* borrowed, only compared: a slot of a file that is gone is taken over */
		uint64_t seen, failed;
	} watched[GEO_WATCHED_MAX];
	size_t watched_count;
};

void geo_watch_init(struct geo_watch *w, struct control *c);
/* Waits for the job. */
void geo_watch_fini(struct geo_watch *w);
/* Once a second: files are looked at every second time, and loaded when they have been quiet since the look before. */
void geo_watch_tick(struct geo_watch *w);
/* A plan was applied: tables may be wanted that are not there. */
void geo_watch_plan(struct geo_watch *w);
void geo_watch_collect(struct geo_watch *w);
/* For `sentinel status`: a line, or an object, for each database. */
void geo_watch_text(struct geo_watch *w, struct strbuf *out);
void geo_watch_json(struct geo_watch *w, struct json *j);

#endif
