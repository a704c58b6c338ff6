/* SPDX-License-Identifier: MIT
 *
 * PUBLISH_BATCH: frames within a frame (PROTOCOL.md section 4.15).
 */
#include <broker/codec.h>

#include <assert.h>

#include "cursor.h"
#include "message.h"

/* The smallest PUBLISH: a topic of one byte. */
#define BATCH_BYTES_MIN (BROKER_HEADER_BYTES + 5)

/* Take the first of `frames` off: a PUBLISH that may stand in a batch. */
static enum broker_status
next_inner(struct broker_bytes *frames)
{
    const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    struct broker_publish publish;
    struct broker_frame inner;
    size_t n;

    if (broker_frame_decode(&limits, frames->data, frames->len, &inner, &n) !=
            BROKER_OK ||
        inner.type != BROKER_FRAME_PUBLISH || inner.id != 0 ||
        (inner.flags & BROKER_FLAGS_STRUCTURAL) != 0) {
        return BROKER_E_MALFORMED;
    }
    frames->data += n;
    frames->len -= n;
    return broker_publish_decode(&inner, &publish);
}

enum broker_status
broker_publish_batch_decode(
    const struct broker_frame *frame, struct broker_publish_batch *out)
{
    struct broker_bytes rest = frame->body;
    enum broker_status status = BROKER_OK;
    uint32_t count = 0;

    assert(frame->type == BROKER_FRAME_PUBLISH_BATCH);
    if (rest.len < BATCH_BYTES_MIN) {
        return BROKER_E_MALFORMED;
    }
    /* As with fields: malformed anywhere comes before a field not known. */
    while (rest.len > 0) {
        enum broker_status one = next_inner(&rest);

        if (one == BROKER_E_MALFORMED) {
            return one;
        }
        status = status == BROKER_OK ? one : status;
        count++;
    }
    if (status == BROKER_OK) {
        out->flags = frame->flags;
        out->id = frame->id;
        out->count = count;
        out->frames = frame->body;
    }
    return status;
}

size_t
broker_publish_batch_size(const struct broker_publish_batch *m)
{
    if (m->frames.len < BATCH_BYTES_MIN ||
        codec_flags_undefined(m->flags, BROKER_BATCH_RETRY)) {
        return 0;
    }
    return codec_frame_size(0, m->frames.len, 0, 0);
}

enum broker_status
broker_publish_batch_encode(
    const struct broker_publish_batch *m, uint8_t *dst, size_t cap, size_t *n)
{
    struct broker_header header =
        codec_header(BROKER_FRAME_PUBLISH_BATCH, m->flags, m->id);
    struct writer w;
    enum broker_status status =
        codec_begin(&w, &header, broker_publish_batch_size(m), dst, cap);

    if (status != BROKER_OK) {
        return status;
    }
    writer_view(&w, m->frames);
    return codec_end(&w, n);
}
