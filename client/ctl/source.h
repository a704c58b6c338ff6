/* SPDX-License-Identifier: MIT
 *
 * Where the payloads of a publish come from: an argument, a file, standard
 * input as a whole, or its lines. Knows nothing of the broker.
 */
#ifndef BROKERCTL_SOURCE_H
#define BROKERCTL_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "exit_codes.h"
#include "input.h"

/* What the command line says; NULL and false if it does not. */
struct source_settings {
    const char *text;
    const char *file; /* "-": standard input */
    bool whole;       /* standard input as one message */
    bool lines;       /* standard input line by line */
};

/* Private to source.c, but for reading. */
struct source {
    const char *command;
    struct input input;
    const char *name; /* of the input, for messages */
    const uint8_t *data;
    size_t len;
    bool lines;
    bool opened; /* input.fd is ours */
};

enum source_result {
    SOURCE_OK,
    SOURCE_WAIT,   /* poll source_fd() for reading, then source_read() */
    SOURCE_END,    /* there are no more */
    SOURCE_FAILED, /* said; the exit code is in *code */
};

/* Exactly one way must be chosen. CTL_EXIT_OK; else what is wrong was said.
 * Opens nothing yet. */
enum ctl_exit source_check(
    const struct source_settings *settings, const char *command);

/* Open, and read everything unless it is lines. max_bytes is the largest
 * message that the protocol allows. CTL_EXIT_OK, then source_close() is due. */
enum ctl_exit source_open(struct source *source,
    const struct source_settings *settings, const char *command,
    size_t max_bytes);
void source_close(struct source *source);

/* The broker takes less: max_bytes for one message. CTL_EXIT_OK, or what was
 * read is larger, which was said. */
enum ctl_exit source_limit(struct source *source, size_t max_bytes);

/* The payload to send next: a view, valid until the next call on `source`. All
 * sources but lines give the same payload again and again. */
enum source_result source_next(struct source *source, const uint8_t **data,
    size_t *len, enum ctl_exit *code);

int source_fd(const struct source *source);
enum source_result source_read(struct source *source, enum ctl_exit *code);

#endif
