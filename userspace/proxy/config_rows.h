/* SPDX-License-Identifier: GPL-2.0-only */
/* config_rows.h - tables that the files config_*.c share: one block a file of them, joined in config.c. */
#ifndef SN_PROXY_CONFIG_ROWS_H
#define SN_PROXY_CONFIG_ROWS_H

#include "base/check.h"
#include "proxy/config.h"

extern const struct schema_block config_system_block;
extern const struct schema_row config_listeners_rows[];
extern const struct schema_block config_tls_block, config_upstream_tls_block, config_http_version_block;
extern const struct schema_row config_routes_rows[];
extern const struct schema_row config_upstreams_rows[];
extern const struct schema_block config_route_block, config_upstream_block;
extern const struct schema_variants config_filter_variants;
extern const struct schema_block config_limits_block;
extern const struct schema_block config_observability_block;
extern const struct schema_block config_kernel_block;

/* Words of `load-balancing`: the main spelling is a name for balancer_find(). */
extern const struct schema_word config_balancer_words[];

/* Words of `splice`. */
extern const struct schema_word config_splice_words[];

/* config_registry.c: the same id and address have the same number for as long as the process lives. */
uint32_t config_listener_number(struct config_registry *r, const char *id, const struct addr *addr);
/* Requests and tunnels in progress of what is called so: they outlive configurations, so does the number. */
_Atomic uint64_t *config_progress_count(struct config_registry *r, const char *id);

/* What every name in the file means, and which do not mean anything; after config_scopes_flatten(). */
void config_references_check(struct schema *s, struct config *c);

/* Rules across blocks (config_check.c); also run when rows were wrong. */
void config_check(struct schema *s, void *config);

/* Of `limits`, of the file and of a scope alike. */
#define ROWS_LIMITS_LATER                                                                                              \
	ROW_LATER("max-header-name-bytes"), ROW_LATER("max-header-value-bytes"), ROW_LATER("max-body-buffer-bytes"),   \
		ROW_LATER("max-body-inspection-bytes"), ROW_LATER("max-decompression-ratio"),                          \
		ROW_LATER("max-decompressed-size-bytes"), ROW_LATER("max-agent-queue-depth"),                          \
		ROW_LATER("max-agent-body-bytes"), ROW_LATER("max-agent-response-bytes")

#endif
