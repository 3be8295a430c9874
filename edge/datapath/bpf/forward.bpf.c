/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * The forwarder: packet -> VIP -> service -> slot -> backend -> outer header, in one pass and without per-flow state.
 * Packets for other addresses are the host's and stay as they are. See docs/adr/0002-data-path.md.
 */
#include <linux/tcp.h>
#include <linux/udp.h>
#include "icmp.h"

#define GUE_PORT 6080

/* What the steps learn about a VIP packet. */
struct request {
	struct flow flow;
	struct inner inner;
	__u32 vip_flags;
	int is_error;  /* the packet is an ICMP error about the flow */
	int small_mtu; /* and says that hardly anything gets through */
};

static __always_inline const struct forward_directory *current_directory(void)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&directory, &zero);

	return inner ? bpf_map_lookup_elem(inner, &zero) : 0;
}

/* Only frames that a neighbour sent to this interface are forwarded: a flooded frame would be forwarded twice. */
static __always_inline int check_macs(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				      const struct ethhdr *eth)
{
	const __u16 *destination = (const void *)eth->h_dest, *source = (const void *)eth->h_source;

	if (!is_own_mac(&dir->interfaces, ctx->ingress_ifindex, destination)) {
		if ((destination[0] & destination[1] & destination[2]) == 0xffff)
			return REASON_L2_BCAST;
		if (eth->h_dest[0] & 1)
			return REASON_L2_MCAST;
		take_note(t, NOTE_OTHER_HOST);
		return PASS;
	}
	return eth->h_source[0] & 1 || (source[0] | source[1] | source[2]) == 0 ? REASON_L2_SRC : GO_ON;
}

/* RFC 1812 5.3.7, RFC 6890, BCP 38: what a client can never be. */
static __always_inline int check_source(const struct forward_directory *dir, __u32 source)
{
	const struct forward_settings *settings = &dir->settings;

	if (is_martian(source) || (source & ~settings->outer_host_mask) == settings->outer_network)
		return REASON_MARTIAN;
	return look_up_address(&dir->addresses, source) ? REASON_MARTIAN : GO_ON;
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

static __always_inline int read_udp(struct cursor *c, __u32 length, struct flow *flow)
{
	const struct udphdr *udp = take(c, sizeof(*udp));

	if (!udp || length < sizeof(*udp))
		return REASON_TRUNC;
	if (bpf_ntohs(udp->len) < sizeof(*udp) || bpf_ntohs(udp->len) > length)
		return REASON_LEN;
	flow->client_port = udp->source;
	flow->vip_port = udp->dest;
	return GO_ON;
}

static __always_inline int read_icmp(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				     struct cursor *c, struct request *r)
{
	const struct icmphdr *icmp = take(c, sizeof(*icmp));
	struct flow quoted = {};
	int small_mtu = 0, outcome;

	if (!icmp || r->inner.length < sizeof(struct iphdr) + sizeof(*icmp))
		return REASON_TRUNC;
	switch (icmp->type) {
	case ICMP_ECHO_REQUEST:
		if (icmp->code)
			return REASON_ICMP_TYPE;
		return answer_echo(ctx, t, dir, r->vip_flags, r->inner.length);
	case ICMP_UNREACHABLE:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETER_PROBLEM:
		outcome = quoted_flow(ctx, dir, &quoted, &small_mtu);
		r->flow = quoted;
		r->is_error = 1;
		r->small_mtu = small_mtu;
		return outcome;
	default:
		return REASON_ICMP_TYPE;
	}
}

static __always_inline int read_flow(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				     struct cursor *c, const struct iphdr *ip, struct request *r)
{
	__u32 length = r->inner.length - sizeof(*ip);
	int outcome;

	r->flow.client = ip->saddr;
	r->flow.protocol = ip->protocol;
	switch (ip->protocol) {
	case IPPROTO_TCP:
		outcome = read_tcp(c, length, &r->flow);
		break;
	case IPPROTO_UDP:
		outcome = read_udp(c, length, &r->flow);
		break;
	case IPPROTO_ICMP:
		outcome = read_icmp(ctx, t, dir, c, r);
		break;
	default:
		return is_tunnel(ip->protocol) ? REASON_NESTED : REASON_PROTO;
	}
	if (outcome != GO_ON)
		return outcome;
	return r->flow.client_port && r->flow.vip_port ? GO_ON : REASON_PORT0;
}

/* The service of the flow; one on any port hashes port 0, so that a client port has one backend on all of them. */
static __always_inline struct found_service service_of(const struct forward_directory *dir, struct request *r)
{
	__u32 key = (r->vip_flags & VIP_INDEX_MASK) << 17 | (r->flow.protocol == IPPROTO_UDP) << 16;
	struct found_service found = look_up_service(&dir->services, key | bpf_ntohs(r->flow.vip_port));

	if (found.pool)
		return found;
	found = look_up_service(&dir->services, key);
	if (found.pool)
		r->flow.vip_port = 0;
	return found;
}

static __always_inline int forward_flow(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
					struct request *r)
{
	struct found_service service = service_of(dir, r);
	const struct backend *backend;
	__u32 hash, id;
	int outcome;

	if (!service.pool) {
		int gue = r->flow.protocol == IPPROTO_UDP && r->flow.vip_port == bpf_htons(GUE_PORT) && !r->is_error;

		return gue ? REASON_NESTED : REASON_NO_SERVICE;
	}
	hash = flow_hash(&r->flow, dir->settings.seed);
	outcome = choose_backend(dir, service.pool, hash, &id);
	if (outcome != GO_ON)
		return outcome;
	backend = &dir->backends[id];
	if (!backend->overhead)
		return REASON_TABLE_CORRUPT;
	if (!backend->ifindex)
		return REASON_NEIGH;
	if (r->inner.length > backend->limit)
		return refuse_too_big(ctx, t, dir, backend->limit, !r->is_error);
	if (r->is_error && !may_relay(dir, r->vip_flags))
		return REASON_ICMP_LIMIT;
	outcome = send_to(ctx, t, dir, backend, &r->inner, hash);
	if (outcome < PASS)
		return outcome;
	count_sent(service.id, id);
	if (r->is_error)
		take_note(t, NOTE_ICMP_RELAYED);
	if (r->small_mtu)
		take_note(t, NOTE_PTB_SMALL);
	return outcome;
}

static __always_inline int handle(struct xdp_md *ctx, struct totals *t)
{
	struct cursor c = cursor_of(ctx);
	const struct forward_directory *dir;
	struct request r = {};
	struct ethhdr *eth;
	struct iphdr *ip;
	int outcome;

	outcome = parse_link(&c, t, &eth, &ip);
	if (outcome != GO_ON)
		return outcome;
	dir = current_directory();
	if (!dir) {
		take_note(t, NOTE_UNCONFIGURED);
		return PASS;
	}
	r.vip_flags = look_up_address(&dir->addresses, bpf_ntohl(ip->daddr));
	if (!(r.vip_flags & ADDRESS_VIP))
		return ip->protocol == IPPROTO_ICMP ? note_tunnel_error(ctx, t, dir) : PASS;
	outcome = check_macs(ctx, t, dir, eth);
	if (outcome != GO_ON)
		return outcome;
	outcome = check_ipv4(ip, frame_length(ctx) - sizeof(*eth));
	if (outcome != GO_ON)
		return outcome;
	outcome = check_source(dir, bpf_ntohl(ip->saddr));
	if (outcome != GO_ON)
		return outcome;
	r.inner.length = bpf_ntohs(ip->tot_len);
	r.inner.tos = ip->tos;
	outcome = read_flow(ctx, t, dir, &c, ip, &r);
	if (outcome != GO_ON)
		return outcome;
	return forward_flow(ctx, t, dir, &r);
}

SEC("xdp")
int forward(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct totals *t = bpf_map_lookup_elem(&totals, &zero);

	/* an array has its entry 0: this is for the verifier */
	return t ? finish(t, handle(ctx, t)) : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
