/* SPDX-License-Identifier: MIT
 *
 * Well-formed UTF-8 as in Unicode 15, table 3-7: no overlong forms, no
 * surrogates, nothing above U+10FFFF.
 */
#include <broker/codec.h>

#include "message.h"

/* Bytes of a sequence by its first byte, and the range of its second byte,
 * which is where overlong forms and surrogates show. 0 for no first byte. */
static size_t
utf8_lead(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        return 2;
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        *low = lead == 0xE0 ? 0xA0 : 0x80;
        *high = lead == 0xED ? 0x9F : 0xBF;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        *low = lead == 0xF0 ? 0x90 : 0x80;
        *high = lead == 0xF4 ? 0x8F : 0xBF;
        return 4;
    }
    return 0;
}

size_t
codec_utf8_sequence(const uint8_t *text, size_t len)
{
    uint8_t low, high;
    size_t bytes = utf8_lead(text[0], &low, &high);

    if (bytes == 0 || bytes > len) {
        return 0;
    }
    if (bytes > 1 && (text[1] < low || text[1] > high)) {
        return 0;
    }
    for (size_t i = 2; i < bytes; i++) {
        if (text[i] < 0x80 || text[i] > 0xBF) {
            return 0;
        }
    }
    return bytes;
}

bool
broker_utf8_check(struct broker_bytes text)
{
    size_t pos = 0;

    while (pos < text.len) {
        size_t bytes;

        if (text.data[pos] == 0) {
            return false;
        }
        bytes = codec_utf8_sequence(text.data + pos, text.len - pos);
        if (bytes == 0) {
            return false;
        }
        pos += bytes;
    }
    return true;
}
