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
