/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * Whose packets are refused before a service is asked: impossible sources, blocked ones, sources and VIPs above their
 * rate. Everything but the first has a price and is paid for only where it is configured.
 */
#ifndef FAIRHOP_PROTECT_H
#define FAIRHOP_PROTECT_H

#include "flow.h"
#include "limit.h"
#include "lookup.h"
#include "parse.h"

/* RFC 1812 5.3.7, RFC 6890, BCP 38: what a client can never be. */
static __noinline int check_source4(const struct forward_directory *dir, __be32 source)
{
	const struct forward_settings *settings = &dir->settings;

	if (is_martian4(source) || (bpf_ntohl(source) & ~settings->outer_host_mask) == settings->outer_network)
		return REASON_MARTIAN;
	if (settings->flags & SETTING_DROP_PRIVATE && is_private4(source))
		return REASON_MARTIAN;
	return know4(dir, source) ? REASON_MARTIAN : GO_ON;
}

static __always_inline int is_in_outer6(const struct forward_settings *settings, struct wide address)
{
	struct wide network = wide_of(settings->outer6), hosts = wide_of(settings->outer6_host_mask);

	return (address.first & ~hosts.first) == network.first && (address.second & ~hosts.second) == network.second;
}

static __noinline int check_source6(const struct forward_directory *dir, const __be32 *source)
{
	const struct forward_settings *settings = &dir->settings;

	if (is_martian6(source) || is_in_outer6(settings, wide_of(source)))
		return REASON_MARTIAN;
	if (settings->flags & SETTING_DROP_PRIVATE && is_private6(source))
		return REASON_MARTIAN;
	return know6(dir, wide_of(source)) ? REASON_MARTIAN : GO_ON;
}

/* Whether nothing that a client cannot be begins like this: most sources need no closer look. */
static __always_inline int is_clean4(const struct forward_settings *settings, __be32 source)
{
	return settings->classes[source & 0xff] == SOURCE_CLEAN;
}

static __always_inline int is_clean6(const struct forward_settings *settings, const void *source)
{
	__u64 first = *(const __u64 *)source;
	__u8 octet = first & 0xff;

	/* 00 has the unspecified and mapped addresses, fc to ff the private, link-local and multicast ones */
	return octet && octet < 0xfc && settings->sources6[first * SOURCES6_MULTIPLIER >> SOURCES6_SHIFT] == SOURCE_CLEAN;
}

static __always_inline int count_block(struct totals *t, const __u32 *found)
{
	__u32 index;
	__u64 *hits;

	if (!found)
		return GO_ON;
	index = *found & ~BLOCK_DRY_RUN;
	hits = bpf_map_lookup_elem(&block_hits, &index);
	if (hits)
		++*hits;
	if (!(*found & BLOCK_DRY_RUN))
		return REASON_BLOCKED;
	take_note(t, NOTE_BLOCK_DRY_RUN);
	return GO_ON;
}

static __always_inline int check_block_list(struct totals *t, const __be32 *source, int six)
{
	__u32 zero = 0;
	void *trie;

	if (six) {
		struct block_key6 key = { 128, { source[0], source[1], source[2], source[3] } };

		trie = bpf_map_lookup_elem(&blocked6, &zero);
		return trie ? count_block(t, bpf_map_lookup_elem(trie, &key)) : GO_ON;
	}
	struct block_key4 key = { 32, source[0] };

	trie = bpf_map_lookup_elem(&blocked4, &zero);
	return trie ? count_block(t, bpf_map_lookup_elem(trie, &key)) : GO_ON;
}

/* Two rows of buckets: a source is above its rate when it is in both, so that one unlucky neighbour does no harm. */
static __always_inline int is_source_within(const struct forward_settings *settings, const __be32 *source, int six,
					    __u64 now)
{
	const struct rate *rate = &settings->rates[RATE_SOURCE];
	__u32 hash = hash_flow(source, six, 0, 0, 0, settings->seed);
	__u32 first = hash & (SOURCE_BUCKETS - 1), second = SOURCE_BUCKETS + (hash >> 16);
	int within = spend(bpf_map_lookup_elem(&source_rates, &first), rate, now);

	return spend(bpf_map_lookup_elem(&source_rates, &second), rate, now) || within;
}

static __noinline int filter(struct totals *t, const struct forward_directory *dir, const __be32 *source, int six,
			     __u32 vip)
{
	const struct forward_settings *settings = &dir->settings;
	__u64 now;

	if (settings->flags & SETTING_BLOCKING) {
		int outcome = check_block_list(t, source, six);

		if (outcome != GO_ON)
			return outcome;
	}
	if (!settings->rates[RATE_SOURCE].interval && !settings->rates[RATE_VIP].interval)
		return GO_ON;
	now = bpf_ktime_get_ns();
	if (settings->rates[RATE_SOURCE].interval && !is_source_within(settings, source, six, now))
		return REASON_SOURCE_LIMIT;
	if (settings->rates[RATE_VIP].interval) {
		__u32 limiter = LIMITER_VIPS + (vip & VIP_INDEX_MASK);

		if (!spend(bpf_map_lookup_elem(&limiters, &limiter), &settings->rates[RATE_VIP], now))
			return REASON_VIP_LIMIT;
	}
	return GO_ON;
}

/* UDP from a port that reflectors answer from. */
static __always_inline int is_reflected(const struct forward_settings *settings, __be16 port)
{
	for (int i = 0; i < MAX_REFLECTION_PORTS && settings->reflection_ports[i]; i++)
		if (settings->reflection_ports[i] == port)
			return 1;
	return 0;
}

#endif
