/* SPDX-License-Identifier: MIT
 *
 * simulate [--verbose] [--seen] [--workers N] --seeds FIRST COUNT
 *
 * Runs one random world for each seed; see sim.h. Linked with --wrap for the
 * allocator. */
#include "sim.h"

#include "allocator.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 300

void
sim_fail(const struct sim *sim, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    program_fail(sim->program, format, args);
}

void
sim_tell(
    const struct sim *sim, const struct sim_client *client, const char *what)
{
    if (sim->program->verbose) {
        printf("%6llu ms  client %d  %s\n", (unsigned long long)sim->net.now_ms,
            client == NULL ? -1 : (int)(client - sim->clients), what);
    }
}

/* ---- connections --------------------------------------------------------- */

static void
forget_client(struct sim *sim, struct sim_client *client)
{
    sim_excuse_all(sim, client);
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        free(client->subscriptions[i].matched);
    }
    say_fini(&client->out);
    memset(client, 0, sizeof *client);
}

/* Is the session id free, or taken over from somebody who may lose it? That is
 * rare, unless it is from a dead one. */
static bool
may_connect_as(struct sim *sim, uint32_t identity)
{
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        const struct sim_client *other = &sim->clients[c];
        if (other->peer == NULL || other->identity != identity) {
            continue;
        }
        bool dead = other->link == SIM_LINK_DEAD;
        if (other->peer->session == NULL || (!dead && other->act_next < 2) ||
            random_chance(&sim->random, dead ? 20 : 80)) {
            return false;
        }
    }
    return true;
}

static void
connect_client(struct sim *sim, struct sim_client *client)
{
    uint32_t identity = random_below(&sim->random, SIM_IDENTITIES);
    if (sim->blocks && (client == sim->clients) != (identity < 2)) {
        return; /* what was published is said again only by the publisher */
    }
    if (!may_connect_as(sim, identity)) {
        return;
    }
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        struct sim_client *other = &sim->clients[c];
        if (other->peer != NULL && other->identity == identity) {
            other->superseded = true;
        }
    }
    forget_client(sim, client);
    client->peer = fake_connect(&sim->net);
    client->identity = identity;
    client->connected_ms = client->fed_ms = sim->net.now_ms;
    client->taken_ms = client->emptied_ms = sim->net.now_ms;
    sim_tell(sim, client, "connect");
    sim_say_hello(sim, client);
}

static void
drop_client(struct sim *sim, struct sim_client *client)
{
    sim_tell(sim, client, "drop");
    client->lost = client->stopped = client->dropped = true;
    fake_drop(client->peer);
    sim_compare(sim);
}

/* ---- moving bytes -------------------------------------------------------- */

/* What such an act leads to is looked up in the core right after it. */
static bool
is_observed(const struct sim *sim, const struct sim_act *act, bool alone)
{
    return alone || act->kind == SIM_HELLO ||
           (sim->few && act->kind == SIM_SUBSCRIBE);
}

/* So many bytes may be fed that what is observed is fed alone. */
static size_t
feedable(const struct sim *sim, const struct sim_client *client, bool alone)
{
    for (uint32_t i = client->act_next; i < client->act_count; i++) {
        if (is_observed(sim, &client->acts[i], alone)) {
            uint32_t last = i == client->act_next ? i : i - 1;
            return client->acts[last].end - client->fed;
        }
    }
    return client->out.len;
}

static void
feed(struct sim *sim, struct sim_client *client, size_t bytes)
{
    struct session *session = client->peer->session;
    if (session == NULL || client->link == SIM_LINK_DEAD) {
        return;
    }
    if (!session_wants_input(session)) {
        program_saw(sim->program, (session->hold.reasons & HOLD_FULL) != 0
                                      ? "publishers that wait"
                                      : "answers that are not read");
        return;
    }
    if (sim->blocks && bytes > SIM_BLOCK_FEED) {
        bytes = SIM_BLOCK_FEED;
    }
    bool deaf = session->state == SESSION_CLOSING || session->input_ended;
    bool alone = sim_memory_fails(sim);
    size_t most = feedable(sim, client, alone);
    bytes = bytes < client->out.len ? bytes : client->out.len;
    sim_before_feed(sim);
    size_t fed =
        fake_feed(client->peer, client->out.bytes, bytes < most ? bytes : most);
    sim_memory_returns(sim);
    memmove(client->out.bytes, client->out.bytes + fed, client->out.len - fed);
    client->out.len -= fed;
    client->fed += fed;
    client->fed_ms = fed > 0 ? sim->net.now_ms : client->fed_ms;
    sim_look_for_lost(sim);
    if (deaf) {
        client->act_next = client->act_count;
    }
    sim_apply_fed(sim, client);
    sim_compare(sim);
}

/* In pieces, until nothing more goes. */
static void
feed_all(struct sim *sim, struct sim_client *client)
{
    size_t before;
    do {
        before = client->out.len;
        feed(sim, client, SIZE_MAX);
    } while (client->out.len < before && client->peer->session != NULL);
}

static void
take(struct sim *sim, struct sim_client *client, size_t bytes)
{
    bool finished = client->peer->session == NULL;
    (void)sim_memory_fails(sim);
    size_t taken = fake_take(client->peer, bytes);
    sim_memory_returns(sim);
    client->taken_ms = taken > 0 ? sim->net.now_ms : client->taken_ms;
    if (taken < bytes) {
        client->emptied_ms = sim->net.now_ms;
    }
    if (client->link != SIM_LINK_DEAD) {
        sim_read(sim, client);
    }
    sim_look_for_lost(sim);
    sim_compare(sim);
    if (!finished && client->peer->session == NULL &&
        client->link != SIM_LINK_DEAD) {
        sim_tell(sim, client, "is finished");
        sim_check_complete(sim, client);
    }
}

static void
half_close(struct sim *sim, struct sim_client *client)
{
    sim_tell(sim, client, "half-closes");
    feed_all(sim, client);
    if (client->peer->session == NULL || client->out.len > 0) {
        return; /* no memory, or too many answers: not now */
    }
    client->over = true;
    fake_end_input(client->peer);
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        if (client->subscriptions[i].group != SIM_GROUPS) {
            client->subscriptions[i].matching = false;
        }
    }
    sim_look_for_lost(sim);
    sim_compare(sim);
}

/* ---- steps --------------------------------------------------------------- */

/* The first client publishes, the others subscribe. */
static bool
may_say_when_blocking(
    const struct sim *sim, const struct sim_client *client, uint32_t kind)
{
    bool publishes = kind < 600 || (kind >= 950 && kind < 970) || kind >= 998;
    bool subscribes = kind >= 600 && kind < 920;
    return client == sim->clients ? !subscribes : !publishes;
}

static void
say_something(struct sim *sim, struct sim_client *client)
{
    if (!sim_can_say(client)) {
        return;
    }
    uint32_t kind = random_below(&sim->random, 1000);
    if (sim->blocks && !may_say_when_blocking(sim, client, kind)) {
        return;
    }
    if (kind < 600) {
        sim_say_burst(sim, client);
    } else if (kind < 800) {
        sim_say_subscribe(sim, client);
    } else if (kind < 900) {
        sim_say_unsubscribe(sim, client);
    } else if (kind < 920) {
        sim_say_bad_subscribe(sim, client);
    } else if (kind < 950) {
        sim_say_ping(sim, client);
    } else if (kind < 970) {
        sim_say_again(sim, client);
    } else if (kind < 980) {
        sim_say_goaway(sim, client);
    } else if (kind < 988) {
        half_close(sim, client);
    } else if (kind < 998) {
        drop_client(sim, client);
    } else {
        sim_say_flood(sim, client);
    }
}

/* Some bytes move, as far as the link lets them. */
static void
move_bytes(struct sim *sim, struct sim_client *client)
{
    struct random *random = &sim->random;
    bool trickles = client->link == SIM_LINK_TRICKLES;
    bool stalls = client->link == SIM_LINK_STALLED;
    uint32_t kind = random_below(random, 60);
    if (kind < 20) {
        feed(sim, client, trickles ? 1 : SIZE_MAX);
    } else if (kind < 30) {
        feed(sim, client, random_below(random, trickles ? 3 : 200));
    } else if (stalls) {
        return;
    } else if (kind < 42) {
        take(sim, client, random_below(random, trickles ? 3 : 3000));
    } else if (kind < 54) {
        take(sim, client, random_below(random, trickles ? 2 : 60));
    } else {
        take(sim, client, trickles ? 1 : SIZE_MAX);
    }
}

static void
step(struct sim *sim)
{
    struct random *random = &sim->random;
    struct sim_client *client =
        &sim->clients[random_below(random, SIM_CLIENTS)];
    if (client->peer == NULL || client->peer->session == NULL) {
        connect_client(sim, client);
        return;
    }
    uint32_t kind = random_below(random, 100);
    if (kind < 30) {
        say_something(sim, client);
    } else if (kind < 90) {
        move_bytes(sim, client);
    } else if (kind < 97) {
        if (random_chance(random, 40)) {
            sim_advance_somewhat(sim);
        }
    } else if (random_chance(random, 30)) {
        sim_change_link(sim, client);
    }
}

/* ---- one world ----------------------------------------------------------- */

static bool
is_alive(const struct sim_client *client)
{
    return client->peer != NULL && client->peer->session != NULL &&
           client->link != SIM_LINK_DEAD;
}

static void
finish_client(struct sim *sim, struct sim_client *client)
{
    /* Short memory comes back as others read, so it takes several rounds. */
    for (int round = 0; round < 200 && client->out.len > 0; round++) {
        for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
            if (is_alive(&sim->clients[c])) {
                take(sim, &sim->clients[c], SIZE_MAX);
            }
        }
        if (!is_alive(client)) {
            return;
        }
        feed_all(sim, client);
    }
    take(sim, client, SIZE_MAX);
}

static bool
is_waiting(const struct sim_client *client)
{
    return is_alive(client) &&
           (client->peer->session->hold.reasons != 0 || client->out.len > 0);
}

/* Everybody reads, or is not waited for any more: all that is published is
 * processed. */
static void
wait_for_publisher(struct sim *sim)
{
    struct sim_client *publisher = &sim->clients[0];
    for (int round = 0; round < 1000 && is_waiting(publisher); round++) {
        sim_advance(sim, 100);
        for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
            if (is_alive(&sim->clients[c])) {
                take(sim, &sim->clients[c], SIZE_MAX);
            }
        }
        if (is_alive(publisher)) {
            feed_all(sim, publisher);
        }
    }
    if (is_waiting(publisher)) {
        sim_fail(sim, "the publisher waits for ever");
    }
}

/* Those that live say all they have to say, and read all they get. */
static void
finish_talk(struct sim *sim)
{
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        struct sim_client *client = &sim->clients[c];
        client->link =
            client->link == SIM_LINK_DEAD ? SIM_LINK_DEAD : SIM_LINK_GOOD;
        if (is_alive(client)) {
            finish_client(sim, client);
        }
    }
    if (sim->blocks) {
        wait_for_publisher(sim);
    }
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        struct sim_client *client = &sim->clients[c];
        if (is_alive(client)) {
            take(sim, client, SIZE_MAX);
        }
        if (is_alive(client)) {
            sim_check_complete(sim, client);
        }
    }
}

static void
finish(struct sim *sim)
{
    sim->fails = false;
    finish_talk(sim);
    bool shut_down = random_chance(&sim->random, 50);
    if (shut_down) {
        fake_shut_down(&sim->net, 7);
    }
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        struct sim_client *client = &sim->clients[c];
        if (!is_alive(client)) {
            continue;
        }
        if (!shut_down && !client->over) {
            half_close(sim, client);
        }
        fake_advance(&sim->net, sim->net.options.half_close_linger_ms + 1);
        take(sim, client, SIZE_MAX);
        if (is_alive(client) && !sim->memory_is_short) {
            sim_fail(sim, "client %u does not come to an end", c);
        }
    }
    sim_bury_dead(sim);
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        forget_client(sim, &sim->clients[c]);
    }
    sim_check_acknowledged(sim);
}

static uint64_t
run(const struct program *program)
{
    struct sim *sim = calloc(1, sizeof *sim);
    int64_t live = allocator.live;
    if (sim == NULL) {
        return 0;
    }
    sim->program = program;
    sim_world_init(sim);
    for (int i = 0; i < STEPS; i++) {
        step(sim);
    }
    finish(sim);
    sim_world_fini(sim);
    if (allocator.live != live) {
        sim_fail(sim, "%lld allocations are left",
            (long long)(allocator.live - live));
    }
    uint64_t digest = sim->net.digest;
    free(sim);
    return digest;
}

/* What a thousand worlds with one worker do not do without. */
static const char *const expected[] = {"SESSION_TAKEN", "SLOW_CONSUMER",
    "HANDSHAKE_TIMEOUT", "HEARTBEAT_TIMEOUT", "WRITE_TIMEOUT", "INTERNAL",
    "aborted for want of memory", "acknowledgements that are exact",
    "allocations that failed", "and say that some refused",
    "answers that are not read", "dead links that were found", "gaps",
    "gaps for want of memory", "gaps of what is outdated",
    "gaps of what is too large", "jumps of time",
    "messages that were known already", "publishes refused for want of memory",
    "retained values that were refused", "sessions that were forgotten",
    "subscriptions that were refused", "reads byte by byte", "reads no more",
    "vanishes without a word", NULL};

int
main(int argc, char **argv)
{
    struct program program = {.name = "simulate",
        .workers_max = FAKE_WORKERS_MAX,
        .run = run,
        .expected = expected};
    return program_main(&program, argc, argv);
}
