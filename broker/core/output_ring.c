/* SPDX-License-Identifier: MIT
 *
 * The ring of segments; see output_ring.h. */
#include "output_ring.h"

#include <stdlib.h>
#include <string.h>

#define RING_MIN            8
#define COMPACT_BLOCK_BYTES (32u * 1024u)
#define HOLES_MIN           64

/* ---- the ring ------------------------------------------------------------ */

static bool
ring_grow(struct output *output)
{
    uint32_t capacity = output->capacity == 0 ? RING_MIN : output->capacity * 2;
    struct segment *ring = malloc(capacity * sizeof *ring);
    if (ring == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < output->count; i++) {
        ring[i] = *output_at(output, i);
    }
    free(output->ring);
    output->ring = ring;
    output->head = 0;
    output->capacity = capacity;
    return true;
}

void
output_forget_places(struct output *output)
{
    output->kept = output->unconflated = output->settled = 0;
}

void
output_replace_ring(struct output *output, struct segment *ring, uint32_t count)
{
    free(output->ring);
    output->ring = ring;
    output->head = 0;
    output->count = count;
    output->holes = 0;
    output_forget_places(output);
    output_count_pinned(output);
}

void
output_free_ring_if_empty(struct output *output)
{
    if (output->count == 0) {
        free(output->ring);
        output->ring = NULL;
        output->head = output->capacity = 0;
        output->last_block = NULL;
        output_forget_places(output);
        output->holes = 0;
    }
}

struct segment *
output_push(struct output *output)
{
    if (output->count == output->capacity && !ring_grow(output)) {
        return NULL;
    }
    output->bytes += sizeof(struct segment);
    return output_at(output, output->count++);
}

/* The first message behind the i-th segment, or NULL. */
static struct segment *
message_after(const struct output *output, uint32_t i)
{
    while (++i < output->count) {
        if (!segment_is_gap(output_at(output, i))) {
            return output_at(output, i);
        }
    }
    return NULL;
}

void
output_pin(struct output *output, struct segment *segment)
{
    segment->pins = segment->block != output->last_block;
    output->pinned_bytes += segment->pins ? segment->block->capacity : 0;
    output->last_block = segment->block;
}

void
output_unpin(struct output *output, uint32_t i)
{
    struct segment *segment = output_at(output, i);
    struct segment *next = message_after(output, i);
    if (next == NULL) {
        output->last_block = NULL;
    }
    if (!segment->pins) {
        return;
    }
    segment->pins = false;
    if (next != NULL && next->block == segment->block && !next->pins) {
        next->pins = true;
    } else {
        output->pinned_bytes -= segment->block->capacity;
    }
}

void
output_pop(struct output *output)
{
    struct segment *segment = output_at(output, 0);
    output->bytes -= sizeof *segment;
    if (segment_is_gap(segment)) {
        output->holes -= segment->messages == 0 ? 1 : 0;
    } else {
        output_unpin(output, 0);
        output->bytes -= segment->bytes;
        output->messages -= segment->messages;
        block_unref(segment->block);
    }
    output->head = (output->head + 1) & (output->capacity - 1);
    output->count--;
    if ((output->kept | output->unconflated | output->settled) != 0) {
        output->kept -= output->kept > 0 ? 1 : 0;
        output->unconflated -= output->unconflated > 0 ? 1 : 0;
        output->settled -= output->settled > 0 ? 1 : 0;
    }
}

void
output_count_pinned(struct output *output)
{
    output->pinned_bytes = 0;
    output->last_block = NULL;
    for (uint32_t i = 0; i < output->count; i++) {
        if (!segment_is_gap(output_at(output, i))) {
            output_pin(output, output_at(output, i));
        }
    }
}

void
output_remove_holes(struct output *output)
{
    if (output->holes < HOLES_MIN || output->holes < output->count / 2) {
        return;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < output->count; i++) {
        struct segment *segment = output_at(output, i);
        if (segment_is_gap(segment) && segment->messages == 0) {
            context_unref(segment->context);
            output->bytes -= sizeof *segment;
        } else {
            *output_at(output, kept++) = *segment;
        }
    }
    output->count = kept;
    output->holes = 0;
    output_forget_places(output);
    output_count_pinned(output);
}

/* ---- compacting ---------------------------------------------------------- */

static bool
is_wasteful(const struct segment *segment)
{
    return !segment_is_gap(segment) &&
           segment->bytes * 2 < segment->block->capacity;
}

struct block *
output_reserve_compacted(struct output *output, size_t len)
{
    if (output->compacted == NULL || block_room(output->compacted) < len) {
        size_t capacity = len > COMPACT_BLOCK_BYTES ? len : COMPACT_BLOCK_BYTES;
        struct block *block = block_new_from_reserve(output->pool, capacity);
        if (block == NULL) {
            return NULL;
        }
        block_unref(output->compacted);
        output->compacted = block;
    }
    return output->compacted;
}

/* Copy a segment's bytes behind what was compacted last. */
static bool
move_bytes(struct output *output, struct segment *segment)
{
    size_t len = (size_t)segment->bytes;
    struct block *block = output_reserve_compacted(output, len);
    if (block == NULL) {
        return false;
    }
    memcpy(block->data + block->fill, segment->data, len);
    block_unref(segment->block);
    segment->block = block_ref(block);
    segment->data = block->data + block->fill;
    block->fill += (uint32_t)len;
    return true;
}

void
segment_join(struct output *output, struct segment *before,
    const struct segment *segment)
{
    before->bytes += segment->bytes;
    before->messages += segment->messages;
    output->bytes -= sizeof *segment;
    block_unref(segment->block);
    context_unref(segment->context);
}

void
output_compact(struct output *output)
{
    uint32_t kept = output->settled;
    bool able = true;
    for (uint32_t i = output->settled; i < output->count; i++) {
        struct segment *segment = output_at(output, i);
        if (able && is_wasteful(segment)) {
            able = move_bytes(output, segment);
        }
        struct segment *before = kept > 0 ? output_at(output, kept - 1) : NULL;
        if (before != NULL && segment_continues(before, segment)) {
            segment_join(output, before, segment);
        } else {
            *output_at(output, kept++) = *segment;
        }
    }
    output->count = kept;
    output->settled = able ? kept : output->settled;
    output->kept = output->unconflated = 0;
    output_count_pinned(output);
}

/* ---- gaps ---------------------------------------------------------------- */

void
gap_add(struct gap_list *list, struct gap *gap, uint64_t messages,
    uint64_t bytes, enum broker_gap_reason reason)
{
    if (gap->messages == 0) {
        context_ref(gap_context(gap));
        TAILQ_INSERT_TAIL(list, gap, link);
        gap->reason = reason;
        gap->bytes = 0;
    }
    gap->messages += messages;
    gap->bytes += bytes;
}

void
gap_remove(struct gap_list *list, struct gap *gap)
{
    TAILQ_REMOVE(list, gap, link);
    gap->messages = gap->bytes = 0;
    context_unref(gap_context(gap));
}
