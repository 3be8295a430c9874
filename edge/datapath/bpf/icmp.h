/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * ICMP for IPv4: errors go to the owner of the flow they quote, echo is answered, a packet that is too big is answered
 * with 3/4. All of it is slow path and kept out of line. Every function gets a packet whose IPv4 header was checked.
 */
#ifndef FAIRHOP_ICMP_H
#define FAIRHOP_ICMP_H

#include "packet.h"

#define QUOTED_PORTS 8	   /* RFC 792: an error quotes at least the IP header and 8 bytes */
#define SMALL_MTU 552	   /* Linux takes no path MTU below this seriously (min_pmtu) */
#define ERROR_LENGTH 576   /* RFC 1812, 4.3.2.3 */
#define ERROR_TOS 0xc0	   /* internetwork control: RFC 1812, 4.3.2.5 */
#define ERROR_TTL 64
#define QUOTE_LENGTH (ERROR_LENGTH - sizeof(struct iphdr) - sizeof(struct icmphdr))
#define ERROR_ADDED (sizeof(struct iphdr) + sizeof(struct icmphdr))

enum {
	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACHABLE = 3,
	ICMP_ECHO_REQUEST = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER_PROBLEM = 12,
	ICMP_CODE_TOO_BIG = 4, /* of ICMP_UNREACHABLE */
};

/* The quoted packet: one that our VIP sent, with its ports (RFC 792, RFC 1812 4.3.2). */
static __always_inline enum reason read_quote(struct cursor *c, const struct forward_directory *dir, __be32 vip,
					      __u32 room, struct flow *flow)
{
	const struct iphdr *quoted = take(c, sizeof(*quoted));
	const struct ports *ports;

	if (!quoted || room < sizeof(*quoted) || quoted->version != 4 || quoted->ihl < 5)
		return REASON_ICMP_TRUNC;
	if (quoted->ihl > 5)
		return REASON_ICMP_OPT;
	if (quoted->frag_off & bpf_htons(FRAGMENT_BITS & ~0x2000))
		return REASON_ICMP_FRAG;
	if (!(know4(dir, quoted->saddr) & ADDRESS_VIP))
		return REASON_ICMP_NOT_OURS;
	if (quoted->saddr != vip)
		return REASON_ICMP_MISMATCH;
	if (quoted->protocol != IPPROTO_TCP && quoted->protocol != IPPROTO_UDP)
		return REASON_ICMP_NOT_OURS;
	ports = take(c, QUOTED_PORTS);
	if (!ports || room < sizeof(*quoted) + QUOTED_PORTS)
		return REASON_ICMP_TRUNC;
	flow->client[0] = quoted->daddr;
	flow->client_port = ports->destination;
	flow->vip_port = ports->source;
	flow->protocol = quoted->protocol;
	return REASON_NONE;
}

/* Find the flow that an ICMP error is about, and whether it tells of a path that is hardly believable. */
static __noinline enum reason quoted_flow(struct xdp_md *ctx, const struct forward_directory *dir, struct packet *p)
{
	struct cursor c = cursor_of(ctx);
	const struct iphdr *ip;
	const struct icmphdr *icmp;
	__u32 room;

	if (!take(&c, sizeof(struct ethhdr)))
		return REASON_TRUNC;
	ip = take(&c, sizeof(*ip));
	if (!ip)
		return REASON_TRUNC;
	icmp = take(&c, sizeof(*icmp));
	room = bpf_ntohs(ip->tot_len) - sizeof(*ip);
	if (!icmp || room < sizeof(*icmp))
		return REASON_TRUNC;
	p->inner.is_error = 1;
	p->small_mtu = icmp->type == ICMP_UNREACHABLE && icmp->code == ICMP_CODE_TOO_BIG &&
		       bpf_ntohs(icmp->mtu) < SMALL_MTU;
	return read_quote(&c, dir, ip->daddr, room - sizeof(*icmp), &p->flow);
}

/* Turn the request in the frame into its reply. The checksum was right, so one changed word keeps it right. */
static __always_inline int write_echo_reply(struct xdp_md *ctx, struct totals *t)
{
	struct cursor c = cursor_of(ctx);
	struct ethhdr *eth = take(&c, sizeof(*eth));
	struct iphdr *ip;
	struct icmphdr *icmp;
	__be32 client;

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
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = ERROR_TTL;
	set_ipv4_checksum(ip);
	icmp->checksum = replace_word(icmp->checksum, ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY);
	icmp->type = ICMP_ECHO_REPLY;
	take_note(t, NOTE_ECHO_REPLY);
	return ANSWERED;
}

static __noinline int answer_echo(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				  const struct packet *p)
{
	const __u32 offset = sizeof(struct ethhdr) + sizeof(struct iphdr);
	__u32 length = p->inner.length - sizeof(struct iphdr);
	__u16 ones = 0xffff;
	int outcome;

	if (!(p->inner.vip & ADDRESS_ECHO))
		return REASON_ECHO_UNSERVED;
	if (sum_of(ctx, offset, length, 0) != 0xffff)
		return REASON_ICMP_CSUM;
	if (!within_rate(LIMITER_ECHO, &dir->settings.rates[RATE_ECHO]))
		return REASON_ECHO_LIMIT;
	outcome = trim(ctx, t, p->inner.length);
	if (outcome != GO_ON)
		return outcome;
	outcome = write_echo_reply(ctx, t);
	/* Zeros have the checksum 0xffff, where the change of a word says 0 (RFC 1624, 3): nothing else sums to 0. */
	if (outcome == ANSWERED && sum_of(ctx, offset, length, 0) == 0)
		bpf_xdp_store_bytes(ctx, offset + offsetof(struct icmphdr, checksum), &ones, sizeof(ones));
	return outcome;
}

/* An ICMP packet to a VIP: an error becomes the flow it quotes (GO_ON), anything else ends here. */
static __always_inline int read_icmp(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				struct packet *p)
{
	const struct icmphdr *icmp;
	struct cursor c;

	if (!reach_transport(ctx, p, &c))
		return REASON_TRUNC;
	icmp = take(&c, sizeof(*icmp));
	if (!icmp || p->inner.length < sizeof(struct iphdr) + sizeof(*icmp))
		return REASON_TRUNC;
	switch (icmp->type) {
	case ICMP_ECHO_REQUEST:
		return icmp->code ? REASON_ICMP_TYPE : answer_echo(ctx, t, dir, p);
	case ICMP_UNREACHABLE:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETER_PROBLEM:
		return quoted_flow(ctx, dir, p);
	default:
		return REASON_ICMP_TYPE;
	}
}

/* Fill in the headers in front of the quoted packet. */
static __always_inline int write_too_big(struct cursor *c, const struct ethhdr *old, __u32 mtu)
{
	struct ethhdr *eth = take(c, sizeof(*eth));
	const struct iphdr *quoted;
	struct icmphdr *icmp;
	struct iphdr *ip;
	__s64 sum;

	if (!eth)
		return REASON_TOOBIG;
	ip = take(c, sizeof(*ip));
	if (!ip)
		return REASON_TOOBIG;
	icmp = take(c, sizeof(*icmp) + QUOTE_LENGTH);
	if (!icmp)
		return REASON_TOOBIG;
	quoted = (const void *)(icmp + 1);
	*eth = *old;
	swap_macs(eth);
	*ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.tos = ERROR_TOS,
		.tot_len = bpf_htons(ERROR_LENGTH),
		.ttl = ERROR_TTL,
		.protocol = IPPROTO_ICMP,
		.saddr = quoted->daddr,
		.daddr = quoted->saddr,
	};
	set_ipv4_checksum(ip);
	*icmp = (struct icmphdr){ .type = ICMP_UNREACHABLE, .code = ICMP_CODE_TOO_BIG };
	icmp->mtu = bpf_htons(mtu);
	sum = bpf_csum_diff(0, 0, (__be32 *)icmp, CSUM_MOST, 0);
	sum = bpf_csum_diff(0, 0, (void *)icmp + CSUM_MOST, sizeof(*icmp) + QUOTE_LENGTH - CSUM_MOST, sum);
	icmp->checksum = ~fold(sum);
	return TOO_BIG_ANSWERED;
}

/* Make the frame the ICMP error about the packet in it (RFC 1191), quoting as much as fits. */
static __noinline int answer_too_big(struct xdp_md *ctx, struct totals *t, __u32 mtu)
{
	struct ethhdr old, *eth;
	struct cursor c = cursor_of(ctx);

	eth = take(&c, sizeof(*eth));
	if (!eth)
		return REASON_TOOBIG;
	old = *eth;
	if (bpf_xdp_adjust_tail(ctx, (int)(sizeof(*eth) + QUOTE_LENGTH) - (int)frame_length(ctx)) ||
	    bpf_xdp_adjust_head(ctx, -(int)ERROR_ADDED))
		return REASON_TOOBIG;
	take_note(t, NOTE_PTB_SENT);
	c = cursor_of(ctx);
	return write_too_big(&c, &old, mtu);
}

static __noinline int count_tunnel_error(struct totals *t, __u32 backend, enum note note)
{
	struct backend_count *count = bpf_map_lookup_elem(&backend_count, &backend);

	take_note(t, note);
	if (count && note == NOTE_ENCAP_PTB)
		count->too_big++;
	else if (count)
		count->unreachable++;
	return PASS;
}

/* A packet for the host is an ICMP error about a tunnel packet of ours: count that, for the path's sake (RFC 4459). */
static __noinline int note_tunnel_error(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir)
{
	struct cursor c = cursor_of(ctx);
	const struct forward_settings *settings = &dir->settings;
	const struct iphdr *ip, *quoted;
	const struct icmphdr *icmp;
	__u32 backend;

	if (!take(&c, sizeof(struct ethhdr)))
		return PASS;
	ip = take(&c, sizeof(*ip));
	if (!ip || ip->ihl != 5 || ip->frag_off & bpf_htons(FRAGMENT_BITS))
		return PASS;
	icmp = take(&c, sizeof(*icmp));
	if (!icmp || (icmp->type != ICMP_UNREACHABLE && icmp->type != ICMP_TIME_EXCEEDED))
		return PASS;
	quoted = take(&c, sizeof(*quoted));
	if (!quoted || quoted->version != 4 || !is_tunnel(quoted->protocol) ||
	    (bpf_ntohl(quoted->saddr) & ~settings->outer_host_mask) != settings->outer_network)
		return PASS;
	backend = backend_at4(dir, quoted->daddr);
	if (!backend)
		return PASS;
	if (icmp->type == ICMP_UNREACHABLE && icmp->code == ICMP_CODE_TOO_BIG)
		return count_tunnel_error(t, backend, NOTE_ENCAP_PTB);
	return count_tunnel_error(t, backend, NOTE_ENCAP_UNREACH);
}

#endif
