/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * store_url.h - where a store is, as a user writes it.  Pure.
 *
 *	redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]	also rediss:// (TLS)
 *	memcache://HOST[:PORT]					also memcached://
 *	unix:///PATH[?db=N]					also redis+unix://[[USER]:PASSWORD@]/PATH[?db=N]
 *
 * HOST is a name, an IPv4 address or an IPv6 address in brackets.  User and password may have %XX.
 */
#ifndef SN_CLIENTS_STORE_URL_H
#define SN_CLIENTS_STORE_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

enum store_kind {
	STORE_REDIS,
	STORE_MEMCACHED,
};

#define STORE_SECRET_MAX 512

struct store_url {
	enum store_kind kind;
	bool is_tls;
	char endpoint[272]; /* "host:port", "[v6]:port" or "unix:/path" */
	char host[256];	    /* without brackets; of a Unix socket empty */
	char user[STORE_SECRET_MAX], password[STORE_SECRET_MAX]; /* empty: none */
	uint32_t database;
};

/* False: *out_why (static) says what is wrong, *out is not to be used. */
bool store_url_parse(struct store_url *out, enum store_kind kind, struct span text, const char **out_why);

#endif
