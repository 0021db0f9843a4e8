/* SPDX-License-Identifier: GPL-2.0-only */
/* steer.c - loads the program that chooses workers, and tells it which sockets and how busy they are. */
#include "fastpath/steer.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "sentinel/steer.h"
#include "steer.skel.h"

#ifndef SO_ATTACH_REUSEPORT_EBPF
#define SO_ATTACH_REUSEPORT_EBPF 52
#endif

#define TAG_STEER TAG('s', 't', 'r', 'r')

struct steer_group {
	struct steer_group *next;
	struct sn_steer_key key;
	int fd; /* owned: the map of its sockets */
};

struct steer {
	uint32_t tag;
	unsigned worker_count;
	struct steer_bpf *skeleton; /* owned */
	struct sn_steer_worker *workers; /* owned, mapped, as picks */
	uint64_t *picks;
	size_t workers_bytes, picks_bytes;
	struct steer_group *groups; /* owned */
};

static size_t map_bytes(size_t item)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (item * SN_STEER_WORKERS_MAX + page - 1) / page * page;
}

static void *map_memory(const struct bpf_map *map, size_t bytes, int protection)
{
	void *memory = mmap(NULL, bytes, protection, MAP_SHARED, bpf_map__fd(map), 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* A template for the inner maps, which libbpf needs only while it loads. */
static int steer_load(struct steer *s)
{
	struct steer_bpf *k = steer_bpf__open();
	int err;

	if (!k)
		return -errno;
	s->skeleton = k;
	k->rodata->sn_steer_workers = s->worker_count;
	err = steer_bpf__load(k);
	if (err)
		return err;
	s->workers_bytes = map_bytes(sizeof(*s->workers));
	s->picks_bytes = map_bytes(sizeof(*s->picks));
	s->workers = map_memory(k->maps.steer_workers, s->workers_bytes, PROT_READ | PROT_WRITE);
	s->picks = map_memory(k->maps.steer_picks, s->picks_bytes, PROT_READ);
	return s->workers && s->picks ? 0 : -ENOMEM;
}

struct steer *steer_open(unsigned worker_count, struct strbuf *out_why)
{
	struct steer *s = mem_zalloc(sizeof(*s));
	int err;

	CHECK(worker_count >= 2 && worker_count <= SN_STEER_WORKERS_MAX);
	s->tag = TAG_STEER;
	s->worker_count = worker_count;
	err = steer_load(s);
	if (!err)
		return s;
	if (err == -EPERM)
		strbuf_add_str(out_why, "not permitted: it takes CAP_BPF and CAP_NET_ADMIN");
	else
		strbuf_printf(out_why, "the kernel refused the program: %s", err_name(err));
	steer_close(s);
	return NULL;
}

/* A map that nobody refers to is freed some time later, and a socket may be in one map only: empty it now. */
static void group_drop(struct steer *s, struct steer_group **link)
{
	struct steer_group *g = *link;

	for (uint32_t i = 0; i < s->worker_count; i++)
		(void)bpf_map_delete_elem(g->fd, &i);
	(void)bpf_map_delete_elem(bpf_map__fd(s->skeleton->maps.steer_groups), &g->key);
	(void)close(g->fd);
	*link = g->next;
	free(g);
}

void steer_close(struct steer *s)
{
	if (!s)
		return;
	OBJ_CHECK(s, TAG_STEER);
	while (s->groups)
		group_drop(s, &s->groups);
	if (s->workers)
		(void)munmap(s->workers, s->workers_bytes);
	if (s->picks)
		(void)munmap(s->picks, s->picks_bytes);
	steer_bpf__destroy(s->skeleton);
	s->tag = 0;
	free(s);
}

/* As the program makes it from the socket. */
static bool key_make(struct sn_steer_key *out, const struct addr *addr)
{
	*out = (struct sn_steer_key){ .family = addr->sa.sa_family, .port = addr_port(addr) };
	if (addr->sa.sa_family == AF_INET)
		memcpy(&out->addr[3], &addr->in.sin_addr, 4);
	else if (addr->sa.sa_family == AF_INET6)
		memcpy(out->addr, &addr->in6.sin6_addr, 16);
	else
		return false;
	return true;
}

static int socks_fill(int map_fd, const int *fds, unsigned count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t fd = (uint64_t)fds[i];
		int err = bpf_map_update_elem(map_fd, &i, &fd, BPF_ANY);

		if (err)
			return err;
	}
	return 0;
}

static int group_attach(struct steer *s, const struct steer_group *g, const int *fds)
{
	int program = bpf_program__fd(s->skeleton->progs.sn_steer);
	int err = socks_fill(g->fd, fds, s->worker_count);

	if (!err)
		err = bpf_map_update_elem(bpf_map__fd(s->skeleton->maps.steer_groups), &g->key, &g->fd, BPF_ANY);
	if (!err && setsockopt(fds[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program, sizeof(program)) < 0)
		err = -errno;
	return err;
}

int steer_add(struct steer *s, const struct addr *addr, const int *fds)
{
	struct steer_group *g;
	struct sn_steer_key key;
	int err;

	OBJ_CHECK(s, TAG_STEER);
	if (!key_make(&key, addr))
		return -EAFNOSUPPORT;
	steer_remove(s, addr);
	g = mem_zalloc(sizeof(*g));
	g->key = key;
	g->fd = bpf_map_create(BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, "steer_socks", sizeof(uint32_t), sizeof(uint64_t),
			       SN_STEER_WORKERS_MAX, NULL);
	if (g->fd < 0) {
		err = g->fd;
		free(g);
		return err;
	}
	g->next = s->groups;
	s->groups = g;
	err = group_attach(s, g, fds);
	if (err)
		group_drop(s, &s->groups);
	return err;
}

void steer_remove(struct steer *s, const struct addr *addr)
{
	struct sn_steer_key key;

	if (!s || !key_make(&key, addr))
		return;
	for (struct steer_group **link = &s->groups; *link; link = &(*link)->next)
		if (memcmp(&(*link)->key, &key, sizeof(key)) == 0) {
			group_drop(s, link);
			return;
		}
}

void steer_publish(struct steer *s, unsigned worker, uint64_t live)
{
	struct sn_steer_worker *w;
	uint64_t picks;

	if (!s)
		return;
	CHECK(worker < s->worker_count);
	w = &s->workers[worker];
	picks = __atomic_load_n(&s->picks[worker], __ATOMIC_RELAXED);
	if (w->live == live && w->seen == picks)
		return;
	__atomic_store_n(&w->seen, picks, __ATOMIC_RELAXED);
	__atomic_store_n(&w->live, live, __ATOMIC_RELAXED);
}

uint64_t steer_live(const struct steer *s, unsigned worker)
{
	CHECK(worker < s->worker_count);
	return __atomic_load_n(&s->workers[worker].live, __ATOMIC_RELAXED);
}

uint64_t steer_picks(const struct steer *s, unsigned worker)
{
	CHECK(worker < s->worker_count);
	return __atomic_load_n(&s->picks[worker], __ATOMIC_RELAXED);
}
