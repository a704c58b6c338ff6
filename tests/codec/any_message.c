/* SPDX-License-Identifier: MIT
 *
 * All message types behind one interface: see any_message.h.
 */
#include "any_message.h"

#include <stdlib.h>
#include <string.h>

#define ANY_FUNCTIONS(name)                                                    \
    static enum broker_status name##_decode(                                   \
        const struct broker_frame *frame, union any_message *out)              \
    {                                                                          \
        return broker_##name##_decode(frame, &out->name);                      \
    }                                                                          \
    static size_t name##_size(const union any_message *m)                      \
    {                                                                          \
        return broker_##name##_size(&m->name);                                 \
    }                                                                          \
    static enum broker_status name##_encode(                                   \
        const union any_message *m, uint8_t *dst, size_t cap, size_t *n)       \
    {                                                                          \
        return broker_##name##_encode(&m->name, dst, cap, n);                  \
    }

ANY_FUNCTIONS(hello)
ANY_FUNCTIONS(welcome)
ANY_FUNCTIONS(error)
ANY_FUNCTIONS(ping)
ANY_FUNCTIONS(goaway)
ANY_FUNCTIONS(publish)
ANY_FUNCTIONS(puback)
ANY_FUNCTIONS(subscribe)
ANY_FUNCTIONS(suback)
ANY_FUNCTIONS(unsubscribe)
ANY_FUNCTIONS(unsuback)
ANY_FUNCTIONS(context)
ANY_FUNCTIONS(gap)
ANY_FUNCTIONS(publish_batch)
ANY_FUNCTIONS(consume)
ANY_FUNCTIONS(consume_reply)
ANY_FUNCTIONS(position)
ANY_FUNCTIONS(settle)
ANY_FUNCTIONS(notice)

#define ANY_ROW(TYPE, name, keeps_flags)                                       \
    {                                                                          \
        BROKER_FRAME_##TYPE, (keeps_flags), name##_decode, name##_size,        \
            name##_encode                                                      \
    }

static const struct any_type any_types[] = {
    ANY_ROW(HELLO, hello, false),
    ANY_ROW(WELCOME, welcome, false),
    ANY_ROW(ERROR, error, false),
    ANY_ROW(PING, ping, false),
    ANY_ROW(PONG, ping, false),
    ANY_ROW(GOAWAY, goaway, false),
    ANY_ROW(PUBLISH, publish, true),
    ANY_ROW(PUBACK, puback, true),
    ANY_ROW(SUBSCRIBE, subscribe, false),
    ANY_ROW(SUBACK, suback, false),
    ANY_ROW(UNSUBSCRIBE, unsubscribe, true),
    ANY_ROW(UNSUBACK, unsuback, false),
    ANY_ROW(CONTEXT, context, true),
    ANY_ROW(GAP, gap, false),
    ANY_ROW(PUBLISH_BATCH, publish_batch, true),
    ANY_ROW(CONSUME, consume, false),
    ANY_ROW(CONSUME_REPLY, consume_reply, false),
    ANY_ROW(POSITION, position, false),
    ANY_ROW(ACK, settle, false),
    ANY_ROW(NACK, settle, false),
    ANY_ROW(TOUCH, settle, false),
    ANY_ROW(NOTICE, notice, false),
};

const struct any_type *
any_type_find(uint16_t type)
{
    for (size_t i = 0; i < sizeof any_types / sizeof any_types[0]; i++) {
        if (any_types[i].type == type) {
            return &any_types[i];
        }
    }
    return NULL;
}

/* ---- promises ------------------------------------------------------------ */

#define UNTOUCHED 0xA5

static bool
is_untouched(const void *object, size_t size)
{
    const uint8_t *bytes = object;

    /* Each byte equals the one after it, and the first is the pattern. */
    return bytes[0] == UNTOUCHED && memcmp(bytes, bytes + 1, size - 1) == 0;
}

static bool
is_view_of(struct broker_bytes view, struct broker_bytes whole)
{
    return view.len == 0 ||
           (view.data >= whole.data &&
               view.len <= whole.len - (size_t)(view.data - whole.data));
}

/* dst[0..size) was encoded from a message decoded from `frame`. */
static const char *
compare_encoded(const struct any_type *type, const struct broker_frame *frame,
    const uint8_t *dst)
{
    struct broker_header header;
    uint16_t flags = type->keeps_flags
                         ? frame->flags
                         : (uint16_t)(frame->flags & BROKER_FLAGS_STRUCTURAL);

    broker_header_decode(dst, &header);
    if (header.body_bytes != frame->body.len || header.type != frame->type ||
        header.flags != flags || header.id != frame->id) {
        return "the encoded header differs from the decoded one";
    }
    if (frame->body.len != 0 && memcmp(dst + BROKER_HEADER_BYTES,
                                    frame->body.data, frame->body.len) != 0) {
        return "the encoded body differs from the decoded one";
    }
    return NULL;
}

/* Encode what was decoded, into memory that is exactly large enough. */
static const char *
encode_again(const struct any_type *type, const struct broker_frame *frame,
    const union any_message *m)
{
    size_t size = type->size(m), n = SIZE_MAX;
    const char *broken;
    uint8_t *dst;

    if (size != BROKER_HEADER_BYTES + frame->body.len) {
        return "size is not that of the decoded frame";
    }
    dst = malloc(size);
    if (dst == NULL) {
        return "out of memory";
    }
    if (type->encode(m, dst, size - 1, &n) != BROKER_E_NO_SPACE ||
        n != SIZE_MAX) {
        broken = "encode does not see that the space is one byte short";
    } else if (type->encode(m, dst, size, &n) != BROKER_OK || n != size) {
        broken = "encode does not write what size announced";
    } else {
        broken = compare_encoded(type, frame, dst);
    }
    free(dst);
    return broken;
}

/* Every field of PUBLISH that others route by lies within the body. */
static bool
publish_is_inside(
    const struct broker_frame *frame, const struct broker_publish *m)
{
    return is_view_of(m->topic, frame->body) &&
           is_view_of(m->headers, frame->body) &&
           is_view_of(m->payload, frame->body);
}

static bool
consume_is_inside(
    const struct broker_frame *frame, const struct broker_consume *m)
{
    return is_view_of(m->stream, frame->body) &&
           is_view_of(m->consumer, frame->body) &&
           is_view_of(m->filter, frame->body) &&
           is_view_of(m->tlvs, frame->body);
}

/* Whoever takes the frames of a batch off, as codec.h says, gets so many
 * publishes and nothing else. */
static bool
batch_is_publishes(
    const struct broker_frame *frame, const struct broker_publish_batch *m)
{
    static const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    struct broker_bytes rest = m->frames;
    uint32_t count = 0;

    while (rest.len > 0) {
        struct broker_publish publish;
        struct broker_frame inner;
        size_t n;

        if (broker_frame_decode(&limits, rest.data, rest.len, &inner, &n) !=
                BROKER_OK ||
            inner.type != BROKER_FRAME_PUBLISH || inner.id != 0 ||
            broker_publish_decode(&inner, &publish) != BROKER_OK ||
            !publish_is_inside(frame, &publish)) {
            return false;
        }
        rest.data += n;
        rest.len -= n;
        count++;
    }
    return count == m->count && count >= 1;
}

/* The ranges are in order in themselves, and there is one. */
static bool
ranges_are_ordered(struct broker_ranges ranges)
{
    for (size_t i = 0; i < ranges.count; i++) {
        uint64_t first, last;

        broker_ranges_get(ranges, i, &first, &last);
        if (first > last) {
            return false;
        }
    }
    return ranges.count >= 1;
}

/* What a receiver relies on beyond the bytes: NULL, or what is wrong. */
static const char *
check_contents(const struct broker_frame *frame, const union any_message *m)
{
    bool good = true;

    switch (frame->type) {
    case BROKER_FRAME_PUBLISH:
        good = publish_is_inside(frame, &m->publish);
        break;
    case BROKER_FRAME_CONSUME:
        good = consume_is_inside(frame, &m->consume);
        break;
    case BROKER_FRAME_PUBLISH_BATCH:
        good = batch_is_publishes(frame, &m->publish_batch);
        break;
    case BROKER_FRAME_ACK:
    case BROKER_FRAME_NACK:
    case BROKER_FRAME_TOUCH:
        good = m->settle.type == frame->type &&
               ranges_are_ordered(m->settle.ranges);
        break;
    default:
        break;
    }
    return good ? NULL : "what was decoded is not what it has to be";
}

const char *
any_check_body(const struct broker_frame *frame)
{
    const struct any_type *type = any_type_find(frame->type);
    union any_message m;
    enum broker_status status;
    const char *broken;

    if (type == NULL) {
        return NULL;
    }
    memset(&m, UNTOUCHED, sizeof m);
    status = type->decode(frame, &m);
    switch (status) {
    case BROKER_OK:
        broken = check_contents(frame, &m);
        return broken != NULL ? broken : encode_again(type, frame, &m);
    case BROKER_E_BAD_MAGIC:
        if (frame->type != BROKER_FRAME_HELLO) {
            return "BAD_MAGIC, but not from HELLO";
        }
        break;
    case BROKER_E_MALFORMED:
    case BROKER_E_UNKNOWN_TAG:
        break;
    default:
        return "decode gives a status that it may not give";
    }
    return is_untouched(&m, sizeof m) ? NULL : "output written on error";
}

const char *
any_check_frame(
    const struct broker_limits *limits, const uint8_t *src, size_t len)
{
    struct broker_frame frame;
    size_t n = SIZE_MAX;
    enum broker_status status;

    memset(&frame, UNTOUCHED, sizeof frame);
    status = broker_frame_decode(limits, src, len, &frame, &n);
    if (status == BROKER_OK) {
        if (n > len || n != BROKER_HEADER_BYTES + frame.body.len ||
            frame.body.len > limits->max_body_bytes) {
            return "a frame of the wrong size";
        }
        return any_check_body(&frame);
    }
    if (!is_untouched(&frame, sizeof frame)) {
        return "frame written without BROKER_OK";
    }
    switch (status) {
    case BROKER_MORE:
        if (n <= len || n > BROKER_HEADER_BYTES + limits->max_body_bytes) {
            return "MORE asks for the wrong number of bytes";
        }
        return NULL;
    case BROKER_E_BAD_START:
        return n == 0 ? NULL : "BAD_START with a size";
    case BROKER_E_UNSUPPORTED_TYPE:
    case BROKER_E_BAD_FLAGS:
    case BROKER_E_TOO_LARGE:
    case BROKER_E_MALFORMED:
        return n >= BROKER_HEADER_BYTES ? NULL : "an error without a size";
    default:
        return "frame decode gives a status that it may not give";
    }
}
