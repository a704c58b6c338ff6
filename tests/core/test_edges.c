/* SPDX-License-Identifier: MIT
 *
 * What clients seldom do: frames that are refused for their fields or their
 * header, requests and publishes with something odd about them, connections
 * that end twice; and what an operator sees of a session. PROTOCOL.md sections
 * 3 to 5. */
#include "expect.h"
#include "session.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
subscribe(struct fake_peer *peer, uint32_t id, const char *filter)
{
    struct say say = {0};
    say_subscribe(&say, id, filter);
    expect_fed(peer, &say);
    expect_suback(peer, id, 0);
}

/* ---- what an operator sees ----------------------------------------------- */

Test(edges, what_a_session_says_of_itself)
{
    static const uint8_t name[] = {0, 1, 0, 3, 'b', 'e', 'e'};
    struct broker_hello hello = say_hello_default;
    struct broker_welcome welcome;
    struct session_stats stats;
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = fake_connect(&net);
    cr_assert_eq(core_next_session(net.core, NULL), peer->session);
    session_get_stats(peer->session, &stats);
    cr_assert_str_eq(stats.name, "");
    cr_assert_str_eq(stats.state, "handshake");
    fake_drop(peer);
    hello.tlvs = (struct broker_bytes){name, sizeof name};
    peer = expect_open_with(&net, &hello, &welcome);
    subscribe(peer, 1, "a");
    fake_advance(&net, 700);
    struct say say = {0};
    say_publish(&say, 0, "a", "xyz");
    size_t message_bytes = say.len;
    say_publish(&say, 0, "a", "xyz");
    say_publish(&say, 0, "b", "x");
    expect_fed(peer, &say);
    session_get_stats(peer->session, &stats);
    cr_assert_eq(stats.id, peer->session->id);
    cr_assert_str_eq(stats.name, "bee");
    cr_assert_eq(stats.peer, peer->session->peer);
    cr_assert_str_eq(stats.state, "open");
    cr_assert_eq(stats.age_ms, 700);
    cr_assert_eq(stats.subscriptions, 1);
    cr_assert_eq(stats.received_messages, 3);
    cr_assert_eq(stats.delivered_messages, 0);
    cr_assert_eq(stats.queued_messages, 2);
    cr_assert_geq(stats.queued_bytes, 2 * message_bytes);
    cr_assert_eq(stats.queued_bytes, session_queued_bytes(peer->session));
    expect_context(peer, 1, 0, 0);
    expect_publish(peer, "a", "xyz");
    expect_publish(peer, "a", "xyz");
    session_get_stats(peer->session, &stats);
    cr_assert_eq(stats.delivered_messages, 2);
    cr_assert_eq(stats.delivered_bytes, peer->received_bytes);
    cr_assert_eq(stats.dropped_messages, 0);
    cr_assert_eq(stats.queued_messages, 0);
    cr_assert_eq(session_queued_bytes(peer->session), 0);
    fake_net_fini(&net);
}

/* ---- fields -------------------------------------------------------------- */

/* A frame of this type whose fields are `tlvs`, behind `fixed` zeros. */
static void
say_fields(struct say *say, uint16_t type, uint32_t id, uint32_t fixed,
    const void *tlvs, uint32_t tlv_bytes)
{
    say_frame(say, type, 0, id, fixed + tlv_bytes);
    memcpy(say->bytes + say->len - tlv_bytes, tlvs, tlv_bytes);
}

static const uint8_t cut_field[] = {0, 1, 0, 9, 'x'};
static const uint8_t critical_field[] = {0xC1, 0x23, 0, 1, 'x'};

static void
fields_are_fatal(uint16_t type, uint32_t fixed)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_fields(&say, type, 5, fixed, cut_field, sizeof cut_field);
    say_ping(&say, 6); /* nobody hears it */
    expect_fed(peer, &say);
    expect_error(peer, BROKER_E_MALFORMED, 5, type);
    expect_goaway(peer, BROKER_E_MALFORMED);
    cr_assert_eq(net.logged[CORE_EVENT_PROTOCOL_ERROR], 1);
    fake_net_fini(&net);
}

Test(edges, a_field_that_is_cut_ends_the_connection)
{
    fields_are_fatal(BROKER_FRAME_GOAWAY, 8);
    fields_are_fatal(BROKER_FRAME_UNSUBSCRIBE, 0);
}

/* The frame is refused, and the connection lives. */
Test(edges, a_field_that_must_be_understood_is_refused)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    subscribe(peer, 5, "a");
    struct say say = {0};
    say_fields(&say, BROKER_FRAME_UNSUBSCRIBE, 5, 0, critical_field,
        sizeof critical_field);
    struct broker_subscribe subscribe = {.id = 6,
        .filter = say_text("b"),
        .tlvs = {critical_field, sizeof critical_field}};
    uint8_t bytes[64];
    size_t n;
    cr_assert_eq(broker_subscribe_encode(&subscribe, bytes, sizeof bytes, &n),
        BROKER_OK);
    say_bytes(&say, bytes, n);
    say_publish(&say, 1, "a", "x");
    expect_fed(peer, &say);
    expect_error(peer, BROKER_E_UNKNOWN_TAG, 5, BROKER_FRAME_UNSUBSCRIBE);
    expect_error(peer, BROKER_E_UNKNOWN_TAG, 6, BROKER_FRAME_SUBSCRIBE);
    expect_puback(peer, 1, 1, 1, 0); /* 5 is there, 6 is not */
    fake_net_fini(&net);
}

/* ---- headers ------------------------------------------------------------- */

/* A connection that is not open yet is not told of limits. */
Test(edges, before_hello_every_other_header_is_unexpected)
{
    static const struct {
        uint16_t type, flags;
        uint32_t body_bytes;
        enum broker_status code;
    } frames[] = {{0x0077, 0, 4, BROKER_E_UNEXPECTED_FRAME},
        {BROKER_FRAME_PUBLISH, 0, BROKER_BODY_BYTES_MIN + 1,
            BROKER_E_UNEXPECTED_FRAME},
        {BROKER_FRAME_HELLO, 0x0080, 40, BROKER_E_BAD_FLAGS},
        {BROKER_FRAME_HELLO, 0, 39, BROKER_E_MALFORMED}};
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        struct fake_net net;
        expect_net(&net);
        struct fake_peer *peer = fake_connect(&net);
        struct say say = {0};
        say_frame(
            &say, frames[i].type, frames[i].flags, 3, frames[i].body_bytes);
        expect_fed(peer, &say);
        expect_error(peer, frames[i].code, 3, frames[i].type);
        expect_goaway(peer, frames[i].code);
        fake_net_fini(&net);
    }
}

/* Each is skipped to its last byte; only publishes count as refused ones. */
Test(edges, bodies_over_the_limit)
{
    struct core_options options = fake_options();
    options.max_body_bytes = BROKER_BODY_BYTES_MIN;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_frame(&say, BROKER_FRAME_SUBSCRIBE, 0, 1, BROKER_BODY_BYTES_MIN + 1);
    say_frame(&say, BROKER_FRAME_PUBLISH, 0, 2, BROKER_BODY_BYTES_MIN + 1);
    say_frame(&say, BROKER_FRAME_PUBLISH, 0, 0, BROKER_BODY_BYTES_MIN + 1);
    say_publish(&say, 3, "a", "x");
    expect_fed(peer, &say);
    expect_error(peer, BROKER_E_TOO_LARGE, 1, BROKER_FRAME_SUBSCRIBE);
    expect_error(peer, BROKER_E_TOO_LARGE, 2, BROKER_FRAME_PUBLISH);
    expect_error(peer, BROKER_E_TOO_LARGE, 0, BROKER_FRAME_PUBLISH);
    expect_puback(peer, 3, 1, 0, 0);
    cr_assert_eq(net.core->totals.refused_publishes, 2);
    fake_net_fini(&net);
}

/* The peer ends while what it sent is being skipped: that is an end within a
 * frame, although nothing is kept of it. */
Test(edges, an_end_within_what_is_skipped_is_noted)
{
    struct core_options options = fake_options();
    options.max_body_bytes = BROKER_BODY_BYTES_MIN;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_frame(&say, BROKER_FRAME_PUBLISH, 0, 2, BROKER_BODY_BYTES_MIN + 1);
    fake_feed(peer, say.bytes, 5000);
    say_fini(&say);
    cr_assert_null(peer->session->intake.block);
    fake_end_input(peer);
    expect_error(peer, BROKER_E_TOO_LARGE, 2, BROKER_FRAME_PUBLISH);
    expect_nothing(peer);
    cr_assert_null(peer->session);
    cr_assert_eq(net.logged[CORE_EVENT_PROTOCOL_ERROR], 1);
    cr_assert_eq(net.core->totals.protocol_errors, 1);
    fake_net_fini(&net);
}

/* ---- publishes ----------------------------------------------------------- */

/* RETRY asks about a number; without one there is nothing to ask. */
Test(edges, a_retry_without_a_number_is_a_publish)
{
    static const struct say_message message = {
        .flags = BROKER_PUBLISH_RETRY, .topic = "a"};
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    subscribe(peer, 1, "a");
    struct say say = {0};
    say_publish(&say, 9, "b", "x");
    say_message(&say, &message);
    expect_fed(peer, &say);
    expect_puback(peer, 9, 1, 0, 0);
    expect_context(peer, 1, 0, 0);
    expect_publish(peer, "a", "");
    fake_net_fini(&net);
}

/* Fields that mean nothing to the broker are delivered with the rest, and end
 * no run of others. */
Test(edges, fields_of_publishes_are_delivered_as_they_are)
{
    static const uint8_t field[] = {0x41, 0x23, 0, 2, 'h', 'i'};
    struct broker_publish publish = {.topic = say_text("a"),
        .headers = {field, sizeof field},
        .payload = say_text("x")};
    uint8_t bytes[64];
    size_t n;
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    subscribe(peer, 1, "a");
    struct say say = {0};
    say_publish(&say, 0, "a", "before");
    cr_assert_eq(
        broker_publish_encode(&publish, bytes, sizeof bytes, &n), BROKER_OK);
    say_bytes(&say, bytes, n);
    say_bytes(&say, bytes, n);
    say_publish(&say, 0, "a", "after");
    expect_fed(peer, &say);
    expect_context(peer, 1, 0, 0);
    expect_publish(peer, "a", "before");
    for (int i = 0; i < 2; i++) {
        struct broker_frame frame = expect_frame(peer, BROKER_FRAME_PUBLISH);
        cr_assert_eq(frame.body.len, n - BROKER_HEADER_BYTES);
        cr_assert_eq(memcmp(frame.body.data, bytes + BROKER_HEADER_BYTES,
                         frame.body.len),
            0);
    }
    expect_publish(peer, "a", "after");
    fake_net_fini(&net);
}

/* Who asked for no acknowledgement is told which topic it was, however long
 * that is. */
Test(edges, a_long_topic_is_named_when_it_is_refused)
{
    char topic[1000];
    memset(topic, 't', sizeof topic);
    topic[sizeof topic - 2] = '+';
    topic[sizeof topic - 1] = '\0';
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_publish(&say, 0, topic, "x");
    expect_fed(peer, &say);
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_ERROR);
    struct broker_error error;
    struct broker_bytes named;
    cr_assert_eq(broker_error_decode(&frame, &error), BROKER_OK);
    cr_assert_eq(error.code, BROKER_E_BAD_TOPIC);
    cr_assert(broker_tlv_find(error.tlvs, BROKER_TAG_TOPIC, &named));
    cr_assert_eq(named.len, sizeof topic - 1);
    cr_assert_eq(memcmp(named.data, topic, named.len), 0);
    fake_net_fini(&net);
}

/* ---- requests ------------------------------------------------------------ */

/* Says more than was asked of it. */
static enum broker_status
talkative(void *arg, const struct core *core, struct broker_bytes topic,
    struct broker_bytes payload, struct buffer *reply)
{
    size_t bytes = core->options.max_body_bytes;
    uint8_t *dst = buffer_reserve(reply, bytes);
    (void)arg;
    (void)topic;
    cr_assert_not_null(dst);
    memset(dst, 'x', bytes);
    buffer_commit(reply, payload.len > 0 ? bytes : bytes - 16);
    return BROKER_OK;
}

static void
reply_over_the_limit(uint32_t max_body_bytes)
{
    struct core_options options = fake_options();
    options.max_body_bytes = max_body_bytes;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    net.core->hooks.answer = talkative;
    struct fake_peer *peer = expect_open(&net);
    subscribe(peer, 1, "r");
    struct say_message ask = {.id = 1,
        .topic = "$sys/all",
        .reply_to = "r",
        .payload = "?",
        .payload_bytes = 1};
    struct say say = {0};
    say_message(&say, &ask);
    ask.id = 2;
    ask.payload_bytes = 0;
    say_message(&say, &ask);
    expect_fed(peer, &say);
    expect_error(peer, BROKER_E_TOO_LARGE, 1, BROKER_FRAME_PUBLISH);
    expect_puback(peer, 2, 1, 1, 0);
    expect_context(peer, 1, 0, 0);
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_PUBLISH);
    cr_assert_leq(frame.body.len, max_body_bytes);
    fake_net_fini(&net);
}

Test(edges, a_reply_of_the_broker_over_the_limit)
{
    reply_over_the_limit(BROKER_BODY_BYTES_MIN);
    reply_over_the_limit(BROKER_BODY_BYTES_MAX); /* no frame is as large */
}

/* ---- retained values ----------------------------------------------------- */

Test(edges, many_retained_values_for_one_subscription)
{
    enum { VALUES = 50 };
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    char topic[16];
    for (int i = 0; i < VALUES; i++) {
        snprintf(topic, sizeof topic, "v/%d", i);
        struct say_message value = {.flags = BROKER_PUBLISH_RETAIN,
            .topic = topic,
            .payload = topic,
            .payload_bytes = strlen(topic)};
        say_message(&say, &value);
    }
    say_subscribe(&say, 1, "v/+");
    expect_fed(peer, &say);
    expect_suback(peer, 1, VALUES);
    (void)expect_frame(peer, BROKER_FRAME_CONTEXT);
    for (int i = 0; i < VALUES; i++) { /* in the order of their publishing */
        snprintf(topic, sizeof topic, "v/%d", i);
        expect_publish(peer, topic, topic);
    }
    expect_nothing(peer);
    fake_net_fini(&net);
}

/* ---- the end of connections ---------------------------------------------- */

Test(edges, a_connection_ends_once)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = fake_connect(&net);
    session_free(NULL);
    session_reject(peer->session, BROKER_E_TOO_MANY_CONNECTIONS);
    session_reject(peer->session, BROKER_E_SHUTTING_DOWN);
    session_close_drained(peer->session, BROKER_E_LEAVING);
    session_fail(peer->session, BROKER_E_INTERNAL, 1, 1);
    session_end_of_input(peer->session);
    cr_assert_eq(net.core->totals.protocol_errors, 0);
    expect_goaway(peer, BROKER_E_TOO_MANY_CONNECTIONS);
    fake_net_fini(&net);
}

/* Whoever allows no time for replies waits for none. */
Test(edges, without_lingering_a_request_ends_with_the_half_close)
{
    struct core_options options = fake_options();
    options.half_close_linger_ms = 0;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *server = expect_open(&net);
    struct fake_peer *asker = expect_open(&net);
    subscribe(server, 1, "time");
    subscribe(asker, 1, "inbox");
    struct say say = {0};
    say_request(&say, 1, "time", "inbox");
    expect_fed(asker, &say);
    fake_end_input(asker);
    expect_puback(asker, 1, 1, 1, 0);
    expect_nothing(asker);
    cr_assert_null(asker->session);
    fake_net_fini(&net);
}

/* Who said goodbye and waits for replies is not listened to any more. */
Test(edges, nothing_is_heard_after_goodbye)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *server = expect_open(&net);
    struct fake_peer *asker = expect_open(&net);
    subscribe(server, 1, "time");
    subscribe(asker, 1, "inbox");
    struct say say = {0};
    say_request(&say, 1, "time", "inbox");
    say_goaway(&say);
    say_publish(&say, 2, "time", "x");
    say_ping(&say, 3);
    expect_fed(asker, &say);
    expect_puback(asker, 1, 1, 1, 0);
    expect_nothing(asker);
    cr_assert_not_null(asker->session);
    expect_context(server, 1, 0, 0);
    (void)expect_frame(server, BROKER_FRAME_PUBLISH);
    expect_nothing(server);
    fake_net_fini(&net);
}

/* A core that is alone has no mail to read. */
Test(edges, one_worker_has_no_mail)
{
    struct fake_net net;
    expect_net(&net);
    cr_assert(core_read_mail(net.core));
    core_post_mail(net.core);
    fake_net_fini(&net);
}

/* ---- a large set --------------------------------------------------------- */

/* A CONTEXT of 20 KB, cut anywhere, arrives whole. */
Test(edges, a_context_larger_than_a_socket_takes)
{
    enum { IDS = 5000 };
    struct core_options options = fake_options();
    options.max_subscriptions = IDS;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    for (uint32_t id = 1; id <= IDS; id++) {
        say_subscribe(&say, id, "a");
    }
    fake_feed_say(peer, &say, SIZE_MAX);
    for (uint32_t id = 1; id <= IDS; id++) {
        expect_suback(peer, id, 0);
    }
    size_t before = peer->received_bytes;
    for (size_t cut = 1; cut < BROKER_HEADER_BYTES + IDS * 4; cut += 1999) {
        say_publish(&say, 0, "b", "x");
        say_publish(&say, 0, "a", "one");
        expect_fed(peer, &say);
        cr_assert_eq(fake_take(peer, cut), cut);
        say_ping(&say, 1); /* may not stand within the frame */
        expect_fed(peer, &say);
        struct broker_frame frame = expect_frame(peer, BROKER_FRAME_CONTEXT);
        cr_assert_eq(frame.body.len, IDS * 4);
        frame = expect_frame(peer, BROKER_FRAME_PONG);
        expect_publish(peer, "a", "one");
        before = peer->received_bytes;
        /* So that the next message needs a CONTEXT again. */
        say_unsubscribe(&say, IDS, 0);
        say_subscribe(&say, IDS, "a");
        expect_fed(peer, &say);
        (void)expect_frame(peer, BROKER_FRAME_UNSUBACK);
        expect_suback(peer, IDS, 0);
        cr_assert_gt(peer->received_bytes, before);
    }
    fake_net_fini(&net);
}
