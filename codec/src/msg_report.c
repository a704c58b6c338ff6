/* SPDX-License-Identifier: MIT
 *
 * ERROR, GOAWAY and NOTICE: the frames that carry a code (PROTOCOL.md sections
 * 4.3, 4.5 and 4.14). What a code means is said by names.c; one that a newer
 * peer sends is passed on as it is.
 */
#include <broker/codec.h>

#include <assert.h>

#include "cursor.h"
#include "message.h"

#define ERROR_FIXED_BYTES  8
#define GOAWAY_FIXED_BYTES 8
#define NOTICE_FIXED_BYTES 4

/* Codes of the wire, known or not. 0 is no code, and those from 900 on are
 * results of a library: a peer that could send them could forge our own. */
#define CODE_MIN 100
#define CODE_MAX 899

#define ERROR_TAGS                                                             \
    (TAG_BIT(BROKER_TAG_TEXT) | TAG_BIT(BROKER_TAG_LIMIT) |                    \
        TAG_BIT(BROKER_TAG_RETRY_AFTER_MS) | TAG_BIT(BROKER_TAG_TOPIC) |       \
        TAG_BIT(BROKER_TAG_SEQUENCE))
#define GOAWAY_TAGS TAG_BIT(BROKER_TAG_TEXT)
#define NOTICE_TAGS (TAG_BIT(BROKER_TAG_TEXT) | TAG_BIT(BROKER_TAG_LIMIT))

static bool
code_is_valid(uint16_t code)
{
    return code >= CODE_MIN && code <= CODE_MAX;
}

/* ---- ERROR --------------------------------------------------------------- */

enum broker_status
broker_error_decode(const struct broker_frame *frame, struct broker_error *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_error m = {.id = frame->id};
    uint8_t retry;
    enum broker_status status;

    assert(frame->type == BROKER_FRAME_ERROR);
    m.code = reader_u16(&r);
    m.frame_type = reader_u16(&r);
    m.error_class = (enum broker_error_class)reader_u8(&r);
    retry = reader_u8(&r);
    reader_zeros(&r, 2);
    m.tlvs = reader_rest(&r);
    if (r.failed || !code_is_valid(m.code) ||
        m.error_class < BROKER_CLASS_REQUEST ||
        m.error_class > BROKER_CLASS_CONNECTION || retry > 1) {
        return BROKER_E_MALFORMED;
    }
    m.may_retry = retry == 1;
    status = codec_tags_check(m.tlvs, ERROR_TAGS);
    if (status == BROKER_OK) {
        *out = m;
    }
    return status;
}

size_t
broker_error_size(const struct broker_error *m)
{
    if ((unsigned)m->error_class > UINT8_MAX) {
        return 0;
    }
    return codec_frame_size(ERROR_FIXED_BYTES, m->tlvs.len, 0, 0);
}

enum broker_status
broker_error_encode(
    const struct broker_error *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header = codec_header(BROKER_FRAME_ERROR, 0, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_error_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u16(&w, m->code);
    writer_u16(&w, m->frame_type);
    writer_u8(&w, (uint8_t)m->error_class);
    writer_u8(&w, m->may_retry ? 1 : 0);
    writer_zeros(&w, 2);
    writer_view(&w, m->tlvs);
    return codec_end(&w, n);
}

/* ---- GOAWAY -------------------------------------------------------------- */

enum broker_status
broker_goaway_decode(
    const struct broker_frame *frame, struct broker_goaway *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_goaway m = {.id = frame->id};
    enum broker_status status;

    assert(frame->type == BROKER_FRAME_GOAWAY);
    m.code = reader_u16(&r);
    reader_zeros(&r, 2);
    m.retry_after_ms = reader_u32(&r);
    m.tlvs = reader_rest(&r);
    if (r.failed || !code_is_valid(m.code)) {
        return BROKER_E_MALFORMED;
    }
    status = codec_tags_check(m.tlvs, GOAWAY_TAGS);
    if (status == BROKER_OK) {
        *out = m;
    }
    return status;
}

size_t
broker_goaway_size(const struct broker_goaway *m)
{
    return codec_frame_size(GOAWAY_FIXED_BYTES, m->tlvs.len, 0, 0);
}

enum broker_status
broker_goaway_encode(
    const struct broker_goaway *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header = codec_header(BROKER_FRAME_GOAWAY, 0, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_goaway_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u16(&w, m->code);
    writer_zeros(&w, 2);
    writer_u32(&w, m->retry_after_ms);
    writer_view(&w, m->tlvs);
    return codec_end(&w, n);
}

/* ---- NOTICE -------------------------------------------------------------- */

enum broker_status
broker_notice_decode(
    const struct broker_frame *frame, struct broker_notice *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_notice m = {.id = frame->id};
    enum broker_status status;

    assert(frame->type == BROKER_FRAME_NOTICE);
    m.code = reader_u16(&r);
    reader_zeros(&r, 2);
    m.tlvs = reader_rest(&r);
    if (r.failed || m.id != 0 || !code_is_valid(m.code)) {
        return BROKER_E_MALFORMED;
    }
    status = codec_tags_check(m.tlvs, NOTICE_TAGS);
    if (status == BROKER_OK) {
        *out = m;
    }
    return status;
}

size_t
broker_notice_size(const struct broker_notice *m)
{
    return codec_frame_size(NOTICE_FIXED_BYTES, m->tlvs.len, 0, 0);
}

enum broker_status
broker_notice_encode(
    const struct broker_notice *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header = codec_header(BROKER_FRAME_NOTICE, 0, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_notice_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u16(&w, m->code);
    writer_zeros(&w, 2);
    writer_view(&w, m->tlvs);
    return codec_end(&w, n);
}
