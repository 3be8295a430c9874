/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * From a frame to checked headers. A cursor moves over the packet; what it returns is inside the packet.
 */
#ifndef FAIRHOP_PARSE_H
#define FAIRHOP_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include "checksum.h"

#define FRAGMENT_BITS 0x3fff /* more fragments, and the offset */
#define ECN_MASK 3
#define ECN_CE 3

struct cursor {
	void *at;
	void *end;
};

static __always_inline struct cursor cursor_of(struct xdp_md *ctx)
{
	return (struct cursor){ (void *)(long)ctx->data, (void *)(long)ctx->data_end };
}

/* The next `size` bytes and past them; 0 when they are not there. */
static __always_inline void *take(struct cursor *c, __u32 size)
{
	void *taken = c->at;

	if (taken + size > c->end)
		return 0;
	c->at = taken + size;
	return taken;
}

static __always_inline __u32 frame_length(struct xdp_md *ctx)
{
	__u64 length = (void *)(long)ctx->data_end - (void *)(long)ctx->data;

	barrier_var(length); /* or clang subtracts the pointers in 32 bits, which the verifier refuses */
	return length;
}

/* Is it IPv6 at all? More about it in a later version. */
static __always_inline int pass_ipv6(struct cursor *c, struct totals *t)
{
	__u8 *first = take(c, 1);

	if (!first)
		return REASON_TRUNC;
	if (*first >> 4 != 6)
		return REASON_IP_VERSION;
	take_note(t, NOTE_IPV6);
	return PASS;
}

/* Ethernet and the fixed part of IPv4, nothing checked but its version. Anything else than IPv4 ends here. */
static __always_inline int parse_link(struct cursor *c, struct totals *t, struct ethhdr **eth, struct iphdr **ip)
{
	*eth = take(c, sizeof(**eth));
	if (!*eth)
		return REASON_SHORT;
	switch ((*eth)->h_proto) {
	case bpf_htons(ETH_P_IP):
		break;
	case bpf_htons(ETH_P_IPV6):
		return pass_ipv6(c, t);
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		take_note(t, NOTE_VLAN);
		return PASS;
	default:
		return PASS;
	}
	*ip = take(c, sizeof(**ip));
	if (!*ip)
		return REASON_TRUNC;
	return (*ip)->version == 4 ? GO_ON : REASON_IP_VERSION;
}

/* The header of a packet for us (RFC 1812, 5.2.2); `room` is how many bytes there are from its first one on. */
static __always_inline int check_ipv4(const struct iphdr *ip, __u32 room)
{
	__u32 header = ip->ihl * 4;
	__u32 length = bpf_ntohs(ip->tot_len);

	if (header < sizeof(*ip))
		return REASON_IHL;
	if (length < sizeof(*ip))
		return REASON_LEN;
	if (header > room || header > length)
		return REASON_TRUNC;
	if (length > room)
		return REASON_LEN;
	if (header > sizeof(*ip))
		return REASON_IP_OPTIONS;
	if (ipv4_sum(ip) != 0xffff)
		return REASON_CSUM;
	if (ip->ttl == 0)
		return REASON_TTL;
	return ip->frag_off & bpf_htons(FRAGMENT_BITS) ? REASON_FRAG : GO_ON;
}

/* Sources that no packet from afar can have: this network, loopback, link-local, multicast, reserved (RFC 6890). */
static __always_inline int is_martian(__u32 source)
{
	__u32 first = source >> 24;

	return first == 0 || first == 127 || first >= 224 || source >> 16 == 0xa9fe;
}

static __always_inline int is_tunnel(__u8 protocol)
{
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_GRE || protocol == IPPROTO_IPV6;
}

/* Cut the frame behind the `length` bytes after its Ethernet header: padding is nobody's payload. */
static __always_inline int trim(struct xdp_md *ctx, struct totals *t, __u32 length)
{
	int excess = (int)(frame_length(ctx) - sizeof(struct ethhdr) - length);

	if (excess <= 0)
		return GO_ON;
	take_note(t, NOTE_TRIMMED);
	return bpf_xdp_adjust_tail(ctx, -excess) ? REASON_LEN : GO_ON;
}

#endif
