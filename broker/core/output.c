/* SPDX-License-Identifier: MIT
 *
 * The output queue of one connection; see output.h. */
#include "output.h"

#include "wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RING_MIN            8
#define COMPACT_BLOCK_BYTES (32u * 1024u)
/* Compact when segments keep this much more than four times their bytes. */
#define PINNED_SLACK (1024u * 1024u)
/* The rest of a cut frame up to this size is copied rather than pinned. */
#define REST_COPY_MAX  (16u * 1024u)
#define SPAN_BYTES_MAX (1024u * 1024u) /* enough for one turn and connection */
#define HOLES_MIN      64

void
output_init(struct output *output, struct block_pool *pool, uint64_t max_bytes)
{
    *output = (struct output){.pool = pool, .max_bytes = max_bytes};
    TAILQ_INIT(&output->leading);
    TAILQ_INIT(&output->trailing);
}

/* ---- the ring ----------------------------------------------------------- */

static struct segment *
at(const struct output *output, uint32_t i)
{
    return &output->ring[(output->head + i) & (output->capacity - 1)];
}

static bool
ring_grow(struct output *output)
{
    uint32_t capacity = output->capacity == 0 ? RING_MIN : output->capacity * 2;
    struct segment *ring = calloc(capacity, sizeof *ring);
    if (ring == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < output->count; i++) {
        ring[i] = *at(output, i);
    }
    free(output->ring);
    output->ring = ring;
    output->head = 0;
    output->capacity = capacity;
    return true;
}

/* A connection with nothing to send holds no ring. */
static void
ring_free_if_empty(struct output *output)
{
    if (output->count == 0) {
        free(output->ring);
        output->ring = NULL;
        output->head = output->capacity = 0;
        output->kept = output->settled = output->holes = 0;
    }
}

static struct segment *
ring_push(struct output *output)
{
    if (output->count == output->capacity && !ring_grow(output)) {
        return NULL;
    }
    output->bytes += sizeof(struct segment);
    return at(output, output->count++);
}

static bool
is_gap(const struct segment *segment)
{
    return segment->block == NULL;
}

/* Blocks are counted once for neighbours that share one. */
static uint64_t
pinned_by(const struct segment *segment, const struct segment *neighbour)
{
    if (is_gap(segment) ||
        (neighbour != NULL && neighbour->block == segment->block)) {
        return 0;
    }
    return segment->block->capacity;
}

/* Take the first segment off the ring. Its context stays referenced: the
 * caller has that reference now. */
static void
ring_pop(struct output *output)
{
    struct segment *segment = at(output, 0);
    output->pinned_bytes -=
        pinned_by(segment, output->count > 1 ? at(output, 1) : NULL);
    output->bytes -= sizeof *segment;
    if (is_gap(segment)) {
        output->holes -= segment->messages == 0 ? 1 : 0;
    } else {
        output->bytes -= segment->bytes;
        output->messages -= segment->messages;
        block_unref(segment->block);
    }
    output->head = (output->head + 1) & (output->capacity - 1);
    output->count--;
    output->kept -= output->kept > 0 ? 1 : 0;
    output->settled -= output->settled > 0 ? 1 : 0;
}

static void
count_pinned(struct output *output)
{
    output->pinned_bytes = 0;
    for (uint32_t i = 0; i < output->count; i++) {
        output->pinned_bytes += pinned_by(
            at(output, i), i + 1 < output->count ? at(output, i + 1) : NULL);
    }
}

/* ---- gaps --------------------------------------------------------------- */

static void
gap_add(struct gap_list *list, struct gap *gap, uint64_t messages,
    uint64_t bytes, enum broker_gap_reason reason)
{
    if (gap->messages == 0) {
        context_ref(gap->context);
        TAILQ_INSERT_TAIL(list, gap, link);
        gap->reason = reason;
        gap->bytes = 0;
    }
    gap->messages += messages;
    gap->bytes += bytes;
}

static void
gap_remove(struct gap_list *list, struct gap *gap)
{
    TAILQ_REMOVE(list, gap, link);
    gap->messages = gap->bytes = 0;
    context_unref(gap->context);
}

/* Put a pending trailing gap into the ring, because something comes after it.
 * False if memory is out; then it stays pending. */
static bool
gap_settle(struct output *output, struct gap *gap)
{
    struct segment *segment = ring_push(output);
    if (segment == NULL) {
        return false;
    }
    *segment = (struct segment){.context = context_ref(gap->context),
        .messages = gap->messages,
        .bytes = gap->bytes,
        .reason = gap->reason};
    gap_remove(&output->trailing, gap);
    return true;
}

static bool
settle_trailing(struct output *output)
{
    while (!TAILQ_EMPTY(&output->trailing)) {
        if (!gap_settle(output, TAILQ_FIRST(&output->trailing))) {
            return false;
        }
    }
    return true;
}

static void
add_trailing(struct output *output, struct context *context,
    const struct output_run *run, enum broker_gap_reason reason)
{
    struct gap *gap = &context->trailing;
    if (gap->messages > 0 && gap->reason != reason) {
        /* Without memory for another record they share one reason. */
        (void)gap_settle(output, gap);
    }
    gap_add(&output->trailing, gap, run->messages, run->bytes, reason);
}

/* ---- dropping ----------------------------------------------------------- */

static bool
is_droppable(const struct segment *segment)
{
    return !is_gap(segment) &&
           segment->context->overflow == BROKER_OVERFLOW_DROP_OLDEST;
}

/* Drop frames off the front of the first segment until `needed` bytes are gone
 * or all but one frame are. */
static void
drop_front_frames(struct output *output, uint64_t needed)
{
    struct segment *segment = at(output, 0);
    uint64_t bytes = 0;
    uint64_t messages = 0;
    while (bytes < needed && messages + 1 < segment->messages) {
        bytes += wire_frame_bytes(segment->data + bytes);
        messages++;
    }
    segment->data += bytes;
    segment->bytes -= bytes;
    segment->messages -= messages;
    output->bytes -= bytes;
    output->messages -= messages;
    output->dropped += messages;
    context_enter_dropped(segment->context, messages, DROP_OVERFLOW);
    gap_add(&output->leading, &segment->context->leading, messages, bytes,
        BROKER_GAP_OVERFLOW);
}

static void
drop_first(struct output *output, uint64_t needed)
{
    struct segment *segment = at(output, 0);
    if (segment->bytes > needed && segment->messages > 1) {
        drop_front_frames(output, needed);
        return;
    }
    struct context *context = segment->context;
    output->dropped += segment->messages;
    context_enter_dropped(context, segment->messages, DROP_OVERFLOW);
    gap_add(&output->leading, &context->leading, segment->messages,
        segment->bytes, BROKER_GAP_OVERFLOW);
    ring_pop(output);
    context_unref(context);
}

/* Turn the i-th segment into a gap in its place, together with the gap of the
 * same context directly before it, if there is one. */
static void
drop_in_place(struct output *output, uint32_t i)
{
    struct segment *segment = at(output, i);
    struct segment *before = at(output, i - 1);
    output->dropped += segment->messages;
    context_enter_dropped(segment->context, segment->messages, DROP_OVERFLOW);
    struct segment *after = i + 1 < output->count ? at(output, i + 1) : NULL;
    bool shares_after = after != NULL && after->block == segment->block;
    if (before->block != segment->block) {
        output->pinned_bytes -= pinned_by(segment, after);
    } else if (shares_after) {
        /* It stood between two that now count on their own. */
        output->pinned_bytes += segment->block->capacity;
    }
    output->bytes -= segment->bytes;
    output->messages -= segment->messages;
    block_unref(segment->block);
    segment->block = NULL;
    segment->reason = BROKER_GAP_OVERFLOW;
    if (is_gap(before) && before->context == segment->context &&
        before->messages > 0 && before->reason == BROKER_GAP_OVERFLOW) {
        segment->messages += before->messages;
        segment->bytes += before->bytes;
        before->messages = before->bytes = 0;
        output->holes++;
    }
}

/* Close the ring over its holes once they are most of it. */
static void
remove_holes(struct output *output)
{
    if (output->holes < HOLES_MIN || output->holes < output->count / 2) {
        return;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < output->count; i++) {
        struct segment *segment = at(output, i);
        if (is_gap(segment) && segment->messages == 0) {
            context_unref(segment->context);
            output->bytes -= sizeof *segment;
        } else {
            *at(output, kept++) = *segment;
        }
    }
    output->count = kept;
    output->kept = output->settled = output->holes = 0;
    count_pinned(output);
}

/* Drop the oldest that may be dropped until `bytes` more fit. */
static bool
make_room(struct output *output, uint64_t bytes)
{
    while (output->bytes + bytes > output->max_bytes) {
        while (output->kept < output->count &&
               !is_droppable(at(output, output->kept))) {
            output->kept++;
        }
        if (output->kept == output->count) {
            remove_holes(output);
            return output->bytes + bytes <= output->max_bytes;
        }
        if (output->kept == 0) {
            drop_first(output, output->bytes + bytes - output->max_bytes);
        } else {
            drop_in_place(output, output->kept++);
        }
    }
    return true;
}

/* ---- compacting --------------------------------------------------------- */

static bool
is_wasteful(const struct segment *segment)
{
    return !is_gap(segment) && segment->bytes * 2 < segment->block->capacity;
}

/* Copy a segment's bytes behind what was compacted last. */
static bool
move_bytes(struct output *output, struct segment *segment)
{
    size_t len = (size_t)segment->bytes;
    if (output->compacted == NULL || block_room(output->compacted) < len) {
        size_t capacity = len > COMPACT_BLOCK_BYTES ? len : COMPACT_BLOCK_BYTES;
        struct block *block = block_new(output->pool, capacity);
        if (block == NULL) {
            return false;
        }
        block_unref(output->compacted);
        output->compacted = block;
    }
    struct block *block = output->compacted;
    memcpy(block->data + block->fill, segment->data, len);
    block_unref(segment->block);
    segment->block = block_ref(block);
    segment->data = block->data + block->fill;
    block->fill += (uint32_t)len;
    return true;
}

static bool
continues(const struct segment *before, const struct segment *segment)
{
    return before->block == segment->block &&
           before->context == segment->context &&
           before->data + before->bytes == segment->data;
}

/* Copy small slices of large blocks together, and join what then is one run.
 * Where memory for it is out the rest stays as it is: the slices are still
 * good, and the next call tries again. */
static void
compact(struct output *output)
{
    uint32_t kept = output->settled;
    bool able = true;
    for (uint32_t i = output->settled; i < output->count; i++) {
        struct segment *segment = at(output, i);
        if (able && is_wasteful(segment)) {
            able = move_bytes(output, segment);
        }
        struct segment *before = kept > 0 ? at(output, kept - 1) : NULL;
        if (before != NULL && !is_gap(segment) && continues(before, segment)) {
            before->bytes += segment->bytes;
            before->messages += segment->messages;
            output->bytes -= sizeof *segment;
            block_unref(segment->block);
            context_unref(segment->context);
        } else {
            *at(output, kept++) = *segment;
        }
    }
    output->count = kept;
    output->settled = able ? kept : output->settled;
    output->kept = 0;
    count_pinned(output);
}

/* ---- queueing ----------------------------------------------------------- */

static bool
extend_last(struct output *output, struct context *context,
    const struct output_run *run)
{
    if (output->count == 0) {
        return false;
    }
    struct segment *last = at(output, output->count - 1);
    if (last->context != context || last->block != run->block ||
        last->data + last->bytes != run->data) {
        return false;
    }
    last->bytes += run->bytes;
    last->messages += run->messages;
    return true;
}

static bool
push_run(struct output *output, struct context *context,
    const struct output_run *run)
{
    if (!settle_trailing(output)) {
        return false;
    }
    struct segment *segment = ring_push(output);
    if (segment == NULL) {
        return false;
    }
    *segment = (struct segment){.context = context_ref(context),
        .block = block_ref(run->block),
        .data = run->data,
        .bytes = run->bytes,
        .messages = run->messages};
    output->pinned_bytes += pinned_by(
        segment, output->count > 1 ? at(output, output->count - 2) : NULL);
    return true;
}

void
output_refuse(struct output *output, struct context *context,
    const struct output_run *run, enum broker_gap_reason reason,
    enum drop_reason why)
{
    output->dropped += run->messages;
    context_enter_refused(context, run->messages, why);
    add_trailing(output, context, run, reason);
}

static enum output_result
overflow(struct output *output, struct context *context,
    const struct output_run *run)
{
    output_refuse(output, context, run, BROKER_GAP_OVERFLOW, DROP_OVERFLOW);
    return context->overflow == BROKER_OVERFLOW_DISCONNECT ? OUTPUT_DISCONNECT
                                                           : OUTPUT_REFUSED;
}

enum output_result
output_append(struct output *output, struct context *context,
    const struct output_run *run)
{
    if (!output_fits(output, run->bytes) &&
        (context->overflow != BROKER_OVERFLOW_DROP_OLDEST ||
            !make_room(output, run->bytes + sizeof(struct segment)))) {
        return overflow(output, context, run);
    }
    if (!TAILQ_EMPTY(&output->trailing) || !extend_last(output, context, run)) {
        if (!push_run(output, context, run)) {
            output_refuse(output, context, run, BROKER_GAP_MEMORY, DROP_MEMORY);
            return OUTPUT_REFUSED;
        }
    }
    output->bytes += run->bytes;
    output->messages += run->messages;
    context_enter_queued(context, run->messages);
    if (output->pinned_bytes > output->bytes * 4 + PINNED_SLACK) {
        compact(output);
    }
    return OUTPUT_QUEUED;
}

/* ---- sending ------------------------------------------------------------ */

/* Encode a GAP frame into the control lane: once it is the next thing to be
 * sent, it can no longer change. */
static bool
report_gap(struct output *output, const struct context *context,
    uint64_t messages, uint64_t bytes, enum broker_gap_reason reason)
{
    struct broker_gap gap = {.reason = reason,
        .count = messages,
        .bytes = bytes,
        .ids = {context->frame + BROKER_HEADER_BYTES, context->count}};
    size_t size = broker_gap_size(&gap);
    uint8_t *dst = buffer_reserve(&output->control, size);
    if (dst == NULL || broker_gap_encode(&gap, dst, size, &size) != BROKER_OK) {
        return false;
    }
    buffer_commit(&output->control, size);
    return true;
}

static bool
report_list(struct output *output, struct gap_list *list)
{
    while (!TAILQ_EMPTY(list)) {
        struct gap *gap = TAILQ_FIRST(list);
        if (!report_gap(
                output, gap->context, gap->messages, gap->bytes, gap->reason)) {
            return false;
        }
        gap_remove(list, gap);
    }
    return true;
}

/* Report every gap whose turn has come. Without memory they wait. */
static bool
report_gaps(struct output *output)
{
    if (!report_list(output, &output->leading)) {
        return false;
    }
    while (output->count > 0 && is_gap(at(output, 0))) {
        struct segment *gap = at(output, 0);
        if (gap->messages > 0 && !report_gap(output, gap->context,
                                     gap->messages, gap->bytes, gap->reason)) {
            return false;
        }
        struct context *context = gap->context;
        ring_pop(output);
        context_unref(context);
    }
    if (output->count == 0) {
        ring_free_if_empty(output);
        return report_list(output, &output->trailing);
    }
    return true;
}

size_t
output_spans(struct output *output, struct output_span *spans, size_t max)
{
    size_t n = 0;
    if (output->rest_bytes > 0 && n < max) {
        spans[n++] = (struct output_span){output->rest, output->rest_bytes};
    }
    bool reported = report_gaps(output);
    if (buffer_len(&output->control) > 0 && n < max) {
        spans[n++] = (struct output_span){
            buffer_data(&output->control), buffer_len(&output->control)};
    }
    const struct context *context = output->wire_context;
    size_t bytes = 0;
    for (uint32_t i = 0; reported && i < output->count && n + 2 <= max &&
                         bytes < SPAN_BYTES_MAX;
         i++) {
        const struct segment *segment = at(output, i);
        if (is_gap(segment)) {
            break; /* reported when it is the first */
        }
        if (segment->context != context) {
            context = segment->context;
            spans[n++] =
                (struct output_span){context->frame, context->frame_bytes};
        }
        spans[n++] =
            (struct output_span){segment->data, (size_t)segment->bytes};
        bytes += (size_t)segment->bytes;
    }
    return n;
}

/* The socket took a frame in part: its rest goes first next time. The control
 * lane is empty whenever a data frame is cut, so a small rest simply becomes
 * its front; a large one is kept where it is. */
static void
keep_rest(
    struct output *output, struct block *block, const uint8_t *rest, size_t len)
{
    if (len <= REST_COPY_MAX || block == NULL) {
        uint8_t *dst = buffer_reserve(&output->control, len);
        if (dst != NULL) {
            memcpy(dst, rest, len);
            buffer_commit(&output->control, len);
            return;
        }
    }
    output->rest_block = block == NULL ? NULL : block_ref(block);
    output->rest = rest;
    output->rest_bytes = len;
}

static void
set_wire_context(struct output *output, struct context *context)
{
    context_ref(context);
    context_unref(output->wire_context);
    output->wire_context = context;
}

/* `taken` bytes, fewer than all, of the first segment were sent. */
static void
sent_in_part(struct output *output, size_t taken)
{
    struct segment *segment = at(output, 0);
    size_t end = 0;
    uint64_t messages = 0;
    while (end < taken) {
        end += wire_frame_bytes(segment->data + end);
        messages++;
    }
    if (end > taken) {
        keep_rest(output, segment->block, segment->data + taken, end - taken);
    }
    output->delivered += messages;
    context_enter_delivered(segment->context, messages);
    if (end == segment->bytes) {
        struct context *context = segment->context;
        ring_pop(output);
        context_unref(context);
        return;
    }
    segment->data += end;
    segment->bytes -= end;
    segment->messages -= messages;
    output->bytes -= end;
    output->messages -= messages;
}

/* Returns the bytes of the first segment, and of the CONTEXT frame before it,
 * that were covered by `bytes`. */
static size_t
sent_first(struct output *output, size_t bytes)
{
    struct segment *segment = at(output, 0);
    size_t before = bytes;
    if (segment->context != output->wire_context) {
        struct context *context = segment->context;
        set_wire_context(output, context);
        if (bytes < context->frame_bytes) {
            keep_rest(output, NULL, context->frame + bytes,
                context->frame_bytes - bytes);
            return before;
        }
        bytes -= context->frame_bytes;
    }
    if (bytes < segment->bytes) {
        if (bytes > 0) {
            sent_in_part(output, bytes);
        }
        return before;
    }
    bytes -= (size_t)segment->bytes;
    struct context *context = segment->context;
    output->delivered += segment->messages;
    context_enter_delivered(context, segment->messages);
    ring_pop(output);
    context_unref(context);
    return before - bytes;
}

static size_t
sent_rest(struct output *output, size_t bytes)
{
    size_t taken = bytes < output->rest_bytes ? bytes : output->rest_bytes;
    output->rest += taken;
    output->rest_bytes -= taken;
    if (output->rest_bytes == 0) {
        block_unref(output->rest_block);
        output->rest_block = NULL;
    }
    return taken;
}

void
output_sent(struct output *output, size_t bytes)
{
    if (output->rest_bytes > 0) {
        bytes -= sent_rest(output, bytes);
    }
    size_t control = buffer_len(&output->control);
    if (control > bytes) {
        control = bytes;
    }
    if (control > 0) {
        buffer_drain(&output->control, control);
        bytes -= control;
    }
    while (bytes > 0) {
        assert(output->count > 0);
        bytes -= sent_first(output, bytes);
    }
    if (output->count == 0) {
        ring_free_if_empty(output);
        block_unref(output->compacted);
        output->compacted = NULL;
    }
}

bool
output_has_no_data(const struct output *output)
{
    return output->count == 0 && output->rest_bytes == 0 &&
           TAILQ_EMPTY(&output->leading) && TAILQ_EMPTY(&output->trailing);
}

bool
output_is_empty(const struct output *output)
{
    return output_has_no_data(output) && buffer_len(&output->control) == 0;
}

/* ---- ending ------------------------------------------------------------- */

/* Let a gap be reported without the subscription. */
static void
forget_gap(struct gap_list *list, struct gap *gap,
    const struct subscription *subscription, size_t offset)
{
    struct context *without = context_without(gap->context, subscription);
    if (without != NULL) {
        struct gap *other = (struct gap *)(void *)((char *)without + offset);
        gap_add(list, other, gap->messages, gap->bytes, gap->reason);
        context_unref(without);
    } else if (gap->context->count > 1) {
        return; /* no memory: it is reported with one id too many */
    }
    gap_remove(list, gap);
}

static void
forget_gaps(struct gap_list *list, const struct subscription *subscription,
    size_t offset)
{
    struct gap *gap = TAILQ_FIRST(list);
    while (gap != NULL) {
        struct gap *next = TAILQ_NEXT(gap, link);
        if (context_has(gap->context, subscription)) {
            forget_gap(list, gap, subscription, offset);
        }
        gap = next;
    }
}

/* The i-th segment is for the subscription too: take it out of the books and
 * off the context. False if the segment is for nobody else and must go. */
static bool
forget_segment(struct output *output, struct segment *segment,
    struct subscription *subscription)
{
    struct context *context = segment->context;
    struct context *without = context_without(context, subscription);
    if (without == NULL && context->count > 1) {
        /* No memory for the smaller set: the others lose it too, and are told
         * so under the old context, whose frame names them. */
        if (!is_gap(segment)) {
            context_enter_dropped(context, segment->messages, DROP_MEMORY);
            gap_add(&output->leading, &context->leading, segment->messages,
                segment->bytes, BROKER_GAP_MEMORY);
        }
        return false;
    }
    if (!is_gap(segment)) {
        subscription->books.queued -= segment->messages;
        subscription->books.dropped[DROP_CLOSED] += segment->messages;
    }
    if (without == NULL) {
        return false;
    }
    context_unref(context);
    segment->context = without;
    return true;
}

void
output_forget(struct output *output, struct subscription *subscription)
{
    forget_gaps(
        &output->leading, subscription, offsetof(struct context, leading));
    forget_gaps(
        &output->trailing, subscription, offsetof(struct context, trailing));
    uint32_t kept = 0;
    for (uint32_t i = 0; i < output->count; i++) {
        struct segment *segment = at(output, i);
        if (!context_has(segment->context, subscription) ||
            forget_segment(output, segment, subscription)) {
            *at(output, kept++) = *segment;
            continue;
        }
        output->bytes -= sizeof *segment;
        if (is_gap(segment)) {
            output->holes -= segment->messages == 0 ? 1 : 0;
        } else {
            output->dropped += segment->messages;
            output->bytes -= segment->bytes;
            output->messages -= segment->messages;
            block_unref(segment->block);
        }
        context_unref(segment->context);
    }
    output->count = kept;
    output->kept = output->settled = 0;
    count_pinned(output);
}

void
output_drop_data(struct output *output)
{
    while (output->count > 0) {
        struct segment *segment = at(output, 0);
        struct context *context = segment->context;
        if (!is_gap(segment)) {
            output->dropped += segment->messages;
            context_enter_dropped(context, segment->messages, DROP_CLOSED);
        }
        ring_pop(output);
        context_unref(context);
    }
    ring_free_if_empty(output);
    while (!TAILQ_EMPTY(&output->leading)) {
        gap_remove(&output->leading, TAILQ_FIRST(&output->leading));
    }
    while (!TAILQ_EMPTY(&output->trailing)) {
        gap_remove(&output->trailing, TAILQ_FIRST(&output->trailing));
    }
    block_unref(output->compacted);
    output->compacted = NULL;
}

void
output_fini(struct output *output)
{
    output_drop_data(output);
    block_unref(output->rest_block);
    output->rest_block = NULL;
    output->rest_bytes = 0;
    context_unref(output->wire_context);
    output->wire_context = NULL;
    buffer_fini(&output->control);
}
