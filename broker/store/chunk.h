/* SPDX-License-Identifier: MIT
 *
 * Chunks: reference-counted memory that batches are built in, written from, and
 * read from as long as they are in memory. Written from front to back; what
 * stands before `used` is never changed again.
 *
 * Not for several threads at once: the store's lock is held, or there is only
 * one. Reading what was written needs no lock while a reference is held. */
#ifndef BROKER_STORE_CHUNK_H
#define BROKER_STORE_CHUNK_H

#include <stddef.h>
#include <stdint.h>

struct chunk {
    struct chunk *next; /* idle */
    uint32_t references;
    size_t capacity, used;
    uint8_t data[];
};

struct chunk_pool {
    struct chunk *idle;
    size_t idle_count, idle_max; /* more than these are freed */
    size_t chunk_bytes;          /* capacity of those that are recycled */
    uint64_t bytes;              /* capacity of all, idle ones too */
};

/* At least this capacity, one reference. NULL: memory is out. */
struct chunk *chunk_new(struct chunk_pool *pool, size_t capacity);
struct chunk *chunk_ref(struct chunk *chunk);
void chunk_unref(struct chunk_pool *pool, struct chunk *chunk); /* NULL too */
void chunk_pool_fini(struct chunk_pool *pool);

#endif
