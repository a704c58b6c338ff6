/* SPDX-License-Identifier: MIT
 *
 * Who may acknowledge, give back, touch and bury what. */
#include "consumer_rig.h"

/* With one attachment. */
static struct consumer_attachment *
rig_init_cumulative(struct rig *rig)
{
    struct consumer_settings settings = rig_settings();
    settings.mode = CONSUMER_ACK_CUMULATIVE;
    rig_init(rig, &settings);
    return rig_attach(rig, 50);
}

Test(consumer_acks, each_ends_and_the_floor_rises)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 5, a);
    cr_assert_eq(consumer_ack(rig.consumer, a, 3, 3), 1);
    cr_assert_eq(rig_info(&rig).floor, 1);
    cr_assert_eq(consumer_ack(rig.consumer, a, 1, 2), 2);
    cr_assert_eq(rig_info(&rig).floor, 4);
    cr_assert_eq(consumer_ack(rig.consumer, a, 0, UINT64_MAX), 2);
    cr_assert_eq(rig_info(&rig).floor, 6);
    cr_assert_eq(rig_count(&rig, CONSUMER_ACKNOWLEDGED), 5);
    cr_assert_eq(consumer_outstanding(a), 0);
    rig_fini(&rig);
}

Test(consumer_acks, what_is_not_there_is_counted_and_changes_nothing)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    cr_assert_eq(consumer_ack(rig.consumer, a, 1, 1), 0);
    rig_offer(&rig, 2, a);
    cr_assert_eq(consumer_ack(rig.consumer, a, 3, 9), 0);
    cr_assert_eq(consumer_ack(rig.consumer, a, 2, 1), 0);
    cr_assert_eq(consumer_ack(rig.consumer, a, 1, 1), 1);
    cr_assert_eq(consumer_ack(rig.consumer, a, 1, 1), 0);
    cr_assert_eq(consumer_nack(rig.consumer, a, 1, 1, 0, rig.now_ms), 0);
    cr_assert_eq(consumer_touch(rig.consumer, a, 1, 1, rig.now_ms), 0);
    cr_assert_eq(consumer_bury(rig.consumer, a, 1, 1), 0);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 1), 0);
    cr_assert_eq(rig_count(&rig, CONSUMER_LATE), 8);
    cr_assert_eq(rig_info(&rig).outstanding, 1);
    rig_fini(&rig);
}

Test(consumer_acks, nobody_acknowledges_for_somebody_else)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 3, a);
    struct consumer_attachment *b = rig_attach(&rig, 50);
    rig_offer(&rig, 2, b);
    cr_assert_eq(consumer_ack(rig.consumer, b, 1, 5), 2);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, b, 5), 0);
    cr_assert_eq(consumer_outstanding(a), 3);
    rig_fini(&rig);
}

/* The decision about late acks: until somebody else has it. */
Test(consumer_acks, an_ack_after_the_deadline_spares_a_redelivery)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 3, a);
    rig_pass(&rig, 1000, 3);
    cr_assert_eq(consumer_ack(rig.consumer, a, 1, 1), 1);
    uint64_t due;
    uint32_t deliveries;
    /* Even while the record is being fetched. */
    cr_assert(consumer_next_redelivery(rig.consumer, rig.now_ms, &due));
    cr_assert_eq(due, 2);
    cr_assert_eq(consumer_ack(rig.consumer, a, 2, 2), 1);
    cr_assert_null(
        consumer_redeliver(rig.consumer, due, rig.now_ms, &deliveries));
    cr_assert_eq(rig_count(&rig, CONSUMER_LOST_RACE), 1);
    /* But not once another one has it. */
    consumer_set_window(rig.consumer, a, 0);
    struct consumer_attachment *b = rig_attach(&rig, 50);
    rig_redeliver(&rig, 3, b, 2);
    cr_assert_eq(consumer_ack(rig.consumer, a, 3, 3), 0);
    cr_assert_eq(rig_count(&rig, CONSUMER_LATE), 1);
    cr_assert_eq(consumer_ack(rig.consumer, b, 3, 3), 1);
    rig_fini(&rig);
}

Test(consumer_acks, what_was_given_back_is_not_acknowledged_by_accident)
{
    struct rig rig;
    struct consumer_attachment *a = rig_init_cumulative(&rig);
    rig_offer(&rig, 5, a);
    cr_assert_eq(consumer_nack(rig.consumer, a, 2, 2, 100, rig.now_ms), 1);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 4), 3);
    cr_assert_eq(rig_info(&rig).floor, 2);
    rig_pass(&rig, 100, 0);
    rig_redeliver(&rig, 2, a, 2);
    /* Below what was acknowledged before, and yet there. */
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 3), 0);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 2), 1);
    cr_assert_eq(rig_info(&rig).floor, 5);
    rig_fini(&rig);
}

/* Who names a message has seen what it got before that, and of what it got
 * later nobody knows. */
Test(consumer_acks, up_to_is_meant_in_the_order_of_the_deliveries)
{
    struct rig rig;
    struct consumer_attachment *a = rig_init_cumulative(&rig);
    rig_offer(&rig, 5, a);
    cr_assert_eq(consumer_nack(rig.consumer, a, 2, 3, 0, rig.now_ms), 2);
    rig_redeliver(&rig, 2, a, 2);
    rig_redeliver(&rig, 3, a, 2);
    rig_offer(&rig, 1, a);
    /* It may have been sent before 2 and 3 came again. */
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 4), 2);
    cr_assert_eq(rig_info(&rig).floor, 2);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 4), 0);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 5), 1);
    cr_assert_eq(rig_info(&rig).floor, 2);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 3), 2);
    cr_assert_eq(rig_info(&rig).floor, 6);
    /* 7 was never there: what is below it counts. */
    cr_assert(consumer_skip(rig.consumer, 7, 1, CONSUMER_SKIP_FILTER));
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 7), 1);
    rig_fini(&rig);
}

/* It was delivered before the reset, and what is below it after that. */
Test(consumer_acks, up_to_one_from_before_a_reset_is_for_nothing_after_it)
{
    struct rig rig;
    struct consumer_attachment *a = rig_init_cumulative(&rig);
    rig_offer(&rig, 9, a);
    consumer_reset(rig.consumer, 1);
    rig_offer(&rig, 5, a);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 9), 0);
    cr_assert_eq(consumer_outstanding(a), 5);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 5), 5);
    rig_fini(&rig);
}

/* It has had them all this time. */
Test(consumer_acks, up_to_takes_in_what_came_a_second_time)
{
    struct rig rig;
    struct consumer_attachment *a = rig_init_cumulative(&rig);
    rig_offer(&rig, 2, a);
    rig_pass(&rig, 1000, 2);
    rig_redeliver(&rig, 1, a, 2);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 2), 2);
    rig_fini(&rig);
}

/* The deadline was first: it comes again, and has to be looked at again. */
Test(consumer_acks, what_is_given_back_too_late_is_not_taken_for_seen)
{
    struct rig rig;
    struct consumer_attachment *a = rig_init_cumulative(&rig);
    rig_offer(&rig, 3, a);
    rig_pass(&rig, 1000, 3);
    cr_assert_eq(consumer_nack(rig.consumer, a, 1, 1, 0, rig.now_ms), 1);
    rig_redeliver(&rig, 1, a, 2);
    uint64_t due;
    uint32_t deliveries;
    cr_assert(consumer_next_redelivery(rig.consumer, rig.now_ms, &due));
    cr_assert_eq(due, 2);
    cr_assert_eq(consumer_nack(rig.consumer, a, 2, 2, 0, rig.now_ms), 1);
    cr_assert_eq(
        consumer_redeliver(rig.consumer, due, rig.now_ms, &deliveries), a);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 3), 1);
    cr_assert_eq(rig_info(&rig).floor, 1);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 2), 2);
    rig_fini(&rig);
}

/* 3 has ended; when it came, 1 had been given back. */
Test(consumer_acks, up_to_one_that_has_ended_leaves_what_came_again)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 3, a);
    cr_assert_eq(consumer_nack(rig.consumer, a, 1, 1, 0, rig.now_ms), 1);
    cr_assert_eq(consumer_bury(rig.consumer, a, 2, 3), 2);
    rig_redeliver(&rig, 1, a, 2);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 3), 0);
    cr_assert_eq(consumer_outstanding(a), 1);
    /* What has come since has come after it. */
    rig_offer(&rig, 2, a);
    cr_assert_eq(consumer_bury(rig.consumer, a, 5, 5), 1);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 5), 2);
    rig_fini(&rig);
}

/* What was never given back is known to have come in order. */
Test(consumer_acks, up_to_one_that_has_ended_takes_what_came_once)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 4, a);
    cr_assert_eq(consumer_nack(rig.consumer, a, 3, 3, 0, rig.now_ms), 1);
    cr_assert_eq(consumer_bury(rig.consumer, a, 4, 4), 1);
    rig_redeliver(&rig, 3, a, 2);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 4), 2);
    cr_assert_eq(rig_info(&rig).floor, 3);
    rig_fini(&rig);
}

/* Otherwise it would acknowledge what it has yet to get. */
Test(consumer_acks, cumulative_gives_again_before_anything_new)
{
    struct rig rig;
    struct consumer_attachment *a = rig_init_cumulative(&rig);
    rig_offer(&rig, 3, a);
    rig_restart(&rig);
    a = rig_attach(&rig, 50);
    cr_assert_eq(consumer_room(rig.consumer), 0);
    rig_redeliver(&rig, 1, a, 2);
    rig_redeliver(&rig, 2, a, 2);
    rig_offer_none(&rig);
    rig_redeliver(&rig, 3, a, 2);
    rig_offer(&rig, 1, a);
    cr_assert_eq(consumer_ack_up_to(rig.consumer, a, 4), 4);
    rig_fini(&rig);
}

Test(consumer_acks, nothing_is_kept_without_acknowledgements)
{
    struct rig rig;
    struct consumer_settings settings = {
        .start = 1, .mode = CONSUMER_ACK_NONE, .window = 1};
    rig_init(&rig, &settings);
    cr_assert_eq(consumer_room(rig.consumer), 0);
    rig_offer_none(&rig);
    struct consumer_attachment *a = rig_attach(&rig, 1);
    cr_assert_eq(consumer_room(rig.consumer), UINT32_MAX);
    rig_offer(&rig, 1000000, a);
    cr_assert_eq(consumer_ack(rig.consumer, a, 1, 1), 0);
    consumer_set_window(rig.consumer, a, 0);
    rig_offer_none(&rig);
    rig_detach(&rig, a);
    rig_redeliver_none(&rig);
    cr_assert_eq(rig_info(&rig).floor, 1000001);
    cr_assert_eq(rig_count(&rig, CONSUMER_UNACKNOWLEDGED), 1000000);
    rig_restart(&rig);
    cr_assert_eq(rig_info(&rig).next, 1000001);
    rig_fini(&rig);
}

Test(consumer_acks, delays_have_a_limit)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 1, a);
    cr_assert_eq(consumer_nack(rig.consumer, a, 1, 1,
                     CONSUMER_DELAY_DEFAULT - 1, rig.now_ms),
        1);
    cr_assert_eq(consumer_due(rig.consumer), rig.now_ms + CONSUMER_TIME_MAX_MS);
    rig_fini(&rig);
}
