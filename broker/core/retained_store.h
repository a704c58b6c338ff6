/* SPDX-License-Identifier: MIT
 *
 * Retained values in the store, at home. PROTOCOL.md section 5.5. Memory has
 * them all (retained.h); the store follows: what changed in a turn is put at
 * its end, and a topic that changes while its value is on the way is put again
 * after that, so that each is put at most once a commit. Nobody waits for it;
 * what cannot be written is counted and logged.
 *
 * In the store (space STORE_SPACE_RETAINED), integers in network byte order:
 *   key    't' and the topic; or, of one that is too long for that, 'n' and a
 *          u64, which stands for this topic as long as it has a value
 *   value  u64 serial, in the order of retaining, then the PUBLISH frame
 */
#ifndef BROKER_CORE_RETAINED_STORE_H
#define BROKER_CORE_RETAINED_STORE_H

#include <broker/codec.h>

#include <stdbool.h>
#include <stdint.h>

struct core;
struct retained_store;

struct retained_store_stats {
    uint64_t errors;  /* values that could not be written */
    uint64_t unknown; /* that were there at the start and cannot be used */
};

/* NULL if memory is out. */
struct retained_store *retained_store_new(struct core *core);
/* NULL is allowed. */
void retained_store_free(struct retained_store *store);

/* The topic's value was replaced or cleared. Where there is no store nothing
 * happens. */
void retained_store_changed(struct core *core, struct broker_bytes topic);

/* See home.h. */
void retained_store_run(struct core *core);
uint64_t retained_store_due(const struct core *core);
/* Is everything loaded? */
bool retained_store_is_ready(const struct core *core);

void retained_store_get_stats(
    const struct core *core, struct retained_store_stats *out);

#endif
