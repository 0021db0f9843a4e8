/* SPDX-License-Identifier: GPL-2.0-only */
/* database.c - one geo database: a private copy of a file, checked as a whole, then immutable. */
#include "geo/database.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "geo/readers.h"

#define TAG_DATABASE TAG('G', 'E', 'O', 'D')
#define COPY_BYTES (1 << 20)
#define COPY_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

struct geo_database {
	uint32_t tag;
	_Atomic uint32_t refs;

	struct geo_info info;
	struct stat stat;

	void *bytes; /* the mapped copy; NULL: mmdb has its own */
	size_t len;
	struct mmdb *mmdb; /* owned, or NULL */
	struct ip2location ip2location;
};

void geo_seen_add(struct geo_seen *s, const struct geo_place *p)
{
	if (p->country)
		s->bits[p->country / 64] |= 1ull << p->country % 64;
	s->has_asn |= p->asn != 0;
}

static unsigned seen_count(const struct geo_seen *s)
{
	unsigned count = 0;

	for (size_t i = 0; i < ARRAY_LEN(s->bits); i++)
		count += (unsigned)__builtin_popcountll(s->bits[i]);
	return count;
}

/* ---- a copy that nobody changes ---- */

static int failed(int err, const char *what, struct strbuf *out_why)
{
	strbuf_printf(out_why, "%s: %s", what, err_text(err));
	return err;
}

static int write_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Up to the size that stat told; more is found by copy_matches(). */
static int copy_bytes(int from, int to, size_t len)
{
	char *buf = mem_alloc(COPY_BYTES);
	int err = 0;

	while (len > 0 && !err) {
		ssize_t n = read(from, buf, MIN(len, (size_t)COPY_BYTES));

		if (n < 0 && errno == EINTR)
			continue;
		err = n < 0 ? -errno : n == 0 ? -ESTALE : write_all(to, buf, (size_t)n);
		len -= n > 0 ? (size_t)n : 0;
	}
	free(buf);
	return err;
}

static bool copy_matches(int fd, const struct stat *before)
{
	struct stat now;

	return fstat(fd, &now) == 0 && now.st_size == before->st_size &&
	       now.st_mtim.tv_sec == before->st_mtim.tv_sec && now.st_mtim.tv_nsec == before->st_mtim.tv_nsec;
}

static int copy_new(void)
{
	int fd = memfd_create("geo", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	return fd < 0 ? -errno : fd;
}

static int copy_file(const char *path, struct stat *out_stat, struct strbuf *out_why)
{
	int err, to, from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (from < 0)
		return failed(-errno, "cannot be opened", out_why);
	to = copy_new();
	if (to < 0 || fstat(from, out_stat) < 0) {
		err = failed(to < 0 ? to : -errno, "cannot be read", out_why);
	} else if (!S_ISREG(out_stat->st_mode)) {
		strbuf_add_str(out_why, "is not a regular file");
		err = -EINVAL;
	} else if (out_stat->st_size == 0) {
		strbuf_add_str(out_why, "is empty");
		err = -EBADMSG;
	} else if (out_stat->st_size > GEO_FILE_BYTES_MAX) {
		strbuf_printf(out_why, "is larger than %u MiB", GEO_FILE_BYTES_MAX >> 20);
		err = -EFBIG;
	} else {
		err = copy_bytes(from, to, (size_t)out_stat->st_size);
		if (!err && !copy_matches(from, out_stat))
			err = -ESTALE;
		if (err == -ESTALE)
			strbuf_add_str(out_why, "was changed while it was read");
		else if (err)
			(void)failed(err, "cannot be read", out_why);
	}
	(void)close(from);
	if (!err)
		return to;
	if (to >= 0)
		(void)close(to);
	return err;
}

/* ---- opening ---- */

static int map_copy(struct geo_database *d, int fd, struct strbuf *out_why)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return failed(-errno, "cannot be read", out_why);
	d->info.bytes = (uint64_t)st.st_size;
	if (d->info.format == GEO_FORMAT_MAXMIND || st.st_size == 0)
		return 0;
	d->len = (size_t)st.st_size;
	d->bytes = mmap(NULL, d->len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (d->bytes != MAP_FAILED)
		return 0;
	d->bytes = NULL;
	return failed(-errno, "cannot be mapped", out_why);
}

static int read_copy(struct geo_database *d, int fd, struct strbuf *out_why)
{
	struct geo_seen *seen = mem_zalloc(sizeof(*seen));
	int err = map_copy(d, fd, out_why);

	if (!err && d->info.format == GEO_FORMAT_MAXMIND) {
		d->mmdb = mmdb_open(fd, out_why);
		err = d->mmdb ? mmdb_check(d->mmdb, &d->info, seen, out_why) : -EBADMSG;
	} else if (!err) {
		err = ip2location_open(&d->ip2location, d->bytes, d->len, &d->info, seen, out_why);
	}
	d->info.country_count = seen_count(seen);
	d->info.has_asn = seen->has_asn;
	free(seen);
	return err;
}

/* Takes fd. */
static struct geo_database *open_copy(int fd, enum geo_format format, struct strbuf *out_why)
{
	struct geo_database *d = mem_zalloc(sizeof(*d));
	int err;

	d->tag = TAG_DATABASE;
	atomic_init(&d->refs, 1);
	d->info.format = format;
	err = fcntl(fd, F_ADD_SEALS, COPY_SEALS) < 0 ? failed(-errno, "cannot be sealed", out_why) :
						       read_copy(d, fd, out_why);
	(void)close(fd);
	if (!err)
		return d;
	geo_database_put(d);
	return NULL;
}

struct geo_database *geo_database_open(const char *path, enum geo_format format, struct strbuf *out_why)
{
	struct geo_database *d;
	struct stat st;
	int fd = copy_file(path, &st, out_why);

	if (fd < 0)
		return NULL;
	d = open_copy(fd, format, out_why);
	if (d)
		d->stat = st;
	return d;
}

struct geo_database *geo_database_open_bytes(const void *bytes, size_t len, enum geo_format format,
					     struct strbuf *out_why)
{
	int err, fd = copy_new();

	err = fd < 0 ? fd : write_all(fd, bytes, len);
	if (!err)
		return open_copy(fd, format, out_why);
	(void)failed(err, "cannot be copied", out_why);
	if (fd >= 0)
		(void)close(fd);
	return NULL;
}

struct geo_database *geo_database_get(struct geo_database *d)
{
	OBJ_CHECK(d, TAG_DATABASE);
	CHECK(atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed) > 0);
	return d;
}

void geo_database_put(struct geo_database *d)
{
	if (!d)
		return;
	OBJ_CHECK(d, TAG_DATABASE);
	if (atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) > 1)
		return;
	mmdb_close(d->mmdb);
	if (d->bytes)
		(void)munmap(d->bytes, d->len);
	d->tag = 0;
	free(d);
}

/* ---- asking ---- */

const struct geo_info *geo_database_info(const struct geo_database *d)
{
	OBJ_CHECK(d, TAG_DATABASE);
	return &d->info;
}

const struct stat *geo_database_stat(const struct geo_database *d)
{
	OBJ_CHECK(d, TAG_DATABASE);
	return &d->stat;
}

const struct mmdb *geo_database_mmdb(const struct geo_database *d)
{
	OBJ_CHECK(d, TAG_DATABASE);
	return d->mmdb;
}

int geo_database_find(const struct geo_database *d, const uint8_t ip[16], struct geo_place *out_place)
{
	OBJ_CHECK(d, TAG_DATABASE);
	return d->mmdb ? mmdb_find(d->mmdb, ip, out_place) : ip2location_find(&d->ip2location, ip, out_place);
}

const char *geo_format_name(enum geo_format format)
{
	CHECK(format < GEO_FORMAT_COUNT);
	return format == GEO_FORMAT_MAXMIND ? "maxmind" : "ip2location";
}
