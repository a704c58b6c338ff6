/* SPDX-License-Identifier: MIT
 *
 * That tables in memory keep what was committed and lose the rest; see
 * sim_base.h. */
#include "sim_base.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

static void
put(struct base *base, const char *key, const char *text)
{
    cr_assert_eq(
        base->put(base, BASE_VALUES, key, strlen(key), text, strlen(text)), 0);
}

/* The keys of the table in one text, each with a comma. */
static void
expect_keys(struct base *base, const char *expected)
{
    char text[64] = "";
    struct base_item item;
    cr_assert_eq(base->view_begin(base), 0);
    int error = base->seek(base, BASE_VALUES, "", 0, false, &item);
    while (error == 0) {
        strncat(text, (const char *)item.key, item.key_bytes);
        strcat(text, ",");
        error = base->next(base, BASE_VALUES, &item);
    }
    cr_assert_eq(error, ENOENT);
    cr_assert_str_eq(text, expected);
    base->view_end(base);
}

static void
cut(struct base *base)
{
    sim_base_power_off(base);
    sim_base_power_on(base);
}

Test(sim_base, transactions_are_whole)
{
    struct base *base = sim_base_new(1);
    cr_assert_eq(base->begin(base), 0);
    put(base, "b", "1");
    put(base, "a", "1");
    put(base, "c", "1");
    put(base, "a", "2");
    expect_keys(base, "");
    cr_assert_eq(base->commit(base), 0);
    expect_keys(base, "a,b,c,");
    cr_assert_eq(base->begin(base), 0);
    cr_assert_eq(base->delete_range(base, BASE_VALUES, "a", 1, "c", 1), 0);
    put(base, "d", "1");
    base->abort(base);
    expect_keys(base, "a,b,c,");
    cr_assert_eq(base->begin(base), 0);
    cr_assert_eq(base->delete_range(base, BASE_VALUES, "a", 1, "c", 1), 0);
    put(base, "d", "1");
    sim_base_power_off(base);
    cr_assert_eq(base->commit(base), EIO);
    sim_base_power_on(base);
    expect_keys(base, "a,b,c,");
    base->close(base);
}

Test(sim_base, a_failed_commit_is_done_or_not)
{
    const struct sim_base_fault fault = {.calls = SIM_BASE_BIT(SIM_BASE_COMMIT),
        .first = 1,
        .count = 1,
        .error = EIO};
    unsigned done = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct base *base = sim_base_new(seed);
        cr_assert_eq(base->begin(base), 0);
        put(base, "a", "1");
        sim_base_fault(base, &fault);
        cr_assert_eq(base->commit(base), EIO);
        expect_keys(base, "");
        cut(base);
        uint8_t *data;
        size_t bytes;
        done += sim_base_item(base, BASE_VALUES, 0, &data, &bytes) ? 1 : 0;
        base->close(base);
    }
    cr_assert(done > 20 && done < 80, "%u", done);
}

Test(sim_base, seeks)
{
    struct base *base = sim_base_new(1);
    struct base_item item;
    cr_assert_eq(base->begin(base), 0);
    put(base, "b", "");
    put(base, "d", "");
    cr_assert_eq(base->commit(base), 0);
    cr_assert_eq(base->view_begin(base), 0);
    cr_assert_eq(base->seek(base, BASE_VALUES, "a", 1, true, &item), ENOENT);
    cr_assert_eq(base->seek(base, BASE_VALUES, "b", 1, true, &item), 0);
    cr_assert_eq(item.key[0], 'b');
    cr_assert_eq(base->seek(base, BASE_VALUES, "c", 1, true, &item), 0);
    cr_assert_eq(item.key[0], 'b');
    cr_assert_eq(base->next(base, BASE_VALUES, &item), 0);
    cr_assert_eq(item.key[0], 'd');
    cr_assert_eq(base->next(base, BASE_VALUES, &item), ENOENT);
    cr_assert_eq(base->seek(base, BASE_VALUES, "e", 1, true, &item), 0);
    cr_assert_eq(item.key[0], 'd');
    cr_assert_eq(base->seek(base, BASE_VALUES, "c", 1, false, &item), 0);
    cr_assert_eq(item.key[0], 'd');
    cr_assert_eq(base->seek(base, BASE_VALUES, "e", 1, false, &item), ENOENT);
    base->view_end(base);
    base->close(base);
}
