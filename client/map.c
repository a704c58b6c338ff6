/* SPDX-License-Identifier: MIT
 *
 * See map.h.
 */
#include "map.h"

#include <assert.h>
#include <stdlib.h>

#define MAP_CAPACITY_MIN 16

static size_t
home(const struct map *map, uint64_t key)
{
    uint64_t mixed = key * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(mixed >> 32) & (map->capacity - 1);
}

/* The slot of `key`, or the free slot where it would go. */
static size_t
probe(const struct map *map, uint64_t key)
{
    size_t i = home(map, key);
    while (map->entries[i].value != NULL && map->entries[i].key != key) {
        i = (i + 1) & (map->capacity - 1);
    }
    return i;
}

static bool
grow(struct map *map)
{
    struct map bigger = {
        .capacity = map->capacity == 0 ? MAP_CAPACITY_MIN : map->capacity * 2};
    bigger.entries = calloc(bigger.capacity, sizeof *bigger.entries);
    if (bigger.entries == NULL) {
        return false;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->entries[i].value != NULL) {
            bigger.entries[probe(&bigger, map->entries[i].key)] =
                map->entries[i];
        }
    }
    bigger.count = map->count;
    free(map->entries);
    *map = bigger;
    return true;
}

void
map_fini(struct map *map)
{
    free(map->entries);
    *map = (struct map){0};
}

void *
map_get(const struct map *map, uint64_t key)
{
    if (map->count == 0) {
        return NULL;
    }
    return map->entries[probe(map, key)].value;
}

bool
map_put(struct map *map, uint64_t key, void *value)
{
    assert(value != NULL);
    if ((map->count + 1) * 4 > map->capacity * 3 && !grow(map)) {
        return false;
    }
    size_t i = probe(map, key);
    assert(map->entries[i].value == NULL);
    map->entries[i] = (struct map_entry){.key = key, .value = value};
    map->count++;
    return true;
}

void *
map_remove(struct map *map, uint64_t key)
{
    if (map->count == 0) {
        return NULL;
    }
    size_t hole = probe(map, key);
    void *value = map->entries[hole].value;
    if (value == NULL) {
        return NULL;
    }
    size_t mask = map->capacity - 1;
    for (size_t i = (hole + 1) & mask; map->entries[i].value != NULL;
         i = (i + 1) & mask) {
        /* An entry may move back to the hole if its home is not between. */
        size_t distance = (i - home(map, map->entries[i].key)) & mask;
        if (distance >= ((i - hole) & mask)) {
            map->entries[hole] = map->entries[i];
            hole = i;
        }
    }
    map->entries[hole].value = NULL;
    map->count--;
    return value;
}
