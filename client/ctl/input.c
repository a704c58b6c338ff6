/* SPDX-License-Identifier: MIT
 *
 * Input as one whole or as lines; see input.h.
 */
#include "input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES 262144u

void
input_init(struct input *input, int fd, size_t max_bytes)
{
    *input = (struct input){.fd = fd, .max_bytes = max_bytes};
}

void
input_fini(struct input *input)
{
    free(input->data);
    *input = (struct input){.fd = -1};
}

static enum input_result
input_fail(struct input *input, int error)
{
    input->failed_errno = error;
    return INPUT_FAILED;
}

/* Make room for one more read. Grows by doubling; callers stop at max_bytes, so
 * the buffer never gets beyond a small multiple of it. */
static bool
input_reserve(struct input *input)
{
    size_t cap;
    uint8_t *data;

    if (input->start > 0) {
        memmove(
            input->data, input->data + input->start, input->end - input->start);
        input->end -= input->start;
        input->start = 0;
    }
    if (input->cap - input->end >= READ_BYTES) {
        return true;
    }
    cap = input->cap != 0 ? input->cap * 2 : 2 * (size_t)READ_BYTES;
    data = realloc(input->data, cap);
    if (data == NULL) {
        return false;
    }
    input->data = data;
    input->cap = cap;
    return true;
}

enum input_result
input_read(struct input *input)
{
    ssize_t n;

    if (input->ended) {
        return INPUT_END;
    }
    if (!input_reserve(input)) {
        return input_fail(input, ENOMEM);
    }
    n = read(input->fd, input->data + input->end, READ_BYTES);
    if (n < 0) {
        if (errno == EINTR || errno == EAGAIN) {
            return INPUT_MORE;
        }
        return input_fail(input, errno);
    }
    if (n == 0) {
        input->ended = true;
        return INPUT_END;
    }
    input->end += (size_t)n;
    return INPUT_OK;
}

enum input_result
input_line(struct input *input, const uint8_t **line, size_t *line_len)
{
    const size_t have = input->end - input->start;
    const uint8_t *begin = NULL;
    const uint8_t *found = NULL;
    size_t len;

    if (have > 0) {
        begin = input->data + input->start;
        found = memchr(begin + input->scanned, '\n', have - input->scanned);
    }
    if (found == NULL && !(input->ended && have > 0)) {
        input->scanned = have;
        if (have > input->max_bytes) {
            return INPUT_LONG;
        }
        return input->ended ? INPUT_END : INPUT_MORE;
    }
    len = found != NULL ? (size_t)(found - begin) : have;
    if (len > input->max_bytes) {
        return INPUT_LONG;
    }
    input->start += len + (found != NULL);
    input->scanned = 0;
    input->lines++;
    *line = begin;
    *line_len = len;
    return INPUT_OK;
}

enum input_result
input_whole(struct input *input, const uint8_t **data, size_t *len)
{
    for (;;) {
        enum input_result result = input_read(input);

        if (result == INPUT_FAILED) {
            return result;
        }
        if (input->end > input->max_bytes) {
            return INPUT_LONG;
        }
        if (result == INPUT_END) {
            break;
        }
    }
    *data = input->data;
    *len = input->end;
    return INPUT_OK;
}
