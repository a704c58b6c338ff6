/* SPDX-License-Identifier: MIT
 *
 * Messages that are given up: dead letters. */
#include "consumer_rig.h"

Test(consumer_dead, the_last_delivery_that_comes_back_is_dead)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.max_deliveries = 3;
    rig_init(&rig, &settings);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 1, a);
    cr_assert_eq(consumer_nack(rig.consumer, a, 1, 1, 0, rig.now_ms), 1);
    rig_redeliver(&rig, 1, a, 2);
    rig_pass(&rig, 1000, 1);
    rig_redeliver(&rig, 1, a, 3);
    rig_detach(&rig, a);
    rig_redeliver_none(&rig);
    rig_dead(&rig, 1, 3);
    rig_dead_none(&rig);
    cr_assert_eq(rig_info(&rig).floor, 1);
    consumer_dead_done(rig.consumer, 1);
    cr_assert_eq(rig_info(&rig).floor, 2);
    cr_assert_eq(rig_count(&rig, CONSUMER_DEAD_LETTERED), 1);
    consumer_dead_done(rig.consumer, 1);
    cr_assert_eq(rig_count(&rig, CONSUMER_DEAD_LETTERED), 1);
    rig_fini(&rig);
}

Test(consumer_dead, buried_is_dead_at_once)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 3, a);
    cr_assert_eq(consumer_bury(rig.consumer, a, 2, 2), 1);
    cr_assert_eq(consumer_ack(rig.consumer, a, 2, 2), 0);
    cr_assert_eq(consumer_due(rig.consumer), rig.now_ms);
    rig_dead(&rig, 2, 1);
    consumer_dead_done(rig.consumer, 2);
    cr_assert_eq(consumer_ack(rig.consumer, a, 1, 3), 2);
    cr_assert_eq(rig_info(&rig).floor, 4);
    cr_assert_eq(rig_count(&rig, CONSUMER_BURIED), 1);
    rig_fini(&rig);
}

Test(consumer_dead, what_could_not_be_stored_is_tried_again)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 2, a);
    cr_assert_eq(consumer_bury(rig.consumer, a, 1, 2), 2);
    rig_dead(&rig, 1, 1);
    consumer_dead_failed(rig.consumer, 1, rig.now_ms);
    rig_dead_none(&rig);
    cr_assert_eq(
        consumer_due(rig.consumer), rig.now_ms + CONSUMER_DEAD_RETRY_MS);
    rig_pass(&rig, CONSUMER_DEAD_RETRY_MS - 1, 0);
    rig_dead_none(&rig);
    rig_pass(&rig, 1, 0);
    rig_dead(&rig, 2, 1);
    rig_dead(&rig, 1, 1);
    consumer_dead_done(rig.consumer, 2);
    consumer_dead_done(rig.consumer, 1);
    cr_assert_eq(rig_info(&rig).floor, 3);
    cr_assert_eq(rig_count(&rig, CONSUMER_DEAD_FAILURES), 1);
    rig_fini(&rig);
}

Test(consumer_dead, a_reset_forgets_that_it_failed)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 1, a);
    cr_assert_eq(consumer_bury(rig.consumer, a, 1, 1), 1);
    rig_dead(&rig, 1, 1);
    consumer_dead_failed(rig.consumer, 1, rig.now_ms);
    consumer_reset(rig.consumer, 1);
    rig_offer(&rig, 1, a);
    cr_assert_eq(consumer_bury(rig.consumer, a, 1, 1), 1);
    rig_dead(&rig, 1, 1);
    rig_fini(&rig);
}

Test(consumer_dead, without_a_topic_it_is_discarded_and_counted)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.dead_topic.len = 0;
    settings.max_deliveries = 1;
    rig_init(&rig, &settings);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 4, a);
    cr_assert_eq(consumer_bury(rig.consumer, a, 1, 1), 1);
    cr_assert_eq(consumer_nack(rig.consumer, a, 2, 2, 0, rig.now_ms), 1);
    rig_pass(&rig, 1000, 2);
    rig_dead_none(&rig);
    rig_redeliver_none(&rig);
    cr_assert_eq(rig_info(&rig).floor, 5);
    cr_assert_eq(rig_count(&rig, CONSUMER_DISCARDED), 4);
    rig_fini(&rig);
}

Test(consumer_dead, a_record_that_is_gone_is_not_stored)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 1, a);
    cr_assert_eq(consumer_bury(rig.consumer, a, 1, 1), 1);
    /* Not before it was asked for. */
    consumer_gone(rig.consumer, 1, CONSUMER_SKIP_EXPIRED);
    cr_assert_eq(rig_info(&rig).dead, 1);
    rig_dead(&rig, 1, 1);
    consumer_gone(rig.consumer, 1, CONSUMER_SKIP_EXPIRED);
    cr_assert_eq(rig_info(&rig).floor, 2);
    cr_assert_eq(rig_count(&rig, CONSUMER_GONE + CONSUMER_SKIP_EXPIRED), 1);
    rig_fini(&rig);
}

/* A dead letter and the cursor that knows of it are one commit; another cursor
 * in between must not know of it. */
Test(consumer_dead, only_its_own_commit_holds_it_as_done)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 3, a);
    cr_assert_eq(consumer_bury(rig.consumer, a, 2, 3), 2);
    rig_dead(&rig, 2, 1);
    rig_dead(&rig, 3, 1);
    uint8_t with[1024], without[1024];
    uint64_t stored[] = {2};
    size_t with_len = consumer_save(rig.consumer, stored, 1, with, sizeof with);
    size_t without_len =
        consumer_save(rig.consumer, NULL, 0, without, sizeof without);
    rig_fini(&rig);

    rig_init(&rig, NULL);
    cr_assert_eq(consumer_load(rig.consumer, with, with_len), CONSUMER_LOADED);
    rig_check(&rig);
    cr_assert_eq(rig_count(&rig, CONSUMER_DEAD_LETTERED), 1);
    rig_dead(&rig, 3, 1);
    rig_dead_none(&rig);
    rig_fini(&rig);

    rig_init(&rig, NULL);
    cr_assert_eq(
        consumer_load(rig.consumer, without, without_len), CONSUMER_LOADED);
    rig_dead(&rig, 2, 1);
    rig_dead(&rig, 3, 1);
    rig_fini(&rig);
}
