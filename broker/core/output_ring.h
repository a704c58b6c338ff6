/* SPDX-License-Identifier: MIT
 *
 * The ring of segments inside an output queue, for the files output*.c only:
 * pushing, popping, and what segments cost in memory. It keeps the counters of
 * struct output that follow from the ring (bytes, messages, pinned_bytes,
 * holes, kept, ...) and knows nothing of policies or frames.
 */
#ifndef BROKER_CORE_OUTPUT_RING_H
#define BROKER_CORE_OUTPUT_RING_H

#include "output.h"

/* The i-th segment from the front. */
static inline struct segment *
output_at(const struct output *output, uint32_t i)
{
    return &output->ring[(output->head + i) & (output->capacity - 1)];
}

static inline bool
segment_is_gap(const struct segment *segment)
{
    return segment->block == NULL;
}

/* A new segment at the end, counted with its cost but not yet with its bytes;
 * the caller fills it. NULL if memory is out. */
struct segment *output_push(struct output *output);

/* Take the first segment off the ring. Its context stays referenced: the
 * caller has that reference now. */
void output_pop(struct output *output);

/* What is known of leading segments is no longer true: the ring was changed in
 * the middle. */
void output_forget_places(struct output *output);

/* Another ring, of malloc(3), in place of this one, with the same capacity;
 * bytes and messages are counted already. */
void output_replace_ring(
    struct output *output, struct segment *ring, uint32_t count);

/* A connection with nothing to send holds no ring. */
void output_free_ring_if_empty(struct output *output);

/* A message segment at the end has got its block, or the i-th is to let go of
 * it. A block counts once in pinned_bytes for messages behind each other that
 * share it, whatever gaps stand between them: one of them bears it. */
void output_pin(struct output *output, struct segment *segment);
void output_unpin(struct output *output, uint32_t i);
/* Count pinned_bytes anew, after the ring was changed in the middle. */
void output_count_pinned(struct output *output);

/* Close the ring over its holes once they are most of it. */
void output_remove_holes(struct output *output);

/* Is the segment the next part of the same run? Then it may be joined to the
 * one before, which takes its bytes and messages, and be left out. */
static inline bool
segment_continues(const struct segment *before, const struct segment *segment)
{
    return before->block != NULL && before->block == segment->block &&
           before->context == segment->context &&
           before->data + before->bytes == segment->data;
}
void segment_join(struct output *output, struct segment *before,
    const struct segment *segment);

/* The block that small slices are copied to, with room for so many bytes from
 * `fill` on; NULL if memory is out. */
struct block *output_reserve_compacted(struct output *output, size_t len);

/* Copy small slices of large blocks together, and join what then is one run.
 * Where memory for it is out the rest stays as it is: the slices are still
 * good, and the next call tries again. */
void output_compact(struct output *output);

/* Count messages in a gap, which is put on the list if it was empty, with a
 * reference to its context; and take it off again. */
void gap_add(struct gap_list *list, struct gap *gap, uint64_t messages,
    uint64_t bytes, enum broker_gap_reason reason);
void gap_remove(struct gap_list *list, struct gap *gap);

#endif
