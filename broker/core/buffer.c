/* SPDX-License-Identifier: MIT
 *
 * The growing byte queue; see buffer.h. */
#include "buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN  128
#define CAPACITY_KEPT 128 /* an empty buffer larger than this is given back */

void
buffer_fini(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

uint8_t *
buffer_reserve(struct buffer *buffer, size_t len)
{
    if (len <= buffer->capacity - buffer->end) {
        return buffer->data + buffer->end;
    }
    size_t queued = buffer_len(buffer);
    size_t capacity =
        buffer->capacity < CAPACITY_MIN ? CAPACITY_MIN : buffer->capacity;
    while (capacity - queued < len) {
        capacity *= 2;
    }
    uint8_t *data = malloc(capacity);
    if (data == NULL) {
        return NULL;
    }
    if (queued > 0) {
        memcpy(data, buffer_data(buffer), queued);
    }
    free(buffer->data);
    *buffer = (struct buffer){data, 0, queued, capacity};
    return data + queued;
}

void
buffer_commit(struct buffer *buffer, size_t len)
{
    assert(len <= buffer->capacity - buffer->end);
    buffer->end += len;
}

void
buffer_drain(struct buffer *buffer, size_t len)
{
    assert(len <= buffer_len(buffer));
    buffer->start += len;
    if (buffer->start < buffer->end) {
        return;
    }
    buffer->start = buffer->end = 0;
    if (buffer->capacity > CAPACITY_KEPT) {
        buffer_fini(buffer);
    }
}
