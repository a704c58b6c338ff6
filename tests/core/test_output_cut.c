/* SPDX-License-Identifier: MIT
 *
 * What the socket takes is cut at every byte, and then something happens.
 * PROTOCOL.md section 2: a frame that was begun is finished. */
#include "output_rig.h"

#include <criterion/criterion.h>

#include <stdlib.h>

enum { A = 1, B = 2, C = 4, D = 8 };

static const enum broker_overflow mixed[RIG_SUBSCRIPTIONS] = {
    BROKER_OVERFLOW_DROP_OLDEST, BROKER_OVERFLOW_DROP_NEWEST,
    BROKER_OVERFLOW_DISCONNECT, BROKER_OVERFLOW_DROP_OLDEST};

/* Control frames, leading, settled and trailing gaps, several contexts. */
static struct rig *
busy_rig(void)
{
    struct rig *rig = rig_new(1500, mixed);
    rig_append(rig, A, 3, 200);
    rig_append(rig, A | B, 1, 100);
    rig_append(rig, A, 2, 60);
    rig_refuse(rig, D, 2, 30, BROKER_GAP_TOO_LARGE);
    rig_append(rig, C, 1, 90);
    rig_append(rig, D, 2, 80);
    rig_append(rig, A, 3, 90);
    rig_append(rig, B, 1, 1200);
    rig_control(rig, 1);
    rig_control(rig, 2);
    return rig;
}

static size_t
busy_bytes(void)
{
    struct rig *rig = busy_rig();
    rig_finish(rig);
    size_t bytes = rig->wire_bytes;
    rig_free(rig);
    cr_assert_gt(bytes, 800);
    return bytes;
}

typedef void then(struct rig *rig);

/* Cut at every offset, do `then`, and go on in steps. */
static void
cut_everywhere(then *what, size_t step)
{
    size_t bytes = busy_bytes();
    for (size_t cut = 0; cut <= bytes; cut++) {
        struct rig *rig = busy_rig();
        while (
            rig->wire_bytes < cut && rig_take(rig, cut - rig->wire_bytes) > 0) {
        }
        what(rig);
        rig_check(rig);
        rig_take_all(rig, step);
        rig_finish(rig);
        rig_free(rig);
    }
}

static void
nothing(struct rig *rig)
{
    (void)rig;
}

Test(output_cut, and_taken_to_the_end)
{
    cut_everywhere(nothing, SIZE_MAX);
    cut_everywhere(nothing, 1);
    cut_everywhere(nothing, 13);
}

static void
more_comes(struct rig *rig)
{
    rig_append(rig, A, 2, 300);
    rig_control(rig, 3);
    rig_append(rig, B, 1, 100);
    rig_append(rig, D, 4, 200);
    rig_append(rig, C, 1, 1400);
}

Test(output_cut, and_more_comes)
{
    cut_everywhere(more_comes, SIZE_MAX);
    cut_everywhere(more_comes, 7);
}

static void
one_ends(struct rig *rig)
{
    rig_forget(rig, 0);
    rig_control(rig, 4);
    rig_append(rig, B, 1, 10);
}

Test(output_cut, and_a_subscription_ends)
{
    cut_everywhere(one_ends, SIZE_MAX);
    cut_everywhere(one_ends, 11);
}

static void
all_end(struct rig *rig)
{
    for (uint32_t i = 0; i < RIG_SUBSCRIPTIONS; i++) {
        rig_forget(rig, i);
    }
    cr_assert_eq(rig->output.count, 0);
    cr_assert_eq(rig->output.messages, 0);
}

Test(output_cut, and_all_subscriptions_end)
{
    cut_everywhere(all_end, SIZE_MAX);
    cut_everywhere(all_end, 5);
}

static void
data_is_dropped(struct rig *rig)
{
    output_drop_data(&rig->output);
    cr_assert_eq(rig->output.bytes, 0);
    for (uint32_t i = 0; i < RIG_SUBSCRIPTIONS; i++) {
        rig->readers[i].ended = true;
    }
    rig_control(rig, 5);
}

Test(output_cut, and_the_data_lane_is_dropped)
{
    cut_everywhere(data_is_dropped, SIZE_MAX);
    cut_everywhere(data_is_dropped, 3);
}

Test(output_cut, in_every_step_size_with_few_spans)
{
    size_t bytes = busy_bytes();
    for (size_t step = 1; step <= bytes;
         step = step < 70 ? step + 1 : step + 29) {
        for (size_t spans = 3; spans < 6; spans++) {
            struct rig *rig = busy_rig();
            rig->spans_max = spans;
            rig_take_all(rig, step);
            rig_finish(rig);
            rig_free(rig);
        }
    }
}

/* The rest of a large frame is kept where it stands, not copied. */
Test(output_cut, of_a_large_frame)
{
    for (size_t cut = 0; cut < 70000; cut += 997) {
        struct rig *rig = rig_new_simple(1 << 20, BROKER_OVERFLOW_DROP_OLDEST);
        rig_append(rig, A, 2, 60000);
        rig_append(rig, B, 1, 60000);
        rig_take(rig, cut + 1);
        uint64_t before = rig->output.messages;
        rig_forget(rig, 0);
        cr_assert_leq(rig->output.messages, before);
        rig_next_block(rig); /* the old one lives for the rest alone */
        rig_control(rig, 1);
        rig_take(rig, 1);
        rig_take_all(rig, 4096);
        rig_finish(rig);
        rig_free(rig);
    }
}

Test(output_cut, and_the_connection_goes)
{
    size_t bytes = busy_bytes();
    for (size_t cut = 0; cut <= bytes; cut += 3) {
        struct rig *rig = busy_rig();
        rig_take(rig, cut);
        rig_free(rig);
        rig = rig_new_simple(1 << 20, BROKER_OVERFLOW_DROP_OLDEST);
        rig_append(rig, A, 1, 50000);
        rig_take(rig, 100 + cut);
        rig_free(rig);
    }
}

/* A set that is another one after each step, cut anywhere. */
Test(output_cut, between_contexts)
{
    for (size_t step = 1; step < 90; step++) {
        struct rig *rig = rig_new_simple(8000, BROKER_OVERFLOW_DROP_OLDEST);
        for (uint32_t i = 0; i < 60; i++) {
            rig_append(rig, 1 + i % 15, 1, 4 + i);
            rig_take(rig, step);
        }
        rig_take_all(rig, step);
        rig_finish(rig);
        rig_free(rig);
    }
}
