/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * The bench's driver: BPF_PROG_TEST_RUN with `repeat` feeds a program its own output, so an encapsulator would meet a
 * tunnel packet the second time. `drive` puts the frame back, makes it a packet of the next flow, and tail-calls the
 * program under test, which stays the shipped one. The other programs here are what it is compared with.
 *
 * Every constant is set before load, so the verifier removes what a case does not need.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEAD_WORDS 16
#define OUTER_SIZE 34 /* Ethernet and IPv4 */
#define VIPS_SHIFT 8
#define VIPS (1 << VIPS_SHIFT)
#define VIP_BASE 0x7000
#define FIRST_PORT 80
#define IPV4_LENGTH_AT 16
#define IPV4_CHECKSUM_AT 24

const volatile __u32 frame_length = 66;
const volatile __u32 head_words = 7; /* how many of `head` are written back, 8 bytes each */
const volatile __u32 flow_mask = 0;  /* which bits of the flow's number are used */
const volatile __u32 port_at = 34;   /* client port, 2 bytes */
const volatile __u32 address_at = 28; /* lower half of the client's address, 0 in `head` */
const volatile __u32 checksum_at = 24; /* of the IPv4 header that holds it; 0: none */
const volatile __u32 vip_at = 0; /* lower half of the VIP, 0 in `head`; 0: packets go to one service only */
const volatile __u32 vip_port_at = 0;
const volatile __u32 services = 1; /* how many services the packets are spread over */
const volatile __u32 settle = 1;     /* let the stores reach the cache before the program under test begins */
const volatile __u32 overhead = 24;  /* by how much `grow` and `grow_twice` grow the frame */
const volatile __u64 head[HEAD_WORDS];

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} target SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} swallowed SEC(".maps");

static __u64 packets = 0;
static __u64 settled = 0;

/* The header that `bare` copies; the address and the constant sum make no difference to the time. */
static __u64 outer[(OUTER_SIZE + 7) / 8] = { 1, 2, 3, 4, 5 };
static __u32 outer_sum = 0x1234;

static __always_inline __u32 frame_size(struct xdp_md *ctx)
{
	__u64 size = (void *)(long)ctx->data_end - (void *)(long)ctx->data;

	barrier_var(size); /* or clang computes with a pointer in 32 bits, which the verifier refuses */
	return size;
}

static __always_inline __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* The service of flow `n`, as lab/bench/world.py laid them out: returns the word that was put into the VIP. */
static __always_inline __u16 write_service(void *frame, __u32 n)
{
	__u32 service = (__u64)(n * 0x85EBCA6Bu) * services >> 32;
	__u16 vip;

	if (!vip_at)
		return 0;
	vip = bpf_htons(VIP_BASE | (service & (VIPS - 1)));
	*(__u16 *)(frame + vip_at) = vip;
	*(__u16 *)(frame + vip_port_at) = bpf_htons((__u16)(FIRST_PORT + (service >> VIPS_SHIFT)));
	return vip;
}

/* Patch in flow number `n`: 16 bits of port (never 0) and 16 of address; RFC 1624 for the checksum. */
static __always_inline void write_flow(void *frame, __u32 n)
{
	__u16 port = n, address = n >> 16;
	__u32 added = address + (__u32)write_service(frame, n);

	*(__u16 *)(frame + port_at) = port + !port;
	*(__u16 *)(frame + address_at) = address;
	if (checksum_at) {
		__u16 *checksum = frame + checksum_at;

		*checksum = ~fold((__u16)~*checksum + added);
	}
}

/* Put the frame's head back and the next flow into it. Returns 0, or -1 where the frame is too short. */
static __always_inline int write_frame(struct xdp_md *ctx)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 *words = frame;

	if (frame + frame_length > end)
		return -1;
#pragma unroll
	for (__u32 i = 0; i < HEAD_WORDS; i++)
		if (i < head_words)
			words[i] = head[i];
	/* an odd multiplier: all values of the masked bits come before one comes again, and neighbours are far apart */
	write_flow(frame, (__u32)++packets * 0x9E3779B1u & flow_mask);
	return 0;
}

SEC("xdp")
int drive(struct xdp_md *ctx)
{
	int grown = (int)frame_size(ctx) - (int)frame_length;

	if (grown && bpf_xdp_adjust_head(ctx, grown))
		return XDP_ABORTED;
	if (write_frame(ctx))
		return XDP_ABORTED;
	/*
	 * A program that loads a field right after it was stored in another width waits for the store, which no packet
	 * from a network card makes it do. A locked instruction empties the store buffer; both sides of the difference pay.
	 */
	if (settle)
		__sync_fetch_and_add(&settled, 1);
	bpf_tail_call_static(ctx, &target, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int nothing(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* Makes the driver take the frame back, as a program that encapsulates does. */
SEC("xdp")
int grow(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, -(int)overhead) ? XDP_ABORTED : XDP_TX;
}

/* The same with one call more: the difference is the price of one call. */
SEC("xdp")
int grow_twice(struct xdp_md *ctx)
{
	if (bpf_xdp_adjust_head(ctx, -(int)(overhead / 2)))
		return XDP_ABORTED;
	return bpf_xdp_adjust_head(ctx, -(int)(overhead / 2)) ? XDP_ABORTED : XDP_TX;
}

/* The floor: an encapsulation that looks at nothing. IPv4 in IPv4 with a fixed header, length and checksum patched. */
SEC("xdp")
int bare(struct xdp_md *ctx)
{
	__u32 length = frame_size(ctx);
	__u64 *words;
	void *frame;

	if (bpf_xdp_adjust_head(ctx, -20))
		return XDP_ABORTED;
	frame = (void *)(long)ctx->data;
	if (frame + OUTER_SIZE > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	words = frame;
	words[0] = outer[0];
	words[1] = outer[1];
	words[2] = outer[2];
	words[3] = outer[3];
	*(__u16 *)(frame + 32) = outer[4];
	length = bpf_htons((__u16)(length + 20 - 14));
	*(__u16 *)(frame + IPV4_LENGTH_AT) = length;
	*(__u16 *)(frame + IPV4_CHECKSUM_AT) = ~fold(outer_sum + length);
	return XDP_TX;
}

/*
 * Makes live frames: run with BPF_F_TEST_XDP_LIVE_FRAMES, TX sends them out of the ingress interface. The kernel recycles the
 * pages with the bytes that they came back with, so each frame is written anew.
 */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	return write_frame(ctx) ? XDP_DROP : XDP_TX;
}

/* Where live frames end. Only those that a program made longer are counted: per CPU, by the NAPI that receives them. */
SEC("xdp")
int swallow(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&swallowed, &zero);

	if (count && frame_size(ctx) > frame_length)
		++*count;
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
