/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * splice.bpf.c - moves the bytes of a tunnel from one TCP socket to another inside the kernel, and gives a socket
 * back to userspace with no byte lost.
 *
 * The verdict of a socket runs under its lock, so its row of flow_stat has one writer and plain additions are exact.
 */
#include "kernel_types.bpf.h"
#include "splice_maps.bpf.h"

#include <bpf/bpf_core_read.h>

#include "sentinel/events.h"

#define SKB_COST 4096	  /* write-queue memory of an skb with a few bytes */
#define UNREAD_MAX (10 << 20) /* what small segments that nobody reads may cost, unless the receive buffer is larger */
#define SMALL_PART 4	  /* so many times its bytes, and a segment is small */
#define ADJUST_MAX 4095	  /* bpf_skb_adjust_room() takes no more at once */
#define ADJUST_STEPS 160  /* 640 KiB: more than the largest GRO packet */

/* A test says 0: nothing may depend on an event. */
const volatile __u32 sn_splice_events = 1;

/* Bugs that a test puts in, to see that the self-test finds them. */
const volatile __u32 sn_splice_faults = 0;

#define FAULT_NO_TRIM 1
#define FAULT_NO_BOUND 2

/* The row of a socket. */
struct flow {
	struct sn_flow_ctl *ctl;
	struct sn_flow_stat *stat;
	__u32 slot;
};

static __always_inline int flow_find(__u64 cookie, struct flow *f)
{
	__u32 *slot = bpf_map_lookup_elem(&flow_slots, &cookie);

	if (!slot)
		return 0;
	f->slot = *slot;
	f->ctl = bpf_map_lookup_elem(&flow_ctl, &f->slot);
	f->stat = bpf_map_lookup_elem(&flow_stat, &f->slot);
	return f->ctl && f->stat;
}

/* How many skbs wait in the psock of sk. */
static __always_inline __u32 psock_backlog(struct sock *sk)
{
	struct sk_psock *psock = (void *)((long)BPF_CORE_READ(sk, sk_user_data) & ~7L);

	return BPF_CORE_READ(psock, ingress_skb.qlen);
}

/* The sequence number of the first byte; the context is the struct sk_buff itself. */
static __always_inline __u32 skb_seq(struct __sk_buff *skb)
{
	void *kernel_skb = skb;
	__u32 seq = 0;

	bpf_probe_read_kernel(&seq, sizeof(seq), kernel_skb + bpf_core_field_offset(struct sk_buff, cb) +
			      bpf_core_field_offset(struct tcp_skb_cb, seq));
	return seq;
}

/* Up to where userspace has read. */
static __always_inline __u32 skb_copied_seq(struct __sk_buff *skb)
{
	void *kernel_skb = skb, *sk = NULL;
	__u32 seq = 0;

	bpf_probe_read_kernel(&sk, sizeof(sk), kernel_skb + bpf_core_field_offset(struct sk_buff, sk));
	bpf_probe_read_kernel(&seq, sizeof(seq), sk + bpf_core_field_offset(struct tcp_sock, copied_seq));
	return seq;
}

/*
 * Cut off bytes at the head that are not new.  In the first skb, userspace has read them before the join.  Later, a
 * retransmission that was collapsed with new data overlaps: tcp_recvmsg() skips such a head, tcp_read_skb() does not.
 * It comes before any decision, because passing on to userspace duplicates them as well.
 * False: there is a gap, nothing new, or the kernel refuses; the stream is broken.
 */
static __always_inline int skb_trim(struct __sk_buff *skb, struct sn_flow_stat *stat)
{
	__u32 len = skb->len, seq = skb_seq(skb);
	int stale = (int)((stat->has_next ? stat->next_seq : skb_copied_seq(skb)) - seq);
	int i, n, left = stale;

	if (sn_splice_faults & FAULT_NO_TRIM)
		return 1;
	if (stale < 0 || (stale && stale >= (int)len))
		return 0;
	for (i = 0; i < ADJUST_STEPS && left > 0; i++) {
		n = left > ADJUST_MAX ? ADJUST_MAX : left;
		if (bpf_skb_adjust_room(skb, -n, 0, 0))
			return 0;
		left -= n;
	}
	if (left > 0)
		return 0;
	if (stat->has_next)
		stat->overlapped += stale;
	else
		stat->trimmed += stale;
	stat->next_seq = seq + len;
	stat->has_next = 1;
	return 1;
}

/*
 * Can len bytes go into the destination's send buffer without waiting for its peer to read?  If not, the skb would
 * park in the destination's psock, whose queue also carries what is passed there: the other direction would stand
 * still, and nothing would bound what a stuck receiver makes us keep.
 */
static __always_inline int flow_has_room(struct sn_flow_stat *stat, struct tcp_sock *tp, __u32 len, __u64 armed_at)
{
	struct sock *sk = (struct sock *)tp;
	__u32 write_seq = BPF_CORE_READ(tp, write_seq);
	__s64 unwritten, room;

	/*
	 * Arming happens only with nothing unwritten, so at the first redirect after it write_seq is the base:
	 * userspace's own bytes need no accounting.
	 */
	if (stat->based_at != armed_at) {
		stat->based_at = armed_at;
		stat->wseq_base = write_seq - (__u32)stat->redirected;
	}
	unwritten = (int)(stat->wseq_base + (__u32)stat->redirected - write_seq);
	if (unwritten < 0)
		unwritten = 0;
	room = (__s64)BPF_CORE_READ(sk, sk_sndbuf) - BPF_CORE_READ(sk, sk_wmem_queued);
	return 2 * (unwritten + len) + ((__s64)psock_backlog(sk) + 1) * SKB_COST <= room;
}

/* May this skb go to the destination?  Counts why not. */
static __always_inline int flow_may_redirect(struct flow *f, __u32 len, __u64 armed_at, __u64 peer)
{
	struct bpf_sock *destination;
	struct tcp_sock *tp;
	int has_room;

	if (f->stat->redirected + len > f->ctl->limit) {
		f->stat->bounded++;
		return 0;
	}
	/* A redirect to an absent key would drop the bytes. */
	destination = bpf_map_lookup_elem(&flow_socks, &peer);
	if (!destination) {
		f->stat->absent++;
		return 0;
	}
	tp = bpf_skc_to_tcp_sock(destination);
	has_room = tp ? flow_has_room(f->stat, tp, len, armed_at) : 0;
	bpf_sk_release(destination);
	if (sn_splice_faults & FAULT_NO_BOUND)
		has_room = 1;
	if (!has_room)
		f->stat->slow++;
	return has_room;
}

/*
 * Small segments cost twenty times their bytes or more.  TCP packs those in its own queue together, or drops them when
 * the receive buffer is full; in 6.1 it does not once a verdict has taken them from there.
 */
static __always_inline int source_is_overfull(struct __sk_buff *skb, struct flow *f)
{
	void *kernel_skb = skb;
	struct sock *sk = NULL;
	__u64 unread = f->stat->passed - f->ctl->consumed;
	__u32 charged, max;

	bpf_probe_read_kernel(&sk, sizeof(sk), kernel_skb + bpf_core_field_offset(struct sk_buff, sk));
	charged = BPF_CORE_READ(sk, sk_backlog.rmem_alloc.counter);
	max = BPF_CORE_READ(sk, sk_rcvbuf);
	max += max / 2;
	return charged > (max > UNREAD_MAX ? max : UNREAD_MAX) && charged / SMALL_PART > unread;
}

static __always_inline void flow_hint(struct flow *f, __u64 cookie)
{
	struct sn_splice_event e = { .cookie = cookie, .slot = f->slot };
	__u32 worker = f->ctl->worker;
	void *ring;

	if (!sn_splice_events)
		return;
	ring = bpf_map_lookup_elem(&splice_rings, &worker);
	if (ring)
		bpf_ringbuf_output(ring, &e, sizeof(e), 0);
}

SEC("sk_skb/stream_verdict")
int sn_splice(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb), armed_at, peer;
	struct flow f;

	if (!flow_find(cookie, &f))
		return SK_PASS;
	f.stat->skbs++;
	if (!skb->len) {
		/*
		 * A bare FIN.  TCP has noted it already (RDHUP, recv 0).  Passed, it could queue behind our own
		 * backlog, where the kernel's worker takes its length 0 for an error and ends both directions.
		 */
		f.stat->fins++;
		return SK_DROP;
	}
	f.stat->active_ns = bpf_ktime_get_coarse_ns();
	/* Read once: userspace may disarm meanwhile. */
	armed_at = *(volatile __u64 *)&f.ctl->armed_at;
	/* After a gap nothing goes on, or a peer could take what follows for the whole. */
	if (f.stat->lost || !skb_trim(skb, f.stat)) {
		f.stat->lost++;
		flow_hint(&f, cookie);
		return SK_DROP;
	}
	peer = f.ctl->peer;
	if (f.stat->passed != armed_at || !flow_may_redirect(&f, skb->len, armed_at, peer)) {
		if (f.stat->passed == armed_at)
			flow_hint(&f, cookie);
		if (source_is_overfull(skb, &f)) {
			f.stat->lost++;
			flow_hint(&f, cookie);
			return SK_DROP;
		}
		f.stat->passed += skb->len;
		return SK_PASS;
	}
	if (bpf_sk_redirect_hash(skb, &flow_socks, &peer, 0) != SK_PASS) {
		f.stat->lost++;
		flow_hint(&f, cookie);
		return SK_DROP;
	}
	f.stat->redirected += skb->len;
	return SK_PASS;
}

/*
 * Takes sockets out of the map whose worker wants that.  The iterator holds the socket's lock around the program, so
 * no skb is between verdict and queue, and a packet that arrives now waits until the plain receive path is back.
 */
SEC("iter/tcp")
int sn_splice_leave(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct tcp_sock *tp;
	struct flow f;
	__u64 cookie;

	if (!common)
		return 0;
	tp = bpf_skc_to_tcp_sock(common);
	if (!tp)
		return 0;
	cookie = bpf_get_socket_cookie(tp);
	if (!flow_find(cookie, &f) || !f.ctl->wants_out || f.stat->is_out)
		return 0;
	if (f.stat->passed != f.ctl->consumed || psock_backlog((struct sock *)tp))
		return 0;
	if (!bpf_map_delete_elem(&flow_socks, &cookie))
		f.stat->is_out = 1;
	return 0;
}

char _license[] SEC("license") = "GPL";
