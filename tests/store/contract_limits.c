/* SPDX-License-Identifier: MIT
 *
 * The contract: what streams keep, and what is trimmed. See contract.h. */
#include "contract.h"

#include <stdlib.h>
#include <string.h>

/* Everything about a stream agrees with what is read from it. */
static struct store_stream_info
expect_books(struct contract *rig, uint32_t stream)
{
    struct store_stream_info info = contract_info(rig, stream);
    struct contract_read *read = contract_read_all(rig, stream, 0);
    cr_assert_eq(info.records, read->count);
    cr_assert_eq(info.bytes, read->bytes);
    if (read->count == 0) {
        cr_assert_eq(info.first_seq, info.last_seq + 1, "of an empty one");
    } else {
        const struct contract_record *last = &read->records[read->count - 1];
        cr_assert_eq(info.first_seq, read->records[0].seq);
        cr_assert_eq(info.first_time_ms, read->records[0].time_ms);
        cr_assert_eq(info.last_seq, last->seq);
        cr_assert_eq(info.last_time_ms, last->time_ms);
    }
    free(read);
    return info;
}

Test(trim, takes_what_is_below)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint64_t first_seq =
        contract_store(rig, contract_append_of(stream, 1, 10)).first_seq;
    contract_fill(rig, stream, 11, 10);
    cr_assert_eq(contract_trim(rig, stream, first_seq), STORE_OK);
    contract_expect_ids(rig, stream, 1, 20);
    cr_assert_eq(contract_trim(rig, stream, first_seq + 4), STORE_OK);
    contract_expect_ids(rig, stream, 5, 16);
    cr_assert_eq(expect_books(rig, stream).trimmed, 4);
    cr_assert_eq(contract_trim(rig, stream, 1), STORE_OK);
    contract_expect_ids(rig, stream, 5, 16);
    contract_reopen(rig, true);
    contract_expect_ids(rig, stream, 5, 16);
    cr_assert_eq(expect_books(rig, stream).trimmed, 4);
    contract_free(rig);
}

/* What comes later is not below, whatever was said before. */
Test(trim, of_everything_leaves_the_sequences)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint64_t last_seq = contract_fill(rig, stream, 1, 10);
    cr_assert_eq(contract_trim(rig, stream, last_seq + 1000), STORE_OK);
    contract_expect_ids(rig, stream, 0, 0);
    struct store_stream_info info = expect_books(rig, stream);
    cr_assert_eq(info.last_seq, last_seq);
    cr_assert_eq(info.trimmed, 10);
    contract_reopen(rig, true);
    info = expect_books(rig, stream);
    cr_assert_eq(info.last_seq, last_seq);
    cr_assert_gt(contract_fill(rig, stream, 11, 1), last_seq);
    contract_expect_ids(rig, stream, 11, 1);
    contract_reopen(rig, false);
    contract_expect_ids(rig, stream, 11, 1);
    contract_free(rig);
}

Test(trim, of_no_stream_is_not_found)
{
    struct contract *rig = contract_new();
    cr_assert_eq(contract_trim(rig, 9, 1), STORE_NOT_FOUND);
    contract_free(rig);
}

Test(limits, of_records)
{
    struct contract *rig = contract_new();
    const struct store_limits limits = {.max_records = 7};
    uint32_t stream = contract_stream(rig, "S", &limits);
    contract_fill(rig, stream, 1, 7);
    contract_expect_ids(rig, stream, 1, 7);
    for (unsigned id = 8; id < 30; id++) {
        contract_fill(rig, stream, id, 1);
        contract_expect_ids(rig, stream, id - 6, 7);
        cr_assert_eq(expect_books(rig, stream).trimmed, id - 7);
    }
    contract_reopen(rig, true);
    contract_expect_ids(rig, stream, 23, 7);
    cr_assert_eq(expect_books(rig, stream).trimmed, 22);
    cr_assert_eq(contract_info(rig, stream).limits.max_records, 7);
    struct store_result result =
        contract_store(rig, contract_append_of(stream, 30, 5));
    cr_assert_eq(result.status, STORE_OK);
    contract_expect_ids(rig, stream, 28, 7); /* a part of what was read */
    contract_free(rig);
}

Test(limits, of_bytes)
{
    struct contract *rig = contract_new();
    const struct store_limits limits = {.max_bytes = 1000};
    uint32_t stream = contract_stream(rig, "S", &limits);
    for (unsigned id = 1; id < 120; id++) {
        contract_fill(rig, stream, id, 1);
        struct store_stream_info info = expect_books(rig, stream);
        cr_assert_leq(info.bytes, 1000);
        cr_assert_geq(info.records, 1);
        if (info.trimmed != 0) { /* no more than has to go */
            cr_assert_gt(info.bytes + STORE_RECORD_MIN + 49, 1000);
        }
    }
    uint64_t records = contract_info(rig, stream).records;
    contract_expect_ids(rig, stream, 120 - records, records);
    contract_reopen(rig, true);
    contract_expect_ids(rig, stream, 120 - records, records);
    contract_free(rig);
}

static enum store_status
store_at(struct contract *rig, uint32_t stream, uint64_t id, uint64_t time_ms)
{
    struct store_append append = contract_append_of(stream, id, 2);
    append.time_ms = time_ms;
    contract_engine.set_time(rig, time_ms);
    return contract_store(rig, append).status;
}

Test(limits, of_age)
{
    struct contract *rig = contract_new();
    const struct store_limits limits = {.max_age_ms = 1000};
    uint32_t stream = contract_stream(rig, "S", &limits);
    cr_assert_eq(store_at(rig, stream, 1, CONTRACT_TIME), STORE_OK);
    cr_assert_eq(store_at(rig, stream, 3, CONTRACT_TIME + 1000), STORE_OK);
    contract_expect_ids(rig, stream, 1, 4);
    cr_assert_eq(store_at(rig, stream, 5, CONTRACT_TIME + 1001), STORE_OK);
    contract_settle(rig, true);
    contract_expect_ids(rig, stream, 3, 4);
    cr_assert_eq(expect_books(rig, stream).trimmed, 2);
    contract_reopen(rig, true);
    contract_expect_ids(rig, stream, 3, 4);
    cr_assert_eq(store_at(rig, stream, 7, CONTRACT_TIME + 9000), STORE_OK);
    contract_settle(rig, true);
    contract_expect_ids(rig, stream, 7, 2);
    contract_free(rig);
}

/* 100 years, and times beyond 2106. */
Test(limits, of_age_beyond_32_bits)
{
    struct contract *rig = contract_new();
    const uint64_t century_ms = UINT64_C(3155760000000);
    const struct store_limits limits = {.max_age_ms = century_ms};
    uint32_t stream = contract_stream(rig, "S", &limits);
    uint64_t begin_ms = UINT64_C(4294967295000);
    cr_assert_eq(store_at(rig, stream, 1, begin_ms), STORE_OK);
    cr_assert_eq(
        store_at(rig, stream, 3, begin_ms + UINT64_C(4294967296)), STORE_OK);
    cr_assert_eq(store_at(rig, stream, 5, begin_ms + century_ms), STORE_OK);
    contract_expect_ids(rig, stream, 1, 6);
    cr_assert_eq(store_at(rig, stream, 7, begin_ms + century_ms + 1), STORE_OK);
    contract_settle(rig, true);
    contract_expect_ids(rig, stream, 3, 6);
    contract_free(rig);
}

Test(limits, that_discard_what_is_new)
{
    struct contract *rig = contract_new();
    const struct store_limits limits = {.max_records = 5, .discard_new = true};
    uint32_t stream = contract_stream(rig, "S", &limits);
    contract_fill(rig, stream, 1, 4);
    struct store_result result =
        contract_store(rig, contract_append_of(stream, 5, 2));
    cr_assert_eq(result.status, STORE_FULL, "in part it is not stored");
    cr_assert_eq(result.first_seq, 0);
    contract_expect_ids(rig, stream, 1, 4);
    contract_fill(rig, stream, 5, 1);
    result = contract_store(rig, contract_append_of(stream, 6, 1));
    cr_assert_eq(result.status, STORE_FULL);
    struct store_stats stats;
    store_get_stats(rig->store, &stats);
    cr_assert_eq(stats.refused_full, 2);
    contract_reopen(rig, true);
    result = contract_store(rig, contract_append_of(stream, 6, 1));
    cr_assert_eq(result.status, STORE_FULL);
    cr_assert_eq(
        contract_trim(rig, stream, contract_info(rig, stream).first_seq + 2),
        STORE_OK);
    result = contract_store_unless(
        rig, contract_append_of(stream, 6, 1), STORE_FULL);
    cr_assert_eq(result.status, STORE_OK);
    contract_expect_ids(rig, stream, 3, 4);
    contract_free(rig);
}

Test(limits, of_bytes_that_discard_what_is_new)
{
    struct contract *rig = contract_new();
    const struct store_limits limits = {.max_bytes = 122, .discard_new = true};
    uint32_t stream = contract_stream(rig, "S", &limits);
    contract_fill(rig, stream, 49, 2); /* of 61 and 12 bytes */
    struct store_result result =
        contract_store(rig, contract_append_of(stream, 49, 1));
    cr_assert_eq(result.status, STORE_FULL);
    result = contract_store(rig, contract_append_of(stream, 48, 1)); /* 60 */
    cr_assert_eq(result.status, STORE_FULL);
    result = contract_store(rig, contract_append_of(stream, 37, 1)); /* 49 */
    cr_assert_eq(result.status, STORE_OK, "it fits to the last byte");
    cr_assert_eq(expect_books(rig, stream).bytes, 122);
    result = contract_store(rig, contract_append_of(stream, 0, 1));
    cr_assert_eq(result.status, STORE_FULL);
    contract_free(rig);
}

Test(limits, of_age_trim_also_what_discards_what_is_new)
{
    struct contract *rig = contract_new();
    const struct store_limits limits = {
        .max_records = 4, .max_age_ms = 10000, .discard_new = true};
    uint32_t stream = contract_stream(rig, "S", &limits);
    cr_assert_eq(store_at(rig, stream, 1, CONTRACT_TIME), STORE_OK);
    cr_assert_eq(store_at(rig, stream, 3, CONTRACT_TIME + 9000), STORE_OK);
    cr_assert_eq(store_at(rig, stream, 5, CONTRACT_TIME + 10000), STORE_FULL);
    contract_engine.set_time(rig, CONTRACT_TIME + 15000);
    struct store_append append = contract_append_of(stream, 5, 2);
    append.time_ms = CONTRACT_TIME + 15000;
    enum store_status status =
        contract_store_unless(rig, append, STORE_FULL).status;
    cr_assert_eq(status, STORE_OK);
    contract_expect_ids(rig, stream, 3, 4);
    contract_free(rig);
}

Test(limits, can_be_changed)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    contract_fill(rig, stream, 1, 20);
    const struct store_limits few = {.max_records = 5};
    cr_assert_eq(contract_stream(rig, "S", &few), stream);
    contract_settle(rig, true);
    contract_expect_ids(rig, stream, 16, 5);
    (void)expect_books(rig, stream);
    contract_reopen(rig, true);
    cr_assert_eq(contract_info(rig, stream).limits.max_records, 5);
    contract_expect_ids(rig, stream, 16, 5);
    const struct store_limits more = {.max_records = 8, .discard_new = true};
    cr_assert_eq(contract_stream(rig, "S", &more), stream);
    contract_fill(rig, stream, 21, 3);
    contract_expect_ids(rig, stream, 16, 8);
    cr_assert_eq(contract_store(rig, contract_append_of(stream, 24, 1)).status,
        STORE_FULL);
    contract_reopen(rig, false);
    cr_assert(contract_info(rig, stream).limits.discard_new);
    contract_free(rig);
}
