/* SPDX-License-Identifier: MIT
 *
 * The heap of deadlines; see deadline.h. */
#include "deadline.h"

#include <assert.h>
#include <stdlib.h>

void
deadline_heap_fini(struct deadline_heap *heap)
{
    assert(heap->count == 0);
    free(heap->slots);
    *heap = (struct deadline_heap){0};
}

bool
deadline_heap_reserve(struct deadline_heap *heap, size_t entries)
{
    if (entries <= heap->capacity) {
        return true;
    }
    size_t capacity = heap->capacity == 0 ? 16 : heap->capacity;
    while (capacity < entries) {
        capacity *= 2;
    }
    struct deadline **slots =
        realloc(heap->slots, capacity * sizeof(struct deadline *));
    if (slots == NULL) {
        return false;
    }
    heap->slots = slots;
    heap->capacity = capacity;
    return true;
}

static void
put(struct deadline_heap *heap, struct deadline *deadline, size_t i)
{
    heap->slots[i] = deadline;
    deadline->slot = i + 1;
}

static void
sift_up(struct deadline_heap *heap, size_t i)
{
    struct deadline *deadline = heap->slots[i];
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (heap->slots[parent]->due_ms <= deadline->due_ms) {
            break;
        }
        put(heap, heap->slots[parent], i);
        i = parent;
    }
    put(heap, deadline, i);
}

static void
sift_down(struct deadline_heap *heap, size_t i)
{
    struct deadline *deadline = heap->slots[i];
    for (;;) {
        size_t child = i * 2 + 1;
        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count &&
            heap->slots[child + 1]->due_ms < heap->slots[child]->due_ms) {
            child++;
        }
        if (deadline->due_ms <= heap->slots[child]->due_ms) {
            break;
        }
        put(heap, heap->slots[child], i);
        i = child;
    }
    put(heap, deadline, i);
}

void
deadline_set(
    struct deadline_heap *heap, struct deadline *deadline, uint64_t due_ms)
{
    if (due_ms == DEADLINE_NEVER) {
        deadline_clear(heap, deadline);
        return;
    }
    if (deadline->slot == 0) {
        assert(heap->count < heap->capacity);
        put(heap, deadline, heap->count++);
    }
    deadline->due_ms = due_ms;
    sift_up(heap, deadline->slot - 1);
    sift_down(heap, deadline->slot - 1);
}

void
deadline_clear(struct deadline_heap *heap, struct deadline *deadline)
{
    deadline->due_ms = DEADLINE_NEVER;
    if (deadline->slot == 0) {
        return;
    }
    size_t i = deadline->slot - 1;
    deadline->slot = 0;
    struct deadline *last = heap->slots[--heap->count];
    if (last == deadline) {
        return;
    }
    put(heap, last, i);
    sift_up(heap, i);
    sift_down(heap, last->slot - 1);
}
