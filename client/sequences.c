/* SPDX-License-Identifier: MIT
 *
 * See sequences.h.
 */
#include "sequences.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 8

void
sequences_fini(struct sequences *set)
{
    free(set->ranges);
    *set = (struct sequences){0};
}

void
sequences_clear(struct sequences *set)
{
    set->start = set->count = 0;
}

static struct sequence_range *
at(const struct sequences *set, size_t i)
{
    return &set->ranges[set->start + i];
}

const struct sequence_range *
sequences_at(const struct sequences *set, size_t i)
{
    assert(i < set->count);
    return at(set, i);
}

bool
sequences_reserve(struct sequences *set, size_t more)
{
    if (set->capacity - set->start - set->count >= more) {
        return true;
    }
    /* What was taken off the front is free again, but moving the rest there
     * each time would make that dear. */
    if (set->capacity - set->count >= more && set->start >= set->count) {
        memcpy(set->ranges, at(set, 0), set->count * sizeof *set->ranges);
        set->start = 0;
        return true;
    }
    size_t capacity = (set->count + more) * 2;
    capacity = capacity < CAPACITY_MIN ? CAPACITY_MIN : capacity;
    struct sequence_range *ranges = malloc(capacity * sizeof *ranges);
    if (ranges == NULL) {
        return false;
    }
    if (set->count > 0) {
        memcpy(ranges, at(set, 0), set->count * sizeof *ranges);
    }
    free(set->ranges);
    set->ranges = ranges;
    set->start = 0;
    set->capacity = capacity;
    return true;
}

/* The first range whose last is not below the sequence; count if none is. */
static size_t
find(const struct sequences *set, uint64_t sequence)
{
    size_t low = 0, high = set->count;
    if (high > 0 && at(set, high - 1)->last < sequence) {
        return high;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (at(set, middle)->last < sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void
insert(struct sequences *set, size_t i, struct sequence_range range)
{
    assert(set->start + set->count < set->capacity);
    memmove(at(set, i) + 1, at(set, i), (set->count - i) * sizeof range);
    *at(set, i) = range;
    set->count++;
}

/* Take out n ranges from the i-th on. */
static void
erase(struct sequences *set, size_t i, size_t n)
{
    if (i == 0) {
        set->start += n;
    } else {
        memmove(at(set, i), at(set, i + n),
            (set->count - i - n) * sizeof *set->ranges);
    }
    set->count -= n;
    if (set->count == 0) {
        set->start = 0;
    }
}

void
sequences_add(struct sequences *set, uint64_t first, uint64_t last)
{
    assert(first <= last);
    /* One that ends just before the new one is joined to it. */
    size_t i = find(set, first == 0 ? 0 : first - 1);
    size_t end = i;
    struct sequence_range joined = {first, last};
    while (end < set->count &&
           (last == UINT64_MAX || at(set, end)->first <= last + 1)) {
        const struct sequence_range *range = at(set, end);
        joined.first =
            range->first < joined.first ? range->first : joined.first;
        joined.last = range->last > joined.last ? range->last : joined.last;
        end++;
    }
    if (end == i) {
        insert(set, i, joined);
        return;
    }
    *at(set, i) = joined;
    if (end - i > 1) {
        erase(set, i + 1, end - i - 1);
    }
}

bool
sequences_has(const struct sequences *set, uint64_t sequence)
{
    size_t i = find(set, sequence);
    return i < set->count && at(set, i)->first <= sequence;
}

bool
sequences_take(struct sequences *set, uint64_t sequence)
{
    if (!sequences_has(set, sequence)) {
        return false;
    }
    size_t i = find(set, sequence);
    struct sequence_range *range = at(set, i);
    if (range->first == range->last) {
        erase(set, i, 1);
    } else if (range->first == sequence) {
        range->first++;
    } else if (range->last == sequence) {
        range->last--;
    } else {
        struct sequence_range behind = {sequence + 1, range->last};
        range->last = sequence - 1;
        insert(set, i + 1, behind);
    }
    return true;
}

size_t
sequences_ranges_up_to(const struct sequences *set, uint64_t sequence)
{
    size_t i = find(set, sequence);
    return i + (i < set->count && at(set, i)->first <= sequence);
}

uint64_t
sequences_move_up_to(
    struct sequences *from, struct sequences *to, uint64_t sequence)
{
    size_t n = sequences_ranges_up_to(from, sequence);
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t first = at(from, i)->first, last = at(from, i)->last;
        last = last < sequence ? last : sequence;
        total += last - first + 1;
        if (to != NULL) {
            sequences_add(to, first, last);
        }
    }
    if (n > 0 && at(from, n - 1)->last > sequence) {
        at(from, n - 1)->first = sequence + 1;
        n--;
    }
    if (n > 0) {
        erase(from, 0, n);
    }
    return total;
}

uint64_t
sequences_total(const struct sequences *set)
{
    uint64_t total = 0;
    for (size_t i = 0; i < set->count; i++) {
        total += at(set, i)->last - at(set, i)->first + 1;
    }
    return total;
}
