/* SPDX-License-Identifier: MIT
 *
 * Groups: what is to be committed together; see local_store.h. */
#include "local_store.h"

#include <stdlib.h>
#include <string.h>

bool
group_has_room(const struct local *local, size_t bytes)
{
    if (local->stats.failed || local->no_space) {
        return true; /* to be told so */
    }
    if (local->flight > 0 && local->flight + bytes > local->in_flight_max) {
        return false;
    }
    uint64_t table = local->tables[local->active].bytes + local->flight;
    return table < local->table_max ||
           (!local->frozen && journal_has_free(&local->journal));
}

/* The open batch goes on in a chunk that has room. */
static bool
move(struct local *local, struct group *group, size_t bytes)
{
    size_t used = group->chunk == NULL ? JOURNAL_HEAD_BYTES : group->bytes;
    size_t need = used + bytes;
    if (group->chunk != NULL && need > local->pool.chunk_bytes / 2) {
        need += need / 2; /* it may go on growing */
    }
    struct chunk *chunk = chunk_new(&local->pool, need);
    if (chunk == NULL) {
        return false;
    }
    if (group->chunk != NULL) {
        memcpy(chunk->data, group->chunk->data + group->start, group->bytes);
        chunk_unref(&local->pool, group->chunk);
    } else {
        group->bytes = JOURNAL_HEAD_BYTES;
    }
    group->chunk = chunk;
    group->start = 0;
    return true;
}

/* The rest of the chunk that the other group is in. */
static bool
share(struct local *local, struct group *group, size_t bytes)
{
    struct group *other =
        group == &local->groups[0] ? &local->groups[1] : &local->groups[0];
    struct chunk *chunk = other->chunk;
    if (chunk == NULL) {
        return false;
    }
    size_t start = (other->start + other->bytes + 7) & ~(size_t)7;
    if (start > chunk->capacity ||
        chunk->capacity - start < JOURNAL_HEAD_BYTES + bytes) {
        return false;
    }
    group->chunk = chunk_ref(chunk);
    group->start = start;
    group->bytes = JOURNAL_HEAD_BYTES;
    return true;
}

uint8_t *
group_reserve(struct local *local, size_t bytes)
{
    struct group *group = local->open;
    if (group->chunk != NULL && group->bytes + bytes > GROUP_BYTES_MAX) {
        return NULL;
    }
    bool fits = group->chunk != NULL ? bytes <= group->chunk->capacity -
                                                    group->start - group->bytes
                                     : share(local, group, bytes);
    if (!fits && !move(local, group, bytes)) {
        return NULL;
    }
    return group->chunk->data + group->start + group->bytes;
}

void
group_add(struct local *local, size_t bytes)
{
    struct group *group = local->open;
    group->bytes += bytes;
    group->entries++;
    group->flight += bytes;
    local->flight += bytes;
}

struct pending *
group_pending(struct local *local, struct local_port *port, store_done *done,
    void *arg, enum change_kind kind)
{
    struct group *group = local->open;
    if (group->count == group->capacity) {
        size_t capacity = group->capacity * 2 + 64;
        struct pending *pendings =
            realloc(group->pendings, capacity * sizeof *pendings);
        if (pendings == NULL) {
            return NULL;
        }
        group->pendings = pendings;
        group->capacity = capacity;
    }
    struct pending *pending = &group->pendings[group->count++];
    *pending =
        (struct pending){.port = port, .done = done, .arg = arg, .kind = kind};
    port->references++;
    return pending;
}

/* Undo what it did to what is open. */
static void
refuse(struct local *local, struct pending *pending, enum store_status status)
{
    struct stream *stream = pending->stream;
    struct publisher *publisher = pending->publisher;
    /* Any other answer may be owed to what is not stored now. */
    if ((pending->status == STORE_DUPLICATE ||
            pending->status == STORE_UNSURE) &&
        publisher_has_stored(publisher, pending->publisher_last)) {
        return;
    }
    if (publisher != NULL) {
        publisher->in_flight--;
    }
    if (pending->status == STORE_OK && publisher != NULL) {
        publisher->highest = pending->publisher_before;
        publisher_refuse(publisher, pending->publisher_first,
            pending->publisher_last, status);
    }
    if (pending->status == STORE_OK && stream != NULL) {
        if (pending->kind == CHANGE_APPEND) {
            stream->flight_records -= pending->count;
            stream->flight_bytes -= pending->bytes;
            stream->open_last = stream->state.last_seq;
            stream->open_time_ms = stream->state.last_time_ms;
        } else if (pending->kind == CHANGE_REMOVE) {
            stream->removing = false;
        } else if (pending->kind == CHANGE_CREATE) {
            local_stream_free(local, stream);
        }
    }
    pending->status = status;
    pending->first_seq = 0;
    pending->last_seq = 0;
    pending->stream = NULL;
    pending->publisher = NULL;
}

static void
refuse_group(struct local *local, struct group *group, enum store_status status)
{
    for (size_t i = group->count; i-- > 0;) {
        refuse(local, &group->pendings[i], status);
    }
    chunk_unref(&local->pool, group->chunk);
    group->chunk = NULL;
    group->bytes = 0;
    group->entries = 0;
    local->flight -= group->flight;
    group->flight = 0;
}

void
group_refuse_all(
    struct local *local, struct group *writing, enum store_status status)
{
    if (local->open != writing) {
        refuse_group(local, local->open, status);
        local->ticked |= local->open->count > 0;
    }
    refuse_group(local, writing, status);
}

void
group_complete(struct local *local, struct group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        struct pending *pending = &group->pendings[i];
        struct completion completion = {.kind = COMPLETE_CHANGE,
            .arg = pending->arg,
            .change = {.done = pending->done,
                .result = {.status = pending->status,
                    .stream = pending->number,
                    .first_seq = pending->first_seq,
                    .last_seq = pending->last_seq,
                    .time_ms = pending->time_ms}}};
        if (pending->publisher != NULL) {
            pending->publisher->in_flight--;
        }
        local_complete_many(pending->port, &completion);
    }
    local_completed(local);
    group->count = 0;
    /* The chunk stays, so that the next batch can go on behind this one. */
    local->flight -= group->flight;
    group->flight = 0;
    group->entries = 0;
    local_give_room(local);
}

void
group_fini(struct local *local, struct group *group)
{
    chunk_unref(&local->pool, group->chunk);
    free(group->pendings);
    *group = (struct group){.pendings = NULL};
}
