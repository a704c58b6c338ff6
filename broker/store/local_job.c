/* SPDX-License-Identifier: MIT
 *
 * What the table thread reads from disk for others; see local_store.h. One view
 * a job, and what is found is copied out of it. */
#include "checksum.h"
#include "local_block.h"
#include "local_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The block that has this sequence, or else the first behind it. */
static int
seek_block(
    struct base *base, uint32_t stream, uint64_t seq, struct base_item *item)
{
    uint8_t key[BLOCK_KEY_BYTES];
    block_key(key, stream, seq);
    int error = base->seek(base, BASE_BLOCKS, key, sizeof key, true, item);
    if (error == 0 && block_is_of(item, stream) &&
        block_last_seq(item) >= seq) {
        return 0;
    }
    if (error != 0 && error != ENOENT && error != EBADMSG) {
        return error; /* what lies behind it would be read in its place */
    }
    error = base->seek(base, BASE_BLOCKS, key, sizeof key, false, item);
    return error == 0 && !block_is_of(item, stream) ? ENOENT : error;
}

/* ---- records ------------------------------------------------------------- */

struct disk_read {
    struct reading *reading;
    uint64_t from;
    size_t max_bytes;
    size_t used, capacity; /* of the buffer */
    bool full, no_memory;
};

/* Runs say how far into the buffer they are until it stops moving. */
static bool
add_record(struct disk_read *read, uint64_t seq, uint64_t time_ms,
    const uint8_t *src, size_t bytes)
{
    struct reading *reading = read->reading;
    if (read->used + bytes > read->capacity) {
        size_t capacity = (read->used + bytes) * 2;
        uint8_t *buffer = realloc(reading->buffer, capacity);
        if (buffer == NULL) {
            read->no_memory = true;
            return false;
        }
        reading->buffer = buffer;
        read->capacity = capacity;
    }
    memcpy(reading->buffer + read->used, src, bytes);
    struct store_run *last =
        reading->run_count == 0 ? NULL : &reading->runs[reading->run_count - 1];
    if (last != NULL && last->time_ms == time_ms &&
        last->first_seq + last->count == seq) {
        last->count++;
        last->bytes += bytes;
    } else {
        struct store_run run = {
            .first_seq = seq, .time_ms = time_ms, .bytes = bytes, .count = 1};
        if (!reading_add_run(reading, &run)) {
            read->no_memory = true;
            return false;
        }
    }
    read->used += bytes;
    return true;
}

static void
read_entry(struct disk_read *read, const struct entry *entry)
{
    struct reading *reading = read->reading;
    const uint8_t *record = entry->body;
    size_t left = entry->body_bytes;
    for (uint32_t i = 0; i < entry->count; i++) {
        uint64_t seq = entry->first_seq + i;
        if (left < RECORD_HEAD || record_bytes(record) > left) {
            /* The length does not hold: nor can what is behind be found. */
            reading->next = entry->first_seq + entry->count;
            return;
        }
        size_t bytes = (size_t)record_bytes(record);
        if (seq >= read->from) {
            if (read->used > 0 && read->used + bytes > read->max_bytes) {
                read->full = true;
                return;
            }
            if (checksum(record, bytes) ==
                    get_u32(entry->checksums + (size_t)i * 4) &&
                !add_record(read, seq, entry->time_ms, record, bytes)) {
                return;
            }
            reading->next = seq + 1;
        }
        record += bytes;
        left -= bytes;
    }
}

static void
read_block(struct disk_read *read, const struct base_item *item)
{
    size_t at = 0;
    struct entry entry;
    while (!read->full && !read->no_memory && block_next(item, &at, &entry)) {
        read_entry(read, &entry);
    }
}

static int
read_disk(struct local *local, uint32_t stream, struct disk_read *read,
    uint64_t disk_last)
{
    struct base *base = local->base;
    struct base_item item;
    int error = base->view_begin(base);
    if (error != 0) {
        return error;
    }
    error = seek_block(base, stream, read->from, &item);
    while (error == 0 && get_u64(item.key + 4) <= disk_last) {
        read_block(read, &item);
        if (read->full || read->no_memory || read->used >= read->max_bytes) {
            break;
        }
        error = base->next(base, BASE_BLOCKS, &item);
        if (error == 0 && !block_is_of(&item, stream)) {
            error = ENOENT;
        }
    }
    struct reading *reading = read->reading;
    if (error == ENOENT) {
        /* All there is on disk; the rest is in memory. */
        if (reading->next <= disk_last) {
            reading->next = disk_last + 1;
        }
        error = 0;
    }
    reading_count_damaged(reading, read->from, 0);
    size_t at = 0;
    for (size_t i = 0; i < reading->run_count; i++) {
        reading->runs[i].records = reading->buffer + at;
        at += reading->runs[i].bytes;
    }
    base->view_end(base);
    return read->no_memory ? ENOMEM : error;
}

static void
note_damage(struct local *local, struct stream *stream, uint64_t from,
    const struct reading *reading)
{
    if (reading->damaged == 0 || from < stream->damaged_below) {
        return;
    }
    stream->damaged_below = reading->next;
    stream->state.damaged += reading->damaged;
    local_damage(local, reading->damaged,
        "%llu records of stream %s at or after %llu are damaged",
        (unsigned long long)reading->damaged, stream->name,
        (unsigned long long)from);
}

static void
do_read(struct local *local, struct job *job)
{
    struct stream *stream = local_stream(local, job->stream);
    struct reading *reading = calloc(1, sizeof *reading);
    if (stream == NULL || !stream->durable || stream->removed ||
        reading == NULL) {
        free(reading);
        local_complete_read(job->port, job->read_done, job->arg,
            reading == NULL ? STORE_MEMORY : STORE_NOT_FOUND, NULL, job->from);
        return;
    }
    uint64_t from = job->from > stream->state.first_seq
                        ? job->from
                        : stream->state.first_seq;
    uint64_t disk_last = stream->disk_last;
    reading->next = from;
    struct disk_read read = {
        .reading = reading, .from = from, .max_bytes = job->max_bytes};
    pthread_mutex_unlock(&local->lock);
    int error =
        from > disk_last ? 0 : read_disk(local, job->stream, &read, disk_last);
    pthread_mutex_lock(&local->lock);
    stream = local_stream(local, job->stream);
    enum store_status status = STORE_OK;
    if (error != 0) {
        status = error == ENOMEM ? STORE_MEMORY : STORE_FAILED;
        local_log(local, STORE_LOG_ERROR, "store-read", "%s", strerror(error));
    } else if (stream == NULL || stream->removed) {
        status = STORE_NOT_FOUND;
    } else {
        note_damage(local, stream, from, reading);
        /* What is on disk has come to its end: on in memory. */
        reading->bytes = read.used;
        if (reading->next > disk_last && read.used < job->max_bytes &&
            !reading_from_memory(
                local, stream, reading->next, job->max_bytes, reading)) {
            status = STORE_MEMORY;
        }
    }
    if (status != STORE_OK) {
        reading_free(local, reading);
        reading = NULL;
    }
    local_complete_read(
        job->port, job->read_done, job->arg, status, reading, from);
}

/* ---- a time -------------------------------------------------------------- */

/* Of the block that begins at or before this sequence: the first record whose
 * time is not before. False: none in it. */
static bool
first_in_block(const struct base_item *item, uint64_t time_ms, uint64_t *seq)
{
    size_t at = 0;
    struct entry entry;
    while (block_next(item, &at, &entry)) {
        if (entry.time_ms >= time_ms) {
            *seq = entry.first_seq;
            return true;
        }
    }
    return false;
}

/* Blocks are in the order of their times as well: bisect the sequences. */
static uint64_t
seek_disk(struct base *base, uint32_t stream, uint64_t first, uint64_t last,
    uint64_t time_ms)
{
    uint64_t low = first; /* the answer is not before */
    uint64_t high = last + 1;
    uint64_t answer = last + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct base_item item;
        if (seek_block(base, stream, middle, &item) != 0) {
            high = middle;
            continue;
        }
        uint64_t begins = get_u64(item.key + 4);
        uint64_t ends = block_last_seq(&item);
        uint64_t found;
        if (!first_in_block(&item, time_ms, &found)) {
            low = ends >= middle ? ends + 1 : middle + 1;
            continue;
        }
        answer = found;
        high = begins < middle ? begins : middle;
    }
    return answer < first ? first : answer;
}

static void
do_seek(struct local *local, struct job *job)
{
    struct stream *stream = local_stream(local, job->stream);
    if (stream == NULL || !stream->durable || stream->removed) {
        local_complete_read(
            job->port, job->read_done, job->arg, STORE_NOT_FOUND, NULL, 0);
        return;
    }
    uint64_t first = stream->state.first_seq;
    uint64_t last = stream->disk_last;
    uint64_t found = last + 1;
    pthread_mutex_unlock(&local->lock);
    struct base *base = local->base;
    int error = first <= last ? base->view_begin(base) : 0;
    if (error == 0 && first <= last) {
        found = seek_disk(base, job->stream, first, last, job->from);
        base->view_end(base);
    }
    pthread_mutex_lock(&local->lock);
    stream = local_stream(local, job->stream);
    if (stream == NULL || stream->removed || error != 0) {
        local_complete_read(job->port, job->read_done, job->arg,
            error != 0 ? STORE_FAILED : STORE_NOT_FOUND, NULL, 0);
        return;
    }
    if (found > last) {
        found = local_seek_memory(stream, job->from);
    }
    if (found < stream->state.first_seq) {
        found = stream->state.first_seq;
    }
    local_complete_read(
        job->port, job->read_done, job->arg, STORE_OK, NULL, found);
}

/* ---- the oldest block, for trimming -------------------------------------- */

/* With the same shape in one piece of memory. */
static struct head *
head_of(const struct base_item *item)
{
    size_t pieces = 0;
    size_t records = 0;
    size_t at = 0;
    struct entry entry;
    while (block_next(item, &at, &entry)) {
        pieces++;
        records += entry.count;
    }
    struct head *head = malloc(sizeof *head + (records + 1) * sizeof(uint32_t) +
                               pieces * sizeof(struct head_piece) + 8);
    if (head == NULL) {
        return NULL;
    }
    uint32_t *sizes = head->sizes;
    uintptr_t behind = (uintptr_t)(sizes + records);
    head->pieces = (struct head_piece *)((behind + 7) & ~(uintptr_t)7);
    head->count = 0;
    at = 0;
    while (block_next(item, &at, &entry)) {
        const uint8_t *record = entry.body;
        size_t left = entry.body_bytes;
        head->pieces[head->count++] =
            (struct head_piece){.first_seq = entry.first_seq,
                .time_ms = entry.time_ms,
                .count = entry.count,
                .sizes = sizes};
        for (uint32_t i = 0; i < entry.count; i++) {
            bool holds = left >= RECORD_HEAD && record_bytes(record) <= left;
            size_t bytes = holds ? (size_t)record_bytes(record) : left;
            *sizes++ = (uint32_t)bytes;
            record += bytes;
            left -= bytes;
        }
    }
    return head;
}

/* The first block that has anything from this sequence on that can be read. */
static int
seek_readable(
    struct base *base, uint32_t stream, uint64_t seq, struct base_item *item)
{
    int error = seek_block(base, stream, seq, item);
    while (error == 0 && block_last_seq(item) < seq) {
        error = base->next(base, BASE_BLOCKS, item);
        if (error == 0 && !block_is_of(item, stream)) {
            error = ENOENT;
        }
    }
    return error;
}

static void
do_head(struct local *local, struct job *job)
{
    struct base *base = local->base;
    struct base_item item;
    struct head *head = NULL;
    pthread_mutex_unlock(&local->lock);
    int error = base->view_begin(base);
    bool none = false;
    if (error == 0) {
        error = seek_readable(base, job->stream, job->from, &item);
        none = error == ENOENT;
        if (error == 0) {
            head = head_of(&item);
        }
        base->view_end(base);
    }
    pthread_mutex_lock(&local->lock);
    struct stream *stream = local_stream(local, job->stream);
    if (stream == NULL || stream->removed) {
        free(head);
        return;
    }
    stream->head_asked = false;
    free(stream->head);
    stream->head = head;
    if (none && stream->state.first_seq <= stream->disk_last &&
        stream->counted <= stream->disk_last) {
        stream->state.first_seq = stream->disk_last + 1; /* lost to damage */
    }
    if (head != NULL || none) {
        local_retain(local, stream);
    }
}

/* ---- values -------------------------------------------------------------- */

static struct found_value *
found_new(uint8_t space, const uint8_t *key, size_t key_bytes,
    const uint8_t *data, size_t bytes)
{
    struct found_value *found = malloc(sizeof *found + key_bytes + bytes);
    if (found != NULL) {
        *found = (struct found_value){
            .space = space, .key_bytes = key_bytes, .bytes = bytes};
        memcpy(found->key_data, key, key_bytes);
        memcpy(found->key_data + key_bytes, data, bytes);
    }
    return found;
}

/* NULL with 0: it is damaged. */
static int
found_of_item(
    struct local *local, const struct base_item *item, struct found_value **out)
{
    struct entry entry;
    *out = NULL;
    if (entry_decode(item->data, item->bytes, &entry) == 0 ||
        entry.kind != ENTRY_VALUE || entry.count + 1 != item->key_bytes ||
        memcmp(entry.body, item->key + 1, entry.count) != 0) {
        pthread_mutex_lock(&local->lock);
        local_damage(local, 1, "a value in space %d is damaged",
            item->key_bytes > 0 ? item->key[0] : 0);
        pthread_mutex_unlock(&local->lock);
        return 0;
    }
    *out = found_new(entry.space, entry.body, entry.count,
        entry.body + entry.count, entry.body_bytes - entry.count);
    return *out == NULL ? ENOMEM : 0;
}

static void
complete_value(struct job *job, enum completion_kind kind,
    enum store_status status, struct found_value *found, struct job *scan)
{
    struct completion completion = {.kind = kind,
        .arg = job->arg,
        .value = {.done = job->value_done,
            .status = status,
            .found = found,
            .scan = scan}};
    local_complete(job->port, &completion);
}

static void
do_get(struct local *local, struct job *job)
{
    struct base *base = local->base;
    struct base_item item;
    struct found_value *found = NULL;
    uint8_t key[1 + STORE_KEY_MAX];
    key[0] = job->space;
    memcpy(key + 1, job->key, job->key_bytes);
    pthread_mutex_unlock(&local->lock);
    int error = base->view_begin(base);
    if (error == 0) {
        error = base->seek(
            base, BASE_VALUES, key, 1 + job->key_bytes, false, &item);
        if (error == 0 && (item.key_bytes != 1 + job->key_bytes ||
                              memcmp(item.key, key, item.key_bytes) != 0)) {
            error = ENOENT;
        }
        if (error == 0) {
            error = found_of_item(local, &item, &found);
        }
        base->view_end(base);
    }
    pthread_mutex_lock(&local->lock);
    enum store_status status = found != NULL                   ? STORE_OK
                               : error == 0 || error == ENOENT ? STORE_NOT_FOUND
                               : error == ENOMEM               ? STORE_MEMORY
                                                               : STORE_FAILED;
    complete_value(job, COMPLETE_VALUE, status, found, NULL);
}

/* ---- scans: slices of what is on disk, and what is in memory between ----- */

static int
key_order(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
    size_t least = a_bytes < b_bytes ? a_bytes : b_bytes;
    int order = memcmp(a, b, least);
    return order != 0 ? order : a_bytes < b_bytes ? -1 : a_bytes > b_bytes;
}

static int
node_order(const void *a, const void *b)
{
    const struct value_node *first = *(struct value_node *const *)a;
    const struct value_node *second = *(struct value_node *const *)b;
    return key_order(
        first->key, first->key_bytes, second->key, second->key_bytes);
}

/* From disk, behind the last key; *more: there are others behind these. */
static int
slice_disk(struct local *local, const struct job *job,
    struct found_value **first, bool *more)
{
    struct base *base = local->base;
    struct base_item item;
    struct found_value **end = first;
    size_t bytes = 0;
    uint8_t key[2 + STORE_KEY_MAX];
    size_t key_bytes = 1 + job->key_bytes;
    key[0] = job->space;
    memcpy(key + 1, job->key, job->key_bytes);
    if (job->started) {
        key[key_bytes++] = 0; /* the next key that there can be */
    }
    int error = base->view_begin(base);
    if (error != 0) {
        return error;
    }
    error = base->seek(base, BASE_VALUES, key, key_bytes, false, &item);
    while (error == 0 && item.key_bytes > 0 && item.key[0] == job->space) {
        if (bytes >= SCAN_SLICE_BYTES) {
            *more = true;
            break;
        }
        error = found_of_item(local, &item, end);
        if (error != 0) {
            break;
        }
        if (*end != NULL) {
            bytes += sizeof **end + item.bytes;
            end = &(*end)->next;
        }
        error = base->next(base, BASE_VALUES, &item);
    }
    base->view_end(base);
    return error == ENOENT ? 0 : error;
}

/* Of both tables: those behind the last key and not behind `end`, in order,
 * the older table's first where a key is in both. */
static struct value_node **
slice_memory(const struct local *local, const struct job *job,
    const struct found_value *end, size_t *count)
{
    size_t capacity =
        local->tables[0].value_count + local->tables[1].value_count;
    struct value_node **nodes = malloc((capacity + 1) * sizeof *nodes);
    *count = 0;
    for (int i = 1; i >= 0 && nodes != NULL; i--) {
        const struct memtable *table =
            &local->tables[i == 1 ? 1 - local->active : local->active];
        for (size_t k = 0; k < table->bucket_count; k++) {
            struct value_node *node = table->buckets[k];
            for (; node != NULL; node = node->next) {
                bool behind =
                    !job->started || key_order(node->key, node->key_bytes,
                                         job->key, job->key_bytes) > 0;
                bool within =
                    end == NULL || key_order(node->key, node->key_bytes,
                                       end->key_data, end->key_bytes) <= 0;
                if (node->space == job->space && behind && within &&
                    (i == 0 ||
                        memtable_find(&local->tables[local->active],
                            node->space, node->key, node->key_bytes) == NULL)) {
                    nodes[(*count)++] = node;
                }
            }
        }
    }
    if (nodes != NULL) {
        qsort(nodes, *count, sizeof *nodes, node_order);
    }
    return nodes;
}

/* What is in memory takes the place of what is on disk. */
static bool
merge(struct found_value **list, struct value_node **nodes, size_t count)
{
    struct found_value **link = list;
    for (size_t i = 0; i < count; i++) {
        const struct value_node *node = nodes[i];
        while (*link != NULL && key_order((*link)->key_data, (*link)->key_bytes,
                                    node->key, node->key_bytes) < 0) {
            link = &(*link)->next;
        }
        struct found_value *old = *link;
        if (old != NULL && key_order(old->key_data, old->key_bytes, node->key,
                               node->key_bytes) == 0) {
            *link = old->next;
            free(old);
        }
        if (node->deleted) {
            continue;
        }
        struct found_value *found = found_new(node->space, node->key,
            node->key_bytes, node->key + node->key_bytes, node->bytes);
        if (found == NULL) {
            return false;
        }
        found->next = *link;
        *link = found;
        link = &found->next;
    }
    return true;
}

static void
do_scan(struct local *local, struct job *job)
{
    struct found_value *list = NULL;
    bool more = false;
    pthread_mutex_unlock(&local->lock);
    int error = slice_disk(local, job, &list, &more);
    pthread_mutex_lock(&local->lock);
    const struct found_value *end = list;
    while (end != NULL && end->next != NULL) {
        end = end->next;
    }
    struct job *next = NULL;
    if (error == 0 && more && end != NULL) {
        next = malloc(sizeof *next);
        if (next == NULL) {
            error = ENOMEM;
        } else {
            *next = *job;
            next->started = true;
            next->key_bytes = end->key_bytes;
            memcpy(next->key, end->key_data, end->key_bytes);
        }
    }
    if (error == 0) {
        size_t count;
        struct value_node **nodes =
            slice_memory(local, job, next != NULL ? end : NULL, &count);
        if (nodes == NULL || !merge(&list, nodes, count)) {
            error = ENOMEM;
        }
        free(nodes);
    }
    enum store_status status = error == 0        ? STORE_OK
                               : error == ENOMEM ? STORE_MEMORY
                                                 : STORE_FAILED;
    if (error != 0) {
        free(next);
        next = NULL;
    }
    complete_value(job, COMPLETE_SCAN, status, list, next);
}

void
local_do_job(struct local *local, struct job *job)
{
    bool wanted = job->port == NULL || !job->port->closed;
    if (!wanted) {
        local_port_unref(job->port);
    } else if (job->kind == JOB_READ) {
        do_read(local, job);
    } else if (job->kind == JOB_SEEK) {
        do_seek(local, job);
    } else if (job->kind == JOB_GET) {
        do_get(local, job);
    } else if (job->kind == JOB_SCAN) {
        do_scan(local, job);
    } else {
        do_head(local, job);
    }
    free(job);
}
