/* SPDX-License-Identifier: GPL-2.0-only */
/* loadgen.c - HTTP load for the bench: closed loop or open loop, one thread, results as one JSON line. */
/*
 * Usage: loadgen --port N [--mode request|close|upload|ws|idle] [--connections N] [--seconds S]
 *                [--warmup S] [--rate R] [--bytes N] [--paths N] [--path P] [--cpu-of PID,PID...]
 *
 * Closed loop (no --rate): every connection sends its next request when the last answer is complete.
 * Open loop (--rate R): requests are due at the points of a Poisson process of R a second, whatever the
 * server does; one that finds no free connection waits, and its latency counts from the time it was due.
 * So a stall shows up in every request that it delayed (no coordinated omission).
 *
 * Only what completes between the end of the warm-up and the end is counted.  At both moments the run time
 * of the processes of --cpu-of is read, so that CPU time and operations cover the same interval.
 * Mode idle opens the connections, sends one request on each, prints "ready" and holds them until stdin ends.
 */
#include "bench/measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	HEAD_BYTES_MAX = 8192,
	EVENTS_MAX = 256,
	QUEUE_MAX = 1 << 20,    /* requests that are due and wait for a connection */
	WS_PAYLOAD_BYTES = 64,
	WS_FRAME_BYTES = WS_PAYLOAD_BYTES + 6,
	UPLOAD_BYTES_MAX = 4 << 20,
};

enum mode { MODE_REQUEST, MODE_CLOSE, MODE_UPLOAD, MODE_WS, MODE_IDLE, MODE_COUNT };
static const char *const mode_names[MODE_COUNT] = { "request", "close", "upload", "ws", "idle" };

enum phase { PHASE_FREE, PHASE_SENDING, PHASE_HEAD, PHASE_BODY, PHASE_UNTIL_CLOSE };

struct client {
	int fd;
	enum phase phase;
	bool is_upgraded;
	bool is_last;   /* the server said Connection: close */
	int64_t due_ns; /* when the request should have been sent */

	char request[512];
	size_t request_bytes, request_sent;
	size_t upload_left;

	char head[HEAD_BYTES_MAX + 1];
	size_t head_bytes;
	size_t body_left;
};

static struct options {
	unsigned port, connections, paths;
	enum mode mode;
	double seconds, warmup, rate;
	size_t bytes;
	const char *path;
} options = { .connections = 64, .seconds = 5, .warmup = 0.5, .path = "/" };

static int poll_fd;
static struct client *clients;
static struct client **free_clients;
static unsigned free_count;
static int64_t queue[QUEUE_MAX];
static size_t queue_head, queue_tail;
static char upload[UPLOAD_BYTES_MAX];
static uint64_t random_state = 0x9e3779b97f4a7c15u; /* a constant: every proxy sees the same arrivals */

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* Nanoseconds to the next arrival of a Poisson process. */
static int64_t arrival_gap_ns(void)
{
	double unit = ((double)(random_next() >> 11) + 1) / 9007199254740993.0;

	return (int64_t)(-log(unit) * 1e9 / options.rate);
}

/* --- one client --------------------------------------------------------------------------------------- */

static void client_send(struct client *c);

static void client_connect(struct client *c)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)options.port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = c };
	int on = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	c->is_upgraded = c->is_last = false;
	c->head_bytes = 0;
	if (c->fd < 0) {
		perror("loadgen: socket");
		exit(1);
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno != EINPROGRESS) {
		perror("loadgen: connect");
		exit(1);
	}
	epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

static void __attribute__((format(printf, 2, 3))) client_print(struct client *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	c->request_bytes = (size_t)vsnprintf(c->request, sizeof(c->request), format, args);
	va_end(args);
}

static void client_format(struct client *c)
{
	char path[128];

	if (options.paths)
		snprintf(path, sizeof(path), "/r%04u/page", (unsigned)(random_next() % options.paths));
	else if (options.bytes && options.mode != MODE_UPLOAD)
		snprintf(path, sizeof(path), "/bytes/%zu", options.bytes);
	else
		snprintf(path, sizeof(path), "%s", options.path);
	c->upload_left = options.mode == MODE_UPLOAD ? options.bytes : 0;
	if (options.mode == MODE_UPLOAD)
		client_print(c, "POST %s HTTP/1.1\r\nHost: bench.test\r\nContent-Length: %zu\r\n\r\n", path,
			     options.bytes);
	else if (options.mode == MODE_WS)
		client_print(c, "GET /ws HTTP/1.1\r\nHost: bench.test\r\nUpgrade: websocket\r\n"
				"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
				"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
	else
		client_print(c, "GET %s HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: loadgen\r\n"
				"Accept: */*\r\n%s\r\n",
			     path, options.mode == MODE_CLOSE ? "Connection: close\r\n" : "");
}

/* A masked text frame; the mask is zero, so the payload is what it seems. */
static void client_format_frame(struct client *c)
{
	memset(c->request, 'x', WS_FRAME_BYTES);
	memcpy(c->request, (char[]){ (char)0x81, (char)(0x80 | WS_PAYLOAD_BYTES), 0, 0, 0, 0 }, 6);
	c->request_bytes = WS_FRAME_BYTES;
}

static void client_begin(struct client *c, int64_t due_ns)
{
	c->due_ns = due_ns;
	c->request_sent = 0;
	c->phase = PHASE_SENDING;
	if (c->is_upgraded)
		client_format_frame(c);
	else
		client_format(c);
	if (c->fd < 0)
		client_connect(c);
	client_send(c);
}

static void client_fail(struct client *c)
{
	measure_errors(1);
	close(c->fd);
	c->fd = -1;
	c->phase = PHASE_FREE;
	free_clients[free_count++] = c;
}

/* The answer is complete: takes the next request, or waits for one. */
static void client_finish(struct client *c)
{
	/* The 101 of a WebSocket is no operation; the echoes are. */
	if (options.mode == MODE_WS && !c->is_upgraded)
		c->is_upgraded = true;
	else
		measure_operation(c->due_ns);
	if (c->is_last && c->fd >= 0) {
		close(c->fd);
		c->fd = -1;
	}
	c->phase = PHASE_FREE;
	free_clients[free_count++] = c;
}

static void client_send(struct client *c)
{
	while (c->request_sent < c->request_bytes || c->upload_left) {
		struct iovec iov[2] = {
			{ c->request + c->request_sent, c->request_bytes - c->request_sent },
			{ upload, c->upload_left },
		};
		struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
		ssize_t sent = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
		size_t of_head;

		if (sent < 0) {
			if (errno != EAGAIN && errno != ENOTCONN)
				client_fail(c);
			return;
		}
		of_head = (size_t)sent < iov[0].iov_len ? (size_t)sent : iov[0].iov_len;
		c->request_sent += of_head;
		c->upload_left -= (size_t)sent - of_head;
	}
	c->phase = c->is_upgraded ? PHASE_BODY : PHASE_HEAD;
	c->body_left = WS_FRAME_BYTES;
}

/* Returns false when the head is broken or not what was asked for. */
static bool client_head_done(struct client *c, char *end)
{
	size_t behind = c->head_bytes - (size_t)(end + 4 - c->head), length = 0;
	unsigned status = (unsigned)strtoul(c->head + 9, NULL, 10);
	char *field;

	end[2] = '\0';
	if (status != (options.mode == MODE_WS ? 101u : 200u))
		return false;
	field = strcasestr(c->head, "\r\ncontent-length:");
	if (field)
		length = strtoul(field + 17, NULL, 10);
	else if (options.mode != MODE_WS)
		return false;
	if (behind > length)
		return false;
	c->is_last = strcasestr(c->head, "\r\nconnection: close") != NULL;
	c->head_bytes = 0;
	c->body_left = length - behind;
	c->phase = PHASE_BODY;
	return true;
}

/* One step of reading; false: nothing more to read now, or the client has ended. */
static bool client_read(struct client *c)
{
	ssize_t got;
	char *end;

	if (c->phase == PHASE_BODY && c->body_left) {
		got = recv(c->fd, NULL, c->body_left, MSG_TRUNC);
		if (got > 0)
			c->body_left -= (size_t)got;
	} else {
		got = recv(c->fd, c->head + c->head_bytes, HEAD_BYTES_MAX - c->head_bytes, 0);
		if (got > 0)
			c->head_bytes += (size_t)got;
	}
	if (got < 0 && errno == EAGAIN)
		return false;
	if (got == 0 && c->phase == PHASE_UNTIL_CLOSE) {
		close(c->fd);
		c->fd = -1;
		client_finish(c);
		return false;
	}
	if (got <= 0 || c->phase == PHASE_FREE || c->phase == PHASE_UNTIL_CLOSE) {
		client_fail(c);
		return false;
	}
	if (c->phase == PHASE_HEAD) {
		c->head[c->head_bytes] = '\0';
		end = strstr(c->head, "\r\n\r\n");
		if ((end && !client_head_done(c, end)) || (!end && c->head_bytes == HEAD_BYTES_MAX)) {
			client_fail(c);
			return false;
		}
	}
	if (c->phase == PHASE_BODY && c->body_left == 0) {
		c->phase = PHASE_UNTIL_CLOSE;
		if (options.mode == MODE_CLOSE)
			return true;
		client_finish(c);
		return false;
	}
	return true;
}

static void client_event(struct client *c, unsigned events)
{
	if (c->fd < 0)
		return;
	if (c->phase == PHASE_FREE) {
		/* Closed while idle: the next request connects anew. */
		if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
			close(c->fd);
			c->fd = -1;
			c->is_upgraded = false;
		}
		return;
	}
	if (c->phase == PHASE_SENDING)
		client_send(c);
	if (c->phase > PHASE_SENDING)
		while (client_read(c))
			;
}

/* --- the run -------------------------------------------------------------------------------------------- */

/* Open loop: what has become due is queued; then waiting requests take free connections, oldest first. */
static void requests_start(int64_t now, int64_t *next_due)
{
	if (options.rate <= 0) {
		/* A client that fails comes back here at the next turn, not in this loop: no endless turn. */
		unsigned count = free_count;

		while (count--) {
			struct client *c = free_clients[0];

			free_clients[0] = free_clients[--free_count];
			client_begin(c, now);
		}
		return;
	}
	while (*next_due <= now) {
		if (queue_tail - queue_head < QUEUE_MAX)
			queue[queue_tail++ % QUEUE_MAX] = *next_due;
		else
			measure.late++;
		*next_due += arrival_gap_ns();
	}
	while (queue_head < queue_tail && free_count)
		client_begin(free_clients[--free_count], queue[queue_head++ % QUEUE_MAX]);
}

static void wait_events(int64_t until_ns)
{
	struct epoll_event events[EVENTS_MAX];
	int64_t wait = until_ns - now_ns();
	struct timespec timeout = { 0 };
	int i, count;

	if (wait > 0)
		timeout = (struct timespec){ .tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000 };
	count = epoll_pwait2(poll_fd, events, EVENTS_MAX, &timeout, NULL);

	for (i = 0; i < count; i++)
		client_event(events[i].data.ptr, events[i].events);
}

static void run_load(void)
{
	int64_t begin = now_ns(), next_due = begin, counting = begin + (int64_t)(options.warmup * 1e9);
	int64_t end = counting + (int64_t)(options.seconds * 1e9), now = begin;

	while (now < end) {
		if (!measure.is_counting && now >= counting)
			measure_begin();
		requests_start(now, &next_due);
		wait_events(options.rate > 0 && next_due < end ? next_due : end);
		now = now_ns();
	}
	measure_print(mode_names[options.mode], "");
}

/* Opens in steps of at most 64 unanswered requests: the accept queue is not what is measured. */
static void run_idle(void)
{
	unsigned started = 0;
	char byte;

	measure.is_counting = true;
	free_count = 0;
	while (measure.operations + measure.errors < options.connections) {
		while (started < options.connections && started - measure.operations - measure.errors < 64)
			client_begin(&clients[started++], now_ns());
		free_count = 0;
		wait_events(now_ns() + 100000000);
	}
	printf("ready %lu %lu\n", measure.operations, measure.errors);
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
}

static void options_read_mode(const char *word)
{
	for (options.mode = 0; options.mode < MODE_COUNT; options.mode++)
		if (!strcmp(word, mode_names[options.mode]))
			return;
	fprintf(stderr, "loadgen: unknown mode %s\n", word);
	exit(2);
}

static void options_read(int argc, char **argv)
{
	static const struct option names[] = {
		{ "port", 1, NULL, 'p' },    { "mode", 1, NULL, 'm' },	  { "connections", 1, NULL, 'c' },
		{ "seconds", 1, NULL, 's' }, { "warmup", 1, NULL, 'w' },  { "rate", 1, NULL, 'r' },
		{ "bytes", 1, NULL, 'b' },   { "paths", 1, NULL, 'n' },	  { "path", 1, NULL, 'u' },
		{ "cpu-of", 1, NULL, 'o' },  { NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (option) {
		case 'p': options.port = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'm': options_read_mode(optarg); break;
		case 'c': options.connections = (unsigned)strtoul(optarg, NULL, 10); break;
		case 's': options.seconds = strtod(optarg, NULL); break;
		case 'w': options.warmup = strtod(optarg, NULL); break;
		case 'r': options.rate = strtod(optarg, NULL); break;
		case 'b': options.bytes = strtoul(optarg, NULL, 10); break;
		case 'n': options.paths = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'u': options.path = optarg; break;
		case 'o': measure_watch(optarg); break;
		default: exit(2);
		}
	}
	if (!options.port || !options.connections || options.bytes > UPLOAD_BYTES_MAX) {
		fprintf(stderr, "loadgen: --port is required, --bytes is at most %d\n", UPLOAD_BYTES_MAX);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	unsigned i;

	options_read(argc, argv);
	files_raise();
	prctl(PR_SET_TIMERSLACK, 1);
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	clients = calloc(options.connections, sizeof(*clients));
	free_clients = calloc(options.connections, sizeof(struct client *));
	if (!clients || !free_clients)
		return 1;
	for (i = 0; i < options.connections; i++) {
		clients[i].fd = -1;
		free_clients[free_count++] = &clients[i];
	}
	if (options.mode == MODE_IDLE)
		run_idle();
	else
		run_load();
	return 0;
}
