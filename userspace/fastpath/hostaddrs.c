/* SPDX-License-Identifier: GPL-2.0-only */
/* hostaddrs.c - the host's own addresses, by rtnetlink. */
#include "fastpath/hostaddrs.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/ip16.h"
#include "base/mem.h"
#include "sentinel/abi.h"

#define REPLY_BYTES 32768
#define TRIES_MAX 5 /* a list that changed while it was read is read again */

static int route_socket(uint32_t groups, int flags)
{
	const struct sockaddr_nl self = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int err, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&self, sizeof(self)) < 0) {
		err = -errno;
		(void)close(fd);
		return err;
	}
	return fd;
}

int hostaddrs_watch(void)
{
	return route_socket(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR, SOCK_NONBLOCK);
}

bool hostaddrs_drain(int watch_fd)
{
	char buf[4096];
	bool has_any = false;

	for (;;) {
		ssize_t n = recv(watch_fd, buf, sizeof(buf), MSG_TRUNC | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		/* ENOBUFS: notices were lost, which is one too. */
		if (n < 0 && errno != ENOBUFS)
			return has_any;
		has_any = true;
	}
}

/* Point-to-point links: IFA_ADDRESS is the peer, IFA_LOCAL our end. */
static int add_message(struct hostaddrs *h, const struct nlmsghdr *msg)
{
	const struct ifaddrmsg *ifa = NLMSG_DATA(msg);
	const struct rtattr *attr;
	const void *local = NULL, *address = NULL;
	struct hostaddr *item;
	size_t wanted;
	int left;

	if (msg->nlmsg_len < NLMSG_LENGTH(sizeof(*ifa)) ||
	    (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6))
		return 0;
	wanted = ifa->ifa_family == AF_INET ? 4 : 16;
	left = (int)IFA_PAYLOAD(msg);
	for (attr = IFA_RTA(ifa); RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		if (RTA_PAYLOAD(attr) != wanted)
			continue;
		if (attr->rta_type == IFA_LOCAL)
			local = RTA_DATA(attr);
		else if (attr->rta_type == IFA_ADDRESS)
			address = RTA_DATA(attr);
	}
	if (!local && !address)
		return 0;
	if (h->count == SN_HOST_ADDRS_MAX)
		return -E2BIG;
	h->items = mem_resize(h->items, h->count + 1, sizeof(*h->items));
	item = &h->items[h->count++];
	*item = (struct hostaddr){ .ifindex = ifa->ifa_index };
	if (wanted == 4)
		ip16_from_v4(item->ip, local ? local : address);
	else
		memcpy(item->ip, local ? local : address, wanted);
	return 0;
}

/* One datagram of the answer.  1: go on, 0: the end, -EINTR: changed meanwhile. */
static int add_reply(struct hostaddrs *h, const char *buf, size_t len)
{
	const struct nlmsghdr *msg;
	unsigned left = (unsigned)len;

	for (msg = (const void *)buf; NLMSG_OK(msg, left); msg = NLMSG_NEXT(msg, left)) {
		int err = 0;

		if (msg->nlmsg_flags & NLM_F_DUMP_INTR)
			return -EINTR;
		if (msg->nlmsg_type == NLMSG_DONE)
			return 0;
		if (msg->nlmsg_type == NLMSG_ERROR)
			return -EIO;
		if (msg->nlmsg_type == RTM_NEWADDR)
			err = add_message(h, msg);
		if (err)
			return err;
	}
	return 1;
}

static int dump(int fd, struct hostaddrs *h)
{
	const struct {
		struct nlmsghdr head;
		struct ifaddrmsg ifa;
	} request = {
		.head = {
			.nlmsg_len = sizeof(request),
			.nlmsg_type = RTM_GETADDR,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		},
		.ifa = { .ifa_family = AF_UNSPEC },
	};
	_Alignas(struct nlmsghdr) char buf[REPLY_BYTES];
	int err;

	if (send(fd, &request, sizeof(request), 0) < 0)
		return -errno;
	do {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n < 0)
			return -errno;
		err = add_reply(h, buf, (size_t)n);
	} while (err > 0);
	return err;
}

static int item_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(((struct hostaddr *)NULL)->ip));
}

/* fe80:: addresses occur once an interface. */
static void sort_unique(struct hostaddrs *h)
{
	size_t i, kept = 0;

	if (h->count == 0)
		return;
	qsort(h->items, h->count, sizeof(*h->items), item_compare);
	for (i = 0; i < h->count; i++)
		if (kept == 0 || item_compare(&h->items[kept - 1], &h->items[i]) != 0)
			h->items[kept++] = h->items[i];
	h->count = kept;
}

int hostaddrs_read(struct hostaddrs *out)
{
	const struct timeval patience = { .tv_sec = 2 };
	struct hostaddrs h = { 0 };
	int tries, err = -EINTR;

	for (tries = 0; tries < TRIES_MAX && err == -EINTR; tries++) {
		/* A new socket each time: the rest of a broken answer goes away with the old one. */
		int fd = route_socket(0, 0);

		if (fd < 0)
			return fd;
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		hostaddrs_fini(&h);
		err = dump(fd, &h);
		(void)close(fd);
	}
	if (err) {
		hostaddrs_fini(&h);
		return err;
	}
	sort_unique(&h);
	hostaddrs_fini(out);
	*out = h;
	return 0;
}

void hostaddrs_fini(struct hostaddrs *h)
{
	if (!h)
		return;
	free(h->items);
	*h = (struct hostaddrs){ 0 };
}
