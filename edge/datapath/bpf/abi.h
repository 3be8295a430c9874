/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * What Python and the programs agree on. edge/datapath/abi.py says the same; a test compares them through BTF.
 * Addresses in tables are as they are loaded from a packet, ports are host-order numbers.
 */
#ifndef FAIRHOP_ABI_H
#define FAIRHOP_ABI_H

#include <linux/types.h>

#define MAX_VIPS 1023
#define MAX_SERVICES 4096
#define MAX_BACKENDS 4096
#define MAX_POOLS 256
#define MAX_PREFIXES 32
#define MAX_INTERFACES 32
#define MAX_LENGTHS 4 /* different lengths of VIP prefixes, for each family */
#define MAX_REFLECTION_PORTS 8
#define DROP_COUNT 64
#define NOTE_COUNT 32
#define DEFAULT_TABLE_SIZE 65537

#define ADDRESS_BUCKETS 4096
#define ADDRESS_SLOTS 16384
#define SERVICE_BUCKETS 2048
#define SERVICE_SLOTS 8192
#define WIDE_BUCKETS 4096
#define WIDE_SLOTS 16384
#define SERVER_BUCKETS 2048
#define SERVER_SLOTS 8192
#define SOURCE_BUCKETS 65536 /* rates of sources, in each of two rows */
#define CLASSES 256
#define SOURCES6 1024
#define SOURCES6_SHIFT 54 /* 64 - log2(SOURCES6) */
#define SOURCES6_MULTIPLIER 0x9e3779b97f4a7c15

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
	REASON_V6_EXTHDR = 43,
	REASON_RH = 44,
	REASON_FRAG_ATOMIC = 45,
	REASON_ICMP_MTU = 46,
	REASON_BLOCKED = 47,
	REASON_ACL = 48,
	REASON_SOURCE_LIMIT = 49,
	REASON_VIP_LIMIT = 50,
};

enum note {
	NOTE_UNCONFIGURED = 0,
	NOTE_VLAN = 1,
	/* 2 was IPv6 passed */
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
	NOTE_LOCAL = 15,
	NOTE_CID_ROUTED = 16,
	NOTE_CID_UNKNOWN = 17,
	NOTE_BLOCK_DRY_RUN = 18,
};

/* Of the word `what` in an address table: flags above the VIP's index, 1..MAX_VIPS. */
enum address_flag {
	ADDRESS_ANY_PORT = 0x0400, /* the VIP has a service on any port */
	ADDRESS_OWN = 0x0800,	   /* of this machine (decapsulator) */
	ADDRESS_VIP = 0x1000,
	ADDRESS_ECHO = 0x2000,
	ADDRESS_INFRASTRUCTURE = 0x4000,
	ADDRESS_EDGE = 0x8000,
};

#define VIP_INDEX_MASK 0x03ff

enum encap_bit {
	ENCAP_IPIP = 1,
	ENCAP_GRE = 2,
};

enum limiter {
	LIMITER_ECHO = 0,
	LIMITER_TOO_BIG = 1,
	LIMITER_ERRORS = 2,			    /* and one for each VIP from here on */
	LIMITER_VIPS = LIMITER_ERRORS + MAX_VIPS + 1, /* likewise */
	LIMITER_COUNT = LIMITER_VIPS + MAX_VIPS + 1,
};

enum rate_kind {
	RATE_ECHO = 0,
	RATE_TOO_BIG = 1,
	RATE_ERRORS = 2,
	RATE_VIP = 3,
	RATE_SOURCE = 4,
	RATE_COUNT = 5,
};

enum setting {
	SETTING_VLANS = 1,	  /* handle VIP packets in tagged frames */
	SETTING_DROP_PRIVATE = 2, /* sources of RFC 1918 and fc00::/7 */
	SETTING_FILTERS = 4,	  /* a block list, or rates of sources or VIPs */
	SETTING_BLOCKING = 8,
};

enum hash_mode {
	HASH_FIVE_TUPLE = 0,
	HASH_CLIENT = 1,
	HASH_CLIENT_PORT = 2,
};

enum service_special {
	SPECIAL_HASHING = 1, /* not by the five_tuple */
	SPECIAL_EXAMINE = 2, /* connection ids, filters or port lists may matter */
};

enum backend_kind {
	KIND_NONE = 0,	/* no such backend */
	KIND_IPV4 = 1,	/* outer header is IPv4 */
	KIND_IPV6 = 2,
	KIND_LOCAL = 3, /* this host: passed as it is */
};

/* By the first octet of an IPv4 source. */
enum source_class {
	SOURCE_CLEAN = 0,   /* nothing that a client cannot be begins with it */
	SOURCE_CAREFUL = 1, /* look closer */
};

struct totals {
	__u64 rx;
	__u64 tx;
	__u64 passed;
	__u64 drops[DROP_COUNT];
	__u64 notes[NOTE_COUNT];
};

struct service_count {
	__u64 packets;
	__u64 bytes;
	__u64 drops;
};

struct backend_count {
	__u64 packets;
	__u64 bytes;
	__u64 unreachable;
	__u64 too_big;
};

/* bucket = key * multiplier >> bucket_shift; slot = key * multipliers[bucket] >> slot_shift; all 64 bits wide */
struct perfect_hash {
	__u64 multiplier;
	__u32 bucket_shift;
	__u32 slot_shift;
};

/* Sixteen bytes and a number as a 64-bit key: the sum of the two halves and the number, each times its factor. */
struct reducer {
	__u64 first;
	__u64 second;
	__u64 number;
};

struct address {
	__be32 address; /* the key: the word as it is loaded from a packet */
	__u16 what;	/* address_flag | VIP index; 0: this slot is empty */
	__u16 backend;
};

struct address_table {
	__u64 multipliers[ADDRESS_BUCKETS];
	struct address slots[ADDRESS_SLOTS];
};

/* IPv6 addresses (length 128), and prefixes of both families; an IPv4 one as ::ffff:a.b.c.d, 96 bits longer. */
struct wide_address {
	__u64 first;
	__u64 second;
	__u16 what;
	__u16 backend;
	__u16 length;
	__u16 reserved;
};

struct wide_table {
	__u64 multipliers[WIDE_BUCKETS];
	struct wide_address slots[WIDE_SLOTS];
};

struct service {
	__u16 pool; /* index in `pools` + 1; 0: this slot is empty */
	__u16 id;
	__u8 hashing; /* hash_mode */
	__u8 quic;    /* whether connection ids route */
	__u8 group;   /* index of the pool within its bank: whose server ids count */
	__u8 special; /* service_special: 0 for most */
};

/* A service by its VIP's index; port 0 is any port. */
struct indexed_service {
	__u64 key;
	struct service service;
};

struct service_table {
	__u64 multipliers[SERVICE_BUCKETS];
	struct indexed_service slots[SERVICE_SLOTS];
};

/* A service of one port on a single address, found in one step: (address, port, protocol) as loaded. */
struct exact4 {
	__u64 key; /* address | protocol << 32 | port << 48 */
	struct service service;
};

struct exact4_table {
	__u64 multipliers[SERVICE_BUCKETS];
	struct exact4 slots[SERVICE_SLOTS];
};

struct exact6 {
	__u64 first;
	__u64 second;
	__u64 number; /* port | protocol << 16 */
	struct service service;
};

struct exact6_table {
	__u64 multipliers[SERVICE_BUCKETS];
	struct exact6 slots[SERVICE_SLOTS];
};

struct server {
	__u32 key;     /* group << 24 | server id */
	__u32 backend; /* 0: this slot is empty */
};

struct server_table {
	__u64 multipliers[SERVER_BUCKETS];
	struct server slots[SERVER_SLOTS];
};

/* Ahead of the tables, so that they are near the settings. */
struct forward_hashes {
	struct perfect_hash exact4;
	struct perfect_hash exact6;
	struct perfect_hash addresses;
	struct perfect_hash wide;
	struct perfect_hash services;
	struct perfect_hash servers;
	struct reducer of_exact6;
	struct reducer of_wide;
};

struct decap_hashes {
	struct perfect_hash addresses;
	struct perfect_hash wide;
	struct reducer of_wide;
};

struct rate {
	__u64 interval; /* ns between two packets; 0: no limit */
	__u64 burst;	/* ns of credit */
};

struct interface {
	__u64 mac; /* the six bytes as they are loaded from a frame, and two zeros */
	__u32 ifindex;
	__u32 reserved;
};

struct forward_settings {
	__u64 generation;
	__u32 seed;
	__u32 flags; /* setting */
	__u32 outer_network;
	__u32 outer_host_mask;
	__be32 outer6[4];
	__be32 outer6_host_mask[4];
	__u32 interface_count;
	__u8 quic_config;
	__u8 quic_length;
	__u16 reserved;
	__u8 lengths4[MAX_LENGTHS]; /* of VIP prefixes, plus 96; 0 ends them */
	__u8 lengths6[MAX_LENGTHS];
	__be16 reflection_ports[MAX_REFLECTION_PORTS]; /* 0 ends them */
	struct rate rates[RATE_COUNT];
	struct interface interfaces[MAX_INTERFACES];
	__u8 classes[CLASSES]; /* source_class */
	__u8 sources6[SOURCES6]; /* source_class by the hash of the first half of an IPv6 source */
};

#define HEADER_ROOM 72

/* One cache line holds all of it that an IPv4 tunnel needs. */
struct backend {
	__u16 size;	/* bytes of the header; it takes the place of 14 */
	__u16 limit;	/* largest inner packet; 0 when there is no tunnel to send through just now */
	__u8 kind;	/* backend_kind */
	__u8 link;	/* bytes of it that are Ethernet and VLAN tag */
	__u16 outer;	/* bytes behind these */
	__u32 ifindex;	/* 0: next hop unknown */
	__u32 checksum; /* sum of the constant words of the IPv4 header, as loaded */
	__u8 header[HEADER_ROOM];
	__u16 mtu; /* largest inner packet, as told to who sent a larger one */
	__u16 reserved[19];
};

struct forward_directory {
	struct forward_settings settings;
	struct forward_hashes hashes;
	struct exact4_table exact4;
	struct exact6_table exact6;
	struct address_table addresses;
	struct wide_table wide;
	struct service_table services;
	struct server_table servers;
	struct backend backends[2][MAX_BACKENDS + 1]; /* by family of the inner packet: IPv4, IPv6 */
};

struct prefix {
	__be32 words[4];
	__be32 masks[4];
};

struct decap_settings {
	__u32 encaps; /* encap_bit */
	__u32 prefixes;
	__be32 key;
	__u32 has_key;
	__u8 lengths4[MAX_LENGTHS];
	__u8 lengths6[MAX_LENGTHS];
};

struct decap_directory {
	struct decap_settings settings;
	struct decap_hashes hashes;
	struct address_table addresses;
	struct wide_table wide;
	struct prefix prefixes[MAX_PREFIXES]; /* of edges; IPv4 as ::ffff:a.b.c.d */
};

/* Longest-prefix-match keys and value of a block list. */
struct block_key4 {
	__u32 length;
	__be32 address;
};

struct block_key6 {
	__u32 length;
	__be32 address[4];
};

#define BLOCK_DRY_RUN 0x80000000 /* beside the index in `block_hits` */

/* Which packets are shown to `fairhop capture`. */
struct trace_control {
	__u64 until;	/* ns of the monotonic clock; a capture that died is forgotten then */
	__u64 outcomes; /* bit r: dropped for reason r; bit 0: forwarded or answered; bit 63: passed */
	__u32 every;	/* one packet in so many of a CPU; 0: none */
	__u32 snap;	/* bytes of a packet, at most TRACE_BYTES */
};

#define TRACE_BYTES 2048

struct trace_event {
	__u64 time; /* ns of the monotonic clock */
	__u32 ifindex;
	__u32 verdict; /* enum xdp_action */
	__u16 reason;
	__u16 length; /* of the frame */
	__u16 kept;   /* bytes of it that follow */
	__u16 reserved;
	__u8 bytes[TRACE_BYTES];
};

#endif
