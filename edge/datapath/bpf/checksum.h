/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * The Internet checksum (RFC 1071). Sums are over words as loaded; the byte order cancels out.
 */
#ifndef FAIRHOP_CHECKSUM_H
#define FAIRHOP_CHECKSUM_H

#include <linux/ip.h>
#include "outcome.h"

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Sum of a header without options, in 17 bits. */
static __always_inline __u32 ipv4_sum(const struct iphdr *ip)
{
	const __u32 *word = (const void *)ip;
	__u64 sum = (__u64)word[0] + word[1] + word[2] + word[3] + word[4];

	sum = (sum & 0xffffffff) + (sum >> 32);
	return (__u32)(sum & 0xffff) + (__u32)(sum >> 16);
}

/* Whether its checksum is right: the sum is 0xffff, or 0xffff with a carry. */
static __always_inline int is_ipv4_sum_right(const struct iphdr *ip)
{
	__u32 sum = ipv4_sum(ip);

	return sum == 0xffff || sum == 0x1fffe;
}

static __always_inline void set_ipv4_checksum(struct iphdr *ip)
{
	ip->check = 0;
	ip->check = ~fold(ipv4_sum(ip));
}

/* One word of checksummed data changed (RFC 1624, equation 3). */
static __always_inline __u16 replace_word(__u16 check, __u16 old, __u16 new)
{
	return ~fold((__u16)~check + (__u16)~old + new);
}

#endif
