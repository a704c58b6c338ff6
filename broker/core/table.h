/* SPDX-License-Identifier: MIT
 *
 * A hash table whose links live inside the entries: inserting allocates
 * nothing for the entry, removing frees nothing, and an entry may be in
 * several tables at once. It grows by doubling and shrinks when nearly empty.
 *
 * The caller hashes (table_hash, seeded so that peers cannot choose
 * collisions) and compares. Knows nothing of what it holds.
 */
#ifndef BROKER_CORE_TABLE_H
#define BROKER_CORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_link {
    struct table_link *next;
    uint64_t hash;
};

struct table {
    struct table_link **buckets;
    size_t bucket_count; /* a power of two, or 0 before the first insert */
    size_t count;
};

/* XXH3 of the bytes. */
uint64_t table_hash(const void *bytes, size_t len, uint64_t seed);

/* Entries must have been removed; frees the buckets. */
void table_fini(struct table *table);

/* False if memory is out; then nothing changed. */
bool table_insert(struct table *table, struct table_link *link, uint64_t hash);

/* The entry must be in the table. */
void table_remove(struct table *table, struct table_link *link);

/* First entry with this hash, or NULL; then the next one with the same hash.
 * Compare the keys: different keys may share a hash. */
struct table_link *table_first(const struct table *table, uint64_t hash);
struct table_link *table_next(const struct table_link *link);

/* The struct that `link` is the member `member` of. */
#define table_entry(link, type, member)                                        \
    ((type *)(void *)((char *)(link)-offsetof(type, member)))

#endif
