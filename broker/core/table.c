/* SPDX-License-Identifier: MIT
 *
 * The hash table; see table.h. Linear probing; an entry stands in its home
 * slot or in the next free one behind it, and removing closes the gap, so there
 * are no marks of what was removed. Home slots follow from the tags alone. */
#include "table.h"

#include "fetch.h"

#include <assert.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SLOTS_MIN 16

uint64_t
table_hash(const void *bytes, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, len, seed);
}

void
table_fini(struct table *table)
{
    assert(table->count == 0);
    free(table->links);
    *table = (struct table){0};
}

static uint32_t
tag_of(uint64_t hash)
{
    return (uint32_t)(hash ^ hash >> 32) | 1;
}

/* Where the search for a tag begins. */
static size_t
home_of(const struct table *table, uint32_t tag)
{
    return (tag >> 1) & (table->slot_count - 1);
}

static size_t
slot_after(const struct table *table, size_t slot)
{
    return (slot + 1) & (table->slot_count - 1);
}

static void
put(struct table *table, struct table_link *link, uint32_t tag)
{
    size_t slot = home_of(table, tag);
    while (table->tags[slot] != 0) {
        slot = slot_after(table, slot);
    }
    table->tags[slot] = tag;
    table->links[slot] = link;
}

static bool
resize(struct table *table, size_t slot_count)
{
    struct table old = *table;
    table->links =
        calloc(slot_count, sizeof *table->links + sizeof *table->tags);
    if (table->links == NULL) {
        *table = old;
        return false;
    }
    table->tags = (uint32_t *)(void *)(table->links + slot_count);
    table->slot_count = slot_count;
    for (size_t slot = 0; slot < old.slot_count; slot++) {
        if (old.tags[slot] != 0) {
            put(table, old.links[slot], old.tags[slot]);
        }
    }
    free(old.links);
    return true;
}

/* At most three quarters are used; while there is no memory to grow, all but
 * one are: where a search ends. */
static bool
make_room(struct table *table)
{
    if (table->count < table->slot_count / 4 * 3) {
        return true;
    }
    size_t want = table->slot_count == 0 ? SLOTS_MIN : table->slot_count * 2;
    return resize(table, want) || table->count + 1 < table->slot_count;
}

bool
table_insert(struct table *table, struct table_link *link, uint64_t hash)
{
    if (!make_room(table)) {
        return false;
    }
    link->tag = tag_of(hash);
    put(table, link, link->tag);
    table->count++;
    return true;
}

/* Where the entry stands. */
static size_t
slot_of(const struct table *table, const struct table_link *link)
{
    size_t slot = home_of(table, link->tag);
    while (table->links[slot] != link) {
        assert(table->tags[slot] != 0);
        slot = slot_after(table, slot);
    }
    return slot;
}

/* Empty the slot, moving what follows so that no search ends too early. */
static void
close_gap(struct table *table, size_t gap)
{
    size_t mask = table->slot_count - 1;
    for (size_t slot = slot_after(table, gap); table->tags[slot] != 0;
         slot = slot_after(table, slot)) {
        size_t home = home_of(table, table->tags[slot]);
        if (((slot - home) & mask) >= ((slot - gap) & mask)) {
            table->tags[gap] = table->tags[slot];
            table->links[gap] = table->links[slot];
            gap = slot;
        }
    }
    table->tags[gap] = 0;
    table->links[gap] = NULL;
}

void
table_remove(struct table *table, struct table_link *link)
{
    close_gap(table, slot_of(table, link));
    link->tag = 0;
    table->count--;
    if (table->slot_count > SLOTS_MIN && table->count < table->slot_count / 8) {
        /* Failing to shrink costs memory only. */
        (void)resize(table, table->slot_count / 2);
    }
}

/* The slot from this one on that has the tag, or TABLE_NO_SLOT. */
static size_t
search(const struct table *table, size_t slot, uint32_t tag)
{
    while (table->tags[slot] != tag) {
        if (table->tags[slot] == 0) {
            return TABLE_NO_SLOT;
        }
        slot = slot_after(table, slot);
    }
    return slot;
}

struct table_link *
table_first(const struct table *table, uint64_t hash)
{
    if (table->slot_count == 0) {
        return NULL;
    }
    uint32_t tag = tag_of(hash);
    size_t slot = search(table, home_of(table, tag), tag);
    return slot == TABLE_NO_SLOT ? NULL : table->links[slot];
}

struct table_link *
table_next(const struct table *table, const struct table_link *link)
{
    size_t slot = slot_after(table, slot_of(table, link));
    slot = search(table, slot, link->tag);
    return slot == TABLE_NO_SLOT ? NULL : table->links[slot];
}

void
table_fetch(const struct table *table, uint64_t hash)
{
    if (table->slot_count > 0) {
        fetch_at(&table->tags[home_of(table, tag_of(hash))]);
    }
}

size_t
table_search(const struct table *table, uint64_t hash)
{
    if (table->slot_count == 0) {
        return TABLE_NO_SLOT;
    }
    uint32_t tag = tag_of(hash);
    size_t slot = search(table, home_of(table, tag), tag);
    if (slot != TABLE_NO_SLOT) {
        fetch_at(&table->links[slot]);
    }
    return slot;
}
