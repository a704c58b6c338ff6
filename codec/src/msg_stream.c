/* SPDX-License-Identifier: MIT
 *
 * CONSUME, CONSUME_REPLY, POSITION, and ACK, NACK and TOUCH, which are one
 * message of three types (PROTOCOL.md sections 4.16 to 4.19).
 */
#include <broker/codec.h>

#include <assert.h>

#include "cursor.h"
#include "message.h"

#define CONSUME_FIXED_BYTES       20
#define CONSUME_REPLY_FIXED_BYTES 32
#define POSITION_BYTES            24
#define SETTLE_FIXED_BYTES        8

/* ---- CONSUME ------------------------------------------------------------- */

static bool
start_has_value(enum broker_start start)
{
    return start >= BROKER_START_SEQUENCE;
}

/* A reader or a consumer, and nothing of the one in the other. */
static bool
consume_is_valid(const struct broker_consume *m)
{
    if (m->start > BROKER_START_COUNT ||
        (m->options & ~(unsigned)BROKER_CONSUME_END) != 0 ||
        (m->value != 0 && !start_has_value(m->start))) {
        return false;
    }
    if (m->consumer.len == 0) {
        return m->start != BROKER_START_CURSOR && m->window == 0 &&
               m->stream.len + m->filter.len > 0;
    }
    return m->start == BROKER_START_CURSOR && m->options == 0 &&
           m->stream.len == 0 && m->filter.len == 0;
}

enum broker_status
broker_consume_decode(
    const struct broker_frame *frame, struct broker_consume *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_consume m = {.id = frame->id};
    uint16_t stream_bytes, consumer_bytes, filter_bytes;
    enum broker_status status;

    assert(frame->type == BROKER_FRAME_CONSUME);
    stream_bytes = reader_u16(&r);
    consumer_bytes = reader_u16(&r);
    filter_bytes = reader_u16(&r);
    m.start = (enum broker_start)reader_u8(&r);
    m.options = reader_u8(&r);
    m.value = reader_u64(&r);
    m.window = reader_u32(&r);
    m.stream = reader_bytes(&r, stream_bytes);
    m.consumer = reader_bytes(&r, consumer_bytes);
    m.filter = reader_bytes(&r, filter_bytes);
    m.tlvs = reader_rest(&r);
    if (r.failed || !consume_is_valid(&m)) {
        return BROKER_E_MALFORMED;
    }
    status = codec_tags_check(m.tlvs, 0);
    if (status == BROKER_OK) {
        *out = m;
    }
    return status;
}

size_t
broker_consume_size(const struct broker_consume *m)
{
    if (m->stream.len > UINT16_MAX || m->consumer.len > UINT16_MAX ||
        m->filter.len > UINT16_MAX || !consume_is_valid(m)) {
        return 0;
    }
    return codec_frame_size(CONSUME_FIXED_BYTES,
        m->stream.len + m->consumer.len, m->filter.len, m->tlvs.len);
}

enum broker_status
broker_consume_encode(
    const struct broker_consume *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header = codec_header(BROKER_FRAME_CONSUME, 0, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_consume_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u16(&w, (uint16_t)m->stream.len);
    writer_u16(&w, (uint16_t)m->consumer.len);
    writer_u16(&w, (uint16_t)m->filter.len);
    writer_u8(&w, (uint8_t)m->start);
    writer_u8(&w, m->options);
    writer_u64(&w, m->value);
    writer_u32(&w, m->window);
    writer_view(&w, m->stream);
    writer_view(&w, m->consumer);
    writer_view(&w, m->filter);
    writer_view(&w, m->tlvs);
    return codec_end(&w, n);
}

/* ---- CONSUME_REPLY ------------------------------------------------------- */

/* A reader acknowledges nothing, so it has no window. */
static bool
consume_reply_is_valid(const struct broker_consume_reply *m)
{
    return m->ack <= BROKER_ACK_EACH &&
           (m->ack != BROKER_ACK_READER || m->window == 0);
}

enum broker_status
broker_consume_reply_decode(
    const struct broker_frame *frame, struct broker_consume_reply *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_consume_reply m = {.id = frame->id};
    enum broker_status status;

    assert(frame->type == BROKER_FRAME_CONSUME_REPLY);
    m.first_sequence = reader_u64(&r);
    m.last_sequence = reader_u64(&r);
    m.next_sequence = reader_u64(&r);
    m.ack = (enum broker_ack_mode)reader_u8(&r);
    reader_zeros(&r, 3);
    m.window = reader_u32(&r);
    m.tlvs = reader_rest(&r);
    if (r.failed || !consume_reply_is_valid(&m)) {
        return BROKER_E_MALFORMED;
    }
    status = codec_tags_check(m.tlvs, TAG_BIT(BROKER_TAG_STREAM));
    if (status == BROKER_OK) {
        *out = m;
    }
    return status;
}

size_t
broker_consume_reply_size(const struct broker_consume_reply *m)
{
    if (!consume_reply_is_valid(m)) {
        return 0;
    }
    return codec_frame_size(CONSUME_REPLY_FIXED_BYTES, m->tlvs.len, 0, 0);
}

enum broker_status
broker_consume_reply_encode(
    const struct broker_consume_reply *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header =
        codec_header(BROKER_FRAME_CONSUME_REPLY, 0, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_consume_reply_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u64(&w, m->first_sequence);
    writer_u64(&w, m->last_sequence);
    writer_u64(&w, m->next_sequence);
    writer_u8(&w, (uint8_t)m->ack);
    writer_zeros(&w, 3);
    writer_u32(&w, m->window);
    writer_view(&w, m->tlvs);
    return codec_end(&w, n);
}

/* ---- POSITION ------------------------------------------------------------ */

/* Where no message follows there is none to tell a time or deliveries of. */
static bool
position_is_valid(const struct broker_position *m)
{
    return m->count != 0 || (m->time_ms == 0 && m->deliveries == 0);
}

enum broker_status
broker_position_decode(
    const struct broker_frame *frame, struct broker_position *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_position m = {.id = frame->id};

    assert(frame->type == BROKER_FRAME_POSITION);
    m.sequence = reader_u64(&r);
    m.time_ms = reader_u64(&r);
    m.count = reader_u32(&r);
    m.deliveries = reader_u32(&r);
    if (r.failed || reader_left(&r) != 0 || !position_is_valid(&m)) {
        return BROKER_E_MALFORMED;
    }
    *out = m;
    return BROKER_OK;
}

size_t
broker_position_size(const struct broker_position *m)
{
    if (!position_is_valid(m)) {
        return 0;
    }
    return codec_frame_size(POSITION_BYTES, 0, 0, 0);
}

enum broker_status
broker_position_encode(
    const struct broker_position *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header = codec_header(BROKER_FRAME_POSITION, 0, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_position_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u64(&w, m->sequence);
    writer_u64(&w, m->time_ms);
    writer_u32(&w, m->count);
    writer_u32(&w, m->deliveries);
    return codec_end(&w, n);
}

/* ---- ACK, NACK, TOUCH ---------------------------------------------------- */

void
broker_ranges_get(
    struct broker_ranges ranges, size_t i, uint64_t *first, uint64_t *last)
{
    assert(i < ranges.count);
    *first = be64_get(ranges.data + i * BROKER_RANGE_BYTES);
    *last = be64_get(ranges.data + i * BROKER_RANGE_BYTES + 8);
}

void
broker_ranges_set(uint8_t *data, size_t i, uint64_t first, uint64_t last)
{
    be64_put(data + i * BROKER_RANGE_BYTES, first);
    be64_put(data + i * BROKER_RANGE_BYTES + 8, last);
}

static bool
settle_is_valid(const struct broker_settle *m)
{
    uint8_t kinds = m->type == BROKER_FRAME_TOUCH ? 1 : 2;
    bool up_to = m->type == BROKER_FRAME_ACK && m->kind == BROKER_ACK_UP_TO;
    bool delays = m->type == BROKER_FRAME_NACK && m->kind == BROKER_NACK_AGAIN;

    return m->kind >= 1 && m->kind <= kinds && m->ranges.count >= 1 &&
           (!up_to || m->ranges.count == 1) && (delays || m->delay_ms == 0);
}

enum broker_status
broker_settle_decode(
    const struct broker_frame *frame, struct broker_settle *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_settle m = {.type = frame->type, .id = frame->id};
    struct broker_bytes rest;

    assert(
        frame->type >= BROKER_FRAME_ACK && frame->type <= BROKER_FRAME_TOUCH);
    m.kind = reader_u8(&r);
    reader_zeros(&r, 3);
    m.delay_ms = reader_u32(&r);
    rest = reader_rest(&r);
    m.ranges = (struct broker_ranges){rest.data, rest.len / BROKER_RANGE_BYTES};
    if (r.failed || rest.len % BROKER_RANGE_BYTES != 0 ||
        !settle_is_valid(&m)) {
        return BROKER_E_MALFORMED;
    }
    for (size_t i = 0; i < m.ranges.count; i++) {
        uint64_t first, last;

        broker_ranges_get(m.ranges, i, &first, &last);
        if (first > last) {
            return BROKER_E_MALFORMED;
        }
    }
    *out = m;
    return BROKER_OK;
}

size_t
broker_settle_size(const struct broker_settle *m)
{
    if (m->type < BROKER_FRAME_ACK || m->type > BROKER_FRAME_TOUCH ||
        !settle_is_valid(m) ||
        m->ranges.count > BROKER_BODY_BYTES_MAX / BROKER_RANGE_BYTES) {
        return 0;
    }
    return codec_frame_size(
        SETTLE_FIXED_BYTES, m->ranges.count * BROKER_RANGE_BYTES, 0, 0);
}

enum broker_status
broker_settle_encode(
    const struct broker_settle *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header = codec_header(m->type, 0, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_settle_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u8(&w, m->kind);
    writer_zeros(&w, 3);
    writer_u32(&w, m->delay_ms);
    writer_bytes(&w, m->ranges.data, m->ranges.count * BROKER_RANGE_BYTES);
    return codec_end(&w, n);
}
