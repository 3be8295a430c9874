/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * What Python and the programs agree on. edge/datapath/abi.py says the same; a test compares them through BTF.
 * Addresses and ports in tables are host-order numbers.
 */
#ifndef FAIRHOP_ABI_H
#define FAIRHOP_ABI_H

#include <linux/types.h>

#define MAX_VIPS 512
#define MAX_SERVICES 4096
#define MAX_BACKENDS 4096
#define MAX_POOLS 256
#define MAX_PREFIXES 32
#define DROP_COUNT 64
#define NOTE_COUNT 32
#define DEFAULT_TABLE_SIZE 65537

#define ADDRESS_BUCKETS 4096
#define ADDRESS_SLOTS 16384
#define SERVICE_BUCKETS 2048
#define SERVICE_SLOTS 8192
#define INTERFACE_BUCKETS 32
#define INTERFACE_SLOTS 64

enum reason {
	REASON_NONE = 0,
	REASON_SHORT = 1,
	REASON_TRUNC = 2,
	REASON_L2_BCAST = 3,
	REASON_L2_MCAST = 4,
	REASON_L2_SRC = 5,
	REASON_IP_VERSION = 6,
	REASON_IHL = 7,
	REASON_IP_OPTIONS = 8,
	REASON_LEN = 9,
	REASON_CSUM = 10,
	REASON_TTL = 11,
	REASON_FRAG = 12,
	REASON_MARTIAN = 13,
	REASON_L4 = 14,
	REASON_PORT0 = 15,
	REASON_PROTO = 16,
	REASON_NESTED = 17,
	REASON_NO_SERVICE = 18,
	REASON_NO_BACKEND = 19,
	REASON_TABLE_CORRUPT = 20,
	REASON_NEIGH = 21,
	REASON_ENCAP_FAIL = 22,
	REASON_TOOBIG = 23,
	REASON_ICMP_TYPE = 24,
	REASON_ICMP_CSUM = 25,
	REASON_ICMP_TRUNC = 26,
	REASON_ICMP_OPT = 27,
	REASON_ICMP_FRAG = 28,
	REASON_ICMP_NOT_OURS = 29,
	REASON_ICMP_MISMATCH = 30,
	REASON_ICMP_LIMIT = 31,
	REASON_ECHO_UNSERVED = 32,
	REASON_ECHO_LIMIT = 33,
	REASON_BAD_OUTER = 34,
	REASON_ENCAP_TYPE = 35,
	REASON_GRE = 36,
	REASON_KEY = 37,
	REASON_GRE_PROTO = 38,
	REASON_VERSION = 39,
	REASON_INNER_DST = 40,
	REASON_MISDELIVERED = 41,
	REASON_ECN = 42,
};

enum note {
	NOTE_UNCONFIGURED = 0,
	NOTE_VLAN = 1,
	NOTE_IPV6 = 2,
	NOTE_OTHER_HOST = 3,
	NOTE_TRIMMED = 4,
	NOTE_REDIRECTED = 5,
	NOTE_ECHO_REPLY = 6,
	NOTE_ICMP_RELAYED = 7,
	NOTE_PTB_SMALL = 8,
	NOTE_PTB_SENT = 9,
	NOTE_PTB_LIMITED = 10,
	NOTE_ENCAP_UNREACH = 11,
	NOTE_ENCAP_PTB = 12,
	NOTE_ECN_CE = 13,
	NOTE_DECAPSULATED = 14,
};

enum address_flag {
	ADDRESS_VIP = 0x1000,
	ADDRESS_ECHO = 0x2000,
	ADDRESS_INFRASTRUCTURE = 0x4000,
	ADDRESS_EDGE = 0x8000,
};

#define VIP_INDEX_MASK 0x0fff

enum encap_bit {
	ENCAP_IPIP = 1,
	ENCAP_GRE = 2,
};

enum limiter {
	LIMITER_ECHO = 0,
	LIMITER_TOO_BIG = 1,
	LIMITER_ERRORS = 2, /* and one for each VIP from here on */
	LIMITER_COUNT = LIMITER_ERRORS + MAX_VIPS + 1,
};

struct totals {
	__u64 rx;
	__u64 tx;
	__u64 passed;
	__u64 drops[DROP_COUNT];
	__u64 notes[NOTE_COUNT];
};

struct backend_count {
	__u64 packets;
	__u64 unreachable;
	__u64 too_big;
};

/* bucket = key * multiplier >> bucket_shift; slot = key * multipliers[bucket] >> slot_shift */
struct perfect_hash {
	__u32 multiplier;
	__u32 bucket_shift;
	__u32 slot_shift;
	__u32 reserved;
};

struct address {
	__u32 address;
	__u16 what; /* address_flag | VIP index; 0: this slot is empty */
	__u16 backend;
};

struct address_table {
	struct perfect_hash hash;
	__u32 multipliers[ADDRESS_BUCKETS];
	struct address slots[ADDRESS_SLOTS];
};

struct service {
	__u32 key;
	__u16 pool; /* pool index + 1; 0: this slot is empty */
	__u16 id;
};

struct service_table {
	struct perfect_hash hash;
	__u32 multipliers[SERVICE_BUCKETS];
	struct service slots[SERVICE_SLOTS];
};

struct interface {
	__u32 ifindex;
	__u16 mac[3];
	__u16 reserved[3];
};

struct interface_table {
	struct perfect_hash hash;
	__u32 multipliers[INTERFACE_BUCKETS];
	struct interface slots[INTERFACE_SLOTS];
};

struct rate {
	__u64 interval; /* ns between two packets; 0: no limit */
	__u64 burst;	/* ns of credit */
};

struct forward_settings {
	__u64 generation;
	__u32 seed;
	__u32 outer_network;
	__u32 outer_host_mask;
	__u32 first_pool;
	struct rate rates[3]; /* echo, too big, relayed errors */
};

struct backend {
	__u8 header[38]; /* Ethernet, IPv4, GRE */
	__u16 overhead;	 /* bytes of it behind Ethernet; 0: no such backend */
	__u32 ifindex;	 /* 0: next hop unknown */
	__u32 checksum;	 /* sum of the constant words of the IPv4 header, as loaded */
	__u16 limit;	 /* largest inner packet */
	__u16 reserved[7];
};

struct forward_directory {
	struct forward_settings settings;
	struct address_table addresses;
	struct service_table services;
	struct interface_table interfaces;
	struct backend backends[MAX_BACKENDS + 1];
};

struct prefix {
	__u32 network;
	__u32 mask;
};

struct decap_settings {
	__u32 address;
	__u32 encaps; /* encap_bit */
	__u32 prefixes;
	__u32 reserved;
};

struct decap_directory {
	struct decap_settings settings;
	struct address_table addresses;
	struct prefix prefixes[MAX_PREFIXES];
};

#endif
