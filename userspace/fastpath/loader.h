/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * loader.h - puts maps and programs of the guard into the kernel.
 *
 * Maps come from the pins of an earlier run where these have our layout (type, sizes, flags, and the names and
 * offsets that their BTF tells), else they are made and pinned.  Programs are always our own, loaded anew on
 * those maps.  Errors come with one sentence in out_why.  Control thread.
 */
#ifndef SN_FASTPATH_LOADER_H
#define SN_FASTPATH_LOADER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"
#include "fastpath/maps.h"

struct bpf_object;

#define LOADER_PATH_MAX 512
#define LOADER_BPFFS "/sys/fs/bpf"

/* Where an instance's pins are.  Dots of the instance become '%'. */
struct loader_paths {
	char bpffs[LOADER_PATH_MAX];
	char instance[LOADER_PATH_MAX]; /* links and programs */
	char maps[LOADER_PATH_MAX];
};

/* bpffs NULL: LOADER_BPFFS.  0, or -EINVAL: empty or too long an instance, or one with '/'. */
int loader_paths_init(struct loader_paths *p, const char *bpffs, const char *instance);

/* N of a folder v<N> of maps, or -1. */
int loader_version_of(const char *folder);

/* Is there a BPF file system?  0, or -errno and why not. */
int loader_bpffs_check(const struct loader_paths *p, struct strbuf *out_why);

/*
 * Open or make all maps and their pins.  *out_replaced is how many pins were of another layout and were
 * replaced by empty maps.
 */
int loader_maps_open(const struct loader_paths *p, struct fastpath_maps *m, unsigned *out_replaced,
		     struct strbuf *out_why);
/* Remove those of other versions of the layout.  0 or -errno. */
int loader_others_unpin(const struct loader_paths *p);
/* Remove the pins of the maps of every layout, and the folders when they are empty.  How many pins, or -errno. */
int loader_maps_unpin(const struct loader_paths *p, bool keeps_bans);

enum loader_program {
	LOADER_XDP,
	LOADER_TC,
	LOADER_PROGRAM_COUNT
};

/* A loaded program; a descriptor owned by the caller. */
int loader_program_load(enum loader_program which, const struct fastpath_maps *m, int *out_fd,
			struct strbuf *out_why);
/*
 * The XDP object, opened on our maps and not loaded, for libxdp.  Owned by the caller, bpf_object__close().
 * NULL: out of descriptors or memory.
 */
struct bpf_object *loader_xdp_open(const struct fastpath_maps *m);

/* Name of the program in the kernel. */
const char *loader_program_name(enum loader_program which);

#endif
