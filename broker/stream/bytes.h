/* SPDX-License-Identifier: MIT
 *
 * Numbers in network byte order, written to and read from bytes one behind the
 * other. The caller has checked that there is room, or that they are there.
 * Knows nothing of what they mean.
 */
#ifndef BROKER_STREAM_BYTES_H
#define BROKER_STREAM_BYTES_H

#include <stdint.h>

static inline uint8_t *
bytes_put(uint8_t *dst, uint64_t value, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0;) {
        *dst++ = (uint8_t)(value >> (8 * i));
    }
    return dst;
}

static inline uint64_t
bytes_get(const uint8_t **src, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | *(*src)++;
    }
    return value;
}

#endif
