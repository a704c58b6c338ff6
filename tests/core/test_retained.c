/* SPDX-License-Identifier: MIT
 *
 * Retained values: limits to the byte, order, and what is given back.
 * PROTOCOL.md section 5.5. */
#include "retained.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

static struct broker_bytes
bytes_of(const char *text)
{
    return (struct broker_bytes){(const uint8_t *)text, strlen(text)};
}

static enum broker_status
put(struct retained *retained, const char *topic, const char *frame)
{
    return retained_put(retained, bytes_of(topic), bytes_of(frame));
}

/* The values that the filter matches, as one text. */
static const char *
collect(const struct retained *retained, const char *filter)
{
    static char text[200];
    size_t count;
    struct retained_value **values =
        retained_collect(retained, bytes_of(filter), &count);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        strncat(
            text, (const char *)values[i]->frame->data, values[i]->frame->fill);
    }
    free(values);
    return text;
}

static void
begin(struct retained *retained, struct block_pool *pool, uint64_t topics,
    uint64_t bytes)
{
    block_pool_init(pool, UINT64_MAX);
    cr_assert(retained_init(retained, pool, topics, bytes, 3));
}

static void
end(struct retained *retained, struct block_pool *pool)
{
    retained_fini(retained);
    cr_assert_eq(pool->bytes_in_use, 0);
    block_pool_fini(pool);
}

Test(retained, comes_in_the_order_of_retaining)
{
    struct retained retained;
    struct block_pool pool;
    begin(&retained, &pool, 10, 1000);
    put(&retained, "a", "1");
    put(&retained, "b", "2");
    put(&retained, "a/b", "3");
    put(&retained, "a", "4");
    cr_assert_str_eq(collect(&retained, "#"), "234");
    cr_assert_str_eq(collect(&retained, "a/#"), "34");
    cr_assert_str_eq(collect(&retained, "+"), "24");
    cr_assert_str_eq(collect(&retained, "nothing"), "");
    retained_clear(&retained, bytes_of("b"));
    retained_clear(&retained, bytes_of("b"));
    retained_clear(&retained, bytes_of("never"));
    cr_assert_str_eq(collect(&retained, "#"), "34");
    cr_assert_eq(retained.topics, 2);
    cr_assert_eq(retained.bytes, 2);
    end(&retained, &pool);
}

Test(retained, limits_hold_to_the_byte)
{
    struct retained retained;
    struct block_pool pool;
    begin(&retained, &pool, 2, 10);
    cr_assert_eq(put(&retained, "a", "12345"), BROKER_OK);
    cr_assert_eq(put(&retained, "b", "123456"), BROKER_E_RETAINED_LIMIT);
    cr_assert_eq(put(&retained, "b", "12345"), BROKER_OK);
    cr_assert_eq(put(&retained, "c", "1"), BROKER_E_RETAINED_LIMIT);
    cr_assert_eq(put(&retained, "a", "abcdef"), BROKER_E_RETAINED_LIMIT);
    cr_assert_eq(put(&retained, "a", "abcde"), BROKER_OK);
    cr_assert_str_eq(collect(&retained, "#"), "12345abcde");
    retained_clear(&retained, bytes_of("b"));
    cr_assert_eq(put(&retained, "c", "1"), BROKER_OK);
    cr_assert_eq(put(&retained, "d", "1"), BROKER_E_RETAINED_LIMIT);
    end(&retained, &pool);
}

Test(retained, without_memory_nothing_changes)
{
    struct retained retained;
    struct block_pool pool;
    begin(&retained, &pool, 10, 1000);
    put(&retained, "a", "1");
    pool.bytes_tight = pool.bytes_in_use;
    cr_assert_eq(put(&retained, "a", "2"), BROKER_E_MEMORY);
    cr_assert_eq(put(&retained, "b", "2"), BROKER_E_MEMORY);
    cr_assert_str_eq(collect(&retained, "#"), "1");
    end(&retained, &pool);
}
