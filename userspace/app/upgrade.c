/* SPDX-License-Identifier: GPL-2.0-only */
/* upgrade.c - binary upgrade, the side that gives. */
#include "app/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/admin.h"
#include "app/audit.h"
#include "app/kernel_tunnels.h"
#include "app/notify.h"
#include "app/sockets.h"
#include "app/upgrade_message.h"
#include "app/upgrade_spawn.h"
#include "app/upgrade_tunnels.h"
#include "app/watch.h"
#include "base/check.h"
#include "base/mem.h"
#include "observe/log.h"

#define TEXT_MAX (64 * 1024) /* of the new process's complaints */

enum phase {
	PHASE_IDLE,
	PHASE_STARTING, /* it asks; all is ours */
	PHASE_GIVEN,	/* the guard is its */
	PHASE_LEFT,	/* everything is */
};

struct older {
	struct upgrade *upgrade;
	pid_t pid;   /* 0: the place is free */
	int channel; /* owned */
	struct poller poller;
	uint64_t connections;
	bool has_news;
	bool sends_pairs; /* tunnels may come as they are in the kernel */
};

struct upgrade {
	struct control *control;
	struct upgrade_program program;

	enum phase phase;
	struct admin_connection *from; /* who waits for the end; NULL: nobody */
	bool wants_json;
	bool is_kept_waiting; /* it has said HELLO, while pairs may come */
	pid_t pid;
	int channel, pidfd, errors; /* owned */
	struct poller channel_poller, errors_poller;
	struct timer deadline; /* of the new process; later of our draining */
	struct strbuf text;    /* what it complained about */
	struct control_listener *sets[UPGRADE_SETS_MAX]; /* borrowed */
	unsigned set_count;
	struct ban *bans; /* owned, in PHASE_GIVEN */
	size_t ban_count;

	struct upgrade_tunnels *tunnels; /* owned, in PHASE_LEFT */

	struct older older[UPGRADE_OLDER_MAX];
};

/* ---- generations before us ---- */

static void hello_look(struct upgrade *u);

static void older_forget(struct older *o)
{
	poller_set(&o->poller, -1);
	(void)close(o->channel);
	o->pid = 0;
}

static void on_older(struct poller *p)
{
	struct older *o = container_of(p, struct older, poller);
	struct upgrade_message m;
	int fds[UPGRADE_FDS_MAX], got;
	unsigned fd_count;

	while (o->pid && (got = upgrade_receive(o->channel, false, &m, fds, &fd_count)) != -EAGAIN) {
		if (got == 1 && m.kind == UPGRADE_NEWS) {
			o->connections = m.connections;
			o->has_news = true;
			o->sends_pairs = o->sends_pairs && m.number != 1;
			continue;
		}
		if (got == 1 && m.kind == UPGRADE_TUNNEL) {
			upgrade_tunnels_take(o->upgrade->control, &m.tunnel, fds, fd_count);
			continue;
		}
		if (got == 0)
			log_info("upgrade: process %d has ended", o->pid);
		else
			log_warn("upgrade: process %d says what makes no sense; it is left alone", o->pid);
		if (got == 1)
			upgrade_close_fds(fds, fd_count);
		older_forget(o);
	}
	hello_look(o->upgrade);
}

static struct older *older_at(struct upgrade *u, unsigned n)
{
	for (unsigned i = 0; i < UPGRADE_OLDER_MAX; i++)
		if (u->older[i].pid && n-- == 0)
			return &u->older[i];
	return NULL;
}

static unsigned older_count(const struct upgrade *u)
{
	unsigned n = 0;

	for (unsigned i = 0; i < UPGRADE_OLDER_MAX; i++)
		n += u->older[i].pid != 0;
	return n;
}

void upgrade_add_older(struct upgrade *u, pid_t pid, int channel, bool sends_pairs)
{
	for (unsigned i = 0; i < UPGRADE_OLDER_MAX; i++) {
		struct older *o = &u->older[i];

		if (o->pid)
			continue;
		o->pid = pid;
		o->channel = channel;
		o->has_news = false;
		o->sends_pairs = sends_pairs;
		poller_set(&o->poller, channel);
		return;
	}
	(void)close(channel); /* upgrade_begin() counted; it drains all the same */
}

/* ---- the new process ---- */

static void errors_read(struct upgrade *u)
{
	char buf[4096];
	ssize_t n = 1;

	/* Bounded: whoever writes without end must not keep us here. */
	for (unsigned i = 0; i < TEXT_MAX / sizeof(buf) && (n = read(u->errors, buf, sizeof(buf))) > 0; i++)
		strbuf_add(&u->text, buf, MIN((size_t)n, TEXT_MAX - u->text.len));
	if (n == 0)
		poller_set(&u->errors_poller, -1);
}

static void on_errors(struct poller *p)
{
	errors_read(container_of(p, struct upgrade, errors_poller));
}

/* Let go of the new process; what it said is in u->text. */
static void process_forget(struct upgrade *u)
{
	timer_disarm(u->control->loop, &u->deadline);
	errors_read(u);
	poller_set(&u->errors_poller, -1);
	(void)close(u->errors);
	(void)close(u->pidfd);
	free(u->bans);
	u->bans = NULL;
}

static void channel_close(struct upgrade *u)
{
	poller_set(&u->channel_poller, -1);
	(void)close(u->channel);
}

/* For the log: each line of what the new process said. */
static void text_log(const struct strbuf *text)
{
	struct span rest, line;

	for (rest = strbuf_span(text); span_next(&rest, '\n', &line);)
		if (line.len)
			log_error("upgrade: %.*s", (int)MIN(line.len, (size_t)500), line.ptr);
}

/* To whoever asked for the upgrade. */
static void reply(struct upgrade *u, bool is_done, const struct strbuf *text)
{
	struct admin_connection *from = u->from;
	struct strbuf json = { 0 };

	u->from = NULL;
	if (!from)
		return;
	strbuf_init(&json);
	if (u->wants_json)
		admin_message(&json, is_done ? "done" : "failed", strbuf_span(text));
	admin_reply(from, is_done, u->wants_json ? &json : text);
	strbuf_fini(&json);
}

static void fail(struct upgrade *u, const char *why)
{
	struct control *c = u->control;
	bool was_given = u->phase == PHASE_GIVEN;
	struct strbuf out = { 0 };

	upgrade_kill(u->pidfd);
	process_forget(u);
	channel_close(u);
	u->phase = PHASE_IDLE;
	if (was_given) {
		guard_take_back(&c->guard);
		tls_shared_keep_tickets(c->registry.tls.shared);
		for (unsigned i = 0; i < u->set_count; i++)
			steering_add(&c->steering, &u->sets[i]->addr, u->sets[i]->fds);
		(void)pid_file_write(&c->pid_file);
	}
	log_error("upgrade: %s; process %d goes on", why, getpid());
	text_log(&u->text);
	audit_event(c->audit, "admin_action", "upgrade_failed", why);
	strbuf_init(&out);
	strbuf_add_span(&out, strbuf_span(&u->text));
	if (out.len && out.ptr[out.len - 1] != '\n')
		strbuf_add_char(&out, '\n');
	strbuf_printf(&out, "no upgrade: %s; process %d goes on\n", why, getpid());
	reply(u, false, &out);
	strbuf_fini(&out);
	strbuf_reset(&u->text);
}

static void on_deadline(struct timer *t)
{
	struct upgrade *u = container_of(t, struct upgrade, deadline);

	if (u->phase == PHASE_LEFT) {
		log_warn("upgrade-drain-timeout is over: what is still open is ended");
		control_stop(u->control);
		return;
	}
	fail(u, "the new process did not serve within 10 s");
}

/* ---- answers ---- */

static int say_state(struct upgrade *u)
{
	struct control *c = u->control;
	struct upgrade_message m = { .kind = UPGRADE_STATE };
	struct upgrade_state *s = &m.state;
	int fds[3] = { STDERR_FILENO };
	unsigned count = 1;

	s->worker_count = c->worker_count;
	s->set_count = u->set_count;
	s->older_count = older_count(u);
	(void)snprintf(s->instance, sizeof(s->instance), "%s", c->current->instance);
	if (c->admin) {
		(void)snprintf(s->admin_path, sizeof(s->admin_path), "%s", admin_socket_path(c->admin));
		s->has |= UPGRADE_HAS_ADMIN;
		fds[count++] = admin_socket_fd(c->admin);
	}
	if (c->pid_file.path && strlen(c->pid_file.path) < sizeof(s->pid_path)) {
		(void)snprintf(s->pid_path, sizeof(s->pid_path), "%s", c->pid_file.path);
		s->has |= UPGRADE_HAS_PID_FILE;
		fds[count++] = c->pid_file.fd;
	}
	return upgrade_send(u->channel, &m, fds, count);
}

static int say_sockets(struct upgrade *u, uint32_t set, uint32_t first)
{
	struct upgrade_message m = { .kind = UPGRADE_SOCKETS, .sockets = { .set = set, .first = first } };
	const struct control_listener *l;

	if (set >= u->set_count || first >= u->control->worker_count)
		return -EPROTO;
	l = u->sets[set];
	memcpy(&m.sockets.addr, &l->addr.sa, MIN((size_t)l->addr.len, sizeof(m.sockets.addr)));
	return upgrade_send(u->channel, &m, l->fds + first,
			    MIN(u->control->worker_count - first, (unsigned)UPGRADE_FDS_MAX));
}

static int say_older(struct upgrade *u, uint32_t n)
{
	struct older *o = older_at(u, n);
	struct upgrade_message m = { .kind = UPGRADE_OLDER };
	int gone = -1;

	if (o) {
		m.number = (uint32_t)o->pid;
		return upgrade_send(u->channel, &m, &o->channel, 1);
	}
	if (n >= UPGRADE_OLDER_MAX)
		return -EPROTO;
	/* It has ended since STATE: anything that is at its end will do. */
	gone = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (gone < 0)
		return -errno;
	n = (uint32_t)upgrade_send(u->channel, &m, &gone, 1);
	(void)close(gone);
	return (int)n;
}

static int give_guard(struct upgrade *u)
{
	struct upgrade_message m = { .kind = UPGRADE_GUARD };

	u->phase = PHASE_GIVEN;
	/* 0: also those that are over and remembered */
	u->bans = bans_list(fastpath_bans(u->control->guard.fastpath), 0, &u->ban_count);
	guard_release(&u->control->guard);
	for (unsigned i = 0; i < u->set_count; i++)
		steering_remove(&u->control->steering, &u->sets[i]->addr);
	return upgrade_send(u->channel, &m, NULL, 0);
}

static int say_bans(struct upgrade *u, uint32_t from)
{
	struct upgrade_message m = { .kind = UPGRADE_BANS };

	if (from > u->ban_count)
		return -EPROTO;
	m.bans.count = (uint32_t)MIN(u->ban_count - from, (size_t)UPGRADE_BANS_PAGE);
	m.bans.rest = (uint32_t)u->ban_count - from - m.bans.count;
	if (m.bans.count)
		memcpy(m.bans.bans, u->bans + from, m.bans.count * sizeof(*u->bans));
	return upgrade_send(u->channel, &m, NULL, 0);
}

/* Nobody but the two processes sees them: the channel is a socket pair. */
static int say_tickets(struct upgrade *u)
{
	struct upgrade_message m = { .kind = UPGRADE_TICKETS };
	int err;

	tls_shared_give_tickets(u->control->registry.tls.shared, &m.tickets);
	err = upgrade_send(u->channel, &m, NULL, 0);
	tls_ticket_keys_wipe(&m.tickets);
	return err;
}

/* ---- the end of our time ---- */

static void files_leave(struct upgrade *u, const struct upgrade_serving *s)
{
	struct control *c = u->control;

	if (s->has & UPGRADE_HAS_PID_FILE)
		pid_file_leave(&c->pid_file);
	else
		pid_file_remove(&c->pid_file);
	admin_leave(c->admin, s->has & UPGRADE_HAS_ADMIN);
	for (unsigned i = 0; i < UPGRADE_OLDER_MAX; i++)
		if (u->older[i].pid)
			older_forget(&u->older[i]);
}

static void leave(struct upgrade *u, const struct upgrade_serving *s)
{
	struct control *c = u->control;
	uint64_t limit_ms = c->current->config->system.upgrade_drain_ms;
	struct strbuf out = { 0 };
	char state[40];

	process_forget(u);
	(void)!write(STDERR_FILENO, u->text.ptr, u->text.len); /* warnings of a good start */
	u->phase = PHASE_LEFT;
	c->state = CONTROL_LEAVING;
	for (unsigned i = 0; i < u->set_count; i++)
		sockets_leave(c, u->sets[i], s->adopted[i] ? s->worker_count : 0);
	for (unsigned i = 0; i < c->worker_count; i++)
		worker_retire(c->workers[i]);
	u->tunnels = upgrade_tunnels_start(c, u->channel, s->kernel_abi);
	watch_set(c->watch, NULL);
	(void)snprintf(state, sizeof(state), "MAINPID=%d", u->pid);
	notify_send(state);
	audit_event(c->audit, "admin_action", "upgrade", NULL);
	log_info("upgrade: process %d serves now; this one, %d, ends what it has open", u->pid, getpid());
	strbuf_init(&out);
	strbuf_printf(&out, "process %d serves now; process %d ends what it has open\n", u->pid, getpid());
	reply(u, true, &out);
	strbuf_fini(&out);
	files_leave(u, s);
	strbuf_reset(&u->text);
	if (limit_ms)
		timer_arm(c->loop, &u->deadline, limit_ms);
}

/* ---- what it asks ---- */

static int answer(struct upgrade *u, const struct upgrade_message *m)
{
	bool is_starting = u->phase == PHASE_STARTING, is_given = u->phase == PHASE_GIVEN;

	if (is_starting && m->kind == UPGRADE_HELLO) {
		u->is_kept_waiting = true;
		hello_look(u);
		return 0;
	}
	if (is_starting && m->kind == UPGRADE_GET_SOCKETS)
		return say_sockets(u, m->number, m->first);
	if (is_starting && m->kind == UPGRADE_GET_OLDER)
		return say_older(u, m->number);
	if (is_starting && m->kind == UPGRADE_READY)
		return give_guard(u);
	if (is_given && m->kind == UPGRADE_GET_BANS)
		return say_bans(u, m->number);
	if (is_given && m->kind == UPGRADE_GET_TICKETS)
		return say_tickets(u);
	if (is_given && m->kind == UPGRADE_SERVING) {
		leave(u, &m->serving);
		return 0;
	}
	if (u->phase == PHASE_LEFT && m->kind == UPGRADE_STOP) {
		control_drain(u->control);
		return 0;
	}
	return -EPROTO;
}

static void channel_ended(struct upgrade *u, int err)
{
	if (u->phase == PHASE_LEFT) {
		upgrade_tunnels_end(u->tunnels);
		channel_close(u);
		u->channel = -1;
		log_info("upgrade: process %d has ended or left; this one goes on draining", u->pid);
	} else if (err == 0) {
		fail(u, "the new process ended before it served");
	} else if (err == -EPROTONOSUPPORT) {
		fail(u, "the new program speaks another version of the upgrade's protocol: it takes a restart");
	} else {
		fail(u, err == -EPROTO ? "the new process says what makes no sense" : strerror(-err));
	}
}

/* The channels of older processes go to the new one only when no pair can come by them. */
static void hello_look(struct upgrade *u)
{
	int err;

	if (u->phase != PHASE_STARTING || !u->is_kept_waiting)
		return;
	for (unsigned i = 0; i < UPGRADE_OLDER_MAX; i++)
		if (u->older[i].pid && u->older[i].sends_pairs)
			return;
	u->is_kept_waiting = false;
	err = say_state(u);
	if (err < 0)
		channel_ended(u, err);
}

static void on_channel(struct poller *p)
{
	struct upgrade *u = container_of(p, struct upgrade, channel_poller);
	struct upgrade_message m;
	int fds[UPGRADE_FDS_MAX], got;
	unsigned fd_count;

	/* One a turn: whoever asks without end does not keep us from all else. */
	got = upgrade_receive(u->channel, false, &m, fds, &fd_count);
	if (got == -EAGAIN)
		return;
	if (got == 1) {
		upgrade_close_fds(fds, fd_count);
		got = answer(u, &m);
		if (got == 0)
			return;
	}
	channel_ended(u, got);
}

/* ---- the beginning ---- */

static bool may_begin(struct upgrade *u, struct strbuf *out)
{
	struct control *c = u->control;
	unsigned sets = 0;

	for (struct control_listener *l = c->listeners; l; l = l->next)
		sets += !l->closing;
	if (u->phase == PHASE_LEFT || c->state != CONTROL_RUNNING)
		strbuf_add_str(out, "the daemon is stopping\n");
	else if (u->phase != PHASE_IDLE)
		strbuf_printf(out, "an upgrade is under way already: process %d is starting\n", u->pid);
	else if (older_count(u) >= UPGRADE_OLDER_MAX - 1) /* the new one knows us as well */
		strbuf_printf(out, "%u older processes still have something open: end some of them first "
				   "(`sentinel status` lists them)\n", older_count(u));
	else if (sets > UPGRADE_SETS_MAX)
		strbuf_printf(out, "%u listeners are more than can be handed over (%d)\n", sets, UPGRADE_SETS_MAX);
	else
		return true;
	return false;
}

static int errors_pipe(int out_ends[2])
{
	if (pipe2(out_ends, O_CLOEXEC) < 0)
		return -errno;
	if (fcntl(out_ends[0], F_SETFL, O_NONBLOCK) < 0) {
		int err = -errno;

		upgrade_close_fds((const int *)out_ends, 2);
		return err;
	}
	return 0;
}

static int process_start(struct upgrade *u, struct strbuf *out)
{
	int channel[2], errors[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0) {
		err = -errno;
		strbuf_printf(out, "no channel to a new process: %s\n", strerror(-err));
		return err;
	}
	err = errors_pipe(errors);
	if (err < 0) {
		strbuf_printf(out, "no pipe to a new process: %s\n", strerror(-err));
		upgrade_close_fds(channel, 2);
		return err;
	}
	err = upgrade_spawn(&u->program, channel[1], errors[1], &u->pid, &u->pidfd, out);
	(void)close(channel[1]);
	(void)close(errors[1]);
	if (err < 0) {
		(void)close(channel[0]);
		(void)close(errors[0]);
		return err;
	}
	u->channel = channel[0];
	u->errors = errors[0];
	return 0;
}

bool upgrade_begin(struct upgrade *u, struct admin_connection *from, bool wants_json, struct strbuf *out)
{
	struct control *c = u->control;

	if (!may_begin(u, out))
		return false;
	u->set_count = 0;
	for (struct control_listener *l = c->listeners; l; l = l->next)
		if (!l->closing)
			u->sets[u->set_count++] = l;
	strbuf_reset(&u->text);
	if (process_start(u, out) < 0)
		return false;
	u->phase = PHASE_STARTING;
	u->is_kept_waiting = false;
	u->from = from;
	u->wants_json = wants_json;
	log_info("upgrade: %s starts as process %d", u->program.path, u->pid);
	poller_set(&u->channel_poller, u->channel);
	poller_set(&u->errors_poller, u->errors);
	timer_arm(c->loop, &u->deadline, UPGRADE_TIMEOUT_MS);
	return true;
}

void upgrade_begin_logged(struct upgrade *u)
{
	struct strbuf out = { 0 };

	strbuf_init(&out);
	if (!upgrade_begin(u, NULL, false, &out))
		log_error("upgrade: %.*s", SPAN_ARG(span_trim(strbuf_span(&out))));
	strbuf_fini(&out);
}

struct upgrade *upgrade_new(struct control *c, const char *config)
{
	struct upgrade *u = mem_zalloc(sizeof(*u));

	u->control = c;
	upgrade_program_init(&u->program, config);
	u->channel = u->errors = u->pidfd = -1;
	poller_init(&u->channel_poller, c->loop, on_channel);
	poller_init(&u->errors_poller, c->loop, on_errors);
	timer_init(&u->deadline, on_deadline);
	strbuf_init(&u->text);
	for (unsigned i = 0; i < UPGRADE_OLDER_MAX; i++) {
		u->older[i].upgrade = u;
		poller_init(&u->older[i].poller, c->loop, on_older);
	}
	return u;
}

bool upgrade_is_under_way(const struct upgrade *u)
{
	return u->phase == PHASE_STARTING || u->phase == PHASE_GIVEN;
}

void upgrade_stop(struct upgrade *u)
{
	struct upgrade_message m = { .kind = UPGRADE_STOP };

	if (upgrade_is_under_way(u))
		fail(u, "this process was told to stop");
	for (unsigned i = 0; i < UPGRADE_OLDER_MAX; i++)
		if (u->older[i].pid)
			(void)upgrade_send(u->older[i].channel, &m, NULL, 0); /* full: it is stuck */
}

void upgrade_tick(struct upgrade *u)
{
	struct upgrade_message m = { .kind = UPGRADE_NEWS };

	kernel_tunnels_tick(u->control->kernel_tunnels);
	if (u->phase != PHASE_LEFT || u->channel < 0)
		return;
	m.number = upgrade_tunnels_pairs_are_over(u->tunnels);
	m.connections = atomic_load_explicit(&u->control->shared.connections, memory_order_relaxed);
	(void)upgrade_send(u->channel, &m, NULL, 0); /* only news: the next ones come */
}

/* ---- status ---- */

void upgrade_text(const struct upgrade *u, struct strbuf *out)
{
	if (upgrade_is_under_way(u))
		strbuf_printf(out, "upgrade       process %d is starting\n", u->pid);
	for (unsigned i = 0; i < UPGRADE_OLDER_MAX; i++) {
		const struct older *o = &u->older[i];

		if (o->pid && o->has_news)
			strbuf_printf(out, "older process %d ends what it has open: %llu connections\n", o->pid,
				      (unsigned long long)o->connections);
		else if (o->pid)
			strbuf_printf(out, "older process %d ends what it has open\n", o->pid);
	}
}

void upgrade_json(const struct upgrade *u, struct json *j)
{
	json_array(j, "older_processes");
	for (unsigned i = 0; i < UPGRADE_OLDER_MAX; i++) {
		const struct older *o = &u->older[i];

		if (!o->pid)
			continue;
		json_object(j, NULL);
		json_u64(j, "pid", (uint64_t)o->pid);
		if (o->has_news)
			json_u64(j, "connections", o->connections);
		else
			json_null(j, "connections");
		json_end(j, '}');
	}
	json_end(j, ']');
}
