/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tls_names.h - host names of certificates: which certificates answer for a name that a client asks for.
 * Names are compared in lower case, without a dot at the end.  An exact name wins; then wildcards, by taking leading
 * labels away one at a time: "*.example.com" answers for a.example.com and a.b.example.com, never for example.com.
 * A name may have one certificate of each kind of key.  Two of one kind for one name are a conflict, unless exactly one
 * of them was added with priority.  Weak names (the default certificate's own) give way to any other without a word,
 * whatever its kind of key.
 * Built by one thread, then read by any.
 */
#ifndef SN_NET_TLS_NAMES_H
#define SN_NET_TLS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/hmap.h"
#include "net/tls_certificate.h"

#define TLS_NAME_MAX 253

/* A name's row.  Rows with the same certificates share one `set`, which the builder assigns. */
struct tls_name {
	struct span name; /* "a.example", or "*.example" */
	const struct tls_certificate *certificates[TLS_KEY_KIND_COUNT]; /* borrowed; NULL: none of that kind */
	unsigned char rank[TLS_KEY_KIND_COUNT];
	void *set; /* borrowed; the builder's */
};

struct tls_names {
	struct hmap map; /* name -> struct tls_name */
	struct arena arena; /* owns rows and names */
	size_t wildcard_count;
};

enum tls_name_rank {
	TLS_NAME_WEAK = 1,
	TLS_NAME_PLAIN,
	TLS_NAME_PRIORITY,
};

void tls_names_init(struct tls_names *t);
void tls_names_fini(struct tls_names *t); /* NULL ok */

/*
 * Write `in` to buf (TLS_NAME_MAX + 1 bytes) in lower case, without a last dot, NUL-terminated; the length, or 0 if it
 * is no host name: empty or longer than 253, a label that is empty or longer than 63, a byte that is not a letter,
 * digit, '-' or '_'.  An IPv4 address passes (it is no certificate's name, so nothing is found).  may_be_wildcard: the
 * first label may be "*", if another follows.
 */
size_t tls_name_parse(struct span in, bool may_be_wildcard, char *buf);

/* Name as parsed.  0, or -EEXIST: conflict, *out_other is the other certificate. */
int tls_names_add(struct tls_names *t, struct span name, const struct tls_certificate *c, enum tls_name_rank rank,
		  const struct tls_certificate **out_other);
/* A host as the client wrote it (an SNI, or a Host without port).  NULL: no certificate's name. */
struct tls_name *tls_names_find(const struct tls_names *t, struct span host);
bool tls_name_is_weak(const struct tls_name *row); /* only weak certificates, or none yet */
/* Iterate: start with *pos = 0; NULL at the end. */
struct tls_name *tls_names_next(const struct tls_names *t, size_t *pos);

#endif
