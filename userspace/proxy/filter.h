/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * filter.h - the whole contract of a filter: something optional that looks at, changes or stops an exchange.
 *
 * 1. The pipeline calls filters; a filter never calls the next one and never sees its neighbours.
 * 2. Order = the order written in the route; responses run it backwards.
 * 3. A hook returns a verdict; it never frees the exchange, never blocks, never runs the loop.
 * 4. exchange_resume() only queues.
 */
#ifndef SN_PROXY_FILTER_H
#define SN_PROXY_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/iobuf.h"

struct addr;
struct exchange;
struct schema;
struct schema_row;
struct headers;
struct strbuf;

enum filter_verdict {
	FILTER_NEXT, /* carry on */
	FILTER_WAIT, /* I will call exchange_resume(); the hook is entered again then.  Data hooks: I own the
			chunk */
	FILTER_ANSWER, /* I filled x->response (exchange_answer()); skip to response filters.  Request hook
			  only */
	FILTER_FAIL,   /* I called exchange_fail() */
};

/*
 * A piece of a body on its way through the data hooks.  A hook may change `data` (slice_put what it drops), hold
 * it, or emit any number of chunks by filter_emit_*() before its own.
 */
struct chunk {
	struct slice data;	  /* owned reference; may be empty */
	bool is_end;		  /* last of the body */
	struct headers *trailers; /* with is_end; may be NULL */
};

struct filter;
struct limits;
struct config_registry;
struct diag;

/* One use of a filter in a route: shared by all workers, constant. */
struct filter_use {
	const struct filter *filter;
	const char *id;	    /* of the filter block */
	const void *config; /* filter->config_size bytes in the snapshot's arena */
	void *object;	    /* what open() gave: of the registry, so it outlives the configuration */
	uint32_t slot;	    /* index of its worker state in the snapshot */
	uint32_t index;	    /* position in the route */
};

/* What open() may use; borrowed for the call, but for the arena, which is the snapshot's. */
struct filter_opening {
	struct limits *limits;
	struct arena *arena;
	const char *id, *route_id;
	struct config_registry *registry;
	struct diag *diag;
};

struct filter {
	const char *name;	       /* `type "name"` in the file */
	const char *help;	       /* one line */
	const struct schema_row *rows; /* its block in the file */
	size_t config_size;	       /* of its struct, which begins with struct schema_meta: shared, const */
	size_t worker_size;	       /* per use and worker: unshared, zeroed */
	size_t state_size;	       /* per exchange: zeroed, in its arena */
	bool keeps_fields_valid; /* what on_response adds can always be sent: nobody needs to look again */

	/*
	 * After the rows: rules across them, reported to s->diag, and what is computed once (in s->arena).  The
	 * struct may still be moved afterwards: no pointers into itself.  NULL ok.
	 */
	void (*check)(struct schema *s, void *config);
	/* Control, once a use when a snapshot is built: gives filter_use.object, or says why not.  NULL ok. */
	void *(*open)(const struct filter_opening *o, const void *config);
	enum filter_verdict (*on_request)(struct exchange *x, const struct filter_use *u);
	enum filter_verdict (*on_request_data)(struct exchange *x, const struct filter_use *u,
					       struct chunk *c);
	enum filter_verdict (*on_response)(struct exchange *x, const struct filter_use *u);
	enum filter_verdict (*on_response_data)(struct exchange *x, const struct filter_use *u,
						struct chunk *c);
	void (*on_done)(struct exchange *x, const struct filter_use *u);
	/* For `sentinel explain`: what it would do with this client, a sentence without an end.  NULL ok. */
	void (*explain)(const void *config, const struct addr *client, struct strbuf *out);
};

/* features.def lists them; NULL: unknown. */
const struct filter *filter_find(const char *name);
const struct filter *filter_at(size_t index); /* for descriptions; NULL at the end */
void *filter_state(struct exchange *x, const struct filter_use *u);
void *filter_worker_state(struct exchange *x, const struct filter_use *u);
/*
 * Pass a chunk on to the filters after this one (and at last to the handler, or the client): from a data
 * hook, before its own chunk, or later for chunks that were held.  Takes the chunk's reference.  One that
 * held the end must emit it.
 */
void filter_emit_request(struct exchange *x, const struct filter_use *u, struct chunk c);
void filter_emit_response(struct exchange *x, const struct filter_use *u, struct chunk c);

#endif
