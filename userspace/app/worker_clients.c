/* SPDX-License-Identifier: GPL-2.0-only */
/* worker_clients.c - what a worker tells control of clients. */
#include "app/worker_clients.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/ip16.h"
#include "base/mem.h"
#include "loop/mailbox.h"

#define BATCH_MS 5
#define MAILS_MAX 128 /* on their way to control */
#define TOLD_S 16     /* after which a newcomer is told of again: the guard may have forgotten it */

struct newcomers {
	struct mail mail;
	struct worker_clients *owner;
	unsigned count;
	uint8_t ips[WORKER_NEWCOMERS_MAX][16];
};

struct punishment {
	struct mail mail;
	struct worker_clients *owner;
	struct addr client;
	const char *reason;
	bool is_named;
	enum escalation_verdict verdict;
};

/* One more mail to control?  A control thread that is busy must not find a queue without end. */
static bool mail_may(struct worker_clients *w)
{
	if (atomic_fetch_add_explicit(&w->mails, 1, memory_order_relaxed) < MAILS_MAX)
		return true;
	atomic_fetch_sub_explicit(&w->mails, 1, memory_order_relaxed);
	return false;
}

static void mail_done(struct worker_clients *w)
{
	atomic_fetch_sub_explicit(&w->mails, 1, memory_order_relaxed);
}

/* ---- newcomers ---- */

static void newcomers_deliver(struct mail *m)
{
	struct newcomers *n = container_of(m, struct newcomers, mail);
	struct worker_clients *w = n->owner;

	for (unsigned i = 0; i < n->count; i++)
		w->config.newcomer(w->config.ctx, n->ips[i]);
	mail_done(w);
	free(n);
}

static void batch_send(struct worker_clients *w)
{
	struct newcomers *n = w->batch;

	w->batch = NULL;
	timer_disarm(w->loop, &w->timer);
	if (!n)
		return;
	if (!mail_may(w)) {
		free(n);
		return;
	}
	n->mail.on_deliver = newcomers_deliver;
	mailbox_give(w->config.control, w->loop, &n->mail);
}

static void on_timer(struct timer *t)
{
	batch_send(container_of(t, struct worker_clients, timer));
}

/* The upper bits of the hash, and the time in units of TOLD_S. */
static bool was_told(struct worker_clients *w, const uint8_t ip[16])
{
	uint64_t hash = hash_bytes(ip, 16);
	uint32_t now = (uint32_t)(loop_now_ms(w->loop) / 1000 / TOLD_S) & 0xff;
	uint32_t mark = (uint32_t)(hash >> 40) << 8 | now;
	uint32_t *cell = &w->told[hash % WORKER_NEWCOMERS_SEEN];

	if (*cell == mark && mark)
		return true;
	*cell = mark;
	return false;
}

void worker_clients_accepted(struct worker_clients *w, const struct addr *peer)
{
	uint8_t ip[16];

	if (!budgets_want_sources(w->config.budgets) || addr_is_loopback(peer) || !addr_to_ip16(peer, ip))
		return;
	ip16_to_client(ip); /* as the guard knows it: a host that goes through its /64 is one source */
	if (was_told(w, ip))
		return;
	if (!w->batch) {
		w->batch = mem_zalloc(sizeof(*w->batch));
		w->batch->owner = w;
		timer_arm(w->loop, &w->timer, BATCH_MS);
	}
	memcpy(w->batch->ips[w->batch->count++], ip, sizeof(ip));
	if (w->batch->count == WORKER_NEWCOMERS_MAX)
		batch_send(w);
}

bool worker_clients_admit(struct worker_clients *w, const struct addr *client, uint32_t *out_rule)
{
	uint8_t ip[16];

	if (!budgets_are_active(w->config.budgets) || addr_is_loopback(client) || !addr_to_ip16(client, ip))
		return true;
	return budgets_admit(w->config.budgets, ip, clock_mono_ns(), out_rule);
}

/* ---- who is to be banned ---- */

static void punishment_deliver(struct mail *m)
{
	struct punishment *p = container_of(m, struct punishment, mail);
	struct worker_clients *w = p->owner;

	w->config.punish(w->config.ctx, &p->client, p->reason, p->is_named, p->verdict);
	mail_done(w);
	free(p);
}

void worker_clients_refused(struct worker_clients *w, const struct refusal *r)
{
	enum escalation_verdict verdict;
	struct punishment *p;

	if (!escalation_is_on(w->config.escalation))
		return;
	verdict = escalation_refused(w->config.escalation, r, loop_now_ns(w->loop));
	if (verdict == ESCALATION_NOTHING || !mail_may(w))
		return;
	p = mem_zalloc(sizeof(*p));
	*p = (struct punishment){ .owner = w,
				  .client = *r->client,
				  .reason = r->reason,
				  .is_named = r->is_named,
				  .verdict = verdict };
	p->mail.on_deliver = punishment_deliver;
	mailbox_give(w->config.control, w->loop, &p->mail);
}

void worker_clients_admitted(struct worker_clients *w, const struct refusal *r)
{
	if (escalation_is_on(w->config.escalation))
		escalation_admitted(w->config.escalation, r, loop_now_ns(w->loop));
}

/* ---- life ---- */

void worker_clients_init(struct worker_clients *w, const struct worker_clients_config *config, struct loop *l)
{
	*w = (struct worker_clients){ .config = *config, .loop = l };
	timer_init(&w->timer, on_timer);
}

void worker_clients_fini(struct worker_clients *w)
{
	timer_disarm(w->loop, &w->timer);
	free(w->batch);
	w->batch = NULL;
}
