/* SPDX-License-Identifier: MIT
 *
 * Sets of sequences, beside a plain array of booleans.
 */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "sequences.h"

#define SPAN 64

TestSuite(sequences, .timeout = 20);

static void
expect_same(const struct sequences *set, const bool *model)
{
    size_t ranges = 0;
    uint64_t total = 0;
    for (uint64_t i = 0; i < SPAN; i++) {
        cr_assert_eq(sequences_has(set, i), model[i], "%u", (unsigned)i);
        ranges += model[i] && (i == 0 || !model[i - 1]);
        total += model[i];
    }
    cr_assert_eq(set->count, ranges, "they are joined where they touch");
    cr_assert_eq(sequences_total(set), total);
}

Test(sequences, they_are_a_set)
{
    struct sequences set = {0}, other = {0};
    bool model[SPAN] = {false}, other_model[SPAN] = {false};
    unsigned seed = 1;
    for (int step = 0; step < 20000; step++) {
        uint64_t a = (uint64_t)rand_r(&seed) % SPAN;
        uint64_t b = a + (uint64_t)rand_r(&seed) % (SPAN - a) % 5;
        cr_assert(sequences_reserve(&set, 1));
        switch (rand_r(&seed) % 5) {
        case 0:
        case 1:
            sequences_add(&set, a, b);
            for (uint64_t i = a; i <= b; i++) {
                model[i] = true;
            }
            break;
        case 2:
        case 3:
            cr_assert_eq(sequences_take(&set, a), model[a]);
            model[a] = false;
            break;
        default:
            a /= 4; /* or there is never much */
            cr_assert(
                sequences_reserve(&other, sequences_ranges_up_to(&set, a) + 1));
            uint64_t moved = 0;
            for (uint64_t i = 0; i <= a; i++) {
                moved += model[i];
                other_model[i] |= model[i];
                model[i] = false;
            }
            cr_assert_eq(sequences_move_up_to(&set, &other, a), moved);
            break;
        }
        expect_same(&set, model);
        expect_same(&other, other_model);
    }
    sequences_clear(&set);
    cr_assert_eq(sequences_total(&set), 0);
    sequences_fini(&set);
    sequences_fini(&other);
}

Test(sequences, the_last_sequence_that_there_can_be)
{
    struct sequences set = {0};
    cr_assert(sequences_reserve(&set, 3));
    sequences_add(&set, UINT64_MAX - 1, UINT64_MAX);
    sequences_add(&set, 0, 0);
    sequences_add(&set, UINT64_MAX, UINT64_MAX);
    cr_assert_eq(set.count, 2);
    cr_assert(sequences_take(&set, UINT64_MAX));
    cr_assert(sequences_has(&set, UINT64_MAX - 1));
    cr_assert_eq(sequences_move_up_to(&set, NULL, UINT64_MAX), 2);
    sequences_fini(&set);
}

/* A flow that is taken off in order needs no more room than what is there. */
Test(sequences, a_flow_takes_no_room)
{
    struct sequences set = {0};
    for (uint64_t i = 0; i < 100000; i++) {
        cr_assert(sequences_reserve(&set, 1));
        sequences_add(&set, 2 * i, 2 * i); /* nothing touches */
        if (i >= 10) {
            cr_assert(sequences_take(&set, 2 * (i - 10)));
        }
    }
    cr_assert_leq(set.capacity, 64);
    sequences_fini(&set);
}
