/* SPDX-License-Identifier: MIT
 *
 * A store looked at from outside; see inspect.h.
 *
 * The journal is copied first and the tables are read then, so that what a
 * running broker moves from one to the other meanwhile is told at least once.
 * Each view of the tables is as short as copying one item: a long one would
 * keep the broker from using freed pages again. */
#include "inspect.h"

#include "checksum.h"
#include "inspect_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- telling ------------------------------------------------------------- */

void
inspect_damage(
    struct inspect *inspect, uint64_t records, const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    inspect->summary.damages++;
    if (inspect->hooks->damage != NULL &&
        !inspect->hooks->damage(
            inspect->hooks->arg, &inspect->where, text, records)) {
        inspect->stopped = true;
    }
}

static void
tell_run(struct inspect *inspect, uint32_t stream, const struct store_run *run)
{
    if (run->count == 0 || inspect->stopped) {
        return;
    }
    inspect->summary.records += run->count;
    inspect->summary.bytes += run->bytes;
    if (inspect->hooks->records != NULL &&
        !inspect->hooks->records(
            inspect->hooks->arg, &inspect->where, stream, run)) {
        inspect->stopped = true;
    }
}

/* Records whose checksums hold, from `first_seq` on. */
static void
tell_records(
    struct inspect *inspect, const struct entry *entry, uint64_t first_seq)
{
    const uint8_t *record = entry->body;
    size_t left = entry->body_bytes;
    struct store_run run = {.time_ms = entry->time_ms};
    for (uint32_t i = 0; i < entry->count && !inspect->stopped; i++) {
        uint64_t seq = entry->first_seq + i;
        if (left < RECORD_HEAD || record_bytes(record) > left) {
            tell_run(inspect, entry->stream, &run);
            run.count = 0;
            inspect_damage(inspect, entry->count - i,
                "stream %" PRIu32 ": the length of record %" PRIu64
                " is damaged",
                entry->stream, seq);
            return;
        }
        size_t bytes = (size_t)record_bytes(record);
        bool holds = checksum(record, bytes) ==
                     get_u32(entry->checksums + (size_t)i * 4);
        if (holds && seq >= first_seq) {
            if (run.count == 0) {
                run.first_seq = seq;
                run.records = record;
                run.bytes = 0;
            }
            run.count++;
            run.bytes += bytes;
        } else {
            tell_run(inspect, entry->stream, &run);
            run.count = 0;
        }
        if (!holds) {
            inspect_damage(inspect, 1,
                "stream %" PRIu32 ": record %" PRIu64 " is damaged",
                entry->stream, seq);
        }
        record += bytes;
        left -= bytes;
    }
    tell_run(inspect, entry->stream, &run);
}

static void
tell_stream(struct inspect *inspect, const struct entry *entry)
{
    struct entry_stream values;
    if (!entry_stream_decode(entry, &values)) {
        inspect_damage(inspect, 0, "a definition of a stream is damaged");
        return;
    }
    inspect->summary.streams += inspect->where.place == INSPECT_TABLES;
    if (inspect->hooks->stream == NULL) {
        return;
    }
    struct store_stream_info info = {.stream = entry->stream,
        .limits = {.max_records = values.max_records,
            .max_bytes = values.max_bytes,
            .max_age_ms = values.max_age_ms,
            .discard_new = values.discard_new},
        .first_seq = values.has_state ? values.first_seq : 1,
        .last_seq = values.last_seq,
        .records = values.records,
        .bytes = values.bytes,
        .first_time_ms = values.first_time_ms,
        .last_time_ms = values.last_time_ms,
        .trimmed = values.trimmed,
        .damaged = values.damaged};
    memcpy(info.name, entry->name, entry->name_bytes);
    inspect->stopped |=
        !inspect->hooks->stream(inspect->hooks->arg, &inspect->where, &info);
}

static void
tell_value(struct inspect *inspect, const struct entry *entry)
{
    bool deleted = (entry->flags & ENTRY_DELETED) != 0;
    struct store_value value = {.space = (enum store_space)entry->space,
        .key = entry->body,
        .key_bytes = entry->count,
        .data = deleted ? NULL : entry->body + entry->count,
        .bytes = entry->body_bytes - entry->count};
    inspect->summary.values += inspect->where.place == INSPECT_TABLES;
    if (inspect->hooks->value != NULL) {
        inspect->stopped |= !inspect->hooks->value(
            inspect->hooks->arg, &inspect->where, &value);
    }
}

static void
tell_publisher(struct inspect *inspect, const struct entry *entry)
{
    if (entry->kind == ENTRY_PUBLISHER) {
        inspect->summary.publishers += inspect->where.place == INSPECT_TABLES;
    }
    if (inspect->hooks->publisher != NULL && entry->name_bytes > 0 &&
        entry->number != 0) {
        inspect->stopped |= !inspect->hooks->publisher(inspect->hooks->arg,
            &inspect->where, entry->name, entry->name_bytes, entry->number);
    }
}

void
inspect_entry(
    struct inspect *inspect, const struct entry *entry, uint64_t first_seq)
{
    const struct inspect_hooks *hooks = inspect->hooks;
    switch (entry->kind) {
    case ENTRY_RECORDS:
        tell_records(inspect, entry, first_seq);
        tell_publisher(inspect, entry);
        break;
    case ENTRY_VALUE:
        tell_value(inspect, entry);
        break;
    case ENTRY_STREAM:
        tell_stream(inspect, entry);
        break;
    case ENTRY_PUBLISHER:
        tell_publisher(inspect, entry);
        break;
    case ENTRY_TRIM:
        inspect->stopped |=
            hooks->trim != NULL && !hooks->trim(hooks->arg, &inspect->where,
                                       entry->stream, entry->first_seq);
        break;
    case ENTRY_REMOVE:
        inspect->stopped |=
            hooks->remove != NULL &&
            !hooks->remove(hooks->arg, &inspect->where, entry->stream);
        break;
    }
}

/* ---- tables -------------------------------------------------------------- */

/* The next item behind the key, copied. 0, or ENOENT at the end. */
static int
copy_next(struct inspect *inspect, enum base_table table, struct copied *copied)
{
    struct base *base = inspect->base;
    struct base_item item;
    uint8_t key[BASE_KEY_MAX + 1];
    size_t key_bytes = copied->key_bytes;
    memcpy(key, copied->key, key_bytes);
    if (key_bytes > 0) {
        key[key_bytes++] = 0; /* the next key that there can be */
    }
    int error = base->view_begin(base);
    if (error != 0) {
        return error;
    }
    error = base->seek(base, table, key, key_bytes, false, &item);
    if (error == 0 && item.bytes > copied->capacity) {
        uint8_t *data = realloc(copied->data, item.bytes);
        if (data == NULL) {
            error = ENOMEM;
        } else {
            copied->data = data;
            copied->capacity = item.bytes;
        }
    }
    if (error == 0) {
        memcpy(copied->key, item.key, item.key_bytes);
        copied->key_bytes = item.key_bytes;
        memcpy(copied->data, item.data, item.bytes);
        copied->bytes = item.bytes;
    }
    base->view_end(base);
    return error;
}

/* Of a stream in the tables: what lies before is not there any more. */
static void
note_first(struct inspect *inspect, const struct copied *copied)
{
    struct entry entry;
    struct entry_stream values;
    if (entry_decode(copied->data, copied->bytes, &entry) == 0 ||
        !entry_stream_decode(&entry, &values) ||
        entry.stream > UINT32_MAX / 2) {
        return;
    }
    if (entry.stream >= inspect->first_count) {
        size_t count = (size_t)entry.stream * 2 + 16;
        uint64_t *first = realloc(inspect->first_seqs, count * sizeof *first);
        if (first == NULL) {
            return;
        }
        memset(first + inspect->first_count, 0,
            (count - inspect->first_count) * sizeof *first);
        inspect->first_seqs = first;
        inspect->first_count = count;
    }
    inspect->first_seqs[entry.stream] = values.first_seq;
}

static void
tell_item(
    struct inspect *inspect, enum base_table table, const struct copied *copied)
{
    static const char *const names[BASE_TABLES] = {
        "meta", "streams", "blocks", "values", "publishers"};
    size_t at = 0;
    inspect->summary.blocks += table == BASE_BLOCKS;
    if (table == BASE_STREAMS) {
        note_first(inspect, copied);
    }
    while (at < copied->bytes && !inspect->stopped) {
        struct entry entry;
        size_t left = copied->bytes - at;
        size_t bytes = entry_decode(copied->data + at, left, &entry);
        if (bytes == 0) {
            inspect_damage(inspect, 0, "an entry of the table %s is damaged",
                names[table]);
            bytes = entry_length(copied->data + at, left);
            if (bytes == 0) {
                return;
            }
        } else {
            uint64_t first = entry.stream < inspect->first_count
                                 ? inspect->first_seqs[entry.stream]
                                 : 0;
            inspect_entry(inspect, &entry, first);
        }
        at += bytes;
    }
}

static void
get_applied(struct inspect *inspect)
{
    struct base *base = inspect->base;
    struct base_item item;
    static const char name[] = "applied";
    if (base->view_begin(base) != 0) {
        return;
    }
    if (base->seek(base, BASE_META, name, sizeof name - 1, false, &item) == 0 &&
        item.key_bytes == sizeof name - 1 && item.bytes == 12 &&
        memcmp(item.key, name, sizeof name - 1) == 0) {
        if (checksum(item.data, 8) == get_u32(item.data + 8)) {
            inspect->summary.applied = get_u64(item.data);
        } else {
            inspect_damage(
                inspect, 0, "which commits the tables hold is damaged");
        }
    }
    base->sizes(base, &inspect->summary.tables_bytes,
        &inspect->summary.tables_free_bytes);
    base->view_end(base);
}

void
inspect_tables(struct inspect *inspect)
{
    static const enum base_table order[] = {
        BASE_STREAMS, BASE_BLOCKS, BASE_VALUES, BASE_PUBLISHERS};
    inspect->where = (struct inspect_where){
        .place = INSPECT_TABLES, .file = INSPECT_TABLES_NAME};
    get_applied(inspect);
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        struct copied copied = {.data = NULL};
        int error = 0;
        while (!inspect->stopped &&
               (error = copy_next(inspect, order[i], &copied)) == 0) {
            tell_item(inspect, order[i], &copied);
        }
        if (error != 0 && error != ENOENT) {
            inspect_damage(
                inspect, 0, "a table ends in an error: %s", strerror(error));
        }
        free(copied.data);
    }
}
