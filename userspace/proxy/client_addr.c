/* SPDX-License-Identifier: GPL-2.0-only */
/* client_addr.c - walks X-Forwarded-For from the right. */
#include "proxy/client_addr.h"

#include "base/check.h"

bool client_addr_is_trusted(const struct addr *addr, const struct prefix *trusted, unsigned trusted_count)
{
	uint8_t ip[16];

	if (!trusted_count || !addr_to_ip16(addr, ip))
		return false;
	for (unsigned i = 0; i < trusted_count; i++)
		if (prefix_contains(&trusted[i], ip))
			return true;
	return false;
}

/* "1.2.3.4", "1.2.3.4:567", "2001:db8::1", "[2001:db8::1]" or with a port. */
static int element_parse(struct span text, struct addr *out)
{
	size_t end;

	if (text.len && text.ptr[0] == '[') {
		end = span_find(text, ']');
		if (end == text.len || (end + 1 < text.len && text.ptr[end + 1] != ':'))
			return -1;
		text = span_of(text.ptr + 1, end - 1);
	} else {
		end = span_find(text, ':');
		/* A second colon: IPv6 without brackets. */
		if (end < text.len && span_find(span_skip(text, end + 1), ':') == text.len - end - 1)
			text.len = end;
	}
	return addr_parse_ip(text, out);
}

/* The last element of a comma list, taken off; false: the list is empty. */
static bool last_element(struct span *list, struct span *out)
{
	size_t at = list->len;

	if (!at)
		return false;
	while (at > 0 && list->ptr[at - 1] != ',')
		at--;
	*out = span_trim(span_of(list->ptr + at, list->len - at));
	list->len = at ? at - 1 : 0;
	return true;
}

void client_addr_find(const struct addr *peer, const struct headers *h, const struct prefix *trusted,
		      unsigned trusted_count, struct client_addr_result *out)
{
	*out = (struct client_addr_result){ .addr = *peer };
	out->is_peer_trusted = client_addr_is_trusted(peer, trusted, trusted_count);
	if (!out->is_peer_trusted)
		return;
	/* Several fields are one list (RFC 9110 5.3). */
	for (uint32_t i = h->count; i > 0; i--) {
		struct span list = h->items[i - 1].value, element;

		if (h->items[i - 1].token != TOKEN_X_FORWARDED_FOR)
			continue;
		while (last_element(&list, &element)) {
			struct addr addr;

			if (out->hops == CLIENT_ADDR_HOPS_MAX || element_parse(element, &addr) < 0)
				return;
			out->addr = addr;
			out->hops++;
			if (!client_addr_is_trusted(&addr, trusted, trusted_count))
				return;
		}
	}
}

struct span client_addr_text(const struct client_addr_result *r, struct arena *a)
{
	char text[ADDR_TEXT_MAX];

	return arena_span(a, span_of(text, addr_format_ip(&r->addr, text)));
}
