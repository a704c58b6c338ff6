/* SPDX-License-Identifier: MIT
 *
 * Appending: judged, encoded and queued at once, answered when it is durable;
 * see local_store.h. */
#include "local_change.h"

#include <stdlib.h>
#include <string.h>

/* One without records is for a number alone. */
static bool
has_what_it_needs(const struct store_append *append)
{
    return append->count > 0 ||
           (append->bytes == 0 && append->publisher_bytes > 0 &&
               append->value_count > 0 && !append->batch &&
               !append->expects_last);
}

/* The records' checksums, outside the lock. */
static enum store_status
check(struct local_port *port, const struct store_append *append)
{
    if (!has_what_it_needs(append) || append->bytes > GROUP_BYTES_MAX / 2 ||
        append->publisher_bytes > STORE_PUBLISHER_MAX ||
        append->bytes / STORE_RECORD_MIN < append->count ||
        (append->publisher_bytes > 0 && append->number == 0) ||
        !values_are_valid(append->values, append->value_count)) {
        return STORE_INVALID;
    }
    size_t need = (size_t)append->count * 4;
    if (need > port->checksums_bytes) {
        uint8_t *checksums = realloc(port->checksums, need);
        if (checksums == NULL) {
            return STORE_MEMORY;
        }
        port->checksums = checksums;
        port->checksums_bytes = need;
    }
    return records_check(
               append->records, append->bytes, append->count, port->checksums)
               ? STORE_OK
               : STORE_INVALID;
}

/* The limits of one that discards what is new. */
static bool
is_full(const struct stream *stream, const struct store_append *append)
{
    const struct stream_state *state = &stream->state;
    const struct store_limits *limits = &state->limits;
    uint64_t span = state->last_seq + 1 - state->first_seq;
    uint64_t records = state->records < span ? state->records : span;
    records += stream->flight_records + append->count;
    /* What was trimmed and not counted yet must not refuse anything. */
    uint64_t stored = stream->counted < state->first_seq ? 0 : state->bytes;
    uint64_t bytes = stored + stream->flight_bytes + append->bytes;
    return limits->discard_new &&
           ((limits->max_records > 0 && records > limits->max_records) ||
               (limits->max_bytes > 0 && bytes > limits->max_bytes));
}

static enum store_status
judge(struct local *local, struct stream *stream,
    const struct publisher *publisher, const struct store_append *append)
{
    enum store_status then = STORE_OK;
    if (publisher != NULL && append->is_retry) {
        then = publisher_judge(publisher, append->number);
    }
    if (then == STORE_DUPLICATE &&
        publisher_has_stored(publisher, append->number)) {
        return then;
    }
    if (local->stats.failed) {
        return STORE_FAILED;
    }
    if (then != STORE_OK) {
        return then;
    }
    if (append->count == 0) {
        return local->no_space ? STORE_NO_SPACE : STORE_OK;
    }
    if (stream == NULL || !stream->durable || stream->removing) {
        return STORE_NOT_FOUND;
    }
    if (append->expects_last && append->expected_last != stream->open_last) {
        return STORE_CONFLICT;
    }
    if (is_full(stream, append)) {
        local_retain(local, stream); /* age may make room */
        if (is_full(stream, append)) {
            return STORE_FULL;
        }
    }
    return local->no_space ? STORE_NO_SPACE : STORE_OK;
}

static struct entry
records_entry(const struct local_port *port, const struct stream *stream,
    const struct store_append *append, uint64_t time_ms)
{
    return (struct entry){.kind = ENTRY_RECORDS,
        .flags = append->batch ? ENTRY_ONE_NUMBER : 0,
        .name_bytes = (uint8_t)append->publisher_bytes,
        .name = append->publisher,
        .stream = stream->number,
        .first_seq = stream->open_last + 1,
        .time_ms = time_ms,
        .count = append->count,
        .number = append->publisher_bytes > 0 ? append->number : 0,
        .checksums = port->checksums,
        .body = append->records,
        .body_bytes = append->bytes};
}

/* Refusals that are not in the files yet, records, values. */
static bool
encode(struct local *local, const struct entry *entry,
    struct publisher *publisher, const struct store_append *append)
{
    uint8_t body[PUBLISHER_BODY_MAX];
    struct entry known = {.kind = ENTRY_PUBLISHER};
    bool unwritten = publisher != NULL && publisher->unwritten;
    if (unwritten) {
        known = publisher_entry(publisher, body);
    }
    size_t own = entry_size(entry);
    size_t before = unwritten ? entry_size(&known) : 0;
    size_t values = values_size(append->values, append->value_count);
    uint8_t *dst = group_reserve(local, own + before + values);
    if (dst == NULL) {
        return false;
    }
    if (unwritten) {
        entry_encode(dst, &known);
        group_add(local, before);
        publisher->unwritten = false;
    }
    entry_encode(dst + before, entry);
    group_add(local, own);
    values_encode(
        local, dst + before + own, append->values, append->value_count);
    return true;
}

static uint32_t
first_number(const struct store_append *append)
{
    return append->batch || append->count <= 1
               ? append->number
               : number_before(append->number, append->count - 1);
}

/* Those behind it may be stored; then a retry must not be taken for one of what
 * was. */
static void
refuse_number(struct publisher *publisher, const struct store_append *append,
    enum store_status status)
{
    if (publisher != NULL &&
        publisher_judge(publisher, append->number) == STORE_OK) {
        publisher_refuse(
            publisher, first_number(append), append->number, status);
    }
}

/* The refusal is answered when what came before it is. */
static void
note_refusal(struct pending *pending, const struct stream *stream,
    struct publisher *publisher, const struct store_append *append)
{
    enum store_status status = pending->status;
    if (status == STORE_CONFLICT && stream != NULL) {
        pending->last_seq = stream->open_last;
    }
    if (status == STORE_DUPLICATE || status == STORE_UNSURE) {
        pending->publisher = publisher;
        pending->publisher_last = append->number;
        publisher->in_flight++;
    } else if (status != STORE_FAILED) {
        refuse_number(publisher, append, status);
    }
}

static void
count_refusal(struct local *local, enum store_status status)
{
    local->stats.duplicates += status == STORE_DUPLICATE;
    local->stats.conflicts += status == STORE_CONFLICT;
    local->stats.refused_full += status == STORE_FULL;
    local->stats.refused_no_space += status == STORE_NO_SPACE;
}

static void
take_number(struct publisher *publisher, const struct store_append *append,
    struct pending *pending)
{
    pending->publisher = publisher;
    pending->publisher_before = publisher->highest;
    pending->publisher_first = first_number(append);
    pending->publisher_last = append->number;
    publisher->in_flight++;
    publisher_take(publisher, pending->publisher_first, append->number);
}

/* What is known of the publisher as it is when this is durable, and values. */
static enum store_status
take_number_alone(struct local *local, struct publisher *publisher,
    const struct store_append *append, struct pending *pending)
{
    uint8_t body[PUBLISHER_BODY_MAX];
    size_t values = values_size(append->values, append->value_count);
    uint8_t *dst = group_reserve(local,
        ENTRY_HEAD_BYTES + STORE_PUBLISHER_MAX + PUBLISHER_BODY_MAX + values);
    if (dst == NULL) {
        return STORE_MEMORY;
    }
    take_number(publisher, append, pending);
    pending->kind = CHANGE_NUMBER;
    pending->time_ms = append->time_ms;
    struct entry known = publisher_entry(publisher, body);
    known.number = publisher->highest;
    known.time_ms = append->time_ms;
    size_t own = entry_size(&known);
    entry_encode(dst, &known);
    group_add(local, own);
    publisher->unwritten = false;
    values_encode(local, dst + own, append->values, append->value_count);
    return STORE_OK;
}

static enum store_status
take(struct local *local, struct stream *stream, struct publisher *publisher,
    const struct store_append *append, struct pending *pending)
{
    if (append->count == 0) {
        return take_number_alone(local, publisher, append, pending);
    }
    uint64_t time_ms = append->time_ms > stream->open_time_ms
                           ? append->time_ms
                           : stream->open_time_ms;
    struct entry entry = records_entry(
        (struct local_port *)pending->port, stream, append, time_ms);
    if (!encode(local, &entry, publisher, append)) {
        return STORE_MEMORY;
    }
    pending->stream = stream;
    pending->first_seq = entry.first_seq;
    pending->last_seq = entry.first_seq + append->count - 1;
    pending->time_ms = time_ms;
    pending->count = append->count;
    pending->bytes = append->bytes;
    stream->open_last = pending->last_seq;
    stream->open_time_ms = time_ms;
    stream->flight_records += append->count;
    stream->flight_bytes += append->bytes;
    if (publisher != NULL) {
        take_number(publisher, append, pending);
    }
    return STORE_OK;
}

/* The lock is held. */
static enum store_status
queue(struct local_port *port, const struct store_append *append,
    struct publisher *publisher, store_done *done, void *arg)
{
    struct local *local = port->local;
    struct pending *pending =
        group_pending(local, port, done, arg, CHANGE_APPEND);
    if (pending == NULL) {
        return STORE_MEMORY;
    }
    struct stream *stream = local_stream(local, append->stream);
    pending->number = append->stream;
    pending->status = judge(local, stream, publisher, append);
    if (pending->status != STORE_OK) {
        note_refusal(pending, stream, publisher, append);
        count_refusal(local, pending->status);
    } else if (take(local, stream, publisher, append, pending) != STORE_OK) {
        local->open->count--;
        port->references--;
        return STORE_MEMORY;
    }
    return STORE_OK;
}

enum store_status
local_append(struct store_port *store_port, const struct store_append *append,
    store_done *done, void *arg)
{
    struct local_port *port = (struct local_port *)store_port;
    struct local *local = port->local;
    enum store_status status = check(port, append);
    if (status == STORE_INVALID) {
        return status;
    }
    pthread_mutex_lock(&local->lock);
    local_look_by_hand(local);
    size_t bytes =
        append->bytes + values_size(append->values, append->value_count);
    if (!group_has_room(local, bytes)) {
        port->wants_room = true;
        pthread_mutex_unlock(&local->lock);
        return STORE_AGAIN;
    }
    struct publisher *publisher = NULL;
    bool has_publisher = append->publisher_bytes > 0;
    if (has_publisher) {
        publisher = publishers_get(&local->publishers, append->publisher,
            append->publisher_bytes, true);
    }
    if (has_publisher && publisher == NULL) {
        status = STORE_MEMORY;
    } else if (status == STORE_OK) {
        status = queue(port, append, publisher, done, arg);
    }
    if (status == STORE_MEMORY) {
        refuse_number(publisher, append, status);
    }
    pthread_mutex_unlock(&local->lock);
    return status;
}
