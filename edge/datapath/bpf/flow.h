/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * A flow as its client sees it, and its hash. edge/datapath/hashing.py computes the same number.
 */
#ifndef FAIRHOP_FLOW_H
#define FAIRHOP_FLOW_H

#include "abi.h"

/* Ports are in network order. An IPv4 client is in the first word alone. */
struct flow {
	__be32 client[4];
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
	__u32 fourfold, plus;

	word *= 0xcc9e2d51;
	word = rotate_left(word, 15);
	word *= 0x1b873593;
	hash = rotate_left(hash ^ word, 13);
	/* hash * 5 + 0xe6546b64 in two steps instead of four: a multiplication takes three */
	fourfold = hash << 2;
	barrier_var(fourfold);
	plus = hash + 0xe6546b64;
	barrier_var(plus);
	return plus + fourfold;
}

static __always_inline __u32 finish_hash(__u32 hash, __u32 length)
{
	hash ^= length;
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ (hash >> 16);
}

/* MurmurHash3 x86_32 over client, client port, VIP port (network order), protocol, three zero bytes. */
static __always_inline __u32 hash_flow(const __be32 *client, int six, __be16 client_port, __be16 vip_port,
				       __u32 protocol, __u32 seed)
{
	__u32 hash = mix_word(seed, client[0]);

	if (six) {
		hash = mix_word(hash, client[1]);
		hash = mix_word(hash, client[2]);
		hash = mix_word(hash, client[3]);
	}
	hash = mix_word(hash, client_port | (__u32)vip_port << 16);
	hash = mix_word(hash, protocol);
	return finish_hash(hash, six ? 24 : 12);
}

#endif
