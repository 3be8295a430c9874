/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * From a flow to a backend, and the outer header in front of the packet (RFC 2003, 2784; ECN by RFC 6040, normal mode).
 */
#ifndef FAIRHOP_ENCAP_H
#define FAIRHOP_ENCAP_H

#include "flow.h"
#include "parse.h"

#define GRE_SIZE 4
#define LARGEST_OUTER (sizeof(struct ethhdr) + sizeof(struct iphdr) + GRE_SIZE)

/* What is still needed of the inner packet when its headers have moved. */
struct inner {
	__u32 length;
	__u8 tos;
};

/* The backend that owns the hash in this pool: an id 1..MAX_BACKENDS in *id, or a reason. */
static __always_inline int choose_backend(const struct forward_directory *dir, __u32 pool, __u32 hash, __u32 *id)
{
	__u32 index = dir->settings.first_pool + pool - 1, zero = 0;
	__u32 slot = ((__u64)hash * table_size) >> 32;
	void *inner = bpf_map_lookup_elem(&pools, &index);
	const __u64 *table;

	if (!inner)
		return REASON_NO_BACKEND;
	table = bpf_map_lookup_elem(inner, &zero);
	if (!table)
		return REASON_NO_BACKEND;
	*id = table[slot] & 0xffff;
	if (*id == 0)
		return REASON_NO_BACKEND;
	return *id > MAX_BACKENDS ? REASON_TABLE_CORRUPT : GO_ON;
}

/* Copy the prebuilt header in the widest loads and stores there are. */
static __always_inline void copy_header(void *to, const struct backend *backend)
{
	const __u64 *words = (const void *)backend->header;
	const __u32 *gre = (const void *)(backend->header + 34);
	__u64 *out = to;

	out[0] = words[0];
	out[1] = words[1];
	out[2] = words[2];
	out[3] = words[3];
	*(__u16 *)(to + 32) = *(const __u16 *)(backend->header + 32);
	if (backend->overhead > sizeof(struct iphdr))
		*(__u32 *)(to + 34) = *gre;
}

static __always_inline int encapsulate(struct xdp_md *ctx, const struct forward_settings *settings,
				       const struct backend *backend, const struct inner *inner, __u32 hash)
{
	__be32 source = bpf_htonl(settings->outer_network | (hash & settings->outer_host_mask));
	__be16 length = bpf_htons(backend->overhead + inner->length);
	struct cursor c;
	struct iphdr *ip;
	void *frame;
	__u32 sum;

	if (bpf_xdp_adjust_head(ctx, -(int)backend->overhead))
		return REASON_ENCAP_FAIL;
	c = cursor_of(ctx);
	/* the smallest inner packet is longer than a GRE header, so this always fits */
	frame = take(&c, LARGEST_OUTER);
	if (!frame)
		return REASON_ENCAP_FAIL;
	copy_header(frame, backend);
	ip = frame + sizeof(struct ethhdr);
	ip->tos = inner->tos;
	ip->tot_len = length;
	ip->saddr = source;
	sum = backend->checksum + bpf_htons(inner->tos) + length + (source & 0xffff) + (source >> 16);
	ip->check = ~fold(sum);
	return GO_ON;
}

static __always_inline void count_sent(__u32 service, __u32 backend)
{
	__u64 *packets = bpf_map_lookup_elem(&service_count, &service);
	struct backend_count *count = bpf_map_lookup_elem(&backend_count, &backend);

	if (packets)
		++*packets;
	if (count)
		count->packets++;
}

/* Send a checked packet, whose outer header fits, to its backend. */
static __always_inline int send_to(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				   const struct backend *backend, const struct inner *inner, __u32 hash)
{
	int outcome = trim(ctx, t, inner->length);

	if (outcome != GO_ON)
		return outcome;
	outcome = encapsulate(ctx, &dir->settings, backend, inner, hash);
	if (outcome != GO_ON)
		return outcome;
	if (backend->ifindex == ctx->ingress_ifindex)
		return TX;
	take_note(t, NOTE_REDIRECTED);
	bpf_redirect(backend->ifindex, 0);
	return REDIRECT;
}

#endif
