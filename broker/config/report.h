/* SPDX-License-Identifier: MIT
 *
 * Error messages of the configuration: where, what, what is allowed. Internal
 * to broker/config.
 */
#ifndef BROKER_CONFIG_REPORT_H
#define BROKER_CONFIG_REPORT_H

#include "value.h"

/* So many errors are written; the rest is only counted. */
#define CONFIG_ERRORS_SHOWN_MAX 50

struct config_report {
    FILE *stream;
    const char *file; /* NULL: the command line */
    unsigned line;    /* 0: no particular line */
    unsigned count;   /* of errors */
};

/* Write "place: message\n" and count it. */
void config_report(struct config_report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Write text into dst for use in a message: in double quotes, bytes that are
 * not printable ASCII as \xNN, cut after some dozen bytes. Returns dst. */
const char *config_show(struct config_text text, char dst[CONFIG_TEXT_BYTES]);

#endif
