/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * From a service to a backend, and the outer header in front of the packet: RFC 2003, 4213, 2473, 2784; ECN by RFC 6040
 * (normal mode); the source or the flow label carry entropy (RFC 6438).
 */
#ifndef FAIRHOP_ENCAP_H
#define FAIRHOP_ENCAP_H

#include "lookup.h"
#include "parse.h"

#define VLAN_SIZE 4

/* What is still needed of the inner packet when its headers have moved. */
struct inner {
	__u32 length;
	__u32 hash;
	__u32 vip; /* address_flag | VIP index */
	__u8 tos;
	__u8 six;      /* it is IPv6 */
	__u8 is_error; /* it is an ICMP error about the flow */
};

/* The backend that owns the hash in this pool: an id above 0 in *id, or a reason. */
static __always_inline int choose_backend(__u32 pool, __u32 hash, __u64 *id)
{
	__u32 index = pool - 1, zero = 0;
	__u32 slot = ((__u64)hash * table_size) >> 32;
	void *inner = bpf_map_lookup_elem(&pools, &index);
	const __u64 *table;

	if (!inner)
		return REASON_NO_BACKEND;
	table = bpf_map_lookup_elem(inner, &zero);
	if (!table)
		return REASON_NO_BACKEND;
	*id = table[slot] & 0xffff;
	return *id ? GO_ON : REASON_NO_BACKEND;
}

/* Copy the end of a prebuilt header from `done` bytes on, which is 2 modulo 4; at most `most` words. */
static __always_inline void copy_tail(void *to, const __u8 *from, __u32 size, __u32 done, __u32 most)
{
#pragma unroll
	for (__u32 i = 0; i < most; i++) {
		__u32 at = done + 4 * i;

		if (size <= at)
			return;
		*(__u32 *)(to + at) = *(const __u32 *)(from + at);
	}
}

static __always_inline void write_ipv4(struct iphdr *ip, const struct forward_settings *settings,
				       const struct backend *backend, const struct inner *inner)
{
	__be32 source = bpf_htonl(settings->outer_network | (inner->hash & settings->outer_host_mask));
	__be16 length = bpf_htons(backend->outer + inner->length);
	__u32 sum = backend->checksum + bpf_htons(inner->tos) + length + (source & 0xffff) + (source >> 16);

	ip->tos = inner->tos;
	ip->tot_len = length;
	ip->saddr = source;
	ip->check = ~fold(sum);
}

/* 14 + 20 bytes, then a VLAN tag and GRE where there are any. */
static __always_inline int encapsulate4(struct xdp_md *ctx, const struct forward_settings *settings,
					const struct backend *backend, const struct inner *inner)
{
	const __u64 *words = (const void *)backend->header;
	struct cursor c = cursor_of(ctx);
	__u64 *frame = take(&c, sizeof(struct ethhdr) + VLAN_SIZE + sizeof(struct iphdr) + 8);

	/* the smallest inner packet is longer than what is added, so this always fits */
	if (!frame)
		return REASON_ENCAP_FAIL;
	frame[0] = words[0];
	frame[1] = words[1];
	frame[2] = words[2];
	frame[3] = words[3];
	*(__u16 *)(frame + 4) = *(const __u16 *)(words + 4);
	copy_tail(frame, backend->header, backend->size, 34, 3);
	if (backend->link == sizeof(struct ethhdr))
		write_ipv4((void *)frame + sizeof(struct ethhdr), settings, backend, inner);
	else
		write_ipv4((void *)frame + sizeof(struct ethhdr) + VLAN_SIZE, settings, backend, inner);
	return GO_ON;
}

static __always_inline void write_ipv6(struct ipv6hdr *ip, const struct forward_settings *settings,
				       const struct backend *backend, const struct inner *inner)
{
	__be32 *source = (void *)&ip->saddr;

	*(__be32 *)ip = bpf_htonl(6u << 28 | (__u32)inner->tos << 20 | (inner->hash & 0xfffff));
	ip->payload_len = bpf_htons(backend->outer - sizeof(*ip) + inner->length);
	source[0] = settings->outer6[0];
	source[1] = settings->outer6[1];
	source[2] = settings->outer6[2];
	source[3] = settings->outer6[3] | (bpf_htonl(inner->hash) & settings->outer6_host_mask[3]);
}

static __always_inline int encapsulate6(struct xdp_md *ctx, const struct forward_settings *settings,
					const struct backend *backend, const struct inner *inner)
{
	const __u64 *words = (const void *)backend->header;
	struct cursor c = cursor_of(ctx);
	__u64 *frame = take(&c, sizeof(struct ethhdr) + VLAN_SIZE + sizeof(struct ipv6hdr) + 8);

	if (!frame)
		return REASON_ENCAP_FAIL;
#pragma unroll
	for (int i = 0; i < 6; i++)
		frame[i] = words[i];
	*(__u32 *)(frame + 6) = *(const __u32 *)(words + 6);
	*(__u16 *)((void *)frame + 52) = *(const __u16 *)((const void *)words + 52);
	copy_tail(frame, backend->header, backend->size, 54, 3);
	if (backend->link == sizeof(struct ethhdr))
		write_ipv6((void *)frame + sizeof(struct ethhdr), settings, backend, inner);
	else
		write_ipv6((void *)frame + sizeof(struct ethhdr) + VLAN_SIZE, settings, backend, inner);
	return GO_ON;
}

static __always_inline void count_sent(__u32 service, __u32 backend, __s32 length, int packets)
{
	struct service_count *of_service = bpf_map_lookup_elem(&service_count, &service);
	struct backend_count *of_backend = bpf_map_lookup_elem(&backend_count, &backend);

	if (of_service) {
		of_service->packets += packets;
		of_service->bytes += length;
	}
	if (of_backend) {
		of_backend->packets += packets;
		of_backend->bytes += length;
	}
}

static __noinline enum reason count_dropped(__u32 service, enum reason reason)
{
	struct service_count *count = bpf_map_lookup_elem(&service_count, &service);

	if (count)
		count->drops++;
	return reason;
}

/* Send a checked packet, whose outer header fits, to its backend. */
static __always_inline int send_to(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				   const struct backend *backend, const struct inner *inner)
{
	int outcome = trim(ctx, t, inner->length);

	if (outcome != GO_ON)
		return outcome;
	if (bpf_xdp_adjust_head(ctx, (int)sizeof(struct ethhdr) - (int)backend->size))
		return REASON_ENCAP_FAIL;
	outcome = backend->kind == KIND_IPV4 ? encapsulate4(ctx, &dir->settings, backend, inner) :
					       encapsulate6(ctx, &dir->settings, backend, inner);
	if (outcome != GO_ON)
		return outcome;
	if (backend->ifindex == ctx->ingress_ifindex)
		return TX;
	take_note(t, NOTE_REDIRECTED);
	bpf_redirect(backend->ifindex, 0);
	return REDIRECT;
}

#endif
