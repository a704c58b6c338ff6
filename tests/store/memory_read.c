/* SPDX-License-Identifier: MIT
 *
 * Reading from the store in memory: answers from what is durable. See
 * memory_internal.h. */
#include "memory_internal.h"

/* A batch has at most so many runs; the caller reads on from `next`. */
#define RUNS_MAX 4096 /* as the local store */

/* The records of the piece from this sequence on, about `max_bytes` of them
 * and at least one. */
static struct store_run
cut_run(const struct memory_piece *piece, uint64_t from, size_t max_bytes)
{
    struct store_run run = {.first_seq = piece->first_seq,
        .time_ms = piece->time_ms,
        .records = piece->records};
    while (run.first_seq < from) {
        run.records += memory_record_bytes(run.records);
        run.first_seq++;
    }
    uint64_t end_seq = piece->first_seq + piece->count;
    while (run.first_seq + run.count < end_seq) {
        size_t bytes = memory_record_bytes(run.records + run.bytes);
        if (run.count != 0 && run.bytes + bytes > max_bytes) {
            break;
        }
        run.bytes += bytes;
        run.count++;
    }
    return run;
}

static size_t
fill_runs(const struct memory_stream *stream, uint64_t from, size_t max_bytes,
    struct store_run runs[RUNS_MAX])
{
    size_t count = 0;
    const struct memory_piece *piece;
    TAILQ_FOREACH(piece, &stream->pieces, next)
    {
        uint64_t end_seq = piece->first_seq + piece->count;
        if (end_seq <= from) {
            continue;
        }
        if (count == RUNS_MAX || (count != 0 && max_bytes == 0)) {
            break;
        }
        struct store_run *run = &runs[count++];
        *run = cut_run(piece, from, max_bytes);
        max_bytes -= run->bytes < max_bytes ? run->bytes : max_bytes;
        if (run->first_seq + run->count != end_seq) {
            break;
        }
    }
    return count;
}

static bool
answer_records(struct memory_call *call, const struct memory_stream *stream)
{
    struct store_run runs[RUNS_MAX];
    struct store_batch batch = {.status = STORE_OK, .runs = runs};
    batch.run_count = fill_runs(stream, call->from, call->max_bytes, runs);
    if (batch.run_count != 0) {
        const struct store_run *last = &runs[batch.run_count - 1];
        batch.next = last->first_seq + last->count;
    } else if (call->follow) {
        return false;
    } else {
        batch.next = stream->info.last_seq + 1;
        batch.next = call->from > batch.next ? call->from : batch.next;
    }
    call->callback.read(call->arg, &batch);
    return true;
}

static void
answer_seek(struct memory_call *call, const struct memory_stream *stream)
{
    struct store_batch batch = {
        .status = STORE_OK, .next = stream->info.last_seq + 1};
    const struct memory_piece *piece;
    TAILQ_FOREACH(piece, &stream->pieces, next)
    {
        if (piece->time_ms >= call->from) {
            batch.next = piece->first_seq;
            break;
        }
    }
    call->callback.read(call->arg, &batch);
}

static void
answer_get(struct memory_store *store, struct memory_call *call)
{
    const struct store_value *key = &call->values[0]->value;
    const struct memory_values *values = &store->values[key->space];
    bool found;
    size_t place = memory_find_value(values, key->key, key->key_bytes, &found);
    if (found) {
        call->callback.value(
            call->arg, STORE_OK, &values->sorted[place]->value);
    } else {
        call->callback.value(call->arg, STORE_NOT_FOUND, key);
    }
}

static void
answer_scan(struct memory_store *store, struct memory_call *call)
{
    const struct memory_values *values = &store->values[call->space];
    for (size_t i = 0; i < values->count && !call->port->closed; i++) {
        call->callback.value(call->arg, STORE_OK, &values->sorted[i]->value);
    }
    if (!call->port->closed) {
        const struct store_value end = {.space = call->space};
        call->callback.value(call->arg, STORE_OK, &end);
    }
}

bool
memory_answer_read(struct memory_store *store, struct memory_call *call)
{
    if (call->kind == MEMORY_GET) {
        answer_get(store, call);
        return true;
    }
    if (call->kind == MEMORY_SCAN) {
        answer_scan(store, call);
        return true;
    }
    struct memory_stream *stream =
        memory_find_stream(store, call->append.stream);
    if (stream == NULL) {
        const struct store_batch batch = {.status = STORE_NOT_FOUND};
        call->callback.read(call->arg, &batch);
        return true;
    }
    if (call->kind == MEMORY_READ) {
        return answer_records(call, stream);
    }
    answer_seek(call, stream);
    return true;
}
