/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tls_tickets.h - keys of session tickets: one set a process, for all contexts, workers and reloads; a binary upgrade
 * passes it on.
 * The newest key encrypts.  The one before it still decrypts, and its tickets are renewed.  Rotated every 12 hours by
 * the control thread, read by workers without a lock.  AES-256-CBC with HMAC-SHA256, names are random.  The keys'
 * memory is kept out of core dumps and, where the limit allows, out of swap; they are overwritten when they end.
 */
#ifndef SN_NET_TLS_TICKETS_H
#define SN_NET_TLS_TICKETS_H

#include <stdint.h>

struct evp_cipher_ctx_st;
struct evp_mac_ctx_st;
struct tls_tickets;

#define TLS_TICKET_ROTATE_SECS (12 * 3600)
#define TLS_TICKET_LIFE_SECS (2 * 3600) /* what clients are told: less than a key's second half */

struct tls_ticket_key {
	unsigned char name[16];
	unsigned char cipher[32];
	unsigned char mac[32];
};

/* As one process gives them to the next; whoever has held them wipes them. */
struct tls_ticket_keys {
	struct tls_ticket_key current, previous;
	uint64_t born_secs; /* the current one, by the monotonic clock: then the one before became the previous one */
};

void tls_ticket_keys_wipe(struct tls_ticket_keys *k);

struct tls_tickets *tls_tickets_new(uint64_t mono_secs);
void tls_tickets_free(struct tls_tickets *t); /* NULL ok; nobody may use them any more */
/* Control thread: a new key now; the current one becomes the previous one. */
void tls_tickets_rotate(struct tls_tickets *t, uint64_t mono_secs);
/* Control thread, now and then: rotate if it is time (twice if a whole period was slept over).  Number of rotations. */
unsigned tls_tickets_tick(struct tls_tickets *t, uint64_t mono_secs);
/* Control thread: a copy, and keys of another process in the place of ours (-EINVAL: they cannot be keys). */
void tls_tickets_copy(const struct tls_tickets *t, struct tls_ticket_keys *out);
int tls_tickets_replace(struct tls_tickets *t, const struct tls_ticket_keys *keys, uint64_t mono_secs);
/*
 * Any thread.  The work of OpenSSL's ticket key callback: 1 use it, 2 use it but renew (only to decrypt), 0 no such
 * key, -1 failed.
 */
int tls_tickets_apply(struct tls_tickets *t, unsigned char *key_name, unsigned char *iv,
		      struct evp_cipher_ctx_st *cipher, struct evp_mac_ctx_st *mac, int is_encrypt);

#endif
