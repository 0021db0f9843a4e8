/* SPDX-License-Identifier: GPL-2.0-only */
/* test_mailbox.c - messages between loops and threads; for the thread sanitizer as well. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "loop/internal.h"

#define WORKERS 4
#define HOPS	2000
#define LETTERS 5000

struct worker {
	pthread_t thread;
	struct loop *loop;
	sem_t ready, go;
	unsigned index;

	unsigned next_number[WORKERS + 1]; /* by sender */
	unsigned received;
	struct mail stop;
};

static struct worker workers[WORKERS];

static __thread struct worker *self;

/* A token that visits the workers in turn; every visitor writes to it without a lock. */
struct token {
	struct mail mail;
	unsigned hops;
	unsigned visits[WORKERS];
	sem_t *done;
};

static void token_arrived(struct mail *m)
{
	struct token *t = container_of(m, struct token, mail);

	t->visits[self->index]++;
	if (++t->hops == HOPS)
		sem_post(t->done);
	else
		mailbox_give(workers[(self->index + 1) % WORKERS].loop, self->loop, m);
}

struct letter {
	struct mail mail;
	unsigned sender, number;
};

static void letter_arrived(struct mail *m)
{
	struct letter *l = container_of(m, struct letter, mail);

	CHECK(l->number == self->next_number[l->sender]);
	self->next_number[l->sender]++;
	__atomic_fetch_add(&self->received, 1, __ATOMIC_RELAXED); /* the test's thread looks */
	free(l);
}

static void letters_send(unsigned sender, struct loop *from, struct loop *to)
{
	for (unsigned i = 0; i < LETTERS; i++) {
		struct letter *l = mem_zalloc(sizeof(*l));

		l->mail.on_deliver = letter_arrived;
		l->sender = sender;
		l->number = i;
		mailbox_give(to, from, &l->mail);
	}
}

static void stop_arrived(struct mail *m)
{
	(void)m;
	loop_stop(self->loop);
}

static void *worker_main(void *arg)
{
	const struct loop_config config = { .entries = 64, .buffer_count = { 8, 4 } };
	const char *reason;

	self = arg;
	CHECK(loop_new(&self->loop, &config, &reason) == 0);
	sem_post(&self->ready);
	sem_wait(&self->go);
	CHECK(loop_run(self->loop) == 0);
	sem_post(&self->ready);
	sem_wait(&self->go); /* nobody is freed while another may still give to it */
	loop_free(self->loop);
	return NULL;
}

static int setup(void **state)
{
	(void)state;
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){ .index = i, .stop.on_deliver = stop_arrived };
		sem_init(&workers[i].ready, 0, 0);
		sem_init(&workers[i].go, 0, 0);
		pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		sem_wait(&workers[i].ready);
	for (unsigned i = 0; i < WORKERS; i++)
		sem_post(&workers[i].go);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < WORKERS; i++)
		mailbox_give(workers[i].loop, NULL, &workers[i].stop);
	for (unsigned i = 0; i < WORKERS; i++)
		sem_wait(&workers[i].ready);
	for (unsigned i = 0; i < WORKERS; i++)
		sem_post(&workers[i].go);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	return 0;
}

static void test_tokens_go_round(void **state)
{
	struct token tokens[3];
	sem_t done;

	(void)state;
	sem_init(&done, 0, 0);
	for (unsigned i = 0; i < ARRAY_LEN(tokens); i++) {
		tokens[i] = (struct token){ .mail.on_deliver = token_arrived, .done = &done };
		mailbox_give(workers[i].loop, NULL, &tokens[i].mail);
	}
	for (unsigned i = 0; i < ARRAY_LEN(tokens); i++)
		sem_wait(&done);
	for (unsigned i = 0; i < ARRAY_LEN(tokens); i++)
		for (unsigned k = 0; k < WORKERS; k++)
			assert_int_equal(tokens[i].visits[k], HOPS / WORKERS);
	sem_destroy(&done);
}

static void *sender_main(void *arg)
{
	letters_send(*(unsigned *)arg, NULL, workers[0].loop);
	return NULL;
}

static void test_order_is_kept_per_sender(void **state)
{
	pthread_t threads[WORKERS];
	unsigned senders[WORKERS];

	(void)state;
	for (unsigned i = 0; i < WORKERS; i++) {
		senders[i] = i;
		pthread_create(&threads[i], NULL, sender_main, &senders[i]);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	teardown(NULL);
	assert_int_equal(workers[0].received, WORKERS * LETTERS);
	setup(NULL);
}

struct order {
	struct mail mail;
	struct loop *to;
};

static void order_arrived(struct mail *m)
{
	struct order *o = container_of(m, struct order, mail);

	letters_send(self->index, self->loop, o->to);
}

/* From loops: by MSG_RING, more at once than fit in the sender's queue; the last one of all to itself. */
static void test_loops_flood_one_loop(void **state)
{
	struct order orders[WORKERS];

	(void)state;
	for (unsigned i = 0; i < WORKERS; i++) {
		orders[i] = (struct order){ .mail.on_deliver = order_arrived, .to = workers[0].loop };
		mailbox_give(workers[i].loop, NULL, &orders[i].mail);
	}
	/* Stop the senders first: what they gave before they stopped arrives. */
	for (unsigned i = WORKERS; i-- > 1;) {
		mailbox_give(workers[i].loop, NULL, &workers[i].stop);
		sem_wait(&workers[i].ready);
	}
	while (__atomic_load_n(&workers[0].received, __ATOMIC_RELAXED) < WORKERS * LETTERS)
		sched_yield();
	mailbox_give(workers[0].loop, NULL, &workers[0].stop);
	sem_wait(&workers[0].ready);
	for (unsigned i = 0; i < WORKERS; i++) {
		sem_post(&workers[i].go);
		pthread_join(workers[i].thread, NULL);
	}
	setup(NULL);
}

static unsigned refused_count;

static void refused_arrived(struct mail *m)
{
	(void)m;
	refused_count++;
}

/* A target whose ring does not take the message is woken another way.  Both loops are this thread's. */
static void test_a_refused_message_falls_back_to_the_eventfd(void **state)
{
	const struct loop_config config = { .entries = 8, .buffer_count = { 8, 4 } };
	struct mail mail = { .on_deliver = refused_arrived };
	struct loop *from, *to;
	const char *reason;
	int fd;

	(void)state;
	assert_int_equal(loop_new(&from, &config, &reason), 0);
	assert_int_equal(loop_new(&to, &config, &reason), 0);
	assert_int_equal(loop_turn(to, 0), 0);
	fd = to->ring.ring_fd;
	to->ring.ring_fd = 0; /* no ring: -EBADFD */
	mailbox_give(to, from, &mail);
	to->ring.ring_fd = fd;
	assert_int_equal(loop_turn(from, 0), 0);
	assert_int_equal(to->event_count, 0);
	assert_int_equal(loop_turn(to, 1000), 0);
	assert_int_equal(to->event_count, 1);
	assert_int_equal(refused_count, 1);
	loop_free(from);
	loop_free(to);
}

struct sequence {
	struct mail mail, urgent;
	struct op op;
	unsigned count, mail_at, urgent_at, op_at;
};

static void sequence_urgent(struct mail *m)
{
	struct sequence *s = container_of(m, struct sequence, urgent);

	s->urgent_at = ++s->count;
}

static void sequence_mail(struct mail *m)
{
	struct sequence *s = container_of(m, struct sequence, mail);

	s->mail_at = ++s->count;
}

static void sequence_done(struct op *op, int res, unsigned flags)
{
	struct sequence *s = container_of(op, struct sequence, op);

	(void)flags;
	assert_int_equal(res, sizeof(uint64_t));
	s->op_at = ++s->count;
}

/* A request that follows a reload finds what the reload brought, also when its worker wakes late. */
static void test_urgent_mail_comes_before_what_happened_after_it(void **state)
{
	struct sequence s = {
		.mail.on_deliver = sequence_mail,
		.urgent = { .on_deliver = sequence_urgent, .is_urgent = true },
		.op.on_done = sequence_done,
	};
	const uint64_t one = 1;
	uint64_t value;
	struct loop *l;
	const char *reason;
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(loop_new(&l, NULL, &reason), 0);
	loop_read(l, &s.op, fd, &value, sizeof(value));
	assert_int_equal(loop_turn(l, 0), 0);
	mailbox_give(l, NULL, &s.mail);
	mailbox_give(l, NULL, &s.urgent);
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
	for (unsigned i = 0; i < 10 && s.count < 3; i++)
		assert_int_equal(loop_turn(l, 1000), 0);
	assert_int_equal(s.urgent_at, 1);
	assert_int_equal(s.op_at, 2);
	assert_int_equal(s.mail_at, 3);
	loop_free(l);
	assert_int_equal(close(fd), 0);
}

/* What wakes it was armed anew in the last turn, and completes before it can be cancelled. */
static void test_a_late_wake_up_keeps_no_loop_from_ending(void **state)
{
	struct mail mails[2] = { { .on_deliver = refused_arrived }, { .on_deliver = refused_arrived } };
	struct loop *l;
	const char *reason;

	(void)state;
	refused_count = 0;
	assert_int_equal(loop_new(&l, NULL, &reason), 0);
	mailbox_give(l, NULL, &mails[0]);
	assert_int_equal(loop_turn(l, 1000), 0);
	assert_int_equal(refused_count, 1);
	mailbox_give(l, NULL, &mails[1]);
	alarm(20);
	loop_free(l);
	alarm(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tokens_go_round),
		cmocka_unit_test(test_a_refused_message_falls_back_to_the_eventfd),
		cmocka_unit_test(test_loops_flood_one_loop),
		cmocka_unit_test(test_urgent_mail_comes_before_what_happened_after_it),
		cmocka_unit_test(test_order_is_kept_per_sender),
		cmocka_unit_test(test_a_late_wake_up_keeps_no_loop_from_ending),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
