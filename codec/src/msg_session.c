/* SPDX-License-Identifier: MIT
 *
 * HELLO, WELCOME, PING and PONG (PROTOCOL.md sections 4.1, 4.2, 4.4). What the
 * versions and limits mean to a connection is not known here.
 */
#include <broker/codec.h>

#include <assert.h>
#include <string.h>

#include "cursor.h"
#include "message.h"

#define HELLO_FIXED_BYTES   40
#define WELCOME_FIXED_BYTES 64
#define HELLO_TAGS                                                             \
    (TAG_BIT(BROKER_TAG_NAME) | TAG_BIT(BROKER_TAG_USER) |                     \
        TAG_BIT(BROKER_TAG_AUTH_METHOD) | TAG_BIT(BROKER_TAG_AUTH_DATA))
#define WELCOME_TAGS (TAG_BIT(BROKER_TAG_NAME) | TAG_BIT(BROKER_TAG_USER))

static const uint8_t hello_magic[4] = {0x42, 0x52, 0x4B, 0x31}; /* "BRK1" */

static bool
max_body_is_valid(uint32_t max_body_bytes)
{
    return max_body_bytes >= BROKER_BODY_BYTES_MIN &&
           max_body_bytes <= BROKER_BODY_BYTES_MAX;
}

/* ---- HELLO --------------------------------------------------------------- */

/* Who the client wants to be and what shows it: all of it or nothing
 * (PROTOCOL.md section 5.10). */
static bool
credentials_are_whole(struct broker_bytes tlvs)
{
    struct broker_bytes value;
    bool user = broker_tlv_find(tlvs, BROKER_TAG_USER, &value);

    return broker_tlv_find(tlvs, BROKER_TAG_AUTH_METHOD, &value) == user &&
           broker_tlv_find(tlvs, BROKER_TAG_AUTH_DATA, &value) == user;
}

enum broker_status
broker_hello_decode(const struct broker_frame *frame, struct broker_hello *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_hello m = {.id = frame->id};
    uint8_t magic[sizeof hello_magic] = {0};
    enum broker_status status;

    assert(frame->type == BROKER_FRAME_HELLO);
    reader_copy(&r, magic, sizeof magic);
    if (!r.failed && memcmp(magic, hello_magic, sizeof magic) != 0) {
        return BROKER_E_BAD_MAGIC;
    }
    m.version_min = reader_u8(&r);
    m.version_max = reader_u8(&r);
    reader_zeros(&r, 2);
    m.features = reader_u64(&r);
    m.max_body_bytes = reader_u32(&r);
    m.heartbeat_ms = reader_u32(&r);
    reader_copy(&r, m.session, sizeof m.session);
    m.tlvs = reader_rest(&r);
    if (r.failed || m.version_min == 0 || m.version_max < m.version_min ||
        !max_body_is_valid(m.max_body_bytes)) {
        return BROKER_E_MALFORMED;
    }
    status = codec_tags_check(m.tlvs, HELLO_TAGS);
    if (status != BROKER_E_MALFORMED && !credentials_are_whole(m.tlvs)) {
        status = BROKER_E_MALFORMED;
    }
    if (status == BROKER_OK) {
        *out = m;
    }
    return status;
}

size_t
broker_hello_size(const struct broker_hello *m)
{
    return codec_frame_size(HELLO_FIXED_BYTES, m->tlvs.len, 0, 0);
}

enum broker_status
broker_hello_encode(
    const struct broker_hello *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header = codec_header(BROKER_FRAME_HELLO, 0, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_hello_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_bytes(&w, hello_magic, sizeof hello_magic);
    writer_u8(&w, m->version_min);
    writer_u8(&w, m->version_max);
    writer_zeros(&w, 2);
    writer_u64(&w, m->features);
    writer_u32(&w, m->max_body_bytes);
    writer_u32(&w, m->heartbeat_ms);
    writer_bytes(&w, m->session, sizeof m->session);
    writer_view(&w, m->tlvs);
    return codec_end(&w, n);
}

/* ---- WELCOME ------------------------------------------------------------- */

enum broker_status
broker_welcome_decode(
    const struct broker_frame *frame, struct broker_welcome *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_welcome m = {.id = frame->id};
    enum broker_status status;

    assert(frame->type == BROKER_FRAME_WELCOME);
    m.version = reader_u8(&r);
    reader_zeros(&r, 3);
    m.features = reader_u64(&r);
    m.max_body_bytes = reader_u32(&r);
    m.heartbeat_ms = reader_u32(&r);
    m.max_subscriptions = reader_u32(&r);
    m.max_topic_bytes = reader_u16(&r);
    m.max_topic_levels = reader_u16(&r);
    m.last_publish = reader_u32(&r);
    reader_copy(&r, m.session, sizeof m.session);
    reader_copy(&r, m.boot, sizeof m.boot);
    m.tlvs = reader_rest(&r);
    if (r.failed || m.version == 0 || !max_body_is_valid(m.max_body_bytes)) {
        return BROKER_E_MALFORMED;
    }
    status = codec_tags_check(m.tlvs, WELCOME_TAGS);
    if (status == BROKER_OK) {
        *out = m;
    }
    return status;
}

size_t
broker_welcome_size(const struct broker_welcome *m)
{
    return codec_frame_size(WELCOME_FIXED_BYTES, m->tlvs.len, 0, 0);
}

enum broker_status
broker_welcome_encode(
    const struct broker_welcome *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header = codec_header(BROKER_FRAME_WELCOME, 0, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_welcome_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u8(&w, m->version);
    writer_zeros(&w, 3);
    writer_u64(&w, m->features);
    writer_u32(&w, m->max_body_bytes);
    writer_u32(&w, m->heartbeat_ms);
    writer_u32(&w, m->max_subscriptions);
    writer_u16(&w, m->max_topic_bytes);
    writer_u16(&w, m->max_topic_levels);
    writer_u32(&w, m->last_publish);
    writer_bytes(&w, m->session, sizeof m->session);
    writer_bytes(&w, m->boot, sizeof m->boot);
    writer_view(&w, m->tlvs);
    return codec_end(&w, n);
}

/* ---- PING and PONG ------------------------------------------------------- */

enum broker_status
broker_ping_decode(const struct broker_frame *frame, struct broker_ping *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_ping m = {.id = frame->id};

    assert(
        frame->type == BROKER_FRAME_PING || frame->type == BROKER_FRAME_PONG);
    m.pong = frame->type == BROKER_FRAME_PONG;
    reader_copy(&r, m.opaque, sizeof m.opaque);
    if (r.failed || reader_left(&r) != 0) {
        return BROKER_E_MALFORMED;
    }
    *out = m;
    return BROKER_OK;
}

size_t
broker_ping_size(const struct broker_ping *m)
{
    return codec_frame_size(sizeof m->opaque, 0, 0, 0);
}

enum broker_status
broker_ping_encode(
    const struct broker_ping *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header =
        codec_header(m->pong ? BROKER_FRAME_PONG : BROKER_FRAME_PING, 0, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_ping_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_bytes(&w, m->opaque, sizeof m->opaque);
    return codec_end(&w, n);
}
