/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_splice_move.c - pairs that another process goes on with while the kernel carries them: not a byte may be lost,
 * doubled or out of order, and what does not fit is refused (docs/design/0008-upgrade.md).
 *
 * But for the first test both sides are workers of this process, each with maps of its own: who has which descriptor
 * makes no difference to either.  SPLICE_MOVES (1,000; 200 where it is emulated) is how often the random test moves
 * one, SPLICE_SEED what chance begins with.
 */
#include <linux/capability.h>
#include <sys/syscall.h>

#include "fastpath/offload.h"
#include "fastpath/offload_private.h"
#include "tunnels.h"

#define RELAYS 6
#define STALL_MS 20000

/* --- sides --- */

struct side {
	struct flows *flows;
	struct offload *offload;
	struct flows *inherited[2]; /* of the other side, and of its own that came back */
	bool is_closed;
};

struct moved {
	struct offload_parcel parcel;
	int fds[FLOWS_FDS_MAX];
	unsigned fd_count;
};

enum phase {
	PHASE_PLAIN,
	PHASE_IN,
	PHASE_FREEZING,
	PHASE_FROZEN,
	PHASE_LEAVING,
	PHASE_OVER,
};

struct relay {
	struct tunnel t;
	struct peer peers[2];
	enum phase phase;
	unsigned side; /* whose it is */
	uint64_t until_us;
	bool is_eof[2], is_shut[2];
	struct moved moved;
	uint64_t seen, seen_ms;
};

static void on_frozen(void *owner, const struct offload_parcel *parcel, const int *fds, unsigned fd_count)
{
	struct relay *r = container_of((struct tunnel *)owner, struct relay, t);

	EXPECT_EQ(r->phase, PHASE_FREEZING);
	r->phase = PHASE_FROZEN;
	r->moved.parcel = *parcel;
	r->moved.fd_count = fd_count;
	memcpy(r->moved.fds, fds, fd_count * sizeof(*fds));
}

static const struct offload_events events = {
	.on_left = tunnel_on_left,
	.on_fail = tunnel_on_fail,
	.on_frozen = on_frozen,
};

static uint64_t now_us(void)
{
	return clock_mono_ns() / 1000;
}

static void side_open(struct side *s, struct loop *l, const struct flows_options *options)
{
	static const struct flows_options many = { .worker_count = 1, .tunnels_per_worker = 4096 };
	int err;

	*s = (struct side){ .flows = rig_flows(options ? options : &many) };
	s->offload = offload_new(l, s->flows, 0, NULL, &err);
	EXPECT(s->offload != NULL);
}

static struct flows *adopt_maps(const struct moved *m)
{
	int fds[FLOWS_FDS_MAX];

	for (unsigned i = 0; i < m->fd_count; i++) {
		fds[i] = dup(m->fds[i]);
		EXPECT(fds[i] >= 0);
	}
	return flows_adopt((unsigned)m->parcel.age, fds, m->fd_count);
}

static struct flows *inherit(struct side *s, const struct moved *m)
{
	unsigned i = 0;

	for (; i < 2 && s->inherited[i]; i++)
		if (flows_are_of(s->inherited[i], m->fds[0]))
			return s->inherited[i];
	EXPECT(i < 2);
	s->inherited[i] = adopt_maps(m);
	EXPECT(s->inherited[i] != NULL);
	return s->inherited[i];
}

static struct offload_pair *adopt(struct side *s, struct tunnel *t, const struct moved *m)
{
	const struct offload_arrival a = { &m->parcel, inherit(s, m) };

	return offload_adopt(s->offload, t->fd, &a, &events, t);
}

static void on_side_closed(void *ctx)
{
	((struct side *)ctx)->is_closed = true;
}

static void sides_close(struct loop *l, struct side sides[2])
{
	for (unsigned i = 0; i < 2; i++) {
		offload_close(sides[i].offload, on_side_closed, &sides[i]);
		while (!sides[i].is_closed)
			EXPECT_EQ(loop_turn(l, 100), 0);
		for (unsigned k = 0; k < 2; k++) {
			EXPECT(!sides[i].inherited[k] || !flows_is_shared(sides[i].inherited[k]));
			flows_put(sides[i].inherited[k]);
		}
	}
	for (unsigned i = 0; i < 2; i++)
		rig_close_flows(sides[i].flows);
	loop_free(l);
}

static struct loop *sides_open(struct side sides[2], const struct flows_options *options)
{
	const struct loop_config config = { .entries = 256, .buffer_count = { 8, 2 } };
	const char *reason = "";
	struct loop *l;

	EXPECT_EQ(loop_new(&l, &config, &reason), 0);
	for (unsigned i = 0; i < 2; i++)
		side_open(&sides[i], l, options);
	return l;
}

#define TURN_UNTIL(l, condition, ms)                                 \
	({                                                           \
		uint64_t until_ = now_ms() + (ms);                   \
		while (!(condition) && now_ms() < until_)            \
			EXPECT_EQ(loop_turn(l, 1), 0);               \
		(bool)(condition);                                   \
	})

/* --- one at a time --- */

static void say(int fd, const char *text)
{
	EXPECT_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void expect_text(struct loop *l, int fd, const char *text)
{
	size_t got = 0, want = strlen(text);
	uint64_t until = now_ms() + SOON_MS;
	char buf[256];

	while (got < want) {
		ssize_t n = recv(fd, buf + got, want - got, MSG_DONTWAIT);

		EXPECT(n > 0 || (n < 0 && errno == EAGAIN && now_ms() < until));
		got += n > 0 ? (size_t)n : 0;
		if (l)
			EXPECT_EQ(loop_turn(l, 1), 0);
		else if (n < 0)
			nap_us(500);
	}
	EXPECT(memcmp(buf, text, want) == 0);
}

static void relay_join(struct loop *l, struct side *s, struct relay *r)
{
	*r = (struct relay){ 0 };
	tunnel_open(&r->t);
	EXPECT_EQ(offload_join(s->offload, r->t.fd, &events, &r->t, &r->t.pair), 0);
	r->phase = PHASE_IN;
	EXPECT(TURN_UNTIL(l, r->t.pair->dirs[0].state == DIR_ARMED && r->t.pair->dirs[1].state == DIR_ARMED, SOON_MS));
}

static void relay_freeze(struct loop *l, struct relay *r)
{
	r->phase = PHASE_FREEZING;
	EXPECT_EQ(offload_freeze(r->t.pair), 0);
	EXPECT_EQ(r->phase, PHASE_FREEZING); /* never from inside */
	EXPECT(TURN_UNTIL(l, r->phase == PHASE_FROZEN || r->t.ended, SOON_MS));
}

static void relay_go(struct side *to, struct relay *r)
{
	offload_release(r->t.pair);
	r->t.pair = adopt(to, &r->t, &r->moved);
	EXPECT(r->t.pair != NULL);
	r->phase = PHASE_IN;
}

static void relay_leave(struct loop *l, struct relay *r)
{
	offload_leave(r->t.pair);
	EXPECT(TURN_UNTIL(l, r->t.ended, SOON_MS));
	EXPECT_EQ(r->t.err, 0);
	tunnel_close(&r->t);
}

/* While nobody in userspace has it, the kernel goes on. */
static void test_bytes_move_while_the_pair_does(void)
{
	struct side sides[2];
	struct loop *l = sides_open(sides, NULL);
	struct offload_progress p;
	struct relay r;

	relay_join(l, &sides[0], &r);
	say(r.t.client, "before");
	expect_text(NULL, r.t.origin, "before");
	relay_freeze(l, &r);
	say(r.t.origin, "meanwhile");
	expect_text(NULL, r.t.client, "meanwhile");
	relay_go(&sides[1], &r);
	say(r.t.client, "after");
	expect_text(NULL, r.t.origin, "after");
	offload_progress(r.t.pair, &p);
	EXPECT_EQ(p.kernel_bytes[0], 11);
	EXPECT_EQ(p.kernel_bytes[1], 9);
	EXPECT_EQ(offload_counts(sides[0].offload)->left[OFFLOAD_LEFT_MOVED], 1);
	EXPECT_EQ(offload_counts(sides[1].offload)->adopted, 1);
	EXPECT_EQ(offload_counts(sides[1].offload)->arms, 0);
	EXPECT_EQ(offload_pair_count(sides[0].offload), 0);
	relay_leave(l, &r);
	EXPECT_EQ(r.t.report.sides[0].kernel_bytes, 11);
	sides_close(l, sides);
}

/* In the ring of its new worker, whose maps have the same slots for others. */
static void test_events_find_it(void)
{
	struct side sides[2];
	struct loop *l = sides_open(sides, NULL);
	struct relay r, other;

	relay_join(l, &sides[1], &other);
	relay_join(l, &sides[0], &r);
	EXPECT_EQ(r.t.pair->dirs[0].slot, other.t.pair->dirs[0].slot);
	relay_freeze(l, &r);
	relay_go(&sides[1], &r);
	EXPECT_EQ(offload_counts(sides[1].offload)->events, 0);
	r.t.pair->dirs[0].row.ctl->limit = 0; /* so that the kernel passes it, and says so */
	say(r.t.client, "passed");
	expect_text(l, r.t.origin, "passed");
	EXPECT(TURN_UNTIL(l, offload_counts(sides[1].offload)->events > 0, SOON_MS));
	EXPECT_EQ(offload_counts(sides[0].offload)->events, 0);
	EXPECT(r.t.pair->dirs[0].consumed == 6 && other.t.pair->dirs[0].consumed == 0);
	relay_leave(l, &r);
	relay_leave(l, &other);
	sides_close(l, sides);
}

/* Where the kernel has no iterator: five descriptors, and it leaves by its ends. */
static void test_without_the_iterator(void)
{
	const struct flows_options gate = { .worker_count = 1, .tunnels_per_worker = 8, .has_no_iterator = true };
	struct side sides[2];
	struct loop *l = sides_open(sides, &gate);
	struct relay r;

	relay_join(l, &sides[0], &r);
	relay_freeze(l, &r);
	EXPECT_EQ(r.moved.fd_count, FLOWS_FDS_MAX - 1);
	relay_go(&sides[1], &r);
	EXPECT(!flows_can_iterate(r.t.pair->flows));
	say(r.t.client, "hello");
	expect_text(l, r.t.origin, "hello");
	(void)shutdown(r.t.client, SHUT_WR);
	(void)shutdown(r.t.origin, SHUT_WR);
	EXPECT(TURN_UNTIL(l, r.t.ended, SOON_MS));
	EXPECT_EQ(r.t.err, 0);
	tunnel_close(&r.t);
	sides_close(l, sides);
}

static void test_it_is_taken_back(void)
{
	struct side sides[2];
	struct loop *l = sides_open(sides, NULL);
	struct relay r;

	relay_join(l, &sides[0], &r);
	relay_freeze(l, &r);
	say(r.t.client, "meanwhile");
	expect_text(NULL, r.t.origin, "meanwhile");
	offload_thaw(r.t.pair);
	r.phase = PHASE_IN;
	/* an end is seen again */
	(void)shutdown(r.t.client, SHUT_WR);
	EXPECT(TURN_UNTIL(l, r.t.pair->dirs[0].state == DIR_ENDED, SOON_MS));
	EXPECT_EQ(recv(r.t.origin, &(char){ 0 }, 1, 0), 0);
	/* half-closed it goes as well */
	relay_freeze(l, &r);
	relay_go(&sides[1], &r);
	say(r.t.origin, "late");
	expect_text(l, r.t.client, "late");
	(void)shutdown(r.t.origin, SHUT_WR);
	EXPECT(TURN_UNTIL(l, r.t.ended, SOON_MS));
	EXPECT_EQ(r.t.err, 0);
	EXPECT_EQ(r.t.report.why, OFFLOAD_LEFT_ENDED);
	tunnel_close(&r.t);
	sides_close(l, sides);
}

/* Of an end that is known the kernel would tell again and again. */
static void test_half_closed_it_costs_nothing(void)
{
	struct side sides[2];
	struct loop *l = sides_open(sides, NULL);
	static uint8_t b[65536];
	struct filler filler = { 0 };
	unsigned turns = 0;
	struct relay r;
	uint64_t until;

	relay_join(l, &sides[0], &r);
	(void)shutdown(r.t.client, SHUT_WR);
	EXPECT(TURN_UNTIL(l, r.t.pair->dirs[0].state == DIR_ENDED, SOON_MS));
	for (until = now_ms() + 500; now_ms() < until; turns++)
		EXPECT_EQ(loop_turn(l, 50), 0);
	printf("    %u turns in 500 ms", turns);
	EXPECT(turns <= 40);
	/* and with bytes in hand for who has ended and does not read */
	filler.last_ms = now_ms();
	while (!is_full(&filler, 200)) {
		(void)fill_with(&filler, r.t.origin, b, sizeof(b));
		EXPECT_EQ(loop_turn(l, 0), 0);
	}
	EXPECT(r.t.pair->dirs[1].held.count > 0);
	for (turns = 0, until = now_ms() + 500; now_ms() < until; turns++)
		EXPECT_EQ(loop_turn(l, 50), 0);
	printf(", %u while the receiver is full\n", turns);
	EXPECT(turns <= 40);
	EXPECT(recv(r.t.client, b, sizeof(b), 0) > 0);
	EXPECT(TURN_UNTIL(l, (recv(r.t.client, b, sizeof(b), MSG_DONTWAIT), r.t.pair->dirs[1].held.count == 0),
			  SOON_MS));
	close_with_reset(r.t.origin);
	EXPECT(TURN_UNTIL(l, r.t.ended, SOON_MS));
	EXPECT_EQ(r.t.err, -ECONNRESET);
	tunnel_close(&r.t);
	sides_close(l, sides);
}

/* An end or a reset that came while nobody watched. */
static void test_ends_in_between_are_seen(void)
{
	struct side sides[2];
	struct loop *l = sides_open(sides, NULL);
	struct relay r;
	char c;

	relay_join(l, &sides[0], &r);
	relay_freeze(l, &r);
	say(r.t.client, "last");
	(void)shutdown(r.t.client, SHUT_WR);
	nap_us(20000);
	relay_go(&sides[1], &r);
	expect_text(l, r.t.origin, "last");
	EXPECT(TURN_UNTIL(l, recv(r.t.origin, &c, 1, MSG_DONTWAIT) == 0, SOON_MS));
	(void)shutdown(r.t.origin, SHUT_WR);
	EXPECT(TURN_UNTIL(l, r.t.ended, SOON_MS));
	EXPECT_EQ(r.t.err, 0);
	tunnel_close(&r.t);

	relay_join(l, &sides[0], &r);
	relay_freeze(l, &r);
	close_with_reset(r.t.client);
	nap_us(20000);
	relay_go(&sides[1], &r);
	EXPECT(TURN_UNTIL(l, r.t.ended, SOON_MS));
	EXPECT_EQ(r.t.err, -ECONNRESET);
	tunnel_close(&r.t);
	sides_close(l, sides);
}

static void test_an_abort_waits_for_the_answer(void)
{
	struct side sides[2];
	struct loop *l = sides_open(sides, NULL);
	struct relay r;

	relay_join(l, &sides[0], &r);
	relay_freeze(l, &r);
	offload_abort(r.t.pair, -ECANCELED);
	EXPECT(!TURN_UNTIL(l, r.t.ended, 50));
	offload_thaw(r.t.pair);
	EXPECT(TURN_UNTIL(l, r.t.ended, SOON_MS));
	EXPECT_EQ(r.t.err, -ECANCELED);
	tunnel_close(&r.t);

	relay_join(l, &sides[0], &r);
	EXPECT_EQ(offload_freeze(r.t.pair), 0);
	offload_abort(r.t.pair, -ECANCELED); /* before it is frozen: it never is */
	EXPECT(TURN_UNTIL(l, r.t.ended, SOON_MS));
	EXPECT_EQ(r.t.err, -ECANCELED);
	tunnel_close(&r.t);
	sides_close(l, sides);
}

/* What is held for a receiver that does not read keeps it here; then it goes, or leaves. */
static void test_held_bytes_keep_it_here(void)
{
	static uint8_t b[65536];
	struct side sides[2];
	struct loop *l = sides_open(sides, NULL);
	struct filler filler = { .last_ms = now_ms() };
	uint64_t sent = 0, got = 0;
	struct relay r;

	relay_join(l, &sides[0], &r);
	while (!is_full(&filler, 300)) {
		ssize_t n;

		(void)stamp(b, sizeof(b), sent, 1, false);
		n = fill_with(&filler, r.t.client, b, sizeof(b));
		if (n > 0)
			sent += (uint64_t)n;
		EXPECT_EQ(loop_turn(l, 0), 0);
	}
	EXPECT_EQ(offload_freeze(r.t.pair), -EAGAIN);
	while (got < sent) {
		ssize_t n = recv(r.t.origin, b, sizeof(b), MSG_DONTWAIT);

		EXPECT_EQ(loop_turn(l, 1), 0);
		if (n <= 0)
			continue;
		EXPECT_EQ(stamp(b, (size_t)n, got, 1, true), -1);
		got += (uint64_t)n;
		if (r.phase == PHASE_IN && offload_freeze(r.t.pair) == 0) {
			printf("    frozen with %llu of %llu KB to come\n", (unsigned long long)(sent - got) / 1024,
			       (unsigned long long)sent / 1024);
			r.phase = PHASE_FREEZING;
			EXPECT(TURN_UNTIL(l, r.phase == PHASE_FROZEN, SOON_MS));
			relay_go(&sides[1], &r);
			r.phase = PHASE_OVER;
		}
	}
	EXPECT_EQ(r.phase, PHASE_OVER);
	relay_leave(l, &r);
	sides_close(l, sides);
}

/* --- what another process says is not believed --- */

static bool is_refused(struct side *s, struct relay *r, const struct moved *m)
{
	return adopt(s, &r->t, m) == NULL;
}

static void test_a_parcel_that_does_not_fit_is_refused(void)
{
	struct side sides[2];
	struct loop *l = sides_open(sides, NULL);
	struct relay r, other;
	struct moved m;

	relay_join(l, &sides[0], &r);
	relay_join(l, &sides[0], &other);
	relay_freeze(l, &r);
#define REFUSED(change)                                \
	m = r.moved;                                   \
	change;                                        \
	EXPECT(is_refused(&sides[1], &r, &m))
	REFUSED(m.parcel.dirs[0].cookie++);
	REFUSED(m.parcel.dirs[0] = m.parcel.dirs[1]);
	REFUSED(m.parcel.dirs[1].state = DIR_STATE_COUNT);
	REFUSED(m.parcel.dirs[1].state = DIR_PASSING); /* it is armed */
	REFUSED(m.parcel.dirs[1].state = DIR_ENDED);
	REFUSED(m.parcel.dirs[0].is_eof = 1);
	REFUSED(m.parcel.dirs[0].is_slow = 2);
	REFUSED(m.parcel.dirs[0].consumed += 1);
	EXPECT(is_refused(&sides[1], &other, &r.moved)); /* other sockets */
	offload_release(r.t.pair);
	r.t.pair = adopt(&sides[1], &r.t, &r.moved);
	EXPECT(r.t.pair != NULL);
	EXPECT(is_refused(&sides[1], &r, &r.moved)); /* twice */
	EXPECT_EQ(offload_pair_count(sides[1].offload), 1);
	relay_leave(l, &r);
	relay_leave(l, &other);
	sides_close(l, sides);
}

static void test_descriptors_that_are_no_such_maps_are_refused(void)
{
	struct side sides[2];
	struct loop *l = sides_open(sides, NULL);
	struct moved m = { 0 };
	struct flows *f;

	m.fd_count = flows_fds(sides[0].flows, m.fds);
	EXPECT_EQ(m.fd_count, FLOWS_FDS_MAX);
	for (unsigned i = 0; i < m.fd_count; i++) {
		struct moved wrong = m;

		wrong.fds[i] = m.fds[(i + 1) % m.fd_count];
		EXPECT(adopt_maps(&wrong) == NULL);
		wrong.fds[i] = STDERR_FILENO;
		EXPECT(adopt_maps(&wrong) == NULL);
	}
	f = adopt_maps(&m);
	EXPECT(f != NULL);
	EXPECT(flows_are_of(f, m.fds[0]));
	EXPECT(!flows_are_of(f, m.fds[1]));
	flows_put(f);
	sides_close(l, sides);
}

static void test_maps_that_had_many_processes_are_left(void)
{
	struct side sides[2];
	struct loop *l = sides_open(sides, NULL);
	struct relay r;

	relay_join(l, &sides[0], &r);
	relay_freeze(l, &r);
	EXPECT_EQ(r.moved.parcel.age, 1);
	r.moved.parcel.age = OFFLOAD_AGE_MAX;
	relay_go(&sides[1], &r);
	EXPECT_EQ(offload_freeze(r.t.pair), -EOPNOTSUPP);
	relay_leave(l, &r);
	sides_close(l, sides);
}

/* --- another process --- */

static void capabilities_drop(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	EXPECT_EQ(syscall(SYS_capset, &head, none), 0);
}

static void fds_send(int channel, const struct moved *m, const int fd[2])
{
	char control[CMSG_SPACE((2 + FLOWS_FDS_MAX) * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)m, .iov_len = sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	struct cmsghdr *c = (struct cmsghdr *)control;

	msg.msg_controllen = CMSG_SPACE((2 + m->fd_count) * sizeof(int));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((2 + m->fd_count) * sizeof(int));
	memcpy(CMSG_DATA(c), fd, 2 * sizeof(int));
	memcpy(CMSG_DATA(c) + 2 * sizeof(int), m->fds, m->fd_count * sizeof(int));
	EXPECT(sendmsg(channel, &msg, 0) == (ssize_t)sizeof(*m));
}

static void fds_receive(int channel, struct moved *m, int fd[2])
{
	char control[CMSG_SPACE((2 + FLOWS_FDS_MAX) * sizeof(int))];
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};

	EXPECT(recvmsg(channel, &msg, 0) == (ssize_t)sizeof(*m));
	memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), 2 * sizeof(int));
	memcpy(m->fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)) + 2 * sizeof(int), m->fd_count * sizeof(int));
}

/* The process that loaded programs and maps and put the sockets in has ended, and we have no rights. */
static void test_it_goes_on_when_its_process_has_ended(void)
{
	struct moved m;
	struct relay r = { 0 };
	struct flows *inherited;
	struct rig rig;
	int channel[2], status;
	pid_t pid;

	EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, channel), 0);
	tunnel_open(&r.t);
	pid = fork();
	EXPECT(pid >= 0);
	if (pid == 0) {
		(void)close(r.t.client);
		(void)close(r.t.origin);
		rig_open(&rig, NULL, NULL);
		EXPECT_EQ(offload_join(rig.offload, r.t.fd, &events, &r.t, &r.t.pair), 0);
		EXPECT(RIG_UNTIL(&rig, r.t.pair->dirs[0].state == DIR_ARMED &&
			       r.t.pair->dirs[1].state == DIR_ARMED, SOON_MS));
		relay_freeze(rig.loop, &r);
		fds_send(channel[0], &r.moved, r.t.fd);
		_exit(0);
	}
	(void)close(r.t.fd[0]);
	(void)close(r.t.fd[1]);
	rig_open(&rig, NULL, NULL);
	fds_receive(channel[1], &m, r.t.fd);
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	capabilities_drop();
	inherited = flows_adopt(1, m.fds, m.fd_count);
	EXPECT(inherited != NULL);
	say(r.t.client, "nobody");
	expect_text(NULL, r.t.origin, "nobody");
	r.t.pair = offload_adopt(rig.offload, r.t.fd, &(struct offload_arrival){ &m.parcel, inherited }, &events, &r.t);
	EXPECT(r.t.pair != NULL);
	say(r.t.origin, "somebody");
	expect_text(NULL, r.t.client, "somebody");
	offload_leave(r.t.pair);
	EXPECT(RIG_UNTIL(&rig, r.t.ended, SOON_MS));
	EXPECT_EQ(r.t.err, 0);
	EXPECT_EQ(r.t.report.sides[0].kernel_bytes, 6);
	EXPECT(!flows_is_shared(inherited));
	/* out of those, and into our own */
	r.t.ended = 0;
	EXPECT_EQ(offload_join(rig.offload, r.t.fd, &events, &r.t, &r.t.pair), 0);
	say(r.t.client, "again");
	expect_text(rig.loop, r.t.origin, "again");
	tunnel_leave(&rig, &r.t);
	rig_close_flows(inherited);
	tunnel_close(&r.t);
	rig_close(&rig);
}

/* --- chance --- */

struct fuzz {
	struct side sides[2];
	struct loop *loop;
	unsigned seed;
	unsigned tunnels, moves, thaws, leaves, waits, ended_inside;
	uint64_t in_kernel, copied;
};

static void relay_fail(const struct relay *r, const char *what)
{
	printf("    %s (err %d, phase %d, side %u)\n", what, r->t.err, r->phase, r->side);
	for (int i = 0; i < 2; i++) {
		const struct peer *p = &r->peers[i];

		printf("    peer %d: sent %llu of %llu (style %d, err %d), received %llu (style %d, err %d, "
		       "wrong %lld)\n",
		       i, (unsigned long long)p->sent, (unsigned long long)p->goal, p->sender, p->send_err,
		       (unsigned long long)p->received, p->receiver, p->receive_err, p->wrong_at);
	}
	for (int i = 0; i < 2 && r->t.pair; i++) {
		const struct offload_dir *d = &r->t.pair->dirs[i];

		printf("    direction %d: state %d, in the map %d, passed %llu, consumed %llu, redirected %llu, "
		       "copied %llu, held %zu\n",
		       i, d->state, d->is_in_map, (unsigned long long)dir_passed(d), (unsigned long long)d->consumed,
		       (unsigned long long)d->row.stat->redirected, (unsigned long long)d->user_bytes, d->held.bytes);
	}
	fflush(stdout);
	_exit(1);
}

static void relay_start(struct fuzz *z, struct relay *r)
{
	static const uint64_t goals[SENDER_STYLES] = { 24 * MB, 8 * MB, 100 * 1024, 16 * MB };

	*r = (struct relay){ .seen_ms = now_ms(), .side = random_below(&z->seed, 2) };
	tunnel_open(&r->t);
	for (int i = 0; i < 2; i++) {
		struct peer *p = &r->peers[i];

		*p = (struct peer){
			.fd = i ? r->t.origin : r->t.client,
			.sender = random_below(&z->seed, SENDER_STYLES),
			.receiver = random_below(&z->seed, RECEIVER_STYLES),
			.seed = (unsigned)rand_r(&z->seed),
			.tx_seed = (uint64_t)z->tunnels * 2 + (uint64_t)i,
			.rx_seed = (uint64_t)z->tunnels * 2 + (uint64_t)!i,
		};
		p->goal = 1 + (unsigned)rand_r(&z->seed) % (goals[p->sender] / (is_emulated() ? 4 : 1));
	}
	if (r->peers[0].receiver == RECEIVER_LATE && r->peers[1].receiver == RECEIVER_LATE)
		r->peers[1].receiver = RECEIVER_STEADY;
	for (int i = 0; i < 2; i++)
		peer_start(&r->peers[i]);
	z->tunnels++;
}

static bool relay_copy(struct fuzz *z, struct relay *r, int from)
{
	static uint8_t buf[65536];
	struct slice_queue *held = &r->t.held[from];
	ssize_t n;

	if (held->count == 0 && !r->is_eof[from]) {
		n = recv(r->t.fd[from], buf, sizeof(buf), MSG_DONTWAIT);
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

static void relay_plain(struct fuzz *z, struct relay *r)
{
	bool has_moved = true;

	for (int i = 0; i < 20 && has_moved; i++) {
		if (now_us() >= r->until_us && r->t.held[0].count + r->t.held[1].count == 0) {
			r->t.ended = 0;
			if (offload_join(z->sides[r->side].offload, r->t.fd, &events, &r->t, &r->t.pair) == 0) {
				r->phase = PHASE_IN;
				r->until_us = now_us() + random_below(&z->seed, 20000);
				return;
			}
			r->until_us = now_us() + 100000;
		}
		has_moved = relay_copy(z, r, 0);
		has_moved = relay_copy(z, r, 1) || has_moved;
	}
	if (r->is_shut[0] && r->is_shut[1])
		r->phase = PHASE_OVER;
}

static void relay_back(struct fuzz *z, struct relay *r)
{
	if (r->t.err)
		relay_fail(r, "the pair failed");
	for (int i = 0; i < 2; i++) {
		r->is_eof[i] = r->t.report.sides[i].is_eof;
		r->is_shut[i] = r->t.report.sides[i].is_shut;
		z->in_kernel += r->t.report.sides[i].kernel_bytes;
		z->copied += r->t.report.sides[i].user_bytes;
	}
	z->ended_inside += r->t.report.why == OFFLOAD_LEFT_ENDED;
	r->phase = r->t.report.why == OFFLOAD_LEFT_ENDED ? PHASE_OVER : PHASE_PLAIN;
	r->until_us = now_us() + random_below(&z->seed, 2000);
}

/* Mostly to the other side; sometimes it could not be sent, or it leaves as ever. */
static void relay_inside(struct fuzz *z, struct relay *r)
{
	int err;

	if (random_below(&z->seed, 16) == 0) {
		offload_leave(r->t.pair);
		r->phase = PHASE_LEAVING;
		z->leaves++;
		return;
	}
	r->phase = PHASE_FREEZING;
	err = offload_freeze(r->t.pair);
	r->until_us = now_us() + (err ? 1000 : random_below(&z->seed, 4) ? 0 : random_below(&z->seed, 20000));
	if (!err)
		return;
	if (err != -EAGAIN && err != -EOPNOTSUPP) /* it has just ended */
		relay_fail(r, "freeze");
	z->waits++;
	r->phase = PHASE_IN;
}

static void relay_frozen(struct fuzz *z, struct relay *r)
{
	struct offload_pair *old = r->t.pair;

	r->phase = PHASE_IN;
	r->until_us = now_us() + random_below(&z->seed, 10000);
	if (random_below(&z->seed, 8) == 0) {
		z->thaws++;
		offload_thaw(old);
		return;
	}
	/* Which of the two hears first is chance as well. */
	r->side = !r->side;
	z->moves++;
	if (random_below(&z->seed, 2)) {
		r->t.pair = adopt(&z->sides[r->side], &r->t, &r->moved);
		offload_release(old);
	} else {
		offload_release(old);
		r->t.pair = adopt(&z->sides[r->side], &r->t, &r->moved);
	}
	if (!r->t.pair)
		relay_fail(r, "not adopted");
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
	if (r->phase == PHASE_PLAIN)
		relay_plain(z, r);
	else if (r->t.ended)
		relay_back(z, r);
	else if (r->phase == PHASE_IN && now_us() >= r->until_us)
		relay_inside(z, r);
	else if (r->phase == PHASE_FROZEN && now_us() >= r->until_us)
		relay_frozen(z, r);
}

static void relay_end(struct relay *r)
{
	for (int i = 0; i < 2; i++)
		peer_join(&r->peers[i]);
	for (int i = 0; i < 2; i++)
		if (!peer_has_all(&r->peers[i], &r->peers[!i]))
			relay_fail(r, "a peer did not get what was sent");
	tunnel_close(&r->t);
}

static void fuzz_run(const struct flows_options *options, unsigned want)
{
	struct fuzz z = { .seed = setting("SPLICE_SEED", (unsigned)clock_mono_ns()) };
	struct relay relays[RELAYS];
	unsigned busy;

	printf("    seed %u\n", z.seed);
	(void)alarm((unsigned)patient(TEST_SECONDS));
	z.loop = sides_open(z.sides, options);
	for (unsigned i = 0; i < RELAYS; i++)
		relay_start(&z, &relays[i]);
	do {
		EXPECT_EQ(loop_turn(z.loop, 1), 0);
		busy = 0;
		for (unsigned i = 0; i < RELAYS; i++) {
			struct relay *r = &relays[i];

			if (r->t.client < 0)
				continue;
			busy++;
			relay_step(&z, r);
			if (r->phase != PHASE_OVER)
				continue;
			relay_end(r);
			if (z.moves < want)
				relay_start(&z, r);
			else
				r->t.client = -1;
		}
	} while (busy > 0);
	printf("    %u moves, %u tunnels, %u taken back, %u had to wait, %u leaves, %u ended inside; %llu MB in the "
	       "kernel, %llu MB copied\n",
	       z.moves, z.tunnels, z.thaws, z.waits, z.leaves, z.ended_inside,
	       (unsigned long long)(z.in_kernel / MB), (unsigned long long)(z.copied / MB));
	EXPECT(z.moves >= want && z.in_kernel > 0);
	sides_close(z.loop, z.sides);
}

static unsigned moves_wanted(void)
{
	return setting("SPLICE_MOVES", is_emulated() ? 200 : 1000);
}

static void test_random_moves(void)
{
	fuzz_run(NULL, moves_wanted());
}

static void test_random_moves_without_events(void)
{
	const struct flows_options mute = { .worker_count = 1, .tunnels_per_worker = 4096, .is_mute = true };

	fuzz_run(&mute, moves_wanted() / 4);
}

int main(int argc, char **argv)
{
	static const struct tunnel_test tests[] = {
		{ "it goes on when its process has ended", test_it_goes_on_when_its_process_has_ended },
		{ "bytes move while the pair does", test_bytes_move_while_the_pair_does },
		{ "events find it", test_events_find_it },
		{ "without the iterator", test_without_the_iterator },
		{ "it is taken back", test_it_is_taken_back },
		{ "half-closed it costs nothing", test_half_closed_it_costs_nothing },
		{ "ends in between are seen", test_ends_in_between_are_seen },
		{ "an abort waits for the answer", test_an_abort_waits_for_the_answer },
		{ "held bytes keep it here", test_held_bytes_keep_it_here },
		{ "a parcel that does not fit is refused", test_a_parcel_that_does_not_fit_is_refused },
		{ "descriptors that are no such maps are refused", test_descriptors_that_are_no_such_maps_are_refused },
		{ "maps that had many processes are left", test_maps_that_had_many_processes_are_left },
		{ "random moves under traffic", test_random_moves },
		{ "the same without any event", test_random_moves_without_events },
	};

	return tests_main(argc, argv, tests, ARRAY_LEN(tests));
}
