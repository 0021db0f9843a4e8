/* SPDX-License-Identifier: GPL-2.0-only */
/* router_private.h - the compiled form of all routes, shared by router*.c only. */
#ifndef SN_PROXY_ROUTER_PRIVATE_H
#define SN_PROXY_ROUTER_PRIVATE_H

#include "proxy/regex.h"
#include "proxy/router.h"

#define ROUTER_HOST_MAX	 255  /* a longer host fits no host pattern */
#define ROUTER_PATH_MAX	 8192 /* of a pattern: bytes */
#define ROUTER_GROUP_ANY 0    /* the group of routes without a host condition */

/* A condition ready for use; rules keep theirs sorted by kind (enum match_kind). */
struct rule_condition {
	enum match_kind kind;
	enum header_token token; /* of name */
	struct span name;
	struct span value; /* normalised path; host in lower case without "*." and trailing dot */
	bool has_value;
	bool is_wildcard; /* host */
	struct regex *regex;
};

/* One route.  Rules stand in the order in which they win: the index is the rank, the smallest that holds is
 * taken. */
struct router_rule {
	struct route_match match;
	struct rule_condition *conditions;
	unsigned count;
	unsigned rest; /* index of the first condition that the tables do not answer: header, method, query */
	int32_t score;
};

struct router_entry { /* of a hash table; ranks NULL: free */
	uint64_t hash;
	struct span key;
	uint32_t group; /* whose path this is; of hosts 0 */
	uint32_t count;
	uint32_t *ranks; /* ascending; of hosts one number: the group that it names */
};

struct router_table {
	struct router_entry *slots; /* open addressing */
	uint32_t mask;
	uint32_t count;
};

struct router_regex {
	uint32_t rank;
	const struct regex *regex;
};

/* Routes with the same host pattern. */
struct router_group {
	uint32_t best; /* smallest rank in it */
	uint32_t any_count, regex_count;
	uint32_t *any;	   /* ranks of rules without a path condition, ascending */
	uint32_t *regexes; /* those that may match anywhere: indexes into router->regexes, ascending */
};

struct router {
	struct router_rule *rules;
	uint32_t rule_count;
	struct router_group *groups;
	uint32_t group_count;
	struct router_regex *regexes; /* by rank, ascending */
	uint32_t regex_count;

	struct router_table hosts, wildcards; /* by host */
	struct router_table exact, prefix;    /* by group and path */
	/* By group and the literal prefix up to its last '/': its "ranks" are indexes into regexes. */
	struct router_table regex_prefix;
	uint32_t prefix_len_max;			/* of prefix and regex_prefix */
	uint64_t prefix_lens[ROUTER_PATH_MAX / 64 + 1]; /* bit: a prefix of that many bytes exists */
};

struct router_scratch {
	struct regex_scratch *regex;
};

/*
 * The hash of a path, computed segment by segment: after each step it is the hash of path[0..at), which is a
 * place where a prefix may end.
 */
struct path_walk {
	struct span path;
	size_t at;
	uint64_t hash;
};

#define HASH_MULTIPLIER 0x9e3779b97f4a7c15u

static inline uint64_t hash_mix(uint64_t h, uint64_t word)
{
	__uint128_t product = (__uint128_t)(h ^ word ^ HASH_MULTIPLIER) * 0xd6e8feb86659fd93u;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Fewer than 8 bytes in one word; with the length it is unique. */
static inline uint64_t hash_tail(const char *ptr, size_t len)
{
	uint32_t low, high;

	if (len >= 4) {
		memcpy(&low, ptr, 4);
		memcpy(&high, ptr + len - 4, 4);
		return (uint64_t)high << 32 | low;
	}
	if (!len)
		return 0;
	return (uint64_t)(uint8_t)ptr[0] | (uint64_t)(uint8_t)ptr[len / 2] << 8 |
	       (uint64_t)(uint8_t)ptr[len - 1] << 16;
}

/* Not keyed: what is stored comes from the file, and a stranger cannot add to it. */
static inline uint64_t hash_run(uint64_t h, const char *ptr, size_t len)
{
	uint64_t word;

	for (; len >= 8; ptr += 8, len -= 8) {
		memcpy(&word, ptr, 8);
		h = hash_mix(h, word);
	}
	return hash_mix(h + len, hash_tail(ptr, len));
}

/* One step: over a '/', or over a whole segment.  False at the end. */
static inline bool path_walk_next(struct path_walk *w)
{
	size_t left = w->path.len - w->at;
	const char *from, *slash;

	if (!left)
		return false;
	from = w->path.ptr + w->at;
	if (*from == '/') {
		w->hash = w->hash * HASH_MULTIPLIER + 1;
		w->at++;
		return true;
	}
	slash = memchr(from, '/', left);
	if (slash)
		left = (size_t)(slash - from);
	w->hash = hash_run(w->hash, from, left);
	w->at += left;
	return true;
}

static inline uint64_t path_hash(struct span path)
{
	struct path_walk w = { .path = path };

	while (path_walk_next(&w))
		;
	return w.hash;
}

/* With the group: paths of all groups are in one table. */
static inline uint64_t path_key(uint64_t hash, uint32_t group)
{
	return hash ^ (group + 1) * HASH_MULTIPLIER;
}

static inline const struct router_entry *table_find(const struct router_table *t, uint64_t hash,
						    struct span key, uint32_t group)
{
	for (uint32_t i = (uint32_t)(hash >> 32) & t->mask; t->slots[i].ranks; i = (i + 1) & t->mask) {
		const struct router_entry *e = &t->slots[i];

		if (e->hash == hash && e->group == group && span_eq(e->key, key))
			return e;
	}
	return NULL;
}

/* A host in lower case, without a trailing dot; 0: empty or longer than ROUTER_HOST_MAX. */
size_t router_host_fold(struct span host, char out[ROUTER_HOST_MAX]);
/* A header, method or query condition against a request. */
bool router_rest_holds(const struct router_rule *rule, const struct route_request *q);
bool router_header_holds(const struct rule_condition *c, const struct headers *headers);
bool router_query_holds(const struct rule_condition *c, struct span query);

#endif
