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

/* A GNU extension that gcc and clang have for every processor: two words that
 * are compared together. */
typedef uint64_t same_pair __attribute__((vector_size(16)));
#define SAME_LONG_MIN sizeof(same_pair)

static inline same_pair
same_load_pair(const uint8_t *src)
{
    same_pair pair;
    memcpy(&pair, src, sizeof pair); /* src need not be aligned */
    return pair;
}

/* Are the first `len` bytes of both the same? At least SAME_LONG_MIN are
 * there. The last pair overlaps what was compared before, so nothing behind
 * `len` is read. For so few bytes memcmp takes twice as long, most of it for
 * being called. */
static inline bool
same_long(const uint8_t *a, const uint8_t *b, size_t len)
{
    size_t last = len - sizeof(same_pair);
    same_pair differing = same_load_pair(a + last) ^ same_load_pair(b + last);
    for (size_t at = 0; at < last; at += sizeof(same_pair)) {
        differing |= same_load_pair(a + at) ^ same_load_pair(b + at);
    }
    return (differing[0] | differing[1]) == 0;
}

#endif
