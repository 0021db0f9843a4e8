/* SPDX-License-Identifier: GPL-2.0-only */
/* source.c - the files of one configuration: reading, include, environment. */
#include "schema/source.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

/* One file that is being read, and who included it. */
struct source_chain {
	const struct source_chain *parent;
	const char *path;
	dev_t device; /* 0, 0 for a text from memory */
	ino_t inode;
	unsigned depth;
};

static const char *env_process(const char *name, void *user)
{
	(void)user;
	return getenv(name);
}

void source_init(struct source_set *s, struct arena *a)
{
	*s = (struct source_set){ .arena = a, .env = env_process };
}

const char *source_path(const struct source_set *s, uint32_t file)
{
	return file > 0 && file <= s->file_count ? s->files[file - 1].path : "-";
}

/* Length of the newline at ptr as KDL counts lines, 0 if there is none. */
static size_t newline_len(const char *ptr, size_t len)
{
	const unsigned char *u = (const unsigned char *)ptr;

	if (u[0] == '\r')
		return len > 1 && u[1] == '\n' ? 2 : 1;
	if (u[0] >= 0x0a && u[0] <= 0x0c)
		return 1;
	if (len > 1 && u[0] == 0xc2 && u[1] == 0x85)
		return 2;
	if (len > 2 && u[0] == 0xe2 && u[1] == 0x80 && (u[2] == 0xa8 || u[2] == 0xa9))
		return 3;
	return 0;
}

struct span source_line(const struct source_set *s, struct schema_pos pos)
{
	struct span rest = { 0 };
	uint32_t line = 1;
	size_t len = 0;

	if (pos.file == 0 || pos.file > s->file_count || pos.line == 0)
		return (struct span){ "", 0 };
	rest = s->files[pos.file - 1].text;
	if (span_starts(rest, SPAN("\xef\xbb\xbf")))
		rest = span_skip(rest, 3);
	while (line < pos.line && rest.len > 0) {
		size_t n = newline_len(rest.ptr, rest.len);

		line += n > 0;
		rest = span_skip(rest, n ? n : 1);
	}
	while (len < rest.len && newline_len(rest.ptr + len, rest.len - len) == 0)
		len++;
	return span_of(rest.ptr, len);
}

/* Files */

/* Register a text; its number, or 0 with an error at `from` if that is too much. */
static uint32_t file_add(struct source_set *s, const char *path, struct span text, struct schema_pos from,
			 struct diag *d)
{
	struct source_file *file;

	if (s->file_count == SOURCE_FILES_MAX || s->bytes + text.len > SOURCE_BYTES_MAX) {
		diag_error(d, from, "%s is too much: at most %d files and %u MiB in one configuration", path,
			   SOURCE_FILES_MAX, SOURCE_BYTES_MAX >> 20);
		return 0;
	}
	if (!s->files)
		s->files = arena_array(s->arena, SOURCE_FILES_MAX, sizeof(*s->files));
	file = &s->files[s->file_count++];
	*file = (struct source_file){ .path = path, .text = text, .included_at = from };
	s->bytes += text.len;
	return s->file_count;
}

static int fd_read(int fd, size_t bytes_max, struct strbuf *out)
{
	char chunk[16384];

	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if (out->len + (size_t)n > bytes_max)
			return -EFBIG;
		strbuf_add(out, chunk, (size_t)n);
	}
}

/* The whole regular file into the arena. */
static int file_read(struct source_set *s, const char *path, struct span *out_text, struct stat *out_stat)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct strbuf b;
	struct stat st;
	int err;

	if (fd < 0)
		return -errno;
	strbuf_init(&b);
	if (fstat(fd, &st) < 0)
		err = -errno;
	else if (S_ISDIR(st.st_mode))
		err = -EISDIR;
	else if (!S_ISREG(st.st_mode))
		err = -ENOTSUP;
	else
		err = fd_read(fd, KDL_BYTES_MAX, &b);
	if (!err) {
		*out_text = arena_span(s->arena, strbuf_span(&b));
		*out_stat = st;
	}
	strbuf_fini(&b);
	(void)close(fd);
	return err;
}

/* Environment */

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* What stands between ${ and }: add its value. */
static int variable_add(struct source_set *s, struct span inside, struct kdl_value *v, struct strbuf *out,
			struct diag *d)
{
	const char *value;
	char name[128];
	size_t n = 0;

	while (n < inside.len && is_name_char(inside.ptr[n]))
		n++;
	if (n == 0 || n >= sizeof(name) || inside.ptr[0] <= '9' ||
	    (n < inside.len && !span_starts(span_skip(inside, n), SPAN(":-")))) {
		diag_hint(d, diag_error(d, v->pos, "${" SPAN_FMT "} is no variable", SPAN_ARG(inside)),
			  "write ${NAME} or ${NAME:-default}; $${ is a literal ${");
		return -EINVAL;
	}
	memcpy(name, inside.ptr, n);
	name[n] = 0;
	value = s->env(name, s->env_user);
	if (n < inside.len && (!value || !*value)) {
		strbuf_add_span(out, span_skip(inside, n + 2));
		return 0;
	}
	if (!value) {
		diag_hint(d, diag_error(d, v->pos, "the environment variable %s is not set", name),
			  "write ${%s:-default} to give it a default", name);
		return -EINVAL;
	}
	strbuf_add_str(out, value);
	return 0;
}

static int value_expand(struct source_set *s, struct kdl_value *v, struct diag *d)
{
	struct span rest = v->text;
	struct strbuf out;
	int err = 0;

	if (v->type != KDL_STRING || v->form == KDL_FORM_RAW || !memmem(rest.ptr, rest.len, "${", 2))
		return 0;
	strbuf_init(&out);
	while (rest.len > 0 && !err) {
		if (span_starts(rest, SPAN("$${"))) {
			strbuf_add_str(&out, "${");
			rest = span_skip(rest, 3);
		} else if (span_starts(rest, SPAN("${"))) {
			size_t end = span_find(rest, '}');

			if (end == rest.len) {
				diag_error(d, v->pos, "${ has no }");
				err = -EINVAL;
				break;
			}
			err = variable_add(s, span_of(rest.ptr + 2, end - 2), v, &out, d);
			v->is_substituted = true;
			rest = span_skip(rest, end + 1);
		} else {
			strbuf_add_char(&out, rest.ptr[0]);
			rest = span_skip(rest, 1);
		}
	}
	if (!err)
		v->text = arena_span(s->arena, strbuf_span(&out));
	strbuf_fini(&out);
	return err;
}

/* Include */

static int file_load(struct source_set *s, const char *path, struct schema_pos from,
		     const struct source_chain *parent, struct diag *d, struct kdl_node **out_nodes);
static int nodes_expand(struct source_set *s, struct kdl_node **list, const struct source_chain *chain,
			unsigned depth, struct diag *d);

static int path_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The pattern from the directory of the including file. */
static const char *pattern_path(struct source_set *s, const char *including, const char *pattern)
{
	const char *slash = strrchr(including, '/');

	if (pattern[0] == '/' || !slash)
		return pattern;
	return arena_printf(s->arena, "%.*s/%s", (int)(slash - including), including, pattern);
}

static int include_pattern(struct source_set *s, const struct kdl_value *v,
			   const struct source_chain *chain, struct diag *d, struct kdl_node **out_nodes)
{
	struct kdl_node **tail = out_nodes;
	const char *pattern;
	glob_t found;
	int err = 0;

	if (v->type != KDL_STRING || v->text.len == 0 || memchr(v->text.ptr, 0, v->text.len)) {
		diag_error(d, v->pos, "include takes file names or patterns as strings");
		return -EINVAL;
	}
	pattern = pattern_path(s, chain->path, v->text.ptr);
	if (!strpbrk(v->text.ptr, "*?["))
		return file_load(s, pattern, v->pos, chain, d, out_nodes);
	if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0) {
		diag_warning(d, v->pos, "no file matches \"%s\"", pattern);
		return 0;
	}
	qsort(found.gl_pathv, found.gl_pathc, sizeof(*found.gl_pathv), path_compare);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *path = arena_strdup(s->arena, found.gl_pathv[i]);
		int one = file_load(s, path, v->pos, chain, d, tail);

		err = err ? err : one;
		while (*tail)
			tail = &(*tail)->next;
	}
	globfree(&found);
	return err;
}

static int include_expand(struct source_set *s, const struct kdl_node *node,
			  const struct source_chain *chain, struct diag *d, struct kdl_node **out_nodes)
{
	struct kdl_node **tail = out_nodes;
	int err = 0;

	if (node->arg_count == 0 || node->prop_count > 0 || node->has_children) {
		diag_error(d, node->pos, "include takes file names or patterns as strings");
		return -EINVAL;
	}
	for (size_t i = 0; i < node->arg_count; i++) {
		int one = include_pattern(s, &node->args[i], chain, d, tail);

		err = err ? err : one;
		while (*tail)
			tail = &(*tail)->next;
	}
	return err;
}

static int entries_expand(struct source_set *s, struct kdl_node *node, struct diag *d)
{
	int err = 0;

	for (size_t i = 0; i < node->arg_count; i++) {
		int one = value_expand(s, &node->args[i], d);

		err = err ? err : one;
	}
	for (size_t i = 0; i < node->prop_count; i++) {
		int one = value_expand(s, &node->props[i].value, d);

		err = err ? err : one;
	}
	return err;
}

/* Replace variables and include nodes in a list and below it; depth is bounded by the reader. */
static int nodes_expand(struct source_set *s, struct kdl_node **list, const struct source_chain *chain,
			unsigned depth, struct diag *d)
{
	int err = 0;

	CHECK(depth <= KDL_DEPTH_MAX);
	while (*list) {
		struct kdl_node *node = *list;
		int one = entries_expand(s, node, d);

		if (one == 0 && span_eq(node->name, SPAN("include"))) {
			struct kdl_node *included = NULL;

			one = include_expand(s, node, chain, d, &included);
			*list = included;
			while (*list)
				list = &(*list)->next;
			*list = node->next;
		} else {
			if (node->children) {
				int below = nodes_expand(s, &node->children, chain, depth + 1, d);

				one = one ? one : below;
			}
			list = &node->next;
		}
		err = err ? err : one;
	}
	return err;
}

/* Loading */

static int text_parse(struct source_set *s, uint32_t file, const struct source_chain *chain, struct diag *d,
		      struct kdl_node **out_nodes)
{
	struct kdl_document document;
	struct kdl_error error;
	int err = kdl_parse(s->arena, file, s->files[file - 1].text, &document, &error);

	if (err) {
		struct diag_item *item = diag_error(d, error.pos, "%s", error.message);

		if (error.hint[0])
			diag_hint(d, item, "%s", error.hint);
		return err;
	}
	err = nodes_expand(s, &document.nodes, chain, 0, d);
	*out_nodes = document.nodes;
	return err;
}

/* "a.kdl includes b.kdl includes a.kdl" */
static void cycle_error(struct source_set *s, const struct source_chain *chain, const struct source_chain *again,
			struct schema_pos from, struct diag *d)
{
	const char *text = again->path;

	for (const struct source_chain *c = chain; c; c = c->parent) {
		text = arena_printf(s->arena, "%s includes %s", c->path, text);
		if (c->device == again->device && c->inode == again->inode)
			break;
	}
	diag_error(d, from, "circular include: %s", text);
}

static int file_load(struct source_set *s, const char *path, struct schema_pos from,
		     const struct source_chain *parent, struct diag *d, struct kdl_node **out_nodes)
{
	struct source_chain chain = { .parent = parent, .path = path, .depth = parent ? parent->depth + 1 : 0 };
	struct span text;
	struct stat st = { 0 };
	uint32_t file;
	int err;

	if (chain.depth >= SOURCE_DEPTH_MAX) {
		diag_error(d, from, "more than %d files include each other", SOURCE_DEPTH_MAX);
		return -ELOOP;
	}
	err = file_read(s, path, &text, &st);
	if (err) {
		diag_error(d, from, "cannot read %s: %s", path,
			   err == -ENOTSUP ? "not a regular file" : err_text(err));
		return err;
	}
	chain.device = st.st_dev;
	chain.inode = st.st_ino;
	for (const struct source_chain *c = parent; c; c = c->parent) {
		if (c->inode == chain.inode && c->device == chain.device) {
			cycle_error(s, parent, &chain, from, d);
			return -ELOOP;
		}
	}
	file = file_add(s, path, text, from, d);
	if (file == 0)
		return -E2BIG;
	return text_parse(s, file, &chain, d, out_nodes);
}

int source_load(struct source_set *s, const char *path, struct diag *d, struct kdl_node **out_nodes)
{
	struct kdl_node *nodes = NULL;
	int err = file_load(s, arena_strdup(s->arena, path), (struct schema_pos){ 0 }, NULL, d, &nodes);

	if (!err)
		*out_nodes = nodes;
	return err;
}

int source_load_text(struct source_set *s, const char *name, struct span text, struct diag *d,
		     struct kdl_node **out_nodes)
{
	struct source_chain chain = { .path = arena_strdup(s->arena, name) };
	struct kdl_node *nodes = NULL;
	uint32_t file = file_add(s, chain.path, arena_span(s->arena, text), (struct schema_pos){ 0 }, d);
	int err;

	if (file == 0)
		return -E2BIG;
	err = text_parse(s, file, &chain, d, &nodes);
	if (!err)
		*out_nodes = nodes;
	return err;
}
