/* SPDX-License-Identifier: MIT
 *
 * Extension fields: u16 tag, u16 length, value (PROTOCOL.md section 3.3). Owns
 * the value rule of each known tag; which tags a frame type has is said by the
 * message families.
 */
#include <broker/codec.h>

#include "cursor.h"
#include "message.h"

#define TLV_HEAD_BYTES  4
#define TLV_VALUE_MAX   0xFFFF
#define HEADER_KEY_HEAD 2
#define HEADER_KEY_MAX  255

enum broker_status
broker_tlv_next(struct broker_bytes *rest, struct broker_tlv *out)
{
    struct reader r = reader_init(*rest);
    struct broker_bytes value;
    uint16_t tag;

    if (rest->len == 0) {
        return BROKER_MORE;
    }
    tag = reader_u16(&r);
    value = reader_bytes(&r, reader_u16(&r));
    if (r.failed) {
        return BROKER_E_MALFORMED;
    }
    out->tag = (uint16_t)(tag & ~BROKER_TAG_CRITICAL);
    out->critical = (tag & BROKER_TAG_CRITICAL) != 0;
    out->value = value;
    *rest = reader_rest(&r);
    return BROKER_OK;
}

bool
broker_tlv_find(
    struct broker_bytes tlvs, uint16_t tag, struct broker_bytes *value)
{
    struct broker_tlv tlv;

    while (broker_tlv_next(&tlvs, &tlv) == BROKER_OK) {
        if (tlv.tag == tag) {
            *value = tlv.value;
            return true;
        }
    }
    return false;
}

size_t
broker_tlv_size(size_t value_len)
{
    return TLV_HEAD_BYTES + value_len;
}

bool
broker_tlv_u32(struct broker_bytes value, uint32_t *out)
{
    struct reader r = reader_init(value);

    if (value.len != sizeof *out) {
        return false;
    }
    *out = reader_u32(&r);
    return true;
}

bool
broker_tlv_u64(struct broker_bytes value, uint64_t *out)
{
    struct reader r = reader_init(value);

    if (value.len != sizeof *out) {
        return false;
    }
    *out = reader_u64(&r);
    return true;
}

/* ---- writing ------------------------------------------------------------- */

/* Open *w on exactly one field at dst[*pos..cap) and write its head. */
static enum broker_status
tlv_begin(struct writer *w, uint8_t *dst, size_t cap, size_t pos, uint16_t tag,
    size_t value_len)
{
    if (value_len > TLV_VALUE_MAX) {
        return BROKER_E_INVALID_ARGUMENT;
    }
    if (pos > cap || broker_tlv_size(value_len) > cap - pos) {
        return BROKER_E_NO_SPACE;
    }
    *w = writer_init(dst + pos, broker_tlv_size(value_len));
    writer_u16(w, tag);
    writer_u16(w, (uint16_t)value_len);
    return BROKER_OK;
}

enum broker_status
broker_tlv_put(uint8_t *dst, size_t cap, size_t *pos, uint16_t tag,
    struct broker_bytes value)
{
    struct writer w;
    enum broker_status status = tlv_begin(&w, dst, cap, *pos, tag, value.len);

    if (status == BROKER_OK) {
        writer_view(&w, value);
        *pos += w.pos;
    }
    return status;
}

enum broker_status
broker_tlv_put_u32(
    uint8_t *dst, size_t cap, size_t *pos, uint16_t tag, uint32_t value)
{
    uint8_t wire[4];
    struct broker_bytes view = {wire, sizeof wire};

    be32_put(wire, value);
    return broker_tlv_put(dst, cap, pos, tag, view);
}

enum broker_status
broker_tlv_put_u64(
    uint8_t *dst, size_t cap, size_t *pos, uint16_t tag, uint64_t value)
{
    uint8_t wire[8];
    struct broker_bytes view = {wire, sizeof wire};

    be64_put(wire, value);
    return broker_tlv_put(dst, cap, pos, tag, view);
}

/* ---- user headers -------------------------------------------------------- */

static bool
header_key_is_valid(struct broker_bytes key)
{
    return key.len >= 1 && key.len <= HEADER_KEY_MAX && broker_utf8_check(key);
}

/* Cut the value of a HEADER field into key and value. */
static bool
header_split(struct broker_bytes field, struct broker_bytes *key,
    struct broker_bytes *value)
{
    struct reader r = reader_init(field);
    struct broker_bytes head = reader_bytes(&r, reader_u16(&r));

    if (r.failed || !header_key_is_valid(head)) {
        return false;
    }
    *key = head;
    *value = reader_rest(&r);
    return true;
}

enum broker_status
broker_header_put(uint8_t *dst, size_t cap, size_t *pos,
    struct broker_bytes key, struct broker_bytes value)
{
    struct writer w;
    enum broker_status status;

    if (!header_key_is_valid(key) || value.len > TLV_VALUE_MAX) {
        return BROKER_E_INVALID_ARGUMENT;
    }
    status = tlv_begin(&w, dst, cap, *pos, BROKER_TAG_HEADER,
        HEADER_KEY_HEAD + key.len + value.len);
    if (status == BROKER_OK) {
        writer_u16(&w, (uint16_t)key.len);
        writer_view(&w, key);
        writer_view(&w, value);
        *pos += w.pos;
    }
    return status;
}

enum broker_status
broker_header_next(struct broker_bytes *rest, struct broker_bytes *key,
    struct broker_bytes *value)
{
    struct broker_bytes ahead = *rest;
    struct broker_tlv tlv;
    enum broker_status status;

    do {
        status = broker_tlv_next(&ahead, &tlv);
        if (status != BROKER_OK) {
            return status;
        }
    } while (tlv.tag != BROKER_TAG_HEADER);
    if (!header_split(tlv.value, key, value)) {
        return BROKER_E_MALFORMED;
    }
    *rest = ahead;
    return BROKER_OK;
}

/* ---- checking ------------------------------------------------------------ */

static bool
tag_value_is_valid(uint16_t tag, struct broker_bytes value)
{
    struct broker_bytes key, header_value;
    uint64_t number;

    switch (tag) {
    case BROKER_TAG_NAME:
    case BROKER_TAG_USER:
    case BROKER_TAG_AUTH_METHOD:
    case BROKER_TAG_STREAM:
        return value.len >= 1 && value.len <= BROKER_NAME_BYTES_MAX &&
               broker_utf8_check(value);
    case BROKER_TAG_TEXT:
        return broker_utf8_check(value);
    case BROKER_TAG_REPLY_TO:
        return codec_topic_is_well_formed(value);
    case BROKER_TAG_HEADER:
        return header_split(value, &key, &header_value);
    case BROKER_TAG_LIMIT:
    case BROKER_TAG_EXPECTED_LAST_SEQUENCE:
    case BROKER_TAG_SEQUENCE:
        return value.len == 8;
    case BROKER_TAG_TTL_MS:
    case BROKER_TAG_DELIVER_AT:
        return broker_tlv_u64(value, &number) && number != 0;
    case BROKER_TAG_RETRY_AFTER_MS:
        return value.len == 4;
    default:
        /* TOPIC: as the peer sent it, so it may be anything. AUTH_DATA: a
         * secret. */
        return true;
    }
}

enum broker_status
codec_tags_check(struct broker_bytes tlvs, uint64_t expected)
{
    struct broker_tlv tlv;
    enum broker_status status;
    uint64_t seen = 0;
    bool unknown = false;

    /* The whole list is read before a critical field is answered for: what is
     * malformed anywhere is malformed, whatever stands before it. */
    while ((status = broker_tlv_next(&tlvs, &tlv)) == BROKER_OK) {
        uint64_t bit = tlv.tag < 64 ? TAG_BIT(tlv.tag) & expected : 0;

        if (bit == 0) {
            unknown |= tlv.critical;
            continue;
        }
        if ((seen & bit) != 0 && tlv.tag != BROKER_TAG_HEADER) {
            return BROKER_E_MALFORMED;
        }
        seen |= bit;
        if (!tag_value_is_valid(tlv.tag, tlv.value)) {
            return BROKER_E_MALFORMED;
        }
    }
    if (status != BROKER_MORE) {
        return status;
    }
    return unknown ? BROKER_E_UNKNOWN_TAG : BROKER_OK;
}
