/* SPDX-License-Identifier: MIT
 *
 * Blocks and buffers: what is counted, what is recycled, what is given back. */
#include "block.h"
#include "buffer.h"
#include "random.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

Test(block, every_byte_in_use_is_counted)
{
    struct block_pool pool;
    block_pool_init(&pool, UINT64_MAX);
    struct block *a = block_new(&pool, 100);
    struct block *b = block_new(&pool, BLOCK_POOL_BYTES * 3);
    cr_assert_eq(a->capacity, 100);
    cr_assert_eq(block_room(a), 100);
    cr_assert_eq(pool.bytes_in_use, 100 + BLOCK_POOL_BYTES * 3);
    block_ref(a);
    block_unref(a);
    cr_assert_eq(pool.bytes_in_use, 100 + BLOCK_POOL_BYTES * 3);
    block_unref(a);
    block_unref(b);
    block_unref(NULL);
    cr_assert_eq(pool.bytes_in_use, 0);
    cr_assert_eq(pool.idle_count, 0);
    block_pool_fini(&pool);
}

Test(block, large_halves_are_rounded_up_and_recycled)
{
    struct block_pool pool;
    block_pool_init(&pool, UINT64_MAX);
    struct block *block = block_new(&pool, BLOCK_POOL_BYTES / 2);
    cr_assert_eq(block->capacity, BLOCK_POOL_BYTES / 2);
    block_unref(block);
    cr_assert_eq(pool.idle_count, 0);
    block = block_new(&pool, BLOCK_POOL_BYTES / 2 + 1);
    cr_assert_eq(block->capacity, BLOCK_POOL_BYTES);
    block->fill = 1234;
    block_unref(block);
    cr_assert_eq(pool.idle_count, 1);
    cr_assert_eq(pool.bytes_in_use, 0);
    struct block *again = block_new(&pool, BLOCK_POOL_BYTES);
    cr_assert_eq(again, block);
    cr_assert_eq(again->fill, 0);
    cr_assert_eq(again->references, 1);
    cr_assert_eq(pool.idle_count, 0);
    block_unref(again);
    block_pool_fini(&pool);
    cr_assert_eq(pool.idle_count, 0);
}

Test(block, the_pool_keeps_a_bounded_number)
{
    struct block_pool pool;
    block_pool_init(&pool, UINT64_MAX);
    struct block *blocks[50];
    for (int i = 0; i < 50; i++) {
        blocks[i] = block_new(&pool, BLOCK_POOL_BYTES);
    }
    for (int i = 0; i < 50; i++) {
        block_unref(blocks[i]);
    }
    cr_assert_eq(pool.idle_count, pool.idle_max);
    block_pool_fini(&pool);
}

Test(block, the_limits_hold_to_the_byte)
{
    struct block_pool pool;
    block_pool_init(&pool, 1000);
    cr_assert_eq(pool.bytes_tight, 875);
    struct block *a = block_new(&pool, 475);
    cr_assert_null(block_new(&pool, 401));
    cr_assert_not(block_pool_is_tight(&pool));
    struct block *b = block_new(&pool, 400);
    cr_assert_not_null(b);
    cr_assert(block_pool_is_tight(&pool));
    cr_assert_null(block_new(&pool, 1));
    cr_assert_null(block_new_from_reserve(&pool, 126));
    struct block *c = block_new_from_reserve(&pool, 125);
    cr_assert_not_null(c);
    cr_assert_null(block_new_from_reserve(&pool, 1));
    block_unref(a);
    cr_assert_null(block_new(&pool, 475), "the reserve is in use");
    cr_assert_not_null(a = block_new(&pool, 350));
    pool.bytes_allowed = 10; /* less than in use */
    cr_assert_null(block_new_from_reserve(&pool, 1));
    block_unref(a);
    block_unref(b);
    block_unref(c);
    block_pool_fini(&pool);
}

/* ---- buffer -------------------------------------------------------------- */

Test(buffer, against_a_plain_array)
{
    struct random random = {7};
    struct buffer buffer = {0};
    uint8_t *model = malloc(1 << 20);
    size_t start = 0, end = 0;
    for (int i = 0; i < 20000 && end < (1 << 20) - 2000; i++) {
        size_t len =
            random_below(&random, random_chance(&random, 5) ? 1500 : 60);
        if (random_chance(&random, 52)) {
            uint8_t *dst = buffer_reserve(&buffer, len + 5);
            for (size_t n = 0; n < len; n++) {
                dst[n] = model[end + n] = (uint8_t)random_next(&random);
            }
            buffer_commit(&buffer, len);
            end += len;
        } else {
            len = len < end - start ? len : end - start;
            buffer_drain(&buffer, len);
            start += len;
        }
        cr_assert_eq(buffer_len(&buffer), end - start);
        cr_assert(start == end || memcmp(buffer_data(&buffer), model + start,
                                      end - start) == 0);
    }
    buffer_fini(&buffer);
    free(model);
}

Test(buffer, an_empty_one_holds_little)
{
    struct buffer buffer = {0};
    cr_assert_not_null(buffer_reserve(&buffer, 100000));
    buffer_commit(&buffer, 100000);
    buffer_drain(&buffer, 99999);
    cr_assert_not_null(buffer.data);
    buffer_drain(&buffer, 1);
    cr_assert_leq(buffer.capacity, 512);
    buffer_fini(&buffer);
}
