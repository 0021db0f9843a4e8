/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_kdl.c - any bytes as a KDL document: no crash, and every position lies inside of the text. */
#include <stdlib.h>

#include "base/check.h"
#include "schema/kdl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void node_check(const struct kdl_node *list, unsigned depth, size_t size)
{
	CHECK(depth <= KDL_DEPTH_MAX);
	for (const struct kdl_node *node = list; node; node = node->next) {
		CHECK(node->pos.line >= 1 && node->pos.line <= size + 1);
		CHECK(node->pos.col >= 1 && node->pos.col <= size && node->pos.width >= 1);
		CHECK(node->name.ptr[node->name.len] == 0);
		for (size_t i = 0; i < node->arg_count; i++) {
			CHECK(node->args[i].pos.col >= 1 && node->args[i].pos.width >= 1);
			CHECK(node->args[i].text.ptr[node->args[i].text.len] == 0);
		}
		for (size_t i = 0; i < node->prop_count; i++)
			CHECK(kdl_node_prop(node, node->props[i].name));
		node_check(node->children, depth + 1, size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kdl_document document;
	struct kdl_error error;
	struct arena a;

	arena_init(&a, 4096);
	if (kdl_parse(&a, 1, span_of((const char *)data, size), &document, &error) == 0)
		node_check(document.nodes, 0, size);
	else
		CHECK(error.message[0] && error.pos.line >= 1 && error.pos.line <= size + 1);
	arena_fini(&a);
	return 0;
}
