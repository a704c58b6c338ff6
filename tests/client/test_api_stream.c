/* SPDX-License-Identifier: MIT
 *
 * The public calls over real sockets: streams.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "api_suite.h"

TestSuite(streams, .init = api_setup, .fini = api_teardown, .timeout = 60);

static pthread_t
serve(void *(*function)(void *))
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, function, NULL) == 0);
    return thread;
}

#define SEND(name, ...)                                                        \
    do {                                                                       \
        struct broker_##name message = __VA_ARGS__;                            \
        uint8_t bytes[512];                                                    \
        size_t size = 0;                                                       \
        CHECK(broker_##name##_encode(&message, bytes, sizeof bytes, &size) ==  \
              BROKER_OK);                                                      \
        server_send(&server, bytes, size);                                     \
    } while (0)

/* STREAM "S" and a sequence as fields; 14 is their size. */
#define FIELDS_MAX 32
static struct broker_bytes
stream_fields(uint8_t fields[FIELDS_MAX], uint64_t sequence)
{
    size_t used = 0;
    CHECK(broker_tlv_put(fields, FIELDS_MAX, &used, BROKER_TAG_STREAM,
              (struct broker_bytes){(const uint8_t *)"S", 1}) == BROKER_OK);
    CHECK(broker_tlv_put_u64(fields, FIELDS_MAX, &used, BROKER_TAG_SEQUENCE,
              sequence) == BROKER_OK);
    return (struct broker_bytes){fields, used};
}

static void
send_synced(uint32_t id, uint64_t sequence)
{
    uint8_t fields[FIELDS_MAX];
    struct broker_bytes tlvs = stream_fields(fields, sequence);
    SEND(puback,
        {.id = id, .level = BROKER_LEVEL_SYNCED, .count = 1, .tlvs = tlvs});
}

static uint64_t
field_of(struct broker_bytes fields, enum broker_tag tag)
{
    struct broker_bytes value;
    uint64_t number = 0;
    CHECK(broker_tlv_find(fields, (uint16_t)tag, &value));
    CHECK(broker_tlv_u64(value, &number));
    return number;
}

/* ---- publishing ---------------------------------------------------------- */

static void *
serve_publishes(void *argument)
{
    (void)argument;
    server_greet(&server);
    struct broker_publish publish = server_expect_publish(&server);
    cr_assert_eq(
        field_of(publish.headers, BROKER_TAG_EXPECTED_LAST_SEQUENCE), 0);
    cr_assert_eq(field_of(publish.headers, BROKER_TAG_TTL_MS), 60000);
    send_synced(publish.id, 1);
    publish = server_expect_publish(&server);
    cr_assert_eq(field_of(publish.headers, BROKER_TAG_DELIVER_AT), 123456);
    cr_assert_neq(publish.id, 0, "it may be refused, so it is acknowledged");
    send_synced(publish.id, 2);
    publish = server_expect_publish(&server);
    uint8_t fields[FIELDS_MAX];
    uint32_t id = publish.id;
    size_t used = 0;
    CHECK(broker_tlv_put_u64(fields, sizeof fields, &used, BROKER_TAG_SEQUENCE,
              77) == BROKER_OK);
    SEND(error, {.id = id,
                    .code = BROKER_E_WRONG_LAST_SEQUENCE,
                    .frame_type = BROKER_FRAME_PUBLISH,
                    .error_class = BROKER_CLASS_REQUEST,
                    .tlvs = {fields, used}});
    return NULL;
}

Test(streams, a_publish_says_what_it_wants_and_is_told_where_it_is)
{
    struct broker_client *client = client_new();
    pthread_t thread = serve(serve_publishes);
    struct broker_client_published published;
    struct broker_client_outgoing message = {
        .topic = "a", .expects_last = true, .ttl_ms = 60000};
    cr_assert_eq(broker_client_publish_wait(
                     client, &message, SERVER_DEADLINE_MS, &published),
        BROKER_OK);
    cr_assert_eq(published.level, BROKER_LEVEL_SYNCED);
    cr_assert_str_eq(published.stream, "S");
    cr_assert_eq(published.sequence, 1);
    message =
        (struct broker_client_outgoing){.topic = "a", .deliver_at_ms = 123456};
    cr_assert_eq(broker_client_publish_message(client, &message), BROKER_OK);
    message = (struct broker_client_outgoing){
        .topic = "a", .expects_last = true, .expected_last_sequence = 5};
    cr_assert_eq(broker_client_publish_wait(
                     client, &message, SERVER_DEADLINE_MS, &published),
        BROKER_E_WRONG_LAST_SEQUENCE);
    cr_assert_eq(published.sequence, 77);
    CHECK(pthread_join(thread, NULL) == 0);
    broker_client_free(client);
}

static void *
serve_batch(void *argument)
{
    (void)argument;
    const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    server_greet(&server);
    struct broker_frame frame =
        server_expect(&server, BROKER_FRAME_PUBLISH_BATCH);
    struct broker_publish_batch batch;
    struct broker_publish publish;
    size_t n;
    CHECK(broker_publish_batch_decode(&frame, &batch) == BROKER_OK);
    cr_assert_eq(batch.count, 3);
    CHECK(broker_frame_decode(&limits, batch.frames.data, batch.frames.len,
              &frame, &n) == BROKER_OK);
    CHECK(broker_publish_decode(&frame, &publish) == BROKER_OK);
    cr_assert_eq(publish.payload.len, 1);
    cr_assert_eq(
        field_of(publish.headers, BROKER_TAG_EXPECTED_LAST_SEQUENCE), 6);
    send_synced(batch.id, 9);
    return NULL;
}

Test(streams, a_batch_is_one_frame)
{
    struct broker_client *client = client_new();
    pthread_t thread = serve(serve_batch);
    struct broker_client_published published;
    struct broker_client_outgoing messages[] = {
        {.topic = "a",
            .payload = "1",
            .payload_bytes = 1,
            .expects_last = true,
            .expected_last_sequence = 6},
        {.topic = "a/b", .payload = "22", .payload_bytes = 2},
        {.topic = "a", .ttl_ms = 1},
    };
    cr_assert_eq(broker_client_publish_batch_wait(
                     client, messages, 3, SERVER_DEADLINE_MS, &published),
        BROKER_OK);
    cr_assert_eq(published.sequence, 9);
    CHECK(pthread_join(thread, NULL) == 0);
    broker_client_free(client);
}

Test(streams, what_may_not_be_in_a_batch)
{
    options.max_body_bytes = BROKER_BODY_BYTES_MIN;
    struct broker_client *client = client_new();
    static char payload[BROKER_BODY_BYTES_MIN / 2];
    const struct broker_client_outgoing bad[] = {
        {.topic = NULL},
        {.topic = "a", .retain = true},
        {.topic = "a", .reply_to = "b"},
        {.topic = "a", .deliver_at_ms = 1},
        {.topic = "a", .expects_last = true},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct broker_client_outgoing messages[] = {{.topic = "a"}, bad[i]};
        cr_assert_eq(
            broker_client_publish_batch(client, messages, 2, NULL, NULL),
            BROKER_E_INVALID_ARGUMENT, "%zu", i);
    }
    cr_assert_eq(broker_client_publish_batch(client, bad, 0, NULL, NULL),
        BROKER_E_INVALID_ARGUMENT);
    struct broker_client_outgoing messages[] = {{.topic = "a"}, {.topic = "+"}};
    cr_assert_eq(broker_client_publish_batch(client, messages, 2, NULL, NULL),
        BROKER_E_BAD_TOPIC);
    messages[0].payload = messages[1].payload = payload;
    messages[0].payload_bytes = messages[1].payload_bytes = sizeof payload;
    messages[1].topic = "a";
    cr_assert_eq(broker_client_publish_batch(client, messages, 2, NULL, NULL),
        BROKER_E_TOO_LARGE);
    cr_assert_not_null(strstr(error_text(client), "max_body_bytes"));
    broker_client_free(client);
}

/* ---- a durable consumer -------------------------------------------------- */

static void
send_messages(uint32_t id, uint64_t sequence, uint32_t count)
{
    uint8_t wire[4];
    broker_ids_set(wire, 0, id);
    SEND(context, {.ids = {wire, 1}});
    SEND(position, {.id = id,
                       .sequence = sequence,
                       .time_ms = 1000,
                       .count = count,
                       .deliveries = 1});
    for (uint32_t i = 0; i < count; i++) {
        SEND(publish, {.topic = {(const uint8_t *)"a", 1}});
    }
}

static void *
serve_consumer(void *argument)
{
    uint64_t *acknowledged = argument;
    server_greet(&server);
    struct broker_frame frame = server_expect(&server, BROKER_FRAME_CONSUME);
    uint32_t id = frame.id;
    SEND(consume_reply, {.id = id,
                            .first_sequence = 1,
                            .last_sequence = 3,
                            .next_sequence = 1,
                            .ack = BROKER_ACK_EACH,
                            .window = 10});
    send_messages(id, 1, 3);
    for (;;) {
        frame = server_read(&server);
        if (frame.type == BROKER_FRAME_PING) {
            server_pong(&server, &frame);
            return NULL;
        }
        struct broker_settle settle;
        CHECK(frame.type == BROKER_FRAME_ACK);
        CHECK(broker_settle_decode(&frame, &settle) == BROKER_OK);
        for (size_t i = 0; i < settle.ranges.count; i++) {
            uint64_t first, last;
            broker_ranges_get(settle.ranges, i, &first, &last);
            *acknowledged += last - first + 1;
        }
    }
}

Test(streams, a_durable_worker)
{
    struct broker_client *client = client_new();
    struct broker_client_consume consume = {.consumer = "work", .window = 10};
    struct broker_client_subscribed answer;
    uint64_t acknowledged = 0;
    uint32_t id;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, serve_consumer, &acknowledged) == 0);
    cr_assert_eq(broker_client_consume_wait(
                     client, &consume, SERVER_DEADLINE_MS, &id, &answer),
        BROKER_OK);
    cr_assert_eq(answer.ack, BROKER_ACK_EACH);
    cr_assert_eq(answer.window, 10);
    cr_assert_eq(answer.last_sequence, 3);
    for (uint64_t i = 1; i <= 3; i++) {
        struct broker_client_event *event;
        cr_assert_eq(
            broker_client_next(client, SERVER_DEADLINE_MS, &event), BROKER_OK);
        cr_assert_eq(event->message->sequence, i);
        cr_assert_eq(event->message->time_ms, 1000);
        cr_assert_eq(broker_client_ack(client, id, i), BROKER_OK);
        broker_client_event_free(event);
    }
    cr_assert_eq(broker_client_flush(client, SERVER_DEADLINE_MS), BROKER_OK);
    CHECK(pthread_join(thread, NULL) == 0);
    cr_assert_eq(acknowledged, 3, "the flush comes behind all of them");
    cr_assert_eq(broker_client_ack(client, id, 1), BROKER_OK);
    struct broker_client_stats stats;
    broker_client_stats(client, &stats, sizeof stats);
    cr_assert_eq(stats.messages_settled, 3);
    cr_assert_eq(stats.settlements_late, 1);
    cr_assert_eq(
        broker_client_ack(client, 12345, 1), BROKER_E_UNKNOWN_SUBSCRIPTION);
    broker_client_free(client);
}

/* Nothing else happens: the call itself has it written. */
static void *
serve_idle_ack(void *argument)
{
    (void)argument;
    server_greet(&server);
    uint32_t id = server_expect(&server, BROKER_FRAME_CONSUME).id;
    SEND(consume_reply, {.id = id,
                            .first_sequence = 1,
                            .last_sequence = 1,
                            .next_sequence = 1,
                            .ack = BROKER_ACK_EACH,
                            .window = 10});
    send_messages(id, 1, 1);
    (void)server_expect(&server, BROKER_FRAME_NACK);
    return NULL;
}

Test(streams, a_settlement_wakes_whoever_drives)
{
    struct broker_client *client = client_new();
    struct broker_client_consume consume = {
        .consumer = "work", .on_message = tally_message_cb, .user = &tally};
    struct runner runner;
    uint32_t id;
    cr_assert_eq(broker_client_consume(client, &consume, &id), BROKER_OK);
    pthread_t thread = serve(serve_idle_ack);
    runner_start(&runner, client);
    tally_wait(&tally, &tally.messages, 1);
    cr_assert_eq(broker_client_nack(client, id, 1, 0), BROKER_OK);
    CHECK(pthread_join(thread, NULL) == 0);
    cr_assert_eq(runner_stop(&runner), BROKER_E_INTERRUPTED);
    broker_client_free(client);
}
