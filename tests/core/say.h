/* SPDX-License-Identifier: MIT
 *
 * What a client says, frame by frame, into a growing array of bytes that a test
 * then feeds to the broker in pieces of its choice. Encodes with the codec.
 */
#ifndef BROKER_TESTS_SAY_H
#define BROKER_TESTS_SAY_H

#include <broker/codec.h>

struct say {
    uint8_t *bytes;
    size_t len, capacity;
};

void say_fini(struct say *say);

void say_bytes(struct say *say, const void *bytes, size_t len);
/* Any header, followed by `body_bytes` zeros. */
void say_frame(struct say *say, uint16_t type, uint16_t flags, uint32_t id,
    uint32_t body_bytes);

/* A HELLO that asks for nothing special. */
void say_hello(struct say *say);
void say_hello_with(struct say *say, const struct broker_hello *hello);
extern const struct broker_hello say_hello_default;

void say_subscribe(struct say *say, uint32_t id, const char *filter);
struct say_subscription {
    uint32_t id;
    const char *filter;
    const char *group; /* NULL: none */
    enum broker_overflow overflow;
    uint8_t options;
};
void say_subscribe_with(struct say *say, const struct say_subscription *want);
void say_unsubscribe(struct say *say, uint32_t id, uint16_t flags);

/* id 0: no acknowledgement wanted. */
void say_publish(
    struct say *say, uint32_t id, const char *topic, const char *payload);
struct say_message {
    uint32_t id;
    uint16_t flags;
    const char *topic;
    const char *reply_to;   /* NULL: none */
    uint64_t deliver_at_ms; /* 0: now */
    const void *payload;
    size_t payload_bytes;
};
/* Returns the bytes of the frame. */
size_t say_message(struct say *say, const struct say_message *message);
void say_request(
    struct say *say, uint32_t id, const char *topic, const char *reply_to);

void say_ping(struct say *say, uint32_t id);
void say_pong(struct say *say, uint32_t id);
void say_goaway(struct say *say);

static inline struct broker_bytes
say_text(const char *text)
{
    size_t len = 0;
    while (text != NULL && text[len] != '\0') {
        len++;
    }
    return (struct broker_bytes){(const uint8_t *)text, len};
}

#endif
