/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_file.c - reads certificate, key and list files, judges the rights of keys, remembers what was read. */
#include "net/tls_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#define GROUPS_MAX 256

static int64_t time_ns(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* st NULL: the file is not there. */
static void stamp_set(struct tls_stamp *s, const struct stat *st)
{
	s->device = st ? st->st_dev : 0;
	s->inode = st ? st->st_ino : 0;
	s->bytes = st ? (uint64_t)st->st_size : 0;
	s->mtime_ns = st ? time_ns(st->st_mtim) : 0;
	s->ctime_ns = st ? time_ns(st->st_ctim) : 0;
}

static void stamps_add(struct tls_stamps *s, const char *path, const struct stat *st)
{
	s->items = mem_resize(s->items, s->count + 1, sizeof(*s->items));
	s->items[s->count] = (struct tls_stamp){ .path = mem_strdup(path) };
	stamp_set(&s->items[s->count++], st);
}

void tls_stamps_add(struct tls_stamps *s, const struct tls_stamps *more)
{
	for (size_t i = 0; i < more->count; i++) {
		struct tls_stamp copy = more->items[i];

		stamps_add(s, copy.path, NULL);
		copy.path = s->items[s->count - 1].path;
		s->items[s->count - 1] = copy;
	}
}

void tls_stamps_fini(struct tls_stamps *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++)
		free(s->items[i].path);
	free(s->items);
	*s = (struct tls_stamps){ 0 };
}

bool tls_stamps_differ(const struct tls_stamps *s)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct tls_stamp *was = &s->items[i];
		struct tls_stamp now = { 0 };
		struct stat st;

		stamp_set(&now, stat(was->path, &st) == 0 ? &st : NULL);
		if (now.device != was->device || now.inode != was->inode || now.bytes != was->bytes ||
		    now.mtime_ns != was->mtime_ns || now.ctime_ns != was->ctime_ns)
			return true;
	}
	return false;
}

uint64_t tls_stamps_look(const struct tls_stamps *s)
{
	uint64_t sum = s->count;

	for (size_t i = 0; i < s->count; i++) {
		struct tls_stamp now = { 0 };
		struct stat st;

		stamp_set(&now, stat(s->items[i].path, &st) == 0 ? &st : NULL);
		sum = hash_u64(sum ^ hash_bytes(&now, sizeof(now)));
	}
	return sum;
}

static bool group_is_ours(gid_t group)
{
	gid_t groups[GROUPS_MAX];
	int count = getgroups(GROUPS_MAX, groups);

	if (group == 0 || group == getegid())
		return true;
	for (int i = 0; i < count; i++) {
		if (groups[i] == group)
			return true;
	}
	return false;
}

static int secret_check(const char *what, const char *path, const struct stat *st, struct tls_report *r)
{
	unsigned mode = st->st_mode & 07777;

	if (st->st_uid != 0 && st->st_uid != geteuid()) {
		tls_report_error(r, "%s %s belongs to user %u: it must be root's or the daemon's own (user %u)", what,
				 path, st->st_uid, geteuid());
		return -EPERM;
	}
	if (mode & 0027) {
		tls_report_error(r, "%s %s has mode %04o: others may use it, `chmod 600` it", what, path, mode);
		return -EPERM;
	}
	if ((mode & 0040) && !group_is_ours(st->st_gid))
		tls_report_warning(r, "%s %s can be read by group %u, which is not the daemon's", what, path,
				   st->st_gid);
	return 0;
}

static int content_read(int fd, struct tls_file *out, size_t bytes)
{
	char *data = mem_alloc(bytes + 1);
	size_t have = 0;
	int err = 0;

	while (have < bytes) {
		ssize_t n = read(fd, data + have, bytes - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err = n < 0 ? -errno : 0;
			break;
		}
		have += (size_t)n;
	}
	data[have] = '\0';
	*out = (struct tls_file){ data, have };
	if (err)
		tls_file_fini(out);
	return err;
}

int tls_file_read(struct tls_file *out, const char *what, const char *path, bool is_secret, struct tls_stamps *stamps,
		  struct tls_report *r)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err = fd < 0 ? -errno : 0;
	struct stat st;

	if (!err && fstat(fd, &st) != 0)
		err = -errno;
	if (stamps)
		stamps_add(stamps, path, err ? NULL : &st);
	if (err == -EACCES) {
		tls_report_error(r, "%s %s cannot be read: permission denied to user %u", what, path, geteuid());
	} else if (err) {
		tls_report_error(r, "%s %s cannot be read: %s", what, path, err_text(err));
	} else if (!S_ISREG(st.st_mode)) {
		tls_report_error(r, "%s %s is not a regular file", what, path);
		err = -EINVAL;
	} else if (st.st_size > TLS_FILE_BYTES_MAX) {
		tls_report_error(r, "%s %s has %lld bytes: more than %u", what, path, (long long)st.st_size,
				 TLS_FILE_BYTES_MAX);
		err = -EFBIG;
	} else if (is_secret) {
		err = secret_check(what, path, &st, r);
	}
	if (!err) {
		err = content_read(fd, out, (size_t)st.st_size);
		if (err)
			tls_report_error(r, "%s %s cannot be read: %s", what, path, err_text(err));
	}
	if (fd >= 0)
		close(fd);
	return err;
}

void tls_file_fini(struct tls_file *f)
{
	if (!f || !f->data)
		return;
	OPENSSL_cleanse(f->data, f->bytes);
	free(f->data);
	*f = (struct tls_file){ 0 };
}
