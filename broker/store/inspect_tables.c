/* SPDX-License-Identifier: MIT
 *
 * The tables looked at from outside; see inspect.h.
 *
 * Item by item, each by its key anew: with a broker running each may be of a
 * later transaction than the one before. What then seems to be missing is asked
 * for once more, as it may have been trimmed meanwhile. */
#include "checksum.h"
#include "inspect_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_KEY 12u /* stream, first sequence */

static const char *const names[BASE_TABLES] = {
    "meta", "streams", "blocks", "values", "publishers"};

struct copied {
    uint8_t key[BASE_KEY_MAX + 1];
    size_t key_bytes;
    uint8_t *data;
    size_t bytes, capacity;
};

static bool
get_number(struct inspect *inspect, const char *name, uint64_t *value)
{
    struct base_item item;
    size_t len = strlen(name);
    if (pages_seek(inspect->pages, BASE_META, name, len, false, &item) != 0 ||
        item.key_bytes != len || memcmp(item.key, name, len) != 0 ||
        item.bytes != 12 || checksum(item.data, 8) != get_u32(item.data + 8)) {
        return false;
    }
    *value = get_u64(item.data);
    return true;
}

bool
inspect_applied(struct inspect *inspect, uint64_t *applied)
{
    *applied = 0;
    return get_number(inspect, "applied", applied) ||
           get_number(inspect, "applied, again", applied);
}

void
inspect_renew_stream(struct inspect *inspect, uint32_t number)
{
    struct inspect_stream *stream = &inspect->streams[number];
    struct base_item item;
    struct entry entry;
    struct entry_stream values;
    uint8_t key[4];
    put_u32(key, number);
    int error =
        pages_seek(inspect->pages, BASE_STREAMS, key, sizeof key, false, &item);
    bool found = error == 0 && item.key_bytes == sizeof key &&
                 memcmp(item.key, key, sizeof key) == 0;
    if (error == ENOENT || (error == 0 && !found)) {
        stream->removed = stream->last_seq != 0;
    } else if (found && entry_decode(item.data, item.bytes, &entry) != 0 &&
               entry_stream_decode(&entry, &values) && values.has_state &&
               values.first_seq > stream->first_seq) {
        stream->first_seq = values.first_seq;
    }
}

/* ---- items --------------------------------------------------------------- */

/* Copy the first item from copied->key on; its key is there then. */
static int
copy_item(struct inspect *inspect, enum base_table table, bool before,
    struct copied *copied)
{
    struct base_item item = {.key_bytes = 0};
    int error = pages_seek(
        inspect->pages, table, copied->key, copied->key_bytes, before, &item);
    if (error == 0 && item.bytes > copied->capacity) {
        uint8_t *data = realloc(copied->data, item.bytes);
        if (data == NULL) {
            return ENOMEM;
        }
        copied->data = data;
        copied->capacity = item.bytes;
    }
    if (error == 0 && item.bytes > 0) {
        memcpy(copied->data, item.data, item.bytes);
    }
    if (error == 0 || error == EBADMSG) {
        if (item.key_bytes > 0) {
            memcpy(copied->key, item.key, item.key_bytes);
        }
        copied->key_bytes = item.key_bytes;
        copied->bytes = error == 0 ? item.bytes : 0;
    }
    return error;
}

/* Does the item stand where it belongs? */
static bool
is_in_place(enum base_table table, const struct copied *copied,
    const struct entry *entry, bool first)
{
    const uint8_t *key = copied->key;
    size_t bytes = copied->key_bytes;
    switch (table) {
    case BASE_STREAMS:
        return entry->kind == ENTRY_STREAM && bytes == 4 &&
               get_u32(key) == entry->stream;
    case BASE_BLOCKS:
        return entry->kind == ENTRY_RECORDS && bytes == BLOCK_KEY &&
               get_u32(key) == entry->stream &&
               (!first || get_u64(key + 4) == entry->first_seq);
    case BASE_VALUES:
        return entry->kind == ENTRY_VALUE && bytes == 1 + entry->count &&
               key[0] == entry->space &&
               memcmp(key + 1, entry->body, entry->count) == 0;
    case BASE_PUBLISHERS:
        return entry->kind == ENTRY_PUBLISHER && bytes == entry->name_bytes &&
               memcmp(key, entry->name, bytes) == 0;
    case BASE_META:
    case BASE_TABLES:
        break;
    }
    return false;
}

static void
set_where(
    struct inspect *inspect, enum base_table table, const struct copied *copied)
{
    inspect->where.table = names[table];
    inspect->where.stream = 0;
    inspect->where.first_seq = inspect->where.last_seq = 0;
    if (table == BASE_BLOCKS && copied->key_bytes == BLOCK_KEY) {
        inspect->where.stream = get_u32(copied->key);
        inspect->where.first_seq = get_u64(copied->key + 4);
    } else if (table == BASE_STREAMS && copied->key_bytes == 4) {
        inspect->where.stream = get_u32(copied->key);
    }
}

static void
tell_item(
    struct inspect *inspect, enum base_table table, const struct copied *copied)
{
    size_t at = 0;
    inspect->summary.blocks += table == BASE_BLOCKS;
    do {
        struct entry entry;
        size_t left = copied->bytes - at;
        size_t bytes =
            left > 0 ? entry_decode(copied->data + at, left, &entry) : 0;
        set_where(inspect, table, copied);
        if (bytes == 0) {
            inspect_damage(inspect, 0, "an entry of the table %s is damaged",
                names[table]);
            bytes = left > 0 ? entry_length(copied->data + at, left) : 0;
            if (bytes == 0) {
                return;
            }
        } else if (!is_in_place(table, copied, &entry, at == 0)) {
            inspect_damage(inspect, 0,
                "an entry of the table %s is not where it belongs",
                names[table]);
        } else {
            inspect_entry(inspect, &entry);
        }
        at += bytes;
    } while (at < copied->bytes && !inspect->stopped);
}

/* ---- blocks -------------------------------------------------------------- */

static void
set_block_key(struct copied *copied, uint32_t stream, uint64_t first_seq)
{
    put_u32(copied->key, stream);
    put_u64(copied->key + 4, first_seq);
    copied->key_bytes = BLOCK_KEY;
}

/* Is the block to be told? It may then be another one; if it is not, the key is
 * where to look next. */
static bool
is_wanted(struct inspect *inspect, struct copied *copied)
{
    uint32_t number = get_u32(copied->key);
    if (copied->key_bytes != BLOCK_KEY || number >= inspect->stream_count) {
        return true; /* keys have no checksum: the entry says what it is */
    }
    struct inspect_stream *stream = &inspect->streams[number];
    if (!stream->known) {
        return true; /* it will be, if the entry holds */
    }
    if (!stream->asked) {
        inspect_ask(inspect, number);
        if (stream->wanted && stream->from > get_u64(copied->key + 4)) {
            /* It is in the last block that does not begin behind it. */
            set_block_key(copied, number, stream->from);
            return copy_item(inspect, BASE_BLOCKS, true, copied) == 0 &&
                   copied->key_bytes == BLOCK_KEY &&
                   get_u32(copied->key) == number;
        }
    }
    /* A broker may write faster than we read. */
    bool is_later = inspect->summary.in_use && stream->last_seq != 0 &&
                    get_u64(copied->key + 4) > stream->last_seq;
    if (!stream->wanted || is_later) {
        set_block_key(copied, number + 1, 0);
        return false;
    }
    return true;
}

/* All blocks have been told: what should have been in them? */
static void
end_blocks(struct inspect *inspect)
{
    for (size_t i = 0; i < inspect->stream_count && !inspect->stopped; i++) {
        struct inspect_stream *stream = &inspect->streams[i];
        if (!stream->known || stream->last_seq == UINT64_MAX) {
            continue;
        }
        if (!stream->asked) {
            inspect_ask(inspect, (uint32_t)i);
        }
        uint64_t next =
            stream->next > stream->first_seq ? stream->next : stream->first_seq;
        next = next > stream->from ? next : stream->from;
        if (stream->wanted && next <= stream->last_seq) {
            inspect->where.stream = (uint32_t)i;
            inspect_missing(inspect, next, stream->last_seq + 1);
        }
        if (stream->next <= stream->last_seq) {
            stream->next = stream->last_seq + 1;
        }
    }
    inspect->where.stream = 0;
}

/* ---- tables -------------------------------------------------------------- */

/* An error of copy_item(). False: the table ends with it. */
static bool
tell_error(struct inspect *inspect, enum base_table table, int error,
    const struct copied *copied)
{
    set_where(inspect, table, copied);
    if (error != EBADMSG) {
        inspect_damage(inspect, 0, "the table %s cannot be read: %s",
            names[table], strerror(error));
        return false;
    }
    inspect_damage(inspect, 0, "page %" PRIu64 " of the table %s is damaged%s",
        pages_damaged_page(inspect->pages), names[table],
        copied->key_bytes == 0 ? ", and nothing is found behind it" : "");
    return copied->key_bytes > 0;
}

/* All items of one transaction were told: are these as many as it says? */
static void
check_count(struct inspect *inspect, enum base_table table, uint64_t count)
{
    uint64_t expected = pages_count(inspect->pages, table);
    if (count != expected) {
        set_where(inspect, table, &(struct copied){.key_bytes = 0});
        inspect_damage(inspect, 0,
            "the table %s has %" PRIu64 " items, %" PRIu64 " are found",
            names[table], expected, count);
    }
}

static void
tell_table(struct inspect *inspect, enum base_table table)
{
    struct copied copied = {.key_bytes = 0};
    uint64_t count = 0;
    uint64_t transaction = pages_transaction(inspect->pages);
    bool whole = true;
    int error = 0;
    while (!inspect->stopped && error != ENOENT) {
        error = copy_item(inspect, table, false, &copied);
        if (error == 0 &&
            (table != BASE_BLOCKS || is_wanted(inspect, &copied))) {
            count++;
            tell_item(inspect, table, &copied);
            copied.key[copied.key_bytes++] = 0; /* the next there can be */
        } else if (error != ENOENT) {
            whole = false;
            if (error != 0 && !tell_error(inspect, table, error, &copied)) {
                break;
            }
        }
    }
    free(copied.data);
    if (whole && !inspect->stopped &&
        transaction == pages_transaction(inspect->pages)) {
        check_count(inspect, table, count);
    }
}

void
inspect_tables(struct inspect *inspect)
{
    const struct inspect_hooks *hooks = inspect->hooks;
    inspect->where = (struct inspect_where){
        .place = INSPECT_TABLES, .file = INSPECT_TABLES_NAME};
    if (!inspect_applied(inspect, &inspect->summary.applied) &&
        pages_count(inspect->pages, BASE_STREAMS) > 0) {
        inspect->where.table = names[BASE_META];
        inspect_damage(inspect, 0, "which commits the tables hold is damaged");
    }
    pages_sizes(inspect->pages, &inspect->summary.tables_bytes,
        &inspect->summary.tables_free_bytes);
    tell_table(inspect, BASE_STREAMS);
    if (hooks->records != NULL && !inspect->stopped) {
        tell_table(inspect, BASE_BLOCKS);
    }
    end_blocks(inspect);
    if (hooks->value != NULL && !inspect->stopped) {
        tell_table(inspect, BASE_VALUES);
    }
    if (hooks->publisher != NULL && !inspect->stopped) {
        tell_table(inspect, BASE_PUBLISHERS);
    }
    inspect->where.table = NULL;
}
