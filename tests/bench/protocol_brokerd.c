/* SPDX-License-Identifier: MIT
 *
 * brokerd's own protocol (proto/PROTOCOL.md), and the relay's: the same frames
 * behind a greeting of eight bytes that names a channel (relay.c). */
#include "measure.h"
#include "protocol.h"
#include "sock.h"

#include <broker/codec.h>

#include <stdio.h>
#include <string.h>

/* Nobody answers PING while a measurement runs: the longest that there is. */
#define HEARTBEAT_MS 300000u
#define BODY_MAX     1024

static struct broker_bytes
bytes_of(const char *text)
{
    return (struct broker_bytes){(const uint8_t *)text, strlen(text)};
}

/* Read one frame: its header, and its body into body[BODY_MAX]. */
static struct broker_header
read_frame(int fd, uint8_t *body)
{
    uint8_t bytes[BROKER_HEADER_BYTES];
    struct broker_header header;
    sock_read(fd, bytes, sizeof(bytes));
    broker_header_decode(bytes, &header);
    if (header.body_bytes > BODY_MAX) {
        give_up("brokerd sent a frame of %u bytes", header.body_bytes);
    }
    sock_read(fd, body, header.body_bytes);
    return header;
}

static void
expect_frame(int fd, enum broker_frame_type type)
{
    uint8_t body[BODY_MAX];
    struct broker_header header = read_frame(fd, body);
    if (header.type == BROKER_FRAME_ERROR) {
        give_up(
            "brokerd answered ERROR %u", (unsigned)(body[0] << 8 | body[1]));
    }
    if (header.type != type) {
        give_up("brokerd sent type %u, not %u", header.type, (unsigned)type);
    }
}

static void
brokerd_greet(int fd, bool publisher, unsigned channel)
{
    (void)publisher;
    (void)channel;
    uint8_t frame[128];
    size_t len;
    struct broker_hello hello = {.id = 1,
        .version_min = 1,
        .version_max = 1,
        .max_body_bytes = BROKER_BODY_BYTES_MAX,
        .heartbeat_ms = HEARTBEAT_MS};
    if (broker_hello_encode(&hello, frame, sizeof(frame), &len) != BROKER_OK) {
        give_up("HELLO does not encode");
    }
    sock_write(fd, frame, len);
    expect_frame(fd, BROKER_FRAME_WELCOME);
}

static size_t
brokerd_subscribe(uint8_t *dst, const struct subscription *subscription)
{
    char filter[TOPIC_BYTES + 3];
    size_t len;
    topic_filter(
        filter, &protocol_brokerd, subscription->topic, subscription->shape);
    struct broker_subscribe message = {
        .id = subscription->id, .filter = bytes_of(filter)};
    if (subscription->group != NULL) {
        message.group = bytes_of(subscription->group);
    }
    if (broker_subscribe_encode(&message, dst, SUBSCRIBE_BYTES_MAX, &len) !=
        BROKER_OK) {
        give_up("SUBSCRIBE does not encode");
    }
    return len;
}

static void
brokerd_settle(int fd, size_t count)
{
    while (count-- > 0) {
        expect_frame(fd, BROKER_FRAME_SUBACK);
    }
}

static size_t
brokerd_publish(uint8_t *dst, const struct message *message)
{
    char topic[TOPIC_BYTES + 1];
    size_t len;
    topic_name(topic, '/', message->topic);
    struct broker_publish publish = {.id = message->id,
        .topic = bytes_of(topic),
        .payload = {message->payload, message->payload_len}};
    if (broker_publish_encode(&publish, dst,
            message->payload_len + FRAME_OVERHEAD_MAX, &len) != BROKER_OK) {
        give_up("PUBLISH does not encode");
    }
    return len;
}

static enum unit
brokerd_unit(const uint8_t *src, size_t len, size_t *bytes)
{
    struct broker_header header;
    if (len < BROKER_HEADER_BYTES) {
        return UNIT_MORE;
    }
    broker_header_decode(src, &header);
    *bytes = BROKER_HEADER_BYTES + (size_t)header.body_bytes;
    if (header.type == BROKER_FRAME_PUBLISH) {
        return UNIT_MESSAGE;
    }
    return header.type == BROKER_FRAME_CONTEXT ? UNIT_OTHER : UNIT_BAD;
}

/* Nothing but PUBACKs in which nothing was refused. */
static bool
brokerd_reply(struct replies *replies, const uint8_t *src, size_t len)
{
    enum { PUBACK_BYTES = BROKER_HEADER_BYTES + 16 };
    struct broker_frame frame;
    struct broker_puback puback;
    const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    size_t n;
    while (len > 0) {
        size_t take = PUBACK_BYTES - replies->part_len;
        take = take < len ? take : len;
        memcpy(replies->part + replies->part_len, src, take);
        replies->part_len += take;
        src += take;
        len -= take;
        if (replies->part_len < PUBACK_BYTES) {
            break;
        }
        if (broker_frame_decode(&limits, replies->part, PUBACK_BYTES, &frame,
                &n) != BROKER_OK ||
            frame.type != BROKER_FRAME_PUBACK ||
            broker_puback_decode(&frame, &puback) != BROKER_OK ||
            puback.matched != replies->receivers || puback.refused != 0) {
            return false;
        }
        replies->acknowledged += puback.count;
        replies->part_len = 0;
    }
    return true;
}

const struct protocol protocol_brokerd = {.name = "brokerd",
    .separator = '/',
    .any_level = "+",
    .any_below = "#",
    .can_acknowledge = true,
    .has_groups = true,
    .has_context = true,
    .greet = brokerd_greet,
    .subscribe = brokerd_subscribe,
    .settle = brokerd_settle,
    .publish = brokerd_publish,
    .deliver = brokerd_publish,
    .unit = brokerd_unit,
    .reply = brokerd_reply};

static void
relay_greet(int fd, bool publisher, unsigned channel)
{
    char greeting[16];
    snprintf(greeting, sizeof(greeting), "%c%07u", publisher ? 'P' : 'S',
        channel % TOPICS_MAX);
    sock_write(fd, greeting, 8);
    sock_read(fd, greeting, 8);
}

/* A relay knows no topics: whoever is in the channel gets everything. */
static size_t
relay_subscribe(uint8_t *dst, const struct subscription *subscription)
{
    (void)dst;
    (void)subscription;
    return 0;
}

static void
relay_settle(int fd, size_t count)
{
    (void)fd;
    (void)count;
}

static bool
relay_reply(struct replies *replies, const uint8_t *src, size_t len)
{
    (void)replies;
    (void)src;
    return len == 0;
}

const struct protocol protocol_relay = {.name = "relay",
    .separator = '/',
    .any_level = "+",
    .any_below = "#",
    .greet = relay_greet,
    .subscribe = relay_subscribe,
    .settle = relay_settle,
    .publish = brokerd_publish,
    .deliver = brokerd_publish,
    .unit = brokerd_unit,
    .reply = relay_reply};
