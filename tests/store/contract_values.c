/* SPDX-License-Identifier: MIT
 *
 * The contract: values under keys, alone and with records. See contract.h. */
#include "contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(value, is_set_and_deleted)
{
    struct contract *rig = contract_new();
    contract_expect_value(rig, "key", NULL);
    cr_assert_eq(contract_set(rig, "key", "one"), STORE_OK);
    contract_expect_value(rig, "key", "one");
    cr_assert_eq(contract_set(rig, "key", "another"), STORE_OK);
    contract_expect_value(rig, "key", "another");
    contract_expect_value(rig, "ke", NULL);
    contract_expect_value(rig, "key2", NULL);
    cr_assert_eq(contract_set(rig, "key", NULL), STORE_OK);
    contract_expect_value(rig, "key", NULL);
    cr_assert_eq(contract_set(rig, "never", NULL), STORE_OK);
    contract_free(rig);
}

Test(value, survives_a_crash)
{
    struct contract *rig = contract_new();
    for (unsigned round = 0; round < 4; round++) {
        cr_assert_eq(contract_set(rig, "gone", "x"), STORE_OK);
        cr_assert_eq(contract_set(rig, "key", round % 2 == 0 ? "even" : "odd"),
            STORE_OK);
        cr_assert_eq(contract_set(rig, "gone", NULL), STORE_OK);
        contract_reopen(rig, round < 2);
        contract_expect_value(rig, "key", round % 2 == 0 ? "even" : "odd");
        contract_expect_value(rig, "gone", NULL);
    }
    contract_free(rig);
}

Test(value, may_be_empty)
{
    struct contract *rig = contract_new();
    cr_assert_eq(contract_set(rig, "key", ""), STORE_OK);
    contract_expect_value(rig, "key", "");
    cr_assert_eq(contract_set(rig, "key", "full"), STORE_OK);
    cr_assert_eq(contract_set(rig, "key", ""), STORE_OK);
    contract_expect_value(rig, "key", "");
    contract_reopen(rig, true);
    contract_expect_value(rig, "key", "");
    contract_free(rig);
}

/* In one put, the last of a key counts; and all come or none. */
Test(value, several_are_put_at_once)
{
    struct contract *rig = contract_new();
    const struct store_value values[] = {contract_value("a", "1"),
        contract_value("b", "2"), contract_value("c", "3"),
        contract_value("a", "4"), contract_value("c", NULL)};
    struct contract_answer answer;
    contract_put(rig, 0, values, 5, &answer);
    contract_wait(rig, &answer.came);
    for (unsigned round = 0; round < 2; round++) {
        contract_expect_value(rig, "a", "4");
        contract_expect_value(rig, "b", "2");
        contract_expect_value(rig, "c", NULL);
        contract_reopen(rig, true);
    }
    contract_free(rig);
}

/* A counter that is put twice under two keys in each put. */
Test(value, of_one_put_are_together_after_a_crash)
{
    struct contract *rig = contract_new();
    for (unsigned round = 0; round < 4; round++) {
        struct contract_answer answers[10];
        char text[10][16];
        for (unsigned i = 0; i < 10; i++) {
            snprintf(text[i], sizeof text[i], "%u", round * 10 + i);
            const struct store_value both[] = {contract_value("first", text[i]),
                contract_value("second", text[i])};
            contract_put(rig, 0, both, 2, &answers[i]);
            store_tick(rig->ports[0].port);
        }
        contract_reopen(rig, true);
        struct contract_found first =
            contract_get(rig, STORE_SPACE_BROKER, "first", 5);
        contract_expect_value(rig, "second", (const char *)first.data);
        free(first.data);
    }
    contract_free(rig);
}

Test(value, is_of_its_space)
{
    struct contract *rig = contract_new();
    for (enum store_space s = STORE_SPACE_STREAM; s < STORE_SPACES; s++) {
        char text[8];
        snprintf(text, sizeof text, "%d", (int)s);
        struct store_value value = contract_value("key", text);
        value.space = s;
        struct contract_answer answer;
        contract_put(rig, 0, &value, 1, &answer);
        contract_wait(rig, &answer.came);
        cr_assert_eq(answer.result.status, STORE_OK);
    }
    contract_reopen(rig, true);
    for (enum store_space s = STORE_SPACE_STREAM; s < STORE_SPACES; s++) {
        struct contract_found found = contract_get(rig, s, "key", 3);
        cr_assert_eq(found.status, STORE_OK);
        cr_assert_eq(atoi((const char *)found.data), (int)s);
        free(found.data);
        struct contract_scan *scan = contract_scan(rig, s);
        cr_assert_eq(scan->count, 1);
        free(scan);
    }
    contract_free(rig);
}

/* ---- bounds -------------------------------------------------------------- */

static enum store_status
try_put(struct contract *rig, const struct store_value *value)
{
    struct contract_answer answer;
    contract_begin(rig, &answer, 0);
    enum store_status status =
        store_put(rig->ports[0].port, value, 1, contract_done, &answer);
    contract_end_call(rig);
    if (status == STORE_OK) {
        contract_wait(rig, &answer.came);
        return answer.result.status;
    }
    contract_settle(rig, true);
    cr_assert_not(answer.came, "refused by the call, and called back");
    struct store_append append = contract_append_of(1, 1, 1);
    append.values = value;
    append.value_count = 1;
    cr_assert_eq(
        store_append(rig->ports[0].port, &append, contract_done, &answer),
        status, "with an append it is taken");
    free((void *)append.records);
    return status;
}

static void
no_value(void *arg, enum store_status status, const struct store_value *value)
{
    (void)arg;
    (void)status;
    (void)value;
    cr_assert_fail("refused by the call, and called back");
}

Test(bounds, of_keys)
{
    struct contract *rig = contract_new();
    char key[STORE_KEY_MAX + 1];
    memset(key, 'k', sizeof key);
    struct store_value value = {.space = STORE_SPACE_RETAINED,
        .key = key,
        .key_bytes = STORE_KEY_MAX,
        .data = "x",
        .bytes = 1};
    cr_assert_eq(try_put(rig, &value), STORE_OK);
    struct contract_found found =
        contract_get(rig, STORE_SPACE_RETAINED, key, STORE_KEY_MAX);
    cr_assert_eq(found.status, STORE_OK);
    free(found.data);
    value.key_bytes++;
    cr_assert_eq(try_put(rig, &value), STORE_INVALID);
    value.key_bytes = 0;
    cr_assert_eq(try_put(rig, &value), STORE_INVALID);
    value.key_bytes = 1;
    value.space = STORE_SPACES;
    cr_assert_eq(try_put(rig, &value), STORE_INVALID);
    value.space = 0;
    cr_assert_eq(try_put(rig, &value), STORE_INVALID);
    struct store_port *port = rig->ports[0].port;
    cr_assert_eq(store_get(port, STORE_SPACE_BROKER, key, 0, no_value, NULL),
        STORE_INVALID);
    cr_assert_eq(store_get(port, STORE_SPACE_BROKER, key, STORE_KEY_MAX + 1,
                     no_value, NULL),
        STORE_INVALID);
    cr_assert_eq(
        store_get(port, STORE_SPACES, key, 1, no_value, NULL), STORE_INVALID);
    cr_assert_eq(store_scan(port, STORE_SPACES, no_value, NULL), STORE_INVALID);
    contract_settle(rig, true);
    contract_free(rig);
}

Test(bounds, of_values)
{
    struct contract *rig = contract_new();
    uint8_t *data = malloc(STORE_VALUE_MAX + 1);
    cr_assert_not_null(data);
    for (size_t i = 0; i <= STORE_VALUE_MAX; i++) {
        data[i] = (uint8_t)(i * 31 + i / 256);
    }
    struct store_value value = {.space = STORE_SPACE_RETAINED,
        .key = "large",
        .key_bytes = 5,
        .data = data,
        .bytes = STORE_VALUE_MAX + 1};
    cr_assert_eq(try_put(rig, &value), STORE_INVALID);
    value.bytes = STORE_VALUE_MAX;
    cr_assert_eq(try_put(rig, &value), STORE_OK);
    contract_reopen(rig, true);
    struct contract_found found =
        contract_get(rig, STORE_SPACE_RETAINED, "large", 5);
    cr_assert_eq(found.bytes, STORE_VALUE_MAX);
    cr_assert(memcmp(found.data, data, STORE_VALUE_MAX) == 0);
    free(found.data);
    free(data);
    contract_free(rig);
}

/* ---- scans --------------------------------------------------------------- */

Test(scan, is_in_the_order_of_the_keys)
{
    static const struct {
        char bytes[8];
        size_t length;
    } keys[] = {{"\0", 1}, {"\0\0", 2}, {"\0\1", 2}, {"\1", 1}, {"a", 1},
        {"a\0", 2}, {"a\0b", 3}, {"aa", 2}, {"ab", 2}, {"b", 1}, {"\x7f", 1},
        {"\x80", 1}, {"\xff", 1}, {"\xff\0", 2}, {"\xff\xff\xff\xff", 4}};
    enum { COUNT = sizeof keys / sizeof keys[0] };
    struct contract *rig = contract_new();
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned k = i * 7 % COUNT; /* in another order */
        const struct store_value value = {.space = STORE_SPACE_SCHEDULE,
            .key = keys[k].bytes,
            .key_bytes = keys[k].length,
            .data = keys,
            .bytes = k};
        cr_assert_eq(try_put(rig, &value), STORE_OK);
    }
    for (unsigned round = 0; round < 3; round++) {
        struct contract_scan *scan = contract_scan(rig, STORE_SPACE_SCHEDULE);
        cr_assert_eq(scan->status, STORE_OK);
        cr_assert_eq(scan->count, COUNT);
        for (unsigned i = 0; i < COUNT; i++) {
            cr_assert_eq(scan->keys[i].length, keys[i].length);
            cr_assert_eq(
                memcmp(scan->keys[i].bytes, keys[i].bytes, keys[i].length), 0);
            cr_assert_eq(scan->keys[i].data_bytes, i);
        }
        free(scan);
        contract_reopen(rig, round == 0);
    }
    contract_free(rig);
}

Test(scan, of_nothing_is_its_end)
{
    struct contract *rig = contract_new();
    struct contract_scan *scan = contract_scan(rig, STORE_SPACE_CONSUMER);
    cr_assert_eq(scan->status, STORE_OK);
    cr_assert_eq(scan->count, 0);
    free(scan);
    contract_free(rig);
}

Test(scan, has_what_is_durable_and_not_what_was_deleted)
{
    struct contract *rig = contract_new();
    cr_assert_eq(contract_set(rig, "a", "1"), STORE_OK);
    cr_assert_eq(contract_set(rig, "b", "1"), STORE_OK);
    cr_assert_eq(contract_set(rig, "c", "1"), STORE_OK);
    contract_reopen(rig, false);
    cr_assert_eq(contract_set(rig, "b", NULL), STORE_OK);
    cr_assert_eq(contract_set(rig, "c", "22"), STORE_OK);
    cr_assert_eq(contract_set(rig, "d", "333"), STORE_OK);
    for (unsigned round = 0; round < 2; round++) {
        struct contract_scan *scan = contract_scan(rig, STORE_SPACE_BROKER);
        cr_assert_eq(scan->count, 3);
        cr_assert_eq(scan->keys[0].bytes[0], 'a');
        cr_assert_eq(scan->keys[1].bytes[0], 'c');
        cr_assert_eq(scan->keys[1].data_bytes, 2);
        cr_assert_eq(scan->keys[2].bytes[0], 'd');
        free(scan);
        contract_reopen(rig, true);
    }
    contract_free(rig);
}

/* ---- with records -------------------------------------------------------- */

Test(cursor, is_put_with_the_records)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    const struct store_value values[] = {
        contract_value("one", "1"), contract_value("two", "2")};
    struct store_append append = contract_append_of(stream, 1, 3);
    append.values = values;
    append.value_count = 2;
    cr_assert_eq(contract_store(rig, append).status, STORE_OK);
    for (unsigned round = 0; round < 2; round++) {
        contract_expect_value(rig, "one", "1");
        contract_expect_value(rig, "two", "2");
        contract_expect_ids(rig, stream, 1, 3);
        contract_reopen(rig, true);
    }
    contract_free(rig);
}

Test(cursor, is_not_put_without_the_records)
{
    struct contract *rig = contract_new();
    const struct store_limits limits = {.max_records = 1, .discard_new = true};
    uint32_t stream = contract_stream(rig, "S", &limits);
    const struct store_value value = contract_value("key", "x");
    struct store_append append = contract_append_of(stream, 1, 3);
    append.values = &value;
    append.value_count = 1;
    cr_assert_eq(contract_store(rig, append).status, STORE_FULL);
    append = contract_append_of(77, 1, 1);
    append.values = &value;
    append.value_count = 1;
    cr_assert_eq(contract_store(rig, append).status, STORE_NOT_FOUND);
    contract_expect_value(rig, "key", NULL);
    contract_free(rig);
}

/* With each record the cursor says how many there are; after a crash there may
 * be more records than it says, and never fewer. */
Test(cursor, is_never_ahead_of_the_records)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    size_t there = 0;
    for (unsigned round = 0; round < 6; round++) {
        struct contract_answer answers[12];
        for (unsigned i = 0; i < 12; i++) {
            char text[16];
            snprintf(text, sizeof text, "%zu", there + i + 1);
            const struct store_value value = contract_value("cursor", text);
            struct store_append append =
                contract_append_of(stream, there + i + 1, 1);
            append.values = &value;
            append.value_count = 1;
            contract_append(rig, 0, append, &answers[i]);
            if (i % 5 == round) {
                contract_settle(rig, i != 5);
            }
        }
        contract_reopen(rig, true);
        struct contract_read *read = contract_read_all(rig, stream, 0);
        there = read->count;
        free(read);
        contract_expect_ids(rig, stream, 1, there);
        struct contract_found found =
            contract_get(rig, STORE_SPACE_BROKER, "cursor", 6);
        if (found.data != NULL) {
            cr_assert_leq((size_t)atol((const char *)found.data), there);
        }
        free(found.data);
    }
    contract_free(rig);
}
