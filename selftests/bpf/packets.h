/* SPDX-License-Identifier: GPL-2.0-only */
/* packets.h - builds frames for packet tests, and loads the guard into a mount namespace of its own. */
#ifndef SN_SELFTESTS_BPF_PACKETS_H
#define SN_SELFTESTS_BPF_PACKETS_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/check.h"
#include "fastpath/budgets.h"
#include "fastpath/loader.h"
#include "fastpath/maps.h"
#include "fastpath/tables.h"

#define PACKET_MAX 512
#define PACKET_PAYLOAD 8

/* An extension header of IPv6: its protocol, and for a fragment the offset in bytes. */
struct packet_extension {
	uint8_t proto;
	uint16_t offset;
	bool has_more;
};

/* Zero means: IPv4 TCP from 198.51.100.1:4000 to 192.0.2.1:80, whole. */
struct packet_spec {
	const char *source;
	const char *destination;
	uint16_t port;
	uint8_t proto;
	int vlans;
	uint16_t ethertype;	  /* 0: by the addresses */
	uint16_t fragment_offset; /* IPv4, in bytes */
	bool has_more_fragments;
	int option_bytes; /* IPv4 */
	uint8_t tcp_flags; /* 2: SYN */
	uint8_t version;  /* 0: as it should be */
	uint8_t ihl;	  /* 0: as it should be */
	struct packet_extension extensions[10];
};

static inline void packet_ip(const char *text, uint8_t out_ip[16])
{
	memset(out_ip, 0, 16);
	if (strchr(text, ':')) {
		CHECK(inet_pton(AF_INET6, text, out_ip) == 1);
		return;
	}
	out_ip[10] = out_ip[11] = 0xff;
	CHECK(inet_pton(AF_INET, text, out_ip + 12) == 1);
}

static inline uint8_t *packet_put(uint8_t *at, const void *bytes, size_t len)
{
	memcpy(at, bytes, len);
	return at + len;
}

static inline uint8_t *packet_put16(uint8_t *at, uint16_t value)
{
	value = htons(value);
	return packet_put(at, &value, sizeof(value));
}

static inline uint8_t *packet_ip4(uint8_t *at, const struct packet_spec *s, const uint8_t source[16],
				  const uint8_t destination[16], uint8_t proto)
{
	uint8_t *ip = at;
	int words = 5 + s->option_bytes / 4;

	memset(ip, 0, (size_t)words * 4);
	ip[0] = (uint8_t)((s->version ? s->version : 4) << 4 | (s->ihl ? s->ihl : words));
	(void)packet_put16(ip + 2, (uint16_t)(words * 4 + 20 + PACKET_PAYLOAD));
	(void)packet_put16(ip + 6, (uint16_t)(s->fragment_offset / 8 | (s->has_more_fragments ? 0x2000 : 0)));
	ip[8] = 64;
	ip[9] = proto;
	memcpy(ip + 12, source + 12, 4);
	memcpy(ip + 16, destination + 12, 4);
	return ip + words * 4;
}

/* Options of 8 bytes (AH: 12); every second one is longer, so that lengths are really read. */
static inline uint8_t *packet_extension_put(uint8_t *at, const struct packet_extension *e, uint8_t next, int index)
{
	size_t len = e->proto == IPPROTO_AH ? 12 : e->proto == IPPROTO_FRAGMENT ? 8 : index % 2 ? 16 : 8;

	memset(at, 0, len);
	at[0] = next;
	if (e->proto == IPPROTO_FRAGMENT)
		(void)packet_put16(at + 2, (uint16_t)((e->offset & 0xfff8) | e->has_more));
	else
		at[1] = (uint8_t)(e->proto == IPPROTO_AH ? len / 4 - 2 : len / 8 - 1);
	return at + len;
}

static inline uint8_t *packet_ip6(uint8_t *at, const struct packet_spec *s, const uint8_t source[16],
				  const uint8_t destination[16], uint8_t proto)
{
	uint8_t *ip = at;
	int i;

	memset(ip, 0, 40);
	ip[0] = (uint8_t)((s->version ? s->version : 6) << 4);
	ip[6] = s->extensions[0].proto ? s->extensions[0].proto : proto;
	/* 0 is hop-by-hop: rows write 255 for it, since 0 ends the list. */
	if (ip[6] == 255)
		ip[6] = IPPROTO_HOPOPTS;
	ip[7] = 64;
	memcpy(ip + 8, source, 16);
	memcpy(ip + 24, destination, 16);
	at += 40;
	for (i = 0; i < 10 && s->extensions[i].proto; i++) {
		uint8_t next = i < 9 && s->extensions[i + 1].proto ? s->extensions[i + 1].proto : proto;

		at = packet_extension_put(at, &s->extensions[i], next == 255 ? IPPROTO_HOPOPTS : next, i);
	}
	return at;
}

/* The length of the frame in buf, which holds PACKET_MAX bytes. */
static inline size_t packet_build(uint8_t *buf, const struct packet_spec *s)
{
	const char *source = s->source ? s->source : "198.51.100.1";
	const char *destination = s->destination ? s->destination : "192.0.2.1";
	uint8_t proto = s->proto ? s->proto : IPPROTO_TCP;
	bool is_v6 = strchr(destination, ':') != NULL;
	uint8_t from[16], to[16], *at = buf;
	int i;

	packet_ip(source, from);
	packet_ip(destination, to);
	at = packet_put(at, "\x02\0\0\0\0\1\x02\0\0\0\0\2", 12);
	for (i = 0; i < s->vlans; i++) {
		at = packet_put16(at, i == 0 && s->vlans > 1 ? ETH_P_8021AD : ETH_P_8021Q);
		at = packet_put16(at, (uint16_t)(100 + i));
	}
	at = packet_put16(at, s->ethertype ? s->ethertype : is_v6 ? ETH_P_IPV6 : ETH_P_IP);
	at = is_v6 ? packet_ip6(at, s, from, to, proto) : packet_ip4(at, s, from, to, proto);
	at = packet_put16(at, 4000);
	at = packet_put16(at, s->port ? s->port : 80);
	memset(at, 0, 16 + PACKET_PAYLOAD);
	at[8] = 5 << 4;
	at[9] = s->tcp_flags;
	at += 16 + PACKET_PAYLOAD;
	return (size_t)(at - buf);
}

/* The guard, loaded and attached nowhere. */
struct packet_guard {
	struct loader_paths paths;
	struct fastpath_maps maps;
	int program_fd[LOADER_PROGRAM_COUNT];
};

/* A BPF file system that nobody else sees, and that ends with the process.  0 or -errno. */
static inline int packet_private_bpffs(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL) < 0)
		return -errno;
	return 0;
}

/* Ends the program; the second line is what the test runner counts. */
static inline void packet_skip(const char *why, const char *detail)
{
	printf("skipped: %s%s\n[  SKIPPED ] 1 test(s)\n", why, detail);
	exit(0);
}

/* Ends the program, and says why, if this machine does not let us load the guard. */
static inline void packet_guard_open(struct packet_guard *g)
{
	struct strbuf why = { 0 };
	unsigned replaced;
	int which, err;

	strbuf_init(&why);
	maps_init(&g->maps);
	(void)libbpf_set_print(NULL);
	if (geteuid() != 0)
		packet_skip("loading BPF programs takes root", "");
	err = packet_private_bpffs();
	if (err)
		packet_skip("no private BPF file system: ", strerror(-err));
	CHECK(loader_paths_init(&g->paths, NULL, "packets") == 0);
	err = loader_maps_open(&g->paths, &g->maps, &replaced, &why);
	for (which = 0; which < LOADER_PROGRAM_COUNT && !err; which++)
		err = loader_program_load(which, &g->maps, &g->program_fd[which], &why);
	if (err) {
		printf("failed: %s\n", why.ptr);
		exit(1);
	}
	strbuf_fini(&why);
}

/* The plan in the guard's maps.  addrs NULL: the host has none. */
static inline void packet_guard_apply(const struct packet_guard *g, const struct fastpath_plan *p,
				      const struct hostaddrs *addrs, struct sn_budgets *out_levels)
{
	const struct hostaddrs none = { 0 };
	struct strbuf why = { 0 };
	struct tables t;

	strbuf_init(&why);
	budgets_compile(p, NULL, out_levels);
	tables_init(&t, p, addrs ? addrs : &none, out_levels);
	if (tables_grant(&t, &g->maps, &why) || tables_put(&t, &g->maps, &why) ||
	    tables_lift(&t, &g->maps, &why) || tables_prune(&t, &g->maps, &why)) {
		printf("failed: %s\n", why.ptr);
		exit(1);
	}
	tables_fini(&t);
	strbuf_fini(&why);
}

/* True: the program drops the frame.  CHECKs that it leaves the bytes alone and returns nothing else. */
static inline bool packet_guard_drops(const struct packet_guard *g, enum loader_program which,
				      const uint8_t *frame, size_t len)
{
	uint8_t out[PACKET_MAX + 64];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (__u32)len, .data_out = out,
		    .data_size_out = sizeof(out));

	CHECK(bpf_prog_test_run_opts(g->program_fd[which], &opts) == 0);
	CHECK(opts.data_size_out == len && memcmp(out, frame, len) == 0);
	if (which == LOADER_XDP) {
		CHECK(opts.retval == XDP_DROP || opts.retval == XDP_PASS);
		return opts.retval == XDP_DROP;
	}
	CHECK((int)opts.retval == -1 || opts.retval == 2); /* TC_ACT_UNSPEC, TC_ACT_SHOT */
	return opts.retval == 2;
}

#endif
