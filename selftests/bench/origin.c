/* SPDX-License-Identifier: GPL-2.0-only */
/* origin.c - a small, fast HTTP/1.1 origin for the bench: one thread, epoll, nothing that costs. */
/*
 * Usage: origin PORT
 *   GET  /bytes/N  N bytes of body; any other path: 128 bytes
 *   POST           reads the body (Content-Length) and answers 2 bytes
 *   Upgrade        answers 101 and echoes every byte
 * Requests may be pipelined only when they fit the receive buffer.  It trusts its clients: bench use only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	HEAD_BYTES_MAX = 16384,
	BODY_BYTES_MAX = 4 << 20,
	DISCARD_BYTES = 1 << 20,
	EVENTS_MAX = 256,
	SMALL_BYTES = 128,
};

struct connection {
	int fd;
	bool is_tunnel;
	bool is_last; /* Connection: close was asked */

	size_t head_bytes;   /* bytes of head[] in use */
	size_t upload_bytes; /* of the request body, still to read */

	char reply[256]; /* head of the response */
	size_t reply_bytes, reply_sent;
	size_t body_bytes, body_sent;

	char head[HEAD_BYTES_MAX + 1];
};

static int poll_fd;
static char body[BODY_BYTES_MAX];

static void connection_close(struct connection *c)
{
	close(c->fd);
	free(c);
}

/* Sends what is left of the reply.  Returns false when the connection is gone. */
static bool connection_flush(struct connection *c)
{
	while (c->reply_sent < c->reply_bytes || c->body_sent < c->body_bytes) {
		struct iovec iov[2] = {
			{ c->reply + c->reply_sent, c->reply_bytes - c->reply_sent },
			{ body + c->body_sent, c->body_bytes - c->body_sent },
		};
		struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
		ssize_t sent = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
		size_t of_head;

		if (sent < 0)
			return errno == EAGAIN;
		of_head = (size_t)sent < iov[0].iov_len ? (size_t)sent : iov[0].iov_len;
		c->reply_sent += of_head;
		c->body_sent += (size_t)sent - of_head;
	}
	return !c->is_last || c->reply_bytes == 0;
}

static bool is_flushing(const struct connection *c)
{
	return c->reply_sent < c->reply_bytes || c->body_sent < c->body_bytes;
}

static bool connection_reply(struct connection *c, size_t body_bytes)
{
	c->body_bytes = body_bytes;
	c->body_sent = c->reply_sent = 0;
	c->reply_bytes = (size_t)snprintf(c->reply, sizeof(c->reply),
					  "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\n"
					  "Content-Length: %zu\r\n%s\r\n",
					  body_bytes, c->is_last ? "Connection: close\r\n" : "");
	return connection_flush(c);
}

static bool connection_upgrade(struct connection *c)
{
	c->is_tunnel = true;
	c->reply_sent = c->body_bytes = c->body_sent = 0;
	c->reply_bytes = (size_t)snprintf(c->reply, sizeof(c->reply),
					  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
					  "Connection: Upgrade\r\n"
					  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
	return connection_flush(c);
}

/* One whole head lies in head[0..len); the rest of head[] was read behind it. */
static bool connection_request(struct connection *c, size_t len)
{
	char saved = c->head[len], *field;
	size_t rest = c->head_bytes - len, length = 0;
	bool is_upgrade, is_ok;

	c->head[len] = '\0';
	field = strcasestr(c->head, "\r\ncontent-length:");
	if (field)
		length = strtoul(field + 17, NULL, 10);
	c->is_last = strcasestr(c->head, "\r\nconnection: close") != NULL;
	is_upgrade = strcasestr(c->head, "\r\nupgrade:") != NULL;
	if (is_upgrade) {
		is_ok = connection_upgrade(c);
	} else if (length) {
		c->upload_bytes = length > rest ? length - rest : 0;
		rest = length > rest ? 0 : rest - length;
		is_ok = c->upload_bytes || connection_reply(c, 2);
	} else {
		bool is_sized = strncmp(c->head, "GET /bytes/", 11) == 0;
		size_t bytes = is_sized ? strtoul(c->head + 11, NULL, 10) : SMALL_BYTES;

		is_ok = connection_reply(c, bytes < BODY_BYTES_MAX ? bytes : BODY_BYTES_MAX);
	}
	c->head[len] = saved;
	memmove(c->head, c->head + c->head_bytes - rest, rest);
	c->head_bytes = rest;
	return is_ok;
}

static bool connection_read_upload(struct connection *c)
{
	while (c->upload_bytes) {
		size_t want = c->upload_bytes < DISCARD_BYTES ? c->upload_bytes : DISCARD_BYTES;
		/* MSG_TRUNC: TCP throws the bytes away without copying them. */
		ssize_t got = recv(c->fd, NULL, want, MSG_TRUNC);

		if (got <= 0)
			return got < 0 && errno == EAGAIN;
		c->upload_bytes -= (size_t)got;
	}
	return connection_reply(c, 2);
}

static bool connection_echo(struct connection *c)
{
	char data[16384];
	ssize_t got = recv(c->fd, data, sizeof(data), 0);

	if (got <= 0)
		return got < 0 && errno == EAGAIN;
	return send(c->fd, data, (size_t)got, MSG_NOSIGNAL) == got;
}

static bool connection_read(struct connection *c)
{
	ssize_t got;
	char *end;

	if (c->upload_bytes)
		return connection_read_upload(c);
	if (c->is_tunnel)
		return connection_echo(c);
	got = recv(c->fd, c->head + c->head_bytes, HEAD_BYTES_MAX - c->head_bytes, 0);
	if (got <= 0)
		return got < 0 && errno == EAGAIN;
	c->head_bytes += (size_t)got;
	while (!is_flushing(c) && !c->upload_bytes && !c->is_tunnel) {
		c->head[c->head_bytes] = '\0';
		end = strstr(c->head, "\r\n\r\n");
		if (!end)
			break;
		if (!connection_request(c, (size_t)(end + 4 - c->head)))
			return false;
	}
	return c->head_bytes < HEAD_BYTES_MAX;
}

static void accept_all(int listen_fd)
{
	int fd, on = 1;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct connection *c = calloc(1, sizeof(*c));
		struct epoll_event event = { .data.ptr = c,
					     .events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP };

		if (!c)
			exit(1);
		c->fd = fd;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
			connection_close(c);
	}
}

/* Edge triggered: after each event everything that can move moves. */
static void connection_event(struct connection *c, unsigned events)
{
	if ((events & EPOLLOUT) && is_flushing(c) && !connection_flush(c)) {
		connection_close(c);
		return;
	}
	if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		return;
	for (;;) {
		errno = 0;
		if (!connection_read(c)) {
			connection_close(c);
			return;
		}
		if (errno == EAGAIN)
			return;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event events[EVENTS_MAX] = { { .events = EPOLLIN } };
	int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, i, count;

	if (argc != 2) {
		fprintf(stderr, "usage: origin PORT\n");
		return 2;
	}
	memset(body, 'x', sizeof(body));
	addr.sin_port = htons((unsigned short)strtoul(argv[1], NULL, 10));
	setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (bind(listen_fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(listen_fd, 4096) < 0 ||
	    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listen_fd, &events[0]) < 0) {
		perror("origin");
		return 1;
	}
	for (;;) {
		count = epoll_wait(poll_fd, events, EVENTS_MAX, -1);
		for (i = 0; i < count; i++) {
			if (events[i].data.ptr)
				connection_event(events[i].data.ptr, events[i].events);
			else
				accept_all(listen_fd);
		}
	}
}
