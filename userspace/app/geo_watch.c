/* SPDX-License-Identifier: GPL-2.0-only */
/* geo_watch.c - geo databases that change on disk, and the kernel's tables that follow. */
#include "app/geo_watch.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "app/audit.h"
#include "app/control.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "fastpath/geo_kernel.h"
#include "observe/log.h"
#include "observe/metrics.h"

#define LOOK_TICKS 2

/* Either a file is opened, or a database is compiled. */
struct geo_job {
	pthread_t thread;
	int event_fd; /* owned */
	struct geo_file *file; /* one reference */
	uint64_t look; /* of the file when it was begun */
	struct geo_database *database; /* to be compiled; or what was opened; one reference, or NULL */
	bool is_compiling;
	geo_country named[SN_GEO_NAMED_MAX];
	size_t named_count;

	int err;
	struct geo_built built;
	struct strbuf why;
};

/* ---- the thread ---- */

static void *job_main(void *arg)
{
	struct geo_job *j = arg;
	const uint64_t one = 1;

	(void)pthread_setname_np(pthread_self(), "geo");
	if (j->is_compiling) {
		j->err = geo_built_make(&j->built, j->database, j->named, j->named_count, &j->why);
	} else {
		j->database = geo_database_open(geo_file_path(j->file), geo_file_format(j->file), &j->why);
		j->err = j->database ? 0 : -EBADMSG;
	}
	CHECK(write(j->event_fd, &one, sizeof(one)) == sizeof(one));
	return NULL;
}

static void job_free(struct geo_job *j)
{
	(void)close(j->event_fd);
	geo_file_put(j->file);
	geo_database_put(j->database);
	geo_built_fini(&j->built);
	strbuf_fini(&j->why);
	free(j);
}

/* Signals are for the control thread alone. */
static int thread_start(struct geo_job *j)
{
	sigset_t all, before;
	int err;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&j->thread, NULL, job_main, j);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

/* Takes j; a file's reference in it is its own. */
static void job_start(struct geo_watch *w, struct geo_job *j)
{
	int err;

	strbuf_init(&j->why);
	geo_built_init(&j->built);
	j->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = j->event_fd < 0 ? -errno : thread_start(j);
	if (err) {
		log_warn("geo: no thread can be started for %s: %s; tried again", geo_file_path(j->file),
			 strerror(-err));
		job_free(j);
		return;
	}
	w->job = j;
	poller_set(&w->done, j->event_fd);
}

/* ---- files ---- */

static struct geo_watched *watched_of(struct geo_watch *w, struct geo_file *f)
{
	size_t i = 0;

	while (i < w->watched_count && w->watched[i].file != f)
		i++;
	if (i < w->watched_count)
		return &w->watched[i];
	if (w->watched_count == GEO_WATCHED_MAX)
		w->watched_count = 0; /* most are gone: begin anew */
	w->watched[w->watched_count] = (struct geo_watched){ .file = f };
	return &w->watched[w->watched_count++];
}

static void file_look(void *ctx, struct geo_file *f)
{
	struct geo_watch *w = ctx;
	struct geo_watched *s = watched_of(w, f);
	uint64_t now = geo_file_look(f);
	bool is_quiet = now == s->seen;
	struct geo_job *j;

	s->seen = now;
	if (!is_quiet || w->job || !geo_file_has_changed(f) || now == s->failed)
		return; /* the writer may not have finished */
	j = mem_zalloc(sizeof(*j));
	geo_file_hold(f);
	j->file = f;
	j->look = now;
	job_start(w, j);
}

static void count_load(struct geo_watch *w, struct geo_file *f, const char *result)
{
	const struct span labels[] = { span_str(geo_file_path(f)), span_str(result) };

	metric_cell_add(metric_cell(w->control->metrics, METRIC_GEO_DATABASE_LOADS_TOTAL, labels), 1);
}

static void opened(struct geo_watch *w, struct geo_job *j)
{
	const char *path = geo_file_path(j->file);

	if (j->err) {
		watched_of(w, j->file)->failed = j->look;
		geo_file_set_problem(j->file, j->why.ptr);
		count_load(w, j->file, "failure");
		log_error("geo: %s %s; the old database goes on", path, j->why.ptr);
		audit_event(w->control->audit, "config_change", "geo_database_failed", path);
		return;
	}
	geo_file_give(j->file, j->database);
	j->database = NULL;
	geo_file_set_problem(j->file, NULL);
	count_load(w, j->file, "success");
	log_info("geo: %s was loaded again", path);
	audit_event(w->control->audit, "config_change", "geo_database_loaded", path);
	/* What the old one's tables refuse may come in now. */
	guard_geo_apply(&w->control->guard);
}

/* ---- the kernel's tables ---- */

static void compiled(struct geo_watch *w, struct geo_job *j)
{
	struct guard *g = &w->control->guard;
	struct geo_kernel *kernel = fastpath_geo(g->fastpath);

	if (j->err) {
		/* Accept decides alone. */
		log_error("geo: no tables for the kernel: %s", j->why.ptr);
		geo_database_put(w->failed);
		w->failed = geo_database_get(j->database);
		return;
	}
	if (!kernel)
		return;
	log_info("geo: the kernel's tables of %s took %llu ms: %u /24 and %u of %u IPv6 prefixes are mixed%s",
		 geo_file_path(j->file), (unsigned long long)(j->built.spent_ns / 1000000), j->built.mixed4,
		 j->built.mixed6, j->built.prefixes6,
		 j->built.trie_fd < 0 ? "; too many for IPv6, which is decided after accept" : "");
	geo_kernel_give(kernel, &j->built);
	guard_geo_apply(g);
}

static void compile_start(struct geo_watch *w)
{
	struct guard *g = &w->control->guard;
	struct geo_kernel *kernel = fastpath_geo(g->fastpath);
	struct geo_database *now;
	struct geo_job *j;

	if (w->job || !kernel || !geo_kernel_wants(kernel, &g->plan.geo))
		return;
	now = geo_file_database(g->plan.geo.file);
	if (now == w->failed) {
		geo_database_put(now);
		return;
	}
	j = mem_zalloc(sizeof(*j));
	j->is_compiling = true;
	j->file = g->plan.geo.file;
	geo_file_hold(j->file);
	j->database = now;
	memcpy(j->named, g->plan.geo.named, sizeof(j->named));
	j->named_count = g->plan.geo.named_count;
	job_start(w, j);
}

/* ---- life ---- */

static void on_done(struct poller *p)
{
	struct geo_watch *w = container_of(p, struct geo_watch, done);
	struct geo_job *j = w->job;

	poller_set(&w->done, -1);
	CHECK(pthread_join(j->thread, NULL) == 0);
	w->job = NULL;
	if (j->is_compiling)
		compiled(w, j);
	else
		opened(w, j);
	job_free(j);
	compile_start(w);
}

void geo_watch_init(struct geo_watch *w, struct control *c)
{
	*w = (struct geo_watch){ .control = c };
	poller_init(&w->done, c->loop, on_done);
	compile_start(w);
}

void geo_watch_fini(struct geo_watch *w)
{
	if (!w->control)
		return;
	poller_set(&w->done, -1);
	if (w->job) {
		CHECK(pthread_join(w->job->thread, NULL) == 0);
		job_free(w->job);
	}
	geo_database_put(w->failed);
	w->failed = NULL;
	w->job = NULL;
	w->control = NULL;
}

void geo_watch_tick(struct geo_watch *w)
{
	if (!w->control)
		return;
	if (++w->ticks % LOOK_TICKS == 0)
		geo_file_for_each(file_look, w);
	compile_start(w);
}

void geo_watch_plan(struct geo_watch *w)
{
	if (w->control)
		compile_start(w);
}

/* ---- metrics and status ---- */

static void collect_file(void *ctx, struct geo_file *f)
{
	static const char *const results[] = { "success", "failure" };
	struct metrics_shard *metrics = ((struct geo_watch *)ctx)->control->metrics;
	struct geo_database *d = geo_file_database(f);
	struct span labels[] = { span_str(geo_file_path(f)), SPAN("") };

	metric_cell_set(metric_cell(metrics, METRIC_GEO_DATABASE_BUILD, labels), geo_database_info(d)->build_secs);
	geo_database_put(d);
	for (size_t i = 0; i < ARRAY_LEN(results); i++) {
		labels[1] = span_str(results[i]);
		(void)metric_cell(metrics, METRIC_GEO_DATABASE_LOADS_TOTAL, labels); /* from 0 on */
	}
}

static void collect_country(void *ctx, const struct geo_kernel_count *c)
{
	const struct span drop[] = { span_str(c->country), SPAN("enforce") };
	const struct span monitored[] = { span_str(c->country), SPAN("monitor") };
	struct metrics_shard *metrics = ctx;

	if (c->packets)
		metric_cell_set(metric_cell(metrics, METRIC_KERNEL_GEO_DROPS_TOTAL, drop), c->packets);
	if (c->monitored)
		metric_cell_set(metric_cell(metrics, METRIC_KERNEL_GEO_DROPS_TOTAL, monitored), c->monitored);
}

void geo_watch_collect(struct geo_watch *w)
{
	struct geo_kernel *kernel;

	if (!w->control)
		return;
	geo_file_for_each(collect_file, w);
	if (w->control->guard.plan.geo.file) {
		const struct span nobody[] = { SPAN("--"), SPAN("enforce") };

		(void)metric_cell(w->control->metrics, METRIC_KERNEL_GEO_DROPS_TOTAL, nobody);
		(void)metric_cell(w->control->metrics, METRIC_GEO_REFUSED_CONNECTIONS_TOTAL, nobody);
	}
	kernel = fastpath_geo(w->control->guard.fastpath);
	if (kernel)
		(void)geo_kernel_counts(kernel, collect_country, w->control->metrics);
}

static void file_text(void *ctx, struct geo_file *f)
{
	struct geo_database *d = geo_file_database(f);
	const struct geo_info *info = geo_database_info(d);
	char built[32] = "an unknown day";
	struct strbuf *out = ctx;

	if (info->build_secs)
		built[clock_rfc3339(info->build_secs * 1000000000, built)] = '\0';
	strbuf_printf(out, "geo           %s: %s of %s, %u countries%s, IPv4%s, %llu KiB\n", geo_file_path(f),
		      info->type, built, info->country_count, info->has_asn ? " and networks" : "",
		      info->ip_version == 6 ? " and IPv6" : " only", (unsigned long long)(info->bytes / 1024));
	if (geo_file_problem(f)[0])
		strbuf_printf(out, "              the file on disk is not used: it %s\n", geo_file_problem(f));
	geo_database_put(d);
}

static void kernel_text(struct geo_watch *w, struct strbuf *out)
{
	const struct guard *g = &w->control->guard;
	struct geo_kernel *kernel = fastpath_geo(g->fastpath);
	struct geo_kernel_status s;

	if (!g->plan.geo.file || g->plan.geo.choice_count == 0)
		return;
	if (!kernel) {
		strbuf_add_str(out, "              no guard is loaded: countries are decided after accept\n");
		return;
	}
	geo_kernel_status(kernel, &s);
	if (!s.is_in_force)
		strbuf_add_str(out, "              the kernel's tables are not there yet: countries are decided after "
				    "accept\n");
	else
		strbuf_printf(out,
			      "              in the kernel: 16 MiB for IPv4 (%u mixed /24), %u prefixes of IPv6 (%u "
			      "mixed), made in %llu ms\n",
			      s.mixed4, s.prefixes6, s.mixed6, (unsigned long long)(s.spent_ns / 1000000));
	if (s.is_in_force && s.is_v4_only)
		strbuf_printf(out, "              more than %d prefixes of IPv6: it is decided after accept\n",
			      SN_GEO6_MAX);
}

void geo_watch_text(struct geo_watch *w, struct strbuf *out)
{
	if (!w->control)
		return;
	geo_file_for_each(file_text, out);
	kernel_text(w, out);
}

static void file_json(void *ctx, struct geo_file *f)
{
	struct geo_database *d = geo_file_database(f);
	const struct geo_info *info = geo_database_info(d);
	struct json *j = ctx;

	json_object(j, NULL);
	json_str(j, "path", geo_file_path(f));
	json_str(j, "format", geo_format_name(info->format));
	json_str(j, "type", info->type);
	json_u64(j, "built_secs", info->build_secs);
	json_u64(j, "countries", info->country_count);
	json_bool(j, "has_asn", info->has_asn);
	json_u64(j, "ip_version", info->ip_version);
	json_u64(j, "bytes", info->bytes);
	json_str(j, "problem", geo_file_problem(f)[0] ? geo_file_problem(f) : NULL);
	json_end(j, '}');
	geo_database_put(d);
}

void geo_watch_json(struct geo_watch *w, struct json *j)
{
	struct geo_kernel *kernel = w->control ? fastpath_geo(w->control->guard.fastpath) : NULL;
	struct geo_kernel_status s = { 0 };

	if (kernel)
		geo_kernel_status(kernel, &s);
	json_object(j, "geo");
	json_array(j, "databases");
	if (w->control)
		geo_file_for_each(file_json, j);
	json_end(j, ']');
	json_object(j, "kernel");
	json_bool(j, "is_in_force", s.is_in_force);
	json_bool(j, "is_ipv6_decided_after_accept", s.is_in_force && s.is_v4_only);
	json_u64(j, "mixed_24", s.mixed4);
	json_u64(j, "ipv6_prefixes", s.prefixes6);
	json_u64(j, "ipv6_mixed", s.mixed6);
	json_u64(j, "compile_ms", s.spent_ns / 1000000);
	json_end(j, '}');
	json_end(j, '}');
}
