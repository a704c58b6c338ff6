/* SPDX-License-Identifier: MIT
 *
 * What was committed since the last checkpoint, in memory: pieces of streams
 * and values by key. Nothing is copied: both point into the chunks that the
 * batches were written from, which the table keeps.
 *
 * Pieces belong to their streams, which have one list for each of the two
 * tables; here is what they have in common.
 */
#ifndef BROKER_STORE_MEMTABLE_H
#define BROKER_STORE_MEMTABLE_H

#include "chunk.h"
#include "entry.h"

/* Consecutive records of a stream with one time. */
struct piece {
    uint64_t first_seq, time_ms;
    const uint8_t *checksums;
    const uint8_t *records;
    size_t bytes;
    uint32_t count;
    struct chunk *chunk; /* where they are; kept by the table */
};

/* In the order of their sequences. */
struct pieces {
    struct piece *at;
    size_t count, capacity;
};

struct value_node {
    struct value_node *next;
    uint64_t hash;
    uint8_t space;
    bool deleted;
    uint16_t key_bytes;
    uint32_t bytes;       /* of the data, which follows the key */
    const uint8_t *key;   /* in the entry */
    const uint8_t *entry; /* as it is put on disk */
    size_t entry_bytes;
    struct chunk *chunk;
};

struct memtable {
    struct chunk_pool *pool;
    struct chunk **chunks;
    size_t chunk_count, chunk_capacity;
    struct value_node **buckets;
    size_t bucket_count, value_count;
    uint64_t bytes;       /* of all this, and of the pieces */
    uint64_t chunk_bytes; /* of them, in chunks */
    uint64_t entries;     /* that were put; 0: nothing to checkpoint */
};

void memtable_init(struct memtable *table, struct chunk_pool *pool);
/* Empty it. Pieces are cleared by whoever owns the streams. */
void memtable_clear(struct memtable *table);
void memtable_fini(struct memtable *table);

/* Keep the chunk until the table is cleared. False: memory is out. */
bool memtable_hold(struct memtable *table, struct chunk *chunk);
/* `bytes` of an entry VALUE at `src`, in a chunk that is held. */
bool memtable_put(struct memtable *table, const struct entry *entry,
    const uint8_t *src, size_t bytes, struct chunk *chunk);
struct value_node *memtable_find(const struct memtable *table, uint8_t space,
    const void *key, size_t key_bytes);

bool pieces_add(
    struct memtable *table, struct pieces *pieces, const struct piece *piece);
void pieces_clear(struct pieces *pieces);
/* The first that ends at or behind this sequence; `count`: none. */
size_t pieces_find(const struct pieces *pieces, uint64_t seq);

static inline uint64_t
piece_last(const struct piece *piece)
{
    return piece->first_seq + piece->count - 1;
}

#endif
