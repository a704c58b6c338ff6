/* SPDX-License-Identifier: MIT
 *
 * A life of the local store by a seed, without threads, on files and tables in
 * memory (sim_files.h, sim_base.h), beside a model of what it must hold
 * (model.h): random appends, batches, trims, values and publishers that try
 * again, checkpoints at any moment, power cuts in the middle of any call, and
 * calls that fail. After each cut, what is found must be the model after some
 * number of the operations that were not answered: all that was answered, then
 * a part of the rest, in order and each of them whole.
 */
#ifndef BROKER_TESTS_STORE_WORLD_H
#define BROKER_TESTS_STORE_WORLD_H

#include "sim_base.h"
#include "sim_files.h"

struct world_options {
    uint64_t seed;
    unsigned lives; /* from one cut to the next; 0: by the seed */
    unsigned steps; /* of a life; 0: by the seed */
    /* With `faults` this happens in the second life; the others have none. */
    bool faults;
    struct sim_fault file_fault;
    struct sim_base_fault base_fault;
    bool verbose;
};

/* What came of it, to see that it is not nothing. */
struct world_report {
    uint64_t operations, answered, retried, duplicates, conflicts;
    uint64_t cuts, cuts_inside, kills, closes, checkpoints;
    uint64_t found; /* operations that were not answered, but stored */
    uint64_t lost;  /* and that were not */
    uint64_t no_space, failed, unopened;
    uint64_t file_calls, base_calls; /* of the second life, that may fail */
    char problem[400];               /* "": there is none */
};

/* False: report->problem says what is wrong. */
bool world_run(
    const struct world_options *options, struct world_report *report);

#endif
