/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * Frames with one or two VLAN tags (802.1Q, 802.1ad): examined as if they had none. What goes to a backend has the tag
 * of its next hop; what stays here or goes back to the sender gets its tags again.
 */
#ifndef FAIRHOP_VLAN_H
#define FAIRHOP_VLAN_H

#include "examine.h"

static __always_inline int is_tag(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

static __always_inline int is_ip(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_IP) || ethertype == bpf_htons(ETH_P_IPV6);
}

/* Read the tags of a frame; their number, a negative reason, or 0 when IP is not behind them. */
static __always_inline int read_tags(struct xdp_md *ctx, struct scratch *link)
{
	struct cursor c = cursor_of(ctx);
	const struct tag *first, *second;
	const struct ethhdr *eth = take(&c, sizeof(*eth));

	if (!eth)
		return -REASON_SHORT;
	__builtin_memcpy(link->addresses, eth, sizeof(*eth));
	first = take(&c, sizeof(*first));
	if (!first)
		return -REASON_TRUNC;
	link->tags[0] = *first;
	link->inner = first->next;
	if (!is_tag(link->inner))
		return is_ip(link->inner);
	second = take(&c, sizeof(*second));
	if (!second)
		return -REASON_TRUNC;
	link->tags[1] = *second;
	link->inner = second->next;
	return is_ip(link->inner) ? 2 : 0;
}

static __always_inline int remove_tags(struct xdp_md *ctx, const struct scratch *link, int count)
{
	struct ethhdr *eth;
	struct cursor c;

	if (bpf_xdp_adjust_head(ctx, count * (int)sizeof(struct tag)))
		return REASON_ENCAP_FAIL;
	c = cursor_of(ctx);
	eth = take(&c, sizeof(*eth));
	if (!eth)
		return REASON_SHORT;
	__builtin_memcpy(eth, link->addresses, sizeof(link->addresses));
	eth->h_proto = link->inner;
	return GO_ON;
}

/* The MACs stay those that the frame has now: an answer has them swapped. */
static __always_inline int restore_tags(struct xdp_md *ctx, const struct scratch *link, int count)
{
	struct cursor c = cursor_of(ctx);
	struct ethhdr *eth = take(&c, sizeof(*eth)), now;
	struct tag *tags;

	if (!eth)
		return REASON_SHORT;
	now = *eth;
	if (bpf_xdp_adjust_head(ctx, -count * (int)sizeof(struct tag)))
		return REASON_ENCAP_FAIL;
	c = cursor_of(ctx);
	eth = take(&c, sizeof(*eth));
	tags = take(&c, sizeof(*tags));
	if (!eth || !tags)
		return REASON_SHORT;
	*eth = now;
	eth->h_proto = link->ethertype;
	tags[0] = link->tags[0];
	if (count == 2) {
		tags = take(&c, sizeof(*tags));
		if (!tags)
			return REASON_SHORT;
		*tags = link->tags[1];
	}
	return GO_ON;
}

static __noinline int examine_tagged(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir)
{
	__u32 zero = 0;
	struct scratch *link = bpf_map_lookup_elem(&scratch, &zero);
	int count, outcome, restored;

	if (!link || !dir || !(dir->settings.flags & SETTING_VLANS)) {
		take_note(t, NOTE_VLAN);
		return PASS;
	}
	count = read_tags(ctx, link);
	if (count < 0)
		return -count;
	if (!count) {
		take_note(t, NOTE_VLAN);
		return PASS;
	}
	outcome = remove_tags(ctx, link, count);
	if (outcome != GO_ON)
		return outcome;
	outcome = link->inner == bpf_htons(ETH_P_IP) ? examine4(ctx, t, dir) : examine6(ctx, t, dir);
	if (outcome == TX || outcome == REDIRECT)
		return outcome;
	restored = restore_tags(ctx, link, count);
	return restored == GO_ON ? outcome : restored;
}

#endif
