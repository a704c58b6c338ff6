/* SPDX-License-Identifier: MIT
 *
 * A hash table from 64-bit numbers to pointers: subscriptions by id, requests
 * by token. Owns its table, not what the pointers point to. Knows nothing of
 * the protocol. Not thread-safe.
 */
#ifndef BROKER_CLIENT_MAP_H
#define BROKER_CLIENT_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Open addressing with linear probing; removing shifts entries back, so there
 * are no tombstones. Zeroed memory is an empty map. */
struct map_entry {
    uint64_t key;
    void *value; /* NULL: free */
};
struct map {
    struct map_entry *entries;
    size_t capacity; /* 0 or a power of two */
    size_t count;
};

void map_fini(struct map *map);

/* The value of `key`, or NULL. */
void *map_get(const struct map *map, uint64_t key);

/* Put a value that is not NULL under a key that is not in the map. False if
 * there is no memory; nothing has changed then. */
bool map_put(struct map *map, uint64_t key, void *value);

/* Take `key` out; returns its value, or NULL if it was not in. */
void *map_remove(struct map *map, uint64_t key);

#endif
