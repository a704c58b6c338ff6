/* SPDX-License-Identifier: MIT
 *
 * Keys that collide; see collide.h. */
#include "collide.h"

#include "table.h"

#include <criterion/criterion.h>

#include <stdlib.h>

#define KEYS 400000u

struct key {
    uint32_t tag, i;
};

static int
by_tag(const void *a, const void *b)
{
    const struct key *left = a;
    const struct key *right = b;
    if (left->tag != right->tag) {
        return left->tag < right->tag ? -1 : 1;
    }
    return (left->i > right->i) - (left->i < right->i);
}

void
collide_find(collide_hash *hash, const void *arg, uint32_t split, uint32_t *a,
    uint32_t *b)
{
    struct key *keys = calloc(KEYS, sizeof *keys);
    struct table table = {0};
    cr_assert_not_null(keys);
    for (uint32_t i = 0; i < KEYS; i++) {
        struct table_link link;
        cr_assert(table_insert(&table, &link, hash(arg, i)));
        keys[i] = (struct key){link.tag, i};
        table_remove(&table, &link);
    }
    table_fini(&table);
    qsort(keys, KEYS, sizeof *keys, by_tag);
    uint32_t k = 1;
    while (k < KEYS &&
           (keys[k].tag != keys[k - 1].tag ||
               (split > 0 && (keys[k - 1].i < split) == (keys[k].i < split)))) {
        k++;
    }
    cr_assert_lt(k, KEYS, "no two keys collide");
    *a = keys[k - 1].i;
    *b = keys[k].i;
    free(keys);
}
