/* SPDX-License-Identifier: MIT
 *
 * The form of an error message. Text from a file or the command line passes
 * config_show(), so that it cannot play tricks on a terminal.
 */
#include "report.h"

#include <stdarg.h>

/* The closing quote, "..." and NUL. */
#define TAIL_BYTES 5

void
config_report(struct config_report *report, const char *format, ...)
{
    va_list args;

    report->count++;
    if (report->count > CONFIG_ERRORS_SHOWN_MAX) {
        if (report->count == CONFIG_ERRORS_SHOWN_MAX + 1) {
            fprintf(report->stream, "there are more errors\n");
        }
        return;
    }
    if (report->file == NULL) {
        fprintf(report->stream, "command line: ");
    } else if (report->line == 0) {
        fprintf(report->stream, "%s: ", report->file);
    } else {
        fprintf(report->stream, "%s:%u: ", report->file, report->line);
    }
    va_start(args, format);
    vfprintf(report->stream, format, args);
    va_end(args);
    fputc('\n', report->stream);
}

const char *
config_show(struct config_text text, char dst[CONFIG_TEXT_BYTES])
{
    size_t n = 0;
    const char *end = "\"";

    dst[n++] = '"';
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (n + 4 + TAIL_BYTES > CONFIG_TEXT_BYTES) {
            end = "\"...";
            break;
        }
        if (byte >= 0x20 && byte < 0x7f) {
            dst[n++] = (char)byte;
        } else {
            n += (size_t)snprintf(dst + n, 5, "\\x%02x", byte);
        }
    }
    snprintf(dst + n, CONFIG_TEXT_BYTES - n, "%s", end);
    return dst;
}
