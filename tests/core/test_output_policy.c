/* SPDX-License-Identifier: MIT
 *
 * The data lane at the edge of its budget: which messages go, and that what is
 * missing is reported in its place. PROTOCOL.md sections 4.13 and 5.6. */
#include "output_rig.h"

#include <criterion/criterion.h>

enum { A = 1, B = 2, C = 4, D = 8 };

/* What n messages of this much payload cost in a segment of their own. */
static uint64_t
cost(uint32_t n, size_t payload_bytes)
{
    return n * (12 + 4 + 6 + payload_bytes) + sizeof(struct segment);
}

static const enum broker_overflow mixed[RIG_SUBSCRIPTIONS] = {
    BROKER_OVERFLOW_DROP_OLDEST, BROKER_OVERFLOW_DROP_NEWEST,
    BROKER_OVERFLOW_DISCONNECT, BROKER_OVERFLOW_DROP_OLDEST};

Test(output_policy, what_fits_is_delivered_without_a_gap)
{
    struct rig *rig =
        rig_new_simple(cost(10, 100), BROKER_OVERFLOW_DROP_OLDEST);
    cr_assert_eq(rig_append(rig, A, 10, 100), OUTPUT_QUEUED);
    rig_finish(rig);
    cr_assert_eq(rig->gap_frames, 0);
    cr_assert_eq(rig->context_frames, 1);
    cr_assert_eq(rig->readers[0].received, 10);
    rig_free(rig);
}

Test(output_policy, oldest_goes_and_leaves_a_gap_before_the_rest)
{
    struct rig *rig = rig_new_simple(cost(5, 100), BROKER_OVERFLOW_DROP_OLDEST);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(rig_append(rig, A, 1, 100), OUTPUT_QUEUED);
    }
    rig_finish(rig);
    cr_assert_eq(rig->gap_frames, 1);
    /* An extended run still has to leave room for a segment. */
    uint64_t received = rig->readers[0].received;
    cr_assert(received == 4 || received == 5);
    cr_assert_eq(rig->readers[0].missing, 20 - received);
    cr_assert_eq(
        rig->subscriptions[0].books.dropped[DROP_OVERFLOW], 20 - received);
    cr_assert_eq(rig->output.dropped, 20 - received);
    cr_assert_eq(rig->output.delivered, received);
    rig_free(rig);
}

Test(output_policy, newest_is_refused_and_leaves_a_gap_behind)
{
    struct rig *rig = rig_new_simple(cost(5, 100), BROKER_OVERFLOW_DROP_NEWEST);
    for (uint32_t i = 0; i < 20; i++) {
        enum output_result want = i < 4 ? OUTPUT_QUEUED : OUTPUT_REFUSED;
        /* An extended run still has to leave room for a segment. */
        cr_assert(rig_append(rig, A, 1, 100) == want || i == 4);
    }
    uint64_t kept = rig->output.messages;
    cr_assert_geq(kept, 4);
    rig_take_all(rig, SIZE_MAX);
    cr_assert_eq(rig->readers[0].received, kept);
    cr_assert_eq(rig->readers[0].missing, 20 - kept);
    cr_assert_eq(rig->gap_frames, 1);
    cr_assert_eq(rig_append(rig, A, 1, 100), OUTPUT_QUEUED);
    rig_finish(rig);
    cr_assert_eq(rig->gap_frames, 1);
    rig_free(rig);
}

Test(output_policy, a_gap_of_the_newest_stands_between_messages)
{
    struct rig *rig =
        rig_new_simple(cost(2, 100) + 200, BROKER_OVERFLOW_DROP_NEWEST);
    cr_assert_eq(rig_append(rig, A, 2, 100), OUTPUT_QUEUED);
    cr_assert_eq(rig_append(rig, A, 1, 300), OUTPUT_REFUSED);
    cr_assert_eq(rig_append(rig, A, 1, 20), OUTPUT_QUEUED);
    cr_assert_eq(rig->output.count, 3);
    rig_finish(rig);
    cr_assert_eq(rig->gap_frames, 1);
    cr_assert_eq(rig->readers[0].received, 3);
    rig_free(rig);
}

/* Also where the next message follows the last one that was queued in memory,
 * because the one between them came by another block. */
Test(output_policy, a_run_does_not_go_on_past_a_gap)
{
    struct rig *rig = rig_new_simple(1u << 20, BROKER_OVERFLOW_DROP_NEWEST);
    cr_assert_eq(rig_append(rig, A, 1, 100), OUTPUT_QUEUED);
    struct block *first = block_ref(rig->block);
    rig_next_block(rig);
    rig_refuse(rig, A | B, 1, 100, BROKER_GAP_TOO_LARGE);
    block_unref(rig->block);
    rig->block = first;
    cr_assert_eq(rig_append(rig, A, 1, 100), OUTPUT_QUEUED);
    rig_finish(rig);
    cr_assert_eq(rig->gap_frames, 1);
    rig_free(rig);
}

Test(output_policy, disconnect_says_so_and_counts)
{
    struct rig *rig = rig_new_simple(cost(2, 100), BROKER_OVERFLOW_DISCONNECT);
    cr_assert_eq(rig_append(rig, A, 2, 100), OUTPUT_QUEUED);
    cr_assert_eq(rig_append(rig, A, 3, 100), OUTPUT_DISCONNECT);
    cr_assert_eq(rig->subscriptions[0].books.dropped[DROP_OVERFLOW], 3);
    output_drop_data(&rig->output);
    rig_check(rig);
    cr_assert_eq(rig->subscriptions[0].books.dropped[DROP_CLOSED], 2);
    cr_assert(output_is_empty(&rig->output));
    rig_free(rig);
}

Test(output_policy, the_most_preserving_policy_of_a_set_wins)
{
    struct rig *rig = rig_new(cost(2, 100), mixed);
    cr_assert_eq(rig_append(rig, A | B, 2, 100), OUTPUT_QUEUED);
    cr_assert_eq(rig_append(rig, A | B, 1, 100), OUTPUT_REFUSED);
    cr_assert_eq(rig_append(rig, A | B | C, 1, 100), OUTPUT_DISCONNECT);
    rig_finish(rig);
    cr_assert_eq(rig->readers[0].received, 2);
    cr_assert_eq(rig->readers[0].missing, 2);
    rig_free(rig);
}

Test(output_policy, behind_what_is_kept_the_oldest_leaves_its_gap_in_place)
{
    struct rig *rig = rig_new(cost(2, 100) * 3, mixed);
    cr_assert_eq(rig_append(rig, B, 2, 100), OUTPUT_QUEUED); /* kept */
    cr_assert_eq(rig_append(rig, A, 2, 100), OUTPUT_QUEUED); /* goes */
    cr_assert_eq(rig_append(rig, B, 2, 100), OUTPUT_QUEUED); /* kept */
    cr_assert_eq(rig_append(rig, A, 1, 100), OUTPUT_QUEUED);
    cr_assert_eq(rig->output.count, 4);
    rig_finish(rig);
    cr_assert_eq(rig->readers[0].received, 1);
    cr_assert_eq(rig->readers[0].missing, 2);
    cr_assert_eq(rig->readers[1].received, 4);
    cr_assert_eq(rig->gap_frames, 1);
    rig_free(rig);
}

Test(output_policy, neighbouring_gaps_of_one_set_become_one)
{
    struct rig *rig = rig_new(cost(1, 100) * 6, mixed);
    rig_append(rig, B, 1, 100);
    for (int i = 0; i < 4; i++) {
        rig_append(rig, A, 1, 100);
        rig_next_block(rig); /* so that each is a segment of its own */
    }
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(rig_append(rig, D, 1, 150), OUTPUT_QUEUED);
    }
    rig_finish(rig);
    cr_assert_leq(rig->gap_frames, 2);
    rig_free(rig);
}

Test(output_policy, only_as_many_frames_go_as_must)
{
    struct rig *rig =
        rig_new_simple(cost(100, 100), BROKER_OVERFLOW_DROP_OLDEST);
    cr_assert_eq(rig_append(rig, A, 100, 100), OUTPUT_QUEUED);
    cr_assert_eq(rig_append(rig, B, 1, 100), OUTPUT_QUEUED);
    rig_finish(rig);
    cr_assert_eq(rig->readers[1].received, 1);
    cr_assert_leq(rig->readers[0].missing, 2);
    rig_free(rig);
}

Test(output_policy, reasons_are_not_mixed)
{
    struct rig *rig = rig_new_simple(cost(2, 100), BROKER_OVERFLOW_DROP_NEWEST);
    rig_append(rig, A, 2, 100);
    rig_refuse(rig, A, 1, 100, BROKER_GAP_TOO_LARGE);
    rig_append(rig, A, 1, 100); /* overflow */
    rig_refuse(rig, A, 2, 100, BROKER_GAP_TOO_LARGE);
    rig_finish(rig);
    cr_assert_eq(rig->gap_frames, 3);
    cr_assert_eq(rig->readers[0].missing, 4);
    rig_free(rig);
}

Test(output_policy, gaps_of_several_sets_are_all_reported)
{
    struct rig *rig = rig_new_simple(cost(3, 100), BROKER_OVERFLOW_DROP_OLDEST);
    for (uint32_t i = 0; i < 60; i++) {
        rig_append(rig, 1 + i % 15, 1, 100);
    }
    rig_finish(rig);
    cr_assert_gt(rig->gap_frames, 5);
    rig_free(rig);
}

Test(output_policy, a_message_larger_than_the_budget_is_refused)
{
    static const enum broker_overflow policies[] = {
        BROKER_OVERFLOW_DROP_OLDEST, BROKER_OVERFLOW_DROP_NEWEST};
    for (int p = 0; p < 2; p++) {
        struct rig *rig = rig_new_simple(1000, policies[p]);
        rig_append(rig, A, 1, 100);
        cr_assert_eq(rig_append(rig, A, 1, 1000), OUTPUT_REFUSED);
        cr_assert_eq(rig_append(rig, A, 1, 100), OUTPUT_QUEUED);
        rig_finish(rig);
        rig_free(rig);
    }
}

Test(output_policy, steady_overload_behind_a_kept_message_goes_on)
{
    struct rig *rig = rig_new(64 * 1024, mixed);
    rig_append(rig, B, 1, 100);
    for (int i = 0; i < 3000; i++) {
        cr_assert_eq(rig_append(rig, A, 1, 200), OUTPUT_QUEUED, "at %d", i);
        if (i % 100 == 0) {
            rig_next_block(rig);
        }
        cr_assert_leq(rig->output.count, 1000, "the ring fills with holes");
    }
    rig_finish(rig);
    rig_free(rig);
}

Test(output_policy, control_frames_overtake_messages)
{
    struct rig *rig = rig_new_simple(cost(9, 100), BROKER_OVERFLOW_DROP_OLDEST);
    rig_append(rig, A, 5, 100);
    rig_control(rig, 1);
    rig_take(rig, 20);
    cr_assert_eq(rig->control_frames, 1);
    cr_assert_eq(rig->readers[0].received, 0);
    rig_finish(rig);
    rig_free(rig);
}

Test(output_policy, context_is_sent_when_it_changes_and_only_then)
{
    struct rig *rig =
        rig_new_simple(cost(99, 100), BROKER_OVERFLOW_DROP_OLDEST);
    for (int i = 0; i < 3; i++) {
        rig_append(rig, A, 2, 100);
        rig_append(rig, A, 2, 100);
    }
    rig_append(rig, A | B, 2, 100);
    rig_append(rig, A, 2, 100);
    rig_take_all(rig, SIZE_MAX);
    cr_assert_eq(rig->context_frames, 3);
    rig_append(rig, A, 2, 100);
    rig_finish(rig);
    cr_assert_eq(rig->context_frames, 3);
    rig_free(rig);
}

Test(output_policy, a_gap_does_not_change_the_context)
{
    struct rig *rig = rig_new_simple(cost(3, 100), BROKER_OVERFLOW_DROP_OLDEST);
    rig_append(rig, A, 1, 100);
    rig_take_all(rig, SIZE_MAX);
    rig_refuse(rig, B, 1, 100, BROKER_GAP_TOO_LARGE);
    rig_append(rig, A, 1, 100);
    rig_finish(rig);
    cr_assert_eq(rig->context_frames, 1);
    cr_assert_eq(rig->gap_frames, 1);
    rig_free(rig);
}

Test(output_policy, what_is_shed_is_reported_too)
{
    struct rig *rig = rig_new(2000, mixed);
    rig_append(rig, A, 3, 100);
    rig_append(rig, B | C, 2, 100);
    rig_refuse(rig, B, 1, 100, BROKER_GAP_TOO_LARGE);
    rig_append(rig, B, 2, 100);
    rig_refuse(rig, A, 1, 100, BROKER_GAP_TOO_LARGE);
    rig_take(rig, 50);
    output_shed(&rig->output);
    rig_check(rig);
    cr_assert_eq(rig->output.bytes, 0);
    rig_append(rig, A | B, 1, 100);
    rig_finish(rig);
    cr_assert_eq(rig->readers[0].missing, 3);
    cr_assert_eq(rig->readers[1].missing, 5);
    rig_free(rig);
}
