/* SPDX-License-Identifier: MIT
 *
 * A store in memory (broker/store/store.h) for tests of what stands on a store,
 * and for simulations of the whole broker: no threads, no clock, no files; the
 * same calls and the same seed give the same answers.
 *
 * "Durable" is what has been committed. A commit takes what ports have ticked,
 * in the order of the calls. Reads are answered by the next store_poll(), from
 * what is durable then; they overtake what is not committed yet.
 */
#ifndef BROKER_TESTS_STORE_MEMORY_H
#define BROKER_TESTS_STORE_MEMORY_H

#include "store.h"

struct store_memory_options {
    /* Commit by itself, inside store_poll(); a tick wakes its port for it.
     * Otherwise nothing is durable until store_memory_commit(). */
    bool auto_commit;
    uint64_t in_flight_bytes; /* not committed, then STORE_AGAIN; 0: 16 MiB */
    /* In so many of 100 appends some sequences are left out before it. */
    uint32_t gap_percent;
    uint64_t seed;     /* of the gaps */
    unsigned refusals; /* that it remembers of a publisher; 0: all */
};

/* NULL if memory is out. store_close() frees it, with all that it has. */
struct store *store_memory_new(const struct store_memory_options *options);

/* What was ticked becomes durable and its ports are woken: their callbacks run
 * in their next store_poll(). False: there was nothing. Not in a callback. */
bool store_memory_commit(struct store *store);

/* The next `commits` commits that have something to store fail with this
 * status: STORE_NO_SPACE, or STORE_FAILED, which stays until a restart. */
void store_memory_fail(
    struct store *store, enum store_status status, uint32_t commits);

/* The next `calls` of store_append() and store_put() return STORE_AGAIN; the
 * hook `room` follows. */
void store_memory_refuse(struct store *store, uint32_t calls);

/* It is so late: what is too old for max_age_ms goes. Without it a stream is as
 * old as the newest time that it was given. */
void store_memory_set_time(struct store *store, uint64_t now_ms);

/* The process ended and was started again, by `crash` without having committed
 * what was in flight. Of ports that are open nothing may be called any more but
 * store_port_close(); their callbacks never come. */
void store_memory_restart(struct store *store, bool crash);

#endif
