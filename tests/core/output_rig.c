/* SPDX-License-Identifier: MIT
 *
 * The output on a test stand; see output_rig.h. */
#include "output_rig.h"

#include "output_check.h"
#include "wire.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOPIC_BYTES 6

struct rig *
rig_new(
    uint64_t max_bytes, const enum broker_overflow policies[RIG_SUBSCRIPTIONS])
{
    struct rig *rig = calloc(1, sizeof *rig);
    cr_assert_not_null(rig);
    rig->wire = malloc(RIG_WIRE_BYTES);
    rig->spans_max = 16;
    rig->block_bytes = BLOCK_POOL_BYTES;
    block_pool_init(&rig->pool, UINT64_MAX);
    output_init(&rig->output, &rig->pool, max_bytes);
    for (uint32_t i = 0; i < RIG_SUBSCRIPTIONS; i++) {
        rig->subscriptions[i].id = i + 1;
        context_init_own(
            &rig->contexts, &rig->subscriptions[i], 100 + i, policies[i]);
        rig->readers[i].conflates = policies[i] == BROKER_OVERFLOW_CONFLATE;
    }
    return rig;
}

struct rig *
rig_new_simple(uint64_t max_bytes, enum broker_overflow policy)
{
    const enum broker_overflow policies[RIG_SUBSCRIPTIONS] = {
        policy, policy, policy, policy};
    return rig_new(max_bytes, policies);
}

void
rig_free(struct rig *rig)
{
    output_fini(&rig->output);
    for (uint32_t i = 0; i < RIG_SUBSCRIPTIONS; i++) {
        const struct books *books = &rig->subscriptions[i].books;
        cr_assert_eq(rig->subscriptions[i].own.references, 1);
        cr_assert_eq(books->queued, 0);
        cr_assert_eq(books->matched, books->delivered + books_dropped(books));
    }
    block_unref(rig->block);
    cr_assert_eq(rig->pool.bytes_in_use, 0, "blocks are still referenced");
    cr_assert_eq(rig->contexts.contexts.count, 0, "contexts are left");
    block_pool_fini(&rig->pool);
    table_fini(&rig->contexts.contexts);
    free(rig->wire);
    free(rig);
}

void
rig_check(const struct rig *rig)
{
    const char *problem = output_check(&rig->output);
    cr_assert_null(problem, "%s", problem);
    for (uint32_t i = 0; i < RIG_SUBSCRIPTIONS; i++) {
        problem = output_check_books(&rig->output, &rig->subscriptions[i]);
        cr_assert_null(problem, "subscription %u: %s", i + 1, problem);
        cr_assert_eq(rig->subscriptions[i].books.matched, rig->readers[i].count,
            "matched of subscription %u", i + 1);
    }
}

/* ---- queueing ------------------------------------------------------------ */

void
rig_next_block(struct rig *rig)
{
    block_unref(rig->block);
    rig->block = block_new(&rig->pool, rig->block_bytes);
    cr_assert_not_null(rig->block);
}

/* Write one PUBLISH whose payload is the message's number and a pattern. */
static size_t
put_frame(struct rig *rig, size_t payload_bytes)
{
    uint8_t *payload = malloc(payload_bytes);
    uint32_t number = rig->frame_count;
    cr_assert_lt(number, RIG_MESSAGES);
    char topic[TOPIC_BYTES + 1];
    (void)snprintf(topic, sizeof topic, "t/%04u", rig->topic % RIG_TOPICS);
    rig->topics[number] = rig->topic % RIG_TOPICS;
    memset(payload, (int)(number % 251), payload_bytes);
    memcpy(payload, &number, sizeof number);
    struct broker_publish publish = {.id = number + 1,
        .topic = {(const uint8_t *)topic, TOPIC_BYTES},
        .payload = {payload, payload_bytes}};
    size_t size = broker_publish_size(&publish);
    uint8_t *dst = rig->block->data + rig->block->fill;
    cr_assert_eq(
        broker_publish_encode(&publish, dst, block_room(rig->block), &size),
        BROKER_OK);
    rig->block->fill += (uint32_t)size;
    rig->frames[rig->frame_count++] = dst;
    free(payload);
    return size;
}

static struct context *
context_of_mask(struct rig *rig, uint32_t mask)
{
    struct subscription *set[RIG_SUBSCRIPTIONS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < RIG_SUBSCRIPTIONS; i++) {
        if ((mask >> i & 1) != 0) {
            cr_assert_not(rig->readers[i].ended);
            set[count++] = &rig->subscriptions[i];
        }
    }
    struct context *context = context_get(&rig->contexts, set, count, false);
    cr_assert_not_null(context);
    return context;
}

static struct output_run
make_run(struct rig *rig, uint32_t mask, uint32_t n, size_t payload_bytes)
{
    size_t most = n * (payload_bytes + BROKER_HEADER_BYTES + 4 + TOPIC_BYTES);
    if (rig->block == NULL || block_room(rig->block) < most) {
        rig_next_block(rig);
    }
    struct output_run run = {.block = rig->block,
        .data = rig->block->data + rig->block->fill,
        .messages = n};
    for (uint32_t m = 0; m < n; m++) {
        for (uint32_t i = 0; i < RIG_SUBSCRIPTIONS; i++) {
            if ((mask >> i & 1) != 0) {
                struct rig_reader *reader = &rig->readers[i];
                reader->matched[reader->count++] = rig->frame_count;
            }
        }
        run.bytes += put_frame(rig, payload_bytes);
    }
    return run;
}

enum output_result
rig_append(struct rig *rig, uint32_t mask, uint32_t n, size_t payload_bytes)
{
    struct context *context = context_of_mask(rig, mask);
    struct output_run run = make_run(rig, mask, n, payload_bytes);
    if (rig->guard != NULL) {
        rig->guard(true);
    }
    enum output_result result = output_append(&rig->output, context, &run);
    if (rig->guard != NULL) {
        rig->guard(false);
    }
    context_unref(context);
    rig_check(rig);
    return result;
}

void
rig_refuse(struct rig *rig, uint32_t mask, uint32_t n, size_t payload_bytes,
    enum broker_gap_reason reason)
{
    struct context *context = context_of_mask(rig, mask);
    struct output_run run = make_run(rig, mask, n, payload_bytes);
    output_refuse(&rig->output, context, &run, reason, DROP_TOO_LARGE);
    context_unref(context);
    rig_check(rig);
}

void
rig_control(struct rig *rig, uint32_t id)
{
    struct broker_ping ping = {.id = id};
    size_t size = broker_ping_size(&ping);
    uint8_t *dst = buffer_reserve(output_control(&rig->output), size);
    cr_assert_not_null(dst);
    cr_assert_eq(broker_ping_encode(&ping, dst, size, &size), BROKER_OK);
    buffer_commit(output_control(&rig->output), size);
    rig_check(rig);
}

void
rig_forget(struct rig *rig, uint32_t i)
{
    output_forget(&rig->output, &rig->subscriptions[i]);
    cr_assert_eq(rig->subscriptions[i].books.queued, 0);
    rig->readers[i].ended = true;
    rig_check(rig);
}

/* ---- the reader ---------------------------------------------------------- */

static uint32_t
mask_of(struct broker_ids ids)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < ids.count; i++) {
        uint32_t id = broker_ids_get(ids, i);
        cr_assert(id >= 1 && id <= RIG_SUBSCRIPTIONS);
        cr_assert_eq(mask >> (id - 1) & 1, 0, "an id twice");
        mask |= 1u << (id - 1);
    }
    return mask;
}

/* Where in what the reader has still to get is this message? Else its count. */
static uint32_t
place_of(const struct rig_reader *reader, uint32_t number)
{
    uint32_t at = reader->next;
    while (at < reader->count && reader->matched[at] != number) {
        at++;
    }
    return at;
}

static void
read_conflated(struct rig *rig, struct rig_reader *reader, uint32_t number)
{
    uint32_t at = place_of(reader, number);
    uint32_t topic = rig->topics[number];
    uint64_t of_topic = 0;
    cr_assert_lt(at, reader->count, "message %u comes late or twice", number);
    reader->passed += at - reader->next;
    cr_assert_leq(reader->passed, reader->missing,
        "message %u comes before a gap that should be before it", number);
    for (uint32_t i = reader->last_of[topic]; i < at; i++) {
        of_topic += rig->topics[reader->matched[i]] == topic;
    }
    cr_assert_leq(of_topic, reader->missing - reader->missing_at[topic],
        "message %u: a gap in its topic was reported too early", number);
    reader->next = reader->last_of[topic] = at + 1;
    reader->missing_at[topic] = reader->missing;
    reader->came[number] = true;
    reader->received++;
}

static void
read_publish(struct rig *rig, const struct broker_frame *frame)
{
    struct broker_publish publish;
    cr_assert_eq(broker_publish_decode(frame, &publish), BROKER_OK);
    uint32_t number;
    memcpy(&number, publish.payload.data, sizeof number);
    cr_assert_lt(number, rig->frame_count);
    cr_assert_neq(rig->context_mask, 0, "PUBLISH before any CONTEXT");
    for (uint32_t i = 0; i < RIG_SUBSCRIPTIONS; i++) {
        struct rig_reader *reader = &rig->readers[i];
        bool is_next = reader->next < reader->count &&
                       reader->matched[reader->next] == number;
        bool named = (rig->context_mask >> i & 1) != 0;
        if (named && reader->conflates) {
            read_conflated(rig, reader, number);
        } else if (named) {
            cr_assert(is_next, "message %u is not next for subscription %u",
                number, i + 1);
            reader->next++;
            reader->received++;
        } else {
            is_next |=
                reader->conflates && place_of(reader, number) < reader->count;
            cr_assert(!is_next || reader->ended,
                "message %u came without subscription %u", number, i + 1);
        }
    }
}

static void
read_gap(struct rig *rig, const struct broker_frame *frame)
{
    struct broker_gap gap;
    cr_assert_eq(broker_gap_decode(frame, &gap), BROKER_OK);
    uint32_t mask = mask_of(gap.ids);
    for (uint32_t i = 0; i < RIG_SUBSCRIPTIONS; i++) {
        struct rig_reader *reader = &rig->readers[i];
        if ((mask >> i & 1) == 0) {
            continue;
        }
        bool conflated = gap.reason == BROKER_GAP_CONFLATED;
        cr_assert_leq(gap.count, reader->count - reader->next);
        cr_assert(reader->conflates || !conflated);
        reader->next += reader->conflates ? 0 : (uint32_t)gap.count;
        reader->missing += gap.count;
        reader->conflated += conflated ? gap.count : 0;
    }
    rig->gap_frames++;
}

static void
read_frame(struct rig *rig, const struct broker_frame *frame)
{
    struct broker_context context;
    switch (frame->type) {
    case BROKER_FRAME_PUBLISH:
        read_publish(rig, frame);
        break;
    case BROKER_FRAME_CONTEXT:
        cr_assert_eq(broker_context_decode(frame, &context), BROKER_OK);
        rig->context_mask = mask_of(context.ids);
        rig->context_frames++;
        break;
    case BROKER_FRAME_GAP:
        read_gap(rig, frame);
        break;
    default:
        cr_assert_eq(frame->type, BROKER_FRAME_PING);
        rig->control_frames++;
        break;
    }
}

static void
read_wire(struct rig *rig)
{
    static const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    while (rig->decoded_bytes < rig->wire_bytes) {
        struct broker_frame frame;
        size_t n;
        enum broker_status status =
            broker_frame_decode(&limits, rig->wire + rig->decoded_bytes,
                rig->wire_bytes - rig->decoded_bytes, &frame, &n);
        if (status == BROKER_MORE) {
            return;
        }
        cr_assert_eq(status, BROKER_OK, "%s", broker_status_name(status));
        read_frame(rig, &frame);
        rig->decoded_bytes += n;
    }
}

size_t
rig_take(struct rig *rig, size_t bytes)
{
    struct output_span spans[64];
    size_t count = output_spans(&rig->output, spans, rig->spans_max);
    cr_assert_leq(count, rig->spans_max);
    size_t taken = 0;
    for (size_t i = 0; i < count && taken < bytes; i++) {
        size_t n = spans[i].len < bytes - taken ? spans[i].len : bytes - taken;
        cr_assert_gt(spans[i].len, 0);
        cr_assert_leq(n, RIG_WIRE_BYTES - rig->wire_bytes);
        memcpy(rig->wire + rig->wire_bytes, spans[i].data, n);
        rig->wire_bytes += n;
        taken += n;
    }
    output_sent(&rig->output, taken);
    read_wire(rig);
    rig_check(rig);
    return taken;
}

void
rig_take_all(struct rig *rig, size_t step)
{
    while (!output_is_empty(&rig->output)) {
        cr_assert_gt(rig_take(rig, step), 0, "nothing to send, but not empty");
    }
    cr_assert_eq(rig_take(rig, step), 0);
}

/* All that is missing was reported; and where the newest of a topic did not
 * come, it was not said that there is a newer one. */
static void
finish_conflated(const struct rig *rig, struct rig_reader *reader)
{
    bool seen[RIG_TOPICS] = {false};
    uint64_t lost = 0;
    for (uint32_t i = reader->count; i-- > 0;) {
        uint32_t number = reader->matched[i];
        lost += !seen[rig->topics[number]] && !reader->came[number] ? 1 : 0;
        seen[rig->topics[number]] = true;
    }
    reader->passed += reader->count - reader->next;
    reader->next = reader->count;
    cr_assert_eq(reader->passed, reader->missing);
    cr_assert_leq(lost, reader->missing - reader->conflated,
        "the newest of %llu topics did not come", (unsigned long long)lost);
}

void
rig_finish(struct rig *rig)
{
    rig_take_all(rig, SIZE_MAX);
    cr_assert_eq(rig->decoded_bytes, rig->wire_bytes, "half a frame is left");
    for (uint32_t i = 0; i < RIG_SUBSCRIPTIONS; i++) {
        struct rig_reader *reader = &rig->readers[i];
        const struct books *books = &rig->subscriptions[i].books;
        if (!reader->ended && reader->conflates) {
            finish_conflated(rig, reader);
            cr_assert_eq(books->dropped[DROP_CONFLATED], reader->conflated);
        }
        if (!reader->ended) {
            cr_assert_eq(reader->next, reader->count,
                "subscription %u: %u of %u messages", i + 1, reader->next,
                reader->count);
            cr_assert_eq(books_dropped(books), reader->missing);
        }
        cr_assert_eq(books->delivered, reader->received);
    }
    cr_assert_eq(rig->output.pinned_bytes, 0);
}
