/* SPDX-License-Identifier: MIT
 *
 * See escape.h.
 */
#include "escape.h"

#include <stdio.h>

#include <broker/codec.h>

#define UTF8_BYTES_MAX 4u

/* Bytes of the character at the front, 0 if it is no UTF-8. */
static size_t
character_bytes(const uint8_t *data, size_t len)
{
    if (data[0] < 0x80) {
        return 1;
    }
    for (size_t n = 2; n <= UTF8_BYTES_MAX && n <= len; n++) {
        if (broker_utf8_check((struct broker_bytes){data, n})) {
            return n;
        }
    }
    return 0;
}

/* The control character at the front, or -1. */
static int
control(const uint8_t *data, size_t character)
{
    if (character == 1 && (data[0] < 0x20 || data[0] == 0x7f)) {
        return data[0];
    }
    if (character == 2 && data[0] == 0xc2 && data[1] < 0xa0) {
        return data[1];
    }
    return -1;
}

size_t
escape_span(const uint8_t *data, size_t len, bool lines)
{
    size_t i = 0;

    while (i < len) {
        const size_t n = character_bytes(data + i, len - i);
        const bool is_line = lines && (data[i] == '\n' || data[i] == '\t');

        if (n == 0 || (control(data + i, n) >= 0 && !is_line)) {
            break;
        }
        i += n;
    }
    return i;
}

size_t
escape_one(const uint8_t *data, size_t len, char text[ESCAPE_TEXT_MAX])
{
    const size_t n = character_bytes(data, len);

    if (n == 0) {
        (void)snprintf(text, ESCAPE_TEXT_MAX, "\\x%02x", data[0]);
        return 1;
    }
    (void)snprintf(
        text, ESCAPE_TEXT_MAX, "\\u%04x", (unsigned)(control(data, n) & 0xff));
    return n;
}
