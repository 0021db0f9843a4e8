/* SPDX-License-Identifier: GPL-2.0-only */
/* flows.c - the programs and maps that splice tunnels in the kernel: ours, and those of a process before us. */
#include "fastpath/flows.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
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

/* In this order they go to another process. */
enum flows_fd {
	FD_SOCKS,
	FD_SLOTS,
	FD_CTL,
	FD_STAT,
	FD_RINGS,
	FD_LEAVE, /* the iterator's link; -1: there is none */
	FD_COUNT
};

_Static_assert(FD_COUNT == FLOWS_FDS_MAX, "flows.h says how many there are");

struct flows {
	uint32_t tag;
	atomic_uint refs;
	unsigned worker_count;	  /* 0: of another process, as the next; no row is given out here */
	unsigned rows_per_worker;
	unsigned row_count;
	unsigned age;

	struct splice_bpf *skeleton; /* owned, as all below; NULL: of another process */
	int fds[FD_COUNT];	     /* if there is a skeleton, its */
	struct sn_flow_ctl *ctl;
	struct sn_flow_stat *stat;
	size_t ctl_bytes, stat_bytes;
	int ring_fd[SN_SPLICE_WORKERS_MAX];

	/* Of another process: */
	uint32_t id;				  /* of its flow_socks */
	_Atomic uint8_t *claimed;		  /* rows that a pair here has */
	atomic_bool has_ring[SN_SPLICE_WORKERS_MAX]; /* events of that worker's pairs come to it */
};

static size_t map_bytes(size_t item, size_t count)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (item * count + page - 1) / page * page;
}

static void *map_memory(int fd, size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static int rows_map(struct flows *f)
{
	f->ctl_bytes = map_bytes(sizeof(*f->ctl), f->row_count);
	f->stat_bytes = map_bytes(sizeof(*f->stat), f->row_count);
	f->ctl = map_memory(f->fds[FD_CTL], f->ctl_bytes);
	f->stat = map_memory(f->fds[FD_STAT], f->stat_bytes);
	return f->ctl && f->stat ? 0 : -ENOMEM;
}

static struct flows *flows_new(void)
{
	struct flows *f = mem_zalloc(sizeof(*f));

	f->tag = TAG_FLOWS;
	atomic_init(&f->refs, 1);
	for (unsigned i = 0; i < FD_COUNT; i++)
		f->fds[i] = -1;
	for (unsigned i = 0; i < SN_SPLICE_WORKERS_MAX; i++)
		f->ring_fd[i] = -1;
	return f;
}

static int rings_open(struct flows *f)
{
	for (uint32_t i = 0; i < f->worker_count; i++) {
		int err, fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "splice_ring", 0, 0, SN_SPLICE_RING_BYTES, NULL);

		if (fd < 0)
			return fd;
		f->ring_fd[i] = fd;
		err = bpf_map_update_elem(f->fds[FD_RINGS], &i, &fd, BPF_ANY);
		if (err)
			return err;
	}
	return 0;
}

/* Load with or without the iterator. */
static int skeleton_load(struct flows *f, const struct flows_options *o, bool with_iterator)
{
	struct splice_bpf *s = splice_bpf__open();
	unsigned rows = f->row_count;
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
	return 0;
}

static int flows_load(struct flows *f, const struct flows_options *o)
{
	int err = o->has_no_iterator ? -EOPNOTSUPP : skeleton_load(f, o, true);
	struct splice_bpf *s;

	if (err)
		err = skeleton_load(f, o, false);
	if (err)
		return err;
	s = f->skeleton;
	f->fds[FD_SOCKS] = bpf_map__fd(s->maps.flow_socks);
	f->fds[FD_SLOTS] = bpf_map__fd(s->maps.flow_slots);
	f->fds[FD_CTL] = bpf_map__fd(s->maps.flow_ctl);
	f->fds[FD_STAT] = bpf_map__fd(s->maps.flow_stat);
	f->fds[FD_RINGS] = bpf_map__fd(s->maps.splice_rings);
	f->fds[FD_LEAVE] = s->links.sn_splice_leave ? bpf_link__fd(s->links.sn_splice_leave) : -1;
	err = rows_map(f);
	if (!err)
		err = rings_open(f);
	if (err)
		return err;
	return bpf_prog_attach(bpf_program__fd(s->progs.sn_splice), f->fds[FD_SOCKS], BPF_SK_SKB_STREAM_VERDICT, 0);
}

struct flows *flows_open(const struct flows_options *o, struct strbuf *out_why)
{
	struct flows *f = flows_new();
	struct utsname u;
	int err;

	CHECK(o->worker_count > 0 && o->worker_count <= SN_SPLICE_WORKERS_MAX && o->tunnels_per_worker > 0);
	CHECK(o->tunnels_per_worker <= SN_FLOWS_MAX / 2 / o->worker_count);
	f->worker_count = o->worker_count;
	f->rows_per_worker = 2 * o->tunnels_per_worker;
	f->row_count = f->worker_count * f->rows_per_worker;
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

static void flows_free(struct flows *f)
{
	for (unsigned i = 0; i < SN_SPLICE_WORKERS_MAX; i++)
		if (f->ring_fd[i] >= 0)
			(void)close(f->ring_fd[i]);
	if (f->ctl)
		(void)munmap(f->ctl, f->ctl_bytes);
	if (f->stat)
		(void)munmap(f->stat, f->stat_bytes);
	for (unsigned i = 0; i < FD_COUNT && !f->skeleton; i++)
		if (f->fds[i] >= 0)
			(void)close(f->fds[i]);
	splice_bpf__destroy(f->skeleton);
	free((void *)f->claimed);
	f->tag = 0;
	free(f);
}

struct flows *flows_get(struct flows *f)
{
	OBJ_CHECK(f, TAG_FLOWS);
	(void)atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
	return f;
}

void flows_put(struct flows *f)
{
	if (!f)
		return;
	OBJ_CHECK(f, TAG_FLOWS);
	if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1)
		flows_free(f);
}

bool flows_is_shared(const struct flows *f)
{
	return atomic_load_explicit(&f->refs, memory_order_acquire) > 1;
}

void flows_close(struct flows *f)
{
	if (!f)
		return;
	CHECK(!flows_is_shared(f));
	flows_put(f);
}

/* --- of another process --- */

unsigned flows_fds(const struct flows *f, int out_fds[FLOWS_FDS_MAX])
{
	memcpy(out_fds, f->fds, sizeof(f->fds));
	return f->fds[FD_LEAVE] >= 0 ? FD_COUNT : FD_COUNT - 1;
}

unsigned flows_age(const struct flows *f)
{
	return f->age;
}

static const struct {
	uint32_t type, key_size, value_size;
} map_kinds[FD_LEAVE] = {
	[FD_SOCKS] = { BPF_MAP_TYPE_SOCKHASH, 8, 8 },
	[FD_SLOTS] = { BPF_MAP_TYPE_HASH, 8, 4 },
	[FD_CTL] = { BPF_MAP_TYPE_ARRAY, 4, sizeof(struct sn_flow_ctl) },
	[FD_STAT] = { BPF_MAP_TYPE_ARRAY, 4, sizeof(struct sn_flow_stat) },
	[FD_RINGS] = { BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4 },
};

static uint32_t map_id(int fd)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.id;
}

bool flows_are_of(const struct flows *f, int socks_fd)
{
	return f->id != 0 && f->id == map_id(socks_fd);
}

/* Are the descriptors what they are said to be?  All maps but the rings have as many entries. */
static bool maps_are_sound(struct flows *f)
{
	for (unsigned i = 0; i < FD_LEAVE; i++) {
		struct bpf_map_info info = { 0 };
		uint32_t len = sizeof(info);

		if (bpf_obj_get_info_by_fd(f->fds[i], &info, &len) || info.type != map_kinds[i].type ||
		    info.key_size != map_kinds[i].key_size || info.value_size != map_kinds[i].value_size)
			return false;
		if (i == FD_SOCKS) {
			f->id = info.id;
			f->row_count = info.max_entries;
		}
		if (info.max_entries != (i == FD_RINGS ? SN_SPLICE_WORKERS_MAX : f->row_count))
			return false;
	}
	return f->row_count >= 2 && f->row_count <= SN_FLOWS_MAX;
}

static bool link_is_sound(int fd)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info);

	return fd < 0 || (bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.type == BPF_LINK_TYPE_ITER);
}

struct flows *flows_adopt(unsigned age, const int *fds, unsigned fd_count)
{
	struct flows *f = flows_new();

	CHECK(fd_count == FD_COUNT || fd_count == FD_COUNT - 1);
	memcpy(f->fds, fds, fd_count * sizeof(*fds));
	f->age = age;
	if (!maps_are_sound(f) || !link_is_sound(f->fds[FD_LEAVE]) || rows_map(f)) {
		flows_free(f);
		return NULL;
	}
	f->claimed = mem_array(f->row_count, sizeof(*f->claimed));
	return f;
}

int flows_row_claim(struct flows *f, uint64_t cookie, uint32_t *out_slot)
{
	uint32_t slot;
	int err = bpf_map_lookup_elem(f->fds[FD_SLOTS], &cookie, &slot);

	OBJ_CHECK(f, TAG_FLOWS);
	if (err)
		return err;
	if (!f->claimed || slot >= f->row_count)
		return -EINVAL;
	if (atomic_exchange_explicit(&f->claimed[slot], 1, memory_order_acq_rel))
		return -EBUSY;
	*out_slot = slot;
	return 0;
}

void flows_row_unclaim(struct flows *f, uint32_t slot)
{
	if (f->claimed)
		atomic_store_explicit(&f->claimed[slot], 0, memory_order_release);
}

void flows_ring_lead(struct flows *f, uint32_t worker, int ring_fd)
{
	CHECK(worker < SN_SPLICE_WORKERS_MAX);
	if (!atomic_exchange_explicit(&f->has_ring[worker], true, memory_order_relaxed))
		(void)bpf_map_update_elem(f->fds[FD_RINGS], &worker, &ring_fd, BPF_ANY);
}

/* --- what there is --- */

bool flows_can_iterate(const struct flows *f)
{
	return f->fds[FD_LEAVE] >= 0;
}

unsigned flows_rows_per_worker(const struct flows *f)
{
	return f->rows_per_worker;
}

struct flow_row flows_row(struct flows *f, uint32_t slot)
{
	OBJ_CHECK(f, TAG_FLOWS);
	CHECK(slot < f->row_count);
	return (struct flow_row){ &f->ctl[slot], &f->stat[slot] };
}

int flows_row_take(struct flows *f, uint32_t slot, uint64_t cookie, uint64_t peer, uint32_t worker)
{
	OBJ_CHECK(f, TAG_FLOWS);
	CHECK(worker < f->worker_count && slot / f->rows_per_worker == worker);
	f->ctl[slot] = (struct sn_flow_ctl){
		.peer = peer,
		.armed_at = SN_FLOW_NEVER,
		.limit = SN_FLOW_NEVER,
		.worker = worker,
	};
	f->stat[slot] = (struct sn_flow_stat){ .based_at = SN_FLOW_NEVER };
	return bpf_map_update_elem(f->fds[FD_SLOTS], &cookie, &slot, BPF_NOEXIST);
}

void flows_row_drop(struct flows *f, uint64_t cookie)
{
	OBJ_CHECK(f, TAG_FLOWS);
	(void)bpf_map_delete_elem(f->fds[FD_SLOTS], &cookie);
}

int flows_insert(struct flows *f, uint64_t cookie, int fd)
{
	uint64_t value = (uint64_t)fd;

	OBJ_CHECK(f, TAG_FLOWS);
	return bpf_map_update_elem(f->fds[FD_SOCKS], &cookie, &value, BPF_NOEXIST);
}

int flows_delete(struct flows *f, uint64_t cookie)
{
	OBJ_CHECK(f, TAG_FLOWS);
	return bpf_map_delete_elem(f->fds[FD_SOCKS], &cookie);
}

int flows_iterator_open(struct flows *f)
{
	OBJ_CHECK(f, TAG_FLOWS);
	CHECK(flows_can_iterate(f));
	return bpf_iter_create(f->fds[FD_LEAVE]);
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
	err = keys_count(f->fds[FD_SLOTS], out_rows);
	return err ? err : keys_count(f->fds[FD_SOCKS], out_sockets);
}
