/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_splice.c - what the kernel does to spliced sockets, and what a pair makes of it: one named test for each thing
 * that was found out by measuring (docs/design/0006-splice.md).
 *
 * SPLICE_MB (100; 16 where it is emulated) is how much the tests of whole streams move.
 */
#include <dirent.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/sock_diag.h>
#include <sys/syscall.h>

#include "fastpath/offload.h"
#include "fastpath/offload_private.h"
#include "fastpath/offload_selftest.h"
#include "tunnels.h"

#define QUIET_MS 150
#define LEAVES	 5
#define LEAVE_MS 1000 /* mostly 10, and 100 if the senders have to be stopped; seconds if emulated on a busy host */

static unsigned stream_mb(void)
{
	return setting("SPLICE_MB", is_emulated() ? 16 : 100);
}

static void say(int fd, const char *text)
{
	EXPECT_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What arrives within ms, up to len bytes; the loop (if any) turns meanwhile.  -1: nothing. */
static ssize_t hear(struct rig *r, int fd, void *buf, size_t len, unsigned ms)
{
	uint64_t until = now_ms() + ms;
	ssize_t n;

	do {
		n = recv(fd, buf, len, MSG_DONTWAIT);
		if (n < 0 && r)
			EXPECT_EQ(loop_turn(r->loop, 1), 0);
		else if (n < 0)
			nap_us(500);
	} while (n < 0 && errno == EAGAIN && now_ms() < until);
	return n;
}

static void expect_text(struct rig *r, int fd, const char *text)
{
	char buf[256];
	size_t got = 0, want = strlen(text);

	while (got < want) {
		ssize_t n = hear(r, fd, buf + got, want - got, SOON_MS);

		EXPECT(n > 0);
		got += (size_t)n;
	}
	EXPECT(memcmp(buf, text, want) == 0);
}

/* Joins, and the kernel has both directions: it has at once when nothing is on its way. */
static void tunnel_join_quiet(struct rig *r, struct tunnel *t)
{
	tunnel_join(r, t);
	EXPECT(RIG_UNTIL(r, t->pair->dirs[0].state == DIR_ARMED && t->pair->dirs[1].state == DIR_ARMED, SOON_MS));
}

/* --- rows without a pair: the kernel's half alone --- */

/* For what the kernel does by itself. */
#define WAIT_SOON(condition)                                        \
	do {                                                        \
		uint64_t until_ = now_ms() + SOON_MS;               \
		while (!(condition) && now_ms() < until_)           \
			nap_us(500);                                \
		EXPECT(condition);                                  \
	} while (0)

static void raw_enter(struct rig *r, struct tunnel *t)
{
	uint64_t cookies[2];

	rig_open(r, NULL, NULL);
	tunnel_open(t);
	for (int i = 0; i < 2; i++)
		cookies[i] = cookie_of(t->fd[i]);
	for (unsigned i = 0; i < 2; i++)
		EXPECT_EQ(flows_row_take(r->flows, i, cookies[i], cookies[!i], 0), 0);
}

static void raw_insert(struct rig *r, struct tunnel *t, int i)
{
	EXPECT_EQ(flows_insert(r->flows, cookie_of(t->fd[i]), t->fd[i]), 0);
}

static void raw_arm(struct rig *r, uint32_t slot, uint64_t at)
{
	__atomic_store_n(&flows_row(r->flows, slot).ctl->armed_at, at, __ATOMIC_SEQ_CST);
}

static struct sn_flow_stat raw_stat(struct rig *r, uint32_t slot)
{
	return *(const volatile struct sn_flow_stat *)flows_row(r->flows, slot).stat;
}

static void raw_iterate(struct rig *r)
{
	char c[16];
	int fd = flows_iterator_open(r->flows);

	EXPECT(fd >= 0);
	while (read(fd, c, sizeof(c)) > 0)
		continue;
	(void)close(fd);
}

static void test_queued_bytes_wait_for_the_kick(void)
{
	struct rig r;
	struct tunnel t;
	char buf[16];

	raw_enter(&r, &t);
	say(t.client, "HELLO");
	wait_queued(t.fd[0], 5);
	raw_arm(&r, 0, 0);
	raw_insert(&r, &t, 1);
	raw_insert(&r, &t, 0);
	EXPECT_EQ(hear(NULL, t.origin, buf, sizeof(buf), QUIET_MS), -1);
	set_int(t.fd[0], SOL_SOCKET, SO_RCVLOWAT, 1);
	expect_text(NULL, t.origin, "HELLO");
	EXPECT_EQ(raw_stat(&r, 0).redirected, 5);
}

static void test_half_read_head_is_trimmed(void)
{
	struct rig r;
	struct tunnel t;
	char buf[16];

	raw_enter(&r, &t);
	say(t.client, "HEADERbodybody");
	wait_queued(t.fd[0], 14);
	EXPECT_EQ(recv(t.fd[0], buf, 6, 0), 6);
	raw_arm(&r, 0, 0);
	raw_insert(&r, &t, 1);
	raw_insert(&r, &t, 0);
	say(t.client, "-next");
	expect_text(NULL, t.origin, "bodybody-next");
	say(t.client, "-third");
	expect_text(NULL, t.origin, "-third");
	EXPECT_EQ(raw_stat(&r, 0).trimmed, 6);
	EXPECT_EQ(raw_stat(&r, 0).lost, 0);
}

static void test_passed_half_read_head_is_trimmed(void)
{
	struct rig r;
	struct tunnel t;
	char buf[16];

	raw_enter(&r, &t);
	say(t.client, "HEADERbody");
	wait_queued(t.fd[0], 10);
	EXPECT_EQ(recv(t.fd[0], buf, 6, 0), 6);
	raw_insert(&r, &t, 0);
	say(t.client, "-next");
	expect_text(NULL, t.fd[0], "body-next");
	EXPECT_EQ(raw_stat(&r, 0).passed, 9);
}

static void test_absent_destination_passes(void)
{
	struct rig r;
	struct tunnel t;

	raw_enter(&r, &t);
	raw_arm(&r, 0, 0);
	raw_insert(&r, &t, 0);
	say(t.client, "alone");
	expect_text(NULL, t.fd[0], "alone");
	EXPECT_EQ(raw_stat(&r, 0).absent, 1);
	EXPECT_EQ(raw_stat(&r, 0).redirected, 0);
}

static void test_armed_at_another_count_passes(void)
{
	struct rig r;
	struct tunnel t;

	raw_enter(&r, &t);
	raw_insert(&r, &t, 1);
	raw_insert(&r, &t, 0);
	say(t.client, "first");
	expect_text(NULL, t.fd[0], "first");
	/* As if userspace had not seen these five bytes. */
	raw_arm(&r, 0, 0);
	say(t.client, "second");
	expect_text(NULL, t.fd[0], "second");
	raw_arm(&r, 0, 11);
	say(t.client, "third");
	expect_text(NULL, t.origin, "third");
	EXPECT_EQ(raw_stat(&r, 0).passed, 11);
	EXPECT_EQ(raw_stat(&r, 0).redirected, 5);
}

static void test_limit_is_a_bound(void)
{
	struct rig r;
	struct tunnel t;

	raw_enter(&r, &t);
	flows_row(r.flows, 0).ctl->limit = 8;
	raw_arm(&r, 0, 0);
	raw_insert(&r, &t, 1);
	raw_insert(&r, &t, 0);
	say(t.client, "12345");
	expect_text(NULL, t.origin, "12345");
	say(t.client, "6789");
	expect_text(NULL, t.fd[0], "6789");
	/* What follows stays in order behind it, although there is room for it. */
	say(t.client, "0");
	expect_text(NULL, t.fd[0], "0");
	EXPECT_EQ(raw_stat(&r, 0).redirected, 5);
	EXPECT_EQ(raw_stat(&r, 0).bounded, 1);
}

static void test_bare_fin_is_dropped(void)
{
	struct rig r;
	struct tunnel t;
	struct pollfd p;
	char buf[16];

	raw_enter(&r, &t);
	for (unsigned i = 0; i < 2; i++) {
		raw_arm(&r, i, 0);
		raw_insert(&r, &t, (int)i);
	}
	say(t.client, "last");
	expect_text(NULL, t.origin, "last");
	(void)shutdown(t.client, SHUT_WR);
	p = (struct pollfd){ t.fd[0], POLLRDHUP, 0 };
	EXPECT_EQ(poll(&p, 1, SOON_MS), 1);
	WAIT_SOON(raw_stat(&r, 0).fins > 0);
	EXPECT_EQ(raw_stat(&r, 0).fins, 1);
	/* It is not passed on by itself, and the other direction is alive. */
	EXPECT_EQ(hear(NULL, t.origin, buf, sizeof(buf), QUIET_MS), -1);
	say(t.origin, "reply");
	expect_text(NULL, t.client, "reply");
	EXPECT_EQ(recv(t.fd[0], buf, sizeof(buf), MSG_DONTWAIT), 0);
}

static void test_small_segment_after_many_is_delivered(void)
{
	for (int count = 1; count <= 8; count *= 2) {
		struct rig r;
		struct tunnel t;
		char buf[256];

		raw_enter(&r, &t);
		raw_insert(&r, &t, 0);
		for (int i = 0; i < count; i++) {
			say(t.client, "0123456789");
			nap_us(5000);
		}
		for (int got = 0; got < count * 10;) {
			ssize_t n = hear(NULL, t.fd[0], buf, sizeof(buf), SOON_MS);

			EXPECT(n > 0);
			got += (int)n;
		}
		say(t.client, "abcde");
		expect_text(NULL, t.fd[0], "abcde");
		tunnel_close(&t);
	}
}

static void test_iterator_takes_out_only_what_was_read(void)
{
	struct rig r;
	struct tunnel t;

	raw_enter(&r, &t);
	if (!flows_can_iterate(r.flows))
		test_skip("this kernel has no tcp iterator");
	raw_insert(&r, &t, 0);
	say(t.client, "unread");
	WAIT_SOON(raw_stat(&r, 0).passed == 6);
	flows_row(r.flows, 0).ctl->wants_out = 1;
	raw_iterate(&r);
	EXPECT_EQ(raw_stat(&r, 0).is_out, 0);
	expect_text(NULL, t.fd[0], "unread");
	raw_iterate(&r);
	EXPECT_EQ(raw_stat(&r, 0).is_out, 0);
	flows_row(r.flows, 0).ctl->consumed = 6;
	raw_iterate(&r);
	EXPECT_EQ(raw_stat(&r, 0).is_out, 1);
	say(t.client, "plain");
	expect_text(NULL, t.fd[0], "plain");
	EXPECT_EQ(raw_stat(&r, 0).passed, 6);
}

static void raw_send(struct rig *r, struct tunnel *t, size_t bytes, bool is_redirected)
{
	int from = is_redirected ? t->client : t->fd[1];
	uint8_t *b = mem_zalloc(bytes), *c = mem_alloc(bytes);
	size_t got = 0;

	EXPECT_EQ(send(from, b, bytes, 0), bytes);
	while (got < bytes) {
		ssize_t n = hear(NULL, t->origin, c, bytes - got, SOON_MS);

		EXPECT(n > 0);
		got += (size_t)n;
	}
	(void)r;
	free(b);
	free(c);
}

/* The base moves by exactly what userspace wrote between two arms. */
static void test_own_bytes_move_the_base(void)
{
	struct rig r;
	struct tunnel t;
	uint32_t base;

	raw_enter(&r, &t);
	raw_insert(&r, &t, 1);
	raw_insert(&r, &t, 0);
	raw_arm(&r, 0, 0);
	raw_send(&r, &t, 1000, true);
	base = raw_stat(&r, 0).wseq_base;
	raw_arm(&r, 0, SN_FLOW_NEVER);
	say(t.client, "x");
	expect_text(NULL, t.fd[0], "x");
	raw_send(&r, &t, 50000, false);
	raw_arm(&r, 0, 1);
	raw_send(&r, &t, 2000, true);
	EXPECT_EQ(raw_stat(&r, 0).redirected, 3000);
	EXPECT_EQ(raw_stat(&r, 0).wseq_base - base, 50000);
	EXPECT_EQ(raw_stat(&r, 0).slow, 0);
}

/* --- joining --- */

/* What a join starts to count from, while acknowledgements come in all the time. */
static void test_written_bytes_are_counted_exactly(void)
{
	struct peer reader = { .receiver = RECEIVER_SMALL, .rx_seed = 0 };
	static uint8_t b[MB];
	struct tunnel t;
	uint64_t sent = 0, counted = 0, base;
	unsigned exact = 0;

	tunnel_open(&t);
	reader.fd = t.origin;
	peer_start(&reader);
	EXPECT_EQ(sock_written_exactly(t.fd[1], &base), 0);
	for (int i = 0; i < (is_emulated() ? 20 : 60) || (exact <= 100 && i < 2000); i++) {
		(void)stamp(b, sizeof(b), sent, 0, false);
		EXPECT_EQ(send(t.fd[1], b, sizeof(b), 0), sizeof(b));
		sent += sizeof(b);
		while (sock_unacked(t.fd[1]) > 0) {
			if (sock_written_exactly(t.fd[1], &counted) < 0)
				continue;
			EXPECT_EQ(counted - base, sent);
			exact++;
		}
	}
	EXPECT(exact > 100);
	(void)shutdown(t.fd[1], SHUT_WR);
	peer_join(&reader);
	EXPECT_EQ(reader.received, sent);
	tunnel_close(&t);
}

static void test_join_after_fin_is_refused(void)
{
	struct offload_pair *p = NULL;
	struct rig r;
	struct tunnel t;

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	(void)shutdown(t.origin, SHUT_WR);
	wait_queued(t.fd[1], 0);
	EXPECT_EQ(offload_join(r.offload, t.fd, &tunnel_events, &t, &p), -EOPNOTSUPP);
	/* The kernel says so itself. */
	EXPECT_EQ(flows_row_take(r.flows, 0, cookie_of(t.fd[1]), 1, 0), 0);
	EXPECT_EQ(flows_insert(r.flows, cookie_of(t.fd[1]), t.fd[1]), -EOPNOTSUPP);
	flows_row_drop(r.flows, cookie_of(t.fd[1]));
	tunnel_close(&t);
	rig_close(&r);
}

static void test_other_sockets_are_refused(void)
{
	struct offload_pair *p = NULL;
	struct rig r;
	struct tunnel t;
	int unix_pair[2], mixed[2];

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, unix_pair), 0);
	mixed[0] = t.fd[0];
	mixed[1] = unix_pair[0];
	EXPECT_EQ(offload_join(r.offload, mixed, &tunnel_events, &t, &p), -EOPNOTSUPP);
	tunnel_close(&t);
	rig_close(&r);
}

static void test_ktls_is_refused(void)
{
	struct offload_pair *p = NULL;
	struct rig r;
	struct tunnel t;

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	if (setsockopt(t.fd[1], IPPROTO_TCP, 31 /* TCP_ULP */, "tls", 4) < 0)
		test_skip("this kernel has no TLS");
	/* The first socket goes in and has to come back. */
	if (offload_join(r.offload, t.fd, &tunnel_events, &t, &p) == 0) {
		EXPECT(RIG_UNTIL(&r, t.ended, SOON_MS));
		EXPECT_EQ(t.err, 0);
		EXPECT_EQ(t.report.why, OFFLOAD_LEFT_REFUSED);
	}
	say(t.client, "plain");
	expect_text(&r, t.fd[0], "plain");
	tunnel_close(&t);
	rig_close(&r);
}

/* A socket of somebody else's map: the first one was in already, and comes back with what was passed. */
static void test_second_socket_refused(void)
{
	struct rig r, other;
	struct tunnel t;

	rig_open(&r, NULL, NULL);
	rig_open(&other, NULL, NULL);
	tunnel_open(&t);
	EXPECT_EQ(flows_insert(other.flows, cookie_of(t.fd[1]), t.fd[1]), 0);
	say(t.client, "before");
	wait_queued(t.fd[0], 6);
	tunnel_join(&r, &t);
	say(t.client, "-after");
	EXPECT(RIG_UNTIL(&r, t.ended, SOON_MS));
	EXPECT_EQ(t.err, 0);
	EXPECT_EQ(t.report.why, OFFLOAD_LEFT_REFUSED);
	/* Some of it was copied on, the rest is where it was. */
	for (size_t done = t.report.sides[0].user_bytes + t.held[0].bytes; done < 12;) {
		char buf[16];
		ssize_t n = hear(&r, t.fd[0], buf, sizeof(buf), SOON_MS);

		EXPECT(n > 0);
		EXPECT_EQ(send(t.fd[1], buf, (size_t)n, 0), n);
		done += (size_t)n;
	}
	expect_text(&r, t.origin, "before-after");
	EXPECT_EQ(offload_counts(r.offload)->refused, 1);
	EXPECT_EQ(flows_delete(other.flows, cookie_of(t.fd[1])), 0);
	tunnel_close(&t);
	rig_close(&r);
	rig_close(&other);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	EXPECT(fd >= 0);
	EXPECT_EQ(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

static void test_join_when_memory_is_short(void)
{
	static const char path[] = "/proc/sys/net/ipv4/tcp_mem";
	static uint8_t b[2 * MB];
	struct offload_pair *p = NULL;
	struct tunnel t, full;
	char was[64] = "";
	struct rig r;
	int fd, err = -ENOMEM;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	EXPECT(read(fd, was, sizeof(was) - 1) > 0);
	(void)close(fd);
	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	tunnel_open(&full);
	/* Each CPU counts some pages for itself: one socket that is full is not enough to be seen. */
	for (int i = 0; i < 2; i++) {
		set_int(full.fd[i], SOL_SOCKET, SO_SNDBUFFORCE, 8 * MB);
		while (send(full.fd[i], b, sizeof(b), MSG_DONTWAIT) > 0)
			continue;
	}
	write_file(path, "1 100000000 100000000");
	EXPECT_EQ(offload_join(r.offload, t.fd, &tunnel_events, &t, &p), err);
	write_file(path, was);
	/* Asked once a second. */
	EXPECT(RIG_UNTIL(&r, (err = err ? offload_join(r.offload, t.fd, &tunnel_events, &t, &t.pair) : 0) == 0,
			 SOON_MS));
	tunnel_leave(&r, &t);
	tunnel_close(&t);
	tunnel_close(&full);
	rig_close(&r);
}

static void test_rows_are_bounded(void)
{
	const struct flows_options options = { .worker_count = 2, .tunnels_per_worker = 2 };
	struct offload_pair *p = NULL;
	struct tunnel t[3];
	struct rig r;

	rig_open(&r, &options, NULL);
	for (int i = 0; i < 3; i++)
		tunnel_open(&t[i]);
	tunnel_join(&r, &t[0]);
	tunnel_join(&r, &t[1]);
	EXPECT_EQ(offload_join(r.offload, t[2].fd, &tunnel_events, &t[2], &p), -ENOBUFS);
	tunnel_leave(&r, &t[0]);
	tunnel_join(&r, &t[2]);
	EXPECT_EQ(offload_join(r.offload, t[1].fd, &tunnel_events, &t[1], &p), -ENOBUFS);
	tunnel_leave(&r, &t[2]);
	/* The same sockets a second time: they are in. */
	EXPECT_EQ(offload_join(r.offload, t[1].fd, &tunnel_events, &t[1], &p), -EEXIST);
	tunnel_leave(&r, &t[1]);
	for (int i = 0; i < 3; i++)
		tunnel_close(&t[i]);
	rig_close(&r);
}

static void test_queued_bytes_are_moved(void)
{
	struct rig r;
	struct tunnel t;

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	say(t.client, "request");
	say(t.origin, "greeting");
	wait_queued(t.fd[0], 7);
	wait_queued(t.fd[1], 8);
	tunnel_join(&r, &t);
	expect_text(&r, t.origin, "request");
	expect_text(&r, t.client, "greeting");
	tunnel_leave(&r, &t);
	EXPECT_EQ(t.report.sides[0].kernel_bytes + t.report.sides[0].user_bytes, 7);
	EXPECT_EQ(t.report.sides[1].kernel_bytes + t.report.sides[1].user_bytes, 8);
	say(t.client, "plain");
	expect_text(&r, t.fd[0], "plain");
	tunnel_close(&t);
	rig_close(&r);
}

/* --- whole streams --- */

/* Both peers send mb and end; the pair sees them through. */
static void stream_through(struct rig *r, struct tunnel *t, struct peer peers[2])
{
	for (int i = 0; i < 2; i++) {
		peers[i].fd = i ? t->origin : t->client;
		peers[i].tx_seed = (uint64_t)i;
		peers[i].rx_seed = (uint64_t)!i;
		peer_start(&peers[i]);
	}
	if (!t->pair)
		tunnel_join(r, t);
	EXPECT(RIG_UNTIL(r, t->ended, 60000));
	EXPECT_EQ(t->err, 0);
	EXPECT_EQ(t->report.why, OFFLOAD_LEFT_ENDED);
	for (int i = 0; i < 2; i++)
		peer_join(&peers[i]);
	EXPECT(peer_has_all(&peers[0], &peers[1]));
	EXPECT(peer_has_all(&peers[1], &peers[0]));
	for (int i = 0; i < 2; i++) {
		const struct offload_side *s = &t->report.sides[i];

		EXPECT_EQ(s->kernel_bytes + s->user_bytes, peers[i].goal);
		EXPECT(s->is_eof && s->is_shut && t->held[i].count == 0);
	}
}

static void test_integrity_both_ways(void)
{
	struct peer peers[2] = { { .goal = (uint64_t)stream_mb() * MB }, { .goal = (uint64_t)stream_mb() * MB } };
	struct rig r;
	struct tunnel t;

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	/* Before the peers begin: without a pause userspace may not catch up, and the kernel gets nothing. */
	tunnel_join_quiet(&r, &t);
	stream_through(&r, &t, peers);
	printf("    %llu %% in the kernel\n",
	       (unsigned long long)(100 * (t.report.sides[0].kernel_bytes + t.report.sides[1].kernel_bytes) /
				    (peers[0].goal + peers[1].goal)));
	EXPECT(t.report.sides[0].kernel_bytes > 0 && t.report.sides[1].kernel_bytes > 0);
	tunnel_close(&t);
	rig_close(&r);
}

/* Small messages that are answered: nothing of it needs userspace. */
static void test_calm_tunnel_stays_in_the_kernel(void)
{
	struct rig r;
	struct tunnel t;

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	tunnel_join_quiet(&r, &t);
	for (int i = 0; i < 1000; i++) {
		say(t.client, "ping");
		expect_text(NULL, t.origin, "ping");
		say(t.origin, "pong!");
		expect_text(NULL, t.client, "pong!");
	}
	tunnel_leave(&r, &t);
	EXPECT_EQ(t.report.sides[0].kernel_bytes, 4000);
	EXPECT_EQ(t.report.sides[1].kernel_bytes, 5000);
	EXPECT_EQ(offload_counts(r.offload)->arms, 2);
	tunnel_close(&t);
	rig_close(&r);
}

/* Joined when a part of the queued bytes was read. */
static void test_half_read_streams(void)
{
	static uint8_t buf[512 * 1024];
	unsigned seed = 7;
	struct rig r;

	rig_open(&r, NULL, NULL);
	/* Until enough of them joined before their FIN came: the machine may run only the senders. */
	for (int i = 0; i < 200 || (i < 2000 && offload_counts(r.offload)->joins <= 50); i++) {
		struct peer peers[2] = { { .sender = SENDER_MIXED, .seed = (unsigned)i }, { .goal = 1 } };
		struct tunnel t;
		size_t want;
		ssize_t n;

		tunnel_open(&t);
		peers[0].goal = 1000 + random_below(&seed, 400000);
		want = 1 + random_below(&seed, (unsigned)peers[0].goal / 2);
		for (int k = 0; k < 2; k++) {
			peers[k].fd = k ? t.origin : t.client;
			peers[k].tx_seed = (uint64_t)k;
			peers[k].rx_seed = (uint64_t)!k;
		}
		peer_start(&peers[0]);
		n = recv(t.fd[0], buf, want, 0);
		EXPECT(n > 0);
		EXPECT_EQ(send(t.fd[1], buf, (size_t)n, 0), n);
		if (offload_join(r.offload, t.fd, &tunnel_events, &t, &t.pair) == 0) {
			peer_start(&peers[1]);
			EXPECT(RIG_UNTIL(&r, t.ended, 20000));
			EXPECT_EQ(t.err, 0);
			EXPECT_EQ(t.report.sides[0].kernel_bytes + t.report.sides[0].user_bytes + (size_t)n,
				  peers[0].goal);
			peer_join(&peers[0]);
			peer_join(&peers[1]);
			EXPECT(peer_has_all(&peers[1], &peers[0]) && peer_has_all(&peers[0], &peers[1]));
		} else {
			/* Its FIN was faster. */
			(void)shutdown(t.fd[0], SHUT_WR);
			peer_join(&peers[0]);
		}
		tunnel_close(&t);
	}
	EXPECT(offload_counts(r.offload)->joins > 50);
	rig_close(&r);
}

static void half_close(bool is_client_first)
{
	struct rig r;
	struct tunnel t;
	int first, second;
	char c;

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	first = is_client_first ? t.client : t.origin;
	second = is_client_first ? t.origin : t.client;
	tunnel_join(&r, &t);
	say(first, "question");
	(void)shutdown(first, SHUT_WR);
	expect_text(&r, second, "question");
	EXPECT_EQ(hear(&r, second, &c, 1, SOON_MS), 0);
	/* The other way goes on, in the kernel as before. */
	say(second, "answer");
	expect_text(&r, first, "answer");
	nap_us(50000);
	say(second, "-more");
	expect_text(&r, first, "-more");
	EXPECT_EQ(t.ended, 0);
	(void)shutdown(second, SHUT_WR);
	EXPECT_EQ(hear(&r, first, &c, 1, SOON_MS), 0);
	EXPECT(RIG_UNTIL(&r, t.ended, SOON_MS));
	EXPECT_EQ(t.err, 0);
	EXPECT_EQ(t.report.why, OFFLOAD_LEFT_ENDED);
	tunnel_close(&t);
	rig_close(&r);
}

static void test_half_close_in_both_orders(void)
{
	half_close(true);
	half_close(false);
}

static void test_leave_after_half_close(void)
{
	struct rig r;
	struct tunnel t;
	char c;

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	tunnel_join(&r, &t);
	say(t.client, "question");
	(void)shutdown(t.client, SHUT_WR);
	expect_text(&r, t.origin, "question");
	EXPECT_EQ(hear(&r, t.origin, &c, 1, SOON_MS), 0);
	tunnel_leave(&r, &t);
	EXPECT_EQ(t.report.why, OFFLOAD_LEFT_ASKED);
	EXPECT(t.report.sides[0].is_eof && t.report.sides[0].is_shut && !t.report.sides[1].is_eof);
	say(t.origin, "plain");
	expect_text(&r, t.fd[1], "plain");
	tunnel_close(&t);
	rig_close(&r);
}

/* The FIN is passed on when the last byte is in the destination's queue, not when it was seen. */
static void test_end_waits_for_the_drain(void)
{
	struct rig r;

	rig_open(&r, NULL, NULL);
	for (int i = 0; i < 50; i++) {
		struct peer peers[2] = { { .goal = 4 * MB }, { .goal = 1 } };
		struct tunnel t;

		tunnel_open(&t);
		tunnel_join(&r, &t);
		stream_through(&r, &t, peers);
		tunnel_close(&t);
	}
	rig_close(&r);
}

/* --- receivers that do not read --- */

/* Newer kernels let a receive buffer grow to 32 MB, in a tunnel or not, and then it is that more. */
static uint64_t flow_memory_max(void)
{
	unsigned long low, usual, max = 0;
	FILE *f = fopen("/proc/sys/net/ipv4/tcp_rmem", "re");

	EXPECT(f != NULL);
	EXPECT_EQ(fscanf(f, "%lu %lu %lu", &low, &usual, &max), 3);
	(void)fclose(f);
	return 16 * MB + (max > 6 * MB ? max - 6 * MB : 0);
}

/* Send until the kernel takes no more for a while.  How many bytes it took. */
static uint64_t fill_up_by(struct rig *r, int fd, uint64_t seed, size_t piece)
{
	static uint8_t b[65536];
	struct filler filler = { .last_ms = now_ms() };
	uint64_t done = 0;

	while (!is_full(&filler, 500)) {
		ssize_t n;

		(void)stamp(b, piece, done, seed, false);
		n = fill_with(&filler, fd, b, piece);
		if (n > 0)
			done += (uint64_t)n;
		EXPECT_EQ(loop_turn(r->loop, n > 0 ? 0 : 1), 0);
		EXPECT(done < 64 * MB);
	}
	return done;
}

static uint64_t fill_up(struct rig *r, int fd, uint64_t seed)
{
	return fill_up_by(r, fd, seed, 65536);
}

static void empty(struct rig *r, int fd, uint64_t want, uint64_t seed, unsigned piece, unsigned pause_us)
{
	static uint8_t b[65536];
	uint64_t got = 0;

	while (got < want) {
		ssize_t n = hear(r, fd, b, piece, SOON_MS);

		EXPECT(n > 0);
		EXPECT_EQ(stamp(b, (size_t)n, got, seed, true), -1);
		got += (uint64_t)n;
		EXPECT_EQ(loop_turn(r->loop, 0), 0);
		nap_us(pause_us);
	}
}

static void test_stuck_receiver_is_bounded(void)
{
	struct tunnel stuck, other;
	struct rig r;
	uint64_t taken;

	rig_open(&r, NULL, NULL);
	tunnel_open(&stuck);
	tunnel_open(&other);
	tunnel_join(&r, &stuck);
	tunnel_join(&r, &other);
	taken = fill_up(&r, stuck.client, 3);
	printf("    %llu KB taken, of them %llu redirected\n", (unsigned long long)(taken / 1024),
	       (unsigned long long)(flows_row(r.flows, 0).stat->redirected / 1024));
	EXPECT(taken <= flow_memory_max());
	/* Nobody else notices, and the other direction of the same tunnel does not either. */
	for (int i = 0; i < 100; i++) {
		say(other.client, "ping");
		expect_text(&r, other.origin, "ping");
		say(stuck.origin, "back");
		expect_text(&r, stuck.client, "back");
	}
	empty(&r, stuck.origin, taken, 3, 65536, 0);
	tunnel_leave(&r, &stuck);
	tunnel_leave(&r, &other);
	tunnel_close(&stuck);
	tunnel_close(&other);
	rig_close(&r);
}

/* Of the whole machine, which does nothing else: what no process can have back. */
static uint64_t memory_used(void)
{
	uint64_t total = 0, kb;
	char line[128], name[64];
	FILE *f = fopen("/proc/meminfo", "re");

	EXPECT(f != NULL);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63[^:]: %" SCNu64, name, &kb) != 2)
			continue;
		if (strcmp(name, "MemTotal") == 0)
			total += kb;
		else if (strcmp(name, "MemFree") == 0 || strcmp(name, "Cached") == 0 || strcmp(name, "Buffers") == 0)
			total -= kb;
	}
	(void)fclose(f);
	return total * 1024;
}

/* What the kernel charges a socket with. */
static uint64_t memory_of(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(info);

	EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len), 0);
	return info[SK_MEMINFO_RMEM_ALLOC] + info[SK_MEMINFO_WMEM_QUEUED] + info[SK_MEMINFO_BACKLOG];
}

/* Beside its bytes a segment costs what it is kept in. */
static void stuck_receiver_costs(size_t piece)
{
	uint64_t taken, ours, of_peers, before;
	struct tunnel t;
	int64_t used;
	struct rig r;

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	set_int(t.client, IPPROTO_TCP, 1 /* TCP_NODELAY */, 1);
	tunnel_join_quiet(&r, &t);
	before = memory_used();
	taken = fill_up_by(&r, t.client, 8, piece);
	of_peers = memory_of(t.client) + memory_of(t.origin);
	used = (int64_t)(memory_used() - before - of_peers);
	ours = memory_of(t.fd[0]) + memory_of(t.fd[1]) + t.pair->dirs[0].held.bytes;
	printf("    %zu bytes at a time: %" PRIu64 " KB taken, charged %" PRIu64 " KB, %" PRId64 " KB of the machine\n",
	       piece, taken / 1024, ours / 1024, used / 1024);
	EXPECT(ours <= flow_memory_max());
	/* Elsewhere other programs take and give. */
	EXPECT(!is_emulated() || used <= (int64_t)flow_memory_max());
	empty(&r, t.origin, taken, 8, 65536, 0);
	tunnel_leave(&r, &t);
	tunnel_close(&t);
	rig_close(&r);
}

static void test_memory_of_a_stuck_receiver_is_bounded(void)
{
	stuck_receiver_costs(65536);
	stuck_receiver_costs(1000);
}

/* What follows a gap must not reach a peer: it has the beginning, and an end that says so. */
static void expect_reset(int fd, uint64_t seed)
{
	static uint8_t b[65536];
	uint64_t got = 0;
	ssize_t n;

	while ((n = recv(fd, b, sizeof(b), 0)) > 0) {
		EXPECT_EQ(stamp(b, (size_t)n, got, seed, true), -1);
		got += (uint64_t)n;
	}
	EXPECT_EQ(n, -1);
	EXPECT_EQ(errno, ECONNRESET);
}

/*
 * A sender that means harm: each of its segments costs many times its bytes.  Kernels that do not stop it themselves
 * (6.1) have the tunnel reset.
 */
static void test_memory_of_tiny_segments_is_bounded(void)
{
	struct filler filler = { 0 };
	uint64_t taken = 0, held, peak = 0;
	uint8_t b[32];
	struct tunnel t;
	struct rig r;

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	set_int(t.client, IPPROTO_TCP, 1 /* TCP_NODELAY */, 1);
	tunnel_join_quiet(&r, &t);
	filler.last_ms = now_ms();
	while (!t.ended && !is_full(&filler, 500)) {
		ssize_t n;

		(void)stamp(b, sizeof(b), taken, 9, false);
		n = fill_with(&filler, t.client, b, sizeof(b));
		if (n > 0)
			taken += (uint64_t)n;
		if (n > 0 && taken / sizeof(b) % 64 > 0)
			continue;
		EXPECT_EQ(loop_turn(r.loop, 0), 0);
		held = t.pair ? t.pair->dirs[0].held.bytes : 0;
		peak = MAX(peak, memory_of(t.fd[0]) + memory_of(t.fd[1]) + held);
	}
	printf("    %" PRIu64 " KB taken, charged %" PRIu64 " KB at most, %s\n", taken / 1024, peak / 1024,
	       t.ended ? "reset" : "stopped");
	EXPECT(taken > 0 && peak <= flow_memory_max());
	if (t.ended) {
		EXPECT_EQ(t.err, -EIO);
		(void)close(t.fd[0]);
		(void)close(t.fd[1]);
		expect_reset(t.origin, 9);
	} else {
		empty(&r, t.origin, taken, 9, 65536, 0);
		tunnel_leave(&r, &t);
		tunnel_close(&t);
	}
	rig_close(&r);
}

static void test_slow_receiver_gets_everything(void)
{
	struct tunnel t = { 0 };
	uint64_t taken, began;
	struct rig r;
	char c;

	rig_open(&r, NULL, NULL);
	/* Small buffers, or it would take half a minute. */
	tcp_pair_sized(&t.client, &t.fd[0], 0, 65536);
	tcp_pair_sized(&t.fd[1], &t.origin, 0, 65536);
	set_int(t.client, SOL_SOCKET, SO_SNDBUF, 32768);
	tunnel_join(&r, &t);
	set_int(t.fd[1], SOL_SOCKET, SO_SNDBUF, 131072);
	taken = fill_up(&r, t.client, 4);
	(void)shutdown(t.client, SHUT_WR);
	began = now_ms();
	/* 1 Mbit/s: it is not done for seconds after the client's end was seen. */
	empty(&r, t.origin, taken, 4, 1250, 10000);
	printf("    %llu KB in %llu ms\n", (unsigned long long)(taken / 1024), (unsigned long long)(now_ms() - began));
	EXPECT_EQ(hear(&r, t.origin, &c, 1, SOON_MS), 0);
	(void)shutdown(t.origin, SHUT_WR);
	EXPECT(RIG_UNTIL(&r, t.ended, SOON_MS));
	EXPECT_EQ(t.err, 0);
	tunnel_close(&t);
	rig_close(&r);
}

/* Leaving with a receiver that reads nothing: what is in userspace's hands then comes first. */
static void test_leave_from_a_stuck_receiver(void)
{
	struct rig r;
	struct tunnel t;
	uint64_t taken = 0, in_hand;
	static uint8_t b[65536];

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	set_int(t.fd[0], SOL_SOCKET, SO_RCVBUF, 512 * 1024);
	set_int(t.client, SOL_SOCKET, SO_SNDBUF, 256 * 1024);
	tunnel_join(&r, &t);
	taken = fill_up(&r, t.client, 5);
	tunnel_leave(&r, &t);
	in_hand = t.held[0].bytes;
	printf("    %llu KB taken, %llu KB in hand\n", (unsigned long long)(taken / 1024),
	       (unsigned long long)(in_hand / 1024));
	EXPECT(in_hand > 0 && in_hand <= OFFLOAD_HELD_LEAVING_MAX + OFFLOAD_HELD_MAX);
	/* The tunnel's owner: first what is in hand, then what is in the socket. */
	for (uint64_t got = 0; got < taken;) {
		ssize_t n;

		if (t.held[0].count == 0) {
			n = recv(t.fd[0], b, sizeof(b), MSG_DONTWAIT);
			if (n > 0)
				slice_queue_push(&t.held[0], slice_copy(b, (uint32_t)n));
		}
		if (t.held[0].count > 0) {
			struct slice *s = slice_queue_at(&t.held[0], 0);

			n = send(t.fd[1], s->ptr, s->len, MSG_DONTWAIT);
			if (n > 0)
				slice_queue_consume(&t.held[0], (size_t)n);
		}
		n = recv(t.origin, b, sizeof(b), MSG_DONTWAIT);
		if (n > 0) {
			EXPECT_EQ(stamp(b, (size_t)n, got, 5, true), -1);
			got += (uint64_t)n;
		}
	}
	tunnel_close(&t);
	rig_close(&r);
}

/* Each reads only when its own sending is over: a direction that is out must go on while the other is not. */
static void test_leave_while_peers_wait_for_each_other(void)
{
	for (unsigned i = 0; i < (is_emulated() ? 2 : 10); i++) {
		struct peer peers[2] = { { .goal = 12 * MB, .receiver = RECEIVER_LATE },
					 { .goal = 24 * MB, .sender = SENDER_BURSTS, .seed = i } };
		struct tunnel t;
		struct rig r;
		bool is_over;

		rig_open(&r, NULL, NULL);
		tunnel_open(&t);
		for (int k = 0; k < 2; k++) {
			peers[k].fd = k ? t.origin : t.client;
			peers[k].tx_seed = (uint64_t)k;
			peers[k].rx_seed = (uint64_t)!k;
			peer_start(&peers[k]);
		}
		tunnel_join(&r, &t);
		(void)RIG_UNTIL(&r, false, 5 + i);
		tunnel_leave(&r, &t);
		/* Back in, if no FIN is in yet and nothing is in hand: then to the end. */
		is_over = t.held[0].count == 0 && t.held[1].count == 0 &&
			  offload_join(r.offload, t.fd, &tunnel_events, &t, &t.pair) == 0;
		EXPECT(!is_over || (RIG_UNTIL(&r, t.ended == 2, patient(60000)) && t.err == 0));
		/* Else by a reset: a shutdown ends no peer that waits for a window, and nobody reads here any more. */
		for (int k = 0; k < 2 && !is_over; k++) {
			close_with_reset(t.fd[k]);
			t.fd[k] = -1;
		}
		for (int k = 0; k < 2; k++) {
			peer_join(&peers[k]);
			EXPECT_EQ(peers[k].wrong_at, -1);
		}
		EXPECT(!is_over || (peer_has_all(&peers[0], &peers[1]) && peer_has_all(&peers[1], &peers[0])));
		tunnel_close(&t);
		rig_close(&r);
	}
}

/* What it left in userspace's hands goes on. */
static void held_send(struct tunnel *t)
{
	for (int i = 0; i < 2; i++) {
		while (t->held[i].count > 0) {
			const struct slice *s = slice_queue_at(&t->held[i], 0);
			ssize_t n = send(t->fd[!i], s->ptr, s->len, MSG_NOSIGNAL);

			EXPECT(n > 0);
			slice_queue_consume(&t->held[i], (size_t)n);
		}
	}
}

/* Both ways, and no pause as long as a run of the iterator: leaving must not wait for one. */
static void leave_under_traffic(enum sender_style sender)
{
	/* Where it learns that segments are small the kernel takes a part of the window; we leave 1,152 bytes. */
	int kernels_own = sender == SENDER_SMALL ? 16 : 1;
	struct peer peers[2] = { { .goal = UINT64_MAX, .sender = sender, .seed = 3 },
				 { .goal = UINT64_MAX, .sender = sender, .seed = 4 } };
	uint64_t longest = 0, took;
	unsigned slow = 0;
	struct tunnel t;
	struct rig r;

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	for (int i = 0; i < 2; i++) {
		peers[i].fd = i ? t.origin : t.client;
		peers[i].tx_seed = (uint64_t)i;
		peers[i].rx_seed = (uint64_t)!i;
		peer_start(&peers[i]);
	}
	for (int i = 0; i < LEAVES; i++) {
		uint64_t began;
		int window[2];

		tunnel_join(&r, &t);
		(void)RIG_UNTIL(&r, false, 20);
		for (int k = 0; k < 2; k++)
			window[k] = sock_window(t.fd[k]);
		began = now_ms();
		tunnel_leave(&r, &t);
		for (int k = 0; k < 2; k++)
			EXPECT(window[k] > 0 && sock_window(t.fd[k]) >= window[k] / kernels_own);
		took = now_ms() - began;
		longest = MAX(longest, took);
		slow += took >= (is_emulated() ? 15 : 1) * LEAVE_MS;
		EXPECT(!peers[0].has_sent && !peers[1].has_sent);
		held_send(&t);
	}
	printf("    %llu ms at most, %llu retries\n", (unsigned long long)longest,
	       (unsigned long long)offload_counts(r.offload)->leave_retries);
	EXPECT(slow <= LEAVES / 2); /* once or twice the machine may have stood still */
	tunnel_join(&r, &t);
	for (int i = 0; i < 2; i++)
		peers[i].until_ms = now_ms() + 100;
	EXPECT(RIG_UNTIL(&r, t.ended == LEAVES + 1, patient(60000)) && t.err == 0);
	for (int i = 0; i < 2; i++)
		peer_join(&peers[i]);
	EXPECT(peer_has_all(&peers[0], &peers[1]) && peer_has_all(&peers[1], &peers[0]));
	tunnel_close(&t);
	rig_close(&r);
}

static void test_leave_between_small_messages(void)
{
	leave_under_traffic(SENDER_SMALL);
}

static void test_leave_from_fast_senders(void)
{
	leave_under_traffic(SENDER_STEADY);
}

/* --- ends that are none --- */

static void reset_by(bool is_origin)
{
	struct pollfd p;
	struct rig r;
	struct tunnel t;
	int dead, other;
	char c;

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	tunnel_join(&r, &t);
	say(t.client, "x");
	expect_text(&r, t.origin, "x");
	dead = is_origin ? t.origin : t.client;
	other = is_origin ? t.client : t.origin;
	close_with_reset(dead);
	EXPECT(RIG_UNTIL(&r, t.ended, SOON_MS));
	EXPECT_EQ(t.err, -ECONNRESET);
	(void)close(t.fd[0]);
	(void)close(t.fd[1]);
	p = (struct pollfd){ other, POLLIN, 0 };
	EXPECT_EQ(poll(&p, 1, SOON_MS), 1);
	EXPECT_EQ(recv(other, &c, 1, 0), -1);
	EXPECT_EQ(errno, ECONNRESET);
	(void)close(other);
	rig_close(&r);
}

static void test_reset_of_a_peer_ends_both(void)
{
	reset_by(true);
	reset_by(false);
}

static void test_abort_counts_what_was_lost(void)
{
	static uint8_t b[65536];
	uint64_t taken, got = 0;
	struct rig r;
	struct tunnel t;
	int unacked = 0;
	ssize_t n;

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	tunnel_join(&r, &t);
	taken = fill_up(&r, t.client, 6);
	EXPECT_EQ(ioctl(t.client, SIOCOUTQ, &unacked), 0);
	offload_abort(t.pair, -ECANCELED);
	EXPECT_EQ(t.ended, 0);
	EXPECT(RIG_UNTIL(&r, t.ended, SOON_MS));
	EXPECT_EQ(t.err, -ECANCELED);
	EXPECT(t.report.sides[0].undelivered > 0);
	EXPECT(t.report.sides[0].undelivered < taken);
	EXPECT_EQ(t.report.sides[1].undelivered, 0);
	/* Whatever was taken from the client is in the next socket, or counted. */
	EXPECT_EQ(t.report.sides[0].kernel_bytes + t.report.sides[0].user_bytes + t.held[0].bytes +
			  (t.report.sides[0].undelivered - t.held[0].bytes),
		  flows_row(r.flows, 0).stat->redirected + flows_row(r.flows, 0).stat->passed);
	/* And the receiver is not told that this was all. */
	(void)close(t.fd[0]);
	(void)close(t.fd[1]);
	while ((n = recv(t.origin, b, sizeof(b), 0)) > 0)
		got += (uint64_t)n;
	EXPECT_EQ(n, -1);
	EXPECT_EQ(errno, ECONNRESET);
	EXPECT(got < taken);
	rig_close(&r);
}

static void test_progress_is_seen(void)
{
	struct offload_progress before, after;
	uint64_t said_ns;
	struct rig r;
	struct tunnel t;

	rig_open(&r, NULL, NULL);
	tunnel_open(&t);
	tunnel_join_quiet(&r, &t);
	offload_progress(t.pair, &before);
	nap_us(20000);
	said_ns = clock_mono_ns();
	say(t.client, "tick");
	expect_text(NULL, t.origin, "tick");
	offload_progress(t.pair, &after);
	EXPECT_EQ(after.kernel_bytes[0], 4);
	EXPECT_EQ(after.kernel_bytes[1], 0);
	EXPECT(after.active_ns > before.active_ns);
	EXPECT(after.active_ns + 1000000000ull > said_ns);
	tunnel_leave(&r, &t);
	tunnel_close(&t);
	rig_close(&r);
}

static void test_many_leave_together(void)
{
	struct tunnel t[64];
	unsigned ended = 0;
	struct rig r;

	rig_open(&r, NULL, NULL);
	for (int i = 0; i < 64; i++) {
		tunnel_open(&t[i]);
		tunnel_join_quiet(&r, &t[i]);
	}
	for (int i = 0; i < 64; i++)
		offload_leave(t[i].pair);
	RIG_UNTIL(&r, (ended = 0, ({ for (int i = 0; i < 64; i++) ended += t[i].ended; }), ended == 64), SOON_MS);
	EXPECT_EQ(ended, 64);
	printf("    %llu runs of the iterator, the last one took %llu us\n",
	       (unsigned long long)offload_counts(r.offload)->iterations,
	       (unsigned long long)(r.offload->iterate_took_ns / 1000));
	EXPECT(offload_counts(r.offload)->iterations <= 8);
	for (int i = 0; i < 64; i++)
		tunnel_close(&t[i]);
	rig_close(&r);
}

/* --- the daemon's process --- */

static void capabilities_drop(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	EXPECT_EQ(syscall(SYS_capset, &head, none), 0);
}

static void test_worker_needs_no_rights(void)
{
	struct peer peers[2] = { { .goal = 4 * MB, .sender = SENDER_MIXED }, { .goal = 4 * MB } };
	struct rig r;
	struct tunnel t;

	rig_open(&r, NULL, NULL);
	capabilities_drop();
	tunnel_open(&t);
	tunnel_join_quiet(&r, &t);
	tunnel_leave(&r, &t);
	t.ended = 0;
	tunnel_join_quiet(&r, &t); /* before the peers begin */
	stream_through(&r, &t, peers);
	EXPECT(t.report.sides[0].kernel_bytes > 0);
	tunnel_close(&t);
	rig_close(&r);
}

/* A process with a tunnel in the kernel; the peers' ends stay here. */
static pid_t daemon_start(struct tunnel *t)
{
	int ready[2];
	pid_t pid;
	char c;

	EXPECT_EQ(pipe(ready), 0);
	tunnel_open(t);
	pid = fork();
	EXPECT(pid >= 0);
	if (pid == 0) {
		struct rig r;

		(void)close(t->client);
		(void)close(t->origin);
		rig_open(&r, NULL, NULL);
		tunnel_join_quiet(&r, t);
		EXPECT_EQ(write(ready[1], "x", 1), 1);
		for (;;)
			EXPECT_EQ(loop_turn(r.loop, 1000), 0);
	}
	(void)close(t->fd[0]);
	(void)close(t->fd[1]);
	EXPECT_EQ(read(ready[0], &c, 1), 1);
	return pid;
}

static void test_stopped_daemon_flows_go_on(void)
{
	struct tunnel t;
	pid_t pid = daemon_start(&t);

	EXPECT_EQ(kill(pid, SIGSTOP), 0);
	for (unsigned i = 0; i < 100; i++) {
		say(t.client, "ping");
		expect_text(NULL, t.origin, "ping");
		say(t.origin, "pong");
		expect_text(NULL, t.client, "pong");
	}
	EXPECT_EQ(kill(pid, SIGCONT), 0);
	say(t.client, "after");
	expect_text(NULL, t.origin, "after");
	EXPECT_EQ(kill(pid, SIGKILL), 0);
	EXPECT_EQ(waitpid(pid, NULL, 0), pid);
}

#define OBJECTS_MAX 64

/* Programs and maps of a process; maps with the top bit set. */
struct objects {
	uint64_t ids[OBJECTS_MAX];
	unsigned count;
};

#define OBJECT_MAP (1ull << 63)

static void objects_add(struct objects *o, uint64_t id)
{
	for (unsigned i = 0; i < o->count; i++)
		if (o->ids[i] == id)
			return;
	EXPECT(o->count < OBJECTS_MAX);
	o->ids[o->count++] = id;
}

/* Those that it has open. */
static void objects_of(pid_t pid, struct objects *o)
{
	char path[64], line[128];
	struct dirent *e;
	unsigned id;
	DIR *folder;

	o->count = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)pid);
	folder = opendir(path);
	EXPECT(folder != NULL);
	while ((e = readdir(folder))) {
		int fd = openat(dirfd(folder), e->d_name, O_RDONLY | O_CLOEXEC);
		FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;

		while (f && fgets(line, sizeof(line), f)) {
			if (sscanf(line, "prog_id: %u", &id) == 1)
				objects_add(o, id);
			else if (sscanf(line, "map_id: %u", &id) == 1)
				objects_add(o, id | OBJECT_MAP);
		}
		if (f)
			(void)fclose(f);
	}
	(void)closedir(folder);
}

/* How many the kernel still has.  It does not give an id again soon. */
static unsigned objects_alive(const struct objects *o)
{
	unsigned count = 0;

	for (unsigned i = 0; i < o->count; i++) {
		uint32_t id = (uint32_t)o->ids[i];
		int fd = o->ids[i] & OBJECT_MAP ? bpf_map_get_fd_by_id(id) : bpf_prog_get_fd_by_id(id);

		if (fd < 0) {
			EXPECT_EQ(errno, ENOENT);
			continue;
		}
		count++;
		(void)close(fd);
	}
	return count;
}

static void test_killed_daemon_leaves_nothing(void)
{
	struct objects objects;
	struct tunnel t;
	uint64_t began;
	pid_t pid;

	pid = daemon_start(&t);
	say(t.client, "alive");
	expect_text(NULL, t.origin, "alive");
	objects_of(pid, &objects);
	EXPECT(objects.count >= 7 && objects_alive(&objects) == objects.count);
	EXPECT_EQ(kill(pid, SIGKILL), 0);
	EXPECT_EQ(waitpid(pid, NULL, 0), pid);
	began = now_ms();
	for (int i = 0; i < 2; i++) {
		struct pollfd p = { i ? t.origin : t.client, POLLIN, 0 };
		char c;

		EXPECT_EQ(poll(&p, 1, SOON_MS), 1);
		EXPECT(recv(p.fd, &c, 1, MSG_DONTWAIT) <= 0);
	}
	/* The last reference goes after a grace period. */
	while (objects_alive(&objects) > 0 && now_ms() - began < SOON_MS)
		nap_us(10000);
	EXPECT_EQ(objects_alive(&objects), 0);
}

/* --- the self-test --- */

static void test_selftest_passes(void)
{
	const struct flows_options options[] = {
		{ .worker_count = 2, .tunnels_per_worker = 4 },
		{ .worker_count = 1, .tunnels_per_worker = 1, .is_mute = true },
	};

	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		struct strbuf why = { 0 };
		struct flows *f;
		struct offload_selftest result;
		unsigned rows, sockets;

		strbuf_init(&why);
		f = flows_open(&options[i], &why);
		EXPECT(f != NULL);
		offload_selftest(f, &result);
		printf("    %u cases in %llu ms: %s %s\n", result.cases, (unsigned long long)(result.took_ns / 1000000),
		       result.failed_case, result.why);
		EXPECT(result.has_passed);
		EXPECT_EQ(result.cases, 7);
		EXPECT_EQ(flows_count(f, &rows, &sockets), 0);
		EXPECT_EQ(rows + sockets, 0);
		flows_close(f);
		strbuf_fini(&why);
	}
}

/* A kernel (or a program) that is broken: which case says so? */
static void test_selftest_finds_bugs(void)
{
	static const struct {
		uint32_t faults;
		const char *failed_case;
	} rows[] = {
		{ 1, "half-read data" },
		{ 2, "backpressure bound" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct flows_options options = {
			.worker_count = 1,
			.tunnels_per_worker = 1,
			.faults = rows[i].faults,
		};
		struct strbuf why = { 0 };
		struct offload_selftest result;
		struct flows *f;

		strbuf_init(&why);
		f = flows_open(&options, &why);
		EXPECT(f != NULL);
		offload_selftest(f, &result);
		printf("    %s: %s\n", result.failed_case, result.why);
		EXPECT(!result.has_passed && result.why[0] != '\0');
		EXPECT_EQ(strcmp(result.failed_case, rows[i].failed_case), 0);
		flows_close(f);
		strbuf_fini(&why);
	}
}

static void selftest_child(void)
{
	const struct flows_options options = { .worker_count = 1, .tunnels_per_worker = 1 };
	struct offload_selftest result;
	struct strbuf why = { 0 };
	struct flows *f;

	strbuf_init(&why);
	f = flows_open(&options, &why);
	EXPECT(f != NULL);
	(void)raise(SIGSTOP);
	offload_selftest(f, &result);
	printf("    %s %s\n", result.failed_case, result.why);
	EXPECT(result.has_passed);
	flows_close(f);
	fflush(stdout);
	_exit(0);
}

/* A process that stood still for longer than a case may last, in the middle of it: the kernel is not to blame. */
static void test_selftest_survives_a_stop(void)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct timespec middle = { .tv_nsec = 30000000 + i * 10000000 }, long_time = { 2, 200000000 };
		pid_t child = fork();
		int status;

		if (child == 0)
			selftest_child();
		EXPECT(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
		EXPECT(kill(child, SIGCONT) == 0);
		(void)nanosleep(&middle, NULL);
		EXPECT(kill(child, SIGSTOP) == 0);
		(void)nanosleep(&long_time, NULL);
		EXPECT(kill(child, SIGCONT) == 0);
		EXPECT(waitpid(child, &status, 0) == child);
		EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
}

int main(int argc, char **argv)
{
	static const struct tunnel_test tests[] = {
		{ "queued bytes wait for the kick", test_queued_bytes_wait_for_the_kick },
		{ "a half-read head is trimmed", test_half_read_head_is_trimmed },
		{ "a half-read head is trimmed before it is passed", test_passed_half_read_head_is_trimmed },
		{ "an absent destination passes", test_absent_destination_passes },
		{ "armed at another count passes", test_armed_at_another_count_passes },
		{ "the limit is a bound", test_limit_is_a_bound },
		{ "a bare FIN is dropped", test_bare_fin_is_dropped },
		{ "a small segment after many is delivered", test_small_segment_after_many_is_delivered },
		{ "the iterator takes out only what was read", test_iterator_takes_out_only_what_was_read },
		{ "own bytes move the base", test_own_bytes_move_the_base },
		{ "written bytes are counted exactly", test_written_bytes_are_counted_exactly },
		{ "a join after the FIN is refused", test_join_after_fin_is_refused },
		{ "other sockets are refused", test_other_sockets_are_refused },
		{ "a refused second socket gives the first back", test_second_socket_refused },
		{ "rows are bounded", test_rows_are_bounded },
		{ "queued bytes are moved", test_queued_bytes_are_moved },
		{ "integrity both ways", test_integrity_both_ways },
		{ "a calm tunnel stays in the kernel", test_calm_tunnel_stays_in_the_kernel },
		{ "half-read streams", test_half_read_streams },
		{ "half-close in both orders", test_half_close_in_both_orders },
		{ "leave after a half-close", test_leave_after_half_close },
		{ "the end waits for the drain", test_end_waits_for_the_drain },
		{ "a stuck receiver is bounded", test_stuck_receiver_is_bounded },
		{ "memory of a stuck receiver is bounded", test_memory_of_a_stuck_receiver_is_bounded },
		{ "memory of tiny segments is bounded", test_memory_of_tiny_segments_is_bounded },
		{ "a slow receiver gets everything", test_slow_receiver_gets_everything },
		{ "leave from a stuck receiver", test_leave_from_a_stuck_receiver },
		{ "leave while peers wait for each other", test_leave_while_peers_wait_for_each_other },
		{ "leave between small messages without a pause", test_leave_between_small_messages },
		{ "leave from senders as fast as we are", test_leave_from_fast_senders },
		{ "a peer's reset ends both", test_reset_of_a_peer_ends_both },
		{ "an abort counts what was lost", test_abort_counts_what_was_lost },
		{ "progress is seen", test_progress_is_seen },
		{ "many leave together", test_many_leave_together },
		{ "a worker needs no rights", test_worker_needs_no_rights },
		{ "flows of a stopped daemon go on", test_stopped_daemon_flows_go_on },
		{ "a killed daemon leaves nothing", test_killed_daemon_leaves_nothing },
		{ "the self-test passes", test_selftest_passes },
		{ "the self-test finds bugs", test_selftest_finds_bugs },
		{ "the self-test survives a stop", test_selftest_survives_a_stop },
		/* In the machines of vmtest/: not every kernel has the module, and the limit is the whole system's. */
		{ "kTLS is refused", test_ktls_is_refused },
		{ "no tunnel joins when memory is short", test_join_when_memory_is_short },
	};

	return tests_main(argc, argv, tests, ARRAY_LEN(tests) - (getenv("SENTINEL_VM") ? 0 : 2));
}
