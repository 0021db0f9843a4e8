/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * control.h - the control thread: everything that is not the data path.  It owns the current snapshot, the
 * workers, the registry, the guard, the admin socket and the file watch; all of it is touched by this thread
 * only.
 */
#ifndef SN_APP_CONTROL_H
#define SN_APP_CONTROL_H

#include "app/geo_watch.h"
#include "app/guard.h"
#include "app/kernel_tunnels.h"
#include "app/pid_file.h"
#include "app/poller.h"
#include "app/punisher.h"
#include "app/resolver.h"
#include "app/steering.h"
#include "app/worker.h"
#include "loop/signal.h"
#include "proxy/config.h"
#include "proxy/snapshot.h"

#define CONTROL_GENERATIONS_MAX 16   /* snapshots that still have exchanges; more reloads are refused */
#define CONTROL_BACKLOG		4096 /* of listening sockets; the kernel cuts it to net.core.somaxconn */

enum control_state {
	CONTROL_STARTING,
	CONTROL_RUNNING,
	CONTROL_LEAVING, /* another process serves: open exchanges may end, whenever that is */
	CONTROL_DRAINING, /* SIGTERM: open exchanges may end */
	CONTROL_STOPPING, /* workers were told to end now */
};

/* A listener whose sockets are with the workers. */
struct control_listener {
	struct control_listener *next;
	uint32_t number;
	struct addr addr;
	int *fds; /* one a worker; owned by the workers, valid until they are told to close */
	unsigned closing; /* workers that have not closed its socket yet; 0 while it is in the file */
};

struct admin;
struct sockets;
struct watch;
struct audit;
struct certificates;
struct heir;
struct upgrade;

struct control {
	struct loop *loop;
	const char *path; /* of the configuration, as it was given */
	struct metrics_shard *metrics;

	struct config_registry registry;
	struct snapshot *current;
	const struct guard_rules *rules; /* of current */
	uint64_t generation;
	unsigned live; /* snapshots in memory */
	uint64_t loaded_wall_ns;
	char last_error[200]; /* of the last reload; "" if it was right */

	struct worker **workers;
	unsigned worker_count;
	unsigned drained_count, stopped_count;
	struct proxy_shared shared;
	struct control_listener *listeners; /* the closing ones too: their addresses are still ours */

	enum control_state state;
	bool is_unwanted; /* SIGTERM or SIGINT came before it served */
	unsigned interrupts;
	uint64_t start_ns;
	struct signals signals;
	struct timer drain_timer, second_timer;
	unsigned seconds;
	unsigned flows_questions; /* that workers still answer */

	struct guard guard;
	struct punisher punisher;
	struct geo_watch geo;
	struct kernel_tunnels *kernel_tunnels; /* from before the workers to after them */
	struct steering steering;
	struct resolver *resolver;
	struct admin *admin; /* NULL: could not be opened */
	struct watch *watch;
	struct audit *audit; /* NULL: off */
	struct certificates *certificates;
	struct upgrade *upgrade;
	unsigned next_arrival; /* worker of the next tunnel from another process */
	struct pid_file pid_file;

	/* From loading to the start of the workers. */
	struct fastpath_plan first_plan;
	struct sockets *first_sockets;
	struct heir *heir; /* NULL: an ordinary start */
};

/* Signals and timers on c->loop.  0 or -errno. */
int control_start(struct control *c);

/* While it starts and its loop may be run: was it told to end?  Runs the loop. */
bool control_is_unwanted(struct control *c);
/* SIGTERM: stop accepting, let exchanges end, bounded by graceful-shutdown-timeout-secs. */
void control_drain(struct control *c);
/* At once. */
void control_stop(struct control *c);
/* Events of workers. */
void control_on_drained(void *ctx, struct worker *w);
void control_on_stopped(void *ctx, struct worker *w);

/* What workers and the admin socket ask for: "metrics", "config", "upstreams", "status", "status-json". */
void control_render(struct control *c, const char *what, struct strbuf *out);
/* Collectors of what control knows; once, before the first render. */
void control_collect_start(struct control *c);

/* ---- reload.c ---- */

enum reload_result {
	RELOAD_DONE,
	RELOAD_WRONG,	/* errors; nothing changed */
	RELOAD_REFUSED, /* too many old generations, or we are stopping */
};

/* Load the file again.  Appends to out what changed, or every error; warnings too. */
enum reload_result control_reload(struct control *c, struct strbuf *out);
/* The same for SIGHUP and the file watch: what it has to say goes to the log. */
void control_reload_logged(struct control *c);
/*
 * Not the file again, only the certificates, keys and lists that it names, from disk.  False: nothing changed, with the
 * errors in out.
 */
bool control_refresh(struct control *c, struct strbuf *out);
/* The first one: everything but starting the workers and the listeners' sockets. */
int control_load_first(struct control *c, struct strbuf *out);
/* Open and hand over the sockets of listeners that are not open.  -errno with a sentence in out. */
int control_listen(struct control *c, struct strbuf *out);

#endif
