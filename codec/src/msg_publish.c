/* SPDX-License-Identifier: MIT
 *
 * PUBLISH and PUBACK (PROTOCOL.md sections 4.6 and 4.7). The PUBLISH decoder is
 * on the broker's hottest path: it looks at fields only when there are any,
 * and never at topic or payload.
 */
#include <broker/codec.h>

#include <assert.h>

#include "cursor.h"
#include "message.h"

#define PUBLISH_FIXED_BYTES 4
#define PUBLISH_FLAGS       (BROKER_PUBLISH_RETAIN | BROKER_PUBLISH_RETRY)
#define PUBACK_FIXED_BYTES  16

static const uint64_t publish_tags =
    TAG_BIT(BROKER_TAG_REPLY_TO) | TAG_BIT(BROKER_TAG_HEADER) |
    TAG_BIT(BROKER_TAG_TTL_MS) | TAG_BIT(BROKER_TAG_DELIVER_AT) |
    TAG_BIT(BROKER_TAG_EXPECTED_LAST_SEQUENCE);

/* ---- PUBLISH ------------------------------------------------------------- */

enum broker_status
broker_publish_decode(
    const struct broker_frame *frame, struct broker_publish *out)
{
    struct reader r = reader_init(frame->body);
    uint16_t topic_bytes = reader_u16(&r);
    uint16_t headers_bytes = reader_u16(&r);
    struct broker_bytes topic = reader_bytes(&r, topic_bytes);
    struct broker_bytes headers = reader_bytes(&r, headers_bytes);

    assert(frame->type == BROKER_FRAME_PUBLISH);
    if (r.failed || topic_bytes == 0) {
        return BROKER_E_MALFORMED;
    }
    if (headers_bytes != 0) {
        enum broker_status status = codec_tags_check(headers, publish_tags);

        if (status != BROKER_OK) {
            return status;
        }
    }
    out->flags = frame->flags;
    out->id = frame->id;
    out->topic = topic;
    out->headers = headers;
    out->payload = reader_rest(&r);
    return BROKER_OK;
}

size_t
broker_publish_size(const struct broker_publish *m)
{
    if (m->topic.len == 0 || m->topic.len > UINT16_MAX ||
        m->headers.len > UINT16_MAX ||
        codec_flags_undefined(m->flags, PUBLISH_FLAGS)) {
        return 0;
    }
    return codec_frame_size(
        PUBLISH_FIXED_BYTES, m->topic.len, m->headers.len, m->payload.len);
}

enum broker_status
broker_publish_encode(
    const struct broker_publish *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header =
        codec_header(BROKER_FRAME_PUBLISH, m->flags, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_publish_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u16(&w, (uint16_t)m->topic.len);
    writer_u16(&w, (uint16_t)m->headers.len);
    writer_view(&w, m->topic);
    writer_view(&w, m->headers);
    writer_view(&w, m->payload);
    return codec_end(&w, n);
}

/* ---- PUBACK -------------------------------------------------------------- */

static bool
puback_is_valid(const struct broker_puback *m)
{
    bool duplicate = (m->flags & BROKER_PUBACK_DUPLICATE) != 0;
    bool routed_later = m->level == BROKER_LEVEL_SYNCED;

    return m->id != 0 && m->level >= BROKER_LEVEL_ROUTED &&
           m->level <= BROKER_LEVEL_SYNCED && m->count >= 1 &&
           m->refused <= m->matched &&
           !((duplicate || routed_later) && m->matched != 0);
}

enum broker_status
broker_puback_decode(
    const struct broker_frame *frame, struct broker_puback *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_puback m = {.flags = frame->flags, .id = frame->id};
    enum broker_status status;

    assert(frame->type == BROKER_FRAME_PUBACK);
    m.level = (enum broker_level)reader_u8(&r);
    reader_zeros(&r, 3);
    m.count = reader_u32(&r);
    m.matched = reader_u32(&r);
    m.refused = reader_u32(&r);
    m.tlvs = reader_rest(&r);
    if (r.failed || !puback_is_valid(&m)) {
        return BROKER_E_MALFORMED;
    }
    status = codec_tags_check(
        m.tlvs, TAG_BIT(BROKER_TAG_STREAM) | TAG_BIT(BROKER_TAG_SEQUENCE));
    if (status == BROKER_OK) {
        *out = m;
    }
    return status;
}

size_t
broker_puback_size(const struct broker_puback *m)
{
    if ((unsigned)m->level > UINT8_MAX ||
        codec_flags_undefined(m->flags, BROKER_PUBACK_DUPLICATE)) {
        return 0;
    }
    return codec_frame_size(PUBACK_FIXED_BYTES, m->tlvs.len, 0, 0);
}

enum broker_status
broker_puback_encode(
    const struct broker_puback *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header =
        codec_header(BROKER_FRAME_PUBACK, m->flags, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_puback_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u8(&w, (uint8_t)m->level);
    writer_zeros(&w, 3);
    writer_u32(&w, m->count);
    writer_u32(&w, m->matched);
    writer_u32(&w, m->refused);
    writer_view(&w, m->tlvs);
    return codec_end(&w, n);
}
