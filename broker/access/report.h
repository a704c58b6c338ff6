/* SPDX-License-Identifier: MIT
 *
 * Error messages about the two files: place, what is wrong, what to do.
 * Internal to broker/access.
 */
#ifndef BROKER_ACCESS_REPORT_H
#define BROKER_ACCESS_REPORT_H

#include <stddef.h>
#include <stdio.h>

/* So many errors of a file are written; the rest is only counted. */
#define ACCESS_ERRORS_SHOWN_MAX 50
#define ACCESS_SHOWN_BYTES      96

struct access_report {
    FILE *stream;
    const char *file;
    unsigned line; /* 0: no particular line */
    unsigned count;
};

/* Write "file:line: message\n" and count it. */
void access_report(struct access_report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Write text into dst for use in a message: in double quotes, bytes that are
 * not printable ASCII as \xNN, cut after some dozen bytes. Returns dst. */
const char *access_show(
    const char *text, size_t len, char dst[ACCESS_SHOWN_BYTES]);

#endif
