/* SPDX-License-Identifier: MIT
 *
 * A small random generator for tests: the same seed gives the same numbers on
 * every machine. Knows nothing else.
 */
#ifndef BROKER_TESTS_RANDOM_H
#define BROKER_TESTS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

/* SplitMix64: any state is a good one. */
static inline uint64_t
random_next(struct random *random)
{
    uint64_t z = random->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* 0 to n - 1; n is at least 1. */
static inline uint32_t
random_below(struct random *random, uint32_t n)
{
    return (uint32_t)((random_next(random) >> 32) * n >> 32);
}

/* low to high, both included. */
static inline uint32_t
random_between(struct random *random, uint32_t low, uint32_t high)
{
    return low + random_below(random, high - low + 1);
}

/* True in `percent` of 100 cases. */
static inline bool
random_chance(struct random *random, uint32_t percent)
{
    return random_below(random, 100) < percent;
}

#endif
