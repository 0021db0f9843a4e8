/* SPDX-License-Identifier: GPL-2.0-only */
/* hash.c - SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"). */
#include "base/hash.h"

#include <endian.h>

#include "base/check.h"
#include "base/rand.h"

static uint64_t process_key[2];
static bool has_process_key;

/* At load time as well, so that no table can be used with a key that an attacker knows. */
__attribute__((constructor)) void hash_init(void)
{
	if (has_process_key)
		return;
	rand_secure(process_key, sizeof(process_key));
	has_process_key = true;
}

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t v, unsigned bits)
{
	return v << bits | v >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	sip_round(s);
	s->v0 ^= word;
}

#define EACH_BYTE(x) ((uint64_t)(x) * 0x0101010101010101ull)

/* ASCII upper case to lower case in eight bytes at once; bytes above 0x7f stay. */
static inline uint64_t lower8(uint64_t w)
{
	uint64_t low7 = w & EACH_BYTE(0x7f);
	uint64_t from_a = low7 + EACH_BYTE(0x80 - 'A');	     /* bit 7: >= 'A' */
	uint64_t above_z = low7 + EACH_BYTE(0x80 - 'Z' - 1); /* bit 7: > 'Z' */
	uint64_t is_upper = (from_a ^ above_z) & ~w & EACH_BYTE(0x80);

	return w | is_upper >> 2;
}

static inline void sip_begin(struct sip *s, const uint64_t key[2])
{
	*s = (struct sip){
		key[0] ^ 0x736f6d6570736575ull,
		key[1] ^ 0x646f72616e646f6dull,
		key[0] ^ 0x6c7967656e657261ull,
		key[1] ^ 0x7465646279746573ull,
	};
}

/* The last left < 8 of len bytes, the first one lowest: without a call for so few. */
static inline uint64_t tail_load(const uint8_t *p, size_t left, size_t len)
{
	uint32_t low, high;
	uint64_t word;

	if (left == 0)
		return 0;
	if (len >= sizeof(word)) {
		memcpy(&word, p + left - sizeof(word), sizeof(word));
		return le64toh(word) >> (64 - 8 * left);
	}
	if (left >= sizeof(low)) {
		memcpy(&low, p, sizeof(low));
		memcpy(&high, p + left - sizeof(high), sizeof(high));
		return le32toh(low) | (uint64_t)le32toh(high) << (8 * left - 32);
	}
	return p[0] | (uint64_t)p[left / 2] << 8 * (left / 2) | (uint64_t)p[left - 1] << (8 * left - 8);
}

static inline __attribute__((always_inline)) void sip_bytes(struct sip *s, const uint8_t *p, size_t len, bool fold)
{
	size_t left = len;
	uint64_t word;

	for (; left >= sizeof(word); p += sizeof(word), left -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		word = le64toh(word);
		sip_word(s, fold ? lower8(word) : word);
	}
	word = tail_load(p, left, len);
	sip_word(s, (fold ? lower8(word) : word) | (uint64_t)len << 56);
}

static inline uint64_t sip_end(struct sip *s)
{
	sip_round(s);
	sip_round(s);
	sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static inline uint64_t sip13(const uint64_t key[2], const uint8_t *p, size_t len, bool fold)
{
	struct sip s;

	sip_begin(&s, key);
	sip_bytes(&s, p, len, fold);
	s.v2 ^= 0xff;
	return sip_end(&s);
}

void hash_siphash13_128(const uint64_t key[2], const void *data, size_t len, uint64_t out[2])
{
	struct sip s;

	sip_begin(&s, key);
	s.v1 ^= 0xee;
	sip_bytes(&s, data, len, false);
	s.v2 ^= 0xee;
	out[0] = sip_end(&s);
	s.v1 ^= 0xdd;
	out[1] = sip_end(&s);
}

uint64_t hash_siphash13(const uint64_t key[2], const void *data, size_t len)
{
	return sip13(key, data, len, false);
}

uint64_t hash_bytes(const void *data, size_t len)
{
	return sip13(process_key, data, len, false);
}

uint64_t hash_span(struct span s)
{
	return sip13(process_key, (const uint8_t *)s.ptr, s.len, false);
}

uint64_t hash_span_nocase(struct span s)
{
	return sip13(process_key, (const uint8_t *)s.ptr, s.len, true);
}

/* The finaliser of splitmix64: a bijection in which each input bit reaches each output bit. */
uint64_t hash_u64(uint64_t v)
{
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
	v = (v ^ v >> 27) * 0x94d049bb133111ebull;
	return v ^ v >> 31;
}
