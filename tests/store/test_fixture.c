/* SPDX-License-Identifier: MIT
 *
 * A store that an earlier version has written opens, with all that fixture.h
 * says. BROKER_FIXTURES is the folder of those that are kept. */
#include "contract.h"
#include "fixture.h"
#include "local.h"
#include "model.h"

#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct place {
    char directory[64];
};

static uint64_t
now_ms(void *arg)
{
    (void)arg;
    return FIXTURE_TIME;
}

/* A copy, because opening it changes it. */
static struct store *
open_fixture(struct contract *rig)
{
    char why[200] = "";
    char command[400];
    if (rig->place == NULL) {
        struct place *place = calloc(1, sizeof *place);
        cr_assert_not_null(place);
        strcpy(place->directory, "/tmp/store-fixture-XXXXXX");
        cr_assert_not_null(mkdtemp(place->directory));
        snprintf(command, sizeof command, "cp %s/v1/* %s", BROKER_FIXTURES,
            place->directory);
        cr_assert_eq(system(command), 0);
        rig->place = place;
    }
    const struct store_local_options options = {
        .directory = ((struct place *)rig->place)->directory,
        .journal_bytes = 16384,
        .memory_bytes = 1 << 20,
        .reserve_bytes = 1,
        .now_ms = now_ms};
    struct store *store = store_local_open(&options, why, sizeof why);
    cr_assert_not_null(store, "%s", why);
    return store;
}

static void
end_fixture(struct contract *rig, bool crash)
{
    (void)crash;
    store_close(rig->store);
}

static int
remove_one(
    const char *path, const struct stat *about, int type, struct FTW *where)
{
    (void)about;
    (void)type;
    (void)where;
    return remove(path);
}

static void
clean_fixture(struct contract *rig)
{
    struct place *place = rig->place;
    nftw(place->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(place);
}

const struct contract_engine contract_engine = {
    .open = open_fixture, .end = end_fixture, .clean = clean_fixture};

/* ---- what stands in it --------------------------------------------------- */

struct records {
    bool came;
    uint64_t first_id, count;
};

static void
read_done(void *arg, const struct store_batch *batch)
{
    struct records *records = arg;
    records->came = true;
    cr_assert_eq(batch->status, STORE_OK);
    cr_assert_eq(batch->damaged, 0);
    for (size_t r = 0; r < batch->run_count; r++) {
        const struct store_run *run = &batch->runs[r];
        const uint8_t *record = run->records;
        for (uint32_t i = 0; i < run->count; i++) {
            uint64_t id = records->first_id + records->count++;
            size_t bytes = model_record_bytes(id);
            cr_assert_eq(model_record_read(record, bytes), id);
            cr_assert_eq(run->time_ms, FIXTURE_TIME + id * 1000);
            record += bytes;
        }
    }
}

static void
expect_records(
    struct contract *rig, uint32_t stream, uint64_t first_id, uint64_t count)
{
    struct records records = {.first_id = first_id};
    struct store_stream_info info = contract_info(rig, stream);
    cr_assert_eq(info.records, count);
    for (uint64_t before = UINT64_MAX; before != records.count;) {
        before = records.count;
        records.came = false;
        cr_assert_eq(
            store_read(rig->ports[0].port, stream, info.first_seq + before,
                1 << 20, false, read_done, &records),
            STORE_OK);
        contract_wait(rig, &records.came);
    }
    cr_assert_eq(records.count, count);
}

static void
expect_value(struct contract *rig, const char *key, const char *text)
{
    struct contract_found found =
        contract_get(rig, STORE_SPACE_RETAINED, key, strlen(key));
    cr_assert_eq(found.status, STORE_OK);
    cr_assert_str_eq((const char *)found.data, text);
    free(found.data);
}

static enum store_status
retry(struct contract *rig, uint32_t stream, uint32_t number)
{
    struct store_append append = contract_append_of(stream, 1, 1);
    append.publisher = FIXTURE_PUBLISHER;
    append.publisher_bytes = strlen(FIXTURE_PUBLISHER);
    append.number = number;
    append.is_retry = true;
    return contract_store(rig, append).status;
}

/* What was trimmed on disk is counted by the way. */
static void
wait_until_counted(struct contract *rig, uint32_t stream, uint64_t trimmed)
{
    for (unsigned i = 0; i < 3000; i++) {
        if (contract_info(rig, stream).trimmed == trimmed) {
            return;
        }
        (void)poll(NULL, 0, 10);
    }
    cr_assert_fail("it is not counted");
}

static void
expect_all(struct contract *rig)
{
    struct store_stream_info info;
    struct store_stats stats;
    cr_assert_not(store_stream_info(rig->ports[0].port, 2, &info));
    wait_until_counted(rig, 1, FIXTURE_TRIMMED);
    wait_until_counted(rig, 3, FIXTURE_SHORT - FIXTURE_KEPT);
    info = contract_info(rig, 1);
    cr_assert_str_eq(info.name, "orders");
    cr_assert_eq(info.trimmed, FIXTURE_TRIMMED);
    cr_assert_eq(info.last_seq, FIXTURE_ORDERS + 1);
    expect_records(
        rig, 1, FIXTURE_TRIMMED + 1, FIXTURE_ORDERS + 1 - FIXTURE_TRIMMED);
    info = contract_info(rig, 3);
    cr_assert_str_eq(info.name, "short");
    cr_assert_eq(info.limits.max_records, FIXTURE_KEPT);
    cr_assert_eq(info.limits.max_bytes, 100000);
    expect_records(rig, 3, 101 + FIXTURE_SHORT - FIXTURE_KEPT, FIXTURE_KEPT);
    expect_value(rig, "tables", "in the tables");
    expect_value(rig, "journal", "in the journal");
    expect_value(rig, "changed", "new");
    struct contract_scan *scan = contract_scan(rig, STORE_SPACE_CONSUMER);
    cr_assert_eq(scan->count, 0);
    free(scan);
    store_get_stats(rig->store, &stats);
    cr_assert_eq(stats.damaged, 0);
}

Test(fixture, version_1_opens_with_all_that_it_had)
{
    struct contract *rig = contract_new();
    for (unsigned round = 0; round < 2; round++) {
        expect_all(rig);
        cr_assert_eq(retry(rig, 1, 1), STORE_DUPLICATE);
        cr_assert_eq(retry(rig, 1, FIXTURE_ORDERS), STORE_DUPLICATE);
        cr_assert_eq(retry(rig, 1, FIXTURE_REFUSED), STORE_CONFLICT);
        cr_assert_eq(retry(rig, 1, FIXTURE_LAST), STORE_DUPLICATE);
        contract_reopen(rig, false);
    }
    cr_assert_gt(contract_stream(rig, "removed", NULL), 3);
    contract_free(rig);
}
