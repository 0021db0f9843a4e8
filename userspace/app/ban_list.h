/* SPDX-License-Identifier: GPL-2.0-only */
/* ban_list.h - who is banned, for people and for programs.  Control thread. */
#ifndef SN_APP_BAN_LIST_H
#define SN_APP_BAN_LIST_H

#include "app/control.h"

void ban_list_render(struct control *c, bool wants_json, struct strbuf *out);

#endif
