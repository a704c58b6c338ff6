/* SPDX-License-Identifier: MIT
 *
 * Bounded reading and writing of big-endian bytes: the only file of the codec
 * that does arithmetic on pointers into a message.
 *
 * Both cursors keep pos <= end and test every step as n > end - pos, which
 * cannot overflow. Failure is sticky: a caller reads or writes all fields and
 * asks once at the end. After a failure reads give zeros and empty views, and
 * writes do nothing.
 *
 * Knows nothing of frames or fields.
 */
#ifndef BROKER_CODEC_CURSOR_H
#define BROKER_CODEC_CURSOR_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <broker/codec.h>

/* memcpy and not a cast: wire bytes have no alignment. Compilers make one load
 * and one byte swap of it. */
static inline uint16_t
be16_get(const uint8_t *src)
{
    uint16_t value;

    memcpy(&value, src, sizeof value);
    return ntohs(value);
}

static inline uint32_t
be32_get(const uint8_t *src)
{
    uint32_t value;

    memcpy(&value, src, sizeof value);
    return ntohl(value);
}

static inline uint64_t
be64_get(const uint8_t *src)
{
    return (uint64_t)be32_get(src) << 32 | be32_get(src + 4);
}

static inline void
be16_put(uint8_t *dst, uint16_t value)
{
    value = htons(value);
    memcpy(dst, &value, sizeof value);
}

static inline void
be32_put(uint8_t *dst, uint32_t value)
{
    value = htonl(value);
    memcpy(dst, &value, sizeof value);
}

static inline void
be64_put(uint8_t *dst, uint64_t value)
{
    be32_put(dst, (uint32_t)(value >> 32));
    be32_put(dst + 4, (uint32_t)value);
}

/* ---- reader -------------------------------------------------------------- */

struct reader {
    const uint8_t *data;
    size_t pos, end;
    bool failed;
};

static inline struct reader
reader_init(struct broker_bytes bytes)
{
    struct reader r = {bytes.data, 0, bytes.len, false};

    return r;
}

static inline size_t
reader_left(const struct reader *r)
{
    return r->end - r->pos;
}

/* True, and *at is the next n bytes; or false, and failure sticks. */
static inline bool
reader_take(struct reader *r, size_t n, const uint8_t **at)
{
    if (r->failed || n > r->end - r->pos) {
        r->failed = true;
        return false;
    }
    *at = r->data + r->pos;
    r->pos += n;
    return true;
}

static inline uint8_t
reader_u8(struct reader *r)
{
    const uint8_t *at;

    return reader_take(r, 1, &at) ? *at : 0;
}

static inline uint16_t
reader_u16(struct reader *r)
{
    const uint8_t *at;

    return reader_take(r, 2, &at) ? be16_get(at) : 0;
}

static inline uint32_t
reader_u32(struct reader *r)
{
    const uint8_t *at;

    return reader_take(r, 4, &at) ? be32_get(at) : 0;
}

static inline uint64_t
reader_u64(struct reader *r)
{
    const uint8_t *at;

    return reader_take(r, 8, &at) ? be64_get(at) : 0;
}

/* A view of the next n bytes. Of none there is no view: an empty body may have
 * no bytes to point at. */
static inline struct broker_bytes
reader_bytes(struct reader *r, size_t n)
{
    struct broker_bytes view = {NULL, 0};

    if (n != 0 && reader_take(r, n, &view.data)) {
        view.len = n;
    }
    return view;
}

/* A view of everything that is left. */
static inline struct broker_bytes
reader_rest(struct reader *r)
{
    return reader_bytes(r, reader_left(r));
}

/* Copy the next n bytes. */
static inline void
reader_copy(struct reader *r, uint8_t *dst, size_t n)
{
    const uint8_t *at;

    if (reader_take(r, n, &at)) {
        memcpy(dst, at, n);
    }
}

/* The next n bytes must be zero. */
static inline void
reader_zeros(struct reader *r, size_t n)
{
    const uint8_t *at;

    if (reader_take(r, n, &at)) {
        for (size_t i = 0; i < n; i++) {
            r->failed |= at[i] != 0;
        }
    }
}

/* ---- writer -------------------------------------------------------------- */

struct writer {
    uint8_t *data;
    size_t pos, end;
    bool failed;
};

static inline struct writer
writer_init(uint8_t *dst, size_t size)
{
    struct writer w = {dst, 0, size, false};

    return w;
}

/* True, and *at is room for the next n bytes; or false, and failure sticks. */
static inline bool
writer_take(struct writer *w, size_t n, uint8_t **at)
{
    if (w->failed || n > w->end - w->pos) {
        w->failed = true;
        return false;
    }
    *at = w->data + w->pos;
    w->pos += n;
    return true;
}

static inline void
writer_u8(struct writer *w, uint8_t value)
{
    uint8_t *at;

    if (writer_take(w, 1, &at)) {
        *at = value;
    }
}

static inline void
writer_u16(struct writer *w, uint16_t value)
{
    uint8_t *at;

    if (writer_take(w, 2, &at)) {
        be16_put(at, value);
    }
}

static inline void
writer_u32(struct writer *w, uint32_t value)
{
    uint8_t *at;

    if (writer_take(w, 4, &at)) {
        be32_put(at, value);
    }
}

static inline void
writer_u64(struct writer *w, uint64_t value)
{
    uint8_t *at;

    if (writer_take(w, 8, &at)) {
        be64_put(at, value);
    }
}

/* src may be NULL if n is 0. */
static inline void
writer_bytes(struct writer *w, const uint8_t *src, size_t n)
{
    uint8_t *at;

    if (n != 0 && writer_take(w, n, &at)) {
        memcpy(at, src, n);
    }
}

static inline void
writer_view(struct writer *w, struct broker_bytes view)
{
    writer_bytes(w, view.data, view.len);
}

static inline void
writer_zeros(struct writer *w, size_t n)
{
    uint8_t *at;

    if (writer_take(w, n, &at)) {
        memset(at, 0, n);
    }
}

#endif
