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

static __always_inline int needs_examination(const struct forward_settings *settings, struct found_service service,
					     __u8 protocol)
{
	return settings->flags & SETTING_FILTERS ||
	       (protocol == IPPROTO_UDP && (service.quic || settings->reflection_ports[0]));
}

/* Is there something that an exact port does not find? */
static __always_inline int denies(__u32 vip, __u8 protocol, __be16 port)
{
	return !(vip & ADDRESS_ANY_PORT) && !(protocol == IPPROTO_UDP && port == bpf_htons(GUE_PORT));
}

static __always_inline int is_from_unicast(const struct ethhdr *eth)
{
	const __u16 *source = (const void *)eth->h_source;

	return !(eth->h_source[0] & 1) && (source[0] | source[1] | source[2]);
}

static __always_inline int forward4(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				    struct ethhdr *eth, const void *end)
{
	const struct forward_settings *settings = &dir->settings;
	struct iphdr *ip = (void *)(eth + 1);
	const struct ports *ports = (void *)(ip + 1);
	struct found_service service;
	struct inner inner;
	__u32 room = end - (void *)ip;
	__u8 protocol;

	if ((void *)ports + READABLE > end || *(__u8 *)ip != 0x45 || ip->frag_off & bpf_htons(FRAGMENT_BITS))
		return EXAMINE;
	inner.vip = know4(&dir->addresses, &dir->wide, settings->lengths4, ip->daddr);
	protocol = ip->protocol;
	if (!(inner.vip & ADDRESS_VIP))
		return protocol == IPPROTO_ICMP ? EXAMINE : PASS;
	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || !ports->source || !ports->destination ||
	    !is_own_mac(settings, ctx->ingress_ifindex, *(__u64 *)eth) || !is_from_unicast(eth))
		return EXAMINE;
	service = look_up_service(&dir->services, service_key(inner.vip, protocol == IPPROTO_UDP, ports->destination));
	if (!service.pool)
		return denies(inner.vip, protocol, ports->destination) ? REASON_NO_SERVICE : EXAMINE;
	inner.length = bpf_ntohs(ip->tot_len);
	inner.tos = ip->tos;
	if (inner.length > room || inner.length < sizeof(*ip) + READABLE || ip->ttl == 0 || ipv4_sum(ip) != 0xffff ||
	    (settings->classes[ip->saddr & 0xff] != SOURCE_CLEAN && check_source4(dir, ip->saddr) != GO_ON) ||
	    needs_examination(settings, service, protocol) ||
	    !is_plain_transport(ports, end, protocol, inner.length - sizeof(*ip)))
		return EXAMINE;
	inner.hash = hash_for(&service, &ip->saddr, 0, ports->source, ports->destination, protocol, settings->seed);
	inner.six = 0;
	inner.is_error = 0;
	return deliver(ctx, t, dir, &service, 0, &inner);
}

static __always_inline int forward6(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				    struct ethhdr *eth, const void *end)
{
	const struct forward_settings *settings = &dir->settings;
	struct ipv6hdr *ip = (void *)(eth + 1);
	const struct ports *ports = (void *)(ip + 1);
	const __be32 *source = (void *)&ip->saddr;
	struct found_service service;
	struct inner inner;
	__u32 room = end - (void *)ports, length;
	__u8 protocol;

	if ((void *)ports + READABLE > end || ip->version != 6)
		return EXAMINE;
	inner.vip = know6(&dir->wide, settings->lengths6, (const void *)&ip->daddr);
	protocol = ip->nexthdr;
	if (!(inner.vip & ADDRESS_VIP))
		return protocol == IPPROTO_ICMPV6 ? EXAMINE : PASS;
	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || !ports->source || !ports->destination ||
	    !is_own_mac(settings, ctx->ingress_ifindex, *(__u64 *)eth) || !is_from_unicast(eth))
		return EXAMINE;
	service = look_up_service(&dir->services, service_key(inner.vip, protocol == IPPROTO_UDP, ports->destination));
	if (!service.pool)
		return denies(inner.vip, protocol, ports->destination) ? REASON_NO_SERVICE : EXAMINE;
	length = bpf_ntohs(ip->payload_len);
	inner.length = sizeof(*ip) + length;
	inner.tos = traffic_class(ip);
	if (length > room || length < READABLE || ip->hop_limit == 0 || check_source6(dir, source) != GO_ON ||
	    needs_examination(settings, service, protocol) || !is_plain_transport(ports, end, protocol, length))
		return EXAMINE;
	inner.hash = hash_for(&service, source, 1, ports->source, ports->destination, protocol, settings->seed);
	inner.six = 1;
	inner.is_error = 0;
	return deliver(ctx, t, dir, &service, 0, &inner);
}

static __always_inline int handle(struct xdp_md *ctx, struct totals *t)
{
	struct cursor c = cursor_of(ctx);
	const struct forward_directory *dir = current_directory();
	struct ethhdr *eth = take(&c, sizeof(*eth));
	int outcome = EXAMINE;

	if (!eth)
		return REASON_SHORT;
	switch (eth->h_proto) {
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
