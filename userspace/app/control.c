/* SPDX-License-Identifier: GPL-2.0-only */
/* control.c - what happens on the control thread's loop: signals, the second's tick, the end. */
#include "app/control.h"

#include <errno.h>
#include <signal.h>

#include "app/audit.h"
#include "app/certificates.h"
#include "app/limit_metrics.h"
#include "app/logs.h"
#include "app/memory.h"
#include "app/notify.h"
#include "app/sockets.h"
#include "app/upgrade.h"
#include "base/check.h"
#include "observe/log.h"

/* ---- the end ---- */

void control_stop(struct control *c)
{
	if (c->state == CONTROL_STOPPING)
		return;
	upgrade_stop(c->upgrade);
	c->state = CONTROL_STOPPING;
	timer_disarm(c->loop, &c->drain_timer);
	for (unsigned i = 0; i < c->worker_count; i++)
		worker_stop(c->workers[i]);
}

void control_drain(struct control *c)
{
	bool has_left = c->state == CONTROL_LEAVING;

	if (c->state != CONTROL_RUNNING && !has_left)
		return;
	upgrade_stop(c->upgrade);
	c->state = CONTROL_DRAINING;
	atomic_store(&c->shared.is_draining, true);
	log_info("stopping: open requests have %llu s to end",
		 (unsigned long long)c->current->drain_timeout_ms / 1000);
	if (!has_left) {
		notify_send("STOPPING=1");
		sockets_refuse_new(c);
	}
	for (unsigned i = 0; i < c->worker_count; i++)
		worker_drain(c->workers[i]);
	timer_arm(c->loop, &c->drain_timer, c->current->drain_timeout_ms);
}

static void on_drain_timeout(struct timer *t)
{
	struct control *c = container_of(t, struct control, drain_timer);

	log_warn("stopping: %u of %u workers still have open requests; they are ended now",
		 c->worker_count - c->drained_count, c->worker_count);
	control_stop(c);
}

void control_on_drained(void *ctx, struct worker *w)
{
	struct control *c = ctx;

	(void)w;
	if (++c->drained_count == c->worker_count)
		control_stop(c);
}

void control_on_stopped(void *ctx, struct worker *w)
{
	struct control *c = ctx;

	worker_join(w);
	if (++c->stopped_count == c->worker_count)
		loop_stop(c->loop);
}

/* ---- signals ---- */

/* Of a wrong file only the errors: carets and hints are for `sentinel check`. */
void control_reload_logged(struct control *c)
{
	struct strbuf text = { 0 };
	struct span rest, line;
	enum reload_result result;

	strbuf_init(&text);
	result = control_reload(c, &text);
	for (rest = strbuf_span(&text); result == RELOAD_WRONG && span_next(&rest, '\n', &line);)
		if (memmem(line.ptr, line.len, " error: ", 8))
			log_error("reload: %.*s", SPAN_ARG(line));
	if (result == RELOAD_REFUSED)
		log_error("reload: %.*s", SPAN_ARG(span_chomp(strbuf_span(&text))));
	strbuf_fini(&text);
}

static void on_signal(struct signals *s, int signo)
{
	struct control *c = container_of(s, struct control, signals);

	if (c->state == CONTROL_STOPPING)
		return; /* what they are about may be gone already */
	if (c->state == CONTROL_STARTING) {
		c->is_unwanted |= signo == SIGTERM || signo == SIGINT;
		return;
	}
	switch (signo) {
	case SIGHUP:
		notify_reloading();
		control_reload_logged(c);
		notify_send("READY=1");
		break;
	case SIGUSR1:
		logs_reopen(c);
		break;
	case SIGUSR2:
		upgrade_begin_logged(c->upgrade);
		break;
	case SIGINT:
		if (++c->interrupts > 1) {
			control_stop(c);
			break;
		}
		log_info("once more to stop at once");
		control_drain(c);
		break;
	default:
		control_drain(c);
		break;
	}
}

bool control_is_unwanted(struct control *c)
{
	sigset_t pending;

	/* One that the loop has read, or has yet to read. */
	(void)loop_turn(c->loop, 0);
	(void)sigpending(&pending);
	return c->is_unwanted || sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
}

static void on_signals_closed(struct signals *s)
{
	(void)s;
}

/* What only workers held at last. */
static void registry_sweep(struct config_registry *r)
{
	stores_sweep(&r->stores);
	endpoint_registry_sweep(&r->endpoints);
}

static void on_second(struct timer *t)
{
	struct control *c = container_of(t, struct control, second_timer);

	c->seconds++;
	guard_tick(&c->guard, c->seconds);
	upgrade_tick(c->upgrade);
	if (c->state == CONTROL_RUNNING)
		certificates_tick(c->certificates);
	geo_watch_tick(&c->geo);
	memory_tick(&c->shared, &c->current->limits);
	audit_flush(c->audit, UINT64_MAX); /* whatever there is: on disk within a second */
	if (c->seconds % 10 == 0)
		registry_sweep(&c->registry);
	if (c->seconds % 60 == 0)
		limit_metrics_sweep(c);
	timer_arm(c->loop, t, 1000);
}

int control_start(struct control *c)
{
	static const int signos[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, 0 };
	int err;

	c->signals.on_signal = on_signal;
	c->signals.on_closed = on_signals_closed;
	err = signals_open(&c->signals, c->loop, signos);
	if (err < 0)
		return err;
	timer_init(&c->drain_timer, on_drain_timeout);
	timer_init(&c->second_timer, on_second);
	timer_arm(c->loop, &c->second_timer, 1000);
	return 0;
}
