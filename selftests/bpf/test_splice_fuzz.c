/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_splice_fuzz.c - tunnels that join the kernel and leave it at random moments while both peers send and receive,
 * in every style, with half-closes and slow receivers: not a byte may be lost, doubled or out of order.
 *
 * SPLICE_CYCLES (300, and 100 for the variants; where it is emulated 500 also without events) is how often each test
 * comes out while both peers go on, SPLICE_TUNNELS (6) how many run at once, SPLICE_SEED what chance begins with.
 */
#include <linux/sock_diag.h>
#include <linux/tcp.h>

#include "fastpath/offload.h"
#include "fastpath/offload_private.h"
#include "tunnels.h"

#define STALL_MS 20000
#define PAGE_BYTES 4096
/* With a header of 8 bytes each; the last byte stays free. */
#define RING_EVENTS ((SN_SPLICE_RING_BYTES - 1) / (8 + sizeof(struct sn_splice_event)))

enum phase {
	PHASE_PLAIN, /* copied here */
	PHASE_IN,
	PHASE_LEAVING,
	PHASE_OVER,
};

struct relay {
	struct tunnel t;
	struct peer peers[2];
	enum phase phase;
	uint64_t until_us;
	bool is_eof[2], is_shut[2];
	uint64_t seen, seen_ms; /* progress */
};

struct fuzz {
	struct rig rig;
	unsigned seed;
	bool may_fail; /* a pair may be reset, but no peer may take that for an end */
	unsigned joins, refused, cycles, tunnels, ended_inside, failed;
	unsigned slips; /* sockets whose memory the kernel counted wrongly */
	uint64_t bytes, copied;
};

static uint64_t now_us(void)
{
	return clock_mono_ns() / 1000;
}

/*
 * Not a small one for who sends without reading: a full buffer takes its window back, and then drops what acknowledges
 * its own bytes (Linux' TCP, with or without us).
 */
static int random_receive_buffer(struct fuzz *z, const struct peer *p)
{
	if (p->receiver == RECEIVER_LATE)
		return 0;
	return random_below(&z->seed, 2) ? 131072 << random_below(&z->seed, 3) : 0;
}

/* Both peers end at about the same time, whatever their speed: after the first end a tunnel joins no more. */
static void relay_start(struct fuzz *z, struct relay *r)
{
	unsigned life_ms = is_emulated() ? 3000 : 800, pause_us = is_emulated() ? 20000 : 3000;
	uint64_t until_ms = now_ms() + random_below(&z->seed, life_ms);

	for (int i = 0; i < 2; i++) {
		r->peers[i] = (struct peer){
			.sender = random_below(&z->seed, SENDER_STYLES),
			.receiver = random_below(&z->seed, RECEIVER_STYLES),
			.seed = (unsigned)rand_r(&z->seed),
			.pause_us = random_below(&z->seed, 6) ? pause_us : 0,
			.until_ms = until_ms + random_below(&z->seed, life_ms / 8),
			.goal = is_emulated() ? 16 * MB : 64 * MB,
			.tx_seed = (uint64_t)z->tunnels * 2 + (uint64_t)i,
			.rx_seed = (uint64_t)z->tunnels * 2 + (uint64_t)!i,
		};
	}
	/* Two that both wait for the other's end before they read would wait for ever, with or without us. */
	if (r->peers[0].receiver == RECEIVER_LATE && r->peers[1].receiver == RECEIVER_LATE)
		r->peers[1].receiver = RECEIVER_STEADY;
	tunnel_open_sized(&r->t, random_receive_buffer(z, &r->peers[0]), random_receive_buffer(z, &r->peers[1]));
	for (int i = 0; i < 2; i++) {
		r->peers[i].fd = i ? r->t.origin : r->t.client;
		if (random_below(&z->seed, 2))
			set_int(r->peers[i].fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, 1);
		peer_start(&r->peers[i]);
	}
	r->phase = PHASE_PLAIN;
	/* Some join before the first byte; where it is slow all do, or most would be over before they join. */
	r->until_us = now_us() + (is_emulated() || random_below(&z->seed, 4) == 0 ? 0 : random_below(&z->seed, 2000));
	memset(r->is_eof, 0, sizeof(r->is_eof));
	memset(r->is_shut, 0, sizeof(r->is_shut));
	r->seen_ms = now_ms();
	z->tunnels++;
}

static void socket_print(const char *name, int fd)
{
	struct tcp_info i = { 0 };
	socklen_t len = sizeof(i);
	int in = 0, out = 0;

	(void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len);
	(void)ioctl(fd, SIOCINQ, &in);
	(void)ioctl(fd, SIOCOUTQ, &out);
	printf("    %s: state %u, unread %d, unacknowledged %d, in flight %u, lost %u, backoff %u, probes %u, "
	       "window %u\n",
	       name, i.tcpi_state, in, out, i.tcpi_unacked, i.tcpi_lost, i.tcpi_backoff, i.tcpi_probes, i.tcpi_snd_wnd);
}

/* Where the bytes are. */
static void relay_print(struct relay *r)
{
	socket_print("client", r->t.client);
	socket_print("fd[0]", r->t.fd[0]);
	socket_print("fd[1]", r->t.fd[1]);
	socket_print("origin", r->t.origin);
	for (int i = 0; i < 2 && r->t.pair; i++) {
		const struct offload_dir *d = &r->t.pair->dirs[i];

		printf("    direction %d: state %d, in the map %d, iterating %d, hangup %d, eof %d, slow %d, "
		       "passed %llu, consumed %llu, redirected %llu, copied %llu, held %zu\n",
		       i, d->state, d->is_in_map, r->t.pair->is_iterating, d->has_hangup, d->is_eof, d->is_slow,
		       (unsigned long long)dir_passed(d), (unsigned long long)d->consumed,
		       (unsigned long long)d->row.stat->redirected, (unsigned long long)d->user_bytes, d->held.bytes);
	}
}

static void relay_fail(struct relay *r, const char *what)
{
	printf("    %s (err %d, phase %d)\n", what, r->t.err, r->phase);
	relay_print(r);
	for (int i = 0; i < 2; i++) {
		const struct peer *p = &r->peers[i];

		printf("    peer %d: sent %llu of %llu (style %d, err %d), received %llu (style %d, err %d, "
		       "wrong %lld), eof %d shut %d held %zu\n",
		       i, (unsigned long long)p->sent, (unsigned long long)p->goal, p->sender, p->send_err,
		       (unsigned long long)p->received, p->receiver, p->receive_err, p->wrong_at, r->is_eof[i],
		       r->is_shut[i], r->t.held[i].bytes);
	}
	fflush(stdout);
	_exit(1);
}

/* Copy one piece of one direction.  True: something moved. */
static bool relay_copy(struct fuzz *z, struct relay *r, int from)
{
	static _Thread_local uint8_t buf[65536];
	struct slice_queue *held = &r->t.held[from];
	ssize_t n;

	if (held->count == 0 && !r->is_eof[from]) {
		size_t want = random_below(&z->seed, 2) ? sizeof(buf) : 1 + random_below(&z->seed, 20000);

		n = recv(r->t.fd[from], buf, want, MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			relay_fail(r, "recv");
		if (n > 0)
			slice_queue_push(held, slice_copy(buf, (uint32_t)n));
		r->is_eof[from] = n == 0;
	}
	if (held->count > 0) {
		struct slice *s = slice_queue_at(held, 0);

		n = send(r->t.fd[!from], s->ptr, s->len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			relay_fail(r, "send");
		if (n <= 0)
			return false;
		slice_queue_consume(held, (size_t)n);
		z->copied += (uint64_t)n;
		return true;
	}
	if (r->is_eof[from] && !r->is_shut[from]) {
		(void)shutdown(r->t.fd[!from], SHUT_WR);
		r->is_shut[from] = true;
		return true;
	}
	return false;
}

/* True: the kernel has it. */
static bool relay_join(struct fuzz *z, struct relay *r)
{
	int err;

	if (now_us() < r->until_us || r->t.held[0].count || r->t.held[1].count)
		return false;
	err = offload_join(z->rig.offload, r->t.fd, &tunnel_events, &r->t, &r->t.pair);
	if (err) {
		if (err != -EOPNOTSUPP)
			relay_fail(r, "join");
		z->refused++;
		r->until_us = now_us() + 100000;
		return false;
	}
	z->joins++;
	r->t.ended = 0;
	r->phase = PHASE_IN;
	/* Sometimes out before it is really in. */
	r->until_us = now_us() + (random_below(&z->seed, 8) ? random_below(&z->seed, 20000) : 0);
	return true;
}

static void relay_plain(struct fuzz *z, struct relay *r)
{
	bool has_moved = true;

	for (int i = 0; i < 20 && has_moved; i++) {
		if (relay_join(z, r))
			return;
		has_moved = relay_copy(z, r, 0);
		has_moved = relay_copy(z, r, 1) || has_moved;
	}
	if (r->is_shut[0] && r->is_shut[1])
		r->phase = PHASE_OVER;
}

/* Given up: both peers are told so, unless they have everything. */
static void relay_broken(struct fuzz *z, struct relay *r)
{
	if (!z->may_fail)
		relay_fail(r, "the pair failed");
	z->failed++;
	(void)close(r->t.fd[0]);
	(void)close(r->t.fd[1]);
	for (int i = 0; i < 2; i++)
		peer_join(&r->peers[i]);
	for (int i = 0; i < 2; i++) {
		const struct peer *p = &r->peers[i];
		/* A reset is told once: if send() got it, recv() says 0. */
		bool is_told = p->receive_err || p->send_err;

		if (p->wrong_at >= 0 || (!is_told && p->received != r->peers[!i].goal))
			relay_fail(r, "a broken stream looks complete");
	}
	(void)close(r->t.client);
	(void)close(r->t.origin);
	for (int i = 0; i < 2; i++)
		slice_queue_clear(&r->t.held[i]);
	relay_start(z, r);
}

/* What the kernel gave back. */
static void relay_back(struct fuzz *z, struct relay *r)
{
	if (r->t.err) {
		relay_broken(z, r);
		return;
	}
	for (int i = 0; i < 2; i++) {
		r->is_eof[i] = r->t.report.sides[i].is_eof;
		r->is_shut[i] = r->t.report.sides[i].is_shut;
		z->bytes += r->t.report.sides[i].kernel_bytes;
		z->copied += r->t.report.sides[i].user_bytes;
	}
	if (r->t.report.why == OFFLOAD_LEFT_ENDED) {
		z->ended_inside++;
		r->phase = PHASE_OVER;
		return;
	}
	z->cycles++;
	r->phase = PHASE_PLAIN;
	r->until_us = now_us() + random_below(&z->seed, 2000);
}

/* What a socket is charged with is whole pages, unless an update of the count was lost. */
static bool has_slipped(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(info);

	CHECK(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) == 0);
	return (info[SK_MEMINFO_RMEM_ALLOC] + info[SK_MEMINFO_FWD_ALLOC] + info[SK_MEMINFO_WMEM_QUEUED]) % PAGE_BYTES;
}

static void relay_end(struct fuzz *z, struct relay *r)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(patient(STALL_MS) / 1000);
	for (int i = 0; i < 4; i++)
		if (pthread_timedjoin_np(r->peers[i / 2].threads[i % 2], NULL, &until) != 0)
			relay_fail(r, "a peer sees no end");
	for (int i = 0; i < 2; i++)
		if (!peer_has_all(&r->peers[i], &r->peers[!i]))
			relay_fail(r, "a peer did not get what was sent");
	for (int i = 0; i < 2; i++)
		z->slips += has_slipped(r->t.fd[i]);
	tunnel_close(&r->t);
}

static void relay_step(struct fuzz *z, struct relay *r)
{
	uint64_t seen = r->peers[0].received + r->peers[1].received;

	if (seen != r->seen || r->phase == PHASE_OVER) {
		r->seen = seen;
		r->seen_ms = now_ms();
	} else if (now_ms() - r->seen_ms > patient(STALL_MS)) {
		relay_fail(r, "stuck");
	}
	if (r->phase == PHASE_PLAIN) {
		relay_plain(z, r);
	} else if (r->t.ended) {
		relay_back(z, r);
	} else if (r->phase == PHASE_IN && now_us() >= r->until_us) {
		offload_leave(r->t.pair);
		r->phase = PHASE_LEAVING;
	}
}

static void fuzz_report(struct fuzz *z)
{
	const struct offload_counts *c = offload_counts(z->rig.offload);

	printf("    %u cycles, %u tunnels, %u joins, %u refused, %u ended inside, %u failed; ", z->cycles, z->tunnels,
	       z->joins, z->refused, z->ended_inside, z->failed);
	printf("%llu MB in the kernel, %llu MB copied; ", (unsigned long long)(z->bytes / MB),
	       (unsigned long long)(z->copied / MB));
	printf("arms %llu, slow %llu, iterations %llu, retries %llu, events %llu, drain at most %llu ms\n",
	       (unsigned long long)c->arms, (unsigned long long)c->slow, (unsigned long long)c->iterations,
	       (unsigned long long)c->leave_retries, (unsigned long long)c->events,
	       (unsigned long long)c->drain_max_ms);
	if (z->slips)
		printf("    the kernel lost count of the memory of %u sockets\n", z->slips);
}

/* Until `want` leaves, then until every tunnel is over. */
static void fuzz_loop(struct fuzz *z, unsigned want)
{
	unsigned count = setting("SPLICE_TUNNELS", is_emulated() ? 3 : 6), busy;
	struct relay *relays = mem_array(count, sizeof(*relays));

	for (unsigned i = 0; i < count; i++)
		relay_start(z, &relays[i]);
	do {
		EXPECT_EQ(loop_turn(z->rig.loop, 1), 0);
		busy = 0;
		for (unsigned i = 0; i < count; i++) {
			struct relay *r = &relays[i];

			if (r->t.client < 0)
				continue;
			busy++;
			relay_step(z, r);
			if (r->phase != PHASE_OVER)
				continue;
			relay_end(z, r);
			if (z->cycles < want)
				relay_start(z, r);
			else
				r->t.client = -1;
		}
	} while (busy > 0);
	fuzz_report(z);
	EXPECT(z->cycles >= want);
	EXPECT(z->bytes > 0);
	free(relays);
}

static unsigned fuzz_seed(void)
{
	unsigned seed = setting("SPLICE_SEED", (unsigned)clock_mono_ns());

	printf("    seed %u\n", seed);
	return seed;
}

static unsigned fuzz_cycles(bool is_variant, bool may_fail)
{
	return setting("SPLICE_CYCLES", is_emulated() && !may_fail ? 500 : is_variant ? 100 : 300);
}

static void fuzz_run(const struct flows_options *options, const struct offload_options *o, bool may_fail)
{
	unsigned want = fuzz_cycles(options || o, may_fail);
	struct fuzz z = { .seed = fuzz_seed(), .may_fail = may_fail };

	(void)alarm(patient(TEST_SECONDS + want / 10));
	rig_open(&z.rig, options, o);
	fuzz_loop(&z, want);
	rig_close(&z.rig);
}

static void test_join_and_leave(void)
{
	fuzz_run(NULL, NULL, false);
}

static void test_without_events(void)
{
	const struct flows_options f = { .worker_count = 1, .tunnels_per_worker = 64, .is_mute = true };

	fuzz_run(&f, NULL, false);
}

static int ring_count(void *ctx, void *data, size_t len)
{
	(void)data;
	(void)len;
	++*(unsigned *)ctx;
	return 0;
}

/* How many events are in the worker's ring; they are gone then. */
static unsigned ring_empty(struct rig *r)
{
	unsigned count = 0;
	struct ring_buffer *ring = ring_buffer__new(flows_ring_fd(r->flows, 0), ring_count, &count, NULL);

	EXPECT(ring != NULL);
	EXPECT(ring_buffer__consume(ring) >= 0);
	ring_buffer__free(ring);
	return count;
}

/* One event for each byte that has nowhere to go, in a row that no pair has yet. */
static void ring_fill(struct rig *r)
{
	uint32_t slot = flows_rows_per_worker(r->flows) - 1;
	struct flow_row row = flows_row(r->flows, slot);
	struct tunnel t;
	char c = 'x';

	tunnel_open(&t);
	EXPECT_EQ(flows_row_take(r->flows, slot, cookie_of(t.fd[0]), cookie_of(t.fd[1]), 0), 0);
	EXPECT_EQ(flows_insert(r->flows, cookie_of(t.fd[0]), t.fd[0]), 0);
	for (unsigned i = 0; i <= RING_EVENTS; i++) {
		__atomic_store_n(&row.ctl->armed_at, i, __ATOMIC_SEQ_CST);
		EXPECT_EQ(send(t.client, &c, 1, 0), 1);
		EXPECT_EQ(recv(t.fd[0], &c, 1, 0), 1);
	}
	EXPECT_EQ(flows_delete(r->flows, cookie_of(t.fd[0])), 0);
	flows_row_drop(r->flows, cookie_of(t.fd[0]));
	tunnel_close(&t);
}

/* Nobody reads it: no event of these tunnels is ever heard of. */
static void test_with_a_full_ring(void)
{
	const struct offload_options o = { .is_deaf = true };
	struct fuzz z = { .seed = fuzz_seed() };
	unsigned want = fuzz_cycles(true, false);

	(void)alarm(patient(TEST_SECONDS + want / 10));
	rig_open(&z.rig, NULL, &o);
	ring_fill(&z.rig);
	fuzz_loop(&z, want);
	EXPECT_EQ(offload_counts(z.rig.offload)->events, 0);
	EXPECT_EQ(ring_empty(&z.rig), RING_EVENTS);
	rig_close(&z.rig);
}

/* Without the iterator a leave may have to be given up, and must be noticed. */
static void test_by_the_gate(void)
{
	const struct flows_options f = { .worker_count = 1, .tunnels_per_worker = 64, .has_no_iterator = true };

	fuzz_run(&f, NULL, true);
}

struct worker {
	struct flows *flows;
	unsigned index, seed, want;
	pthread_t thread;
};

static void *worker_run(void *arg)
{
	struct worker *w = arg;
	struct fuzz z = { .seed = w->seed };

	rig_open_worker(&z.rig, w->flows, w->index, NULL);
	fuzz_loop(&z, w->want);
	rig_close_worker(&z.rig);
	return NULL;
}

/* One's iterator may take out the other's sockets. */
static void test_two_workers(void)
{
	const struct flows_options options = { .worker_count = 2, .tunnels_per_worker = 32 };
	struct worker workers[2];
	unsigned seed = fuzz_seed();
	struct flows *f = rig_flows(&options);

	for (unsigned i = 0; i < 2; i++) {
		struct worker *w = &workers[i];

		*w = (struct worker){ .flows = f, .index = i, .seed = seed + i, .want = setting("SPLICE_CYCLES", 100) };
		(void)alarm(patient(TEST_SECONDS + w->want / 10));
		CHECK(pthread_create(&w->thread, NULL, worker_run, w) == 0);
	}
	for (unsigned i = 0; i < 2; i++)
		(void)pthread_join(workers[i].thread, NULL);
	rig_close_flows(f);
}

int main(int argc, char **argv)
{
	static const struct tunnel_test tests[] = {
		{ "random joins and leaves under traffic", test_join_and_leave },
		{ "the same without any event", test_without_events },
		{ "the same with a full event ring", test_with_a_full_ring },
		{ "the same by the gate", test_by_the_gate },
		{ "the same with two workers", test_two_workers },
	};

	return tests_main(argc, argv, tests, ARRAY_LEN(tests));
}
