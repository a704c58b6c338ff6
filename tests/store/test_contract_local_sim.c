/* SPDX-License-Identifier: MIT
 *
 * The contract of store.h, for the store in files of this machine: without
 * threads, on files and tables in memory that lose power in each crash. */
#include "contract.h"
#include "local.h"
#include "sim_base.h"
#include "sim_files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct place {
    struct file_system *files;
    struct base *base;
    uint64_t now_ms;
};

static uint64_t
now_ms(void *arg)
{
    return ((struct place *)arg)->now_ms;
}

static struct store *
open_sim(struct contract *rig)
{
    if (rig->place == NULL) {
        struct place *place = calloc(1, sizeof *place);
        cr_assert_not_null(place);
        place->files = sim_files_new(1);
        place->base = sim_base_new(1);
        place->now_ms = CONTRACT_TIME;
        rig->place = place;
    }
    struct place *place = rig->place;
    char why[200] = "";
    const struct store_local_options options = {.directory = "none",
        .journal_bytes = CONTRACT_JOURNAL_BYTES,
        .memory_bytes = CONTRACT_MEMORY_BYTES,
        .in_flight_bytes = rig->in_flight_bytes,
        .reserve_bytes = 4096,
        .files = place->files,
        .base = place->base,
        .now_ms = now_ms,
        .now_arg = place,
        .manual = true};
    struct store *store = store_local_open(&options, why, sizeof why);
    cr_assert_not_null(store, "%s", why);
    return store;
}

static void
end_sim(struct contract *rig, bool crash)
{
    struct place *place = rig->place;
    sim_files_fault(place->files, NULL);
    if (crash) {
        sim_files_power_off(place->files);
        sim_base_power_off(place->base);
    }
    store_close(rig->store);
    if (crash) {
        sim_files_power_on(place->files);
        sim_base_power_on(place->base);
    }
}

static void
clean_sim(struct contract *rig)
{
    struct place *place = rig->place;
    place->files->free(place->files);
    place->base->close(place->base);
    free(place);
}

static bool
work_sim(struct contract *rig)
{
    return store_local_step(rig->store);
}

static void
set_time(struct contract *rig, uint64_t time_ms)
{
    ((struct place *)rig->place)->now_ms = time_ms;
}

static void
no_space(struct contract *rig, bool on)
{
    struct place *place = rig->place;
    const struct sim_fault full = {.calls = SIM_BIT(SIM_WRITE),
        .first = 1,
        .count = UINT64_MAX,
        .error = ENOSPC};
    sim_files_capacity(place->files, on ? 1 : 0);
    sim_files_fault(place->files, on ? &full : NULL);
    place->now_ms += 60000; /* it looks again from time to time */
}

static void
fail(struct contract *rig)
{
    struct place *place = rig->place;
    const struct sim_fault broken = {
        .calls = SIM_BIT(SIM_SYNC), .first = 1, .count = 1, .error = EIO};
    sim_files_fault(place->files, &broken);
}

const struct contract_engine contract_engine = {
    .open = open_sim,
    .end = end_sim,
    .clean = clean_sim,
    .work = work_sim,
    .set_time = set_time,
    .no_space = no_space,
    .fail = fail,
};
