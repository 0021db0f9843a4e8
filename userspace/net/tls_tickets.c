/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_tickets.c - ticket keys: made, rotated, used. */
#include "net/tls_tickets.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rand.h"
#include "net/shared_bytes.h"

#define NAME_BYTES sizeof(((struct tls_ticket_key *)NULL)->name)
#define IV_BYTES 16

/* In pages of its own, because of mlock() and MADV_DONTDUMP. */
struct secrets {
	struct tls_ticket_keys keys; /* the control thread's copy */
	_Atomic uint64_t words[2 * sizeof(struct tls_ticket_keys) / 8]; /* what workers read */
};

struct tls_tickets {
	EVP_CIPHER *cipher; /* owned; fetched once: a fetch at each ticket would cost more than the ticket */
	struct secrets *secrets; /* owned */
	size_t map_bytes;
	struct shared_bytes shared;
};

_Static_assert(sizeof(struct tls_ticket_keys) % 8 == 0, "whole words");

static void keys_publish(struct tls_tickets *t)
{
	shared_bytes_set(&t->shared, &t->secrets->keys, sizeof(t->secrets->keys));
}

static struct secrets *secrets_new(size_t *out_bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (sizeof(struct secrets) + page - 1) / page * page;
	struct secrets *s = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(s != MAP_FAILED);
	(void)madvise(s, bytes, MADV_DONTDUMP);
	(void)mlock(s, bytes);
	*out_bytes = bytes;
	return s;
}

struct tls_tickets *tls_tickets_new(uint64_t mono_secs)
{
	struct tls_tickets *t = mem_zalloc(sizeof(*t));

	t->secrets = secrets_new(&t->map_bytes);
	t->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	CHECK(t->cipher);
	t->shared = (struct shared_bytes){ .words = sizeof(struct tls_ticket_keys) / 8, .buffers = t->secrets->words };
	rand_secure(&t->secrets->keys, sizeof(t->secrets->keys));
	t->secrets->keys.born_secs = mono_secs;
	keys_publish(t);
	return t;
}

void tls_tickets_free(struct tls_tickets *t)
{
	if (!t)
		return;
	EVP_CIPHER_free(t->cipher);
	OPENSSL_cleanse(t->secrets, sizeof(*t->secrets));
	munmap(t->secrets, t->map_bytes);
	free(t);
}

void tls_tickets_rotate(struct tls_tickets *t, uint64_t mono_secs)
{
	struct tls_ticket_keys *keys = &t->secrets->keys;

	keys->previous = keys->current;
	rand_secure(&keys->current, sizeof(keys->current));
	keys->born_secs = mono_secs;
	keys_publish(t);
}

unsigned tls_tickets_tick(struct tls_tickets *t, uint64_t mono_secs)
{
	uint64_t born = t->secrets->keys.born_secs, age = mono_secs - born;

	if (mono_secs < born || age < TLS_TICKET_ROTATE_SECS)
		return 0;
	tls_tickets_rotate(t, mono_secs);
	if (age < 2 * TLS_TICKET_ROTATE_SECS)
		return 1;
	tls_tickets_rotate(t, mono_secs);
	return 2;
}

void tls_ticket_keys_wipe(struct tls_ticket_keys *k)
{
	OPENSSL_cleanse(k, sizeof(*k));
}

void tls_tickets_copy(const struct tls_tickets *t, struct tls_ticket_keys *out)
{
	*out = t->secrets->keys;
}

/* Bytes that somebody has chosen, or forgotten to. */
static bool key_is_sound(const struct tls_ticket_key *key)
{
	static const struct tls_ticket_key none;

	return CRYPTO_memcmp(key->name, none.name, sizeof(none.name)) != 0 &&
	       CRYPTO_memcmp(key->cipher, none.cipher, sizeof(none.cipher)) != 0 &&
	       CRYPTO_memcmp(key->mac, none.mac, sizeof(none.mac)) != 0;
}

int tls_tickets_replace(struct tls_tickets *t, const struct tls_ticket_keys *keys, uint64_t mono_secs)
{
	if (keys->born_secs > mono_secs || !key_is_sound(&keys->current) || !key_is_sound(&keys->previous))
		return -EINVAL;
	t->secrets->keys = *keys;
	keys_publish(t);
	return 0;
}

static int mac_set(EVP_MAC_CTX *mac, struct tls_ticket_key *key)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params);
}

static int key_encrypt(struct tls_tickets *t, struct tls_ticket_key *key, unsigned char *name, unsigned char *iv,
		       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	if (RAND_bytes(iv, IV_BYTES) != 1 || !EVP_EncryptInit_ex2(cipher, t->cipher, key->cipher, iv, NULL) ||
	    !mac_set(mac, key))
		return -1;
	memcpy(name, key->name, NAME_BYTES);
	return 1;
}

int tls_tickets_apply(struct tls_tickets *t, unsigned char *key_name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
		      EVP_MAC_CTX *mac, int is_encrypt)
{
	struct tls_ticket_keys keys;
	struct tls_ticket_key *key;
	int result;

	CHECK(shared_bytes_get(&t->shared, &keys, sizeof(keys)) == sizeof(keys));
	if (is_encrypt) {
		result = key_encrypt(t, &keys.current, key_name, iv, cipher, mac);
		OPENSSL_cleanse(&keys, sizeof(keys));
		return result;
	}
	key = memcmp(key_name, keys.current.name, NAME_BYTES) == 0	? &keys.current :
	      memcmp(key_name, keys.previous.name, NAME_BYTES) == 0 ? &keys.previous :
								      NULL;
	if (!key)
		result = 0;
	else if (!mac_set(mac, key) || !EVP_DecryptInit_ex2(cipher, t->cipher, key->cipher, iv, NULL))
		result = -1;
	else
		result = key == &keys.current ? 1 : 2;
	OPENSSL_cleanse(&keys, sizeof(keys));
	return result;
}
