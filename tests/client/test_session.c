/* SPDX-License-Identifier: MIT
 *
 * The session in one connection: handshake, publishing, subscribing, requests,
 * flush, heartbeats. Bytes and time are made by hand.
 */
#include <criterion/criterion.h>

#include "fake_broker.h"

#define MS UINT64_C(1000)
#define S  (1000 * MS)

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

TestSuite(handshake, .timeout = 20);
TestSuite(session, .init = open_fake, .fini = close_fake, .timeout = 20);

static void
expect_call(enum fake_call_kind kind, enum broker_status status)
{
    const struct fake_call *call = fake_call(fake);
    cr_assert_not_null(call, "a callback of kind %d did not run", kind);
    cr_assert_eq(call->kind, kind, "kind %d", call->kind);
    cr_assert_eq(call->status, status, "status %d", call->status);
}

/* ---- handshake ----------------------------------------------------------- */

Test(handshake, hello_says_what_was_configured)
{
    struct broker_frame frame;
    struct broker_hello hello;
    struct broker_bytes name;
    fake = fake_new(BUFFER, BUFFER);
    cr_assert_eq(session_connected(&fake->session, 1), BROKER_OK);
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(broker_hello_decode(&frame, &hello), BROKER_OK);
    cr_assert_eq(hello.version_min, 1);
    cr_assert_eq(hello.version_max, 1);
    cr_assert_eq(hello.max_body_bytes, BROKER_BODY_BYTES_MAX);
    cr_assert_eq(hello.session[0], 1);
    cr_assert(broker_tlv_find(hello.tlvs, BROKER_TAG_NAME, &name));
    cr_assert_eq(name.len, 4);
    fake_free(fake);
}

Test(handshake, nothing_else_is_written_before_welcome)
{
    struct broker_frame frame;
    fake = fake_new(BUFFER, BUFFER);
    cr_assert_eq(fake_publish(fake, "a", "1", true), BROKER_OK);
    cr_assert_neq(fake_subscribe(fake, "b"), 0);
    cr_assert_eq(session_connected(&fake->session, 1), BROKER_OK);
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(frame.type, BROKER_FRAME_HELLO);
    cr_assert_not(fake_take_frame(fake, &frame));
    cr_assert_eq(fake_welcome(fake, 0, 9, BROKER_BODY_BYTES_MAX), BROKER_OK);
    /* Subscriptions first, whatever the order of the calls. */
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(frame.type, BROKER_FRAME_SUBSCRIBE);
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(frame.type, BROKER_FRAME_PUBLISH);
    fake_free(fake);
}

Test(handshake, another_protocol_is_named)
{
    static const char http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    fake = fake_new(BUFFER, BUFFER);
    cr_assert_eq(session_connected(&fake->session, 1), BROKER_OK);
    cr_assert_eq(fake_feed(fake, (const uint8_t *)http, sizeof http - 1),
        BROKER_E_BAD_MAGIC);
    cr_assert(strstr(fake->session.error_text, "not a brokerd") != NULL);
    fake_free(fake);
}

Test(handshake, an_error_of_the_broker_is_the_reason)
{
    fake = fake_new(BUFFER, BUFFER);
    cr_assert_eq(session_connected(&fake->session, 1), BROKER_OK);
    cr_assert_eq(fake_error(fake, 1, BROKER_E_VERSION, BROKER_FRAME_HELLO,
                     BROKER_CLASS_CONNECTION),
        BROKER_E_VERSION);
    fake_free(fake);
}

Test(handshake, limits_beyond_what_was_said_are_refused)
{
    fake = fake_new(BUFFER, BUFFER);
    fake->session.config.max_body_bytes = 100000;
    cr_assert_eq(session_connected(&fake->session, 1), BROKER_OK);
    cr_assert_eq(fake_welcome(fake, 0, 9, 100001), BROKER_E_MALFORMED);
    fake_free(fake);
}

/* ---- publishing ---------------------------------------------------------- */

Test(session, numbers_count_up_and_pubacks_settle_in_order)
{
    for (uint32_t i = 1; i <= 5; i++) {
        cr_assert_eq(fake_publish(fake, "a/b", "x", true), BROKER_OK);
        cr_assert_eq(fake_take_publish(fake).id, i);
    }
    cr_assert_eq(fake_puback(fake, 3, 3, 7), BROKER_OK);
    for (int i = 0; i < 3; i++) {
        const struct fake_call *call = fake_call(fake);
        cr_assert_eq(call->kind, FAKE_PUBLISHED);
        cr_assert_eq(call->matched, 7);
    }
    cr_assert_null(fake_call(fake));
    cr_assert_eq(fake_puback(fake, 5, 2, 0), BROKER_OK);
    cr_assert_eq(fake->session.publishes.count, 0);
    cr_assert_eq(fake->session.log.bytes, 0);
    cr_assert(session_is_settled(&fake->session));
}

Test(session, a_message_without_number_has_id_0_and_is_let_go_when_written)
{
    cr_assert_eq(fake_publish(fake, "a/b", "x", false), BROKER_OK);
    cr_assert_gt(fake->session.log.bytes, 0);
    struct broker_publish publish = fake_take_publish(fake);
    cr_assert_eq(publish.id, 0);
    cr_assert_eq(publish.flags, 0);
    cr_assert_eq(fake->session.log.bytes, 0);
}

Test(session, an_error_refuses_one_of_many)
{
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(fake_publish(fake, "a/b", "x", true), BROKER_OK);
    }
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(fake_error(fake, 2, BROKER_E_RETAINED_LIMIT,
                     BROKER_FRAME_PUBLISH, BROKER_CLASS_REQUEST),
        BROKER_OK);
    expect_call(FAKE_PUBLISHED, BROKER_E_RETAINED_LIMIT);
    cr_assert_eq(fake_puback(fake, 1, 1, 1), BROKER_OK);
    cr_assert_eq(fake_puback(fake, 3, 1, 1), BROKER_OK);
    expect_call(FAKE_PUBLISHED, BROKER_OK);
    expect_call(FAKE_PUBLISHED, BROKER_OK);
    cr_assert_eq(fake->session.publishes.count, 0);
}

Test(session, a_refused_message_without_number_goes_to_on_error)
{
    cr_assert_eq(fake_publish(fake, "a/b", "x", false), BROKER_OK);
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(fake_error(fake, 0, BROKER_E_RESERVED_TOPIC,
                     BROKER_FRAME_PUBLISH, BROKER_CLASS_REQUEST),
        BROKER_OK);
    expect_call(FAKE_ERROR, BROKER_E_RESERVED_TOPIC);
    cr_assert_eq(fake->session.stats.messages_refused, 1);
}

Test(session, numbers_wrap_past_zero)
{
    fake_lose(fake);
    fake_free(fake);
    fake = fake_new(BUFFER, BUFFER);
    fake_open(fake, 0xFFFFFFFEu); /* a session of an earlier process */
    uint32_t expected[] = {0xFFFFFFFFu, 1, 2};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(fake_publish(fake, "a", "x", true), BROKER_OK);
        cr_assert_eq(fake_take_publish(fake).id, expected[i]);
    }
    /* Two of them in one, across the wrap. */
    cr_assert_eq(fake_puback(fake, 1, 2, 0), BROKER_OK);
    expect_call(FAKE_PUBLISHED, BROKER_OK);
    expect_call(FAKE_PUBLISHED, BROKER_OK);
    cr_assert_eq(fake->session.publishes.count, 1);
    cr_assert_eq(fake_puback(fake, 2, 1, 0), BROKER_OK);
    cr_assert_eq(fake->session.publishes.count, 0);
}

Test(session, bad_topics_and_large_messages_are_refused_here)
{
    cr_assert_eq(fake_publish(fake, "a/+", "x", true), BROKER_E_BAD_TOPIC);
    cr_assert_eq(fake_publish(fake, "", "x", true), BROKER_E_BAD_TOPIC);
    fake->session.agreed.max_body_bytes = 65536;
    static uint8_t large[65536];
    struct session_publish message = {
        .topic = {(const uint8_t *)"a", 1},
        .payload = {large, 65536 - 4 - 1},
    };
    size_t size;
    cr_assert_eq(
        session_publish_check(&fake->session, &message, &size), BROKER_OK);
    cr_assert_eq(size, 65536 + BROKER_HEADER_BYTES);
    message.payload.len++;
    cr_assert_eq(session_publish_check(&fake->session, &message, &size),
        BROKER_E_TOO_LARGE);
    cr_assert(strstr(fake->session.error_text, "65536") != NULL);
}

Test(session, the_buffer_is_bounded_and_takes_one_large_message)
{
    fake_free(fake);
    fake = fake_new(4096, BUFFER);
    fake_open(fake, 0);
    static char large[10000];
    memset(large, 'x', sizeof large - 1);
    cr_assert_eq(fake_publish(fake, "a", large, true), BROKER_OK);
    cr_assert_eq(fake_publish(fake, "a", "x", false), BROKER_E_BUFFER_FULL);
    fake_write(fake, SIZE_MAX);
    /* Written, and not acknowledged: still held. */
    cr_assert_eq(fake_publish(fake, "a", "x", false), BROKER_E_BUFFER_FULL);
    cr_assert_eq(fake_puback(fake, 1, 1, 0), BROKER_OK);
    cr_assert_eq(fake_publish(fake, "a", "x", false), BROKER_OK);
}

static void
publish_again(struct fake *f, const struct broker_client_published *published)
{
    (void)published;
    if (f->call_count < 100) {
        f->locked = 1; /* as the public call would */
        enum broker_status status = fake_publish(f, "again", "x", true);
        f->locked = 0;
        cr_assert_eq(status, BROKER_OK);
    }
}

Test(session, a_callback_may_publish)
{
    /* More than the ring holds at first, so that it grows while an answer for
     * many is worked off. */
    fake->on_published = publish_again;
    for (int i = 0; i < 60; i++) {
        cr_assert_eq(fake_publish(fake, "a", "x", true), BROKER_OK);
    }
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(fake_puback(fake, 60, 60, 0), BROKER_OK);
    cr_assert_eq(fake->call_count, 60);
    cr_assert_eq(fake->session.publishes.count, 60);
}

/* ---- subscribing --------------------------------------------------------- */

Test(session, a_message_comes_once_for_each_of_its_subscriptions)
{
    uint32_t ids[2] = {
        fake_subscribe(fake, "a/#"), fake_subscribe(fake, "a/b")};
    cr_assert_eq(fake_suback(fake, ids[0]), BROKER_OK);
    cr_assert_eq(fake_suback(fake, ids[1]), BROKER_OK);
    expect_call(FAKE_SUBSCRIBED, BROKER_OK);
    expect_call(FAKE_SUBSCRIBED, BROKER_OK);
    cr_assert_eq(
        fake_context(fake, ids, 2, BROKER_CONTEXT_RETAINED), BROKER_OK);
    cr_assert_eq(fake_message(fake, "a/b", "hello"), BROKER_OK);
    for (uint32_t i = 0; i < 2; i++) {
        const struct fake_call *call = fake_call(fake);
        cr_assert_eq(call->kind, FAKE_MESSAGE);
        cr_assert_eq(call->subscription, ids[i]);
        cr_assert_eq(call->nth, i);
        cr_assert(call->retained);
        cr_assert_str_eq(call->topic, "a/b");
        cr_assert_str_eq(call->payload, "hello");
    }
    cr_assert_null(fake_call(fake));
    cr_assert_eq(fake->session.stats.messages_received, 1);
    /* The context stays until the next one. */
    cr_assert_eq(fake_context(fake, ids, 1, 0), BROKER_OK);
    cr_assert_eq(fake_gap(fake, ids[0], 10, 270), BROKER_OK);
    cr_assert_eq(fake_message(fake, "a/c", ""), BROKER_OK);
    const struct fake_call *call = fake_call(fake);
    cr_assert_eq(call->kind, FAKE_GAP);
    cr_assert_eq(call->count, 10);
    cr_assert_eq(call->reason, BROKER_GAP_OVERFLOW);
    call = fake_call(fake);
    cr_assert_eq(call->kind, FAKE_MESSAGE);
    cr_assert_not(call->retained);
}

Test(session, a_refused_subscription_ends)
{
    uint32_t id = fake_subscribe(fake, "a");
    cr_assert_eq(fake_error(fake, id, BROKER_E_TOO_MANY_SUBSCRIPTIONS,
                     BROKER_FRAME_SUBSCRIBE, BROKER_CLASS_REQUEST),
        BROKER_OK);
    expect_call(FAKE_SUBSCRIBED, BROKER_E_TOO_MANY_SUBSCRIPTIONS);
    cr_assert_null(fake_call(fake));
    cr_assert_null(subscriptions_find(&fake->session.subscriptions, id));
}

static void
ended(struct broker_client *client,
    const struct broker_client_unsubscribed *unsubscribed, void *user)
{
    (void)client;
    *(struct broker_client_unsubscribed *)user = *unsubscribed;
}

Test(session, unsubscribe_without_drain_silences_at_once)
{
    struct broker_client_unsubscribed books = {0};
    uint32_t id = fake_subscribe(fake, "a");
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    cr_assert_eq(fake_context(fake, &id, 1, 0), BROKER_OK);
    expect_call(FAKE_SUBSCRIBED, BROKER_OK);
    cr_assert_eq(session_unsubscribe(&fake->session, id, false, ended, &books),
        BROKER_OK);
    cr_assert_eq(session_unsubscribe(&fake->session, id, false, ended, &books),
        BROKER_E_UNKNOWN_SUBSCRIPTION);
    cr_assert_eq(fake_message(fake, "a", "late"), BROKER_OK);
    cr_assert_eq(fake_gap(fake, id, 1, 1), BROKER_OK);
    cr_assert_null(fake_call(fake));
    cr_assert_eq(fake_unsuback(fake, id), BROKER_OK);
    cr_assert_eq(books.status, BROKER_OK);
    cr_assert_eq(books.matched, 5);
    cr_assert_eq(books.delivered, 3);
    cr_assert_eq(books.dropped, 2);
    /* The context still names it; nothing may happen. */
    cr_assert_eq(fake_message(fake, "a", "later"), BROKER_OK);
    cr_assert_null(fake_call(fake));
}

Test(session, unsubscribe_with_drain_delivers_to_the_end)
{
    struct broker_client_unsubscribed books = {0};
    struct broker_frame frame;
    uint32_t id = fake_subscribe(fake, "a");
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    cr_assert_eq(fake_context(fake, &id, 1, 0), BROKER_OK);
    cr_assert_eq(session_unsubscribe(&fake->session, id, true, ended, &books),
        BROKER_OK);
    cr_assert(fake_skip_to(fake, BROKER_FRAME_UNSUBSCRIBE, &frame));
    cr_assert_eq(frame.flags, BROKER_UNSUBSCRIBE_DRAIN);
    cr_assert_eq(fake_message(fake, "a", "queued"), BROKER_OK);
    expect_call(FAKE_SUBSCRIBED, BROKER_OK);
    expect_call(FAKE_MESSAGE, BROKER_OK);
    cr_assert_eq(fake_unsuback(fake, id), BROKER_OK);
    cr_assert_eq(books.matched, 5);
}

static uint32_t other_subscription;

static void
unsubscribe_other(struct fake *f, const struct broker_message *message)
{
    (void)message;
    f->locked = 1;
    enum broker_status status =
        session_unsubscribe(&f->session, other_subscription, false, NULL, NULL);
    f->locked = 0;
    (void)status;
}

Test(session, a_callback_may_unsubscribe_the_next_one)
{
    uint32_t ids[2] = {fake_subscribe(fake, "a"), fake_subscribe(fake, "+")};
    cr_assert_eq(fake_suback(fake, ids[0]), BROKER_OK);
    cr_assert_eq(fake_suback(fake, ids[1]), BROKER_OK);
    cr_assert_eq(fake_context(fake, ids, 2, 0), BROKER_OK);
    fake->call_next = fake->call_count;
    other_subscription = ids[1];
    fake->on_message = unsubscribe_other;
    cr_assert_eq(fake_message(fake, "a", "x"), BROKER_OK);
    const struct fake_call *call = fake_call(fake);
    cr_assert_eq(call->subscription, ids[0]);
    cr_assert_null(fake_call(fake));
}

static void
stop_after_one(struct fake *f, const struct broker_message *message)
{
    (void)message;
    atomic_fetch_add(&f->stop_count, 1);
}

Test(session, input_is_left_alone_after_stop)
{
    uint32_t id = fake_subscribe(fake, "a");
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    cr_assert_eq(fake_context(fake, &id, 1, 0), BROKER_OK);
    fake->call_next = fake->call_count;
    fake->on_message = stop_after_one;
    cr_assert_eq(fake_message(fake, "a", "1"), BROKER_OK);
    cr_assert_eq(fake_message(fake, "a", "2"), BROKER_OK);
    cr_assert_eq(fake->call_count - fake->call_next, 1);
    cr_assert(session_has_input(&fake->session));
    fake->session.stop_mark = 1;
    cr_assert_eq(
        session_process(&fake->session, fake->now_us, false), BROKER_OK);
    cr_assert_eq(fake->call_count - fake->call_next, 2);
}

/* ---- messages as values -------------------------------------------------- */

Test(session, next_takes_messages_and_gaps_as_values)
{
    uint32_t id = fake_subscribe_next(fake, "a");
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    cr_assert_eq(fake_context(fake, &id, 1, 0), BROKER_OK);
    cr_assert_eq(fake_message(fake, "a", "one"), BROKER_OK);
    cr_assert_eq(fake_gap(fake, id, 4, 100), BROKER_OK);
    struct inbox_entry *entry = session_take_event(&fake->session);
    cr_assert_eq(entry->event.kind, BROKER_CLIENT_EVENT_MESSAGE);
    cr_assert_eq(entry->message.subscription, id);
    cr_assert_eq(memcmp(entry->message.payload.data, "one", 3), 0);
    broker_client_event_free(&entry->event);
    entry = session_take_event(&fake->session);
    cr_assert_eq(entry->event.kind, BROKER_CLIENT_EVENT_GAP);
    cr_assert_eq(entry->gap.count, 4);
    cr_assert_eq(entry->gap.subscriptions[0], id);
    broker_client_event_free(&entry->event);
    cr_assert_null(session_take_event(&fake->session));
}

Test(session, what_next_does_not_take_becomes_a_gap)
{
    fake_free(fake);
    fake = fake_new(BUFFER, 1000);
    fake_open(fake, 0);
    uint32_t id = fake_subscribe_next(fake, "a");
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    cr_assert_eq(fake_context(fake, &id, 1, 0), BROKER_OK);
    uint64_t sent = 0, got = 0, missing = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20; i++, sent++) {
            cr_assert_eq(fake_message(fake, "a", "0123456789"), BROKER_OK);
        }
        struct inbox_entry *entry;
        while ((entry = session_take_event(&fake->session)) != NULL) {
            if (entry->event.kind == BROKER_CLIENT_EVENT_GAP) {
                cr_assert_eq(entry->gap.reason, BROKER_CLIENT_GAP_INBOX);
                missing += entry->gap.count;
            } else {
                got++;
            }
            broker_client_event_free(&entry->event);
        }
    }
    cr_assert_gt(missing, 0);
    cr_assert_eq(got + missing, sent);
}

/* ---- requests ------------------------------------------------------------ */

/* The reply topic of the request that is written next. */
static void
take_reply_topic(char topic[REQUEST_TOPIC_BYTES_MAX + 1], uint32_t *number)
{
    struct broker_frame frame;
    struct broker_publish publish;
    struct broker_bytes reply_to;
    cr_assert(fake_skip_to(fake, BROKER_FRAME_PUBLISH, &frame));
    cr_assert_eq(broker_publish_decode(&frame, &publish), BROKER_OK);
    cr_assert(broker_tlv_find(publish.headers, BROKER_TAG_REPLY_TO, &reply_to));
    cr_assert_leq(reply_to.len, REQUEST_TOPIC_BYTES_MAX);
    memcpy(topic, reply_to.data, reply_to.len);
    topic[reply_to.len] = '\0';
    *number = publish.id;
    cr_assert_neq(publish.id, 0);
}

Test(session, requests_are_answered_each_by_its_own_reply)
{
    char first[REQUEST_TOPIC_BYTES_MAX + 1],
        second[REQUEST_TOPIC_BYTES_MAX + 1];
    uint32_t number, inbox = 1;
    struct broker_frame frame;
    cr_assert_eq(fake_request(fake, "q", S), BROKER_OK);
    cr_assert_eq(fake_request(fake, "q", S), BROKER_OK);
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(frame.type, BROKER_FRAME_SUBSCRIBE);
    take_reply_topic(first, &number);
    take_reply_topic(second, &number);
    cr_assert_eq(fake_suback(fake, inbox), BROKER_OK);
    cr_assert_eq(fake_puback(fake, 2, 2, 1), BROKER_OK);
    cr_assert_eq(fake_context(fake, &inbox, 1, 0), BROKER_OK);
    cr_assert_eq(fake_message(fake, second, "two"), BROKER_OK);
    cr_assert_eq(fake_message(fake, first, "one"), BROKER_OK);
    cr_assert_eq(fake_message(fake, first, "again"), BROKER_OK);
    const struct fake_call *call = fake_call(fake);
    cr_assert_eq(call->kind, FAKE_REPLY);
    cr_assert_str_eq(call->payload, "two");
    call = fake_call(fake);
    cr_assert_str_eq(call->payload, "one");
    cr_assert_null(fake_call(fake), "a second reply is nobody's");
    cr_assert_eq(fake->session.requests.count, 0);
}

Test(session, a_reply_may_come_before_the_puback)
{
    char topic[REQUEST_TOPIC_BYTES_MAX + 1];
    uint32_t number, inbox = 1;
    cr_assert_eq(fake_request(fake, "q", S), BROKER_OK);
    take_reply_topic(topic, &number);
    cr_assert_eq(fake_suback(fake, inbox), BROKER_OK);
    cr_assert_eq(fake_context(fake, &inbox, 1, 0), BROKER_OK);
    cr_assert_eq(fake_message(fake, topic, "early"), BROKER_OK);
    expect_call(FAKE_REPLY, BROKER_OK);
    cr_assert_eq(fake_puback(fake, number, 1, 1), BROKER_OK);
    cr_assert_null(fake_call(fake));
    cr_assert_eq(fake->session.publishes.count, 0);
}

Test(session, a_request_that_nobody_answers)
{
    char topic[REQUEST_TOPIC_BYTES_MAX + 1];
    uint32_t number;
    cr_assert_eq(fake_request(fake, "q", S), BROKER_OK);
    take_reply_topic(topic, &number);
    cr_assert_eq(fake_error(fake, number, BROKER_E_NO_SUBSCRIBERS,
                     BROKER_FRAME_PUBLISH, BROKER_CLASS_REQUEST),
        BROKER_OK);
    expect_call(FAKE_REPLY, BROKER_E_NO_SUBSCRIBERS);
    cr_assert_null(fake_call(fake));

    cr_assert_eq(fake_request(fake, "q", 500 * MS), BROKER_OK);
    cr_assert_eq(fake_request(fake, "q", 100 * MS), BROKER_OK);
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(session_deadline_us(&fake->session), fake->now_us + 100 * MS);
    fake->now_us += 100 * MS;
    cr_assert_eq(session_tick(&fake->session, fake->now_us), BROKER_OK);
    expect_call(FAKE_REPLY, BROKER_E_TIMEOUT);
    cr_assert_null(fake_call(fake));
    fake->now_us += 400 * MS;
    cr_assert_eq(session_tick(&fake->session, fake->now_us), BROKER_OK);
    expect_call(FAKE_REPLY, BROKER_E_TIMEOUT);
    /* The answers for their messages still come. */
    cr_assert_eq(fake_puback(fake, number + 2, 2, 1), BROKER_OK);
    cr_assert_null(fake_call(fake));
}

/* ---- flush, ping, heartbeat ---------------------------------------------- */

static uint32_t
take_ping_id(void)
{
    struct broker_frame frame;
    cr_assert(fake_skip_to(fake, BROKER_FRAME_PING, &frame));
    return frame.id;
}

Test(session, flush_waits_for_pong_and_acknowledgements)
{
    cr_assert_eq(fake_publish(fake, "a", "x", true), BROKER_OK);
    fake_flush(fake);
    /* Later ones do not count. */
    cr_assert_eq(fake_publish(fake, "a", "y", true), BROKER_OK);
    uint32_t ping = take_ping_id();
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(fake_pong(fake, ping), BROKER_OK);
    cr_assert_null(fake_call(fake));
    cr_assert_eq(fake_puback(fake, 1, 1, 0), BROKER_OK);
    expect_call(FAKE_PUBLISHED, BROKER_OK);
    expect_call(FAKE_PONGED, BROKER_OK);
    fake_flush(fake);
    ping = take_ping_id();
    cr_assert_eq(fake_puback(fake, 2, 1, 0), BROKER_OK);
    expect_call(FAKE_PUBLISHED, BROKER_OK);
    cr_assert_null(fake_call(fake));
    cr_assert_eq(fake_pong(fake, ping), BROKER_OK);
    expect_call(FAKE_PONGED, BROKER_OK);
}

Test(session, a_round_trip_is_measured)
{
    fake_flush(fake);
    fake->now_us += 70;
    cr_assert_eq(fake_pong(fake, take_ping_id()), BROKER_OK);
    cr_assert_eq(fake->session.stats.round_trip_us, 70);
    cr_assert_eq(fake->session.stats.round_trip_least_us, 70);
    /* Behind a queue it would measure the queue. */
    cr_assert_eq(fake_publish(fake, "a", "x", false), BROKER_OK);
    fake_flush(fake);
    fake->now_us += 9999;
    cr_assert_eq(fake_pong(fake, take_ping_id()), BROKER_OK);
    cr_assert_eq(fake->session.stats.round_trip_us, 70);
}

Test(session, a_ping_of_the_broker_is_answered_with_its_bytes)
{
    struct broker_frame frame;
    struct broker_ping pong;
    cr_assert_eq(fake_ping(fake, 77), BROKER_OK);
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(frame.type, BROKER_FRAME_PONG);
    cr_assert_eq(frame.id, 77);
    cr_assert_eq(broker_ping_decode(&frame, &pong), BROKER_OK);
    cr_assert_eq(pong.opaque[7], 8);
}

Test(session, pings_that_are_not_read_are_bounded)
{
    fake_free(fake);
    fake = fake_new(4096, BUFFER);
    fake_open(fake, 0);
    fake->session.config.max_body_bytes = 65536; /* less to fill */
    enum broker_status status = BROKER_OK;
    size_t pings = 0;
    while (status == BROKER_OK && pings < 200000) {
        status = fake_ping(fake, 1);
        pings++;
    }
    cr_assert_eq(status, BROKER_E_WRITE_TIMEOUT);
    cr_assert_leq(fake->session.log.bytes, (size_t)2 << 20);
}

Test(session, silence_is_answered_by_ping_and_then_by_the_end)
{
    struct broker_frame frame;
    uint64_t start = fake->now_us;
    cr_assert_eq(session_deadline_us(&fake->session), start + 15 * S);
    fake->now_us = start + 15 * S - 1;
    cr_assert_eq(session_tick(&fake->session, fake->now_us), BROKER_OK);
    cr_assert_not(fake_take_frame(fake, &frame));
    fake->now_us = start + 15 * S;
    cr_assert_eq(session_tick(&fake->session, fake->now_us), BROKER_OK);
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(frame.type, BROKER_FRAME_PING);
    cr_assert_eq(session_deadline_us(&fake->session), start + 45 * S);
    fake->now_us = start + 45 * S;
    cr_assert_eq(
        session_tick(&fake->session, fake->now_us), BROKER_E_HEARTBEAT_TIMEOUT);
}

Test(session, any_byte_counts_as_life)
{
    struct broker_frame frame;
    fake->now_us += 15 * S;
    cr_assert_eq(session_tick(&fake->session, fake->now_us), BROKER_OK);
    fake->now_us += 10 * S;
    cr_assert_eq(fake_feed(fake, (const uint8_t[]){0}, 1), BROKER_OK);
    fake->now_us += 14 * S;
    cr_assert_eq(session_tick(&fake->session, fake->now_us), BROKER_OK);
    fake->now_us += 1 * S;
    fake_write(fake, SIZE_MAX);
    fake_forget(fake); /* the first PING */
    cr_assert_eq(session_tick(&fake->session, fake->now_us), BROKER_OK);
    cr_assert(fake_skip_to(fake, BROKER_FRAME_PING, &frame));
}

Test(session, who_slept_asks_once_more_before_it_judges)
{
    struct broker_frame frame;
    fake->now_us += 3600 * S;
    cr_assert_eq(session_tick(&fake->session, fake->now_us), BROKER_OK);
    cr_assert(fake_skip_to(fake, BROKER_FRAME_PING, &frame));
    fake->now_us += 15 * S - 1;
    cr_assert_eq(session_tick(&fake->session, fake->now_us), BROKER_OK);
    fake->now_us += 1;
    cr_assert_eq(
        session_tick(&fake->session, fake->now_us), BROKER_E_HEARTBEAT_TIMEOUT);
}

/* ---- the broker's last words --------------------------------------------- */

Test(session, goaway_says_why_and_when_to_come_back)
{
    cr_assert_eq(
        fake_goaway(fake, BROKER_E_SHUTTING_DOWN, 700), BROKER_E_SHUTTING_DOWN);
    cr_assert_eq(fake->session.retry_after_ms, 700);
    cr_assert(strstr(fake->session.error_text, "SHUTTING_DOWN") != NULL);
}

Test(session, leaving_says_goaway_and_nothing_after_it)
{
    struct broker_frame frame;
    struct broker_goaway goaway;
    cr_assert_eq(session_leave(&fake->session), BROKER_OK);
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(broker_goaway_decode(&frame, &goaway), BROKER_OK);
    cr_assert_eq(goaway.code, BROKER_E_LEAVING);
    cr_assert_eq(fake_ping(fake, 1), BROKER_OK);
    cr_assert_not(fake_take_frame(fake, &frame));
}
