/* SPDX-License-Identifier: MIT
 *
 * The contract: appends, their answers, and what is left after a crash. See
 * contract.h. */
#include "contract.h"

#include <stdlib.h>
#include <string.h>

Test(append, is_answered_with_its_sequences)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "ORDERS", NULL);
    struct store_result one =
        contract_store(rig, contract_append_of(stream, 1, 1));
    cr_assert_eq(one.status, STORE_OK);
    cr_assert_geq(one.first_seq, 1);
    cr_assert_eq(one.last_seq, one.first_seq);
    cr_assert_eq(one.time_ms, CONTRACT_TIME);
    struct store_result five =
        contract_store(rig, contract_append_of(stream, 2, 5));
    cr_assert_gt(five.first_seq, one.last_seq);
    cr_assert_eq(five.last_seq, five.first_seq + 4, "not consecutive");
    struct contract_read *read = contract_read_all(rig, stream, 0);
    cr_assert_eq(read->count, 6);
    cr_assert_eq(read->records[0].seq, one.first_seq);
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(read->records[1 + i].seq, five.first_seq + i);
        cr_assert_eq(read->records[1 + i].id, 2 + i);
        cr_assert_eq(read->records[1 + i].time_ms, CONTRACT_TIME);
    }
    free(read);
    contract_free(rig);
}

Test(append, is_not_answered_before_the_poll)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_answer answer;
    contract_append(rig, 0, contract_append_of(stream, 1, 1), &answer);
    store_tick(rig->ports[0].port);
    cr_assert_not(answer.came);
    contract_wait(rig, &answer.came);
    contract_free(rig);
}

/* Refusals wait for what was appended before them. */
Test(append, is_answered_in_the_order_of_the_calls)
{
    enum { CALLS = 9 };
    struct contract *rig = contract_new();
    const struct store_limits limits = {.max_bytes = 2000, .discard_new = true};
    uint32_t stream = contract_stream(rig, "S", &limits);
    struct contract_answer answers[CALLS];
    const enum store_status expected[CALLS] = {STORE_OK, STORE_CONFLICT,
        STORE_OK, STORE_DUPLICATE, STORE_FULL, STORE_OK, STORE_OK, STORE_OK,
        STORE_CONFLICT};
    for (unsigned i = 0; i < CALLS; i++) {
        struct store_append append = contract_append_of(
            stream, 100 + i, expected[i] == STORE_FULL ? 200 : 1);
        append.expects_last = expected[i] == STORE_CONFLICT;
        append.expected_last = UINT64_MAX;
        append.publisher = "p";
        append.publisher_bytes = i == 2 || i == 3 ? 1 : 0;
        append.number = 7;
        append.is_retry = i == 3;
        contract_append(rig, 0, append, &answers[i]);
        if (i == 4) {
            store_tick(rig->ports[0].port);
        }
    }
    contract_wait(rig, &answers[CALLS - 1].came);
    for (unsigned i = 0; i < CALLS; i++) {
        cr_assert(answers[i].came, "%u is overtaken", i);
        cr_assert_eq(answers[i].result.status, expected[i], "%u: status %d", i,
            (int)answers[i].result.status);
        cr_assert(i == 0 || answers[i].order > answers[i - 1].order);
    }
    contract_free(rig);
}

Test(append, trims_and_removals_are_answered_in_order_too)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct store_port *port = rig->ports[0].port;
    struct contract_answer answers[5];
    contract_append(rig, 0, contract_append_of(stream, 1, 1), &answers[0]);
    contract_begin(rig, &answers[1], 0);
    cr_assert_eq(
        store_trim(port, stream, 100, contract_done, &answers[1]), STORE_OK);
    contract_end_call(rig);
    contract_append(rig, 0, contract_append_of(stream, 2, 1), &answers[2]);
    contract_begin(rig, &answers[3], 0);
    cr_assert_eq(
        store_remove(port, stream, contract_done, &answers[3]), STORE_OK);
    contract_end_call(rig);
    contract_append(rig, 0, contract_append_of(stream, 3, 1), &answers[4]);
    contract_wait(rig, &answers[4].came);
    for (unsigned i = 0; i < 5; i++) {
        cr_assert(answers[i].came, "%u is overtaken", i);
        cr_assert(i == 0 || answers[i].order > answers[i - 1].order);
        cr_assert_eq(answers[i].result.status,
            i == 4 ? STORE_NOT_FOUND : STORE_OK, "%u", i);
    }
    contract_free(rig);
}

Test(append, is_not_durable_before_the_tick)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_answer answer;
    contract_append(rig, 0, contract_append_of(stream, 1, 1), &answer);
    contract_settle(rig, false);
    cr_assert_not(answer.came);
    contract_wait(rig, &answer.came);
    contract_expect_ids(rig, stream, 1, 1);
    contract_free(rig);
}

Test(append, what_was_acknowledged_survives_a_crash)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint32_t other = contract_stream(rig, "OTHER", NULL);
    contract_fill(rig, stream, 1, 200);
    contract_fill(rig, other, 1000, 50);
    uint64_t last_seq = contract_fill(rig, stream, 201, 100);
    for (unsigned i = 0; i < 3; i++) {
        contract_reopen(rig, i != 1);
        contract_expect_ids(rig, stream, 1, 300);
        contract_expect_ids(rig, other, 1000, 50);
        struct store_stream_info info = contract_info(rig, stream);
        cr_assert_eq(info.last_seq, last_seq);
        cr_assert_eq(info.records, 300);
        cr_assert_str_eq(info.name, "S");
    }
    cr_assert_gt(contract_fill(rig, stream, 301, 1), last_seq);
    contract_expect_ids(rig, stream, 1, 301);
    contract_free(rig);
}

/* What was not answered may be there, but whole, and nothing after a hole. */
Test(append, is_whole_or_not_there_after_a_crash)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    contract_fill(rig, stream, 1, 10);
    struct contract_answer answers[10];
    for (unsigned i = 0; i < 10; i++) {
        contract_append(
            rig, 0, contract_append_of(stream, 11 + i * 7, 7), &answers[i]);
        if (i % 3 == 2) {
            store_tick(rig->ports[0].port);
        }
    }
    contract_reopen(rig, true);
    struct contract_read *read = contract_read_all(rig, stream, 0);
    cr_assert_geq(read->count, 10);
    size_t more = read->count - 10;
    free(read);
    cr_assert_eq(more % 7, 0, "%zu records of a batch of 7", more);
    contract_expect_ids(rig, stream, 1, 10 + more);
    contract_free(rig);
}

Test(append, all_that_was_appended_is_stored_by_a_close)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_answer answers[10];
    for (unsigned i = 0; i < 10; i++) {
        contract_append(
            rig, 0, contract_append_of(stream, 1 + i, 1), &answers[i]);
    }
    contract_reopen(rig, false);
    contract_expect_ids(rig, stream, 1, 10);
    contract_free(rig);
}

/* ---- expectations -------------------------------------------------------- */

static struct store_result
store_after(
    struct contract *rig, uint32_t stream, uint64_t id, uint64_t expected_last)
{
    struct store_append append = contract_append_of(stream, id, 3);
    append.expects_last = true;
    append.expected_last = expected_last;
    return contract_store(rig, append);
}

Test(expectation, conflict_reports_the_last_and_changes_nothing)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint64_t last_seq = contract_fill(rig, stream, 1, 4);
    struct store_stream_info before = contract_info(rig, stream);
    const struct store_value value = contract_value("key", "new");
    struct store_append append = contract_append_of(stream, 5, 2);
    append.expects_last = true;
    append.expected_last = last_seq - 1;
    append.values = &value;
    append.value_count = 1;
    append.time_ms = CONTRACT_TIME + 5;
    struct store_result result = contract_store(rig, append);
    cr_assert_eq(result.status, STORE_CONFLICT);
    cr_assert_eq(result.last_seq, last_seq);
    cr_assert_eq(result.first_seq, 0);
    struct store_stream_info after = contract_info(rig, stream);
    cr_assert_eq(after.last_seq, before.last_seq);
    cr_assert_eq(after.records, before.records);
    cr_assert_eq(after.bytes, before.bytes);
    cr_assert_eq(after.last_time_ms, before.last_time_ms);
    contract_expect_value(rig, "key", NULL);
    contract_expect_ids(rig, stream, 1, 4);
    result = store_after(rig, stream, 5, last_seq);
    cr_assert_eq(result.status, STORE_OK);
    contract_expect_ids(rig, stream, 1, 7);
    contract_free(rig);
}

Test(expectation, of_0_is_that_there_never_was_one)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct store_result result = store_after(rig, stream, 1, 9);
    cr_assert_eq(result.status, STORE_CONFLICT);
    cr_assert_eq(result.last_seq, 0);
    result = store_after(rig, stream, 1, 0);
    cr_assert_eq(result.status, STORE_OK);
    uint64_t last_seq = result.last_seq;
    cr_assert_eq(contract_trim(rig, stream, last_seq + 1), STORE_OK);
    result = store_after(rig, stream, 4, 0);
    cr_assert_eq(result.status, STORE_CONFLICT, "an empty stream is not new");
    cr_assert_eq(result.last_seq, last_seq);
    contract_free(rig);
}

Test(expectation, sees_what_was_appended_in_the_same_turn)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_answer answers[2];
    for (unsigned i = 0; i < 2; i++) {
        struct store_append append = contract_append_of(stream, 1 + i, 1);
        append.expects_last = true;
        contract_append(rig, i, append, &answers[i]); /* of two ports */
    }
    contract_wait(rig, &answers[0].came);
    contract_wait(rig, &answers[1].came);
    unsigned winner = answers[0].result.status == STORE_OK ? 0 : 1;
    cr_assert_eq(answers[winner].result.status, STORE_OK);
    cr_assert_eq(answers[1 - winner].result.status, STORE_CONFLICT);
    cr_assert_eq(
        answers[1 - winner].result.last_seq, answers[winner].result.last_seq);
    contract_expect_ids(rig, stream, 1 + winner, 1);
    contract_free(rig);
}

Test(expectation, holds_across_a_reopen)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint64_t last_seq = contract_fill(rig, stream, 1, 3);
    for (unsigned i = 0; i < 4; i++) {
        contract_reopen(rig, i % 2 == 0);
        struct store_result result = store_after(rig, stream, 1, last_seq + 1);
        cr_assert_eq(result.status, STORE_CONFLICT);
        cr_assert_eq(result.last_seq, last_seq);
        result = store_after(rig, stream, 4 + i * 3, last_seq);
        cr_assert_eq(result.status, STORE_OK);
        last_seq = result.last_seq;
        if (i == 2) { /* the last one outlives the records */
            cr_assert_eq(contract_trim(rig, stream, UINT64_MAX), STORE_OK);
        }
    }
    contract_expect_ids(rig, stream, 13, 3);
    contract_free(rig);
}

/* ---- bounds -------------------------------------------------------------- */

static enum store_status
try_append(struct contract *rig, const struct store_append *append)
{
    struct contract_answer answer;
    contract_begin(rig, &answer, 0);
    enum store_status status =
        store_append(rig->ports[0].port, append, contract_done, &answer);
    contract_end_call(rig);
    if (status == STORE_OK) {
        contract_wait(rig, &answer.came);
        return answer.result.status;
    }
    contract_settle(rig, true);
    cr_assert_not(answer.came, "refused by the call, and called back");
    return status;
}

Test(bounds, of_appends)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct store_append good = contract_append_of(stream, 49, 2);
    struct store_append bad = good;
    bad.count = 0;
    cr_assert_eq(try_append(rig, &bad), STORE_INVALID, "no records");
    bad = good;
    bad.bytes = 11;
    cr_assert_eq(try_append(rig, &bad), STORE_INVALID, "a part of a header");
    bad = good;
    bad.count = 1;
    cr_assert_eq(try_append(rig, &bad), STORE_INVALID, "bytes left over");
    bad = good;
    bad.count = 3;
    cr_assert_eq(try_append(rig, &bad), STORE_INVALID, "too few bytes");
    bad = good;
    bad.bytes--;
    cr_assert_eq(try_append(rig, &bad), STORE_INVALID, "cut off");
    bad = good;
    bad.publisher = "a name that is too long by 1";
    bad.publisher_bytes = STORE_PUBLISHER_MAX + 1;
    cr_assert_eq(try_append(rig, &bad), STORE_INVALID);
    bad = good;
    bad.stream = 77;
    cr_assert_eq(try_append(rig, &bad), STORE_NOT_FOUND);
    bad.stream = 0;
    cr_assert_eq(try_append(rig, &bad), STORE_NOT_FOUND);
    contract_expect_ids(rig, stream, 0, 0);
    cr_assert_eq(try_append(rig, &good), STORE_OK);
    contract_expect_ids(rig, stream, 49, 2);
    free((void *)good.records);
    contract_free(rig);
}

static void
store_body(struct contract *rig, uint32_t stream, uint64_t id, uint32_t body)
{
    struct contract_records records = contract_records(id, 1, body);
    struct store_append append = {.stream = stream,
        .records = records.data,
        .bytes = records.bytes,
        .count = 1,
        .time_ms = CONTRACT_TIME};
    cr_assert_eq(contract_store(rig, append).status, STORE_OK, "%u", body);
}

Test(bounds, records_of_every_size)
{
    const uint32_t bodies[] = {0, 1, 3, 4083, 4084, 4085, 65523, 65524, 65525,
        1000000, 16 * 1024 * 1024 - 1, 16 * 1024 * 1024};
    enum { COUNT = sizeof bodies / sizeof bodies[0] };
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    for (unsigned i = 0; i < COUNT; i++) {
        store_body(rig, stream, 1 + i, bodies[i]);
    }
    contract_expect_ids(rig, stream, 1, COUNT);
    contract_reopen(rig, true);
    struct contract_read *read = contract_read_all(rig, stream, 0);
    cr_assert_eq(read->count, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        cr_assert_eq(read->records[i].bytes, STORE_RECORD_MIN + bodies[i]);
    }
    free(read);
    contract_free(rig);
}

Test(bounds, larger_than_the_budget_is_taken_if_nothing_is_in_flight)
{
    struct contract *rig = contract_new_with(64 * 1024);
    uint32_t stream = contract_stream(rig, "S", NULL);
    store_body(rig, stream, 1, 1000000);
    store_body(rig, stream, 2, 500000);
    contract_expect_ids(rig, stream, 1, 2);
    contract_free(rig);
}

/* After STORE_AGAIN comes `room`, and then it goes. */
Test(bounds, too_much_in_flight_is_told_and_so_is_room)
{
    enum { MAX = 200 };
    struct contract *rig = contract_new_with(64 * 1024);
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_answer answers[MAX + 1];
    struct contract_records records = contract_records(1, 1, 1000);
    struct store_append append = {.stream = stream,
        .records = records.data,
        .bytes = records.bytes,
        .count = 1,
        .time_ms = CONTRACT_TIME};
    unsigned taken = 0;
    enum store_status status = STORE_OK;
    cr_assert(store_has_room(rig->ports[0].port));
    while (taken < MAX && status == STORE_OK) {
        contract_begin(rig, &answers[taken], 0);
        status = store_append(
            rig->ports[0].port, &append, contract_done, &answers[taken]);
        contract_end_call(rig);
        taken += status == STORE_OK ? 1 : 0;
    }
    cr_assert_eq(status, STORE_AGAIN, "no limit");
    cr_assert_geq(taken, 10);
    struct store_stats stats;
    store_get_stats(rig->store, &stats);
    cr_assert_gt(stats.in_flight_bytes, 0);
    cr_assert_eq(rig->ports[0].rooms, 0);
    contract_wait(rig, &answers[taken - 1].came);
    contract_append(rig, 0, append, &answers[taken]); /* frees its records */
    contract_wait(rig, &answers[taken].came);
    contract_settle(rig, true);
    cr_assert_geq(rig->ports[0].rooms, 1, "room was not told");
    cr_assert_eq(answers[taken].result.status, STORE_OK);
    struct contract_read *read = contract_read_all(rig, stream, 0);
    cr_assert_eq(read->count, taken + 1);
    free(read);
    contract_free(rig);
}

/* Whoever only asked hears of room as well. */
Test(bounds, room_is_told_to_who_asked_for_it)
{
    struct contract *rig = contract_new_with(64 * 1024);
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_answer answer;
    struct contract_records records = contract_records(1, 1, 1000000);
    struct store_append append = {.stream = stream,
        .records = records.data,
        .bytes = records.bytes,
        .count = 1,
        .time_ms = CONTRACT_TIME};
    contract_begin(rig, &answer, 0);
    cr_assert_eq(
        store_append(rig->ports[0].port, &append, contract_done, &answer),
        STORE_OK);
    contract_end_call(rig);
    cr_assert_not(store_has_room(rig->ports[0].port));
    contract_wait(rig, &answer.came);
    contract_settle(rig, true);
    cr_assert_geq(rig->ports[0].rooms, 1, "room was not told");
    cr_assert(store_has_room(rig->ports[0].port));
    contract_free(rig);
}

/* ---- times --------------------------------------------------------------- */

static uint64_t
store_at(struct contract *rig, uint32_t stream, uint64_t id, uint64_t time_ms)
{
    struct store_append append = contract_append_of(stream, id, 1);
    append.time_ms = time_ms;
    struct store_result result = contract_store(rig, append);
    cr_assert_eq(result.status, STORE_OK);
    return result.time_ms;
}

Test(times, never_fall)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint32_t other = contract_stream(rig, "OTHER", NULL);
    cr_assert_eq(store_at(rig, stream, 1, 5000), 5000);
    cr_assert_eq(store_at(rig, stream, 2, 4999), 5000, "the clock went back");
    cr_assert_eq(store_at(rig, other, 1, 70), 70, "of this stream alone");
    cr_assert_eq(store_at(rig, stream, 3, 5001), 5001);
    contract_reopen(rig, true);
    cr_assert_eq(store_at(rig, stream, 4, 0), 5001, "nor across a reopen");
    cr_assert_eq(contract_trim(rig, stream, UINT64_MAX), STORE_OK);
    contract_reopen(rig, false);
    cr_assert_eq(store_at(rig, stream, 5, 1), 5001, "nor when it is empty");
    struct store_stream_info info = contract_info(rig, stream);
    cr_assert_eq(info.first_time_ms, 5001);
    cr_assert_eq(info.last_time_ms, 5001);
    contract_free(rig);
}

/* 32 bits of milliseconds are 49.7 days, 32 bits of seconds end in 2106. */
Test(times, are_those_of_all_years)
{
    const uint64_t times[] = {0, 1, UINT32_MAX - UINT64_C(1), UINT32_MAX,
        UINT32_MAX + UINT64_C(1), UINT64_C(2147483647000),
        UINT64_C(2147483648000), UINT64_C(4294967295000),
        UINT64_C(4294967295999), UINT64_C(4294967296000),
        UINT64_C(4294967296001), UINT64_C(253402300799999)};
    enum { COUNT = sizeof times / sizeof times[0] };
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint64_t seqs[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        cr_assert_eq(store_at(rig, stream, 1 + i, times[i]), times[i]);
        seqs[i] = contract_info(rig, stream).last_seq;
    }
    for (unsigned round = 0; round < 2; round++) {
        struct contract_read *read = contract_read_all(rig, stream, 0);
        cr_assert_eq(read->count, COUNT);
        for (unsigned i = 0; i < COUNT; i++) {
            cr_assert_eq(read->records[i].time_ms, times[i]);
            cr_assert_eq(contract_seek(rig, stream, times[i]), seqs[i]);
        }
        free(read);
        cr_assert_eq(contract_info(rig, stream).last_time_ms, times[COUNT - 1]);
        contract_reopen(rig, true);
    }
    contract_free(rig);
}
