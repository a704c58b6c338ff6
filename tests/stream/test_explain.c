/* SPDX-License-Identifier: MIT
 *
 * Why nothing is being delivered, in the order of what matters. */
#include "consumer_rig.h"

static struct consumer_reason reasons[8];

/* The reasons are these, in this order; CONSUMER_WHY_READING + 1 ends. */
#define END (CONSUMER_WHY_READING + 1)
static void
expect_reasons(struct rig *rig, uint64_t last_seq, const int *why)
{
    size_t count =
        consumer_explain(rig->consumer, last_seq, rig->now_ms, reasons, 8);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq((int)reasons[i].why, why[i], "reason %zu is %d", i,
            (int)reasons[i].why);
    }
    cr_assert_eq(why[count], END, "%zu reasons", count);
}
#define EXPECT_REASONS(rig, last_seq, ...)                                     \
    expect_reasons(rig, last_seq, (const int[]){__VA_ARGS__, END})

Test(consumer_explain, nobody_and_nothing)
{
    struct rig rig;
    rig_init(&rig, NULL);
    EXPECT_REASONS(&rig, 0, CONSUMER_WHY_NOBODY, CONSUMER_WHY_CAUGHT_UP);
    EXPECT_REASONS(&rig, 7, CONSUMER_WHY_NOBODY);
    struct consumer_attachment *a = rig_attach(&rig, 2);
    EXPECT_REASONS(&rig, 7, CONSUMER_WHY_READING);
    cr_assert_eq(reasons[0].sequence, 1);
    cr_assert_eq(reasons[0].messages, 7);
    cr_assert(consumer_skip(rig.consumer, 1, 7, CONSUMER_SKIP_FILTER));
    EXPECT_REASONS(&rig, 7, CONSUMER_WHY_NO_MATCH, CONSUMER_WHY_CAUGHT_UP);
    cr_assert_eq(reasons[0].messages, 7);
    cr_assert_eq(reasons[0].sequence, 7);
    consumer_set_window(rig.consumer, a, 0);
    EXPECT_REASONS(&rig, 8, CONSUMER_WHY_PAUSED, CONSUMER_WHY_NO_MATCH);
    cr_assert_eq(reasons[0].owner, &rig);
    rig_fini(&rig);
}

Test(consumer_explain, windows_that_are_full)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.window = 3;
    rig_init(&rig, &settings);
    struct consumer_attachment *a = rig_attach(&rig, 2);
    rig_offer(&rig, 1, a);
    rig_pass(&rig, 300, 0);
    rig_offer(&rig, 1, a);
    EXPECT_REASONS(&rig, 9, CONSUMER_WHY_FULL);
    cr_assert_eq(reasons[0].messages, 2);
    cr_assert_eq(reasons[0].limit, 2);
    cr_assert_eq(reasons[0].for_ms, 300);
    cr_assert_eq(reasons[0].sequence, 1);
    cr_assert_eq(reasons[0].owner, &rig);
    struct consumer_attachment *b = rig_attach(&rig, 50);
    rig_offer(&rig, 1, b);
    EXPECT_REASONS(&rig, 9, CONSUMER_WHY_WINDOW, CONSUMER_WHY_FULL);
    cr_assert_eq(reasons[0].messages, 3);
    cr_assert_eq(reasons[0].limit, 3);
    cr_assert_eq(consumer_explain(rig.consumer, 9, rig.now_ms, reasons, 1), 1);
    rig_fini(&rig);
}

Test(consumer_explain, what_waits)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 3, a);
    cr_assert_eq(consumer_nack(rig.consumer, a, 2, 3, 400, rig.now_ms), 2);
    rig.now_ms += 150;
    EXPECT_REASONS(&rig, 3, CONSUMER_WHY_WAITING, CONSUMER_WHY_CAUGHT_UP);
    cr_assert_eq(reasons[0].messages, 2);
    cr_assert_eq(reasons[0].sequence, 2);
    cr_assert_eq(reasons[0].in_ms, 250);
    rig_pass(&rig, 250, 0);
    uint64_t due;
    cr_assert(consumer_next_redelivery(rig.consumer, rig.now_ms, &due));
    EXPECT_REASONS(&rig, 3, CONSUMER_WHY_WAITING, CONSUMER_WHY_FETCHING,
        CONSUMER_WHY_CAUGHT_UP);
    cr_assert_eq(reasons[0].in_ms, 0);
    cr_assert_eq(reasons[1].messages, 1);
    rig_fini(&rig);
}

Test(consumer_explain, dead_letters_that_cannot_be_stored)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.window = 2;
    rig_init(&rig, &settings);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 2, a);
    cr_assert_eq(consumer_bury(rig.consumer, a, 1, 2), 2);
    EXPECT_REASONS(&rig, 9, CONSUMER_WHY_WINDOW, CONSUMER_WHY_STORING);
    cr_assert_eq(reasons[1].messages, 2);
    rig_dead(&rig, 1, 1);
    EXPECT_REASONS(&rig, 9, CONSUMER_WHY_WINDOW, CONSUMER_WHY_STORING);
    cr_assert_eq(reasons[1].messages, 2);
    consumer_dead_failed(rig.consumer, 1, rig.now_ms);
    rig_pass(&rig, 300, 0);
    EXPECT_REASONS(&rig, 9, CONSUMER_WHY_DEAD, CONSUMER_WHY_WINDOW);
    cr_assert_eq(reasons[0].messages, 2);
    cr_assert_eq(reasons[0].in_ms, CONSUMER_DEAD_RETRY_MS - 300);
    cr_assert_eq(reasons[0].sequence, 2);
    rig_fini(&rig);
}
