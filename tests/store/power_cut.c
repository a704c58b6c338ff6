/* SPDX-License-Identifier: MIT
 *
 * Power cuts and failing calls for the local store, by seeds; world.h says how.
 *
 *     power-cut [--first SEED] [--seeds N] [--verbose]
 *     power-cut --faults [--first SEED] [--seeds N]
 *
 * With --faults, each seed is a script that is run once for every call that it
 * makes: that call fails, or it and all after it, with EIO or ENOSPC. A seed
 * that fails is printed; --first with it and --verbose show it again. */
#include "world.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    uint64_t first, seeds;
    bool faults, verbose;
};

static void
add(struct world_report *sum, const struct world_report *report)
{
    sum->operations += report->operations;
    sum->answered += report->answered;
    sum->retried += report->retried;
    sum->duplicates += report->duplicates;
    sum->conflicts += report->conflicts;
    sum->cuts += report->cuts;
    sum->cuts_inside += report->cuts_inside;
    sum->kills += report->kills;
    sum->closes += report->closes;
    sum->checkpoints += report->checkpoints;
    sum->found += report->found;
    sum->lost += report->lost;
    sum->no_space += report->no_space;
    sum->failed += report->failed;
    sum->unopened += report->unopened;
}

static void
print_sum(const struct arguments *arguments, const struct world_report *sum)
{
    printf("%" PRIu64 " seeds: %" PRIu64 " operations, %" PRIu64
           " answered, %" PRIu64 " tried again, %" PRIu64
           " duplicates, %" PRIu64 " conflicts, %" PRIu64 " no space, %" PRIu64
           " failed\n",
        arguments->seeds, sum->operations, sum->answered, sum->retried,
        sum->duplicates, sum->conflicts, sum->no_space, sum->failed);
    printf("%" PRIu64 " power cuts, %" PRIu64 " of them inside a call, %" PRIu64
           " kills, %" PRIu64 " closes, %" PRIu64 " checkpoints, %" PRIu64
           " times not opened; of what was in flight %" PRIu64
           " was found and %" PRIu64 " was not\n",
        sum->cuts, sum->cuts_inside, sum->kills, sum->closes, sum->checkpoints,
        sum->unopened, sum->found, sum->lost);
}

static bool
run_seed(const struct world_options *options, struct world_report *sum)
{
    struct world_report report;
    bool ok = world_run(options, &report);
    add(sum, &report);
    if (!ok) {
        printf("seed %" PRIu64 ": %s\n", options->seed, report.problem);
    }
    return ok;
}

/* ---- faults -------------------------------------------------------------- */

static bool
run_fault(const struct arguments *arguments, struct world_options *options,
    bool files, uint64_t n, unsigned kind, struct world_report *sum)
{
    uint64_t count = kind % 2 == 0 ? 1 : UINT64_MAX;
    int error = kind < 2 ? EIO : ENOSPC;
    options->verbose = arguments->verbose;
    options->file_fault = (struct sim_fault){.error = error};
    options->base_fault = (struct sim_base_fault){.error = error};
    if (files) {
        options->file_fault.calls = SIM_ALL;
        options->file_fault.first = n;
        options->file_fault.count = count;
    } else {
        options->base_fault.calls = SIM_BASE_BIT(SIM_BASE_CALLS) - 1;
        options->base_fault.first = n;
        options->base_fault.count = count;
    }
    if (run_seed(options, sum)) {
        return true;
    }
    printf("  call %" PRIu64 " of the %s: error %d, %s\n", n,
        files ? "files" : "tables", error,
        count == 1 ? "once" : "from then on");
    return false;
}

/* Every call of the second life of this seed. */
static unsigned
run_faults(
    const struct arguments *arguments, uint64_t seed, struct world_report *sum)
{
    struct world_report plain;
    struct world_options options = {
        .seed = seed, .lives = 2, .steps = 60, .faults = true};
    unsigned bad = 0;
    if (!world_run(&options, &plain)) {
        printf("seed %" PRIu64 ": %s\n", seed, plain.problem);
        return 1;
    }
    for (unsigned kind = 0; kind < 4; kind++) {
        for (uint64_t n = 1; n <= plain.file_calls && bad < 20; n++) {
            bad += !run_fault(arguments, &options, true, n, kind, sum);
        }
        for (uint64_t n = 1; n <= plain.base_calls && bad < 20; n++) {
            bad += !run_fault(arguments, &options, false, n, kind, sum);
        }
    }
    return bad;
}

/* ---- arguments ----------------------------------------------------------- */

static bool
parse(int argc, char **argv, struct arguments *arguments)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) {
            arguments->verbose = true;
        } else if (strcmp(argv[i], "--faults") == 0) {
            arguments->faults = true;
        } else if (strcmp(argv[i], "--first") == 0 && i + 1 < argc) {
            arguments->first = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            arguments->seeds = strtoull(argv[++i], NULL, 10);
        } else {
            fprintf(stderr,
                "usage: power-cut [--faults] [--first SEED] [--seeds N] "
                "[--verbose]\n");
            return false;
        }
    }
    return true;
}

int
main(int argc, char **argv)
{
    struct arguments arguments = {.first = 1, .seeds = 100};
    struct world_report sum = {.operations = 0};
    unsigned bad = 0;
    if (!parse(argc, argv, &arguments)) {
        return 2;
    }
    for (uint64_t i = 0; i < arguments.seeds && bad < 20; i++) {
        uint64_t seed = arguments.first + i;
        if (arguments.faults) {
            bad += run_faults(&arguments, seed, &sum);
        } else {
            const struct world_options options = {
                .seed = seed, .verbose = arguments.verbose};
            bad += !run_seed(&options, &sum);
        }
    }
    print_sum(&arguments, &sum);
    return bad == 0 ? 0 : 1;
}
