/* SPDX-License-Identifier: GPL-2.0-only */
/* old_bans.c - bans that another version of the program left in its pins. */
#include "fastpath/old_bans.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/err.h"
#include "base/ip16.h"
#include "base/mem.h"
#include "fastpath/maps.h"

#define COMMON_BYTES offsetof(struct sn_block, slot)
#define VALUE_MAX 256

static void pin_close(struct old_bans *o, size_t index)
{
	if (o->pins[index].fd >= 0)
		(void)close(o->pins[index].fd);
}

void old_bans_close(struct old_bans *o)
{
	for (size_t i = 0; i < o->count; i++)
		pin_close(o, i);
	o->count = 0;
}

/* The newest first: its word holds. */
static void pin_add(struct old_bans *o, int version, int fd)
{
	size_t at = 0;

	while (at < o->count && o->pins[at].version > version)
		at++;
	if (at == OLD_BANS_MAX) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	if (o->count == OLD_BANS_MAX)
		pin_close(o, --o->count);
	memmove(&o->pins[at + 1], &o->pins[at], (o->count - at) * sizeof(o->pins[0]));
	o->pins[at].version = version;
	o->pins[at].fd = fd;
	o->count++;
}

void old_bans_open(struct old_bans *o, const struct loader_paths *p)
{
	char path[LOADER_PATH_MAX + 64];
	struct dirent *entry;
	DIR *dir = opendir(p->instance);

	o->count = 0;
	while (dir && (entry = readdir(dir)) != NULL) {
		int fd, version = loader_version_of(entry->d_name);

		if (version < 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/v%d/%s", p->instance, version, maps_name(MAP_BLOCK));
		fd = bpf_obj_get(path);
		if (fd != -ENOENT)
			pin_add(o, version, fd);
	}
	if (dir)
		(void)closedir(dir);
}

static bool map_info(int fd, struct bpf_map_info *out_info)
{
	__u32 len = sizeof(*out_info);

	*out_info = (struct bpf_map_info){ 0 };
	return bpf_obj_get_info_by_fd(fd, out_info, &len) == 0;
}

static bool is_ban(const struct sn_addr *key, const struct sn_block *value, uint64_t now_ns)
{
	struct sn_addr client = *key;

	ip16_to_client((uint8_t *)client.addr);
	return memcmp(&client, key, sizeof(client)) == 0 && value->since_ns <= now_ns &&
	       value->since_ns < value->until_ns && value->why && value->strikes;
}

struct outcome {
	unsigned taken, refused;
};

/* A map that is written to meanwhile may lead in circles, so the walk is bounded. */
static void rows_take(int fd, struct bans *b, uint64_t now_ns, struct outcome *out)
{
	struct sn_addr key, *previous = NULL;
	uint8_t bytes[VALUE_MAX];

	for (unsigned i = 0; i < SN_BLOCK_MAX && bpf_map_get_next_key(fd, previous, &key) == 0; i++) {
		struct sn_block value = { 0 };
		struct ban ban;

		previous = &key;
		if (bpf_map_lookup_elem(fd, &key, bytes) != 0)
			continue;
		memcpy(&value, bytes, COMMON_BYTES);
		ban = (struct ban){ .since_ns = value.since_ns, .until_ns = value.until_ns, .why = value.why,
				    .strikes = value.strikes, .slot = SN_BLOCK_MAX };
		memcpy(ban.ip, &key, sizeof(ban.ip));
		if (is_ban(&key, &value, now_ns) && bans_put(b, &ban) == 0)
			out->taken++;
		else
			out->refused++;
	}
}

static void clause(struct strbuf *out_note, int version)
{
	strbuf_printf(out_note, "%sbans of v%d: ", out_note->len ? "; " : "", version);
}

void old_bans_take(struct old_bans *o, struct bans *b, int map_fd, uint64_t now_ns, struct strbuf *out_note)
{
	struct bpf_map_info ours, info;

	if (!map_info(map_fd, &ours))
		ours.id = 0;
	for (size_t i = 0; i < o->count; i++) {
		struct outcome outcome = { 0 };
		int fd = o->pins[i].fd;

		if (fd < 0) {
			clause(out_note, o->pins[i].version);
			strbuf_printf(out_note, "not read: %s", err_name(fd));
			continue;
		}
		if (map_info(fd, &info) && info.id == ours.id)
			continue;
		if (info.type != BPF_MAP_TYPE_HASH || info.key_size != sizeof(struct sn_addr) ||
		    info.value_size < sizeof(struct sn_block) || info.value_size > VALUE_MAX) {
			clause(out_note, o->pins[i].version);
			strbuf_add_str(out_note, "not read: a layout that no version has");
			continue;
		}
		rows_take(fd, b, now_ns, &outcome);
		if (!outcome.taken && !outcome.refused)
			continue;
		clause(out_note, o->pins[i].version);
		strbuf_printf(out_note, "%u taken over", outcome.taken);
		if (outcome.refused)
			strbuf_printf(out_note, ", %u not", outcome.refused);
	}
	old_bans_close(o);
}
