/* SPDX-License-Identifier: GPL-2.0-only */
/* addr.c - socket addresses: parse, print, compare, prefixes. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>

#include "base/check.h"

#define PORT_DIGITS_MAX 5

static void set_v4(struct addr *a, struct in_addr ip, uint16_t port)
{
	*a = (struct addr){
		.len = sizeof(a->in),
		.in = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = ip },
	};
}

static void set_v6(struct addr *a, struct in6_addr ip, uint32_t scope, uint16_t port)
{
	*a = (struct addr){
		.len = sizeof(a->in6),
		.in6 = {
			.sin6_family = AF_INET6,
			.sin6_port = htons(port),
			.sin6_addr = ip,
			.sin6_scope_id = scope,
		},
	};
}

/* "%eth0" or "%2" behind a v6 address.  0: not valid. */
static uint32_t scope_parse(struct span text)
{
	char name[IF_NAMESIZE];
	uint64_t index;

	if (span_to_u64(text, &index))
		return index <= UINT32_MAX ? (uint32_t)index : 0;
	if (text.len == 0 || text.len >= sizeof(name))
		return 0;
	memcpy(name, text.ptr, text.len);
	name[text.len] = '\0';
	return if_nametoindex(name);
}

int addr_parse_ip(struct span text, struct addr *out_addr)
{
	struct span ip = { text.ptr, span_find(text, '%') };
	char buf[INET6_ADDRSTRLEN];
	struct in_addr v4;
	struct in6_addr v6;
	uint32_t scope = 0;

	if (ip.len == 0 || ip.len >= sizeof(buf) || memchr(ip.ptr, '\0', ip.len))
		return -EINVAL;
	memcpy(buf, ip.ptr, ip.len);
	buf[ip.len] = '\0';
	if (inet_pton(AF_INET, buf, &v4) == 1) {
		if (ip.len != text.len)
			return -EINVAL;
		set_v4(out_addr, v4, 0);
		return 0;
	}
	if (inet_pton(AF_INET6, buf, &v6) != 1)
		return -EINVAL;
	if (ip.len != text.len) {
		scope = scope_parse(span_skip(text, ip.len + 1));
		if (scope == 0)
			return -EINVAL;
	}
	set_v6(out_addr, v6, scope, 0);
	return 0;
}

static int unix_parse(struct span path, struct addr *out_addr)
{
	struct addr a = { .un.sun_family = AF_UNIX };

	if (path.len == 0 || path.len >= sizeof(a.un.sun_path) || path.ptr[0] != '/' ||
	    memchr(path.ptr, '\0', path.len))
		return -EINVAL;
	memcpy(a.un.sun_path, path.ptr, path.len);
	a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
	*out_addr = a;
	return 0;
}

int addr_parse(struct span text, struct addr *out_addr)
{
	struct span ip = text, digits;
	struct addr a;
	uint64_t port;
	size_t colon;

	if (span_starts(text, SPAN("unix:")))
		return unix_parse(span_skip(text, 5), out_addr);
	if (text.len > 0 && text.ptr[0] == '[') {
		ip = span_skip(text, 1);
		ip.len = span_find(ip, ']');
		colon = ip.len + 2;
	} else {
		ip.len = span_find(text, ':');
		colon = ip.len;
	}
	if (colon >= text.len || text.ptr[colon] != ':')
		return -EINVAL;
	digits = span_skip(text, colon + 1);
	if (digits.len > PORT_DIGITS_MAX || !span_to_u64(digits, &port) || port > UINT16_MAX)
		return -EINVAL;
	if (addr_parse_ip(ip, &a) != 0 || (a.sa.sa_family == AF_INET6) != (text.ptr[0] == '['))
		return -EINVAL;
	addr_set_port(&a, (uint16_t)port);
	*out_addr = a;
	return 0;
}

/* inet_ntop() goes through printf; every request that is forwarded writes its client's address. */
static size_t ipv4_format(const uint8_t ip[4], char *buf)
{
	char *at = buf;

	for (unsigned i = 0; i < 4; i++) {
		if (i > 0)
			*at++ = '.';
		if (ip[i] >= 100)
			*at++ = (char)('0' + ip[i] / 100);
		if (ip[i] >= 10)
			*at++ = (char)('0' + ip[i] / 10 % 10);
		*at++ = (char)('0' + ip[i] % 10);
	}
	*at = 0;
	return (size_t)(at - buf);
}

/* The IP with its scope; buf holds INET6_ADDRSTRLEN + 1 + IF_NAMESIZE. */
static size_t ip_format(const struct addr *a, char *buf, size_t size)
{
	char name[IF_NAMESIZE];
	size_t len;

	if (a->sa.sa_family == AF_INET)
		return ipv4_format((const uint8_t *)&a->in.sin_addr, buf);
	if (ip16_is_v4(a->in6.sin6_addr.s6_addr))
		return ipv4_format(a->in6.sin6_addr.s6_addr + 12, buf);
	if (!inet_ntop(AF_INET6, &a->in6.sin6_addr, buf, (socklen_t)size))
		return 0;
	len = strlen(buf);
	if (a->in6.sin6_scope_id == 0)
		return len;
	if (if_indextoname(a->in6.sin6_scope_id, name))
		return len + (size_t)snprintf(buf + len, size - len, "%%%s", name);
	return len + (size_t)snprintf(buf + len, size - len, "%%%u", a->in6.sin6_scope_id);
}

static bool is_ip(const struct addr *a)
{
	return a->sa.sa_family == AF_INET || a->sa.sa_family == AF_INET6;
}

size_t addr_format_ip(const struct addr *a, char *buf)
{
	if (!is_ip(a))
		return (size_t)snprintf(buf, ADDR_TEXT_MAX, "unix");
	return ip_format(a, buf, ADDR_TEXT_MAX);
}

size_t addr_format(const struct addr *a, char *buf)
{
	char ip[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
	size_t path_max;

	if (!is_ip(a)) {
		path_max = a->len > offsetof(struct sockaddr_un, sun_path) ?
				   a->len - offsetof(struct sockaddr_un, sun_path) : 0;
		return (size_t)snprintf(buf, ADDR_TEXT_MAX, "unix:%.*s",
					(int)strnlen(a->un.sun_path, path_max), a->un.sun_path);
	}
	ip_format(a, ip, sizeof(ip));
	if (strchr(ip, ':'))
		return (size_t)snprintf(buf, ADDR_TEXT_MAX, "[%s]:%u", ip, addr_port(a));
	return (size_t)snprintf(buf, ADDR_TEXT_MAX, "%s:%u", ip, addr_port(a));
}

uint16_t addr_port(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return ntohs(a->in.sin_port);
	return a->sa.sa_family == AF_INET6 ? ntohs(a->in6.sin6_port) : 0;
}

void addr_set_port(struct addr *a, uint16_t port)
{
	if (a->sa.sa_family == AF_INET)
		a->in.sin_port = htons(port);
	else if (a->sa.sa_family == AF_INET6)
		a->in6.sin6_port = htons(port);
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	switch (a->sa.sa_family) {
	case AF_INET:
		return a->in.sin_port == b->in.sin_port && a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	case AF_INET6:
		return a->in6.sin6_port == b->in6.sin6_port &&
		       a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
		       memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0;
	default:
		/* Paths are NUL-terminated: addr_parse() and the kernel zero the rest. */
		return strncmp(a->un.sun_path, b->un.sun_path, sizeof(a->un.sun_path)) == 0;
	}
}

bool addr_is_loopback(const struct addr *a)
{
	static const uint8_t v6_loopback[16] = { [15] = 1 };
	uint8_t ip[16];

	if (!addr_to_ip16(a, ip))
		return true;
	if (ip16_is_v4(ip))
		return ip[12] == 127;
	return memcmp(ip, v6_loopback, sizeof(ip)) == 0;
}

bool addr_is_any(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
	return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

bool addr_to_ip16(const struct addr *a, uint8_t out_ip[16])
{
	if (a->sa.sa_family == AF_INET) {
		ip16_from_v4(out_ip, &a->in.sin_addr);
		return true;
	}
	if (a->sa.sa_family != AF_INET6)
		return false;
	memcpy(out_ip, &a->in6.sin6_addr, 16);
	return true;
}

void addr_from_ip16(const uint8_t ip[16], uint16_t port, struct addr *out_addr)
{
	struct in6_addr v6;
	struct in_addr v4;

	memcpy(&v6, ip, sizeof(v6));
	memcpy(&v4, ip + 12, sizeof(v4));
	if (ip16_is_v4(ip))
		set_v4(out_addr, v4, port);
	else
		set_v6(out_addr, v6, 0, port);
}

/* Bits of ip beyond len. */
static bool has_host_bits(const uint8_t ip[16], unsigned len)
{
	if (len % 8 && ip[len / 8] & (0xff >> (len % 8)))
		return true;
	for (unsigned i = (len + 7) / 8; i < 16; i++)
		if (ip[i])
			return true;
	return false;
}

int prefix_parse(struct span text, struct prefix *out_prefix)
{
	struct span ip = { text.ptr, span_find(text, '/') };
	struct span digits = span_skip(text, ip.len + 1);
	struct prefix p;
	struct addr a;
	uint64_t len;
	unsigned max;

	/* A scope makes no sense in a prefix. */
	if (span_find(ip, '%') != ip.len || addr_parse_ip(ip, &a) != 0)
		return -EINVAL;
	max = a.sa.sa_family == AF_INET ? 32 : 128;
	if (ip.len == text.len)
		len = max;
	else if (digits.len > 3 || !span_to_u64(digits, &len) || len > max)
		return -EINVAL;
	addr_to_ip16(&a, p.ip);
	p.len = (uint8_t)(len + (128 - max));
	if (has_host_bits(p.ip, p.len))
		return -EINVAL;
	*out_prefix = p;
	return 0;
}

bool prefix_contains(const struct prefix *p, const uint8_t ip[16])
{
	unsigned bytes = p->len / 8, bits = p->len % 8;

	if (memcmp(p->ip, ip, bytes) != 0)
		return false;
	return bits == 0 || ((p->ip[bytes] ^ ip[bytes]) & (0xff00 >> bits) & 0xff) == 0;
}

void addr_short_set(struct addr_short *s, const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		s->in = a->in;
	else if (a->sa.sa_family == AF_INET6)
		s->in6 = a->in6;
	else
		s->sa.sa_family = a->sa.sa_family;
}

void addr_short_get(const struct addr_short *s, struct addr *out_addr)
{
	*out_addr = (struct addr){ .len = sizeof(sa_family_t), .sa.sa_family = s->sa.sa_family };
	if (s->sa.sa_family == AF_INET) {
		out_addr->in = s->in;
		out_addr->len = sizeof(s->in);
	} else if (s->sa.sa_family == AF_INET6) {
		out_addr->in6 = s->in6;
		out_addr->len = sizeof(s->in6);
	}
}
