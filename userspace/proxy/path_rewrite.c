/* SPDX-License-Identifier: GPL-2.0-only */
/* path_rewrite.c - another path, whole or its prefix. */
#include "proxy/path_rewrite.h"

#include "http/uri.h"

bool path_rewrite_is_set(const struct path_rewrite_config *c)
{
	return c->full || c->prefix.count > 0;
}

static bool path_is_valid(const char *path)
{
	if (path[0] != '/')
		return false;
	for (; *path; path++)
		if (*path <= ' ' || *path >= 0x7f || *path == '?' || *path == '#')
			return false;
	return true;
}

void path_rewrite_check(struct schema *s, const struct path_rewrite_config *c, struct schema_pos full_pos)
{
	static const char *const must = "a path begins with / and has no spaces, ? or #";

	if (c->full && !path_is_valid(c->full))
		diag_error(s->diag, full_pos, "%s", must);
	if (c->full && c->prefix.count > 0)
		diag_error(s->diag, c->prefix.items[0].name.pos,
			   "either `replace-full-path` or `replace-prefix-match`, not both");
	if (c->prefix.count > 1)
		diag_error(s->diag, c->prefix.items[1].name.pos, "one pair only");
	if (c->prefix.count > 0 && !path_is_valid(c->prefix.items[0].name.text))
		diag_error(s->diag, c->prefix.items[0].name.pos, "%s", must);
	if (c->prefix.count > 0 && !path_is_valid(c->prefix.items[0].value.text))
		diag_error(s->diag, c->prefix.items[0].value.pos, "%s", must);
}

/* Without a slash at the end: the border is looked at separately. */
static struct span trim_slash(const struct schema_string *s)
{
	struct span t = span_of(s->text, s->len);

	if (t.len > 0 && t.ptr[t.len - 1] == '/')
		t.len--;
	return t;
}

struct span path_rewrite_apply(const struct path_rewrite_config *c, struct span path, struct arena *a)
{
	struct span from, to, rest;

	if (c->full)
		return span_str(c->full);
	if (c->prefix.count == 0)
		return path;
	from = trim_slash(&c->prefix.items[0].name);
	to = trim_slash(&c->prefix.items[0].value);
	if (!span_starts(path, from))
		return path;
	rest = span_skip(path, from.len);
	if (rest.len > 0 && rest.ptr[0] != '/')
		return path;
	if (to.len + rest.len == 0)
		return SPAN("/");
	return span_str(arena_printf(a, SPAN_FMT SPAN_FMT, SPAN_ARG(to), SPAN_ARG(rest)));
}

bool path_rewrite_host_is_valid(struct span host)
{
	struct span got;
	unsigned port = 0;

	return uri_split_authority(host, &got, &port) && port == 0 && got.len == host.len;
}
