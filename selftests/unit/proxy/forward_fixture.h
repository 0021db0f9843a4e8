/* SPDX-License-Identifier: GPL-2.0-only */
/* forward_fixture.h - a worker with one route to two targets, and their origins and clients, played by the test. */
#ifndef SN_SELFTESTS_FORWARD_FIXTURE_H
#define SN_SELFTESTS_FORWARD_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "lib/port_hold.h"
#include "lib/steady_clock.h"
#include "net/socket.h"
#include "proxy/handler.h"
#include "proxy/worker.h"

#define ORIGINS	   2
#define TURNS_MAX  1000

struct origin {
	struct addr addr;
	char name[32];
	int listen_fd, fd; /* -1: none */
	char got[300000];
	size_t got_len;
};

struct client {
	int fd;
	char got[300000];
	size_t got_len;
	bool is_eof, is_reset;
};

struct fixture {
	struct loop *loop;
	struct proxy_shared shared;
	struct proxy_worker worker;
	struct endpoint_registry registry;
	struct endpoint *endpoints[ORIGINS];
	unsigned weights[ORIGINS];
	struct upstream upstream;
	struct snapshot *snapshot;
	struct listener listener;
	struct route route;
	struct route_match match;
	struct router *router;

	struct origin origins[ORIGINS];
	struct client clients[3];
	int listen_fd; /* of the proxy */
	struct addr addr;
	struct addr client_addr; /* of all clients, for the proxy: not of loopback, so they count; len 0: their own */
};

static inline int listen_on_loopback(struct addr *addr)
{
	socklen_t len = sizeof(addr->in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(addr_parse(SPAN("127.0.0.1:0"), addr), 0);
	assert_int_equal(bind(fd, &addr->sa, addr->len), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, &addr->sa, &len), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static inline void fill_snapshot(struct fixture *f)
{
	const char *reason;

	f->upstream = (struct upstream){
		.id = "u",
		.endpoints = f->endpoints,
		.weights = f->weights,
		.endpoint_count = 1,
		.balancer = balancer_find("round-robin"),
		.timeouts = { .connect_ms = 500, .first_byte_ms = 500, .read_ms = 500, .write_ms = 500 },
		.pool = { .max_connections = 10, .max_idle = 10, .idle_timeout_ms = 5000 },
	};
	f->route = (struct route){
		.id = "r",
		.handler = &handler_forward,
		.upstream = &f->upstream,
		.tunnel_idle_ms = 5000,
		.websocket = ROUTE_UPGRADE_ALLOWED,
		.retry = { .attempts_max = 1, .backoff_base_ms = 1, .backoff_max_ms = 2,
			   .replay_buffer_max = 65536, .budget_percent = 20 },
	};
	f->match = (struct route_match){ .route = &f->route, .id = "r", .priority = 50 };
	assert_int_equal(router_build(&f->router, &f->match, 1, &f->snapshot->arena, &reason), 0);
	f->listener = (struct listener){
		.id = "l",
		.number = 1,
		.router = f->router,
		.server = { .limits = { 8192, 16384, 100, 8192, 256 },
			    .head_timeout_ms = 2000, .body_idle_timeout_ms = 2000,
			    .keep_alive_timeout_ms = 2000, .write_idle_timeout_ms = 2000 },
	};
	snapshot_set_listeners(f->snapshot, &f->listener, 1);
	f->snapshot->routes = &f->route;
	f->snapshot->route_count = 1;
	f->snapshot->upstreams = &f->upstream;
	f->snapshot->upstream_count = 1;
	f->snapshot->router = f->router;
	f->snapshot->worker_count = 1;
	f->snapshot->max_connections = 100;
	f->snapshot->limits.queued = 1000;
}

static inline int set_up(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));
	const char *reason;

	hash_init();
	assert_int_equal(loop_new(&f->loop, &(struct loop_config){ 0 }, &reason), 0);
	endpoint_registry_init(&f->registry);
	for (unsigned i = 0; i < ORIGINS; i++) {
		struct origin *o = &f->origins[i];

		o->fd = -1;
		o->listen_fd = listen_on_loopback(&o->addr);
		(void)snprintf(o->name, sizeof(o->name), "127.0.0.1:%u", ntohs(o->addr.in.sin_port));
		f->endpoints[i] = endpoint_get(&f->registry, o->name);
		f->weights[i] = 1;
	}
	f->snapshot = snapshot_new();
	fill_snapshot(f);
	proxy_worker_init(&f->worker, f->loop, &f->shared, 0, 8);
	for (unsigned i = 0; i < 3; i++)
		f->clients[i].fd = -1;
	f->listen_fd = listen_on_loopback(&f->addr);
	assert_int_equal(addr_parse(SPAN("192.0.2.1:4711"), &f->client_addr), 0);
	*state = f;
	return 0;
}

/* The settings may be changed before. */
static inline void begin(struct fixture *f)
{
	proxy_worker_adopt(&f->worker, f->snapshot);
}

static inline void client_receive(struct client *c)
{
	ssize_t n;

	if (c->fd < 0)
		return;
	while (c->got_len < sizeof(c->got) - 1 && !c->is_eof && !c->is_reset) {
		n = recv(c->fd, c->got + c->got_len, sizeof(c->got) - 1 - c->got_len, MSG_DONTWAIT);
		if (n == 0)
			c->is_eof = true;
		else if (n < 0 && errno != EAGAIN)
			c->is_reset = true;
		if (n <= 0)
			break;
		c->got_len += (size_t)n;
	}
	c->got[c->got_len] = 0;
}

static inline void turn(struct fixture *f)
{
	loop_turn(f->loop, 2);
	for (unsigned i = 0; i < 3; i++)
		client_receive(&f->clients[i]);
}

static inline void turns(struct fixture *f, int n)
{
	while (n-- > 0)
		turn(f);
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 3; i++)
		if (f->clients[i].fd >= 0)
			close(f->clients[i].fd);
	for (unsigned i = 0; i < ORIGINS; i++) {
		if (f->origins[i].fd >= 0)
			close(f->origins[i].fd);
		if (f->origins[i].listen_fd >= 0)
			close(f->origins[i].listen_fd);
	}
	for (int i = 0; i < TURNS_MAX && !proxy_worker_is_idle(&f->worker); i++)
		loop_turn(f->loop, 5);
	assert_true(proxy_worker_is_idle(&f->worker));
	assert_int_equal(f->worker.host.arenas.used, 0);
	assert_int_equal(f->worker.current->exchanges, 0);
	assert_int_equal(atomic_load(&f->shared.requests_in_flight), 0);
	assert_int_equal(atomic_load(&f->shared.connections), 0);
	for (unsigned i = 0; i < ORIGINS; i++)
		assert_int_equal(f->worker.current->upstreams[0].active[0], 0);
	proxy_worker_close(&f->worker);
	for (int i = 0; i < TURNS_MAX && !proxy_worker_is_closed(&f->worker); i++)
		loop_turn(f->loop, 5);
	proxy_worker_fini(&f->worker);
	for (unsigned i = 0; i < COUNTS_SHARDS; i++)
		assert_int_equal(f->shared.clients.shards[i].used, 0);
	counts_fini(&f->shared.clients);
	snapshot_put(f->snapshot);
	for (unsigned i = 0; i < ORIGINS; i++)
		endpoint_put(&f->registry, f->endpoints[i]);
	endpoint_registry_sweep(&f->registry);
	endpoint_registry_fini(&f->registry);
	close(f->listen_fd);
	loop_free(f->loop);
	test_free(f);
	return 0;
}

/* ---- the client ---- */

static inline struct client *dial(struct fixture *f, unsigned i)
{
	struct addr peer = f->client_addr;
	struct client *c = &f->clients[i];
	int fd;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(c->fd, &f->addr.sa, f->addr.len), 0);
	fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	if (!peer.len)
		socket_peer_find(fd, &peer);
	proxy_worker_accept(&f->worker, 1, fd, &peer);
	return c;
}

static inline void send_all(int fd, const char *bytes, size_t len)
{
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT), (ssize_t)len);
}

static inline void ask(const struct client *c, const char *text)
{
	send_all(c->fd, text, strlen(text));
}

static inline void client_hears(struct fixture *f, const struct client *c, const char *text)
{
	for (int i = 0; i < TURNS_MAX && !strstr(c->got, text); i++)
		turn(f);
	if (!strstr(c->got, text))
		fail_msg("the client got: %s", c->got);
}

static inline void client_sees_the_end(struct fixture *f, const struct client *c)
{
	for (int i = 0; i < TURNS_MAX && !c->is_eof && !c->is_reset; i++)
		turn(f);
	assert_true(c->is_eof || c->is_reset);
}

static inline void client_leaves(struct client *c)
{
	close(c->fd);
	c->fd = -1;
}

static inline void client_resets(struct client *c)
{
	const struct linger reset = { 1, 0 };

	assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	client_leaves(c);
}

/* ---- the origin ---- */

static inline void accept_at(struct fixture *f, unsigned i)
{
	struct origin *o = &f->origins[i];

	for (int n = 0; n < TURNS_MAX; n++) {
		o->fd = accept4(o->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (o->fd >= 0)
			break;
		turn(f);
	}
	assert_true(o->fd >= 0);
	o->got_len = 0;
	o->got[0] = 0;
}

/* Bytes that came since; false: the proxy closed. */
static inline bool origin_receive(struct origin *o)
{
	ssize_t n = recv(o->fd, o->got + o->got_len, sizeof(o->got) - 1 - o->got_len, MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN))
		return false;
	if (n > 0)
		o->got_len += (size_t)n;
	o->got[o->got_len] = 0;
	return true;
}

static inline void origin_hears(struct fixture *f, unsigned i, const char *text)
{
	struct origin *o = &f->origins[i];

	if (o->fd < 0)
		accept_at(f, i);
	for (int n = 0; n < TURNS_MAX && !strstr(o->got, text); n++) {
		(void)origin_receive(o);
		turn(f);
	}
	if (!strstr(o->got, text))
		fail_msg("the origin got: %s", o->got);
}

static inline void origin_says(const struct fixture *f, unsigned i, const char *text)
{
	send_all(f->origins[i].fd, text, strlen(text));
}

static inline void origin_closes(struct fixture *f, unsigned i)
{
	close(f->origins[i].fd);
	f->origins[i].fd = -1;
}

static inline void origin_resets(struct fixture *f, unsigned i)
{
	const struct linger reset = { 1, 0 };

	assert_int_equal(setsockopt(f->origins[i].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	origin_closes(f, i);
}

static inline void origin_sees_the_end(struct fixture *f, unsigned i)
{
	int n = 0;

	while (origin_receive(&f->origins[i]) && n++ < TURNS_MAX)
		turn(f);
	assert_true(n < TURNS_MAX);
}

/* Whichever target was picked first. */
static inline unsigned accept_anywhere(struct fixture *f)
{
	for (int n = 0; n < TURNS_MAX; n++) {
		for (unsigned i = 0; i < ORIGINS; i++) {
			f->origins[i].fd = accept4(f->origins[i].listen_fd, NULL, NULL, SOCK_CLOEXEC);
			if (f->origins[i].fd >= 0)
				return i;
		}
		turn(f);
	}
	fail_msg("no target was asked");
	return 0;
}

static inline void stop_listening(struct fixture *f, unsigned i)
{
	f->origins[i].listen_fd = port_hold(f->origins[i].listen_fd);
}

static inline struct endpoint_worker *side_of(struct fixture *f, unsigned i)
{
	return proxy_worker_endpoint(&f->worker, f->endpoints[i]);
}

static inline struct exchange *exchange_of(struct fixture *f)
{
	return list_first(&f->worker.exchanges, struct exchange, node);
}

static inline uint64_t failures_of(struct fixture *f, enum failure failure)
{
	const struct span labels[3] = { SPAN("u"), SPAN("r"), span_str(failure_row(failure)->label) };

	return atomic_load(&metric_cell(f->worker.metrics, METRIC_UPSTREAM_FAILURES_TOTAL, labels)->value);
}

#endif
