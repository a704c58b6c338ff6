/* SPDX-License-Identifier: MIT
 *
 * Lines on standard error; see say.h. If standard error cannot be written there
 * is nobody left to tell, so failures of write are ignored.
 */
#include "say.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "escape.h"

#define LINE_MAX_BYTES 2048

/* Into dst[0..cap), cut where it does not fit; returns the bytes written. It is
 * one line then, whatever topics and texts of others are in it. */
static size_t
escape(const uint8_t *text, size_t len, char *dst, size_t cap)
{
    size_t used = 0;

    while (len > 0) {
        char escaped[ESCAPE_TEXT_MAX];
        const size_t plain = escape_span(text, len, false);
        const void *piece = text;
        size_t taken = plain, n = plain;

        if (plain == 0) {
            taken = escape_one(text, len, escaped);
            piece = escaped;
            n = strlen(escaped);
        }
        if (n > cap - used) {
            n = plain == 0 ? 0 : cap - used;
            taken = len;
        }
        memcpy(dst + used, piece, n);
        used += n;
        text += taken;
        len -= taken;
    }
    return used;
}

void
say(const char *format, ...)
{
    static const char prefix[] = "brokerctl: ";
    static const char ellipsis[] = "...";
    char text[LINE_MAX_BYTES];
    char line[LINE_MAX_BYTES];
    const size_t room = sizeof text - sizeof prefix;
    size_t len = sizeof prefix - 1;
    va_list list;
    int n;

    va_start(list, format);
    n = vsnprintf(text, room, format, list);
    va_end(list);
    if (n < 0) {
        return;
    }
    if ((size_t)n >= room) {
        n = (int)room - 1;
        memcpy(text + n - (sizeof ellipsis - 1), ellipsis, sizeof ellipsis - 1);
    }
    memcpy(line, prefix, len);
    len += escape(
        (const uint8_t *)text, (size_t)n, line + len, sizeof line - len - 1);
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0) {
        return;
    }
}
