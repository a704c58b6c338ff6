/* SPDX-License-Identifier: MIT
 *
 * Reading: what is in memory at once, the rest by way of the table thread; see
 * local_store.h. */
#include "local_store.h"

#include <stdlib.h>
#include <string.h>

/* Of one callback: so that small records do not make it endless. */
#define RUNS_MAX 4096u

bool
reading_add_run(struct reading *reading, const struct store_run *run)
{
    if (reading->run_count == reading->run_capacity) {
        size_t capacity = reading->run_capacity * 2 + 8;
        struct store_run *runs =
            realloc(reading->runs, capacity * sizeof *runs);
        if (runs == NULL) {
            return false;
        }
        reading->runs = runs;
        reading->run_capacity = capacity;
    }
    reading->runs[reading->run_count++] = *run;
    return true;
}

static bool
keep_chunk(struct reading *reading, struct chunk *chunk)
{
    if (reading->chunk_count > 0 &&
        reading->chunks[reading->chunk_count - 1] == chunk) {
        return true;
    }
    if (reading->chunk_count == reading->chunk_capacity) {
        size_t capacity = reading->chunk_capacity * 2 + 4;
        struct chunk **chunks =
            realloc(reading->chunks, capacity * sizeof *chunks);
        if (chunks == NULL) {
            return false;
        }
        reading->chunks = chunks;
        reading->chunk_capacity = capacity;
    }
    reading->chunks[reading->chunk_count++] = chunk_ref(chunk);
    return true;
}

void
reading_free(struct local *local, struct reading *reading)
{
    if (reading != NULL) {
        for (size_t i = 0; i < reading->chunk_count; i++) {
            chunk_unref(&local->pool, reading->chunks[i]);
        }
        free(reading->chunks);
        free(reading->runs);
        free(reading->buffer);
        free(reading);
    }
}

/* As much of the piece as fits, at least one record if nothing was read yet.
 * False: memory is out. *full: no more. */
static bool
read_piece(struct reading *reading, const struct piece *piece, uint64_t from,
    size_t max_bytes, bool *full)
{
    const uint8_t *record = piece->records;
    uint64_t seq = piece->first_seq;
    while (seq < from) {
        record += record_bytes(record);
        seq++;
    }
    size_t left = piece->bytes - (size_t)(record - piece->records);
    struct store_run run = {
        .first_seq = seq, .time_ms = piece->time_ms, .records = record};
    if (reading->bytes + left <= max_bytes) {
        run.bytes = left;
        run.count = (uint32_t)(piece_last(piece) - seq + 1);
    } else {
        *full = true;
        while (seq <= piece_last(piece)) {
            size_t bytes = (size_t)record_bytes(record + run.bytes);
            if (reading->bytes + run.bytes + bytes > max_bytes &&
                reading->bytes + run.bytes > 0) {
                break;
            }
            run.bytes += bytes;
            run.count++;
            seq++;
        }
    }
    if (run.count == 0) {
        return true;
    }
    reading->bytes += run.bytes;
    reading->next = run.first_seq + run.count;
    return keep_chunk(reading, piece->chunk) && reading_add_run(reading, &run);
}

/* Sequences rise by one from record to record, so what did not come was lost:
 * now, or when the store was opened. */
void
reading_count_damaged(struct reading *reading, uint64_t from, size_t first_run)
{
    uint64_t given = 0;
    for (size_t i = first_run; i < reading->run_count; i++) {
        given += reading->runs[i].count;
    }
    reading->damaged += reading->next - from - given;
}

bool
reading_from_memory(struct local *local, struct stream *stream, uint64_t from,
    size_t max_bytes, struct reading *reading)
{
    size_t first_run = reading->run_count;
    bool full = false;
    if (from < stream->state.first_seq) {
        from = stream->state.first_seq;
    }
    reading->next = from;
    for (int i = 1; i >= 0 && !full; i--) {
        const struct pieces *pieces =
            &stream->pieces[i == 1 ? 1 - local->active : local->active];
        for (size_t at = pieces_find(pieces, from); at < pieces->count && !full;
             at++) {
            const struct piece *piece = &pieces->at[at];
            uint64_t first = piece->first_seq > from ? piece->first_seq : from;
            if (!read_piece(reading, piece, first, max_bytes, &full)) {
                return false;
            }
            full |= reading->run_count >= RUNS_MAX;
        }
    }
    if (!full && reading->next <= stream->state.last_seq) {
        reading->next = stream->state.last_seq + 1;
    }
    reading_count_damaged(reading, from, first_run);
    return true;
}

void
local_complete_read(struct local_port *port, store_read_done *done, void *arg,
    enum store_status status, struct reading *reading, uint64_t next)
{
    struct completion completion = {.kind = COMPLETE_READ,
        .arg = arg,
        .read = {
            .done = done, .status = status, .reading = reading, .next = next}};
    local_complete(port, &completion);
}

/* ---- following ----------------------------------------------------------- */

static enum store_status
wait_for(struct stream *stream, struct local_port *port, uint64_t from,
    size_t max_bytes, store_read_done *done, void *arg)
{
    struct waiting *waiting = malloc(sizeof *waiting);
    if (waiting == NULL) {
        return STORE_MEMORY;
    }
    *waiting = (struct waiting){.next = stream->waiting,
        .port = port,
        .from = from,
        .max_bytes = max_bytes,
        .done = done,
        .arg = arg};
    stream->waiting = waiting;
    port->references++;
    return STORE_OK;
}

static void
serve(struct local *local, struct stream *stream, struct waiting *waiting)
{
    enum store_status status = STORE_NOT_FOUND;
    struct reading *reading = NULL;
    if (!stream->removed) {
        reading = calloc(1, sizeof *reading);
        status = STORE_OK;
        if (reading == NULL ||
            !reading_from_memory(
                local, stream, waiting->from, waiting->max_bytes, reading)) {
            status = STORE_MEMORY;
            reading_free(local, reading);
            reading = NULL;
        }
    }
    local_complete_read(waiting->port, waiting->done, waiting->arg, status,
        reading, waiting->from);
}

void
local_serve_waiting(struct local *local, struct stream *stream)
{
    struct waiting **link = &stream->waiting;
    while (*link != NULL) {
        struct waiting *waiting = *link;
        if (!stream->removed &&
            (waiting->from > stream->state.last_seq ||
                stream->state.first_seq > stream->state.last_seq)) {
            link = &waiting->next;
            continue;
        }
        *link = waiting->next;
        serve(local, stream, waiting);
        free(waiting);
    }
}

/* ---- the functions of the port ------------------------------------------- */

static enum store_status
ask_read(struct local_port *port, uint32_t stream, uint64_t from,
    size_t max_bytes, enum job_kind kind, store_read_done *done, void *arg)
{
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return STORE_MEMORY;
    }
    job->kind = kind;
    job->port = port;
    job->stream = stream;
    job->from = from;
    job->max_bytes = max_bytes;
    job->read_done = done;
    job->arg = arg;
    port->references++;
    local_ask(port->local, job);
    return STORE_OK;
}

static enum store_status
read_memory(struct local_port *port, struct stream *stream, uint64_t from,
    size_t max_bytes, store_read_done *done, void *arg)
{
    struct local *local = port->local;
    struct reading *reading = calloc(1, sizeof *reading);
    if (reading == NULL ||
        !reading_from_memory(local, stream, from, max_bytes, reading)) {
        reading_free(local, reading);
        return STORE_MEMORY;
    }
    port->references++;
    local_complete_read(port, done, arg, STORE_OK, reading, from);
    return STORE_OK;
}

enum store_status
local_read(struct store_port *store_port, uint32_t number, uint64_t from,
    size_t max_bytes, bool follow, store_read_done *done, void *arg)
{
    struct local_port *port = (struct local_port *)store_port;
    struct local *local = port->local;
    enum store_status status = STORE_OK;
    pthread_mutex_lock(&local->lock);
    struct stream *stream = local_stream(local, number);
    bool there = stream != NULL && stream->durable && !stream->removed;
    if (there && from < stream->state.first_seq) {
        from = stream->state.first_seq;
    }
    if (!there) {
        port->references++;
        local_complete_read(port, done, arg, STORE_NOT_FOUND, NULL, from);
    } else if (from <= stream->state.last_seq && from <= stream->disk_last) {
        status = ask_read(port, number, from, max_bytes, JOB_READ, done, arg);
    } else if (from <= stream->state.last_seq || !follow) {
        status = read_memory(port, stream, from, max_bytes, done, arg);
    } else {
        status = wait_for(stream, port, from, max_bytes, done, arg);
    }
    pthread_mutex_unlock(&local->lock);
    return status;
}

uint64_t
local_seek_memory(const struct stream *stream, uint64_t time_ms)
{
    uint64_t found = stream->state.last_seq + 1;
    for (int i = 0; i < 2; i++) {
        const struct pieces *pieces = &stream->pieces[i];
        size_t low = 0;
        size_t high = pieces->count;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (pieces->at[middle].time_ms < time_ms) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if (low < pieces->count && pieces->at[low].first_seq < found) {
            found = pieces->at[low].first_seq;
        }
    }
    return found;
}

enum store_status
local_seek_time(struct store_port *store_port, uint32_t number,
    uint64_t time_ms, store_read_done *done, void *arg)
{
    struct local_port *port = (struct local_port *)store_port;
    struct local *local = port->local;
    pthread_mutex_lock(&local->lock);
    enum store_status status =
        ask_read(port, number, time_ms, 0, JOB_SEEK, done, arg);
    pthread_mutex_unlock(&local->lock);
    return status;
}

static struct value_node *
find_in_memory(
    const struct local *local, uint8_t space, const void *key, size_t key_bytes)
{
    struct value_node *node =
        memtable_find(&local->tables[local->active], space, key, key_bytes);
    return node != NULL ? node
                        : memtable_find(&local->tables[1 - local->active],
                              space, key, key_bytes);
}

/* Of what is in memory, now. */
static enum store_status
get_memory(struct local_port *port, const struct value_node *node,
    store_value_done *done, void *arg)
{
    struct completion completion = {.kind = COMPLETE_VALUE,
        .arg = arg,
        .value = {.done = done, .status = STORE_NOT_FOUND}};
    if (!node->deleted) {
        size_t bytes = (size_t)node->key_bytes + node->bytes;
        struct found_value *found = malloc(sizeof *found + bytes);
        if (found == NULL) {
            return STORE_MEMORY;
        }
        *found = (struct found_value){.space = node->space,
            .key_bytes = node->key_bytes,
            .bytes = node->bytes};
        memcpy(found->key_data, node->key, bytes);
        completion.value.found = found;
        completion.value.status = STORE_OK;
    }
    port->references++;
    local_complete(port, &completion);
    return STORE_OK;
}

static struct job *
value_job(struct local_port *port, enum job_kind kind, enum store_space space,
    store_value_done *done, void *arg)
{
    struct job *job = calloc(1, sizeof *job);
    if (job != NULL) {
        job->kind = kind;
        job->port = port;
        job->space = (uint8_t)space;
        job->value_done = done;
        job->arg = arg;
    }
    return job;
}

static bool
is_space_of_keys(enum store_space space)
{
    return space >= STORE_SPACE_STREAM && space < STORE_SPACES;
}

enum store_status
local_get(struct store_port *store_port, enum store_space space,
    const void *key, size_t key_bytes, store_value_done *done, void *arg)
{
    struct local_port *port = (struct local_port *)store_port;
    struct local *local = port->local;
    if (!is_space_of_keys(space) || key_bytes == 0 ||
        key_bytes > STORE_KEY_MAX) {
        return STORE_INVALID;
    }
    struct job *job = value_job(port, JOB_GET, space, done, arg);
    if (job == NULL) {
        return STORE_MEMORY;
    }
    enum store_status status = STORE_OK;
    pthread_mutex_lock(&local->lock);
    const struct value_node *node =
        find_in_memory(local, (uint8_t)space, key, key_bytes);
    if (node != NULL) {
        free(job);
        status = get_memory(port, node, done, arg);
    } else {
        memcpy(job->key, key, key_bytes);
        job->key_bytes = key_bytes;
        port->references++;
        local_ask(local, job);
    }
    pthread_mutex_unlock(&local->lock);
    return status;
}

enum store_status
local_scan(struct store_port *store_port, enum store_space space,
    store_value_done *done, void *arg)
{
    struct local_port *port = (struct local_port *)store_port;
    struct local *local = port->local;
    if (!is_space_of_keys(space)) {
        return STORE_INVALID;
    }
    struct job *job = value_job(port, JOB_SCAN, space, done, arg);
    if (job == NULL) {
        return STORE_MEMORY;
    }
    pthread_mutex_lock(&local->lock);
    port->references++;
    local_ask(local, job);
    pthread_mutex_unlock(&local->lock);
    return STORE_OK;
}

bool
local_stream_info(const struct store_port *port, uint32_t number,
    struct store_stream_info *out)
{
    struct local *local = local_of(port);
    pthread_mutex_lock(&local->lock);
    const struct stream *stream = local_stream(local, number);
    bool there = stream != NULL && stream->durable && !stream->removed;
    if (there) {
        const struct stream_state *state = &stream->state;
        uint64_t span = state->last_seq + 1 - state->first_seq;
        *out = (struct store_stream_info){.stream = number,
            .limits = state->limits,
            .first_seq = state->first_seq,
            .last_seq = state->last_seq,
            .records = state->records < span ? state->records : span,
            .bytes = span == 0 ? 0 : state->bytes,
            .first_time_ms = span == 0 ? 0 : state->first_time_ms,
            .last_time_ms = state->last_time_ms,
            .trimmed = state->trimmed,
            .damaged = state->damaged};
        memcpy(out->name, stream->name, stream->name_bytes);
    }
    pthread_mutex_unlock(&local->lock);
    return there;
}

uint32_t
local_next_stream(const struct store_port *port, uint32_t after)
{
    struct local *local = local_of(port);
    pthread_mutex_lock(&local->lock);
    uint32_t found = 0;
    for (uint32_t i = after + 1; found == 0 && i < local->next_stream; i++) {
        const struct stream *stream = local_stream(local, i);
        if (stream != NULL && stream->durable && !stream->removed) {
            found = i;
        }
    }
    pthread_mutex_unlock(&local->lock);
    return found;
}

void
local_get_stats(const struct store *store, struct store_stats *out)
{
    /* The lock is changed, the store is not. */
    struct local *local = ((const struct local *)store)->self;
    pthread_mutex_lock(&local->lock);
    *out = local->stats;
    out->in_flight_bytes = local->flight;
    out->memory_bytes = local->pool.bytes;
    for (int i = 0; i < 2; i++) {
        const struct memtable *table = &local->tables[i];
        out->memory_bytes += table->bytes - table->chunk_bytes;
    }
    out->disk_bytes = journal_bytes(&local->journal) + local->base_bytes;
    out->no_space = local->no_space;
    pthread_mutex_unlock(&local->lock);
}
