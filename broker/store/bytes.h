/* SPDX-License-Identifier: MIT
 *
 * Numbers in the store's files: network byte order, at any address. */
#ifndef BROKER_STORE_BYTES_H
#define BROKER_STORE_BYTES_H

#include <stdint.h>

static inline uint32_t
get_u32(const uint8_t *src)
{
    return (uint32_t)src[0] << 24 | (uint32_t)src[1] << 16 |
           (uint32_t)src[2] << 8 | (uint32_t)src[3];
}

static inline uint64_t
get_u64(const uint8_t *src)
{
    return (uint64_t)get_u32(src) << 32 | get_u32(src + 4);
}

static inline void
put_u32(uint8_t *dst, uint32_t value)
{
    dst[0] = (uint8_t)(value >> 24);
    dst[1] = (uint8_t)(value >> 16);
    dst[2] = (uint8_t)(value >> 8);
    dst[3] = (uint8_t)value;
}

static inline void
put_u64(uint8_t *dst, uint64_t value)
{
    put_u32(dst, (uint32_t)(value >> 32));
    put_u32(dst + 4, (uint32_t)value);
}

#endif
