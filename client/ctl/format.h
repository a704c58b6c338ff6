/* SPDX-License-Identifier: MIT
 *
 * The format strings of `sub --format`: text with fields of a message in it.
 * The table of letters also makes the help text, so the two agree.
 */
#ifndef BROKERCTL_FORMAT_H
#define BROKERCTL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <broker/client.h>

#include "out.h"

struct format_piece;

/* A format that was read. Zero it before format_parse(). */
struct format {
    struct format_piece *pieces;
    size_t count;
    char *text; /* what the pieces point into */
};

#define FORMAT_WHY_MAX 128

/* Read "%t %p\n": % and a letter is a field, "%{key}" the value of a header,
 * backslash escapes are \n \t \r \0 \\ \" \xHH. True; or false and `why` is a
 * sentence that says what is wrong. Free with format_free(). */
bool format_parse(
    const char *text, struct format *out, char why[FORMAT_WHY_MAX]);

/* Write one message in this format; `number` counts messages from 1. Adds
 * nothing of its own, no line break either. */
void format_write(const struct format *format, struct out *out,
    const struct broker_message *message, uint64_t number);

void format_free(struct format *format);

/* The n-th letter with its meaning, or false past the end. Static text. */
bool format_letter_at(size_t n, char *letter, const char **meaning);

#endif
