/* SPDX-License-Identifier: MIT
 *
 * A hash table of entries that bring their link along: inserting allocates
 * nothing for the entry, removing frees nothing, and an entry may be in several
 * tables at once. It grows by doubling and shrinks when nearly empty.
 *
 * Open addressing in two arrays: 32 bits of each entry's hash, and beside them
 * the entries. Probing looks at the first only, so that a look-up that finds
 * nothing costs one cache line, and no entry but the right one is touched;
 * growing touches none.
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
    uint32_t tag; /* of the hash; never 0 while it is in a table */
};

struct table {
    struct table_link **links; /* and behind them, in the same memory: */
    uint32_t *tags;            /* of each slot; 0: it is empty */
    size_t slot_count; /* a power of two, or 0 before the first insert */
    size_t count;
};

/* XXH3 of the bytes. */
uint64_t table_hash(const void *bytes, size_t len, uint64_t seed);

/* Entries must have been removed; frees the slots. */
void table_fini(struct table *table);

/* False if memory is out; then nothing changed. */
bool table_insert(struct table *table, struct table_link *link, uint64_t hash);

/* The entry must be in the table. */
void table_remove(struct table *table, struct table_link *link);

/* First entry that may have this hash, or NULL; then the next one after `link`.
 * Compare the keys: different ones may share as much of the hash as is kept. */
struct table_link *table_first(const struct table *table, uint64_t hash);
struct table_link *table_next(
    const struct table *table, const struct table_link *link);

/* For many look-ups side by side, table_first in steps, between which memory
 * has time to answer: fetch what the search reads; search, and fetch what it
 * found; take it. */
void table_fetch(const struct table *table, uint64_t hash);
#define TABLE_NO_SLOT SIZE_MAX
size_t table_search(const struct table *table, uint64_t hash);
static inline struct table_link *
table_at(const struct table *table, size_t slot)
{
    return table->links[slot];
}

/* The struct that `link` is the member `member` of. */
#define table_entry(link, type, member)                                        \
    ((type *)(void *)((char *)(link)-offsetof(type, member)))

#endif
