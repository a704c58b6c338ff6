/* SPDX-License-Identifier: MIT
 *
 * Frames of a client; see say.h. Whatever fails here is a fault of the test,
 * which ends it. */
#include "say.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(good)                                                          \
    do {                                                                       \
        if (!(good)) {                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #good);         \
            abort();                                                           \
        }                                                                      \
    } while (0)

const struct broker_hello say_hello_default = {.id = 1,
    .version_min = 1,
    .version_max = 1,
    .max_body_bytes = BROKER_BODY_BYTES_MAX};

void
say_fini(struct say *say)
{
    free(say->bytes);
    *say = (struct say){0};
}

static uint8_t *
room(struct say *say, size_t len)
{
    while (say->capacity - say->len < len) {
        say->capacity = say->capacity == 0 ? 256 : say->capacity * 2;
        say->bytes = realloc(say->bytes, say->capacity);
        REQUIRE(say->bytes != NULL);
    }
    return say->bytes + say->len;
}

void
say_bytes(struct say *say, const void *bytes, size_t len)
{
    memcpy(room(say, len + 1), bytes, len);
    say->len += len;
}

void
say_frame(struct say *say, uint16_t type, uint16_t flags, uint32_t id,
    uint32_t body_bytes)
{
    struct broker_header header = {body_bytes, type, flags, id};
    uint8_t *dst = room(say, BROKER_HEADER_BYTES + body_bytes);
    broker_header_encode(&header, dst);
    memset(dst + BROKER_HEADER_BYTES, 0, body_bytes);
    say->len += BROKER_HEADER_BYTES + body_bytes;
}

/* Encode message `m` of type `name` at the end. */
#define SAY(name, m)                                                           \
    do {                                                                       \
        size_t size_ = broker_##name##_size(m);                                \
        REQUIRE(size_ > 0);                                                    \
        uint8_t *dst_ = room(say, size_);                                      \
        REQUIRE(broker_##name##_encode(m, dst_, size_, &size_) == BROKER_OK);  \
        say->len += size_;                                                     \
    } while (0)

void
say_hello_with(struct say *say, const struct broker_hello *hello)
{
    SAY(hello, hello);
}

void
say_hello(struct say *say)
{
    say_hello_with(say, &say_hello_default);
}

void
say_subscribe_with(struct say *say, const struct say_subscription *want)
{
    struct broker_subscribe subscribe = {.id = want->id,
        .overflow = want->overflow,
        .options = want->options,
        .filter = say_text(want->filter),
        .group = say_text(want->group)};
    SAY(subscribe, &subscribe);
}

void
say_subscribe(struct say *say, uint32_t id, const char *filter)
{
    struct say_subscription want = {.id = id, .filter = filter};
    say_subscribe_with(say, &want);
}

void
say_unsubscribe(struct say *say, uint32_t id, uint16_t flags)
{
    struct broker_unsubscribe unsubscribe = {.flags = flags, .id = id};
    SAY(unsubscribe, &unsubscribe);
}

size_t
say_message(struct say *say, const struct say_message *message)
{
    size_t before = say->len;
    uint8_t fields[300];
    size_t field_bytes = 0;
    if (message->reply_to != NULL) {
        REQUIRE(broker_tlv_put(fields, sizeof fields, &field_bytes,
                    BROKER_TAG_CRITICAL | BROKER_TAG_REPLY_TO,
                    say_text(message->reply_to)) == BROKER_OK);
    }
    if (message->deliver_at_ms != 0) {
        REQUIRE(broker_tlv_put_u64(fields, sizeof fields, &field_bytes,
                    BROKER_TAG_CRITICAL | BROKER_TAG_DELIVER_AT,
                    message->deliver_at_ms) == BROKER_OK);
    }
    struct broker_publish publish = {.flags = message->flags,
        .id = message->id,
        .topic = say_text(message->topic),
        .headers = {fields, field_bytes},
        .payload = {message->payload, message->payload_bytes}};
    SAY(publish, &publish);
    return say->len - before;
}

void
say_publish(
    struct say *say, uint32_t id, const char *topic, const char *payload)
{
    struct say_message message = {.id = id,
        .topic = topic,
        .payload = payload,
        .payload_bytes = strlen(payload)};
    say_message(say, &message);
}

void
say_request(
    struct say *say, uint32_t id, const char *topic, const char *reply_to)
{
    struct say_message message = {
        .id = id, .topic = topic, .reply_to = reply_to};
    say_message(say, &message);
}

void
say_ping(struct say *say, uint32_t id)
{
    struct broker_ping ping = {.id = id, .opaque = "abcdefg"};
    SAY(ping, &ping);
}

void
say_pong(struct say *say, uint32_t id)
{
    struct broker_ping pong = {.pong = true, .id = id};
    SAY(ping, &pong);
}

void
say_goaway(struct say *say)
{
    struct broker_goaway goaway = {.code = BROKER_E_LEAVING};
    SAY(goaway, &goaway);
}
