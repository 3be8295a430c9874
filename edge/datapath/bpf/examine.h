/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * Every packet that is not plainly one to forward: what it is, whose it is, and the reason if it is dropped. The order
 * of the checks is the order of docs/adr/0002-data-path.md.
 *
 * The three functions that are not static are so for the verifier: it goes through them once and not once for each way
 * that leads there, which makes loading eight times faster. The pointers they are given may be null for all it knows.
 */
#ifndef FAIRHOP_EXAMINE_H
#define FAIRHOP_EXAMINE_H

#include <linux/tcp.h>
#include <linux/udp.h>
#include "deliver.h"
#include "quic.h"

#define READABLE 8 /* bytes of transport that hold the ports, and all of a UDP header */

/* Only frames that a neighbour sent to this interface are forwarded: a flooded frame would be forwarded twice. */
static __noinline int check_macs(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir)
{
	struct cursor c = cursor_of(ctx);
	const struct ethhdr *eth = take(&c, sizeof(*eth));
	const __u16 *destination, *source;

	if (!eth)
		return REASON_SHORT;
	destination = (const void *)eth->h_dest;
	source = (const void *)eth->h_source;
	if (!is_own_mac(&dir->settings, ctx->ingress_ifindex, *(const __u64 *)eth)) {
		if ((destination[0] & destination[1] & destination[2]) == 0xffff)
			return REASON_L2_BCAST;
		if (eth->h_dest[0] & 1)
			return REASON_L2_MCAST;
		take_note(t, NOTE_OTHER_HOST);
		return PASS;
	}
	return eth->h_source[0] & 1 || (source[0] | source[1] | source[2]) == 0 ? REASON_L2_SRC : GO_ON;
}

/* The service of the flow; one on any port hashes port 0, so that a client port has one backend on all of them. */
static __always_inline struct found_service service_of(const struct forward_directory *dir, struct packet *p)
{
	__u32 udp = p->flow.protocol == IPPROTO_UDP;
	struct found_service found = look_up_service(dir, service_key(p->inner.vip, udp, p->flow.vip_port));

	if (found.found || !(p->inner.vip & ADDRESS_ANY_PORT))
		return found;
	found = look_up_service(dir, service_key(p->inner.vip, udp, 0));
	if (found.found)
		p->flow.vip_port = 0;
	return found;
}

static __always_inline int denial(const struct packet *p)
{
	return p->flow.protocol == IPPROTO_UDP && p->flow.vip_port == bpf_htons(GUE_PORT) && !p->inner.is_error ?
		       REASON_NESTED :
		       REASON_NO_SERVICE;
}

/* Default deny as early as the ports can be read, so that a flood to a port without service is cheap to refuse. */
static __noinline int deny_early(struct xdp_md *ctx, const struct forward_directory *dir, const struct packet *p)
{
	struct packet copy = { .inner.vip = p->inner.vip };
	const struct ports *ports;
	struct cursor c;

	if (!reach_transport(ctx, p, &c))
		return GO_ON;
	ports = take(&c, READABLE);
	if (!ports || (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP))
		return GO_ON;
	if (!ports->source || !ports->destination)
		return REASON_PORT0;
	copy.flow.protocol = p->protocol;
	copy.flow.vip_port = ports->destination;
	return service_of(dir, &copy).found ? GO_ON : denial(&copy);
}

static __always_inline int read_tcp(struct cursor *c, __u32 length, struct flow *flow)
{
	const struct tcphdr *tcp = take(c, sizeof(*tcp));

	if (!tcp || length < sizeof(*tcp))
		return REASON_TRUNC;
	if (tcp->doff < 5 || tcp->doff * 4u > length)
		return REASON_L4;
	flow->client_port = tcp->source;
	flow->vip_port = tcp->dest;
	return GO_ON;
}

static __always_inline int read_udp(struct cursor *c, const struct forward_settings *settings, __u32 length,
				    struct flow *flow)
{
	const struct udphdr *udp = take(c, sizeof(*udp));

	if (!udp || length < sizeof(*udp))
		return REASON_TRUNC;
	if (bpf_ntohs(udp->len) < sizeof(*udp) || bpf_ntohs(udp->len) > length)
		return REASON_LEN;
	if (is_reflected(settings, udp->source))
		return REASON_ACL;
	flow->client_port = udp->source;
	flow->vip_port = udp->dest;
	return GO_ON;
}

/* The flow that the packet belongs to, or is about. */
static __noinline int read_flow(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				struct packet *p)
{
	__u32 length = p->inner.length - ip_header_size(p);
	struct cursor c;
	int outcome;

	if (!reach_transport(ctx, p, &c))
		return REASON_TRUNC;
	p->flow.protocol = p->protocol;
	if (p->protocol == IPPROTO_TCP)
		outcome = read_tcp(&c, length, &p->flow);
	else if (p->protocol == IPPROTO_UDP)
		outcome = read_udp(&c, &dir->settings, length, &p->flow);
	else if (p->protocol == IPPROTO_ICMP && !p->inner.six)
		outcome = read_icmp(ctx, t, dir, p);
	else if (p->protocol == IPPROTO_ICMPV6 && p->inner.six)
		outcome = read_icmp6(ctx, t, dir, p);
	else
		outcome = is_tunnel(p->protocol) ? REASON_NESTED : REASON_PROTO;
	if (outcome != GO_ON)
		return outcome;
	return p->flow.client_port && p->flow.vip_port ? GO_ON : REASON_PORT0;
}

static __noinline int serve(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
			    struct packet *p)
{
	struct found_service found = service_of(dir, p);
	const struct service *service = found.service;
	__u32 named = 0;
	int outcome;

	if (!found.found)
		return denial(p);
	p->inner.hash = hash_for(service, p->flow.client, p->inner.six, p->flow.client_port, p->flow.vip_port,
				 p->flow.protocol, dir->settings.seed);
	if (service->quic && !p->inner.is_error)
		named = backend_of_cid(ctx, t, dir, service->group, p);
	outcome = deliver(ctx, t, dir, service, named, &p->inner);
	if (p->inner.is_error && (outcome == TX || outcome == REDIRECT)) {
		take_note(t, NOTE_ICMP_RELAYED);
		if (p->small_mtu)
			take_note(t, NOTE_PTB_SMALL);
	}
	return outcome;
}

/* From a checked IP header on. */
__noinline int examine_packet(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				     struct packet *p)
{
	int outcome;

	if (!t || !dir || !p)
		return REASON_TABLE_CORRUPT;
	if (dir->settings.flags & SETTING_FILTERS) {
		outcome = filter(t, dir, p->flow.client, p->inner.six, p->inner.vip);
		if (outcome != GO_ON)
			return outcome;
	}
	outcome = read_flow(ctx, t, dir, p);
	return outcome == GO_ON ? serve(ctx, t, dir, p) : outcome;
}

__noinline int examine4(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir)
{
	struct cursor c = cursor_of(ctx);
	const struct iphdr *ip;
	struct packet p = {};
	int outcome;

	if (!t)
		return PASS;
	if (!take(&c, sizeof(struct ethhdr)))
		return REASON_SHORT;
	ip = take(&c, sizeof(*ip));
	if (!ip)
		return REASON_TRUNC;
	if (ip->version != 4)
		return REASON_IP_VERSION;
	if (!dir) {
		take_note(t, NOTE_UNCONFIGURED);
		return PASS;
	}
	p.inner.vip = know4(dir, ip->daddr);
	if (!(p.inner.vip & ADDRESS_VIP))
		return ip->protocol == IPPROTO_ICMP ? note_tunnel_error(ctx, t, dir) : PASS;
	outcome = check_macs(ctx, t, dir);
	if (outcome != GO_ON)
		return outcome;
	p.protocol = ip->protocol;
	if (ip->ihl == 5 && !(ip->frag_off & bpf_htons(FRAGMENT_BITS))) {
		outcome = deny_early(ctx, dir, &p);
		if (outcome != GO_ON)
			return outcome;
	}
	outcome = check_ipv4(ip, frame_length(ctx) - sizeof(struct ethhdr));
	if (outcome != GO_ON)
		return outcome;
	if (!is_clean4(&dir->settings, ip->saddr) && check_source4(dir, ip->saddr) != GO_ON)
		return REASON_MARTIAN;
	p.flow.client[0] = ip->saddr;
	p.inner.length = bpf_ntohs(ip->tot_len);
	p.inner.tos = ip->tos;
	return examine_packet(ctx, t, dir, &p);
}

/* The header of IPv6 and what follows it (RFC 8200); nothing between it and the transport is taken (RFC 9288). */
static __always_inline int check_ipv6(struct cursor *c, const struct ipv6hdr *ip, __u32 room)
{
	__u32 length = bpf_ntohs(ip->payload_len);
	const __be16 *fragment;

	if (length > room)
		return REASON_LEN;
	if (ip->hop_limit == 0)
		return REASON_TTL;
	switch (ip->nexthdr) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_ICMPV6:
		return length ? GO_ON : REASON_LEN;
	case IPPROTO_ROUTING:
		return REASON_RH;
	case IPPROTO_FRAGMENT:
		fragment = take(c, 8);
		if (!fragment || length < 8)
			return REASON_TRUNC;
		return fragment[1] & bpf_htons(0xfff9) ? REASON_FRAG : REASON_FRAG_ATOMIC;
	default:
		if (is_extension(ip->nexthdr))
			return REASON_V6_EXTHDR;
		return is_tunnel(ip->nexthdr) ? REASON_NESTED : REASON_PROTO;
	}
}

__noinline int examine6(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir)
{
	struct cursor c = cursor_of(ctx), behind;
	const struct ipv6hdr *ip;
	struct packet p = { .inner.six = 1 };
	int outcome;

	if (!t)
		return PASS;
	if (!take(&c, sizeof(struct ethhdr)))
		return REASON_SHORT;
	ip = take(&c, sizeof(*ip));
	if (!ip)
		return REASON_TRUNC;
	if (ip->version != 6)
		return REASON_IP_VERSION;
	if (!dir) {
		take_note(t, NOTE_UNCONFIGURED);
		return PASS;
	}
	p.inner.vip = know6(dir, wide_of(&ip->daddr));
	if (!(p.inner.vip & ADDRESS_VIP))
		return ip->nexthdr == IPPROTO_ICMPV6 ? note_tunnel_error6(ctx, t, dir) : PASS;
	behind = c;
	if (ip->nexthdr == IPPROTO_ICMPV6 && is_discovery(&behind))
		return PASS;
	outcome = check_macs(ctx, t, dir);
	if (outcome != GO_ON)
		return outcome;
	p.protocol = ip->nexthdr;
	outcome = deny_early(ctx, dir, &p);
	if (outcome != GO_ON)
		return outcome;
	outcome = check_ipv6(&c, ip, frame_length(ctx) - sizeof(struct ethhdr) - sizeof(*ip));
	if (outcome != GO_ON)
		return outcome;
	if (!is_clean6(&dir->settings, &ip->saddr) && check_source6(dir, (const void *)&ip->saddr) != GO_ON)
		return REASON_MARTIAN;
	__builtin_memcpy(p.flow.client, &ip->saddr, sizeof(p.flow.client));
	p.inner.length = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	p.inner.tos = traffic_class(ip);
	return examine_packet(ctx, t, dir, &p);
}

#endif
