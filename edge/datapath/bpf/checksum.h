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

/* Folded sum of a header without options: 0xffff when its checksum is right. */
static __always_inline __u16 ipv4_sum(const struct iphdr *ip)
{
	const __u16 *word = (const void *)ip;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += word[i];
	return fold(sum);
}

static __always_inline void set_ipv4_checksum(struct iphdr *ip)
{
	ip->check = 0;
	ip->check = ~ipv4_sum(ip);
}

/* One word of checksummed data changed (RFC 1624, equation 3). */
static __always_inline __u16 replace_word(__u16 check, __u16 old, __u16 new)
{
	return ~fold((__u16)~check + (__u16)~old + new);
}

#endif
