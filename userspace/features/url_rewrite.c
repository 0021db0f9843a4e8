/* SPDX-License-Identifier: GPL-2.0-only */
/* url_rewrite.c - filter: another path or host for the origin.  The route was chosen by the original ones. */
#include "proxy/exchange.h"
#include "proxy/filter.h"
#include "proxy/path_rewrite.h"
#include "schema/schema.h"

struct url_rewrite_config {
	struct schema_meta meta;
	const char *hostname; /* or NULL */
	struct path_rewrite_config path;
};

static const struct schema_row rows[] = {
	ROW_STRING(struct url_rewrite_config, hostname, "hostname", NULL, "The Host that the origin sees."),
	ROWS_PATH_REWRITE(struct url_rewrite_config, path),
	ROW_END,
};

static void check(struct schema *s, void *config)
{
	struct url_rewrite_config *c = config;

	if (c->hostname && !path_rewrite_host_is_valid(span_str(c->hostname)))
		diag_error(s->diag, SCHEMA_POS(c, hostname), "this is not a host name");
	path_rewrite_check(s, &c->path, SCHEMA_POS(c, path.full));
	if (!c->hostname && !path_rewrite_is_set(&c->path))
		diag_warning(s->diag, c->meta.pos, "this filter rewrites nothing");
}

static enum filter_verdict on_request(struct exchange *x, const struct filter_use *u)
{
	const struct url_rewrite_config *c = u->config;

	if (c->hostname)
		x->request->authority = span_str(c->hostname);
	if (!path_rewrite_is_set(&c->path) || x->path.len == 0 || x->path.ptr[0] != '/')
		return FILTER_NEXT;
	x->path = path_rewrite_apply(&c->path, x->path, x->arena);
	x->request->path = x->path;
	if (x->query.ptr)
		x->request->path = span_str(
			arena_printf(x->arena, SPAN_FMT "?" SPAN_FMT, SPAN_ARG(x->path), SPAN_ARG(x->query)));
	return FILTER_NEXT;
}

const struct filter filter_url_rewrite = {
	.name = "url-rewrite",
	.help = "Another path or host for the origin.",
	.rows = rows,
	.config_size = sizeof(struct url_rewrite_config),
	.check = check,
	.on_request = on_request,
};
