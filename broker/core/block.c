/* SPDX-License-Identifier: MIT
 *
 * The block pool; see block.h. */
#include "block.h"

#include <assert.h>
#include <stdlib.h>

/* Enough for a turn of the loop in which every block is in flight, little
 * enough to be no burden when it is quiet: 8 MiB. */
#define IDLE_MAX     32
#define RESERVE_PART 8

void
block_pool_init(struct block_pool *pool, uint64_t bytes_allowed)
{
    *pool = (struct block_pool){.idle_max = IDLE_MAX,
        .bytes_allowed = bytes_allowed,
        .bytes_tight = bytes_allowed - bytes_allowed / RESERVE_PART};
}

void
block_pool_fini(struct block_pool *pool)
{
    assert(pool->bytes_in_use == 0);
    while (pool->idle != NULL) {
        struct block *block = pool->idle;
        pool->idle = block->next;
        free(block);
    }
    pool->idle_count = 0;
}

static struct block *
take_idle(struct block_pool *pool)
{
    struct block *block = pool->idle;
    pool->idle = block->next;
    pool->idle_count--;
    return block;
}

static struct block *
block_new_within(struct block_pool *pool, size_t capacity, uint64_t allowed)
{
    if (capacity > BLOCK_POOL_BYTES / 2 && capacity < BLOCK_POOL_BYTES) {
        capacity = BLOCK_POOL_BYTES;
    }
    if (pool->bytes_in_use >= allowed ||
        capacity > allowed - pool->bytes_in_use) {
        return NULL;
    }
    struct block *block;
    if (capacity == BLOCK_POOL_BYTES && pool->idle != NULL) {
        block = take_idle(pool);
    } else {
        block = malloc(sizeof *block + capacity);
        if (block == NULL) {
            return NULL;
        }
    }
    block->pool = pool;
    block->next = NULL;
    block->references = 1;
    block->capacity = (uint32_t)capacity;
    block->fill = 0;
    pool->bytes_in_use += capacity;
    return block;
}

struct block *
block_new(struct block_pool *pool, size_t capacity)
{
    return block_new_within(pool, capacity, pool->bytes_tight);
}

struct block *
block_new_from_reserve(struct block_pool *pool, size_t capacity)
{
    return block_new_within(pool, capacity, pool->bytes_allowed);
}

void
block_release(struct block *block)
{
    struct block_pool *pool = block->pool;
    pool->bytes_in_use -= block->capacity;
    if (block->capacity == BLOCK_POOL_BYTES &&
        pool->idle_count < pool->idle_max) {
        block->next = pool->idle;
        pool->idle = block;
        pool->idle_count++;
        return;
    }
    free(block);
}
