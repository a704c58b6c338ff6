/* SPDX-License-Identifier: MIT
 *
 * Acknowledging to durable consumers (PROTOCOL.md 4.19, 5.14): what is said,
 * when, and what is not.
 */
#include <criterion/criterion.h>

#include "fake_stream.h"

#define BUFFER ((size_t)1 << 20)

static struct fake *fake;
static uint32_t id;

static void
open_fake(void)
{
    fake = fake_new(BUFFER, BUFFER);
    fake_open(fake, 0);
    id = fake_join(fake, BROKER_ACK_EACH);
}

static void
close_fake(void)
{
    fake_free(fake);
}

TestSuite(settle, .init = open_fake, .fini = close_fake, .timeout = 20);

static void
settle(enum session_settle what, uint64_t sequence)
{
    cr_assert_eq(
        session_settle(&fake->session, id, what, sequence, 0), BROKER_OK);
}

static void
nack(uint64_t sequence, uint32_t delay_ms)
{
    cr_assert_eq(
        session_settle(&fake->session, id, SESSION_NACK, sequence, delay_ms),
        BROKER_OK);
}

struct expected {
    uint16_t type;
    uint8_t kind;
    uint32_t delay_ms;
    size_t ranges;
    uint64_t first, last; /* of the first range */
};

static void
expect_settle(struct expected expected)
{
    struct broker_settle got = fake_take_settle(fake);
    uint64_t first, last;
    cr_assert_eq(got.id, id);
    cr_assert_eq(got.type, expected.type);
    cr_assert_eq(got.kind, expected.kind);
    cr_assert_eq(got.delay_ms, expected.delay_ms);
    cr_assert_eq(got.ranges.count, expected.ranges);
    broker_ranges_get(got.ranges, 0, &first, &last);
    cr_assert_eq(first, expected.first);
    cr_assert_eq(last, expected.last);
}

static void
expect_nothing_written(void)
{
    struct broker_frame frame;
    cr_assert_not(fake_take_frame(fake, &frame));
}

Test(settle, acknowledgements_of_a_turn_are_one_range)
{
    cr_assert_eq(fake_stream_messages(fake, id, 11, 50, 1), BROKER_OK);
    for (uint64_t i = 11; i <= 60; i++) {
        settle(SESSION_ACK, i);
    }
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_THESE, 0, 1, 11, 60});
    expect_nothing_written();
    cr_assert_eq(fake->session.stats.messages_settled, 50);
    cr_assert_eq(fake->session.stats.settlements_late, 0);
}

Test(settle, ranges_join_whatever_the_order)
{
    cr_assert_eq(fake_stream_messages(fake, id, 1, 10, 1), BROKER_OK);
    const uint64_t order[] = {7, 2, 4, 3, 9, 8};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        settle(SESSION_ACK, order[i]);
    }
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_THESE, 0, 2, 2, 4});
    settle(SESSION_ACK, 1);
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_THESE, 0, 1, 1, 1});
}

Test(settle, what_is_settled_is_settled_once)
{
    cr_assert_eq(fake_stream_messages(fake, id, 1, 3, 1), BROKER_OK);
    settle(SESSION_ACK, 2);
    settle(SESSION_ACK, 2);
    settle(SESSION_BURY, 2);
    settle(SESSION_TOUCH, 2);
    settle(SESSION_ACK, 4); /* never came */
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_THESE, 0, 1, 2, 2});
    expect_nothing_written();
    cr_assert_eq(fake->session.stats.messages_settled, 1);
    cr_assert_eq(fake->session.stats.settlements_late, 4);
}

Test(settle, returned_buried_and_touched)
{
    cr_assert_eq(fake_stream_messages(fake, id, 1, 9, 1), BROKER_OK);
    nack(1, 500);
    nack(2, 500);
    nack(3, BROKER_NACK_DELAY_DEFAULT);
    settle(SESSION_BURY, 4);
    settle(SESSION_TOUCH, 5);
    settle(SESSION_TOUCH, 6);
    settle(SESSION_ACK, 6);
    expect_settle(
        (struct expected){BROKER_FRAME_NACK, BROKER_NACK_AGAIN, 500, 1, 1, 2});
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_THESE, 0, 1, 6, 6});
    expect_settle((struct expected){BROKER_FRAME_NACK, BROKER_NACK_AGAIN,
        BROKER_NACK_DELAY_DEFAULT, 1, 3, 3});
    expect_settle(
        (struct expected){BROKER_FRAME_NACK, BROKER_NACK_BURY, 0, 1, 4, 4});
    expect_settle(
        (struct expected){BROKER_FRAME_TOUCH, BROKER_TOUCH_THESE, 0, 1, 5, 6});
    expect_nothing_written();
}

Test(settle, a_message_that_came_again_can_be_settled_again)
{
    cr_assert_eq(fake_stream_messages(fake, id, 1, 1, 1), BROKER_OK);
    nack(1, 0);
    fake_write(fake, SIZE_MAX);
    fake_forget(fake);
    cr_assert_eq(fake_stream_messages(fake, id, 1, 1, 2), BROKER_OK);
    settle(SESSION_ACK, 1);
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_THESE, 0, 1, 1, 1});
}

Test(settle, up_to_of_a_consumer_that_acknowledges_each)
{
    cr_assert_eq(fake_stream_messages(fake, id, 5, 3, 1), BROKER_OK);
    cr_assert_eq(fake_stream_messages(fake, id, 10, 3, 1), BROKER_OK);
    settle(SESSION_ACK_UP_TO, 10);
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_THESE, 0, 2, 5, 7});
    cr_assert_eq(fake->session.stats.messages_settled, 4);
    settle(SESSION_ACK_UP_TO, 10);
    cr_assert_eq(fake->session.stats.settlements_late, 1);
}

Test(settle, cumulative)
{
    close_fake();
    fake = fake_new(BUFFER, BUFFER);
    fake_open(fake, 0);
    id = fake_join(fake, BROKER_ACK_CUMULATIVE);
    cr_assert_eq(fake_stream_messages(fake, id, 5, 9, 1), BROKER_OK);
    cr_assert_eq(session_settle(&fake->session, id, SESSION_ACK, 5, 0),
        BROKER_E_INVALID_ARGUMENT);
    settle(SESSION_ACK_UP_TO, 7);
    settle(SESSION_ACK_UP_TO, 10);
    settle(SESSION_ACK_UP_TO, 9); /* said already */
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_UP_TO, 0, 1, 10, 10});
    expect_nothing_written();
    cr_assert_eq(fake->session.stats.messages_settled, 6);
    cr_assert_eq(fake->session.stats.settlements_late, 1);
}

static void
join_cumulative(void)
{
    close_fake();
    fake = fake_new(BUFFER, BUFFER);
    fake_open(fake, 0);
    id = fake_join(fake, BROKER_ACK_CUMULATIVE);
}

Test(settle, cumulative_after_something_was_given_back)
{
    join_cumulative();
    cr_assert_eq(fake_stream_messages(fake, id, 5, 9, 1), BROKER_OK);
    nack(6, 500);
    settle(SESSION_ACK_UP_TO, 8);
    /* In this order, or 6 would be acknowledged with the others. */
    expect_settle(
        (struct expected){BROKER_FRAME_NACK, BROKER_NACK_AGAIN, 500, 1, 6, 6});
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_UP_TO, 0, 1, 8, 8});
    expect_nothing_written();
}

Test(settle, cumulative_of_what_came_again)
{
    join_cumulative();
    cr_assert_eq(fake_stream_messages(fake, id, 5, 3, 1), BROKER_OK);
    nack(5, 0);
    fake_write(fake, SIZE_MAX);
    fake_forget(fake);
    cr_assert_eq(fake_stream_messages(fake, id, 5, 1, 2), BROKER_OK);
    settle(SESSION_ACK_UP_TO, 7);
    cr_assert_eq(fake->session.stats.messages_settled, 1 + 2);
    settle(SESSION_ACK_UP_TO, 5);
    cr_assert_eq(fake->session.stats.messages_settled, 1 + 3);
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_UP_TO, 0, 1, 7, 7});
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_UP_TO, 0, 1, 5, 5});
    expect_nothing_written();
}

/* Two have to be said, and neither of them is to take in 6. */
Test(settle, what_is_given_back_is_said_before_either)
{
    join_cumulative();
    cr_assert_eq(fake_stream_messages(fake, id, 5, 3, 1), BROKER_OK);
    nack(5, 0);
    fake_write(fake, SIZE_MAX);
    fake_forget(fake);
    cr_assert_eq(fake_stream_messages(fake, id, 5, 1, 2), BROKER_OK);
    nack(6, 500);
    settle(SESSION_ACK_UP_TO, 7);
    settle(SESSION_ACK_UP_TO, 5);
    expect_settle(
        (struct expected){BROKER_FRAME_NACK, BROKER_NACK_AGAIN, 500, 1, 6, 6});
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_UP_TO, 0, 1, 7, 7});
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_UP_TO, 0, 1, 5, 5});
    expect_nothing_written();
}

/* A consumer whose messages are fetched. */
static void
join_for_next(enum broker_ack_mode ack)
{
    close_fake();
    fake = fake_new(BUFFER, BUFFER);
    fake_open(fake, 0);
    id = fake_consume(
        fake, (struct broker_client_consume){.consumer = "billing"}, true);
    fake_write(fake, SIZE_MAX);
    fake_forget(fake);
    cr_assert_eq(fake_consume_reply(fake, id, ack, 100, 1), BROKER_OK);
}

static void
fetch_all(void)
{
    struct inbox_entry *entry;
    while ((entry = session_take_event(&fake->session)) != NULL) {
        broker_client_event_free(&entry->event);
    }
}

/* The queue of next() was full when 6 came. */
static void
expect_unseen_left_out(enum broker_ack_mode ack)
{
    join_for_next(ack);
    cr_assert_eq(fake_stream_messages(fake, id, 5, 1, 1), BROKER_OK);
    fake->session.inbox.limit_bytes = 1;
    cr_assert_eq(fake_stream_messages(fake, id, 6, 1, 1), BROKER_OK);
    fake->session.inbox.limit_bytes = BUFFER;
    cr_assert_eq(fake_stream_messages(fake, id, 7, 1, 1), BROKER_OK);
    fetch_all();
    settle(SESSION_ACK_UP_TO, 7);
    struct broker_settle got = fake_take_settle(fake);
    uint64_t first, last;
    cr_assert_eq(got.kind, BROKER_ACK_THESE);
    cr_assert_eq(got.ranges.count, 2);
    broker_ranges_get(got.ranges, 0, &first, &last);
    cr_assert(first == 5 && last == 5);
    broker_ranges_get(got.ranges, 1, &first, &last);
    cr_assert(first == 7 && last == 7);
    expect_nothing_written();
}

Test(settle, up_to_leaves_out_what_did_not_fit_into_the_queue)
{
    expect_unseen_left_out(BROKER_ACK_EACH);
}

Test(settle, cumulative_leaves_out_what_did_not_fit_into_the_queue)
{
    expect_unseen_left_out(BROKER_ACK_CUMULATIVE);
}

/* 5 was fetched on an earlier connection, and on this one nothing yet. */
Test(settle, up_to_is_for_what_was_fetched)
{
    join_for_next(BROKER_ACK_EACH);
    cr_assert_eq(fake_stream_messages(fake, id, 5, 1, 1), BROKER_OK);
    fetch_all();
    fake_lose(fake);
    fake_open(fake, 0);
    (void)fake_take_consume(fake);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_EACH, 100, 1), BROKER_OK);
    cr_assert_eq(fake_stream_messages(fake, id, 3, 1, 2), BROKER_OK);
    cr_assert_eq(fake_stream_messages(fake, id, 5, 1, 2), BROKER_OK);
    settle(SESSION_ACK_UP_TO, 5);
    expect_nothing_written();
    cr_assert_eq(fake->session.stats.settlements_late, 1);
    fetch_all();
    settle(SESSION_ACK_UP_TO, 5);
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_THESE, 0, 2, 3, 3});
}

/* What waits to be fetched when the connection is lost is of before. */
Test(settle, what_is_fetched_late_is_of_an_earlier_connection)
{
    join_for_next(BROKER_ACK_EACH);
    cr_assert_eq(fake_stream_messages(fake, id, 5, 1, 1), BROKER_OK);
    fake_lose(fake);
    fake_open(fake, 0);
    (void)fake_take_consume(fake);
    fetch_all();
    settle(SESSION_ACK, 5);
    expect_nothing_written();
    cr_assert_eq(fake->session.stats.settlements_late, 1);
}

/* Whoever works on 5 has not said that it is done. */
Test(settle, up_to_leaves_out_what_came_again_later)
{
    cr_assert_eq(fake_stream_messages(fake, id, 5, 3, 1), BROKER_OK);
    nack(5, 0);
    fake_write(fake, SIZE_MAX);
    fake_forget(fake);
    cr_assert_eq(fake_stream_messages(fake, id, 5, 1, 2), BROKER_OK);
    settle(SESSION_ACK_UP_TO, 7);
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_THESE, 0, 1, 6, 7});
    cr_assert_eq(fake_stream_messages(fake, id, 8, 1, 1), BROKER_OK);
    settle(SESSION_ACK_UP_TO, 8);
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_THESE, 0, 2, 5, 5});
}

Test(settle, without_acknowledgements_nothing_is_said)
{
    close_fake();
    fake = fake_new(BUFFER, BUFFER);
    fake_open(fake, 0);
    id = fake_join(fake, BROKER_ACK_NONE);
    cr_assert_eq(fake_stream_messages(fake, id, 5, 9, 1), BROKER_OK);
    settle(SESSION_ACK, 5);
    settle(SESSION_ACK_UP_TO, 7);
    expect_nothing_written();
}

Test(settle, what_is_of_an_earlier_connection_is_dropped_and_counted)
{
    cr_assert_eq(fake_stream_messages(fake, id, 1, 5, 1), BROKER_OK);
    settle(SESSION_ACK, 1);
    settle(SESSION_ACK, 2);
    fake_lose(fake); /* before it was said */
    cr_assert_eq(fake->session.stats.settlements_late, 2);
    settle(SESSION_ACK, 3);
    fake_open(fake, 0);
    struct broker_consume consume = fake_take_consume(fake);
    cr_assert_eq(consume.start, BROKER_START_CURSOR, "it simply joins again");
    cr_assert_eq(consume.consumer.len, 7);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_EACH, 100, 1), BROKER_OK);
    settle(SESSION_ACK, 4);
    expect_nothing_written();
    cr_assert_eq(fake->session.stats.settlements_late, 4);
    cr_assert_eq(fake_stream_messages(fake, id, 1, 1, 2), BROKER_OK);
    settle(SESSION_ACK, 1);
    expect_settle(
        (struct expected){BROKER_FRAME_ACK, BROKER_ACK_THESE, 0, 1, 1, 1});
}

Test(settle, a_flush_and_the_end_come_behind_what_was_settled)
{
    struct broker_frame frame;
    cr_assert_eq(fake_stream_messages(fake, id, 1, 5, 1), BROKER_OK);
    settle(SESSION_ACK, 1);
    cr_assert_not(session_is_settled(&fake->session));
    fake_flush(fake);
    (void)fake_take_settle(fake);
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(frame.type, BROKER_FRAME_PING);
    settle(SESSION_ACK, 2);
    cr_assert_eq(
        session_unsubscribe(&fake->session, id, true, NULL, NULL), BROKER_OK);
    (void)fake_take_settle(fake);
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(frame.type, BROKER_FRAME_UNSUBSCRIBE);
    cr_assert_eq(frame.flags, 0, "what cannot be settled is not wanted");
    cr_assert_eq(session_settle(&fake->session, id, SESSION_ACK, 3, 0),
        BROKER_E_UNKNOWN_SUBSCRIPTION);
}

Test(settle, only_of_a_consumer)
{
    uint32_t plain = fake_subscribe(fake, "a");
    uint32_t reader = fake_consume(
        fake, (struct broker_client_consume){.stream = "ORDERS"}, false);
    const uint32_t ids[] = {plain, reader, 12345};
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(session_settle(&fake->session, ids[i], SESSION_ACK, 1, 0),
            BROKER_E_UNKNOWN_SUBSCRIPTION);
    }
}

/* ERROR for what was said of a consumer that has ended meanwhile. */
Test(settle, an_error_that_crossed_the_end_is_not_told)
{
    cr_assert_eq(fake_stream_messages(fake, id, 1, 1, 1), BROKER_OK);
    fake->call_next = fake->call_count;
    cr_assert_eq(fake_error(fake, id, BROKER_E_UNKNOWN_SUBSCRIPTION,
                     BROKER_FRAME_ACK, BROKER_CLASS_REQUEST),
        BROKER_OK);
    cr_assert_eq(fake_call(fake)->kind, FAKE_ERROR, "it is there: told");
    cr_assert_eq(
        session_unsubscribe(&fake->session, id, true, NULL, NULL), BROKER_OK);
    cr_assert_eq(fake_error(fake, id, BROKER_E_UNKNOWN_SUBSCRIPTION,
                     BROKER_FRAME_ACK, BROKER_CLASS_REQUEST),
        BROKER_OK);
    cr_assert_null(fake_call(fake));
}

/* More ranges than fit into one frame. */
Test(settle, many_ranges_are_several_frames)
{
    fake->forgets = true;
    for (uint64_t i = 0; i < 5000; i++) {
        cr_assert_eq(
            fake_stream_messages(fake, id, 1 + 2 * i, 1, 1), BROKER_OK);
        settle(SESSION_ACK, 1 + 2 * i);
    }
    struct broker_settle first = fake_take_settle(fake);
    struct broker_settle second = fake_take_settle(fake);
    cr_assert_leq(first.ranges.count * BROKER_RANGE_BYTES, 65536 - 8);
    cr_assert_eq(first.ranges.count + second.ranges.count, 5000);
    expect_nothing_written();
}
