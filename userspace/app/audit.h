/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * audit.h - the audit log: who was refused, what an administrator did; one JSON object a line.  Control thread.
 * Every function takes NULL: the log is off.
 */
#ifndef SN_APP_AUDIT_H
#define SN_APP_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"

struct audit;
struct config_log;

/* NULL and an -errno in *out_err if the file cannot be opened. */
struct audit *audit_open(const struct config_log *log, const char *path, int *out_err);
void audit_close(struct audit *a);

struct audit_block {
	const struct addr *source, *destination;
	const char *reason;
	uint32_t rule;	   /* line of the configuration; 0: a ban */
	const char *country; /* or NULL: nobody asked */
	bool is_monitored; /* it was let through */
};

void audit_blocked(struct audit *a, const struct audit_block *b);
/* Somebody was refused by a worker.  detail may be NULL. */
void audit_refused(struct audit *a, const struct addr *peer, const char *type, const char *reason, const char *detail);
/* "config_change" with "reload_success" …; "admin_action" with "ban_add" ….  detail may be NULL. */
void audit_event(struct audit *a, const char *type, const char *reason, const char *detail);
/* Once a second, with UINT64_MAX: everything is written. */
void audit_flush(struct audit *a, uint64_t now_ns);

#endif
