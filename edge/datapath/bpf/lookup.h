/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * Perfect-hash tables: the control plane searched the multipliers, a packet only multiplies. The masks repeat what
 * the shifts guarantee, for the verifier.
 */
#ifndef FAIRHOP_LOOKUP_H
#define FAIRHOP_LOOKUP_H

#include <bpf/bpf_endian.h>
#include "maps.h"

#define MAPPED_WORD bpf_htonl(0xffff) /* the third word of ::ffff:a.b.c.d */

static __always_inline __u32 perfect_slot(const struct perfect_hash *hash, const __u32 *multipliers, __u32 bucket_mask,
					  __u32 key)
{
	__u32 bucket = (key * hash->multiplier) >> hash->bucket_shift;

	return (key * multipliers[bucket & bucket_mask]) >> hash->slot_shift;
}

/* What is known about a single IPv4 address: address_flag | VIP index, 0 for a stranger. */
static __always_inline __u32 look_up_address(const struct address_table *table, __be32 address)
{
	__u32 slot = perfect_slot(&table->hash, table->multipliers, ADDRESS_BUCKETS - 1, address);
	const struct address *found = &table->slots[slot & (ADDRESS_SLOTS - 1)];

	return found->address == address ? found->what : 0;
}

/* The backend with this address, 0 if it is none. */
static __always_inline __u32 look_up_backend(const struct address_table *table, __be32 address)
{
	__u32 slot = perfect_slot(&table->hash, table->multipliers, ADDRESS_BUCKETS - 1, address);
	const struct address *found = &table->slots[slot & (ADDRESS_SLOTS - 1)];

	return found->address == address ? found->backend : 0;
}

struct found_wide {
	__u32 what;
	__u32 backend;
};

/* The same for an IPv6 address (length 128) or a prefix of either family. */
static __always_inline struct found_wide look_up_wide(const struct wide_table *table, const __be32 *words, __u32 length)
{
	__u64 sum = words[0] * table->reducers[0] + words[1] * table->reducers[1] + words[2] * table->reducers[2] +
		    words[3] * table->reducers[3] + length * table->reducers[4];
	__u32 slot = perfect_slot(&table->hash, table->multipliers, WIDE_BUCKETS - 1, sum >> 32);
	const struct wide_address *found = &table->slots[slot & (WIDE_SLOTS - 1)];

	if (found->words[0] != words[0] || found->words[1] != words[1] || found->words[2] != words[2] ||
	    found->words[3] != words[3] || found->length != length)
		return (struct found_wide){};
	return (struct found_wide){ found->what, found->backend };
}

/* The part of a word that belongs to a prefix of `length` bits, when `before` bits come ahead of the word. */
static __always_inline __be32 masked(__be32 word, __u32 length, __u32 before)
{
	if (length <= before)
		return 0;
	if (length >= before + 32)
		return word;
	return word & bpf_htonl(0xffffffffu << ((32 - (length - before)) & 31));
}

/* The longest VIP prefix that an address is in. */
static __noinline __u32 look_up_prefix(const struct wide_table *table, const __u8 *lengths, const __be32 *words)
{
	for (int i = 0; i < MAX_LENGTHS; i++) {
		__u32 length = lengths[i];
		__be32 network[4] = { masked(words[0], length, 0), masked(words[1], length, 32),
				      masked(words[2], length, 64), masked(words[3], length, 96) };
		struct found_wide found;

		if (!length)
			break;
		found = look_up_wide(table, network, length);
		if (found.what)
			return found.what;
	}
	return 0;
}

static __always_inline __u32 look_up_prefix4(const struct wide_table *table, const __u8 *lengths, __be32 address)
{
	__be32 words[4] = { 0, 0, MAPPED_WORD, address };

	return look_up_prefix(table, lengths, words);
}

/* What is known about an address; a VIP prefix counts where nothing is known about the address itself. */
static __always_inline __u32 know4(const struct address_table *addresses, const struct wide_table *wide,
				   const __u8 *lengths, __be32 address)
{
	__u32 what = look_up_address(addresses, address);

	return what || !lengths[0] ? what : look_up_prefix4(wide, lengths, address);
}

static __always_inline __u32 know6(const struct wide_table *wide, const __u8 *lengths, const __be32 *words)
{
	__u32 what = look_up_wide(wide, words, 128).what;

	return what || !lengths[0] ? what : look_up_prefix(wide, lengths, words);
}

#ifndef DECAPSULATOR

/* Scalars come back, never a pointer that may be null: clang merges such checks in ways the verifier refuses. */
struct found_service {
	__u32 pool; /* index in `pools` + 1; 0: no such service */
	__u32 id;
	__u8 hashing;
	__u8 quic;
	__u8 group;
};

static __always_inline struct found_service look_up_service(const struct service_table *table, __u32 key)
{
	__u32 slot = perfect_slot(&table->hash, table->multipliers, SERVICE_BUCKETS - 1, key);
	const struct service *found = &table->slots[slot & (SERVICE_SLOTS - 1)];

	return (struct found_service){ found->key == key ? found->pool : 0, found->id, found->hashing, found->quic,
				       found->group };
}

static __always_inline __u32 service_key(__u32 vip, __u32 udp, __be16 port)
{
	return (vip & VIP_INDEX_MASK) << 17 | udp << 16 | bpf_ntohs(port);
}

/* The backend that a QUIC server id names in a pool, 0 if none. */
static __always_inline __u32 look_up_server(const struct server_table *table, __u32 key)
{
	__u32 slot = perfect_slot(&table->hash, table->multipliers, SERVER_BUCKETS - 1, key);
	const struct server *found = &table->slots[slot & (SERVER_SLOTS - 1)];

	return found->key == key ? found->backend : 0;
}

static __noinline int is_own_mac_of_many(const struct forward_settings *settings, __u32 ifindex, __u64 mac)
{
	for (__u32 i = 2; i < MAX_INTERFACES && i < settings->interface_count; i++)
		if (settings->interfaces[i].ifindex == ifindex)
			return settings->interfaces[i].mac == mac;
	return 0;
}

/* Whether the first eight bytes of a frame begin with the MAC of the interface. */
static __always_inline int is_own_mac(const struct forward_settings *settings, __u32 ifindex, __u64 first)
{
	__u64 mac = first << 16 >> 16; /* as loaded by a little-endian CPU: the last two bytes go */

	if (settings->interfaces[0].ifindex == ifindex)
		return settings->interfaces[0].mac == mac;
	if (settings->interfaces[1].ifindex == ifindex)
		return settings->interfaces[1].mac == mac;
	return is_own_mac_of_many(settings, ifindex, mac);
}

#endif
#endif
