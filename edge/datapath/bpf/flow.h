/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * A flow as its client sees it, and its hash. edge/datapath/hashing.py computes the same number.
 */
#ifndef FAIRHOP_FLOW_H
#define FAIRHOP_FLOW_H

#include <linux/types.h>
#include <bpf/bpf_endian.h>

struct flow {
	__be32 client;
	__be16 client_port;
	__be16 vip_port;
	__u32 protocol;
};

static __always_inline __u32 rotate_left(__u32 word, int bits)
{
	return (word << bits) | (word >> (32 - bits));
}

static __always_inline __u32 mix_word(__u32 hash, __u32 word)
{
	word *= 0xcc9e2d51;
	word = rotate_left(word, 15);
	word *= 0x1b873593;
	hash = rotate_left(hash ^ word, 13);
	return hash * 5 + 0xe6546b64;
}

/* MurmurHash3 x86_32 over client, client port, VIP port (network order), protocol, three zero bytes. */
static __always_inline __u32 flow_hash(const struct flow *flow, __u32 seed)
{
	__u32 hash = seed;

	hash = mix_word(hash, flow->client);
	hash = mix_word(hash, flow->client_port | (__u32)flow->vip_port << 16);
	hash = mix_word(hash, flow->protocol);
	hash ^= 12;
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ (hash >> 16);
}

#endif
