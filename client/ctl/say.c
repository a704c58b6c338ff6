/* SPDX-License-Identifier: MIT
 *
 * Lines on standard error; see say.h. If standard error cannot be written there
 * is nobody left to tell, so failures of write are ignored.
 */
#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

void
say(const char *format, ...)
{
    static const char prefix[] = "brokerctl: ";
    static const char ellipsis[] = "...";
    char line[LINE_MAX_BYTES];
    size_t len = sizeof prefix - 1;
    const size_t room = sizeof line - len - 1;
    va_list list;
    int n;

    memcpy(line, prefix, len);
    va_start(list, format);
    n = vsnprintf(line + len, room, format, list);
    va_end(list);
    if (n < 0) {
        return;
    }
    if ((size_t)n < room) {
        len += (size_t)n;
    } else {
        len += room - 1;
        memcpy(
            line + len - (sizeof ellipsis - 1), ellipsis, sizeof ellipsis - 1);
    }
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0) {
        return;
    }
}
