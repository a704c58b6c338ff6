/* SPDX-License-Identifier: MIT
 *
 * Fetching memory into the processor's caches before it is needed. With a
 * million subscriptions every step of a look-up waits for memory some hundred
 * nanoseconds, but many such waits cost little more than one if they are begun
 * together. Only a hint: nothing is read, so the place need not be valid. */
#ifndef BROKER_CORE_FETCH_H
#define BROKER_CORE_FETCH_H

#include <stdint.h>

#define FETCH_LINE_BYTES 64u

/* The cache line that this stands in. */
static inline void
fetch_at(const void *at)
{
    __builtin_prefetch(at);
}

/* The lines of from[0..to), both of one object. */
static inline void
fetch_range(const void *from, const void *to)
{
    uintptr_t line = (uintptr_t)from & ~(uintptr_t)(FETCH_LINE_BYTES - 1);
    for (; line < (uintptr_t)to; line += FETCH_LINE_BYTES) {
        fetch_at((const void *)line);
    }
}

#endif
