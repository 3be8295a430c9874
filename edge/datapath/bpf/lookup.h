/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * Perfect-hash tables: the control plane searched the multipliers, a packet only multiplies. The masks repeat what
 * the shifts guarantee, for the verifier.
 */
#ifndef FAIRHOP_LOOKUP_H
#define FAIRHOP_LOOKUP_H

#include "abi.h"

static __always_inline __u32 perfect_slot(const struct perfect_hash *hash, const __u32 *multipliers, __u32 bucket_mask,
					  __u32 key)
{
	__u32 bucket = (key * hash->multiplier) >> hash->bucket_shift;

	return (key * multipliers[bucket & bucket_mask]) >> hash->slot_shift;
}

/* What is known about an address: address_flag | VIP index, 0 for a stranger. */
static __always_inline __u32 look_up_address(const struct address_table *table, __u32 address)
{
	__u32 slot = perfect_slot(&table->hash, table->multipliers, ADDRESS_BUCKETS - 1, address);
	const struct address *found = &table->slots[slot & (ADDRESS_SLOTS - 1)];

	return found->address == address ? found->what : 0;
}

/* The backend with this address, 0 if it is none. */
static __always_inline __u32 look_up_backend(const struct address_table *table, __u32 address)
{
	__u32 slot = perfect_slot(&table->hash, table->multipliers, ADDRESS_BUCKETS - 1, address);
	const struct address *found = &table->slots[slot & (ADDRESS_SLOTS - 1)];

	return found->address == address ? found->backend : 0;
}

/* A scalar comes back, never a pointer that may be null: clang merges such checks in ways the verifier refuses. */
struct found_service {
	__u32 pool; /* index + 1; 0: no such service */
	__u32 id;
};

static __always_inline struct found_service look_up_service(const struct service_table *table, __u32 key)
{
	__u32 slot = perfect_slot(&table->hash, table->multipliers, SERVICE_BUCKETS - 1, key);
	const struct service *found = &table->slots[slot & (SERVICE_SLOTS - 1)];

	return (struct found_service){ found->key == key ? found->pool : 0, found->id };
}

/* Whether `mac` is that of the interface. */
static __always_inline int is_own_mac(const struct interface_table *table, __u32 ifindex, const __u16 *mac)
{
	__u32 slot = perfect_slot(&table->hash, table->multipliers, INTERFACE_BUCKETS - 1, ifindex);
	const struct interface *found = &table->slots[slot & (INTERFACE_SLOTS - 1)];

	return found->ifindex == ifindex && found->mac[0] == mac[0] && found->mac[1] == mac[1] && found->mac[2] == mac[2];
}

#endif
