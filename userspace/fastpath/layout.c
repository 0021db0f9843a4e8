/* SPDX-License-Identifier: GPL-2.0-only */
/* layout.c - has a map in the kernel the layout that we were compiled with? */
#include "fastpath/layout.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "base/check.h"

#define DEPTH_MAX 8

struct side {
	const struct btf *btf;
	__u32 id;
};

static bool types_are_same(struct side a, struct side b, int depth);

static bool names_are_same(struct side a, __u32 name_a, struct side b, __u32 name_b)
{
	const char *x = btf__name_by_offset(a.btf, name_a);
	const char *y = btf__name_by_offset(b.btf, name_b);

	return x && y && strcmp(x, y) == 0;
}

static bool members_are_same(struct side a, const struct btf_type *x, struct side b,
			     const struct btf_type *y, int depth)
{
	const struct btf_member *m = btf_members(x), *n = btf_members(y);
	int i;

	if (btf_vlen(x) != btf_vlen(y) || x->size != y->size)
		return false;
	for (i = 0; i < btf_vlen(x); i++)
		if (m[i].offset != n[i].offset || !names_are_same(a, m[i].name_off, b, n[i].name_off) ||
		    !types_are_same((struct side){ a.btf, m[i].type }, (struct side){ b.btf, n[i].type },
				    depth + 1))
			return false;
	return true;
}

static bool arrays_are_same(struct side a, const struct btf_type *x, struct side b,
			    const struct btf_type *y, int depth)
{
	const struct btf_array *m = btf_array(x), *n = btf_array(y);

	return m->nelems == n->nelems &&
	       types_are_same((struct side){ a.btf, m->type }, (struct side){ b.btf, n->type }, depth + 1);
}

/* Only what abi.h may contain: integers, arrays, structs, and the typedefs of their names. */
static bool types_are_same(struct side a, struct side b, int depth)
{
	const struct btf_type *x = btf__type_by_id(a.btf, a.id), *y = btf__type_by_id(b.btf, b.id);

	if (!x || !y || depth > DEPTH_MAX || btf_kind(x) != btf_kind(y))
		return false;
	if (btf_is_array(x))
		return arrays_are_same(a, x, b, y, depth);
	if (!names_are_same(a, x->name_off, b, y->name_off))
		return false;
	if (btf_is_struct(x))
		return members_are_same(a, x, b, y, depth);
	if (btf_is_typedef(x))
		return types_are_same((struct side){ a.btf, x->type }, (struct side){ b.btf, y->type },
				      depth + 1);
	return btf_is_int(x) && x->size == y->size && *(const __u32 *)(x + 1) == *(const __u32 *)(y + 1);
}

static bool btf_is_same(const struct bpf_map *ours, const struct btf *our_btf, const struct bpf_map_info *info)
{
	struct btf *theirs = btf__load_from_kernel_by_id(info->btf_id);
	bool is_same;

	/* Reading BTF takes CAP_SYS_ADMIN; without it the sizes and the version in the pin's path decide. */
	if (!theirs)
		return errno == EPERM;
	is_same = types_are_same((struct side){ our_btf, bpf_map__btf_key_type_id(ours) },
				 (struct side){ theirs, info->btf_key_type_id }, 0) &&
		  types_are_same((struct side){ our_btf, bpf_map__btf_value_type_id(ours) },
				 (struct side){ theirs, info->btf_value_type_id }, 0);
	btf__free(theirs);
	return is_same;
}

bool layout_is_same(const struct bpf_map *ours, const struct btf *our_btf, int map_fd)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(map_fd, &info, &len) != 0)
		return false;
	if (info.type != bpf_map__type(ours) || info.key_size != bpf_map__key_size(ours) ||
	    info.value_size != bpf_map__value_size(ours) ||
	    info.max_entries != bpf_map__max_entries(ours) || info.map_flags != bpf_map__map_flags(ours))
		return false;
	/* A ring buffer has neither key nor value. */
	if (bpf_map__btf_value_type_id(ours) == 0)
		return info.btf_value_type_id == 0;
	return btf_is_same(ours, our_btf, &info);
}
