/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * For the far end of a veth: without any program there, frames that the near end sends with XDP_TX are lost.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
