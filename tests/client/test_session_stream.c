/* SPDX-License-Identifier: MIT
 *
 * Streams as a session sees them: what publishes are told, readers, durable
 * consumers, and how they go on after a lost connection (PROTOCOL.md 5.13).
 */
#include <criterion/criterion.h>

#include <string.h>

#include "fake_stream.h"

#define BUFFER ((size_t)1 << 20)

static struct fake *fake;

static void
open_fake(void)
{
    fake = fake_new(BUFFER, BUFFER);
    fake_open(fake, 0);
}

static void
close_fake(void)
{
    fake_free(fake);
}

TestSuite(stream, .init = open_fake, .fini = close_fake, .timeout = 20);

static void
expect_call(enum fake_call_kind kind, enum broker_status status)
{
    const struct fake_call *call = fake_call(fake);
    cr_assert_not_null(call);
    cr_assert_eq(call->kind, kind, "%d for %d", call->kind, kind);
    cr_assert_eq(call->status, status);
}

static void
expect_message(uint64_t sequence, uint32_t deliveries)
{
    const struct fake_call *call = fake_call(fake);
    cr_assert_not_null(call);
    cr_assert_eq(call->kind, FAKE_MESSAGE);
    cr_assert_eq(call->sequence, sequence);
    cr_assert_eq(call->time_ms, FAKE_TIME_MS);
    cr_assert_eq(call->deliveries, deliveries);
}

static uint32_t
open_reader(bool end, bool for_next)
{
    uint32_t id = fake_consume(fake,
        (struct broker_client_consume){
            .stream = "ORDERS", .start = BROKER_START_NEW, .end = end},
        for_next);
    cr_assert_neq(id, 0);
    return id;
}

/* ---- publishing ---------------------------------------------------------- */

Test(stream, hello_says_that_streams_are_known)
{
    struct broker_frame frame;
    struct broker_hello hello;
    fake_lose(fake);
    cr_assert_eq(session_connected(&fake->session, fake->now_us), BROKER_OK);
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(broker_hello_decode(&frame, &hello), BROKER_OK);
    cr_assert_eq(hello.features, BROKER_FEATURE_STREAMS);
}

Test(stream, each_publish_is_told_its_sequence)
{
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(fake_publish(fake, "orders/new", "x", true), BROKER_OK);
    }
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(fake_synced(fake, 3, 3, "ORDERS", 17), BROKER_OK);
    for (uint64_t i = 15; i <= 17; i++) {
        const struct fake_call *call = fake_call(fake);
        cr_assert_eq(call->kind, FAKE_PUBLISHED);
        cr_assert_eq(call->level, BROKER_LEVEL_SYNCED);
        cr_assert_eq(call->sequence, i);
        cr_assert_str_eq(call->topic, "ORDERS");
    }
    cr_assert_eq(fake_publish(fake, "orders/new", "x", true), BROKER_OK);
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(fake_synced(fake, 4, 1, "ORDERS", 0), BROKER_OK);
    cr_assert_eq(fake_call(fake)->sequence, 0, "it waits for its time");
}

Test(stream, sequences_that_there_cannot_be)
{
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(fake_publish(fake, "orders/new", "x", true), BROKER_OK);
    }
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(fake_synced(fake, 3, 3, "ORDERS", 2), BROKER_E_MALFORMED);
}

Test(stream, a_wrong_last_sequence_tells_the_right_one)
{
    cr_assert_eq(fake_publish(fake, "orders/new", "x", true), BROKER_OK);
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(fake_wrong_last(fake, 1, BROKER_FRAME_PUBLISH, 41), BROKER_OK);
    const struct fake_call *call = fake_call(fake);
    cr_assert_eq(call->status, BROKER_E_WRONG_LAST_SEQUENCE);
    cr_assert_eq(call->sequence, 41);
}

/* Two frames of 4 + 1 bytes. */
static enum broker_status
publish_batch(void)
{
    uint8_t frames[64];
    size_t used = 0, n;
    struct broker_publish one = {.topic = {(const uint8_t *)"a", 1}};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(broker_publish_encode(
                         &one, frames + used, sizeof frames - used, &n),
            BROKER_OK);
        used += n;
    }
    struct session_publish message = {
        .topic = one.topic,
        .batch = {frames, used},
        .numbered = true,
        .needs_streams = true,
        .kind = PUBLISH_CALLBACK,
        .callback = fake_on_published,
        .user = fake,
    };
    return fake_take(fake, &message);
}

static void
expect_batch(uint32_t id, bool retry)
{
    struct broker_frame frame;
    struct broker_publish_batch batch;
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(frame.type, BROKER_FRAME_PUBLISH_BATCH);
    cr_assert_eq(broker_publish_batch_decode(&frame, &batch), BROKER_OK);
    cr_assert_eq(batch.count, 2);
    cr_assert_eq(batch.id, id);
    cr_assert_eq((batch.flags & BROKER_BATCH_RETRY) != 0, retry);
}

Test(stream, a_batch_is_one_publish_that_is_sent_again)
{
    cr_assert_eq(fake_publish(fake, "a", "1", true), BROKER_OK);
    cr_assert_eq(publish_batch(), BROKER_OK);
    cr_assert_eq(fake_publish(fake, "a", "3", true), BROKER_OK);
    fake_write(fake, SIZE_MAX);
    fake_lose(fake);
    cr_assert_eq(publish_batch(), BROKER_OK);
    fake_open(fake, 0);
    cr_assert_eq(fake_take_publish(fake).id, 1);
    expect_batch(2, true);
    cr_assert_eq(fake_take_publish(fake).id, 3);
    expect_batch(4, false);
    cr_assert_eq(fake_synced(fake, 1, 1, "S", 5), BROKER_OK);
    cr_assert_eq(fake_synced(fake, 2, 1, "S", 7), BROKER_OK);
    cr_assert_eq(fake_call(fake)->sequence, 5);
    cr_assert_eq(fake_call(fake)->sequence, 7);
    cr_assert_eq(fake_synced(fake, 3, 1, "S", 8), BROKER_OK);
    cr_assert_eq(
        fake_wrong_last(fake, 4, BROKER_FRAME_PUBLISH_BATCH, 8), BROKER_OK);
    expect_call(FAKE_PUBLISHED, BROKER_OK);
    expect_call(FAKE_PUBLISHED, BROKER_E_WRONG_LAST_SEQUENCE);
    cr_assert_eq(fake->session.publishes.count, 0);
    cr_assert_eq(fake->session.log.bytes, 0);
}

/* The inbox gets another name with WELCOME, and the log is copied. */
Test(stream, a_batch_stays_whole_when_the_inbox_moves)
{
    fake_free(fake);
    fake = fake_new(BUFFER, BUFFER);
    cr_assert_eq(publish_batch(), BROKER_OK);
    cr_assert_eq(fake_request(fake, "q", 1000000), BROKER_OK);
    fake_open_user(fake, "ann");
    struct broker_frame frame;
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(frame.type, BROKER_FRAME_SUBSCRIBE);
    expect_batch(1, false);
    cr_assert_eq(fake_synced(fake, 1, 1, "S", 2), BROKER_OK);
    expect_call(FAKE_PUBLISHED, BROKER_OK);
}

Test(stream, a_broker_without_streams_gets_nothing_that_it_would_ignore)
{
    cr_assert_eq(fake_publish(fake, "a", "1", true), BROKER_OK);
    fake_lose(fake);
    cr_assert_eq(publish_batch(), BROKER_OK);
    cr_assert_eq(fake_publish(fake, "a", "3", true), BROKER_OK);
    fake->features = 0;
    fake_open(fake, 0);
    expect_call(FAKE_PUBLISHED, BROKER_E_UNSUPPORTED_TYPE);
    cr_assert_null(fake_call(fake));
    cr_assert_eq(fake_take_publish(fake).id, 1);
    cr_assert_eq(fake_take_publish(fake).id, 3);
    cr_assert_eq(publish_batch(), BROKER_E_UNSUPPORTED_TYPE);
    cr_assert_eq(fake_consume(fake,
                     (struct broker_client_consume){.stream = "ORDERS"}, false),
        0);
    cr_assert_eq(fake_puback(fake, 1, 1, 0), BROKER_OK);
    cr_assert_eq(fake_puback(fake, 3, 1, 0), BROKER_OK);
    cr_assert_eq(fake->session.publishes.count, 0);
    cr_assert_eq(fake->session.log.bytes, 0);
}

/* ---- reading ------------------------------------------------------------- */

Test(stream, what_is_neither_a_reader_nor_a_consumer)
{
    const struct broker_client_consume bad[] = {
        {.start = BROKER_START_FIRST},
        {.stream = ""},
        {.consumer = ""},
        {.filter = "a/#/b"},
        {.filter = ""},
        {.stream = "A", .consumer = "b"},
        {.filter = "a", .consumer = "b"},
        {.consumer = "b", .start = BROKER_START_FIRST},
        {.consumer = "b", .end = true},
        {.stream = "A", .window = 1},
        {.stream = "A", .start = BROKER_START_LAST, .value = 1},
        {.stream = "A", .start = (enum broker_start)8},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(fake_consume(fake, bad[i], false), 0, "%zu", i);
    }
    cr_assert_null(fake->session.subscriptions.first);
}

Test(stream, a_reader_gets_messages_with_their_place)
{
    uint32_t id = fake_consume(fake,
        (struct broker_client_consume){
            .stream = "ORDERS", .filter = "orders/+", .end = true},
        false);
    struct broker_consume consume = fake_take_consume(fake);
    cr_assert_eq(consume.id, id);
    cr_assert_eq(consume.start, BROKER_START_FIRST);
    cr_assert_eq(consume.options, BROKER_CONSUME_END);
    cr_assert_eq(consume.stream.len, 6);
    cr_assert_eq(consume.filter.len, 8);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 3), BROKER_OK);
    expect_call(FAKE_SUBSCRIBED, BROKER_OK);
    cr_assert_eq(fake_stream_messages(fake, id, 3, 2, 0), BROKER_OK);
    cr_assert_eq(fake_gap(fake, id, 2, 0), BROKER_OK);
    cr_assert_eq(fake_stream_messages(fake, id, 7, 1, 0), BROKER_OK);
    expect_message(3, 0);
    expect_message(4, 0);
    expect_call(FAKE_GAP, BROKER_OK);
    expect_message(7, 0);
    cr_assert_eq(fake_position(fake, id, 8, 0, 0), BROKER_OK);
    expect_call(FAKE_CAUGHT_UP, BROKER_OK);
    cr_assert_eq(fake_unsuback(fake, id), BROKER_OK);
    cr_assert_null(fake->session.subscriptions.first);
    cr_assert_null(fake_call(fake));
}

Test(stream, caught_up_is_an_event_too)
{
    uint32_t id = open_reader(false, true);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 3, 3), BROKER_OK);
    cr_assert_eq(fake_stream_messages(fake, id, 3, 1, 0), BROKER_OK);
    cr_assert_eq(fake_position(fake, id, 4, 0, 0), BROKER_OK);
    struct inbox_entry *entry = session_take_event(&fake->session);
    cr_assert_eq(entry->event.kind, BROKER_CLIENT_EVENT_MESSAGE);
    cr_assert_eq(entry->event.message->sequence, 3);
    broker_client_event_free(&entry->event);
    entry = session_take_event(&fake->session);
    cr_assert_eq(entry->event.kind, BROKER_CLIENT_EVENT_CAUGHT_UP);
    cr_assert_eq(entry->event.subscription, id);
    cr_assert_null(entry->event.message);
    cr_assert_null(entry->event.gap);
    broker_client_event_free(&entry->event);
}

Test(stream, a_reader_goes_on_behind_what_it_has_handed_out)
{
    uint32_t id = open_reader(false, false);
    struct broker_consume consume = fake_take_consume(fake);
    cr_assert_eq(consume.start, BROKER_START_NEW);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 10), BROKER_OK);
    fake_lose(fake);
    fake_open(fake, 0);
    consume = fake_take_consume(fake);
    cr_assert_eq(consume.start, BROKER_START_SEQUENCE, "what came meanwhile");
    cr_assert_eq(consume.value, 10);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 13, 10), BROKER_OK);
    /* The connection is lost between the messages of one POSITION. */
    cr_assert_eq(fake_context(fake, &id, 1, 0), BROKER_OK);
    cr_assert_eq(fake_position(fake, id, 10, 3, 0), BROKER_OK);
    cr_assert_eq(fake_message(fake, "a", "x"), BROKER_OK);
    cr_assert_eq(fake_message(fake, "a", "x"), BROKER_OK);
    fake_lose(fake);
    fake_open(fake, 0);
    consume = fake_take_consume(fake);
    cr_assert_eq(consume.value, 12);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 13, 12), BROKER_OK);
    cr_assert_eq(fake_stream_messages(fake, id, 12, 1, 0), BROKER_OK);
    expect_call(FAKE_SUBSCRIBED, BROKER_OK);
    expect_message(10, 0);
    expect_message(11, 0);
    expect_message(12, 0);
    cr_assert_null(fake_call(fake), "no gap, and asked for once");
}

Test(stream, a_reader_with_an_end_that_was_reached_is_not_opened_again)
{
    struct broker_frame frame;
    uint32_t id = open_reader(true, false);
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 10), BROKER_OK);
    cr_assert_eq(fake_position(fake, id, 10, 0, 0), BROKER_OK);
    fake_lose(fake);
    cr_assert_eq(session_tick(&fake->session, fake->now_us), BROKER_OK);
    cr_assert_null(fake->session.subscriptions.first);
    fake_open(fake, 0);
    cr_assert_not(fake_take_frame(fake, &frame));
}

/* Stream removed, made again, and read on from a sequence that it never had. */
Test(stream, a_stream_that_is_another_one_ends_its_reader)
{
    struct broker_frame frame;
    uint32_t id = open_reader(false, true);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 9), BROKER_OK);
    cr_assert_eq(fake_stream_messages(fake, id, 9, 1, 0), BROKER_OK);
    expect_call(FAKE_SUBSCRIBED, BROKER_OK);
    fake_lose(fake);
    fake_open(fake, 0);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 3, 10), BROKER_OK);
    expect_call(FAKE_ERROR, BROKER_E_UNKNOWN_STREAM);
    cr_assert(fake_skip_to(fake, BROKER_FRAME_UNSUBSCRIBE, &frame));
    cr_assert_eq(fake_unsuback(fake, id), BROKER_OK);
    cr_assert_null(fake->session.subscriptions.first);
    broker_client_event_free(&session_take_event(&fake->session)->event);
    struct inbox_entry *entry = session_take_event(&fake->session);
    cr_assert_eq(entry->event.gap->reason, BROKER_CLIENT_GAP_ENDED);
    broker_client_event_free(&entry->event);
}

Test(stream, a_stream_that_is_removed_ends_its_reader)
{
    uint32_t id = open_reader(false, false);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 10), BROKER_OK);
    expect_call(FAKE_SUBSCRIBED, BROKER_OK);
    cr_assert_eq(fake_error(fake, id, BROKER_E_UNKNOWN_STREAM,
                     BROKER_FRAME_CONSUME, BROKER_CLASS_SUBSCRIPTION),
        BROKER_OK);
    const struct fake_call *call = fake_call(fake);
    cr_assert_eq(call->kind, FAKE_ERROR);
    cr_assert_eq(call->status, BROKER_E_UNKNOWN_STREAM);
    cr_assert_eq(call->subscription, id);
    cr_assert_null(fake->session.subscriptions.first);
    cr_assert_not_null(strstr(fake->session.error_text, "stream 'ORDERS'"));
}

Test(stream, a_reader_that_is_refused)
{
    uint32_t id = open_reader(false, false);
    cr_assert_eq(fake_error(fake, id, BROKER_E_AMBIGUOUS_STREAM,
                     BROKER_FRAME_CONSUME, BROKER_CLASS_REQUEST),
        BROKER_OK);
    expect_call(FAKE_SUBSCRIBED, BROKER_E_AMBIGUOUS_STREAM);
    cr_assert_null(fake->session.subscriptions.first);
}

/* A reader ended by itself while its UNSUBSCRIBE was on the way. */
Test(stream, an_unsubscribe_that_comes_too_late_is_no_error)
{
    uint32_t id = open_reader(true, false);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 10), BROKER_OK);
    cr_assert_eq(
        session_unsubscribe(&fake->session, id, false, NULL, NULL), BROKER_OK);
    cr_assert_eq(fake_position(fake, id, 10, 0, 0), BROKER_OK);
    cr_assert_eq(fake_unsuback(fake, id), BROKER_OK);
    cr_assert_eq(fake_error(fake, id, BROKER_E_UNKNOWN_SUBSCRIPTION,
                     BROKER_FRAME_UNSUBSCRIBE, BROKER_CLASS_REQUEST),
        BROKER_OK);
    expect_call(FAKE_SUBSCRIBED, BROKER_OK);
    cr_assert_null(fake_call(fake));
}

/* ---- a broker that gets it wrong ----------------------------------------- */

Test(stream, a_message_of_a_stream_needs_a_position)
{
    uint32_t id = open_reader(false, false);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 1), BROKER_OK);
    cr_assert_eq(fake_stream_messages(fake, id, 1, 1, 0), BROKER_OK);
    cr_assert_eq(fake_message(fake, "a", "x"), BROKER_E_MALFORMED);
}

Test(stream, a_position_is_for_its_subscription_alone)
{
    uint32_t id = open_reader(false, false);
    uint32_t plain = fake_subscribe(fake, "a");
    const uint32_t both[] = {id, plain};
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 1), BROKER_OK);
    cr_assert_eq(fake_suback(fake, plain), BROKER_OK);
    cr_assert_eq(fake_context(fake, both, 2, 0), BROKER_E_MALFORMED);
    cr_assert_eq(fake_position(fake, plain, 1, 1, 0), BROKER_E_MALFORMED);
    close_fake();
    open_fake();
    id = open_reader(false, false);
    plain = fake_subscribe(fake, "a");
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 1), BROKER_OK);
    cr_assert_eq(fake_suback(fake, plain), BROKER_OK);
    cr_assert_eq(fake_position(fake, id, 1, 2, 0), BROKER_OK);
    cr_assert_eq(fake_context(fake, &plain, 1, 0), BROKER_OK);
    cr_assert_eq(fake_message(fake, "a", "x"), BROKER_E_MALFORMED);
}

Test(stream, a_position_before_the_last_one_is_used_up)
{
    uint32_t id = open_reader(false, false);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 1), BROKER_OK);
    cr_assert_eq(fake_position(fake, id, 1, 2, 0), BROKER_OK);
    cr_assert_eq(fake_position(fake, id, 3, 1, 0), BROKER_E_MALFORMED);
}

/* What is left of its messages when a subscription ends does not come. */
Test(stream, a_position_ends_with_its_subscription)
{
    uint32_t id = open_reader(false, false);
    uint32_t plain = fake_subscribe(fake, "a");
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 1), BROKER_OK);
    cr_assert_eq(fake_suback(fake, plain), BROKER_OK);
    cr_assert_eq(fake_context(fake, &id, 1, 0), BROKER_OK);
    cr_assert_eq(fake_position(fake, id, 1, 5, 0), BROKER_OK);
    cr_assert_eq(fake_message(fake, "orders/new", "x"), BROKER_OK);
    cr_assert_eq(
        session_unsubscribe(&fake->session, id, false, NULL, NULL), BROKER_OK);
    cr_assert_eq(fake_unsuback(fake, id), BROKER_OK);
    cr_assert_eq(fake_context(fake, &plain, 1, 0), BROKER_OK);
    cr_assert_eq(fake_message(fake, "a", "x"), BROKER_OK);
    /* The same by the broker's will, and a POSITION behind it. */
    uint32_t ended = open_reader(false, false),
             next = open_reader(false, false);
    cr_assert_eq(
        fake_consume_reply(fake, ended, BROKER_ACK_READER, 9, 1), BROKER_OK);
    cr_assert_eq(
        fake_consume_reply(fake, next, BROKER_ACK_READER, 9, 1), BROKER_OK);
    cr_assert_eq(fake_context(fake, &ended, 1, 0), BROKER_OK);
    cr_assert_eq(fake_position(fake, ended, 1, 2, 0), BROKER_OK);
    cr_assert_eq(fake_error(fake, ended, BROKER_E_UNKNOWN_STREAM,
                     BROKER_FRAME_CONSUME, BROKER_CLASS_SUBSCRIPTION),
        BROKER_OK);
    cr_assert_eq(fake_stream_messages(fake, next, 1, 1, 0), BROKER_OK);
}

/* Memory was out, and the rest was dropped. */
Test(stream, a_gap_may_take_the_rest_of_a_position)
{
    uint32_t id = open_reader(false, false);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 1), BROKER_OK);
    cr_assert_eq(fake_context(fake, &id, 1, 0), BROKER_OK);
    cr_assert_eq(fake_position(fake, id, 1, 5, 0), BROKER_OK);
    cr_assert_eq(fake_message(fake, "orders/new", "x"), BROKER_OK);
    cr_assert_eq(fake_gap(fake, id, 4, 100), BROKER_OK);
    cr_assert_eq(fake_stream_messages(fake, id, 6, 1, 0), BROKER_OK);
}

Test(stream, a_position_past_the_last_number)
{
    uint32_t id = open_reader(false, false);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 1), BROKER_OK);
    cr_assert_eq(fake_position(fake, id, UINT64_MAX, 2, 0), BROKER_E_MALFORMED);
}

Test(stream, what_was_unsubscribed_is_passed_over)
{
    uint32_t id = open_reader(false, false);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 1), BROKER_OK);
    cr_assert_eq(
        session_unsubscribe(&fake->session, id, false, NULL, NULL), BROKER_OK);
    cr_assert_eq(fake_stream_messages(fake, id, 1, 3, 0), BROKER_OK);
    cr_assert_eq(fake_unsuback(fake, id), BROKER_OK);
    expect_call(FAKE_SUBSCRIBED, BROKER_OK);
    cr_assert_null(fake_call(fake));
}

Test(stream, an_end_that_was_not_asked_for)
{
    uint32_t id = open_reader(false, false);
    cr_assert_eq(
        fake_consume_reply(fake, id, BROKER_ACK_READER, 9, 10), BROKER_OK);
    cr_assert_eq(fake_position(fake, id, 10, 0, 0), BROKER_OK);
    cr_assert_eq(fake_unsuback(fake, id), BROKER_E_MALFORMED);
}
