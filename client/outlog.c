/* SPDX-License-Identifier: MIT
 *
 * See outlog.h.
 */
#include "outlog.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <broker/codec.h>

#define CHUNK_BYTES_MIN 4096
#define CHUNK_BYTES_MAX 65536
/* A small buffer gets small chunks, or one held frame would fill it. */
#define CHUNKS_IN_LIMIT 8

void
outlog_init(struct outlog *log, size_t limit_bytes)
{
    size_t chunk = limit_bytes / CHUNKS_IN_LIMIT;
    chunk = chunk < CHUNK_BYTES_MIN ? CHUNK_BYTES_MIN : chunk;
    chunk = chunk > CHUNK_BYTES_MAX ? CHUNK_BYTES_MAX : chunk;
    *log = (struct outlog){.chunk_bytes = chunk};
}

void
outlog_fini(struct outlog *log)
{
    while (log->head != NULL) {
        struct outlog_chunk *next = log->head->next;
        free(log->head);
        log->head = next;
    }
    free(log->spare);
    *log = (struct outlog){.chunk_bytes = log->chunk_bytes};
}

static struct outlog_chunk *
chunk_new(struct outlog *log, size_t size)
{
    struct outlog_chunk *chunk = log->spare;
    if (chunk != NULL && size <= chunk->capacity) {
        log->spare = NULL;
    } else {
        size_t capacity = size > log->chunk_bytes ? size : log->chunk_bytes;
        chunk = malloc(sizeof *chunk + capacity);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->capacity = capacity;
    }
    chunk->next = NULL;
    chunk->sequence = log->next_sequence++;
    chunk->used = 0;
    chunk->held = 0;
    return chunk;
}

static void
chunk_free(struct outlog *log, struct outlog_chunk *chunk)
{
    if (log->spare == NULL && chunk->capacity == log->chunk_bytes) {
        log->spare = chunk;
    } else {
        free(chunk);
    }
}

uint8_t *
outlog_reserve(struct outlog *log, size_t size)
{
    if (log->tail == NULL || log->tail->capacity - log->tail->used < size) {
        struct outlog_chunk *chunk = chunk_new(log, size);
        if (chunk == NULL) {
            return NULL;
        }
        if (log->tail == NULL) {
            log->head = chunk;
        } else {
            log->tail->next = chunk;
        }
        log->tail = chunk;
    }
    if (log->cursor == NULL) {
        log->cursor = log->tail;
        log->cursor_offset = log->tail->used;
    }
    return log->tail->data + log->tail->used;
}

void
outlog_commit(struct outlog *log, size_t size)
{
    assert(size <= log->tail->capacity - log->tail->used);
    log->tail->used += size;
    log->bytes += size;
    log->unsent += size;
}

struct outlog_chunk *
outlog_hold(struct outlog *log, size_t size, uint32_t *offset)
{
    assert(size <= log->tail->used);
    log->tail->held++;
    *offset = (uint32_t)(log->tail->used - size);
    return log->tail;
}

/* Free what is written and not held, oldest first. */
static void
trim(struct outlog *log)
{
    while (log->head != NULL && log->head->held == 0) {
        struct outlog_chunk *chunk = log->head;
        if (log->cursor == chunk && log->cursor_offset < chunk->used) {
            return;
        }
        log->bytes -= chunk->used;
        if (chunk == log->tail) { /* it is used again from its start */
            chunk->used = 0;
            log->cursor = chunk;
            log->cursor_offset = 0;
            return;
        }
        if (log->cursor == chunk) {
            log->cursor = chunk->next;
            log->cursor_offset = 0;
        }
        log->head = chunk->next;
        chunk_free(log, chunk);
    }
}

void
outlog_release(struct outlog *log, struct outlog_chunk *chunk)
{
    outlog_let_go(chunk);
    if (chunk == log->head) {
        trim(log);
    }
}

void
outlog_let_go(struct outlog_chunk *chunk)
{
    assert(chunk->held > 0);
    chunk->held--;
}

void
outlog_hold_kept(struct outlog_chunk *chunk)
{
    chunk->held++;
}

static size_t
frame_size(const uint8_t *frame)
{
    struct broker_header header;
    broker_header_decode(frame, &header);
    return BROKER_HEADER_BYTES + (size_t)header.body_bytes;
}

static bool
is_before_cursor(
    const struct outlog *log, const struct outlog_chunk *chunk, size_t end)
{
    if (chunk->sequence != log->cursor->sequence) {
        return chunk->sequence < log->cursor->sequence;
    }
    return end <= log->cursor_offset;
}

bool
outlog_written(
    const struct outlog *log, const struct outlog_chunk *chunk, uint32_t offset)
{
    return is_before_cursor(
        log, chunk, offset + frame_size(chunk->data + offset));
}

size_t
outlog_peek(const struct outlog *log, struct iovec *vectors, size_t max)
{
    size_t n = 0;
    size_t offset = log->cursor_offset;
    for (struct outlog_chunk *chunk = log->cursor; chunk != NULL && n < max;
         chunk = chunk->next) {
        if (offset < chunk->used) {
            vectors[n].iov_base = chunk->data + offset;
            vectors[n].iov_len = chunk->used - offset;
            n++;
        }
        offset = 0;
    }
    return n;
}

void
outlog_sent(struct outlog *log, size_t n)
{
    assert(n <= log->unsent);
    log->unsent -= n;
    while (n > 0) {
        size_t left = log->cursor->used - log->cursor_offset;
        size_t step = n < left ? n : left;
        log->cursor_offset += step;
        n -= step;
        if (log->cursor_offset == log->cursor->used &&
            log->cursor->next != NULL) {
            log->cursor = log->cursor->next;
            log->cursor_offset = 0;
        }
    }
    trim(log);
}

static void
rewind_chunk(struct outlog *log, struct outlog_chunk *chunk,
    outlog_keep_fn *keep, void *context)
{
    size_t from = 0, to = 0;
    while (from < chunk->used) {
        struct outlog_frame frame = {
            .data = chunk->data + from,
            .size = frame_size(chunk->data + from),
            .chunk = chunk,
            .offset = (uint32_t)to,
        };
        frame.written = is_before_cursor(log, chunk, from + frame.size);
        from += frame.size;
        if (keep(context, &frame)) {
            memmove(chunk->data + to, frame.data, frame.size);
            to += frame.size;
        }
    }
    chunk->used = to;
}

void
outlog_rewind(struct outlog *log, outlog_keep_fn *keep, void *context)
{
    size_t bytes = 0;
    for (struct outlog_chunk *chunk = log->head; chunk != NULL;
         chunk = chunk->next) {
        rewind_chunk(log, chunk, keep, context);
        bytes += chunk->used;
    }
    struct outlog_chunk **link = &log->head;
    log->tail = NULL;
    while (*link != NULL) {
        struct outlog_chunk *chunk = *link;
        if (chunk->used == 0) {
            assert(chunk->held == 0);
            *link = chunk->next;
            chunk_free(log, chunk);
        } else {
            log->tail = chunk;
            link = &chunk->next;
        }
    }
    log->cursor = log->head;
    log->cursor_offset = 0;
    log->bytes = bytes;
    log->unsent = bytes;
}
