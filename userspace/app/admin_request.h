/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * admin_request.h - what a line of the admin socket asks for: "text|json COMMAND [ARGUMENT]...", one space between
 * words.  A pure function; whoever may connect may send anything.
 */
#ifndef SN_APP_ADMIN_REQUEST_H
#define SN_APP_ADMIN_REQUEST_H

#include "base/span.h"
#include "base/strbuf.h"

#define ADMIN_BAN_DEFAULT_MS (10 * 60 * 1000)
#define ADMIN_FLOWS_DEFAULT 1000
#define ADMIN_FLOWS_MAX 10000

enum admin_verb {
	ADMIN_RELOAD,
	ADMIN_STOP,
	ADMIN_STATUS,
	ADMIN_KERNEL,
	ADMIN_KERNEL_TOP,
	ADMIN_METRICS,
	ADMIN_BAN_LIST,
	ADMIN_BAN_ADD,
	ADMIN_BAN_REMOVE,
	ADMIN_FLOWS,
	ADMIN_UPGRADE,
	ADMIN_LIMIT,
	ADMIN_VERB_COUNT
};

struct admin_request {
	enum admin_verb verb;
	bool wants_json;
	bool is_now; /* of ADMIN_STOP */
	struct span address; /* of bans, as it was written; points into the line */
	uint8_t ip[16];
	uint64_t ban_ms; /* of ADMIN_BAN_ADD: 1 ms to 365 days */
	unsigned limit;	 /* of ADMIN_FLOWS: 1 to ADMIN_FLOWS_MAX */
	struct span limit_identity, limit_key; /* of ADMIN_LIMIT; point into the line */
};

/* False: a line of text in out says why; *out_request is untouched.  Nothing that is not understood is skipped. */
bool admin_request_parse(struct span line, struct admin_request *out_request, struct strbuf *out);

#endif
