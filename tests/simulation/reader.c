/* SPDX-License-Identifier: MIT
 *
 * From bytes to calls; see reader.h. */
#include "reader.h"

struct reading {
    struct sim_reader *reader;
    struct fake_net *net;
    const struct reader_calls *calls;
    void *world, *client;
};

bool
reader_in_context(const struct sim_reader *reader, uint32_t id)
{
    for (uint32_t i = 0; i < reader->context_count; i++) {
        if (reader->context[i] == id) {
            return true;
        }
    }
    return false;
}

static bool
has_twice(struct broker_ids ids)
{
    for (size_t i = 0; i < ids.count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (broker_ids_get(ids, i) == broker_ids_get(ids, j)) {
                return true;
            }
        }
    }
    return false;
}

static void
read_context(const struct reading *reading, const struct broker_frame *frame)
{
    struct sim_reader *reader = reading->reader;
    struct broker_context context;
    fake_require(reading->net,
        broker_context_decode(frame, &context) == BROKER_OK, "a bad CONTEXT");
    fake_require(reading->net, context.ids.count <= READER_CONTEXT_MAX,
        "a CONTEXT of too many");
    fake_require(
        reading->net, !has_twice(context.ids), "a CONTEXT with an id twice");
    reader->context_count = (uint32_t)context.ids.count;
    reader->context_retained = (context.flags & BROKER_CONTEXT_RETAINED) != 0;
    for (uint32_t i = 0; i < reader->context_count; i++) {
        reader->context[i] = broker_ids_get(context.ids, i);
        reading->calls->context(
            reading->world, reading->client, reader->context[i]);
    }
}

static void
read_publish(const struct reading *reading, const struct broker_frame *frame)
{
    struct broker_publish publish;
    fake_require(reading->net,
        broker_publish_decode(frame, &publish) == BROKER_OK, "a bad PUBLISH");
    fake_require(reading->net, reading->reader->context_count > 0,
        "a PUBLISH before any CONTEXT");
    reading->calls->publish(reading->world, reading->client, frame, &publish);
}

static void
check_unsuback(
    const struct reading *reading, const struct broker_unsuback *unsuback)
{
    fake_require(reading->net,
        unsuback->matched == unsuback->delivered + unsuback->dropped,
        "an UNSUBACK that does not balance");
}

static void
check_puback(const struct reading *reading, const struct broker_puback *puback)
{
    bool duplicate = (puback->flags & BROKER_PUBACK_DUPLICATE) != 0;
    fake_require(reading->net,
        puback->refused <= (duplicate ? 0 : puback->matched) &&
            (!duplicate || puback->matched == 0),
        "a PUBACK of more refused than matched");
}

/* Decode the frame as a message of this kind and hand it on. */
#define HAND_ON(kind, check)                                                   \
    do {                                                                       \
        struct broker_##kind message_;                                         \
        fake_require(reading->net,                                             \
            broker_##kind##_decode(frame, &message_) == BROKER_OK,             \
            "a frame that cannot be decoded: " #kind);                         \
        check;                                                                 \
        reading->calls->kind(reading->world, reading->client, &message_);      \
    } while (0)

static void
read_frame(const struct reading *reading, const struct broker_frame *frame)
{
    fake_require(reading->net, !reading->reader->told, "a frame after GOAWAY");
    reading->calls->frame(reading->world, reading->client, frame);
    switch (frame->type) {
    case BROKER_FRAME_WELCOME:
        HAND_ON(welcome, );
        break;
    case BROKER_FRAME_ERROR:
        HAND_ON(error, );
        break;
    case BROKER_FRAME_PING:
    case BROKER_FRAME_PONG:
        HAND_ON(ping, );
        break;
    case BROKER_FRAME_GOAWAY:
        HAND_ON(goaway, reading->reader->told = true);
        break;
    case BROKER_FRAME_PUBACK:
        HAND_ON(puback, check_puback(reading, &message_));
        break;
    case BROKER_FRAME_SUBACK:
        HAND_ON(suback, );
        break;
    case BROKER_FRAME_UNSUBACK:
        HAND_ON(unsuback, check_unsuback(reading, &message_));
        break;
    case BROKER_FRAME_GAP:
        HAND_ON(gap, fake_require(reading->net, !has_twice(message_.ids),
                         "a GAP with an id twice"));
        break;
    case BROKER_FRAME_CONTEXT:
        read_context(reading, frame);
        break;
    case BROKER_FRAME_PUBLISH:
        read_publish(reading, frame);
        break;
    case BROKER_FRAME_NOTICE:
        break;
    default:
        fake_require(reading->net, false, "a frame that only clients send");
    }
}

void
reader_read(struct sim_reader *reader, struct fake_peer *peer,
    const struct reader_calls *calls, void *world, void *client)
{
    struct reading reading = {reader, peer->net, calls, world, client};
    struct broker_frame frame;
    while (fake_next(peer, &frame)) {
        read_frame(&reading, &frame);
    }
}
