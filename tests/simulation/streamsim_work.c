/* SPDX-License-Identifier: MIT
 *
 * Who works on the durable consumers of the world; see streamsim.h. */
#include "streamsim.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MEMBER_ID 9u

enum consumer {
    CONSUMER_EACH,
    CONSUMER_UP_TO,
    CONSUMER_DYING, /* whose messages become dead letters */
};

static const struct {
    const char *name, *request;
} consumers[CONSUMERS] = {
    {"E", "{\"name\":\"E\",\"stream\":\"" STREAM_NAME "\",\"ack\":\"each\","
          "\"window\":30,\"ack_wait_ms\":600,\"backoff_ms\":[0,100]}"},
    {"U", "{\"name\":\"U\",\"stream\":\"" STREAM_NAME "\","
          "\"ack\":\"cumulative\",\"window\":30,\"ack_wait_ms\":600}"},
    {"D", "{\"name\":\"D\",\"stream\":\"" STREAM_NAME "\",\"ack\":\"each\","
          "\"window\":30,\"ack_wait_ms\":600,\"max_deliveries\":3,"
          "\"dead_letter\":\"dead\"}"},
};

/* Which consumer each member works on. */
static const enum consumer work[MEMBERS] = {CONSUMER_EACH, CONSUMER_EACH,
    CONSUMER_UP_TO, CONSUMER_UP_TO, CONSUMER_DYING};

const char *
member_consumer(uint32_t consumer)
{
    return consumers[consumer].request;
}

static enum consumer
work_of(const struct world *world, const struct member *member)
{
    return work[member - world->members];
}

/* ---- what it has --------------------------------------------------------- */

static void
forget(struct member *member, uint32_t i)
{
    member->count--;
    memmove(&member->taken[i], &member->taken[i + 1],
        (member->count - i) * sizeof member->taken[0]);
}

static void
take(struct member *member, uint64_t sequence)
{
    for (uint32_t i = 0; i < member->count; i++) {
        if (member->taken[i] == sequence) {
            return; /* it had it all the time */
        }
    }
    if (member->count == TAKEN) {
        forget(member, 0);
    }
    member->taken[member->count++] = sequence;
}

/* ---- what it says -------------------------------------------------------- */

static void
member_connect(struct world *world, struct member *member)
{
    struct say say = {0};
    uint8_t frame[64];
    size_t len = 0;
    *member = (struct member){.peer = fake_connect(&world->net)};
    struct broker_consume consume = {.id = MEMBER_ID,
        .consumer = say_text(consumers[work_of(world, member)].name),
        .start = BROKER_START_CURSOR,
        .window = random_chance(&world->random, 30) ? 5 : 0};
    world_say_hello(&say, NULL);
    if (broker_consume_encode(&consume, frame, sizeof frame, &len) !=
        BROKER_OK) {
        world_fail(world, "CONSUME of a consumer does not fit");
    }
    say_bytes(&say, frame, len);
    world_feed(world, member->peer, &say);
}

static void
settle(struct world *world, struct member *member, uint16_t type, uint8_t kind,
    uint64_t sequence)
{
    struct say say = {0};
    uint8_t range[16];
    uint8_t frame[64];
    size_t len = 0;
    broker_ranges_set(range, 0, sequence, sequence);
    struct broker_settle said = {.type = type,
        .kind = kind,
        .id = MEMBER_ID,
        .delay_ms = type == BROKER_FRAME_NACK && kind == BROKER_NACK_AGAIN
                        ? random_below(&world->random, 3) * 100
                        : 0,
        .ranges = {range, 1}};
    if (broker_settle_encode(&said, frame, sizeof frame, &len) != BROKER_OK) {
        world_fail(world, "a settlement does not fit");
    }
    say_bytes(&say, frame, len);
    world_feed(world, member->peer, &say);
}

static void
acknowledge(struct world *world, struct member *member, uint32_t i)
{
    enum consumer consumer = work_of(world, member);
    uint64_t sequence = member->taken[i];
    world_say(
        world, "%s acknowledges %" PRIu64, consumers[consumer].name, sequence);
    world->done[consumer][sequence] = true;
    forget(member, i);
    settle(world, member, BROKER_FRAME_ACK, BROKER_ACK_THESE, sequence);
}

/* All of lower sequences that came before it. */
static void
acknowledge_up_to(struct world *world, struct member *member, uint32_t i)
{
    enum consumer consumer = work_of(world, member);
    uint64_t sequence = member->taken[i];
    world_say(world, "%s acknowledges all up to %" PRIu64,
        consumers[consumer].name, sequence);
    if (sequence < member->high) {
        program_saw(world->program, "up to a message that came again");
    }
    for (uint32_t before = i + 1; before-- > 0;) {
        if (member->taken[before] <= sequence) {
            world->done[consumer][member->taken[before]] = true;
            forget(member, before);
        }
    }
    settle(world, member, BROKER_FRAME_ACK, BROKER_ACK_UP_TO, sequence);
}

static void
give_back(struct world *world, struct member *member, uint32_t i)
{
    uint64_t sequence = member->taken[i];
    bool buries = work_of(world, member) == CONSUMER_DYING &&
                  random_chance(&world->random, 30);
    world_say(world, "%s gives back %" PRIu64,
        consumers[work_of(world, member)].name, sequence);
    program_saw(world->program, "something is given back");
    forget(member, i);
    settle(world, member, BROKER_FRAME_NACK,
        buries ? BROKER_NACK_BURY : BROKER_NACK_AGAIN, sequence);
}

static void
settle_something(struct world *world, struct member *member)
{
    struct random *random = &world->random;
    uint32_t i = random_below(random, member->count);
    uint32_t what = random_below(random, 100);
    if (what < 15) {
        give_back(world, member, i);
    } else if (what < 20) {
        /* Its time runs out. Who acknowledges all up to something has seen it
         * all the same. */
        if (work_of(world, member) != CONSUMER_UP_TO) {
            forget(member, i);
        }
    } else if (what < 25) {
        settle(world, member, BROKER_FRAME_TOUCH, BROKER_TOUCH_THESE,
            member->taken[i]);
    } else if (work_of(world, member) == CONSUMER_UP_TO) {
        acknowledge_up_to(world, member, i);
    } else {
        acknowledge(world, member, i);
    }
}

/* ---- what it hears ------------------------------------------------------- */

static void
on_message(struct world *world, struct member *member,
    const struct broker_frame *frame)
{
    uint32_t publisher;
    uint32_t message;
    uint64_t sequence = member->next++;
    if (member->left-- == 0) {
        world_fail(world, "a consumer gets what no POSITION told of");
    }
    world_read_message(world, frame, &publisher, &message);
    world_note_seen(world, sequence, publisher, message);
    if (member->deliveries > 1) {
        program_saw(world->program, "something is delivered again");
    } else if (sequence <= member->high) {
        world_fail(world, "new sequences do not rise");
    }
    world_say(world, "%s got %" PRIu64 ", delivery %" PRIu32,
        consumers[work_of(world, member)].name, sequence, member->deliveries);
    member->high = sequence > member->high ? sequence : member->high;
    take(member, sequence);
}

static void
on_position(struct world *world, struct member *member,
    const struct broker_frame *frame)
{
    struct broker_position position;
    if (member->left != 0 ||
        broker_position_decode(frame, &position) != BROKER_OK ||
        position.id != MEMBER_ID || position.count == 0 ||
        position.deliveries == 0) {
        world_fail(world, "POSITION of a consumer has no place here");
    }
    member->next = position.sequence;
    member->left = position.count;
    member->deliveries = position.deliveries;
}

static void
member_read(struct world *world, struct member *member)
{
    struct broker_frame frame;
    while (fake_next(member->peer, &frame)) {
        switch (frame.type) {
        case BROKER_FRAME_POSITION:
            on_position(world, member, &frame);
            break;
        case BROKER_FRAME_PUBLISH:
            on_message(world, member, &frame);
            break;
        case BROKER_FRAME_WELCOME:
        case BROKER_FRAME_CONSUME_REPLY:
        case BROKER_FRAME_CONTEXT:
        case BROKER_FRAME_PING:
            break;
        default:
            world_fail(world, "a consumer gets type 0x%04x", frame.type);
        }
    }
}

/* ---- from the beginning -------------------------------------------------- */

static bool
is_being_reset(const struct world *world, enum consumer consumer)
{
    return world->resetter != NULL && world->reset_consumer == consumer;
}

static void
ask_for_reset(struct world *world)
{
    struct random *random = &world->random;
    enum consumer consumer =
        random_chance(random, 50) ? CONSUMER_EACH : CONSUMER_UP_TO;
    struct say say = {0};
    char text[80];
    for (uint32_t i = 0; i < MEMBERS; i++) {
        if (work[i] == consumer && world->members[i].peer != NULL) {
            fake_drop(world->members[i].peer);
            world->members[i].peer = NULL;
        }
    }
    fake_mail_settle(&world->net);
    world->resetter = fake_connect(&world->net);
    world->reset_consumer = consumer;
    world->reset_sequence = 1 + random_below(random, 100);
    for (uint64_t i = 1; i < world->reset_sequence; i++) {
        world->done[consumer][i] = true; /* it may go forward */
    }
    int n = snprintf(text, sizeof text,
        "{\"name\":\"%s\",\"from\":{\"sequence\":%" PRIu64 "}}",
        consumers[consumer].name, world->reset_sequence);
    struct say_message ask = {.id = 1,
        .topic = "$sys/consumer/reset",
        .reply_to = "inbox",
        .payload = text,
        .payload_bytes = (size_t)n};
    say_hello(&say);
    say_subscribe(&say, 1, "inbox");
    (void)say_message(&say, &ask);
    world_feed(world, world->resetter, &say);
}

static void
on_reset(struct world *world)
{
    for (uint64_t i = world->reset_sequence; i < SEQUENCES; i++) {
        world->done[world->reset_consumer][i] = false;
    }
    world_say(world, "%s is reset to %" PRIu64,
        consumers[world->reset_consumer].name, world->reset_sequence);
    program_saw(world->program, "a consumer is reset");
}

void
consumer_reset_step(struct world *world)
{
    struct broker_frame frame;
    bool over = false;
    if (world->resetter == NULL) {
        ask_for_reset(world);
        return;
    }
    fake_take_all(world->resetter);
    while (fake_next(world->resetter, &frame)) {
        if (frame.type == BROKER_FRAME_PUBLISH) {
            on_reset(world);
        }
        over = over || frame.type == BROKER_FRAME_PUBLISH ||
               frame.type == BROKER_FRAME_ERROR;
    }
    if (over) {
        fake_drop(world->resetter);
        world->resetter = NULL;
    }
}

/* ---- taking part --------------------------------------------------------- */

void
member_step(struct world *world)
{
    struct random *random = &world->random;
    struct member *member = &world->members[random_below(random, MEMBERS)];
    if (member->peer == NULL) {
        if (!is_being_reset(world, work_of(world, member))) {
            member_connect(world, member);
        }
        return;
    }
    if (random_chance(random, 5)) {
        fake_drop(member->peer);
        member->peer = NULL;
        return;
    }
    if (random_chance(random, 40)) {
        (void)fake_take(member->peer, 1 + random_below(random, 500));
    } else {
        fake_take_all(member->peer);
    }
    member_read(world, member);
    for (uint32_t i = random_below(random, 6); i > 0 && member->count > 0;
         i--) {
        settle_something(world, member);
    }
}

/* ---- the end ------------------------------------------------------------- */

void
members_finish(struct world *world)
{
    for (uint32_t i = 0; i < MEMBERS; i++) {
        struct member *member = &world->members[i];
        if (member->peer == NULL) {
            member_connect(world, member);
            continue;
        }
        fake_take_all(member->peer);
        member_read(world, member);
        while (member->count > 0 && work[i] == CONSUMER_UP_TO) {
            acknowledge_up_to(world, member, member->count - 1);
        }
        while (member->count > 0) {
            acknowledge(world, member, 0);
        }
    }
}

static bool
is_done(const struct world *world, enum consumer consumer, uint64_t sequence)
{
    uint32_t publisher = world->seen[sequence].publisher - 1;
    return world->done[consumer][sequence] ||
           (consumer == CONSUMER_DYING &&
               world->dead[publisher][world->seen[sequence].message] != 0);
}

bool
members_are_done(const struct world *world, bool fails)
{
    for (uint64_t sequence = 1; sequence < SEQUENCES; sequence++) {
        for (uint32_t i = 0; i < CONSUMERS; i++) {
            if (world->seen[sequence].publisher == 0 ||
                is_done(world, (enum consumer)i, sequence)) {
                continue;
            }
            if (fails) {
                world_fail(world,
                    "sequence %" PRIu64 " was left out by consumer %s",
                    sequence, consumers[i].name);
            }
            return false;
        }
    }
    return true;
}
