/* SPDX-License-Identifier: MIT
 *
 * Publish numbers and the ring of those that wait.
 */
#include <criterion/criterion.h>

#include "publishes.h"

Test(numbers, skip_zero)
{
    cr_assert_eq(publish_number_add(0xFFFFFFFFu, 1), 1);
    cr_assert_eq(publish_number_add(0xFFFFFFFEu, 1), 0xFFFFFFFFu);
    cr_assert_eq(publish_number_add(0xFFFFFFFEu, 2), 1);
    cr_assert_eq(publish_number_add(1, 0), 1);
    cr_assert_eq(publish_number_add(0xFFFFFFFFu, 0), 0xFFFFFFFFu);
    cr_assert_eq(publish_number_subtract(1, 1), 0xFFFFFFFFu);
    cr_assert_eq(publish_number_subtract(1, 0), 1);
    cr_assert_eq(publish_number_subtract(2, 2), 0xFFFFFFFFu);
    cr_assert_eq(publish_number_subtract(5, 4), 1);
    for (uint32_t n = 0; n < 1000; n++) {
        uint32_t a = publish_number_add(0xFFFFFE00u, n);
        cr_assert_neq(a, 0);
        cr_assert_eq(publish_number_subtract(a, n), 0xFFFFFE00u);
    }
}

Test(numbers, serial_comparison)
{
    cr_assert(publish_number_is_above(2, 1));
    cr_assert_not(publish_number_is_above(1, 1));
    cr_assert_not(publish_number_is_above(1, 2));
    cr_assert(publish_number_is_above(1, 0xFFFFFFFFu));
    cr_assert_not(publish_number_is_above(0xFFFFFFFFu, 1));
    cr_assert(publish_number_is_above(0x80000000u, 1));
    cr_assert_not(publish_number_is_above(0x80000001u, 1));
}

static void
push(struct publishes *publishes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cr_assert(publishes_reserve(publishes));
        struct publish_slot slot = {.offset = publishes_next_number(publishes)};
        publishes_push(publishes, &slot);
    }
}

/* Around the wrap, settled in a scattered order, the ring growing meanwhile. */
Test(publishes, finds_by_number_across_the_wrap)
{
    struct publishes publishes;
    publishes_init(&publishes);
    publishes_renumber(&publishes, 0xFFFFFFF0u);
    push(&publishes, 40);
    for (uint32_t i = 0; i < 40; i++) {
        uint32_t number = publish_number_add(0xFFFFFFF0u, i);
        struct publish_slot *slot = publishes_find(&publishes, number);
        cr_assert_not_null(slot);
        cr_assert_eq(slot->offset, number);
    }
    cr_assert_null(publishes_find(&publishes, 0));
    cr_assert_null(publishes_find(&publishes, 0xFFFFFFEFu));
    cr_assert_null(
        publishes_find(&publishes, publish_number_add(0xFFFFFFF0u, 40)));
    for (uint32_t i = 1; i < 40; i++) { /* all but the first */
        uint32_t number = publish_number_add(0xFFFFFFF0u, 1 + (i * 7) % 39);
        publishes_settle(&publishes, publishes_find(&publishes, number));
        cr_assert_null(publishes_find(&publishes, number));
    }
    cr_assert_eq(publishes.waiting, 1);
    cr_assert_eq(publishes.count, 40);
    push(&publishes, 100);
    cr_assert_eq(publishes.count, 140);
    publishes_settle(&publishes, publishes_find(&publishes, 0xFFFFFFF0u));
    cr_assert_eq(publishes.count, 100);
    cr_assert_eq(publishes.first_ordinal, 40);
    cr_assert_eq(publishes_next_ordinal(&publishes), 140);
    publishes_fini(&publishes);
}

Test(publishes, due_ones_are_taken_wherever_they_are)
{
    struct publishes publishes;
    struct publish_slot slot;
    uint64_t ordinal = 0;
    publishes_init(&publishes);
    push(&publishes, 4);
    publishes_mark_slot(&publishes, publishes_find(&publishes, 1), PUBLISH_DUE);
    publishes_mark_slot(&publishes, publishes_find(&publishes, 3), PUBLISH_DUE);
    cr_assert(publishes_take_due(&publishes, &ordinal, &slot));
    cr_assert_eq(slot.offset, 1);
    cr_assert_eq(publishes.count, 3);
    cr_assert(publishes_take_due(&publishes, &ordinal, &slot));
    cr_assert_eq(slot.offset, 3);
    cr_assert_eq(publishes.count, 3, "one that waits is in front of it");
    cr_assert_not(publishes_take_due(&publishes, &ordinal, &slot));
    cr_assert(publishes_take_waiting(&publishes, &slot));
    cr_assert_eq(slot.offset, 2);
    cr_assert(publishes_take_waiting(&publishes, &slot));
    cr_assert_eq(slot.offset, 4);
    cr_assert_eq(publishes.waiting, 0);
    cr_assert_not(publishes_take_waiting(&publishes, &slot));
    publishes_fini(&publishes);
}
