/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
 *
 * The inner loop of edge/maglev.py, slot for slot the same. Needs no library: the caller brings the memory.
 */
#include <stdint.h>

#define MOST_LAST 1024

/* One member that has a weight, in the order of turns. */
struct member {
	uint64_t offset; /* in: hash; then the slot that is tried next */
	uint64_t skip;	 /* in: hash; then the distance to the slot after it */
	uint64_t inverse; /* of skip modulo the size; 0: not needed so far */
	uint64_t credit;
	uint32_t weight;
	int32_t owner; /* what its slots say */
};

/* a + b modulo size without a branch: half of such branches would be mispredicted. Needs size < 2^31. */
static inline uint32_t add(uint32_t a, uint32_t b, uint32_t size)
{
	uint32_t sum = a + b - size;

	return sum + (size & (0u - (sum >> 31)));
}

static inline uint32_t is_free(const uint64_t *taken, uint32_t slot)
{
	return ~(taken[slot / 64] >> slot % 64) & 1;
}

/* Four slots at a time: how many attempts it takes is a matter of chance, and each one is a branch mispredicted. */
static uint32_t first_free(const uint64_t *taken, uint32_t slot, uint32_t skip, uint32_t size)
{
	for (;;) {
		uint32_t tried[4], free;

		tried[0] = slot;
		tried[1] = add(tried[0], skip, size);
		tried[2] = add(tried[1], skip, size);
		tried[3] = add(tried[2], skip, size);
		free = is_free(taken, tried[0]) | is_free(taken, tried[1]) << 1 | is_free(taken, tried[2]) << 2 |
		       is_free(taken, tried[3]) << 3;
		if (free)
			return tried[__builtin_ctz(free)];
		slot = add(tried[3], skip, size);
	}
}

/* 1 / skip modulo a prime, by Fermat: skip ^ (size - 2). */
static uint64_t invert(uint64_t skip, uint32_t size)
{
	uint64_t result = 1;

	for (uint32_t exponent = size - 2; exponent; exponent >>= 1) {
		if (exponent & 1)
			result = result * skip % size;
		skip = skip * skip % size;
	}
	return result;
}

/*
 * Which of the last `left` free slots comes first for a member. Trying slots one after the other takes size / left
 * attempts on average; how far a free slot is away takes one division.
 */
static uint32_t nearest(const uint32_t *free, uint32_t left, struct member *m, uint32_t size)
{
	uint64_t best = UINT64_MAX;
	uint32_t found = 0;

	if (!m->inverse)
		m->inverse = invert(m->skip, size);
	for (uint32_t i = 0; i < left; i++) {
		uint64_t steps = (free[i] + size - m->offset) * m->inverse % size;

		if (steps < best) {
			best = steps;
			found = i;
		}
	}
	return found;
}

/* How many of the last slots are better found by `nearest`: about half the root of the size. */
static uint32_t last_slots(uint32_t size)
{
	uint32_t last = 0;

	while (last < MOST_LAST && (uint64_t)last * last * 4 < size)
		last++;
	return last;
}

/* The next member whose credit reaches the heaviest weight; it is charged for a slot. */
static inline struct member *next_turn(struct member *members, uint32_t count, uint64_t heaviest, uint32_t *turn)
{
	for (;;) {
		struct member *m = &members[*turn];

		*turn = *turn + 1 < count ? *turn + 1 : 0;
		m->credit += m->weight;
		if (m->credit >= heaviest) {
			m->credit -= heaviest;
			return m;
		}
	}
}

/*
 * Fills slots[0..size) with owners. `size` is prime and below 2^31, `count` at least 1, every weight 1..heaviest;
 * `taken` is (size + 63) / 64 words of 0. The number in the name changes with the arguments and with struct member: a
 * library of another build is then not found, instead of writing where it must not.
 */
void fairhop_maglev_1(struct member *members, uint32_t count, uint32_t heaviest, uint64_t *taken, int32_t *slots,
		      uint32_t size)
{
	uint32_t turn = 0, left = size, free[MOST_LAST], last = last_slots(size), found = 0;

	for (uint32_t i = 0; i < count; i++) {
		members[i].offset %= size;
		members[i].skip = members[i].skip % (size - 1) + 1;
	}
	for (; left > last; left--) {
		struct member *m = next_turn(members, count, heaviest, &turn);
		uint32_t slot = first_free(taken, (uint32_t)m->offset, (uint32_t)m->skip, size);

		m->offset = slot;
		taken[slot / 64] |= 1ull << slot % 64;
		slots[slot] = m->owner;
	}
	for (uint32_t slot = 0; found < left; slot++)
		if (is_free(taken, slot))
			free[found++] = slot;
	for (; left; left--) {
		struct member *m = next_turn(members, count, heaviest, &turn);
		uint32_t place = nearest(free, left, m, size);

		m->offset = free[place];
		slots[free[place]] = m->owner;
		free[place] = free[left - 1];
	}
}
