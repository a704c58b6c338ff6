/* SPDX-License-Identifier: MIT
 *
 * Comparing a few bytes, such as a topic. memcmp of glibc reads so few with a
 * masked vector load, which on some processors takes longer than everything
 * else that a look-up does. Knows nothing of what it compares. */
#ifndef BROKER_CORE_SAME_H
#define BROKER_CORE_SAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t
same_load64(const uint8_t *src)
{
    uint64_t word;
    memcpy(&word, src, sizeof word); /* src need not be aligned */
    return word;
}

static inline uint32_t
same_load32(const uint8_t *src)
{
    uint32_t word;
    memcpy(&word, src, sizeof word);
    return word;
}

/* Are both the same? The last word overlaps the one before it, so nothing
 * behind `len` is read. */
static inline bool
same_bytes(const uint8_t *a, const uint8_t *b, size_t len)
{
    if (len >= 8) {
        uint64_t differing =
            same_load64(a + len - 8) ^ same_load64(b + len - 8);
        for (size_t at = 0; at < len - 8; at += 8) {
            differing |= same_load64(a + at) ^ same_load64(b + at);
        }
        return differing == 0;
    }
    if (len >= 4) {
        return same_load32(a) == same_load32(b) &&
               same_load32(a + len - 4) == same_load32(b + len - 4);
    }
    return len == 0 || (a[0] == b[0] && a[len / 2] == b[len / 2] &&
                           a[len - 1] == b[len - 1]);
}

#endif
