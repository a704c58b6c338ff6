/* SPDX-License-Identifier: MIT
 *
 * The commit thread: one group, one write, one sync; see local_store.h. */
#include "local_store.h"

#include <errno.h>
#include <string.h>

/* Not while a batch is being written: it would be in the file that is full now,
 * and its entries in the table that is not frozen. Where nothing is written to
 * any file yet there need not be a free one: there will be after it. */
bool
local_rotate(struct local *local)
{
    const struct journal *journal = &local->journal;
    if (local->frozen || local->writing || local->stats.failed ||
        (journal->active != NULL && !journal_has_free(journal)) ||
        local->tables[local->active].entries == 0 ||
        !checkpoint_prepare(local)) {
        return false;
    }
    journal_switch(&local->journal);
    local->active = 1 - local->active;
    local->frozen = true;
    local_wake_table(local);
    return true;
}

void
local_rotate_full(struct local *local)
{
    if (local->tables[local->active].bytes >= local->table_max) {
        local_rotate(local);
    }
}

/* An active file of the journal; one that is too small grows by what it is
 * given while there is no other. */
static bool
make_place(struct local *local, size_t bytes)
{
    struct journal *journal = &local->journal;
    bool helps = bytes <= journal->file_bytes - JOURNAL_START;
    if ((helps && !journal_fits(journal, bytes)) || local->wants_checkpoint) {
        local->wants_checkpoint &= !local_rotate(local);
    }
    if (journal->active == NULL && journal_has_free(journal)) {
        journal_switch(journal);
    }
    return journal->active != NULL;
}

static bool
is_space(int error)
{
    return error == ENOSPC || error == EDQUOT;
}

/* The lock is let go of meanwhile. STORE_OK: it is durable. */
static enum store_status
write_group(struct local *local, struct group *group)
{
    if (local->stats.failed) {
        return STORE_FAILED;
    }
    if (!make_place(local, group->bytes)) {
        local_set_no_space(local, "there is no room for a journal");
        return STORE_NO_SPACE;
    }
    struct journal_place place = journal_next_place(&local->journal);
    uint8_t *batch = group->chunk->data + group->start;
    bool sync_failed;
    local->writing = true;
    pthread_mutex_unlock(&local->lock);
    int error = journal_write(
        &place, batch, group->bytes, group->entries, &sync_failed);
    pthread_mutex_lock(&local->lock);
    local->writing = false;
    if (error == 0) {
        journal_written(&local->journal, group->bytes);
        local->stats.commits++;
        return STORE_OK;
    }
    if (is_space(error) && !sync_failed) {
        local->journal_full = true;
        local_set_no_space(local, "writing the journal");
        return STORE_NO_SPACE;
    }
    local_fail(local,
        sync_failed ? "syncing the journal" : "writing the journal", error);
    return STORE_FAILED;
}

static void
settle(struct local *local, struct pending *pending)
{
    struct stream *stream = pending->stream;
    if (pending->status == STORE_OK && pending->kind == CHANGE_NUMBER) {
        publisher_store(&local->publishers, pending->publisher,
            pending->publisher_last, pending->time_ms);
    }
    if (pending->status != STORE_OK || stream == NULL) {
        return;
    }
    if (pending->kind == CHANGE_APPEND) {
        stream->flight_records -= pending->count;
        stream->flight_bytes -= pending->bytes;
        local->stats.appends++;
        local->stats.records += pending->count;
        local->stats.bytes += pending->bytes;
    }
    if (!stream->removed) {
        local_retain(local, stream);
        local_serve_waiting(local, stream);
    }
}

/* It is durable: it takes effect. */
static void
take_effect(struct local *local, struct group *group)
{
    const uint8_t *body =
        group->chunk->data + group->start + JOURNAL_HEAD_BYTES;
    group->chunk->used = group->start + group->bytes;
    if (!local_apply(local, group->chunk, body,
            group->bytes - JOURNAL_HEAD_BYTES, APPLY_LIVE)) {
        local_fail(local, "keeping in memory what was stored", ENOMEM);
    }
    for (size_t i = 0; i < group->count; i++) {
        settle(local, &group->pendings[i]);
    }
    local_rotate_full(local);
}

bool
local_commit_one(struct local *local)
{
    struct group *group = local->open;
    local->ticked = false;
    if (group->count == 0) {
        return false;
    }
    struct group *other =
        group == &local->groups[0] ? &local->groups[1] : &local->groups[0];
    chunk_unref(&local->pool, other->chunk);
    other->chunk = NULL;
    other->bytes = 0;
    local->open = other;
    if (group->entries > 0) {
        enum store_status status = write_group(local, group);
        if (status == STORE_OK) {
            take_effect(local, group);
        } else {
            group_refuse_all(local, group, status);
        }
    }
    group_complete(local, group);
    return true;
}

void *
local_commit_main(void *arg)
{
    struct local *local = arg;
    pthread_mutex_lock(&local->lock);
    for (;;) {
        while (!local->ticked && !local->stopping) {
            local->commit_sleeps = true;
            pthread_cond_wait(&local->commit_wake, &local->lock);
            local->commit_sleeps = false;
        }
        if (!local_commit_one(local) && local->stopping) {
            break;
        }
    }
    pthread_mutex_unlock(&local->lock);
    return NULL;
}
