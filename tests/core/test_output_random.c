/* SPDX-License-Identifier: MIT
 *
 * Random steps on an output; the rig checks each. A failing seed is in the
 * message. */
#include "output_rig.h"
#include "random.h"

#include <criterion/criterion.h>

static const enum broker_overflow policies[] = {BROKER_OVERFLOW_DROP_OLDEST,
    BROKER_OVERFLOW_DROP_OLDEST, BROKER_OVERFLOW_DROP_NEWEST,
    BROKER_OVERFLOW_DISCONNECT, BROKER_OVERFLOW_CONFLATE,
    BROKER_OVERFLOW_CONFLATE, BROKER_OVERFLOW_CONFLATE};
#define POLICIES 7

static uint32_t
random_mask(const struct rig *rig, struct random *random)
{
    uint32_t mask = random_between(random, 1, 15);
    for (uint32_t i = 0; i < RIG_SUBSCRIPTIONS; i++) {
        if (rig->readers[i].ended) {
            mask &= ~(1u << i);
        }
    }
    return mask;
}

static void
random_step(struct rig *rig, struct random *random)
{
    uint32_t mask = random_mask(rig, random);
    uint32_t n = random_between(random, 1, random_chance(random, 20) ? 20 : 2);
    size_t payload = random_between(random, 4, 300);
    rig->topic = random_below(random, random_chance(random, 30) ? 40 : 3);
    switch (random_below(random, 12)) {
    case 0:
        rig_control(rig, 9);
        break;
    case 1:
        rig_next_block(rig);
        break;
    case 2:
        if (mask != 0 && random_chance(random, 30)) {
            rig_refuse(rig, mask, n, payload, BROKER_GAP_TOO_LARGE);
        }
        break;
    case 3:
    case 4:
        rig_take(rig, random_below(random, 1500));
        break;
    case 5:
        rig_take(rig, random_below(random, 40));
        break;
    case 6:
        if (random_chance(random, 3)) {
            output_shed(&rig->output);
            rig_check(rig);
        } else if (random_chance(random, 4)) {
            rig_forget(rig, random_below(random, RIG_SUBSCRIPTIONS));
        }
        break;
    default:
        if (mask != 0) {
            rig_append(rig, mask, n, payload);
        }
        break;
    }
}

static void
run_seed(uint64_t seed, uint64_t max_bytes)
{
    struct random random = {seed};
    enum broker_overflow chosen[RIG_SUBSCRIPTIONS];
    for (int i = 0; i < RIG_SUBSCRIPTIONS; i++) {
        chosen[i] = policies[random_below(&random, POLICIES)];
    }
    struct rig *rig = rig_new(max_bytes, chosen);
    rig->block_bytes = random_chance(&random, 50) ? 16384 : BLOCK_POOL_BYTES;
    rig->spans_max = random_between(&random, 3, 64);
    for (int i = 0; i < 400 && rig->frame_count + 30 < RIG_MESSAGES; i++) {
        random_step(rig, &random);
    }
    rig_finish(rig);
    rig_free(rig);
}

Test(output_random, tiny_budget)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        run_seed(seed, 2000);
    }
}

Test(output_random, small_budget)
{
    for (uint64_t seed = 1001; seed <= 1100; seed++) {
        run_seed(seed, 30000);
    }
}

Test(output_random, large_budget)
{
    for (uint64_t seed = 2001; seed <= 2100; seed++) {
        run_seed(seed, 1 << 20);
    }
}
