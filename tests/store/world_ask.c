/* SPDX-License-Identifier: MIT
 *
 * What a world asks of its store; see world_internal.h. */
#include "world_internal.h"

#include <stdlib.h>
#include <string.h>

static void
op_done(void *arg, const struct store_result *result)
{
    struct model_op *op = arg;
    op->answered = true;
    op->result = *result;
}

/* ---- submitting ---------------------------------------------------------- */

static uint8_t *
make_records(const struct model_op *op, size_t *bytes)
{
    *bytes = 0;
    for (uint32_t i = 0; i < op->count; i++) {
        *bytes += model_record_bytes(op->id + i);
    }
    uint8_t *records = malloc(*bytes + 1);
    if (records == NULL) {
        abort();
    }
    size_t at = 0;
    for (uint32_t i = 0; i < op->count; i++) {
        model_record_write(op->id + i, records + at);
        at += model_record_bytes(op->id + i);
    }
    return records;
}

struct values {
    struct store_value list[MODEL_KEYS_OF_OP];
    char names[MODEL_KEYS_OF_OP][16];
};

static void
make_values(const struct model_op *op, struct values *values)
{
    for (unsigned i = 0; i < op->key_count; i++) {
        model_key(op->keys[i], values->names[i]);
        values->list[i] = (struct store_value){.space = STORE_SPACE_CONSUMER,
            .key = values->names[i],
            .key_bytes = strlen(values->names[i]),
            .data = op->text != 0 ? &op->text : NULL,
            .bytes = op->text != 0 ? sizeof op->text : 0};
    }
}

static enum store_status
submit_append(struct world *world, struct model_op *op)
{
    struct values values;
    size_t bytes;
    uint8_t *records = make_records(op, &bytes);
    make_values(op, &values);
    char name[16] = "publisher-";
    name[10] = (char)('a' + op->publisher);
    struct store_append append = {.stream = op->number,
        .records = records,
        .bytes = bytes,
        .count = op->count,
        .expects_last = op->expects_last,
        .expected_last = op->expected_last,
        .publisher = name,
        .publisher_bytes = op->publisher >= 0 ? 11 : 0,
        .number = op->publish,
        .batch = op->batch,
        .is_retry = op->is_retry,
        .values = values.list,
        .value_count = op->key_count,
        .time_ms = world->now_ms};
    enum store_status status =
        store_append(world->ports[op->port], &append, op_done, op);
    free(records);
    return status;
}

static enum store_status
submit(struct world *world, struct model_op *op)
{
    struct store_port *port = world->ports[op->port];
    struct store_limits limits = {.max_records = op->limit};
    struct values values;
    char name[16];
    switch (op->kind) {
    case MODEL_ENSURE:
        model_name(op->stream, name);
        return store_ensure(port, name, &limits, op_done, op);
    case MODEL_REMOVE:
        return store_remove(port, op->number, op_done, op);
    case MODEL_TRIM:
        return store_trim(port, op->number, op->bound, op_done, op);
    case MODEL_PUT:
        make_values(op, &values);
        return store_put(port, values.list, op->key_count, op_done, op);
    default:
        return submit_append(world, op);
    }
}

/* False: it was not taken. */
static bool
ask(struct world *world, const struct model_op *wanted)
{
    if (world->op_count == WORLD_OPS) {
        return false;
    }
    struct model_op *op = malloc(sizeof *op);
    if (op == NULL) {
        abort();
    }
    *op = *wanted;
    op->answered = false;
    world->ops[world->op_count++] = op;
    enum store_status status = submit(world, op);
    if (status == STORE_OK) {
        world->report->operations++;
        return true;
    }
    world->op_count--;
    free(op);
    if (status != STORE_AGAIN) {
        world_problem(world, "a call returns %d", (int)status);
    }
    return false;
}

/* ---- what -------------------------------------------------------------- */

static bool
has_pending(const struct world *world, unsigned stream)
{
    for (unsigned i = 0; i < world->op_count; i++) {
        if (world->ops[i]->stream == stream) {
            return true;
        }
    }
    return false;
}

/* Publishes to a stream that is going are all refused: too many to remember. */
static bool
is_leaving(const struct world *world, unsigned stream)
{
    for (unsigned i = 0; i < world->op_count; i++) {
        if (world->ops[i]->stream == stream &&
            world->ops[i]->kind == MODEL_REMOVE) {
            return true;
        }
    }
    return !world->state.streams[stream].exists;
}

static void
choose_values(struct world *world, struct model_op *op)
{
    op->key_count = random_between(&world->random, 1, MODEL_KEYS_OF_OP);
    unsigned key = random_below(&world->random, MODEL_KEYS);
    for (unsigned i = 0; i < op->key_count; i++) {
        op->keys[i] = (key + i * 5) % MODEL_KEYS;
    }
    op->text = random_chance(&world->random, 15) ? 0 : ++world->next_text;
}

static void
choose_expectation(struct world *world, struct model_op *op)
{
    const struct model_stream *stream = &world->state.streams[op->stream];
    struct world_publisher *publisher =
        op->publisher >= 0 ? &world->publishers[op->publisher] : NULL;
    if (random_chance(&world->random, 85)) {
        return;
    }
    op->expects_last = true;
    op->expected_last = stream->last_seq;
    if (has_pending(world, op->stream) || random_chance(&world->random, 30)) {
        op->expected_last = UINT64_MAX;
        if (publisher != NULL && ++publisher->refusals > MODEL_REFUSALS / 2) {
            op->expects_last = false;
        }
    }
}

static void
remember(struct world *world, const struct model_op *op)
{
    struct world_publisher *publisher = &world->publishers[op->publisher];
    if (publisher->history_count == WORLD_HISTORY) {
        memmove(publisher->history, publisher->history + 1,
            (WORLD_HISTORY - 1) * sizeof publisher->history[0]);
        publisher->history_count--;
    }
    publisher->history[publisher->history_count++] = *op;
}

static void
ask_append(struct world *world, struct model_op *op)
{
    op->kind = MODEL_APPEND;
    op->number = world->state.streams[op->stream].number;
    op->count = random_chance(&world->random, 60)
                    ? 1
                    : random_between(&world->random, 2, 9);
    op->batch = random_chance(&world->random, 50);
    op->id = world->next_id;
    op->publisher = (int)random_below(&world->random, MODEL_PUBLISHERS + 1) - 1;
    if (is_leaving(world, op->stream)) {
        op->publisher = -1;
    }
    if (op->publisher >= 0) {
        op->publish = model_number_after(
            world->publishers[op->publisher].next, op->batch ? 1 : op->count);
    }
    choose_expectation(world, op);
    if (random_chance(&world->random, 30)) {
        choose_values(world, op);
    }
    if (ask(world, op)) {
        world->next_id += op->count;
        if (op->publisher >= 0) {
            world->publishers[op->publisher].next = op->publish;
            remember(world, op);
        }
    }
}

void
world_ask_again(struct world *world, const struct model_op *op)
{
    struct model_op again = *op;
    again.is_retry = true;
    if (ask(world, &again)) {
        world->report->retried++;
    }
}

static void
ask_retry(struct world *world)
{
    unsigned p = random_below(&world->random, MODEL_PUBLISHERS);
    const struct world_publisher *publisher = &world->publishers[p];
    if (publisher->history_count != 0) {
        world_ask_again(world, &publisher->history[random_below(
                                   &world->random, publisher->history_count)]);
    }
}

static void
ask_ensure(struct world *world, struct model_op *op)
{
    op->kind = MODEL_ENSURE;
    op->limit = random_chance(&world->random, 60)
                    ? 0
                    : random_between(&world->random, 20, 60);
    (void)ask(world, op);
}

static void
ask_trim(struct world *world, struct model_op *op)
{
    const struct model_stream *stream = &world->state.streams[op->stream];
    op->kind = MODEL_TRIM;
    op->number = stream->number;
    if (stream->count != 0) {
        size_t i = random_below(&world->random, (uint32_t)stream->count);
        op->bound = stream->records[i].seq + 1;
    }
    if (random_chance(&world->random, 20) || stream->count > 400) {
        op->bound = stream->last_seq + 1;
    }
    (void)ask(world, op);
}

void
world_ask(struct world *world)
{
    struct model_op op = {.publisher = -1,
        .port = random_below(&world->random, WORLD_PORTS),
        .stream = random_below(&world->random, MODEL_STREAMS)};
    const struct model_stream *stream = &world->state.streams[op.stream];
    uint32_t what = random_below(&world->random, 100);
    if (stream->number == 0 || what < 2) {
        ask_ensure(world, &op);
    } else if (what < 3) {
        op.kind = MODEL_REMOVE;
        op.number = stream->number;
        (void)ask(world, &op);
    } else if (what < 8 || stream->count > 400) {
        ask_trim(world, &op);
    } else if (what < 20) {
        op.kind = MODEL_PUT;
        op.stream = MODEL_STREAMS; /* none */
        choose_values(world, &op);
        (void)ask(world, &op);
    } else if (what < 28) {
        ask_retry(world);
    } else {
        ask_append(world, &op);
    }
}

void
world_ask_streams(struct world *world)
{
    for (unsigned i = 0; i < MODEL_STREAMS; i++) {
        struct model_op op = {.publisher = -1, .stream = i};
        ask_ensure(world, &op);
    }
}
