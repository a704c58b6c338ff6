/* SPDX-License-Identifier: MIT
 *
 * Opening what is there: the tables, then what the journal has beyond them; see
 * local_store.h. Nothing that is damaged is deleted. */
#include "checksum.h"
#include "local_block.h"
#include "local_store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the tables ---------------------------------------------------------- */

/* False: there is none, or it is damaged; or with !*ok reading it fails. */
static bool
get_number(struct base *base, const char *name, uint64_t *value, bool *ok)
{
    struct base_item item;
    size_t len = strlen(name);
    int error = base->seek(base, BASE_META, name, len, false, &item);
    *ok = *ok && (error == 0 || error == ENOENT || error == EBADMSG);
    if (error != 0 || item.key_bytes != len ||
        memcmp(item.key, name, len) != 0 || item.bytes != 12 ||
        checksum(item.data, 8) != get_u32(item.data + 8)) {
        return false;
    }
    *value = get_u64(item.data);
    return true;
}

static bool
load_stream(struct local *local, const struct base_item *item)
{
    struct entry entry;
    struct entry_stream values;
    if (item->key_bytes != 4 ||
        entry_decode(item->data, item->bytes, &entry) == 0 ||
        !entry_stream_decode(&entry, &values) ||
        entry.stream != get_u32(item->key) || !values.has_state ||
        local_stream(local, entry.stream) != NULL) {
        local_damage(local, 1, "the definition of a stream is damaged");
        return true;
    }
    struct stream *stream = local_stream_new(
        local, entry.stream, (const char *)entry.name, entry.name_bytes);
    if (stream == NULL) {
        return false;
    }
    stream->durable = true;
    stream->state =
        (struct stream_state){.limits = {.max_records = values.max_records,
                                  .max_bytes = values.max_bytes,
                                  .max_age_ms = values.max_age_ms,
                                  .discard_new = values.discard_new},
            .first_seq = values.first_seq,
            .last_seq = values.last_seq,
            .records = values.records,
            .bytes = values.bytes,
            .first_time_ms = values.first_time_ms,
            .last_time_ms = values.last_time_ms,
            .trimmed = values.trimmed,
            .damaged = values.damaged};
    stream->counted = values.first_seq;
    stream->disk_last = values.last_seq;
    stream->open_last = values.last_seq;
    stream->open_time_ms = values.last_time_ms;
    return true;
}

/* Has all been read that is there? What is damaged is left out; but if reading
 * fails nothing may be concluded from what does not come. */
static bool
is_all(struct local *local, int error, const char *what)
{
    if (error == EBADMSG) {
        local_damage(local, 1, "%s: the tables are damaged", what);
    }
    return error == 0 || error == ENOENT || error == EBADMSG;
}

struct seen {
    uint64_t seen_ms;
    size_t at, bytes; /* of the entry */
};

static int
by_time(const void *a, const void *b)
{
    const struct seen *first = a;
    const struct seen *second = b;
    return first->seen_ms < second->seen_ms   ? -1
           : first->seen_ms > second->seen_ms ? 1
                                              : 0;
}

struct seen_list {
    struct seen *at;
    size_t count, capacity;
    uint8_t *bytes;
    size_t used, size;
};

static bool
note_seen(struct seen_list *list, const struct base_item *item,
    const struct entry *entry)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity * 2 + 64;
        struct seen *at = realloc(list->at, capacity * sizeof *at);
        if (at == NULL) {
            return false;
        }
        list->at = at;
        list->capacity = capacity;
    }
    if (list->used + item->bytes > list->size) {
        size_t size = (list->used + item->bytes) * 2;
        uint8_t *bytes = realloc(list->bytes, size);
        if (bytes == NULL) {
            return false;
        }
        list->bytes = bytes;
        list->size = size;
    }
    memcpy(list->bytes + list->used, item->data, item->bytes);
    list->at[list->count++] = (struct seen){
        .seen_ms = entry->time_ms, .at = list->used, .bytes = item->bytes};
    list->used += item->bytes;
    return true;
}

/* In the order in which they were seen, so that the right ones are forgotten
 * first. */
static bool
load_publishers(struct local *local)
{
    struct base *base = local->base;
    struct seen_list list = {.at = NULL};
    struct base_item item;
    struct entry entry;
    bool ok = true;
    int error = base->seek(base, BASE_PUBLISHERS, "", 0, false, &item);
    while (error == 0 && ok) {
        if (entry_decode(item.data, item.bytes, &entry) == 0 ||
            entry.kind != ENTRY_PUBLISHER) {
            local_damage(local, 1, "the numbers of a publisher are damaged");
        } else {
            ok = note_seen(&list, &item, &entry);
        }
        error = base->next(base, BASE_PUBLISHERS, &item);
    }
    ok = ok && is_all(local, error, "publishers");
    if (list.count > 0) {
        qsort(list.at, list.count, sizeof list.at[0], by_time);
    }
    for (size_t i = 0; i < list.count && ok; i++) {
        const struct seen *seen = &list.at[i];
        ok = entry_decode(list.bytes + seen->at, seen->bytes, &entry) == 0 ||
             publishers_load(&local->publishers, &entry) ||
             entry.name_bytes > STORE_PUBLISHER_MAX;
    }
    publishers_clean(&local->publishers);
    free(list.at);
    free(list.bytes);
    return ok;
}

/* The stream of this block, its first one: its state is what its blocks say. */
static bool
adopt(struct local *local, struct base_item *item)
{
    struct base *base = local->base;
    uint32_t number = get_u32(item->key);
    struct stream *stream = local_adopt(local, number);
    if (stream == NULL) {
        return false;
    }
    struct stream_state *state = &stream->state;
    struct entry entry;
    state->first_seq = get_u64(item->key + 4);
    do {
        size_t at = 0;
        while (block_next(item, &at, &entry)) {
            if (state->records == 0 && state->last_seq == 0) {
                state->first_time_ms = entry.time_ms;
            }
            state->last_seq = entry.first_seq + entry.count - 1;
            state->last_time_ms = entry.time_ms;
        }
        block_count(item, 0, UINT64_MAX, &state->records, &state->bytes);
    } while (
        base->next(base, BASE_BLOCKS, item) == 0 && block_is_of(item, number));
    stream->counted = state->first_seq;
    stream->disk_last = state->last_seq;
    stream->open_last = state->last_seq;
    stream->open_time_ms = state->last_time_ms;
    return local_touch(local, stream);
}

/* What lies in the tables without a stream's definition: it was damaged. */
static bool
adopt_blocks(struct local *local)
{
    struct base *base = local->base;
    struct base_item item;
    uint8_t key[BLOCK_KEY_BYTES] = {0};
    int error = base->seek(base, BASE_BLOCKS, key, sizeof key, false, &item);
    while (error == 0 && item.key_bytes == BLOCK_KEY_BYTES) {
        uint32_t number = get_u32(item.key);
        if (local_stream(local, number) == NULL && !adopt(local, &item)) {
            return false;
        }
        block_key(key, number + 1, 0);
        error = base->seek(base, BASE_BLOCKS, key, sizeof key, false, &item);
    }
    return is_all(local, error, "records");
}

static bool
load_tables(struct local *local, uint64_t *applied)
{
    struct base *base = local->base;
    struct base_item item;
    uint64_t next_stream;
    if (base->view_begin(base) != 0) {
        return false;
    }
    bool ok = true;
    int error = base->seek(base, BASE_STREAMS, "", 0, false, &item);
    bool empty = error != 0;
    while (error == 0 && ok) {
        ok = load_stream(local, &item);
        error = base->next(base, BASE_STREAMS, &item);
    }
    ok = ok && is_all(local, error, "streams");
    if (!get_number(base, "applied", applied, &ok)) {
        if (!empty) {
            local_damage(local, 1, "which commits the tables hold is damaged");
        }
        if (!get_number(base, "applied, again", applied, &ok)) {
            *applied = 0;
        }
    }
    if (get_number(base, "next stream", &next_stream, &ok) &&
        next_stream > local->next_stream && next_stream < UINT32_MAX / 2) {
        local->next_stream = (uint32_t)next_stream;
    }
    ok = ok && adopt_blocks(local) && load_publishers(local);
    base->view_end(base);
    return ok;
}

/* ---- the journal --------------------------------------------------------- */

static bool
replay_batch(void *arg, uint64_t number, struct chunk *chunk,
    const uint8_t *body, size_t bytes, bool whole)
{
    (void)number;
    return local_apply(
        arg, chunk, body, bytes, whole ? APPLY_WHOLE : APPLY_DAMAGED);
}

static void
say_damage(void *arg, const char *text)
{
    local_damage(arg, 1, "%s", text);
}

/* A file to write to. No space is no reason not to open. */
static int
first_file(struct local *local)
{
    struct journal *journal = &local->journal;
    /* A new store gets two at once: the first is full soon enough. */
    while ((!journal_has_free(journal) || journal->count < 2) &&
           journal->count < JOURNAL_FILES_MAX) {
        struct journal_file file;
        int error = journal_make(journal, journal_take_name(journal), &file);
        if (error == ENOSPC || error == EDQUOT) {
            local->no_spare = true;
            local_set_no_space(local, "making a file of the journal");
            break;
        }
        if (error != 0) {
            return error;
        }
        journal_add(journal, &file);
    }
    if (!local_rotate(local)) {
        journal_switch(journal);
    }
    return 0;
}

bool
local_recover(struct local *local, char *why, size_t why_size)
{
    struct journal *journal = &local->journal;
    uint64_t applied;
    if (!load_tables(local, &applied)) {
        snprintf(why, why_size, "the tables cannot be read, or memory is out");
        return false;
    }
    journal->files = local->files;
    journal->damage = say_damage;
    journal->arg = local;
    int error = journal_open(journal);
    if (error == 0) {
        error =
            journal_replay(journal, &local->pool, applied, replay_batch, local);
    }
    for (uint32_t i = 1; error == 0 && i < local->next_stream; i++) {
        struct stream *stream = local_stream(local, i);
        if (stream != NULL && !stream->removed) {
            local_retain(local, stream);
        }
    }
    if (error == 0) {
        error = first_file(local);
    }
    if (error != 0) {
        snprintf(why, why_size, "the journal cannot be opened: %s",
            error == EPROTO ? "a later version wrote it; use that one"
                            : strerror(error));
        return false;
    }
    return true;
}
