/* SPDX-License-Identifier: MIT
 *
 * What an output keeps alive: slices pin whole blocks, and must not pin many
 * times what they hold. */
#include "output_rig.h"

#include <criterion/criterion.h>

#include <time.h>

enum { A = 1, B = 2, C = 4, D = 8 };

static const enum broker_overflow mixed[RIG_SUBSCRIPTIONS] = {
    BROKER_OVERFLOW_DROP_OLDEST, BROKER_OVERFLOW_DROP_NEWEST,
    BROKER_OVERFLOW_DISCONNECT, BROKER_OVERFLOW_DROP_OLDEST};

/* No more than this for so many bytes queued. */
static void
assert_bounded(const struct rig *rig)
{
    cr_assert_leq(rig->pool.bytes_in_use,
        rig->output.bytes * 4 + (1u << 20) + BLOCK_POOL_BYTES * 3,
        "%llu bytes are pinned for %llu",
        (unsigned long long)rig->pool.bytes_in_use,
        (unsigned long long)rig->output.bytes);
}

Test(output_memory, nothing_is_held_when_nothing_is_queued)
{
    struct rig *rig = rig_new_simple(1 << 20, BROKER_OVERFLOW_DROP_OLDEST);
    for (uint32_t i = 0; i < 50; i++) {
        rig_append(rig, 1 + i % 15, 2, 500);
    }
    cr_assert_not_null(rig->output.ring);
    rig_finish(rig);
    cr_assert_null(rig->output.ring);
    cr_assert_null(rig->output.compacted);
    cr_assert_null(rig->output.control.data);
    cr_assert_eq(rig->output.bytes, 0);
    rig_free(rig);
}

Test(output_memory, small_slices_of_many_blocks_are_copied_together)
{
    struct rig *rig = rig_new_simple(8 << 20, BROKER_OVERFLOW_DROP_OLDEST);
    for (int i = 0; i < 2000; i++) {
        rig_next_block(rig);
        rig_append(rig, i % 3 == 0 ? A : B, 1, 100);
        assert_bounded(rig);
    }
    rig_finish(rig);
    cr_assert_eq(rig->readers[0].received + rig->readers[1].received, 2000);
    rig_free(rig);
}

Test(output_memory, large_slices_stay_where_they_are)
{
    struct rig *rig = rig_new_simple(64 << 20, BROKER_OVERFLOW_DROP_OLDEST);
    for (int i = 0; i < 20; i++) {
        rig_next_block(rig);
        rig_append(rig, A, 2, 100000);
        assert_bounded(rig);
    }
    rig_finish(rig);
    rig_free(rig);
}

Test(output_memory, without_memory_for_copies_slices_stay_good)
{
    struct rig *rig = rig_new_simple(8 << 20, BROKER_OVERFLOW_DROP_OLDEST);
    for (int i = 0; i < 40; i++) {
        rig_next_block(rig);
        rig->pool.bytes_allowed = i > 2 ? rig->pool.bytes_in_use : UINT64_MAX;
        rig_append(rig, A, 1, 100);
        rig->pool.bytes_allowed = UINT64_MAX;
    }
    rig_finish(rig);
    cr_assert_eq(rig->readers[0].received, 40);
    rig_free(rig);
}

/* Few messages are kept, the many between them are dropped: what was copied
 * together does not stay whole for the sake of the few. */
Test(output_memory, sparse_survivors_do_not_pin_what_was_dropped)
{
    struct rig *rig = rig_new(200 * 1000, mixed);
    for (int i = 0; i < 4000; i++) {
        bool kept = i % 30 == 0;
        rig_next_block(rig);
        rig_append(rig, kept ? B : A, 1, kept ? 40 : 1000);
        assert_bounded(rig);
    }
    rig_finish(rig);
    rig_free(rig);
}

/* Work that is done again and again for nothing would show here: this takes
 * well under a second if appending costs about the same each time. */
Test(output_memory, gaps_between_kept_messages_cost_no_repeated_work)
{
    struct rig *rig = rig_new_simple(64 << 20, BROKER_OVERFLOW_DROP_NEWEST);
    struct context *context;
    struct subscription *set[1] = {&rig->subscriptions[0]};
    context = context_get(&rig->contexts, set, 1, false);
    rig_append(rig, A, 1, 8);
    struct output_run run = {.block = rig->block,
        .data = rig->frames[0],
        .bytes = rig->block->fill,
        .messages = 1};
    clock_t start = clock();
    for (int i = 0; i < 50000; i++) {
        output_refuse(
            &rig->output, context, &run, BROKER_GAP_TOO_LARGE, DROP_TOO_LARGE);
        cr_assert_eq(output_append(&rig->output, context, &run), OUTPUT_QUEUED);
    }
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    cr_assert_lt(seconds, 2.0, "%.1f s", seconds);
    context_unref(context);
    rig_free(rig);
}
