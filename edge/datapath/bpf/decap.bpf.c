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

/* Of either family; IPv4 as ::ffff:a.b.c.d. */
struct any_address {
	__be32 words[4];
};

/* A tunnel packet, from its outer header on. */
struct tunnel {
	struct any_address source;
	__u32 room;	  /* bytes behind the outer header that belong to it */
	__u32 overhead;	  /* bytes in front of the inner packet */
	__u8 protocol;
	__u8 tos;
	__u8 six; /* the inner packet is IPv6 */
};

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

static __always_inline __u32 know(const struct decap_directory *dir, const struct any_address *address)
{
	const __be32 *words = address->words;

	if (!words[0] && !words[1] && words[2] == MAPPED_WORD)
		return know4(dir, words[3]);
	return know6(dir, wide_of(words));
}

/* Whether tunnels may come from this address. Not static: the verifier goes through the loop once, not at each call. */
__noinline int is_edge(const struct decap_directory *dir, const struct any_address *address)
{
	__u32 count;

	if (!dir || !address)
		return 0;
	if (know(dir, address) & ADDRESS_EDGE)
		return 1;
	count = dir->settings.prefixes;
	for (__u32 i = 0; i < MAX_PREFIXES && i < count; i++) {
		const struct prefix *prefix = &dir->prefixes[i];

		if ((address->words[0] & prefix->masks[0]) == prefix->words[0] &&
		    (address->words[1] & prefix->masks[1]) == prefix->words[1] &&
		    (address->words[2] & prefix->masks[2]) == prefix->words[2] &&
		    (address->words[3] & prefix->masks[3]) == prefix->words[3])
			return 1;
	}
	return 0;
}

static __always_inline int is_ours(__u8 protocol)
{
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6 || protocol == IPPROTO_GRE;
}

static __always_inline int check_edge(const struct decap_directory *dir, const struct tunnel *tunnel)
{
	__u32 wanted = tunnel->protocol == IPPROTO_GRE ? ENCAP_GRE : ENCAP_IPIP;

	if (!is_edge(dir, &tunnel->source))
		return REASON_BAD_OUTER;
	return dir->settings.encaps & wanted ? GO_ON : REASON_ENCAP_TYPE;
}

/* The outer header. Unlike in a client's packet, bytes missing from the end mean a truncated tunnel. */
static __always_inline int read_outer4(struct cursor *c, const struct decap_directory *dir, struct tunnel *tunnel,
				       __u32 room)
{
	const struct iphdr *ip = take(c, sizeof(*ip));
	int outcome;

	if (!ip)
		return REASON_TRUNC;
	if (ip->version != 4)
		return REASON_IP_VERSION;
	if (!is_ours(ip->protocol) || !(know4(dir, ip->daddr) & ADDRESS_OWN))
		return PASS;
	outcome = check_ipv4(ip, room);
	if (outcome == REASON_LEN && bpf_ntohs(ip->tot_len) > room)
		return REASON_TRUNC;
	if (outcome != GO_ON)
		return outcome;
	tunnel->source.words[2] = MAPPED_WORD;
	tunnel->source.words[3] = ip->saddr;
	tunnel->room = bpf_ntohs(ip->tot_len) - sizeof(*ip);
	tunnel->overhead = sizeof(*ip);
	tunnel->protocol = ip->protocol;
	tunnel->tos = ip->tos;
	return GO_ON;
}

static __always_inline int read_outer6(struct cursor *c, const struct decap_directory *dir, struct tunnel *tunnel,
				       __u32 room)
{
	const struct ipv6hdr *ip = take(c, sizeof(*ip));

	if (!ip)
		return REASON_TRUNC;
	if (ip->version != 6)
		return REASON_IP_VERSION;
	if (!is_ours(ip->nexthdr) || !(know6(dir, wide_of(&ip->daddr)) & ADDRESS_OWN))
		return PASS;
	tunnel->room = bpf_ntohs(ip->payload_len);
	if (tunnel->room > room - sizeof(*ip))
		return REASON_TRUNC;
	if (!ip->hop_limit)
		return REASON_TTL;
	__builtin_memcpy(&tunnel->source, &ip->saddr, sizeof(tunnel->source));
	tunnel->overhead = sizeof(*ip);
	tunnel->protocol = ip->nexthdr;
	tunnel->tos = traffic_class(ip);
	return GO_ON;
}

/* GRE around IP and nothing else (RFC 2784), with the configured key or none (RFC 2890). */
static __always_inline int read_gre(struct cursor *c, const struct decap_settings *settings, struct tunnel *tunnel)
{
	const struct gre *gre = take(c, sizeof(*gre));
	__u32 size = sizeof(*gre);

	if (!gre || tunnel->room < size)
		return REASON_TRUNC;
	if (gre->flags & ~bpf_htons(GRE_KEY))
		return REASON_GRE;
	if (!gre->flags != !settings->has_key)
		return REASON_KEY;
	if (gre->flags) {
		const __be32 *key = take(c, sizeof(*key));

		size += sizeof(*key);
		if (!key || tunnel->room < size)
			return REASON_TRUNC;
		if (*key != settings->key)
			return REASON_KEY;
	}
	if (gre->protocol != bpf_htons(ETH_P_IP) && gre->protocol != bpf_htons(ETH_P_IPV6))
		return REASON_GRE_PROTO;
	tunnel->six = gre->protocol == bpf_htons(ETH_P_IPV6);
	tunnel->room -= size;
	tunnel->overhead += size;
	return GO_ON;
}

/* Addresses of machines rather than of services: loopback, link-local, private, multicast and beyond. */
static __always_inline int is_internal(const __be32 *address, int six)
{
	if (six)
		return is_martian6(address) || is_private6(address);
	return is_martian4(address[3]) || is_private4(address[3]);
}

__noinline int check_inner_addresses(const struct decap_directory *dir, const struct any_address *source,
				     const struct any_address *destination, int six)
{
	__u32 to, from;

	if (!dir || !source || !destination)
		return REASON_MARTIAN;
	to = know(dir, destination);
	from = know(dir, source);
	if (!(to & ADDRESS_VIP))
		return to || is_internal(destination->words, six) || is_edge(dir, destination) ? REASON_INNER_DST :
												 REASON_MISDELIVERED;
	if (from || (six ? is_martian6(source->words) : is_martian4(source->words[3])) || is_edge(dir, source))
		return REASON_MARTIAN;
	return GO_ON;
}

/* Move a congestion mark from the outer header to the inner one (RFC 6040, figure 4): the new inner ECN, or a reason. */
static __always_inline int merged_ecn(__u8 outer_tos, __u8 inner_tos, __u8 *ecn)
{
	__u8 outer = outer_tos & ECN_MASK, inner = inner_tos & ECN_MASK;

	*ecn = inner;
	if (inner == 0)
		return outer == ECN_CE ? REASON_ECN : GO_ON;
	/* the outer CE or ECT(1) wins over the inner ECT; an inner CE stays */
	if (inner != ECN_CE && outer != inner && outer != 0 && outer != 2)
		*ecn = outer;
	return GO_ON;
}

static __always_inline int open_inner4(struct cursor *c, struct totals *t, const struct decap_directory *dir,
				       const struct tunnel *tunnel, __u32 *length)
{
	struct iphdr *ip = take(c, sizeof(*ip));
	struct any_address source = { { 0, 0, MAPPED_WORD, 0 } }, destination = source;
	__u16 *first = (void *)ip, old;
	__u8 ecn;
	int outcome;

	if (!ip || tunnel->room < sizeof(*ip))
		return REASON_TRUNC;
	if (ip->version != 4)
		return REASON_VERSION;
	/* the kernel verifies the inner checksum; the edge has done so as well */
	outcome = check_ipv4(ip, tunnel->room);
	if (outcome != GO_ON)
		return outcome;
	if (is_tunnel(ip->protocol))
		return REASON_NESTED;
	source.words[3] = ip->saddr;
	destination.words[3] = ip->daddr;
	outcome = check_inner_addresses(dir, &source, &destination, 0);
	if (outcome != GO_ON)
		return outcome;
	outcome = merged_ecn(tunnel->tos, ip->tos, &ecn);
	if (outcome != GO_ON)
		return outcome;
	*length = bpf_ntohs(ip->tot_len);
	if (ecn == (ip->tos & ECN_MASK))
		return GO_ON;
	old = *first;
	ip->tos = (ip->tos & ~ECN_MASK) | ecn;
	ip->check = replace_word(ip->check, old, *first);
	if (ecn == ECN_CE)
		take_note(t, NOTE_ECN_CE);
	return GO_ON;
}

static __always_inline int check_inner6(const struct ipv6hdr *ip, __u32 room)
{
	if (bpf_ntohs(ip->payload_len) > room - sizeof(*ip))
		return REASON_LEN;
	if (!ip->hop_limit)
		return REASON_TTL;
	if (ip->nexthdr == IPPROTO_FRAGMENT)
		return REASON_FRAG;
	if (ip->nexthdr == IPPROTO_ROUTING)
		return REASON_RH;
	if (is_extension(ip->nexthdr))
		return REASON_V6_EXTHDR;
	return is_tunnel(ip->nexthdr) ? REASON_NESTED : GO_ON;
}

static __always_inline int open_inner6(struct cursor *c, struct totals *t, const struct decap_directory *dir,
				       const struct tunnel *tunnel, __u32 *length)
{
	struct ipv6hdr *ip = take(c, sizeof(*ip));
	struct any_address source, destination;
	__u8 ecn;
	int outcome;

	if (!ip || tunnel->room < sizeof(*ip))
		return REASON_TRUNC;
	if (ip->version != 6)
		return REASON_VERSION;
	outcome = check_inner6(ip, tunnel->room);
	if (outcome != GO_ON)
		return outcome;
	__builtin_memcpy(&source, &ip->saddr, sizeof(source));
	__builtin_memcpy(&destination, &ip->daddr, sizeof(destination));
	outcome = check_inner_addresses(dir, &source, &destination, 1);
	if (outcome != GO_ON)
		return outcome;
	outcome = merged_ecn(tunnel->tos, traffic_class(ip), &ecn);
	if (outcome != GO_ON)
		return outcome;
	*length = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (ecn == (traffic_class(ip) & ECN_MASK))
		return GO_ON;
	ip->flow_lbl[0] = (ip->flow_lbl[0] & ~(ECN_MASK << 4)) | ecn << 4;
	if (ecn == ECN_CE)
		take_note(t, NOTE_ECN_CE);
	return GO_ON;
}

static __always_inline int strip(struct xdp_md *ctx, struct totals *t, const struct tunnel *tunnel, __u32 inner_length)
{
	int outcome = trim(ctx, t, tunnel->overhead + inner_length);
	struct cursor c = cursor_of(ctx);
	struct ethhdr *eth = take(&c, sizeof(*eth)), copy;

	if (outcome != GO_ON)
		return outcome;
	if (!eth)
		return REASON_TRUNC;
	copy = *eth;
	if (bpf_xdp_adjust_head(ctx, tunnel->overhead))
		return REASON_ENCAP_FAIL;
	c = cursor_of(ctx);
	eth = take(&c, sizeof(*eth));
	if (!eth)
		return REASON_ENCAP_FAIL;
	*eth = copy;
	eth->h_proto = tunnel->six ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	take_note(t, NOTE_DECAPSULATED);
	return PASS;
}

/* Ethernet and the outer header; PASS for whatever is no tunnel for us. */
static __always_inline int read_outer(struct xdp_md *ctx, struct totals *t, struct cursor *c,
				      const struct decap_directory *dir, struct tunnel *tunnel)
{
	const struct ethhdr *eth = take(c, sizeof(*eth));
	__u32 room = frame_length(ctx) - sizeof(*eth);

	if (!eth)
		return REASON_SHORT;
	switch (eth->h_proto) {
	case bpf_htons(ETH_P_IP):
		return read_outer4(c, dir, tunnel, room);
	case bpf_htons(ETH_P_IPV6):
		return read_outer6(c, dir, tunnel, room);
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		take_note(t, NOTE_VLAN);
		return PASS;
	default:
		return PASS;
	}
}

static __always_inline int handle(struct xdp_md *ctx, struct totals *t)
{
	struct cursor c = cursor_of(ctx);
	const struct decap_directory *dir = current_directory();
	struct tunnel tunnel = {};
	__u32 length = 0;
	int outcome;

	if (!dir) {
		take_note(t, NOTE_UNCONFIGURED);
		return PASS;
	}
	outcome = read_outer(ctx, t, &c, dir, &tunnel);
	if (outcome != GO_ON)
		return outcome;
	outcome = check_edge(dir, &tunnel);
	if (outcome != GO_ON)
		return outcome;
	tunnel.six = tunnel.protocol == IPPROTO_IPV6;
	if (tunnel.protocol == IPPROTO_GRE) {
		outcome = read_gre(&c, &dir->settings, &tunnel);
		if (outcome != GO_ON)
			return outcome;
	}
	outcome = tunnel.six ? open_inner6(&c, t, dir, &tunnel, &length) : open_inner4(&c, t, dir, &tunnel, &length);
	return outcome == GO_ON ? strip(ctx, t, &tunnel, length) : outcome;
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
