/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * The same for IPv6 (RFC 4443). Every function gets a packet whose IPv6 header was checked, with ICMPv6 behind it.
 */
#ifndef FAIRHOP_ICMP6_H
#define FAIRHOP_ICMP6_H

#include "icmp.h"
#include "protect.h"

#define SMALLEST_MTU6 1280 /* RFC 8200, 5 */
#define ADDED6 (sizeof(struct ipv6hdr) + sizeof(struct icmphdr))
#define QUOTE_LENGTH6 (SMALLEST_MTU6 - ADDED6) /* RFC 4443, 2.4(c): as much as fits the smallest MTU */

enum {
	ICMP6_UNREACHABLE = 1,
	ICMP6_TOO_BIG = 2,
	ICMP6_TIME_EXCEEDED = 3,
	ICMP6_PARAMETER_PROBLEM = 4,
	ICMP6_ECHO_REQUEST = 128,
	ICMP6_ECHO_REPLY = 129,
	ICMP6_MLD_QUERY = 130,
	ICMP6_MLD_DONE = 132,
	ICMP6_ROUTER_SOLICITATION = 133,
	ICMP6_REDIRECT = 137,
	ICMP6_MLD2_REPORT = 143,
};

/* Neighbour and multicast listener discovery stay with the host's kernel, also when they aim at a VIP. */
static __always_inline int is_discovery(struct cursor *c)
{
	const __u8 *type = take(c, 1);

	if (!type)
		return 0;
	return (*type >= ICMP6_MLD_QUERY && *type <= ICMP6_REDIRECT) || *type == ICMP6_MLD2_REPORT;
}

/* Sum of the pseudo header (RFC 8200, 8.1): addresses, length and next header. */
static __always_inline __u32 pseudo_sum(const struct ipv6hdr *ip, __u32 length)
{
	__s64 sum = bpf_csum_diff(0, 0, (__be32 *)&ip->saddr, 2 * sizeof(ip->saddr), 0);

	return fold((__u32)(sum & 0xffff) + (__u32)((__u32)sum >> 16)) + bpf_htons(length) + bpf_htons(IPPROTO_ICMPV6);
}

static __always_inline int is_vip6(const struct forward_directory *dir, const struct in6_addr *address)
{
	return know6(dir, wide_of(address)) & ADDRESS_VIP;
}

static __always_inline int is_same6(const struct in6_addr *a, const struct in6_addr *b)
{
	const __u64 *left = (const void *)a, *right = (const void *)b;

	return left[0] == right[0] && left[1] == right[1];
}

/* The quoted packet: one that our VIP sent, with its ports. */
static __always_inline enum reason read_quote6(struct cursor *c, const struct forward_directory *dir,
					       const struct in6_addr *vip, __u32 room, struct flow *flow)
{
	const struct ipv6hdr *quoted = take(c, sizeof(*quoted));
	const struct ports *ports;

	if (!quoted || room < sizeof(*quoted) || quoted->version != 6)
		return REASON_ICMP_TRUNC;
	if (!is_vip6(dir, &quoted->saddr))
		return REASON_ICMP_NOT_OURS;
	if (!is_same6(&quoted->saddr, vip))
		return REASON_ICMP_MISMATCH;
	if (is_extension(quoted->nexthdr) || quoted->nexthdr == IPPROTO_ROUTING)
		return REASON_ICMP_OPT;
	if (quoted->nexthdr == IPPROTO_FRAGMENT)
		return REASON_ICMP_FRAG;
	if (quoted->nexthdr != IPPROTO_TCP && quoted->nexthdr != IPPROTO_UDP)
		return REASON_ICMP_NOT_OURS;
	ports = take(c, QUOTED_PORTS);
	if (!ports || room < sizeof(*quoted) + QUOTED_PORTS)
		return REASON_ICMP_TRUNC;
	__builtin_memcpy(flow->client, &quoted->daddr, sizeof(flow->client));
	flow->client_port = ports->destination;
	flow->vip_port = ports->source;
	flow->protocol = quoted->nexthdr;
	return REASON_NONE;
}

static __noinline enum reason quoted_flow6(struct xdp_md *ctx, const struct forward_directory *dir, struct packet *p)
{
	struct cursor c = cursor_of(ctx);
	const struct ipv6hdr *ip;
	const struct icmphdr *icmp;
	enum reason outcome;

	if (!take(&c, sizeof(struct ethhdr)))
		return REASON_TRUNC;
	ip = take(&c, sizeof(*ip));
	if (!ip)
		return REASON_TRUNC;
	icmp = take(&c, sizeof(*icmp));
	if (!icmp || p->inner.length < ADDED6)
		return REASON_TRUNC;
	p->inner.is_error = 1;
	outcome = read_quote6(&c, dir, &ip->daddr, p->inner.length - ADDED6, &p->flow);
	if (outcome == REASON_NONE && icmp->type == ICMP6_TOO_BIG && bpf_ntohl(icmp->mtu6) < SMALLEST_MTU6)
		return REASON_ICMP_MTU;
	return outcome;
}

static __always_inline int write_echo_reply6(struct xdp_md *ctx, struct totals *t)
{
	struct cursor c = cursor_of(ctx);
	struct ethhdr *eth = take(&c, sizeof(*eth));
	struct in6_addr client;
	struct ipv6hdr *ip;
	struct icmphdr *icmp;

	if (!eth)
		return REASON_TRUNC;
	ip = take(&c, sizeof(*ip));
	if (!ip)
		return REASON_TRUNC;
	icmp = take(&c, sizeof(*icmp));
	if (!icmp)
		return REASON_TRUNC;
	swap_macs(eth);
	client = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = client;
	ip->hop_limit = ERROR_TTL;
	icmp->checksum = replace_word(icmp->checksum, ICMP6_ECHO_REQUEST, ICMP6_ECHO_REPLY);
	icmp->type = ICMP6_ECHO_REPLY;
	take_note(t, NOTE_ECHO_REPLY);
	return ANSWERED;
}

static __noinline int answer_echo6(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				   const struct packet *p)
{
	const __u32 offset = sizeof(struct ethhdr) + sizeof(struct ipv6hdr);
	__u32 length = p->inner.length - sizeof(struct ipv6hdr);
	struct cursor c = cursor_of(ctx);
	const struct ipv6hdr *ip;
	int outcome;

	if (!(p->inner.vip & ADDRESS_ECHO))
		return REASON_ECHO_UNSERVED;
	if (!take(&c, sizeof(struct ethhdr)))
		return REASON_TRUNC;
	ip = take(&c, sizeof(*ip));
	if (!ip)
		return REASON_TRUNC;
	if (sum_of(ctx, offset, length, pseudo_sum(ip, length)) != 0xffff)
		return REASON_ICMP_CSUM;
	if (!within_rate(LIMITER_ECHO, &dir->settings.rates[RATE_ECHO]))
		return REASON_ECHO_LIMIT;
	outcome = trim(ctx, t, p->inner.length);
	return outcome == GO_ON ? write_echo_reply6(ctx, t) : outcome;
}

static __always_inline int read_icmp6(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				 struct packet *p)
{
	const struct icmphdr *icmp;
	struct cursor c;

	if (!reach_transport(ctx, p, &c))
		return REASON_TRUNC;
	icmp = take(&c, sizeof(*icmp));
	if (!icmp || p->inner.length < ADDED6)
		return REASON_TRUNC;
	switch (icmp->type) {
	case ICMP6_ECHO_REQUEST:
		return icmp->code ? REASON_ICMP_TYPE : answer_echo6(ctx, t, dir, p);
	case ICMP6_UNREACHABLE:
	case ICMP6_TOO_BIG:
	case ICMP6_TIME_EXCEEDED:
	case ICMP6_PARAMETER_PROBLEM:
		return quoted_flow6(ctx, dir, p);
	default:
		return REASON_ICMP_TYPE;
	}
}

static __always_inline int write_too_big6(struct cursor *c, const struct ethhdr *old, __u32 mtu)
{
	const __u32 length = sizeof(struct icmphdr) + QUOTE_LENGTH6;
	struct ethhdr *eth = take(c, sizeof(*eth));
	const struct ipv6hdr *quoted;
	struct icmphdr *icmp;
	struct ipv6hdr *ip;
	__s64 sum;

	if (!eth)
		return REASON_TOOBIG;
	ip = take(c, sizeof(*ip));
	if (!ip)
		return REASON_TOOBIG;
	icmp = take(c, length);
	if (!icmp)
		return REASON_TOOBIG;
	quoted = (const void *)(icmp + 1);
	*eth = *old;
	swap_macs(eth);
	*(__be32 *)ip = bpf_htonl(6u << 28);
	ip->payload_len = bpf_htons(length);
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = ERROR_TTL;
	ip->saddr = quoted->daddr;
	ip->daddr = quoted->saddr;
	*icmp = (struct icmphdr){ .type = ICMP6_TOO_BIG };
	icmp->mtu6 = bpf_htonl(mtu);
	sum = bpf_csum_diff(0, 0, (__be32 *)icmp, CSUM_MOST, pseudo_sum(ip, length));
	sum = bpf_csum_diff(0, 0, (void *)icmp + CSUM_MOST, CSUM_MOST, sum);
	sum = bpf_csum_diff(0, 0, (void *)icmp + 2 * CSUM_MOST, length - 2 * CSUM_MOST, sum);
	icmp->checksum = ~fold(sum);
	return TOO_BIG_ANSWERED;
}

/* Make the frame the error about the packet in it (RFC 4443, 3.2). */
static __noinline int answer_too_big6(struct xdp_md *ctx, struct totals *t, __u32 mtu)
{
	struct ethhdr old, *eth;
	struct cursor c = cursor_of(ctx);

	eth = take(&c, sizeof(*eth));
	if (!eth)
		return REASON_TOOBIG;
	old = *eth;
	if (bpf_xdp_adjust_tail(ctx, (int)(sizeof(*eth) + QUOTE_LENGTH6) - (int)frame_length(ctx)) ||
	    bpf_xdp_adjust_head(ctx, -(int)ADDED6))
		return REASON_TOOBIG;
	take_note(t, NOTE_PTB_SENT);
	c = cursor_of(ctx);
	return write_too_big6(&c, &old, mtu);
}

/*
 * The packet does not fit: tell its sender, whether DF is set or not, for the edge does not fragment. An error is
 * never answered (RFC 1812, 4.3.2.7; RFC 4443, 2.4(e)).
 */
static __noinline int refuse_too_big(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				     int six, __u32 mtu)
{
	if (!within_rate(LIMITER_TOO_BIG, &dir->settings.rates[RATE_TOO_BIG])) {
		take_note(t, NOTE_PTB_LIMITED);
		return REASON_TOOBIG;
	}
	return six ? answer_too_big6(ctx, t, mtu) : answer_too_big(ctx, t, mtu);
}

/* As note_tunnel_error(), for tunnels over IPv6. */
static __noinline int note_tunnel_error6(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir)
{
	struct cursor c = cursor_of(ctx);
	const struct ipv6hdr *quoted;
	const struct icmphdr *icmp;
	__u32 backend;

	if (!take(&c, sizeof(struct ethhdr)) || !take(&c, sizeof(*quoted)))
		return PASS;
	icmp = take(&c, sizeof(*icmp));
	if (!icmp || icmp->type < ICMP6_UNREACHABLE || icmp->type > ICMP6_TIME_EXCEEDED)
		return PASS;
	quoted = take(&c, sizeof(*quoted));
	if (!quoted || quoted->version != 6 || !is_tunnel(quoted->nexthdr) ||
	    !is_in_outer6(&dir->settings, wide_of(&quoted->saddr)))
		return PASS;
	backend = backend_at6(dir, wide_of(&quoted->daddr));
	if (!backend)
		return PASS;
	return count_tunnel_error(t, backend, icmp->type == ICMP6_TOO_BIG ? NOTE_ENCAP_PTB : NOTE_ENCAP_UNREACH);
}

#endif
