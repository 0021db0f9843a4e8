/* SPDX-License-Identifier: GPL-2.0-only */
/* attach_xdp.c - the guard at XDP: through libxdp's dispatcher, or as the only program of an interface. */
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <xdp/libxdp.h>

#include "base/err.h"
#include "fastpath/attach.h"

enum fastpath_attach attach_xdp_how(unsigned ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);

	if (bpf_xdp_query((int)ifindex, 0, &opts) == 0 && opts.attach_mode == XDP_ATTACHED_SKB)
		return FASTPATH_ATTACH_XDP_GENERIC;
	return FASTPATH_ATTACH_XDP_NATIVE;
}

/* The dispatcher of an interface; NULL if there is none (a single program is none). */
static struct xdp_multiprog *dispatcher_open(unsigned ifindex)
{
	struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex((int)ifindex);

	if (libxdp_get_error(mp))
		return NULL;
	if (xdp_multiprog__is_legacy(mp)) {
		xdp_multiprog__close(mp);
		return NULL;
	}
	return mp;
}

bool attach_dispatcher_has(unsigned ifindex, unsigned program_id)
{
	struct xdp_multiprog *mp = dispatcher_open(ifindex);
	struct xdp_program *program = NULL;
	bool is_found = false;

	if (!mp)
		return false;
	while (!is_found && (program = xdp_multiprog__next_prog(program, mp)) != NULL)
		is_found = xdp_program__id(program) == program_id;
	xdp_multiprog__close(mp);
	return is_found;
}

int attach_dispatcher_remove(unsigned ifindex, unsigned program_id)
{
	struct xdp_multiprog *mp = dispatcher_open(ifindex);
	struct xdp_program *program;
	int err;

	if (!mp)
		return -ENOENT;
	program = xdp_program__from_id(program_id);
	err = (int)libxdp_get_error(program);
	if (!err) {
		err = xdp_program__detach(program, (int)ifindex, xdp_multiprog__attach_mode(mp), 0);
		xdp_program__close(program);
	}
	xdp_multiprog__close(mp);
	return err;
}

/* Does the interface run a program that is no dispatcher?  Then nobody may join. */
static int foreign_check(unsigned ifindex, struct strbuf *out_why)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);
	struct bpf_prog_info info = { 0 };
	struct xdp_multiprog *mp;
	__u32 id, len = sizeof(info);
	int fd, err = bpf_xdp_query((int)ifindex, 0, &opts);

	if (err)
		return err;
	id = opts.prog_id ? opts.prog_id : opts.drv_prog_id ? opts.drv_prog_id : opts.skb_prog_id;
	if (id == 0)
		return 0;
	mp = dispatcher_open(ifindex);
	if (mp) {
		xdp_multiprog__close(mp);
		return 0;
	}
	fd = bpf_prog_get_fd_by_id(id);
	if (fd >= 0) {
		(void)bpf_obj_get_info_by_fd(fd, &info, &len);
		(void)close(fd);
	}
	strbuf_printf(out_why, "another XDP program is attached (%s, id %u); it is not replaced", info.name,
		      id);
	return -EBUSY;
}

/* A dispatcher that exists decides the mode; a new one is native. */
static enum xdp_attach_mode dispatcher_mode(unsigned ifindex)
{
	struct xdp_multiprog *mp = dispatcher_open(ifindex);
	enum xdp_attach_mode mode = XDP_MODE_NATIVE;

	if (mp) {
		mode = xdp_multiprog__attach_mode(mp);
		xdp_multiprog__close(mp);
	}
	return mode;
}

/* Attached as one of a dispatcher's programs, or not at all. */
static int dispatcher_attach(struct xdp_program *program, unsigned ifindex)
{
	enum xdp_attach_mode mode = dispatcher_mode(ifindex);
	struct xdp_multiprog *mp;
	int err = xdp_program__attach(program, (int)ifindex, mode, 0);

	if (err)
		return err;
	mp = dispatcher_open(ifindex);
	if (mp) {
		xdp_multiprog__close(mp);
		return 0;
	}
	/*
	 * The kernel takes no dispatcher and libxdp fell back to a single program without a link, which no
	 * pin could name after a crash.  Off with it: the caller attaches by a link.
	 */
	(void)xdp_program__detach(program, (int)ifindex, mode, 0);
	return -EOPNOTSUPP;
}

static int dispatcher_create(struct attach_context *c, const char *name, unsigned ifindex,
			     struct attachment *a)
{
	struct bpf_object *o = loader_xdp_open(c->maps);
	DECLARE_LIBXDP_OPTS(xdp_program_opts, opts, .obj = o,
			    .prog_name = loader_program_name(LOADER_XDP));
	struct xdp_program *program;
	unsigned old_id = a->how == FASTPATH_ATTACH_XDP_DISPATCHER ? attach_program_id(a->fd) : 0;
	int fd = -1, err;

	if (!o)
		return -ENOMEM;
	program = xdp_program__create(&opts);
	err = (int)libxdp_get_error(program);
	if (err) {
		bpf_object__close(o);
		return err;
	}
	err = dispatcher_attach(program, ifindex);
	if (!err) {
		fd = dup(xdp_program__fd(program));
		err = fd < 0 ? -errno :
			       attach_pin(c->paths, FASTPATH_ATTACH_XDP_DISPATCHER, name, fd);
		if (err)
			(void)attach_dispatcher_remove(ifindex, xdp_program__id(program));
	}
	xdp_program__close(program);
	bpf_object__close(o);
	if (err) {
		if (fd >= 0)
			(void)close(fd);
		return err;
	}
	if (old_id) {
		(void)attach_dispatcher_remove(ifindex, old_id);
		(void)close(a->fd);
	}
	a->fd = fd;
	a->how = FASTPATH_ATTACH_XDP_DISPATCHER;
	return 0;
}

static int single_create(struct attach_context *c, const char *name, unsigned ifindex, bool is_generic,
			 struct attachment *a)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = is_generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	int err, fd = bpf_link_create(c->program_fd[LOADER_XDP], (int)ifindex, BPF_XDP, &opts);

	if (fd < 0)
		return fd;
	err = attach_pin(c->paths, FASTPATH_ATTACH_XDP_NATIVE, name, fd);
	if (err) {
		(void)close(fd);
		return err;
	}
	a->fd = fd;
	a->how = is_generic ? FASTPATH_ATTACH_XDP_GENERIC : FASTPATH_ATTACH_XDP_NATIVE;
	return 0;
}

/* Nothing of ours is there yet. */
static int create(struct attach_context *c, const char *name, unsigned ifindex, enum attach_xdp_mode mode,
		  struct attachment *a)
{
	int err = dispatcher_create(c, name, ifindex, a);

	if (!err)
		return 0;
	err = single_create(c, name, ifindex, false, a);
	if (err && mode == ATTACH_XDP_ANY && err != -EBUSY)
		err = single_create(c, name, ifindex, true, a);
	return err;
}

int attach_xdp(struct attach_context *c, const char *name, enum attach_xdp_mode mode, struct attachment *a,
	       struct strbuf *out_why)
{
	unsigned ifindex = if_nametoindex(name);
	int err = attach_program(c, LOADER_XDP, out_why);

	if (err)
		return err;
	if (a->how == FASTPATH_ATTACH_XDP_NATIVE || a->how == FASTPATH_ATTACH_XDP_GENERIC)
		err = bpf_link_update(a->fd, c->program_fd[LOADER_XDP], NULL);
	else if (a->how == FASTPATH_ATTACH_XDP_DISPATCHER)
		err = dispatcher_create(c, name, ifindex, a);
	else
		err = foreign_check(ifindex, out_why);
	if (!err && a->how == FASTPATH_ATTACH_NONE)
		err = create(c, name, ifindex, mode, a);
	return attach_finish(a, name, ifindex, "XDP", err, out_why);
}
