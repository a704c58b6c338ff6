/* SPDX-License-Identifier: MIT
 *
 * The contract: several ports, streams by name and number, and what the store
 * tells of itself. See contract.h. */
#include "contract.h"

#include <stdlib.h>
#include <string.h>

Test(stream, has_a_number_that_is_kept)
{
    struct contract *rig = contract_new();
    uint32_t a = contract_stream(rig, "A", NULL);
    uint32_t b = contract_stream(rig, "B", NULL);
    cr_assert_neq(a, b);
    cr_assert_eq(contract_stream(rig, "A", NULL), a);
    contract_reopen(rig, true);
    cr_assert_eq(contract_stream(rig, "B", NULL), b);
    cr_assert_eq(contract_stream(rig, "A", NULL), a);
    contract_free(rig);
}

Test(stream, is_made_once_by_two_ports)
{
    struct contract *rig = contract_new();
    const struct store_limits none = {0};
    struct contract_answer answers[2];
    for (unsigned i = 0; i < 2; i++) {
        contract_begin(rig, &answers[i], i);
        cr_assert_eq(store_ensure(rig->ports[i].port, "S", &none, contract_done,
                         &answers[i]),
            STORE_OK);
        contract_end_call(rig);
    }
    contract_wait(rig, &answers[0].came);
    contract_wait(rig, &answers[1].came);
    cr_assert_eq(answers[0].result.stream, answers[1].result.stream);
    contract_free(rig);
}

static enum store_status
try_ensure(struct contract *rig, const char *name)
{
    const struct store_limits none = {0};
    struct contract_answer answer;
    contract_begin(rig, &answer, 0);
    enum store_status status =
        store_ensure(rig->ports[0].port, name, &none, contract_done, &answer);
    contract_end_call(rig);
    contract_settle(rig, true);
    cr_assert_eq(answer.came, status == STORE_OK);
    return status;
}

Test(stream, names_are_up_to_255_bytes)
{
    struct contract *rig = contract_new();
    char name[STORE_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[STORE_NAME_MAX + 1] = 0;
    cr_assert_eq(try_ensure(rig, name), STORE_INVALID);
    cr_assert_eq(try_ensure(rig, ""), STORE_INVALID);
    name[STORE_NAME_MAX] = 0;
    uint32_t stream = contract_stream(rig, name, NULL);
    contract_reopen(rig, true);
    cr_assert_str_eq(contract_info(rig, stream).name, name);
    name[STORE_NAME_MAX - 1] = 0;
    cr_assert_neq(contract_stream(rig, name, NULL), stream);
    contract_free(rig);
}

/* A number that is used again would show one stream's records as another's. */
Test(stream, a_removed_one_is_gone_and_its_number_is_not_used_again)
{
    struct contract *rig = contract_new();
    uint32_t keep = contract_stream(rig, "KEEP", NULL);
    uint32_t used = keep;
    contract_fill(rig, keep, 1, 5);
    for (unsigned i = 0; i < 6; i++) {
        uint32_t stream = contract_stream(rig, "S", NULL);
        cr_assert_gt(stream, used, "%u is used again", stream);
        used = stream;
        contract_expect_ids(rig, stream, 0, 0);
        cr_assert_eq(contract_info(rig, stream).last_seq, 0);
        contract_fill(rig, stream, 100 * i, 10);
        if (i % 2 == 0) {
            contract_reopen(rig, i != 4);
        }
        cr_assert_eq(contract_remove(rig, stream), STORE_OK);
        struct store_stream_info info;
        cr_assert_not(store_stream_info(rig->ports[0].port, stream, &info));
        if (i % 3 == 0) {
            contract_reopen(rig, true);
        }
        cr_assert_not(store_stream_info(rig->ports[0].port, stream, &info));
        cr_assert_eq(
            contract_store(rig, contract_append_of(stream, 1, 1)).status,
            STORE_NOT_FOUND);
        cr_assert_eq(contract_remove(rig, stream), STORE_NOT_FOUND);
    }
    contract_expect_ids(rig, keep, 1, 5);
    contract_free(rig);
}

Test(stream, a_name_is_free_as_soon_as_it_is_removed)
{
    const struct store_limits none = {0};
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    contract_fill(rig, stream, 1, 5);
    struct contract_answer removed;
    struct contract_answer made;
    contract_begin(rig, &removed, 0);
    cr_assert_eq(
        store_remove(rig->ports[0].port, stream, contract_done, &removed),
        STORE_OK);
    contract_end_call(rig);
    contract_begin(rig, &made, 0);
    cr_assert_eq(
        store_ensure(rig->ports[0].port, "S", &none, contract_done, &made),
        STORE_OK);
    contract_end_call(rig);
    contract_wait(rig, &removed.came);
    contract_wait(rig, &made.came);
    cr_assert_eq(removed.result.status, STORE_OK);
    cr_assert_eq(made.result.status, STORE_OK);
    cr_assert_gt(made.result.stream, stream);
    contract_reopen(rig, true);
    contract_expect_ids(rig, made.result.stream, 0, 0);
    cr_assert_eq(contract_stream(rig, "S", NULL), made.result.stream);
    contract_free(rig);
}

Test(stream, all_are_told)
{
    struct contract *rig = contract_new();
    struct store_port *port = rig->ports[1].port;
    cr_assert_eq(store_next_stream(port, 0), 0);
    uint32_t streams[5];
    for (unsigned i = 0; i < 5; i++) {
        const char name[2] = {(char)('E' - (char)i), 0};
        streams[i] = contract_stream(rig, name, NULL);
    }
    cr_assert_eq(contract_remove(rig, streams[2]), STORE_OK);
    contract_reopen(rig, true);
    port = rig->ports[1].port;
    uint32_t after = 0;
    unsigned count = 0;
    uint32_t next;
    while ((next = store_next_stream(port, after)) != 0) {
        cr_assert_gt(next, after);
        cr_assert_neq(next, streams[2]);
        after = next;
        count++;
    }
    cr_assert_eq(count, 4);
    contract_free(rig);
}

Test(stream, what_is_known_of_it)
{
    struct contract *rig = contract_new();
    const struct store_limits limits = {
        .max_records = 100, .max_bytes = 1 << 20, .max_age_ms = 1 << 30};
    uint32_t stream = contract_stream(rig, "S", &limits);
    struct store_stream_info info = contract_info(rig, stream);
    cr_assert_eq(info.last_seq, 0);
    cr_assert_eq(info.first_seq, 1);
    cr_assert_eq(info.records, 0);
    cr_assert_eq(info.bytes, 0);
    struct store_append append = contract_append_of(stream, 10, 2); /* 22 */
    append.time_ms = CONTRACT_TIME - 5;
    cr_assert_eq(contract_store(rig, append).status, STORE_OK);
    contract_fill(rig, stream, 49, 1); /* 61 */
    for (unsigned round = 0; round < 3; round++) {
        info = contract_info(rig, stream);
        cr_assert_str_eq(info.name, "S");
        cr_assert_eq(info.records, 3);
        cr_assert_eq(info.bytes, 2 * 22 + 61);
        cr_assert_geq(info.last_seq, info.first_seq + 2);
        cr_assert_eq(info.first_time_ms, CONTRACT_TIME - 5);
        cr_assert_eq(info.last_time_ms, CONTRACT_TIME);
        cr_assert_eq(info.trimmed, 0);
        cr_assert_eq(info.damaged, 0);
        cr_assert_eq(info.limits.max_records, limits.max_records);
        cr_assert_eq(info.limits.max_bytes, limits.max_bytes);
        cr_assert_eq(info.limits.max_age_ms, limits.max_age_ms);
        cr_assert_not(info.limits.discard_new);
        contract_reopen(rig, round == 0);
    }
    contract_free(rig);
}

/* ---- ports --------------------------------------------------------------- */

/* Each has its callbacks in the order of its calls; the sequences of all rise
 * in one order. */
Test(port, several_append_to_one_stream)
{
    enum { EACH = 40 };
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_answer answers[CONTRACT_PORTS][EACH];
    for (unsigned i = 0; i < EACH; i++) {
        for (unsigned p = 0; p < CONTRACT_PORTS; p++) {
            contract_append(rig, p, contract_append_of(stream, 1000 * p + i, 2),
                &answers[p][i]);
        }
        if (i % 7 == 0) {
            store_tick(rig->ports[i % CONTRACT_PORTS].port);
        }
        if (i % 11 == 0) {
            contract_settle(rig, false);
        }
    }
    for (unsigned p = 0; p < CONTRACT_PORTS; p++) {
        contract_wait(rig, &answers[p][EACH - 1].came);
        for (unsigned i = 0; i < EACH; i++) {
            cr_assert(answers[p][i].came);
            cr_assert_eq(answers[p][i].result.status, STORE_OK);
            if (i != 0) {
                cr_assert_gt(answers[p][i].order, answers[p][i - 1].order);
                cr_assert_gt(answers[p][i].result.first_seq,
                    answers[p][i - 1].result.last_seq);
            }
        }
    }
    struct contract_read *read = contract_read_all(rig, stream, 0);
    cr_assert_eq(read->count, CONTRACT_PORTS * EACH * 2);
    unsigned seen[CONTRACT_PORTS] = {0};
    for (size_t i = 0; i < read->count; i += 2) {
        unsigned p = (unsigned)(read->records[i].id / 1000);
        unsigned n = seen[p]++;
        cr_assert_eq(read->records[i].id, 1000 * p + n);
        cr_assert_eq(read->records[i].seq, answers[p][n].result.first_seq);
        cr_assert_eq(read->records[i + 1].seq, answers[p][n].result.last_seq);
    }
    free(read);
    contract_free(rig);
}

Test(port, one_that_is_closed_gets_no_callbacks_and_loses_nothing)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct contract_answer answers[3];
    struct contract_read *read = calloc(1, sizeof *read);
    cr_assert_not_null(read);
    contract_ask(rig, 2, stream, 100, 1000, true, read);
    contract_settle(rig, true);
    contract_append(rig, 2, contract_append_of(stream, 1, 1), &answers[0]);
    contract_append(rig, 2, contract_append_of(stream, 2, 1), &answers[1]);
    store_port_close(rig->ports[2].port);
    rig->ports[2].port = NULL;
    contract_append(rig, 0, contract_append_of(stream, 3, 1), &answers[2]);
    contract_wait(rig, &answers[2].came);
    contract_settle(rig, true);
    cr_assert_not(answers[0].came || answers[1].came || read->came);
    contract_expect_ids(rig, stream, 1, 3);
    free(read);
    contract_free(rig);
}

Test(port, a_closed_one_is_null)
{
    store_port_close(NULL);
    store_close(NULL);
}

/* ---- numbers ------------------------------------------------------------- */

Test(stats, count_what_is_durable)
{
    struct contract *rig = contract_new();
    uint32_t stream = contract_stream(rig, "S", NULL);
    struct store_stats before;
    struct store_stats stats;
    store_get_stats(rig->store, &before);
    cr_assert_eq(before.appends, 0);
    cr_assert_not(before.failed);
    cr_assert_not(before.no_space);
    cr_assert_str_eq(before.why, "");
    struct contract_answer answer;
    contract_append(rig, 0, contract_append_of(stream, 10, 3), &answer);
    store_get_stats(rig->store, &stats);
    cr_assert_eq(stats.appends, 0);
    cr_assert_geq(stats.in_flight_bytes, 3 * 22);
    contract_wait(rig, &answer.came);
    contract_fill(rig, stream, 49, 1);
    struct store_append append = contract_append_of(stream, 1, 1);
    append.expects_last = true;
    cr_assert_eq(contract_store(rig, append).status, STORE_CONFLICT);
    store_get_stats(rig->store, &stats);
    cr_assert_eq(stats.appends, 2);
    cr_assert_eq(stats.records, 4);
    cr_assert_eq(stats.bytes, 3 * 22 + 61);
    cr_assert_eq(stats.conflicts, 1);
    cr_assert_eq(stats.in_flight_bytes, 0);
    cr_assert_geq(stats.commits, before.commits + 2);
    cr_assert_eq(stats.damaged, 0);
    contract_reopen(rig, true);
    store_get_stats(rig->store, &stats);
    cr_assert_eq(stats.appends, 0, "since the start");
    contract_free(rig);
}
