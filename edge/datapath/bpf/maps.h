/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * The maps of the forwarder, and the two that the decapsulator has as well (define DECAPSULATOR for those only).
 * An inner map has one entry that holds a whole table: a generation is filled by one write and swapped by another.
 */
#ifndef FAIRHOP_MAPS_H
#define FAIRHOP_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"

#define SLOT_SIZE 8

#ifdef DECAPSULATOR
#define DIRECTORY_SIZE sizeof(struct decap_directory)
#else
#define DIRECTORY_SIZE sizeof(struct forward_directory)
#endif

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct totals);
} totals SEC(".maps");

/* value_size instead of a type: BTF would know a struct that is used only here by name alone */
struct directory_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, DIRECTORY_SIZE);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct directory_map);
} directory SEC(".maps");

#ifndef DECAPSULATOR

/* slots per lookup_table; set before load together with the value_size of the maps in `pools` */
const volatile __u32 table_size = DEFAULT_TABLE_SIZE;

struct pool_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, DEFAULT_TABLE_SIZE * SLOT_SIZE);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2 * MAX_POOLS);
	__type(key, __u32);
	__array(values, struct pool_map);
} pools SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_SERVICES + 1);
	__type(key, __u32);
	__type(value, struct service_count);
} service_count SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_BACKENDS + 1);
	__type(key, __u32);
	__type(value, struct backend_count);
} backend_count SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LIMITER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} limiters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * SOURCE_BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} source_rates SEC(".maps");

/* The kernel compares an inner trie with these by key, value and flags; it may have more entries. */
struct block_map4 {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct block_key4));
	__uint(value_size, sizeof(__u32));
	__uint(map_flags, BPF_F_NO_PREALLOC);
};

struct block_map6 {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct block_key6));
	__uint(value_size, sizeof(__u32));
	__uint(map_flags, BPF_F_NO_PREALLOC);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct block_map4);
} blocked4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct block_map6);
} blocked6 SEC(".maps");

/* sized to the block list before load */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} block_hits SEC(".maps");

#define CHUNK 512
#define MAX_TAGS 2

struct tag {
	__be16 id;
	__be16 next; /* ethertype of what follows */
};

/* What is too large for the stack: a part of a packet; the link header that a tagged frame came with. */
struct scratch {
	__u8 chunk[CHUNK];
	__u8 addresses[12];
	__be16 ethertype;
	struct tag tags[MAX_TAGS];
	__be16 inner; /* the last ethertype */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* a variable: reading it costs a load, where a map would cost a lookup */
volatile struct trace_control trace_control SEC(".data.trace");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} trace_events SEC(".maps");

#endif
#endif
