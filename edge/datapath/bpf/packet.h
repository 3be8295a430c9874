/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * What the steps learn about a packet for a VIP, and where its parts are.
 */
#ifndef FAIRHOP_PACKET_H
#define FAIRHOP_PACKET_H

#include <stddef.h>
#include "encap.h"
#include "flow.h"
#include "limit.h"

struct packet {
	struct flow flow;
	struct inner inner;
	__u8 protocol;	/* behind the IP header */
	__u8 small_mtu; /* an error that says that hardly anything gets through */
};

struct ports {
	__be16 source;
	__be16 destination;
};

/* linux/icmp.h would pull in the C library */
struct icmphdr {
	__u8 type;
	__u8 code;
	__be16 checksum;
	union {
		struct {
			__be16 unused;
			__be16 mtu;
		};
		__be32 mtu6;
	};
};

static __always_inline __u32 ip_header_size(const struct packet *p)
{
	return p->inner.six ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
}

/* Move a new cursor behind the IP header; 0 when that is not all there. */
static __always_inline int reach_transport(struct xdp_md *ctx, const struct packet *p, struct cursor *c)
{
	*c = cursor_of(ctx);
	if (!take(c, sizeof(struct ethhdr)))
		return 0;
	if (p->inner.six)
		return take(c, sizeof(struct ipv6hdr)) != 0;
	return take(c, sizeof(struct iphdr)) != 0;
}

static __always_inline void swap_macs(struct ethhdr *eth)
{
	struct ethhdr old = *eth;

	__builtin_memcpy(eth->h_dest, old.h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, old.h_dest, ETH_ALEN);
}

/* Each VIP has its own rate of relayed errors, so that a flood to one does not silence the others. */
static __noinline int may_relay(const struct forward_directory *dir, __u32 vip)
{
	return within_rate(LIMITER_ERRORS + (vip & VIP_INDEX_MASK), &dir->settings.rates[RATE_ERRORS]);
}

#define MAX_CHUNKS 32

#define UNREADABLE 0x10000

/*
 * The folded sum of `start` and `length` bytes at `offset` of the packet: 0 for zeros alone. Slow: copies them. Not static,
 * so that the verifier goes through its loop once and not once for each way that leads here.
 */
__noinline int sum_of(struct xdp_md *ctx, __u32 offset, __u32 length, __u32 start)
{
	__u32 zero = 0;
	struct scratch *own = bpf_map_lookup_elem(&scratch, &zero);
	__s64 sum = start;

	if (!own)
		return UNREADABLE;
	for (int i = 0; i < MAX_CHUNKS && length > 0; i++) {
		__u32 part = length < CHUNK ? length : CHUNK;

		if (part < CHUNK)
			__builtin_memset(own->chunk, 0, CHUNK);
		if (bpf_xdp_load_bytes(ctx, offset, own->chunk, part))
			return UNREADABLE;
		sum = bpf_csum_diff(0, 0, (__be32 *)own->chunk, CHUNK, sum);
		offset += part;
		length -= part;
	}
	return length ? UNREADABLE : fold(sum);
}

#define CSUM_MOST 512 /* what bpf_csum_diff takes at once on kernels before 6.13 */

#endif
