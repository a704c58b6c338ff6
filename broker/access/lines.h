/* SPDX-License-Identifier: MIT
 *
 * A file of lines: opened with care, read as a whole, and handed out line by
 * line without blanks around it, empty lines and comments. Internal to
 * broker/access.
 */
#ifndef BROKER_ACCESS_LINES_H
#define BROKER_ACCESS_LINES_H

#include <stdbool.h>

#include "report.h"

/* A piece of a line. */
struct text {
    const char *data;
    size_t len;
};

enum lines_privacy {
    LINES_TRUSTED, /* nobody but owner and group may change the file */
    LINES_SECRET,  /* nor read it; and memory that held it is wiped */
};

/* One line; report->line says which. */
typedef void (*lines_fn)(
    struct text line, struct access_report *report, void *argument);

/* Read the file report->file. Every error is reported: that of opening and
 * reading it, and those of its lines. */
void lines_read_file(struct access_report *report, enum lines_privacy privacy,
    lines_fn fn, void *argument);

/* The same with bytes that are there; any will do. */
void lines_read_text(struct access_report *report, struct text text,
    lines_fn fn, void *argument);

/* Take the next word off the front of *rest. Empty: there is none. */
struct text text_cut_word(struct text *rest);

/* Without blanks at both ends. */
struct text text_trim(struct text text);

bool text_is(struct text text, const char *word);

#endif
