/* SPDX-License-Identifier: GPL-2.0-only */
/* admin_limits.h - the level of one bucket, asked for by `sentinel explain`. */
#ifndef SN_APP_ADMIN_LIMITS_H
#define SN_APP_ADMIN_LIMITS_H

#include "app/admin_request.h"
#include "app/control.h"

/* identity and key in hexadecimal, the key as rate_key_text() writes it.  False: out says why. */
bool admin_limit(struct control *c, const struct admin_request *r, struct strbuf *out);

#endif
