/* SPDX-License-Identifier: MIT
 *
 * Deadlines, and clocks that jump. */
#include "consumer_rig.h"

Test(consumer_time, a_deadline_takes_only_what_has_passed_it)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 1, a);
    rig_pass(&rig, 400, 0);
    rig_offer(&rig, 2, a);
    cr_assert_eq(consumer_due(rig.consumer), rig.now_ms + 600);
    rig_pass(&rig, 599, 0);
    rig_pass(&rig, 1, 1);
    cr_assert_eq(consumer_outstanding(a), 2);
    rig_redeliver(&rig, 1, a, 2);
    cr_assert_eq(consumer_due(rig.consumer), rig.now_ms + 400);
    rig_fini(&rig);
}

Test(consumer_time, touching_begins_anew)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 3, a);
    rig_pass(&rig, 900, 0);
    cr_assert_eq(consumer_touch(rig.consumer, a, 2, 2, rig.now_ms), 1);
    rig_pass(&rig, 100, 2);
    rig_pass(&rig, 899, 0);
    cr_assert_eq(consumer_touch(rig.consumer, a, 1, 9, rig.now_ms), 1);
    rig_pass(&rig, 999, 0);
    rig_pass(&rig, 1, 1);
    cr_assert_eq(rig_count(&rig, CONSUMER_TOUCHED), 2);
    rig_fini(&rig);
}

Test(consumer_time, without_a_deadline_nothing_comes_back)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.ack_deadline_ms = 0;
    rig_init(&rig, &settings);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 3, a);
    cr_assert_eq(consumer_due(rig.consumer), CONSUMER_NEVER);
    rig_pass(&rig, UINT64_C(1) << 50, 0);
    rig_fini(&rig);
}

Test(consumer_time, a_clock_that_goes_back_delays_nothing)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig.now_ms = UINT64_C(1) << 42;
    rig_offer(&rig, 1, a);
    rig_pass(&rig, 700, 0);
    rig.now_ms = 3;
    cr_assert_eq(consumer_tick(rig.consumer, rig.now_ms), 0);
    cr_assert_eq(consumer_due(rig.consumer), rig.now_ms + 300);
    rig_pass(&rig, 299, 0);
    rig_pass(&rig, 1, 1);
    rig_fini(&rig);
}

Test(consumer_time, edges_of_32_bits_and_of_64)
{
    static const uint64_t edges[] = {
        UINT32_MAX, (UINT64_C(1) << 63), UINT64_MAX - 5000};
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        rig_init(&rig, NULL);
        struct consumer_attachment *a = rig_attach(&rig, 50);
        rig.now_ms = edges[i] - 500;
        rig_offer(&rig, 1, a);
        cr_assert_eq(consumer_due(rig.consumer), rig.now_ms + 1000);
        rig_pass(&rig, 999, 0);
        rig_pass(&rig, 1, 1);
        rig_redeliver(&rig, 1, a, 2);
        rig_fini(&rig);
    }
}

Test(consumer_time, the_end_of_all_time_is_not_passed)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig.now_ms = 0;
    rig_offer(&rig, 1, a);
    rig_pass(&rig, UINT64_MAX, 1);
    rig_redeliver(&rig, 1, a, 2);
    rig.now_ms = 0;
    rig_pass(&rig, UINT64_MAX, 1);
    rig_redeliver(&rig, 1, a, 3);
    cr_assert_eq(consumer_ack(rig.consumer, a, 1, 1), 1);
    rig_fini(&rig);
}
