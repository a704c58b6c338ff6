/* SPDX-License-Identifier: MIT
 *
 * The receive buffer: one contiguous piece of memory that grows only as bytes
 * arrive, so that a peer which announces a large frame and sends nothing costs
 * nothing. Used by the thread that drives alone.
 */
#ifndef BROKER_CLIENT_RECEIVE_H
#define BROKER_CLIENT_RECEIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct receive {
    uint8_t *data;
    size_t capacity;
    size_t start, end; /* what has come and is not consumed */
    bool was_filled;   /* the last read took all the room there was */
};

void receive_fini(struct receive *receive);
/* Forget what has come. */
void receive_reset(struct receive *receive);

/* Room for reading: at least one byte, if possible enough that `needed` bytes
 * lie in the buffer. NULL: no memory. */
uint8_t *receive_space(struct receive *receive, size_t needed, size_t *room);
void receive_commit(struct receive *receive, size_t n);

#endif
