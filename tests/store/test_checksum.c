/* SPDX-License-Identifier: MIT
 *
 * The checksum is the standard one, whole and in pieces. */
#include "checksum.h"

#include <criterion/criterion.h>

Test(checksum, is_that_of_the_standard)
{
    /* From RFC 3720, B.4. */
    uint8_t bytes[32] = {0};
    cr_assert_eq(checksum("123456789", 9), 0xE3069283);
    cr_assert_eq(checksum(bytes, sizeof bytes), 0x8A9136AA);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = 0xFF;
    }
    cr_assert_eq(checksum(bytes, sizeof bytes), 0x62A8AB43);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    cr_assert_eq(checksum(bytes, sizeof bytes), 0x46DD794E);
}

Test(checksum, of_nothing_is_0)
{
    cr_assert_eq(checksum("", 0), 0);
    cr_assert_eq(checksum_add(0x12345678, "", 0), 0x12345678);
}

Test(checksum, is_the_same_in_pieces)
{
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        uint32_t sum = checksum(bytes, cut);
        cr_assert_eq(checksum_add(sum, bytes + cut, sizeof bytes - cut),
            checksum(bytes, sizeof bytes));
    }
}

/* Bit by bit, as it is defined. */
static uint32_t
slow_checksum(const uint8_t *bytes, size_t len)
{
    uint32_t state = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        state ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            state = state >> 1 ^ ((state & 1) != 0 ? 0x82F63B78u : 0);
        }
    }
    return ~state;
}

/* Short ones and long ones are made in different ways. */
Test(checksum, is_that_of_its_definition_at_every_length)
{
    uint8_t bytes[800];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * i * 31 + i);
    }
    for (size_t len = 0; len < sizeof bytes - 8; len++) {
        const uint8_t *start = bytes + len % 8;
        cr_assert_eq(
            checksum(start, len), slow_checksum(start, len), "%zu", len);
    }
}
