/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kernel_top.h - one reading of what the guard drops.  Control thread.
 *
 * As JSON, or for `sentinel kernel top` as lines of words with tabs between: "time NS", "drop REASON PACKETS BYTES
 * MONITORED", "country CODE PACKETS MONITORED", "network PREFIX SAMPLES REASON", "source ADDRESS SAMPLES REASON".
 */
#ifndef SN_APP_KERNEL_TOP_H
#define SN_APP_KERNEL_TOP_H

#include "app/control.h"

void kernel_top_render(struct control *c, bool wants_json, struct strbuf *out);

#endif
