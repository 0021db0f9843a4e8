/* SPDX-License-Identifier: GPL-2.0-only */
/* config_geo.c - rows of `kernel { geo }`. */
#include "proxy/config_geo.h"

#include "proxy/config.h"
#include "proxy/geo_words.h"

static const struct schema_word mode_words[] = {
	{ "monitor", CONFIG_GEO_MONITOR, .help = "count and report who would be refused, refuse nobody" },
	{ "enforce", CONFIG_GEO_ENFORCE, .help = "refuse" },
	{ "off", CONFIG_GEO_OFF, .help = "nobody is asked for his country" },
	{ NULL },
};

#define ROWS_POLICY(S, mode_default)                                                                                   \
	ROW_STRINGS(S, policy.deny, "deny", NULL, "Countries whose clients are refused, by their two letters."),       \
		ROW_STRINGS(S, policy.allow, "allow", NULL,                                                            \
			    "The only countries whose clients are let in; an address in no country is refused too."),  \
		ROW_ENUM(S, policy.mode, "mode", mode_words, mode_default, "Whether it is done, or only counted.")

#define LISTENER struct config_geo_listener

static const struct schema_row listener_rows[] = {
	ROW_STRING(LISTENER, id, "id", NULL, "Name of the listener.",
		   .flags = SCHEMA_ARG | SCHEMA_ARG_ONLY | SCHEMA_ID | SCHEMA_REQUIRED),
	ROWS_POLICY(LISTENER, NULL),
	ROW_END,
};

static void policy_read(struct schema *s, struct config_geo_policy *p)
{
	const struct schema_strings *list = p->allow.count ? &p->allow : &p->deny;

	if (p->allow.count && p->deny.count)
		diag_note(s->diag,
			  diag_error(s->diag, p->deny.items[0].pos, "`deny` beside `allow`: only one of them can hold"),
			  p->allow.items[0].pos, "`allow` is here");
	p->is_allow = p->allow.count > 0;
	p->line = list->count ? list->items[0].pos.line : 0;
	p->countries = geo_words_countries(s, list, &p->country_count);
}

static void listener_check(struct schema *s, void *config)
{
	LISTENER *c = config;

	policy_read(s, &c->policy);
	if (!c->policy.allow.count && !c->policy.deny.count && !SCHEMA_HAS(c, policy.mode))
		diag_error(s->diag, c->meta.pos, "say `deny`, `allow` or `mode` of this listener");
}

static const struct schema_block listener_block =
	SCHEMA_BLOCK(LISTENER, "listener", listener_rows, listener_check,
		     "Another rule for the clients of one listener, instead of those of the block.");

#define GEO struct config_geo

static const struct schema_row rows[] = {
	ROW_PATH(GEO, database, "database", NULL,
		 "A MaxMind database (`.mmdb`), country or city.  It is read when the configuration is loaded, and "
		 "again by itself when the file changes; a new one that is damaged is not used.",
		 .flags = SCHEMA_REQUIRED),
	ROWS_POLICY(GEO, "monitor"),
	ROW_LIST(GEO, listeners, listener_count, "listener", &listener_block,
		 "Another rule for the clients of one listener, instead of those of the block."),
	ROW_END,
};

static void check(struct schema *s, void *config)
{
	GEO *c = config;

	policy_read(s, &c->policy);
	/* What a listener does not say it has from the block. */
	for (size_t i = 0; i < c->listener_count; i++) {
		LISTENER *l = &c->listeners[i];
		enum config_geo_mode mode = SCHEMA_HAS(l, policy.mode) ? l->policy.mode : c->policy.mode;

		if (!l->policy.allow.count && !l->policy.deny.count)
			l->policy = c->policy;
		l->policy.mode = mode;
	}
	if (!c->database)
		return;
	if (geo_words_format(c->database) != GEO_FORMAT_MAXMIND)
		diag_error(s->diag, SCHEMA_POS(c, database), "the kernel's countries come from a `.mmdb` database");
	else
		c->file = geo_words_open(s, c->database, GEO_FORMAT_MAXMIND, SCHEMA_POS(c, database));
}

const struct schema_block config_geo_block = SCHEMA_BLOCK(
	GEO, "geo", rows, check,
	"Who may come in, by country.  Decided exactly when a connection is accepted; where the guard is loaded, most "
	"of those who are refused die in the kernel with their SYN.  Networks that `acl` allows are not asked.");

const struct config_geo_policy *config_geo_policy(const struct config_geo *g, const char *listener)
{
	const struct config_geo_policy *p = &g->policy;

	for (size_t i = 0; i < g->listener_count; i++)
		if (strcmp(g->listeners[i].id, listener) == 0)
			p = &g->listeners[i].policy;
	return p->country_count && p->mode != CONFIG_GEO_OFF ? p : NULL;
}

void config_geo_check(struct schema *s, const struct config *c)
{
	const struct config_geo *g = c->kernel.geo;

	for (size_t i = 0; g && i < g->listener_count; i++)
		if (g->listeners[i].id && !config_listener_find(c, g->listeners[i].id))
			diag_error(s->diag, g->listeners[i].meta.pos, "there is no listener \"%s\"",
				   g->listeners[i].id);
}
