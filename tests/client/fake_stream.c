/* SPDX-License-Identifier: MIT
 *
 * See fake_stream.h.
 */
#include "fake_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_BYTES_MAX 4096

/* Like assert(), in every build. */
#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            (void)fprintf(                                                     \
                stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);        \
            abort();                                                           \
        }                                                                      \
    } while (0)

#define FEED(name, message)                                                    \
    do {                                                                       \
        uint8_t bytes[FRAME_BYTES_MAX];                                        \
        size_t size = 0;                                                       \
        enum broker_status encoded =                                           \
            broker_##name##_encode(&(message), bytes, sizeof bytes, &size);    \
        CHECK(encoded == BROKER_OK);                                           \
        return fake_feed(fake, bytes, size);                                   \
    } while (0)

static struct broker_bytes
bytes_of(const char *text)
{
    return (struct broker_bytes){(const uint8_t *)text, strlen(text)};
}

enum broker_status
fake_synced(struct fake *fake, uint32_t id, uint32_t count, const char *stream,
    uint64_t sequence)
{
    uint8_t fields[300];
    size_t used = 0;
    enum broker_status status = broker_tlv_put(
        fields, sizeof fields, &used, BROKER_TAG_STREAM, bytes_of(stream));
    CHECK(status == BROKER_OK);
    if (sequence != 0) {
        status = broker_tlv_put_u64(
            fields, sizeof fields, &used, BROKER_TAG_SEQUENCE, sequence);
        CHECK(status == BROKER_OK);
    }
    struct broker_puback puback = {
        .id = id,
        .level = BROKER_LEVEL_SYNCED,
        .count = count,
        .tlvs = {fields, used},
    };
    FEED(puback, puback);
}

enum broker_status
fake_wrong_last(
    struct fake *fake, uint32_t id, uint16_t frame_type, uint64_t sequence)
{
    uint8_t fields[16];
    size_t used = 0;
    enum broker_status status = broker_tlv_put_u64(
        fields, sizeof fields, &used, BROKER_TAG_SEQUENCE, sequence);
    CHECK(status == BROKER_OK);
    struct broker_error error = {
        .id = id,
        .code = BROKER_E_WRONG_LAST_SEQUENCE,
        .frame_type = frame_type,
        .error_class = BROKER_CLASS_REQUEST,
        .tlvs = {fields, used},
    };
    FEED(error, error);
}

enum broker_status
fake_consume_reply(struct fake *fake, uint32_t id, enum broker_ack_mode ack,
    uint64_t last_sequence, uint64_t next_sequence)
{
    uint8_t fields[16];
    size_t used = 0;
    enum broker_status status = broker_tlv_put(
        fields, sizeof fields, &used, BROKER_TAG_STREAM, bytes_of("ORDERS"));
    CHECK(status == BROKER_OK);
    struct broker_consume_reply reply = {
        .id = id,
        .first_sequence = 1,
        .last_sequence = last_sequence,
        .next_sequence = next_sequence,
        .ack = ack,
        .window = ack == BROKER_ACK_READER ? 0 : 100,
        .tlvs = {fields, used},
    };
    FEED(consume_reply, reply);
}

enum broker_status
fake_position(struct fake *fake, uint32_t id, uint64_t sequence, uint32_t count,
    uint32_t deliveries)
{
    struct broker_position position = {
        .id = id,
        .sequence = sequence,
        .time_ms = count == 0 ? 0 : FAKE_TIME_MS,
        .count = count,
        .deliveries = deliveries,
    };
    FEED(position, position);
}

enum broker_status
fake_stream_messages(struct fake *fake, uint32_t id, uint64_t sequence,
    uint32_t count, uint32_t deliveries)
{
    enum broker_status status = fake_context(fake, &id, 1, 0);
    if (status == BROKER_OK) {
        status = fake_position(fake, id, sequence, count, deliveries);
    }
    for (uint32_t i = 0; status == BROKER_OK && i < count; i++) {
        status = fake_message(fake, "orders/new", "x");
    }
    return status;
}

uint32_t
fake_consume(
    struct fake *fake, struct broker_client_consume asked, bool for_next)
{
    const struct session_outcome outcome = {fake_on_subscribed, fake};
    uint32_t id = 0;
    asked.on_message = for_next ? NULL : fake_on_message;
    asked.on_caught_up = fake_on_caught_up;
    asked.user = fake;
    enum broker_status status =
        session_consume(&fake->session, &asked, &outcome, &id);
    return status == BROKER_OK ? id : 0;
}

uint32_t
fake_join(struct fake *fake, enum broker_ack_mode ack)
{
    uint32_t id = fake_consume(
        fake, (struct broker_client_consume){.consumer = "billing"}, false);
    struct broker_frame frame;
    bool took = fake_skip_to(fake, BROKER_FRAME_CONSUME, &frame);
    CHECK(took);
    enum broker_status status = fake_consume_reply(fake, id, ack, 100, 1);
    CHECK(status == BROKER_OK);
    return id;
}

struct broker_consume
fake_take_consume(struct fake *fake)
{
    struct broker_frame frame;
    struct broker_consume consume;
    bool took = fake_take_frame(fake, &frame);
    CHECK(took && frame.type == BROKER_FRAME_CONSUME);
    enum broker_status status = broker_consume_decode(&frame, &consume);
    CHECK(status == BROKER_OK);
    return consume;
}

struct broker_settle
fake_take_settle(struct fake *fake)
{
    struct broker_frame frame;
    struct broker_settle settle;
    bool took = fake_take_frame(fake, &frame);
    CHECK(took &&
          (frame.type == BROKER_FRAME_ACK || frame.type == BROKER_FRAME_NACK ||
              frame.type == BROKER_FRAME_TOUCH));
    enum broker_status status = broker_settle_decode(&frame, &settle);
    CHECK(status == BROKER_OK);
    return settle;
}
