/* SPDX-License-Identifier: MIT
 *
 * A failing allocator; see allocator.h. */
#include "allocator.h"

#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *memory);

struct allocator allocator;

void
allocator_guard(bool inside)
{
    allocator.inside = inside;
}

static bool
fails(void)
{
    if (!allocator.inside || allocator.countdown == 0) {
        return false;
    }
    if (--allocator.countdown > 0) {
        return false;
    }
    allocator.countdown = allocator.and_all_after ? 1 : 0;
    allocator.failed = true;
    return true;
}

void *
__wrap_malloc(size_t size)
{
    void *memory = fails() ? NULL : __real_malloc(size);
    allocator.live += memory != NULL ? 1 : 0;
    return memory;
}

void *
__wrap_calloc(size_t n, size_t size)
{
    void *memory = fails() ? NULL : __real_calloc(n, size);
    allocator.live += memory != NULL ? 1 : 0;
    return memory;
}

void *
__wrap_realloc(void *old, size_t size)
{
    void *memory = fails() ? NULL : __real_realloc(old, size);
    allocator.live += old == NULL && memory != NULL ? 1 : 0;
    return memory;
}

void
__wrap_free(void *memory)
{
    allocator.live -= memory != NULL ? 1 : 0;
    __real_free(memory);
}
