/* SPDX-License-Identifier: GPL-2.0-only */
/* rand.h - random numbers: secure bytes from the kernel, and a fast per-thread generator. */
#ifndef SN_BASE_RAND_H
#define SN_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

void rand_secure(void *buf, size_t len);
uint64_t rand_u64(void);	      /* xoshiro256**, seeded per thread on first use; not for secrets */
uint32_t rand_below(uint32_t bound); /* 0 <= r < bound; bound > 0 */

#endif
