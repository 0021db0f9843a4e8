/* SPDX-License-Identifier: GPL-2.0-only */
/* file.c - a database's path as the process uses it. */
#include "geo/file.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

#define TAG_FILE TAG('G', 'E', 'O', 'F')

struct geo_file {
	uint32_t tag;
	char *path; /* owned */
	enum geo_format format;
	unsigned refs; /* under files_lock */

	pthread_rwlock_t lock; /* of database: held for writing only while two pointers are exchanged */
	struct geo_database *database; /* owned */
	char problem[GEO_FILE_WHY_MAX];
};

/* The last reference of a snapshot may fall on any thread. */
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;
static struct geo_file *files[GEO_FILES_MAX];

static struct geo_file **file_slot(const char *path, enum geo_format format)
{
	struct geo_file **empty = NULL;

	for (size_t i = 0; i < GEO_FILES_MAX; i++) {
		if (files[i] && files[i]->format == format && strcmp(files[i]->path, path) == 0)
			return &files[i];
		if (!files[i] && !empty)
			empty = &files[i];
	}
	return empty;
}

static struct geo_file *file_new(const char *path, enum geo_format format, struct geo_database *d)
{
	struct geo_file *f = mem_zalloc(sizeof(*f));

	f->tag = TAG_FILE;
	f->path = mem_strdup(path);
	f->format = format;
	f->refs = 1;
	f->database = d;
	CHECK(pthread_rwlock_init(&f->lock, NULL) == 0);
	return f;
}

static struct geo_database *file_open(const char *path, enum geo_format format, struct strbuf *out_why)
{
	struct strbuf why = { 0 };
	struct geo_database *d;

	strbuf_init(&why);
	d = geo_database_open(path, format, &why);
	if (!d)
		strbuf_printf(out_why, "%s %s", path, why.ptr);
	strbuf_fini(&why);
	return d;
}

struct geo_file *geo_file_get(const char *path, enum geo_format format, struct strbuf *out_why)
{
	struct geo_database *d = NULL;
	struct geo_file **slot, *f = NULL;
	bool is_full;

	pthread_mutex_lock(&files_lock);
	slot = file_slot(path, format);
	is_full = !slot;
	if (slot && *slot) {
		f = *slot;
		f->refs++;
	}
	pthread_mutex_unlock(&files_lock);
	if (f)
		return f;
	if (is_full)
		strbuf_printf(out_why, "%s is one geo database too many: there may be %d", path, GEO_FILES_MAX);
	else
		d = file_open(path, format, out_why);
	if (!d)
		return NULL;
	/* Only control makes files, so the slot is still free. */
	pthread_mutex_lock(&files_lock);
	slot = file_slot(path, format);
	CHECK(slot && !*slot);
	f = *slot = file_new(path, format, d);
	pthread_mutex_unlock(&files_lock);
	return f;
}

void geo_file_hold(struct geo_file *f)
{
	OBJ_CHECK(f, TAG_FILE);
	pthread_mutex_lock(&files_lock);
	f->refs++;
	pthread_mutex_unlock(&files_lock);
}

void geo_file_put(struct geo_file *f)
{
	bool is_last;

	if (!f)
		return;
	OBJ_CHECK(f, TAG_FILE);
	pthread_mutex_lock(&files_lock);
	CHECK(f->refs > 0);
	is_last = --f->refs == 0;
	if (is_last)
		*file_slot(f->path, f->format) = NULL;
	pthread_mutex_unlock(&files_lock);
	if (!is_last)
		return;
	geo_database_put(f->database);
	pthread_rwlock_destroy(&f->lock);
	free(f->path);
	f->tag = 0;
	free(f);
}

int geo_file_find(struct geo_file *f, const uint8_t ip[16], struct geo_place *out_place)
{
	int err;

	OBJ_CHECK(f, TAG_FILE);
	pthread_rwlock_rdlock(&f->lock);
	err = geo_database_find(f->database, ip, out_place);
	pthread_rwlock_unlock(&f->lock);
	return err;
}

struct geo_database *geo_file_database(struct geo_file *f)
{
	struct geo_database *d;

	OBJ_CHECK(f, TAG_FILE);
	pthread_rwlock_rdlock(&f->lock);
	d = geo_database_get(f->database);
	pthread_rwlock_unlock(&f->lock);
	return d;
}

const char *geo_file_path(const struct geo_file *f)
{
	OBJ_CHECK(f, TAG_FILE);
	return f->path;
}

enum geo_format geo_file_format(const struct geo_file *f)
{
	OBJ_CHECK(f, TAG_FILE);
	return f->format;
}

void geo_file_give(struct geo_file *f, struct geo_database *d)
{
	struct geo_database *old;

	OBJ_CHECK(f, TAG_FILE);
	pthread_rwlock_wrlock(&f->lock);
	old = f->database;
	f->database = d;
	pthread_rwlock_unlock(&f->lock);
	geo_database_put(old);
}

void geo_file_set_problem(struct geo_file *f, const char *why)
{
	OBJ_CHECK(f, TAG_FILE);
	(void)snprintf(f->problem, sizeof(f->problem), "%s", why ? why : "");
}

const char *geo_file_problem(const struct geo_file *f)
{
	OBJ_CHECK(f, TAG_FILE);
	return f->problem;
}

static uint64_t look_of(const struct stat *st)
{
	const uint64_t words[] = { (uint64_t)st->st_dev, st->st_ino, (uint64_t)st->st_size,
				   (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec };

	return hash_bytes(words, sizeof(words)) | 1;
}

uint64_t geo_file_look(const struct geo_file *f)
{
	struct stat st;

	OBJ_CHECK(f, TAG_FILE);
	return stat(f->path, &st) == 0 ? look_of(&st) : 0;
}

bool geo_file_has_changed(const struct geo_file *f)
{
	uint64_t now = geo_file_look(f);

	return now != 0 && now != look_of(geo_database_stat(f->database));
}

void geo_file_for_each(void (*fn)(void *ctx, struct geo_file *f), void *ctx)
{
	struct geo_file *held[GEO_FILES_MAX];
	size_t count = 0;

	pthread_mutex_lock(&files_lock);
	for (size_t i = 0; i < GEO_FILES_MAX; i++)
		if (files[i]) {
			files[i]->refs++;
			held[count++] = files[i];
		}
	pthread_mutex_unlock(&files_lock);
	for (size_t i = 0; i < count; i++) {
		fn(ctx, held[i]);
		geo_file_put(held[i]);
	}
}
