/* SPDX-License-Identifier: MIT
 *
 * The block pool; see block.h. */
#include "block.h"

#include <assert.h>
#include <stdlib.h>

/* Enough for a turn of the loop in which every block is in flight, little
 * enough to be no burden when it is quiet: 8 MiB. */
/* Idle blocks of all threads are at most this part of what is allowed. */
#define IDLE_PART    32u
#define IDLE_MAX     32
#define RESERVE_PART 8

void
block_pool_init(struct block_pool *pool, uint64_t bytes_allowed)
{
    *pool = (struct block_pool){.idle_max = IDLE_MAX,
        .bytes_allowed = bytes_allowed,
        .bytes_tight = bytes_allowed - bytes_allowed / RESERVE_PART,
        .bytes_slow = bytes_allowed / 5 * 4};
}

void
block_pool_share(struct block_pool *pool, _Atomic uint64_t *shared_bytes,
    const _Atomic uint64_t *other_bytes, uint32_t threads)
{
    uint64_t each =
        pool->bytes_allowed / IDLE_PART / (threads == 0 ? 1 : threads);
    if (each / BLOCK_POOL_BYTES < pool->idle_max) {
        pool->idle_max = (size_t)(each / BLOCK_POOL_BYTES);
    }
    pool->shared_bytes = shared_bytes;
    pool->other_bytes = other_bytes;
}

void
block_pool_fini(struct block_pool *pool)
{
    assert(pool->bytes_in_use == 0 && pool->returned == NULL);
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

/* Count the bytes in, unless that would be more than is allowed. */
static bool
charge(struct block_pool *pool, size_t bytes, uint64_t allowed)
{
    uint64_t others = block_pool_others(pool);
    allowed = allowed > others ? allowed - others : 0;
    if (pool->shared_bytes != NULL) {
        uint64_t before = atomic_fetch_add_explicit(
            pool->shared_bytes, bytes, memory_order_relaxed);
        if (before >= allowed || bytes > allowed - before) {
            atomic_fetch_sub_explicit(
                pool->shared_bytes, bytes, memory_order_relaxed);
            return false;
        }
    } else if (pool->bytes_in_use >= allowed ||
               bytes > allowed - pool->bytes_in_use) {
        return false;
    }
    pool->bytes_in_use += bytes;
    return true;
}

static void
discharge(struct block_pool *pool, size_t bytes)
{
    pool->bytes_in_use -= bytes;
    if (pool->shared_bytes != NULL) {
        atomic_fetch_sub_explicit(
            pool->shared_bytes, bytes, memory_order_relaxed);
    }
}

static struct block *
block_new_within(struct block_pool *pool, size_t capacity, uint64_t allowed)
{
    if (capacity > BLOCK_POOL_BYTES / 2 && capacity < BLOCK_POOL_BYTES) {
        capacity = BLOCK_POOL_BYTES;
    }
    if (!charge(pool, capacity, allowed)) {
        return NULL;
    }
    struct block *block;
    if (capacity == BLOCK_POOL_BYTES && pool->idle != NULL) {
        block = take_idle(pool);
    } else {
        block = malloc(sizeof *block + capacity);
        if (block == NULL) {
            discharge(pool, capacity);
            return NULL;
        }
    }
    block->pool = pool;
    block->next = NULL;
    block->original = NULL;
    block->references = 1;
    block->capacity = (uint32_t)capacity;
    block->fill = 0;
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
    if (block->original != NULL) {
        block->next = pool->returned;
        pool->returned = block;
        return;
    }
    discharge(pool, block->capacity);
    if (block->capacity == BLOCK_POOL_BYTES &&
        pool->idle_count < pool->idle_max) {
        block->next = pool->idle;
        pool->idle = block;
        pool->idle_count++;
        return;
    }
    free(block);
}

struct block *
block_loan_new(void)
{
    return malloc(sizeof(struct block));
}

void
block_lend(struct block *loan, struct block *block, uint32_t lender)
{
    *loan = (struct block){.original = block_ref(block),
        .references = 1,
        .capacity = block->capacity,
        .fill = block->fill,
        .lender = lender};
}

void
block_end_loan(struct block *loan)
{
    block_unref(loan->original);
    free(loan);
}
