/* SPDX-License-Identifier: MIT
 *
 * Tables in memory; see memtable.h. */
#include "memtable.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 64u

void
memtable_init(struct memtable *table, struct chunk_pool *pool)
{
    *table = (struct memtable){.pool = pool};
}

void
memtable_clear(struct memtable *table)
{
    for (size_t i = 0; i < table->bucket_count; i++) {
        struct value_node *node = table->buckets[i];
        while (node != NULL) {
            struct value_node *next = node->next;
            free(node);
            node = next;
        }
    }
    free(table->buckets);
    for (size_t i = 0; i < table->chunk_count; i++) {
        chunk_unref(table->pool, table->chunks[i]);
    }
    free(table->chunks);
    memtable_init(table, table->pool);
}

void
memtable_fini(struct memtable *table)
{
    memtable_clear(table);
}

bool
memtable_hold(struct memtable *table, struct chunk *chunk)
{
    if (table->chunk_count > 0 &&
        table->chunks[table->chunk_count - 1] == chunk) {
        return true;
    }
    if (table->chunk_count == table->chunk_capacity) {
        size_t capacity = table->chunk_capacity * 2 + 16;
        struct chunk **chunks =
            realloc(table->chunks, capacity * sizeof *chunks);
        if (chunks == NULL) {
            return false;
        }
        table->chunks = chunks;
        table->chunk_capacity = capacity;
    }
    table->chunks[table->chunk_count++] = chunk_ref(chunk);
    table->bytes += chunk->capacity;
    table->chunk_bytes += chunk->capacity;
    return true;
}

static uint64_t
hash_of(uint8_t space, const void *key, size_t key_bytes)
{
    return XXH3_64bits_withSeed(key, key_bytes, space);
}

static bool
grow(struct memtable *table)
{
    size_t count =
        table->bucket_count == 0 ? BUCKETS_MIN : table->bucket_count * 2;
    struct value_node **buckets = calloc(count, sizeof(struct value_node *));
    if (buckets == NULL) {
        return table->bucket_count > 0;
    }
    for (size_t i = 0; i < table->bucket_count; i++) {
        struct value_node *node = table->buckets[i];
        while (node != NULL) {
            struct value_node *next = node->next;
            node->next = buckets[node->hash & (count - 1)];
            buckets[node->hash & (count - 1)] = node;
            node = next;
        }
    }
    table->bytes += (count - table->bucket_count) * sizeof *buckets;
    free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = count;
    return true;
}

static struct value_node *
find(const struct memtable *table, uint64_t hash, uint8_t space,
    const void *key, size_t key_bytes)
{
    if (table->bucket_count == 0) {
        return NULL;
    }
    struct value_node *node = table->buckets[hash & (table->bucket_count - 1)];
    while (node != NULL && (node->hash != hash || node->space != space ||
                               node->key_bytes != key_bytes ||
                               memcmp(node->key, key, key_bytes) != 0)) {
        node = node->next;
    }
    return node;
}

struct value_node *
memtable_find(const struct memtable *table, uint8_t space, const void *key,
    size_t key_bytes)
{
    return find(table, hash_of(space, key, key_bytes), space, key, key_bytes);
}

bool
memtable_put(struct memtable *table, const struct entry *entry,
    const uint8_t *src, size_t bytes, struct chunk *chunk)
{
    uint64_t hash = hash_of(entry->space, entry->body, entry->count);
    struct value_node *node =
        find(table, hash, entry->space, entry->body, entry->count);
    if (node == NULL) {
        if (table->value_count >= table->bucket_count && !grow(table)) {
            return false;
        }
        node = malloc(sizeof *node);
        if (node == NULL) {
            return false;
        }
        struct value_node **bucket =
            &table->buckets[hash & (table->bucket_count - 1)];
        node->next = *bucket;
        *bucket = node;
        table->value_count++;
        table->bytes += sizeof *node;
    }
    struct value_node *next = node->next;
    *node = (struct value_node){.next = next,
        .hash = hash,
        .space = entry->space,
        .deleted = (entry->flags & ENTRY_DELETED) != 0,
        .key_bytes = (uint16_t)entry->count,
        .bytes = (uint32_t)(entry->body_bytes - entry->count),
        .key = entry->body,
        .entry = src,
        .entry_bytes = bytes,
        .chunk = chunk};
    return true;
}

bool
pieces_add(
    struct memtable *table, struct pieces *pieces, const struct piece *piece)
{
    if (pieces->count == pieces->capacity) {
        size_t capacity = pieces->capacity * 2 + 4;
        struct piece *at = realloc(pieces->at, capacity * sizeof *at);
        if (at == NULL) {
            return false;
        }
        table->bytes += (capacity - pieces->capacity) * sizeof *at;
        pieces->at = at;
        pieces->capacity = capacity;
    }
    pieces->at[pieces->count++] = *piece;
    return true;
}

void
pieces_clear(struct pieces *pieces)
{
    free(pieces->at);
    *pieces = (struct pieces){.at = NULL};
}

size_t
pieces_find(const struct pieces *pieces, uint64_t seq)
{
    size_t low = 0;
    size_t high = pieces->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (piece_last(&pieces->at[middle]) < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
