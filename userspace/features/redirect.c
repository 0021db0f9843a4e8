/* SPDX-License-Identifier: GPL-2.0-only */
/* redirect.c - filter: answer with a redirection to another scheme, host, port or path. */
#include "http/uri.h"
#include "proxy/exchange.h"
#include "proxy/filter.h"
#include "proxy/path_rewrite.h"
#include "schema/schema.h"

struct redirect_config {
	struct schema_meta meta;
	uint32_t status;
	const char *scheme, *hostname; /* or NULL */
	uint32_t port;		       /* 0: the scheme's, or that of the request */
	struct path_rewrite_config path;
};

static const struct schema_row rows[] = {
	ROW_UINT(struct redirect_config, status, "status-code", 300, 308, "302",
		 "301, 302, 303, 307 or 308."),
	ROW_STRING(struct redirect_config, scheme, "scheme", NULL, "http or https."),
	ROW_STRING(struct redirect_config, hostname, "hostname", NULL, "Host of the new location."),
	ROW_UINT(struct redirect_config, port, "port", 1, 65535, "none", "Port of the new location."),
	ROWS_PATH_REWRITE(struct redirect_config, path),
	ROW_END,
};

static void check(struct schema *s, void *config)
{
	struct redirect_config *c = config;

	if (c->status != 301 && c->status != 302 && c->status != 303 && c->status != 307 && c->status != 308)
		diag_error(s->diag, SCHEMA_POS(c, status), "`status-code` must be 301, 302, 303, 307 or 308");
	if (c->scheme && strcmp(c->scheme, "http") != 0 && strcmp(c->scheme, "https") != 0)
		diag_error(s->diag, SCHEMA_POS(c, scheme), "`scheme` must be \"http\" or \"https\"");
	if (c->hostname && !path_rewrite_host_is_valid(span_str(c->hostname)))
		diag_error(s->diag, SCHEMA_POS(c, hostname), "this is not a host name");
	path_rewrite_check(s, &c->path, SCHEMA_POS(c, path.full));
}

/* The port to print, or 0: the scheme's own is left out. */
static uint32_t port_of(const struct redirect_config *c, const struct exchange *x, const char *scheme)
{
	unsigned port = c->port;
	struct span host;

	if (!port && !c->scheme && !c->hostname && !uri_split_authority(x->request->authority, &host, &port))
		port = 0;
	if ((port == 80 && strcmp(scheme, "http") == 0) || (port == 443 && strcmp(scheme, "https") == 0))
		return 0;
	return port;
}

static enum filter_verdict on_request(struct exchange *x, const struct filter_use *u)
{
	const struct redirect_config *c = u->config;
	const char *scheme = c->scheme ? c->scheme : "http";
	struct span host = c->hostname ? span_str(c->hostname) : x->host;
	struct span path = path_rewrite_apply(&c->path, x->path, x->arena);
	uint32_t port = port_of(c, x, scheme);
	struct strbuf b = {0};

	strbuf_init(&b);
	if (host.len > 0) {
		strbuf_printf(&b, "%s://" SPAN_FMT, scheme, SPAN_ARG(host));
		if (port)
			strbuf_printf(&b, ":%u", port);
	}
	strbuf_add_span(&b, path);
	if (x->query.ptr) {
		strbuf_add_char(&b, '?');
		strbuf_add_span(&b, x->query);
	}
	exchange_answer(x, c->status, NULL, (struct slice){0});
	headers_add(&x->response.headers, TOKEN_LOCATION, arena_span(x->arena, strbuf_span(&b)));
	strbuf_fini(&b);
	return FILTER_ANSWER;
}

const struct filter filter_redirect = {
	.name = "redirect",
	.help = "Answer with a redirection; the query string is kept.",
	.rows = rows,
	.config_size = sizeof(struct redirect_config),
	.check = check,
	.on_request = on_request,
};
