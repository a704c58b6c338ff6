/* SPDX-License-Identifier: MIT
 *
 * Comparing a few bytes: every length, every place of a difference, and nothing
 * read outside. Against memcmp. */
#include "same.h"

#include <criterion/criterion.h>

#include <stdlib.h>

#define LEN_MAX 70

/* In memory of exactly this length, so that a sanitizer sees a byte too many.
 */
static uint8_t *
bytes_new(size_t len)
{
    uint8_t *bytes = malloc(len == 0 ? 1 : len);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(i * 7 + 1);
    }
    return bytes;
}

typedef bool compare(const uint8_t *a, const uint8_t *b, size_t len);

static void
try_all(compare *same, size_t len_min)
{
    for (size_t len = len_min; len <= LEN_MAX; len++) {
        uint8_t *a = bytes_new(len);
        uint8_t *b = bytes_new(len);
        cr_assert(same(a, b, len), "%zu bytes", len);
        for (size_t at = 0; at < len; at++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                b[at] ^= (uint8_t)(1u << bit);
                cr_assert_not(same(a, b, len),
                    "bit %u of byte %zu of %zu makes no difference", bit, at,
                    len);
                b[at] = a[at];
            }
        }
        free(a);
        free(b);
    }
}

Test(same, few_bytes)
{
    try_all(same_bytes, 0);
}

Test(same, many_bytes)
{
    try_all(same_long, SAME_LONG_MIN);
}

/* Differences that would cancel out if words were added up. */
Test(same, two_differences_are_not_none)
{
    uint8_t a[LEN_MAX];
    uint8_t b[LEN_MAX];
    memset(a, 0x55, sizeof a);
    for (size_t len = SAME_LONG_MIN; len <= LEN_MAX; len++) {
        for (size_t at = 0; at + 8 < len; at++) {
            memcpy(b, a, sizeof b);
            b[at] ^= 0xFF;
            b[at + 8] ^= 0xFF;
            cr_assert_not(same_long(a, b, len));
            cr_assert_not(same_bytes(a, b, len));
        }
    }
}
