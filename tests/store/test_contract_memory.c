/* SPDX-License-Identifier: MIT
 *
 * The contract of store.h, for the store in memory. With CONTRACT_GAPS some
 * sequences are left out, as any store may. */
#include "contract.h"
#include "memory.h"

#ifndef CONTRACT_GAPS
#define CONTRACT_GAPS 0
#endif

static struct store *
open_memory(struct contract *rig)
{
    if (rig->place == NULL) {
        const struct store_memory_options options = {.seed = 1,
            .gap_percent = CONTRACT_GAPS,
            .in_flight_bytes = rig->in_flight_bytes};
        rig->place = store_memory_new(&options);
    }
    return rig->place;
}

static void
end_memory(struct contract *rig, bool crash)
{
    store_memory_restart(rig->place, crash);
}

static void
clean_memory(struct contract *rig)
{
    store_close(rig->place);
}

static bool
work_memory(struct contract *rig)
{
    return store_memory_commit(rig->place);
}

static void
set_time(struct contract *rig, uint64_t now_ms)
{
    store_memory_set_time(rig->place, now_ms);
}

static void
no_space(struct contract *rig, bool on)
{
    store_memory_fail(rig->place, STORE_NO_SPACE, on ? UINT32_MAX : 0);
}

static void
fail(struct contract *rig)
{
    store_memory_fail(rig->place, STORE_FAILED, 1);
}

const struct contract_engine contract_engine = {
    .open = open_memory,
    .end = end_memory,
    .clean = clean_memory,
    .work = work_memory,
    .set_time = set_time,
    .no_space = no_space,
    .fail = fail,
};
