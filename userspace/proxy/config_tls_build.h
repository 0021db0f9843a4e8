/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_tls_build.h - TLS contexts of the file: registry objects that outlive snapshots.
 * The same settings with the same files give the same object again, so that sessions, staples and kept connections
 * survive a reload; a changed file gives a new one.  Control thread only.
 */
#ifndef SN_PROXY_CONFIG_TLS_BUILD_H
#define SN_PROXY_CONFIG_TLS_BUILD_H

#include "base/hmap.h"
#include "net/tls_context.h"
#include "schema/diag.h"

struct config_listener;
struct config_upstream;

#define CONFIG_TLS_KEPT "the old ones stay: "

struct config_tls_registry {
	struct tls_shared *shared; /* owned; ticket keys of the process */
	struct hmap objects;	   /* settings as text -> struct config_tls_object */
	uint64_t build;		   /* the current one */
	bool keeps_old; /* what cannot be loaded again stays, with CONFIG_TLS_KEPT and the reason as warnings */
	unsigned kept_count; /* in this build */
	bool is_serving; /* keylog files are opened; else nothing is written to */
};

void config_tls_registry_init(struct config_tls_registry *r);
void config_tls_registry_fini(struct config_tls_registry *r);

/* A reference for the caller; NULL with errors in d at the block. */
struct tls_server *config_tls_server(struct config_tls_registry *r, const struct config_listener *c, struct diag *d);
struct tls_client *config_tls_client(struct config_tls_registry *r, const struct config_upstream *c, struct diag *d);

/*
 * Before each build; and when what it built is published: then the objects that it made take the places of the old
 * ones, and those that it did not ask for are let go of.  A build that is not published changes nothing.
 */
void config_tls_registry_begin(struct config_tls_registry *r);
void config_tls_registry_publish(struct config_tls_registry *r);

/* A certificate, key, CA or list on disk differs from what was loaded: see config_rebuild(). */
bool config_tls_files_changed(const struct config_tls_registry *r);
/* What these files are now, in a number that is another one after each change. */
uint64_t config_tls_files_look(const struct config_tls_registry *r);
void config_tls_for_each_server(const struct config_tls_registry *r,
				void (*fn)(void *ctx, struct tls_server *server), void *ctx);

#endif
