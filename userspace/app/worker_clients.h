/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * worker_clients.h - what a worker tells control of clients: who came for the first time, and who is to be banned.
 *
 * Both go by mail, few at a time: what does not fit is left out, and told when it happens again.  The worker's thread.
 */
#ifndef SN_APP_WORKER_CLIENTS_H
#define SN_APP_WORKER_CLIENTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/escalation.h"
#include "fastpath/budgets.h"
#include "loop/loop.h"

#define WORKER_NEWCOMERS_MAX 64	    /* in one mail */
#define WORKER_NEWCOMERS_SEEN 4096 /* that are remembered as told, by hash */

/* Borrowed from app; the last two run on control. */
struct worker_clients_config {
	struct loop *control;
	struct escalation *escalation;
	struct budgets *budgets;
	void (*newcomer)(void *ctx, const uint8_t ip[16]);
	void (*punish)(void *ctx, const struct addr *client, const char *reason, bool is_named,
		       enum escalation_verdict verdict);
	void *ctx;
};

struct newcomers;

struct worker_clients {
	struct worker_clients_config config;
	struct loop *loop;	      /* borrowed */
	struct newcomers *batch;      /* owned; NULL: nobody new */
	struct timer timer;	      /* sends it */
	_Atomic unsigned mails;	      /* that control has not read */
	uint32_t told[WORKER_NEWCOMERS_SEEN]; /* hash and time of who was told, 0: nobody */
};

void worker_clients_init(struct worker_clients *w, const struct worker_clients_config *config, struct loop *l);
void worker_clients_fini(struct worker_clients *w);
/* A connection was accepted: its peer completed a handshake, which the guard wants to know for its budgets. */
void worker_clients_accepted(struct worker_clients *w, const struct addr *peer);
/* False: it is over a budget of connections, whose rule is in *out_rule.  Loopback has none. */
bool worker_clients_admit(struct worker_clients *w, const struct addr *client, uint32_t *out_rule);
/* proxy_worker's hooks. */
void worker_clients_refused(struct worker_clients *w, const struct refusal *r);
void worker_clients_admitted(struct worker_clients *w, const struct refusal *r);

#endif
