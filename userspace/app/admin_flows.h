/* SPDX-License-Identifier: GPL-2.0-only */
/* admin_flows.h - what the admin socket is told of open tunnels.  Control thread. */
#ifndef SN_APP_ADMIN_FLOWS_H
#define SN_APP_ADMIN_FLOWS_H

#include "app/admin.h"
#include "app/admin_request.h"

/* ADMIN_LATER, or ADMIN_ERROR with one line in out. */
enum admin_result admin_flows(struct control *c, const struct admin_request *r, struct admin_connection *from,
			      struct strbuf *out);

#endif
