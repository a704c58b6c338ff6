/* SPDX-License-Identifier: MIT
 *
 * Commits of the store in memory: what becomes durable and what is refused. See
 * memory_internal.h. */
#include "memory_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- publishers ---------------------------------------------------------- */

/* PROTOCOL.md section 5.3. */
static bool
is_above(uint32_t a, uint32_t b)
{
    return a != b && a - b < UINT32_C(0x80000000);
}

static struct memory_publisher *
find_publisher(const struct memory_store *store, const struct memory_call *call)
{
    struct memory_publisher *publisher;
    LIST_FOREACH(publisher, &store->publishers, next)
    {
        if (publisher->name_bytes == call->append.publisher_bytes &&
            memcmp(publisher->name, call->name, publisher->name_bytes) == 0) {
            return publisher;
        }
    }
    return NULL;
}

static struct memory_publisher *
find_or_add_publisher(struct memory_store *store, struct memory_call *call)
{
    struct memory_publisher *publisher = find_publisher(store, call);
    if (publisher == NULL) {
        publisher = call->publisher;
        call->publisher = NULL;
        memcpy(publisher->name, call->name, sizeof publisher->name);
        publisher->name_bytes = call->append.publisher_bytes;
        LIST_INSERT_HEAD(&store->publishers, publisher, next);
    }
    return publisher;
}

/* The number of the first record; numbers wrap from 0xFFFFFFFF to 1. */
static uint32_t
first_number(const struct store_append *append)
{
    if (append->batch || append->count <= 1) {
        return append->number;
    }
    uint32_t first = append->number - (append->count - 1);
    return first == 0 || first > append->number ? first - 1 : first;
}

static bool
is_between(uint32_t number, const struct memory_refusal *refusal)
{
    return number - refusal->first <= refusal->last - refusal->first;
}

/* Was it answered before? Then result is what it was. */
static bool
was_answered(const struct memory_store *store, struct memory_call *call)
{
    const struct memory_publisher *publisher = find_publisher(store, call);
    uint32_t number = call->append.number;
    if (!call->append.is_retry || publisher == NULL || !publisher->has_number ||
        is_above(number, publisher->highest)) {
        return false;
    }
    bool is_unsure =
        publisher->unsure != 0 && !is_above(number, publisher->unsure);
    call->result.status = is_unsure ? STORE_UNSURE : STORE_DUPLICATE;
    struct memory_refusal *refusal;
    LIST_FOREACH(refusal, &publisher->refusals, next)
    {
        if (is_between(number, refusal)) {
            call->result.status = refusal->status;
            call->result.last_seq = refusal->last_seq;
            break;
        }
    }
    return true;
}

/* What is not refused any more, because it was tried again and stored. */
static void
forgive(struct memory_publisher *publisher, uint32_t number)
{
    struct memory_refusal *refusal = LIST_FIRST(&publisher->refusals);
    while (refusal != NULL) {
        struct memory_refusal *next = LIST_NEXT(refusal, next);
        if (is_between(number, refusal)) {
            LIST_REMOVE(refusal, next);
            free(refusal);
        }
        refusal = next;
    }
}

static void
forget_oldest(struct memory_publisher *publisher, unsigned most)
{
    struct memory_refusal *refusal = LIST_FIRST(&publisher->refusals);
    for (unsigned i = 0; refusal != NULL; i++) {
        struct memory_refusal *next = LIST_NEXT(refusal, next);
        if (i >= most) {
            if (publisher->unsure == 0 ||
                is_above(refusal->last, publisher->unsure)) {
                publisher->unsure = refusal->last;
            }
            LIST_REMOVE(refusal, next);
            free(refusal);
        }
        refusal = next;
    }
}

/* A number is taken when it is stored. One that is refused is judged anew if it
 * is tried again before that; afterwards the refusal has to be remembered,
 * because STORE_DUPLICATE would be a lie. */
static void
remember(struct memory_store *store, struct memory_call *call)
{
    if (call->append.publisher_bytes == 0) {
        return;
    }
    struct memory_publisher *publisher = find_or_add_publisher(store, call);
    uint32_t number = call->append.number;
    bool is_stored = call->result.status == STORE_OK;
    forgive(publisher, number);
    if (!is_stored) {
        struct memory_refusal *refusal = call->refusal;
        call->refusal = NULL;
        refusal->first = first_number(&call->append);
        refusal->last = number;
        refusal->status = call->result.status;
        refusal->last_seq = call->result.last_seq;
        LIST_INSERT_HEAD(&publisher->refusals, refusal, next);
        if (store->options.refusals != 0) {
            forget_oldest(publisher, store->options.refusals);
        }
    }
    if (is_stored &&
        (!publisher->has_number || is_above(number, publisher->highest))) {
        publisher->highest = number;
        publisher->has_number = true;
    }
}

/* ---- appends ------------------------------------------------------------- */

static bool
has_no_room(
    const struct store_stream_info *info, const struct memory_piece *piece)
{
    const struct store_limits *limits = &info->limits;
    return limits->discard_new &&
           ((limits->max_records != 0 &&
                info->records + piece->count > limits->max_records) ||
               (limits->max_bytes != 0 &&
                   info->bytes + piece->bytes > limits->max_bytes));
}

static void
add_piece(struct memory_store *store, struct memory_stream *stream,
    struct memory_call *call)
{
    struct store_stream_info *info = &stream->info;
    struct memory_piece *piece = call->piece;
    call->piece = NULL;
    uint64_t gap = 0;
    if (random_chance(&store->random, store->options.gap_percent)) {
        gap = random_between(&store->random, 1, 8);
    }
    piece->first_seq = info->last_seq + 1 + gap;
    piece->time_ms = call->append.time_ms > info->last_time_ms
                         ? call->append.time_ms
                         : info->last_time_ms;
    if (TAILQ_EMPTY(&stream->pieces)) {
        info->first_seq = piece->first_seq;
        info->first_time_ms = piece->time_ms;
    }
    info->last_seq = piece->first_seq + piece->count - 1;
    info->last_time_ms = piece->time_ms;
    info->records += piece->count;
    info->bytes += piece->bytes;
    TAILQ_INSERT_TAIL(&stream->pieces, piece, next);
    call->result.first_seq = piece->first_seq;
    call->result.last_seq = info->last_seq;
    call->result.time_ms = piece->time_ms;
    store->stats.appends++;
    store->stats.records += piece->count;
    store->stats.bytes += piece->bytes;
}

static enum store_status
append_records(struct memory_store *store, struct memory_call *call,
    enum store_status failure)
{
    struct memory_stream *stream =
        memory_find_stream(store, call->append.stream);
    if (failure != STORE_OK || call->append.count == 0) {
        return failure;
    }
    if (stream == NULL) {
        return STORE_NOT_FOUND;
    }
    if (call->append.expects_last &&
        call->append.expected_last != stream->info.last_seq) {
        call->result.last_seq = stream->info.last_seq;
        return STORE_CONFLICT;
    }
    memory_enforce_limits(store, stream); /* by age, to make room */
    if (has_no_room(&stream->info, call->piece)) {
        return STORE_FULL;
    }
    add_piece(store, stream, call);
    memory_enforce_limits(store, stream);
    return STORE_OK;
}

static void
count_refusal(struct store_stats *stats, enum store_status status)
{
    stats->duplicates += status == STORE_DUPLICATE ? 1 : 0;
    stats->conflicts += status == STORE_CONFLICT ? 1 : 0;
    stats->refused_full += status == STORE_FULL ? 1 : 0;
    stats->refused_no_space += status == STORE_NO_SPACE ? 1 : 0;
}

static void
set_values(struct memory_store *store, struct memory_call *call)
{
    for (size_t i = 0; i < call->value_count; i++) {
        memory_set_value(store, &call->values[i]);
    }
}

static void
apply_append(struct memory_store *store, struct memory_call *call,
    enum store_status failure)
{
    if (failure == STORE_FAILED || !was_answered(store, call)) {
        call->result.status = append_records(store, call, failure);
        remember(store, call);
    }
    if (call->result.status == STORE_OK) {
        set_values(store, call);
    }
    count_refusal(&store->stats, call->result.status);
}

/* ---- the others ---------------------------------------------------------- */

static void
apply_ensure(struct memory_store *store, struct memory_call *call)
{
    const struct store_stream_info *wanted = &call->stream->info;
    struct memory_stream *stream;
    TAILQ_FOREACH(stream, &store->streams, next)
    {
        if (strcmp(stream->info.name, wanted->name) == 0) {
            stream->info.limits = wanted->limits;
            break;
        }
    }
    if (stream == NULL) {
        stream = call->stream;
        call->stream = NULL;
        TAILQ_INIT(&stream->pieces);
        stream->info.stream = store->next_stream++;
        stream->info.first_seq = 1;
        TAILQ_INSERT_TAIL(&store->streams, stream, next);
    }
    memory_enforce_limits(store, stream);
    call->result.stream = stream->info.stream;
    call->result.last_seq = stream->info.last_seq;
}

static void
apply_to_stream(struct memory_store *store, struct memory_call *call)
{
    struct memory_stream *stream =
        memory_find_stream(store, call->append.stream);
    if (stream == NULL) {
        call->result.status = STORE_NOT_FOUND;
    } else if (call->kind == MEMORY_TRIM) {
        memory_trim(stream, call->from);
    } else {
        TAILQ_REMOVE(&store->streams, stream, next);
        memory_free_stream(stream);
    }
}

void
memory_apply(struct memory_store *store, struct memory_call *call,
    enum store_status failure)
{
    memory_unreserve_values(store, call);
    call->result.stream = call->append.stream;
    if (call->kind == MEMORY_APPEND) {
        apply_append(store, call, failure);
        return;
    }
    call->result.status = failure;
    if (failure != STORE_OK) {
        count_refusal(&store->stats, failure);
    } else if (call->kind == MEMORY_PUT) {
        set_values(store, call);
    } else if (call->kind == MEMORY_ENSURE) {
        apply_ensure(store, call);
    } else {
        apply_to_stream(store, call);
    }
}
