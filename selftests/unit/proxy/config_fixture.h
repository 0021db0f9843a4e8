/* SPDX-License-Identifier: GPL-2.0-only */
/* config_fixture.h - build configurations from text, without the code of features; one test program each. */
#ifndef SN_TEST_CONFIG_FIXTURE_H
#define SN_TEST_CONFIG_FIXTURE_H

#include "base/check.h"
#include "proxy/config.h"
#include "proxy/handler.h"
#include "proxy/snapshot.h"

/* ---- features: two filters and the handlers, without their code ---- */

struct note_config {
	struct schema_meta meta;
	const char *text;
};

static void note_check(struct schema *s, void *config)
{
	const struct note_config *c = config;

	if (c->text && strcmp(c->text, "wrong") == 0)
		diag_error(s->diag, c->meta.pos, "the filter does not like this text");
}

static const struct schema_row note_rows[] = {
	ROW_STRING(struct note_config, text, "text", NULL, "A text."),
	ROW_END,
};
static const struct filter filters[] = {
	{ .name = "note",
	  .rows = note_rows,
	  .config_size = sizeof(struct note_config),
	  .worker_size = 40,
	  .check = note_check },
	{ .name = "redirect", .rows = note_rows, .config_size = sizeof(struct note_config) },
	{ .name = "rate-limit", .rows = rate_limit_rows, .config_size = sizeof(struct config_rate_limit) },
};
static const struct handler handlers[] = {
	{ .name = "status" },	 { .name = "health" }, { .name = "metrics" },
	{ .name = "not-found" }, { .name = "config" }, { .name = "upstreams" },
};
const struct handler handler_forward = { .name = "forward" };

const struct filter *filter_at(size_t i)
{
	return i < ARRAY_LEN(filters) ? &filters[i] : NULL;
}

const struct filter *filter_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(filters); i++)
		if (strcmp(filters[i].name, name) == 0)
			return &filters[i];
	return NULL;
}

const struct handler *handler_at(size_t i)
{
	return i < ARRAY_LEN(handlers) ? &handlers[i] : NULL;
}

const struct handler *handler_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
		if (strcmp(handlers[i].name, name) == 0)
			return &handlers[i];
	return NULL;
}

/* ---- helpers ---- */

static struct config_registry registry;
static struct snapshot *built;
static struct diag diag;
static struct strbuf text;

static int setup(void **state)
{
	(void)state;
	config_registry_init(&registry);
	strbuf_init(&text);
	built = NULL;
	diag_init(&diag, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	snapshot_put(built);
	diag_fini(&diag);
	strbuf_fini(&text);
	config_registry_fini(&registry);
	return 0;
}

static inline int build(const char *file)
{
	int err = config_build_text(&built, "t.kdl", span_str(file), &registry, NULL, &diag);

	diag_print(&diag, &text);
	return err;
}

#define LISTENERS   "listeners { listener \"web\" { address \"0.0.0.0:80\" } }\n"
#define UPSTREAMS   "upstreams { upstream \"u\" { target \"127.0.0.1:1\" } }\n"
#define ROUTE(body) "routes { route \"r\" { " body " } }\n"
#define ALL	    "matches { path-prefix \"/\" }; "

/* ---- tables of files ---- */

struct mistake {
	const char *file;
	const char *says; /* in the diagnostics */
};

static void begin_again(void)
{
	void *state = NULL;

	teardown(&state);
	setup(&state);
}

static inline void check_errors(const struct mistake *list, size_t count)
{
	for (size_t i = 0; i < count; i++, begin_again())
		if (build(list[i].file) != -EINVAL || !strstr(text.ptr, list[i].says) ||
		    !strstr(text.ptr, "error: "))
			fail_msg("%s\nshould say: %s\nbut says:\n%s", list[i].file, list[i].says, text.ptr);
}

static inline void check_warnings(const struct mistake *list, size_t count)
{
	for (size_t i = 0; i < count; i++, begin_again())
		if (build(list[i].file) != 0 || !strstr(text.ptr, list[i].says))
			fail_msg("%s\nshould warn: %s\nbut says:\n%s", list[i].file, list[i].says, text.ptr);
}

static inline void check_silence(const char *const *files, size_t count)
{
	for (size_t i = 0; i < count; i++, begin_again())
		if (build(files[i]) != 0 || text.len > 0)
			fail_msg("%s\nsays:\n%s", files[i], text.ptr);
}

/* ---- what was built ---- */

static inline const struct route *match(const struct listener *l, const char *path)
{
	struct headers none = { 0 };
	const struct route_request q = { SPAN("GET"), SPAN("h"), span_str(path), { "", 0 }, &none };
	struct router_scratch *scratch = router_scratch_new();
	const struct route *r = router_match(l->router, scratch, &q);

	router_scratch_free(scratch);
	return r;
}

#endif
