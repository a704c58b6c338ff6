/* SPDX-License-Identifier: MIT
 *
 * The circumstances of a world: its limits, and what fails in it. Links stall,
 * trickle and die, time jumps, allocations fail. See sim.h. */
#include "sim.h"

#include "allocator.h"
#include "session.h"

#include <stdlib.h>
#include <string.h>

#define HOUR_MS 3600000u
/* Every timeout of such a world, one after the other. */
#define BURIAL_MS 300000u

static const struct sim *current; /* for promises broken inside fake_net */

static void
fail_in_net(const char *problem)
{
    sim_fail(current, "%s", problem);
}

/* ---- limits -------------------------------------------------------------- */

static void
choose_limits(struct sim *sim, struct core_options *options)
{
    static const uint64_t budgets[] = {
        3000, 4096, 4096, 20000, 1u << 20, 32u << 20};
    struct random *random = &sim->random;
    options->max_output_bytes = budgets[random_below(random, 6)];
    options->max_retained_topics = random_chance(random, 50) ? 3 : 100;
    if (random_chance(random, 30)) {
        options->max_retained_bytes = random_between(random, 50, 3000);
    }
    if (random_chance(random, 20)) {
        options->max_topic_levels = (uint16_t)random_between(random, 2, 3);
    }
    if (random_chance(random, 20)) {
        options->max_body_bytes = BROKER_BODY_BYTES_MIN;
    }
    options->session_memory_ms = UINT32_MAX;
    sim->forgets = random_chance(random, 20);
    if (sim->forgets) {
        options->max_sessions = random_between(random, 1, 3);
        options->session_memory_ms =
            random_chance(random, 50) ? 20000 : UINT32_MAX;
    }
    if (random_chance(random, 15)) {
        options->max_output_age_ms = random_between(random, 1000, 20000);
    }
    sim->blocks = random_chance(random, 20);
    if (!sim->blocks && random_chance(random, 15)) {
        options->max_subscribes_per_s = random_between(random, 1, 5);
    }
    sim->few = random_chance(random, 20);
    if (sim->few) {
        options->max_subscriptions = random_between(random, 1, 4);
    }
}

void
sim_world_init(struct sim *sim)
{
    uint64_t seed = sim->program->seed;
    current = sim;
    sim->random.state = seed * 1000003;
    struct core_options options = fake_options();
    choose_limits(sim, &options);
    options.workers = sim->program->workers;
    if (!sim->blocks && random_chance(&sim->random, 10)) {
        sim->memory_is_short = true;
        options.max_memory_bytes = 5 * BLOCK_POOL_BYTES;
        options.max_output_bytes = 1u << 20;
    }
    /* What becomes of a frame can be seen at once only where there is one. */
    sim->fails =
        options.workers == 1 && !sim->blocks && random_chance(&sim->random, 20);
    sim->ample = options.max_output_bytes == 32u << 20 && !sim->fails;
    fake_net_init(&sim->net, &options, seed, allocator_guard);
    sim->net.fail = fail_in_net;
    for (uint32_t i = 0; i < SIM_IDENTITIES; i++) {
        memset(sim->identities[i].id, (int)i + 1, BROKER_SESSION_BYTES);
    }
}

void
sim_world_fini(struct sim *sim)
{
    fake_net_fini(&sim->net);
    for (uint32_t i = 0; i < sim->message_count; i++) {
        free(sim->messages[i].frame);
    }
}

/* ---- memory -------------------------------------------------------------- */

bool
sim_memory_fails(struct sim *sim)
{
    sim->failed_now = false;
    if (!sim->fails || !random_chance(&sim->random, 10)) {
        return false;
    }
    allocator.failed = false;
    allocator.and_all_after = random_chance(&sim->random, 30);
    allocator.countdown = random_between(&sim->random, 1, 8);
    return true;
}

void
sim_memory_returns(struct sim *sim)
{
    allocator.countdown = 0;
    allocator.and_all_after = false;
    sim->failed_now = allocator.failed;
    sim->failed = sim->failed || allocator.failed;
    allocator.failed = false;
    if (sim->failed_now) {
        program_saw(sim->program, "allocations that failed");
    }
}

/* ---- time ---------------------------------------------------------------- */

void
sim_advance(struct sim *sim, uint64_t ms)
{
    sim->somebody_lost = false;
    fake_advance(&sim->net, ms);
    sim_tell(sim, NULL, "time goes on");
    sim_look_for_lost(sim);
    sim_compare(sim);
}

/* As a daemon does that is called whenever something is due. */
static void
advance_in_time(struct sim *sim, uint64_t ms)
{
    uint64_t end_ms = sim->net.now_ms + ms;
    while (sim->net.now_ms < end_ms) {
        sim_advance(sim, 0);
        uint64_t due_ms = fake_advance(&sim->net, 0);
        sim_look_for_lost(sim);
        sim_compare(sim);
        sim_advance(sim, (due_ms < end_ms ? due_ms : end_ms) - sim->net.now_ms);
    }
}

void
sim_advance_somewhat(struct sim *sim)
{
    struct random *random = &sim->random;
    uint32_t kind = random_below(random, 100);
    if (kind < 80) {
        sim_advance(sim, random_below(random, 500));
    } else if (kind < 90) {
        advance_in_time(sim, random_below(random, 20000));
    } else if (kind < 98) {
        sim_advance(sim, random_below(random, 20000));
    } else {
        program_saw(sim->program, "jumps of time");
        sim_advance(sim, random_between(random, HOUR_MS / 60, 9 * HOUR_MS));
    }
}

/* ---- links --------------------------------------------------------------- */

void
sim_change_link(struct sim *sim, struct sim_client *client)
{
    uint32_t kind = random_below(&sim->random, 100);
    if (client->link == SIM_LINK_DEAD) {
        return;
    }
    client->link = kind < 50   ? SIM_LINK_GOOD
                   : kind < 70 ? SIM_LINK_STALLED
                   : kind < 90 ? SIM_LINK_TRICKLES
                               : SIM_LINK_DEAD;
    static const char *const texts[] = {"has a good link", "reads no more",
        "reads byte by byte", "vanishes without a word"};
    sim_tell(sim, client, texts[client->link]);
    program_saw(sim->program, texts[client->link]);
}

void
sim_bury_dead(struct sim *sim)
{
    if (sim->memory_is_short) {
        return; /* nobody is judged whom there is no memory to listen to */
    }
    advance_in_time(sim, BURIAL_MS);
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        const struct sim_client *client = &sim->clients[c];
        if (client->link == SIM_LINK_DEAD && client->peer != NULL &&
            client->peer->session != NULL) {
            sim_fail(sim, "client %u is dead, and nobody notices", c);
        }
    }
}
