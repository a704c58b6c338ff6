/* SPDX-License-Identifier: MIT
 *
 * Input as one whole or as lines, in bounded memory. Knows nothing of messages
 * and of the broker; the caller polls the descriptor.
 */
#ifndef BROKERCTL_INPUT_H
#define BROKERCTL_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum input_result {
    INPUT_OK,     /* got what was asked for */
    INPUT_MORE,   /* read more first */
    INPUT_END,    /* there is no more */
    INPUT_LONG,   /* longer than the limit */
    INPUT_FAILED, /* errno is in input->failed_errno */
};

/* Private to input.c, but for reading `fd`, `lines` and `failed_errno`. */
struct input {
    int fd;
    int failed_errno;
    bool ended;
    size_t max_bytes; /* of one line, or of the whole */
    uint8_t *data;    /* bytes [start, end) are not handed out yet */
    size_t start, end, cap;
    size_t scanned; /* bytes from start on that hold no line break */
    uint64_t lines; /* handed out so far */
};

/* Read from `fd`, which stays the caller's. No line, and not the whole, may be
 * longer than max_bytes. */
void input_init(struct input *input, int fd, size_t max_bytes);

void input_fini(struct input *input);

/* One read(2): INPUT_OK if it brought bytes, INPUT_END, INPUT_FAILED, or
 * INPUT_MORE if it was interrupted or nothing was there. */
enum input_result input_read(struct input *input);

/* The next line without its line break; what stands behind the last line break
 * is a line as well, unless it is empty. INPUT_OK: *line is a view that is
 * valid until the next call on `input`. INPUT_MORE, INPUT_END, INPUT_LONG. */
enum input_result input_line(
    struct input *input, const uint8_t **line, size_t *line_len);

/* Everything up to the end, waiting for it. INPUT_OK: *data is a view that is
 * valid until input_fini(). INPUT_LONG, INPUT_FAILED. */
enum input_result input_whole(
    struct input *input, const uint8_t **data, size_t *len);

#endif
