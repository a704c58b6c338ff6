/* SPDX-License-Identifier: MIT
 *
 * The output queue of one connection: queueing, dropping, ending; see output.h.
 * What is sent when stands in output_send.c. */
#include "output.h"

#include "conflate.h"
#include "output_ring.h"
#include "subscription.h"
#include "wire.h"

/* Compact when segments keep this much more than four times their bytes. */
#define PINNED_SLACK (1024u * 1024u)

void
output_init(struct output *output, struct block_pool *pool, uint64_t max_bytes)
{
    *output = (struct output){.pool = pool, .max_bytes = max_bytes};
    TAILQ_INIT(&output->leading);
    TAILQ_INIT(&output->trailing);
}

/* ---- gaps ---------------------------------------------------------------- */

/* Put a pending trailing gap into the ring, because something comes after it.
 * False if memory is out; then it stays pending. */
static bool
gap_settle(struct output *output, struct gap *gap)
{
    struct segment *segment = output_push(output);
    if (segment == NULL) {
        return false;
    }
    *segment = (struct segment){.context = context_ref(gap_context(gap)),
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
    struct gap *gap = &context->gaps[GAP_TRAILING];
    if (gap->messages > 0 && gap->reason != reason) {
        /* Without memory for another record they share one reason. */
        (void)gap_settle(output, gap);
    }
    gap_add(&output->trailing, gap, run->messages, run->bytes, reason);
}

/* ---- dropping ------------------------------------------------------------ */

static bool
is_message_of(const struct segment *segment, enum broker_overflow policy)
{
    return !segment_is_gap(segment) && segment->context->overflow == policy;
}

/* Drop frames off the front of the first segment until `needed` bytes are gone
 * or all but one frame are. */
static void
drop_front_frames(struct output *output, uint64_t needed)
{
    struct segment *segment = output_at(output, 0);
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
    gap_add(&output->leading, &segment->context->gaps[GAP_LEADING], messages,
        bytes, BROKER_GAP_OVERFLOW);
}

static void
drop_first(struct output *output, uint64_t needed)
{
    struct segment *segment = output_at(output, 0);
    if (segment->bytes > needed && segment->messages > 1) {
        drop_front_frames(output, needed);
        return;
    }
    struct context *context = segment->context;
    output->dropped += segment->messages;
    context_enter_dropped(context, segment->messages, DROP_OVERFLOW);
    gap_add(&output->leading, &context->gaps[GAP_LEADING], segment->messages,
        segment->bytes, BROKER_GAP_OVERFLOW);
    output_pop(output);
    context_unref(context);
}

/* Turn the i-th segment into a gap in its place, together with the gap of the
 * same context directly before it, if there is one. */
static void
drop_in_place(struct output *output, uint32_t i)
{
    struct segment *segment = output_at(output, i);
    struct segment *before = output_at(output, i - 1);
    output->dropped += segment->messages;
    context_enter_dropped(segment->context, segment->messages, DROP_OVERFLOW);
    output_unpin(output, i);
    output->bytes -= segment->bytes;
    output->messages -= segment->messages;
    block_unref(segment->block);
    segment->block = NULL;
    segment->reason = BROKER_GAP_OVERFLOW;
    if (segment_is_gap(before) && before->context == segment->context &&
        before->messages > 0 && before->reason == BROKER_GAP_OVERFLOW) {
        segment->messages += before->messages;
        segment->bytes += before->bytes;
        before->messages = before->bytes = 0;
        output->holes++;
    }
}

/* Drop the oldest messages of this policy until `bytes` more fit into the
 * limit. Those before *place are known to be of others. */
static bool
drop_oldest(struct output *output, enum broker_overflow policy, uint32_t *place,
    uint64_t bytes, uint64_t limit)
{
    while (output->bytes + bytes > limit) {
        while (*place < output->count &&
               !is_message_of(output_at(output, *place), policy)) {
            (*place)++;
        }
        if (*place == output->count) {
            output_remove_holes(output);
            return output->bytes + bytes <= limit;
        }
        uint64_t before = output->bytes;
        if (*place == 0) {
            drop_first(output, output->bytes + bytes - limit);
        } else {
            drop_in_place(output, (*place)++);
        }
        uint64_t dropped = before - output->bytes;
        output->conflated_bytes -= dropped < output->conflated_bytes
                                       ? dropped
                                       : output->conflated_bytes;
    }
    return true;
}

static bool
make_room_by_conflating(struct output *output, uint64_t bytes, uint64_t limit)
{
    if (conflate_is_due(output)) {
        conflate(output);
    }
    return output->bytes + bytes <= limit;
}

/* Let `bytes` more fit, if the policy is to drop others for it. What was
 * conflated is the newest of its topic, and goes last. */
static bool
make_room(struct output *output, enum broker_overflow policy, uint64_t bytes)
{
    uint64_t limit = output_limit(output);
    bool conflates = policy == BROKER_OVERFLOW_CONFLATE;
    if (!conflates && policy != BROKER_OVERFLOW_DROP_OLDEST) {
        return false;
    }
    if (conflates && make_room_by_conflating(output, bytes, limit)) {
        return true;
    }
    return drop_oldest(output, BROKER_OVERFLOW_DROP_OLDEST, &output->kept,
               bytes, limit) ||
           (!conflates && make_room_by_conflating(output, bytes, limit)) ||
           drop_oldest(output, BROKER_OVERFLOW_CONFLATE, &output->unconflated,
               bytes, limit);
}

/* ---- queueing ------------------------------------------------------------ */

static bool
extend_last(struct output *output, struct context *context,
    const struct output_run *run)
{
    if (output->count == 0) {
        return false;
    }
    struct segment *last = output_at(output, output->count - 1);
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
    struct segment *segment = output_push(output);
    if (segment == NULL) {
        return false;
    }
    *segment = (struct segment){.context = context_ref(context),
        .block = block_ref(run->block),
        .data = run->data,
        .bytes = run->bytes,
        .messages = run->messages};
    output_pin(output, segment);
    return true;
}

void
output_refuse(struct output *output, struct context *context,
    const struct output_run *run, enum broker_gap_reason reason,
    enum drop_reason why)
{
    output->dropped += run->messages;
    output->refused += run->messages;
    context_enter_refused(context, run->messages, why);
    add_trailing(output, context, run, reason);
}

static enum output_result
overflow(struct output *output, struct context *context,
    const struct output_run *run)
{
    bool tight = output_limit(output) < output->max_bytes;
    output_refuse(output, context, run,
        tight ? BROKER_GAP_MEMORY : BROKER_GAP_OVERFLOW,
        tight ? DROP_MEMORY : DROP_OVERFLOW);
    return context->overflow == BROKER_OVERFLOW_DISCONNECT ? OUTPUT_DISCONNECT
                                                           : OUTPUT_REFUSED;
}

enum output_result
output_append(struct output *output, struct context *context,
    const struct output_run *run)
{
    if (!output_fits(output, run->bytes) &&
        !make_room(
            output, context->overflow, run->bytes + sizeof(struct segment))) {
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
    uint64_t slack = block_pool_is_tight(output->pool) ? 0 : PINNED_SLACK;
    if (output->pinned_bytes > output->bytes * 4 + slack) {
        output_compact(output);
        if (output->pinned_bytes > output->bytes * 2 + slack / 2) {
            /* What was compacted before has become wasteful since. */
            output->settled = 0;
            output_compact(output);
        }
    }
    return OUTPUT_QUEUED;
}

/* ---- ending -------------------------------------------------------------- */

static bool
list_has(const struct gap_list *list, const struct subscription *subscription)
{
    const struct gap *gap;
    TAILQ_FOREACH(gap, list, link)
    {
        if (context_has(gap_context(gap), subscription)) {
            return true;
        }
    }
    return false;
}

bool
output_owes(
    const struct output *output, const struct subscription *subscription)
{
    if (subscription->books.queued > 0 ||
        list_has(&output->leading, subscription) ||
        list_has(&output->trailing, subscription)) {
        return true;
    }
    for (uint32_t i = 0; i < output->count; i++) {
        const struct segment *segment = output_at(output, i);
        /* A gap, or frames of a stream without a message among them. */
        if ((segment_is_gap(segment) ? segment->messages > 0
                                     : segment->messages == 0) &&
            context_has(segment->context, subscription)) {
            return true;
        }
    }
    return false;
}

/* Let a gap be reported without the subscription. */
static void
forget_gap(struct gap_list *list, struct gap *gap,
    const struct subscription *subscription)
{
    struct context *without = context_without(gap_context(gap), subscription);
    if (without != NULL) {
        gap_add(list, &without->gaps[gap->kind], gap->messages, gap->bytes,
            gap->reason);
        context_unref(without);
    } else if (gap_context(gap)->count > 1) {
        return; /* no memory: shrink_contexts */
    }
    gap_remove(list, gap);
}

static void
forget_gaps(struct gap_list *list, const struct subscription *subscription)
{
    struct gap *gap = TAILQ_FIRST(list);
    while (gap != NULL) {
        struct gap *next = TAILQ_NEXT(gap, link);
        if (context_has(gap_context(gap), subscription)) {
            forget_gap(list, gap, subscription);
        }
        gap = next;
    }
}

/* context_without, looked up once for each set and not for each segment. What
 * is remembered is alive: a segment of this queue refers to it by now. */
static struct context *
smaller_set(struct context *context, const struct subscription *subscription)
{
    if (context->forgot_serial == subscription->self.serial) {
        return context->forgot == NULL ? NULL : context_ref(context->forgot);
    }
    context->forgot = context_without(context, subscription);
    context->forgot_serial = subscription->self.serial;
    return context->forgot;
}

/* The i-th segment is for the subscription too: take it out of the books and
 * off the context. False if the segment is for nobody else and must go. */
static bool
forget_segment(struct segment *segment, struct subscription *subscription)
{
    struct context *context = segment->context;
    struct context *without = smaller_set(context, subscription);
    if (!segment_is_gap(segment)) {
        subscription->books.queued -= segment->messages;
        subscription->books.dropped[DROP_CLOSED] += segment->messages;
    }
    if (without == NULL) {
        return context->count > 1; /* no memory: shrink_contexts */
    }
    context_unref(context);
    segment->context = without;
    return true;
}

static void
shrink_context(struct output *output, struct context *context,
    const struct subscription *subscription)
{
    if (!context_has(context, subscription)) {
        return;
    }
    bool wire = context == output->wire_context;
    /* The rest of its own frame may be on its way: then the frame has to stay
     * as it is, and names one id too many. */
    bool frame_is_cut =
        wire && output->rest_bytes > 0 && output->rest_block == NULL;
    context_shrink(context, subscription, !frame_is_cut);
    if (wire && !frame_is_cut) {
        context_unref(context);
        output->wire_context = NULL; /* it is sent anew */
    }
}

/* Where there was no memory for the smaller set, the set itself is made
 * smaller: all who still refer to it are in this queue. */
static void
shrink_contexts(struct output *output, const struct subscription *subscription)
{
    struct gap *gap;
    TAILQ_FOREACH(gap, &output->leading, link)
    {
        shrink_context(output, gap_context(gap), subscription);
    }
    TAILQ_FOREACH(gap, &output->trailing, link)
    {
        shrink_context(output, gap_context(gap), subscription);
    }
    for (uint32_t i = 0; i < output->count; i++) {
        shrink_context(output, output_at(output, i)->context, subscription);
    }
}

void
output_forget(struct output *output, struct subscription *subscription)
{
    forget_gaps(&output->leading, subscription);
    forget_gaps(&output->trailing, subscription);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < output->count; i++) {
        struct segment *segment = output_at(output, i);
        if (!context_has(segment->context, subscription) ||
            forget_segment(segment, subscription)) {
            *output_at(output, kept++) = *segment;
            continue;
        }
        output->bytes -= sizeof *segment;
        if (segment_is_gap(segment)) {
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
    output_forget_places(output);
    output_count_pinned(output);
    shrink_contexts(output, subscription);
}

uint64_t
output_unreported(const struct output *output)
{
    uint64_t messages = 0;
    const struct gap *gap;
    TAILQ_FOREACH(gap, &output->leading, link)
    {
        messages += gap->messages;
    }
    TAILQ_FOREACH(gap, &output->trailing, link)
    {
        messages += gap->messages;
    }
    for (uint32_t i = 0; i < output->count; i++) {
        const struct segment *segment = output_at(output, i);
        messages += segment_is_gap(segment) ? segment->messages : 0;
    }
    return messages;
}

void
output_shed(struct output *output)
{
    while (output->count > 0) {
        struct segment *segment = output_at(output, 0);
        struct context *context = segment->context;
        if (!segment_is_gap(segment)) {
            output->dropped += segment->messages;
            context_enter_dropped(context, segment->messages, DROP_MEMORY);
        }
        if (segment->messages > 0) {
            gap_add(&output->leading, &context->gaps[GAP_LEADING],
                segment->messages, segment->bytes, BROKER_GAP_MEMORY);
        }
        output_pop(output);
        context_unref(context);
    }
    output_free_ring_if_empty(output);
    block_unref(output->compacted);
    output->compacted = NULL;
}

void
output_drop_data(struct output *output)
{
    while (output->count > 0) {
        struct segment *segment = output_at(output, 0);
        struct context *context = segment->context;
        if (!segment_is_gap(segment)) {
            output->dropped += segment->messages;
            context_enter_dropped(context, segment->messages, DROP_CLOSED);
        }
        output_pop(output);
        context_unref(context);
    }
    output_free_ring_if_empty(output);
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
