/* SPDX-License-Identifier: GPL-2.0-only */
/* ktls.c - the kernel's TLS: is it there, its start, its control messages, and what it still holds. */
#include "net/ktls.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"

#define ALERT	     21
#define HANDSHAKE    22
#define HEADER_BYTES 5
#define TAG_BYTES    16

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

static bool is_there;

static void probe(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	/* Of a kernel that knows it, only the state of the socket is not right. */
	is_there = setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) == 0 || errno == ENOTCONN;
	close(fd);
}

bool ktls_is_there(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, probe);
	return is_there;
}

/* 0: a cipher that we do not hand over. */
static socklen_t info_bytes(const struct tls_crypto_info *info)
{
	switch (info->cipher_type) {
	case TLS_CIPHER_AES_GCM_128:
		return sizeof(struct tls12_crypto_info_aes_gcm_128);
	case TLS_CIPHER_AES_GCM_256:
		return sizeof(struct tls12_crypto_info_aes_gcm_256);
	case TLS_CIPHER_CHACHA20_POLY1305:
		return sizeof(struct tls12_crypto_info_chacha20_poly1305);
	default:
		return 0;
	}
}

int ktls_start(int fd, const void *crypto_info)
{
	socklen_t bytes = info_bytes(crypto_info);

	if (bytes == 0)
		return -EOPNOTSUPP;
	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) != 0)
		return -errno;
	return setsockopt(fd, SOL_TLS, TLS_TX, crypto_info, bytes) == 0 ? 0 : -errno;
}

uint32_t ktls_send_before(int fd, struct slice_queue *q)
{
	uint32_t sent = 0;

	while (q->count > 0) {
		const struct slice *s = slice_queue_at(q, 0);
		long n = syscall(SYS_sendto, fd, s->ptr, s->len, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);

		if (n <= 0)
			break;
		slice_queue_consume(q, (size_t)n);
		sent += (uint32_t)n;
	}
	return sent;
}

/* A struct cmsghdr and its byte: as constants, so that they can be shared. */
struct control {
	size_t len;
	int level, kind;
	unsigned char type;
	unsigned char pad[7];
};

_Static_assert(sizeof(struct control) == CMSG_SPACE(1) && offsetof(struct control, type) == CMSG_LEN(0) &&
		       offsetof(struct control, len) == offsetof(struct cmsghdr, cmsg_len) &&
		       offsetof(struct control, level) == offsetof(struct cmsghdr, cmsg_level) &&
		       offsetof(struct control, kind) == offsetof(struct cmsghdr, cmsg_type),
	       "the layout of cmsg(3)");

#define CONTROL(TYPE) { CMSG_LEN(1), SOL_TLS, TLS_SET_RECORD_TYPE, (TYPE), { 0 } }

const void *ktls_control(uint32_t record, size_t *out_len)
{
	static const struct control alert = CONTROL(ALERT), handshake = CONTROL(HANDSHAKE);

	*out_len = sizeof(struct control);
	if (record == ALERT)
		return &alert;
	return record == HANDSHAKE ? &handshake : NULL;
}

/* --- what the kernel holds --- */

union info {
	struct tls_crypto_info head;
	struct tls12_crypto_info_aes_gcm_128 gcm_128;
	struct tls12_crypto_info_aes_gcm_256 gcm_256;
	struct tls12_crypto_info_chacha20_poly1305 chacha;
};

static uint64_t number(const unsigned char *bytes)
{
	uint64_t n = 0;

	for (int i = 0; i < 8; i++)
		n = n << 8 | bytes[i];
	return n;
}

/* Records that were made until now, and what each has beside its plain bytes. */
static bool records_read(int fd, uint64_t *out_count, unsigned *out_overhead)
{
	static const int types[] = { TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256, TLS_CIPHER_CHACHA20_POLY1305 };
	union info info;
	socklen_t len;

	/* It wants to be asked with the very size. */
	for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
		info.head.cipher_type = (unsigned short)types[i];
		len = info_bytes(&info.head);
		if (getsockopt(fd, SOL_TLS, TLS_TX, &info, &len) != 0 || info.head.cipher_type != types[i])
			continue;
		*out_overhead = HEADER_BYTES + TAG_BYTES;
		if (info.head.version == TLS_1_3_VERSION)
			*out_overhead += 1; /* the inner type */
		else if (types[i] != TLS_CIPHER_CHACHA20_POLY1305)
			*out_overhead += 8; /* the explicit nonce */
		*out_count = number(types[i] == TLS_CIPHER_AES_GCM_128 ? info.gcm_128.rec_seq :
				    types[i] == TLS_CIPHER_AES_GCM_256 ? info.gcm_256.rec_seq : info.chacha.rec_seq);
		return true;
	}
	return false;
}

bool ktls_is_drained(int fd, uint64_t bytes_out)
{
	struct tcp_info tcp = { 0 };
	socklen_t len = sizeof(tcp);
	uint64_t records;
	unsigned overhead;
	int unacked;

	/* In this order: what is acknowledged meanwhile makes the sum too small. */
	if (!records_read(fd, &records, &overhead) || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &tcp, &len) != 0 ||
	    ioctl(fd, SIOCOUTQ, &unacked) != 0)
		return true;
	return tcp.tcpi_bytes_acked + (uint64_t)unacked >= bytes_out + records * overhead;
}
