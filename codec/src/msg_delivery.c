/* SPDX-License-Identifier: MIT
 *
 * CONTEXT and GAP, the frames that stand around delivered publishes, and the
 * lists of subscription ids in them (PROTOCOL.md sections 4.12 and 4.13).
 */
#include <broker/codec.h>

#include <assert.h>

#include "cursor.h"
#include "message.h"

#define ID_BYTES        4
#define GAP_FIXED_BYTES 20

uint32_t
broker_ids_get(struct broker_ids ids, size_t i)
{
    assert(i < ids.count);
    return be32_get(ids.data + i * ID_BYTES);
}

void
broker_ids_set(uint8_t *data, size_t i, uint32_t id)
{
    be32_put(data + i * ID_BYTES, id);
}

/* The rest of the body as ids: at least one, whole, none of them 0. */
static struct broker_ids
reader_ids(struct reader *r)
{
    struct broker_bytes rest = reader_rest(r);
    struct broker_ids ids = {rest.data, rest.len / ID_BYTES};

    r->failed |= ids.count == 0 || rest.len % ID_BYTES != 0;
    for (size_t i = 0; i < ids.count; i++) {
        r->failed |= broker_ids_get(ids, i) == 0;
    }
    return ids;
}

/* Bytes of a frame with these ids; 0 if there is none or there are too many. */
static size_t
ids_frame_size(size_t fixed, struct broker_ids ids)
{
    if (ids.count == 0 || ids.count > BROKER_BODY_BYTES_MAX / ID_BYTES) {
        return 0;
    }
    return codec_frame_size(fixed, ids.count * ID_BYTES, 0, 0);
}

/* ---- CONTEXT ------------------------------------------------------------- */

enum broker_status
broker_context_decode(
    const struct broker_frame *frame, struct broker_context *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_ids ids = reader_ids(&r);

    assert(frame->type == BROKER_FRAME_CONTEXT);
    if (r.failed || frame->id != 0) {
        return BROKER_E_MALFORMED;
    }
    out->flags = frame->flags;
    out->ids = ids;
    return BROKER_OK;
}

size_t
broker_context_size(const struct broker_context *m)
{
    if (codec_flags_undefined(m->flags, BROKER_CONTEXT_RETAINED)) {
        return 0;
    }
    return ids_frame_size(0, m->ids);
}

enum broker_status
broker_context_encode(
    const struct broker_context *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header =
        codec_header(BROKER_FRAME_CONTEXT, m->flags, 0);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_context_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_bytes(&w, m->ids.data, m->ids.count * ID_BYTES);
    return codec_end(&w, n);
}

/* ---- GAP ----------------------------------------------------------------- */

enum broker_status
broker_gap_decode(const struct broker_frame *frame, struct broker_gap *out)
{
    struct reader r = reader_init(frame->body);
    struct broker_gap m;

    assert(frame->type == BROKER_FRAME_GAP);
    m.reason = (enum broker_gap_reason)reader_u8(&r);
    reader_zeros(&r, 3);
    m.count = reader_u64(&r);
    m.bytes = reader_u64(&r);
    m.ids = reader_ids(&r);
    if (r.failed || frame->id != 0 || m.count == 0) {
        return BROKER_E_MALFORMED;
    }
    *out = m;
    return BROKER_OK;
}

size_t
broker_gap_size(const struct broker_gap *m)
{
    if ((unsigned)m->reason > UINT8_MAX) {
        return 0;
    }
    return ids_frame_size(GAP_FIXED_BYTES, m->ids);
}

enum broker_status
broker_gap_encode(
    const struct broker_gap *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header = codec_header(BROKER_FRAME_GAP, 0, 0);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_gap_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_u8(&w, (uint8_t)m->reason);
    writer_zeros(&w, 3);
    writer_u64(&w, m->count);
    writer_u64(&w, m->bytes);
    writer_bytes(&w, m->ids.data, m->ids.count * ID_BYTES);
    return codec_end(&w, n);
}
