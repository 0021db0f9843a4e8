/* SPDX-License-Identifier: GPL-2.0-only */
/* rand.c - getrandom(2), and xoshiro256** (Blackman and Vigna) for everything that is no secret. */
#include "base/rand.h"

#include <errno.h>
#include <sys/random.h>

#include "base/check.h"

void rand_secure(void *buf, size_t len)
{
	char *p = buf;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		CHECK(n > 0);
		p += n;
		len -= (size_t)n;
	}
}

static _Thread_local uint64_t state[4];

static uint64_t rotl(uint64_t v, unsigned bits)
{
	return v << bits | v >> (64 - bits);
}

uint64_t rand_u64(void)
{
	uint64_t result, t;

	/* All zero is the one state that the generator never leaves or reaches. */
	while (unlikely(!(state[0] | state[1] | state[2] | state[3])))
		rand_secure(state, sizeof(state));
	result = rotl(state[1] * 5, 7) * 9;
	t = state[1] << 17;
	state[2] ^= state[0];
	state[3] ^= state[1];
	state[1] ^= state[2];
	state[0] ^= state[3];
	state[2] ^= t;
	state[3] = rotl(state[3], 45);
	return result;
}

/* Multiply and reject (Lemire): no bias, and a division only when rejecting is possible. */
uint32_t rand_below(uint32_t bound)
{
	uint64_t m;
	uint32_t reject_below;

	CHECK(bound > 0);
	m = (rand_u64() >> 32) * bound;
	if ((uint32_t)m >= bound)
		return (uint32_t)(m >> 32);
	reject_below = -bound % bound;
	while ((uint32_t)m < reject_below)
		m = (rand_u64() >> 32) * bound;
	return (uint32_t)(m >> 32);
}
