/* SPDX-License-Identifier: MIT
 *
 * What a store must hold; see model.h. */
#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- publishers ---------------------------------------------------------- */

bool
model_is_above(uint32_t a, uint32_t b)
{
    return b == 0 || (a != b && a - b < UINT32_C(0x80000000));
}

uint32_t
model_number_after(uint32_t number, uint32_t count)
{
    uint64_t after = (uint64_t)number + count;
    return after > UINT32_MAX ? (uint32_t)(after - UINT32_MAX)
                              : (uint32_t)after;
}

static uint32_t
first_number(const struct model_op *op)
{
    uint32_t back = op->batch ? 0 : op->count - 1;
    return op->publish > back ? op->publish - back
                              : op->publish - back - 1; /* past 0 */
}

static bool
is_between(uint32_t number, uint32_t first, uint32_t last)
{
    return number - first <= last - first;
}

static bool
was_answered(const struct model_publisher *publisher, const struct model_op *op,
    enum store_status *status)
{
    if (!op->is_retry || publisher->highest == 0 ||
        model_is_above(op->publish, publisher->highest)) {
        return false;
    }
    *status = STORE_DUPLICATE;
    for (unsigned i = publisher->refused_count; i-- > 0;) {
        if (is_between(op->publish, publisher->refused[i].first,
                publisher->refused[i].last)) {
            *status = publisher->refused[i].status;
            break;
        }
    }
    return true;
}

static void
refuse(struct model_publisher *publisher, const struct model_op *op,
    enum store_status status)
{
    uint32_t first = first_number(op);
    unsigned i = publisher->refused_count;
    if (i != 0 && publisher->refused[i - 1].status == status &&
        !publisher->refused[i - 1].maybe &&
        model_number_after(publisher->refused[i - 1].last, 1) == first) {
        publisher->refused[i - 1].last = op->publish;
        return;
    }
    publisher->forgot = publisher->forgot || i >= MODEL_KNOWN;
    if (i == MODEL_REFUSALS) {
        memmove(publisher->refused, publisher->refused + 1,
            (MODEL_REFUSALS - 1) * sizeof publisher->refused[0]);
        i--;
    }
    publisher->refused[i].first = first;
    publisher->refused[i].last = op->publish;
    publisher->refused[i].status = status;
    publisher->refused[i].maybe = false;
    publisher->refused_count = i + 1;
}

/* The numbers of one append, one by one: they are few. */
static bool
is_stored_by(uint32_t number, const struct model_op *op)
{
    return is_between(number, first_number(op), op->publish);
}

static void
take(struct model_publisher *publisher, const struct model_op *op)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < publisher->refused_count; i++) {
        uint32_t first = publisher->refused[i].first;
        uint32_t last = publisher->refused[i].last;
        while (first != last && is_stored_by(first, op)) {
            first = model_number_after(first, 1);
        }
        while (first != last && is_stored_by(last, op)) {
            last = last == 1 ? UINT32_MAX : last - 1;
        }
        if (first != last || !is_stored_by(first, op)) {
            publisher->refused[kept] = publisher->refused[i];
            publisher->refused[kept].first = first;
            publisher->refused[kept++].last = last;
        }
    }
    publisher->refused_count = kept;
    if (model_is_above(op->publish, publisher->highest)) {
        publisher->highest = op->publish;
    }
}

/* ---- judging and applying ------------------------------------------------ */

static bool
is_there(const struct model_stream *stream, const struct model_op *op)
{
    return stream->exists && stream->number == op->number;
}

enum store_status
model_judge(const struct model_state *state, const struct model_op *op)
{
    const struct model_stream *stream = &state->streams[op->stream];
    enum store_status status;
    if (op->kind == MODEL_ENSURE || op->kind == MODEL_PUT) {
        return STORE_OK;
    }
    if (op->kind == MODEL_APPEND && op->publisher >= 0 &&
        was_answered(&state->publishers[op->publisher], op, &status)) {
        return status;
    }
    if (!is_there(stream, op)) {
        return STORE_NOT_FOUND;
    }
    if (op->kind == MODEL_APPEND && op->expects_last &&
        op->expected_last != stream->last_seq) {
        return STORE_CONFLICT;
    }
    return STORE_OK;
}

static void
drop(struct model_stream *stream, size_t count)
{
    stream->count -= count;
    memmove(stream->records, stream->records + count,
        stream->count * sizeof stream->records[0]);
}

static void
keep_limit(struct model_stream *stream)
{
    if (stream->limit != 0 && stream->count > stream->limit) {
        drop(stream, stream->count - stream->limit);
    }
}

static void
append(struct model_stream *stream, const struct model_op *op)
{
    uint64_t seq = op->answered ? op->result.first_seq : 0;
    if (stream->count + op->count > MODEL_RECORDS) {
        fprintf(stderr, "the model is too small\n");
        abort();
    }
    for (uint32_t i = 0; i < op->count; i++) {
        stream->records[stream->count++] = (struct model_record){
            .id = op->id + i, .seq = seq == 0 ? 0 : seq + i};
    }
    if (seq != 0) {
        stream->last_seq = op->result.last_seq;
    }
    keep_limit(stream);
}

static void
put(struct model_state *state, const struct model_op *op)
{
    for (unsigned i = 0; i < op->key_count; i++) {
        state->values[op->keys[i]] = op->text;
    }
}

static void
ensure(struct model_stream *stream, const struct model_op *op)
{
    if (!stream->exists) {
        memset(stream, 0, sizeof *stream);
        stream->exists = true;
    }
    if (op->answered) {
        stream->number = op->result.stream;
    }
    stream->limit = op->limit;
    keep_limit(stream);
}

static void
trim(struct model_stream *stream, uint64_t bound)
{
    size_t count = 0;
    while (count < stream->count && stream->records[count].seq != 0 &&
           stream->records[count].seq < bound) {
        count++;
    }
    drop(stream, count);
}

void
model_apply(struct model_state *state, const struct model_op *op,
    enum store_status status)
{
    struct model_stream *stream = &state->streams[op->stream];
    struct model_publisher *publisher =
        op->publisher >= 0 ? &state->publishers[op->publisher] : NULL;
    enum store_status before;
    if (status != STORE_OK) {
        if (op->kind == MODEL_APPEND && publisher != NULL &&
            !was_answered(publisher, op, &before)) {
            refuse(publisher, op, status);
        }
        return;
    }
    switch (op->kind) {
    case MODEL_ENSURE:
        ensure(stream, op);
        break;
    case MODEL_REMOVE:
        stream->exists = false;
        break;
    case MODEL_APPEND:
        append(stream, op);
        put(state, op);
        if (publisher != NULL) {
            take(publisher, op);
        }
        break;
    case MODEL_TRIM:
        trim(stream, op->bound);
        break;
    case MODEL_PUT:
        put(state, op);
        break;
    }
}

void
model_restart(struct model_state *state)
{
    for (unsigned p = 0; p < MODEL_PUBLISHERS; p++) {
        struct model_publisher *publisher = &state->publishers[p];
        for (unsigned i = 0; i < publisher->refused_count; i++) {
            if (model_is_above(
                    publisher->refused[i].last, publisher->highest)) {
                publisher->refused[i].maybe = true;
            }
        }
    }
}

bool
model_may_forget(const struct model_state *state, const struct model_op *op)
{
    if (op->kind != MODEL_APPEND || op->publisher < 0 || !op->is_retry) {
        return false;
    }
    const struct model_publisher *publisher = &state->publishers[op->publisher];
    for (unsigned i = publisher->refused_count; i-- > 0;) {
        if (is_between(op->publish, publisher->refused[i].first,
                publisher->refused[i].last)) {
            return publisher->refused[i].maybe;
        }
    }
    return false;
}

bool
model_may_be_unsure(const struct model_state *state, const struct model_op *op)
{
    return op->kind == MODEL_APPEND && op->publisher >= 0 && op->is_retry &&
           state->publishers[op->publisher].forgot;
}

/* ---- comparing ----------------------------------------------------------- */

static bool
stream_equal(unsigned index, const struct model_stream *observed,
    const struct model_stream *stream, char *why, size_t why_size)
{
    int n = snprintf(why, why_size, "stream %u: ", index);
    why += n;
    why_size -= (size_t)n;
    if (observed->exists != stream->exists) {
        snprintf(
            why, why_size, "it is%s there", observed->exists ? "" : " not");
        return false;
    }
    if (!stream->exists) {
        return true;
    }
    if (stream->number != 0 && observed->number != stream->number) {
        snprintf(why, why_size, "number %" PRIu32 " and not %" PRIu32,
            observed->number, stream->number);
        return false;
    }
    if (observed->limit != stream->limit) {
        snprintf(why, why_size, "limit %" PRIu64 " and not %" PRIu64,
            observed->limit, stream->limit);
        return false;
    }
    for (size_t i = 0; i < observed->count && i < stream->count; i++) {
        const struct model_record *a = &observed->records[i];
        const struct model_record *b = &stream->records[i];
        if (a->id != b->id || (b->seq != 0 && a->seq != b->seq)) {
            snprintf(why, why_size,
                "record %zu has id %" PRIu64 " seq %" PRIu64
                ", expected id %" PRIu64 " seq %" PRIu64,
                i, a->id, a->seq, b->id, b->seq);
            return false;
        }
    }
    if (observed->count != stream->count) {
        snprintf(why, why_size, "%zu records and not %zu", observed->count,
            stream->count);
        return false;
    }
    return true;
}

bool
model_equal(const struct model_state *observed, const struct model_state *state,
    char *why, size_t why_size)
{
    for (unsigned i = 0; i < MODEL_STREAMS; i++) {
        if (!stream_equal(
                i, &observed->streams[i], &state->streams[i], why, why_size)) {
            return false;
        }
    }
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        if (observed->values[i] != state->values[i]) {
            snprintf(why, why_size, "key %u: %" PRIu64 " and not %" PRIu64, i,
                observed->values[i], state->values[i]);
            return false;
        }
    }
    return true;
}

/* ---- names and contents -------------------------------------------------- */

void
model_name(unsigned stream, char name[16])
{
    snprintf(name, 16, "stream-%u", stream);
}

void
model_key(unsigned key, char name[16])
{
    snprintf(name, 16, "key-%u", key);
}

static uint64_t
mix(uint64_t id)
{
    id = (id ^ (id >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    id = (id ^ (id >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return id ^ (id >> 33);
}

size_t
model_record_bytes(uint64_t id)
{
    uint64_t random = mix(id);
    size_t body = random % 64 == 0 ? (random >> 8) % 6000 : (random >> 8) % 120;
    return STORE_RECORD_MIN + body;
}

void
model_record_write(uint64_t id, uint8_t *dst)
{
    size_t bytes = model_record_bytes(id);
    uint32_t body = (uint32_t)(bytes - STORE_RECORD_MIN);
    for (unsigned i = 0; i < 4; i++) {
        dst[i] = (uint8_t)(body >> (24 - 8 * i));
    }
    for (unsigned i = 0; i < 8; i++) {
        dst[4 + i] = (uint8_t)(id >> (56 - 8 * i));
    }
    for (size_t i = STORE_RECORD_MIN; i < bytes; i++) {
        dst[i] = (uint8_t)(id + i * 7);
    }
}

uint64_t
model_record_read(const uint8_t *record, size_t bytes)
{
    uint64_t id = 0;
    for (unsigned i = 0; i < 8; i++) {
        id = id << 8 | record[4 + i];
    }
    if (bytes != model_record_bytes(id)) {
        return 0;
    }
    uint8_t *expected = malloc(bytes);
    if (expected == NULL) {
        abort();
    }
    model_record_write(id, expected);
    bool same = memcmp(expected, record, bytes) == 0;
    free(expected);
    return same ? id : 0;
}
