/* SPDX-License-Identifier: MIT
 *
 * Checkpoints: a frozen table becomes one transaction of the tables on disk,
 * after which its part of the journal is not needed any more; see
 * local_store.h. */
#include "checksum.h"
#include "local_block.h"
#include "local_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is to be written, as of now ------------------------------------ */

static bool
encode_publishers(struct local *local, struct checkpoint *checkpoint)
{
    size_t count = 0;
    for (struct publisher *each = local->publishers.dirty; each != NULL;
         each = each->next_dirty) {
        count++;
    }
    if (count == 0) {
        return true;
    }
    checkpoint->publishers = malloc(
        count * (ENTRY_HEAD_BYTES + STORE_PUBLISHER_MAX + PUBLISHER_BODY_MAX));
    if (checkpoint->publishers == NULL) {
        return false;
    }
    for (struct publisher *each = local->publishers.dirty; each != NULL;
         each = each->next_dirty) {
        uint8_t body[PUBLISHER_BODY_MAX];
        struct entry entry = publisher_entry(each, body);
        entry_encode(
            checkpoint->publishers + checkpoint->publishers_bytes, &entry);
        checkpoint->publishers_bytes += entry_size(&entry);
    }
    return true;
}

bool
checkpoint_prepare(struct local *local)
{
    int slot = local->active;
    struct checkpoint checkpoint = {.applied = local->journal.next - 1,
        .next_stream = local->next_stream,
        .row_count = local->touched_count[slot]};
    checkpoint.rows = calloc(checkpoint.row_count + 1, sizeof(struct row));
    if (checkpoint.rows == NULL || !encode_publishers(local, &checkpoint)) {
        free(checkpoint.rows);
        return false;
    }
    publishers_clean(&local->publishers);
    checkpoint.forgotten = local->publishers.forgotten;
    checkpoint.forgotten_bytes = local->publishers.forgotten_bytes;
    local->publishers.forgotten = NULL;
    local->publishers.forgotten_bytes = 0;
    local->publishers.forgotten_capacity = 0;
    for (size_t i = 0; i < checkpoint.row_count; i++) {
        struct stream *stream = local->touched[slot][i];
        bool debt = !stream->removed &&
                    stream->counted < stream->state.first_seq &&
                    stream->counted <= stream->disk_last;
        stream->debt_frozen = debt;
        checkpoint.rows[i] = (struct row){.stream = stream,
            .state = stream->state,
            .removed = stream->removed,
            .counted = debt ? stream->counted : stream->state.first_seq};
    }
    local->checkpoint = checkpoint;
    return true;
}

/* ---- one transaction ----------------------------------------------------- */

/* From which block on is what is left? */
static int
find_keep_from(struct base *base, struct row *row)
{
    uint8_t key[BLOCK_KEY_BYTES];
    struct base_item item;
    uint64_t first_seq = row->state.first_seq;
    row->keep_from = first_seq;
    block_key(key, row->stream->number, first_seq);
    int error = base->seek(base, BASE_BLOCKS, key, sizeof key, true, &item);
    if (error == 0 && block_is_of(&item, row->stream->number) &&
        block_last_seq(&item) >= first_seq) {
        row->keep_from = get_u64(item.key + 4);
    }
    return error == ENOENT ? 0 : error;
}

/* What was trimmed on disk, but not counted. */
static int
measure_debt(struct base *base, struct row *row)
{
    uint8_t key[BLOCK_KEY_BYTES];
    struct base_item item;
    block_key(key, row->stream->number, row->counted);
    int error = base->seek(base, BASE_BLOCKS, key, sizeof key, true, &item);
    if (error == ENOENT ||
        (error == 0 && !block_is_of(&item, row->stream->number))) {
        error = base->seek(base, BASE_BLOCKS, key, sizeof key, false, &item);
    }
    while (error == 0 && block_is_of(&item, row->stream->number) &&
           get_u64(item.key + 4) < row->state.first_seq) {
        block_count(&item, row->counted, row->state.first_seq,
            &row->debt_records, &row->debt_bytes);
        error = base->next(base, BASE_BLOCKS, &item);
    }
    return error == ENOENT ? 0 : error;
}

/* What can go on disk, and what was trimmed there but not counted. Where the
 * tables are damaged nothing goes. */
static int
measure_trim(struct local *local, struct row *row)
{
    int error = find_keep_from(local->base, row);
    if (error == 0 && row->counted < row->state.first_seq) {
        error = measure_debt(local->base, row);
    }
    if (row->debt_records > row->state.records ||
        row->debt_bytes > row->state.bytes) {
        row->debt_records = row->state.records; /* damage: count no lower */
        row->debt_bytes = row->state.bytes;
    }
    if (error == EBADMSG) {
        row->keep_from = 0;
        error = 0;
    }
    return error;
}

static int
write_stream(struct local *local, const struct row *row)
{
    struct base *base = local->base;
    const struct stream *stream = row->stream;
    const struct stream_state *state = &row->state;
    uint8_t body[ENTRY_STREAM_BYTES];
    uint8_t bytes[ENTRY_HEAD_BYTES + ENTRY_NAME_MAX + ENTRY_STREAM_BYTES];
    uint8_t key[4];
    struct entry_stream values = {.max_records = state->limits.max_records,
        .max_bytes = state->limits.max_bytes,
        .max_age_ms = state->limits.max_age_ms,
        .has_state = true,
        .first_seq = state->first_seq,
        .last_seq = state->last_seq,
        .records = state->records - row->debt_records,
        .bytes = state->bytes - row->debt_bytes,
        .first_time_ms = state->first_time_ms,
        .last_time_ms = state->last_time_ms,
        .trimmed = state->trimmed + row->debt_records,
        .damaged = state->damaged};
    struct entry entry = {.kind = ENTRY_STREAM,
        .flags = state->limits.discard_new ? ENTRY_DISCARD_NEW : 0,
        .name_bytes = (uint8_t)stream->name_bytes,
        .name = (const uint8_t *)stream->name,
        .stream = stream->number,
        .body = body,
        .body_bytes = entry_stream_encode(body, &values)};
    entry_encode(bytes, &entry);
    put_u32(key, stream->number);
    return base->put(
        base, BASE_STREAMS, key, sizeof key, bytes, entry_size(&entry));
}

static int
write_row(struct local *local, const struct row *row, int slot,
    struct block_writer *writer)
{
    struct base *base = local->base;
    uint32_t number = row->stream->number;
    uint8_t first[BLOCK_KEY_BYTES];
    uint8_t end[BLOCK_KEY_BYTES];
    block_key(first, number, 0);
    if (row->removed) {
        block_key(end, number + 1, 0);
        int error = base->delete_range(
            base, BASE_BLOCKS, first, sizeof first, end, sizeof end);
        return error != 0
                   ? error
                   : base->delete_range(base, BASE_STREAMS, first, 4, end, 4);
    }
    block_key(end, number, row->keep_from);
    int error = base->delete_range(
        base, BASE_BLOCKS, first, sizeof first, end, sizeof end);
    block_begin(writer, base, number);
    const struct pieces *pieces = &row->stream->pieces[slot];
    for (size_t i = pieces_find(pieces, row->state.first_seq);
         error == 0 && i < pieces->count; i++) {
        error = block_add(writer, &pieces->at[i], row->state.first_seq);
    }
    if (error == 0) {
        error = block_end(writer);
    }
    return error == 0 ? write_stream(local, row) : error;
}

static int
delete_one(struct base *base, enum base_table table, const uint8_t *key,
    size_t key_bytes)
{
    uint8_t end[BASE_KEY_MAX + 1];
    memcpy(end, key, key_bytes);
    end[key_bytes] = 0; /* the next key that there can be */
    return base->delete_range(base, table, key, key_bytes, end, key_bytes + 1);
}

static int
write_values(struct local *local, const struct memtable *table)
{
    struct base *base = local->base;
    int error = 0;
    for (size_t i = 0; i < table->bucket_count && error == 0; i++) {
        const struct value_node *node = table->buckets[i];
        for (; node != NULL && error == 0; node = node->next) {
            uint8_t key[1 + STORE_KEY_MAX];
            key[0] = node->space;
            size_t key_bytes = node->key_bytes < STORE_KEY_MAX ? node->key_bytes
                                                               : STORE_KEY_MAX;
            memcpy(key + 1, node->key, key_bytes);
            error = node->deleted
                        ? delete_one(base, BASE_VALUES, key, 1 + key_bytes)
                        : base->put(base, BASE_VALUES, key, 1 + key_bytes,
                              node->entry, node->entry_bytes);
        }
    }
    return error;
}

static int
write_publishers(struct base *base, const struct checkpoint *checkpoint)
{
    int error = 0;
    for (size_t at = 0; at < checkpoint->forgotten_bytes && error == 0;) {
        const uint8_t *name = checkpoint->forgotten + at;
        error = delete_one(base, BASE_PUBLISHERS, name + 1, name[0]);
        at += 1 + (size_t)name[0];
    }
    for (size_t at = 0; at < checkpoint->publishers_bytes && error == 0;) {
        const uint8_t *src = checkpoint->publishers + at;
        struct entry entry;
        size_t bytes =
            entry_decode(src, checkpoint->publishers_bytes - at, &entry);
        if (bytes == 0) {
            return EBADMSG;
        }
        error = base->put(
            base, BASE_PUBLISHERS, entry.name, entry.name_bytes, src, bytes);
        at += bytes;
    }
    return error;
}

static int
put_number(struct base *base, const char *name, uint64_t value)
{
    uint8_t bytes[12];
    put_u64(bytes, value);
    put_u32(bytes + 8, checksum(bytes, 8));
    return base->put(base, BASE_META, name, strlen(name), bytes, sizeof bytes);
}

static int
write_all(struct local *local, int slot, struct block_writer *writer)
{
    struct base *base = local->base;
    const struct checkpoint *checkpoint = &local->checkpoint;
    int error = base->begin(base);
    for (size_t i = 0; i < checkpoint->row_count && error == 0; i++) {
        error = write_row(local, &checkpoint->rows[i], slot, writer);
    }
    if (error == 0) {
        error = write_values(local, &local->tables[slot]);
    }
    if (error == 0) {
        error = write_publishers(base, checkpoint);
    }
    if (error == 0) {
        error = put_number(base, "applied", checkpoint->applied);
    }
    if (error == 0) {
        error = put_number(base, "applied, again", checkpoint->applied);
    }
    if (error == 0) {
        error = put_number(base, "next stream", checkpoint->next_stream);
    }
    if (error == 0) {
        return base->commit(base);
    }
    base->abort(base); /* it need not have been the tables that failed */
    return error;
}

/* Without the lock. */
static int
write_frozen(struct local *local, int slot)
{
    struct base *base = local->base;
    struct checkpoint *checkpoint = &local->checkpoint;
    struct block_writer *writer = block_writer_new();
    if (writer == NULL) {
        return ENOMEM;
    }
    int error = base->view_begin(base);
    bool is_viewed = error == 0;
    for (size_t i = 0; i < checkpoint->row_count && error == 0; i++) {
        struct row *row = &checkpoint->rows[i];
        row->debt_records = 0;
        row->debt_bytes = 0;
        if (!row->removed) {
            error = measure_trim(local, row);
        }
    }
    if (is_viewed) {
        base->view_end(base);
    }
    if (error == 0) {
        do {
            error = write_all(local, slot, writer);
        } while (error == EAGAIN);
    }
    block_writer_free(writer);
    return error;
}

/* ---- and what follows from it -------------------------------------------- */

static void
finish_row(struct local *local, const struct row *row, int slot)
{
    struct stream *stream = row->stream;
    pieces_clear(&stream->pieces[slot]);
    stream->touched[slot] = false;
    stream->disk_last = row->state.last_seq;
    free(stream->head);
    stream->head = NULL;
    if (stream->debt_frozen) {
        local_pay_debt(local, stream, row);
    }
    if (row->removed && !stream->touched[1 - slot]) {
        local_stream_free(local, stream);
    }
}

static void
finish(struct local *local, int slot)
{
    struct checkpoint *checkpoint = &local->checkpoint;
    local->frozen = false;
    local->table_full = false;
    for (size_t i = 0; i < checkpoint->row_count; i++) {
        finish_row(local, &checkpoint->rows[i], slot);
    }
    local->touched_count[slot] = 0;
    free(checkpoint->rows);
    free(checkpoint->publishers);
    free(checkpoint->forgotten);
    *checkpoint = (struct checkpoint){.rows = NULL};
    memtable_clear(&local->tables[slot]);
    journal_release(&local->journal);
    local->stats.checkpoints++;
    local_rotate_full(local);
    local_look_for_space(local);
    local_give_room(local);
}

void
local_checkpoint(struct local *local)
{
    int slot = 1 - local->active;
    pthread_mutex_unlock(&local->lock);
    int error = write_frozen(local, slot);
    pthread_mutex_lock(&local->lock);
    if (error == 0) {
        finish(local, slot);
    } else if (error == ENOSPC || error == EDQUOT) {
        local->table_full = true;
        local->retry_ms = local_now(local) + PERIOD_MS;
        local_set_no_space(local, "writing a checkpoint");
    } else if (error == ENOMEM) {
        local->retry_ms = local_now(local) + PERIOD_MS;
        local_log(local, STORE_LOG_WARNING, "store-memory",
            "memory is out for a checkpoint; it is tried again");
    } else {
        local_fail(local, "writing a checkpoint", error);
    }
}
