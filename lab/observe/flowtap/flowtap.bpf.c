/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * Counts the flows that leave through an interface. A socket filter on a packet socket: it returns 0, so the socket
 * gets no packet and user space only reads the map. lab/flowtap/flows.py has the same two layouts.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FRAGMENT_OFFSET 0x1fff

struct flow_key {
	__be32 client;
	__be32 vip;
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

SEC("socket")
int flowtap(struct __sk_buff *skb)
{
	struct flow_key key = {};
	struct flow_seen *seen;
	struct iphdr ip;
	__be16 ports[2];

	if (skb->pkt_type != PACKET_OUTGOING || skb->protocol != bpf_htons(ETH_P_IP))
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return 0;
	if (ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_UDP)
		return 0;
	if (ip.frag_off & bpf_htons(FRAGMENT_OFFSET)) /* no ports there */
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + ip.ihl * 4, ports, sizeof(ports)))
		return 0;
	key.client = ip.saddr;
	key.vip = ip.daddr;
	key.client_port = ports[0];
	key.vip_port = ports[1];
	key.protocol = ip.protocol;
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
