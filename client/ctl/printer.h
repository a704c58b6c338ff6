/* SPDX-License-Identifier: MIT
 *
 * How received messages are printed: as lines, raw, as JSON lines or in a
 * format. Shared by the commands that receive.
 */
#ifndef BROKERCTL_PRINTER_H
#define BROKERCTL_PRINTER_H

#include <stdbool.h>
#include <stdint.h>

#include <broker/client.h>

#include "cmd.h"
#include "format.h"

/* The options, as a part of a command's settings. */
struct printer_settings {
    bool raw;
    bool topic;
    bool headers;
    bool json;
    const char *format;
};

/* Rows for a table of options; `type` is the settings' struct, `member` the
 * printer_settings in it. */
/* clang-format off */
#define PRINTER_OPTIONS(type, member)                                          \
    {"topic", 'T', OPTION_FLAG, NULL,                                          \
        "print the topic before each payload",                                 \
        offsetof(struct type, member.topic), NULL},                            \
    {"headers", 0, OPTION_FLAG, NULL,                                          \
        "print the headers before each payload",                               \
        offsetof(struct type, member.headers), NULL},                          \
    {"json", 'j', OPTION_FLAG, NULL,                                           \
        "print one JSON object per line",                                      \
        offsetof(struct type, member.json), NULL},                             \
    {"raw", 'r', OPTION_FLAG, NULL,                                            \
        "print the payload and nothing else",                                  \
        offsetof(struct type, member.raw), NULL},                              \
    {"format", 'F', OPTION_TEXT, "FORMAT",                                     \
        "print in this format",                                                \
        offsetof(struct type, member.format), NULL}
/* clang-format on */

struct printer {
    const struct printer_settings *settings;
    struct format format;
    struct out *out;
    uint64_t count; /* messages printed */
};

/* Check the settings and read the format. CTL_EXIT_OK, then printer_fini() is
 * due; or what is wrong was said. */
enum ctl_exit printer_init(struct printer *printer,
    const struct printer_settings *settings, const struct invocation *of);
void printer_fini(struct printer *printer);

void printer_message(
    struct printer *printer, const struct broker_message *message);

/* With --json a line for the gap; else nothing, a gap is no message. */
void printer_gap(struct printer *printer, const struct broker_client_gap *gap,
    const char *const *filters);

/* The lines on formats for --help, made from the table of letters. */
void printer_help_formats(struct out *out);

#endif
