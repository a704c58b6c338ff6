/* SPDX-License-Identifier: MIT
 *
 * The frame around an encoded body. Owns the promise that encode writes exactly
 * what size announced; knows no message.
 */
#include "message.h"

#include <assert.h>

size_t
codec_frame_size(size_t fixed, size_t a, size_t b, size_t c)
{
    const size_t max = BROKER_BODY_BYTES_MAX;

    /* Each part first, so that the sum cannot overflow a size_t of 32 bits. */
    if (a > max || b > max || c > max || fixed + a + b + c > max) {
        return 0;
    }
    return BROKER_HEADER_BYTES + fixed + a + b + c;
}

enum broker_status
codec_begin(struct writer *w, const struct broker_header *header, size_t size,
    uint8_t *dst, size_t cap)
{
    if (size == 0) {
        return BROKER_E_INVALID_ARGUMENT;
    }
    if (size > cap) {
        return BROKER_E_NO_SPACE;
    }
    *w = writer_init(dst, size);
    writer_u32(w, (uint32_t)(size - BROKER_HEADER_BYTES));
    writer_u16(w, header->type);
    writer_u16(w, header->flags);
    writer_u32(w, header->id);
    return BROKER_OK;
}

enum broker_status
codec_end(const struct writer *w, size_t *n)
{
    assert(!w->failed && w->pos == w->end);
    *n = w->pos;
    return BROKER_OK;
}
