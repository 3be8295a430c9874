/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * One packet, one outcome, one count: rx = tx + passed + sum of drops, because only finish() touches them.
 */
#ifndef FAIRHOP_OUTCOME_H
#define FAIRHOP_OUTCOME_H

#include "maps.h"

/* A step returns GO_ON, a reason to drop the packet (1..DROP_COUNT - 1), or one of the ends after it. */
enum outcome {
	GO_ON = REASON_NONE,
	PASS = DROP_COUNT,
	TX,
	REDIRECT,
	ANSWERED,	  /* the frame now holds the answer */
	TOO_BIG_ANSWERED, /* dropped; the frame now holds the ICMP error about it */
	EXAMINE,	  /* not an end: look closer */
};

static __always_inline void take_note(struct totals *t, enum note note)
{
	t->notes[note]++;
}

static __always_inline int finish(struct totals *t, int outcome)
{
	__u32 reason = outcome;

	t->rx++;
	switch (outcome) {
	case TX:
	case ANSWERED:
		t->tx++;
		return XDP_TX;
	case REDIRECT:
		t->tx++;
		return XDP_REDIRECT;
	case PASS:
		t->passed++;
		return XDP_PASS;
	case TOO_BIG_ANSWERED:
		t->drops[REASON_TOOBIG]++;
		return XDP_TX;
	default:
		barrier_var(reason); /* clang knows its bounds, the verifier does not: the mask must stay */
		t->drops[reason & (DROP_COUNT - 1)]++;
		return XDP_DROP;
	}
}

#endif
