/* SPDX-License-Identifier: MIT
 *
 * Random lives of consumers, against a model; see consumer_model.h. The seeds
 * are those from STREAM_SEED (default 1) on, STREAM_SEEDS of them; a failure
 * names its seed. */
#include "consumer_model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define STEPS 400u
#define SEEDS 3000u

static uint64_t
number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

Test(consumer_random, nothing_is_lost_until_it_has_ended, .timeout = 100)
{
    uint64_t first = number_of("STREAM_SEED", 1);
    uint64_t seeds = number_of("STREAM_SEEDS", SEEDS);
    uint64_t crashes = 0, count[CONSUMER_COUNTERS] = {0};
    struct world *world = malloc(sizeof *world);
    cr_assert_not_null(world);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        world_init(world, seed);
        while (world->step < STEPS) {
            world_step(world);
        }
        world_drain(world);
        crashes += world->crashes;
        for (uint32_t i = 0; i < CONSUMER_COUNTERS; i++) {
            count[i] += world->model.count[i];
        }
        world_fini(world);
    }
    free(world);
    printf("seeds %llu to %llu, %llu crashes\n", (unsigned long long)first,
        (unsigned long long)(first + seeds - 1), (unsigned long long)crashes);
    /* Worlds in which something never happens would prove little. */
    cr_assert(seeds < SEEDS || crashes > SEEDS);
    for (uint32_t i = 0; i < CONSUMER_COUNTERS; i++) {
        bool could = i != CONSUMER_NO_MEMORY;
        cr_assert(seeds < SEEDS || !could || count[i] > 20, "counter %u: %llu",
            i, (unsigned long long)count[i]);
    }
}
