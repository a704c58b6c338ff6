/* SPDX-License-Identifier: MIT
 *
 * Asking for a secret: a line typed into a terminal without an echo, or read
 * from a file or pipe. Knows nothing of what the secret is for.
 */
#ifndef BROKERCTL_ASK_H
#define BROKERCTL_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ask_result {
    ASK_OK,
    ASK_END,     /* there is no line */
    ASK_LONG,    /* longer than cap */
    ASK_STOPPED, /* SIGINT or SIGTERM came */
    ASK_FAILED,  /* errno says why */
};

bool ask_is_terminal(int fd);

/* Read one line into line[0..cap), without its line break. From a terminal, the
 * prompt is written to standard error, and what is typed is not shown; the
 * terminal is as before when this returns. Nothing behind the line is read. */
enum ask_result ask_line(
    int fd, const char *prompt, uint8_t *line, size_t cap, size_t *len);

#endif
