/* SPDX-License-Identifier: GPL-2.0-only */
/* admin_flows.c - open tunnels: every worker is asked, and the last answer makes the reply. */
#include "app/admin_flows.h"

#include <stdlib.h>

#include "app/tunnel_table.h"
#include "base/mem.h"

#define QUESTIONS_MAX 4 /* at once: each may hold a copy of what is told of every tunnel */

struct part;

struct question {
	struct control *control;
	struct admin_connection *from;
	bool wants_json;
	struct tunnel_table table;
	unsigned left; /* workers that have not answered */
	struct part *parts;
};

struct part {
	struct question *question;
	struct tunnel_table table; /* the worker's until it has answered */
};

static void on_worker(void *ctx, struct proxy_worker *p)
{
	struct part *part = ctx;

	tunnels_each(p, tunnel_table_add, &part->table);
}

static void on_answer(void *ctx)
{
	struct part *part = ctx;
	struct question *q = part->question;
	struct strbuf text = { 0 };

	tunnel_table_merge(&q->table, &part->table);
	tunnel_table_fini(&part->table);
	if (--q->left > 0)
		return;
	strbuf_init(&text);
	if (q->wants_json)
		tunnel_table_json(&q->table, &text);
	else
		tunnel_table_text(&q->table, &text);
	admin_reply(q->from, true, &text);
	strbuf_fini(&text);
	tunnel_table_fini(&q->table);
	q->control->flows_questions--;
	free(q->parts);
	free(q);
}

enum admin_result admin_flows(struct control *c, const struct admin_request *r, struct admin_connection *from,
			      struct strbuf *out)
{
	struct question *q;

	if (c->state == CONTROL_STOPPING || c->flows_questions >= QUESTIONS_MAX) {
		strbuf_add_str(out, c->state == CONTROL_STOPPING ? "the daemon is stopping\n" :
								   "too many ask at once; try again\n");
		return ADMIN_ERROR;
	}
	c->flows_questions++;
	q = mem_zalloc(sizeof(*q));
	*q = (struct question){ .control = c, .from = from, .wants_json = r->wants_json };
	tunnel_table_init(&q->table, r->limit);
	q->left = c->worker_count;
	q->parts = mem_array(c->worker_count, sizeof(*q->parts));
	for (unsigned i = 0; i < c->worker_count; i++) {
		q->parts[i].question = q;
		tunnel_table_init(&q->parts[i].table, r->limit);
		worker_ask(c->workers[i], on_worker, on_answer, &q->parts[i]);
	}
	return ADMIN_LATER;
}
