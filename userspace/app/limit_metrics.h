/* SPDX-License-Identifier: GPL-2.0-only */
/* limit_metrics.h - what the limits of requests count, as metrics; and their broom.  Control. */
#ifndef SN_APP_LIMIT_METRICS_H
#define SN_APP_LIMIT_METRICS_H

struct control;

/* Before the first configuration. */
void limit_metrics_start(struct control *c);
void limit_metrics_collect(struct control *c);
/* Now and then: counts that are as good as new, and limits that nobody names, go. */
void limit_metrics_sweep(struct control *c);

#endif
