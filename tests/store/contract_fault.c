/* SPDX-License-Identifier: MIT
 *
 * The contract: a full disk, and one that fails, for engines that can be made
 * to. See contract.h. */
#include "contract.h"

#include <stdlib.h>
#include <string.h>

static struct store_append
numbered(uint32_t stream, uint32_t number, uint64_t id, bool is_retry)
{
    struct store_append append = contract_append_of(stream, id, 1);
    append.publisher = "me";
    append.publisher_bytes = 2;
    append.number = number;
    append.is_retry = is_retry;
    return append;
}

Test(no_space, is_told_and_passes)
{
    if (contract_engine.no_space == NULL) {
        return;
    }
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    const struct store_value value = contract_value("key", "new");
    struct store_stats stats;
    contract_fill(rig, stream, 1, 5);
    contract_engine.no_space(rig, true);
    for (unsigned i = 0; i < 3; i++) {
        struct store_append append = contract_append_of(stream, 6, 2);
        append.values = &value;
        append.value_count = 1;
        cr_assert_eq(contract_store(rig, append).status, STORE_NO_SPACE);
        cr_assert_eq(contract_set(rig, "key", "alone"), STORE_NO_SPACE);
    }
    store_get_stats(rig->store, &stats);
    cr_assert(stats.no_space);
    cr_assert_not(stats.failed);
    cr_assert_geq(stats.refused_no_space, 3);
    contract_expect_ids(rig, stream, 1, 5); /* reading goes on */
    contract_expect_value(rig, "key", NULL);
    contract_engine.no_space(rig, false);
    struct store_append append = contract_append_of(stream, 6, 2);
    append.values = &value;
    append.value_count = 1;
    cr_assert_eq(
        contract_store_unless(rig, append, STORE_NO_SPACE).status, STORE_OK);
    contract_reopen(rig, true);
    contract_expect_ids(rig, stream, 1, 7);
    contract_expect_value(rig, "key", "new");
    contract_free(rig);
}

Test(no_space, a_retry_is_not_a_duplicate_of_what_was_not_stored)
{
    if (contract_engine.no_space == NULL) {
        return;
    }
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    cr_assert_eq(
        contract_store(rig, numbered(stream, 1, 1, false)).status, STORE_OK);
    contract_engine.no_space(rig, true);
    cr_assert_eq(contract_store(rig, numbered(stream, 2, 2, false)).status,
        STORE_NO_SPACE);
    contract_engine.no_space(rig, false);
    cr_assert_eq(contract_store_unless(
                     rig, numbered(stream, 3, 2, false), STORE_NO_SPACE)
                     .status,
        STORE_OK);
    enum store_status status =
        contract_store(rig, numbered(stream, 2, 3, true)).status;
    cr_assert_neq(status, STORE_DUPLICATE, "it was not stored");
    cr_assert_eq(contract_store(rig, numbered(stream, 3, 9, true)).status,
        STORE_DUPLICATE);
    contract_expect_ids(rig, stream, 1, status == STORE_OK ? 3 : 2);
    contract_free(rig);
}

Test(failure, stays_until_a_restart_and_reading_goes_on)
{
    if (contract_engine.fail == NULL) {
        return;
    }
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct store_stats stats;
    contract_fill(rig, stream, 1, 5);
    cr_assert_eq(contract_set(rig, "key", "old"), STORE_OK);
    contract_engine.fail(rig);
    for (unsigned i = 0; i < 4; i++) {
        struct store_append append = contract_append_of(stream, 6, 1);
        cr_assert_eq(contract_store(rig, append).status, STORE_FAILED);
        cr_assert_eq(contract_set(rig, "key", "new"), STORE_FAILED);
        contract_expect_ids(rig, stream, 1, 5);
        contract_expect_value(rig, "key", "old");
    }
    store_get_stats(rig->store, &stats);
    cr_assert(stats.failed);
    cr_assert_str_not_empty(stats.why);
    contract_reopen(rig, true);
    store_get_stats(rig->store, &stats);
    cr_assert_not(stats.failed);
    /* Of what failed it is not known whether it got there. */
    uint64_t records = contract_info(rig, stream).records;
    cr_assert(records == 5 || records == 6);
    contract_expect_ids(rig, stream, 1, records);
    contract_fill(rig, stream, records + 1, 1);
    contract_expect_ids(rig, stream, 1, records + 1);
    contract_free(rig);
}
