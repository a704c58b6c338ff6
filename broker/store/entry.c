/* SPDX-License-Identifier: MIT
 *
 * Entries to bytes and back; see entry.h. */
#include "entry.h"

#include "checksum.h"

#include <string.h>

enum {
    AT_KIND = 0,
    AT_FLAGS = 1,
    AT_NAME_BYTES = 2,
    AT_SPACE = 3,
    AT_LENGTH = 4,
    AT_CHECKSUM = 8,
    AT_STREAM = 12,
    AT_FIRST_SEQ = 16,
    AT_TIME = 24,
    AT_COUNT = 32,
    AT_NUMBER = 36,
};

static size_t
checksums_bytes(const struct entry *entry)
{
    return entry->kind == ENTRY_RECORDS ? (size_t)entry->count * 4 : 0;
}

size_t
entry_size(const struct entry *entry)
{
    return ENTRY_HEAD_BYTES + entry->name_bytes + checksums_bytes(entry) +
           entry->body_bytes;
}

/* Of everything but itself and the records. */
static uint32_t
head_checksum(const uint8_t *src, size_t checked)
{
    uint32_t sum = checksum(src, AT_CHECKSUM);
    return checksum_add(sum, src + AT_STREAM, checked - AT_STREAM);
}

void
entry_encode(uint8_t *dst, const struct entry *entry)
{
    size_t sums = checksums_bytes(entry);
    size_t length = entry_size(entry);
    dst[AT_KIND] = (uint8_t)entry->kind;
    dst[AT_FLAGS] = entry->flags;
    dst[AT_NAME_BYTES] = entry->name_bytes;
    dst[AT_SPACE] = entry->space;
    put_u32(dst + AT_LENGTH, (uint32_t)length);
    put_u32(dst + AT_STREAM, entry->stream);
    put_u64(dst + AT_FIRST_SEQ, entry->first_seq);
    put_u64(dst + AT_TIME, entry->time_ms);
    put_u32(dst + AT_COUNT, entry->count);
    put_u32(dst + AT_NUMBER, entry->number);
    uint8_t *next = dst + ENTRY_HEAD_BYTES;
    if (entry->name_bytes > 0) {
        memcpy(next, entry->name, entry->name_bytes);
        next += entry->name_bytes;
    }
    if (sums > 0) {
        memcpy(next, entry->checksums, sums);
        next += sums;
    }
    /* A body may have been put there already. */
    if (entry->body_bytes > 0 && entry->body != next) {
        memcpy(next, entry->body, entry->body_bytes);
    }
    size_t checked =
        entry->kind == ENTRY_RECORDS ? length - entry->body_bytes : length;
    put_u32(dst + AT_CHECKSUM, head_checksum(dst, checked));
}

size_t
entry_decode(const uint8_t *src, size_t len, struct entry *out)
{
    if (len < ENTRY_HEAD_BYTES) {
        return 0;
    }
    size_t length = get_u32(src + AT_LENGTH);
    size_t name_bytes = src[AT_NAME_BYTES];
    if (length > len || length < ENTRY_HEAD_BYTES + name_bytes) {
        return 0;
    }
    struct entry entry = {.kind = (enum entry_kind)src[AT_KIND],
        .flags = src[AT_FLAGS],
        .space = src[AT_SPACE],
        .name_bytes = (uint8_t)name_bytes,
        .name = src + ENTRY_HEAD_BYTES,
        .stream = get_u32(src + AT_STREAM),
        .first_seq = get_u64(src + AT_FIRST_SEQ),
        .time_ms = get_u64(src + AT_TIME),
        .count = get_u32(src + AT_COUNT),
        .number = get_u32(src + AT_NUMBER)};
    size_t left = length - ENTRY_HEAD_BYTES - name_bytes;
    const uint8_t *next = src + ENTRY_HEAD_BYTES + name_bytes;
    size_t checked = length;
    if (entry.kind == ENTRY_RECORDS) {
        if (entry.count == 0 || left / 4 < entry.count) {
            return 0;
        }
        entry.checksums = next;
        next += (size_t)entry.count * 4;
        left -= (size_t)entry.count * 4;
        checked -= left;
    } else if (entry.kind == ENTRY_VALUE && entry.count > left) {
        return 0;
    }
    if (get_u32(src + AT_CHECKSUM) != head_checksum(src, checked)) {
        return 0;
    }
    entry.body = next;
    entry.body_bytes = left;
    *out = entry;
    return length;
}

size_t
entry_length(const uint8_t *src, size_t len)
{
    if (len < ENTRY_HEAD_BYTES) {
        return 0;
    }
    size_t length = get_u32(src + AT_LENGTH);
    return length < ENTRY_HEAD_BYTES || length > len ? 0 : length;
}

bool
records_check(
    const uint8_t *records, size_t len, uint32_t count, uint8_t *checksums)
{
    for (uint32_t i = 0; i < count; i++) {
        if (len < RECORD_HEAD || record_bytes(records) > len) {
            return false;
        }
        size_t bytes = (size_t)record_bytes(records);
        put_u32(checksums + (size_t)i * 4, checksum(records, bytes));
        records += bytes;
        len -= bytes;
    }
    return len == 0;
}

size_t
entry_stream_encode(
    uint8_t dst[ENTRY_STREAM_BYTES], const struct entry_stream *stream)
{
    put_u64(dst, stream->max_records);
    put_u64(dst + 8, stream->max_bytes);
    put_u64(dst + 16, stream->max_age_ms);
    if (!stream->has_state) {
        return 24;
    }
    put_u64(dst + 24, stream->first_seq);
    put_u64(dst + 32, stream->last_seq);
    put_u64(dst + 40, stream->records);
    put_u64(dst + 48, stream->bytes);
    put_u64(dst + 56, stream->first_time_ms);
    put_u64(dst + 64, stream->last_time_ms);
    put_u64(dst + 72, stream->trimmed);
    put_u64(dst + 80, stream->damaged);
    return ENTRY_STREAM_BYTES;
}

bool
entry_stream_decode(const struct entry *entry, struct entry_stream *out)
{
    const uint8_t *src = entry->body;
    if (entry->kind != ENTRY_STREAM || entry->name_bytes == 0 ||
        (entry->body_bytes != 24 && entry->body_bytes != ENTRY_STREAM_BYTES)) {
        return false;
    }
    *out = (struct entry_stream){.max_records = get_u64(src),
        .max_bytes = get_u64(src + 8),
        .max_age_ms = get_u64(src + 16),
        .discard_new = (entry->flags & ENTRY_DISCARD_NEW) != 0,
        .has_state = entry->body_bytes == ENTRY_STREAM_BYTES};
    if (out->has_state) {
        out->first_seq = get_u64(src + 24);
        out->last_seq = get_u64(src + 32);
        out->records = get_u64(src + 40);
        out->bytes = get_u64(src + 48);
        out->first_time_ms = get_u64(src + 56);
        out->last_time_ms = get_u64(src + 64);
        out->trimmed = get_u64(src + 72);
        out->damaged = get_u64(src + 80);
    }
    return true;
}
