/* SPDX-License-Identifier: MIT
 *
 * The intrusive hash table; see table.h. */
#include "table.h"

#include <assert.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUCKETS_MIN 16

uint64_t
table_hash(const void *bytes, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, len, seed);
}

void
table_fini(struct table *table)
{
    assert(table->count == 0);
    free(table->buckets);
    *table = (struct table){0};
}

static bool
resize(struct table *table, size_t bucket_count)
{
    struct table_link **buckets = calloc(bucket_count, sizeof *buckets);
    if (buckets == NULL) {
        return false;
    }
    for (size_t i = 0; i < table->bucket_count; i++) {
        struct table_link *link = table->buckets[i];
        while (link != NULL) {
            struct table_link *next = link->next;
            struct table_link **slot =
                &buckets[link->hash & (bucket_count - 1)];
            link->next = *slot;
            *slot = link;
            link = next;
        }
    }
    free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = bucket_count;
    return true;
}

bool
table_insert(struct table *table, struct table_link *link, uint64_t hash)
{
    if (table->count >= table->bucket_count) {
        size_t want =
            table->bucket_count == 0 ? BUCKETS_MIN : table->bucket_count * 2;
        /* A table that cannot grow still works, only slower. */
        if (!resize(table, want) && table->bucket_count == 0) {
            return false;
        }
    }
    struct table_link **slot =
        &table->buckets[hash & (table->bucket_count - 1)];
    link->hash = hash;
    link->next = *slot;
    *slot = link;
    table->count++;
    return true;
}

void
table_remove(struct table *table, struct table_link *link)
{
    struct table_link **at =
        &table->buckets[link->hash & (table->bucket_count - 1)];
    while (*at != link) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = link->next;
    link->next = NULL;
    table->count--;
    if (table->bucket_count > BUCKETS_MIN &&
        table->count < table->bucket_count / 8) {
        /* Failing to shrink costs memory only. */
        (void)resize(table, table->bucket_count / 2);
    }
}

static struct table_link *
same_hash(struct table_link *link, uint64_t hash)
{
    while (link != NULL && link->hash != hash) {
        link = link->next;
    }
    return link;
}

struct table_link *
table_first(const struct table *table, uint64_t hash)
{
    if (table->bucket_count == 0) {
        return NULL;
    }
    return same_hash(table->buckets[hash & (table->bucket_count - 1)], hash);
}

struct table_link *
table_next(const struct table_link *link)
{
    return same_hash(link->next, link->hash);
}
