/* SPDX-License-Identifier: MIT
 *
 * Blocks: reference-counted memory that frames are received into and sent from.
 *
 * A block is written once, from front to back, and what stands before `fill` is
 * never changed again, so slices of it can be queued to any number of
 * connections without a copy. Whoever keeps a slice keeps a reference.
 *
 * Blocks of the pool's size are recycled: fresh memory of this size costs a
 * system call and a page fault for each page, which measured 2 to 4 times
 * slower than the whole rest of the message path. The capacity of every block
 * in use is counted (not its header, and not the recycled ones), and the count
 * is what the memory limit is held against. One eighth of what is allowed is a
 * reserve, for what keeps the broker talking to its peers: receiving, answers,
 * and compacting, which gives memory back. Once the rest is used up the pool is
 * tight: what stays in memory may not grow.
 *
 * One thread a pool, and no reference count is ever touched by two threads. A
 * block goes to another thread as a loan: a small block object of the borrower
 * that stands for the whole of the lender's block, whose reference it holds.
 * When the borrower has let go of the loan it collects on its pool's list of
 * loans to be given back, and only the lender ends it. What pools of several
 * threads have in use together may be counted in one place.
 *
 * Knows nothing of frames, sessions or sockets.
 */
#ifndef BROKER_CORE_BLOCK_H
#define BROKER_CORE_BLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_POOL_BYTES (256u * 1024u) /* capacity of a recycled block */

struct block_pool {
    struct block *idle;     /* recycled blocks, linked through `next` */
    size_t idle_count;      /* of them */
    size_t idle_max;        /* more than these are freed */
    uint64_t bytes_in_use;  /* capacity of all referenced blocks */
    uint64_t bytes_allowed; /* with the reserve */
    uint64_t bytes_tight;   /* without it */
    uint64_t bytes_slow;    /* above, publishers are slowed */
    /* Of all pools that share the allowance; NULL: it is this pool's alone. */
    _Atomic uint64_t *shared_bytes;
    const _Atomic uint64_t *other_bytes; /* not of blocks; or NULL */
    struct block *returned; /* loans that nobody here needs any more */
};

struct block {
    struct block_pool *pool;
    struct block *next;
    struct block *original; /* a loan: the lender's block; else NULL */
    uint32_t references;
    uint32_t capacity;
    uint32_t fill;   /* bytes written so far */
    uint32_t lender; /* of a loan: which thread */
    uint8_t data[];
};

void block_pool_init(struct block_pool *pool, uint64_t bytes_allowed);
/* Share the allowance with the pools of so many threads (0 or 1: with none),
 * and with memory that is counted elsewhere. Either pointer may be NULL. */
void block_pool_share(struct block_pool *pool, _Atomic uint64_t *shared_bytes,
    const _Atomic uint64_t *other_bytes, uint32_t threads);
/* Free the recycled blocks. All others must have been released. */
void block_pool_fini(struct block_pool *pool);

/* A block with room for `capacity` bytes and one reference, which is the
 * caller's. NULL if memory is out, or only the reserve would be left. Any
 * capacity up to BLOCK_POOL_BYTES that is larger than half of that gives a
 * recycled block of BLOCK_POOL_BYTES. */
struct block *block_new(struct block_pool *pool, size_t capacity);

/* The same, but the reserve may be used too. */
struct block *block_new_from_reserve(struct block_pool *pool, size_t capacity);

/* An object to make a loan of; NULL if memory is out. free(3) frees it. */
struct block *block_loan_new(void);
/* Make it a loan of the block for another thread, with one reference: it keeps
 * a reference to the block until block_end_loan. It has the block's capacity
 * and none of its data: slices carry their own pointer. The borrower sets
 * `pool`. */
void block_lend(struct block *loan, struct block *block, uint32_t lender);
/* The loan has come back to the thread that lent. */
void block_end_loan(struct block *loan);

/* Blocks of all who share the allowance, in bytes. */
static inline uint64_t
block_pool_blocks(const struct block_pool *pool)
{
    return pool->shared_bytes == NULL
               ? pool->bytes_in_use
               : atomic_load_explicit(pool->shared_bytes, memory_order_relaxed);
}

/* What else is used of the allowance. */
static inline uint64_t
block_pool_others(const struct block_pool *pool)
{
    return pool->other_bytes == NULL
               ? 0
               : atomic_load_explicit(pool->other_bytes, memory_order_relaxed);
}

/* Both together. */
static inline uint64_t
block_pool_bytes(const struct block_pool *pool)
{
    return block_pool_blocks(pool) + block_pool_others(pool);
}

/* Is only the reserve left? */
static inline bool
block_pool_is_tight(const struct block_pool *pool)
{
    return block_pool_bytes(pool) >= pool->bytes_tight;
}

/* The last reference is gone: recycle or free. Called by block_unref only. */
void block_release(struct block *block);

static inline struct block *
block_ref(struct block *block)
{
    block->references++;
    return block;
}

/* NULL is allowed. */
static inline void
block_unref(struct block *block)
{
    if (block != NULL && --block->references == 0) {
        block_release(block);
    }
}

static inline size_t
block_room(const struct block *block)
{
    return block->capacity - block->fill;
}

#endif
