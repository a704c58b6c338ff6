/* SPDX-License-Identifier: MIT
 *
 * What all message families share: sizes, the frame around an encoded body,
 * and the check of extension fields. Private to the codec; the prefix keeps its
 * names apart from those of programs that link it statically.
 */
#ifndef BROKER_CODEC_MESSAGE_H
#define BROKER_CODEC_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <broker/codec.h>

#include "cursor.h"

/* Bytes of a frame whose body is a fixed part and up to three variable ones.
 * 0 if they do not fit the length field. */
size_t codec_frame_size(size_t fixed, size_t a, size_t b, size_t c);

/* True if `flags` has a structural bit outside of `defined`. */
static inline bool
codec_flags_undefined(uint16_t flags, uint16_t defined)
{
    return (flags & BROKER_FLAGS_STRUCTURAL & ~(unsigned)defined) != 0;
}

/* Open *w on exactly `size` bytes of dst and write the frame header into it.
 * BROKER_E_INVALID_ARGUMENT if size is 0, BROKER_E_NO_SPACE if cap < size. */
BROKER_MUST_CHECK enum broker_status codec_begin(struct writer *w,
    const struct broker_header *header, size_t size, uint8_t *dst, size_t cap);

/* BROKER_OK and *n = what was written, which must be all that was announced. */
BROKER_MUST_CHECK enum broker_status codec_end(
    const struct writer *w, size_t *n);

/* A header without its length, for codec_begin(). */
static inline struct broker_header
codec_header(uint16_t type, uint16_t flags, uint32_t id)
{
    struct broker_header header = {0, type, flags, id};

    return header;
}

/* One bit for each tag, for codec_tags_check(). */
#define TAG_BIT(tag) (UINT64_C(1) << (tag))

/* Judge the fields of a body (PROTOCOL.md section 3.3). `expected` are the tags
 * that the frame type has, as TAG_BIT()s. BROKER_E_MALFORMED: the list is not
 * well formed, an expected tag repeats or its value breaks its rule.
 * BROKER_E_UNKNOWN_TAG: well formed, but a critical field is not expected. */
BROKER_MUST_CHECK enum broker_status codec_tags_check(
    struct broker_bytes tlvs, uint64_t expected);

/* Bytes of the UTF-8 sequence at the start of text[0..len), 0 if it is not
 * well formed. len is not 0; NUL counts as a sequence of one byte. */
size_t codec_utf8_sequence(const uint8_t *text, size_t len);

/* Is it a topic name, whatever its length and depth? */
bool codec_topic_is_well_formed(struct broker_bytes topic);

#endif
