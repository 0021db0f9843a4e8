/* SPDX-License-Identifier: GPL-2.0-only */
/* value.c - durations, sizes, rates and addresses; from text and to text. */
#include "schema/value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/ip16.h"

#define FRACTION_DIGITS_MAX 9
#define FRACTION_SCALE 1000000000u

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit duration_units[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};

static const struct unit size_units[] = {
	{ "TiB", 1ull << 40 },	   { "TB", 1000000000000ull }, { "GiB", 1ull << 30 }, { "GB", 1000000000ull },
	{ "MiB", 1ull << 20 },	   { "MB", 1000000ull },       { "KiB", 1ull << 10 }, { "KB", 1000ull },
	{ "kB", 1000ull },	   { "B", 1 },
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A decimal number off the front of *rest: whole part and billionths. */
static int take_decimal(struct span *rest, uint64_t *out_whole, uint64_t *out_fraction)
{
	size_t n = 0, digits = 0;
	uint64_t fraction = 0;

	while (n < rest->len && is_digit(rest->ptr[n]))
		n++;
	if (n == 0)
		return -EINVAL;
	if (!span_to_u64(span_of(rest->ptr, n), out_whole))
		return -ERANGE;
	*rest = span_skip(*rest, n);
	if (rest->len > 0 && rest->ptr[0] == '.') {
		*rest = span_skip(*rest, 1);
		while (digits < rest->len && is_digit(rest->ptr[digits])) {
			if (digits == FRACTION_DIGITS_MAX)
				return -EINVAL;
			fraction = fraction * 10 + (uint64_t)(rest->ptr[digits++] - '0');
		}
		if (digits == 0)
			return -EINVAL;
		*rest = span_skip(*rest, digits);
	}
	for (; digits < FRACTION_DIGITS_MAX; digits++)
		fraction *= 10;
	*out_fraction = fraction;
	return 0;
}

/* (whole + fraction / 1e9) * factor, exactly. */
static int scale(uint64_t whole, uint64_t fraction, uint64_t factor, uint64_t *out)
{
	unsigned __int128 part = (unsigned __int128)fraction * factor;
	uint64_t sum;

	if (part % FRACTION_SCALE)
		return -EINVAL;
	if (__builtin_mul_overflow(whole, factor, &sum) ||
	    __builtin_add_overflow(sum, (uint64_t)(part / FRACTION_SCALE), &sum))
		return -ERANGE;
	*out = sum;
	return 0;
}

/* A unit off the front of *rest: all its letters. */
static const struct unit *take_unit(struct span *rest, const struct unit *units, size_t count)
{
	size_t n = 0;

	while (n < rest->len && !is_digit(rest->ptr[n]))
		n++;
	for (size_t i = 0; i < count; i++) {
		if (span_eq(span_of(rest->ptr, n), span_str(units[i].name))) {
			*rest = span_skip(*rest, n);
			return &units[i];
		}
	}
	return NULL;
}

int value_duration(struct span text, uint32_t unit_ms, uint64_t *out_ms)
{
	uint64_t sum = 0, last = UINT64_MAX;

	do {
		uint64_t whole, fraction, part;
		const struct unit *unit;
		int err = take_decimal(&text, &whole, &fraction);

		if (err)
			return err;
		if (text.len == 0 && last == UINT64_MAX)
			return scale(whole, fraction, unit_ms, out_ms);
		unit = take_unit(&text, duration_units, ARRAY_LEN(duration_units));
		if (!unit || unit->factor >= last)
			return -EINVAL;
		last = unit->factor;
		err = scale(whole, fraction, unit->factor, &part);
		if (err)
			return err;
		if (__builtin_add_overflow(sum, part, &sum))
			return -ERANGE;
	} while (text.len > 0);
	*out_ms = sum;
	return 0;
}

int value_size(struct span text, uint64_t *out_bytes)
{
	uint64_t whole, fraction;
	const struct unit *unit;
	int err = take_decimal(&text, &whole, &fraction);

	if (err)
		return err;
	if (text.len > 0 && text.ptr[0] == ' ')
		text = span_skip(text, 1);
	if (text.len == 0)
		return scale(whole, fraction, 1, out_bytes);
	unit = take_unit(&text, size_units, ARRAY_LEN(size_units));
	if (!unit || text.len > 0)
		return -EINVAL;
	return scale(whole, fraction, unit->factor, out_bytes);
}

int value_rate(struct span text, struct value_rate *out_rate)
{
	size_t slash = span_find(text, '/');
	struct value_rate rate = { .period_ms = 1000 };
	struct span period = span_skip(text, slash + 1);

	if (!span_to_u64(span_of(text.ptr, slash), &rate.count))
		return -EINVAL;
	if (slash < text.len) {
		const struct unit *unit;
		struct span rest = period;

		if (period.len > 0 && is_digit(period.ptr[0])) {
			int err = value_duration(period, 0, &rate.period_ms);

			if (err)
				return err;
		} else {
			unit = take_unit(&rest, duration_units, ARRAY_LEN(duration_units));
			if (!unit || rest.len > 0)
				return -EINVAL;
			rate.period_ms = unit->factor;
		}
	}
	if (rate.period_ms == 0)
		return -EINVAL;
	*out_rate = rate;
	return 0;
}

/* inet_pton() wants a NUL. */
static bool parse_ip(int family, struct span text, void *out)
{
	char copy[INET6_ADDRSTRLEN];

	if (text.len >= sizeof(copy) || text.len == 0 || memchr(text.ptr, 0, text.len))
		return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = 0;
	return inet_pton(family, copy, out) == 1;
}

/* host and port around the last colon; brackets around a v6 address are taken off. */
static int split_port(struct span text, struct span *out_host, uint16_t *out_port, bool *out_is_v6)
{
	size_t colon = text.len;
	struct span host, port;
	uint64_t number;

	while (colon > 0 && text.ptr[colon - 1] != ':')
		colon--;
	if (colon < 2)
		return -EINVAL;
	host = span_of(text.ptr, colon - 1);
	port = span_skip(text, colon);
	*out_is_v6 = host.ptr[0] == '[';
	if (*out_is_v6) {
		if (host.len < 3 || host.ptr[host.len - 1] != ']')
			return -EINVAL;
		host = span_of(host.ptr + 1, host.len - 2);
	} else if (span_find(host, ':') < host.len) {
		return -EINVAL;
	}
	if (!span_to_u64(port, &number))
		return -EINVAL;
	if (number > UINT16_MAX)
		return -ERANGE;
	*out_host = host;
	*out_port = (uint16_t)number;
	return 0;
}

int value_addr(struct span text, bool may_be_zero, union value_addr *out_addr)
{
	union value_addr addr;
	struct span host;
	uint16_t port;
	bool is_v6;
	int err = split_port(text, &host, &port, &is_v6);

	if (err)
		return err;
	if (port == 0 && !may_be_zero)
		return -ERANGE;
	memset(&addr, 0, sizeof(addr));
	if (is_v6) {
		addr.in6.sin6_family = AF_INET6;
		addr.in6.sin6_port = htons(port);
		if (!parse_ip(AF_INET6, host, &addr.in6.sin6_addr))
			return -EINVAL;
	} else {
		addr.in.sin_family = AF_INET;
		addr.in.sin_port = htons(port);
		if (!parse_ip(AF_INET, host, &addr.in.sin_addr))
			return -EINVAL;
	}
	*out_addr = addr;
	return 0;
}

/* RFC 1123 labels, and the _ that container names have. */
static bool is_host_name(struct span host)
{
	size_t label = 0;

	if (host.len == 0 || host.len > 253)
		return false;
	for (size_t i = 0; i < host.len; i++) {
		char c = host.ptr[i];
		bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';

		if (c == '.') {
			if (label == 0 || host.ptr[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!is_letter && (c != '-' || label == 0))
			return false;
		if (++label > 63)
			return false;
	}
	return host.ptr[host.len - 1] != '-';
}

/* Digits and dots only: meant to be an address, so a wrong one is no name. */
static bool is_numeric(struct span host)
{
	for (size_t i = 0; i < host.len; i++) {
		if (!is_digit(host.ptr[i]) && host.ptr[i] != '.')
			return false;
	}
	return true;
}

int value_endpoint(struct span text, struct span *out_host, uint16_t *out_port, bool *out_is_ip)
{
	struct in6_addr ip;
	struct span host;
	uint16_t port;
	bool is_v6, is_ip;
	int err = split_port(text, &host, &port, &is_v6);

	if (err)
		return err;
	if (port == 0)
		return -ERANGE;
	is_ip = parse_ip(is_v6 ? AF_INET6 : AF_INET, host, &ip);
	if (!is_ip && (is_v6 || is_numeric(host) || !is_host_name(host)))
		return -EINVAL;
	*out_host = host;
	*out_port = port;
	*out_is_ip = is_ip;
	return 0;
}

/* Clear the bits after the prefix; true if one was set. */
static bool cidr_mask(struct value_cidr *cidr)
{
	bool had_bits = false;

	for (unsigned i = 0; i < sizeof(cidr->addr); i++) {
		unsigned keep = cidr->bits > i * 8 ? cidr->bits - i * 8 : 0;
		uint8_t mask = keep >= 8 ? 0xff : (uint8_t)(0xff00u >> keep);

		had_bits = had_bits || (cidr->addr[i] & (uint8_t)~mask);
		cidr->addr[i] &= mask;
	}
	return had_bits;
}

static int cidr_parse(struct span text, struct value_cidr *out_cidr, bool *out_had_bits)
{
	size_t slash = span_find(text, '/');
	struct span host = span_of(text.ptr, slash);
	struct value_cidr cidr = { .family = AF_INET };
	uint64_t bits, bits_max = 32;

	if (!parse_ip(AF_INET, host, cidr.addr)) {
		cidr.family = AF_INET6;
		bits_max = 128;
		if (!parse_ip(AF_INET6, host, cidr.addr) || ip16_is_v4(cidr.addr))
			return -EINVAL;
	}
	bits = bits_max;
	if (slash < text.len && !span_to_u64(span_skip(text, slash + 1), &bits))
		return -EINVAL;
	if (bits > bits_max)
		return -ERANGE;
	cidr.bits = (uint8_t)bits;
	*out_had_bits = cidr_mask(&cidr);
	*out_cidr = cidr;
	return 0;
}

int value_cidr(struct span text, struct value_cidr *out_cidr)
{
	struct value_cidr cidr;
	bool had_bits;
	int err = cidr_parse(text, &cidr, &had_bits);

	if (err)
		return err;
	if (had_bits)
		return -EINVAL;
	*out_cidr = cidr;
	return 0;
}

int value_cidr_mask(struct span text, struct value_cidr *out_cidr)
{
	bool had_bits;

	return cidr_parse(text, out_cidr, &had_bits);
}

int value_int(struct span text, int64_t *out_value)
{
	bool is_negative = text.len > 0 && text.ptr[0] == '-';
	bool has_sign = is_negative || (text.len > 0 && text.ptr[0] == '+');
	struct span digits = span_skip(text, has_sign);
	uint64_t value;

	for (size_t i = 0; i < digits.len; i++) {
		if (!is_digit(digits.ptr[i]))
			return -EINVAL;
	}
	if (digits.len == 0)
		return -EINVAL;
	if (!span_to_u64(digits, &value) || value > (uint64_t)INT64_MAX)
		return -ERANGE;
	*out_value = is_negative ? -(int64_t)value : (int64_t)value;
	return 0;
}

int value_double(struct span text, double *out_value)
{
	char copy[64];
	char *end;
	double value;

	if (text.len == 0 || text.len >= sizeof(copy))
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		if (!is_digit(text.ptr[i]) && !memchr("+-.eE", text.ptr[i], 5))
			return -EINVAL;
	}
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = 0;
	value = strtod(copy, &end);
	if (*end)
		return -EINVAL;
	if (!isfinite(value))
		return -ERANGE;
	*out_value = value;
	return 0;
}

/* To text */

const char *value_duration_text(char out[VALUE_TEXT_MAX], uint64_t ms)
{
	size_t n = 0;

	if (ms == 0) {
		snprintf(out, VALUE_TEXT_MAX, "0s");
		return out;
	}
	for (size_t i = 0; i < ARRAY_LEN(duration_units); i++) {
		uint64_t count = ms / duration_units[i].factor;

		ms %= duration_units[i].factor;
		if (count > 0)
			n += (size_t)snprintf(out + n, VALUE_TEXT_MAX - n, "%" PRIu64 "%s", count,
					      duration_units[i].name);
	}
	return out;
}

const char *value_size_text(char out[VALUE_TEXT_MAX], uint64_t bytes)
{
	const struct unit *best = NULL;

	for (size_t i = 0; i < ARRAY_LEN(size_units) && bytes > 0; i++) {
		const struct unit *unit = &size_units[i];

		if (unit->factor > 1 && bytes % unit->factor == 0 && (!best || unit->factor > best->factor))
			best = unit;
	}
	snprintf(out, VALUE_TEXT_MAX, "%" PRIu64 "%s", best ? bytes / best->factor : bytes, best ? best->name : "");
	return out;
}

const char *value_rate_text(char out[VALUE_TEXT_MAX], struct value_rate rate)
{
	char period[VALUE_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_LEN(duration_units); i++) {
		if (rate.period_ms == duration_units[i].factor) {
			snprintf(out, VALUE_TEXT_MAX, "%" PRIu64 "/%s", rate.count, duration_units[i].name);
			return out;
		}
	}
	value_duration_text(period, rate.period_ms);
	snprintf(out, VALUE_TEXT_MAX, "%" PRIu64 "/%.50s", rate.count, period);
	return out;
}

const char *value_addr_text(char out[VALUE_TEXT_MAX], const union value_addr *addr)
{
	char ip[INET6_ADDRSTRLEN];

	if (addr->sa.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &addr->in6.sin6_addr, ip, sizeof(ip));
		snprintf(out, VALUE_TEXT_MAX, "[%s]:%u", ip, ntohs(addr->in6.sin6_port));
	} else if (addr->sa.sa_family == AF_INET) {
		inet_ntop(AF_INET, &addr->in.sin_addr, ip, sizeof(ip));
		snprintf(out, VALUE_TEXT_MAX, "%s:%u", ip, ntohs(addr->in.sin_port));
	} else {
		snprintf(out, VALUE_TEXT_MAX, "none");
	}
	return out;
}

const char *value_cidr_text(char out[VALUE_TEXT_MAX], const struct value_cidr *cidr)
{
	char ip[INET6_ADDRSTRLEN];

	inet_ntop(cidr->family, cidr->addr, ip, sizeof(ip));
	snprintf(out, VALUE_TEXT_MAX, "%s/%u", ip, cidr->bits);
	return out;
}
