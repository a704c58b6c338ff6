/* SPDX-License-Identifier: MIT
 *
 * Streams of brokerd: PROTOCOL.md sections 5.13 and 5.14. */
#include "measure.h"
#include "protocol.h"
#include "sock.h"
#include "stream_peer.h"

#include <broker/codec.h>

#include <string.h>

#define HEARTBEAT_MS    300000u
#define SUBSCRIPTION_ID 1u
#define CONSUMER        "bench"

static void
send_frame(struct stream_peer *peer, const uint8_t *frame, size_t len,
    enum broker_status status)
{
    if (status != BROKER_OK) {
        give_up("a frame does not encode");
    }
    stream_peer_say(peer, frame, len);
}

static void
brokerd_greet(struct stream_peer *peer)
{
    uint8_t frame[128];
    uint8_t body[1024];
    size_t len = 0;
    struct broker_header header;
    struct broker_hello hello = {.id = 1,
        .version_min = 1,
        .version_max = 1,
        .features = BROKER_FEATURE_STREAMS,
        .max_body_bytes = BROKER_BODY_BYTES_MAX,
        .heartbeat_ms = HEARTBEAT_MS};
    if (broker_hello_encode(&hello, frame, sizeof frame, &len) != BROKER_OK) {
        give_up("HELLO does not encode");
    }
    sock_write(peer->fd, frame, len);
    sock_read(peer->fd, frame, BROKER_HEADER_BYTES);
    broker_header_decode(frame, &header);
    if (header.type != BROKER_FRAME_WELCOME ||
        header.body_bytes > sizeof body) {
        give_up("brokerd sent type %u, not WELCOME", header.type);
    }
    sock_read(peer->fd, body, header.body_bytes);
}

static size_t
brokerd_publish(
    uint8_t *dst, unsigned topic, const uint8_t *payload, size_t bytes)
{
    char name[TOPIC_BYTES + 1];
    size_t len;
    topic_name(name, '/', topic);
    struct broker_publish publish = {.id = 1,
        .topic = {(const uint8_t *)name, TOPIC_BYTES},
        .payload = {payload, bytes}};
    if (broker_publish_encode(
            &publish, dst, bytes + STREAM_OVERHEAD_MAX, &len) != BROKER_OK) {
        give_up("PUBLISH does not encode");
    }
    return len;
}

static void
brokerd_read(struct stream_peer *peer, enum stream_reading reading)
{
    char name[TOPIC_BYTES + 1];
    uint8_t frame[512];
    size_t len = 0;
    topic_name(name, '/', 1);
    struct broker_consume consume = {.id = SUBSCRIPTION_ID};
    peer->reading = reading;
    if (reading != READING_PLAIN) {
        consume.consumer =
            (struct broker_bytes){(const uint8_t *)CONSUMER, strlen(CONSUMER)};
    } else {
        consume.filter =
            (struct broker_bytes){(const uint8_t *)name, TOPIC_BYTES};
        consume.start = BROKER_START_FIRST;
    }
    enum broker_status status =
        broker_consume_encode(&consume, frame, sizeof frame, &len);
    send_frame(peer, frame, len, status);
}

/* One ACK for these of the messages of a POSITION. */
static void
acknowledge(struct stream_peer *peer, uint32_t first, uint32_t count)
{
    uint8_t range[BROKER_RANGE_BYTES];
    uint8_t frame[64];
    size_t len = 0;
    uint64_t sequence = peer->position + first;
    broker_ranges_set(range, 0, sequence, sequence + count - 1);
    struct broker_settle settle = {.type = BROKER_FRAME_ACK,
        .kind = BROKER_ACK_THESE,
        .id = SUBSCRIPTION_ID,
        .ranges = {range, 1}};
    enum broker_status status =
        broker_settle_encode(&settle, frame, sizeof frame, &len);
    send_frame(peer, frame, len, status);
}

static void
take_message(struct stream_peer *peer)
{
    peer->messages++;
    peer->position_seen++;
    if (peer->reading == READING_SINGLE) {
        acknowledge(peer, peer->position_seen - 1, 1);
    } else if (peer->reading == READING_DURABLE &&
               peer->position_seen == peer->position_count) {
        acknowledge(peer, 0, peer->position_count);
    }
}

static void
take_other(struct stream_peer *peer, const struct broker_frame *frame)
{
    struct broker_puback puback;
    struct broker_position position;
    if (frame->type == BROKER_FRAME_PUBACK &&
        broker_puback_decode(frame, &puback) == BROKER_OK &&
        puback.level == BROKER_LEVEL_SYNCED &&
        (puback.flags & BROKER_PUBACK_DUPLICATE) == 0) {
        peer->acknowledged += puback.count;
    } else if (frame->type == BROKER_FRAME_POSITION &&
               broker_position_decode(frame, &position) == BROKER_OK) {
        peer->position = position.sequence;
        peer->position_count = position.count;
        peer->position_seen = 0;
    } else if (frame->type == BROKER_FRAME_ERROR) {
        give_up("brokerd answered ERROR %u",
            (unsigned)(frame->body.data[0] << 8 | frame->body.data[1]));
    } else if (frame->type != BROKER_FRAME_CONSUME_REPLY &&
               frame->type != BROKER_FRAME_CONTEXT &&
               frame->type != BROKER_FRAME_NOTICE) {
        give_up("brokerd sent type %u", frame->type);
    }
}

static size_t
brokerd_take(struct stream_peer *peer, const uint8_t *src, size_t len)
{
    const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    struct broker_header header;
    struct broker_frame frame;
    size_t n = 0;
    if (len < BROKER_HEADER_BYTES) {
        return 0;
    }
    broker_header_decode(src, &header);
    size_t bytes = BROKER_HEADER_BYTES + (size_t)header.body_bytes;
    if (len < bytes) {
        return 0;
    }
    if (header.type == BROKER_FRAME_PUBLISH) {
        take_message(peer);
        return bytes;
    }
    if (broker_frame_decode(&limits, src, bytes, &frame, &n) != BROKER_OK) {
        give_up("brokerd sent a malformed frame");
    }
    take_other(peer, &frame);
    return bytes;
}

const struct stream_side stream_brokerd = {.name = "brokerd",
    .numbered = true,
    .greet = brokerd_greet,
    .publish = brokerd_publish,
    .read = brokerd_read,
    .take = brokerd_take};
