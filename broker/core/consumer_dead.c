/* SPDX-License-Identifier: MIT
 *
 * Dead letters of durable consumers; see consumers.h. One at a time for each
 * consumer: it is fetched, stored together with the cursor if its topic is
 * captured, and routed. */
#include "consumers_internal.h"

#include "session.h"
#include "wire.h"

#include <stdio.h>
#include <string.h>

#define HEADERS_BYTES 2048u /* of those that are added, names included */
#define FIELDS_MAX    65535u

/* ---- making it ----------------------------------------------------------- */

struct fields {
    uint8_t *dst;
    size_t pos, cap;
    bool failed;
};

static void
put_header(
    struct fields *fields, const char *key, const void *value, size_t len)
{
    struct broker_bytes name = {(const uint8_t *)key, strlen(key)};
    struct broker_bytes bytes = {value, len};
    fields->failed |= broker_header_put(fields->dst, fields->cap, &fields->pos,
                          name, bytes) != BROKER_OK;
}

static void
put_number(struct fields *fields, const char *key, uint64_t number)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    put_header(fields, key, text, (size_t)len);
}

/* What was said to the broker about storing it has been done. */
static void
put_original(struct fields *fields, struct broker_bytes rest)
{
    struct broker_tlv field;
    while (broker_tlv_next(&rest, &field) == BROKER_OK) {
        if (field.tag == BROKER_TAG_DELIVER_AT ||
            field.tag == BROKER_TAG_EXPECTED_LAST_SEQUENCE) {
            continue;
        }
        fields->failed |= broker_tlv_put(fields->dst, fields->cap, &fields->pos,
                              field.tag, field.value) != BROKER_OK;
    }
}

static void
put_reasons(struct fields *fields, const struct cursor *cursor,
    struct broker_bytes topic)
{
    put_header(
        fields, "dead-letter-stream", cursor->stream.data, cursor->stream.len);
    put_number(fields, "dead-letter-sequence", cursor->dead.sequence);
    put_header(fields, "dead-letter-topic", topic.data, topic.len);
    put_number(fields, "dead-letter-deliveries", cursor->dead.deliveries);
    put_header(
        fields, "dead-letter-consumer", cursor->name.data, cursor->name.len);
}

static struct broker_bytes
dead_topic(const struct cursor *cursor)
{
    const struct consumer_topic *topic =
        &consumer_get_settings(cursor->state)->dead_topic;
    return (struct broker_bytes){topic->bytes, topic->len};
}

/* The frame, in a block of its own. Fields that leave no room for what is to be
 * said are left out. False: memory is out. */
static bool
make(struct cursor *cursor, const uint8_t *record, size_t bytes)
{
    struct broker_frame frame;
    struct broker_publish publish;
    uint8_t space[FIELDS_MAX];
    struct fields fields = {space, 0, sizeof space, false};
    const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    size_t n;
    if (broker_frame_decode(&limits, record, bytes, &frame, &n) != BROKER_OK ||
        broker_publish_decode(&frame, &publish) != BROKER_OK) {
        return false;
    }
    put_original(&fields, publish.headers);
    put_reasons(&fields, cursor, publish.topic);
    if (fields.failed) {
        fields = (struct fields){space, 0, sizeof space, false};
        put_reasons(&fields, cursor, publish.topic);
    }
    struct broker_publish dead = {.topic = dead_topic(cursor),
        .headers = {space, fields.pos},
        .payload = publish.payload};
    size_t size = broker_publish_size(&dead);
    if (size == 0) {
        cursor->trouble = "a dead letter would be larger than a frame may be";
    }
    struct block *block =
        size == 0 ? NULL : block_new(&cursor->consumers->core->pool, size);
    if (block == NULL ||
        broker_publish_encode(&dead, block->data, size, &n) != BROKER_OK) {
        block_unref(block);
        return false;
    }
    block->fill = (uint32_t)n;
    cursor->dead.frame = (struct output_run){
        .block = block, .data = block->data, .bytes = n, .messages = 1};
    return true;
}

/* ---- steps --------------------------------------------------------------- */

void
dead_drop(struct cursor *cursor)
{
    block_unref(cursor->dead.frame.block);
    cursor->dead = (struct dead_letter){.step = DEAD_NONE};
}

static void
fail(struct cursor *cursor, const char *trouble)
{
    cursor->trouble = trouble;
    consumer_dead_failed(
        cursor->state, cursor->dead.sequence, cursor->consumers->core->now_ms);
    dead_drop(cursor);
}

static enum broker_status
no_check(void *arg, struct broker_bytes topic)
{
    (void)arg;
    (void)topic;
    return BROKER_OK;
}

static void
on_stored(void *arg, const struct store_result *result)
{
    struct cursor *cursor = arg;
    struct core *core = cursor->consumers->core;
    cursor->is_saving = false;
    if (!cursor_answered(cursor)) {
        return;
    }
    if (result->status == STORE_OK) {
        core->totals.stored_messages++;
        core->totals.stored_bytes += cursor->dead.frame.bytes;
        consumer_dead_done(cursor->state, cursor->dead.sequence);
        cursor->dead.step = DEAD_ROUTING;
        cursor->dead.is_stored = true;
        dead_go_on(cursor);
    } else {
        consumer_set_dirty(cursor->state);
        fail(cursor,
            broker_status_text((unsigned)durable_status((int)result->status)));
    }
    cursor_touch(cursor);
}

static void
store_it(struct cursor *cursor, uint32_t stream)
{
    struct core *core = cursor->consumers->core;
    uint8_t key[STORE_KEY_MAX];
    struct store_value value;
    if (!cursor_value(cursor, &cursor->dead.sequence, 1, &value, key)) {
        fail(cursor, NULL);
        return;
    }
    struct store_append append = {.stream = stream,
        .records = cursor->dead.frame.data,
        .bytes = cursor->dead.frame.bytes,
        .count = 1,
        .values = &value,
        .value_count = 1,
        .time_ms = core->wall_ms};
    enum store_status status =
        store_append(core->options.store, &append, on_stored, cursor);
    if (status != STORE_OK) {
        consumer_set_dirty(cursor->state);
        fail(cursor, broker_status_text((unsigned)durable_status((int)status)));
        return;
    }
    cursor->calls++;
    cursor->is_saving = true;
    cursor->dead.step = DEAD_STORING;
}

/* To plain subscriptions; or, before that, to the store. */
static void
go_on(struct cursor *cursor)
{
    struct core *core = cursor->consumers->core;
    enum broker_status status = BROKER_OK;
    struct run run = {.slice = cursor->dead.frame,
        .route =
            deliver_route(core, dead_topic(cursor), no_check, NULL, &status),
        .stored = cursor->dead.is_stored};
    if (run.route == NULL) {
        cursor_pause(cursor, CONSUMER_PAUSE_MS, cursor->trouble);
        return;
    }
    if (run.route->capture != NULL && !run.stored) {
        if (!cursor->is_saving) {
            store_it(cursor, run.route->capture->stream);
        }
        route_unref(run.route);
        return; /* what is being saved comes first, and then this again */
    }
    deliver_run(core, &run);
    route_unref(run.route);
    if (!run.stored) {
        consumer_dead_done(cursor->state, cursor->dead.sequence);
    }
    dead_drop(cursor);
    cursor_touch(cursor);
}

void
dead_go_on(struct cursor *cursor)
{
    if (cursor->dead.step == DEAD_ROUTING) {
        go_on(cursor);
    }
}

bool
dead_begin(struct cursor *cursor)
{
    struct dead_letter *dead = &cursor->dead;
    if (dead->step != DEAD_NONE ||
        !consumer_next_dead(cursor->state, cursor->consumers->core->now_ms,
            &dead->sequence, &dead->deliveries)) {
        return false;
    }
    dead->step = DEAD_FETCHING;
    return true;
}

void
dead_on_batch(struct cursor *cursor, const struct store_batch *batch)
{
    const struct store_run *run = batch->run_count == 0 ? NULL : batch->runs;
    uint64_t sequence = cursor->dead.sequence;
    if (batch->status != STORE_OK) {
        fail(cursor, "the stream could not be read");
    } else if (run == NULL || run->first_seq != sequence) {
        consumer_gone(cursor->state, sequence,
            batch->damaged > 0 ? CONSUMER_SKIP_DAMAGED : CONSUMER_SKIP_GONE);
        dead_drop(cursor);
    } else if (!make(cursor, run->records, wire_frame_bytes(run->records))) {
        fail(cursor, cursor->trouble);
    } else {
        cursor->dead.step = DEAD_ROUTING;
        go_on(cursor);
    }
}
