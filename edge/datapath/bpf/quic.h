/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * Which backend a QUIC connection id names (RFC 8999, RFC 9000 17; draft-ietf-quic-load-balancers 5.2, plaintext).
 * A client chooses the id of its first packets itself, so those go by the hash; the server's ids count from then on.
 */
#ifndef FAIRHOP_QUIC_H
#define FAIRHOP_QUIC_H

#include <linux/udp.h>
#include "packet.h"

#define QUIC_LONG 0x80
#define QUIC_V1 bpf_htonl(1)
#define QUIC_V2 bpf_htonl(0x6b3343cf)
#define QUIC_PEEK 10 /* a long header up to the longest server id */

struct quic_head {
	__u8 bytes[QUIC_PEEK + 2]; /* a multiple of 4, for the verifier's stack */
};

/* Where the connection id begins; 0 when the packet goes by the hash. */
static __always_inline __u32 find_cid(const __u8 *bytes, __u32 present, __u32 server_length)
{
	__u32 version, type = bytes[0] >> 4 & 3;

	if (!(bytes[0] & QUIC_LONG))
		return 1;
	if (present < 6)
		return 0;
	__builtin_memcpy(&version, bytes + 1, sizeof(version));
	/* only a handshake packet bears an id that the server chose: its type is 2, in version 2 it is 3 */
	if (!(version == QUIC_V1 && type == 2) && !(version == QUIC_V2 && type == 3))
		return 0;
	return bytes[5] >= 1 + server_length ? 6 : 0;
}

/* The id of the backend that a UDP packet names, or 0: by the hash. */
static __noinline __u32 backend_of_cid(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				       __u32 group, const struct packet *p)
{
	__u32 head = ip_header_size(p) + sizeof(struct udphdr), length = p->inner.length - head;
	__u32 present = length < QUIC_PEEK ? length : QUIC_PEEK, size = 1 + (dir->settings.quic_length & 3);
	__u32 offset = sizeof(struct ethhdr) + head, at, backend = 0, key;
	struct quic_head quic = {};
	__be32 cid = 0;

	barrier_var(present);
	if (present < 1 || present > QUIC_PEEK || bpf_xdp_load_bytes(ctx, offset, quic.bytes, present))
		return 0;
	at = find_cid(quic.bytes, present, size - 1);
	if (!at || present < at + size || bpf_xdp_load_bytes(ctx, offset + at, &cid, size))
		return 0;
	/* one octet of configuration, then the server id */
	key = group << 24 | (bpf_ntohl(cid) & 0xffffff) >> (32 - 8 * size);
	if ((cid & 0xff) >> 5 == dir->settings.quic_config)
		backend = look_up_server(dir, key);
	take_note(t, backend ? NOTE_CID_ROUTED : NOTE_CID_UNKNOWN);
	return backend;
}

#endif
