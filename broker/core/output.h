/* SPDX-License-Identifier: MIT
 *
 * What one connection has still to be sent.
 *
 * Two lanes. The control lane holds frames that the broker makes itself
 * (answers, PING, GOAWAY); it is never dropped and always goes first. The data
 * lane is a ring of segments: each is a run of published frames, byte for byte
 * as received, as a slice of the block that they were received into, with the
 * context that says which subscriptions they are for. CONTEXT and GAP frames
 * are made only when their turn comes, so dropping or reordering segments can
 * never leave a wrong one behind.
 *
 * The data lane has a byte budget, which shrinks to what is queued while the
 * broker's memory is tight. What happens at its edge is the overflow
 * policy of the messages' contexts (PROTOCOL.md section 5.6):
 * - dropping the oldest counts them in the `leading` gap of their context,
 *   which is reported before everything that is still queued; a message that
 *   must be dropped behind one that may not be leaves a gap in its own place;
 * - refusing the newest counts it in the `trailing` gap, which becomes a
 *   segment of its own as soon as something is queued behind it;
 * - conflating counts what it drops in the `conflated` gap, which is reported
 *   beside the leading one (conflate.h).
 *
 * A segment keeps its whole block alive. When that becomes wasteful, because a
 * slow connection holds small slices of many blocks, they are copied together
 * into blocks of their own (output_ring.c: output_compact).
 *
 * The books of subscriptions are kept here, where things happen to messages.
 * Knows nothing of sockets or sessions. One thread.
 */
#ifndef BROKER_CORE_OUTPUT_H
#define BROKER_CORE_OUTPUT_H

#include "block.h"
#include "buffer.h"
#include "context.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct segment {
    struct context *context; /* holds a reference */
    struct block *block;     /* holds a reference; NULL: this is a gap */
    const uint8_t *data;
    uint64_t bytes;
    uint64_t messages; /* 0 in a gap: it was taken together with another */
    enum broker_gap_reason reason; /* of a gap */
    bool pins;                     /* bears its block in pinned_bytes */
};

struct output {
    struct block_pool *pool;
    struct segment *ring;
    uint32_t head, count, capacity; /* capacity is a power of two or 0 */
    uint32_t kept;        /* leading segments known not to be of drop-oldest */
    uint32_t unconflated; /* leading segments known not to be of conflate */
    uint32_t settled;     /* leading segments that need no compacting */
    uint32_t holes;       /* gaps in the ring with 0 messages */
    uint64_t bytes; /* queued in the data lane, with what a segment costs */
    uint64_t messages;
    uint64_t pinned_bytes; /* capacity of the blocks that segments keep */
    const struct block *last_block; /* of the last message, if known */
    uint64_t max_bytes;             /* of `bytes` */
    uint64_t delivered; /* messages, each once however many matched */
    uint64_t refused;   /* of those dropped: never were in the queue */
    uint64_t dropped;
    struct gap_list leading; /* and conflated */
    struct gap_list trailing;
    /* At the last conflation: messages that had come by then, and bytes that
     * it left, without those dropped since. */
    uint64_t conflated_messages, conflated_bytes;
    struct context *wire_context; /* of the last CONTEXT sent; a reference */
    struct block *compacted;      /* where small slices are copied to */
    struct buffer control;
    struct block *rest_block; /* of a frame that was cut by the socket */
    const uint8_t *rest;
    size_t rest_bytes;
};

enum output_result {
    OUTPUT_QUEUED,
    OUTPUT_REFUSED,   /* counted in a gap */
    OUTPUT_DISCONNECT /* counted; the context's policy is to disconnect */
};

struct output_span {
    const uint8_t *data;
    size_t len;
};

void output_init(
    struct output *output, struct block_pool *pool, uint64_t max_bytes);
/* Everything queued is dropped, with DROP_CLOSED. */
void output_fini(struct output *output);

/* A run of whole frames for one context: a slice of `block`. */
struct output_run {
    struct block *block;
    const uint8_t *data;
    size_t bytes;
    uint32_t messages;
};

/* Queue the run; takes references of its own. Books are kept. */
enum output_result output_append(struct output *output, struct context *context,
    const struct output_run *run);

/* While memory is tight a queue may not grow, but a peer that keeps up may have
 * this much, so that it does not suffer for those who do not. */
#define OUTPUT_TIGHT_BYTES (256u * 1024u)

/* What `bytes` may be right now. */
static inline uint64_t
output_limit(const struct output *output)
{
    if (!block_pool_is_tight(output->pool)) {
        return output->max_bytes;
    }
    if (output->count == 0) {
        return output->max_bytes; /* it keeps up */
    }
    uint64_t limit =
        output->bytes > OUTPUT_TIGHT_BYTES ? output->bytes : OUTPUT_TIGHT_BYTES;
    return limit < output->max_bytes ? limit : output->max_bytes;
}

/* Would a run of this size be queued without dropping or refusing anything? */
static inline bool
output_fits(const struct output *output, size_t bytes)
{
    return output->bytes + bytes + sizeof(struct segment) <=
           output_limit(output);
}

/* Refuse a run for a reason that is not the budget. */
void output_refuse(struct output *output, struct context *context,
    const struct output_run *run, enum broker_gap_reason reason,
    enum drop_reason why);

/* The control lane. */
static inline struct buffer *
output_control(struct output *output)
{
    return &output->control;
}

/* What to send next, in order, at most max spans; 0 if nothing is queued. The
 * spans are valid until the next call of anything but this. Follow with
 * output_sent. */
size_t output_spans(
    struct output *output, struct output_span *spans, size_t max);

/* The first `bytes` bytes of the spans were taken by the socket. A frame that
 * was taken in part counts as delivered; its rest comes first next time. */
void output_sent(struct output *output, size_t bytes);

/* Nothing queued in either lane, nothing to report. */
bool output_is_empty(const struct output *output);
/* No message is queued and no gap to report; control frames may be. */
bool output_has_no_data(const struct output *output);

/* Is something queued for the subscription, or a gap of it not yet reported? */
bool output_owes(
    const struct output *output, const struct subscription *subscription);

/* The subscription ends: what is queued for it alone is dropped, what is queued
 * for others too no longer names it. Its `queued` is 0 afterwards. */
void output_forget(struct output *output, struct subscription *subscription);

/* Messages that are missing and were not reported by a GAP yet. */
uint64_t output_unreported(const struct output *output);

/* Drop all queued messages for want of memory, whatever the policies; they are
 * counted in gaps. */
void output_shed(struct output *output);

/* Drop the data lane and all gaps; the control lane stays. */
void output_drop_data(struct output *output);

#endif
