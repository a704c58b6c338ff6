/* SPDX-License-Identifier: MIT
 *
 * The table thread: reading for others, checkpoints, files for the journal, and
 * once a second age and space on disk; see local_store.h. */
#include "local_store.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define JOBS_IN_A_ROW 64u

void
local_wake_table(struct local *local)
{
    if (local->table_sleeps) {
        pthread_cond_signal(&local->table_wake);
    }
}

void
local_ask(struct local *local, struct job *job)
{
    job->next = NULL;
    *local->jobs_end = job;
    local->jobs_end = &job->next;
    local_wake_table(local);
}

static struct job *
take_job(struct local *local)
{
    struct job *job = local->jobs;
    if (job != NULL) {
        local->jobs = job->next;
        if (local->jobs == NULL) {
            local->jobs_end = &local->jobs;
        }
    }
    return job;
}

static bool
is_space(int error)
{
    return error == ENOSPC || error == EDQUOT;
}

void
local_look_for_space(struct local *local)
{
    uint64_t disk = 0;
    uint64_t inside = 0;
    uint64_t free_bytes = UINT64_MAX;
    if (local->stats.failed) {
        return;
    }
    int error = local->files->free_bytes(local->files, &free_bytes);
    local->base->sizes(local->base, &disk, &inside);
    local->base_bytes = disk;
    bool low = error == 0 && free_bytes < local->reserve_bytes &&
               free_bytes + inside < local->reserve_bytes;
    if (low) {
        local_set_no_space(local, "less than the reserve is free");
    } else if (local->no_space && !local->table_full && !local->journal_full &&
               (!local->no_spare || journal_has_free(&local->journal))) {
        local->no_space = false;
        local_log(local, STORE_LOG_INFO, "store-space", "there is space again");
        local_give_room(local);
    }
}

/* A free file of the journal, for when the active one is full. */
static void
make_spare(struct local *local)
{
    struct journal_file file;
    uint32_t name = journal_take_name(&local->journal);
    pthread_mutex_unlock(&local->lock);
    int error = journal_make(&local->journal, name, &file);
    pthread_mutex_lock(&local->lock);
    if (error == 0) {
        journal_add(&local->journal, &file);
        local->no_spare = false;
        local_rotate_full(local);
        local_look_for_space(local);
        local_give_room(local);
    } else if (is_space(error)) {
        local->no_spare = true;
        local->retry_ms = local_now(local) + PERIOD_MS;
        local_set_no_space(local, "making a file of the journal");
    } else {
        local_fail(local, "making a file of the journal", error);
    }
}

static bool
wants_spare(const struct local *local)
{
    return !local->stats.failed && !journal_has_free(&local->journal) &&
           local->journal.count < JOURNAL_FILES_MAX &&
           (!local->frozen || local->journal.count < 2);
}

/* Once a second. Writing the journal is tried again by whoever appends. */
static void
run_period(struct local *local, uint64_t now_ms)
{
    local->period_ms = now_ms + PERIOD_MS;
    local_retain_aged(local);
    local->journal_full = false;
    local_look_for_space(local);
    if (local->wants_checkpoint && local_rotate(local)) {
        local->wants_checkpoint = false;
    }
}

/* Jobs come first, but those who read must not keep those who append waiting:
 * after so many in a row there is time for something else. */
bool
local_table_one(struct local *local)
{
    if (local->jobs != NULL && local->jobs_in_a_row < JOBS_IN_A_ROW) {
        local->jobs_in_a_row++;
        local_do_job(local, take_job(local));
        return true;
    }
    local->jobs_in_a_row = 0;
    uint64_t now_ms = local_now(local);
    bool may = now_ms >= local->retry_ms ||
               local->retry_ms > now_ms + PERIOD_MS; /* the clock went back */
    if (local->frozen && !local->stats.failed && may) {
        local_checkpoint(local);
        return true;
    }
    if (wants_spare(local) && may) {
        make_spare(local);
        return true;
    }
    if (now_ms >= local->period_ms ||
        local->period_ms > now_ms + 2 * PERIOD_MS) {
        run_period(local, now_ms);
        return local->jobs != NULL || local->frozen;
    }
    return local->jobs != NULL;
}

void
local_look_by_hand(struct local *local)
{
    for (int i = 0;
         i < 8 && local->manual && local->no_space && local_table_one(local);
         i++) {
    }
}

static void
sleep_a_while(struct local *local)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 250 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    local->table_sleeps = true;
    pthread_cond_timedwait(&local->table_wake, &local->lock, &until);
    local->table_sleeps = false;
}

void *
local_table_main(void *arg)
{
    struct local *local = arg;
    pthread_mutex_lock(&local->lock);
    while (!local->table_stopping) {
        if (!local_table_one(local) && !local->table_stopping) {
            sleep_a_while(local);
        }
    }
    pthread_mutex_unlock(&local->lock);
    return NULL;
}
