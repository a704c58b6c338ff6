/* SPDX-License-Identifier: MIT
 *
 * The sequences of a durable consumer that came on this connection and are not
 * settled yet, in the order in which they came: "all up to this one" means what
 * came before it, and a message may come again after higher ones (PROTOCOL.md
 * section 5.14). Kept as runs in which sequences rise; mostly there is one.
 * Knows no frames. Not thread-safe.
 */
#ifndef BROKER_CLIENT_OUTSTANDING_H
#define BROKER_CLIENT_OUTSTANDING_H

#include "sequences.h"

struct outstanding_run {
    struct sequences set;
    uint64_t high;  /* the highest one that came in it */
    uint64_t began; /* the highest one that had come before it */
};

/* All zero is an empty one. */
struct outstanding {
    struct outstanding_run *runs; /* those behind `count` are for later use */
    size_t count, capacity;
    uint64_t high; /* the highest one that ever came */
};

void outstanding_fini(struct outstanding *outstanding);

/* First to last came. False: no memory. */
bool outstanding_add(
    struct outstanding *outstanding, uint64_t first, uint64_t last);

bool outstanding_has(const struct outstanding *outstanding, uint64_t sequence);

/* It is settled: 1, or 0 if it is not there, or -1: no memory. */
int outstanding_take(struct outstanding *outstanding, uint64_t sequence);

/* It and all below it that came before it are settled: they are put into `to`
 * (NULL: nowhere). If it is not there itself, what had come for certain when it
 * came. Returns how many, or -1: no memory, and nothing has changed. */
int64_t outstanding_take_up_to(
    struct outstanding *outstanding, uint64_t sequence, struct sequences *to);

/* Empty it; the memory is kept. */
void outstanding_clear(struct outstanding *outstanding);

#endif
