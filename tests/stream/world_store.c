/* SPDX-License-Identifier: MIT
 *
 * What the store does in a random life of a consumer, and what is left of it
 * after a crash; see consumer_model.h. */
#include "consumer_model.h"

#include <string.h>

/* ---- commits ------------------------------------------------------------- */

/* Take some dead letters, and commit them with the cursor. */
void
world_commit(struct world *world)
{
    if (world->in_flight_count == WORLD_COMMITS) {
        return;
    }
    struct commit *to = &world->in_flight[world->in_flight_count++];
    uint32_t most = random_below(&world->random, 4), deliveries;
    uint64_t sequence;
    to->stored_count = 0;
    uint64_t clock_ms = most > 0 ? model_clock(world) : 0;
    while (
        to->stored_count < most && consumer_next_dead(world->consumer,
                                       world->now_ms, &sequence, &deliveries)) {
        struct message *message = &world->model.messages[sequence];
        EXPECT(world, message->state == MESSAGE_DEAD);
        EXPECT(world, message->deliveries == deliveries);
        EXPECT(world, !world->dead_failed || world->dead_due_ms <= clock_ms);
        message->state = MESSAGE_STORING;
        to->stored[to->stored_count++] = sequence;
    }
    size_t size = consumer_save_size(world->consumer);
    EXPECT(world, size <= sizeof to->bytes);
    to->len = consumer_save(
        world->consumer, to->stored, to->stored_count, to->bytes, size);
    EXPECT(world, to->len <= size && !consumer_is_dirty(world->consumer));
    to->model = world->model;
    for (uint32_t i = 0; i < to->stored_count; i++) {
        to->model.messages[to->stored[i]].state = MESSAGE_ENDED;
        to->model.count[CONSUMER_DEAD_LETTERED]++;
    }
}

/* The first commit in flight is durable, whether the consumer knows or not. */
static void
make_durable(struct world *world)
{
    const struct commit *done = &world->in_flight[0];
    for (uint32_t i = 0; i < done->stored_count; i++) {
        world->ended[done->stored[i]]++;
    }
    if (world->durable_count == WORLD_SNAPSHOTS) {
        memmove(&world->durable[0], &world->durable[1],
            (WORLD_SNAPSHOTS - 1) * sizeof world->durable[0]);
        world->durable_count--;
    }
    world->durable[world->durable_count++] = *done;
}

static void
drop_first(struct world *world)
{
    world->in_flight_count--;
    memmove(&world->in_flight[0], &world->in_flight[1],
        world->in_flight_count * sizeof world->in_flight[0]);
}

void
world_committed(struct world *world, bool good)
{
    if (world->in_flight_count == 0) {
        return;
    }
    const struct commit *done = &world->in_flight[0];
    uint64_t clock_ms =
        good || done->stored_count == 0 ? 0 : model_clock(world);
    for (uint32_t i = 0; i < done->stored_count; i++) {
        uint64_t sequence = done->stored[i];
        struct message *message = &world->model.messages[sequence];
        bool storing = message->state == MESSAGE_STORING;
        if (good) {
            consumer_dead_done(world->consumer, sequence);
            world->dead_failed = false;
            message->state = storing ? MESSAGE_ENDED : message->state;
            world->model.count[CONSUMER_DEAD_LETTERED] += storing;
        } else {
            consumer_dead_failed(world->consumer, sequence, world->now_ms);
            world->model.count[CONSUMER_DEAD_FAILURES] += storing;
            if (storing) {
                message->state = MESSAGE_DEAD;
                world->dead_failed = true;
                world->dead_due_ms = clock_ms + CONSUMER_DEAD_RETRY_MS;
            }
        }
    }
    if (good) {
        make_durable(world);
    } else {
        consumer_set_dirty(world->consumer);
    }
    drop_first(world);
}

/* ---- ends and beginnings ------------------------------------------------- */

void
world_start(struct world *world)
{
    world->consumer = consumer_new(&world->settings);
    EXPECT(world, world->consumer != NULL);
    world->model = (struct model){.next = world->settings.start};
    world->clock_ms = 0;
    world->clock_runs = false;
    world->last_now_ms = 0;
    world->dead_failed = false;
    world->peer_count = 0;
}

/* Whatever was unfinished in the cursor is to be delivered again, or dead. */
static void
load(struct world *world, const struct commit *from)
{
    EXPECT(world, consumer_load(world->consumer, from->bytes, from->len) ==
                      CONSUMER_LOADED);
    world->model = from->model;
    for (uint64_t i = 1; i <= world->last_seq; i++) {
        struct message *message = &world->model.messages[i];
        message->holder = 0;
        switch (message->state) {
        case MESSAGE_OUTSTANDING:
        case MESSAGE_WAITING:
        case MESSAGE_FETCHING:
            model_come_back(world, i, 0);
            break;
        case MESSAGE_DEAD:
        case MESSAGE_STORING:
            message->state = MESSAGE_DEAD;
            break;
        default:
            break;
        }
    }
}

void
world_crash(struct world *world)
{
    consumer_free(world->consumer);
    uint32_t reached = random_below(&world->random, world->in_flight_count + 1);
    while (reached-- > 0) {
        make_durable(world);
        drop_first(world);
    }
    world->in_flight_count = 0;
    world_start(world);
    if (world->durable_count > 0) {
        world->crashes++;
        load(world,
            &world
                 ->durable[random_below(&world->random, world->durable_count)]);
    }
}
