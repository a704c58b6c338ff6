/* SPDX-License-Identifier: MIT
 *
 * See outstanding.h.
 */
#include "outstanding.h"

#include <stdlib.h>
#include <string.h>

void
outstanding_fini(struct outstanding *outstanding)
{
    for (size_t i = 0; i < outstanding->capacity; i++) {
        sequences_fini(&outstanding->runs[i].set);
    }
    free(outstanding->runs);
    *outstanding = (struct outstanding){0};
}

void
outstanding_clear(struct outstanding *outstanding)
{
    for (size_t i = 0; i < outstanding->count; i++) {
        sequences_clear(&outstanding->runs[i].set);
    }
    outstanding->count = 0;
    outstanding->high = 0;
}

/* Those that have become empty go behind the others; the order of the others
 * stays. */
static void
drop_empty(struct outstanding *outstanding)
{
    size_t kept = 0;
    for (size_t i = 0; i < outstanding->count; i++) {
        if (outstanding->runs[i].set.count == 0) {
            continue;
        }
        if (i != kept) {
            struct outstanding_run run = outstanding->runs[i];
            outstanding->runs[i] = outstanding->runs[kept];
            outstanding->runs[kept] = run;
        }
        kept++;
    }
    outstanding->count = kept;
}

static struct outstanding_run *
new_run(struct outstanding *outstanding)
{
    if (outstanding->count == outstanding->capacity) {
        size_t capacity =
            outstanding->capacity == 0 ? 1 : outstanding->capacity * 2;
        struct outstanding_run *runs =
            realloc(outstanding->runs, capacity * sizeof *runs);
        if (runs == NULL) {
            return NULL;
        }
        memset(runs + outstanding->capacity, 0,
            (capacity - outstanding->capacity) * sizeof *runs);
        outstanding->runs = runs;
        outstanding->capacity = capacity;
    }
    struct outstanding_run *run = &outstanding->runs[outstanding->count];
    run->began = outstanding->high;
    return run;
}

bool
outstanding_add(struct outstanding *outstanding, uint64_t first, uint64_t last)
{
    struct outstanding_run *run =
        outstanding->count == 0 ? NULL
                                : &outstanding->runs[outstanding->count - 1];
    bool rises = run != NULL && first > run->high;
    if (first == last && (!rises || outstanding->count > 1) &&
        outstanding_has(outstanding, first)) {
        return true; /* it has been there all the time */
    }
    if (!rises) {
        run = new_run(outstanding);
    }
    if (run == NULL || !sequences_reserve(&run->set, 1)) {
        return false;
    }
    sequences_add(&run->set, first, last);
    run->high = last;
    outstanding->high = last > outstanding->high ? last : outstanding->high;
    outstanding->count = (size_t)(run - outstanding->runs) + 1;
    return true;
}

bool
outstanding_has(const struct outstanding *outstanding, uint64_t sequence)
{
    for (size_t i = 0; i < outstanding->count; i++) {
        if (sequences_has(&outstanding->runs[i].set, sequence)) {
            return true;
        }
    }
    return false;
}

int
outstanding_take(struct outstanding *outstanding, uint64_t sequence)
{
    int taken = 0;
    for (size_t i = 0; i < outstanding->count; i++) {
        if (!sequences_reserve(&outstanding->runs[i].set, 1)) {
            return taken > 0 ? taken : -1;
        }
        if (sequences_take(&outstanding->runs[i].set, sequence)) {
            taken = 1;
        }
    }
    if (outstanding->count > 1) {
        drop_empty(outstanding);
    }
    return taken;
}

/* How many runs had begun, as far as is certain, when it came. */
static size_t
runs_before(const struct outstanding *outstanding, uint64_t sequence)
{
    size_t count = outstanding->count;
    for (size_t i = count; i > 0; i--) {
        if (sequences_has(&outstanding->runs[i - 1].set, sequence)) {
            return i;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (sequence <= outstanding->runs[i].began) {
            return i; /* it may have come before that one */
        }
    }
    return count;
}

int64_t
outstanding_take_up_to(
    struct outstanding *outstanding, uint64_t sequence, struct sequences *to)
{
    size_t runs = runs_before(outstanding, sequence), ranges = 0;
    for (size_t i = 0; i < runs && to != NULL; i++) {
        ranges += sequences_ranges_up_to(&outstanding->runs[i].set, sequence);
    }
    if (to != NULL && !sequences_reserve(to, ranges + 1)) {
        return -1;
    }
    int64_t taken = 0;
    for (size_t i = 0; i < runs; i++) {
        taken += (int64_t)sequences_move_up_to(
            &outstanding->runs[i].set, to, sequence);
    }
    if (outstanding->count > 1) {
        drop_empty(outstanding);
    }
    return taken;
}
