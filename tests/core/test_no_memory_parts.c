/* SPDX-License-Identifier: MIT
 *
 * Parts of the core whose next allocations all fail: what they promise not to
 * need memory for, and what they do without. */
#include "allocator.h"
#include "output_rig.h"

#include "table.h"

#include <criterion/criterion.h>

enum { A = 1, B = 2 };

/* From here on nothing is to be had. */
static void
memory_is_out(bool out)
{
    allocator.countdown = out ? 1 : 0;
    allocator.and_all_after = out;
    allocator_guard(out);
}

/* ---- tables -------------------------------------------------------------- */

/* A table that cannot grow fills its slots but one, where searches end. */
Test(no_memory_parts, a_table_that_cannot_grow)
{
    enum { MANY = 64 };
    struct table_link links[MANY];
    struct table table = {0};
    memory_is_out(true);
    cr_assert_not(table_insert(&table, &links[0], 0));
    memory_is_out(false);
    cr_assert(table_insert(&table, &links[0], 0));
    memory_is_out(true);
    uint32_t count = 1;
    while (count < MANY &&
           table_insert(&table, &links[count], (uint64_t)count << 1)) {
        count++;
    }
    memory_is_out(false);
    cr_assert_eq(count, table.slot_count - 1);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(table_first(&table, (uint64_t)i << 1), &links[i]);
    }
    cr_assert_null(table_first(&table, MANY << 1));
    cr_assert(table_insert(&table, &links[count], (uint64_t)count << 1));
    count++;
    for (uint32_t i = 0; i < count; i++) {
        table_remove(&table, &links[i]);
    }
    table_fini(&table);
}

/* ---- ending a subscription ----------------------------------------------- */

/* Messages for two, of which one ends; the smaller set cannot be made, so the
 * set itself becomes smaller. `cut` bytes have been taken by then. */
static void
end_one_of_two(size_t cut, bool out_before)
{
    struct rig *rig = rig_new_simple(1 << 20, BROKER_OVERFLOW_DROP_OLDEST);
    rig_append(rig, A | B, 2, 50);
    rig_refuse(rig, A | B, 3, 50, BROKER_GAP_TOO_LARGE);
    rig_append(rig, A | B, 1, 50);
    memory_is_out(out_before);
    if (cut > 0) {
        rig_take(rig, cut);
    }
    memory_is_out(true);
    rig_forget(rig, 1);
    memory_is_out(false);
    /* What is on its way names the ended one too: it has no books any more. */
    rig_take_all(rig, 7);
    cr_assert_eq(rig->decoded_bytes, rig->wire_bytes);
    cr_assert_eq(rig->readers[0].received, 3);
    cr_assert_eq(rig->readers[0].missing, 3);
    rig_free(rig);
}

Test(no_memory_parts, a_subscription_ends_wherever_the_wire_is)
{
    enum { CONTEXT_BYTES = 12 + 2 * 4 };
    for (size_t cut = 0; cut < 300; cut++) {
        end_one_of_two(cut, false);
        end_one_of_two(cut, true);
    }
}
