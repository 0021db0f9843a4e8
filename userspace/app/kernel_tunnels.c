/* SPDX-License-Identifier: GPL-2.0-only */
/* kernel_tunnels.c - the kernel's part in tunnels: opened, tried, handed out, counted. */
#include "app/kernel_tunnels.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "fastpath/kernel_version.h"
#include "fastpath/offload.h"
#include "fastpath/offload_selftest.h"
#include "observe/log.h"
#include "proxy/config.h"
#include "proxy/snapshot.h"

#define WHY_MAX 256
#define COUNT_WORDS (sizeof(struct offload_counts) / sizeof(uint64_t))

_Static_assert(sizeof(struct offload_counts) == COUNT_WORDS * sizeof(uint64_t), "counts are numbers, all of them");

enum state {
	STATE_ON,
	STATE_EXCLUDED, /* by the file at the start */
	STATE_REFUSED,	/* this version of the kernel */
	STATE_NOT_LOADED,
	STATE_FAILED, /* the self-test */
};

/* Label of the metric, word of the JSON. */
static const char *const state_words[] = {
	[STATE_ON] = "on",		     [STATE_EXCLUDED] = "excluded", [STATE_REFUSED] = "kernel_version",
	[STATE_NOT_LOADED] = "not_loaded", [STATE_FAILED] = "self_test",
};

/* What the file says of sockmap, everywhere it may say something. */
enum wish {
	WISH_NONE,
	WISH_AUTO,
	WISH_FORCED, /* by name: then it is worth a warning that it cannot be */
};

struct kernel_tunnels_worker {
	struct offload *offload; /* owned until its loop lets go of it; NULL before and after */
	unsigned index;
	bool is_leaving;

	/* Written by the worker's thread, read by control. */
	_Atomic uint64_t counts[COUNT_WORDS];
	_Atomic unsigned pairs;
};

/* Maps of a process before this one, of which a tunnel is here. */
struct inherited {
	struct inherited *next;
	struct flows *flows; /* a reference, as each pair has one */
};

/* OFFLOAD_AGE_MAX, and some by processes that still drained when the next upgrade came. */
#define INHERITED_MAX (4 * OFFLOAD_AGE_MAX)

struct kernel_tunnels {
	enum state state;
	struct flows *flows; /* owned; NULL unless on */
	struct inherited *inherited; /* owned */
	unsigned inherited_count;
	atomic_uint joined; /* workers that can have tunnels in the kernel */
	struct offload_selftest selftest;
	char why[WHY_MAX];   /* why it is off, "" if it is on */
	char doubt[WHY_MAX]; /* about the kernel, if it is on; "" if there is none */
	enum wish wish; /* of the file that serves; with STATE_EXCLUDED it comes true at the next start */

	unsigned worker_count; /* at most SN_SPLICE_WORKERS_MAX */
	struct kernel_tunnels_worker **workers; /* owned, as what it points to */
};

/* ---- the start ---- */

unsigned kernel_tunnels_share(uint64_t connections_max, unsigned worker_count)
{
	uint64_t most = SN_FLOWS_MAX / 2 / worker_count;

	return (unsigned)MAX(MIN(connections_max, most), 1U);
}

static enum wish wish_of(enum splice_engine e)
{
	return e == SPLICE_ENGINE_SOCKMAP ? WISH_FORCED : e == SPLICE_ENGINE_AUTO ? WISH_AUTO : WISH_NONE;
}

static enum wish file_wish(const struct snapshot *s)
{
	enum wish wish = wish_of(s->config->kernel.splice);

	for (unsigned i = 0; i < s->route_count; i++)
		if (s->routes[i].upstream)
			wish = MAX(wish, wish_of(s->routes[i].splice));
	return wish;
}

static enum state turn_off(struct kernel_tunnels *k, enum state state, const char *why)
{
	(void)snprintf(k->why, sizeof(k->why), "%s", why);
	flows_close(k->flows);
	k->flows = NULL;
	return state;
}

static void *selftest_main(void *arg)
{
	struct kernel_tunnels *k = arg;

	offload_selftest(k->flows, &k->selftest);
	return NULL;
}

static enum state selftest_judge(struct kernel_tunnels *k)
{
	pthread_t thread;
	char why[WHY_MAX];

	/* What the kernel starts for its ring ends with its thread; with ours it would go on, with today's rights. */
	if (pthread_create(&thread, NULL, selftest_main, k) != 0)
		return turn_off(k, STATE_NOT_LOADED, "the self-test's thread cannot be created");
	pthread_join(thread, NULL);
	if (k->selftest.has_passed)
		return STATE_ON;
	(void)snprintf(why, sizeof(why), "case \"%s\" of the self-test failed: %s", k->selftest.failed_case,
		       k->selftest.why);
	return turn_off(k, STATE_FAILED, why);
}

static enum state try_all(struct kernel_tunnels *k, const struct snapshot *s)
{
	struct flows_options options = { .worker_count = k->worker_count };
	struct kernel_version version;
	enum kernel_verdict verdict;
	struct strbuf text = { 0 };
	enum state state;

	if (k->wish == WISH_NONE)
		return turn_off(k, STATE_EXCLUDED, "no `splice` of the file asks for it");
	strbuf_init(&text);
	kernel_version_read(&version);
	verdict = kernel_version_judge(&version, &text);
	(void)snprintf(k->doubt, sizeof(k->doubt), "%.*s", SPAN_ARG(strbuf_span(&text)));
	if (verdict == KERNEL_REFUSED) {
		state = turn_off(k, STATE_REFUSED, k->doubt);
	} else {
		strbuf_fini(&text);
		strbuf_init(&text);
		options.tunnels_per_worker = kernel_tunnels_share(s->max_connections, k->worker_count);
		k->flows = flows_open(&options, &text);
		state = k->flows ? selftest_judge(k) : turn_off(k, STATE_NOT_LOADED, text.ptr);
	}
	strbuf_fini(&text);
	return state;
}

/* A plain installation is right without it, unless the kernel was found to be broken or the file names it. */
static void report_off(const struct kernel_tunnels *k)
{
	log_write(k->state == STATE_FAILED || k->wish == WISH_FORCED ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
		  "tunnels in the kernel are off: %s; tunnels are copied", k->why);
}

static void report(const struct kernel_tunnels *k)
{
	switch (k->state) {
	case STATE_ON:
		if (k->doubt[0])
			log_warn("tunnels in the kernel: %s; the self-test passed, so it is used", k->doubt);
		log_debug("tunnels in the kernel: on, the self-test took %llu us",
			  (unsigned long long)k->selftest.took_ns / 1000);
		break;
	case STATE_EXCLUDED:
		break;
	default:
		report_off(k);
		break;
	}
}

struct kernel_tunnels *kernel_tunnels_open(const struct snapshot *s, unsigned worker_count)
{
	struct kernel_tunnels *k = mem_zalloc(sizeof(*k));

	k->worker_count = MIN(worker_count, (unsigned)SN_SPLICE_WORKERS_MAX);
	k->wish = file_wish(s);
	k->workers = mem_array(k->worker_count, sizeof(*k->workers));
	for (unsigned i = 0; i < k->worker_count; i++) {
		k->workers[i] = mem_zalloc(sizeof(*k->workers[i]));
		k->workers[i]->index = i;
	}
	k->state = try_all(k, s);
	report(k);
	if (k->state == STATE_ON && worker_count > k->worker_count)
		log_warn("tunnels in the kernel: only %u of %u workers use it", k->worker_count, worker_count);
	return k;
}

void kernel_tunnels_close(struct kernel_tunnels *k)
{
	struct inherited *old;

	if (!k)
		return;
	while ((old = k->inherited) != NULL) {
		k->inherited = old->next;
		flows_put(old->flows);
		free(old);
	}
	flows_close(k->flows);
	for (unsigned i = 0; i < k->worker_count; i++)
		free(k->workers[i]);
	free(k->workers);
	free(k);
}

void kernel_tunnels_reloaded(struct kernel_tunnels *k, const struct snapshot *s)
{
	enum wish before = k->wish;

	k->wish = file_wish(s);
	if (k->state == STATE_EXCLUDED && k->wish > WISH_NONE && before == WISH_NONE)
		log_warn("tunnels in the kernel: `splice` takes effect at the next start");
	else if (k->state > STATE_EXCLUDED && k->wish == WISH_FORCED && before != WISH_FORCED)
		report_off(k);
}

/* ---- the workers ---- */

static int hook_join(void *ctx, const int fd[2], const struct offload_events *ev, void *owner,
		     struct offload_pair **out_pair)
{
	return offload_join(ctx, fd, ev, owner, out_pair);
}

static struct offload_pair *hook_adopt(void *ctx, const int fd[2], const struct offload_arrival *a,
				       const struct offload_events *ev, void *owner)
{
	return offload_adopt(ctx, fd, a, ev, owner);
}

struct kernel_tunnels_worker *kernel_tunnels_join(struct kernel_tunnels *k, struct proxy_worker *p)
{
	struct kernel_tunnels_worker *w;
	int err = 0;

	if (k->state != STATE_ON || p->index >= k->worker_count)
		return NULL;
	w = k->workers[p->index];
	w->offload = offload_new(p->loop, k->flows, p->index, NULL, &err);
	if (!w->offload) {
		log_warn("tunnels in the kernel: worker %u goes without: %s", p->index, err_name(err));
		return NULL;
	}
	p->offload = (struct offload_hook){
		.join = hook_join,
		.leave = offload_leave,
		.abort = offload_abort,
		.progress = offload_progress,
		.freeze = offload_freeze,
		.thaw = offload_thaw,
		.release = offload_release,
		.adopt = hook_adopt,
		.ctx = w->offload,
	};
	atomic_fetch_add_explicit(&k->joined, 1, memory_order_release);
	return w;
}

void kernel_tunnels_publish(struct kernel_tunnels_worker *w)
{
	const struct offload_counts *now = w && w->offload ? offload_counts(w->offload) : NULL;
	uint64_t counts[COUNT_WORDS];

	if (!now || now->joins + now->adopted + now->refused == 0)
		return;
	memcpy(counts, now, sizeof(counts));
	for (unsigned i = 0; i < COUNT_WORDS; i++)
		atomic_store_explicit(&w->counts[i], counts[i], memory_order_relaxed);
	atomic_store_explicit(&w->pairs, offload_pair_count(w->offload), memory_order_relaxed);
}

static void on_closed(void *ctx)
{
	struct kernel_tunnels_worker *w = ctx;

	w->offload = NULL;
}

bool kernel_tunnels_leave(struct kernel_tunnels_worker *w)
{
	if (!w || !w->offload)
		return true;
	if (!w->is_leaving) {
		kernel_tunnels_publish(w);
		w->is_leaving = true;
		offload_close(w->offload, on_closed, w);
	}
	return false;
}

/* ---- binary upgrade ---- */

uint32_t kernel_tunnels_abi(const struct kernel_tunnels *k)
{
	/* One that goes without could not take its share. */
	bool have_all = atomic_load_explicit(&k->joined, memory_order_acquire) == k->worker_count;

	return k->state == STATE_ON && have_all ? SN_ABI_VERSION : 0;
}

bool kernel_tunnels_may_move(const struct kernel_tunnels *k, uint32_t theirs, struct strbuf *out_why)
{
	if (k->state != STATE_ON || theirs == SN_ABI_VERSION)
		return k->state == STATE_ON;
	if (theirs == 0)
		strbuf_add_str(out_why, "it takes none in the kernel");
	else
		strbuf_printf(out_why, "its kernel programs are of version %u, ours of %u", theirs, SN_ABI_VERSION);
	return false;
}

unsigned kernel_tunnels_workers(const struct kernel_tunnels *k)
{
	return k->worker_count;
}

struct flows *kernel_tunnels_inherit(struct kernel_tunnels *k, const struct offload_parcel *p, const int *fds,
				     unsigned fd_count)
{
	struct inherited *i = k->inherited;
	struct flows *f;

	while (i && !flows_are_of(i->flows, fds[0]))
		i = i->next;
	if (i || p->age > OFFLOAD_AGE_MAX || k->inherited_count >= INHERITED_MAX) {
		for (unsigned n = 0; n < fd_count; n++)
			(void)close(fds[n]);
		return i ? flows_get(i->flows) : NULL;
	}
	f = flows_adopt((unsigned)p->age, fds, fd_count);
	if (!f)
		return NULL;
	i = mem_zalloc(sizeof(*i));
	*i = (struct inherited){ .next = k->inherited, .flows = f };
	k->inherited = i;
	k->inherited_count++;
	return flows_get(f);
}

/* Only control makes references of those here: if it has the last one, nobody can come by another. */
void kernel_tunnels_tick(struct kernel_tunnels *k)
{
	struct inherited **at = &k->inherited;

	while (*at) {
		struct inherited *i = *at;

		if (flows_is_shared(i->flows)) {
			at = &i->next;
			continue;
		}
		*at = i->next;
		k->inherited_count--;
		flows_put(i->flows);
		free(i);
	}
}

/* ---- what it did ---- */

/* Of all workers, as of their last turns; drain_max_ms is the largest.  Returns the pairs that are in now. */
static uint64_t counts_add_up(const struct kernel_tunnels *k, struct offload_counts *out)
{
	uint64_t words[COUNT_WORDS] = { 0 }, pairs = 0;
	const size_t max = offsetof(struct offload_counts, drain_max_ms) / sizeof(uint64_t);

	for (unsigned w = 0; w < k->worker_count; w++) {
		for (size_t i = 0; i < COUNT_WORDS; i++) {
			uint64_t n = atomic_load_explicit(&k->workers[w]->counts[i], memory_order_relaxed);

			words[i] = i == max ? MAX(words[i], n) : words[i] + n;
		}
		pairs += atomic_load_explicit(&k->workers[w]->pairs, memory_order_relaxed);
	}
	memcpy(out, words, sizeof(*out));
	return pairs;
}

static const char *const left_words[OFFLOAD_LEFT_COUNT] = {
	[OFFLOAD_LEFT_ASKED] = "asked",
	[OFFLOAD_LEFT_ENDED] = "ended",
	[OFFLOAD_LEFT_REFUSED] = "refused",
	[OFFLOAD_LEFT_MOVED] = "moved",
};

static void set_labelled(struct metrics_shard *m, enum metric_id id, const char *label, uint64_t value)
{
	const struct span span = span_str(label);

	metric_cell_set(metric_cell(m, id, &span), value);
}

void kernel_tunnels_collect(const struct kernel_tunnels *k, struct metrics_shard *m)
{
	const struct span labels[2] = { span_str(state_words[k->state]),
					span_str(k->state == STATE_FAILED ? k->selftest.failed_case : "none") };
	struct offload_counts n;

	metric_cell_set(metric_cell(m, METRIC_SOCKMAP_AVAILABLE, labels), k->state == STATE_ON);
	metric_set(m, METRIC_SOCKMAP_SELFTEST_SECONDS, k->selftest.took_ns / 1000);
	metric_set(m, METRIC_SOCKMAP_TUNNELS, counts_add_up(k, &n));
	metric_set(m, METRIC_SOCKMAP_JOINS_TOTAL, n.joins);
	metric_set(m, METRIC_SOCKMAP_ADOPTED_TOTAL, n.adopted);
	metric_set(m, METRIC_SOCKMAP_REFUSED_TOTAL, n.refused);
	for (unsigned i = 0; i < OFFLOAD_LEFT_COUNT; i++)
		set_labelled(m, METRIC_SOCKMAP_LEFT_TOTAL, left_words[i], n.left[i]);
	metric_set(m, METRIC_SOCKMAP_FAILED_TOTAL, n.failed);
	metric_set(m, METRIC_SOCKMAP_LOST_RACES_TOTAL, n.lost_races);
	metric_set(m, METRIC_SOCKMAP_UNDELIVERED_BYTES_TOTAL, n.undelivered);
	set_labelled(m, METRIC_SOCKMAP_SWITCHES_TOTAL, "arm", n.arms);
	set_labelled(m, METRIC_SOCKMAP_SWITCHES_TOTAL, "disarm", n.disarms);
	metric_set(m, METRIC_SOCKMAP_SLOW_TOTAL, n.slow);
	metric_set(m, METRIC_SOCKMAP_LEAVE_RETRIES_TOTAL, n.leave_retries);
	metric_set(m, METRIC_SOCKMAP_DRAIN_MAX_SECONDS, n.drain_max_ms * 1000);
}

#define N(x) ((unsigned long long)(x))

void kernel_tunnels_text(const struct kernel_tunnels *k, struct strbuf *out)
{
	struct offload_counts n;
	uint64_t pairs = counts_add_up(k, &n);

	if (k->state != STATE_ON) {
		strbuf_printf(out, "kernel tunnels off: %s\n", k->why);
		if (k->state == STATE_EXCLUDED && k->wish > WISH_NONE)
			strbuf_add_str(out, "              the file that serves does: from the next start on\n");
		return;
	}
	strbuf_printf(out, "kernel tunnels on (self-test %u cases, %llu ms), %llu tunnel%s in the kernel\n",
		      k->selftest.cases, N(k->selftest.took_ns / 1000000), N(pairs), pairs == 1 ? "" : "s");
	strbuf_printf(out,
		      "              joined %llu, refused %llu; left %llu asked, %llu ended, %llu refused; "
		      "failed %llu\n",
		      N(n.joins), N(n.refused), N(n.left[OFFLOAD_LEFT_ASKED]), N(n.left[OFFLOAD_LEFT_ENDED]),
		      N(n.left[OFFLOAD_LEFT_REFUSED]), N(n.failed));
	if (n.adopted + n.left[OFFLOAD_LEFT_MOVED])
		strbuf_printf(out, "              by binary upgrades %llu came, %llu went\n", N(n.adopted),
			      N(n.left[OFFLOAD_LEFT_MOVED]));
	if (n.failed)
		strbuf_printf(out, "              %llu bytes of failed ones were not delivered\n", N(n.undelivered));
	if (k->doubt[0])
		strbuf_printf(out, "              %s\n", k->doubt);
}

void kernel_tunnels_json(const struct kernel_tunnels *k, struct json *j)
{
	struct offload_counts n;
	uint64_t pairs = counts_add_up(k, &n);

	json_object(j, "kernel_tunnels");
	json_bool(j, "available", k->state == STATE_ON);
	json_str(j, "state", state_words[k->state]);
	json_str(j, "reason", k->why[0] ? k->why : NULL);
	json_str(j, "doubt", k->state == STATE_ON && k->doubt[0] ? k->doubt : NULL);
	json_object(j, "selftest");
	json_u64(j, "cases", k->selftest.cases);
	json_str(j, "failed_case", k->state == STATE_FAILED ? k->selftest.failed_case : NULL);
	json_u64(j, "microseconds", k->selftest.took_ns / 1000);
	json_end(j, '}');
	json_u64(j, "tunnels", pairs);
	json_u64(j, "joins", n.joins);
	json_u64(j, "adopted", n.adopted);
	json_u64(j, "refused", n.refused);
	json_object(j, "left");
	for (unsigned i = 0; i < OFFLOAD_LEFT_COUNT; i++)
		json_u64(j, left_words[i], n.left[i]);
	json_end(j, '}');
	json_u64(j, "failed", n.failed);
	json_u64(j, "lost_races", n.lost_races);
	json_u64(j, "undelivered_bytes", n.undelivered);
	json_end(j, '}');
}
