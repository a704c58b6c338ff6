/* SPDX-License-Identifier: MIT
 *
 * A life of the local store beside its model; see world.h. */
#include "world_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
world_problem(struct world *world, const char *format, ...)
{
    char *problem = world->report->problem;
    if (problem[0] == 0) {
        va_list args;
        va_start(args, format);
        vsnprintf(problem, sizeof world->report->problem, format, args);
        va_end(args);
    }
}

bool
world_is_bad(const struct world *world)
{
    return world->report->problem[0] != 0;
}

bool
world_is_off(const struct world *world)
{
    return world->base_off;
}

static void
say(const struct world *world, const char *what, uint64_t a, uint64_t b)
{
    if (world->options->verbose) {
        fprintf(stderr, "  %s %" PRIu64 " %" PRIu64 "\n", what, a, b);
    }
}

/* ---- answers ------------------------------------------------------------- */

static void
drop_op(struct world *world)
{
    free(world->ops[0]);
    world->op_count--;
    memmove(world->ops, world->ops + 1, world->op_count * sizeof world->ops[0]);
}

static bool
is_allowed(
    struct world *world, const struct model_op *op, enum store_status expected)
{
    enum store_status status = op->result.status;
    if (status == expected) {
        return true;
    }
    if (world->faulty && (status == STORE_NO_SPACE || status == STORE_FAILED)) {
        return true;
    }
    if (status == STORE_UNSURE) {
        return expected != STORE_OK && model_may_be_unsure(&world->state, op);
    }
    if (status == STORE_DUPLICATE) {
        return expected != STORE_OK && model_may_forget(&world->state, op);
    }
    /* Of two refusals of a number, either may be told again. */
    return op->is_retry && status != STORE_OK && expected != STORE_OK &&
           expected != STORE_DUPLICATE;
}

static void
check_seqs(struct world *world, const struct model_op *op)
{
    const struct model_stream *stream = &world->state.streams[op->stream];
    const struct store_result *result = &op->result;
    if (op->kind == MODEL_APPEND && result->status == STORE_OK &&
        (result->first_seq <= stream->last_seq ||
            result->last_seq != result->first_seq + op->count - 1)) {
        world_problem(world,
            "sequences %" PRIu64 " to %" PRIu64 " of %" PRIu32
            " records behind %" PRIu64,
            result->first_seq, result->last_seq, op->count, stream->last_seq);
    }
    if (op->kind == MODEL_APPEND && result->status == STORE_CONFLICT &&
        !op->is_retry && result->last_seq != stream->last_seq) {
        world_problem(world, "a conflict tells %" PRIu64 ", not %" PRIu64,
            result->last_seq, stream->last_seq);
    }
}

/* Answers that came, in the order of the calls. */
void
world_settle_answers(struct world *world)
{
    while (world->op_count != 0 && world->ops[0]->answered && !world->failed) {
        const struct model_op *op = world->ops[0];
        enum store_status status = op->result.status;
        enum store_status expected = model_judge(&world->state, op);
        if (!is_allowed(world, op, expected)) {
            world_problem(world,
                "operation %d of stream %u, id %" PRIu64 " publish %" PRIu32
                "%s: status %d, expected %d",
                (int)op->kind, op->stream, op->id, op->publish,
                op->is_retry ? " again" : "", (int)status, (int)expected);
            return;
        }
        if (status == STORE_FAILED) {
            world->failed = true; /* what is left is not known */
            world->report->failed++;
            return;
        }
        check_seqs(world, op);
        model_apply(&world->state, op, status);
        world->report->answered++;
        world->report->duplicates += status == STORE_DUPLICATE ? 1 : 0;
        world->report->conflicts += status == STORE_CONFLICT ? 1 : 0;
        world->report->no_space += status == STORE_NO_SPACE ? 1 : 0;
        drop_op(world);
    }
    for (unsigned i = 0; world->failed && i < world->op_count; i++) {
        enum store_status status = world->ops[i]->result.status;
        if (world->ops[i]->answered && status == STORE_OK) {
            world_problem(world, "it goes on after it has failed");
        }
    }
}

/* ---- life ---------------------------------------------------------------- */

static void
poll_ports(struct world *world)
{
    for (unsigned i = 0; i < WORLD_PORTS; i++) {
        store_poll(world->ports[i]);
    }
    world_settle_answers(world);
}

void
world_work(struct world *world, unsigned steps)
{
    for (unsigned i = 0; i < WORLD_PORTS; i++) {
        store_tick(world->ports[i]);
    }
    while (steps-- != 0 && !world_is_off(world)) {
        if (!store_local_step(world->store)) {
            break;
        }
    }
    if (!world_is_off(world)) {
        poll_ports(world);
    }
}

void
world_rest(struct world *world)
{
    for (unsigned i = 0; i < 10000; i++) {
        bool more = world->op_count != 0 && !world->failed;
        if (world_is_off(world) || world_is_bad(world)) {
            return;
        }
        world_work(world, 1);
        if (!more && !store_local_step(world->store)) {
            return;
        }
    }
    world_problem(world, "%u operations are not answered", world->op_count);
}

static void
no_wake(void *arg)
{
    (void)arg;
}

static uint64_t
world_now(void *arg)
{
    return ((struct world *)arg)->now_ms;
}

static void
power_went(void *arg)
{
    struct world *world = arg;
    if (!world->base_off) {
        world->base_off = true;
        world->report->cuts_inside++;
        if (!sim_files_is_off(world->files)) {
            sim_files_power_off(world->files);
        } else {
            sim_base_power_off(world->base);
        }
    }
}

static void
log_line(
    void *arg, enum store_log_level level, const char *event, const char *text)
{
    const struct world *world = arg;
    if (world->options->verbose) {
        fprintf(stderr, "  log %d %s: %s\n", (int)level, event, text);
    }
}

/* False: it could not be opened. */
static bool
open_store(struct world *world)
{
    char why[200] = "";
    const struct store_local_options options = {.directory = "none",
        .journal_bytes = world->journal_bytes,
        .memory_bytes = world->memory_bytes,
        .reserve_bytes = 1,
        .files = world->files,
        .base = world->base,
        .now_ms = world_now,
        .now_arg = world,
        .manual = true,
        .log = log_line,
        .log_arg = world};
    const struct store_port_hooks hooks = {.wake = no_wake, .room = no_wake};
    world->store = store_local_open(&options, why, sizeof why);
    if (world->store == NULL) {
        say(world, why, 0, 0);
        if (!world->faulty && !world_is_off(world)) {
            world_problem(world, "it does not open: %s", why);
        }
        world->report->unopened++;
        return false;
    }
    for (unsigned i = 0; i < WORLD_PORTS; i++) {
        world->ports[i] = store_port_open(world->store, &hooks);
        if (world->ports[i] == NULL) {
            abort();
        }
    }
    return true;
}

static void
close_store(struct world *world)
{
    struct store_stats stats;
    store_get_stats(world->store, &stats);
    world->report->checkpoints += stats.checkpoints;
    for (unsigned i = 0; i < WORLD_PORTS; i++) {
        store_port_close(world->ports[i]);
    }
    store_close(world->store);
    world->store = NULL;
}

/* ---- after the end ------------------------------------------------------- */

/* Which of the operations that were not answered are there. The state becomes
 * what is there; -1: it is none of those that it may be. */
static int
find_state(struct world *world, const struct model_state *observed, bool all)
{
    struct model_state *candidate = malloc(sizeof *candidate);
    char why[200] = "";
    char first[200] = "";
    int found = -1;
    if (candidate == NULL) {
        abort();
    }
    *candidate = world->state;
    for (unsigned k = 0; k <= world->op_count; k++) {
        if ((k == world->op_count || !all) &&
            model_equal(observed, candidate, why, sizeof why)) {
            found = (int)k;
            break;
        }
        if (k == 0 && !all) {
            strcpy(first, why);
        }
        if (k < world->op_count) {
            struct model_op op = *world->ops[k];
            op.answered = false; /* nobody may have seen it */
            model_apply(candidate, &op, model_judge(candidate, &op));
        }
    }
    if (found < 0) {
        world_problem(world,
            "%u operations were in flight; without them: %s; with all: %s",
            world->op_count, first, why);
    } else {
        world->state = *candidate;
    }
    free(candidate);
    return found;
}

/* What the store told is known from now on. */
static void
adopt(struct world *world, const struct model_state *observed)
{
    for (unsigned i = 0; i < MODEL_STREAMS; i++) {
        struct model_stream *stream = &world->state.streams[i];
        const struct model_stream *seen = &observed->streams[i];
        if (!stream->exists) {
            continue;
        }
        if (seen->last_seq < stream->last_seq) {
            world_problem(world,
                "stream %u: the last sequence is %" PRIu64 ", it was %" PRIu64,
                i, seen->last_seq, stream->last_seq);
        }
        memcpy(stream, seen, sizeof *stream);
    }
}

/* Publishers that have had no answer try again, in order. */
static void
publish_again(struct world *world, struct model_op **ops, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (ops[i]->kind == MODEL_APPEND && ops[i]->publisher >= 0 &&
            !world_is_bad(world) && !world_is_off(world)) {
            world_ask_again(world, ops[i]);
        }
        free(ops[i]);
    }
}

/* Compare what is there with what has to be. `all`: nothing may be missing.
 * False: it could not be seen. */
static bool
check_store(struct world *world, bool all)
{
    struct model_state *observed = malloc(sizeof *observed);
    struct model_op *ops[WORLD_OPS];
    struct store_stats stats;
    if (observed == NULL) {
        abort();
    }
    store_get_stats(world->store, &stats);
    if (stats.damaged != 0 && world->faulty) {
        world->named = true; /* it could not be read, and it says so */
        free(observed);
        return false;
    }
    bool seen = world_look(world, observed);
    if (seen) {
        int found = find_state(world, observed, all);
        if (found >= 0) {
            unsigned count = world->op_count;
            say(world, "found of in flight:", (uint64_t)found, count);
            world->report->found += (uint64_t)found;
            world->report->lost += count - (unsigned)found;
            adopt(world, observed);
            model_restart(&world->state);
            memcpy(ops, world->ops, count * sizeof ops[0]);
            world->op_count = 0;
            world->failed = false;
            publish_again(world, ops, count);
        }
    }
    store_get_stats(world->store, &stats);
    if (stats.damaged != 0 && !world->faulty) {
        world_problem(world, "it tells of damage, and there is none");
    }
    free(observed);
    return seen;
}

static void
live(struct world *world, unsigned steps)
{
    bool slow = random_chance(&world->random, 50);
    world_ask_streams(world);
    for (unsigned i = 0; i < steps; i++) {
        if (world_is_off(world) || world_is_bad(world)) {
            return;
        }
        world_ask(world);
        world->now_ms += random_below(&world->random, 200);
        if (random_chance(&world->random, slow ? 20 : 60)) {
            world_work(world, random_between(&world->random, 1, 4));
        }
        if (!world_is_off(world) && random_chance(&world->random, 4)) {
            world_glance(world);
        }
        if (!world_is_off(world) && random_chance(&world->random, 2)) {
            world_rest(world);
        }
    }
}

/* The end of a life; true: all that was asked for must be there. */
static bool
end_life(struct world *world)
{
    uint32_t how = random_below(&world->random, 100);
    if (world_is_off(world)) {
        world->report->cuts++;
    } else if (how < 60) {
        world->base_off = true;
        sim_files_power_off(world->files);
        sim_base_power_off(world->base);
        world->report->cuts++;
    } else if (how < 80 || world->faulty) {
        world->base_off = true;
        sim_files_kill(world->files);
        sim_base_power_off(world->base);
        world->report->kills++;
    } else {
        world->report->closes++;
    }
    if (world->store != NULL) {
        close_store(world);
    }
    sim_files_fault(world->files, NULL);
    sim_base_fault(world->base, NULL);
    sim_files_cut_at(world->files, 0, NULL, NULL);
    sim_base_cut_at(world->base, 0, NULL, NULL);
    bool off = world_is_off(world);
    if (off) {
        sim_files_power_on(world->files);
        sim_base_power_on(world->base);
        world->base_off = false;
    }
    return !off;
}

static void
begin_life(struct world *world, unsigned life)
{
    const struct world_options *options = world->options;
    world->faulty = options->faults && life == 1;
    if (options->faults && life == 1) {
        world->report->file_calls = sim_files_count(world->files, SIM_ALL);
        world->report->base_calls =
            sim_base_count(world->base, SIM_BASE_BIT(SIM_BASE_CALLS) - 1);
    }
    if (world->faulty) {
        sim_files_fault(world->files, &options->file_fault);
        sim_base_fault(world->base, &options->base_fault);
    } else if (!options->faults && random_chance(&world->random, 60)) {
        sim_files_cut_at(world->files, random_between(&world->random, 1, 60),
            power_went, world);
        if (random_chance(&world->random, 50)) {
            sim_base_cut_at(world->base, random_between(&world->random, 1, 4),
                power_went, world);
        }
    }
}

static void
run_lives(struct world *world)
{
    unsigned lives = world->options->lives;
    lives = lives != 0 ? lives : random_between(&world->random, 3, 8);
    bool all = true;
    for (unsigned life = 0;
         life <= lives && !world_is_bad(world) && !world->named; life++) {
        unsigned steps = world->options->steps;
        steps = steps != 0 ? steps : random_between(&world->random, 5, 80);
        if (life < lives) {
            begin_life(world, life);
        } else {
            world->faulty = false; /* the last one is to look */
        }
        say(world, "life", life, steps);
        if (open_store(world)) {
            bool seen = check_store(world, all);
            if (seen && !world_is_bad(world) && !world_is_off(world)) {
                live(world, life < lives ? steps : 0);
            }
        }
        all = end_life(world) && (all || world->op_count == 0);
        if (world->options->faults && life == 1) {
            world->report->file_calls = sim_files_count(world->files, SIM_ALL) -
                                        world->report->file_calls;
            world->report->base_calls =
                sim_base_count(world->base, SIM_BASE_BIT(SIM_BASE_CALLS) - 1) -
                world->report->base_calls;
        }
    }
}

bool
world_run(const struct world_options *options, struct world_report *report)
{
    struct world *world = calloc(1, sizeof *world);
    if (world == NULL) {
        abort();
    }
    memset(report, 0, sizeof *report);
    world->options = options;
    world->report = report;
    world->random.state = options->seed;
    world->files = sim_files_new(options->seed);
    world->base = sim_base_new(options->seed);
    world->now_ms = UINT64_C(1795392000000);
    world->next_id = 1;
    world->journal_bytes = UINT64_C(8192) << random_below(&world->random, 5);
    world->memory_bytes = UINT64_C(8192) << random_below(&world->random, 5);
    if (options->faults) { /* as many checkpoints as can be */
        world->journal_bytes = 8192;
        world->memory_bytes = 8192;
    }
    for (unsigned i = 0; i < MODEL_PUBLISHERS; i++) {
        world->publishers[i].next =
            random_chance(&world->random, 50) ? 0 : UINT32_MAX - 20;
    }
    run_lives(world);
    if (world->store != NULL) {
        close_store(world);
    }
    while (world->op_count != 0) {
        drop_op(world);
    }
    world->files->free(world->files);
    world->base->close(world->base);
    free(world);
    return report->problem[0] == 0;
}
