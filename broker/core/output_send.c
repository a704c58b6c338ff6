/* SPDX-License-Identifier: MIT
 *
 * The sending side of an output queue: what comes next, and what the socket
 * took of it. CONTEXT and GAP frames come into being here. See output.h. */
#include "output.h"

#include "output_ring.h"
#include "subscription.h"
#include "wire.h"

#include <assert.h>
#include <string.h>

/* The rest of a cut frame up to this size is copied rather than pinned. */
#define REST_COPY_MAX (16u * 1024u)
/* No more GAP frames wait to be sent than this: a gap that is not yet reported
 * goes on merging with what is lost after it. */
#define GAP_BYTES_MAX (64u * 1024u)
/* Contexts are fetched so many segments before they are needed. */
#define FETCH_AHEAD    8
#define SPAN_BYTES_MAX (1024u * 1024u) /* enough for one turn and connection */

/* Encode a GAP frame into the control lane: once it is the next thing to be
 * sent, it can no longer change. */
static bool
report_gap(struct output *output, const struct context *context,
    uint64_t messages, uint64_t bytes, enum broker_gap_reason reason)
{
    struct broker_gap gap = {.reason = reason,
        .count = messages,
        .bytes = bytes,
        .ids = {context->frame + BROKER_HEADER_BYTES,
            (context->frame_bytes - BROKER_HEADER_BYTES) / 4}};
    if (buffer_len(&output->control) > GAP_BYTES_MAX) {
        return false;
    }
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
        if (!report_gap(output, gap_context(gap), gap->messages, gap->bytes,
                gap->reason)) {
            return false;
        }
        gap_remove(list, gap);
    }
    return true;
}

/* Report every gap whose turn has come. Without memory, or behind many others,
 * they wait. */
static bool
report_gaps(struct output *output)
{
    if (!report_list(output, &output->leading)) {
        return false;
    }
    while (output->count > 0 && segment_is_gap(output_at(output, 0))) {
        struct segment *gap = output_at(output, 0);
        if (gap->messages > 0 && !report_gap(output, gap->context,
                                     gap->messages, gap->bytes, gap->reason)) {
            return false;
        }
        struct context *context = gap->context;
        output_pop(output);
        context_unref(context);
    }
    if (output->count == 0) {
        output_free_ring_if_empty(output);
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
        const struct segment *segment = output_at(output, i);
        if (segment_is_gap(segment)) {
            break; /* reported when it is the first */
        }
        if (i + FETCH_AHEAD < output->count) {
            context_fetch(output_at(output, i + FETCH_AHEAD)->context);
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
    struct segment *segment = output_at(output, 0);
    size_t end = 0;
    uint64_t messages = 0;
    while (end < taken) {
        messages += wire_is_publish(segment->data + end) ? 1 : 0;
        end += wire_frame_bytes(segment->data + end);
    }
    if (end > taken) {
        keep_rest(output, segment->block, segment->data + taken, end - taken);
    }
    output->delivered += messages;
    context_enter_delivered(segment->context, messages);
    if (end == segment->bytes) {
        struct context *context = segment->context;
        output_pop(output);
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
    struct segment *segment = output_at(output, 0);
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
    output_pop(output);
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
        output_free_ring_if_empty(output);
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
