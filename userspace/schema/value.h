/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * value.h - the kinds of value a configuration holds: durations, sizes, rates, addresses; from text and to text.
 * All take the whole span, allocate nothing, and return 0, -EINVAL (not of that kind) or -ERANGE (too big).
 * Outputs are written only on success.  Any thread.
 */
#ifndef SN_SCHEMA_VALUE_H
#define SN_SCHEMA_VALUE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/span.h"
#include "schema/pos.h"

#define VALUE_TEXT_MAX 80 /* what the *_text functions write at most, with the NUL */

struct value_rate {
	uint64_t count;	    /* events ... */
	uint64_t period_ms; /* ... in this time; never 0 when it was parsed */
};

/* A numeric address with port, as bind() and connect() take it. */
union value_addr {
	struct sockaddr sa; /* sa_family 0: none */
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* A network.  Bits after the prefix are 0.  v4-mapped v6 networks do not occur. */
struct value_cidr {
	uint8_t addr[16]; /* network byte order; the first 4 for AF_INET */
	uint8_t family;	  /* AF_INET or AF_INET6 */
	uint8_t bits;	  /* 0..32 or 0..128 */
	struct schema_pos pos;
};

/* HOST:PORT where the host may be a name. */
struct value_endpoint {
	const char *host; /* NUL-terminated, without brackets; NULL: none */
	uint16_t port;	  /* host order, not 0 */
	bool is_ip;
};

/*
 * "250ms" "1.5s" "2m" "1h" "1d" and sums ("1h30m"); a bare number ("30", "0.5") counts units of unit_ms
 * milliseconds.  Finer than a millisecond is -EINVAL.
 */
int value_duration(struct span text, uint32_t unit_ms, uint64_t *out_ms);
/* Bytes: "65536", "64KiB" (1024), "64KB" (1000), B K M G T with iB or B, fractions if they are whole bytes. */
int value_size(struct span text, uint64_t *out_bytes);
/* "100/s" "5/m" "1000/h" "10/5s"; a bare number is per second. */
int value_rate(struct span text, struct value_rate *out_rate);
/* "127.0.0.1:80", "[::1]:80".  Port 0 only if may_be_zero.  No names, no zones. */
int value_addr(struct span text, bool may_be_zero, union value_addr *out_addr);
/* "10.0.0.0/8", "2001:db8::/32", or a single address.  Bits after the prefix: -EINVAL, see value_cidr_mask(). */
int value_cidr(struct span text, struct value_cidr *out_cidr);
/* As value_cidr(), but clears the bits after the prefix: what the user may have meant. */
int value_cidr_mask(struct span text, struct value_cidr *out_cidr);
/* "host:80", "10.0.0.1:80", "[::1]:80": sizes of the parts; host names are RFC 1123 letters plus _. */
int value_endpoint(struct span text, struct span *out_host, uint16_t *out_port, bool *out_is_ip);
/* Whole number, optional sign, no spaces, _ not allowed. */
int value_int(struct span text, int64_t *out_value);
int value_double(struct span text, double *out_value);

/* "1h30m", "250ms", "0s" */
const char *value_duration_text(char out[VALUE_TEXT_MAX], uint64_t ms);
/* "64KiB", "10MB", "1000001": the shortest exact spelling */
const char *value_size_text(char out[VALUE_TEXT_MAX], uint64_t bytes);
const char *value_rate_text(char out[VALUE_TEXT_MAX], struct value_rate rate);
const char *value_addr_text(char out[VALUE_TEXT_MAX], const union value_addr *addr);
const char *value_cidr_text(char out[VALUE_TEXT_MAX], const struct value_cidr *cidr);

#endif
