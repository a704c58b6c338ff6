/* SPDX-License-Identifier: MIT
 *
 * What is durable takes effect: entries of a batch, after its sync and at
 * recovery alike; see local_store.h. */
#include "checksum.h"
#include "local_store.h"

#include <inttypes.h>
#include <stdio.h>

struct stream *
local_adopt(struct local *local, uint32_t number)
{
    char name[32];
    int n = snprintf(name, sizeof name, "recovered-%" PRIu32, number);
    local_damage(local, 1,
        "the definition of stream %" PRIu32 " is lost; it is called %s", number,
        name);
    struct stream *stream = local_stream_new(local, number, name, (size_t)n);
    if (stream != NULL) {
        stream->durable = true;
    }
    return stream;
}

static void
add_to_state(struct stream *stream, const struct entry *entry)
{
    struct stream_state *state = &stream->state;
    if (state->records == 0) {
        state->first_seq = entry->first_seq;
        state->first_time_ms = entry->time_ms;
        stream->counted = entry->first_seq;
    }
    state->records += entry->count;
    state->bytes += entry->body_bytes;
    state->last_seq = entry->first_seq + entry->count - 1;
    state->last_time_ms = entry->time_ms;
}

static void
set_open(struct stream *stream)
{
    stream->open_last = stream->state.last_seq;
    stream->open_time_ms = stream->state.last_time_ms;
}

static bool
apply_records(struct local *local, const struct entry *entry,
    struct chunk *chunk, bool live)
{
    struct stream *stream = local_stream(local, entry->stream);
    if (stream == NULL) {
        stream = local_adopt(local, entry->stream);
    }
    if (stream == NULL) {
        return false;
    }
    if (stream->removed || entry->first_seq <= stream->state.last_seq) {
        return true; /* there already */
    }
    if (stream->state.last_seq > 0 && !live &&
        entry->first_seq > stream->state.last_seq + 1) {
        stream->state.damaged += entry->first_seq - stream->state.last_seq - 1;
    }
    struct memtable *table = &local->tables[local->active];
    struct piece piece = {.first_seq = entry->first_seq,
        .time_ms = entry->time_ms,
        .checksums = entry->checksums,
        .records = entry->body,
        .bytes = entry->body_bytes,
        .count = entry->count,
        .chunk = chunk};
    if (!local_touch(local, stream) ||
        !pieces_add(table, &stream->pieces[local->active], &piece)) {
        return false;
    }
    add_to_state(stream, entry);
    if (!live) {
        set_open(stream);
    }
    if (entry->name_bytes > 0 && entry->name_bytes <= STORE_PUBLISHER_MAX) {
        struct publisher *publisher = publishers_get(
            &local->publishers, entry->name, entry->name_bytes, true);
        if (publisher == NULL) {
            return false;
        }
        publisher_store(
            &local->publishers, publisher, entry->number, entry->time_ms);
        if (!live) {
            bool one = (entry->flags & ENTRY_ONE_NUMBER) != 0;
            uint32_t before = one ? 0 : entry->count - 1;
            publisher_take(
                publisher, number_before(entry->number, before), entry->number);
        }
    }
    return true;
}

static bool
apply_stream(struct local *local, const struct entry *entry)
{
    struct entry_stream definition;
    if (!entry_stream_decode(entry, &definition)) {
        return true;
    }
    struct stream *stream = local_stream(local, entry->stream);
    if (stream == NULL) {
        stream = local_stream_new(
            local, entry->stream, (const char *)entry->name, entry->name_bytes);
    }
    if (stream == NULL) {
        return false;
    }
    if (stream->durable) {
        /* What the limits until now have taken stays away, at recovery too. */
        local_retain(local, stream);
    }
    stream->durable = true;
    stream->state.limits =
        (struct store_limits){.max_records = definition.max_records,
            .max_bytes = definition.max_bytes,
            .max_age_ms = definition.max_age_ms,
            .discard_new = definition.discard_new};
    return local_touch(local, stream);
}

static bool
apply_remove(struct local *local, struct stream *stream)
{
    stream->removing = true;
    stream->removed = true;
    stream->durable = false;
    local_serve_waiting(local, stream);
    local->wants_checkpoint |= local->no_space;
    return local_touch(local, stream);
}

static bool
apply_entry(struct local *local, const struct entry *entry, const uint8_t *src,
    size_t bytes, struct chunk *chunk, bool live)
{
    struct stream *stream = local_stream(local, entry->stream);
    switch (entry->kind) {
    case ENTRY_RECORDS:
        return apply_records(local, entry, chunk, live);
    case ENTRY_VALUE:
        return memtable_put(
            &local->tables[local->active], entry, src, bytes, chunk);
    case ENTRY_STREAM:
        return apply_stream(local, entry);
    case ENTRY_TRIM:
        if (stream == NULL || stream->removed) {
            return true;
        }
        local_stream_trim(local, stream, entry->first_seq);
        local->wants_checkpoint |= local->no_space;
        return local_touch(local, stream);
    case ENTRY_REMOVE:
        return stream == NULL || stream->removed || apply_remove(local, stream);
    case ENTRY_PUBLISHER:
        /* What this process knows may be newer. */
        return live || publishers_load(&local->publishers, entry);
    }
    return true; /* of no kind that is known: it says nothing */
}

/* Of an entry in a batch that is not whole: the ranges of records that hold. */
static bool
apply_what_holds(
    struct local *local, const struct entry *entry, struct chunk *chunk)
{
    struct entry part = *entry;
    const uint8_t *next = entry->body;
    size_t left = entry->body_bytes;
    uint32_t begin = 0;
    part.body_bytes = 0;
    for (uint32_t i = 0; i <= entry->count; i++) {
        bool known = i < entry->count && left >= RECORD_HEAD &&
                     record_bytes(next) <= left;
        size_t bytes = known ? (size_t)record_bytes(next) : 0;
        if (known && checksum(next, bytes) ==
                         get_u32(entry->checksums + (size_t)i * 4)) {
            part.body_bytes += bytes;
        } else {
            part.first_seq = entry->first_seq + begin;
            part.count = i - begin;
            part.checksums = entry->checksums + (size_t)begin * 4;
            if (part.count > 0 && !apply_records(local, &part, chunk, false)) {
                return false;
            }
            if (i < entry->count) {
                local_damage(local, 1,
                    "record %" PRIu64 " of stream %" PRIu32 " is damaged",
                    entry->first_seq + i, entry->stream);
            }
            begin = i + 1;
            part.body = next + bytes;
            part.body_bytes = 0;
        }
        next += bytes;
        left -= bytes;
    }
    return true;
}

bool
local_apply(struct local *local, struct chunk *chunk, const uint8_t *body,
    size_t bytes, enum apply_source source)
{
    struct memtable *table = &local->tables[local->active];
    if (!memtable_hold(table, chunk)) {
        return false;
    }
    size_t at = 0;
    while (at < bytes) {
        struct entry entry;
        size_t length = entry_decode(body + at, bytes - at, &entry);
        if (length == 0) {
            /* Behind it, if its length holds. */
            local_damage(local, 1, "an entry of the journal is damaged");
            length = entry_length(body + at, bytes - at);
            if (length == 0) {
                break;
            }
        } else if (source == APPLY_DAMAGED && entry.kind == ENTRY_RECORDS) {
            if (!apply_what_holds(local, &entry, chunk)) {
                return false;
            }
        } else if (!apply_entry(local, &entry, body + at, length, chunk,
                       source == APPLY_LIVE)) {
            return false;
        }
        table->entries++;
        at += length;
    }
    return true;
}
