/* SPDX-License-Identifier: MIT
 *
 * The contract: reading, following, and times. See contract.h. */
#include "contract.h"

#include <stdlib.h>
#include <string.h>

static struct contract_read *
new_read(void)
{
    struct contract_read *read = calloc(1, sizeof *read);
    cr_assert_not_null(read);
    return read;
}

/* One batch from there, at once. */
static struct contract_read *
read_once(
    struct contract *rig, uint32_t stream, uint64_t from, size_t max_bytes)
{
    struct contract_read *read = new_read();
    contract_ask(rig, 1, stream, from, max_bytes, false, read);
    contract_wait(rig, &read->came);
    return read;
}

Test(read, begins_in_the_middle_of_what_was_appended)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint64_t first_seq =
        contract_store(rig, contract_append_of(stream, 1, 10)).first_seq;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 10; i++) {
            struct contract_read *read =
                read_once(rig, stream, first_seq + i, 1 << 20);
            cr_assert_eq(read->count, 10 - i);
            cr_assert_eq(read->records[0].seq, first_seq + i);
            cr_assert_eq(read->records[0].id, 1 + i);
            cr_assert_eq(read->next, first_seq + 10);
            free(read);
        }
        contract_reopen(rig, true);
    }
    contract_free(rig);
}

Test(read, gives_what_was_asked_for_and_at_least_one)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    contract_fill(rig, stream, 1, 2000);
    for (unsigned round = 0; round < 2; round++) {
        const size_t sizes[] = {0, 1, 100, 5000};
        for (unsigned i = 0; i < 4; i++) {
            struct contract_read *read = read_once(rig, stream, 0, sizes[i]);
            cr_assert_geq(read->count, 1);
            cr_assert_leq(
                read->bytes, sizes[i] + 64 * 1024, "%zu", read->bytes);
            cr_assert_eq(read->records[0].id, 1);
            cr_assert_gt(read->next, read->records[read->count - 1].seq);
            free(read);
        }
        contract_expect_ids(rig, stream, 1, 2000);
        contract_reopen(rig, true);
    }
    contract_free(rig);
}

Test(read, one_large_append_in_small_pieces)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    contract_store(rig, contract_append_of(stream, 1, 4000));
    contract_expect_ids(rig, stream, 1, 4000);
    contract_reopen(rig, true);
    contract_expect_ids(rig, stream, 1, 4000);
    contract_free(rig);
}

Test(read, at_the_end_there_is_nothing_and_next_goes_on)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_read *read = read_once(rig, stream, 0, 1000);
    cr_assert_eq(read->status, STORE_OK);
    cr_assert_eq(read->count, 0);
    uint64_t next = read->next;
    free(read);
    for (unsigned i = 0; i < 5; i++) {
        contract_fill(rig, stream, 1 + i, 1);
        read = read_once(rig, stream, next, 1000);
        cr_assert_eq(read->count, 1);
        cr_assert_eq(read->records[0].id, 1 + i);
        next = read->next;
        free(read);
        read = read_once(rig, stream, next, 1000);
        cr_assert_eq(read->status, STORE_OK);
        cr_assert_eq(read->count, 0);
        next = read->next;
        free(read);
    }
    contract_free(rig);
}

/* Who waits for a sequence does not get those before it. */
Test(read, behind_the_end_is_nothing)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint64_t last_seq = contract_fill(rig, stream, 1, 3);
    struct contract_read *read = read_once(rig, stream, last_seq + 50, 1000);
    cr_assert_eq(read->status, STORE_OK);
    cr_assert_eq(read->count, 0);
    cr_assert_gt(read->next, last_seq);
    free(read);
    read = read_once(rig, stream, UINT64_MAX, 1000);
    cr_assert_eq(read->status, STORE_OK);
    cr_assert_eq(read->count, 0);
    free(read);
    contract_free(rig);
}

Test(read, of_no_stream_is_not_found)
{
    struct contract *rig = contract_new();
    struct contract_read *read = read_once(rig, 55, 0, 1000);
    cr_assert_eq(read->status, STORE_NOT_FOUND);
    cr_assert_eq(read->count, 0);
    free(read);
    contract_free(rig);
}

/* What an append's answer has not said to be durable, nobody sees. */
Test(read, shows_nothing_that_is_not_durable)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    contract_fill(rig, stream, 1, 1);
    struct contract_answer answer;
    contract_append(rig, 0, contract_append_of(stream, 2, 1), &answer);
    struct contract_read *read = new_read();
    contract_ask(rig, 1, stream, 0, 1000, false, read);
    contract_settle(rig, false);
    while (!read->came) {
        contract_settle(rig, false);
    }
    cr_assert_eq(read->count, 1, "shown before the tick");
    cr_assert_eq(contract_info(rig, stream).records, 1);
    cr_assert_eq(contract_info(rig, stream).last_seq, read->records[0].seq);
    free(read);
    contract_wait(rig, &answer.came);
    contract_expect_ids(rig, stream, 1, 2);
    contract_free(rig);
}

Test(follow, comes_when_there_is_something)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_read *read = new_read();
    contract_ask(rig, 1, stream, 0, 1000, true, read);
    contract_settle(rig, true);
    cr_assert_not(read->came);
    contract_fill(rig, stream, 1, 3);
    contract_wait(rig, &read->came);
    cr_assert_geq(read->count, 1);
    cr_assert_eq(read->records[0].id, 1);
    uint64_t next = read->next;
    free(read);
    while (next <= contract_info(rig, stream).last_seq) {
        read = new_read();
        contract_ask(rig, 1, stream, next, 1000, true, read);
        contract_wait(rig, &read->came); /* at once */
        next = read->next;
        free(read);
    }
    contract_free(rig);
}

Test(follow, waits_for_its_sequence)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint64_t last_seq = contract_fill(rig, stream, 1, 1);
    struct contract_read *read = new_read();
    contract_ask(rig, 1, stream, last_seq + 20, 1 << 20, true, read);
    uint64_t id = 2;
    while (!read->came) {
        cr_assert_lt(id, 1000);
        last_seq = contract_fill(rig, stream, id++, 1);
    }
    cr_assert_eq(read->count, 1);
    cr_assert_eq(read->records[0].id, id - 1);
    cr_assert_eq(read->records[0].seq, last_seq);
    free(read);
    contract_free(rig);
}

Test(follow, shows_only_what_is_durable)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_read *read = new_read();
    struct contract_answer answer;
    contract_ask(rig, 1, stream, 0, 1000, true, read);
    contract_append(rig, 0, contract_append_of(stream, 1, 1), &answer);
    contract_settle(rig, false);
    cr_assert_not(read->came);
    contract_wait(rig, &read->came);
    contract_reopen(rig, true);
    contract_expect_ids(rig, stream, 1, 1);
    free(read);
    contract_free(rig);
}

Test(follow, several_at_once)
{
    struct contract *rig = contract_new();
    uint32_t streams[2] = {
        contract_stream(rig, "A", NULL), contract_stream(rig, "B", NULL)};
    struct contract_read *reads[6];
    for (unsigned i = 0; i < 6; i++) {
        reads[i] = new_read();
        contract_ask(
            rig, i % CONTRACT_PORTS, streams[i % 2], 0, 1000, true, reads[i]);
    }
    contract_fill(rig, streams[0], 1, 1);
    contract_wait(rig, &reads[0]->came);
    contract_wait(rig, &reads[2]->came);
    contract_wait(rig, &reads[4]->came);
    cr_assert_not(reads[1]->came || reads[3]->came || reads[5]->came);
    contract_fill(rig, streams[1], 7, 1);
    for (unsigned i = 0; i < 6; i++) {
        contract_wait(rig, &reads[i]->came);
        cr_assert_eq(reads[i]->count, 1);
        cr_assert_eq(reads[i]->records[0].id, i % 2 == 0 ? 1 : 7);
        free(reads[i]);
    }
    contract_free(rig);
}

Test(follow, of_a_stream_that_goes_is_not_found)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_read *read = new_read();
    contract_ask(rig, 1, stream, 0, 1000, true, read);
    contract_settle(rig, true);
    cr_assert_eq(contract_remove(rig, stream), STORE_OK);
    contract_wait(rig, &read->came);
    cr_assert_eq(read->status, STORE_NOT_FOUND);
    free(read);
    contract_free(rig);
}

/* Several records may have one time; what was trimmed has none. */
Test(seek, finds_the_first_that_is_not_before_the_time)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint64_t seqs[8];
    uint64_t none = contract_seek(rig, stream, 5);
    cr_assert_leq(none, 1);
    for (unsigned i = 0; i < 8; i++) {
        struct store_append append = contract_append_of(stream, 1 + i * 3, 3);
        append.time_ms = CONTRACT_TIME + i / 2 * 10; /* two of each */
        struct store_result result = contract_store(rig, append);
        cr_assert_eq(result.status, STORE_OK);
        seqs[i] = result.first_seq;
    }
    for (unsigned round = 0; round < 3; round++) {
        cr_assert_eq(contract_seek(rig, stream, CONTRACT_TIME - 9), seqs[0]);
        cr_assert_eq(contract_seek(rig, stream, CONTRACT_TIME), seqs[0]);
        cr_assert_eq(contract_seek(rig, stream, CONTRACT_TIME + 1), seqs[2]);
        cr_assert_eq(contract_seek(rig, stream, CONTRACT_TIME + 10), seqs[2]);
        cr_assert_eq(contract_seek(rig, stream, CONTRACT_TIME + 30), seqs[6]);
        cr_assert_eq(
            contract_seek(rig, stream, CONTRACT_TIME + 31), seqs[7] + 3);
        cr_assert_eq(contract_seek(rig, stream, UINT64_MAX), seqs[7] + 3);
        contract_reopen(rig, round == 0);
    }
    cr_assert_eq(contract_trim(rig, stream, seqs[2] + 1), STORE_OK);
    cr_assert_eq(contract_seek(rig, stream, CONTRACT_TIME), seqs[2] + 1);
    cr_assert_eq(contract_seek(rig, stream, CONTRACT_TIME + 11), seqs[4]);
    contract_free(rig);
}
