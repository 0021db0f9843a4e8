/* SPDX-License-Identifier: GPL-2.0-only */
/* sources.c - tells the guard which sources completed a handshake. */
#include "fastpath/sources.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/hash.h"
#include "base/ip16.h"

#define SECOND_NS 1000000000ull

static bool may_add(struct sources *s, const uint8_t ip[16], uint64_t now_ns)
{
	uint16_t *of_network = ip16_is_v4(ip) ? NULL : &s->by_48[hash_bytes(ip, 6) % SOURCES_CELLS];

	if (now_ns - s->since_ns >= SECOND_NS) {
		s->since_ns = now_ns;
		s->count = 0;
		memset(s->by_48, 0, sizeof(s->by_48));
	}
	if (s->count >= SOURCES_A_SECOND || (of_network && *of_network >= SOURCES_A_SECOND_48)) {
		s->limited++;
		return false;
	}
	s->count++;
	if (of_network)
		++*of_network;
	return true;
}

int sources_add(struct sources *s, int map_fd, const uint8_t ip[16], const struct sn_source *used, uint64_t now_ns)
{
	struct sn_addr key;
	int err;

	if (!may_add(s, ip, now_ns))
		return -EAGAIN;
	memcpy(key.addr, ip, sizeof(key.addr));
	ip16_to_client((uint8_t *)key.addr);
	err = bpf_map_update_elem(map_fd, &key, used, BPF_NOEXIST);
	return err == -EEXIST ? 0 : err;
}
