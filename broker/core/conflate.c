/* SPDX-License-Identifier: MIT
 *
 * Only the newest of each topic; see conflate.h. */
#include "conflate.h"

#include "output_ring.h"
#include "same.h"
#include "subscription.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64u
#define SLOTS_MAX (1u << 27)
/* A pass is due once this part of what it has to look at is new. */
#define NEW_PART 4u

/* A topic, known by a message of it that stays. All messages behind that one
 * stay too; those before it go where they may. Which is the newest, unless one
 * that may not go, or is for other subscriptions, stands before that. */
struct slot {
    uint32_t tag; /* of the topic's hash; 0: the slot is empty */
    uint32_t segment, offset;
};

/* The pool's memory, so that a pass counts as part of what is allowed. Frames
 * stay where they are until the pass is complete. */
struct pass {
    struct output *output;
    struct block *block; /* that the slots are in */
    struct slot *slots;
    uint32_t slot_count; /* a power of two */
    uint32_t used;
    uint64_t seed;
    const uint8_t *last_frame; /* that was looked up, with its slot; or NULL */
    uint32_t last;
};

/* ---- when ---------------------------------------------------------------- */

static uint64_t
messages_so_far(const struct output *output)
{
    return output->delivered + output->dropped + output->messages;
}

/* A pass looks at every message in the queue a fixed number of times, and at
 * every segment. Let w be the number of both. It is due if
 * - w/4 messages have come since the last one: that is four for each; or
 * - a quarter of the bytes in the queue has. A message has at least 17 bytes
 *   and a segment costs 48, so w is less than a twelfth of all bytes, and that
 *   is a third for each new byte.
 * What has come counts for one pass only, so whatever comes, and whatever else
 * leaves the queue, all passes together cost a constant time for each message
 * and byte. The first rule is for a few large values and many small changes,
 * the second for many small values and a few large changes: if what stays is
 * less than three quarters of the queue, one of them is true by the time that
 * the rest is full again.
 *
 * What was sent since is not known in bytes. Then more have come than it seems,
 * and what was there last may be gone: the second rule is true too seldom. But
 * where much was sent the first is true. */
bool
conflate_is_due(const struct output *output)
{
    uint64_t work = output->messages + output->count;
    uint64_t messages = messages_so_far(output);
    return output->bytes >=
               output->conflated_bytes + output->bytes / NEW_PART ||
           messages >= output->conflated_messages + work / NEW_PART;
}

static void
note_done(struct output *output)
{
    output->conflated_bytes = output->bytes;
    output->conflated_messages = messages_so_far(output);
}

/* ---- the topics ---------------------------------------------------------- */

static struct broker_bytes
topic_of(const uint8_t *frame)
{
    return (struct broker_bytes){
        wire_publish_topic(frame), wire_publish_topic_bytes(frame)};
}

static bool
same_topic(const uint8_t *a, const uint8_t *b)
{
    struct broker_bytes left = topic_of(a);
    struct broker_bytes right = topic_of(b);
    return left.len == right.len && same_bytes(left.data, right.data, left.len);
}

static bool
reserve_slots(struct pass *pass, uint32_t count)
{
    if (count > SLOTS_MAX) {
        return false;
    }
    size_t bytes = count * sizeof(struct slot);
    struct block *block = block_new_from_reserve(pass->output->pool, bytes);
    if (block == NULL) {
        return false;
    }
    struct slot *slots = memset(block->data, 0, bytes);
    for (uint32_t i = 0; i < pass->slot_count; i++) {
        uint32_t at = pass->slots[i].tag >> 1 & (count - 1);
        if (pass->slots[i].tag == 0) {
            continue;
        }
        while (slots[at].tag != 0) {
            at = (at + 1) & (count - 1);
        }
        slots[at] = pass->slots[i];
    }
    block_unref(pass->block);
    pass->block = block;
    pass->slots = slots;
    pass->slot_count = count;
    pass->last_frame = NULL;
    return true;
}

static bool
is_of_topic(
    const struct pass *pass, const struct slot *slot, const uint8_t *frame)
{
    const struct segment *segment = output_at(pass->output, slot->segment);
    return same_topic(segment->data + slot->offset, frame);
}

/* The slot of the frame's topic, or the empty one where it belongs, and then
 * the tag that it gets. Often it is that of the frame before. */
static struct slot *
find(struct pass *pass, const uint8_t *frame, uint32_t *tag)
{
    if (pass->last_frame != NULL && same_topic(pass->last_frame, frame)) {
        return &pass->slots[pass->last];
    }
    struct broker_bytes topic = topic_of(frame);
    *tag = (uint32_t)table_hash(topic.data, topic.len, pass->seed) | 1u;
    uint32_t at = *tag >> 1 & (pass->slot_count - 1);
    while (pass->slots[at].tag != 0 &&
           (pass->slots[at].tag != *tag ||
               !is_of_topic(pass, &pass->slots[at], frame))) {
        at = (at + 1) & (pass->slot_count - 1);
    }
    pass->last_frame = frame;
    pass->last = at;
    return &pass->slots[at];
}

/* ---- what stays ---------------------------------------------------------- */

static bool
is_conflatable(const struct segment *segment)
{
    return !segment_is_gap(segment) &&
           segment->context->overflow == BROKER_OVERFLOW_CONFLATE;
}

/* Is it for a subscription that messages are conflated for? */
static bool
concerns(const struct segment *segment)
{
    const struct context *context = segment->context;
    for (uint32_t i = 0; !segment_is_gap(segment) && i < context->count; i++) {
        if (context->members[i].subscription->own.overflow ==
            BROKER_OVERFLOW_CONFLATE) {
            return true;
        }
    }
    return false;
}

/* Does this message, which stands before the one of the slot, have to stay? */
static bool
has_to_stay(const struct pass *pass, const struct segment *segment,
    const struct slot *slot)
{
    const struct segment *newer = output_at(pass->output, slot->segment);
    return !is_conflatable(segment) ||
           !context_covers(newer->context, segment->context);
}

/* Enter the messages of the i-th segment; those behind it are entered. Within a
 * segment all are for the same subscriptions. */
static bool
enter_segment(struct pass *pass, uint32_t i)
{
    const struct segment *segment = output_at(pass->output, i);
    for (uint32_t pos = 0; pos < segment->bytes;) {
        const uint8_t *frame = segment->data + pos;
        uint32_t tag = 0;
        if (pass->used >= pass->slot_count / 2 &&
            !reserve_slots(pass, pass->slot_count * 2)) {
            return false;
        }
        struct slot *slot = find(pass, frame, &tag);
        if (slot->tag == 0) {
            *slot = (struct slot){tag, i, pos};
            pass->used++;
        } else if (slot->segment == i || has_to_stay(pass, segment, slot)) {
            slot->segment = i;
            slot->offset = pos;
        }
        pos += (uint32_t)wire_frame_bytes(frame);
    }
    return true;
}

static bool
enter_all(struct pass *pass)
{
    for (uint32_t i = pass->output->count; i-- > 0;) {
        if (concerns(output_at(pass->output, i)) && !enter_segment(pass, i)) {
            return false;
        }
    }
    return true;
}

static bool
stays(struct pass *pass, uint32_t segment, uint32_t offset)
{
    uint32_t tag;
    const uint8_t *frame = output_at(pass->output, segment)->data + offset;
    const struct slot *slot = find(pass, frame, &tag);
    return segment > slot->segment ||
           (segment == slot->segment && offset >= slot->offset);
}

/* ---- writing the queue anew ---------------------------------------------- */

/* The next run of messages of the i-th segment that stay, from `pos` on; NULL
 * if there is none. */
static const uint8_t *
next_run(struct pass *pass, uint32_t i, uint32_t *pos, struct segment *run)
{
    const struct segment *segment = output_at(pass->output, i);
    run->bytes = run->messages = 0;
    while (*pos < segment->bytes) {
        size_t len = wire_frame_bytes(segment->data + *pos);
        if (stays(pass, i, *pos)) {
            run->bytes += len;
            run->messages++;
        } else if (run->messages > 0) {
            break;
        }
        *pos += (uint32_t)len;
    }
    return run->messages == 0 ? NULL : segment->data + *pos - run->bytes;
}

/* Copy together what stays of the i-th segment: slices of a few messages each
 * could cost more than the messages that go. */
static bool
copy_runs(struct pass *pass, uint32_t i, struct segment *planned)
{
    struct block *block =
        output_reserve_compacted(pass->output, (size_t)planned->bytes);
    if (block == NULL) {
        return false;
    }
    struct segment run;
    const uint8_t *data;
    uint32_t pos = 0;
    planned->block = block_ref(block);
    planned->data = block->data + block->fill;
    while ((data = next_run(pass, i, &pos, &run)) != NULL) {
        memcpy(block->data + block->fill, data, (size_t)run.bytes);
        block->fill += (uint32_t)run.bytes;
    }
    return true;
}

/* What becomes of the i-th segment, which keeps its place even if nothing of it
 * stays. If something does it has a reference to its block; that to the context
 * is still the old one's. */
static bool
plan_segment(struct pass *pass, uint32_t i, struct segment *planned)
{
    const struct segment *segment = output_at(pass->output, i);
    *planned = *segment;
    if (segment_is_gap(segment)) {
        return true;
    }
    if (!is_conflatable(segment)) {
        block_ref(segment->block);
        return true;
    }
    struct segment run;
    const uint8_t *data;
    uint32_t pos = 0;
    uint32_t runs = 0;
    planned->bytes = planned->messages = 0;
    while ((data = next_run(pass, i, &pos, &run)) != NULL) {
        planned->data = data;
        planned->bytes += run.bytes;
        planned->messages += run.messages;
        runs++;
    }
    if (runs > 1) {
        return copy_runs(pass, i, planned);
    }
    if (runs == 1) {
        block_ref(segment->block);
    }
    return true;
}

static void
discard_plan(const struct segment *plan, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (plan[i].messages > 0) {
            block_unref(plan[i].block);
        }
    }
}

/* Enter what the i-th segment loses into the accounts, and let go of what it
 * no longer needs. False if nothing of it stays. */
static bool
enact_segment(struct output *output, uint32_t i, const struct segment *planned)
{
    const struct segment *old = output_at(output, i);
    struct context *context = old->context;
    uint64_t messages = old->messages - planned->messages;
    uint64_t bytes = old->bytes - planned->bytes;
    if (messages > 0) {
        output->messages -= messages;
        output->bytes -= bytes;
        output->dropped += messages;
        context_enter_dropped(context, messages, DROP_CONFLATED);
        gap_add(&output->leading, &context->gaps[GAP_CONFLATED], messages,
            bytes, BROKER_GAP_CONFLATED);
    }
    block_unref(old->block);
    if (planned->messages > 0) {
        return true;
    }
    context_unref(context);
    output->bytes -= sizeof *old;
    return false;
}

static void
enact(struct output *output, struct segment *plan)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < output->count; i++) {
        if (!enact_segment(output, i, &plan[i])) {
            continue;
        }
        if (kept > 0 && segment_continues(&plan[kept - 1], &plan[i])) {
            segment_join(output, &plan[kept - 1], &plan[i]);
        } else {
            plan[kept++] = plan[i];
        }
    }
    output_replace_ring(output, plan, kept);
}

static bool
rewrite(struct pass *pass)
{
    struct output *output = pass->output;
    /* As large as the old one, which it takes the place of. */
    struct segment *plan = malloc(output->capacity * sizeof *plan);
    if (plan == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < output->count; i++) {
        if (!plan_segment(pass, i, &plan[i])) {
            discard_plan(plan, i);
            free(plan);
            return false;
        }
    }
    enact(output, plan);
    return true;
}

void
conflate(struct output *output)
{
    struct pass pass = {.output = output};
    if (output->count > 0) {
        pass.seed = output_at(output, 0)->context->table->seed;
        if (reserve_slots(&pass, SLOTS_MIN) && enter_all(&pass)) {
            (void)rewrite(&pass);
        }
        block_unref(pass.block);
    }
    note_done(output);
}
