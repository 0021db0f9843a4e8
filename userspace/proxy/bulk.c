/* SPDX-License-Identifier: GPL-2.0-only */
/* bulk.c - a long body of an exchange that moves inside the kernel. */
#include "proxy/bulk.h"

#include "proxy/exchange_internal.h"
#include "proxy/worker.h"

static struct body_flow *flow_of(const struct bulk *b)
{
	return b->direction == BULK_REQUEST ? &b->x->up : &b->x->down;
}

static bool is_inspected(const struct route *r, enum bulk_direction d)
{
	for (unsigned i = 0; i < r->filter_count; i++) {
		const struct filter *f = r->filters[i].filter;

		if (d == BULK_REQUEST ? f->on_request_data != NULL : f->on_response_data != NULL)
			return true;
	}
	return false;
}

static void on_moved(struct transfer *t, size_t bytes)
{
	struct bulk *b = container_of(t, struct bulk, transfer);

	flow_of(b)->received += bytes;
	if (b->direction == BULK_RESPONSE)
		b->x->sent_bytes += bytes;
}

/* What is left, or how it ended, comes the usual way. */
static void copy_on(struct bulk *b)
{
	struct body_flow *flow = flow_of(b);

	b->is_wanted = false;
	flow->credited = flow->received;
	http_stream_credit(b->from, body_flow_top_up(flow, http_stream_queued(b->to)));
}

static void on_end(struct transfer *t, enum splice_end why)
{
	struct bulk *b = container_of(t, struct bulk, transfer);

	if (why == SPLICE_DONE)
		b->is_wanted = false; /* the end of the body is on its way */
	else
		copy_on(b);
}

/* Only what is in userspace may still come. */
static void hold(struct bulk *b)
{
	struct body_flow *flow = flow_of(b);

	flow->credited = flow->received + http_stream_hold(b->from);
	http_stream_credit(b->from, 0); /* it is to come now; and a client that waits for 100 is told */
}

bool bulk_want(struct exchange *x, enum bulk_direction d, struct http_stream *from, struct http_stream *to,
	       uint64_t bytes)
{
	struct bulk *b = &x->bulk[d];
	const struct splice_question q = {
		.wanted = x->route->splice,
		.is_plain = transfer_is_possible(from, to),
		.is_inspected = is_inspected(x->route, d),
		.bytes = bytes,
	};

	if (bytes < SPLICE_BYTES_MIN || splice_choose(&q) != SPLICE_ENGINE_SPLICE)
		return false;
	*b = (struct bulk){
		.transfer = { .bytes = b->transfer.bytes, .on_moved = on_moved, .on_end = on_end },
		.x = x,
		.from = from,
		.to = to,
		.direction = d,
		.is_wanted = true,
	};
	hold(b);
	return true;
}

bool bulk_try(struct bulk *b)
{
	enum transfer_answer answer = TRANSFER_RUNS;

	if (!transfer_is_running(&b->transfer))
		answer = transfer_start(&b->transfer, &b->x->worker->shared->pipes, b->from, b->to);
	if (answer == TRANSFER_LATER)
		hold(b);
	else if (answer == TRANSFER_NEVER)
		copy_on(b);
	return answer == TRANSFER_RUNS;
}

void bulk_paused(struct bulk *b)
{
	if (b->is_wanted && !transfer_is_running(&b->transfer))
		b->to->events->on_sent(b->to);
}

void bulk_stop(struct bulk *b)
{
	(void)transfer_stop(&b->transfer);
	b->is_wanted = false;
	b->x = NULL; /* another attempt asks anew */
}
