/* SPDX-License-Identifier: MIT
 *
 * A growing byte queue for frames that the broker makes itself: written at the
 * end, sent from the front. Holds no memory worth speaking of while empty,
 * because there is one for each connection. Knows nothing of frames.
 */
#ifndef BROKER_CORE_BUFFER_H
#define BROKER_CORE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct buffer {
    uint8_t *data;
    size_t start, end; /* data[start..end) is what is queued */
    size_t capacity;
};

void buffer_fini(struct buffer *buffer);

/* Room for `len` bytes at the end, to be written by the caller, who then calls
 * buffer_commit. NULL if memory is out. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t len);
void buffer_commit(struct buffer *buffer, size_t len);

/* Take `len` bytes off the front; at most buffer_len. */
void buffer_drain(struct buffer *buffer, size_t len);

static inline size_t
buffer_len(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

static inline const uint8_t *
buffer_data(const struct buffer *buffer)
{
    return buffer->data + buffer->start;
}

#endif
