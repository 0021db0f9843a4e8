/* SPDX-License-Identifier: GPL-2.0-only */
/* worker.c - a worker thread: start, messages, listening sockets, the end. */
#include "app/worker.h"

#include <errno.h>
#include <stdio.h>

#include "app/guard.h"
#include "app/kernel_tunnels.h"
#include "app/privilege.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "fastpath/steer.h"
#include "loop/mailbox.h"
#include "net/listener.h"
#include "net/socket.h"
#include "observe/log.h"
#include "proxy/refusal.h"

#define TAG_WORKER TAG('W', 'O', 'R', 'K')
#define POLL_MS	   10 /* between two looks at whether everything has ended */
#define POLL_RETIRED_MS 100 /* the same, when it may take days */
#define AUDITS_MAX 256 /* lines for the audit log that are on their way */
#define AUDITS_A_SECOND 20 /* of each worker: who refuses millions must not fill the disk with them */

struct accepting {
	struct list node; /* in worker->accepting */
	struct acceptor acceptor;
	struct worker *worker;
	uint32_t listener;
};

enum worker_state {
	WORKER_RUNNING,
	WORKER_RETIRED,	 /* accepts nothing new; another process does */
	WORKER_DRAINING, /* accepts nothing new */
	WORKER_DRAINED,	 /* nothing is open; waits for the end */
	WORKER_ABORTING, /* ends what is open */
	WORKER_CLOSING,	 /* ends idle connections to origins */
};

struct worker {
	uint32_t tag;
	struct worker_config config;
	pthread_t thread;

	/* start: control waits for the thread; end: the thread waits for control */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool has_answered;
	bool may_end;
	const char *reason; /* why it did not start */
	struct snapshot *first;

	/* the thread's own */
	struct loop *loop;
	struct proxy_worker proxy;
	struct list accepting;
	struct worker_clients clients;
	const struct guard_rules *rules; /* borrowed from the current snapshot */
	enum worker_state state;
	struct timer poll_timer, beat_timer;
	unsigned renders; /* questions that control has not answered */
	_Atomic unsigned audits; /* lines that control has not written */
	uint64_t audit_second; /* of the loop's clock */
	unsigned audit_count;  /* lines in it */
	struct metrics_shard *metrics;
	struct metric_cell *turn_seconds;
	struct kernel_tunnels_worker *kernel_tunnels; /* NULL: off */
};

/* ---- messages ---- */

struct order { /* control to worker */
	struct mail mail;
	struct worker *worker;
	struct snapshot *snapshot; /* one reference */
	const struct guard_rules *rules;
	uint32_t listener;
	int fd;
};

static struct order *of_mail(struct mail *m)
{
	return container_of(m, struct order, mail);
}

static void order_give(struct worker *w, struct order o, void (*on_deliver)(struct mail *m))
{
	struct order *copy = mem_alloc(sizeof(*copy));

	OBJ_CHECK(w, TAG_WORKER);
	*copy = o;
	copy->worker = w;
	copy->mail.on_deliver = on_deliver;
	mailbox_give(w->loop, w->config.control, &copy->mail);
}

struct notice { /* worker to control */
	struct mail mail;
	struct worker *worker;
	uint32_t listener;
};

static void notice_give(struct worker *w, struct loop *from, uint32_t listener,
			void (*on_deliver)(struct mail *m))
{
	struct notice *n = mem_zalloc(sizeof(*n));

	n->worker = w;
	n->listener = listener;
	n->mail.on_deliver = on_deliver;
	mailbox_give(w->config.control, from, &n->mail);
}

static void drained_deliver(struct mail *m)
{
	struct worker *w = container_of(m, struct notice, mail)->worker;

	free(container_of(m, struct notice, mail));
	w->config.on_drained(w->config.ctx, w);
}

static void unlistened_deliver(struct mail *m)
{
	struct notice *n = container_of(m, struct notice, mail);

	n->worker->config.on_unlistened(n->worker->config.ctx, n->listener);
	free(n);
}

static void stopped_deliver(struct mail *m)
{
	struct worker *w = container_of(m, struct notice, mail)->worker;

	free(container_of(m, struct notice, mail));
	w->config.on_stopped(w->config.ctx, w);
}

/* ---- questions to control ---- */

struct question {
	struct mail mail;
	struct worker *worker;
	char what[16];
	struct strbuf text;
	void (*done)(void *ctx, struct slice text);
	void *ctx;
};

static void answer_deliver(struct mail *m)
{
	struct question *q = container_of(m, struct question, mail);

	q->worker->renders--;
	q->done(q->ctx, slice_copy(q->text.ptr, (uint32_t)q->text.len));
	strbuf_fini(&q->text);
	free(q);
}

static void question_deliver(struct mail *m)
{
	struct question *q = container_of(m, struct question, mail);
	struct worker *w = q->worker;

	w->config.render(w->config.ctx, q->what, &q->text);
	q->mail.on_deliver = answer_deliver;
	mailbox_give(w->loop, w->config.control, &q->mail);
}

static void render(struct proxy_worker *proxy, const char *what, void (*done)(void *ctx, struct slice text),
		   void *ctx)
{
	struct worker *w = container_of(proxy, struct worker, proxy);
	struct question *q = mem_zalloc(sizeof(*q));

	q->worker = w;
	(void)snprintf(q->what, sizeof(q->what), "%s", what);
	strbuf_init(&q->text);
	q->done = done;
	q->ctx = ctx;
	q->mail.on_deliver = question_deliver;
	w->renders++;
	mailbox_give(w->config.control, w->loop, &q->mail);
}

/* ---- questions of control ---- */

struct errand {
	struct mail mail;
	struct worker *worker;
	void (*run)(void *ctx, struct proxy_worker *p);
	void (*done)(void *ctx);
	void *ctx;
};

static void errand_done(struct mail *m)
{
	struct errand e = *container_of(m, struct errand, mail);

	free(container_of(m, struct errand, mail));
	e.done(e.ctx);
}

static void errand_deliver(struct mail *m)
{
	struct errand *e = container_of(m, struct errand, mail);

	e->run(e->ctx, &e->worker->proxy);
	e->mail.on_deliver = errand_done;
	mailbox_give(e->worker->config.control, e->worker->loop, &e->mail);
}

void worker_ask(struct worker *w, void (*run)(void *ctx, struct proxy_worker *p), void (*done)(void *ctx), void *ctx)
{
	struct errand *e = mem_zalloc(sizeof(*e));

	OBJ_CHECK(w, TAG_WORKER);
	*e = (struct errand){ .worker = w, .run = run, .done = done, .ctx = ctx };
	e->mail.on_deliver = errand_deliver;
	mailbox_give(w->loop, w->config.control, &e->mail);
}

/* ---- lines for the audit log ---- */

struct audit_line {
	struct mail mail;
	struct worker *worker;
	struct addr peer;
	const char *type;
	char reason[64], detail[256];
};

static void audit_deliver(struct mail *m)
{
	struct audit_line *a = container_of(m, struct audit_line, mail);
	struct worker *w = a->worker;

	atomic_fetch_sub_explicit(&w->audits, 1, memory_order_relaxed);
	w->config.audit(w->config.ctx, &a->peer, a->type, a->reason, a->detail);
	free(a);
}

static void audit(struct proxy_worker *proxy, const struct addr *peer, const char *type, const char *reason,
		  const char *detail)
{
	struct worker *w = container_of(proxy, struct worker, proxy);
	uint64_t second = loop_now_ms(w->loop) / 1000;
	struct audit_line *a;

	/* A flood of them must become neither a queue nor a full disk: the metric counts what is left out. */
	if (second != w->audit_second)
		w->audit_count = 0;
	w->audit_second = second;
	if (w->audit_count++ >= AUDITS_A_SECOND)
		return;
	if (atomic_fetch_add_explicit(&w->audits, 1, memory_order_relaxed) >= AUDITS_MAX) {
		atomic_fetch_sub_explicit(&w->audits, 1, memory_order_relaxed);
		return;
	}
	a = mem_zalloc(sizeof(*a));
	a->worker = w;
	a->peer = *peer;
	a->type = type;
	(void)snprintf(a->reason, sizeof(a->reason), "%s", reason);
	(void)snprintf(a->detail, sizeof(a->detail), "%s", detail);
	a->mail.on_deliver = audit_deliver;
	mailbox_give(w->config.control, w->loop, &a->mail);
}

/* ---- accepting ---- */

static bool has_rules(const struct worker *w)
{
	return w->rules->has_acl || w->rules->geo || bans_count(w->config.bans) > 0 ||
	       budgets_are_active(w->config.clients->budgets);
}

/* Who wants to come in. */
struct caller {
	uint32_t listener;
	const struct addr *addr;
	bool is_named; /* by a PROXY header: the kernel sees another address */
};

/* Whom no rule allows is asked for his country, as in the kernel. */
static struct rules_verdict geo_judge(struct worker *w, const struct caller *c, const uint8_t ip[16])
{
	const struct refusal refusal = { .client = c->addr, .reason = "geo", .is_named = c->is_named };
	struct geo_verdict v = geo_rules_judge(w->rules->geo, c->listener, ip);
	char text[3];

	if (v.rules.reason) {
		const struct span labels[] = { span_str(geo_country_text(v.country, text)),
					       v.rules.is_refused ? SPAN("enforce") : SPAN("monitor") };

		metric_cell_add(metric_cell(w->metrics, METRIC_GEO_REFUSED_CONNECTIONS_TOTAL, labels), 1);
	}
	if (v.rules.is_refused && w->proxy.refused)
		w->proxy.refused(&w->proxy, &refusal);
	return v.rules;
}

/* The guard's rules once more: the client may have come in where no guard is, or through a proxy. */
static bool is_refused(struct worker *w, const struct caller *c)
{
	struct rules_verdict verdict;
	uint8_t ip[16];

	if (!addr_to_ip16(c->addr, ip))
		return false;
	verdict = rules_judge(w->rules->rules, w->config.bans, ip, clock_boot_ns());
	if (!verdict.reason && !verdict.rule)
		verdict = geo_judge(w, c, ip);
	if (!verdict.reason && !verdict.rule && !worker_clients_admit(&w->clients, c->addr, &verdict.rule))
		verdict = (struct rules_verdict){ SN_DROP_CONNECTION_BUDGET, !w->rules->is_monitor, verdict.rule };
	if (!verdict.is_refused)
		return false;
	proxy_worker_count_refused(&w->proxy, rules_reason_label(verdict.reason));
	return true;
}

static bool connection_is_refused(struct worker *w, uint32_t listener, const struct addr *peer)
{
	const struct caller c = { .listener = listener, .addr = peer };

	return has_rules(w) && is_refused(w, &c);
}

static bool admits(struct proxy_worker *proxy, uint32_t listener_id, const struct addr *client)
{
	struct worker *w = container_of(proxy, struct worker, proxy);
	const struct caller c = { .listener = listener_id, .addr = client, .is_named = true };

	return !has_rules(w) || !is_refused(w, &c);
}

static void refused(struct proxy_worker *proxy, const struct refusal *r)
{
	worker_clients_refused(&container_of(proxy, struct worker, proxy)->clients, r);
}

static void admitted(struct proxy_worker *proxy, const struct refusal *r)
{
	worker_clients_admitted(&container_of(proxy, struct worker, proxy)->clients, r);
}

static bool is_banned(struct proxy_worker *proxy, const struct addr *client)
{
	uint8_t ip[16];

	return addr_to_ip16(client, ip) &&
	       bans_until(container_of(proxy, struct worker, proxy)->config.bans, ip) > clock_boot_ns();
}

static void on_accept(struct acceptor *a, int fd)
{
	struct accepting *s = container_of(a, struct accepting, acceptor);
	struct worker *w = s->worker;
	struct addr peer;

	socket_peer_find(fd, &peer);
	if (connection_is_refused(w, s->listener, &peer)) {
		socket_close_reset(fd);
		return;
	}
	worker_clients_accepted(&w->clients, &peer);
	proxy_worker_accept(&w->proxy, s->listener, fd, &peer);
}

static void on_refused(struct acceptor *a, int err)
{
	static struct log_limit limit = { .interval_ns = 10000000000ull };
	struct worker *w = container_of(a, struct accepting, acceptor)->worker;

	proxy_worker_count_refused(&w->proxy, err == -EMFILE || err == -ENFILE ? "no_descriptors" : "accept_failed");
	if (log_every(&limit, loop_now_ns(w->loop)))
		log_warn("no connection can be accepted now: %s%s", strerror(-err),
			 err == -EMFILE ? " (raise LimitNOFILE or lower max-connections)" : "");
}

static void on_acceptor_closed(struct acceptor *a)
{
	struct accepting *s = container_of(a, struct accepting, acceptor);

	if (s->worker->state == WORKER_RUNNING)
		notice_give(s->worker, s->worker->loop, s->listener, unlistened_deliver);
	list_remove(&s->node);
	free(s);
}

static void listen_deliver(struct mail *m)
{
	struct order *o = of_mail(m);
	struct worker *w = o->worker;
	struct accepting *s = mem_zalloc(sizeof(*s));

	s->worker = w;
	s->listener = o->listener;
	s->acceptor.on_accept = on_accept;
	s->acceptor.on_refused = on_refused;
	s->acceptor.on_closed = on_acceptor_closed;
	list_append(&w->accepting, &s->node);
	acceptor_start(&s->acceptor, w->loop, o->fd);
	free(o);
}

static void acceptors_end(struct worker *w, uint32_t listener, void (*end)(struct acceptor *a))
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &w->accepting)
	{
		struct accepting *s = list_entry(pos, struct accepting, node);

		if ((listener == 0 || s->listener == listener) && !s->acceptor.is_closing)
			end(&s->acceptor);
	}
}

static void unlisten_deliver(struct mail *m)
{
	struct order *o = of_mail(m);

	acceptors_end(o->worker, o->listener, acceptor_close);
	free(o);
}

static void leave_deliver(struct mail *m)
{
	struct order *o = of_mail(m);

	acceptors_end(o->worker, o->listener, acceptor_leave);
	free(o);
}

/* ---- snapshots ---- */

static void adopt_deliver(struct mail *m)
{
	struct order *o = of_mail(m);

	o->worker->rules = o->rules;
	proxy_worker_adopt(&o->worker->proxy, o->snapshot);
	snapshot_put(o->snapshot);
	free(o);
}

/* ---- the end ---- */

static void drain_deliver(struct mail *m)
{
	struct order *o = of_mail(m);
	struct worker *w = o->worker;

	free(o);
	if (w->state != WORKER_RUNNING && w->state != WORKER_RETIRED)
		return;
	w->state = WORKER_DRAINING;
	acceptors_end(w, 0, acceptor_close); /* what a retired worker has left to others is closing already */
	proxy_worker_drain(&w->proxy);
	timer_arm(w->loop, &w->poll_timer, POLL_MS);
}

static void retire_deliver(struct mail *m)
{
	struct order *o = of_mail(m);
	struct worker *w = o->worker;

	free(o);
	if (w->state != WORKER_RUNNING)
		return;
	w->state = WORKER_RETIRED;
	proxy_worker_retire(&w->proxy);
	timer_arm(w->loop, &w->poll_timer, POLL_MS);
}

static void stop_deliver(struct mail *m)
{
	struct order *o = of_mail(m);
	struct worker *w = o->worker;

	free(o);
	w->state = WORKER_ABORTING;
	acceptors_end(w, 0, acceptor_close);
	proxy_worker_abort(&w->proxy);
	timer_arm(w->loop, &w->poll_timer, 0);
}

static void on_poll(struct timer *t)
{
	struct worker *w = container_of(t, struct worker, poll_timer);
	bool is_idle = list_is_empty(&w->accepting) && proxy_worker_is_idle(&w->proxy);

	if ((w->state == WORKER_DRAINING || w->state == WORKER_RETIRED) && is_idle) {
		w->state = WORKER_DRAINED;
		notice_give(w, w->loop, 0, drained_deliver);
		return;
	}
	if (w->state == WORKER_ABORTING) {
		/* what was accepted while the acceptors closed ends too */
		proxy_worker_abort(&w->proxy);
		if (is_idle && w->renders == 0) {
			proxy_worker_close(&w->proxy);
			w->state = WORKER_CLOSING;
		}
	}
	if (w->state == WORKER_CLOSING && proxy_worker_is_closed(&w->proxy) &&
	    kernel_tunnels_leave(w->kernel_tunnels)) {
		timer_disarm(w->loop, &w->beat_timer);
		loop_stop(w->loop);
		return;
	}
	timer_arm(w->loop, &w->poll_timer, w->state == WORKER_RETIRED ? POLL_RETIRED_MS : POLL_MS);
}

/* ---- the thread ---- */

static void on_beat(struct timer *t)
{
	struct worker *w = container_of(t, struct worker, beat_timer);

	(void)heartbeat_beat(w->config.heartbeat, clock_boot_ns());
	timer_arm(w->loop, t, 1000);
}

static void on_turn(void *ctx, uint64_t busy_ns)
{
	struct worker *w = ctx;

	metric_cell_observe_us(w->turn_seconds, busy_ns / 1000);
	proxy_worker_turn(&w->proxy, busy_ns);
	kernel_tunnels_publish(w->kernel_tunnels);
	steer_publish(w->config.steer, w->config.index, server_session_count(&w->proxy.host));
}

static void answer_start(struct worker *w, const char *reason)
{
	pthread_mutex_lock(&w->lock);
	w->has_answered = true;
	w->reason = reason;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct loop_config loop_config = { 0 };
	const char *reason = NULL;
	char name[16];
	int err;

	(void)snprintf(name, sizeof(name), "worker-%u", w->config.index);
	(void)pthread_setname_np(pthread_self(), name);
	if (loop_new(&w->loop, &loop_config, &reason) < 0) {
		answer_start(w, reason);
		return NULL;
	}
	proxy_worker_init(&w->proxy, w->loop, w->config.shared, w->config.index, w->config.sessions_max);
	w->proxy.render = render;
	w->proxy.admits = admits;
	w->proxy.audit = audit;
	w->proxy.counts_refusals = escalation_flag(w->config.clients->escalation);
	w->proxy.refused = refused;
	w->proxy.admitted = admitted;
	w->proxy.is_banned = is_banned;
	worker_clients_init(&w->clients, w->config.clients, w->loop);
	w->metrics = w->proxy.metrics;
	w->turn_seconds = metric_cell(w->metrics, METRIC_LOOP_TURN_SECONDS, NULL);
	w->kernel_tunnels = kernel_tunnels_join(w->config.kernel_tunnels, &w->proxy);
	loop_on_turn(w->loop, on_turn, w);
	list_init(&w->accepting);
	timer_init(&w->poll_timer, on_poll);
	timer_init(&w->beat_timer, on_beat);
	if (w->config.index == 0)
		timer_arm(w->loop, &w->beat_timer, 0);
	proxy_worker_adopt(&w->proxy, w->first);
	snapshot_put(w->first);
	proxy_worker_start(&w->proxy);
	privilege_drop_thread();
	answer_start(w, NULL);

	err = loop_run(w->loop);
	if (err < 0)
		log_error("worker %u: the ring failed: %s", w->config.index, strerror(-err));
	CHECK(err == 0); /* requests are lost; the supervisor starts us again */
	proxy_worker_fini(&w->proxy);
	worker_clients_fini(&w->clients);
	notice_give(w, NULL, 0, stopped_deliver);
	/* control may still be waking us for its last message: the loop lives until it has heard of the end */
	pthread_mutex_lock(&w->lock);
	while (!w->may_end)
		pthread_cond_wait(&w->changed, &w->lock);
	pthread_mutex_unlock(&w->lock);
	loop_free(w->loop);
	return NULL;
}

struct worker *worker_start(const struct worker_config *config, struct snapshot *s,
			    const struct guard_rules *rules, const char **out_reason)
{
	struct worker *w = mem_zalloc(sizeof(*w));
	int err;

	w->tag = TAG_WORKER;
	w->config = *config;
	w->first = snapshot_get(s);
	w->rules = rules;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	err = pthread_create(&w->thread, NULL, worker_main, w);
	if (err) {
		*out_reason = "the thread cannot be created";
		goto fail;
	}
	pthread_mutex_lock(&w->lock);
	while (!w->has_answered)
		pthread_cond_wait(&w->changed, &w->lock);
	pthread_mutex_unlock(&w->lock);
	if (!w->reason)
		return w;
	*out_reason = w->reason;
	pthread_join(w->thread, NULL);
fail:
	snapshot_put(w->first);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return NULL;
}

void worker_adopt(struct worker *w, struct snapshot *s, const struct guard_rules *rules)
{
	order_give(w, (struct order){ .mail.is_urgent = true, .snapshot = snapshot_get(s), .rules = rules },
		   adopt_deliver);
}

void worker_listen(struct worker *w, uint32_t listener, int fd)
{
	order_give(w, (struct order){ .listener = listener, .fd = fd }, listen_deliver);
}

void worker_unlisten(struct worker *w, uint32_t listener)
{
	order_give(w, (struct order){ .listener = listener }, unlisten_deliver);
}

void worker_leave(struct worker *w, uint32_t listener)
{
	order_give(w, (struct order){ .listener = listener }, leave_deliver);
}

void worker_retire(struct worker *w)
{
	order_give(w, (struct order){ 0 }, retire_deliver);
}

void worker_drain(struct worker *w)
{
	order_give(w, (struct order){ 0 }, drain_deliver);
}

void worker_stop(struct worker *w)
{
	order_give(w, (struct order){ 0 }, stop_deliver);
}

void worker_join(struct worker *w)
{
	OBJ_CHECK(w, TAG_WORKER);
	pthread_mutex_lock(&w->lock);
	w->may_end = true;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	w->tag = 0;
	free(w);
}
