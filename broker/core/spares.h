/* SPDX-License-Identifier: MIT
 *
 * Memory of one size that is given back and taken again: what every publish to
 * a stream needs until it is durable, many at a time and in their order, for
 * which malloc is slow. Keeps a bounded number of them. One thread.
 */
#ifndef BROKER_CORE_SPARES_H
#define BROKER_CORE_SPARES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* With the sanitizer none are kept, so that it sees what is used too late. */
#ifdef __SANITIZE_ADDRESS__
#define SPARES_MAX 0u
#else
#define SPARES_MAX 2048u
#endif

struct spare {
    struct spare *next;
};

struct spares {
    struct spare *first;
    uint32_t count;
};

/* Zeroed memory of this size, the same for all of these spares; NULL if there
 * is none. */
static inline void *
spares_take(struct spares *spares, size_t bytes)
{
    struct spare *spare = spares->first;
    if (spare == NULL) {
        return calloc(1, bytes);
    }
    spares->first = spare->next;
    spares->count--;
    return memset(spare, 0, bytes);
}

static inline void
spares_give(struct spares *spares, void *memory)
{
    struct spare *spare = memory;
    if (spares->count >= SPARES_MAX) {
        free(memory);
        return;
    }
    spare->next = spares->first;
    spares->first = spare;
    spares->count++;
}

static inline void
spares_fini(struct spares *spares)
{
    while (spares->first != NULL) {
        struct spare *next = spares->first->next;
        free(spares->first);
        spares->first = next;
    }
    spares->count = 0;
}

#endif
