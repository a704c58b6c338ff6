/* SPDX-License-Identifier: MIT
 *
 * New messages: who gets them, and how many. */
#include "consumer_rig.h"

Test(consumer_deliver, as_many_as_the_windows_allow)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.window = 10;
    rig_init(&rig, &settings);
    rig_offer_none(&rig);
    struct consumer_attachment *a = rig_attach(&rig, 4);
    struct consumer_attachment *who;
    cr_assert_eq(consumer_room(rig.consumer), 4);
    cr_assert_eq(consumer_offer(rig.consumer, 1, 100, rig.now_ms, &who), 4);
    rig_offer_none(&rig);
    consumer_set_window(rig.consumer, a, 100);
    cr_assert_eq(consumer_room(rig.consumer), 6);
    cr_assert_eq(consumer_offer(rig.consumer, 5, 100, rig.now_ms, &who), 6);
    rig_offer_none(&rig);
    /* What waits has its place in the window still. */
    cr_assert_eq(consumer_nack(rig.consumer, a, 1, 1, 500, rig.now_ms), 1);
    rig_offer_none(&rig);
    cr_assert_eq(consumer_ack(rig.consumer, a, 2, 2), 1);
    rig_offer(&rig, 1, a);
    /* Nor does a smaller window take anything back. */
    consumer_set_window(rig.consumer, a, 1);
    rig_check(&rig);
    cr_assert_eq(consumer_outstanding(a), 9);
    cr_assert_eq(consumer_ack(rig.consumer, a, 3, 10), 8);
    cr_assert_eq(consumer_room(rig.consumer), 0);
    rig_fini(&rig);
}

Test(consumer_deliver, only_what_is_next)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 10), *who;
    rig_offer(&rig, 2, a);
    cr_assert_eq(consumer_offer(rig.consumer, 2, 1, rig.now_ms, &who), 0);
    cr_assert_eq(consumer_offer(rig.consumer, 4, 1, rig.now_ms, &who), 0);
    cr_assert_not(consumer_skip(rig.consumer, 4, 1, CONSUMER_SKIP_FILTER));
    cr_assert(
        consumer_skip(rig.consumer, 3, UINT64_C(1) << 40, CONSUMER_SKIP_GONE));
    cr_assert_eq(rig_offer(&rig, 1, a), 3 + (UINT64_C(1) << 40));
    cr_assert_eq(rig_count(&rig, CONSUMER_SKIPPED + CONSUMER_SKIP_GONE),
        UINT64_C(1) << 40);
    cr_assert_eq(
        consumer_ack(rig.consumer, a, 3 + (UINT64_C(1) << 40), UINT64_MAX), 1);
    cr_assert_eq(consumer_ack(rig.consumer, a, 1, 2), 2);
    rig_fini(&rig);
}

Test(consumer_deliver, the_least_busy_one_gets_it)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *all[3];
    for (int i = 0; i < 3; i++) {
        all[i] = rig_attach(&rig, 10);
    }
    /* In turn among equals. */
    for (int i = 0; i < 6; i++) {
        rig_offer(&rig, 1, all[i % 3]);
    }
    /* Also where nobody ever has more than one. */
    for (int i = 0; i < 6; i++) {
        cr_assert_eq(
            consumer_ack(rig.consumer, all[i % 3], 1, UINT64_MAX) > 0, i < 3);
    }
    for (int i = 0; i < 6; i++) {
        uint64_t sequence = rig_offer(&rig, 1, all[i % 3]);
        cr_assert_eq(
            consumer_ack(rig.consumer, all[i % 3], sequence, sequence), 1);
    }
    uint64_t from = consumer_next_sequence(rig.consumer);
    for (int i = 0; i < 6; i++) {
        rig_offer(&rig, 1, all[i % 3]);
    }
    cr_assert_eq(consumer_ack(rig.consumer, all[1], from + 1, from + 1), 1);
    rig_offer(&rig, 1, all[1]);
    /* One that is full gets none. */
    consumer_set_window(rig.consumer, all[0], 2);
    cr_assert_eq(consumer_ack(rig.consumer, all[2], from + 2, from + 2), 1);
    rig_offer(&rig, 1, all[2]);
    for (int i = 0; i < 4; i++) {
        struct consumer_attachment *who;
        uint64_t first = consumer_next_sequence(rig.consumer);
        cr_assert_eq(
            consumer_offer(rig.consumer, first, 1, rig.now_ms, &who), 1);
        cr_assert_neq(who, all[0]);
    }
    rig_fini(&rig);
}

Test(consumer_deliver, a_range_is_shared_evenly)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.window = 10000;
    rig_init(&rig, &settings);
    struct consumer_attachment *all[4];
    for (int i = 0; i < 4; i++) {
        all[i] = rig_attach(&rig, 1000);
    }
    rig_offer(&rig, 1, all[0]);
    uint64_t next = 2;
    int calls = 0;
    while (next < 2 + 1000) {
        struct consumer_attachment *who;
        next += consumer_offer(
            rig.consumer, next, (uint32_t)(1002 - next), rig.now_ms, &who);
        cr_assert(calls++ < 100);
        rig_check(&rig);
    }
    for (int i = 0; i < 4; i++) {
        cr_assert(consumer_outstanding(all[i]) >= 245 &&
                  consumer_outstanding(all[i]) <= 256);
    }
    rig_fini(&rig);
}

Test(consumer_deliver, memory_is_bounded_whatever_is_never_acknowledged)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.window = 1000;
    rig_init(&rig, &settings);
    struct consumer_attachment *a = rig_attach(&rig, 1000);
    uint64_t stuck = rig_offer(&rig, 1, a);
    for (int i = 0; i < 300; i++) {
        struct consumer_attachment *who;
        uint64_t first = consumer_next_sequence(rig.consumer);
        cr_assert_eq(
            consumer_offer(rig.consumer, first, 999, rig.now_ms, &who), 999);
        cr_assert_eq(consumer_ack(rig.consumer, a, first, first + 998), 999);
    }
    rig_check(&rig);
    cr_assert_eq(rig_info(&rig).floor, stuck);
    cr_assert(rig_info(&rig).memory_bytes < 72 * 1024 + 2048);
    /* A cursor does not walk over holes each time. */
    uint8_t bytes[1024];
    (void)consumer_save(rig.consumer, NULL, 0, bytes, sizeof bytes);
    cr_assert_eq(rig.consumer->pending.count, 1);
    rig_fini(&rig);
}

Test(consumer_deliver, as_large_as_it_gets)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.window = CONSUMER_WINDOW_MAX;
    rig_init(&rig, &settings);
    struct consumer_attachment *a = rig_attach(&rig, CONSUMER_WINDOW_MAX);
    rig_offer(&rig, CONSUMER_WINDOW_MAX, a);
    rig_offer_none(&rig);
    for (uint64_t i = 1; i <= CONSUMER_WINDOW_MAX; i += 2) {
        cr_assert_eq(consumer_ack(rig.consumer, a, i, i), 1);
    }
    rig_offer(&rig, CONSUMER_WINDOW_MAX / 2, a);
    cr_assert(rig_info(&rig).memory_bytes < 5800 * 1024);
    rig_restart(&rig);
    cr_assert_eq(rig_info(&rig).waiting, CONSUMER_WINDOW_MAX);
    rig_fini(&rig);
}

Test(consumer_deliver, as_many_attachments_as_there_may_be)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *first = rig_attach(&rig, 1);
    for (uint32_t i = 1; i < CONSUMER_ATTACHMENTS_MAX; i++) {
        cr_assert_not_null(consumer_attach(rig.consumer, NULL, 1));
    }
    cr_assert_null(consumer_attach(rig.consumer, NULL, 1));
    rig_detach(&rig, first);
    (void)rig_attach(&rig, 1);
    rig_fini(&rig);
}

Test(consumer_deliver, cumulative_is_for_one_at_a_time)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.mode = CONSUMER_ACK_CUMULATIVE;
    rig_init(&rig, &settings);
    struct consumer_attachment *a = rig_attach(&rig, 2);
    struct consumer_attachment *b = rig_attach(&rig, 50);
    struct consumer_attachment *c = rig_attach(&rig, 50);
    rig_offer(&rig, 2, a);
    rig_offer_none(&rig);
    struct consumer_reason reasons[4];
    cr_assert_eq(consumer_explain(rig.consumer, 9, rig.now_ms, reasons, 4), 3);
    cr_assert_eq(reasons[0].why, CONSUMER_WHY_FULL);
    cr_assert_eq(reasons[1].why, CONSUMER_WHY_STANDBY);
    cr_assert_eq(reasons[2].why, CONSUMER_WHY_STANDBY);
    consumer_set_window(rig.consumer, b, 1);
    rig_offer_none(&rig);
    /* In the order in which they came. */
    rig_detach(&rig, a);
    rig_redeliver(&rig, 1, b, 2);
    rig_redeliver_none(&rig);
    struct consumer_attachment *d = rig_attach(&rig, 50);
    rig_detach(&rig, d);
    rig_redeliver_none(&rig);
    rig_detach(&rig, b);
    rig_redeliver(&rig, 1, c, 3);
    rig_redeliver(&rig, 2, c, 2);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, c, 2), 2);
    rig_fini(&rig);
}

Test(consumer_deliver, a_reset_goes_back_or_forward)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 10, a);
    cr_assert_eq(consumer_nack(rig.consumer, a, 1, 2, 0, rig.now_ms), 2);
    cr_assert_eq(consumer_bury(rig.consumer, a, 3, 3), 1);
    uint64_t due;
    uint32_t deliveries;
    cr_assert(consumer_next_redelivery(rig.consumer, rig.now_ms, &due));
    consumer_reset(rig.consumer, 5);
    rig_check(&rig);
    cr_assert_null(
        consumer_redeliver(rig.consumer, due, rig.now_ms, &deliveries));
    cr_assert_eq(rig_count(&rig, CONSUMER_ABANDONED), 10);
    cr_assert_eq(consumer_outstanding(a), 0);
    cr_assert_eq(consumer_ack(rig.consumer, a, 1, 10), 0);
    cr_assert_eq(rig_offer(&rig, 1, a), 5);
    consumer_reset(rig.consumer, 1000);
    cr_assert_eq(rig_offer(&rig, 1, a), 1000);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 1000), 1);
    rig_fini(&rig);
}
