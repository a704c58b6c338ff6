/* SPDX-License-Identifier: MIT
 *
 * Keys that a hash table cannot tell apart: it keeps 32 bits of a hash, so that
 * among some ten thousand keys there are two with the same. What is found has
 * to be compared with what was looked for, and this is how a test sees it. */
#ifndef BROKER_TESTS_COLLIDE_H
#define BROKER_TESTS_COLLIDE_H

#include <stdint.h>

/* The hash of key i. */
typedef uint64_t collide_hash(const void *arg, uint32_t i);

/* Two different keys, numbers below a million, with the same in a table. Unless
 * `split` is 0 only one of them is below it: for two kinds of keys. */
void collide_find(collide_hash *hash, const void *arg, uint32_t split,
    uint32_t *a, uint32_t *b);

#endif
