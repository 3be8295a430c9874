/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * Shows sampled packets, as they leave, to whoever has asked for them just now (`fairhop capture`).
 */
#ifndef FAIRHOP_TRACE_H
#define FAIRHOP_TRACE_H

#include "parse.h"

static __always_inline __u64 outcome_bit(int outcome)
{
	if (outcome == PASS)
		return 1ull << 63;
	if (outcome == TOO_BIG_ANSWERED)
		return 1ull << REASON_TOOBIG;
	return outcome < PASS ? 1ull << (outcome & 63) : 1;
}

static __noinline int record(struct xdp_md *ctx, int outcome, int verdict)
{
	__u32 length = frame_length(ctx), kept = trace_control.snap;
	struct trace_event *event;
	__u64 now;

	if (!(trace_control.outcomes & outcome_bit(outcome)))
		return 0;
	now = bpf_ktime_get_ns();
	if (now > trace_control.until)
		return 0;
	event = bpf_ringbuf_reserve(&trace_events, sizeof(*event), 0);
	if (!event)
		return 0;
	if (kept > length)
		kept = length;
	if (kept > TRACE_BYTES)
		kept = TRACE_BYTES;
	event->time = now;
	event->ifindex = ctx->ingress_ifindex;
	event->verdict = verdict;
	event->reason = outcome == TOO_BIG_ANSWERED ? REASON_TOOBIG : outcome < PASS ? outcome : 0;
	event->length = length;
	event->reserved = 0;
	barrier_var(kept);
	event->kept = kept;
	if (kept && kept <= TRACE_BYTES && bpf_xdp_load_bytes(ctx, 0, event->bytes, kept))
		event->kept = 0;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

static __always_inline void trace(struct xdp_md *ctx, const struct totals *t, int outcome, int verdict)
{
	__u32 every = trace_control.every;

	if (every && t->rx % every == 0)
		record(ctx, outcome, verdict);
}

#endif
