/* SPDX-License-Identifier: MIT
 *
 * The hash table, against a plain array.
 */
#include <criterion/criterion.h>

#include "map.h"

#define KEYS 500

Test(map, empty)
{
    struct map map = {0};
    cr_assert_null(map_get(&map, 1));
    cr_assert_null(map_remove(&map, 1));
    map_fini(&map);
}

/* Keys from a small range, so that chains form and break. */
Test(map, behaves_like_an_array)
{
    static int values[KEYS];
    static bool in[KEYS];
    struct map map = {0};
    uint32_t random = 1;
    size_t count = 0;
    for (int i = 0; i < 100000; i++) {
        random = random * 1664525 + 1013904223;
        size_t key = (random >> 8) % KEYS;
        if (in[key]) {
            cr_assert_eq(map_remove(&map, key), &values[key]);
            count--;
        } else {
            cr_assert(map_put(&map, key, &values[key]));
            count++;
        }
        in[key] = !in[key];
        cr_assert_eq(map.count, count);
        size_t other = (random >> 20) % KEYS;
        cr_assert_eq(map_get(&map, other), in[other] ? &values[other] : NULL);
    }
    for (size_t key = 0; key < KEYS; key++) {
        cr_assert_eq(map_get(&map, key), in[key] ? &values[key] : NULL);
    }
    map_fini(&map);
}
