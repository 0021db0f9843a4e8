/* SPDX-License-Identifier: GPL-2.0-only */
/* loader.c - puts maps and programs of the guard into the kernel. */
#include "fastpath/loader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/check.h"
#include "base/err.h"
#include "fastpath/layout.h"
#include "guard_tc.skel.h"
#include "guard_xdp.skel.h"

#define INSTANCE_MAX 63

int loader_paths_init(struct loader_paths *p, const char *bpffs, const char *instance)
{
	char name[INSTANCE_MAX + 1];
	size_t i, len = strlen(instance);

	if (len == 0 || len > INSTANCE_MAX || strchr(instance, '/'))
		return -EINVAL;
	for (i = 0; i <= len; i++)
		name[i] = instance[i] == '.' ? '%' : instance[i];
	bpffs = bpffs ? bpffs : LOADER_BPFFS;
	if (strlen(bpffs) + len + 64 > LOADER_PATH_MAX)
		return -EINVAL;
	(void)snprintf(p->bpffs, sizeof(p->bpffs), "%s", bpffs);
	(void)snprintf(p->instance, sizeof(p->instance), "%s/sentinel/%s", bpffs, name);
	(void)snprintf(p->maps, sizeof(p->maps), "%s/sentinel/%s/v%d", bpffs, name, SN_ABI_VERSION);
	return 0;
}

int loader_bpffs_check(const struct loader_paths *p, struct strbuf *out_why)
{
	struct statfs fs;

	if (statfs(p->bpffs, &fs) < 0) {
		int err = -errno;

		strbuf_printf(out_why, "%s: %s", p->bpffs, err_text(err));
		return err;
	}
	if ((unsigned long)fs.f_type == BPF_FS_MAGIC)
		return 0;
	strbuf_printf(out_why, "no BPF file system at %s (mount -t bpf bpf %s)", p->bpffs, p->bpffs);
	return -ENODEV;
}

static int refused(int err, const char *what, struct strbuf *out_why)
{
	struct utsname u;

	if (err == -EPERM || err == -EACCES)
		strbuf_printf(out_why, "not permitted to load %s: it takes CAP_BPF and CAP_NET_ADMIN", what);
	else if (uname(&u) == 0)
		strbuf_printf(out_why, "kernel %s refused %s: %s (6.1 or newer is needed)", u.release, what,
			      err_name(err));
	return err;
}

/*
 * Asked before anything is made: else the folder of a process that may not load would be in the way of one that may.
 * The kernel has the last word (a user namespace's capabilities do not count).
 */
static bool may_load(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
	uint64_t have;

	if (syscall(SYS_capget, &head, data) < 0)
		return false;
	have = data[0].effective | (uint64_t)data[1].effective << 32;
	return (have >> CAP_SYS_ADMIN & 1) || ((have >> CAP_BPF & 1) && (have >> CAP_NET_ADMIN & 1));
}

/*
 * Anybody may make folders in a BPF file system, and whoever owns the first of ours may remove our pins, and with
 * them the guard.  Those below may belong to the user that the daemon becomes.
 */
static int make_folder(const char *path, bool is_first, struct strbuf *out_why)
{
	struct stat st;
	int err;

	if ((mkdir(path, 0700) < 0 && errno != EEXIST) || lstat(path, &st) < 0) {
		err = -errno;
		strbuf_printf(out_why, "cannot make %s: %s", path, err_text(err));
		return err;
	}
	if (!is_first)
		return 0;
	if (S_ISDIR(st.st_mode) && (st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & 0022))
		return 0;
	strbuf_printf(out_why, "%s is not a folder of our own", path);
	return -EPERM;
}

/* Each folder on the way to the maps. */
static int make_folders(const struct loader_paths *p, struct strbuf *out_why)
{
	char path[LOADER_PATH_MAX];
	bool is_first = true;
	size_t i;
	int err = 0;

	for (i = strlen(p->bpffs) + 1; !err; i++) {
		if (p->maps[i] != '/' && p->maps[i] != '\0')
			continue;
		memcpy(path, p->maps, i);
		path[i] = '\0';
		err = make_folder(path, is_first, out_why);
		is_first = false;
		if (p->maps[i] == '\0')
			break;
	}
	return err;
}

/* Those that are empty. */
static void remove_folders(const struct loader_paths *p)
{
	char path[LOADER_PATH_MAX + 16];

	(void)rmdir(p->maps);
	(void)rmdir(p->instance);
	(void)snprintf(path, sizeof(path), "%s/sentinel", p->bpffs);
	(void)rmdir(path);
}

static int pin_path(const struct loader_paths *p, enum fastpath_map map, char path[LOADER_PATH_MAX])
{
	int n = snprintf(path, LOADER_PATH_MAX, "%s/%s", p->maps, maps_name(map));

	return n < LOADER_PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Give the object the pinned maps that are ours; remove the pins of the others. */
static int reuse_pins(const struct loader_paths *p, struct bpf_object *o, unsigned *replaced)
{
	char path[LOADER_PATH_MAX];
	int i, err = 0;

	for (i = 0; i < MAP_COUNT && !err; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(o, maps_name(i));
		int fd;

		CHECK(map);
		err = pin_path(p, i, path);
		fd = err ? err : bpf_obj_get(path);
		if (fd < 0) {
			err = fd == -ENOENT ? 0 : fd;
			continue;
		}
		if (layout_is_same(map, bpf_object__btf(o), fd)) {
			err = bpf_map__reuse_fd(map, fd);
		} else {
			err = unlink(path) < 0 ? -errno : 0;
			++*replaced;
		}
		(void)close(fd);
	}
	return err;
}

/* Keep the descriptors of the loaded object's maps, and pin those that are new. */
static int keep_maps(const struct loader_paths *p, struct bpf_object *o, struct fastpath_maps *m)
{
	char path[LOADER_PATH_MAX];
	int i, err;

	for (i = 0; i < MAP_COUNT; i++) {
		int fd = bpf_map__fd(bpf_object__find_map_by_name(o, maps_name(i)));

		err = pin_path(p, i, path);
		if (!err)
			err = bpf_obj_pin(fd, path);
		if (err && err != -EEXIST)
			return err;
		m->fd[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (m->fd[i] < 0)
			return -errno;
	}
	return 0;
}

int loader_maps_open(const struct loader_paths *p, struct fastpath_maps *m, unsigned *out_replaced,
		     struct strbuf *out_why)
{
	struct guard_tc_bpf *skeleton;
	unsigned replaced = 0;
	int err;

	if (!may_load())
		return refused(-EPERM, "the guard's maps", out_why);
	err = make_folders(p, out_why);
	if (err)
		return err;
	skeleton = guard_tc_bpf__open();
	if (!skeleton)
		return refused(-errno, "the guard's maps", out_why);
	/* For the maps alone. */
	err = bpf_program__set_autoload(skeleton->progs.sn_guard_tc, false);
	if (!err)
		err = reuse_pins(p, skeleton->obj, &replaced);
	if (!err)
		err = guard_tc_bpf__load(skeleton);
	if (!err)
		err = keep_maps(p, skeleton->obj, m);
	guard_tc_bpf__destroy(skeleton);
	if (err) {
		maps_fini(m);
		remove_folders(p);
		return refused(err, "the guard's maps", out_why);
	}
	*out_replaced = replaced;
	return 0;
}

/* Unlink everything in one v<N> folder and the folder. */
static int remove_folder(const char *path, bool keeps_bans)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	int count = 0;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir)) != NULL) {
		if (keeps_bans && (strcmp(entry->d_name, maps_name(MAP_BLOCK)) == 0 ||
				   strcmp(entry->d_name, maps_name(MAP_BLOCK_HITS)) == 0))
			continue;
		if (entry->d_name[0] != '.')
			count += unlinkat(dirfd(dir), entry->d_name, 0) == 0;
	}
	(void)closedir(dir);
	return rmdir(path) < 0 && !(keeps_bans && errno == ENOTEMPTY) ? -errno : count;
}

int loader_version_of(const char *folder)
{
	size_t digits;

	if (folder[0] != 'v' || folder[1] == '0')
		return -1;
	digits = strspn(folder + 1, "0123456789");
	return digits >= 1 && digits <= 6 && !folder[1 + digits] ? (int)strtoul(folder + 1, NULL, 10) : -1;
}

static int remove_versions(const struct loader_paths *p, bool keeps_ours, bool keeps_bans)
{
	char path[LOADER_PATH_MAX + 256];
	struct dirent *entry;
	DIR *dir = opendir(p->instance);
	int count = 0, err = 0;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir)) != NULL) {
		int n, version = loader_version_of(entry->d_name);

		if (version < 0 || (keeps_ours && version == SN_ABI_VERSION))
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", p->instance, entry->d_name);
		n = remove_folder(path, keeps_bans && version == SN_ABI_VERSION);
		if (n < 0)
			err = n;
		else
			count += n;
	}
	(void)closedir(dir);
	return err ? err : count;
}

int loader_others_unpin(const struct loader_paths *p)
{
	int count = remove_versions(p, true, false);

	return count < 0 ? count : 0;
}

int loader_maps_unpin(const struct loader_paths *p, bool keeps_bans)
{
	int count = remove_versions(p, false, keeps_bans);

	/* They stay while something else is in them: that is no failure. */
	remove_folders(p);
	return count;
}

static int use_maps(struct bpf_object *o, const struct fastpath_maps *m)
{
	int i, err = 0;

	for (i = 0; i < MAP_COUNT && !err; i++)
		err = bpf_map__reuse_fd(bpf_object__find_map_by_name(o, maps_name(i)), m->fd[i]);
	return err;
}

static int load_object(struct bpf_object *o, enum loader_program which, int *out_fd)
{
	int fd, err = bpf_object__load(o);

	if (err)
		return err;
	fd = bpf_program__fd(bpf_object__find_program_by_name(o, loader_program_name(which)));
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	*out_fd = fd;
	return 0;
}

/* The object alone: libxdp closes what it is given, and nobody here needs the skeleton's struct. */
static struct bpf_object *open_object(enum loader_program which, const struct fastpath_maps *m)
{
	const char *name = which == LOADER_XDP ? "guard_xdp" : "guard_tc";
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = name);
	struct bpf_object *o;
	const void *elf;
	size_t size;

	elf = which == LOADER_XDP ? guard_xdp_bpf__elf_bytes(&size) : guard_tc_bpf__elf_bytes(&size);
	o = bpf_object__open_mem(elf, size, &opts);
	if (o && use_maps(o, m)) {
		bpf_object__close(o);
		return NULL;
	}
	return o;
}

int loader_program_load(enum loader_program which, const struct fastpath_maps *m, int *out_fd,
			struct strbuf *out_why)
{
	struct bpf_object *o = open_object(which, m);
	int err = o ? load_object(o, which, out_fd) : -errno;

	bpf_object__close(o);
	return err ? refused(err, "the guard's program", out_why) : 0;
}

struct bpf_object *loader_xdp_open(const struct fastpath_maps *m)
{
	return open_object(LOADER_XDP, m);
}

const char *loader_program_name(enum loader_program which)
{
	return which == LOADER_XDP ? "sn_guard_xdp" : "sn_guard_tc";
}
