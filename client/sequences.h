/* SPDX-License-Identifier: MIT
 *
 * A set of sequences of a stream, as ranges that rise and do not touch. What
 * rises and is taken off in order costs the same however large the set is.
 * Knows no frames. Not thread-safe.
 */
#ifndef BROKER_CLIENT_SEQUENCES_H
#define BROKER_CLIENT_SEQUENCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sequence_range {
    uint64_t first, last;
};

/* All zero is an empty set. */
struct sequences {
    struct sequence_range *ranges;
    size_t start; /* of the first one in `ranges` */
    size_t count, capacity;
};

void sequences_fini(struct sequences *set);

/* Room for so many more ranges. False: no memory. */
bool sequences_reserve(struct sequences *set, size_t more);

/* Put in first to last; needs room for one more range. */
void sequences_add(struct sequences *set, uint64_t first, uint64_t last);

/* Take out one that is there: true, or false if it is not. Needs room for one
 * more range. */
bool sequences_take(struct sequences *set, uint64_t sequence);

/* Is it there? */
bool sequences_has(const struct sequences *set, uint64_t sequence);

/* How many ranges have something up to this sequence. */
size_t sequences_ranges_up_to(const struct sequences *set, uint64_t sequence);

/* Move all up to this sequence to the other set, which has room for their
 * ranges and one more; `to` NULL: nowhere. Returns how many sequences. */
uint64_t sequences_move_up_to(
    struct sequences *from, struct sequences *to, uint64_t sequence);

/* How many sequences are there. */
uint64_t sequences_total(const struct sequences *set);

/* The i-th range; i < set->count. */
const struct sequence_range *sequences_at(
    const struct sequences *set, size_t i);

/* Empty it; the memory is kept. */
void sequences_clear(struct sequences *set);

#endif
