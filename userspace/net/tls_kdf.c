/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_kdf.c - HKDF-Extract and HKDF-Expand-Label (RFC 5869, RFC 8446 7.1) as a built-in OpenSSL provider. */
#define OPENSSL_SUPPRESS_DEPRECATED /* the direct calls to SHA-2 are the point */
#include "net/tls_kdf.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/mem.h"

/* Names in property definitions need a dot, or OpenSSL ignores the algorithm without a word. */
#define PROVIDER "sentinel-kdf"
#define QUERY "?sentinel.kdf=yes"
#define HASH_MAX 48
#define BLOCK_MAX 128
#define INPUT_MAX 64   /* of key, salt and data: hashes, all of them */
#define LABEL_MAX 249  /* with the prefix: RFC 8446 7.1 */
#define PREFIX_MAX 16
#define EXPAND_MAX 255 /* blocks: RFC 5869 2.3 */

struct bytes {
	size_t len;
	bool is_set;
	unsigned char data[LABEL_MAX];
};

struct kdf {
	int mode;
	unsigned hash_bytes; /* 32 SHA-256, 48 SHA-384, 0 none */
	struct bytes key, salt, prefix, label, data;
};

struct hmac {
	bool is_384;
	union {
		SHA256_CTX s256;
		SHA512_CTX s384;
	} inner, outer;
};

static bool is_active;
static struct {
	OSSL_PROVIDER *usual, *ours; /* owned, until the process ends */
} providers;
static _Thread_local unsigned long count; /* shared, it would cost more than it tells */

/* --- hashing ----------------------------------------------------------------------------------------------------- */

static void hmac_init(struct hmac *h, unsigned hash_bytes, const unsigned char *key, size_t key_len)
{
	unsigned char pad[BLOCK_MAX];
	size_t block = hash_bytes == 48 ? SHA512_CBLOCK : SHA256_CBLOCK;

	CHECK(key_len <= block);
	h->is_384 = hash_bytes == 48;
	memset(pad, 0x36, block);
	for (size_t i = 0; i < key_len; i++)
		pad[i] ^= key[i];
	if (h->is_384) {
		SHA384_Init(&h->inner.s384);
		SHA384_Update(&h->inner.s384, pad, block);
	} else {
		SHA256_Init(&h->inner.s256);
		SHA256_Update(&h->inner.s256, pad, block);
	}
	for (size_t i = 0; i < block; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	if (h->is_384) {
		SHA384_Init(&h->outer.s384);
		SHA384_Update(&h->outer.s384, pad, block);
	} else {
		SHA256_Init(&h->outer.s256);
		SHA256_Update(&h->outer.s256, pad, block);
	}
	OPENSSL_cleanse(pad, sizeof(pad));
}

static void hmac_add(struct hmac *h, const void *data, size_t len)
{
	if (h->is_384)
		SHA384_Update(&h->inner.s384, data, len);
	else
		SHA256_Update(&h->inner.s256, data, len);
}

static void hmac_end(struct hmac *h, unsigned char *out)
{
	unsigned char inner[HASH_MAX];

	if (h->is_384) {
		SHA384_Final(inner, &h->inner.s384);
		SHA384_Update(&h->outer.s384, inner, 48);
		SHA384_Final(out, &h->outer.s384);
	} else {
		SHA256_Final(inner, &h->inner.s256);
		SHA256_Update(&h->outer.s256, inner, 32);
		SHA256_Final(out, &h->outer.s256);
	}
	OPENSSL_cleanse(inner, sizeof(inner));
	OPENSSL_cleanse(h, sizeof(*h));
}

/* --- derivation -------------------------------------------------------------------------------------------------- */

/* HkdfLabel of RFC 8446 7.1; the caller has checked that the lengths fit their bytes. */
static size_t label_write(const struct kdf *k, size_t out_len, const unsigned char *data, size_t data_len,
			  unsigned char *to)
{
	size_t at = 0;

	to[at++] = (unsigned char)(out_len >> 8);
	to[at++] = (unsigned char)out_len;
	to[at++] = (unsigned char)(k->prefix.len + k->label.len);
	memcpy(to + at, k->prefix.data, k->prefix.len);
	at += k->prefix.len;
	memcpy(to + at, k->label.data, k->label.len);
	at += k->label.len;
	to[at++] = (unsigned char)data_len;
	memcpy(to + at, data, data_len);
	return at + data_len;
}

static bool expand_label(const struct kdf *k, const struct bytes *key, const unsigned char *data, size_t data_len,
			 unsigned char *out, size_t out_len)
{
	unsigned char info[3 + LABEL_MAX + 1 + INPUT_MAX], block[HASH_MAX];
	size_t info_len, done = 0, n = k->hash_bytes;

	if (out_len == 0 || out_len > EXPAND_MAX * n || k->prefix.len + k->label.len > LABEL_MAX ||
	    data_len > INPUT_MAX || key->len != n)
		return false;
	info_len = label_write(k, out_len, data, data_len, info);
	for (unsigned char i = 1; done < out_len; i++) {
		size_t take = MIN(n, out_len - done);
		struct hmac h;

		hmac_init(&h, k->hash_bytes, key->data, key->len);
		if (i > 1)
			hmac_add(&h, block, n);
		hmac_add(&h, info, info_len);
		hmac_add(&h, &i, 1);
		hmac_end(&h, block);
		memcpy(out + done, block, take);
		done += take;
	}
	OPENSSL_cleanse(block, sizeof(block));
	OPENSSL_cleanse(info, sizeof(info));
	return true;
}

/* A secret of the next stage: the one before (salt) is derived by the label over the hash of nothing. */
static bool extract(const struct kdf *k, unsigned char *out, size_t out_len)
{
	unsigned char salt[HASH_MAX] = { 0 }, empty[HASH_MAX];
	static const unsigned char zeros[HASH_MAX];
	size_t n = k->hash_bytes;
	struct hmac h;

	if (out_len != n)
		return false;
	if (k->salt.is_set) {
		if (n == 48)
			SHA384(zeros, 0, empty);
		else
			SHA256(zeros, 0, empty);
		if (!expand_label(k, &k->salt, empty, n, salt, n))
			return false;
	}
	hmac_init(&h, k->hash_bytes, salt, n);
	hmac_add(&h, k->key.is_set ? k->key.data : zeros, k->key.is_set ? k->key.len : n);
	hmac_end(&h, out);
	OPENSSL_cleanse(salt, sizeof(salt));
	return true;
}

/* --- the provider ------------------------------------------------------------------------------------------------ */

static bool bytes_set(struct bytes *b, const OSSL_PARAM *p, size_t max)
{
	if (p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size > max || (p->data_size && !p->data))
		return false;
	b->is_set = true;
	b->len = p->data_size;
	if (b->len)
		memcpy(b->data, p->data, b->len);
	return true;
}

static bool mode_set(struct kdf *k, const OSSL_PARAM *p)
{
	if (p->data_type == OSSL_PARAM_INTEGER)
		return OSSL_PARAM_get_int(p, &k->mode) == 1;
	if (p->data_type != OSSL_PARAM_UTF8_STRING)
		return false;
	if (strcasecmp(p->data, "EXPAND_ONLY") == 0)
		k->mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	else if (strcasecmp(p->data, "EXTRACT_ONLY") == 0)
		k->mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
	else
		return false;
	return true;
}

static bool digest_set(struct kdf *k, const OSSL_PARAM *p)
{
	const char *name = p->data;

	if (p->data_type != OSSL_PARAM_UTF8_STRING)
		return false;
	if (strcasecmp(name, "SHA256") == 0 || strcasecmp(name, "SHA2-256") == 0)
		k->hash_bytes = 32;
	else if (strcasecmp(name, "SHA384") == 0 || strcasecmp(name, "SHA2-384") == 0)
		k->hash_bytes = 48;
	else
		return false;
	return true;
}

static int kdf_set(void *ctx, const OSSL_PARAM params[])
{
	struct kdf *k = ctx;

	for (const OSSL_PARAM *p = params; p && p->key; p++) {
		bool is_right = true;

		if (strcmp(p->key, OSSL_KDF_PARAM_MODE) == 0)
			is_right = mode_set(k, p);
		else if (strcmp(p->key, OSSL_KDF_PARAM_DIGEST) == 0)
			is_right = digest_set(k, p);
		else if (strcmp(p->key, OSSL_KDF_PARAM_KEY) == 0)
			is_right = bytes_set(&k->key, p, sizeof(k->key.data));
		else if (strcmp(p->key, OSSL_KDF_PARAM_SALT) == 0)
			is_right = bytes_set(&k->salt, p, INPUT_MAX);
		else if (strcmp(p->key, OSSL_KDF_PARAM_PREFIX) == 0)
			is_right = bytes_set(&k->prefix, p, PREFIX_MAX);
		else if (strcmp(p->key, OSSL_KDF_PARAM_LABEL) == 0)
			is_right = bytes_set(&k->label, p, LABEL_MAX);
		else if (strcmp(p->key, OSSL_KDF_PARAM_DATA) == 0)
			is_right = bytes_set(&k->data, p, INPUT_MAX);
		if (!is_right)
			return 0;
	}
	return 1;
}

static void *kdf_new(void *provider)
{
	(void)provider;
	return mem_zalloc(sizeof(struct kdf));
}

static void kdf_free(void *ctx)
{
	if (ctx)
		OPENSSL_cleanse(ctx, sizeof(struct kdf));
	free(ctx);
}

static void kdf_reset(void *ctx)
{
	OPENSSL_cleanse(ctx, sizeof(struct kdf));
}

static int kdf_derive(void *ctx, unsigned char *out, size_t out_len, const OSSL_PARAM params[])
{
	struct kdf *k = ctx;

	count++;
	if (!kdf_set(k, params) || !k->hash_bytes)
		return 0;
	if (k->mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY)
		return expand_label(k, &k->key, k->data.data, k->data.len, out, out_len);
	if (k->mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY)
		return extract(k, out, out_len);
	return 0;
}

static const OSSL_PARAM *kdf_settable(void *ctx, void *provider)
{
	static const OSSL_PARAM list[] = {
		OSSL_PARAM_int(OSSL_KDF_PARAM_MODE, NULL),
		OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_PREFIX, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_LABEL, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_DATA, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)ctx, (void)provider;
	return list;
}

static const OSSL_ALGORITHM *provider_query(void *provider, int operation, int *no_cache)
{
	static const OSSL_DISPATCH functions[] = {
		{ OSSL_FUNC_KDF_NEWCTX, (void (*)(void))kdf_new },
		{ OSSL_FUNC_KDF_FREECTX, (void (*)(void))kdf_free },
		{ OSSL_FUNC_KDF_RESET, (void (*)(void))kdf_reset },
		{ OSSL_FUNC_KDF_DERIVE, (void (*)(void))kdf_derive },
		{ OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, (void (*)(void))kdf_settable },
		{ OSSL_FUNC_KDF_SET_CTX_PARAMS, (void (*)(void))kdf_set },
		{ 0, NULL },
	};
	static const OSSL_ALGORITHM algorithms[] = {
		{ "TLS13-KDF", "provider=" PROVIDER ",sentinel.kdf=yes", functions, "by direct hashing" },
		{ NULL, NULL, NULL, NULL },
	};

	(void)provider;
	*no_cache = 0;
	return operation == OSSL_OP_KDF ? algorithms : NULL;
}

static int provider_init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **ctx)
{
	static const OSSL_DISPATCH functions[] = {
		{ OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))provider_query },
		{ 0, NULL },
	};

	(void)in;
	*out = functions;
	*ctx = (void *)core;
	return 1;
}

/* --- the check at start ------------------------------------------------------------------------------------------ */

struct trial {
	char digest[8];
	int mode;
	unsigned char key[HASH_MAX], salt[HASH_MAX], data[HASH_MAX];
	char label[32];
	size_t hash_bytes, label_len, data_len, out_len;
	bool has_key, has_salt;
};

static bool trial_derive(EVP_KDF *kdf, struct trial *t, unsigned char *out)
{
	static char prefix[] = "tls13 ";
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	OSSL_PARAM params[8], *p = params;
	bool is_done;

	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &t->mode);
	*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, t->digest, 0);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, prefix, sizeof(prefix) - 1);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, t->label, t->label_len);
	if (t->has_key)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, t->key, t->hash_bytes);
	if (t->has_salt)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, t->salt, t->hash_bytes);
	if (t->data_len)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_DATA, t->data, t->data_len);
	*p = OSSL_PARAM_construct_end();
	is_done = ctx && EVP_KDF_derive(ctx, out, t->out_len, params) == 1;
	EVP_KDF_CTX_free(ctx);
	return is_done;
}

static bool trials_agree(EVP_KDF *ours, EVP_KDF *theirs)
{
	for (unsigned i = 0; i < 256; i++) {
		unsigned char a[200] = { 1 }, b[200] = { 2 };
		struct trial t = { .hash_bytes = i & 1 ? 48 : 32 };
		bool is_expand = i & 2;

		memcpy(t.digest, i & 1 ? "SHA384" : "SHA256", 7);
		t.mode = is_expand ? EVP_KDF_HKDF_MODE_EXPAND_ONLY : EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
		t.has_key = is_expand || (i & 4);
		t.has_salt = !is_expand && (i & 8);
		t.out_len = is_expand ? 1 + i % 200 : t.hash_bytes;
		t.data_len = is_expand ? (i & 4 ? t.hash_bytes : 0) : 0;
		t.label_len = 1 + i % 12;
		memcpy(t.label, "derived key finished traffic", 28);
		if (RAND_bytes(t.key, sizeof(t.key)) != 1 || RAND_bytes(t.salt, sizeof(t.salt)) != 1 ||
		    RAND_bytes(t.data, sizeof(t.data)) != 1 || !trial_derive(ours, &t, a) ||
		    !trial_derive(theirs, &t, b) || memcmp(a, b, t.out_len) != 0)
			return false;
	}
	return true;
}

static const char *provider_start(void)
{
	EVP_KDF *ours, *theirs;
	const char *reason = NULL;

	if (EVP_default_properties_is_fips_enabled(NULL))
		return "FIPS mode is on";
	/* The default provider is loaded by itself only as long as nobody loads another. */
	providers.usual = OSSL_PROVIDER_load(NULL, "default");
	if (providers.usual && OSSL_PROVIDER_add_builtin(NULL, PROVIDER, provider_init))
		providers.ours = OSSL_PROVIDER_load(NULL, PROVIDER);
	if (!providers.ours)
		return "OpenSSL does not load the provider";
	ours = EVP_KDF_fetch(NULL, "TLS13-KDF", QUERY);
	theirs = EVP_KDF_fetch(NULL, "TLS13-KDF", "provider=default");
	if (!ours || !theirs || strcmp(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(ours)), PROVIDER) != 0)
		reason = "OpenSSL does not find the provider's function";
	else if (!trials_agree(ours, theirs))
		reason = "its results differ from those of OpenSSL";
	EVP_KDF_free(ours);
	EVP_KDF_free(theirs);
	return reason;
}

bool tls_kdf_start(const char **out_reason)
{
	static bool is_started;
	static const char *reason;

	if (!is_started)
		reason = provider_start();
	is_started = true;
	is_active = !reason;
	if (reason) {
		if (providers.ours)
			OSSL_PROVIDER_unload(providers.ours);
		providers.ours = NULL;
		*out_reason = reason;
	}
	ERR_clear_error();
	return is_active;
}

const char *tls_kdf_query(void)
{
	return is_active ? QUERY : NULL;
}

unsigned long tls_kdf_count(void)
{
	return count;
}
