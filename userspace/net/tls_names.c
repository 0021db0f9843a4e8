/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_names.c - the table from host names to certificates. */
#include "net/tls_names.h"

#include <errno.h>

#include "base/check.h"

#define LABEL_MAX 63

void tls_names_init(struct tls_names *t)
{
	*t = (struct tls_names){ 0 };
	arena_init(&t->arena, 4096);
}

void tls_names_fini(struct tls_names *t)
{
	if (!t)
		return;
	hmap_fini(&t->map);
	arena_fini(&t->arena);
	*t = (struct tls_names){ 0 };
}

static int name_byte(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 'a';
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
		return c;
	return 0;
}

size_t tls_name_parse(struct span in, bool may_be_wildcard, char *buf)
{
	size_t label = 0, i = 0;

	if (in.len && in.ptr[in.len - 1] == '.')
		in.len--;
	if (in.len == 0 || in.len > TLS_NAME_MAX)
		return 0;
	if (may_be_wildcard && in.len > 2 && in.ptr[0] == '*' && in.ptr[1] == '.') {
		buf[0] = '*';
		buf[1] = '.';
		i = 2;
	}
	for (; i < in.len; i++) {
		char c = in.ptr[i];

		if (c == '.') {
			if (label == 0)
				return 0;
			label = 0;
			buf[i] = '.';
			continue;
		}
		if (!name_byte(c) || ++label > LABEL_MAX)
			return 0;
		buf[i] = (char)name_byte(c);
	}
	if (label == 0)
		return 0;
	buf[in.len] = '\0';
	return in.len;
}

static struct tls_name *name_row(struct tls_names *t, struct span name)
{
	struct tls_name *row = hmap_get(&t->map, name);

	if (row)
		return row;
	row = arena_zalloc(&t->arena, sizeof(*row));
	row->name = arena_span(&t->arena, name);
	hmap_set(&t->map, row->name, row);
	t->wildcard_count += name.ptr[0] == '*';
	return row;
}

bool tls_name_is_weak(const struct tls_name *row)
{
	for (unsigned k = 0; k < TLS_KEY_KIND_COUNT; k++) {
		if (row->rank[k] > TLS_NAME_WEAK)
			return false;
	}
	return true;
}

int tls_names_add(struct tls_names *t, struct span name, const struct tls_certificate *c, enum tls_name_rank rank,
		  const struct tls_certificate **out_other)
{
	struct tls_name *row = name_row(t, name);
	const struct tls_certificate *other = row->certificates[c->kind];

	if (other && other != c && rank == row->rank[c->kind] && rank != TLS_NAME_WEAK) {
		*out_other = other;
		return -EEXIST;
	}
	if (rank == TLS_NAME_WEAK && !tls_name_is_weak(row))
		return 0;
	if (rank != TLS_NAME_WEAK && tls_name_is_weak(row)) {
		memset(row->certificates, 0, sizeof(row->certificates));
		memset(row->rank, 0, sizeof(row->rank));
	}
	if (rank > row->rank[c->kind]) {
		row->certificates[c->kind] = c;
		row->rank[c->kind] = (unsigned char)rank;
	}
	return 0;
}

static struct tls_name *name_exact(const struct tls_names *t, const char *name, size_t len)
{
	return hmap_get(&t->map, span_of(name, len));
}

struct tls_name *tls_names_find(const struct tls_names *t, struct span host)
{
	char buf[TLS_NAME_MAX + 1];
	size_t len = tls_name_parse(host, false, buf);
	struct tls_name *row;

	if (len == 0)
		return NULL;
	row = name_exact(t, buf, len);
	if (row || t->wildcard_count == 0)
		return row;
	/* The byte before each dot becomes the star: buf is ours, and what is left of it is not looked at again. */
	for (size_t i = 1; i < len; i++) {
		if (buf[i] != '.')
			continue;
		buf[i - 1] = '*';
		row = name_exact(t, buf + i - 1, len - i + 1);
		if (row)
			return row;
	}
	return NULL;
}

struct tls_name *tls_names_next(const struct tls_names *t, size_t *pos)
{
	struct span name;
	void *row;

	return hmap_next(&t->map, pos, &name, &row) ? row : NULL;
}
