/* SPDX-License-Identifier: MIT
 *
 * What is durable in the store in memory: streams, values, publishers. See
 * memory_internal.h. */
#include "memory_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct memory_stream *
memory_find_stream(const struct memory_store *store, uint32_t number)
{
    struct memory_stream *stream;
    TAILQ_FOREACH(stream, &store->streams, next)
    {
        if (stream->info.stream == number) {
            return stream;
        }
    }
    return NULL;
}

/* ---- streams ------------------------------------------------------------- */

static void
drop_records(struct memory_stream *stream, uint32_t count)
{
    struct memory_piece *piece = TAILQ_FIRST(&stream->pieces);
    assert(count <= piece->count);
    for (uint32_t i = 0; i < count; i++) {
        size_t bytes = memory_record_bytes(piece->records);
        piece->records += bytes;
        piece->bytes -= bytes;
        stream->info.bytes -= bytes;
    }
    piece->first_seq += count;
    piece->count -= count;
    stream->info.records -= count;
    stream->info.trimmed += count;
    if (piece->count == 0) {
        TAILQ_REMOVE(&stream->pieces, piece, next);
        free(piece->memory);
        free(piece);
    }
    piece = TAILQ_FIRST(&stream->pieces);
    stream->info.first_seq =
        piece != NULL ? piece->first_seq : stream->info.last_seq + 1;
    stream->info.first_time_ms =
        piece != NULL ? piece->time_ms : stream->info.last_time_ms;
}

void
memory_trim(struct memory_stream *stream, uint64_t first_seq)
{
    struct memory_piece *piece;
    while ((piece = TAILQ_FIRST(&stream->pieces)) != NULL &&
           piece->first_seq < first_seq) {
        uint64_t count = first_seq - piece->first_seq;
        drop_records(
            stream, count < piece->count ? (uint32_t)count : piece->count);
    }
}

void
memory_enforce_limits(struct memory_store *store, struct memory_stream *stream)
{
    const struct store_limits *limits = &stream->info.limits;
    uint64_t now_ms = stream->info.last_time_ms;
    if (store->now_ms > now_ms) {
        now_ms = store->now_ms;
    }
    struct memory_piece *piece;
    while ((piece = TAILQ_FIRST(&stream->pieces)) != NULL) {
        bool old = limits->max_age_ms != 0 && now_ms > piece->time_ms &&
                   now_ms - piece->time_ms > limits->max_age_ms;
        bool full =
            (limits->max_records != 0 &&
                stream->info.records > limits->max_records) ||
            (limits->max_bytes != 0 && stream->info.bytes > limits->max_bytes);
        if (!old && (!full || limits->discard_new)) {
            return;
        }
        drop_records(stream, 1);
    }
}

void
memory_free_stream(struct memory_stream *stream)
{
    struct memory_piece *piece;
    while ((piece = TAILQ_FIRST(&stream->pieces)) != NULL) {
        TAILQ_REMOVE(&stream->pieces, piece, next);
        free(piece->memory);
        free(piece);
    }
    free(stream);
}

void
memory_free_publisher(struct memory_publisher *publisher)
{
    struct memory_refusal *refusal;
    while ((refusal = LIST_FIRST(&publisher->refusals)) != NULL) {
        LIST_REMOVE(refusal, next);
        free(refusal);
    }
    free(publisher);
}

/* ---- values -------------------------------------------------------------- */

static int
compare_keys(const struct store_value *value, const void *key, size_t key_bytes)
{
    size_t common = value->key_bytes < key_bytes ? value->key_bytes : key_bytes;
    int order = memcmp(value->key, key, common);
    if (order != 0) {
        return order;
    }
    return (value->key_bytes > key_bytes) - (value->key_bytes < key_bytes);
}

size_t
memory_find_value(const struct memory_values *values, const void *key,
    size_t key_bytes, bool *found)
{
    size_t low = 0;
    size_t high = values->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order =
            compare_keys(&values->sorted[middle]->value, key, key_bytes);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void
memory_set_value(struct memory_store *store, struct memory_value **value)
{
    struct memory_value *new = *value;
    struct memory_values *values = &store->values[new->value.space];
    bool found;
    size_t place =
        memory_find_value(values, new->value.key, new->value.key_bytes, &found);
    if (!found && new->value.data == NULL) {
        return;
    }
    struct memory_value **at = &values->sorted[place];
    if (found) {
        free(*at);
        if (new->value.data == NULL) {
            values->count--;
            memmove(at, at + 1, (values->count - place) * sizeof(*at));
            return;
        }
    } else {
        assert(values->count < values->capacity);
        memmove(at + 1, at, (values->count - place) * sizeof(*at));
        values->count++;
    }
    *at = new;
    *value = NULL;
}
