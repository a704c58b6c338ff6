/* SPDX-License-Identifier: MIT
 *
 * SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (PROTOCOL.md sections 4.8 to
 * 4.11). Filters and groups are views here; topic.c judges them.
 */
#include <broker/codec.h>

#include <assert.h>

#include "cursor.h"
#include "message.h"

#define SUBSCRIBE_FIXED_BYTES 8
#define SUBSCRIBE_OPTIONS     BROKER_SUBSCRIBE_NO_RETAINED
#define SUBACK_FIXED_BYTES    8
#define UNSUBACK_FIXED_BYTES  24

/* ---- SUBSCRIBE ----------------------------------------------------------- */

enum broker_status
broker_subscribe_decode(
    const struct broker_frame *frame, struct broker_subscribe *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_subscribe m = {.id = frame->id};
    uint16_t filter_bytes, group_bytes;
    enum broker_status status;

    assert(frame->type == BROKER_FRAME_SUBSCRIBE);
    filter_bytes = reader_u16(&r);
    group_bytes = reader_u16(&r);
    m.overflow = (enum broker_overflow)reader_u8(&r);
    m.options = reader_u8(&r);
    reader_zeros(&r, 2);
    m.filter = reader_bytes(&r, filter_bytes);
    m.group = reader_bytes(&r, group_bytes);
    m.tlvs = reader_rest(&r);
    if (r.failed || filter_bytes == 0 ||
        (m.options & ~(unsigned)SUBSCRIBE_OPTIONS) != 0) {
        return BROKER_E_MALFORMED;
    }
    status = codec_tags_check(m.tlvs, 0);
    if (status == BROKER_OK) {
        *out = m;
    }
    return status;
}

size_t
broker_subscribe_size(const struct broker_subscribe *m)
{
    if (m->filter.len == 0 || m->filter.len > UINT16_MAX ||
        m->group.len > UINT16_MAX || (unsigned)m->overflow > UINT8_MAX) {
        return 0;
    }
    return codec_frame_size(
        SUBSCRIBE_FIXED_BYTES, m->filter.len, m->group.len, m->tlvs.len);
}

enum broker_status
broker_subscribe_encode(
    const struct broker_subscribe *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header =
        codec_header(BROKER_FRAME_SUBSCRIBE, 0, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_subscribe_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u16(&w, (uint16_t)m->filter.len);
    writer_u16(&w, (uint16_t)m->group.len);
    writer_u8(&w, (uint8_t)m->overflow);
    writer_u8(&w, m->options);
    writer_zeros(&w, 2);
    writer_view(&w, m->filter);
    writer_view(&w, m->group);
    writer_view(&w, m->tlvs);
    return codec_end(&w, n);
}

/* ---- SUBACK -------------------------------------------------------------- */

enum broker_status
broker_suback_decode(
    const struct broker_frame *frame, struct broker_suback *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_suback m = {.id = frame->id};
    enum broker_status status;

    assert(frame->type == BROKER_FRAME_SUBACK);
    m.overflow = (enum broker_overflow)reader_u8(&r);
    reader_zeros(&r, 3);
    m.retained = reader_u32(&r);
    m.tlvs = reader_rest(&r);
    if (r.failed || m.overflow < BROKER_OVERFLOW_DROP_OLDEST ||
        m.overflow > BROKER_OVERFLOW_BLOCK) {
        return BROKER_E_MALFORMED;
    }
    status = codec_tags_check(m.tlvs, 0);
    if (status == BROKER_OK) {
        *out = m;
    }
    return status;
}

size_t
broker_suback_size(const struct broker_suback *m)
{
    if ((unsigned)m->overflow > UINT8_MAX) {
        return 0;
    }
    return codec_frame_size(SUBACK_FIXED_BYTES, m->tlvs.len, 0, 0);
}

enum broker_status
broker_suback_encode(
    const struct broker_suback *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header = codec_header(BROKER_FRAME_SUBACK, 0, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_suback_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u8(&w, (uint8_t)m->overflow);
    writer_zeros(&w, 3);
    writer_u32(&w, m->retained);
    writer_view(&w, m->tlvs);
    return codec_end(&w, n);
}

/* ---- UNSUBSCRIBE --------------------------------------------------------- */

enum broker_status
broker_unsubscribe_decode(
    const struct broker_frame *frame, struct broker_unsubscribe *out)
{
    enum broker_status status = codec_tags_check(frame->body, 0);

    assert(frame->type == BROKER_FRAME_UNSUBSCRIBE);
    if (status == BROKER_OK) {
        out->flags = frame->flags;
        out->id = frame->id;
        out->tlvs = frame->body;
    }
    return status;
}

size_t
broker_unsubscribe_size(const struct broker_unsubscribe *m)
{
    if (codec_flags_undefined(m->flags, BROKER_UNSUBSCRIBE_DRAIN)) {
        return 0;
    }
    return codec_frame_size(0, m->tlvs.len, 0, 0);
}

enum broker_status
broker_unsubscribe_encode(
    const struct broker_unsubscribe *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header =
        codec_header(BROKER_FRAME_UNSUBSCRIBE, m->flags, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_unsubscribe_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_view(&w, m->tlvs);
    return codec_end(&w, n);
}

/* ---- UNSUBACK ------------------------------------------------------------ */

enum broker_status
broker_unsuback_decode(
    const struct broker_frame *frame, struct broker_unsuback *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_unsuback m = {.id = frame->id};
    enum broker_status status;

    assert(frame->type == BROKER_FRAME_UNSUBACK);
    m.matched = reader_u64(&r);
    m.delivered = reader_u64(&r);
    m.dropped = reader_u64(&r);
    m.tlvs = reader_rest(&r);
    /* The books must balance; written so that the sum cannot wrap. */
    if (r.failed || m.delivered > m.matched ||
        m.dropped != m.matched - m.delivered) {
        return BROKER_E_MALFORMED;
    }
    status = codec_tags_check(m.tlvs, 0);
    if (status == BROKER_OK) {
        *out = m;
    }
    return status;
}

size_t
broker_unsuback_size(const struct broker_unsuback *m)
{
    return codec_frame_size(UNSUBACK_FIXED_BYTES, m->tlvs.len, 0, 0);
}

enum broker_status
broker_unsuback_encode(
    const struct broker_unsuback *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header = codec_header(BROKER_FRAME_UNSUBACK, 0, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_unsuback_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u64(&w, m->matched);
    writer_u64(&w, m->delivered);
    writer_u64(&w, m->dropped);
    writer_view(&w, m->tlvs);
    return codec_end(&w, n);
}
