/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * The last steps of every packet that a service takes: hash, slot, backend, size, tunnel, counts.
 */
#ifndef FAIRHOP_DELIVER_H
#define FAIRHOP_DELIVER_H

#include "icmp6.h"

#define GUE_PORT 6080

/* The hash of what the service's mode leaves of the flow. */
static __always_inline __u32 hash_for(const struct service *service, const __be32 *client, int six,
				      __be16 client_port, __be16 vip_port, __u32 protocol, __u32 seed)
{
	if (service->hashing) {
		client_port = 0;
		if (service->hashing == HASH_CLIENT)
			vip_port = protocol = 0;
	}
	return hash_flow(client, six, client_port, vip_port, protocol, seed);
}

/* No tunnel, or none that the packet fits into. */
static __always_inline int deliver_otherwise(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
					     const struct service *service, const struct backend *backend, __u32 id,
					     const struct inner *inner)
{
	if (backend->kind == KIND_LOCAL) {
		take_note(t, NOTE_LOCAL);
		count_sent(service->id, id, inner->length, 1);
		return PASS;
	}
	if (backend->kind == KIND_NONE)
		return count_dropped(service->id, REASON_TABLE_CORRUPT);
	if (!backend->limit)
		return count_dropped(service->id, REASON_NEIGH);
	count_dropped(service->id, REASON_TOOBIG);
	return inner->is_error ? REASON_TOOBIG : refuse_too_big(ctx, t, dir, inner->six, backend->mtu);
}

/* Counted as sent, which is done early because it need not wait for the packet to be moved; and then it could not be. */
static __noinline enum reason take_back(__u32 service, __u32 backend, __u32 length, enum reason reason)
{
	count_sent(service, backend, -length, -1);
	return count_dropped(service, reason);
}

/* To the backend of the slot, or to `named` (by its connection id) when that is not 0. */
static __always_inline int deliver(struct xdp_md *ctx, struct totals *t, const struct forward_directory *dir,
				   const struct service *service, __u32 named, const struct inner *inner)
{
	const struct backend *backend;
	__u64 id = named;
	int outcome;

	if (!named) {
		outcome = choose_backend(service->pool, inner->hash, &id);
		if (outcome != GO_ON)
			return count_dropped(service->id, outcome);
	}
	barrier_var(id); /* what is checked is what is used, whatever clang knows about either */
	if (id > MAX_BACKENDS)
		return count_dropped(service->id, REASON_TABLE_CORRUPT);
	backend = &dir->backends[inner->six ? 1 : 0][id];
	if (inner->length > backend->limit)
		return deliver_otherwise(ctx, t, dir, service, backend, id, inner);
	if (inner->is_error && !may_relay(dir, inner->vip))
		return count_dropped(service->id, REASON_ICMP_LIMIT);
	count_sent(service->id, id, inner->length, 1);
	outcome = send_to(ctx, t, dir, backend, inner);
	return outcome < PASS ? take_back(service->id, id, inner->length, outcome) : outcome;
}

#endif
