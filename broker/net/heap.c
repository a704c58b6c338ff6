/* SPDX-License-Identifier: MIT
 *
 * Memory that is not of blocks; see heap.h. */
#include "heap.h"

#include <malloc.h>
#include <stdbool.h>

#define LOOK_MS 250u
#define TRIM_MS 5000u
/* Less than so much that became free stays with the allocator. */
#define TRIM_BYTES (UINT64_C(32) * 1024 * 1024)

/* The allocator keeps what is free for itself, and after a storm that may be
 * most of the memory: one chunk that is in use at its end holds it all. */
static void
trim(struct heap *heap, uint64_t now_ms, uint64_t used)
{
    if (used > heap->most_bytes) {
        heap->most_bytes = used;
    }
    if (heap->most_bytes - used >= TRIM_BYTES &&
        now_ms - heap->trimmed_ms >= TRIM_MS) {
        heap->trimmed_ms = now_ms;
        heap->most_bytes = used;
        (void)malloc_trim(0);
    }
}

uint64_t
heap_look(struct heap *heap, uint64_t now_ms, uint64_t block_bytes)
{
    uint64_t look_ms =
        atomic_load_explicit(&heap->look_ms, memory_order_acquire);
    if (now_ms >= look_ms &&
        /* UINT64_MAX: somebody is at it. */
        atomic_compare_exchange_strong_explicit(&heap->look_ms, &look_ms,
            UINT64_MAX, memory_order_acquire, memory_order_relaxed)) {
        struct mallinfo2 info = mallinfo2();
        uint64_t used = info.uordblks + info.hblkhd;
        atomic_store_explicit(&heap->other_bytes,
            used > block_bytes ? used - block_bytes : 0, memory_order_relaxed);
        trim(heap, now_ms, used);
        look_ms = now_ms + LOOK_MS;
        bool waits = heap->most_bytes - used >= TRIM_BYTES;
        atomic_store_explicit(&heap->look_ms, look_ms, memory_order_release);
        return waits ? now_ms + TRIM_MS : UINT64_MAX;
    }
    return UINT64_MAX;
}
