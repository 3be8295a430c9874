/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * Rates, each a token bucket in one word (GCRA): when the next packet is due. Only what is limited reads the clock.
 */
#ifndef FAIRHOP_LIMIT_H
#define FAIRHOP_LIMIT_H

#include "maps.h"

/*
 * For what the edge answers or relays itself. Refusing only reads, so a flood does not make the CPUs fight for the
 * word; who loses a race for it is refused, so the rate is never exceeded.
 */
static __always_inline int within_rate(__u32 limiter, const struct rate *rate)
{
	__u64 *word, due, start, now;

	if (!rate->interval)
		return 1;
	word = bpf_map_lookup_elem(&limiters, &limiter);
	if (!word)
		return 0;
	now = bpf_ktime_get_ns();
	due = *(volatile __u64 *)word;
	start = due > now ? due : now;
	if (start - now > rate->burst)
		return 0;
	return __sync_val_compare_and_swap(word, due, start + rate->interval) == due;
}

/* For what clients send. A lost race lets a packet through, and so does a word that is not there. */
static __always_inline int spend(__u64 *word, const struct rate *rate, __u64 now)
{
	__u64 due, start;

	if (!word)
		return 1;
	due = *(volatile __u64 *)word;
	start = due > now ? due : now;
	if (start - now > rate->burst)
		return 0;
	*(volatile __u64 *)word = start + rate->interval;
	return 1;
}

#endif
