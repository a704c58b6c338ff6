/* SPDX-License-Identifier: MIT
 *
 * Tables in memory (broker/store/base.h) with faults: a transaction that was
 * committed stays, one that was not is gone after a power cut, and of one whose
 * commit failed nobody knows: after the cut it is there or not, by the seed. In
 * a transaction what it has changed is seen, in a view what was committed.
 */
#ifndef BROKER_TESTS_STORE_SIM_BASE_H
#define BROKER_TESTS_STORE_SIM_BASE_H

#include "base.h"

enum sim_base_call {
    SIM_BASE_BEGIN,
    SIM_BASE_PUT,
    SIM_BASE_DELETE,
    SIM_BASE_COMMIT,
    SIM_BASE_VIEW,
    SIM_BASE_SEEK, /* and next */
    SIM_BASE_CALLS,
};
#define SIM_BASE_BIT(call) (1u << (call))
#define SIM_BASE_CHANGES                                                       \
    (SIM_BASE_BIT(SIM_BASE_BEGIN) | SIM_BASE_BIT(SIM_BASE_PUT) |               \
        SIM_BASE_BIT(SIM_BASE_DELETE) | SIM_BASE_BIT(SIM_BASE_COMMIT))

/* As struct sim_fault: which calls fail, from which on, how many. */
struct sim_base_fault {
    unsigned calls;
    uint64_t first, count;
    int error;
};

/* NULL if memory is out. Its `close` frees it. */
struct base *sim_base_new(uint64_t seed);
void sim_base_fault(struct base *base, const struct sim_base_fault *fault);
uint64_t sim_base_count(const struct base *base, unsigned calls);
uint64_t sim_base_failed(const struct base *base);
/* The power goes in the middle of the n-th commit from now; `cut` is called
 * then. 0: it does not. */
void sim_base_cut_at(
    struct base *base, uint64_t n, void (*cut)(void *arg), void *arg);
/* From now on every call fails; then what is left is there again. */
void sim_base_power_off(struct base *base);
void sim_base_power_on(struct base *base);

/* ---- from outside -------------------------------------------------------- */

/* Another one with what this one has committed. */
struct base *sim_base_copy(const struct base *base, uint64_t seed);
/* The index-th item of a table, to look at and to damage in place; false: there
 * are not so many. */
bool sim_base_item(struct base *base, enum base_table table, size_t index,
    uint8_t **data, size_t *bytes);

#endif
