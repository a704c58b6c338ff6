/* SPDX-License-Identifier: MIT
 *
 * simulate-mail [--verbose] --seeds FIRST COUNT
 *
 * Runs one random world of several workers for each seed; see mailsim.h. Linked
 * with --wrap for the allocator, to see that nothing is left. */
#include "allocator.h"
#include "mailsim.h"

#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPOCHS 3
#define STEPS  500

static struct mailsim *current; /* for promises broken inside fake_net */

void
mailsim_fail(const struct mailsim *sim, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    program_fail(sim->program, format, args);
}

static void
fail_in_net(const char *problem)
{
    mailsim_fail(current, "%s", problem);
}

void
mailsim_tell(const struct mailsim *sim, const struct mailsim_conn *conn,
    const char *format, ...)
{
    if (!sim->program->verbose) {
        return;
    }
    va_list args;
    va_start(args, format);
    printf("%6u  ", (unsigned)sim->now);
    if (conn != NULL) {
        printf("connection %u ", mailsim_number(sim, conn));
    }
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

/* ---- moving bytes and mail ----------------------------------------------- */

/* Mail that was posted before all of these bytes were said is read first. */
static uint64_t
mark_of(const struct mailsim_conn *conn, size_t bytes)
{
    uint32_t i = conn->fed_count;
    while (
        i + 1 < conn->asked_count && conn->asked[i].end < conn->fed + bytes) {
        i++;
    }
    return conn->asked[i].mark;
}

/* Returns the bytes that were fed. */
static size_t
feed(struct mailsim *sim, struct mailsim_conn *conn, size_t bytes)
{
    bytes = bytes < conn->out.len ? bytes : conn->out.len;
    if (conn->peer->session == NULL || bytes == 0) {
        return 0;
    }
    uint64_t mark =
        random_chance(&sim->random, 30) ? UINT64_MAX : mark_of(conn, bytes);
    size_t fed = fake_feed_said(conn->peer, conn->out.bytes, bytes, mark);
    memmove(conn->out.bytes, conn->out.bytes + fed, conn->out.len - fed);
    conn->out.len -= fed;
    conn->fed += fed;
    while (conn->fed_count < conn->asked_count &&
           conn->asked[conn->fed_count].end <= conn->fed) {
        conn->fed_count++;
    }
    mailsim_tell(sim, conn, "is read from, %zu of %zu", fed, bytes);
    return fed;
}

static bool
end_input_if_due(struct mailsim *sim, struct mailsim_conn *conn)
{
    if (!conn->half_closes || conn->half_closed || conn->out.len > 0 ||
        conn->peer->session == NULL) {
        return false;
    }
    conn->half_closed = true;
    mailsim_tell(sim, conn, "ends its input");
    fake_end_input(conn->peer);
    return true;
}

/* Returns the bytes that were taken. */
static size_t
take(struct mailsim *sim, struct mailsim_conn *conn, size_t bytes)
{
    bool was_open = conn->peer->session != NULL;
    size_t taken = fake_take(conn->peer, bytes);
    if (sim->deprived) {
        return taken;
    }
    mailsim_read(sim, conn);
    if (was_open && conn->peer->session == NULL &&
        conn->peer->end == SESSION_FINISHED && !conn->reader.told) {
        mailsim_tell(sim, conn, "has come to its end");
        mailsim_check_answered(sim, conn);
    }
    return taken;
}

static void
drop(struct mailsim *sim, struct mailsim_conn *conn)
{
    mailsim_tell(sim, conn, "is lost");
    conn->dropped = true;
    fake_drop(conn->peer);
}

static void
move_mail(struct mailsim *sim)
{
    uint32_t worker = random_below(&sim->random, sim->net.workers);
    if (worker == sim->lazy_worker && random_chance(&sim->random, 85)) {
        return;
    }
    uint32_t bags = random_between(&sim->random, 1, 4);
    for (uint32_t i = 0; i < bags && fake_mail_step(&sim->net, worker); i++) {
        mailsim_tell(sim, NULL, "worker %u reads mail", worker);
    }
}

static void
end_turn(struct mailsim *sim)
{
    uint32_t worker = random_below(&sim->random, sim->net.workers);
    if (worker != sim->lazy_worker || random_chance(&sim->random, 15)) {
        mailsim_tell(sim, NULL, "worker %u ends a turn", worker);
        fake_mail_end_turn(&sim->net, worker);
    }
}

/* ---- steps --------------------------------------------------------------- */

static void
talk(struct mailsim *sim, struct mailsim_conn *conn)
{
    if (mailsim_can_say(sim, conn)) {
        mailsim_say(sim, conn);
    }
    if (random_chance(&sim->random, 1) &&
        random_chance(&sim->random, 100 - sim->quiet_percent)) {
        drop(sim, conn);
    }
}

static void
step(struct mailsim *sim)
{
    struct random *random = &sim->random;
    if (random_chance(random, sim->mail_percent)) {
        if (random_chance(random, 60)) {
            move_mail(sim);
        } else {
            end_turn(sim);
        }
        return;
    }
    uint32_t client = random_below(random, MAILSIM_CLIENTS);
    struct mailsim_conn *conn = sim->current[client] == 0
                                    ? NULL
                                    : &sim->conns[sim->current[client] - 1];
    if (conn == NULL || conn->peer->session == NULL) {
        mailsim_connect(sim, client);
        return;
    }
    uint32_t kind = random_below(random, 100);
    if (kind < 40) {
        talk(sim, conn);
    } else if (kind < 60) {
        (void)feed(sim, conn, SIZE_MAX);
    } else if (kind < 70) {
        (void)feed(sim, conn, random_between(random, 1, 100));
    } else if (kind < 80) {
        (void)take(sim, conn, random_below(random, 400));
    } else if (kind < 95) {
        (void)take(sim, conn, SIZE_MAX);
    } else if (kind < 97) {
        (void)end_input_if_due(sim, conn);
    } else if (kind < 98) {
        fake_advance(&sim->net, random_below(random, 500));
    }
}

/* ---- calm ---------------------------------------------------------------- */

/* Everything that was said is processed, everything that was to be said is
 * delivered. */
static void
settle(struct mailsim *sim)
{
    int idle = 0; /* in one round only mail may have moved */
    for (int round = 0; idle < 2 && round < 2000; round++) {
        bool moved = false;
        for (uint32_t i = 0; i < sim->conn_count; i++) {
            struct mailsim_conn *conn = &sim->conns[i];
            moved = feed(sim, conn, SIZE_MAX) > 0 || moved;
            moved = end_input_if_due(sim, conn) || moved;
            mailsim_check(sim);
        }
        fake_mail_settle(&sim->net);
        mailsim_check(sim);
        for (uint32_t i = 0; i < sim->conn_count; i++) {
            struct mailsim_conn *conn = &sim->conns[i];
            if (conn->peer->session != NULL) {
                moved = take(sim, conn, SIZE_MAX) > 0 || moved;
                mailsim_check(sim);
            }
        }
        idle = moved ? 0 : idle + 1;
    }
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        const struct mailsim_conn *conn = &sim->conns[i];
        if (conn->peer->session != NULL && conn->out.len > 0) {
            mailsim_fail(sim, "connection %u is never read from", i);
        }
    }
}

static void
calm(struct mailsim *sim)
{
    mailsim_tell(sim, NULL, "calm");
    settle(sim);
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        if (mailsim_can_say(sim, &sim->conns[i])) {
            mailsim_say_ping(sim, &sim->conns[i]);
        }
    }
    settle(sim);
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        if (sim->conns[i].closed == 0) {
            mailsim_check_answered(sim, &sim->conns[i]);
        }
    }
    mailsim_check_calm(sim);
}

/* Nobody disturbs them: all bounds are exact. */
static void
publish_undisturbed(struct mailsim *sim)
{
    mailsim_tell(sim, NULL, "undisturbed");
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        if (mailsim_can_say(sim, &sim->conns[i])) {
            mailsim_say_publishes(sim, &sim->conns[i]);
        }
    }
    calm(sim);
}

/* ---- one world ----------------------------------------------------------- */

static void
choose_pace(struct mailsim *sim)
{
    static const uint32_t mail[] = {6, 20, 50};
    struct random *random = &sim->random;
    sim->mail_percent = mail[random_below(random, 3)];
    sim->lazy_worker = random_below(random, FAKE_WORKERS_MAX * 2);
    sim->quiet_percent = random_chance(random, 40) ? 100 : 20;
}

static void
epoch(struct mailsim *sim)
{
    mailsim_tell(sim, NULL, "epoch");
    choose_pace(sim);
    for (int i = 0; i < STEPS; i++) {
        step(sim);
        mailsim_check(sim);
    }
}

static void
drop_all(struct mailsim *sim)
{
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        drop(sim, &sim->conns[i]);
    }
}

/* An epoch in which memory is out now and then. Whatever that does to those who
 * are connected then, nothing of it may be left for those who come later. */
static void
live_without_memory(struct mailsim *sim)
{
    struct random *random = &sim->random;
    mailsim_tell(sim, NULL, "without memory");
    choose_pace(sim);
    sim->deprived = true;
    for (int i = 0; i < STEPS; i++) {
        if (i == 0 || random_chance(random, 15)) {
            allocator.countdown =
                random_chance(random, 50) ? random_between(random, 1, 20) : 0;
            allocator.and_all_after = random_chance(random, 30);
        }
        step(sim);
        mailsim_check(sim);
    }
    allocator.countdown = 0;
    drop_all(sim);
    fake_mail_settle(&sim->net);
    fake_check_exchanges(&sim->net);
    mailsim_check(sim);
    for (uint32_t i = 0; i < sim->message_count; i++) {
        sim->messages[i].given_up = true;
    }
    sim->calm = ++sim->now;
    sim->deprived = false;
}

static void
finish(struct mailsim *sim)
{
    uint32_t kind = random_below(&sim->random, 4);
    sim->shutting_down = kind == 0;
    if (kind == 0) {
        mailsim_tell(sim, NULL, "shuts down");
        fake_shut_down(&sim->net, 7);
    }
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        struct mailsim_conn *conn = &sim->conns[i];
        if (kind == 1 && mailsim_can_say(sim, conn)) {
            mailsim_half_close(sim, conn);
        }
    }
    if (kind == 3) {
        return; /* they are dropped, whatever is on its way */
    }
    settle(sim);
    fake_advance(&sim->net, sim->net.options.half_close_linger_ms + 1);
    settle(sim);
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        const struct mailsim_conn *conn = &sim->conns[i];
        if ((kind == 0 || conn->reaches_end) && conn->peer->session != NULL) {
            mailsim_fail(sim, "connection %u does not come to an end", i);
        }
    }
}

static void
init(struct mailsim *sim)
{
    static const uint64_t budgets[] = {3000, 6000, 20000};
    uint64_t seed = sim->program->seed;
    sim->random.state = seed * 1000003;
    sim->ample = random_chance(&sim->random, 50);
    struct core_options options = fake_options();
    options.workers = random_between(&sim->random, 2, FAKE_WORKERS_MAX);
    options.max_sessions = 1000;
    options.session_memory_ms = UINT32_MAX;
    if (!sim->ample) {
        options.max_output_bytes = budgets[random_below(&sim->random, 3)];
    }
    fake_net_init(&sim->net, &options, seed, allocator_guard);
    sim->net.fail = fail_in_net;
    fake_mail_hold(&sim->net);
    bool congested = random_chance(&sim->random, 30);
    for (uint32_t i = 0; congested && i < options.workers; i++) {
        sim->net.cores[i]->exchange->congested_bytes =
            random_between(&sim->random, 1000, 20000);
    }
    for (uint32_t i = 0; i < MAILSIM_IDENTITIES; i++) {
        sim->identities[i].known = i < MAILSIM_IDENTITIES / 2;
        memset(sim->identities[i].id, (int)i + 1, BROKER_SESSION_BYTES);
    }
    sim->conns = calloc(MAILSIM_CONNS, sizeof *sim->conns);
    sim->messages = calloc(MAILSIM_MESSAGES, sizeof *sim->messages);
    sim->subscriptions =
        calloc(MAILSIM_SUBSCRIPTIONS, sizeof *sim->subscriptions);
}

static void
fini(struct mailsim *sim)
{
    fake_net_fini(&sim->net);
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        say_fini(&sim->conns[i].out);
    }
    for (uint32_t i = 0; i < sim->message_count; i++) {
        free(sim->messages[i].frame);
    }
    free(sim->conns);
    free(sim->messages);
    free(sim->subscriptions);
}

static uint64_t
run(const struct program *program)
{
    struct mailsim sim = {.program = program};
    int64_t live = allocator.live;
    current = &sim;
    init(&sim);
    if (random_chance(&sim.random, 20)) {
        live_without_memory(&sim);
    }
    for (int i = 0; i < EPOCHS; i++) {
        epoch(&sim);
        if (random_chance(&sim.random, 70)) {
            calm(&sim);
            publish_undisturbed(&sim);
        }
    }
    finish(&sim);
    fini(&sim);
    if (allocator.live != live) {
        mailsim_fail(&sim, "%lld allocations are left",
            (long long)(allocator.live - live));
    }
    return sim.net.digest;
}

int
main(int argc, char **argv)
{
    struct program program = {.name = "simulate-mail", .run = run};
    return program_main(&program, argc, argv);
}
