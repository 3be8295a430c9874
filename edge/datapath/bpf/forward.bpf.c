/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

SEC("xdp")
int forward(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct totals *t = bpf_map_lookup_elem(&totals, &zero);
	void *outer = bpf_map_lookup_elem(&directory, &zero);

	if (t) {
		t->rx++;
		t->passed++;
		if (!outer)
			t->notes[NOTE_UNCONFIGURED]++;
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
