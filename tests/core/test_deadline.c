/* SPDX-License-Identifier: MIT
 *
 * The heap of deadlines, against a search through all. */
#include "deadline.h"
#include "random.h"

#include <criterion/criterion.h>

#define ENTRIES 200

/* The earliest time of all that are set. */
static uint64_t
earliest(const struct deadline *all, size_t *count)
{
    uint64_t due_ms = DEADLINE_NEVER;
    *count = 0;
    for (int i = 0; i < ENTRIES; i++) {
        if (all[i].slot != 0) {
            (*count)++;
            due_ms = all[i].due_ms < due_ms ? all[i].due_ms : due_ms;
        }
    }
    return due_ms;
}

Test(deadline, against_a_search)
{
    struct random random = {5};
    struct deadline_heap heap = {0};
    struct deadline all[ENTRIES] = {0};
    cr_assert(deadline_heap_reserve(&heap, ENTRIES));
    for (int i = 0; i < 30000; i++) {
        struct deadline *deadline = &all[random_below(&random, ENTRIES)];
        switch (random_below(&random, 4)) {
        case 0:
            deadline_clear(&heap, deadline);
            cr_assert_eq(deadline->slot, 0);
            break;
        case 1:
            if (deadline_first(&heap) != NULL) {
                deadline_clear(&heap, deadline_first(&heap));
            }
            break;
        default:
            deadline_set(&heap, deadline, random_below(&random, 1000));
            break;
        }
        size_t count;
        uint64_t due_ms = earliest(all, &count);
        const struct deadline *first = deadline_first(&heap);
        cr_assert_eq(heap.count, count);
        cr_assert_eq(first == NULL ? DEADLINE_NEVER : first->due_ms, due_ms);
        for (size_t slot = 0; slot < heap.count; slot++) {
            cr_assert_eq(heap.slots[slot]->slot, slot + 1);
        }
    }
    for (int i = 0; i < ENTRIES; i++) {
        deadline_set(&heap, &all[i], DEADLINE_NEVER);
    }
    deadline_heap_fini(&heap);
}

Test(deadline, what_is_cleared_is_never_due)
{
    struct deadline_heap heap = {0};
    struct deadline deadline = {0};
    cr_assert(deadline_heap_reserve(&heap, 1));
    deadline_clear(&heap, &deadline);
    deadline_set(&heap, &deadline, 5);
    deadline_set(&heap, &deadline, DEADLINE_NEVER);
    cr_assert_null(deadline_first(&heap));
    cr_assert_eq(deadline.due_ms, DEADLINE_NEVER);
    deadline_heap_fini(&heap);
}

Test(deadline, reserving_keeps_what_is_set)
{
    struct deadline_heap heap = {0};
    struct deadline all[100] = {0};
    for (uint32_t i = 0; i < 100; i++) {
        cr_assert(deadline_heap_reserve(&heap, i + 1));
        deadline_set(&heap, &all[i], 1000 - i);
    }
    for (uint32_t i = 100; i-- > 0;) {
        cr_assert_eq(deadline_first(&heap), &all[i]);
        deadline_clear(&heap, &all[i]);
    }
    deadline_heap_fini(&heap);
}
