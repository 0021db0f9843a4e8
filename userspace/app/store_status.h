/* SPDX-License-Identifier: GPL-2.0-only */
/* store_status.h - for `sentinel status`: a line, or an object, for each store that limits share.  Control. */
#ifndef SN_APP_STORE_STATUS_H
#define SN_APP_STORE_STATUS_H

#include "base/json.h"
#include "clients/store.h"

void store_status_text(const struct stores *ss, struct strbuf *out);
void store_status_json(const struct stores *ss, struct json *j);

#endif
