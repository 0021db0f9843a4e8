/* SPDX-License-Identifier: GPL-2.0-only */
/* config_guard.h - `budget` and `ban` of the kernel block, as they were written. */
#ifndef SN_PROXY_CONFIG_GUARD_H
#define SN_PROXY_CONFIG_GUARD_H

#include "schema/schema.h"
#include "schema/value.h"

/* In the order of SN_PER_* (include/sentinel/budget.h). */
enum config_per {
	CONFIG_PER_IP,
	CONFIG_PER_24,
	CONFIG_PER_64,
	CONFIG_PER_48,
};

/* connections "100/s" burst=200 per="ip" */
struct config_budget_row {
	struct schema_meta meta;
	struct value_rate rate;
	uint64_t burst; /* 0: as many as come in the rate's period */
	enum config_per per;
};

struct config_budget {
	struct schema_meta meta;
	struct config_budget_row *connections, *packets;
	size_t connection_count, packet_count;
};

struct config_ban {
	struct schema_meta meta;
	uint32_t after; /* refusals ... */
	uint64_t within_ms;
	uint64_t for_ms, max_ms;
	uint32_t per_second;
};

extern const struct schema_block config_budget_block, config_ban_block;

#endif
