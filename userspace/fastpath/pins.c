/* SPDX-License-Identifier: GPL-2.0-only */
/* pins.c - an instance's pins seen without its daemon: describe and detach. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/err.h"
#include "fastpath/attach.h"
#include "fastpath/fastpath.h"
#include "fastpath/loader.h"

#define PINS_MAX (2 * PLAN_INTERFACES_MAX)

static void describe_attachment(struct attachment *a, struct strbuf *out_text)
{
	if (attach_is_alive(a))
		strbuf_printf(out_text, "%s: %s\n", a->name, fastpath_attach_name(a->how));
	else
		strbuf_printf(out_text, "%s: interface or program gone, a pin is left\n", a->name);
}

static int describe_maps(const struct loader_paths *p, struct strbuf *out_text)
{
	char path[LOADER_PATH_MAX + 32];
	int i, count = 0;

	for (i = 0; i < MAP_COUNT; i++) {
		struct bpf_map_info info = { 0 };
		__u32 len = sizeof(info);
		int fd;

		(void)snprintf(path, sizeof(path), "%s/%s", p->maps, maps_name(i));
		fd = bpf_obj_get(path);
		if (fd < 0)
			continue;
		if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0) {
			strbuf_printf(out_text, "map %s: id %u, %s\n", maps_name(i), info.id, path);
			count++;
		}
		(void)close(fd);
	}
	return count;
}

int fastpath_pins_describe(const char *bpffs, const char *instance, struct strbuf *out_text)
{
	struct attachment found[PINS_MAX];
	struct loader_paths p;
	int i, count, err = loader_paths_init(&p, bpffs, instance);

	if (err)
		return err;
	count = attach_scan(&p, found, PINS_MAX);
	for (i = 0; i < count; i++) {
		describe_attachment(&found[i], out_text);
		attach_close(&found[i]);
	}
	return count < 0 ? count : count + describe_maps(&p, out_text);
}

int fastpath_pins_detach(const char *bpffs, const char *instance, struct strbuf *out_text)
{
	struct attachment found[PINS_MAX];
	struct loader_paths p;
	int i, maps, count, err = loader_paths_init(&p, bpffs, instance);

	if (err)
		return err;
	count = attach_scan(&p, found, PINS_MAX);
	if (count < 0)
		return count;
	for (i = 0; i < count; i++) {
		enum fastpath_attach how = found[i].how;
		char name[IF_NAMESIZE];
		int one;

		memcpy(name, found[i].name, sizeof(name));
		one = attach_detach(&p, &found[i]);
		if (one) {
			strbuf_printf(out_text, "%s: cannot detach: %s\n", name, err_text(one));
			attach_close(&found[i]);
			err = err ? err : one;
		} else {
			strbuf_printf(out_text, "%s: detached %s\n", name, fastpath_attach_name(how));
		}
	}
	if (err)
		return err;
	maps = loader_maps_unpin(&p, false);
	if (maps < 0)
		return maps;
	strbuf_printf(out_text, "%d maps unpinned\n", maps);
	return count + maps;
}
