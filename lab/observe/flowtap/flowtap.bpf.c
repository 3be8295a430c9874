/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * Counts the flows that leave through an interface. A socket filter on a packet socket: it returns 0, so the socket
 * gets no packet and user space only reads the map. lab/flowtap/flows.py has the same two layouts.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FRAGMENT_OFFSET 0x1fff

struct flow_key {
	struct in6_addr client; /* an IPv4 address as ::ffff:a.b.c.d */
	struct in6_addr vip;
	__be16 client_port;
	__be16 vip_port;
	__u32 protocol;
	__u32 ifindex;
};

struct flow_seen {
	__u64 packets;
	__u64 last; /* CLOCK_MONOTONIC, ns */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct flow_seen);
} flows SEC(".maps");

static __always_inline void map_ipv4(struct in6_addr *to, __be32 address)
{
	to->s6_addr32[2] = bpf_htonl(0xffff);
	to->s6_addr32[3] = address;
}

/* Fills in addresses and protocol; where the ports are, or 0 when the packet has none that matter. */
static __always_inline __u32 read_ipv4(struct __sk_buff *skb, struct flow_key *key)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return 0;
	if (ip.frag_off & bpf_htons(FRAGMENT_OFFSET)) /* no ports there */
		return 0;
	map_ipv4(&key->client, ip.saddr);
	map_ipv4(&key->vip, ip.daddr);
	key->protocol = ip.protocol;
	return ETH_HLEN + ip.ihl * 4;
}

/* The same; a packet with extension headers, fragments among them, is not counted. */
static __always_inline __u32 read_ipv6(struct __sk_buff *skb, struct flow_key *key)
{
	struct ipv6hdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return 0;
	key->client = ip.saddr;
	key->vip = ip.daddr;
	key->protocol = ip.nexthdr;
	return ETH_HLEN + sizeof(ip);
}

SEC("socket")
int flowtap(struct __sk_buff *skb)
{
	struct flow_key key = {};
	struct flow_seen *seen;
	__be16 ports[2];
	__u32 at = 0;

	if (skb->pkt_type != PACKET_OUTGOING)
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		at = read_ipv4(skb, &key);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		at = read_ipv6(skb, &key);
	if (!at || (key.protocol != IPPROTO_TCP && key.protocol != IPPROTO_UDP))
		return 0;
	if (bpf_skb_load_bytes(skb, at, ports, sizeof(ports)))
		return 0;
	key.client_port = ports[0];
	key.vip_port = ports[1];
	key.ifindex = skb->ifindex;
	seen = bpf_map_lookup_elem(&flows, &key);
	if (seen) {
		__sync_fetch_and_add(&seen->packets, 1);
		seen->last = bpf_ktime_get_ns();
	} else {
		struct flow_seen first = {.packets = 1, .last = bpf_ktime_get_ns()};

		bpf_map_update_elem(&flows, &key, &first, BPF_ANY);
	}
	return 0;
}

char _license[] SEC("license") = "GPL";
