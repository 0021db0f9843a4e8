/* SPDX-License-Identifier: GPL-2.0-only */
/* config_guard.c - rows of `kernel { budget }` and `kernel { ban }`. */
#include "proxy/config_guard.h"

#include "schema/diag.h"
#include "schema/row.h"

#define DAY_MS ((uint64_t)SCHEMA_DAY)

static const struct schema_word per_words[] = {
	{ "ip", CONFIG_PER_IP, .help = "each IPv4 address, each IPv6 /64" },
	{ "/24", CONFIG_PER_24, .help = "IPv4 networks" },
	{ "/64", CONFIG_PER_64, .help = "IPv6 networks" },
	{ "/48", CONFIG_PER_48, .help = "IPv6 networks" },
	{ NULL },
};

#define BUDGET_ROW struct config_budget_row

static const struct schema_row budget_row_rows[] = {
	ROW_RATE(BUDGET_ROW, rate, "rate", NULL,
		 "How many for ever: a number a second, or with a unit as in \"600/m\".",
		 .flags = SCHEMA_ARG | SCHEMA_ARG_ONLY | SCHEMA_REQUIRED),
	ROW_UINT(BUDGET_ROW, burst, "burst", 1, 1000000000, NULL,
		 "How many at once, after a pause.  Unset: as many as the rate allows in its period.",
		 .flags = SCHEMA_PROP),
	ROW_ENUM(BUDGET_ROW, per, "per", per_words, "ip", "Who shares one budget.", .flags = SCHEMA_PROP),
	ROW_END,
};

/* As plan_add_budget(), said where it was written. */
static void check_row(struct schema *s, void *config)
{
	const BUDGET_ROW *r = config;
	uint64_t burst = r->burst ? r->burst : r->rate.count;

	if (r->rate.period_ms == 0)
		return; /* it was wrong, and that was said */
	if (r->rate.count == 0)
		diag_error(s->diag, r->meta.pos, "a budget of nothing refuses everybody: that is what `acl` is for");
	else if (r->rate.period_ms > DAY_MS)
		diag_error(s->diag, r->meta.pos, "the time of a budget is at most a day");
	else if (r->rate.count > r->rate.period_ms * 1000000)
		diag_error(s->diag, r->meta.pos, "a budget is at most one in a nanosecond");
	else if (burst > DAY_MS * 1000000 / (r->rate.period_ms * 1000000 / r->rate.count))
		diag_error(s->diag, r->meta.pos, "such a burst comes back only after more than a day");
}

static const struct schema_block connections_block =
	SCHEMA_BLOCK(BUDGET_ROW, "connections", budget_row_rows, check_row, "New connections.");
static const struct schema_block packets_block =
	SCHEMA_BLOCK(BUDGET_ROW, "packets", budget_row_rows, check_row, "Packets.");

static const struct schema_row budget_rows[] = {
	ROW_LIST(struct config_budget, connections, connection_count, "connections", &connections_block,
		 "How fast connections may be opened.  Where no guard is attached this is counted when they are "
		 "accepted."),
	ROW_LIST(struct config_budget, packets, packet_count, "packets", &packets_block,
		 "How fast packets may come.  Only a guard that is attached can count them."),
	ROW_END,
};

static void check_twice(struct schema *s, const BUDGET_ROW *rows, size_t count, const char *what)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			if (rows[i].per == rows[j].per)
				diag_error(s->diag, rows[i].meta.pos, "there is a budget of %s per=\"%s\" already",
					   what, per_words[rows[i].per].name);
}

static void check_budget(struct schema *s, void *config)
{
	const struct config_budget *b = config;

	check_twice(s, b->connections, b->connection_count, "connections");
	check_twice(s, b->packets, b->packet_count, "packets");
}

const struct schema_block config_budget_block =
	SCHEMA_BLOCK(struct config_budget, "budget", budget_rows, check_budget,
		     "How much each source may ask for.  All rows apply.  Loopback and what `acl` allows have no "
		     "budget.");

#define BAN struct config_ban

static const struct schema_row ban_rows[] = {
	ROW_UINT(BAN, after, "after", 1, 1000000, "20", "So many refusals ..."),
	ROW_DURATION(BAN, within_ms, "within", SCHEMA_SECONDS, 100, SCHEMA_HOUR, "10s", "... in this time."),
	ROW_DURATION(BAN, for_ms, "for", SCHEMA_SECONDS, 1000, DAY_MS, "60s",
		     "How long the first ban of a client lasts.  Each further one lasts twice as long."),
	ROW_DURATION(BAN, max_ms, "max", SCHEMA_SECONDS, 1000, 30 * DAY_MS, "1h",
		     "No ban lasts longer; and so long after its end a ban is forgotten."),
	ROW_UINT(BAN, per_second, "per-second", 1, 100000, "1000", "No more bans than this in a second."),
	ROW_END,
};

static void check_ban(struct schema *s, void *config)
{
	const BAN *b = config;

	if (b->max_ms < b->for_ms)
		diag_error(s->diag, b->meta.pos, "`max` is shorter than `for`");
}

const struct schema_block config_ban_block =
	SCHEMA_BLOCK(BAN, "ban", ban_rows, check_ban,
		     "Ban clients that keep being refused: by a limit whose key contains the client's address, by geo, "
		     "by an agent.  Without this block nobody is banned by itself.");
