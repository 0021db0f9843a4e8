/* SPDX-License-Identifier: GPL-2.0-only */
/* layout.h - has a map in the kernel the layout that we were compiled with? */
#ifndef SN_FASTPATH_LAYOUT_H
#define SN_FASTPATH_LAYOUT_H

#include <stdbool.h>

struct bpf_map;
struct btf;

/*
 * Compare type, sizes, flags, and key and value down to the members' names and offsets.  False as well when
 * the kernel does not tell.  A process that may not read BTF (that takes CAP_SYS_ADMIN) compares all but the
 * members: the pin's path has the ABI version.
 */
bool layout_is_same(const struct bpf_map *ours, const struct btf *our_btf, int map_fd);

#endif
