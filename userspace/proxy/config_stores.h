/* SPDX-License-Identifier: GPL-2.0-only */
/* config_stores.h - the stores that limits of the file share: registry objects that outlive snapshots.  Control. */
#ifndef SN_PROXY_CONFIG_STORES_H
#define SN_PROXY_CONFIG_STORES_H

#include "clients/store.h"
#include "schema/diag.h"

struct config_rate_limit;
struct config_registry;

/* The store of a limit whose `store` is not NULL: found or made, a name for the caller.  NULL with errors in d. */
struct store *config_store_open(struct config_registry *r, const struct config_rate_limit *c, struct diag *d);

#endif
