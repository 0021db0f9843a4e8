/* SPDX-License-Identifier: GPL-2.0-only */
/* daemon.c - the process: start, the words for the person who started it, the end. */
#include "app/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/admin.h"
#include "app/audit.h"
#include "app/certificates.h"
#include "app/cli.h"
#include "app/control.h"
#include "app/exit.h"
#include "app/heir.h"
#include "app/limit_metrics.h"
#include "app/logs.h"
#include "app/notify.h"
#include "app/privilege.h"
#include "app/sockets.h"
#include "app/state.h"
#include "app/upgrade.h"
#include "app/about.h"
#include "app/watch.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "net/tls_kdf.h"
#include "observe/log.h"

/* One a process; static, so that what it holds is reachable until the end. */
static struct control the_control;

/* ---- pieces of the start ---- */

static unsigned cpu_count(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
		return (unsigned)CPU_COUNT(&set);
	return 1;
}

static void uuid_make(char out[37])
{
	uint8_t b[16];

	rand_secure(b, sizeof(b));
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	(void)snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
		       b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
		       b[14], b[15]);
}

static int loop_start(struct control *c)
{
	const struct loop_config config = { .entries = 256, .buffer_count = { 64, 8 } };
	const char *reason = "";

	if (loop_new(&c->loop, &config, &reason) == 0)
		return 0;
	cli_complain("%s", reason);
	return -1;
}

static int file_load(struct control *c)
{
	struct strbuf text = { 0 };
	int err;

	strbuf_init(&text);
	err = control_load_first(c, &text);
	(void)fwrite(text.ptr, 1, text.len, stderr);
	if (err < 0)
		cli_complain("nothing was started with %s", c->path);
	strbuf_fini(&text);
	return err;
}

/* The file's place must survive a chdir: reloads read it again. */
static int folder_change(struct control *c)
{
	const char *folder = c->current->config->system.working_directory;
	char *path;

	if (!folder)
		return 0;
	path = realpath(c->path, NULL);
	if (path)
		c->path = path;
	if (chdir(folder) == 0)
		return 0;
	cli_complain("working-directory %s: %s", folder, strerror(errno));
	return -1;
}

static int sockets_bind(struct control *c)
{
	struct strbuf text = { 0 };
	int err;

	strbuf_init(&text);
	err = control_listen(c, &text);
	(void)fwrite(text.ptr, 1, text.len, stderr);
	strbuf_fini(&text);
	return err;
}

/* Of a binary upgrade: what the process that runs has for us. */
static int heir_start(struct control *c)
{
	struct strbuf text = { 0 };
	int err;

	if (!c->heir)
		return 0;
	strbuf_init(&text);
	err = heir_meet(c->heir, c, &text);
	(void)fwrite(text.ptr, 1, text.len, stderr);
	strbuf_fini(&text);
	return err;
}

/* The socket of a daemon that has just been killed, or may not remove it, answers for a moment. */
static int admin_listen(struct control *c, const char *path, const struct addr *addr)
{
	int err = admin_open(&c->admin, c, path, addr);

	for (unsigned i = 0; err == -EADDRINUSE && i < SOCKETS_TRIES; i++) {
		(void)usleep(SOCKETS_PAUSE_US);
		err = admin_open(&c->admin, c, path, addr);
	}
	return err;
}

static const char *admin_failure(int err, char buf[PRIVILEGE_ERR_MAX])
{
	if (err == -EEXIST)
		return "what is there is no socket: remove it, or name another path";
	return privilege_err_text(err, buf);
}

static int admin_start(struct control *c)
{
	const struct config_system *system = &c->current->config->system;
	const char *path = admin_path(system, &c->current->arena);
	struct addr addr;
	char text[128], why[PRIVILEGE_ERR_MAX];
	int err;

	if (c->heir && heir_has_admin(c->heir, path))
		return 0;
	(void)snprintf(text, sizeof(text), "unix:%s", path);
	err = addr_parse(span_str(text), &addr);
	if (err == 0)
		err = admin_listen(c, path, &addr);
	if (err == -EADDRINUSE) {
		cli_complain("instance \"%s\" runs already (its socket %s answers); another one needs system { "
			 "instance "
			 "\"...\" }",
			 system->instance, path);
		return err;
	}
	if (err < 0 && system->admin.socket) {
		cli_complain("the admin socket %s cannot be opened: %s", path, admin_failure(err, why));
		return err;
	}
	if (err < 0)
		log_warn("no admin socket: %s: %s; reload by SIGHUP, stop by SIGTERM", path, admin_failure(err, why));
	return 0;
}

static int pid_file_start(struct control *c)
{
	const char *path = c->current->config->system.pid_file;
	char why[PRIVILEGE_ERR_MAX];
	int err, owner = 0;

	if (c->heir && heir_has_pid_file(c->heir, path)) {
		pid_file_adopt(&c->pid_file, path, heir_pid_file_take(c->heir));
		return 0;
	}
	err = pid_file_open(&c->pid_file, path, &owner);
	/* A daemon that has just been killed, or is about to remove it. */
	for (unsigned i = 0; err == -EWOULDBLOCK && i < SOCKETS_TRIES; i++) {
		(void)usleep(SOCKETS_PAUSE_US);
		err = pid_file_open(&c->pid_file, path, &owner);
	}
	if (err == 0 && !c->heir)
		err = pid_file_write(&c->pid_file);
	if (err == -EWOULDBLOCK)
		cli_complain("pid-file %s is in use by process %d, which runs: stop it, or name another file", path,
			     owner);
	else if (err < 0)
		cli_complain("pid-file %s cannot be written: %s", path, privilege_err_text(err, why));
	return err;
}

static void found_staple(void *ctx, struct ocsp_staple *s)
{
	(void)s;
	*(bool *)ctx = true;
}

static void server_staples(void *ctx, struct tls_server *server)
{
	tls_server_for_each_staple(server, found_staple, ctx);
}

/* Only who may have something to keep gets a folder: also who renews to a certificate with a responder later. */
static void state_make(struct control *c, const struct identity *id)
{
	const struct config *config = c->current->config;
	const char *folder = state_folder(&config->system, &c->current->arena);
	bool may_staple = false, has_staples = false;
	int err;

	for (size_t i = 0; i < config->listener_count; i++)
		may_staple |= config->listeners[i].tls && config->listeners[i].tls->has_ocsp_stapling;
	if (!may_staple || !folder)
		return;
	err = state_prepare(folder, id);
	config_tls_for_each_server(&c->registry.tls, server_staples, &has_staples);
	if (err < 0 && has_staples)
		log_warn("%s cannot be made: %s; OCSP answers are not kept over a restart", folder, strerror(-err));
}

static void identity_complain(const struct config_system *system, int err)
{
	struct identity id;

	if (err == -EPERM)
		cli_complain("only root can become %s %s: start it as root, or without `user` and `group`",
			     system->user ? "user" : "group", system->user ? system->user : system->group);
	else if (system->user && identity_find(&id, system->user, NULL) == -ENOENT)
		cli_complain("there is no user \"%s\" (system { user })", system->user);
	else
		cli_complain("there is no group \"%s\" (system { group })", system->group);
}

static int rights_give_up(struct control *c)
{
	const struct config_system *system = &c->current->config->system;
	struct identity id;
	int err = identity_find(&id, system->user, system->group);

	if (err < 0) {
		identity_complain(system, err);
		return err;
	}
	if (c->heir && id.uid != geteuid()) {
		cli_complain("\"user\" was changed: it needs a restart");
		return -EPERM;
	}
	state_make(c, id.uid != geteuid() ? &id : NULL);
	if (id.uid != geteuid()) {
		sockets_own(c->first_sockets, c->worker_count, id.uid, id.gid);
		logs_own(c->current, &id);
		guard_own(&c->guard, c->current->instance, id.uid, id.gid);
	}
	err = privilege_become(&id);
	if (err < 0)
		cli_complain("rights cannot be given up: %s", strerror(-err));
	return err;
}

static void on_file_change(void *ctx)
{
	control_reload_logged(ctx);
}

static void render(void *ctx, const char *what, struct strbuf *out)
{
	control_render(ctx, what, out);
}

static void refused(void *ctx, const struct addr *peer, const char *type, const char *reason, const char *detail)
{
	struct control *c = ctx;

	audit_refused(c->audit, peer, type, reason, detail);
}

static void newcomer(void *ctx, const uint8_t ip[16])
{
	struct control *c = ctx;

	fastpath_source_add(c->guard.fastpath, ip, clock_mono_ns());
}

static void punish(void *ctx, const struct addr *client, const char *reason, bool is_named,
		   enum escalation_verdict verdict)
{
	struct control *c = ctx;

	punisher_punish(&c->punisher, client, reason, is_named, verdict);
}

static int workers_start(struct control *c)
{
	static struct worker_clients_config clients; /* lives as long as the workers */
	size_t descriptors = privilege_raise_descriptors();
	struct worker_config config = {
		.control = c->loop,
		.shared = &c->shared,
		.sessions_max = c->current->max_connections,
		.bans = fastpath_bans(c->guard.fastpath),
		.heartbeat = fastpath_heartbeat(c->guard.fastpath),
		.kernel_tunnels = c->kernel_tunnels,
		.steer = c->steering.steer,
		.on_drained = control_on_drained,
		.on_unlistened = sockets_on_unlistened,
		.on_stopped = control_on_stopped,
		.render = render,
		.audit = refused,
		.ctx = c,
	};
	struct worker **workers = mem_array(c->worker_count, sizeof(*workers));
	const char *reason = NULL;
	unsigned i;

	clients = (struct worker_clients_config){ .control = c->loop,
						  .escalation = c->punisher.escalation,
						  .budgets = fastpath_budgets(c->guard.fastpath),
						  .newcomer = newcomer,
						  .punish = punish,
						  .ctx = c };
	config.clients = &clients;
	if (descriptors < c->current->max_connections)
		log_warn("at most %zu descriptors may be open, fewer than max-connections (%llu): raise "
			 "LimitNOFILE or "
			 "`ulimit -n`",
			 descriptors, (unsigned long long)c->current->max_connections);
	for (i = 0; i < c->worker_count; i++) {
		config.index = i;
		workers[i] = worker_start(&config, c->current, c->rules, &reason);
		if (!workers[i])
			break;
	}
	c->workers = workers;
	if (i == c->worker_count)
		return 0;
	cli_complain("%s", reason);
	c->worker_count = i;
	return -1;
}

/* ---- words for the person who started it ---- */

static void say_listening(const struct control *c)
{
	for (unsigned i = 0; i < c->current->listener_count; i++) {
		const struct listener *l = &c->current->listeners[i];
		char text[ADDR_TEXT_MAX];

		if (!sockets_listener_is_open(c, l->number))
			continue;
		addr_format(&l->addr, text);
		(void)fprintf(stderr, "  listening on  %-24s %s\n", text,
			      strcmp(l->id, CONFIG_METRICS_LISTENER) == 0 ? "metrics and admin pages"
									  : l->id);
	}
}

/* An address that reaches the listener from this host. */
static void url_of(const struct listener *l, char *buf, size_t size)
{
	const char *scheme = l->server.protocol == SERVER_HTTPS ? "https" : "http";
	char text[ADDR_TEXT_MAX];

	addr_format(&l->addr, text);
	if (addr_is_any(&l->addr))
		(void)snprintf(buf, size, "%s://localhost:%u", scheme, addr_port(&l->addr));
	else
		(void)snprintf(buf, size, "%s://%s", scheme, text);
}

static bool metrics_are_served(const struct control *c)
{
	for (unsigned i = 0; i < c->current->listener_count; i++)
		if (strcmp(c->current->listeners[i].id, CONFIG_METRICS_LISTENER) == 0)
			return sockets_listener_is_open(c, c->current->listeners[i].number);
	return false;
}

/* What to type to call this program: as it was called, unless the shell found it by itself. */
static const char *program(void)
{
	return strchr(program_invocation_name, '/') ? program_invocation_name : "sentinel";
}

static void say_hello(struct control *c)
{
	const struct config_metrics *m = &c->current->config->observability.metrics;
	struct strbuf guard = { 0 };
	struct span rest, line;
	char url[ADDR_TEXT_MAX + 16], metrics[VALUE_TEXT_MAX];

	(void)fprintf(stderr, "\nsentinel %s runs: %s, %u worker%s\n", about_version(), c->path,
		      c->worker_count, c->worker_count == 1 ? "" : "s");
	say_listening(c);
	strbuf_init(&guard);
	guard_describe(&c->guard, &guard);
	for (rest = strbuf_span(&guard); span_next(&rest, '\n', &line);)
		if (line.len)
			(void)fprintf(stderr, "  %.*s\n", SPAN_ARG(line));
	strbuf_fini(&guard);
	url_of(&c->current->listeners[0], url, sizeof(url));
	(void)fprintf(stderr, "\nTry:\n  curl -i %s/\n  %s explain -c %s GET %s/\n", url, program(), c->path,
		      url);
	if (metrics_are_served(c))
		(void)fprintf(stderr, "  curl -s http://%s%s\n", value_addr_text(metrics, &m->address),
			      m->path);
	else
		(void)fprintf(stderr, "  %s status -c %s\n", program(), c->path);
	(void)fprintf(stderr, "Reload: %s reload -c %s, or kill -HUP %d.  Stop: Ctrl-C.\n\n", program(), c->path,
		      getpid());
}

/* ---- start and end ---- */

static int prepare(struct control *c)
{
	const char *reason = NULL;
	int err;

	if (loop_start(c) < 0 || control_start(c) < 0)
		return -1;
	c->upgrade = upgrade_new(c, c->path);
	c->metrics = metrics_shard_new();
	if (!tls_kdf_start(&reason))
		log_warn("tls: handshakes cost a tenth more: %s", reason);
	config_registry_init(&c->registry);
	limit_metrics_start(c);
	c->registry.tls.is_serving = true;
	if (file_load(c) < 0) {
		config_registry_fini(&c->registry); /* nothing of it was built */
		return -1;
	}
	if (folder_change(c) < 0)
		return -1;
	c->worker_count = c->current->config->system.worker_count;
	if (c->worker_count == 0)
		c->worker_count = cpu_count();
	c->current->worker_count = c->worker_count;
	if (heir_start(c) < 0 || sockets_bind(c) < 0 || admin_start(c) < 0 || pid_file_start(c) < 0)
		return -1;
	guard_init(&c->guard, c->loop, c->current->instance, &c->audit, c->metrics);
	if (c->heir)
		guard_release(&c->guard);
	else
		guard_apply(&c->guard, &c->first_plan);
	punisher_init(&c->punisher, c);
	punisher_apply(&c->punisher);
	c->kernel_tunnels = kernel_tunnels_open(c->current, c->worker_count);
	steering_open(&c->steering, c->worker_count);
	err = resolver_new(&c->resolver, c->loop, &c->registry.endpoints, c->metrics);
	if (err < 0)
		log_warn("names of targets cannot be resolved: %s", strerror(-err));
	err = watch_new(&c->watch, c->loop, on_file_change, c);
	if (err < 0)
		log_warn("auto-reload will see no change: inotify: %s", strerror(-err));
	return 0;
}

#define NAMES_MS 3000

/* Binary upgrade: nobody may be told that a name is not resolved yet, who was served a moment ago. */
static int heir_finish(struct control *c)
{
	uint64_t until_ns = clock_mono_ns() + NAMES_MS * 1000000ull;
	struct strbuf text = { 0 };
	int err;

	while (!resolver_is_settled(c->resolver) && !c->is_unwanted && clock_mono_ns() < until_ns)
		(void)loop_turn(c->loop, 20);
	strbuf_init(&text);
	err = heir_take_over(c->heir, c, &text);
	(void)fwrite(text.ptr, 1, text.len, stderr);
	strbuf_fini(&text);
	if (err == 0)
		c->heir = NULL;
	return err;
}

static int start(struct control *c)
{
	if (prepare(c) < 0 || rights_give_up(c) < 0)
		return -1;
	if (workers_start(c) < 0)
		return -1;
	logs_apply(c);
	resolver_sync(c->resolver);
	watch_set(c->watch, c->current->config->system.auto_reload ? c->current->config : NULL);
	control_collect_start(c);
	c->certificates = certificates_new(c);
	geo_watch_init(&c->geo, c);
	if (!c->heir)
		sockets_publish(c->first_sockets, c);
	else if (heir_finish(c) < 0)
		return -1;
	sockets_free(c->first_sockets, c->worker_count);
	c->first_sockets = NULL;
	metric_set(c->metrics, METRIC_CONFIG_GENERATION, c->generation);
	metric_set(c->metrics, METRIC_CONFIG_LAST_RELOAD, c->loaded_wall_ns / 1000000000);
	metric_set(c->metrics, METRIC_SNAPSHOTS, c->live);
	c->state = CONTROL_RUNNING;
	return 0;
}

static void files_remove(struct control *c)
{
	admin_close(c->admin);
	if (c->heir)
		pid_file_leave(&c->pid_file); /* it is still another process's */
	else
		pid_file_remove(&c->pid_file);
}

/* The workers are gone: let go of the rest in the order of who needs whom. */
static void finish(struct control *c)
{
	timer_disarm(c->loop, &c->second_timer);
	resolver_free(c->resolver);
	c->resolver = NULL;
	certificates_free(c->certificates);
	geo_watch_fini(&c->geo);
	kernel_tunnels_close(c->kernel_tunnels);
	c->kernel_tunnels = NULL;
	steering_close(&c->steering);
	guard_fini(&c->guard);
	punisher_fini(&c->punisher);
	files_remove(c);
	snapshot_put(c->current);
	c->current = NULL;
	for (unsigned i = 0; c->live > 0 && i < 1000; i++)
		(void)loop_turn(c->loop, 10); /* unused snapshots arrive as mail */
	endpoint_registry_sweep(&c->registry.endpoints);
	config_registry_fini(&c->registry);
	audit_close(c->audit);
	c->audit = NULL;
	pipe_pool_fini(&c->shared.pipes);
	counts_fini(&c->shared.clients);
}

/* A start that failed: take back what others see. */
static void give_up(struct control *c)
{
	if (c->workers && c->worker_count > 0) { /* they use what the guard has */
		control_stop(c);
		(void)loop_run(c->loop);
	}
	guard_fini(&c->guard);
	files_remove(c);
}

int daemon_run(const char *config_path)
{
	struct control *c = &the_control;
	struct strbuf why = { 0 };
	int is_heir;

	strbuf_init(&why);
	is_heir = heir_new(&c->heir, &why);
	(void)fwrite(why.ptr, 1, why.len, stderr);
	strbuf_fini(&why);
	if (is_heir < 0)
		return EXIT_CODE_ERROR;
	mem_tune();
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(027);
	c->path = config_path;
	c->start_ns = clock_mono_ns();
	c->shared.start_wall_ns = clock_wall_ns();
	c->shared.start_mono_ns = c->start_ns;
	c->shared.version = about_version();
	uuid_make(c->shared.instance_uuid);
	pipe_pool_init(&c->shared.pipes);
	counts_init(&c->shared.clients);
	if (start(c) < 0) {
		give_up(c);
		return EXIT_CODE_ERROR;
	}
	if (!is_heir) {
		say_hello(c);
		notify_send("READY=1"); /* an heir's was said, and MAINPID by the process before */
	}
	if (loop_run(c->loop) < 0) {
		cli_complain("the control thread's ring failed");
		return EXIT_CODE_ERROR;
	}
	finish(c);
	log_info("stopped");
	return EXIT_CODE_OK;
}
