/* SPDX-License-Identifier: GPL-2.0-only */
/* watch.c - inotify on the folders of the configuration. */
#include "app/watch.h"

#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "app/poller.h"
#include "base/check.h"
#include "base/mem.h"
#include "observe/log.h"

#define FOLDERS_MAX 256
#define CHANGES (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE)

struct watch {
	struct loop *loop;
	int fd; /* owned */
	struct poller poller;
	struct timer quiet;
	int folders[FOLDERS_MAX]; /* watch descriptors */
	unsigned folder_count;
	const struct config *config; /* borrowed: the one in force; NULL: nothing is watched */
	void (*on_change)(void *ctx);
	void *ctx;
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* A file of the configuration, or one that an include may begin to match. */
static bool name_matters(const struct watch *w, const char *name, uint32_t len)
{
	struct span s = span_of(name, len ? strnlen(name, len) : 0);

	for (uint32_t i = 0; w->config && i < w->config->sources->file_count; i++)
		if (span_eq(s, span_str(base_name(w->config->sources->files[i].path))))
			return true;
	return w->config && span_ends(s, SPAN(".kdl"));
}

static void on_ready(struct poller *p)
{
	struct watch *w = container_of(p, struct watch, poller);
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool has_changed = false;
	ssize_t len;

	while ((len = read(w->fd, buf, sizeof(buf))) > 0)
		for (char *at = buf; at < buf + len;) {
			const struct inotify_event *e = (const struct inotify_event *)(const void *)at;

			has_changed |= (e->mask & IN_Q_OVERFLOW) || name_matters(w, e->name, e->len);
			at += sizeof(*e) + e->len;
		}
	if (has_changed)
		timer_arm(w->loop, &w->quiet, WATCH_QUIET_MS);
}

static void on_quiet(struct timer *t)
{
	struct watch *w = container_of(t, struct watch, quiet);

	w->on_change(w->ctx);
}

int watch_new(struct watch **out, struct loop *l, void (*on_change)(void *ctx), void *ctx)
{
	struct watch *w;
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0)
		return -errno;
	w = mem_zalloc(sizeof(*w));
	w->loop = l;
	w->fd = fd;
	w->on_change = on_change;
	w->ctx = ctx;
	timer_init(&w->quiet, on_quiet);
	poller_init(&w->poller, l, on_ready);
	poller_set(&w->poller, fd);
	*out = w;
	return 0;
}

static void folder_add(struct watch *w, const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[4096] = ".";
	int wd;

	if (slash)
		(void)snprintf(folder, sizeof(folder), "%.*s", (int)MAX(slash - path, 1), path);
	wd = inotify_add_watch(w->fd, folder, CHANGES); /* the same folder gives the same number */
	if (wd < 0)
		log_warn("auto-reload does not see what changes in %s: inotify: %s", folder, strerror(errno));
	for (unsigned i = 0; i < w->folder_count; i++)
		if (w->folders[i] == wd)
			return;
	if (wd >= 0 && w->folder_count < FOLDERS_MAX)
		w->folders[w->folder_count++] = wd;
}

void watch_set(struct watch *w, const struct config *c)
{
	if (!w)
		return;
	for (unsigned i = 0; i < w->folder_count; i++)
		(void)inotify_rm_watch(w->fd, w->folders[i]);
	w->folder_count = 0;
	w->config = c;
	timer_disarm(w->loop, &w->quiet);
	for (uint32_t i = 0; c && i < c->sources->file_count; i++)
		folder_add(w, c->sources->files[i].path);
}
