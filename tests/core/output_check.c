/* SPDX-License-Identifier: MIT
 *
 * The accounts of an output, recomputed; see output_check.h. */
#include "output_check.h"

#include "subscription.h"
#include "wire.h"

static const struct segment *
at(const struct output *output, uint32_t i)
{
    return &output->ring[(output->head + i) & (output->capacity - 1)];
}

static bool
is_gap(const struct segment *segment)
{
    return segment->block == NULL;
}

/* Does the slice hold exactly its number of whole messages, inside its block?
 * What a reader gets has frames of other types between them, or alone. */
static bool
holds_frames(const struct segment *segment)
{
    const struct block *block = segment->block;
    uint64_t pos = 0;
    uint64_t messages = 0;
    while (block->original != NULL) {
        block = block->original; /* a loan has no bytes of its own */
    }
    if (segment->data < block->data ||
        segment->data + segment->bytes > block->data + block->fill) {
        return false;
    }
    uint64_t frames = 0;
    while (pos + BROKER_HEADER_BYTES <= segment->bytes) {
        messages += wire_is_publish(segment->data + pos) ? 1 : 0;
        pos += wire_frame_bytes(segment->data + pos);
        frames++;
    }
    /* Those of streams have other frames among them. */
    return pos == segment->bytes && messages == segment->messages && frames > 0;
}

static const char *
check_segment(const struct output *output, uint32_t i)
{
    const struct segment *segment = at(output, i);
    if (segment->context == NULL || segment->context->references == 0) {
        return "a segment without a context";
    }
    if (!is_gap(segment) && segment->block->references == 0) {
        return "a segment of a block that is gone";
    }
    if (!is_gap(segment) && !holds_frames(segment)) {
        return "a segment that is not its number of frames";
    }
    if (i < output->kept && !is_gap(segment) &&
        segment->context->overflow == BROKER_OVERFLOW_DROP_OLDEST) {
        return "a droppable segment among the kept";
    }
    if (i < output->unconflated && !is_gap(segment) &&
        segment->context->overflow == BROKER_OVERFLOW_CONFLATE) {
        return "a segment to conflate among those without";
    }
    return NULL;
}

static const char *
check_sums(const struct output *output)
{
    uint64_t bytes = 0;
    uint64_t messages = 0;
    uint64_t pinned = 0;
    uint32_t holes = 0;
    const struct block *before = NULL;
    for (uint32_t i = 0; i < output->count; i++) {
        const struct segment *segment = at(output, i);
        bytes += sizeof *segment;
        if (is_gap(segment)) {
            holes += segment->messages == 0 ? 1 : 0;
        } else {
            bytes += segment->bytes;
            messages += segment->messages;
            pinned += segment->pins ? segment->block->capacity : 0;
            if (segment->block != before && !segment->pins) {
                return "a block that nobody bears";
            }
            before = segment->block;
        }
    }
    if (output->last_block != NULL && output->last_block != before) {
        return "last_block";
    }
    return bytes != output->bytes           ? "bytes"
           : messages != output->messages   ? "messages"
           : holes != output->holes         ? "holes"
           : pinned != output->pinned_bytes ? "pinned_bytes"
                                            : NULL;
}

static const char *
check_gaps(const struct gap_list *list)
{
    const struct gap *gap;
    TAILQ_FOREACH(gap, list, link)
    {
        if (gap->messages == 0 || gap_context(gap)->references == 0) {
            return "an empty gap in a list";
        }
    }
    return NULL;
}

const char *
output_check(const struct output *output)
{
    if (output->count > output->capacity || output->kept > output->count ||
        output->unconflated > output->count ||
        output->settled > output->count) {
        return "a place beyond the ring";
    }
    for (uint32_t i = 0; i < output->count; i++) {
        const char *problem = check_segment(output, i);
        if (problem != NULL) {
            return problem;
        }
    }
    const char *problem = check_sums(output);
    if (problem == NULL) {
        problem = check_gaps(&output->leading);
    }
    return problem != NULL ? problem : check_gaps(&output->trailing);
}

const char *
output_check_books(
    const struct output *output, const struct subscription *subscription)
{
    const struct books *books = &subscription->books;
    uint64_t queued = 0;
    for (uint32_t i = 0; i < output->count; i++) {
        const struct segment *segment = at(output, i);
        if (!is_gap(segment) && context_has(segment->context, subscription)) {
            queued += segment->messages;
        }
    }
    if (queued != books->queued) {
        return "queued is not what is in the ring";
    }
    if (books->matched !=
        books->delivered + books->queued + books_dropped(books)) {
        return "the books do not balance";
    }
    return NULL;
}
