/* SPDX-License-Identifier: GPL-2.0-only */
/* attach.c - pins of attachments, tc, and taking off; XDP is in attach_xdp.c. */
#include "fastpath/attach.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/check.h"
#include "base/err.h"

/* Kernel 6.6; not in the headers of Debian 12. */
#define ATTACH_TCX_INGRESS ((enum bpf_attach_type)46)

/* Our place among the filters of a clsact hook. */
#define ATTACH_CLSACT_HANDLE 1
#define ATTACH_CLSACT_PRIORITY 0x534e

/* Names of pins: kind, '-', interface. */
static const char *const kinds[FASTPATH_ATTACH_COUNT] = {
	[FASTPATH_ATTACH_XDP_DISPATCHER] = "dispatcher",
	[FASTPATH_ATTACH_XDP_NATIVE] = "xdp",
	[FASTPATH_ATTACH_XDP_GENERIC] = "xdp",
	[FASTPATH_ATTACH_TCX] = "tcx",
	[FASTPATH_ATTACH_CLSACT] = "clsact",
};

static void pin_path(const struct loader_paths *p, enum fastpath_attach how, const char *name,
		     char path[LOADER_PATH_MAX])
{
	char *dot;
	int n = snprintf(path, LOADER_PATH_MAX, "%s/%s-%s", p->instance, kinds[how], name);

	CHECK(n > 0 && n < LOADER_PATH_MAX); /* loader_paths_init() left room */
	/* The file system takes no dots, and no interface may be called with a '%'. */
	for (dot = path + strlen(p->instance); *dot; dot++)
		if (*dot == '.')
			*dot = '%';
}

int attach_pin(const struct loader_paths *p, enum fastpath_attach how, const char *name, int fd)
{
	char path[LOADER_PATH_MAX];

	pin_path(p, how, name, path);
	(void)unlink(path);
	return bpf_obj_pin(fd, path);
}

void attach_unpin(const struct loader_paths *p, enum fastpath_attach how, const char *name)
{
	char path[LOADER_PATH_MAX];

	pin_path(p, how, name, path);
	(void)unlink(path);
}

void attach_context_fini(struct attach_context *c)
{
	int i;

	for (i = 0; i < LOADER_PROGRAM_COUNT; i++) {
		if (c->program_fd[i] >= 0)
			(void)close(c->program_fd[i]);
		c->program_fd[i] = -1;
	}
}

int attach_program(struct attach_context *c, enum loader_program which, struct strbuf *out_why)
{
	if (c->program_fd[which] >= 0)
		return 0;
	return loader_program_load(which, c->maps, &c->program_fd[which], out_why);
}

unsigned attach_program_id(int program_fd)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(program_fd, &info, &len) == 0 ? info.id : 0;
}

/* Interface of a link, 0 if that is gone.  All network links begin with it. */
static unsigned link_ifindex(int link_fd)
{
	struct bpf_link_info info = { 0 };
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(link_fd, &info, &len) == 0 ? info.xdp.ifindex : 0;
}

static int clsact_program_id(unsigned ifindex, unsigned *out_id)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = ATTACH_CLSACT_HANDLE,
		    .priority = ATTACH_CLSACT_PRIORITY);
	int err = bpf_tc_query(&hook, &opts);

	/* EINVAL: there is no such hook at all. */
	*out_id = err ? 0 : opts.prog_id;
	return err == -ENOENT || err == -EINVAL ? 0 : err;
}

static bool is_link(enum fastpath_attach how)
{
	return how != FASTPATH_ATTACH_XDP_DISPATCHER && how != FASTPATH_ATTACH_CLSACT;
}

bool attach_is_xdp(const struct attachment *a)
{
	return a->how >= FASTPATH_ATTACH_XDP_DISPATCHER && a->how <= FASTPATH_ATTACH_XDP_GENERIC;
}

bool attach_is_alive(struct attachment *a)
{
	unsigned id;

	a->ifindex = is_link(a->how) ? link_ifindex(a->fd) : if_nametoindex(a->name);
	if (a->ifindex == 0 || is_link(a->how))
		return a->ifindex != 0;
	if (a->how == FASTPATH_ATTACH_XDP_DISPATCHER)
		return attach_dispatcher_has(a->ifindex, attach_program_id(a->fd));
	return clsact_program_id(a->ifindex, &id) == 0 && id && id == attach_program_id(a->fd);
}

/* "tcx-eth0%100" of the folder.  False: not a pin of ours. */
static bool scan_pin(const struct loader_paths *p, const char *pin, struct attachment *a)
{
	const char *dash = strchr(pin, '-');
	char path[LOADER_PATH_MAX];
	enum fastpath_attach how;
	char *dot;

	if (!dash || strlen(dash + 1) >= sizeof(a->name))
		return false;
	for (how = FASTPATH_ATTACH_NONE + 1; how < FASTPATH_ATTACH_COUNT; how++)
		if (strlen(kinds[how]) == (size_t)(dash - pin) &&
		    strncmp(kinds[how], pin, (size_t)(dash - pin)) == 0)
			break;
	if (how == FASTPATH_ATTACH_COUNT)
		return false;
	*a = (struct attachment){ .how = how, .is_adopted = true };
	memcpy(a->name, dash + 1, strlen(dash + 1));
	for (dot = a->name; *dot; dot++)
		if (*dot == '%')
			*dot = '.';
	pin_path(p, how, a->name, path);
	a->fd = bpf_obj_get(path);
	if (a->fd < 0)
		return false;
	if (attach_is_alive(a) && how == FASTPATH_ATTACH_XDP_NATIVE)
		a->how = attach_xdp_how(a->ifindex);
	return true;
}

int attach_scan(const struct loader_paths *p, struct attachment *out, size_t max)
{
	struct dirent *entry;
	DIR *dir = opendir(p->instance);
	size_t count = 0;

	if (!dir)
		return -errno;
	while (count < max && (entry = readdir(dir)) != NULL)
		count += scan_pin(p, entry->d_name, &out[count]);
	(void)closedir(dir);
	return (int)count;
}

/* A new link on the interface, and its pin. */
static int tcx_create(struct attach_context *c, const char *name, unsigned ifindex, struct attachment *a)
{
	int err, fd = bpf_link_create(c->program_fd[LOADER_TC], (int)ifindex, ATTACH_TCX_INGRESS, NULL);

	if (fd < 0)
		return fd;
	err = attach_pin(c->paths, FASTPATH_ATTACH_TCX, name, fd);
	if (err) {
		(void)close(fd);
		return err;
	}
	a->fd = fd;
	a->how = FASTPATH_ATTACH_TCX;
	return 0;
}

static int clsact_create(struct attach_context *c, const char *name, unsigned ifindex, struct attachment *a,
			 struct strbuf *out_why)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = ATTACH_CLSACT_HANDLE,
		    .priority = ATTACH_CLSACT_PRIORITY, .prog_fd = c->program_fd[LOADER_TC]);
	int err, fd, program_fd = c->program_fd[LOADER_TC];
	unsigned id;

	err = clsact_program_id(ifindex, &id);
	if (err)
		return err;
	if (id && (a->how != FASTPATH_ATTACH_CLSACT || id != attach_program_id(a->fd))) {
		strbuf_printf(out_why, "program %u has our place in clsact, and is not ours", id);
		return -EBUSY;
	}
	err = bpf_tc_hook_create(&hook);
	if (err && err != -EEXIST)
		return err;
	opts.flags = id ? BPF_TC_F_REPLACE : 0;
	err = bpf_tc_attach(&hook, &opts);
	if (err)
		return err;
	fd = dup(program_fd);
	err = fd < 0 ? -errno : attach_pin(c->paths, FASTPATH_ATTACH_CLSACT, name, fd);
	if (err) {
		opts.flags = 0;
		opts.prog_fd = 0;
		opts.prog_id = 0;
		(void)bpf_tc_detach(&hook, &opts);
		if (fd >= 0)
			(void)close(fd);
		return err;
	}
	if (a->how == FASTPATH_ATTACH_CLSACT)
		(void)close(a->fd);
	a->fd = fd;
	a->how = FASTPATH_ATTACH_CLSACT;
	return 0;
}

int attach_finish(struct attachment *a, const char *name, unsigned ifindex, const char *hook, int err,
		  struct strbuf *out_why)
{
	if (err) {
		if (out_why->len == 0)
			strbuf_printf(out_why, "%s refused the guard: %s", hook, err_name(err));
		return err;
	}
	if (!a->is_adopted)
		(void)snprintf(a->name, sizeof(a->name), "%s", name);
	a->ifindex = ifindex;
	a->is_current = true;
	return 0;
}

int attach_tc(struct attach_context *c, const char *name, struct attachment *a, struct strbuf *out_why)
{
	unsigned ifindex = if_nametoindex(name);
	int err = attach_program(c, LOADER_TC, out_why);

	if (err)
		return err;
	if (a->how == FASTPATH_ATTACH_TCX) {
		err = bpf_link_update(a->fd, c->program_fd[LOADER_TC], NULL);
	} else {
		err = c->has_no_tcx ? -EINVAL : tcx_create(c, name, ifindex, a);
		/* Kernels before 6.6 do not know the attach type. */
		if (err == -EINVAL) {
			c->has_no_tcx = true;
			err = clsact_create(c, name, ifindex, a, out_why);
		}
	}
	return attach_finish(a, name, ifindex, "tc", err, out_why);
}

static int clsact_remove(unsigned ifindex, unsigned program_id)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = ATTACH_CLSACT_HANDLE,
		    .priority = ATTACH_CLSACT_PRIORITY);
	unsigned id;
	int err = clsact_program_id(ifindex, &id);

	if (err || id == 0 || id != program_id)
		return err;
	return bpf_tc_detach(&hook, &opts);
}

int attach_detach(const struct loader_paths *p, struct attachment *a)
{
	bool is_alive = attach_is_alive(a);
	int err = 0;

	if (is_alive && is_link(a->how))
		err = bpf_link_detach(a->fd);
	else if (is_alive && a->how == FASTPATH_ATTACH_XDP_DISPATCHER)
		err = attach_dispatcher_remove(a->ifindex, attach_program_id(a->fd));
	else if (is_alive)
		err = clsact_remove(a->ifindex, attach_program_id(a->fd));
	/* The pin is what lets somebody try again. */
	if (err)
		return err;
	attach_unpin(p, a->how, a->name);
	attach_close(a);
	return 0;
}

void attach_close(struct attachment *a)
{
	if (a->how != FASTPATH_ATTACH_NONE && a->fd >= 0)
		(void)close(a->fd);
	*a = (struct attachment){ .fd = -1 };
}
