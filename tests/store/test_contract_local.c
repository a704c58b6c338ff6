/* SPDX-License-Identifier: MIT
 *
 * The contract of store.h, for the store in files of this machine: with its
 * threads, in a directory of its own. A crash is a close here, as the process
 * cannot end and go on; crashes are those of test_contract_sim.c. */
#include "contract.h"
#include "local.h"

#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct place {
    char directory[64];
    _Atomic uint64_t now_ms;
};

static uint64_t
now_ms(void *arg)
{
    struct place *place = arg;
    return atomic_load(&place->now_ms);
}

static struct store *
open_local(struct contract *rig)
{
    if (rig->place == NULL) {
        struct place *place = calloc(1, sizeof *place);
        cr_assert_not_null(place);
        strcpy(place->directory, "/tmp/store-contract-XXXXXX");
        cr_assert_not_null(mkdtemp(place->directory));
        atomic_init(&place->now_ms, CONTRACT_TIME);
        rig->place = place;
    }
    struct place *place = rig->place;
    char why[200] = "";
    const struct store_local_options options = {.directory = place->directory,
        .journal_bytes = CONTRACT_JOURNAL_BYTES,
        .memory_bytes = CONTRACT_MEMORY_BYTES,
        .in_flight_bytes = rig->in_flight_bytes,
        .now_ms = now_ms,
        .now_arg = place};
    struct store *store = store_local_open(&options, why, sizeof why);
    cr_assert_not_null(store, "%s", why);
    return store;
}

static void
end_local(struct contract *rig, bool crash)
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
clean_local(struct contract *rig)
{
    struct place *place = rig->place;
    nftw(place->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(place);
}

static void
set_time(struct contract *rig, uint64_t time_ms)
{
    struct place *place = rig->place;
    atomic_store(&place->now_ms, time_ms);
}

const struct contract_engine contract_engine = {
    .open = open_local,
    .end = end_local,
    .clean = clean_local,
    .set_time = set_time,
};
