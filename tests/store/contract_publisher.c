/* SPDX-License-Identifier: MIT
 *
 * The contract: publishers, their numbers, and what was answered before. See
 * contract.h. */
#include "contract.h"

#include <stdlib.h>
#include <string.h>

/* An append of this publisher with this number; `count` above 1 is no batch. */
static struct store_append
numbered(uint32_t stream, const char *publisher, uint32_t number, uint64_t id,
    uint32_t count)
{
    struct store_append append = contract_append_of(stream, id, count);
    append.publisher = publisher;
    append.publisher_bytes = strlen(publisher);
    append.number = number;
    return append;
}

static enum store_status
publish(struct contract *rig, uint32_t stream, uint32_t number, uint64_t id)
{
    return contract_store(rig, numbered(stream, "me", number, id, 1)).status;
}

static enum store_status
retry_of(
    struct contract *rig, uint32_t stream, const char *publisher, uint32_t n)
{
    struct store_append append = numbered(stream, publisher, n, 9999, 1);
    append.is_retry = true;
    struct store_result result = contract_store(rig, append);
    if (result.status != STORE_OK) {
        cr_assert_eq(result.first_seq, 0);
    }
    return result.status;
}

static enum store_status
retry(struct contract *rig, uint32_t stream, uint32_t number)
{
    return retry_of(rig, stream, "me", number);
}

Test(publisher, a_retry_is_stored_once)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    for (uint32_t n = 1; n <= 5; n++) {
        cr_assert_eq(publish(rig, stream, n, n), STORE_OK);
    }
    for (uint32_t n = 1; n <= 5; n++) {
        cr_assert_eq(retry(rig, stream, n), STORE_DUPLICATE, "%u", n);
    }
    contract_expect_ids(rig, stream, 1, 5);
    struct store_append next = numbered(stream, "me", 6, 6, 1);
    next.is_retry = true; /* that never arrived before */
    cr_assert_eq(contract_store(rig, next).status, STORE_OK);
    cr_assert_eq(retry(rig, stream, 6), STORE_DUPLICATE);
    contract_expect_ids(rig, stream, 1, 6);
    struct store_stats stats;
    store_get_stats(rig->store, &stats);
    cr_assert_eq(stats.duplicates, 6);
    contract_free(rig);
}

Test(publisher, a_retry_of_what_is_in_flight_is_stored_once)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_answer first;
    struct contract_answer again;
    contract_append(rig, 0, numbered(stream, "me", 1, 1, 1), &first);
    struct store_append append = numbered(stream, "me", 1, 1, 1);
    append.is_retry = true;
    contract_append(rig, 0, append, &again);
    contract_wait(rig, &again.came);
    cr_assert(first.came);
    cr_assert_eq(first.result.status, STORE_OK);
    cr_assert_eq(again.result.status, STORE_DUPLICATE);
    contract_expect_ids(rig, stream, 1, 1);
    contract_free(rig);
}

Test(publisher, numbers_survive_a_crash)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint32_t number = 0;
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 20; i++) {
            number++;
            cr_assert_eq(publish(rig, stream, number, number), STORE_OK);
        }
        contract_reopen(rig, round % 2 == 0);
        cr_assert_eq(retry(rig, stream, number), STORE_DUPLICATE);
        cr_assert_eq(retry(rig, stream, 1), STORE_DUPLICATE);
        contract_expect_ids(rig, stream, 1, number);
    }
    contract_free(rig);
}

/* Its number is with the data: nobody has the one without the other. */
Test(publisher, a_number_is_known_exactly_if_its_record_is_there)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_answer answers[20];
    for (unsigned i = 0; i < 20; i++) {
        contract_append(
            rig, 0, numbered(stream, "me", 1 + i, 1 + i, 1), &answers[i]);
        if (i % 4 == 3) {
            contract_settle(rig, i == 11);
        }
    }
    contract_reopen(rig, true);
    struct contract_read *read = contract_read_all(rig, stream, 0);
    uint32_t there = (uint32_t)read->count;
    free(read);
    cr_assert_geq(there, 12);
    cr_assert_eq(retry(rig, stream, there), STORE_DUPLICATE);
    struct store_append next = numbered(stream, "me", there + 1, there + 1, 1);
    next.is_retry = true;
    cr_assert_eq(contract_store(rig, next).status, STORE_OK);
    contract_expect_ids(rig, stream, 1, there + 1);
    contract_free(rig);
}

Test(publisher, records_of_one_append_have_numbers_each)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    cr_assert_eq(
        contract_store(rig, numbered(stream, "me", 5, 1, 5)).status, STORE_OK);
    for (uint32_t n = 1; n <= 5; n++) {
        cr_assert_eq(retry(rig, stream, n), STORE_DUPLICATE, "%u", n);
    }
    contract_expect_ids(rig, stream, 1, 5);
    contract_free(rig);
}

Test(publisher, a_batch_has_one_number)
{
    struct contract *rig = contract_new();
    const struct store_limits limits = {.max_records = 6, .discard_new = true};
    uint32_t stream = contract_stream(rig, "S", &limits);
    cr_assert_eq(publish(rig, stream, 1, 1), STORE_OK);
    cr_assert_eq(publish(rig, stream, 2, 2), STORE_OK);
    struct store_append batch = numbered(stream, "me", 3, 3, 6);
    batch.batch = true;
    cr_assert_eq(contract_store(rig, batch).status, STORE_FULL);
    batch = numbered(stream, "me", 4, 3, 4);
    batch.batch = true;
    cr_assert_eq(contract_store(rig, batch).status, STORE_OK);
    cr_assert_eq(retry(rig, stream, 3), STORE_FULL);
    cr_assert_eq(retry(rig, stream, 2), STORE_DUPLICATE, "not of the batch");
    cr_assert_eq(retry(rig, stream, 1), STORE_DUPLICATE);
    batch = numbered(stream, "me", 4, 3, 4);
    batch.batch = true;
    batch.is_retry = true;
    cr_assert_eq(contract_store(rig, batch).status, STORE_DUPLICATE);
    contract_expect_ids(rig, stream, 1, 6);
    contract_free(rig);
}

Test(publisher, numbers_wrap_past_0)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    const uint32_t numbers[] = {UINT32_MAX - 1, UINT32_MAX, 1, 2};
    for (uint32_t i = 0; i < 4; i++) {
        struct store_append append =
            numbered(stream, "me", numbers[i], 1 + i, 1);
        append.is_retry = true;
        cr_assert_eq(contract_store(rig, append).status, STORE_OK, "%u", i);
    }
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(retry(rig, stream, numbers[i]), STORE_DUPLICATE);
    }
    contract_reopen(rig, true);
    cr_assert_eq(retry(rig, stream, UINT32_MAX), STORE_DUPLICATE);
    contract_expect_ids(rig, stream, 1, 4);
    contract_free(rig);
}

/* 3 records that end with number 2 are 0xFFFFFFFF, 1 and 2. */
Test(publisher, refused_numbers_wrap_past_0)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    cr_assert_eq(publish(rig, stream, UINT32_MAX - 1, 1), STORE_OK);
    struct store_append append = numbered(stream, "me", 2, 2, 3);
    append.expects_last = true;
    append.expected_last = UINT64_MAX;
    cr_assert_eq(contract_store(rig, append).status, STORE_CONFLICT);
    cr_assert_eq(publish(rig, stream, 3, 2), STORE_OK);
    cr_assert_eq(retry(rig, stream, UINT32_MAX - 1), STORE_DUPLICATE);
    cr_assert_eq(retry(rig, stream, UINT32_MAX), STORE_CONFLICT);
    cr_assert_eq(retry(rig, stream, 1), STORE_CONFLICT);
    cr_assert_eq(retry(rig, stream, 2), STORE_CONFLICT);
    cr_assert_eq(retry(rig, stream, 3), STORE_DUPLICATE);
    contract_expect_ids(rig, stream, 1, 2);
    contract_free(rig);
}

Test(publisher, names_are_bytes)
{
    const struct {
        char name[STORE_PUBLISHER_MAX + 1];
        size_t bytes;
    } names[] = {{"a", 1}, {"ab", 2}, {"a\0", 2}, {"\0", 1}, {"\0\0", 2},
        {"123456789012345678901234", 24}, {"123456789012345678901235", 24},
        {"12345678901234567890123", 23}};
    enum { COUNT = sizeof names / sizeof names[0] };
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            struct store_append append = contract_append_of(stream, 1 + i, 1);
            append.publisher = names[i].name;
            append.publisher_bytes = names[i].bytes;
            append.number = 1;
            append.is_retry = true;
            cr_assert_eq(contract_store(rig, append).status,
                round == 0 ? STORE_OK : STORE_DUPLICATE, "%u", i);
        }
        contract_reopen(rig, true);
    }
    contract_expect_ids(rig, stream, 1, COUNT);
    contract_free(rig);
}

Test(publisher, nobodys_are_never_duplicates)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    for (unsigned i = 0; i < 3; i++) {
        struct store_append append = contract_append_of(stream, 1 + i, 1);
        append.number = 1;
        append.is_retry = true;
        cr_assert_eq(contract_store(rig, append).status, STORE_OK);
    }
    contract_expect_ids(rig, stream, 1, 3);
    contract_free(rig);
}

Test(publisher, numbers_are_of_all_streams_together)
{
    struct contract *rig = contract_new();
    uint32_t a = contract_stream(rig, "A", NULL);
    uint32_t b = contract_stream(rig, "B", NULL);
    cr_assert_eq(publish(rig, a, 1, 1), STORE_OK);
    cr_assert_eq(publish(rig, b, 2, 2), STORE_OK);
    cr_assert_eq(retry(rig, a, 1), STORE_DUPLICATE);
    cr_assert_eq(retry(rig, b, 2), STORE_DUPLICATE);
    cr_assert_eq(publish(rig, a, 3, 2), STORE_OK);
    contract_reopen(rig, true);
    cr_assert_eq(retry(rig, b, 2), STORE_DUPLICATE);
    cr_assert_eq(retry(rig, a, 3), STORE_DUPLICATE);
    contract_expect_ids(rig, a, 1, 2);
    contract_expect_ids(rig, b, 2, 1);
    contract_free(rig);
}

/* ---- refusals ------------------------------------------------------------ */

/* A number is taken when it is stored. What is refused and tried again before
 * that may be judged anew; afterwards it must be what it was, as a duplicate
 * would have been stored. */

static void
be_refused(struct contract *rig, uint32_t stream, uint32_t full)
{
    struct store_append append = numbered(stream, "me", 2, 500, 1);
    append.expects_last = true;
    append.expected_last = UINT64_MAX;
    cr_assert_eq(contract_store(rig, append).status, STORE_CONFLICT);
    append = numbered(full, "me", 3, 500, 4);
    append.number = 6; /* 3 to 6 */
    cr_assert_eq(contract_store(rig, append).status, STORE_FULL);
}

static void
expect_refusals(struct contract *rig, uint32_t stream, uint32_t full)
{
    cr_assert_eq(retry(rig, stream, 1), STORE_DUPLICATE);
    cr_assert_eq(retry(rig, stream, 2), STORE_CONFLICT);
    for (uint32_t n = 3; n <= 6; n++) {
        cr_assert_eq(retry(rig, full, n), STORE_FULL, "%u", n);
    }
}

Test(refusal, is_answered_again_to_a_retry)
{
    struct contract *rig = contract_new();
    const struct store_limits limits = {.max_records = 3, .discard_new = true};
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint32_t full = contract_stream(rig, "FULL", &limits);
    cr_assert_eq(publish(rig, stream, 1, 1), STORE_OK);
    be_refused(rig, stream, full);
    cr_assert_eq(publish(rig, stream, 7, 2), STORE_OK);
    expect_refusals(rig, stream, full);
    cr_assert_eq(retry(rig, stream, 7), STORE_DUPLICATE);
    contract_expect_ids(rig, stream, 1, 2);
    contract_expect_ids(rig, full, 0, 0);
    contract_free(rig);
}

Test(refusal, is_remembered_with_what_follows_it)
{
    struct contract *rig = contract_new();
    const struct store_limits limits = {.max_records = 3, .discard_new = true};
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint32_t full = contract_stream(rig, "FULL", &limits);
    cr_assert_eq(publish(rig, stream, 1, 1), STORE_OK);
    be_refused(rig, stream, full);
    cr_assert_eq(publish(rig, stream, 7, 2), STORE_OK);
    contract_reopen(rig, true);
    expect_refusals(rig, stream, full);
    contract_reopen(rig, false);
    expect_refusals(rig, stream, full);
    cr_assert_eq(retry(rig, stream, 7), STORE_DUPLICATE);
    contract_expect_ids(rig, stream, 1, 2);
    contract_free(rig);
}

/* That the expectation does not hold any more is because it was stored. */
Test(refusal, a_duplicate_is_no_conflict)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    for (unsigned i = 0; i < 2; i++) {
        struct store_append append = numbered(stream, "me", 1, 1, 2);
        append.batch = true;
        append.expects_last = true;
        append.is_retry = i == 1;
        cr_assert_eq(contract_store(rig, append).status,
            i == 0 ? STORE_OK : STORE_DUPLICATE);
    }
    contract_expect_ids(rig, stream, 1, 2);
    contract_free(rig);
}

Test(refusal, a_duplicate_is_not_full)
{
    struct contract *rig = contract_new();
    const struct store_limits limits = {.max_records = 1, .discard_new = true};
    uint32_t stream = contract_stream(rig, "S", &limits);
    cr_assert_eq(publish(rig, stream, 1, 1), STORE_OK);
    cr_assert_eq(retry(rig, stream, 1), STORE_DUPLICATE);
    contract_free(rig);
}

Test(refusal, values_of_a_duplicate_are_not_put)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    for (unsigned i = 0; i < 2; i++) {
        const struct store_value value =
            contract_value("key", i == 0 ? "first" : "second");
        struct store_append append = numbered(stream, "me", 1, 1, 1);
        append.is_retry = i == 1;
        append.values = &value;
        append.value_count = 1;
        cr_assert_eq(contract_store(rig, append).status,
            i == 0 ? STORE_OK : STORE_DUPLICATE);
        contract_expect_value(rig, "key", "first");
    }
    contract_free(rig);
}

/* Numbers above the last come later; nothing is answered for them. */
Test(refusal, others_are_not_concerned)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct store_append append = numbered(stream, "me", 2, 500, 1);
    append.expects_last = true;
    append.expected_last = UINT64_MAX;
    cr_assert_eq(contract_store(rig, append).status, STORE_CONFLICT);
    append = numbered(stream, "you", 2, 1, 1);
    append.is_retry = true;
    cr_assert_eq(contract_store(rig, append).status, STORE_OK);
    cr_assert_eq(retry_of(rig, stream, "you", 2), STORE_DUPLICATE);
    cr_assert_eq(publish(rig, stream, 3, 2), STORE_OK);
    cr_assert_eq(retry_of(rig, stream, "you", 2), STORE_DUPLICATE);
    cr_assert_eq(retry(rig, stream, 2), STORE_CONFLICT);
    contract_expect_ids(rig, stream, 1, 2);
    contract_free(rig);
}

/* More runs of refusals than any store remembers, with one stored number
 * between each two: half of what is tried again may be told to be unsure, but
 * nothing that is not there is a duplicate. */
#define MANY 100u

static void
expect_no_lies(struct contract *rig, uint32_t stream, uint32_t full)
{
    for (uint32_t n = 1; n <= MANY; n++) {
        bool is_stored = n % 2 == 0;
        enum store_status status = retry(rig, is_stored ? stream : full, n);
        if (n > MANY - 20) { /* which every store knows */
            cr_assert_eq(
                status, is_stored ? STORE_DUPLICATE : STORE_FULL, "%u", n);
        } else if (status != STORE_UNSURE) {
            cr_assert_eq(
                status, is_stored ? STORE_DUPLICATE : STORE_FULL, "%u", n);
        }
    }
    contract_expect_ids(rig, stream, 1, MANY / 2);
    contract_expect_ids(rig, full, 0, 0);
}

Test(refusal, of_too_many_none_becomes_a_duplicate)
{
    struct contract *rig = contract_new();
    const struct store_limits limits = {.max_bytes = 1, .discard_new = true};
    uint32_t stream = contract_stream(rig, "S", NULL);
    uint32_t full = contract_stream(rig, "FULL", &limits);
    for (uint32_t n = 1; n <= MANY; n++) {
        bool is_stored = n % 2 == 0;
        enum store_status status =
            publish(rig, is_stored ? stream : full, n, n / 2);
        cr_assert_eq(status, is_stored ? STORE_OK : STORE_FULL);
    }
    expect_no_lies(rig, stream, full);
    contract_reopen(rig, true);
    expect_no_lies(rig, stream, full);
    contract_reopen(rig, false);
    expect_no_lies(rig, stream, full);
    contract_free(rig);
}

/* ---- numbers without records --------------------------------------------- */

static struct store_append
number_alone(uint32_t number, const struct store_value *value)
{
    return (struct store_append){.publisher = "me",
        .publisher_bytes = 2,
        .number = number,
        .values = value,
        .value_count = 1,
        .time_ms = CONTRACT_TIME};
}

Test(number, is_taken_with_a_value_and_no_records)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct store_value value = contract_value("key", "five");
    cr_assert_eq(publish(rig, stream, 4, 4), STORE_OK);
    cr_assert_eq(contract_store(rig, number_alone(5, &value)).status, STORE_OK);
    for (unsigned i = 0; i < 4; i++) {
        contract_expect_value(rig, "key", "five");
        cr_assert_eq(retry(rig, stream, 4), STORE_DUPLICATE);
        cr_assert_eq(retry(rig, stream, 5), STORE_DUPLICATE);
        struct store_value other = contract_value("key", "other");
        struct store_append again = number_alone(5, &other);
        again.is_retry = true;
        cr_assert_eq(contract_store(rig, again).status, STORE_DUPLICATE);
        contract_expect_ids(rig, stream, 4, 1);
        contract_reopen(rig, i % 2 == 0);
    }
    cr_assert_eq(retry(rig, stream, 6), STORE_OK);
    contract_free(rig);
}

Test(number, stands_behind_what_came_before_it)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct store_value value = contract_value("key", "two");
    struct contract_answer answers[3];
    contract_append(rig, 0, numbered(stream, "me", 1, 1, 1), &answers[0]);
    contract_append(rig, 0, number_alone(2, &value), &answers[1]);
    contract_append(rig, 0, numbered(stream, "me", 3, 3, 1), &answers[2]);
    contract_wait(rig, &answers[2].came);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(answers[i].result.status, STORE_OK);
    }
    contract_reopen(rig, true);
    for (uint32_t n = 1; n <= 3; n++) {
        cr_assert_eq(retry(rig, stream, n), STORE_DUPLICATE);
    }
    contract_expect_value(rig, "key", "two");
    contract_free(rig);
}

Test(number, alone_keeps_the_refusals_before_it)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct store_value value = contract_value("key", "two");
    struct store_append refused = numbered(stream, "me", 1, 1, 1);
    refused.expects_last = true;
    refused.expected_last = 7;
    cr_assert_eq(contract_store(rig, refused).status, STORE_CONFLICT);
    cr_assert_eq(contract_store(rig, number_alone(2, &value)).status, STORE_OK);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(retry(rig, stream, 1), STORE_CONFLICT);
        contract_reopen(rig, true);
    }
    contract_free(rig);
}

Test(number, alone_needs_a_publisher_and_a_value)
{
    struct contract *rig = contract_new();
    struct store_value value = contract_value("key", "x");
    struct store_append wrong[] = {number_alone(1, &value),
        number_alone(1, &value), number_alone(1, &value),
        number_alone(1, &value)};
    wrong[0].publisher_bytes = 0;
    wrong[1].value_count = 0;
    wrong[2].batch = true;
    wrong[3].expects_last = true;
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(
            store_append(rig->ports[0].port, &wrong[i], contract_done, NULL),
            STORE_INVALID);
    }
    contract_free(rig);
}
