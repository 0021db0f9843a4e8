/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tunnel_sockmap.c - tunnels that somebody else carries: real sessions on both sides, and a kernel played here. */
#include <netinet/tcp.h>
#include <signal.h>

#include "base/clock.h"
#include "forward_fixture.h"
#include "proxy/tunnel_move.h"
#include "proxy/tunnel_private.h"
#include "proxy/tunnels.h"

enum fake_state {
	FAKE_OUT,
	FAKE_IN,
	FAKE_LEAVING,
	FAKE_FAILING,
	FAKE_FROZEN,
};

/* One pair.  It moves bytes when the test says so. */
struct offload_pair {
	enum fake_state state;
	int fd[2];
	const struct offload_events *ev;
	void *owner;
	struct offload_progress progress;
	struct offload_report report;
	struct slice_queue held[2];
	int err;
	struct task task;
};

static struct {
	struct loop *loop;
	struct offload_pair pair;
	int refuses; /* joins are refused with it */
	unsigned tries, joins, leaves, aborts;
	int freezes_with;    /* what a freeze says */
	bool adopts_nothing; /* a parcel does not fit */
	unsigned freezes, thaws, releases, adoptions;
} kernel;

static void run_event(struct task *t)
{
	struct offload_pair *p = container_of(t, struct offload_pair, task);
	bool has_failed = p->state == FAKE_FAILING;

	for (unsigned i = 0; i < 2; i++) {
		p->report.sides[i].held = &p->held[i];
		p->report.sides[i].kernel_bytes = p->progress.kernel_bytes[i];
		p->report.sides[i].user_bytes = p->progress.user_bytes[i];
	}
	p->state = FAKE_OUT;
	if (has_failed)
		p->ev->on_fail(p->owner, p->err, &p->report);
	else
		p->ev->on_left(p->owner, &p->report);
	for (unsigned i = 0; i < 2; i++)
		slice_queue_fini(&p->held[i]);
}

/* Whether a write waits behind unsent bytes: what is redirected must not. */
static bool has_unsent_limit(int fd)
{
	unsigned bytes = 0;

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, &(socklen_t){ sizeof(bytes) }), 0);
	return bytes && bytes != UINT32_MAX;
}

static int fake_join(void *ctx, const int fd[2], const struct offload_events *ev, void *owner,
		     struct offload_pair **out_pair)
{
	struct offload_pair *p = &kernel.pair;

	assert_ptr_equal(ctx, &kernel);
	assert_int_equal(p->state, FAKE_OUT);
	kernel.tries++;
	if (kernel.refuses)
		return kernel.refuses;
	assert_false(has_unsent_limit(fd[0]) || has_unsent_limit(fd[1]));
	kernel.joins++;
	*p = (struct offload_pair){
		.state = FAKE_IN, .fd = { fd[0], fd[1] }, .ev = ev, .owner = owner, .task.run = run_event
	};
	p->progress.active_ns = clock_mono_ns();
	*out_pair = p;
	return 0;
}

static void fake_leave(struct offload_pair *p)
{
	kernel.leaves++;
	assert_int_equal(p->state, FAKE_IN);
	p->state = FAKE_LEAVING;
	loop_defer(kernel.loop, &p->task);
}

static void fake_end(enum offload_why why)
{
	kernel.pair.state = FAKE_LEAVING;
	kernel.pair.report.why = why;
	loop_defer(kernel.loop, &kernel.pair.task);
}

static void fake_abort(struct offload_pair *p, int err)
{
	const struct linger reset = { 1, 0 };

	kernel.aborts++;
	if (p->state == FAKE_FROZEN) {
		p->err = err;
		return;
	}
	assert_true(p->state == FAKE_IN || p->state == FAKE_LEAVING);
	for (unsigned i = 0; i < 2; i++)
		(void)setsockopt(p->fd[i], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	p->err = err;
	p->state = FAKE_FAILING;
	loop_defer(kernel.loop, &p->task);
}

static void fake_progress(const struct offload_pair *p, struct offload_progress *out)
{
	assert_int_not_equal(p->state, FAKE_OUT);
	*out = p->progress;
}

static const struct offload_parcel a_pair = { .dirs[0].cookie = 11, .dirs[1].cookie = 22, .age = 1 };
static const int maps[5] = { 901, 902, 903, 904, 905 };

static void run_frozen(struct task *t)
{
	struct offload_pair *p = container_of(t, struct offload_pair, task);

	p->state = FAKE_FROZEN;
	p->task.run = run_event;
	p->ev->on_frozen(p->owner, &a_pair, maps, 5);
}

static int fake_freeze(struct offload_pair *p)
{
	assert_int_equal(p->state, FAKE_IN);
	kernel.freezes++;
	if (kernel.freezes_with)
		return kernel.freezes_with;
	p->task.run = run_frozen;
	loop_defer(kernel.loop, &p->task);
	return 0;
}

static void fake_thaw(struct offload_pair *p)
{
	assert_int_equal(p->state, FAKE_FROZEN);
	kernel.thaws++;
	p->state = p->err ? FAKE_FAILING : FAKE_IN;
	if (p->err)
		loop_defer(kernel.loop, &p->task);
}

static void fake_release(struct offload_pair *p)
{
	assert_int_equal(p->state, FAKE_FROZEN);
	kernel.releases++;
	p->state = FAKE_OUT;
}

static struct offload_pair *fake_adopt(void *ctx, const int fd[2], const struct offload_arrival *a,
				       const struct offload_events *ev, void *owner)
{
	struct offload_pair *p = &kernel.pair;

	assert_ptr_equal(ctx, &kernel);
	assert_int_equal(a->parcel->dirs[1].cookie, 22);
	assert_ptr_equal(a->flows, &kernel);
	kernel.adoptions++;
	if (kernel.adopts_nothing)
		return NULL;
	*p = (struct offload_pair){
		.state = FAKE_IN, .fd = { fd[0], fd[1] }, .ev = ev, .owner = owner, .task.run = run_event
	};
	p->progress = (struct offload_progress){ { 130, 7 }, { 10, 0 }, clock_mono_ns() };
	return p;
}

/* What has arrived from side i goes to the other one. */
static size_t fake_move(unsigned i, bool by_kernel)
{
	struct offload_pair *p = &kernel.pair;
	char bytes[4096];
	ssize_t n = recv(p->fd[i], bytes, sizeof(bytes), MSG_DONTWAIT);

	assert_int_equal(p->state, FAKE_IN);
	if (n <= 0)
		return 0;
	assert_int_equal(send(p->fd[!i], bytes, (size_t)n, MSG_NOSIGNAL), n);
	*(by_kernel ? &p->progress.kernel_bytes[i] : &p->progress.user_bytes[i]) += (uint64_t)n;
	p->progress.active_ns = clock_mono_ns();
	return (size_t)n;
}

static void fake_move_all(struct fixture *f)
{
	for (int i = 0; i < 5; i++) {
		(void)fake_move(0, true);
		(void)fake_move(1, true);
		turn(f);
		(void)origin_receive(&f->origins[0]);
	}
}

static int set_up_kernel(void **state)
{
	struct fixture *f;

	(void)signal(SIGPIPE, SIG_IGN);
	if (set_up(state) != 0)
		return -1;
	f = *state;
	memset(&kernel, 0, sizeof(kernel));
	kernel.loop = f->loop;
	f->worker.offload = (struct offload_hook){
		.join = fake_join, .leave = fake_leave, .abort = fake_abort, .progress = fake_progress,
		.freeze = fake_freeze, .thaw = fake_thaw, .release = fake_release, .adopt = fake_adopt, .ctx = &kernel
	};
	f->route.splice = SPLICE_ENGINE_SOCKMAP;
	pipe_pool_init_with(&f->shared.pipes, 0, 0, 0);
	return 0;
}

/* An open tunnel, which may have been given away. */
static struct client *tunnel(struct fixture *f)
{
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
	origin_hears(f, 0, "\r\n\r\n");
	origin_says(f, 0, "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
	client_hears(f, c, "\r\n\r\n");
	c->got_len = f->origins[0].got_len = 0;
	turns(f, 10);
	return c;
}

static bool is_in(void)
{
	return kernel.pair.state == FAKE_IN;
}

#define TURN_UNTIL(f, condition)                                                   \
	do {                                                                       \
		int turns_left_ = 3000;                                            \
		while (!(condition) && turns_left_-- > 0) {                        \
			turn(f);                                                   \
			if ((f)->origins[0].fd >= 0)                               \
				(void)origin_receive(&(f)->origins[0]);            \
		}                                                                  \
		if (!(condition))                                                  \
			fail_msg("line %d: never came: %s", __LINE__, #condition); \
	} while (0)

static void note_facts(void *ctx, const struct tunnel_facts *facts)
{
	*(struct tunnel_facts *)ctx = *facts;
}

static struct tunnel_facts facts_of(struct fixture *f)
{
	struct tunnel_facts facts = { 0 };

	tunnels_each(&f->worker, note_facts, &facts);
	return facts;
}

static uint64_t cell(const struct fixture *f, enum splice_engine e, unsigned direction)
{
	return atomic_load(&f->worker.engine_bytes[e][direction]->value);
}

static void test_bytes_are_moved_and_counted(void **state)
{
	struct fixture *f = *state;
	struct client *c = tunnel(f);
	struct tunnel_facts facts;

	TURN_UNTIL(f, is_in());
	ask(c, "hello");
	origin_says(f, 0, "good day");
	turns(f, 5);
	assert_int_equal(c->got_len + f->origins[0].got_len, 0); /* nobody else reads */
	assert_int_equal(fake_move(0, true), 5);
	assert_int_equal(fake_move(1, false), 8);
	client_hears(f, c, "good day");
	facts = facts_of(f);
	assert_string_equal(facts.kind, "websocket");
	assert_string_equal(facts.listener, "l");
	assert_string_equal(facts.route, "r");
	assert_string_equal(facts.upstream, "u");
	assert_int_equal(facts.engine[0], SPLICE_ENGINE_SOCKMAP);
	assert_int_equal(facts.engine[1], SPLICE_ENGINE_SOCKMAP);
	assert_int_equal(facts.bytes[0], 5);
	assert_int_equal(facts.bytes[1], 8);
	assert_int_equal(facts.kernel_bytes[0], 5);
	assert_int_equal(facts.kernel_bytes[1], 0);
	assert_int_equal(facts.joins, 1);
	assert_int_equal(cell(f, SPLICE_ENGINE_SOCKMAP, 0), 5);
	assert_int_equal(cell(f, SPLICE_ENGINE_SOCKMAP, 1), 0);
	assert_int_equal(cell(f, SPLICE_ENGINE_COPY, 1), 8);
	tunnels_look(&f->worker); /* nothing is counted twice */
	assert_int_equal(cell(f, SPLICE_ENGINE_SOCKMAP, 0), 5);
	(void)shutdown(c->fd, SHUT_WR);
	(void)shutdown(f->origins[0].fd, SHUT_WR);
	fake_end(OFFLOAD_LEFT_ENDED);
	client_sees_the_end(f, c);
	assert_true(c->is_eof);
	TURN_UNTIL(f, f->worker.tunnel_count == 0);
	assert_int_equal(kernel.aborts, 0);
}

static void test_calm_worker_keeps_its_tunnels(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->route.splice = SPLICE_ENGINE_AUTO;
	c = tunnel(f);
	ask(c, "copied");
	origin_hears(f, 0, "copied");
	tunnels_look(&f->worker);
	turns(f, 5);
	assert_int_equal(kernel.tries, 0);
	f->worker.turns.is_busy = true;
	tunnels_look(&f->worker);
	TURN_UNTIL(f, is_in());
	tunnels_look(&f->worker);
	turns(f, 5);
	assert_true(is_in());
	f->worker.turns.is_busy = false;
	tunnels_look(&f->worker);
	TURN_UNTIL(f, kernel.pair.state == FAKE_OUT);
	assert_int_equal(kernel.leaves, 1);
	assert_true(has_unsent_limit(kernel.pair.fd[0]) && has_unsent_limit(kernel.pair.fd[1]));
	ask(c, " again");
	origin_hears(f, 0, "copied again");
	assert_int_equal(facts_of(f).engine[0], SPLICE_ENGINE_COPY);
	client_resets(c);
	TURN_UNTIL(f, f->worker.tunnel_count == 0);
}

/* What the pair had read comes first, in order, then what the sockets hold. */
static void test_held_bytes_come_first(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->route.splice = SPLICE_ENGINE_AUTO;
	f->worker.turns.is_busy = true;
	c = tunnel(f);
	tunnels_look(&f->worker);
	TURN_UNTIL(f, is_in());
	ask(c, "three");
	origin_says(f, 0, "drei");
	slice_queue_push(&kernel.pair.held[0], slice_copy("one ", 4));
	slice_queue_push(&kernel.pair.held[0], slice_copy("two ", 4));
	slice_queue_push(&kernel.pair.held[1], slice_copy("eins zwei ", 10));
	f->worker.turns.is_busy = false;
	tunnels_look(&f->worker);
	origin_hears(f, 0, "one two three");
	client_hears(f, c, "eins zwei drei");
	assert_int_equal(facts_of(f).bytes[0], 13);
	assert_int_equal(facts_of(f).bytes[1], 14);
	assert_int_equal(cell(f, SPLICE_ENGINE_COPY, 0), 13);
	client_leaves(c);
	origin_closes(f, 0);
}

static void test_refusals_are_tried_again_later(void **state)
{
	struct fixture *f = *state;
	struct client *c;
	unsigned tries;

	kernel.refuses = -EAGAIN;
	c = tunnel(f);
	TURN_UNTIL(f, kernel.tries > 0);
	for (int i = 0; i < 20; i++) {
		ask(c, "x");
		turns(f, 3);
		(void)origin_receive(&f->origins[0]);
	}
	TURN_UNTIL(f, f->origins[0].got_len == 20); /* it goes on here */
	tries = kernel.tries;
	assert_in_range(tries, 1, 8); /* ever more seldom */
	kernel.refuses = 0;
	TURN_UNTIL(f, is_in());
	ask(c, "y");
	fake_move_all(f);
	TURN_UNTIL(f, f->origins[0].got_len == 21);
	client_leaves(c);
	origin_closes(f, 0);
	fake_end(OFFLOAD_LEFT_ENDED);
}

static void test_some_refusals_are_for_good(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	kernel.refuses = -EINVAL;
	c = tunnel(f);
	TURN_UNTIL(f, kernel.tries == 1);
	ask(c, "hello");
	origin_hears(f, 0, "hello");
	origin_says(f, 0, "good day");
	client_hears(f, c, "good day");
	tunnels_look(&f->worker);
	turns(f, 20);
	assert_int_equal(kernel.tries, 1);
	client_leaves(c);
	origin_closes(f, 0);
}

static void test_half_closed_tunnels_stay(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->route.splice = SPLICE_ENGINE_AUTO;
	c = tunnel(f);
	(void)shutdown(c->fd, SHUT_WR);
	turns(f, 5);
	f->worker.turns.is_busy = true;
	tunnels_look(&f->worker);
	origin_says(f, 0, "still talking");
	client_hears(f, c, "still talking");
	assert_int_equal(kernel.tries, 0);
	origin_closes(f, 0);
	client_sees_the_end(f, c);
	assert_true(c->is_eof);
}

/* The end of one side was passed on by the kernel, which then gave the tunnel back. */
static void test_an_end_in_the_kernel_is_seen_again(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->route.splice = SPLICE_ENGINE_AUTO;
	f->worker.turns.is_busy = true;
	c = tunnel(f);
	tunnels_look(&f->worker);
	TURN_UNTIL(f, is_in());
	(void)shutdown(c->fd, SHUT_WR);
	assert_int_equal(recv(kernel.pair.fd[0], &(char){ 0 }, 1, 0), 0);
	assert_int_equal(shutdown(kernel.pair.fd[1], SHUT_WR), 0);
	kernel.pair.report.sides[0].is_eof = kernel.pair.report.sides[0].is_shut = true;
	f->worker.turns.is_busy = false;
	tunnels_look(&f->worker);
	TURN_UNTIL(f, kernel.pair.state == FAKE_OUT);
	origin_says(f, 0, "the answer");
	client_hears(f, c, "the answer");
	assert_false(c->is_eof);
	origin_closes(f, 0);
	client_sees_the_end(f, c);
	assert_true(c->is_eof);
	TURN_UNTIL(f, f->worker.tunnel_count == 0);
}

static void test_failure_resets_both(void **state)
{
	struct fixture *f = *state;
	struct client *c = tunnel(f);

	TURN_UNTIL(f, is_in());
	kernel.pair.report.sides[0].undelivered = 1000;
	fake_abort(&kernel.pair, -ECONNRESET);
	client_sees_the_end(f, c);
	assert_true(c->is_reset);
	TURN_UNTIL(f, f->worker.tunnel_count == 0);
	TURN_UNTIL(f, !origin_receive(&f->origins[0]));
}

static void test_idle_limit_looks_at_the_progress(void **state)
{
	struct fixture *f = *state;
	struct client *c;
	uint64_t began;

	f->route.tunnel_idle_ms = 800;
	c = tunnel(f);
	TURN_UNTIL(f, is_in());
	began = clock_mono_ns();
	while (clock_mono_ns() - began < 2000000000) {
		ask(c, "x");
		turns(f, 10);
		(void)fake_move(0, true);
		(void)origin_receive(&f->origins[0]);
	}
	assert_int_equal(kernel.aborts, 0);
	assert_int_equal(f->worker.tunnel_count, 1);
	TURN_UNTIL(f, f->worker.tunnel_count == 0);
	assert_int_equal(kernel.aborts, 1);
	client_sees_the_end(f, c);
}

static void test_stop_aborts_them(void **state)
{
	struct fixture *f = *state;
	struct client *c = tunnel(f);

	TURN_UNTIL(f, is_in());
	proxy_worker_abort(&f->worker);
	proxy_worker_abort(&f->worker);
	TURN_UNTIL(f, proxy_worker_is_idle(&f->worker));
	assert_int_equal(kernel.aborts, 1);
	client_sees_the_end(f, c);
	assert_true(c->is_reset);
}

/* Aborted while it leaves: the pair may still say that it left. */
static void test_stop_while_it_leaves(void **state)
{
	struct fixture *f = *state;
	struct client *c = tunnel(f);

	TURN_UNTIL(f, is_in());
	slice_queue_push(&kernel.pair.held[0], slice_copy("lost", 4));
	fake_end(OFFLOAD_LEFT_ASKED);
	proxy_worker_abort(&f->worker);
	kernel.pair.state = FAKE_LEAVING;
	TURN_UNTIL(f, proxy_worker_is_idle(&f->worker));
	client_sees_the_end(f, c);
}

static void test_half_way_refusal_is_copied(void **state)
{
	struct fixture *f = *state;
	struct client *c = tunnel(f);

	TURN_UNTIL(f, is_in());
	ask(c, "hello");
	fake_end(OFFLOAD_LEFT_REFUSED);
	origin_hears(f, 0, "hello");
	tunnels_look(&f->worker);
	turns(f, 10);
	assert_int_equal(kernel.joins, 1);
	client_leaves(c);
	origin_closes(f, 0);
}

static void test_bulk_leaves_unless_it_is_forced(void **state)
{
	struct fixture *f = *state;
	struct client *c;
	uint64_t began;

	f->route.splice = SPLICE_ENGINE_AUTO;
	f->worker.turns.is_busy = true;
	c = tunnel(f);
	tunnels_look(&f->worker);
	TURN_UNTIL(f, is_in());
	began = loop_now_ms(f->loop);
	while (loop_now_ms(f->loop) - began < 1100)
		turn(f);
	kernel.pair.progress.kernel_bytes[1] = 20 * 1024 * 1024; /* a second's */
	tunnels_look(&f->worker);
	turns(f, 5);
	assert_int_equal(kernel.leaves, 0);
	began = loop_now_ms(f->loop);
	while (loop_now_ms(f->loop) - began < 1100)
		turn(f);
	kernel.pair.progress.kernel_bytes[1] += 40 * 1024 * 1024;
	tunnels_look(&f->worker);
	TURN_UNTIL(f, kernel.pair.state == FAKE_OUT);
	assert_int_equal(kernel.leaves, 1);
	TURN_UNTIL(f, facts_of(f).engine[1] == SPLICE_ENGINE_SPLICE);
	origin_says(f, 0, "and more");
	client_hears(f, c, "and more");
	client_resets(c);
	TURN_UNTIL(f, f->worker.tunnel_count == 0);
	turns(f, 3); /* its pipe, and the poll that was cancelled */
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_kernel, tear_down)

/* ---- to another process ---- */

static struct {
	struct tunnel_mover mover;
	struct tunnel_moving *what;
	struct tunnel_parcel parcel;
	int fds[TUNNEL_FDS_MAX];
	unsigned fd_count;
} moving;

static void note_pass(struct tunnel_mover *m, const struct tunnel_parcel *p, const int *fds, unsigned fd_count,
		      struct tunnel_moving *what)
{
	assert_ptr_equal(m, &moving.mover);
	assert_true(tunnel_parcel_is_sound(p));
	moving.what = what;
	moving.parcel = *p;
	moving.fd_count = fd_count;
	memcpy(moving.fds, fds, fd_count * sizeof(*fds));
}

/* An upgrade begins while the kernel has a tunnel. */
static struct client *tunnel_moves(struct fixture *f, bool takes_pairs)
{
	struct client *c = tunnel(f);

	TURN_UNTIL(f, is_in());
	ask(c, "hello");
	assert_int_equal(fake_move(0, true), 5);
	memset(&moving, 0, sizeof(moving));
	moving.mover.pass = note_pass;
	moving.mover.takes_pairs = takes_pairs;
	tunnels_move(&f->worker, &moving.mover);
	return c;
}

static void test_a_tunnel_in_the_kernel_moves_as_it_is(void **state)
{
	struct fixture *f = *state;
	struct client *c = tunnel_moves(f, true);

	TURN_UNTIL(f, moving.what);
	assert_int_equal(moving.parcel.is_in_kernel, 1);
	assert_memory_equal(&moving.parcel.pair, &a_pair, sizeof(a_pair));
	assert_int_equal(moving.parcel.received[0], 5);
	assert_int_equal(moving.parcel.kernel[0], 5);
	assert_int_equal(moving.parcel.kernel_seen[0], 5);
	assert_int_equal(moving.parcel.joins, 1);
	assert_int_equal(moving.fd_count, 2 + 5);
	assert_int_equal(moving.fds[0], kernel.pair.fd[0]);
	assert_int_equal(moving.fds[6], 905);
	/* the kernel goes on, and the other process will count that */
	kernel.pair.progress.kernel_bytes[0] += 1000;
	tunnels_look(&f->worker);
	assert_int_equal(facts_of(f).bytes[0], 5);
	assert_int_equal(facts_of(f).engine[0], SPLICE_ENGINE_SOCKMAP);
	tunnel_moved(moving.what, true);
	turns(f, 10);
	assert_int_equal(f->worker.tunnel_count, 0);
	assert_int_equal(cell(f, SPLICE_ENGINE_SOCKMAP, 0), 5);
	assert_int_equal(kernel.releases, 1);
	assert_int_equal(kernel.leaves + kernel.aborts + kernel.thaws, 0);
	client_leaves(c);
}

/* Nobody reads the channel any more: it goes on here, and leaves the kernel, which nobody joins any more. */
static void test_a_tunnel_that_could_not_move_is_taken_back(void **state)
{
	struct fixture *f = *state;
	struct client *c = tunnel_moves(f, true);

	TURN_UNTIL(f, moving.what);
	kernel.pair.progress.kernel_bytes[0] += 1000;
	tunnel_moved(moving.what, false);
	assert_int_equal(kernel.thaws, 1);
	assert_int_equal(facts_of(f).bytes[0], 1005);
	TURN_UNTIL(f, kernel.pair.state == FAKE_OUT);
	assert_int_equal(kernel.leaves, 1);
	ask(c, "copied");
	origin_hears(f, 0, "hellocopied");
	assert_int_equal(facts_of(f).bytes[0], 1011);
	assert_int_equal(kernel.freezes, 1);
	client_resets(c);
	TURN_UNTIL(f, f->worker.tunnel_count == 0);
}

static void test_a_stop_while_it_moves(void **state)
{
	struct fixture *f = *state;
	struct client *c = tunnel_moves(f, true);

	TURN_UNTIL(f, moving.what);
	tunnels_abort(&f->worker);
	turns(f, 5);
	assert_int_equal(kernel.aborts, 1);
	assert_int_equal(f->worker.tunnel_count, 1); /* it may be another process's already */
	tunnel_moved(moving.what, true);
	turns(f, 5);
	assert_int_equal(f->worker.tunnel_count, 0);
	assert_int_equal(kernel.releases, 1);
	client_leaves(c);
}

static void test_a_stop_while_it_moves_in_vain(void **state)
{
	struct fixture *f = *state;
	struct client *c = tunnel_moves(f, true);

	TURN_UNTIL(f, moving.what);
	tunnels_abort(&f->worker);
	turns(f, 5);
	tunnel_moved(moving.what, false);
	client_sees_the_end(f, c);
	TURN_UNTIL(f, f->worker.tunnel_count == 0);
	assert_int_equal(kernel.thaws, 1);
}

/* Another version, or no sockmap there: out of the kernel, and then it moves. */
static void test_it_leaves_first_if_it_must(void **state)
{
	struct fixture *f = *state;
	struct client *c = tunnel_moves(f, false);

	TURN_UNTIL(f, moving.what);
	assert_int_equal(kernel.leaves, 1);
	assert_int_equal(kernel.freezes, 0);
	assert_int_equal(moving.parcel.is_in_kernel, 0);
	assert_int_equal(moving.fd_count, 2);
	tunnel_moved(moving.what, true);
	turns(f, 10);
	client_leaves(c);
}

static void test_it_leaves_first_if_it_never_can(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	kernel.freezes_with = -EOPNOTSUPP;
	c = tunnel_moves(f, true);
	TURN_UNTIL(f, moving.what);
	assert_int_equal(kernel.leaves, 1);
	assert_int_equal(kernel.freezes, 1);
	tunnel_moved(moving.what, true);
	turns(f, 10);
	client_leaves(c);
}

/* A receiver that does not read what was read for it has a second for that. */
static void test_it_leaves_first_if_it_stays_busy(void **state)
{
	struct fixture *f = *state;
	uint64_t began = loop_now_ms(f->loop);
	struct client *c;

	kernel.freezes_with = -EAGAIN;
	c = tunnel_moves(f, true);
	TURN_UNTIL(f, moving.what);
	assert_true(loop_now_ms(f->loop) - began >= 1000);
	assert_int_equal(kernel.leaves, 1);
	assert_true(kernel.freezes > 3);
	tunnel_moved(moving.what, true);
	turns(f, 10);
	client_leaves(c);
}

/* ---- from another process ---- */

/* Two sockets with a parcel; the other ends are a client and an origin of the fixture's kind. */
static void arrive(struct fixture *f, int ends[2])
{
	struct tunnel_parcel p = moving.parcel;
	int fd[2];

	p.is_in_kernel = 1;
	p.pair = a_pair;
	p.kernel_seen[0] = 100;
	p.kernel_seen[1] = 9000; /* more than there is: nobody believes it */
	for (unsigned i = 0; i < 2; i++) {
		ends[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(ends[i], &f->addr.sa, f->addr.len), 0);
		fd[i] = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		assert_true(fd[i] >= 0);
	}
	assert_int_equal(tunnel_adopt(&f->worker, &p, fd, (struct flows *)&kernel), 0);
}

static void parcel_of(struct fixture *f)
{
	moving.parcel = (struct tunnel_parcel){
		.engine = SPLICE_ENGINE_SOCKMAP,
		.joins = 1,
		.received = { 105, 50 },
		.kernel = { 100, 50 },
		.status = 101,
		.open_ns = 1000000000,
		.route = "r",
	};
	moving.parcel.peer = f->addr;
}

static void test_a_tunnel_comes_as_it_is(void **state)
{
	struct fixture *f = *state;
	struct tunnel_facts facts;
	int ends[2];
	char c;

	begin(f);
	parcel_of(f);
	arrive(f, ends);
	assert_true(is_in());
	assert_int_equal(kernel.adoptions, 1);
	assert_int_equal(kernel.joins + kernel.tries, 0);
	facts = facts_of(f);
	assert_int_equal(facts.engine[0], SPLICE_ENGINE_SOCKMAP);
	assert_int_equal(facts.joins, 1);
	assert_int_equal(facts.bytes[0], 135); /* 30 since it was counted there */
	assert_int_equal(facts.kernel_bytes[0], 130);
	assert_int_equal(facts.bytes[1], 50);
	assert_int_equal(cell(f, SPLICE_ENGINE_SOCKMAP, 0), 30);
	assert_int_equal(cell(f, SPLICE_ENGINE_SOCKMAP, 1), 0);
	assert_int_equal(write(ends[0], "abc", 3), 3);
	turns(f, 5);
	assert_int_equal(recv(ends[1], &c, 1, MSG_DONTWAIT), -1); /* nobody reads it here */
	assert_int_equal(fake_move(0, true), 3);
	assert_int_equal(facts_of(f).bytes[0], 138);
	fake_leave(&kernel.pair);
	TURN_UNTIL(f, kernel.pair.state == FAKE_OUT);
	assert_int_equal(write(ends[1], "de", 2), 2);
	TURN_UNTIL(f, facts_of(f).bytes[1] == 52);
	assert_int_equal(facts_of(f).engine[1], SPLICE_ENGINE_COPY);
	close(ends[0]);
	close(ends[1]);
	TURN_UNTIL(f, f->worker.tunnel_count == 0);
}

static void test_a_tunnel_that_comes_with_nonsense_is_reset(void **state)
{
	struct fixture *f = *state;
	int ends[2];
	char c;

	begin(f);
	parcel_of(f);
	kernel.adopts_nothing = true;
	arrive(f, ends);
	TURN_UNTIL(f, f->worker.tunnel_count == 0);
	turns(f, 5);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(read(ends[i], &c, 1), -1);
		assert_int_equal(errno, ECONNRESET);
		close(ends[i]);
	}
}

/* Tunnels that are about to end stand before it: more than are looked at in a turn. */
static void test_a_tunnel_moves_however_many_stay(void **state)
{
	struct tunnel *staying = calloc(1200, sizeof(*staying));
	struct fixture *f = *state;
	struct client *c;

	moving.mover.pass = note_pass;
	moving.what = NULL;
	c = tunnel(f);
	for (unsigned i = 0; i < 1200; i++) {
		staying[i] = (struct tunnel){ .worker = &f->worker, .is_plain = true, .broken_by = "test" };
		list_push(&f->worker.tunnels, &staying[i].node);
	}
	tunnels_move(&f->worker, &moving.mover);
	TURN_UNTIL(f, moving.what);
	for (unsigned i = 0; i < 1200; i++)
		list_remove(&staying[i].node);
	tunnel_moved(moving.what, true);
	turns(f, 10);
	assert_true(list_is_empty(&f->worker.tunnels));
	free(staying);
	client_leaves(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bytes_are_moved_and_counted),
		TEST(test_calm_worker_keeps_its_tunnels),
		TEST(test_held_bytes_come_first),
		TEST(test_refusals_are_tried_again_later),
		TEST(test_some_refusals_are_for_good),
		TEST(test_half_closed_tunnels_stay),
		TEST(test_an_end_in_the_kernel_is_seen_again),
		TEST(test_failure_resets_both),
		TEST(test_idle_limit_looks_at_the_progress),
		TEST(test_stop_aborts_them),
		TEST(test_stop_while_it_leaves),
		TEST(test_half_way_refusal_is_copied),
		TEST(test_bulk_leaves_unless_it_is_forced),
		TEST(test_a_tunnel_in_the_kernel_moves_as_it_is),
		TEST(test_a_tunnel_that_could_not_move_is_taken_back),
		TEST(test_a_stop_while_it_moves),
		TEST(test_a_stop_while_it_moves_in_vain),
		TEST(test_it_leaves_first_if_it_must),
		TEST(test_it_leaves_first_if_it_never_can),
		TEST(test_it_leaves_first_if_it_stays_busy),
		TEST(test_a_tunnel_comes_as_it_is),
		TEST(test_a_tunnel_that_comes_with_nonsense_is_reset),
		TEST(test_a_tunnel_moves_however_many_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
