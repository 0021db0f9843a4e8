/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flood_send.c - a flood of SYNs, held to a rate.
 *
 * Usage: flood_send WAY DEVICE MAC SERVER PORT RATE SECONDS
 *
 *   frames   256 sources beside one another, as frames that an XDP program redirects to the device: the receiver's
 *            XDP program then meets no socket buffer, as with a driver's.  Takes the whole CPU, because the program
 *            waits between bursts: a call of BPF_PROG_RUN takes milliseconds to begin and to end, and cannot sleep.
 *   prefix   the same sources, by a packet socket; sleeps between bursts, with the lowest priority
 *   random   the same with a new source for each packet
 *
 * Source 253 of the 256 is left out: a client may have it.  The last line says {"sent": packets, "seconds": time}.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "flood_send.skel.h"

#define BURST 64 /* as many as a driver's ring is asked for at once; a veth's ring has room for 256 */
#define SOURCES 256
#define SKIP 253
#define FIRST_SOURCE "10.80.5.0"
#define ID 1000
#define SOURCE_PORT 40000
#define REPEAT 2000000000 /* the alarm comes first */

struct __attribute__((packed)) frame {
	uint8_t to[6], from[6];
	uint16_t proto;
	struct iphdr ip;
	struct tcphdr tcp;
};

struct flood {
	const char *device;
	uint8_t mac[6];
	struct in_addr server;
	uint16_t port;
	uint64_t rate, seconds;
};

static void fail(const char *what)
{
	fprintf(stderr, "flood_send: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void sent_print(uint64_t sent, uint64_t began)
{
	printf("{\"sent\": %llu, \"seconds\": %.3f}\n", (unsigned long long)sent, (double)(clock_ns() - began) / 1e9);
}

static uint32_t sum_words(const void *bytes, size_t len)
{
	const uint8_t *b = bytes;
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)b[i] << 8 | b[i + 1];
	return sum;
}

static uint16_t sum_end(uint32_t sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	return htons((uint16_t)~((sum >> 16) + sum));
}

static void frame_make(struct frame *f, const struct flood *flood, uint32_t source, uint32_t random)
{
	memset(f, 0, sizeof(*f));
	memcpy(f->to, flood->mac, 6);
	f->from[0] = 2;
	f->from[5] = 1;
	f->proto = htons(ETH_P_IP);
	f->ip.version = 4;
	f->ip.ihl = 5;
	f->ip.tot_len = htons(sizeof(f->ip) + sizeof(f->tcp));
	f->ip.id = htons(ID);
	f->ip.ttl = 64;
	f->ip.protocol = IPPROTO_TCP;
	f->ip.saddr = source;
	f->ip.daddr = flood->server.s_addr;
	f->ip.check = sum_end(sum_words(&f->ip, sizeof(f->ip)));
	f->tcp.source = htons((uint16_t)(SOURCE_PORT + random % 20000));
	f->tcp.dest = htons(flood->port);
	f->tcp.seq = random;
	f->tcp.doff = 5;
	f->tcp.syn = 1;
	f->tcp.window = htons(65535);
	f->tcp.check = sum_end(sum_words(&f->ip.saddr, 8) + IPPROTO_TCP + sizeof(f->tcp) +
			       sum_words(&f->tcp, sizeof(f->tcp)));
}

static uint32_t source_beside(uint32_t number)
{
	number %= SOURCES;
	return htonl(ntohl(inet_addr(FIRST_SOURCE)) + number + (number >= SKIP));
}

/* Of networks that are nobody's special ones. */
static uint32_t source_invented(uint64_t random)
{
	static const uint8_t first[] = { 20, 50, 90, 130, 180 };

	return htonl((uint32_t)first[random % sizeof(first)] << 24 | (uint32_t)(random >> 40));
}

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * 0x2545f4914f6cdd1dull;
}

static void alarm_ignore(int number)
{
	(void)number;
}

static void send_frames(const struct flood *flood)
{
	struct flood_send_bpf *skeleton = flood_send_bpf__open();
	struct itimerval timer = { .it_value.tv_sec = (time_t)flood->seconds };
	struct sigaction action = { .sa_handler = alarm_ignore };
	LIBBPF_OPTS(bpf_test_run_opts, run);
	struct frame f;
	uint64_t began;

	if (!skeleton)
		fail("open");
	frame_make(&f, flood, inet_addr(FIRST_SOURCE), 0);
	skeleton->rodata->send_ifindex = if_nametoindex(flood->device);
	skeleton->rodata->send_burst = BURST;
	skeleton->rodata->send_burst_ns = BURST * 1000000000ull / flood->rate;
	skeleton->rodata->send_sources = SOURCES;
	skeleton->rodata->send_skip = SKIP;
	skeleton->rodata->send_source = (uint16_t)ntohl(f.ip.saddr);
	skeleton->rodata->send_id = ID;
	skeleton->rodata->send_port = SOURCE_PORT;
	if (flood_send_bpf__load(skeleton) != 0)
		fail("load");
	run.data_in = &f;
	run.data_size_in = sizeof(f);
	run.repeat = REPEAT;
	run.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
	run.batch_size = BURST;
	(void)sigaction(SIGALRM, &action, NULL);
	(void)setitimer(ITIMER_REAL, &timer, NULL);
	began = clock_ns();
	if (bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.flood_send), &run) != 0 && errno != EINTR)
		fail("BPF_PROG_RUN");
	sent_print(skeleton->bss->sent, began);
	flood_send_bpf__destroy(skeleton);
}

static int packet_socket(const char *device)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(device) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
		fail("packet socket");
	return fd;
}

/* One message a frame. */
struct burst {
	struct frame frames[BURST];
	struct iovec parts[BURST];
	struct mmsghdr messages[BURST];
};

static void burst_init(struct burst *b)
{
	memset(b, 0, sizeof(*b));
	for (int i = 0; i < BURST; i++) {
		b->parts[i] = (struct iovec){ &b->frames[i], sizeof(b->frames[i]) };
		b->messages[i].msg_hdr.msg_iov = &b->parts[i];
		b->messages[i].msg_hdr.msg_iovlen = 1;
	}
}

/* How many found room in the receiver's ring. */
static uint32_t burst_send(struct burst *b, int fd)
{
	uint32_t sent = 0;

	for (uint32_t i = 0; i < BURST;) {
		int done = sendmmsg(fd, b->messages + i, BURST - i, 0);

		if (done < 0 && errno != ENOBUFS)
			fail("sendmmsg");
		sent += done < 0 ? 0 : (uint32_t)done;
		i += done < 0 ? 1 : (uint32_t)done;
	}
	return sent;
}

static void send_packets(const struct flood *flood, int is_random)
{
	uint64_t began = clock_ns(), sent = 0, count = flood->rate * flood->seconds, state = began | 1;
	int fd = packet_socket(flood->device);
	struct burst b;

	/* Softirqs that are left to their thread must not wait for us: no flood takes time of the machine it meets. */
	if (setpriority(PRIO_PROCESS, 0, 19) != 0)
		fail("priority");
	burst_init(&b);
	for (uint64_t made = 0; made < count; made += BURST) {
		uint64_t due = began + made * 1000000000 / flood->rate;
		struct timespec until = { (time_t)(due / 1000000000), (long)(due % 1000000000) };

		for (uint32_t i = 0; i < BURST; i++) {
			uint64_t r = random_next(&state);
			uint32_t source = is_random ? source_invented(r) : source_beside((uint32_t)made + i);

			frame_make(&b.frames[i], flood, source, (uint32_t)r);
		}
		(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		sent += burst_send(&b, fd);
	}
	sent_print(sent, began);
	(void)close(fd);
}

static int flood_read(struct flood *f, char **words)
{
	uint8_t *m = f->mac;
	int port = atoi(words[3]);

	f->device = words[0];
	f->port = (uint16_t)port;
	f->rate = strtoull(words[4], NULL, 10);
	f->seconds = strtoull(words[5], NULL, 10);
	return if_nametoindex(f->device) &&
	       sscanf(words[1], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", m, m + 1, m + 2, m + 3, m + 4, m + 5) == 6 &&
	       inet_pton(AF_INET, words[2], &f->server) == 1 && port > 0 && port < 65536 && f->rate >= 1000 &&
	       f->rate <= 10000000 && f->seconds >= 1 && f->seconds <= 600;
}

int main(int argc, char **argv)
{
	struct flood flood = { 0 };
	const char *way = argc == 8 ? argv[1] : "";
	int is_frames = strcmp(way, "frames") == 0, is_random = strcmp(way, "random") == 0;

	if ((!is_frames && !is_random && strcmp(way, "prefix") != 0) || !flood_read(&flood, argv + 2)) {
		fputs("usage: flood_send frames|prefix|random DEVICE MAC SERVER PORT RATE SECONDS\n", stderr);
		return 2;
	}
	if (is_frames)
		send_frames(&flood);
	else
		send_packets(&flood, is_random);
	return 0;
}
