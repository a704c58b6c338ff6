/* SPDX-License-Identifier: MIT
 *
 * Frame headers: finding one whole frame in a buffer, and judging its header
 * before its body is there (PROTOCOL.md section 3.1). Owns the table of frame
 * types. Knows no body.
 */
#include <broker/codec.h>

#include "cursor.h"
#include "message.h"

enum frame_row {
#define BROKER_FRAME(name, type, senders, flags, min_body, max_body, summary)  \
    FRAME_ROW_##name,
#define BROKER_FRAME_RESERVED(name, type, summary) FRAME_ROW_##name,
#include <broker/frames.def>
    FRAME_ROWS
};

static const struct broker_frame_info frame_rows[FRAME_ROWS] = {
#define BROKER_FRAME(name, type, senders, flags, min_body, max_body, summary)  \
    {#name, (type), (flags), BROKER_SENDER_##senders, (min_body), (max_body),  \
        false, (summary)},
#define BROKER_FRAME_RESERVED(name, type, summary)                             \
    {#name, (type), 0, BROKER_SENDER_BOTH, 0, 0, true, (summary)},
#include <broker/frames.def>
};

/* Assigned types lie in 0x0000-0x003F and 0x8000-0x803F, so bit 15 and the low
 * six bits name one: looking a type up is one load. The stored number is the
 * row plus 1; two types in one slot are a compiler warning, and a type outside
 * of both ranges is refused here. */
#define FRAME_SLOTS      128
#define FRAME_SLOT(type) ((((type) >> 9) & 0x40) | ((type)&0x3F))

#define BROKER_FRAME(name, type, senders, flags, min_body, max_body, summary)  \
    _Static_assert(((type)&0x7FC0) == 0, "no slot for frame type " #name);
#define BROKER_FRAME_RESERVED(name, type, summary)                             \
    _Static_assert(((type)&0x7FC0) == 0, "no slot for frame type " #name);
#include <broker/frames.def>

static const uint8_t frame_slots[FRAME_SLOTS] = {
#define BROKER_FRAME(name, type, senders, flags, min_body, max_body, summary)  \
    [FRAME_SLOT(type)] = FRAME_ROW_##name + 1,
#define BROKER_FRAME_RESERVED(name, type, summary)                             \
    [FRAME_SLOT(type)] = FRAME_ROW_##name + 1,
#include <broker/frames.def>
};

const struct broker_frame_info *
broker_frame_info(uint16_t type)
{
    unsigned slot = frame_slots[FRAME_SLOT(type)];

    if (slot == 0 || frame_rows[slot - 1].type != type) {
        return NULL;
    }
    return &frame_rows[slot - 1];
}

const struct broker_frame_info *
broker_frame_info_at(size_t n)
{
    return n < FRAME_ROWS ? &frame_rows[n] : NULL;
}

void
broker_header_decode(
    const uint8_t src[BROKER_HEADER_BYTES], struct broker_header *out)
{
    out->body_bytes = be32_get(src);
    out->type = be16_get(src + 4);
    out->flags = be16_get(src + 6);
    out->id = be32_get(src + 8);
}

void
broker_header_encode(
    const struct broker_header *header, uint8_t dst[BROKER_HEADER_BYTES])
{
    be32_put(dst, header->body_bytes);
    be16_put(dst + 4, header->type);
    be16_put(dst + 6, header->flags);
    be32_put(dst + 8, header->id);
}

/* Everything that a header alone can break, in the order of section 3.1. */
static enum broker_status
header_check(
    const struct broker_header *header, const struct broker_limits *limits)
{
    const struct broker_frame_info *info = broker_frame_info(header->type);
    bool known = info != NULL && !info->reserved;

    if (!known &&
        (header->type < BROKER_FRAME_SKIPPABLE || header->type == 0xFFFF)) {
        return BROKER_E_UNSUPPORTED_TYPE;
    }
    if (known && codec_flags_undefined(header->flags, info->flags)) {
        return BROKER_E_BAD_FLAGS;
    }
    if (header->body_bytes > limits->max_body_bytes) {
        return BROKER_E_TOO_LARGE;
    }
    if (known && (header->body_bytes < info->min_body_bytes ||
                     (info->max_body_bytes != 0 &&
                         header->body_bytes > info->max_body_bytes))) {
        return BROKER_E_MALFORMED;
    }
    return BROKER_OK;
}

enum broker_status
broker_frame_decode(const struct broker_limits *limits, const uint8_t *src,
    size_t len, struct broker_frame *out, size_t *n)
{
    struct broker_header header;
    enum broker_status status;
    size_t frame_bytes;

    /* One byte is enough to tell another protocol, whose first message may well
     * be shorter than our header. */
    if (len > 0 && src[0] != 0) {
        *n = 0;
        return BROKER_E_BAD_START;
    }
    if (len < BROKER_HEADER_BYTES) {
        *n = BROKER_HEADER_BYTES;
        return BROKER_MORE;
    }
    broker_header_decode(src, &header);
    frame_bytes = BROKER_HEADER_BYTES + (size_t)header.body_bytes;
    *n = frame_bytes;
    status = header_check(&header, limits);
    if (status != BROKER_OK) {
        return status;
    }
    if (frame_bytes > len) {
        return BROKER_MORE;
    }
    out->type = header.type;
    out->flags = header.flags;
    out->id = header.id;
    out->body.data = src + BROKER_HEADER_BYTES;
    out->body.len = header.body_bytes;
    return BROKER_OK;
}
