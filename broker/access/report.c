/* SPDX-License-Identifier: MIT
 *
 * The form of an error message; see report.h.
 */
#include "report.h"

#include <stdarg.h>

/* The longest escape, and the end: quote, "..." and NUL. */
#define ESCAPE_BYTES 4
#define END_BYTES    5

void
access_report(struct access_report *report, const char *format, ...)
{
    va_list args;

    report->count++;
    if (report->count == ACCESS_ERRORS_SHOWN_MAX + 1) {
        fprintf(report->stream, "%s: there are more errors\n", report->file);
    }
    if (report->count > ACCESS_ERRORS_SHOWN_MAX) {
        return;
    }
    fprintf(report->stream, "%s:", report->file);
    if (report->line != 0) {
        fprintf(report->stream, "%u:", report->line);
    }
    fputc(' ', report->stream);
    va_start(args, format);
    vfprintf(report->stream, format, args);
    va_end(args);
    fputc('\n', report->stream);
}

const char *
access_show(const char *text, size_t len, char dst[ACCESS_SHOWN_BYTES])
{
    size_t used = 0, i;

    dst[used++] = '"';
    for (i = 0;
         i < len && ESCAPE_BYTES + END_BYTES <= ACCESS_SHOWN_BYTES - used;
         i++) {
        unsigned char byte = (unsigned char)text[i];

        if (byte >= 0x20 && byte < 0x7f) {
            dst[used++] = (char)byte;
        } else {
            (void)snprintf(
                dst + used, ESCAPE_BYTES + 1, "\\x%02x", (unsigned)byte);
            used += ESCAPE_BYTES;
        }
    }
    (void)snprintf(
        dst + used, ACCESS_SHOWN_BYTES - used, i < len ? "\"..." : "\"");
    return dst;
}
