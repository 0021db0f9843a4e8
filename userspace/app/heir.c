/* SPDX-License-Identifier: GPL-2.0-only */
/* heir.c - binary upgrade, the side that takes. */
#include "app/heir.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "app/admin.h"
#include "app/kernel_tunnels.h"
#include "app/sockets.h"
#include "app/upgrade.h"
#include "app/upgrade_message.h"
#include "app/upgrade_spawn.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "observe/log.h"

struct heir_set {
	struct addr addr;
	int *fds;	 /* owned, one a worker of the old process; -1: taken */
	bool is_adopted; /* somebody took one */
};

struct heir {
	int channel, stderr_fd, admin_fd, pid_file_fd; /* owned; -1: none */
	pid_t pid; /* of the old process */
	struct upgrade_state state;
	bool takes_pid_file;
	struct heir_set *sets; /* owned */
	unsigned set_count;
	int older_fds[UPGRADE_OLDER_MAX]; /* owned */
	pid_t older_pids[UPGRADE_OLDER_MAX];
	unsigned older_count;
};

/* ---- asking ---- */

/* Send m and wait for the answer, which replaces it. */
static int ask(struct heir *h, struct upgrade_message *m, enum upgrade_kind wanted, int *fds, unsigned *fd_count,
	       struct strbuf *out_why)
{
	int err = upgrade_send(h->channel, m, NULL, 0);
	int got = err < 0 ? err : upgrade_receive(h->channel, true, m, fds, fd_count);

	if (got == 1 && m->kind == wanted)
		return 0;
	if (got == 1) {
		upgrade_close_fds(fds, *fd_count);
		got = -EPROTO;
	}
	if (got == -EPROTONOSUPPORT)
		strbuf_add_str(out_why, "the process that runs speaks another version of the upgrade's protocol: it "
					"takes a restart\n");
	else
		strbuf_printf(out_why, "the process that runs does not answer as it should: %s\n",
			      got == 0 ? "it is gone" : strerror(-got));
	return got == 0 ? -EPIPE : got;
}

int heir_new(struct heir **out, struct strbuf *out_why)
{
	const char *value = getenv(UPGRADE_ENV);
	const struct timeval patience = { .tv_sec = UPGRADE_TIMEOUT_MS / 1000 };
	struct ucred peer;
	socklen_t len = sizeof(int), peer_len = sizeof(peer);
	struct heir *h;
	int type = 0;

	if (!value)
		return 0;
	if (strcmp(value, "3") != 0 || getsockopt(UPGRADE_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_SEQPACKET || getsockopt(UPGRADE_FD, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len) < 0) {
		strbuf_add_str(out_why, UPGRADE_ENV " is set, but nobody hands anything over: it is for "
						    "`sentinel upgrade` only\n");
		return -EINVAL;
	}
	(void)unsetenv(UPGRADE_ENV);
	(void)fcntl(UPGRADE_FD, F_SETFD, FD_CLOEXEC);
	(void)setsockopt(UPGRADE_FD, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	h = mem_zalloc(sizeof(*h));
	h->channel = UPGRADE_FD;
	h->pid = peer.pid;
	h->stderr_fd = h->admin_fd = h->pid_file_fd = -1;
	*out = h;
	return 1;
}

static void fd_drop(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static void sets_drop(struct heir *h)
{
	for (unsigned i = 0; i < h->set_count; i++) {
		for (unsigned w = 0; w < h->state.worker_count; w++)
			fd_drop(&h->sets[i].fds[w]);
		free(h->sets[i].fds);
	}
	free(h->sets);
	h->sets = NULL;
	h->set_count = 0;
}

void heir_free(struct heir *h)
{
	if (!h)
		return;
	sets_drop(h);
	upgrade_close_fds(h->older_fds, h->older_count);
	fd_drop(&h->stderr_fd);
	fd_drop(&h->admin_fd);
	fd_drop(&h->pid_file_fd);
	fd_drop(&h->channel);
	free(h);
}

/* ---- meeting ---- */

static int sockets_ask(struct heir *h, struct heir_set *set, uint32_t number, struct strbuf *out_why)
{
	int fds[UPGRADE_FDS_MAX], err;

	for (uint32_t w = 0; w < h->state.worker_count;) {
		struct upgrade_message m = { .kind = UPGRADE_GET_SOCKETS, .number = number, .first = w };
		unsigned count;

		err = ask(h, &m, UPGRADE_SOCKETS, fds, &count, out_why);
		if (err < 0)
			return err;
		for (unsigned i = 0; i < count; i++)
			if (w < h->state.worker_count)
				set->fds[w++] = fds[i];
			else
				(void)close(fds[i]);
		set->addr.in6 = m.sockets.addr;
		set->addr.len = m.sockets.addr.sin6_family == AF_INET ? sizeof(set->addr.in) : sizeof(set->addr.in6);
	}
	return 0;
}

static int sets_ask(struct heir *h, struct strbuf *out_why)
{
	h->sets = mem_array(h->state.set_count, sizeof(*h->sets));
	for (uint32_t i = 0; i < h->state.set_count; i++) {
		struct heir_set *set = &h->sets[i];
		int err;

		set->fds = mem_array(h->state.worker_count, sizeof(*set->fds));
		for (uint32_t w = 0; w < h->state.worker_count; w++)
			set->fds[w] = -1;
		h->set_count++;
		err = sockets_ask(h, set, i, out_why);
		if (err < 0)
			return err;
	}
	return 0;
}

static int older_ask(struct heir *h, struct strbuf *out_why)
{
	for (uint32_t i = 0; i < h->state.older_count; i++) {
		struct upgrade_message m = { .kind = UPGRADE_GET_OLDER, .number = i };
		int fds[UPGRADE_FDS_MAX], err;
		unsigned count;

		err = ask(h, &m, UPGRADE_OLDER, fds, &count, out_why);
		if (err < 0)
			return err;
		if (m.number == 0) { /* it has just ended */
			upgrade_close_fds(fds, count);
			continue;
		}
		h->older_fds[h->older_count] = fds[0];
		h->older_pids[h->older_count++] = (pid_t)m.number;
	}
	return 0;
}

int heir_meet(struct heir *h, const struct control *c, struct strbuf *out_why)
{
	struct upgrade_message m = { .kind = UPGRADE_HELLO };
	int fds[UPGRADE_FDS_MAX], err;
	unsigned count, at = 0;

	err = ask(h, &m, UPGRADE_STATE, fds, &count, out_why);
	if (err < 0)
		return err;
	h->state = m.state;
	h->stderr_fd = fds[at++];
	if (m.state.has & UPGRADE_HAS_ADMIN)
		h->admin_fd = fds[at++];
	if (m.state.has & UPGRADE_HAS_PID_FILE)
		h->pid_file_fd = fds[at++];
	if (strcmp(h->state.instance, c->current->instance) != 0) {
		strbuf_printf(out_why, "instance \"%s\" runs, and the file says \"%s\": it takes a restart\n",
			      h->state.instance, c->current->instance);
		return -EINVAL;
	}
	err = sets_ask(h, out_why);
	return err < 0 ? err : older_ask(h, out_why);
}

/* ---- what there is ---- */

static struct heir_set *set_find(const struct heir *h, const struct addr *addr)
{
	for (unsigned i = 0; h && i < h->set_count; i++)
		if (addr_eq(&h->sets[i].addr, addr))
			return &h->sets[i];
	return NULL;
}

int heir_socket_take(struct heir *h, const struct addr *addr, unsigned worker)
{
	struct heir_set *set = set_find(h, addr);
	int fd;

	if (!set || worker >= h->state.worker_count)
		return -1;
	fd = set->fds[worker];
	set->fds[worker] = -1;
	set->is_adopted = true;
	return fd;
}

bool heir_has_address(const struct heir *h, const struct addr *addr)
{
	return set_find(h, addr) != NULL;
}

bool heir_has_admin(const struct heir *h, const char *path)
{
	return h->admin_fd >= 0 && strcmp(h->state.admin_path, path) == 0;
}

bool heir_has_pid_file(const struct heir *h, const char *path)
{
	return h->pid_file_fd >= 0 && path && strcmp(h->state.pid_path, path) == 0;
}

int heir_pid_file_take(struct heir *h)
{
	int fd = h->pid_file_fd;

	h->pid_file_fd = -1;
	h->takes_pid_file = true;
	return fd;
}

/* ---- taking over ---- */

static int bans_take(struct heir *h, struct bans *bans, struct strbuf *out_why)
{
	uint32_t from = 0, rest = 1;

	while (rest) {
		struct upgrade_message m = { .kind = UPGRADE_GET_BANS, .number = from };
		int fds[UPGRADE_FDS_MAX], err;
		unsigned count;

		err = ask(h, &m, UPGRADE_BANS, fds, &count, out_why);
		if (err < 0)
			return err;
		for (uint32_t i = 0; i < m.bans.count; i++)
			(void)bans_put(bans, &m.bans.bans[i]); /* full: ours is as large as theirs */
		from += m.bans.count;
		rest = m.bans.count ? m.bans.rest : 0;
	}
	return 0;
}

static int tickets_take(struct heir *h, struct control *c, struct strbuf *out_why)
{
	struct upgrade_message m = { .kind = UPGRADE_GET_TICKETS };
	int fds[UPGRADE_FDS_MAX], err;
	unsigned count;

	err = ask(h, &m, UPGRADE_TICKETS, fds, &count, out_why);
	if (err == 0 && tls_shared_take_tickets(c->registry.tls.shared, &m.tickets, clock_mono_ns(),
						clock_wall_ns() / 1000000000) < 0) {
		strbuf_add_str(out_why, "the process that runs has no keys of TLS tickets\n");
		err = -EPROTO;
	}
	tls_ticket_keys_wipe(&m.tickets);
	return err;
}

static int guard_take(struct heir *h, struct control *c, struct strbuf *out_why)
{
	struct upgrade_message m = { .kind = UPGRADE_READY };
	int fds[UPGRADE_FDS_MAX], err;
	unsigned count;

	err = ask(h, &m, UPGRADE_GUARD, fds, &count, out_why);
	if (err == 0)
		err = bans_take(h, fastpath_bans(c->guard.fastpath), out_why);
	if (err == 0)
		err = tickets_take(h, c, out_why);
	if (err < 0)
		return err;
	guard_inherit(&c->guard);
	guard_apply(&c->guard, &c->first_plan);
	return 0;
}

static int serving_say(struct heir *h, const struct control *c, bool has_admin)
{
	struct upgrade_message m = { .kind = UPGRADE_SERVING };

	m.serving.worker_count = c->worker_count;
	m.serving.has = (has_admin ? UPGRADE_HAS_ADMIN : 0) | (h->takes_pid_file ? UPGRADE_HAS_PID_FILE : 0);
	m.serving.kernel_abi = kernel_tunnels_abi(c->kernel_tunnels);
	for (unsigned i = 0; i < h->set_count; i++)
		m.serving.adopted[i] = h->sets[i].is_adopted;
	sets_drop(h); /* what is not adopted is the old process's alone */
	return upgrade_send(h->channel, &m, NULL, 0);
}

static int wanted_check(struct control *c, struct strbuf *out_why)
{
	if (!control_is_unwanted(c))
		return 0;
	strbuf_add_str(out_why, "it was told to stop before it served\n");
	return -ECANCELED;
}

int heir_take_over(struct heir *h, struct control *c, struct strbuf *out_why)
{
	const char *admin = admin_path(&c->current->config->system, &c->current->arena);
	bool has_admin = heir_has_admin(h, admin);
	int err = wanted_check(c, out_why);

	if (err == 0)
		err = guard_take(h, c, out_why);
	if (err == 0) {
		err = wanted_check(c, out_why);
		if (err < 0)
			guard_release(&c->guard); /* as it is: the old process takes it back */
	}
	if (err < 0)
		return err;
	if (has_admin) {
		admin_adopt(&c->admin, c, h->state.admin_path, h->admin_fd);
		h->admin_fd = -1;
	}
	(void)dup2(h->stderr_fd, STDERR_FILENO);
	sockets_publish(c->first_sockets, c);
	err = pid_file_write(&c->pid_file);
	if (err < 0)
		log_warn("pid-file %s: %s", c->pid_file.path, strerror(-err));
	err = serving_say(h, c, has_admin);
	if (err < 0) /* not heard is not refused: it would have killed us */
		log_warn("upgrade: process %d does not hear that this one serves: %s", h->pid, strerror(-err));
	log_info("upgrade: process %d serves now, in the place of %d", getpid(), h->pid);
	upgrade_add_older(c->upgrade, h->pid, h->channel, true);
	for (unsigned i = 0; i < h->older_count; i++)
		upgrade_add_older(c->upgrade, h->older_pids[i], h->older_fds[i], false);
	h->channel = -1;
	h->older_count = 0;
	heir_free(h);
	return 0;
}
