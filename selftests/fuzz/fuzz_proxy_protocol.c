/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_proxy_protocol.c - any bytes as a PROXY header: what is read is written, and read back the same. */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "net/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void tlvs_compare(const struct proxy_header *a, const struct proxy_header *b)
{
	CHECK(span_eq(a->alpn, b->alpn) && span_eq(a->authority, b->authority));
	CHECK(span_eq(a->unique_id, b->unique_id) && span_eq(a->netns, b->netns));
	CHECK(a->has_crc32c == b->has_crc32c && a->has_tls == b->has_tls);
	CHECK(a->tls.client == b->tls.client && a->tls.verify == b->tls.verify);
	CHECK(span_eq(a->tls.version, b->tls.version) && span_eq(a->tls.cn, b->tls.cn));
	CHECK(span_eq(a->tls.cipher, b->tls.cipher) && span_eq(a->tls.sig_alg, b->tls.sig_alg));
	CHECK(span_eq(a->tls.key_alg, b->tls.key_alg));
}

static void write_and_reread(struct proxy_header *h, unsigned version)
{
	bool is_unix = h->has_addresses && h->source.sa.sa_family == AF_UNIX;
	uint8_t buf[PROXY_PROTOCOL_V2_MAX];
	struct proxy_header back;
	size_t written, used;

	h->version = version;
	CHECK(proxy_protocol_write(h, buf, sizeof(buf), &written) == 0);
	CHECK(proxy_protocol_read(buf, written, &back, &used) == PROXY_PROTOCOL_DONE && used == written);
	CHECK(back.version == version && back.has_addresses == (h->has_addresses && !(is_unix && version == 1)));
	if (!back.has_addresses)
		return;
	CHECK(addr_eq(&h->source, &back.source) && addr_eq(&h->destination, &back.destination));
	if (version == 2)
		tlvs_compare(h, &back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct proxy_header h, early;
	size_t used, early_used, cut = len ? data[len - 1] % len : 0;
	enum proxy_protocol_result result = proxy_protocol_read(data, len, &h, &used);
	enum proxy_protocol_result first = proxy_protocol_read(data, cut, &early, &early_used);
	uint8_t *exact;

	/* Fewer bytes never say anything else, only less. */
	CHECK(first == PROXY_PROTOCOL_MORE || first == result);
	if (result == PROXY_PROTOCOL_MORE)
		CHECK(len < PROXY_PROTOCOL_V2_MAX);
	if (result != PROXY_PROTOCOL_DONE)
		return 0;
	CHECK(used <= len && used <= PROXY_PROTOCOL_V2_MAX);
	CHECK(first == PROXY_PROTOCOL_MORE || early_used == used);
	write_and_reread(&h, 1);
	write_and_reread(&h, 2);
	exact = malloc(used);
	memcpy(exact, data, used);
	CHECK(proxy_protocol_read(exact, used, &early, &early_used) == PROXY_PROTOCOL_DONE && early_used == used);
	free(exact);
	return 0;
}
