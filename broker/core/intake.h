/* SPDX-License-Identifier: MIT
 *
 * Where one connection's received bytes stand until they are whole frames.
 *
 * Reading goes straight into blocks: normally into the current block that all
 * connections share, one after the other, so that thousands of quiet
 * connections hold no receive memory at all. Bytes of a frame that is not
 * complete yet stay in place if the next read can continue behind them, else
 * they are moved to where the frame fits. A frame larger than a block gets a
 * block of its own, which doubles as the frame comes in, up to its exact size.
 * A connection that goes quiet in the middle of a frame keeps at most about
 * twice what it sent, not the block it came in.
 *
 * Knows where frames end, and nothing else of them. One thread.
 */
#ifndef BROKER_CORE_INTAKE_H
#define BROKER_CORE_INTAKE_H

#include "block.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct intake {
    struct block *block; /* holds the bytes; NULL if there are none */
    uint32_t start, end; /* block->data[start..end) */
    uint32_t needed;     /* bytes from start on that the next frame takes */
};

/* What the connections of one thread share. */
struct intake_shared {
    struct block_pool *pool;
    struct block *current; /* NULL until first needed */
};

void intake_shared_init(struct intake_shared *shared, struct block_pool *pool);
void intake_shared_fini(struct intake_shared *shared);

void intake_fini(struct intake *intake);

/* Where to put received bytes: sets *dst and *room, room at least 1. False if
 * memory is out; try again later. Nothing is lost by not using it. */
bool intake_reserve(struct intake *intake, struct intake_shared *shared,
    uint8_t **dst, size_t *room);

/* `len` bytes were put there. */
void intake_commit(
    struct intake *intake, struct intake_shared *shared, size_t len);

/* The bytes that are there, in one piece. */
static inline const uint8_t *
intake_data(const struct intake *intake)
{
    return intake->block->data + intake->start;
}
static inline size_t
intake_len(const struct intake *intake)
{
    return intake->end - intake->start;
}

/* What a large frame that is not complete keeps; 0: there is none. */
uint64_t intake_large_bytes(const struct intake *intake);

/* The first `len` bytes were used; the next frame takes `needed` bytes, or 0 if
 * nothing is left. */
void intake_consume(struct intake *intake, size_t len, size_t needed);

/* No more is coming right now: let go of the shared block. */
void intake_rest(struct intake *intake, struct intake_shared *shared);

#endif
