/* SPDX-License-Identifier: MIT
 *
 * A small store in memory of which every byte is flipped, and every file cut
 * off at every length. It opens, tells of the damage, and loses no more than
 * what the byte belongs to:
 *
 * - of the journal, the record; or where the byte is of an entry or of a
 *   batch's header, that batch. The last batch may go without a word, because
 *   it looks like one that was being written when the power went.
 * - of the tables, the records of one entry of a block, or a stream's name and
 *   limits, a value, or the numbers of a publisher.
 *
 * What is read is always what was written. */
#include "local.h"
#include "model.h"
#include "sim_base.h"
#include "sim_files.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#define APPENDS   12
#define EACH      3 /* records of an append */
#define RECORDS   (APPENDS * EACH)
#define BASE_TIME UINT64_C(1795392000000)

struct rig {
    struct file_system *files;
    struct base *base;
    struct store *store;
    struct store_port *port;
};

static void
nothing(void *arg)
{
    (void)arg;
}

static uint64_t
now_ms(void *arg)
{
    (void)arg;
    return BASE_TIME;
}

static bool
open_rig(struct rig *rig)
{
    char why[200] = "";
    const struct store_local_options options = {.directory = "none",
        .journal_bytes = 16384,
        .memory_bytes = 1 << 20,
        .reserve_bytes = 1,
        .files = rig->files,
        .base = rig->base,
        .now_ms = now_ms,
        .manual = true};
    const struct store_port_hooks hooks = {.wake = nothing, .room = nothing};
    rig->store = store_local_open(&options, why, sizeof why);
    rig->port = rig->store != NULL ? store_port_open(rig->store, &hooks) : NULL;
    return rig->port != NULL;
}

static void
rest(struct rig *rig)
{
    store_tick(rig->port);
    while (store_local_step(rig->store)) {
    }
    store_poll(rig->port);
}

/* As if the process had been killed. */
static void
kill_rig(struct rig *rig)
{
    sim_files_kill(rig->files);
    sim_base_power_off(rig->base);
    store_port_close(rig->port);
    store_close(rig->store);
    sim_files_power_on(rig->files);
    sim_base_power_on(rig->base);
}

static void
free_rig(struct rig *rig)
{
    rig->files->free(rig->files);
    rig->base->close(rig->base);
}

/* ---- what is stored ------------------------------------------------------ */

static void
note_done(void *arg, const struct store_result *result)
{
    struct store_result *to = arg;
    *to = *result;
}

static void
append(struct rig *rig, uint32_t stream, uint64_t id)
{
    uint8_t *records = malloc(EACH * 8192);
    size_t bytes = 0;
    cr_assert_not_null(records);
    for (unsigned i = 0; i < EACH; i++) {
        model_record_write(id + i, records + bytes);
        bytes += model_record_bytes(id + i);
    }
    struct store_append one = {.stream = stream,
        .records = records,
        .bytes = bytes,
        .count = EACH,
        .publisher = "publisher",
        .publisher_bytes = 9,
        .number = (uint32_t)id,
        .batch = true,
        .time_ms = BASE_TIME};
    struct store_result result = {.status = STORE_FAILED};
    cr_assert_eq(store_append(rig->port, &one, note_done, &result), STORE_OK);
    rest(rig);
    cr_assert_eq(result.status, STORE_OK);
    free(records);
}

/* Half of it in the tables, half in the journal. */
static struct rig
make_store(bool tables)
{
    struct rig rig = {.files = sim_files_new(1), .base = sim_base_new(1)};
    const struct store_limits none = {0};
    struct store_result result = {.stream = 0};
    cr_assert(open_rig(&rig));
    cr_assert_eq(
        store_ensure(rig.port, "S", &none, note_done, &result), STORE_OK);
    rest(&rig);
    for (unsigned i = 0; i < APPENDS; i++) {
        append(&rig, result.stream, 1 + i * EACH);
    }
    if (tables) {
        store_port_close(rig.port);
        store_close(rig.store);
    } else {
        kill_rig(&rig);
    }
    return rig;
}

/* ---- what is found ------------------------------------------------------- */

struct found {
    bool came, any, bad;
    uint64_t next, last_id, damaged;
    size_t count;
    bool ids[RECORDS + 1];
};

static void
found_done(void *arg, const struct store_batch *batch)
{
    struct found *found = arg;
    found->came = true;
    found->any = batch->run_count != 0;
    found->next = batch->next;
    found->damaged += batch->damaged;
    for (size_t r = 0; r < batch->run_count; r++) {
        const uint8_t *record = batch->runs[r].records;
        for (uint32_t i = 0; i < batch->runs[r].count; i++) {
            size_t bytes = STORE_RECORD_MIN + ((size_t)record[0] << 24) +
                           ((size_t)record[1] << 16) +
                           ((size_t)record[2] << 8) + record[3];
            uint64_t id = model_record_read(record, bytes);
            if (id == 0 || id > RECORDS || id <= found->last_id) {
                found->bad = true;
                return;
            }
            found->ids[id] = true;
            found->last_id = id;
            found->count++;
            record += bytes;
        }
    }
}

/* Read all of it, whatever the stream is called. */
static struct found
look(struct rig *rig)
{
    struct found found = {.any = true};
    uint32_t stream = store_next_stream(rig->port, 0);
    while (stream != 0 && found.any && !found.bad) {
        found.came = false;
        cr_assert_eq(store_read(rig->port, stream, found.next, 1 << 20, false,
                         found_done, &found),
            STORE_OK);
        rest(rig);
        cr_assert(found.came, "reading is not answered");
    }
    return found;
}

/* How many whole appends are there, and records of appends that are not. */
static size_t
broken_appends(const struct found *found)
{
    size_t broken = 0;
    for (unsigned i = 0; i < APPENDS; i++) {
        unsigned there = 0;
        for (unsigned k = 0; k < EACH; k++) {
            there += found->ids[1 + i * EACH + k] ? 1 : 0;
        }
        broken += there != EACH ? 1 : 0;
    }
    return broken;
}

struct outcome {
    size_t kept, broken;
    uint64_t damaged;
    bool last_kept;
};

/* Open a copy, after something was done to it. Takes the copy. */
static struct outcome
look_at(struct rig *copy)
{
    struct store_stats stats;
    cr_assert(open_rig(copy), "it does not open");
    struct found found = look(copy);
    cr_assert_not(found.bad, "something is read that was not written");
    rest(copy);
    store_get_stats(copy->store, &stats);
    struct outcome outcome = {.kept = found.count,
        .broken = broken_appends(&found),
        .damaged = stats.damaged + found.damaged,
        .last_kept = found.ids[RECORDS]};
    kill_rig(copy);
    free_rig(copy);
    return outcome;
}

static struct rig
copy_of(const struct rig *rig)
{
    return (struct rig){.files = sim_files_copy(rig->files, 1),
        .base = sim_base_copy(rig->base, 1)};
}

/* ---- the journal --------------------------------------------------------- */

Test(damage, nothing_is_lost_without_damage, .timeout = 60)
{
    for (unsigned tables = 0; tables < 2; tables++) {
        struct rig rig = make_store(tables == 1);
        struct rig copy = copy_of(&rig);
        struct outcome outcome = look_at(&copy);
        cr_assert_eq(outcome.kept, RECORDS);
        cr_assert_eq(outcome.damaged, 0);
        free_rig(&rig);
    }
}

Test(damage, every_byte_of_the_journal, .timeout = 300)
{
    struct rig rig = make_store(false);
    size_t whole = 0;
    size_t records = 0;
    size_t appends = 0;
    for (const char *name = sim_files_next(rig.files, NULL); name != NULL;
         name = sim_files_next(rig.files, name)) {
        size_t size;
        cr_assert_not_null(sim_files_bytes(rig.files, name, &size));
        for (size_t at = 0; at < size; at++) {
            struct rig copy = copy_of(&rig);
            sim_files_bytes(copy.files, name, &size)[at] ^=
                (uint8_t)(1 << at % 8);
            struct outcome outcome = look_at(&copy);
            cr_assert_leq(outcome.broken, 1, "%s %zu: %zu appends suffer", name,
                at, outcome.broken);
            cr_assert(outcome.kept == RECORDS || outcome.damaged != 0 ||
                          !outcome.last_kept,
                "%s %zu: records are lost without a word", name, at);
            whole += outcome.kept == RECORDS ? 1 : 0;
            records += outcome.kept == RECORDS - 1 ? 1 : 0;
            appends += outcome.kept == RECORDS - EACH ? 1 : 0;
        }
    }
    cr_assert(whole > 1000 && records > 1000 && appends > 100,
        "%zu flips lost nothing, %zu a record, %zu an append", whole, records,
        appends);
    free_rig(&rig);
}

/* The longer it is, the more is there. */
Test(damage, every_length_of_the_journal, .timeout = 300)
{
    struct rig rig = make_store(false);
    for (const char *name = sim_files_next(rig.files, NULL); name != NULL;
         name = sim_files_next(rig.files, name)) {
        size_t size;
        size_t before = 0;
        cr_assert_not_null(sim_files_bytes(rig.files, name, &size));
        for (size_t length = 0; length <= size; length++) {
            struct rig copy = copy_of(&rig);
            sim_files_shorten(copy.files, name, length);
            struct outcome outcome = look_at(&copy);
            cr_assert_geq(outcome.kept, before, "%s %zu: %zu records, not %zu",
                name, length, outcome.kept, before);
            cr_assert_leq(outcome.kept - before, RECORDS);
            before = outcome.kept;
        }
        cr_assert_eq(before, RECORDS);
    }
    free_rig(&rig);
}

/* ---- the tables ---------------------------------------------------------- */

static void
flip_items(struct rig *rig, enum base_table table, size_t *lost, size_t *much)
{
    uint8_t *data;
    size_t bytes;
    *lost = 0;
    *much = 0;
    for (size_t i = 0; sim_base_item(rig->base, table, i, &data, &bytes); i++) {
        for (size_t at = 0; at < bytes; at++) {
            struct rig copy = copy_of(rig);
            cr_assert(sim_base_item(copy.base, table, i, &data, &bytes));
            data[at] ^= (uint8_t)(1 << at % 8);
            struct outcome outcome = look_at(&copy);
            cr_assert(outcome.kept == RECORDS || outcome.damaged != 0,
                "table %d item %zu byte %zu: lost without a word", (int)table,
                i, at);
            *much += outcome.broken > 1 ? 1 : 0;
            *lost += outcome.kept != RECORDS ? 1 : 0;
        }
    }
}

Test(damage, every_byte_of_the_tables, .timeout = 300)
{
    struct rig rig = make_store(true);
    size_t lost;
    size_t much;
    flip_items(&rig, BASE_BLOCKS, &lost, &much);
    /* Only what an entry begins with is worth more than one append. */
    cr_assert(lost > 1000 && much < lost / 5, "%zu, %zu", lost, much);
    flip_items(&rig, BASE_STREAMS, &lost, &much);
    cr_assert_eq(lost, 0, "without its definition a stream has its records");
    flip_items(&rig, BASE_PUBLISHERS, &lost, &much);
    cr_assert_eq(lost, 0);
    flip_items(&rig, BASE_META, &lost, &much);
    cr_assert_eq(lost, 0);
    free_rig(&rig);
}
