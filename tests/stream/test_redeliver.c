/* SPDX-License-Identifier: MIT
 *
 * What is delivered again: when, to whom, and what may come in between. */
#include "consumer_rig.h"

Test(consumer_redeliver, what_one_had_goes_to_others_at_once)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.backoff_count = 1;
    settings.backoff_ms[0] = 60000;
    rig_init(&rig, &settings);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 3, a);
    cr_assert_eq(consumer_ack(rig.consumer, a, 2, 2), 1);
    struct consumer_attachment *b = rig_attach(&rig, 50);
    rig_offer(&rig, 1, b);
    rig_detach(&rig, a);
    rig_redeliver(&rig, 1, b, 2);
    rig_redeliver(&rig, 3, b, 2);
    rig_redeliver_none(&rig);
    cr_assert_eq(rig_count(&rig, CONSUMER_RETURNED), 2);
    cr_assert_eq(consumer_ack(rig.consumer, b, 1, 4), 3);
    rig_fini(&rig);
}

Test(consumer_redeliver, the_list_of_delays_and_its_last)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.backoff_count = 2;
    settings.backoff_ms[0] = 100;
    settings.backoff_ms[1] = 500;
    rig_init(&rig, &settings);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    static const uint64_t delays[] = {100, 500, 500, 500};
    rig_offer(&rig, 1, a);
    for (uint32_t i = 0; i < 4; i++) {
        if (i % 2 == 0) {
            cr_assert_eq(consumer_nack(rig.consumer, a, 1, 1,
                             CONSUMER_DELAY_DEFAULT, rig.now_ms),
                1);
        } else {
            rig_pass(&rig, 1000, 1);
        }
        cr_assert_eq(consumer_due(rig.consumer), rig.now_ms + delays[i]);
        rig_pass(&rig, delays[i] - 1, 0);
        rig_redeliver_none(&rig);
        rig_pass(&rig, 1, 0);
        rig_redeliver(&rig, 1, a, i + 2);
    }
    rig_fini(&rig);
}

Test(consumer_redeliver, the_earliest_first_and_then_the_lowest)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 5, a);
    static const uint64_t delays[] = {300, 100, 300, 200, 100};
    for (uint64_t i = 5; i > 0; i--) {
        cr_assert_eq(
            consumer_nack(rig.consumer, a, i, i, delays[i - 1], rig.now_ms), 1);
    }
    rig_pass(&rig, 900, 0);
    static const uint64_t order[] = {2, 5, 4, 1, 3};
    for (int i = 0; i < 5; i++) {
        rig_redeliver(&rig, order[i], a, 2);
    }
    rig_fini(&rig);
}

/* New messages must not take the room each time while a record is fetched. */
Test(consumer_redeliver, its_room_is_kept_while_it_is_fetched)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 2);
    rig_offer(&rig, 2, a);
    cr_assert_eq(consumer_nack(rig.consumer, a, 1, 1, 0, rig.now_ms), 1);
    uint64_t due, other;
    uint32_t deliveries;
    cr_assert(consumer_next_redelivery(rig.consumer, rig.now_ms, &due));
    rig_offer_none(&rig);
    cr_assert_not(consumer_next_redelivery(rig.consumer, rig.now_ms, &other));
    cr_assert_eq(
        consumer_redeliver(rig.consumer, due, rig.now_ms, &deliveries), a);
    rig_offer_none(&rig);
    rig_fini(&rig);
}

Test(consumer_redeliver, without_room_it_waits_again)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 2);
    rig_offer(&rig, 2, a);
    cr_assert_eq(consumer_nack(rig.consumer, a, 1, 1, 0, rig.now_ms), 1);
    uint64_t due;
    uint32_t deliveries = 77;
    cr_assert(consumer_next_redelivery(rig.consumer, rig.now_ms, &due));
    rig_detach(&rig, a);
    cr_assert_null(
        consumer_redeliver(rig.consumer, due, rig.now_ms, &deliveries));
    cr_assert_eq(deliveries, 77);
    rig_check(&rig);
    /* No timer runs in circles for what nobody has room for. */
    cr_assert_eq(consumer_due(rig.consumer), CONSUMER_NEVER);
    struct consumer_attachment *b = rig_attach(&rig, 2);
    cr_assert_leq(consumer_due(rig.consumer), rig.now_ms);
    rig_redeliver(&rig, 1, b, 2);
    rig_redeliver(&rig, 2, b, 2);
    rig_fini(&rig);
}

Test(consumer_redeliver, what_is_gone_is_finished_and_counted)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 2, a);
    cr_assert_eq(consumer_nack(rig.consumer, a, 1, 1, 0, rig.now_ms), 1);
    consumer_gone(rig.consumer, 2, CONSUMER_SKIP_GONE); /* is outstanding */
    cr_assert_eq(rig_info(&rig).outstanding, 1);
    uint64_t due;
    cr_assert(consumer_next_redelivery(rig.consumer, rig.now_ms, &due));
    consumer_gone(rig.consumer, due, CONSUMER_SKIP_GONE);
    rig_check(&rig);
    cr_assert_eq(rig_count(&rig, CONSUMER_GONE + CONSUMER_SKIP_GONE), 1);
    cr_assert_eq(rig_info(&rig).floor, 2);
    rig_fini(&rig);
}

Test(consumer_redeliver, a_fetch_that_failed_is_tried_again)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 1, a);
    cr_assert_eq(consumer_nack(rig.consumer, a, 1, 1, 0, rig.now_ms), 1);
    uint64_t due;
    cr_assert(consumer_next_redelivery(rig.consumer, rig.now_ms, &due));
    consumer_fetch_failed(rig.consumer, due, 250, rig.now_ms);
    rig_redeliver_none(&rig);
    cr_assert_eq(consumer_due(rig.consumer), rig.now_ms + 250);
    rig_pass(&rig, 250, 0);
    rig_redeliver(&rig, 1, a, 2);
    cr_assert_eq(rig_count(&rig, CONSUMER_FETCH_FAILURES), 1);
    rig_fini(&rig);
}
