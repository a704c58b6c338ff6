/* SPDX-License-Identifier: MIT
 *
 * The intrusive hash table, against an array. */
#include "random.h"
#include "table.h"

#include <criterion/criterion.h>

#include <stdlib.h>

struct item {
    uint32_t key;
    struct table_link link;
    bool in;
};

static struct item *
find(const struct table *table, uint32_t key, uint64_t hash)
{
    struct table_link *link = table_first(table, hash);
    for (; link != NULL; link = table_next(table, link)) {
        struct item *item = table_entry(link, struct item, link);
        if (item->key == key) {
            return item;
        }
    }
    return NULL;
}

/* With few different hashes, keys collide all the time. */
static void
run(uint32_t items, uint64_t hashes, uint64_t seed)
{
    struct random random = {seed};
    struct table table = {0};
    struct item *all = calloc(items, sizeof *all);
    size_t count = 0;
    for (int i = 0; i < 20000; i++) {
        uint32_t key = random_below(&random, items);
        uint64_t hash = table_hash(&key, sizeof key, seed) % hashes;
        struct item *item = &all[key];
        cr_assert_eq(find(&table, key, hash), item->in ? item : NULL);
        /* Waves, so that it grows and shrinks. */
        bool wanted = random_chance(&random, i / 4000 % 2 == 0 ? 90 : 5);
        if (!item->in && wanted) {
            item->key = key;
            cr_assert(table_insert(&table, &item->link, hash));
            item->in = true;
            count++;
        } else if (item->in && !wanted) {
            table_remove(&table, &item->link);
            item->in = false;
            count--;
        }
        cr_assert_eq(table.count, count);
    }
    for (uint32_t key = 0; key < items; key++) {
        if (all[key].in) {
            table_remove(&table, &all[key].link);
        }
    }
    cr_assert_leq(table.slot_count, 16);
    table_fini(&table);
    free(all);
}

Test(table, against_an_array)
{
    run(2000, UINT64_MAX, 1);
    run(10, UINT64_MAX, 2);
}

Test(table, with_collisions)
{
    run(300, 1, 3);
    run(500, 7, 4);
}

Test(table, an_empty_one)
{
    struct table table = {0};
    cr_assert_null(table_first(&table, 5));
    cr_assert_eq(table_search(&table, 5), TABLE_NO_SLOT);
    table_fetch(&table, 5); /* there is nothing to fetch, and nothing happens */
    table_fini(&table);
}

Test(table, hashes_depend_on_the_seed)
{
    cr_assert_neq(table_hash("abc", 3, 1), table_hash("abc", 3, 2));
    cr_assert_eq(table_hash("abc", 3, 1), table_hash("abc", 3, 1));
}
