/* SPDX-License-Identifier: GPL-2.0-only */
/* sockets.c - opens listening sockets before a snapshot is published and hands them to the workers after it. */
#include "app/sockets.h"

#include <errno.h>
#include <unistd.h>

#include "app/heir.h"
#include "base/mem.h"
#include "net/listener.h"
#include "observe/log.h"

bool sockets_listener_is_open(const struct control *c, uint32_t number)
{
	for (const struct control_listener *l = c->listeners; l; l = l->next)
		if (l->number == number && !l->closing)
			return true;
	return false;
}

/* One of ours listens there, under another name or not for long: the probe bind would take it for a stranger. */
static bool address_is_ours(const struct control *c, const struct addr *addr)
{
	for (const struct control_listener *l = c->listeners; l; l = l->next)
		if (addr_eq(&l->addr, addr))
			return true;
	return false;
}

static void failure_describe(struct strbuf *out, const struct listener *l, int err)
{
	char text[ADDR_TEXT_MAX];

	addr_format(&l->addr, text);
	if (strcmp(l->id, CONFIG_METRICS_LISTENER) == 0)
		strbuf_add_str(out, "observability { metrics { address } }");
	else
		strbuf_printf(out, "listener \"%s\"", l->id);
	strbuf_printf(out, ": cannot listen on %s: %s", text, strerror(-err));
	if (err == -EADDRINUSE)
		strbuf_add_str(out, "; another program has the port (`ss -ltnp` shows which)");
	else if (err == -EACCES)
		strbuf_add_str(out, "; ports below 1024 need root or CAP_NET_BIND_SERVICE");
	else if (err == -EADDRNOTAVAIL)
		strbuf_add_str(out, "; this host does not have the address");
	strbuf_add_char(out, '\n');
}

/* At a reload nothing is waited for. */
static int first_socket(const struct control *c, const struct listener *l)
{
	int fd = listener_socket(&l->addr, CONTROL_BACKLOG, true);

	for (unsigned i = 0; fd == -EADDRINUSE && c->state == CONTROL_STARTING && i < SOCKETS_TRIES; i++) {
		(void)usleep(SOCKETS_PAUSE_US);
		fd = listener_socket(&l->addr, CONTROL_BACKLOG, true);
	}
	return fd;
}

static int set_open(struct sockets *set, const struct control *c)
{
	const struct addr *addr = &set->listener->addr;
	bool is_first = !address_is_ours(c, addr) && !heir_has_address(c->heir, addr);

	for (unsigned i = 0; i < c->worker_count; i++) {
		int fd = heir_socket_take(c->heir, addr, i);

		if (fd < 0)
			fd = is_first && i == 0 ? first_socket(c, set->listener)
						: listener_socket(addr, CONTROL_BACKLOG, false);
		if (fd < 0)
			return fd;
		set->fds[i] = fd;
	}
	return 0;
}

static struct sockets *set_new(const struct listener *l, unsigned count)
{
	struct sockets *set = mem_zalloc(sizeof(*set));

	set->listener = l;
	set->fds = mem_array(count, sizeof(*set->fds));
	for (unsigned i = 0; i < count; i++)
		set->fds[i] = -1;
	return set;
}

static bool is_optional(const struct listener *l, const struct snapshot *s)
{
	const struct config_metrics *m = &s->config->observability.metrics;

	return strcmp(l->id, CONFIG_METRICS_LISTENER) == 0 && !SCHEMA_HAS(m, address);
}

int sockets_open(struct sockets **out_sockets, struct control *c, const struct snapshot *s, struct strbuf *out)
{
	struct sockets *all = NULL;
	int err;

	for (unsigned i = 0; i < s->listener_count; i++) {
		const struct listener *l = &s->listeners[i];
		struct sockets *set;

		if (l->is_removed || sockets_listener_is_open(c, l->number))
			continue;
		set = set_new(l, c->worker_count);
		err = set_open(set, c);
		if (err == -EADDRINUSE && is_optional(l, s)) {
			strbuf_add_str(out, "warning: no metrics are served: 127.0.0.1:9090, the default, is taken; "
					    "set observability { metrics { address \"...\" } }\n");
			sockets_free(set, c->worker_count);
			continue;
		}
		set->next = all;
		all = set;
		if (err < 0) {
			failure_describe(out, l, err);
			sockets_free(all, c->worker_count);
			return err;
		}
	}
	*out_sockets = all;
	return 0;
}

void sockets_free(struct sockets *s, unsigned count)
{
	while (s) {
		struct sockets *next = s->next;

		for (unsigned i = 0; i < count; i++)
			if (s->fds[i] >= 0)
				(void)close(s->fds[i]);
		free(s->fds);
		free(s);
		s = next;
	}
}

void sockets_on_unlistened(void *ctx, uint32_t listener)
{
	struct control *c = ctx;

	for (struct control_listener **link = &c->listeners; *link; link = &(*link)->next) {
		struct control_listener *l = *link;

		if (l->number != listener || !l->closing)
			continue;
		if (--l->closing == 0) {
			*link = l->next;
			free(l->fds);
			free(l);
		}
		return;
	}
}

/* What a worker may not do on every kernel: it has no capability. */
static void refuse_new(const struct control *c, const struct control_listener *l)
{
	for (unsigned i = 0; i < c->worker_count; i++)
		(void)listener_refuse_new(l->fds[i]); /* without it a few clients may be reset */
}

void sockets_refuse_new(const struct control *c)
{
	for (const struct control_listener *l = c->listeners; l; l = l->next)
		if (!l->closing)
			refuse_new(c, l);
}

void sockets_leave(struct control *c, struct control_listener *l, unsigned worker_count)
{
	l->closing = c->worker_count;
	for (unsigned i = 0; i < c->worker_count; i++) {
		if (i < worker_count) {
			worker_leave(c->workers[i], l->number);
			continue;
		}
		(void)listener_refuse_new(l->fds[i]);
		worker_unlisten(c->workers[i], l->number);
	}
}

void sockets_own(const struct sockets *s, unsigned count, uid_t uid, gid_t gid)
{
	for (; s; s = s->next)
		for (unsigned i = 0; i < count; i++)
			if (fchown(s->fds[i], uid, gid) < 0) {
				log_warn("sockets cannot be given to the daemon's user (%s): an upgrade to more "
					 "workers will be refused", strerror(errno));
				return;
			}
}

void sockets_publish(struct sockets *s, struct control *c)
{
	for (; s; s = s->next) {
		struct control_listener *l = mem_zalloc(sizeof(*l));

		l->number = s->listener->number;
		l->addr = s->listener->addr;
		l->fds = mem_array(c->worker_count, sizeof(*l->fds));
		l->next = c->listeners;
		c->listeners = l;
		for (unsigned i = 0; i < c->worker_count; i++) {
			l->fds[i] = s->fds[i];
			worker_listen(c->workers[i], l->number, s->fds[i]);
			s->fds[i] = -1;
		}
		steering_add(&c->steering, &l->addr, l->fds);
	}
	for (struct control_listener *l = c->listeners; l; l = l->next) {
		const struct listener *now = snapshot_listener(c->current, l->number);

		if (l->closing || (now && !now->is_removed))
			continue;
		l->closing = c->worker_count;
		steering_remove(&c->steering, &l->addr);
		refuse_new(c, l);
		for (unsigned i = 0; i < c->worker_count; i++)
			worker_unlisten(c->workers[i], l->number);
	}
}
