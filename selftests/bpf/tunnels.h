/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tunnels.h - what the splice tests share: a runner, socket pairs, stamped streams, peers that send and receive all the
 * time, and a worker with its loop.
 *
 * Needs libc, libbpf and liburing only, so that a program can be linked statically and run where nothing is installed.
 * Each test runs in a process of its own with a time limit; EXPECT() ends it.
 */
#ifndef SN_SELFTESTS_BPF_TUNNELS_H
#define SN_SELFTESTS_BPF_TUNNELS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/sockios.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/iobuf.h"
#include "base/mem.h"
#include "fastpath/flows.h"
#include "fastpath/offload.h"
#include "loop/loop.h"

#define MB (1024 * 1024)
#define TEST_SECONDS 100
#define TEST_SKIPPED 77

/* --- runner --- */

/* In an emulated machine everything takes ten to twenty times as long. */
static inline bool is_emulated(void)
{
	return getenv("SENTINEL_VM") != NULL;
}

#define EXPECT(x)                                                           \
	do {                                                                \
		if (!(x)) {                                                 \
			printf("    %s:%d: %s\n", __FILE__, __LINE__, #x);  \
			fflush(stdout);                                     \
			_exit(1);                                           \
		}                                                           \
	} while (0)

#define EXPECT_EQ(a, b)                                                                          \
	do {                                                                                     \
		long long left_ = (long long)(a), right_ = (long long)(b);                       \
		if (left_ != right_) {                                                           \
			printf("    %s:%d: %s is %lld, not %s = %lld\n", __FILE__, __LINE__, #a, \
			       left_, #b, right_);                                               \
			fflush(stdout);                                                          \
			_exit(1);                                                                \
		}                                                                                \
	} while (0)

struct tunnel_test {
	const char *name;
	void (*run)(void);
};

/* 0: passed, TEST_SKIPPED, else failed. */
static inline int test_run(const struct tunnel_test *t)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		(void)alarm(is_emulated() ? 3 * TEST_SECONDS : TEST_SECONDS);
		t->run();
		fflush(stdout);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (WIFSIGNALED(status))
		printf("    ended by signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* Those whose names have the first argument in them; "-l" lists the names. */
static inline int tests_main(int argc, char **argv, const struct tunnel_test *tests, size_t count)
{
	unsigned passed = 0, failed = 0, skipped = 0;
	const char *only = argc > 1 ? argv[1] : "";

	(void)signal(SIGPIPE, SIG_IGN);
	(void)libbpf_set_print(NULL);
	for (size_t i = 0; i < count; i++) {
		uint64_t began = clock_mono_ns();
		int rc;

		if (strcmp(only, "-l") == 0) {
			printf("%s\n", tests[i].name);
			continue;
		}
		if (!strstr(tests[i].name, only))
			continue;
		printf("[ RUN      ] %s\n", tests[i].name);
		rc = test_run(&tests[i]);
		printf("[ %s ] %s (%llu ms)\n", rc == 0 ? "      OK" : rc == TEST_SKIPPED ? "NOT RUN " : "  FAILED",
		       tests[i].name, (unsigned long long)((clock_mono_ns() - began) / 1000000));
		passed += rc == 0;
		skipped += rc == TEST_SKIPPED;
		failed += rc != 0 && rc != TEST_SKIPPED;
	}
	if (strcmp(only, "-l") == 0)
		return 0;
	printf("[  PASSED  ] %u test(s).\n", passed);
	if (skipped)
		printf("[  SKIPPED ] %u test(s).\n", skipped);
	if (failed)
		printf("[  FAILED  ] %u test(s).\n", failed);
	return failed > 0;
}

static inline void test_skip(const char *why)
{
	printf("    not run: %s\n", why);
	fflush(stdout);
	_exit(TEST_SKIPPED);
}

static inline unsigned setting(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static inline uint64_t now_ms(void)
{
	return clock_mono_ns() / 1000000;
}

/* For what comes at once, unless the machine stands still, and then still comes: only a failure takes longer. */
#define SOON_MS 30000
/* Of one who sends until the receiver is full: refused so often, and for a while, as the machine may stand still. */
#define FULL_TURNS 100
struct filler {
	unsigned refused; /* since the last byte went, at last_ms */
	uint64_t last_ms;
};

/* A limit that only a failure reaches. */
static inline uint64_t patient(uint64_t ms)
{
	return is_emulated() ? 3 * ms : ms;
}

static inline void nap_us(unsigned us)
{
	const struct timespec ts = { us / 1000000, (long)(us % 1000000) * 1000 };

	if (us)
		(void)nanosleep(&ts, NULL);
}

/* --- sockets --- */

static inline void set_int(int fd, int level, int option, int value)
{
	CHECK(setsockopt(fd, level, option, &value, sizeof(value)) == 0);
}

/*
 * Receive buffers of the two ends, 0: as it is.  They are set before the handshake: a window that is taken back later
 * can make two TCPs with full buffers drop each other's acknowledgements for minutes, with or without us.
 */
static inline void tcp_pair_sized(int *connected, int *accepted, int connected_bytes, int accepted_bytes)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (accepted_bytes)
		set_int(listener, SOL_SOCKET, SO_RCVBUF, accepted_bytes);
	CHECK(bind(listener, (struct sockaddr *)&a, len) == 0 && listen(listener, 8) == 0);
	CHECK(getsockname(listener, (struct sockaddr *)&a, &len) == 0);
	*connected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connected_bytes)
		set_int(*connected, SOL_SOCKET, SO_RCVBUF, connected_bytes);
	CHECK(connect(*connected, (struct sockaddr *)&a, sizeof(a)) == 0);
	*accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	CHECK(*accepted >= 0);
	(void)close(listener);
}

static inline uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	CHECK(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0);
	return cookie;
}

static inline bool is_full(const struct filler *f, unsigned ms)
{
	return f->refused >= FULL_TURNS && now_ms() - f->last_ms >= ms;
}

static inline ssize_t fill_with(struct filler *f, int fd, const void *b, size_t len)
{
	ssize_t n = send(fd, b, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	f->refused++;
	if (n > 0)
		*f = (struct filler){ .last_ms = now_ms() };
	return n;
}

/* Until so many bytes are in the socket's queue, or (0) its peer's end is. */
static inline void wait_queued(int fd, int bytes)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };
	uint64_t until = now_ms() + SOON_MS;
	int queued = 0;

	if (!bytes) {
		EXPECT_EQ(poll(&p, 1, SOON_MS), 1);
		return;
	}
	do {
		EXPECT_EQ(ioctl(fd, SIOCINQ, &queued), 0);
		if (queued < bytes)
			nap_us(500);
	} while (queued < bytes && now_ms() < until);
	EXPECT_EQ(queued, bytes);
}

static inline void close_with_reset(int fd)
{
	const struct linger l = { .l_onoff = 1 };

	CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)) == 0);
	(void)close(fd);
}

/* --- streams: every byte says where it belongs --- */

static inline uint64_t stamp_word(uint64_t index, uint64_t seed)
{
	uint64_t x = (index + seed) * 0x9e3779b97f4a7c15ull;

	return x ^ x >> 29;
}

/* Fill n bytes of the stream from offset on; or compare them: -1, or the offset of the first wrong one. */
static inline long long stamp(uint8_t *b, size_t n, uint64_t offset, uint64_t seed, bool is_compare)
{
	for (size_t i = 0; i < n;) {
		uint64_t at = offset + i, word = stamp_word(at >> 3, seed) >> (at & 7) * 8;
		size_t k = MIN(8 - (at & 7), n - i);

		if (!is_compare)
			memcpy(b + i, &word, k);
		else if (memcmp(b + i, &word, k) != 0)
			return (long long)at;
		i += k;
	}
	return -1;
}

/* Where the bytes at b (from a multiple of 8 on) belong, or -1: tells a reordered piece from a corrupted one. */
static inline long long stamp_find(const uint8_t *b, uint64_t seed, uint64_t max)
{
	uint64_t word;

	memcpy(&word, b, sizeof(word));
	for (uint64_t i = 0; i < max / 8 + 1; i++)
		if (stamp_word(i, seed) == word)
			return (long long)i * 8;
	return -1;
}

static inline unsigned random_below(unsigned *seed, unsigned n)
{
	return (unsigned)rand_r(seed) % n;
}

/* Sizes and pauses of a sender. */
enum sender_style {
	SENDER_STEADY, /* 64 KiB at a time */
	SENDER_MIXED,
	SENDER_SMALL,
	SENDER_BURSTS, /* up to 1 MiB, with pauses */
	SENDER_STYLES
};

enum receiver_style {
	RECEIVER_STEADY,
	RECEIVER_SMALL,
	RECEIVER_NAPS,
	RECEIVER_STALLS,
	RECEIVER_LATE, /* nothing before its own sending is over */
	RECEIVER_STYLES
};

/* One end of a tunnel: sends `goal` bytes and receives until the other's end, each in a thread of its own. */
struct peer {
	int fd;
	enum sender_style sender;
	enum receiver_style receiver;
	unsigned seed;
	unsigned pause_us; /* up to so long after each piece, beside what its style does */
	_Atomic uint64_t until_ms; /* then its goal is what it has sent; 0: never */
	uint64_t goal, tx_seed, rx_seed;

	pthread_t threads[2];
	_Atomic uint64_t sent, received;
	_Atomic bool has_sent;
	int send_err, receive_err;
	long long wrong_at; /* -1: every byte was right */
};

static inline size_t peer_next(struct peer *p, unsigned *seed)
{
	switch (p->sender) {
	case SENDER_STEADY:
		return 65536;
	case SENDER_MIXED:
		return 1 + random_below(seed, 60000);
	case SENDER_SMALL:
		return 1 + random_below(seed, 200);
	default:
		return 1 + random_below(seed, MB);
	}
}

static inline void *peer_send(void *arg)
{
	struct peer *p = arg;
	unsigned seed = p->seed;
	uint8_t *b = mem_alloc(MB);
	uint64_t done = 0;

	while (done < p->goal && !p->send_err) {
		size_t next = peer_next(p, &seed), n = MIN(next, p->goal - done), at = 0;

		(void)stamp(b, n, done, p->tx_seed, false);
		while (at < n) {
			ssize_t k = send(p->fd, b + at, n - at, MSG_NOSIGNAL);

			if (k < 0) {
				p->send_err = errno;
				break;
			}
			at += (size_t)k;
		}
		done += at;
		p->sent = done;
		if (p->sender == SENDER_MIXED && random_below(&seed, 4) == 0)
			nap_us(random_below(&seed, 300));
		if (p->sender == SENDER_SMALL && random_below(&seed, 8) == 0)
			nap_us(random_below(&seed, 400));
		if (p->sender == SENDER_BURSTS)
			nap_us(random_below(&seed, 15000));
		if (p->pause_us && (p->sender != SENDER_SMALL || random_below(&seed, 16) == 0))
			nap_us(random_below(&seed, p->pause_us));
		if (p->until_ms && now_ms() >= p->until_ms)
			p->goal = done;
	}
	if (!p->send_err)
		(void)shutdown(p->fd, SHUT_WR);
	p->has_sent = true;
	free(b);
	return NULL;
}

static inline void peer_compare(struct peer *p, const uint8_t *b, size_t n, uint64_t done)
{
	long long at = stamp((uint8_t *)(uintptr_t)b, n, done, p->rx_seed, true);
	uint64_t aligned = ((uint64_t)at + 7) / 8 * 8;

	p->wrong_at = at;
	if (at >= 0 && aligned + 8 <= done + n)
		printf("    at %llu came what belongs at %lld\n", (unsigned long long)aligned,
		       stamp_find(b + (aligned - done), p->rx_seed, 64 * MB));
}

static inline void *peer_receive(void *arg)
{
	struct peer *p = arg;
	unsigned seed = p->seed + 77;
	size_t want = 128 * 1024;
	uint8_t *b = mem_alloc(want);
	uint64_t done = 0;
	ssize_t n;

	while (p->receiver == RECEIVER_LATE && !p->has_sent)
		nap_us(1000);
	for (;;) {
		if (p->receiver == RECEIVER_SMALL)
			want = 1 + random_below(&seed, 9000);
		if (p->receiver == RECEIVER_NAPS && random_below(&seed, 8) == 0)
			nap_us(random_below(&seed, 3000));
		if (p->receiver == RECEIVER_STALLS && random_below(&seed, 200) == 0)
			nap_us(20000 + random_below(&seed, 80000));
		n = recv(p->fd, b, want, 0);
		if (n <= 0)
			break;
		if (p->wrong_at < 0)
			peer_compare(p, b, (size_t)n, done);
		done += (uint64_t)n;
		p->received = done;
	}
	p->receive_err = n < 0 ? errno : 0;
	free(b);
	return NULL;
}

static inline void peer_start(struct peer *p)
{
	p->wrong_at = -1;
	p->sent = p->received = 0;
	p->has_sent = false;
	p->send_err = p->receive_err = 0;
	CHECK(pthread_create(&p->threads[0], NULL, peer_send, p) == 0);
	CHECK(pthread_create(&p->threads[1], NULL, peer_receive, p) == 0);
}

static inline void peer_join(struct peer *p)
{
	(void)pthread_join(p->threads[0], NULL);
	(void)pthread_join(p->threads[1], NULL);
}

/* Did all that `other` wanted to send arrive here, once and in order? */
static inline bool peer_has_all(const struct peer *p, const struct peer *other)
{
	return p->wrong_at < 0 && !p->receive_err && !p->send_err && p->received == other->goal;
}

/* --- a worker and a tunnel: client <-> fd[0] | fd[1] <-> origin --- */

struct rig {
	struct flows *flows;
	struct loop *loop;
	struct offload *offload;
	bool is_closed;
};

static inline struct flows *rig_flows(const struct flows_options *options)
{
	static const struct flows_options plain = { .worker_count = 1, .tunnels_per_worker = 64 };
	struct strbuf why = { 0 };
	struct flows *f;

	strbuf_init(&why);
	f = flows_open(options ? options : &plain, &why);
	if (!f)
		printf("    %s\n", why.ptr);
	EXPECT(f != NULL);
	strbuf_fini(&why);
	return f;
}

/* A worker of flows that several have. */
static inline void rig_open_worker(struct rig *r, struct flows *f, unsigned worker, const struct offload_options *o)
{
	const struct loop_config config = { .entries = 256, .buffer_count = { 8, 2 } };
	const char *reason = "";
	int err;

	*r = (struct rig){ .flows = f };
	err = loop_new(&r->loop, &config, &reason);
	if (err)
		printf("    %s\n", reason);
	EXPECT_EQ(err, 0);
	r->offload = offload_new(r->loop, r->flows, worker, o, &err);
	EXPECT(r->offload != NULL);
}

static inline void rig_open(struct rig *r, const struct flows_options *options, const struct offload_options *o)
{
	rig_open_worker(r, rig_flows(options), 0, o);
}

static inline void rig_on_closed(void *ctx)
{
	struct rig *r = ctx;

	r->is_closed = true;
}

static inline void rig_close_worker(struct rig *r)
{
	offload_close(r->offload, rig_on_closed, r);
	while (!r->is_closed)
		EXPECT_EQ(loop_turn(r->loop, 100), 0);
	loop_free(r->loop);
}

/* Nothing may be left in the kernel. */
static inline void rig_close_flows(struct flows *f)
{
	unsigned rows = 1, sockets = 1;

	EXPECT_EQ(flows_count(f, &rows, &sockets), 0);
	EXPECT_EQ(rows, 0);
	EXPECT_EQ(sockets, 0);
	flows_close(f);
}

static inline void rig_close(struct rig *r)
{
	rig_close_worker(r);
	rig_close_flows(r->flows);
}

/* Turns until the condition holds; false: not within ms. */
#define RIG_UNTIL(r, condition, ms)                                            \
	({                                                                     \
		uint64_t until_ = now_ms() + (ms);                             \
		while (!(condition) && now_ms() < until_)                      \
			EXPECT_EQ(loop_turn((r)->loop, 1), 0);                 \
		(bool)(condition);                                             \
	})

struct tunnel {
	int client, fd[2], origin;
	struct offload_pair *pair;

	unsigned ended; /* events */
	int err;
	struct offload_report report;
	struct slice_queue held[2];
};

static inline void tunnel_keep(struct tunnel *t, struct offload_report *r)
{
	t->ended++;
	t->pair = NULL;
	t->report = *r;
	for (int i = 0; i < 2; i++) {
		slice_queue_move(&t->held[i], r->sides[i].held);
		t->report.sides[i].held = &t->held[i];
	}
}

static inline void tunnel_on_left(void *owner, struct offload_report *r)
{
	struct tunnel *t = owner;

	t->err = 0;
	tunnel_keep(t, r);
}

static inline void tunnel_on_fail(void *owner, int err, struct offload_report *r)
{
	struct tunnel *t = owner;

	t->err = err;
	tunnel_keep(t, r);
}

static const struct offload_events tunnel_events = { tunnel_on_left, tunnel_on_fail };

/* With receive buffers of the peers, 0: as it is. */
static inline void tunnel_open_sized(struct tunnel *t, int client_bytes, int origin_bytes)
{
	*t = (struct tunnel){ 0 };
	tcp_pair_sized(&t->client, &t->fd[0], client_bytes, 0);
	tcp_pair_sized(&t->fd[1], &t->origin, 0, origin_bytes);
	for (int i = 0; i < 2; i++)
		set_int(t->fd[i], IPPROTO_TCP, 1 /* TCP_NODELAY */, 1);
}

static inline void tunnel_open(struct tunnel *t)
{
	tunnel_open_sized(t, 0, 0);
}

static inline void tunnel_join(struct rig *r, struct tunnel *t)
{
	EXPECT_EQ(offload_join(r->offload, t->fd, &tunnel_events, t, &t->pair), 0);
}

static inline void tunnel_close(struct tunnel *t)
{
	(void)close(t->client);
	(void)close(t->fd[0]);
	(void)close(t->fd[1]);
	(void)close(t->origin);
	for (int i = 0; i < 2; i++)
		slice_queue_fini(&t->held[i]);
}

/* Out of the kernel, whole. */
static inline void tunnel_leave(struct rig *r, struct tunnel *t)
{
	unsigned before = t->ended;

	offload_leave(t->pair);
	EXPECT(RIG_UNTIL(r, t->ended > before, 20000));
	EXPECT_EQ(t->err, 0);
}

#endif
