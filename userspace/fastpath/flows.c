/* SPDX-License-Identifier: GPL-2.0-only */
/* flows.c - the programs and maps that splice tunnels in the kernel. */
#include "fastpath/flows.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "splice.skel.h"

#define TAG_FLOWS TAG('f', 'l', 'w', 's')

struct flows {
	uint32_t tag;
	unsigned worker_count;
	unsigned rows_per_worker;
	bool can_iterate;

	struct splice_bpf *skeleton; /* owned, as all below */
	int socks_fd, slots_fd;	     /* borrowed from skeleton */
	struct sn_flow_ctl *ctl;
	struct sn_flow_stat *stat;
	size_t ctl_bytes, stat_bytes;
	int ring_fd[SN_SPLICE_WORKERS_MAX];
};

static size_t map_bytes(size_t item, size_t count)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (item * count + page - 1) / page * page;
}

static void *map_memory(const struct bpf_map *map, size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static int rings_open(struct flows *f)
{
	int outer = bpf_map__fd(f->skeleton->maps.splice_rings);

	for (uint32_t i = 0; i < f->worker_count; i++) {
		int err, fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "splice_ring", 0, 0, SN_SPLICE_RING_BYTES, NULL);

		if (fd < 0)
			return fd;
		f->ring_fd[i] = fd;
		err = bpf_map_update_elem(outer, &i, &fd, BPF_ANY);
		if (err)
			return err;
	}
	return 0;
}

/* Load with or without the iterator. */
static int skeleton_load(struct flows *f, const struct flows_options *o, bool with_iterator)
{
	struct splice_bpf *s = splice_bpf__open();
	unsigned rows = f->worker_count * f->rows_per_worker;
	int err;

	if (!s)
		return -errno;
	s->rodata->sn_splice_events = !o->is_mute;
	s->rodata->sn_splice_faults = o->faults;
	err = bpf_program__set_autoload(s->progs.sn_splice_leave, with_iterator);
	if (!err)
		err = bpf_map__set_max_entries(s->maps.flow_socks, rows);
	if (!err)
		err = bpf_map__set_max_entries(s->maps.flow_slots, rows);
	if (!err)
		err = bpf_map__set_max_entries(s->maps.flow_ctl, rows);
	if (!err)
		err = bpf_map__set_max_entries(s->maps.flow_stat, rows);
	if (!err)
		err = splice_bpf__load(s);
	if (!err && with_iterator) {
		s->links.sn_splice_leave = bpf_program__attach_iter(s->progs.sn_splice_leave, NULL);
		err = s->links.sn_splice_leave ? 0 : -errno;
	}
	if (err) {
		splice_bpf__destroy(s);
		return err;
	}
	f->skeleton = s;
	f->can_iterate = with_iterator;
	return 0;
}

static int flows_load(struct flows *f, const struct flows_options *o)
{
	unsigned rows = f->worker_count * f->rows_per_worker;
	int err = o->has_no_iterator ? -EOPNOTSUPP : skeleton_load(f, o, true);

	if (err)
		err = skeleton_load(f, o, false);
	if (err)
		return err;
	f->socks_fd = bpf_map__fd(f->skeleton->maps.flow_socks);
	f->slots_fd = bpf_map__fd(f->skeleton->maps.flow_slots);
	f->ctl_bytes = map_bytes(sizeof(*f->ctl), rows);
	f->stat_bytes = map_bytes(sizeof(*f->stat), rows);
	f->ctl = map_memory(f->skeleton->maps.flow_ctl, f->ctl_bytes);
	f->stat = map_memory(f->skeleton->maps.flow_stat, f->stat_bytes);
	if (!f->ctl || !f->stat)
		return -ENOMEM;
	err = rings_open(f);
	if (err)
		return err;
	return bpf_prog_attach(bpf_program__fd(f->skeleton->progs.sn_splice), f->socks_fd,
			       BPF_SK_SKB_STREAM_VERDICT, 0);
}

struct flows *flows_open(const struct flows_options *o, struct strbuf *out_why)
{
	struct flows *f = mem_zalloc(sizeof(*f));
	struct utsname u;
	int err;

	CHECK(o->worker_count > 0 && o->worker_count <= SN_SPLICE_WORKERS_MAX && o->tunnels_per_worker > 0);
	CHECK(o->tunnels_per_worker <= SN_FLOWS_MAX / 2 / o->worker_count);
	f->tag = TAG_FLOWS;
	f->worker_count = o->worker_count;
	f->rows_per_worker = 2 * o->tunnels_per_worker;
	for (unsigned i = 0; i < SN_SPLICE_WORKERS_MAX; i++)
		f->ring_fd[i] = -1;
	err = flows_load(f, o);
	if (!err)
		return f;
	if (err == -EPERM || err == -EACCES)
		strbuf_add_str(out_why, "not permitted: it takes CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN");
	else if (uname(&u) == 0)
		strbuf_printf(out_why, "kernel %s refused the splice programs: %s", u.release, err_name(err));
	flows_close(f);
	return NULL;
}

void flows_close(struct flows *f)
{
	if (!f)
		return;
	OBJ_CHECK(f, TAG_FLOWS);
	for (unsigned i = 0; i < SN_SPLICE_WORKERS_MAX; i++)
		if (f->ring_fd[i] >= 0)
			(void)close(f->ring_fd[i]);
	if (f->ctl)
		(void)munmap(f->ctl, f->ctl_bytes);
	if (f->stat)
		(void)munmap(f->stat, f->stat_bytes);
	splice_bpf__destroy(f->skeleton);
	f->tag = 0;
	free(f);
}

bool flows_can_iterate(const struct flows *f)
{
	return f->can_iterate;
}

unsigned flows_rows_per_worker(const struct flows *f)
{
	return f->rows_per_worker;
}

struct flow_row flows_row(struct flows *f, uint32_t slot)
{
	OBJ_CHECK(f, TAG_FLOWS);
	CHECK(slot < f->worker_count * f->rows_per_worker);
	return (struct flow_row){ &f->ctl[slot], &f->stat[slot] };
}

int flows_row_take(struct flows *f, uint32_t slot, uint64_t cookie, uint64_t peer, uint32_t worker)
{
	OBJ_CHECK(f, TAG_FLOWS);
	CHECK(slot / f->rows_per_worker == worker && worker < f->worker_count);
	f->ctl[slot] = (struct sn_flow_ctl){
		.peer = peer,
		.armed_at = SN_FLOW_NEVER,
		.limit = SN_FLOW_NEVER,
		.worker = worker,
	};
	f->stat[slot] = (struct sn_flow_stat){ .based_at = SN_FLOW_NEVER };
	return bpf_map_update_elem(f->slots_fd, &cookie, &slot, BPF_NOEXIST);
}

void flows_row_drop(struct flows *f, uint64_t cookie)
{
	OBJ_CHECK(f, TAG_FLOWS);
	(void)bpf_map_delete_elem(f->slots_fd, &cookie);
}

int flows_insert(struct flows *f, uint64_t cookie, int fd)
{
	uint64_t value = (uint64_t)fd;

	OBJ_CHECK(f, TAG_FLOWS);
	return bpf_map_update_elem(f->socks_fd, &cookie, &value, BPF_NOEXIST);
}

int flows_delete(struct flows *f, uint64_t cookie)
{
	OBJ_CHECK(f, TAG_FLOWS);
	return bpf_map_delete_elem(f->socks_fd, &cookie);
}

int flows_iterator_open(struct flows *f)
{
	OBJ_CHECK(f, TAG_FLOWS);
	CHECK(f->can_iterate);
	return bpf_iter_create(bpf_link__fd(f->skeleton->links.sn_splice_leave));
}

int flows_ring_fd(const struct flows *f, unsigned worker)
{
	OBJ_CHECK(f, TAG_FLOWS);
	CHECK(worker < f->worker_count);
	return f->ring_fd[worker];
}

static int keys_count(int map_fd, unsigned *out_count)
{
	uint64_t key, next;
	unsigned count = 0;
	int err = bpf_map_get_next_key(map_fd, NULL, &next);

	while (!err) {
		count++;
		key = next;
		err = bpf_map_get_next_key(map_fd, &key, &next);
	}
	if (err != -ENOENT)
		return err;
	*out_count = count;
	return 0;
}

int flows_count(struct flows *f, unsigned *out_rows, unsigned *out_sockets)
{
	int err;

	OBJ_CHECK(f, TAG_FLOWS);
	err = keys_count(f->slots_fd, out_rows);
	return err ? err : keys_count(f->socks_fd, out_sockets);
}
