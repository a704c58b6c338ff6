/* SPDX-License-Identifier: MIT
 *
 * Chunks; see chunk.h. */
#include "chunk.h"

#include <stdlib.h>

struct chunk *
chunk_new(struct chunk_pool *pool, size_t capacity)
{
    struct chunk *chunk = pool->idle;
    if (chunk != NULL && capacity <= pool->chunk_bytes) {
        pool->idle = chunk->next;
        pool->idle_count--;
    } else {
        capacity = capacity < pool->chunk_bytes ? pool->chunk_bytes : capacity;
        chunk = malloc(sizeof *chunk + capacity);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->capacity = capacity;
        pool->bytes += capacity;
    }
    chunk->next = NULL;
    chunk->references = 1;
    chunk->used = 0;
    return chunk;
}

struct chunk *
chunk_ref(struct chunk *chunk)
{
    chunk->references++;
    return chunk;
}

void
chunk_unref(struct chunk_pool *pool, struct chunk *chunk)
{
    if (chunk == NULL || --chunk->references > 0) {
        return;
    }
    if (chunk->capacity == pool->chunk_bytes &&
        pool->idle_count < pool->idle_max) {
        chunk->next = pool->idle;
        pool->idle = chunk;
        pool->idle_count++;
        return;
    }
    pool->bytes -= chunk->capacity;
    free(chunk);
}

void
chunk_pool_fini(struct chunk_pool *pool)
{
    while (pool->idle != NULL) {
        struct chunk *chunk = pool->idle;
        pool->idle = chunk->next;
        pool->bytes -= chunk->capacity;
        free(chunk);
    }
    pool->idle_count = 0;
}
