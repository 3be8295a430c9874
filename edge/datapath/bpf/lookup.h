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

static __always_inline __u64 perfect_slot(const struct perfect_hash *hash, const __u64 *multipliers, __u32 bucket_mask,
					  __u64 key)
{
	__u64 bucket = (key * hash->multiplier) >> hash->bucket_shift;

	return (key * multipliers[bucket & bucket_mask]) >> hash->slot_shift;
}

static __always_inline __u64 reduce(const struct reducer *reducer, __u64 first, __u64 second, __u64 number)
{
	return first * reducer->first + second * reducer->second + number * reducer->number;
}

static __always_inline const struct address *address_at(const struct perfect_hash *hash,
							const struct address_table *table, __be32 address)
{
	return &table->slots[perfect_slot(hash, table->multipliers, ADDRESS_BUCKETS - 1, address) & (ADDRESS_SLOTS - 1)];
}

/* What is known about a single IPv4 address: address_flag | VIP index, 0 for a stranger. */
static __always_inline __u32 look_up_address(const struct perfect_hash *hash, const struct address_table *table,
					     __be32 address)
{
	const struct address *found = address_at(hash, table, address);

	return found->address == address ? found->what : 0;
}

/* Halves, so that sixteen bytes are two loads. */
struct wide {
	__u64 first;
	__u64 second;
};

static __always_inline struct wide wide_of(const void *address)
{
	return (struct wide){ ((const __u64 *)address)[0], ((const __u64 *)address)[1] };
}

static __always_inline struct wide mapped(__be32 address)
{
	return (struct wide){ 0, (__u64)address << 32 | MAPPED_WORD };
}

/* The same for an IPv6 address (length 128) or a prefix of either family: what is known, and the backend above it. */
static __always_inline __u32 look_up_wide(const struct perfect_hash *hash, const struct reducer *reducer,
					  const struct wide_table *table, struct wide address, __u32 length)
{
	__u64 key = reduce(reducer, address.first, address.second, length);
	__u64 slot = perfect_slot(hash, table->multipliers, WIDE_BUCKETS - 1, key);
	const struct wide_address *found = &table->slots[slot & (WIDE_SLOTS - 1)];

	if (found->first != address.first || found->second != address.second || found->length != length)
		return 0;
	return found->what | (__u32)found->backend << 16;
}

/* The part of a half that belongs to a prefix of `length` bits, when `before` bits come ahead of it. */
static __always_inline __u64 masked(__u64 half, __u32 length, __u32 before)
{
	if (length <= before)
		return 0;
	if (length >= before + 64)
		return half;
	return half & bpf_cpu_to_be64(~0ull << ((64 - (length - before)) & 63));
}

/* The longest VIP prefix that an address is in. */
static __noinline __u32 look_up_prefix(const struct perfect_hash *hash, const struct reducer *reducer,
				       const struct wide_table *table, const __u8 *lengths, const struct wide *address)
{
	for (int i = 0; i < MAX_LENGTHS; i++) {
		__u32 length = lengths[i], what;
		struct wide network = { masked(address->first, length, 0), masked(address->second, length, 64) };

		if (!length)
			break;
		what = look_up_wide(hash, reducer, table, network, length);
		if (what)
			return what & 0xffff;
	}
	return 0;
}

/* What is known about an address; a VIP prefix counts where nothing is known about the address itself. */
#define know4(dir, address)                                                                                            \
	({                                                                                                             \
		__be32 _address = (address);                                                                           \
		__u32 _what = look_up_address(&(dir)->hashes.addresses, &(dir)->addresses, _address);                  \
                                                                                                                       \
		if (!_what && (dir)->settings.lengths4[0]) {                                                           \
			struct wide _wide = mapped(_address);                                                          \
                                                                                                                       \
			_what = look_up_prefix(&(dir)->hashes.wide, &(dir)->hashes.of_wide, &(dir)->wide,              \
					       (dir)->settings.lengths4, &_wide);                                      \
		}                                                                                                      \
		_what;                                                                                                 \
	})

#define know6(dir, address)                                                                                            \
	({                                                                                                             \
		struct wide _wide = (address);                                                                         \
		__u32 _what = look_up_wide(&(dir)->hashes.wide, &(dir)->hashes.of_wide, &(dir)->wide, _wide, 128);     \
                                                                                                                       \
		if (!_what && (dir)->settings.lengths6[0])                                                             \
			_what = look_up_prefix(&(dir)->hashes.wide, &(dir)->hashes.of_wide, &(dir)->wide,              \
					       (dir)->settings.lengths6, &_wide);                                      \
		_what & 0xffff;                                                                                        \
	})

#ifndef DECAPSULATOR

/* The backend with this address, 0 if it is none. */
static __always_inline __u32 backend_at4(const struct forward_directory *dir, __be32 address)
{
	const struct address *found = address_at(&dir->hashes.addresses, &dir->addresses, address);

	return found->address == address ? found->backend : 0;
}

static __always_inline __u32 backend_at6(const struct forward_directory *dir, struct wide address)
{
	return look_up_wide(&dir->hashes.wide, &dir->hashes.of_wide, &dir->wide, address, 128) >> 16;
}

/*
 * Services are found as a slot, never null, and whether the slot is the right one: a pointer that may be null would be
 * checked in ways that the verifier does not follow.
 */
struct found_service {
	const struct service *service;
	int found;
};

static __always_inline struct found_service look_up_service(const struct forward_directory *dir, __u64 key)
{
	const struct service_table *table = &dir->services;
	__u64 slot = perfect_slot(&dir->hashes.services, table->multipliers, SERVICE_BUCKETS - 1, key);
	const struct indexed_service *at = &table->slots[slot & (SERVICE_SLOTS - 1)];

	return (struct found_service){ &at->service, at->key == key && at->service.pool };
}

static __always_inline __u32 service_key(__u32 vip, __u32 udp, __be16 port)
{
	return (vip & VIP_INDEX_MASK) << 17 | udp << 16 | bpf_ntohs(port);
}

static __always_inline struct found_service look_up_exact4(const struct forward_directory *dir, __be32 address,
							   __be16 port, __u8 protocol)
{
	const struct exact4_table *table = &dir->exact4;
	/* three loads: one of eight bytes that covers them, and a mask, took 2 ns longer */
	__u64 key = address | (__u64)protocol << 32 | (__u64)port << 48;
	__u64 slot = perfect_slot(&dir->hashes.exact4, table->multipliers, SERVICE_BUCKETS - 1, key);
	const struct exact4 *at = &table->slots[slot & (SERVICE_SLOTS - 1)];

	return (struct found_service){ &at->service, at->key == key };
}

static __always_inline struct found_service look_up_exact6(const struct forward_directory *dir, struct wide address,
							   __be16 port, __u8 protocol)
{
	const struct exact6_table *table = &dir->exact6;
	__u64 number = port | (__u32)protocol << 16;
	__u64 key = reduce(&dir->hashes.of_exact6, address.first, address.second, number);
	__u64 slot = perfect_slot(&dir->hashes.exact6, table->multipliers, SERVICE_BUCKETS - 1, key);
	const struct exact6 *at = &table->slots[slot & (SERVICE_SLOTS - 1)];

	return (struct found_service){ &at->service,
				       at->first == address.first && at->second == address.second && at->number == number };
}

/* The backend that a QUIC server id names in a pool, 0 if none. */
static __always_inline __u32 look_up_server(const struct forward_directory *dir, __u32 key)
{
	const struct server_table *table = &dir->servers;
	__u64 slot = perfect_slot(&dir->hashes.servers, table->multipliers, SERVER_BUCKETS - 1, key);
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
