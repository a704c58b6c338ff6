/* SPDX-License-Identifier: MIT
 *
 * A store looked at from outside: what entries say; see inspect.h. */
#include "inspect.h"

#include "checksum.h"
#include "inspect_parts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- streams ------------------------------------------------------------- */

struct inspect_stream *
inspect_stream(struct inspect *inspect, uint32_t number)
{
    if (number >= inspect->stream_count) {
        size_t count = (size_t)number * 2 + 16;
        struct inspect_stream *streams =
            realloc(inspect->streams, count * sizeof *streams);
        if (streams == NULL) {
            inspect_damage(inspect, 0, "memory is out: the rest is not read");
            inspect->stopped = true;
            return NULL;
        }
        memset(streams + inspect->stream_count, 0,
            (count - inspect->stream_count) * sizeof *streams);
        inspect->streams = streams;
        inspect->stream_count = count;
    }
    return &inspect->streams[number];
}

void
inspect_ask(struct inspect *inspect, uint32_t number)
{
    const struct inspect_hooks *hooks = inspect->hooks;
    struct inspect_stream *stream = &inspect->streams[number];
    uint64_t from = 0;
    stream->asked = true;
    stream->wanted =
        hooks->records != NULL &&
        (hooks->wanted == NULL || hooks->wanted(hooks->arg, number, &from));
    stream->from = from;
}

static void
tell_info(struct inspect *inspect, const struct store_stream_info *info)
{
    if (inspect->hooks->stream != NULL) {
        inspect->stopped |=
            !inspect->hooks->stream(inspect->hooks->arg, &inspect->where, info);
    }
}

static void
tell_stream(struct inspect *inspect, const struct entry *entry)
{
    struct entry_stream values;
    struct inspect_stream *stream = inspect_stream(inspect, entry->stream);
    if (stream == NULL) {
        return;
    }
    if (!entry_stream_decode(entry, &values)) {
        inspect_damage(inspect, 0,
            "the definition of stream %" PRIu32 " is damaged", entry->stream);
        return;
    }
    bool is_new = !stream->known;
    struct store_stream_info info = {.stream = entry->stream,
        .limits = {.max_records = values.max_records,
            .max_bytes = values.max_bytes,
            .max_age_ms = values.max_age_ms,
            .discard_new = values.discard_new},
        .first_seq = values.has_state ? values.first_seq : 1,
        .last_seq = values.has_state ? values.last_seq : 0};
    if (values.has_state) {
        info.records = values.records;
        info.bytes = values.bytes;
        info.first_time_ms = values.first_time_ms;
        info.last_time_ms = values.last_time_ms;
        info.trimmed = values.trimmed;
        info.damaged = values.damaged;
    }
    memcpy(info.name, entry->name, entry->name_bytes);
    if (is_new) {
        stream->known = true;
        stream->first_seq = info.first_seq;
        stream->last_seq = info.last_seq;
        inspect->summary.streams++;
    }
    tell_info(inspect, &info);
}

/* There are records of it, and no definition. */
static void
adopt(struct inspect *inspect, struct inspect_stream *stream, uint32_t number,
    uint64_t first_seq)
{
    struct store_stream_info info = {
        .stream = number, .first_seq = first_seq, .last_seq = first_seq - 1};
    snprintf(info.name, sizeof info.name, "recovered-%" PRIu32, number);
    stream->known = true;
    stream->first_seq = first_seq;
    inspect->summary.streams++;
    inspect_damage(
        inspect, 0, "the definition of stream %" PRIu32 " is lost", number);
    tell_info(inspect, &info);
}

/* ---- records ------------------------------------------------------------- */

void
inspect_missing(struct inspect *inspect, uint64_t first, uint64_t end)
{
    struct inspect_where where = inspect->where;
    const struct inspect_stream *stream = inspect_stream(inspect, where.stream);
    if (stream != NULL && inspect->summary.in_use &&
        where.place == INSPECT_TABLES) {
        inspect_renew_stream(inspect, where.stream);
    }
    if (stream == NULL || stream->removed) {
        return;
    }
    first = first < stream->first_seq ? stream->first_seq : first;
    if (first >= end || inspect->stopped) {
        return;
    }
    where.first_seq = first;
    where.last_seq = end - 1;
    inspect->summary.missing += end - first;
    if (inspect->hooks->missing != NULL) {
        inspect->stopped |=
            !inspect->hooks->missing(inspect->hooks->arg, &where);
    }
}

static void
tell_run(struct inspect *inspect, uint32_t stream, struct store_run *run)
{
    if (run->count > 0 && !inspect->stopped) {
        inspect->where.first_seq = run->first_seq;
        inspect->where.last_seq = run->first_seq + run->count - 1;
        inspect->summary.records += run->count;
        inspect->summary.bytes += run->bytes;
        inspect->stopped |= inspect->hooks->records != NULL &&
                            !inspect->hooks->records(inspect->hooks->arg,
                                &inspect->where, stream, run);
    }
    run->count = 0;
}

/* The record, if its checksum holds, joins the run; else the run has ended. */
static void
tell_record(struct inspect *inspect, const struct entry *entry, uint32_t nth,
    const uint8_t *record, size_t bytes, struct store_run *run)
{
    uint64_t seq = entry->first_seq + nth;
    if (checksum(record, bytes) ==
        get_u32(entry->checksums + (size_t)nth * 4)) {
        if (run->count == 0) {
            run->first_seq = seq;
            run->records = record;
            run->bytes = 0;
        }
        run->count++;
        run->bytes += bytes;
        return;
    }
    tell_run(inspect, entry->stream, run);
    inspect->where.first_seq = inspect->where.last_seq = seq;
    inspect_damage(inspect, 1,
        "stream %" PRIu32 ": record %" PRIu64 " is damaged", entry->stream,
        seq);
}

/* Records that are wanted and have not been told. */
static void
tell_records(struct inspect *inspect, const struct entry *entry,
    struct inspect_stream *stream)
{
    const uint8_t *record = entry->body;
    size_t left = entry->body_bytes;
    struct store_run run = {.time_ms = entry->time_ms};
    uint64_t lowest =
        stream->next > stream->first_seq ? stream->next : stream->first_seq;
    lowest = lowest > stream->from ? lowest : stream->from;
    if (entry->first_seq > lowest) {
        inspect_missing(inspect, lowest, entry->first_seq);
    }
    for (uint32_t i = 0; i < entry->count && !inspect->stopped; i++) {
        uint64_t seq = entry->first_seq + i;
        if (left < RECORD_HEAD || record_bytes(record) > left) {
            tell_run(inspect, entry->stream, &run);
            inspect->where.first_seq = seq > lowest ? seq : lowest;
            inspect->where.last_seq = entry->first_seq + entry->count - 1;
            inspect_damage(inspect, entry->count - i,
                "stream %" PRIu32 ": the length of record %" PRIu64
                " is damaged",
                entry->stream, seq);
            break;
        }
        size_t bytes = (size_t)record_bytes(record);
        if (seq >= lowest) {
            tell_record(inspect, entry, i, record, bytes, &run);
        }
        record += bytes;
        left -= bytes;
    }
    tell_run(inspect, entry->stream, &run);
    uint64_t end = entry->first_seq + entry->count;
    stream->next = end > stream->next ? end : stream->next;
}

static void
take_records(struct inspect *inspect, const struct entry *entry)
{
    struct inspect_stream *stream = inspect_stream(inspect, entry->stream);
    if (stream == NULL || stream->removed || entry->first_seq == 0 ||
        entry->first_seq > UINT64_MAX - entry->count) {
        return;
    }
    inspect->where.stream = entry->stream;
    if (!stream->known) {
        adopt(inspect, stream, entry->stream, entry->first_seq);
        stream = inspect_stream(inspect, entry->stream);
    }
    if (!stream->asked) {
        inspect_ask(inspect, entry->stream);
    }
    tell_records(inspect, entry, stream);
    inspect->where.stream = 0;
    inspect->where.first_seq = inspect->where.last_seq = 0;
}

/* ---- the rest ------------------------------------------------------------ */

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

static void
tell_trim(struct inspect *inspect, const struct entry *entry)
{
    const struct inspect_hooks *hooks = inspect->hooks;
    struct inspect_stream *stream = inspect_stream(inspect, entry->stream);
    if (stream == NULL) {
        return;
    }
    if (stream->first_seq < entry->first_seq) {
        stream->first_seq = entry->first_seq;
    }
    inspect->stopped |=
        hooks->trim != NULL && !hooks->trim(hooks->arg, &inspect->where,
                                   entry->stream, entry->first_seq);
}

static void
tell_remove(struct inspect *inspect, const struct entry *entry)
{
    const struct inspect_hooks *hooks = inspect->hooks;
    struct inspect_stream *stream = inspect_stream(inspect, entry->stream);
    if (stream == NULL) {
        return;
    }
    stream->removed = true;
    inspect->stopped |=
        hooks->remove != NULL &&
        !hooks->remove(hooks->arg, &inspect->where, entry->stream);
}

void
inspect_entry(struct inspect *inspect, const struct entry *entry)
{
    switch (entry->kind) {
    case ENTRY_RECORDS:
        take_records(inspect, entry);
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
        tell_trim(inspect, entry);
        break;
    case ENTRY_REMOVE:
        tell_remove(inspect, entry);
        break;
    }
}
