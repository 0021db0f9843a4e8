/* SPDX-License-Identifier: GPL-2.0-only */
/* ban_list.c - who is banned: why, since when, until when, and who enforces it. */
#include "app/ban_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "schema/value.h"

#define SECOND_NS 1000000000ull

/* Times of the list, on the clock that people read. */
struct now {
	uint64_t boot_ns, wall_ns;
	bool is_attached;
};

static void wall_text(const struct now *n, uint64_t boot_ns, char out[32])
{
	out[clock_rfc3339(n->wall_ns + boot_ns - n->boot_ns, out)] = '\0';
}

static const char *enforced(const struct now *n, const struct ban *b)
{
	if (b->why & SN_BAN_NAMED)
		return "requests (a header named the address)";
	return n->is_attached ? "kernel" : "accepted connections";
}

static uint64_t seconds_left(const struct now *n, const struct ban *b)
{
	return b->until_ns > n->boot_ns ? (b->until_ns - n->boot_ns) / SECOND_NS : 0;
}

static void line_add(const struct now *n, const struct ban *b, struct strbuf *out)
{
	char ip[ADDR_TEXT_MAX], left[VALUE_TEXT_MAX], since[32];
	struct addr addr;
	size_t len;

	addr_from_ip16(b->ip, 0, &addr);
	len = addr_format_ip(&addr, ip);
	wall_text(n, b->since_ns, since);
	if (b->until_ns == SN_FOREVER)
		(void)snprintf(left, sizeof(left), "until it is removed");
	else
		value_duration_text(left, seconds_left(n, b) * 1000);
	strbuf_printf(out, "%-40.*s %-20s %-10s since %s, %u time%s, %llu packets dropped, by: %s\n", (int)len, ip,
		      left, bans_why_name(b->why), since, b->strikes, b->strikes == 1 ? "" : "s",
		      (unsigned long long)b->hits, enforced(n, b));
}

static void json_add(const struct now *n, const struct ban *b, struct json *j)
{
	char ip[ADDR_TEXT_MAX], text[32];
	struct addr addr;

	addr_from_ip16(b->ip, 0, &addr);
	json_object(j, NULL);
	json_span(j, "address", span_of(ip, addr_format_ip(&addr, ip)));
	wall_text(n, b->since_ns, text);
	json_str(j, "since", text);
	if (b->until_ns == SN_FOREVER) {
		json_null(j, "until");
		json_null(j, "seconds_left");
	} else {
		wall_text(n, b->until_ns, text);
		json_str(j, "until", text);
		json_u64(j, "seconds_left", seconds_left(n, b));
	}
	json_str(j, "why", bans_why_name(b->why));
	json_u64(j, "strikes", b->strikes);
	json_u64(j, "hits", b->hits);
	json_str(j, "enforced", enforced(n, b));
	json_end(j, '}');
}

void ban_list_render(struct control *c, bool wants_json, struct strbuf *out)
{
	const struct now n = { .boot_ns = clock_boot_ns(),
			       .wall_ns = clock_wall_ns(),
			       .is_attached = fastpath_is_attached(c->guard.fastpath) };
	size_t count = 0;
	struct ban *list = bans_list(fastpath_bans(c->guard.fastpath), n.boot_ns, &count);
	struct json j;

	if (wants_json) {
		json_init(&j, out, false);
		json_array(&j, NULL);
		for (size_t i = 0; i < count; i++)
			json_add(&n, &list[i], &j);
		json_end(&j, ']');
		strbuf_add_char(out, '\n');
	} else {
		for (size_t i = 0; i < count; i++)
			line_add(&n, &list[i], out);
		if (count == 0)
			strbuf_add_str(out, "nobody is banned\n");
	}
	free(list);
}
