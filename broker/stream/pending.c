/* SPDX-License-Identifier: MIT
 *
 * The unfinished messages of a consumer; see pending.h. */
#include "pending.h"

#include <assert.h>
#include <stdlib.h>

#define CAPACITY_MIN 16u

void
pending_init(struct pending *pending)
{
    *pending = (struct pending){
        .outstanding = {PENDING_NIL, PENDING_NIL},
        .dead = {PENDING_NIL, PENDING_NIL},
    };
}

void
pending_fini(struct pending *pending)
{
    free(pending->ring);
    free(pending->heap);
    pending_init(pending);
}

static uint32_t
slot_of(const struct pending *pending, const struct pending_entry *entry)
{
    return (uint32_t)(entry - pending->ring);
}

/* ---- lists --------------------------------------------------------------- */

/* The list that entries of this state are on, or NULL. */
static struct pending_list *
list_of(struct pending *pending, enum pending_state state)
{
    if (state == PENDING_OUTSTANDING) {
        return &pending->outstanding;
    }
    return state == PENDING_DEAD ? &pending->dead : NULL;
}

static void
list_add(struct pending *pending, struct pending_list *list,
    struct pending_entry *entry)
{
    uint32_t slot = slot_of(pending, entry);
    entry->before = list->last;
    entry->after = PENDING_NIL;
    if (list->last == PENDING_NIL) {
        list->first = slot;
    } else {
        pending->ring[list->last].after = slot;
    }
    list->last = slot;
}

/* What stands before and after the entry is told that `before` and `after` are
 * its neighbours now. */
static inline void
list_relink(struct pending *pending, struct pending_list *list,
    const struct pending_entry *entry, uint32_t before, uint32_t after)
{
    if (entry->before == PENDING_NIL) {
        list->first = after;
    } else {
        pending->ring[entry->before].after = after;
    }
    if (entry->after == PENDING_NIL) {
        list->last = before;
    } else {
        pending->ring[entry->after].before = before;
    }
}

static inline void
list_remove(struct pending *pending, struct pending_list *list,
    const struct pending_entry *entry)
{
    list_relink(pending, list, entry, entry->before, entry->after);
}

/* ---- the heap of those that wait ----------------------------------------- */

static bool
is_sooner(const struct pending *pending, uint32_t a, uint32_t b)
{
    const struct pending_entry *first = &pending->ring[a];
    const struct pending_entry *second = &pending->ring[b];
    return first->time_ms != second->time_ms
               ? first->time_ms < second->time_ms
               : first->sequence < second->sequence;
}

static void
heap_put(struct pending *pending, uint32_t i, uint32_t slot)
{
    pending->heap[i] = slot;
    pending->ring[slot].heap_slot = i;
}

static void
heap_sift_up(struct pending *pending, uint32_t i)
{
    uint32_t slot = pending->heap[i];
    while (i > 0) {
        uint32_t parent = (i - 1) / 2;
        if (!is_sooner(pending, slot, pending->heap[parent])) {
            break;
        }
        heap_put(pending, i, pending->heap[parent]);
        i = parent;
    }
    heap_put(pending, i, slot);
}

static void
heap_sift_down(struct pending *pending, uint32_t i)
{
    uint32_t slot = pending->heap[i];
    for (;;) {
        uint32_t child = i * 2 + 1;
        if (child >= pending->heap_count) {
            break;
        }
        if (child + 1 < pending->heap_count &&
            is_sooner(
                pending, pending->heap[child + 1], pending->heap[child])) {
            child++;
        }
        if (!is_sooner(pending, pending->heap[child], slot)) {
            break;
        }
        heap_put(pending, i, pending->heap[child]);
        i = child;
    }
    heap_put(pending, i, slot);
}

static void
heap_add(struct pending *pending, struct pending_entry *entry)
{
    assert(pending->heap_count < pending->capacity);
    heap_put(pending, pending->heap_count, slot_of(pending, entry));
    heap_sift_up(pending, pending->heap_count++);
}

static void
heap_remove(struct pending *pending, const struct pending_entry *entry)
{
    uint32_t i = entry->heap_slot;
    uint32_t last = pending->heap[--pending->heap_count];
    if (last == slot_of(pending, entry)) {
        return;
    }
    heap_put(pending, i, last);
    heap_sift_up(pending, i);
    heap_sift_down(pending, pending->ring[last].heap_slot);
}

/* ---- room ---------------------------------------------------------------- */

/* The entry at the index goes to a lower one, which is a hole. */
static void
move_entry(struct pending *pending, uint32_t from, uint32_t to)
{
    struct pending_entry *entry = pending_at(pending, to);
    *entry = *pending_at(pending, from);
    uint32_t slot = slot_of(pending, entry);
    struct pending_list *list = list_of(pending, entry->state);
    if (list != NULL) {
        list_relink(pending, list, entry, slot, slot);
    } else if (entry->state == PENDING_WAITING) {
        pending->heap[entry->heap_slot] = slot;
    }
}

void
pending_close_holes(struct pending *pending)
{
    uint32_t to = 0;
    for (uint32_t i = 0; i < pending->count; i++) {
        if (pending_at(pending, i)->state != PENDING_FINISHED) {
            if (to != i) {
                move_entry(pending, i, to);
            }
            to++;
        }
    }
    pending->count = to;
    assert(pending->count == pending->live);
}

/* Where a slot is once the ring begins at 0. */
static uint32_t
slot_from_head(const struct pending *pending, uint32_t slot)
{
    return slot == PENDING_NIL
               ? PENDING_NIL
               : (slot - pending->head) & (pending->capacity - 1);
}

static void
copy_ring(const struct pending *pending, struct pending_entry *ring)
{
    for (uint32_t i = 0; i < pending->count; i++) {
        struct pending_entry *entry = &ring[i];
        *entry = *pending_at(pending, i);
        if (entry->state == PENDING_OUTSTANDING ||
            entry->state == PENDING_DEAD) {
            entry->before = slot_from_head(pending, entry->before);
            entry->after = slot_from_head(pending, entry->after);
        }
    }
}

static bool
grow(struct pending *pending, uint32_t capacity)
{
    uint32_t *heap = realloc(pending->heap, capacity * sizeof *heap);
    if (heap == NULL) {
        return false;
    }
    pending->heap = heap;
    struct pending_entry *ring = malloc(capacity * sizeof *ring);
    if (ring == NULL) {
        return false;
    }
    copy_ring(pending, ring);
    for (uint32_t i = 0; i < pending->heap_count; i++) {
        heap[i] = slot_from_head(pending, heap[i]);
    }
    struct pending_list *lists[] = {&pending->outstanding, &pending->dead};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        lists[i]->first = slot_from_head(pending, lists[i]->first);
        lists[i]->last = slot_from_head(pending, lists[i]->last);
    }
    free(pending->ring);
    pending->ring = ring;
    pending->capacity = capacity;
    pending->head = 0;
    pending->hint = 0;
    return true;
}

uint32_t
pending_reserve(struct pending *pending, uint32_t n, uint32_t most)
{
    if (n <= pending->capacity - pending->count) {
        return n;
    }
    /* As many holes as entries: closing over them is paid for by those. */
    if (pending->count - pending->live >= pending->live) {
        pending_close_holes(pending);
    }
    uint32_t capacity =
        pending->capacity == 0 ? CAPACITY_MIN : pending->capacity;
    while (n > capacity - pending->count && capacity / 2 < most) {
        capacity *= 2;
    }
    if (capacity > pending->capacity && !grow(pending, capacity)) {
        pending_close_holes(pending);
    }
    uint32_t room = pending->capacity - pending->count;
    return n < room ? n : room;
}

/* ---- entries ------------------------------------------------------------- */

void
pending_append(struct pending *pending, uint64_t first, uint32_t n,
    uint16_t holder, uint64_t given, uint64_t now_ms)
{
    if (n == 0) {
        return;
    }
    uint32_t mask = pending->capacity - 1;
    uint32_t slot = (pending->head + pending->count) & mask;
    uint32_t before = pending->outstanding.last;
    if (before == PENDING_NIL) {
        pending->outstanding.first = slot;
    } else {
        pending->ring[before].after = slot;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t after = (slot + 1) & mask;
        pending->ring[slot] = (struct pending_entry){
            .sequence = first + i,
            .time_ms = now_ms,
            .given = given + i,
            .before = before,
            .after = after,
            .deliveries = 1,
            .holder = holder,
            .state = PENDING_OUTSTANDING,
        };
        before = slot;
        slot = after;
    }
    pending->ring[before].after = PENDING_NIL;
    pending->outstanding.last = before;
    pending->count += n;
    pending->live += n;
    pending->of_state[PENDING_OUTSTANDING] += n;
}

uint32_t
pending_find(const struct pending *pending, uint64_t sequence)
{
    if (pending->count == 0) {
        return 0;
    }
    uint32_t i = (pending->hint - pending->head) & (pending->capacity - 1);
    if (i < pending->count && pending_at(pending, i)->sequence == sequence) {
        return i;
    }
    uint64_t first = pending_at(pending, 0)->sequence;
    uint64_t last = pending_at(pending, pending->count - 1)->sequence;
    if (sequence <= first) {
        return 0;
    }
    if (sequence > last) {
        return pending->count;
    }
    /* Sequences rise by at least one: without holes in the stream, these two
     * bounds are one and the same. */
    uint32_t high = pending->count - 1;
    uint32_t low =
        last - sequence < high ? high - (uint32_t)(last - sequence) : 0;
    high = sequence - first < high ? (uint32_t)(sequence - first) : high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (pending_at(pending, middle)->sequence < sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct pending_entry *
pending_get(
    const struct pending *pending, uint64_t sequence, enum pending_state state)
{
    uint32_t i = pending_find(pending, sequence);
    if (i == pending->count) {
        return NULL;
    }
    struct pending_entry *entry = pending_at(pending, i);
    return entry->sequence == sequence && entry->state == state ? entry : NULL;
}

void
pending_move(struct pending *pending, struct pending_entry *entry,
    enum pending_state state)
{
    assert(entry->state != PENDING_FINISHED);
    struct pending_list *list = list_of(pending, entry->state);
    if (list != NULL) {
        list_remove(pending, list, entry);
    } else if (entry->state == PENDING_WAITING) {
        heap_remove(pending, entry);
    }
    pending->of_state[entry->state]--;
    entry->state = (uint8_t)state;
    if (state == PENDING_FINISHED) {
        pending->live--;
        pending->hint = (slot_of(pending, entry) + 1) & (pending->capacity - 1);
        return;
    }
    pending->of_state[state]++;
    list = list_of(pending, state);
    if (list != NULL) {
        list_add(pending, list, entry);
    } else if (state == PENDING_WAITING) {
        heap_add(pending, entry);
    }
}

void
pending_trim(struct pending *pending)
{
    while (pending->count > 0 &&
           pending_at(pending, 0)->state == PENDING_FINISHED) {
        pending->head = (pending->head + 1) & (pending->capacity - 1);
        pending->count--;
    }
}

void
pending_clear(struct pending *pending)
{
    struct pending empty = *pending;
    pending_init(pending);
    pending->ring = empty.ring;
    pending->heap = empty.heap;
    pending->capacity = empty.capacity;
}
