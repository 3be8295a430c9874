/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * The forwarder: packet -> VIP -> service -> slot -> backend -> outer header, in one pass and without per-flow state.
 * Packets for other addresses are the host's and stay as they are. See docs/adr/0002-data-path.md.
 *
 * What is here is the short way of the packets that a flood or a busy service consists of: TCP and UDP without anything
 * unusual. It proves that a packet is ordinary, and leaves every other one to examine.h, which finds out what it is.
 */
#include "trace.h"
#include "vlan.h"

static __always_inline const struct forward_directory *current_directory(void)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&directory, &zero);

	return inner ? bpf_map_lookup_elem(inner, &zero) : 0;
}

/* Whether a transport header that starts with readable ports is whole, and its lengths hold in `length` bytes. */
static __always_inline int is_plain_transport(const void *l4, const void *end, __u8 protocol, __u32 length)
{
	if (protocol == IPPROTO_TCP) {
		const struct tcphdr *tcp = l4;

		return (const void *)(tcp + 1) <= end && tcp->doff >= 5 && tcp->doff * 4u <= length;
	}
	const struct udphdr *udp = l4;
	__u32 claimed = bpf_ntohs(udp->len);

	return claimed >= sizeof(*udp) && claimed <= length;
}

/* A packet for a VIP that no exact service takes: to be denied at once, unless something else may take it. */
static __always_inline int deny(const struct forward_directory *dir, __u32 vip, __u8 protocol, __be16 port, __u8 prefixes)
{
	if (prefixes || vip & ADDRESS_ANY_PORT || (protocol == IPPROTO_UDP && port == bpf_htons(GUE_PORT)))
		return EXAMINE;
	return REASON_NO_SERVICE;
}

static __always_inline int is_from_unicast(const struct ethhdr *eth)
{
	const __u16 *source = (const void *)eth->h_source;

	return !(eth->h_source[0] & 1) && (source[0] | source[1] | source[2]);
}

/* Whether this frame is one that a neighbour sent to this interface. */
static __always_inline int is_for_us(struct xdp_md *ctx, const struct forward_settings *settings,
				     const struct ethhdr *eth)
{
	return is_own_mac(settings, ctx->ingress_ifindex, *(const __u64 *)eth) && is_from_unicast(eth);
}

static __always_inline int forward4(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				    struct ethhdr *eth, const void *end)
{
	const struct forward_settings *settings = &dir->settings;
	struct iphdr *ip = (void *)(eth + 1);
	const struct ports *ports = (void *)(ip + 1);
	struct inner inner = {};
	struct found_service found;
	__u32 room = end - (void *)ip;
	__u8 protocol;

	if ((void *)ports + READABLE > end || *(__u8 *)ip != 0x45 || ip->frag_off & bpf_htons(FRAGMENT_BITS))
		return EXAMINE;
	protocol = ip->protocol;
	found = look_up_exact4(dir, ip->daddr, ports->destination, protocol);
	if (!found.found) {
		__u32 vip = know4(dir, ip->daddr);

		if (!(vip & ADDRESS_VIP))
			return protocol == IPPROTO_ICMP ? EXAMINE : PASS;
		if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || !ports->source || !ports->destination ||
		    !is_for_us(ctx, settings, eth))
			return EXAMINE;
		return deny(dir, vip, protocol, ports->destination, settings->lengths4[0]);
	}
	/* what takes longest and is needed last is begun first; most services hash all of the flow */
	inner.hash = hash_flow(&ip->saddr, 0, ports->source, ports->destination, protocol, settings->seed);
	inner.length = bpf_ntohs(ip->tot_len);
	inner.tos = ip->tos;
	if (!ports->source || !is_for_us(ctx, settings, eth) || inner.length > room ||
	    inner.length < sizeof(*ip) + READABLE || ip->ttl == 0 || !is_ipv4_sum_right(ip) ||
	    (!is_clean4(settings, ip->saddr) && check_source4(dir, ip->saddr) != GO_ON) ||
	    found.service->special & SPECIAL_EXAMINE ||
	    !is_plain_transport(ports, end, protocol, inner.length - sizeof(*ip)))
		return EXAMINE;
	if (found.service->special)
		inner.hash = hash_for(found.service, &ip->saddr, 0, ports->source, ports->destination, protocol,
				      settings->seed);
	return deliver(ctx, t, dir, found.service, 0, &inner);
}

static __always_inline int forward6(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				    struct ethhdr *eth, const void *end)
{
	const struct forward_settings *settings = &dir->settings;
	struct ipv6hdr *ip = (void *)(eth + 1);
	const struct ports *ports = (void *)(ip + 1);
	const __be32 *source = (void *)&ip->saddr;
	struct inner inner = { .six = 1 };
	struct found_service found;
	__u32 room = end - (void *)ports, length;
	__u8 protocol;

	if ((void *)ports + READABLE > end || ip->version != 6)
		return EXAMINE;
	protocol = ip->nexthdr;
	found = look_up_exact6(dir, wide_of(&ip->daddr), ports->destination, protocol);
	if (!found.found) {
		__u32 vip = know6(dir, wide_of(&ip->daddr));

		if (!(vip & ADDRESS_VIP))
			return protocol == IPPROTO_ICMPV6 ? EXAMINE : PASS;
		if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || !ports->source || !ports->destination ||
		    !is_for_us(ctx, settings, eth))
			return EXAMINE;
		return deny(dir, vip, protocol, ports->destination, settings->lengths6[0]);
	}
	inner.hash = hash_flow(source, 1, ports->source, ports->destination, protocol, settings->seed);
	length = bpf_ntohs(ip->payload_len);
	inner.length = sizeof(*ip) + length;
	inner.tos = traffic_class(ip);
	if (!ports->source || !is_for_us(ctx, settings, eth) || length > room || length < READABLE ||
	    ip->hop_limit == 0 || (!is_clean6(settings, source) && check_source6(dir, source) != GO_ON) ||
	    found.service->special & SPECIAL_EXAMINE || !is_plain_transport(ports, end, protocol, length))
		return EXAMINE;
	if (found.service->special)
		inner.hash = hash_for(found.service, source, 1, ports->source, ports->destination, protocol,
				      settings->seed);
	return deliver(ctx, t, dir, found.service, 0, &inner);
}

static __always_inline int handle(struct xdp_md *ctx, struct totals *t)
{
	struct cursor c = cursor_of(ctx);
	const struct forward_directory *dir = current_directory();
	struct ethhdr *eth = take(&c, sizeof(*eth));
	int outcome = EXAMINE;

	if (!eth)
		return REASON_SHORT;
	switch (*(__be16 *)((void *)eth + 2 * ETH_ALEN)) { /* the struct is packed: two loads */
	case bpf_htons(ETH_P_IP):
		if (dir)
			outcome = forward4(ctx, t, dir, eth, c.end);
		return outcome == EXAMINE ? examine4(ctx, t, dir) : outcome;
	case bpf_htons(ETH_P_IPV6):
		if (dir)
			outcome = forward6(ctx, t, dir, eth, c.end);
		return outcome == EXAMINE ? examine6(ctx, t, dir) : outcome;
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return examine_tagged(ctx, t, dir);
	default:
		return PASS;
	}
}

SEC("xdp")
int forward(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct totals *t = bpf_map_lookup_elem(&totals, &zero);
	int outcome, verdict;

	if (!t) /* an array has its entry 0: this is for the verifier */
		return XDP_PASS;
	outcome = handle(ctx, t);
	verdict = finish(t, outcome);
	trace(ctx, t, outcome, verdict);
	return verdict;
}

char _license[] SEC("license") = "GPL";
