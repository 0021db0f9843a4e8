/* SPDX-License-Identifier: GPL-2.0-only */
/* mmdb.c - MaxMind's format, by libmaxminddb. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <maxminddb.h>

#include "base/check.h"
#include "base/ip16.h"
#include "base/mem.h"
#include "geo/readers.h"

#define NODES_MAX (1u << 27) /* 1 GiB holds fewer */

struct mmdb {
	MMDB_s base;
};

struct mmdb *mmdb_open(int fd, struct strbuf *out_why)
{
	struct mmdb *m = mem_zalloc(sizeof(*m));
	char path[32];
	int status;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	status = MMDB_open(path, MMDB_MODE_MMAP, &m->base);
	if (status == MMDB_SUCCESS)
		return m;
	free(m);
	if (status == MMDB_INVALID_METADATA_ERROR)
		strbuf_add_str(out_why, "is not a MaxMind database, or was cut short: it has no valid metadata");
	else
		strbuf_printf(out_why, "is not a valid MaxMind database: %s", MMDB_strerror(status));
	return NULL;
}

void mmdb_close(struct mmdb *m)
{
	if (!m)
		return;
	MMDB_close(&m->base);
	free(m);
}

/* ---- records ---- */

/* *out_has is false when the record has no such thing.  0 or -EBADMSG. */
static int value_get(MMDB_entry_s *entry, const char *const *path, MMDB_entry_data_s *out_data, bool *out_has)
{
	int status = MMDB_aget_value(entry, out_data, path);

	*out_has = status == MMDB_SUCCESS && out_data->has_data;
	if (status == MMDB_SUCCESS || status == MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR)
		return 0;
	return -EBADMSG;
}

static int country_get(MMDB_entry_s *entry, geo_country *out_country)
{
	/* MaxMind's layouts, and the flat ones of others. */
	static const char *const paths[][3] = { { "country", "iso_code" }, { "country_code" }, { "country" } };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		MMDB_entry_data_s data;
		bool has_value;
		int err = value_get(entry, paths[i], &data, &has_value);

		if (err)
			return err;
		if (has_value && data.type == MMDB_DATA_TYPE_UTF8_STRING &&
		    geo_country_read(span_of(data.utf8_string, data.data_size), out_country))
			return 0;
	}
	return 0;
}

static int asn_get(MMDB_entry_s *entry, uint32_t *out_asn)
{
	static const char *const paths[][3] = { { "autonomous_system_number" },
						{ "traits", "autonomous_system_number" } };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		MMDB_entry_data_s data;
		bool has_value;
		int err = value_get(entry, paths[i], &data, &has_value);

		if (err)
			return err;
		if (has_value && data.type == MMDB_DATA_TYPE_UINT32) {
			*out_asn = data.uint32;
			return 0;
		}
	}
	return 0;
}

static int place_get(MMDB_entry_s *entry, struct geo_place *out_place)
{
	struct geo_place p = { 0 };
	MMDB_entry_data_s data;
	bool has_value;
	const char *const whole[] = { NULL };
	int err = value_get(entry, whole, &data, &has_value);

	if (!err && has_value && data.type == MMDB_DATA_TYPE_MAP) {
		err = country_get(entry, &p.country);
		if (!err)
			err = asn_get(entry, &p.asn);
	}
	if (!err)
		*out_place = p;
	return err;
}

int mmdb_data(const struct mmdb *m, uint32_t offset, struct geo_place *out_place)
{
	MMDB_entry_s entry = { .mmdb = &m->base, .offset = offset };

	return place_get(&entry, out_place);
}

int mmdb_find(const struct mmdb *m, const uint8_t ip[16], struct geo_place *out_place)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in in = { .sin_family = AF_INET };
	bool is_v4 = ip16_is_v4(ip);
	MMDB_lookup_result_s found;
	int status;

	*out_place = (struct geo_place){ 0 };
	if (!is_v4 && m->base.metadata.ip_version == 4)
		return 0;
	memcpy(&in.sin_addr, ip + 12, 4);
	memcpy(&in6.sin6_addr, ip, 16);
	found = MMDB_lookup_sockaddr(&m->base, is_v4 ? (struct sockaddr *)&in : (struct sockaddr *)&in6, &status);
	if (status != MMDB_SUCCESS)
		return -EBADMSG;
	return found.found_entry ? place_get(&found.entry, out_place) : 0;
}

/* ---- the tree ---- */

unsigned mmdb_ip_version(const struct mmdb *m)
{
	return m->base.metadata.ip_version;
}

/* libmaxminddb gives offsets of records that point into the 16 bytes before the data as they come out: huge. */
static bool end_read(const struct mmdb *m, uint8_t type, uint64_t record, const MMDB_entry_s *entry,
		     struct mmdb_end *out_end)
{
	switch (type) {
	case MMDB_RECORD_TYPE_SEARCH_NODE:
		*out_end = (struct mmdb_end){ MMDB_END_NODE, (uint32_t)record };
		return record < m->base.metadata.node_count;
	case MMDB_RECORD_TYPE_EMPTY:
		*out_end = (struct mmdb_end){ MMDB_END_NOTHING, 0 };
		return true;
	case MMDB_RECORD_TYPE_DATA:
		*out_end = (struct mmdb_end){ MMDB_END_DATA, entry->offset };
		return entry->offset < m->base.data_section_size;
	default:
		return false;
	}
}

int mmdb_children(const struct mmdb *m, uint32_t node, struct mmdb_end out_ends[2])
{
	MMDB_search_node_s n;

	if (MMDB_read_node(&m->base, node, &n) != MMDB_SUCCESS ||
	    !end_read(m, n.left_record_type, n.left_record, &n.left_record_entry, &out_ends[0]) ||
	    !end_read(m, n.right_record_type, n.right_record, &n.right_record_entry, &out_ends[1]))
		return -EBADMSG;
	return 0;
}

static int end_check(struct mmdb *m, const struct mmdb_end *end, uint64_t *checked, struct geo_seen *seen)
{
	struct geo_place place;
	int err;

	if (end->kind != MMDB_END_DATA || checked[end->value / 64] >> end->value % 64 & 1)
		return 0;
	checked[end->value / 64] |= 1ull << end->value % 64;
	err = mmdb_data(m, end->value, &place);
	if (!err)
		geo_seen_add(seen, &place);
	return err;
}

static int tree_check(struct mmdb *m, struct geo_seen *seen, struct strbuf *out_why)
{
	uint64_t *checked = mem_array(m->base.data_section_size / 64 + 1, sizeof(*checked));
	struct mmdb_end ends[2];
	int err = 0;

	for (uint32_t i = 0; i < m->base.metadata.node_count && !err; i++) {
		err = mmdb_children(m, i, ends);
		if (err) {
			strbuf_printf(out_why, "is damaged: node %u of its tree leads nowhere", i);
			break;
		}
		for (unsigned side = 0; side < 2 && !err; side++) {
			err = end_check(m, &ends[side], checked, seen);
			if (err)
				strbuf_printf(out_why, "is damaged: the record at %u cannot be read", ends[side].value);
		}
	}
	free(checked);
	return err;
}

int mmdb_check(struct mmdb *m, struct geo_info *info, struct geo_seen *seen, struct strbuf *out_why)
{
	const MMDB_metadata_s *meta = &m->base.metadata;
	size_t i;

	if ((meta->ip_version != 4 && meta->ip_version != 6) || meta->node_count == 0 || meta->node_count > NODES_MAX ||
	    !meta->database_type) {
		strbuf_add_str(out_why, "is not a valid MaxMind database: its metadata makes no sense");
		return -EBADMSG;
	}
	for (i = 0; i + 1 < sizeof(info->type) && meta->database_type[i]; i++)
		info->type[i] = meta->database_type[i] > ' ' && meta->database_type[i] < 0x7f ? meta->database_type[i] :
											       '?';
	info->type[i] = '\0';
	info->build_secs = meta->build_epoch;
	info->ip_version = meta->ip_version;
	info->node_count = meta->node_count;
	return tree_check(m, seen, out_why);
}
