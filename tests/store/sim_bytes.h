/* SPDX-License-Identifier: MIT
 *
 * Bytes that grow, for what tests keep in memory instead of on a disk. Without
 * memory the test ends.
 */
#ifndef BROKER_TESTS_STORE_SIM_BYTES_H
#define BROKER_TESTS_STORE_SIM_BYTES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct sim_bytes {
    uint8_t *data;
    size_t size, capacity;
};

static inline void *
sim_must(void *memory)
{
    if (memory == NULL) {
        abort(); /* a test without memory is no test */
    }
    return memory;
}

static inline void
sim_bytes_resize(struct sim_bytes *bytes, size_t size)
{
    if (size > bytes->capacity) {
        bytes->capacity = size + size / 2 + 64;
        bytes->data = sim_must(realloc(bytes->data, bytes->capacity));
    }
    if (size > bytes->size) {
        memset(bytes->data + bytes->size, 0, size - bytes->size);
    }
    bytes->size = size;
}

static inline void
sim_bytes_write(
    struct sim_bytes *bytes, const uint8_t *src, size_t len, uint64_t offset)
{
    if (len == 0) {
        return;
    }
    if (offset + len > bytes->size) {
        sim_bytes_resize(bytes, (size_t)offset + len);
    }
    memcpy(bytes->data + offset, src, len);
}

static inline void
sim_bytes_copy(struct sim_bytes *to, const struct sim_bytes *from)
{
    sim_bytes_resize(to, 0);
    sim_bytes_write(to, from->data, from->size, 0);
}

#endif
