/* SPDX-License-Identifier: MIT
 *
 * Deadlines: a binary heap of what is due when. An entry is part of whatever it
 * is for, so setting and clearing one allocates at most the heap's array.
 * Times are milliseconds of the caller's clock. Knows nothing else.
 */
#ifndef BROKER_CORE_DEADLINE_H
#define BROKER_CORE_DEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEADLINE_NEVER UINT64_MAX

struct deadline {
    uint64_t due_ms;
    size_t slot; /* index in the heap plus 1; 0: not set */
};

struct deadline_heap {
    struct deadline **slots;
    size_t count, capacity;
};

void deadline_heap_fini(struct deadline_heap *heap);

/* Make room for one more entry, so that deadline_set cannot fail for it. False
 * if memory is out. Call once for each entry that will ever be set. */
bool deadline_heap_reserve(struct deadline_heap *heap, size_t entries);

/* Set or move; DEADLINE_NEVER clears. */
void deadline_set(
    struct deadline_heap *heap, struct deadline *deadline, uint64_t due_ms);
void deadline_clear(struct deadline_heap *heap, struct deadline *deadline);

/* The earliest, or NULL. */
static inline struct deadline *
deadline_first(const struct deadline_heap *heap)
{
    return heap->count == 0 ? NULL : heap->slots[0];
}

#endif
