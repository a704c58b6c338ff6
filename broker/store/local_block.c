/* SPDX-License-Identifier: MIT
 *
 * Blocks of records; see local_block.h. */
#include "local_block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An entry is gathered in two parts, because its checksums come before its
 * records and nobody knows yet how many there will be. */
struct block_writer {
    struct base *base;
    uint32_t stream;
    uint64_t block_seq; /* the first one in `block` */
    uint8_t *block;     /* entries that are complete */
    size_t block_bytes, block_capacity;
    struct entry entry; /* that is being gathered; count 0: none */
    uint8_t *checksums;
    size_t checksums_capacity;
    uint8_t *records;
    size_t records_capacity;
};

struct block_writer *
block_writer_new(void)
{
    return calloc(1, sizeof(struct block_writer));
}

void
block_writer_free(struct block_writer *writer)
{
    if (writer != NULL) {
        free(writer->block);
        free(writer->checksums);
        free(writer->records);
        free(writer);
    }
}

void
block_begin(struct block_writer *writer, struct base *base, uint32_t stream)
{
    writer->base = base;
    writer->stream = stream;
    writer->block_bytes = 0;
    writer->entry.count = 0;
}

static bool
make_room(uint8_t **at, size_t *capacity, size_t need)
{
    if (need <= *capacity) {
        return true;
    }
    size_t more = need < BLOCK_BYTES ? BLOCK_BYTES : need;
    uint8_t *bytes = realloc(*at, more);
    if (bytes == NULL) {
        return false;
    }
    *at = bytes;
    *capacity = more;
    return true;
}

/* The entry that was gathered is complete. */
static int
end_entry(struct block_writer *writer)
{
    struct entry *entry = &writer->entry;
    if (entry->count == 0) {
        return 0;
    }
    entry->checksums = writer->checksums;
    entry->body = writer->records;
    size_t bytes = entry_size(entry);
    if (!make_room(&writer->block, &writer->block_capacity,
            writer->block_bytes + bytes)) {
        return ENOMEM;
    }
    if (writer->block_bytes == 0) {
        writer->block_seq = entry->first_seq;
    }
    entry_encode(writer->block + writer->block_bytes, entry);
    writer->block_bytes += bytes;
    entry->count = 0;
    return 0;
}

int
block_end(struct block_writer *writer)
{
    int error = end_entry(writer);
    if (error != 0 || writer->block_bytes == 0) {
        return error;
    }
    uint8_t key[12];
    put_u32(key, writer->stream);
    put_u64(key + 4, writer->block_seq);
    size_t bytes = writer->block_bytes;
    writer->block_bytes = 0;
    return writer->base->put(
        writer->base, BASE_BLOCKS, key, sizeof key, writer->block, bytes);
}

static size_t
gathered(const struct block_writer *writer)
{
    const struct entry *entry = &writer->entry;
    return writer->block_bytes +
           (entry->count == 0 ? 0
                              : ENTRY_HEAD_BYTES + (size_t)entry->count * 4 +
                                    entry->body_bytes);
}

/* So many records more go into the entry. */
static bool
gather(struct block_writer *writer, const uint8_t *checksums, uint32_t count,
    const uint8_t *records, size_t bytes)
{
    struct entry *entry = &writer->entry;
    size_t sums = (size_t)entry->count * 4;
    if (!make_room(&writer->checksums, &writer->checksums_capacity,
            sums + (size_t)count * 4) ||
        !make_room(&writer->records, &writer->records_capacity,
            entry->body_bytes + bytes)) {
        return false;
    }
    memcpy(writer->checksums + sums, checksums, (size_t)count * 4);
    memcpy(writer->records + entry->body_bytes, records, bytes);
    entry->count += count;
    entry->body_bytes += bytes;
    return true;
}

/* Records of one time. */
struct rest {
    uint64_t seq, time_ms;
    const uint8_t *checksums;
    const uint8_t *records;
    size_t bytes;
    uint32_t count;
};

/* As many as fit into the block; at least one if it is empty. */
static void
fit(size_t room, bool empty, const struct rest *rest, uint32_t *count,
    size_t *bytes)
{
    *count = 0;
    *bytes = 0;
    if (rest->bytes + (size_t)rest->count * 4 <= room) {
        *count = rest->count;
        *bytes = rest->bytes;
        return;
    }
    while (*count < rest->count) {
        size_t next = (size_t)record_bytes(rest->records + *bytes);
        if (*bytes + next + ((size_t)*count + 1) * 4 > room &&
            (!empty || *count > 0)) {
            break;
        }
        *bytes += next;
        *count += 1;
    }
}

static int
add(struct block_writer *writer, struct rest *rest)
{
    struct entry *entry = &writer->entry;
    int error = 0;
    bool joins = entry->count > 0 && entry->time_ms == rest->time_ms &&
                 entry->first_seq + entry->count == rest->seq;
    if (!joins) {
        error = end_entry(writer);
        *entry = (struct entry){.kind = ENTRY_RECORDS,
            .stream = writer->stream,
            .first_seq = rest->seq,
            .time_ms = rest->time_ms};
    }
    size_t used = gathered(writer) + (entry->count == 0 ? ENTRY_HEAD_BYTES : 0);
    size_t room = used < BLOCK_BYTES ? BLOCK_BYTES - used : 0;
    bool empty = writer->block_bytes == 0 && entry->count == 0;
    uint32_t count;
    size_t bytes;
    fit(room, empty, rest, &count, &bytes);
    if (error == 0 && count > 0 &&
        !gather(writer, rest->checksums, count, rest->records, bytes)) {
        error = ENOMEM;
    }
    rest->seq += count;
    rest->checksums += (size_t)count * 4;
    rest->records += bytes;
    rest->bytes -= bytes;
    rest->count -= count;
    if (error == 0 && rest->count > 0) {
        error = block_end(writer);
    }
    return error;
}

int
block_add(
    struct block_writer *writer, const struct piece *piece, uint64_t first_seq)
{
    struct rest rest = {.seq = piece->first_seq,
        .time_ms = piece->time_ms,
        .checksums = piece->checksums,
        .records = piece->records,
        .bytes = piece->bytes,
        .count = piece->count};
    while (rest.count > 0 && rest.seq < first_seq) {
        size_t bytes = (size_t)record_bytes(rest.records);
        rest.seq++;
        rest.checksums += 4;
        rest.records += bytes;
        rest.bytes -= bytes;
        rest.count--;
    }
    int error = 0;
    while (rest.count > 0 && error == 0) {
        error = add(writer, &rest);
    }
    return error;
}

/* ---- reading them -------------------------------------------------------- */

bool
block_is_of(const struct base_item *item, uint32_t stream)
{
    return item->key_bytes == 12 && get_u32(item->key) == stream;
}

bool
block_next(const struct base_item *item, size_t *at, struct entry *entry)
{
    while (*at < item->bytes) {
        const uint8_t *src = item->data + *at;
        size_t left = item->bytes - *at;
        size_t bytes = entry_decode(src, left, entry);
        if (bytes == 0) {
            bytes = entry_length(src, left);
            if (bytes == 0) {
                return false;
            }
            *at += bytes;
            continue;
        }
        *at += bytes;
        if (entry->kind == ENTRY_RECORDS) {
            return true;
        }
    }
    return false;
}

uint64_t
block_last_seq(const struct base_item *item)
{
    uint64_t last = 0;
    size_t at = 0;
    struct entry entry;
    while (block_next(item, &at, &entry)) {
        last = entry.first_seq + entry.count - 1;
    }
    return last;
}

void
block_count(const struct base_item *item, uint64_t first, uint64_t end,
    uint64_t *records, uint64_t *bytes)
{
    size_t at = 0;
    struct entry entry;
    while (block_next(item, &at, &entry)) {
        const uint8_t *record = entry.body;
        size_t left = entry.body_bytes;
        for (uint32_t i = 0; i < entry.count && left >= RECORD_HEAD &&
                             record_bytes(record) <= left;
             i++) {
            size_t length = (size_t)record_bytes(record);
            uint64_t seq = entry.first_seq + i;
            if (seq >= first && seq < end) {
                *records += 1;
                *bytes += length;
            }
            record += length;
            left -= length;
        }
    }
}
