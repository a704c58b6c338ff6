/* SPDX-License-Identifier: MIT
 *
 * See text.h.
 */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PEER_TEXT_MAX  256
#define CODE_LOCAL_MIN 900 /* PROTOCOL.md section 7: never travel */

void
text_format(char text[TEXT_MAX], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, TEXT_MAX, format, arguments);
    va_end(arguments);
}

void
text_status(char text[TEXT_MAX], const char *what, unsigned code,
    struct broker_bytes peer)
{
    char words[PEER_TEXT_MAX];
    text_copy(words, sizeof words, peer);
    if (strcmp(words, broker_status_text(code)) == 0) {
        words[0] = '\0'; /* it has nothing more to say of it */
    }
    text_format(text, "%s: %s (%s)%s%s: %s", what, broker_status_text(code),
        broker_status_name(code), words[0] == '\0' ? "" : ": ", words,
        broker_status_remedy(code));
}

void
text_copy(char *dst, size_t cap, struct broker_bytes peer)
{
    size_t n = 0;
    for (size_t i = 0; i < peer.len && n + 1 < cap; i++) {
        uint8_t byte = peer.data[i];
        /* U+0080 to U+009F, as UTF-8 C2 80 to C2 9F, control terminals too. */
        bool is_c1 =
            byte == 0xC2 && i + 1 < peer.len && peer.data[i + 1] < 0xA0;
        if (is_c1) {
            i++;
        }
        dst[n++] = byte < 0x20 || byte == 0x7F || is_c1 ? '?' : (char)byte;
    }
    dst[n] = '\0';
}

enum broker_status
text_peer_status(unsigned code)
{
    if (code <= BROKER_MORE || code >= CODE_LOCAL_MIN) {
        return BROKER_E_INTERNAL;
    }
    return (enum broker_status)code;
}
