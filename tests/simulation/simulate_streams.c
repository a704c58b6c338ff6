/* SPDX-License-Identifier: MIT
 *
 * The lives of the broker and its store; see streamsim.h. */
#include "streamsim.h"

#include "admin.h"
#include "local.h"
#include "session.h"
#include "sim_base.h"
#include "sim_files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS      250
#define STEPS_LAST 400 /* until all must be quiet */

void
world_say(const struct world *world, const char *format, ...)
{
    va_list args;
    if (world->program->verbose) {
        va_start(args, format);
        vprintf(format, args);
        va_end(args);
        putchar('\n');
    }
}

void
world_fail(const struct world *world, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    program_fail(world->program, format, args);
}

static void
log_line(
    void *arg, enum store_log_level level, const char *event, const char *text)
{
    const struct world *world = arg;
    (void)level;
    world_say(world, "store: %s: %s", event, text);
}

static uint64_t
wall_ms(void *arg)
{
    const struct world *world = arg;
    return FAKE_WALL_MS + world->net.now_ms;
}

/* ---- the broker's life --------------------------------------------------- */

static void
start(struct world *world)
{
    char why[256];
    struct store_local_options local = {.directory = "/none",
        .journal_bytes = 64 * 1024,
        .memory_bytes = 256 * 1024,
        .reserve_bytes = 1,
        .files = world->files,
        .base = world->base,
        .now_ms = wall_ms,
        .now_arg = world,
        .manual = true,
        .log = log_line,
        .log_arg = world};
    world->store = store_local_open(&local, why, sizeof why);
    if (world->store == NULL) {
        world_fail(world, "the store does not open: %s", why);
    }
    struct core_options options = fake_options();
    options.workers =
        world->program->workers == 1 ? 0 : world->program->workers;
    uint64_t now_ms = world->net.now_ms;
    fake_net_init_store(
        &world->net, &options, world->store, random_next(&world->random), NULL);
    world->net.now_ms = now_ms;
    for (uint32_t i = 0; i < world->net.workers; i++) {
        world->net.cores[i]->hooks.ask = admin_ask;
    }
    world->lives++;
    world->failed = false;
    for (int i = 0; !core_is_ready(world->net.core); i++) {
        if (i == STEPS_LAST) {
            world_fail(world, "the broker is never ready");
        }
        (void)store_local_step(world->store);
        fake_mail_settle(&world->net);
    }
}

static void
end(struct world *world)
{
    world->digest = world->digest * 31 + world->net.digest;
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        world->publishers[i].peer = NULL;
    }
    for (uint32_t i = 0; i < READERS; i++) {
        world->readers[i].peer = NULL;
    }
    for (uint32_t i = 0; i < MEMBERS; i++) {
        world->members[i].peer = NULL;
    }
    world->undertaker.peer = NULL;
    world->resetter = NULL;
    world->admin = NULL;
    world->answers = 0;
}

/* Everything that the process has is gone, and of the files what was not
 * synced may be. */
static void
cut_power(struct world *world)
{
    fake_net_crash(&world->net);
    sim_files_fault(world->files, NULL);
    sim_base_fault(world->base, NULL);
    sim_files_power_off(world->files);
    sim_base_power_off(world->base);
    end(world);
    fake_net_fini(&world->net);
    store_close(world->store);
    sim_files_power_on(world->files);
    sim_base_power_on(world->base);
    program_saw(world->program, "the power is cut");
    world_say(world, "the power is cut");
    start(world);
}

static void
restart(struct world *world)
{
    end(world);
    fake_net_fini(&world->net);
    store_close(world->store);
    sim_files_fault(world->files, NULL);
    sim_base_fault(world->base, NULL);
    program_saw(world->program, "the broker is restarted");
    world_say(world, "the broker is restarted");
    start(world);
}

static void
turn(struct world *world, uint32_t most)
{
    for (uint32_t i = random_below(&world->random, most + 1); i > 0; i--) {
        (void)store_local_step(world->store);
    }
    fake_mail_settle(&world->net);
}

/* ---- the stream ---------------------------------------------------------- */

#define STREAMS 2u

/* Two streams, then the consumers, one after the other. */
static void
ask_next(struct world *world, struct say *say)
{
    static const char *const streams[STREAMS] = {"{\"name\":\"" STREAM_NAME
                                                 "\",\"topics\":[\"s/#\"]}",
        "{\"name\":\"" DEAD_NAME "\",\"topics\":[\"dead\"]}"};
    uint32_t i = world->answers;
    const char *text = i < STREAMS ? streams[i] : member_consumer(i - STREAMS);
    struct say_message ask = {.id = i + 1,
        .topic = i < STREAMS ? "$sys/stream/add" : "$sys/consumer/add",
        .reply_to = "inbox",
        .payload = text,
        .payload_bytes = strlen(text)};
    (void)say_message(say, &ask);
    fake_feed_say(world->admin, say, SIZE_MAX);
    say_fini(say);
}

static void
make_stream(struct world *world)
{
    struct say say = {0};
    struct broker_frame frame;
    if (world->admin == NULL) {
        world->admin = fake_connect(&world->net);
        say_hello(&say);
        say_subscribe(&say, 1, "inbox");
        ask_next(world, &say);
    }
    fake_take_all(world->admin);
    while (fake_next(world->admin, &frame)) {
        if (frame.type == BROKER_FRAME_ERROR) {
            world_fail(world, "the stream is refused");
        }
        if (frame.type == BROKER_FRAME_PUBLISH) {
            struct say more = {0};
            world->answers++;
            world->stream_is_made = world->answers == STREAMS + CONSUMERS;
            if (world->stream_is_made) {
                return;
            }
            ask_next(world, &more);
        }
    }
}

/* ---- faults -------------------------------------------------------------- */

static void
break_something(struct world *world)
{
    struct random *random = &world->random;
    uint64_t first = 1 + random_below(random, 8);
    world_say(world, "faults change");
    switch (random_below(random, 4)) {
    case 0:
        sim_files_fault(
            world->files, &(struct sim_fault){.calls = SIM_BIT(SIM_WRITE),
                              .first = first,
                              .count = 1 + random_below(random, 3),
                              .error = ENOSPC});
        break;
    case 1:
        sim_files_fault(world->files,
            &(struct sim_fault){
                .calls =
                    SIM_BIT(random_chance(random, 50) ? SIM_SYNC : SIM_WRITE),
                .first = first,
                .count = 1,
                .error = EIO});
        break;
    case 2:
        sim_base_fault(
            world->base, &(struct sim_base_fault){.calls = SIM_BASE_CHANGES,
                             .first = first,
                             .count = 1 + random_below(random, 3),
                             .error = ENOSPC});
        break;
    default:
        sim_files_fault(world->files, NULL);
        sim_base_fault(world->base, NULL);
    }
}

/* ---- a step -------------------------------------------------------------- */

static void
drop_or_connect(struct world *world, struct publisher *publisher)
{
    if (publisher->peer == NULL) {
        publisher_connect(world, publisher);
    } else {
        fake_drop(publisher->peer);
        publisher->peer = NULL;
    }
}

static void
step_publisher(struct world *world)
{
    struct random *random = &world->random;
    struct publisher *publisher =
        &world->publishers[random_below(random, world->publisher_count)];
    if (publisher->peer == NULL || random_chance(random, 4)) {
        drop_or_connect(world, publisher);
        return;
    }
    if (random_chance(random, 50)) {
        publisher_publish(world, publisher);
    }
    if (random_chance(random, 70)) {
        publisher_read(world, publisher);
    }
}

static void
step_reader(struct world *world)
{
    struct stream_reader *reader =
        &world->readers[random_below(&world->random, READERS)];
    if (reader->peer == NULL) {
        reader_connect(world, reader);
    } else if (random_chance(&world->random, 5)) {
        fake_drop(reader->peer);
        reader->peer = NULL;
    } else {
        reader_read(world, reader);
    }
}

static void
step(struct world *world)
{
    struct random *random = &world->random;
    uint32_t what = random_below(random, 100);
    if (!world->stream_is_made) {
        make_stream(world);
    } else if (what < 45) {
        step_publisher(world);
    } else if (what < 60) {
        step_reader(world);
    } else if (what < 84) {
        member_step(world);
    } else if (what < 85 || (what < 87 && world->resetter != NULL)) {
        consumer_reset_step(world);
    } else if (what < 90) {
        (void)fake_advance(&world->net, random_below(random, 400));
    } else if (what < 93) {
        break_something(world);
    } else if (what < 95) {
        cut_power(world);
        return;
    } else if (what < 96 || world->failed) {
        restart(world);
        return;
    }
    turn(world, 6);
}

/* ---- the end ------------------------------------------------------------- */

static void
read_with(struct world *world, struct stream_reader *reader)
{
    if (reader->peer == NULL) {
        reader_connect(world, reader);
    } else {
        reader_read(world, reader);
    }
}

/* Those for later come when it is their time. */
static bool
all_have_come(const struct world *world, uint32_t p)
{
    const struct publisher *publisher = &world->publishers[p];
    bool come[MESSAGES] = {false};
    for (uint64_t sequence = 1; sequence < SEQUENCES; sequence++) {
        if (world->seen[sequence].publisher == p + 1) {
            come[world->seen[sequence].message] = true;
        }
    }
    for (uint32_t i = 0; i < publisher->message_count; i++) {
        const struct message *message = &publisher->messages[i];
        if (message->deliver_at_ms != 0 && message->state == MESSAGE_STORED &&
            !come[i]) {
            return false;
        }
    }
    return true;
}

static bool
all_is_quiet(struct world *world)
{
    for (uint32_t i = 0; i < world->publisher_count; i++) {
        if (world->publishers[i].pending_count > 0 ||
            !all_have_come(world, i)) {
            return false;
        }
    }
    return world->readers[0].at_end && world->undertaker.at_end &&
           members_are_done(world, false);
}

/* Each message of the publisher against where readers saw it. */
static void
check_publisher(struct world *world, uint32_t p)
{
    const struct publisher *publisher = &world->publishers[p];
    uint64_t at[MESSAGES] = {0};
    uint64_t last = 0;
    for (uint64_t sequence = 1; sequence < SEQUENCES; sequence++) {
        if (world->seen[sequence].publisher != p + 1) {
            continue;
        }
        uint32_t i = world->seen[sequence].message;
        if (at[i] != 0) {
            world_fail(world, "message %" PRIu32 " is stored twice", i);
        }
        at[i] = sequence;
    }
    for (uint32_t i = 0; i < publisher->message_count; i++) {
        const struct message *message = &publisher->messages[i];
        if (at[i] != 0 && message->deliver_at_ms == 0) {
            if (at[i] <= last) {
                world_fail(world, "message %" PRIu32 " is out of order", i);
            }
            last = at[i];
        }
        if (message->state == MESSAGE_STORED && at[i] == 0) {
            world_fail(world,
                "message %" PRIu32 " was acknowledged and is "
                "lost",
                i);
        }
        if (message->state == MESSAGE_REFUSED && at[i] != 0) {
            world_fail(world, "message %" PRIu32 " was refused and stored", i);
        }
        if (message->sequence != 0 && message->sequence != at[i]) {
            world_fail(world, "message %" PRIu32 " has another sequence", i);
        }
        if (message->batch != 0 &&
            (at[message->batch - 1] == 0) != (at[i] == 0)) {
            world_fail(world, "a batch is stored in part");
        }
    }
}

/* Everybody is answered, one reader has read everything, and the consumers are
 * done with it. */
static void
finish(struct world *world)
{
    restart(world);
    for (int i = 0; i < STEPS_LAST; i++) {
        (void)fake_advance(&world->net, 50);
        turn(world, 20);
        if (!world->stream_is_made) {
            make_stream(world);
            continue;
        }
        bool answered = true;
        for (uint32_t p = 0; p < world->publisher_count; p++) {
            struct publisher *publisher = &world->publishers[p];
            if (publisher->peer == NULL) {
                publisher_connect(world, publisher);
            }
            publisher_read(world, publisher);
            answered = answered && publisher->pending_count == 0;
        }
        if (answered) {
            read_with(world, &world->readers[0]);
            read_with(world, &world->undertaker);
            members_finish(world);
        }
        if (all_is_quiet(world)) {
            return;
        }
    }
    for (uint32_t i = 0; i < world->publisher_count; i++) {
        check_publisher(world, i);
    }
    (void)members_are_done(world, true);
    world_fail(world, "somebody waits for ever");
}

static uint64_t
run(const struct program *program)
{
    struct world *world = calloc(1, sizeof *world);
    if (world == NULL) {
        abort();
    }
    world->program = program;
    world->random.state = program->seed * 4 + program->workers;
    world->files = sim_files_new(random_next(&world->random));
    world->base = sim_base_new(random_next(&world->random));
    world->publisher_count = 1 + random_below(&world->random, PUBLISHERS);
    for (uint32_t i = 0; i < world->publisher_count; i++) {
        memset(
            world->publishers[i].session, (int)(i + 1), BROKER_SESSION_BYTES);
    }
    start(world);
    for (int i = 0; i < STEPS; i++) {
        step(world);
    }
    finish(world);
    for (uint32_t i = 0; i < world->publisher_count; i++) {
        check_publisher(world, i);
    }
    end(world);
    fake_net_fini(&world->net);
    store_close(world->store);
    world->files->free(world->files);
    world->base->close(world->base);
    uint64_t digest = world->digest;
    free(world);
    return digest;
}

int
main(int argc, char **argv)
{
    static const char *const expected[] = {"publishes are sent again",
        "a retry is told to be a duplicate", "the disk is full",
        "the store failed", "the power is cut", "the broker is restarted",
        "something is delivered again", "something is given back",
        "there are dead letters", "a message for later is stored",
        "a consumer is reset", "up to a message that came again", NULL};
    struct program program = {.name = "simulate-streams",
        .workers_max = FAKE_WORKERS_MAX,
        .run = run,
        .expected = expected};
    return program_main(&program, argc, argv);
}
