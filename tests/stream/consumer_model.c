/* SPDX-License-Identifier: MIT
 *
 * What a consumer should be, by search through all messages; see
 * consumer_model.h. */
#include "consumer_model.h"

#include <criterion/criterion.h>

void
world_expect(const struct world *world, bool condition, const char *file,
    int line, const char *text)
{
    if (!condition) {
        cr_assert_fail("seed %llu, step %u: %s:%d: %s",
            (unsigned long long)world->seed, world->step, file, line, text);
    }
}

uint64_t
model_clock(struct world *world)
{
    if (world->clock_runs && world->now_ms > world->last_now_ms) {
        world->clock_ms += world->now_ms - world->last_now_ms;
    }
    world->clock_runs = true;
    world->last_now_ms = world->now_ms;
    return world->clock_ms;
}

/* ---- searches ------------------------------------------------------------ */

uint32_t
model_count(const struct world *world, enum message_state state)
{
    uint32_t count = 0;
    for (uint64_t i = 1; i <= world->last_seq; i++) {
        count += world->model.messages[i].state == state;
    }
    return count;
}

static bool
is_unfinished(enum message_state state)
{
    return state >= MESSAGE_OUTSTANDING && state <= MESSAGE_STORING;
}

uint32_t
model_unfinished(const struct world *world)
{
    uint32_t count = 0;
    for (uint64_t i = 1; i <= world->last_seq; i++) {
        count += is_unfinished(world->model.messages[i].state);
    }
    return count;
}

uint32_t
model_outstanding(const struct world *world, uint32_t id)
{
    uint32_t count = 0;
    for (uint64_t i = 1; i <= world->last_seq; i++) {
        const struct message *message = &world->model.messages[i];
        count += message->state == MESSAGE_OUTSTANDING && message->holder == id;
    }
    return count;
}

static uint32_t
room_of(const struct world *world, const struct peer *peer)
{
    uint32_t outstanding = model_outstanding(world, peer->id);
    return peer->window > outstanding ? peer->window - outstanding : 0;
}

uint64_t
model_room(const struct world *world)
{
    uint64_t room = 0;
    for (uint32_t i = 0; i < world->peer_count; i++) {
        room += room_of(world, &world->peers[i]);
    }
    return room;
}

bool
model_comes_back_first(const struct world *world)
{
    return world->settings.mode == CONSUMER_ACK_CUMULATIVE &&
           (model_count(world, MESSAGE_WAITING) > 0 ||
               model_count(world, MESSAGE_FETCHING) > 0);
}

uint32_t
model_consumer_room(const struct world *world)
{
    uint64_t room = model_room(world);
    if (world->settings.mode == CONSUMER_ACK_NONE) {
        return room > 0 ? UINT32_MAX : 0;
    }
    if (model_comes_back_first(world)) {
        return 0;
    }
    uint32_t fetching = model_count(world, MESSAGE_FETCHING);
    uint32_t unfinished = model_unfinished(world);
    room = room > fetching ? room - fetching : 0;
    uint32_t left = world->settings.window > unfinished
                        ? world->settings.window - unfinished
                        : 0;
    return room < left ? (uint32_t)room : left;
}

static uint64_t
first_waiting(const struct world *world)
{
    const struct message *messages = world->model.messages;
    uint64_t first = 0;
    for (uint64_t i = 1; i <= world->last_seq; i++) {
        if (messages[i].state == MESSAGE_WAITING &&
            (first == 0 || messages[i].time_ms < messages[first].time_ms)) {
            first = i;
        }
    }
    return first;
}

uint64_t
model_next_redelivery(const struct world *world)
{
    uint64_t first = first_waiting(world);
    bool now = first != 0 &&
               world->model.messages[first].time_ms <= world->clock_ms &&
               model_room(world) > model_count(world, MESSAGE_FETCHING);
    return now ? first : 0;
}

uint64_t
model_due(const struct world *world)
{
    uint64_t due_ms = CONSUMER_NEVER;
    uint64_t waiting = first_waiting(world);
    if (waiting != 0 &&
        world->model.messages[waiting].time_ms <= world->clock_ms) {
        waiting = model_next_redelivery(world);
    }
    for (uint64_t i = 1; i <= world->last_seq; i++) {
        const struct message *message = &world->model.messages[i];
        uint64_t time_ms = message->time_ms;
        if (message->state == MESSAGE_OUTSTANDING &&
            world->settings.ack_deadline_ms != 0) {
            time_ms += world->settings.ack_deadline_ms;
        } else if (message->state == MESSAGE_DEAD) {
            time_ms = world->dead_failed ? world->dead_due_ms : 0;
        } else if (i != waiting) {
            continue;
        }
        due_ms = time_ms < due_ms ? time_ms : due_ms;
    }
    if (due_ms == CONSUMER_NEVER) {
        return CONSUMER_NEVER;
    }
    return world->last_now_ms +
           (due_ms > world->clock_ms ? due_ms - world->clock_ms : 0);
}

/* ---- changes ------------------------------------------------------------- */

void
model_end(struct world *world, uint64_t sequence, enum consumer_counter counter)
{
    world->model.messages[sequence].state = MESSAGE_ENDED;
    world->model.count[counter]++;
    world->ended[sequence]++;
}

void
model_die(struct world *world, uint64_t sequence)
{
    if (world->settings.dead_topic.len == 0) {
        model_end(world, sequence, CONSUMER_DISCARDED);
        return;
    }
    world->model.messages[sequence].state = MESSAGE_DEAD;
    world->model.messages[sequence].holder = 0;
}

void
model_come_back(struct world *world, uint64_t sequence, uint64_t delay_ms)
{
    struct message *message = &world->model.messages[sequence];
    uint32_t most = world->settings.max_deliveries;
    if (most != 0 && message->deliveries >= most) {
        model_die(world, sequence);
        return;
    }
    message->state = MESSAGE_WAITING;
    message->time_ms = world->clock_ms + delay_ms;
}

uint64_t
model_backoff(const struct world *world, uint32_t deliveries)
{
    uint32_t count = world->settings.backoff_count;
    if (count == 0) {
        return 0;
    }
    return world->settings
        .backoff_ms[(deliveries < count ? deliveries : count) - 1];
}

/* ---- comparing ----------------------------------------------------------- */

struct peer *
world_peer_of(struct world *world, const struct consumer_attachment *attachment)
{
    for (uint32_t i = 0; i < world->peer_count; i++) {
        if (world->peers[i].attachment == attachment) {
            return &world->peers[i];
        }
    }
    world_expect(
        world, false, __FILE__, __LINE__, "an attachment that is not there");
    return NULL;
}

void
world_expect_least(struct world *world, const struct peer *peer)
{
    if (world->settings.mode == CONSUMER_ACK_NONE) {
        EXPECT(world, peer->window > 0);
        return;
    }
    uint32_t outstanding = model_outstanding(world, peer->id);
    EXPECT(world, room_of(world, peer) > 0);
    for (uint32_t i = 0; i < world->peer_count; i++) {
        const struct peer *other = &world->peers[i];
        EXPECT(world, room_of(world, other) == 0 ||
                          model_outstanding(world, other->id) >= outstanding);
    }
}

static uint64_t
model_floor(const struct world *world)
{
    for (uint64_t i = 1; i <= world->last_seq; i++) {
        if (is_unfinished(world->model.messages[i].state)) {
            return i;
        }
    }
    return world->model.next;
}

/* Reading goes on exactly if nothing is in the way. */
static void
compare_reasons(struct world *world)
{
    struct consumer_reason reasons[16];
    size_t count = consumer_explain(
        world->consumer, world->last_seq, world->now_ms, reasons, 16);
    bool reading = false, caught_up = false, waiting = false;
    for (size_t i = 0; i < count; i++) {
        reading |= reasons[i].why == CONSUMER_WHY_READING;
        caught_up |= reasons[i].why == CONSUMER_WHY_CAUGHT_UP;
        waiting |= reasons[i].why == CONSUMER_WHY_WAITING;
    }
    bool behind = world->model.next <= world->last_seq;
    EXPECT(world, count > 0);
    EXPECT(world, caught_up == !behind);
    EXPECT(world, reading == (behind && model_consumer_room(world) > 0));
    EXPECT(world, waiting == (model_count(world, MESSAGE_WAITING) > 0));
}

void
world_compare(struct world *world)
{
    struct consumer_info info;
    consumer_get_info(world->consumer, &info);
    const char *wrong = consumer_check(world->consumer);
    if (wrong != NULL) {
        world_expect(world, false, __FILE__, __LINE__, wrong);
    }
    EXPECT(world, info.next == world->model.next);
    EXPECT(world, info.floor == model_floor(world));
    EXPECT(world, info.outstanding == model_count(world, MESSAGE_OUTSTANDING));
    EXPECT(world, info.waiting == model_count(world, MESSAGE_WAITING));
    EXPECT(world, info.fetching == model_count(world, MESSAGE_FETCHING));
    EXPECT(world, info.dead == model_count(world, MESSAGE_DEAD));
    EXPECT(world, info.storing == model_count(world, MESSAGE_STORING));
    for (uint32_t i = 0; i < CONSUMER_COUNTERS; i++) {
        EXPECT(world, info.count[i] == world->model.count[i]);
    }
    EXPECT(world, consumer_room(world->consumer) == model_consumer_room(world));
    EXPECT(world, consumer_due(world->consumer) == model_due(world));
    for (uint32_t i = 0; i < world->peer_count; i++) {
        EXPECT(world, consumer_outstanding(world->peers[i].attachment) ==
                          model_outstanding(world, world->peers[i].id));
    }
    compare_reasons(world);
}
