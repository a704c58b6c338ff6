/* SPDX-License-Identifier: MIT
 *
 * PUBLISH: who gets it, what the publisher is told. PROTOCOL.md sections 4.6,
 * 4.7, 5.1 to 5.3, 5.5 to 5.7. */
#include "expect.h"
#include "session.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

static struct fake_peer *
subscriber(struct fake_net *net, uint32_t id, const char *filter)
{
    struct fake_peer *peer = expect_open(net);
    struct say say = {0};
    say_subscribe(&say, id, filter);
    expect_fed(peer, &say);
    expect_suback(peer, id, 0);
    return peer;
}

Test(publish, is_delivered_byte_for_byte)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *reader = subscriber(&net, 7, "a/#");
    struct fake_peer *writer = expect_open(&net);
    struct say say = {0};
    struct say_message message = {.id = 5,
        .flags = 0xAB00, /* hints that nobody knows */
        .topic = "a/b",
        .payload = "hello",
        .payload_bytes = 5};
    say_message(&say, &message);
    uint8_t sent[64];
    size_t len = say.len;
    memcpy(sent, say.bytes, len);
    expect_fed(writer, &say);
    expect_puback(writer, 5, 1, 1, 0);
    expect_context(reader, 7, 0, 0);
    size_t at = reader->decoded_bytes;
    expect_publish(reader, "a/b", "hello");
    cr_assert_eq(reader->decoded_bytes - at, len);
    cr_assert_eq(memcmp(reader->received + at, sent, len), 0);
    fake_net_fini(&net);
}

Test(publish, once_for_all_subscriptions_of_a_connection)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_subscribe(&say, 3, "a/+");
    say_subscribe(&say, 1, "#");
    say_subscribe(&say, 2, "a/b");
    say_publish(&say, 1, "a/b", "x");
    say_publish(&say, 2, "b", "y");
    expect_fed(peer, &say);
    for (uint32_t id = 3, i = 0; i < 3; i++) {
        static const uint32_t ids[] = {3, 1, 2};
        id = ids[i];
        expect_suback(peer, id, 0);
    }
    expect_puback(peer, 1, 1, 3, 0);
    expect_puback(peer, 2, 1, 1, 0);
    expect_context(peer, 1, 2, 3);
    expect_publish(peer, "a/b", "x");
    expect_context(peer, 1, 0, 0);
    expect_publish(peer, "b", "y");
    expect_nothing(peer);
    fake_net_fini(&net);
}

Test(publish, equal_results_are_acknowledged_together)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *reader = subscriber(&net, 1, "a");
    struct fake_peer *writer = expect_open(&net);
    struct say say = {0};
    for (uint32_t id = 1; id <= 5; id++) {
        say_publish(&say, id, "a", "x");
    }
    say_publish(&say, 6, "nobody", "x");
    say_publish(&say, 7, "a", "x");
    say_publish(&say, 9, "a", "x"); /* a hole in the numbers */
    say_publish(&say, 0, "a", "x");
    say_publish(&say, 10, "a", "x");
    expect_fed(writer, &say);
    expect_puback(writer, 5, 5, 1, 0);
    expect_puback(writer, 6, 1, 0, 0);
    expect_puback(writer, 7, 1, 1, 0);
    expect_puback(writer, 10, 2, 1, 0);
    expect_nothing(writer);
    expect_context(reader, 1, 0, 0);
    for (int i = 0; i < 9; i++) {
        expect_publish(reader, "a", "x");
    }
    expect_nothing(reader);
    fake_net_fini(&net);
}

Test(publish, numbers_wrap_around)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *writer = expect_open(&net);
    struct say say = {0};
    say_publish(&say, UINT32_MAX - 1, "a", "x");
    say_publish(&say, UINT32_MAX, "a", "x");
    say_publish(&say, 0, "a", "x"); /* not the next number, but none */
    say_publish(&say, 1, "a", "x");
    expect_fed(writer, &say);
    expect_puback(writer, UINT32_MAX, 2, 0, 0);
    expect_puback(writer, 1, 1, 0, 0);
    cr_assert_eq(writer->session->last_publish, 1);
    fake_net_fini(&net);
}

/* Frames that follow each other are compared up to the payload, in pieces: none
 * of their bytes may be passed over. */
static void
expect_told_apart(size_t topic_bytes, size_t at, size_t same_bytes)
{
    char topic[64];
    char other[64];
    memset(topic, 'a', topic_bytes);
    topic[topic_bytes] = '\0';
    memcpy(other, topic, sizeof other);
    other[at] = 'b';
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *reader = subscriber(&net, 1, topic);
    struct fake_peer *elsewhere = subscriber(&net, 1, other);
    struct fake_peer *writer = expect_open(&net);
    struct say say = {0};
    say_publish(&say, 0, topic, "x");
    say_publish(&say, 0, topic, "y");
    say_publish(&say, 0, topic, same_bytes == 0 ? "yy" : "z");
    say_publish(&say, 0, other, "z");
    say_publish(&say, 0, topic, "x");
    expect_fed(writer, &say);
    expect_context(reader, 1, 0, 0);
    expect_publish(reader, topic, "x");
    expect_publish(reader, topic, "y");
    expect_publish(reader, topic, same_bytes == 0 ? "yy" : "z");
    expect_publish(reader, topic, "x");
    expect_nothing(reader);
    expect_context(elsewhere, 1, 0, 0);
    expect_publish(elsewhere, other, "z");
    expect_nothing(elsewhere);
    fake_net_fini(&net);
}

Test(publish, every_byte_of_the_topic_tells_messages_apart)
{
    for (size_t topic_bytes = 1; topic_bytes < 40; topic_bytes++) {
        for (size_t at = 0; at < topic_bytes; at++) {
            expect_told_apart(topic_bytes, at, 0);
            expect_told_apart(topic_bytes, at, 1);
        }
    }
}

Test(publish, a_run_ends_with_the_last_whole_frame)
{
    for (uint32_t id = 0; id <= 1; id++) {
        struct say whole = {0};
        for (uint32_t i = 0; i < 4; i++) {
            say_publish(&whole, id == 0 ? 0 : id + i, "some/topic", "payload");
        }
        for (size_t cut = 1; cut < whole.len; cut++) {
            struct fake_net net;
            expect_net(&net);
            struct fake_peer *reader = subscriber(&net, 1, "some/topic");
            struct fake_peer *writer = expect_open(&net);
            fake_feed(writer, whole.bytes, cut);
            fake_take_all(reader);
            size_t arrived = cut / (whole.len / 4);
            cr_assert_eq(
                reader->session->output.delivered, arrived, "%zu bytes", cut);
            fake_feed(writer, whole.bytes + cut, whole.len - cut);
            fake_take_all(reader);
            cr_assert_eq(reader->session->output.delivered, 4);
            fake_net_fini(&net);
        }
        say_fini(&whole);
    }
}

Test(publish, refusals)
{
    static const struct {
        const char *topic, *reply_to;
        uint32_t id;
        enum broker_status code;
    } refused[] = {{"a/+", NULL, 1, BROKER_E_BAD_TOPIC},
        {"a#", NULL, 2, BROKER_E_BAD_TOPIC},
        {"\xff", NULL, 3, BROKER_E_BAD_TOPIC},
        {"$own", NULL, 4, BROKER_E_RESERVED_TOPIC},
        {"$sys/nothing", "inbox", 5, BROKER_E_RESERVED_TOPIC},
        {"$sys/echo", "nobody", 6, BROKER_E_NO_SUBSCRIBERS},
        {"nobody", "r", 7, BROKER_E_NO_SUBSCRIBERS},
        {"a", "r", 0, BROKER_E_BAD_REQUEST},
        {"a", "$r", 8, BROKER_E_RESERVED_TOPIC},
        {"a/+", NULL, 0, BROKER_E_BAD_TOPIC}};
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = subscriber(&net, 1, "inbox");
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct say say = {0};
        struct say_message message = {.id = refused[i].id,
            .topic = refused[i].topic,
            .reply_to = refused[i].reply_to};
        say_message(&say, &message);
        expect_fed(peer, &say);
        expect_error(
            peer, refused[i].code, refused[i].id, BROKER_FRAME_PUBLISH);
        if (refused[i].id != 0) {
            cr_assert_eq(peer->session->last_publish, refused[i].id);
        }
    }
    struct core_stats stats;
    core_get_stats(net.core, &stats);
    cr_assert_eq(stats.refused_publishes, sizeof refused / sizeof refused[0]);
    fake_net_fini(&net);
}

Test(publish, a_refusal_without_a_number_names_the_topic)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_publish(&say, 0, "a/+", "");
    /* And one that is not even decoded: critical field 0x7001. */
    static const uint8_t unknown[] = {0, 0, 0, 11, 0, 0x10, 0, 0, 0, 0, 0, 0, 0,
        3, 0, 4, 'a', '/', 'b', 0xF0, 1, 0, 0};
    say_bytes(&say, unknown, sizeof unknown);
    expect_fed(peer, &say);
    for (int i = 0; i < 2; i++) {
        struct broker_frame frame = expect_frame(peer, BROKER_FRAME_ERROR);
        struct broker_error error;
        struct broker_bytes topic;
        cr_assert_eq(broker_error_decode(&frame, &error), BROKER_OK);
        cr_assert(broker_tlv_find(error.tlvs, BROKER_TAG_TOPIC, &topic));
        cr_assert_eq(topic.len, 3);
    }
    fake_net_fini(&net);
}

Test(publish, too_large_is_skipped_however_it_arrives)
{
    for (size_t step = 1; step < 200000; step = step * 7 + 1) {
        struct fake_net net;
        expect_net(&net);
        struct broker_hello hello = say_hello_default;
        hello.max_body_bytes = BROKER_BODY_BYTES_MIN;
        struct broker_welcome welcome;
        struct fake_peer *peer = expect_open_with(&net, &hello, &welcome);
        struct say say = {0};
        say_publish(&say, 1, "a", "x");
        say_frame(&say, BROKER_FRAME_PUBLISH, 0, 2, 70000);
        say_publish(&say, 3, "a", "x");
        fake_feed_say(peer, &say, step);
        say_fini(&say);
        expect_puback(peer, 1, 1, 0, 0);
        expect_error(peer, BROKER_E_TOO_LARGE, 2, BROKER_FRAME_PUBLISH);
        expect_puback(peer, 3, 1, 0, 0);
        expect_nothing(peer);
        cr_assert_eq(peer->session->last_publish, 3);
        fake_net_fini(&net);
    }
}

/* A number that was answered with ERROR is settled too. */
Test(publish, what_was_too_large_is_settled)
{
    struct fake_net net;
    expect_net(&net);
    struct broker_hello hello = say_hello_default;
    hello.max_body_bytes = BROKER_BODY_BYTES_MIN;
    struct broker_welcome welcome;
    struct fake_peer *peer = expect_open_with(&net, &hello, &welcome);
    struct say say = {0};
    say_frame(&say, BROKER_FRAME_PUBLISH, 0, 4, 70000);
    expect_fed(peer, &say);
    expect_error(peer, BROKER_E_TOO_LARGE, 4, BROKER_FRAME_PUBLISH);
    cr_assert_eq(peer->session->last_publish, 4);
    fake_net_fini(&net);
}

static void
say_sized(struct say *say, uint32_t id, size_t payload_bytes)
{
    uint8_t *payload = calloc(1, payload_bytes);
    struct say_message message = {.id = id,
        .topic = "a",
        .payload = payload,
        .payload_bytes = payload_bytes};
    say_message(say, &message);
    free(payload);
}

/* Each number is told its own fate, also in the middle of a run. */
Test(publish, what_is_too_large_for_the_reader_alone_is_refused)
{
    struct fake_net net;
    expect_net(&net);
    struct broker_hello hello = say_hello_default;
    hello.max_body_bytes = BROKER_BODY_BYTES_MIN;
    struct broker_welcome welcome;
    struct fake_peer *reader = expect_open_with(&net, &hello, &welcome);
    struct fake_peer *writer = expect_open(&net);
    struct say say = {0};
    say_subscribe(&say, 1, "a");
    expect_fed(reader, &say);
    expect_suback(reader, 1, 0);
    say_sized(&say, 1, 10);
    say_sized(&say, 2, 70000);
    say_sized(&say, 3, 10);
    expect_fed(writer, &say);
    expect_puback(writer, 1, 1, 1, 0);
    expect_puback(writer, 2, 1, 1, 1);
    expect_puback(writer, 3, 1, 1, 0);
    expect_context(reader, 1, 0, 0);
    expect_frame(reader, BROKER_FRAME_PUBLISH);
    expect_gap(reader, BROKER_GAP_TOO_LARGE, 1, 1);
    expect_frame(reader, BROKER_FRAME_PUBLISH);
    expect_nothing(reader);
    fake_net_fini(&net);
}

/* How many messages the PUBACKs that come say were refused. */
static uint32_t
refused_by(struct fake_peer *writer)
{
    uint32_t refused = 0;
    struct broker_frame frame;
    struct broker_puback puback;
    fake_take_all(writer);
    while (fake_next(writer, &frame)) {
        cr_assert_eq(broker_puback_decode(&frame, &puback), BROKER_OK);
        refused += puback.count * puback.refused;
    }
    return refused;
}

/* How many messages the GAPs that come say are missing. */
static uint64_t
missed_by(struct fake_peer *reader)
{
    uint64_t missing = 0;
    struct broker_frame frame;
    struct broker_gap gap;
    fake_take_all(reader);
    while (fake_next(reader, &frame)) {
        if (frame.type == BROKER_FRAME_GAP) {
            cr_assert_eq(broker_gap_decode(&frame, &gap), BROKER_OK);
            missing += gap.count;
        }
    }
    return missing;
}

/* A gap that waits to be put in its place takes room too, wherever the edge of
 * the queue is: also for a reader that accepts less than the broker does. */
Test(publish, behind_a_gap_each_number_is_told_its_fate)
{
    for (size_t fill = 1200; fill < 1900; fill += 4) {
        struct core_options options = fake_options();
        options.max_output_bytes = 2000;
        struct fake_net net;
        fake_net_init(&net, &options, 1, NULL);
        struct broker_hello hello = say_hello_default;
        hello.max_body_bytes = BROKER_BODY_BYTES_MIN;
        struct broker_welcome welcome;
        struct fake_peer *reader = expect_open_with(&net, &hello, &welcome);
        struct fake_peer *writer = expect_open(&net);
        struct say say = {0};
        struct say_subscription newest = {
            .id = 1, .filter = "a", .overflow = BROKER_OVERFLOW_DROP_NEWEST};
        say_subscribe_with(&say, &newest);
        expect_fed(reader, &say);
        say_sized(&say, 1, fill);
        expect_fed(writer, &say);
        say_sized(&say, 2, 900);
        expect_fed(writer, &say);
        say_sized(&say, 3, 10);
        say_sized(&say, 4, 10);
        expect_fed(writer, &say);
        cr_assert_eq(refused_by(writer), missed_by(reader), "fill %zu", fill);
        fake_net_fini(&net);
    }
}

Test(publish, at_the_edge_of_a_queue_each_number_is_told_its_fate)
{
    struct core_options options = fake_options();
    options.max_output_bytes = 2000;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *reader = expect_open(&net);
    struct fake_peer *writer = expect_open(&net);
    struct say say = {0};
    struct say_subscription want = {
        .id = 1, .filter = "a", .overflow = BROKER_OVERFLOW_DROP_NEWEST};
    say_subscribe_with(&say, &want);
    expect_fed(reader, &say);
    expect_suback(reader, 1, 0);
    for (uint32_t id = 1; id <= 30; id++) {
        say_sized(&say, id, 83); /* 100 bytes each */
    }
    expect_fed(writer, &say);
    uint32_t queued = (uint32_t)reader->session->output.messages;
    cr_assert(queued >= 15 && queued < 20, "%u", queued);
    expect_puback(writer, queued, queued, 1, 0);
    expect_puback(writer, 30, 30 - queued, 1, 1);
    expect_frame(reader, BROKER_FRAME_NOTICE);
    expect_context(reader, 1, 0, 0);
    for (uint32_t i = 0; i < queued; i++) {
        expect_frame(reader, BROKER_FRAME_PUBLISH);
    }
    expect_gap(reader, BROKER_GAP_OVERFLOW, 30 - queued, 1);
    fake_net_fini(&net);
}

/* A queue group that takes several in a row takes them one by one there, with
 * or without a plain subscription beside it. */
Test(publish, at_the_edge_of_a_group_each_number_is_told_its_fate)
{
    for (uint32_t plain = 0; plain <= 1; plain++) {
        struct core_options options = fake_options();
        options.max_output_bytes = 20000;
        struct fake_net net;
        fake_net_init(&net, &options, 1, NULL);
        struct fake_peer *reader = expect_open(&net);
        struct fake_peer *other = expect_open(&net);
        struct fake_peer *writer = expect_open(&net);
        struct say say = {0};
        struct say_subscription want = {.id = 1,
            .filter = "a",
            .group = plain == 1 ? NULL : "g",
            .overflow = BROKER_OVERFLOW_DROP_NEWEST};
        say_subscribe_with(&say, &want);
        expect_fed(reader, &say);
        expect_suback(reader, 1, 0);
        if (plain == 1) {
            struct say_subscription group = {
                .id = 1, .filter = "a", .group = "g"};
            say_subscribe_with(&say, &group);
            expect_fed(other, &say);
            expect_suback(other, 1, 0);
        }
        for (uint32_t id = 1; id <= 40; id++) {
            say_sized(&say, id, 83); /* 100 bytes each */
        }
        expect_fed(writer, &say);
        for (uint32_t id = 41; id <= 300; id++) {
            say_sized(&say, id, 83);
        }
        expect_fed(writer, &say);
        uint32_t queued = (uint32_t)reader->session->output.messages;
        cr_assert(queued >= 150 && queued < 200, "%u", queued);
        expect_puback(writer, 40, 40, 1 + plain, 0);
        expect_puback(writer, queued, queued - 40, 1 + plain, 0);
        expect_puback(writer, 300, 300 - queued, 1 + plain, 1);
        /* Nothing more would have fit. */
        cr_assert_gt(
            reader->session->output.bytes + 100 + sizeof(struct segment),
            options.max_output_bytes);
        fake_net_fini(&net);
    }
}

/* ---- retries ------------------------------------------------------------- */

Test(publish, a_retry_of_what_was_settled_is_not_routed_again)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *reader = subscriber(&net, 1, "a");
    struct broker_hello hello = say_hello_default;
    memset(hello.session, 5, sizeof hello.session);
    struct broker_welcome welcome;
    struct fake_peer *writer = expect_open_with(&net, &hello, &welcome);
    struct say say = {0};
    say_publish(&say, 1, "a", "1");
    say_publish(&say, 2, "a", "2");
    expect_fed(writer, &say);
    fake_drop(writer);
    fake_take_all(reader);
    fake_advance(&net, 59999);
    writer = expect_open_with(&net, &hello, &welcome);
    cr_assert_eq(welcome.last_publish, 2);
    cr_assert_eq(memcmp(welcome.session, hello.session, 16), 0);
    for (uint32_t id = 2; id <= 3; id++) {
        struct say_message again = {.id = id,
            .flags = BROKER_PUBLISH_RETRY,
            .topic = "a",
            .payload = "3",
            .payload_bytes = 1};
        say_message(&say, &again);
    }
    expect_fed(writer, &say);
    expect_duplicate(writer, 2);
    expect_puback(writer, 3, 1, 1, 0);
    expect_context(reader, 1, 0, 0);
    expect_publish(reader, "a", "1");
    expect_publish(reader, "a", "2");
    expect_frame(reader, BROKER_FRAME_PING);
    expect_publish(reader, "a", "3");
    expect_nothing(reader);
    fake_net_fini(&net);
}

Test(publish, a_session_is_forgotten_in_time)
{
    struct fake_net net;
    expect_net(&net);
    struct broker_hello hello = say_hello_default;
    memset(hello.session, 5, sizeof hello.session);
    struct broker_welcome welcome;
    struct fake_peer *writer = expect_open_with(&net, &hello, &welcome);
    struct say say = {0};
    say_publish(&say, 9, "a", "1");
    expect_fed(writer, &say);
    fake_drop(writer);
    fake_advance(&net, 60000);
    expect_open_with(&net, &hello, &welcome);
    cr_assert_eq(welcome.last_publish, 0);
    fake_net_fini(&net);
}

/* ---- requests ------------------------------------------------------------ */

Test(publish, a_request_to_the_broker_is_answered)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = subscriber(&net, 1, "inbox/+");
    struct say say = {0};
    struct say_message request = {.id = 8,
        .topic = "$sys/echo",
        .reply_to = "inbox/1",
        .payload = "ping",
        .payload_bytes = 4};
    say_message(&say, &request);
    expect_fed(peer, &say);
    expect_puback(peer, 8, 1, 1, 0);
    expect_context(peer, 1, 0, 0);
    expect_publish(peer, "inbox/1", "ping");
    fake_net_fini(&net);
}

/* The reply itself may be what the asker is disconnected for: nothing follows
 * GOAWAY even then. */
Test(publish, the_answer_that_is_too_much)
{
    struct core_options options = fake_options();
    options.max_output_bytes = 300;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *peer = expect_open(&net);
    char payload[400];
    memset(payload, 'x', sizeof payload);
    struct say say = {0};
    struct say_subscription want = {
        .id = 1, .filter = "r", .overflow = BROKER_OVERFLOW_DISCONNECT};
    struct say_message request = {.id = 8,
        .topic = "$sys/echo",
        .reply_to = "r",
        .payload = payload,
        .payload_bytes = sizeof payload};
    say_subscribe_with(&say, &want);
    say_message(&say, &request);
    expect_fed(peer, &say);
    expect_suback(peer, 1, 0);
    expect_puback(peer, 8, 1, 1, 0);
    expect_goaway(peer, BROKER_E_SLOW_CONSUMER);
    fake_net_fini(&net);
}

/* ---- retained values ----------------------------------------------------- */

static void
say_retained(
    struct say *say, uint32_t id, const char *topic, const char *payload)
{
    struct say_message message = {.id = id,
        .flags = BROKER_PUBLISH_RETAIN,
        .topic = topic,
        .payload = payload,
        .payload_bytes = strlen(payload)};
    say_message(say, &message);
}

Test(publish, retained_values_come_after_suback_in_order)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_retained(&say, 1, "b", "old");
    say_retained(&say, 2, "a", "a");
    say_retained(&say, 3, "c", "c");
    say_retained(&say, 4, "b", "new");
    say_retained(&say, 5, "c", "");
    say_retained(&say, 6, "never", "");
    say_subscribe(&say, 1, "#");
    say_publish(&say, 0, "a", "live");
    expect_fed(peer, &say);
    expect_puback(peer, 6, 6, 0, 0);
    expect_suback(peer, 1, 2);
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_CONTEXT);
    cr_assert_eq(frame.flags, BROKER_CONTEXT_RETAINED);
    expect_publish(peer, "a", "a");
    expect_publish(peer, "b", "new");
    frame = expect_frame(peer, BROKER_FRAME_CONTEXT);
    cr_assert_eq(frame.flags, 0);
    expect_publish(peer, "a", "live");
    expect_nothing(peer);
    fake_net_fini(&net);
}

Test(publish, groups_and_those_who_decline_get_no_retained_values)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_retained(&say, 0, "a", "a");
    struct say_subscription group = {.id = 1, .filter = "a", .group = "g"};
    struct say_subscription declines = {
        .id = 2, .filter = "a", .options = BROKER_SUBSCRIBE_NO_RETAINED};
    say_subscribe_with(&say, &group);
    say_subscribe_with(&say, &declines);
    expect_fed(peer, &say);
    expect_suback(peer, 1, 0);
    expect_suback(peer, 2, 0);
    expect_nothing(peer);
    fake_net_fini(&net);
}

Test(publish, without_room_to_retain_the_whole_publish_is_refused)
{
    struct core_options options = fake_options();
    options.max_retained_topics = 1;
    options.max_retained_bytes = 30;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_subscribe(&say, 1, "#");
    say_retained(&say, 1, "a", "a");
    say_retained(&say, 2, "b", "b");
    say_retained(&say, 3, "a", "much, much too long");
    say_retained(&say, 4, "a", "");
    say_retained(&say, 5, "b", "b");
    expect_fed(peer, &say);
    expect_suback(peer, 1, 0);
    expect_puback(peer, 1, 1, 1, 0);
    expect_error(peer, BROKER_E_RETAINED_LIMIT, 2, BROKER_FRAME_PUBLISH);
    expect_error(peer, BROKER_E_RETAINED_LIMIT, 3, BROKER_FRAME_PUBLISH);
    expect_puback(peer, 5, 2, 1, 0);
    expect_context(peer, 1, 0, 0);
    expect_publish(peer, "a", "a");
    expect_publish(peer, "a", "");
    expect_publish(peer, "b", "b");
    expect_nothing(peer);
    fake_net_fini(&net);
}
