/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * From a frame to checked headers. A cursor moves over the packet; what it returns is inside the packet.
 */
#ifndef FAIRHOP_PARSE_H
#define FAIRHOP_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
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

/* A header of IPv4 as far as RFC 1812, 5.2.2 goes; `room` is how many bytes there are from its first one on. */
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
	if (!is_ipv4_sum_right(ip))
		return REASON_CSUM;
	if (ip->ttl == 0)
		return REASON_TTL;
	return ip->frag_off & bpf_htons(FRAGMENT_BITS) ? REASON_FRAG : GO_ON;
}

static __always_inline __u8 traffic_class(const struct ipv6hdr *ip)
{
	return ip->priority << 4 | ip->flow_lbl[0] >> 4;
}

/* Headers between IPv6 and the transport that no packet to a VIP has (RFC 8200, RFC 9288). */
static __always_inline int is_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS || next == IPPROTO_MH || next == 139 || next == 140;
}

static __always_inline int is_tunnel(__u8 protocol)
{
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_GRE || protocol == IPPROTO_IPV6;
}

/* Sources that no packet from afar can have: this network, loopback, link-local, multicast, reserved (RFC 6890). */
static __always_inline int is_martian4(__be32 source)
{
	__u8 first = source & 0xff;

	return first == 0 || first == 127 || first >= 224 || (source & bpf_htonl(0xffff0000)) == bpf_htonl(0xa9fe0000);
}

/* Unspecified, loopback, IPv4-mapped and -compatible, multicast, link-local (RFC 4291, 2.5-2.7). */
static __always_inline int is_martian6(const __be32 *source)
{
	if ((source[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000) ||
	    (source[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000))
		return 1;
	return !source[0] && !source[1] && (!source[2] || source[2] == bpf_htonl(0xffff));
}

/* RFC 1918. */
static __always_inline int is_private4(__be32 address)
{
	return (address & bpf_htonl(0xff000000)) == bpf_htonl(0x0a000000) ||
	       (address & bpf_htonl(0xfff00000)) == bpf_htonl(0xac100000) ||
	       (address & bpf_htonl(0xffff0000)) == bpf_htonl(0xc0a80000);
}

/* Unique local addresses: RFC 4193. */
static __always_inline int is_private6(const __be32 *address)
{
	return (address[0] & bpf_htonl(0xfe000000)) == bpf_htonl(0xfc000000);
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
