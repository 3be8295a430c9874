/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * The decapsulator on a backend: a tunnel from an edge to our own address loses its outer header and goes up the stack.
 * A tunnel device would take it from anyone (CVE-2020-10136, CVE-2024-7595); here the source, the inner destination
 * and the depth are checked first. Everything that is no IPIP or GRE for our own address stays as it is.
 */
#define DECAPSULATOR
#include "lookup.h"
#include "parse.h"

#define GRE_KEY 0x2000

struct gre {
	__be16 flags;
	__be16 protocol;
};

static __always_inline const struct decap_directory *current_directory(void)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&directory, &zero);

	return inner ? bpf_map_lookup_elem(inner, &zero) : 0;
}

/* Whether tunnels may come from this address. */
static __noinline int is_edge(const struct decap_directory *dir, __u32 address)
{
	__u32 count = dir->settings.prefixes;

	if (look_up_address(&dir->addresses, address) & ADDRESS_EDGE)
		return 1;
	for (__u32 i = 0; i < MAX_PREFIXES && i < count; i++)
		if ((address & dir->prefixes[i].mask) == dir->prefixes[i].network)
			return 1;
	return 0;
}

/* The outer header. Unlike in a client's packet, bytes missing from the end mean a truncated tunnel. */
static __always_inline int check_outer(const struct decap_directory *dir, const struct iphdr *ip, __u32 room)
{
	__u32 wanted = ip->protocol == IPPROTO_GRE ? ENCAP_GRE : ENCAP_IPIP;
	int outcome = check_ipv4(ip, room);

	if (outcome == REASON_LEN && bpf_ntohs(ip->tot_len) > room)
		return REASON_TRUNC;
	if (outcome != GO_ON)
		return outcome;
	if (!is_edge(dir, bpf_ntohl(ip->saddr)))
		return REASON_BAD_OUTER;
	return dir->settings.encaps & wanted ? GO_ON : REASON_ENCAP_TYPE;
}

/* Plain GRE around IPv4 and nothing else (RFC 2784; the key of RFC 2890 is not expected). */
static __always_inline int check_gre(struct cursor *c, __u32 room)
{
	const struct gre *gre = take(c, sizeof(*gre));

	if (!gre || room < sizeof(*gre))
		return REASON_TRUNC;
	if (gre->flags & ~bpf_htons(GRE_KEY))
		return REASON_GRE;
	if (gre->flags)
		return REASON_KEY;
	return gre->protocol == bpf_htons(ETH_P_IP) ? GO_ON : REASON_GRE_PROTO;
}

/* Addresses of machines rather than of services: loopback, link-local, private, multicast and beyond. */
static __always_inline int is_internal(__u32 address)
{
	return is_martian(address) || address >> 24 == 10 || address >> 20 == 0xac1 || address >> 16 == 0xc0a8;
}

static __always_inline int check_inner_addresses(const struct decap_directory *dir, const struct iphdr *ip)
{
	__u32 source = bpf_ntohl(ip->saddr), destination = bpf_ntohl(ip->daddr);
	__u32 to = look_up_address(&dir->addresses, destination);
	__u32 from = look_up_address(&dir->addresses, source);

	if (!(to & ADDRESS_VIP))
		return to || is_internal(destination) || is_edge(dir, destination) ? REASON_INNER_DST :
										      REASON_MISDELIVERED;
	return from || is_martian(source) || is_edge(dir, source) ? REASON_MARTIAN : GO_ON;
}

static __always_inline int check_inner(const struct decap_directory *dir, const struct iphdr *ip, __u32 room)
{
	int outcome;

	if (ip->version != 4)
		return REASON_VERSION;
	/* the kernel verifies the inner checksum; the edge has done so as well */
	outcome = check_ipv4(ip, room);
	if (outcome != GO_ON)
		return outcome;
	if (is_tunnel(ip->protocol))
		return REASON_NESTED;
	return check_inner_addresses(dir, ip);
}

/* Move a congestion mark from the outer header to the inner one (RFC 6040, figure 4). */
static __always_inline int merge_ecn(struct totals *t, __u8 outer_tos, struct iphdr *ip)
{
	__u8 outer = outer_tos & ECN_MASK, inner = ip->tos & ECN_MASK;
	__u16 *first = (void *)ip, old = *first;

	if (inner == 0)
		return outer == ECN_CE ? REASON_ECN : GO_ON;
	/* the outer CE or ECT(1) wins over the inner ECT; an inner CE stays */
	if (inner == ECN_CE || outer == inner || outer == 0 || outer == 2)
		return GO_ON;
	ip->tos = (ip->tos & ~ECN_MASK) | outer;
	ip->check = replace_word(ip->check, old, *first);
	if (outer == ECN_CE)
		take_note(t, NOTE_ECN_CE);
	return GO_ON;
}

static __always_inline int strip(struct xdp_md *ctx, struct totals *t, __u32 overhead, __u32 inner_length)
{
	int outcome = trim(ctx, t, overhead + inner_length);
	struct cursor c = cursor_of(ctx);
	struct ethhdr *eth = take(&c, sizeof(*eth)), copy;

	if (outcome != GO_ON)
		return outcome;
	if (!eth)
		return REASON_TRUNC;
	copy = *eth;
	if (bpf_xdp_adjust_head(ctx, overhead))
		return REASON_ENCAP_FAIL;
	c = cursor_of(ctx);
	eth = take(&c, sizeof(*eth));
	if (!eth)
		return REASON_ENCAP_FAIL;
	*eth = copy;
	take_note(t, NOTE_DECAPSULATED);
	return PASS;
}

static __always_inline int handle(struct xdp_md *ctx, struct totals *t)
{
	struct cursor c = cursor_of(ctx);
	const struct decap_directory *dir;
	struct iphdr *outer, *inner;
	struct ethhdr *eth;
	__u32 overhead = sizeof(*outer), room;
	int outcome;

	outcome = parse_link(&c, t, &eth, &outer);
	if (outcome != GO_ON)
		return outcome;
	dir = current_directory();
	if (!dir) {
		take_note(t, NOTE_UNCONFIGURED);
		return PASS;
	}
	if (bpf_ntohl(outer->daddr) != dir->settings.address ||
	    (outer->protocol != IPPROTO_IPIP && outer->protocol != IPPROTO_GRE))
		return PASS;
	outcome = check_outer(dir, outer, frame_length(ctx) - sizeof(*eth));
	if (outcome != GO_ON)
		return outcome;
	room = bpf_ntohs(outer->tot_len) - sizeof(*outer);
	if (outer->protocol == IPPROTO_GRE) {
		outcome = check_gre(&c, room);
		if (outcome != GO_ON)
			return outcome;
		room -= sizeof(struct gre);
		overhead += sizeof(struct gre);
	}
	inner = take(&c, sizeof(*inner));
	if (!inner || room < sizeof(*inner))
		return REASON_TRUNC;
	outcome = check_inner(dir, inner, room);
	if (outcome != GO_ON)
		return outcome;
	outcome = merge_ecn(t, outer->tos, inner);
	if (outcome != GO_ON)
		return outcome;
	return strip(ctx, t, overhead, bpf_ntohs(inner->tot_len));
}

SEC("xdp")
int decap(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct totals *t = bpf_map_lookup_elem(&totals, &zero);

	/* an array has its entry 0: this is for the verifier */
	return t ? finish(t, handle(ctx, t)) : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
