/* SPDX-License-Identifier: MIT
 *
 * What the clients of the world say and hear; see streamsim.h. */
#include "streamsim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READER_ID 7u

static uint32_t
index_of(const struct world *world, const struct publisher *publisher)
{
    return (uint32_t)(publisher - world->publishers);
}

void
world_say_hello(struct say *say, const uint8_t *session)
{
    struct broker_hello hello = say_hello_default;
    hello.features = BROKER_FEATURE_STREAMS;
    if (session != NULL) {
        memcpy(hello.session, session, sizeof hello.session);
    }
    say_hello_with(say, &hello);
}

void
world_feed(struct world *world, struct fake_peer *peer, struct say *say)
{
    size_t step = 1 + random_below(&world->random, 200);
    fake_feed_say(peer, say, step);
    say_fini(say);
}

/* ---- publishers ---------------------------------------------------------- */

static size_t
message_frame(const struct world *world, const struct publisher *publisher,
    uint32_t id, uint16_t flags, uint32_t message, uint8_t *dst, size_t cap)
{
    char topic[16];
    char payload[64];
    snprintf(topic, sizeof topic, "s/%" PRIu32, index_of(world, publisher));
    int n = snprintf(payload, sizeof payload, "%" PRIu32 " %" PRIu32,
        index_of(world, publisher), message);
    uint8_t later[16];
    size_t later_bytes = 0;
    uint64_t deliver_at_ms = publisher->messages[message].deliver_at_ms;
    if (deliver_at_ms != 0 &&
        broker_tlv_put_u64(later, sizeof later, &later_bytes,
            BROKER_TAG_CRITICAL | BROKER_TAG_DELIVER_AT,
            deliver_at_ms) != BROKER_OK) {
        world_fail(world, "a time of the test does not fit");
    }
    struct broker_publish publish = {.flags = flags,
        .id = id,
        .topic = say_text(topic),
        .headers = {later, later_bytes},
        .payload = {(const uint8_t *)payload, (size_t)n}};
    size_t size = 0;
    if (broker_publish_encode(&publish, dst, cap, &size) != BROKER_OK) {
        world_fail(world, "a message of the test does not fit");
    }
    return size;
}

static void
say_pending(struct world *world, const struct publisher *publisher,
    const struct pending *pending, bool again, struct say *say)
{
    uint8_t bytes[4096];
    size_t len = 0;
    if (!pending->is_batch) {
        len = message_frame(world, publisher, pending->number,
            again ? BROKER_PUBLISH_RETRY : 0, pending->first, bytes,
            sizeof bytes);
        say_bytes(say, bytes, len);
        return;
    }
    for (uint32_t i = 0; i < pending->count; i++) {
        len += message_frame(world, publisher, 0, 0, pending->first + i,
            bytes + len, sizeof bytes - len);
    }
    struct broker_publish_batch batch = {.id = pending->number,
        .flags = again ? BROKER_BATCH_RETRY : 0,
        .frames = {bytes, len}};
    uint8_t frame[sizeof bytes + BROKER_HEADER_BYTES];
    if (broker_publish_batch_encode(&batch, frame, sizeof frame, &len) !=
        BROKER_OK) {
        world_fail(world, "a batch of the test does not fit");
    }
    say_bytes(say, frame, len);
}

void
publisher_connect(struct world *world, struct publisher *publisher)
{
    struct say say = {0};
    publisher->peer = fake_connect(&world->net);
    world_say_hello(&say, publisher->session);
    for (uint32_t i = 0; i < publisher->pending_count; i++) {
        say_pending(world, publisher, &publisher->pending[i], true, &say);
    }
    if (publisher->pending_count > 0) {
        program_saw(world->program, "publishes are sent again");
    }
    world_feed(world, publisher->peer, &say);
}

void
publisher_publish(struct world *world, struct publisher *publisher)
{
    struct random *random = &world->random;
    struct say say = {0};
    uint32_t runs = 1 + random_below(random, 6);
    while (runs-- > 0 && publisher->pending_count < UNANSWERED &&
           publisher->message_count + 8 < MESSAGES) {
        bool is_batch = random_chance(random, 15);
        struct pending pending = {.number = ++publisher->number,
            .first = publisher->message_count,
            .count = is_batch ? 1 + random_below(random, 6) : 1,
            .is_batch = is_batch};
        for (uint32_t i = 0; i < pending.count; i++) {
            publisher->messages[publisher->message_count++].batch =
                is_batch ? pending.first + 1 : 0;
        }
        if (!is_batch && random_chance(random, 10)) {
            publisher->messages[pending.first].deliver_at_ms =
                FAKE_WALL_MS + world->net.now_ms + random_below(random, 3000);
        }
        publisher->pending[publisher->pending_count++] = pending;
        say_pending(world, publisher, &pending, false, &say);
    }
    world_feed(world, publisher->peer, &say);
}

static void
settle(struct world *world, struct publisher *publisher, uint32_t number,
    enum message_state state, uint64_t sequence)
{
    struct pending *first = &publisher->pending[0];
    if (publisher->pending_count == 0 || first->number != number) {
        world_fail(
            world, "number %" PRIu32 " is answered out of order", number);
    }
    for (uint32_t i = 0; i < first->count; i++) {
        struct message *message = &publisher->messages[first->first + i];
        message->state = state;
        message->sequence =
            sequence == 0 ? 0 : sequence - (first->count - 1 - i);
        world_say(world,
            "%" PRIu32 " of %u: number %" PRIu32 ", state %d, %" PRIu64,
            first->first + i, index_of(world, publisher), number, (int)state,
            message->sequence);
    }
    publisher->pending_count--;
    memmove(first, first + 1, publisher->pending_count * sizeof *first);
}

/* The one that is answered next. */
static bool
is_for_later(const struct publisher *publisher)
{
    const struct pending *first = &publisher->pending[0];
    return publisher->pending_count > 0 &&
           publisher->messages[first->first].deliver_at_ms != 0;
}

static void
on_puback(struct world *world, struct publisher *publisher,
    const struct broker_frame *frame)
{
    struct broker_puback puback;
    struct broker_bytes value;
    uint64_t sequence = 0;
    if (broker_puback_decode(frame, &puback) != BROKER_OK ||
        puback.level != BROKER_LEVEL_SYNCED) {
        world_fail(world, "a captured publish is not acknowledged as synced");
    }
    if ((puback.flags & BROKER_PUBACK_DUPLICATE) != 0) {
        program_saw(world->program, "a retry is told to be a duplicate");
    } else if (!broker_tlv_find(puback.tlvs, BROKER_TAG_SEQUENCE, &value)) {
        if (!is_for_later(publisher)) {
            world_fail(world, "PUBACK names no sequence");
        }
        program_saw(world->program, "a message for later is stored");
    } else if (!broker_tlv_u64(value, &sequence) || sequence == 0) {
        world_fail(world, "PUBACK names a bad sequence");
    }
    for (uint32_t i = 0; i < puback.count; i++) {
        uint32_t before = puback.count - 1 - i;
        settle(world, publisher, puback.id - before, MESSAGE_STORED,
            sequence == 0 ? 0 : sequence - before);
    }
}

static void
on_error(struct world *world, struct publisher *publisher,
    const struct broker_frame *frame)
{
    struct broker_error error;
    if (broker_error_decode(frame, &error) != BROKER_OK) {
        world_fail(world, "ERROR is malformed");
    }
    switch (error.code) {
    case BROKER_E_DISK_FULL:
        program_saw(world->program, "the disk is full");
        settle(world, publisher, error.id, MESSAGE_REFUSED, 0);
        break;
    case BROKER_E_STORAGE:
        /* What the disk has of it shows after the restart. */
        program_saw(world->program, "the store failed");
        world->failed = true;
        settle(world, publisher, error.id, MESSAGE_UNKNOWN, 0);
        break;
    default:
        world_fail(
            world, "a publish is refused: %s", broker_status_name(error.code));
    }
}

void
publisher_read(struct world *world, struct publisher *publisher)
{
    struct broker_frame frame;
    fake_take_all(publisher->peer);
    while (fake_next(publisher->peer, &frame)) {
        switch (frame.type) {
        case BROKER_FRAME_PUBACK:
            on_puback(world, publisher, &frame);
            break;
        case BROKER_FRAME_ERROR:
            on_error(world, publisher, &frame);
            break;
        case BROKER_FRAME_WELCOME:
        case BROKER_FRAME_NOTICE:
        case BROKER_FRAME_PING:
            break;
        default:
            world_fail(world, "a publisher gets type 0x%04x", frame.type);
        }
    }
}

/* ---- readers ------------------------------------------------------------- */

void
reader_connect(struct world *world, struct stream_reader *reader)
{
    struct say say = {0};
    *reader = (struct stream_reader){.peer = fake_connect(&world->net),
        .of_dead_letters = reader == &world->undertaker};
    world_say_hello(&say, NULL);
    struct broker_consume consume = {.id = READER_ID,
        .stream = say_text(reader->of_dead_letters ? DEAD_NAME : STREAM_NAME),
        .start = BROKER_START_FIRST};
    if (!reader->of_dead_letters && random_chance(&world->random, 30)) {
        consume.stream.len = 0;
        consume.filter = say_text("s/+");
    }
    uint8_t frame[64];
    size_t len = 0;
    if (broker_consume_encode(&consume, frame, sizeof frame, &len) !=
        BROKER_OK) {
        world_fail(world, "CONSUME does not fit");
    }
    say_bytes(&say, frame, len);
    world_feed(world, reader->peer, &say);
}

void
world_note_seen(struct world *world, uint64_t sequence, uint32_t publisher,
    uint32_t message)
{
    if (sequence == 0 || sequence >= SEQUENCES) {
        world_fail(world, "sequence %" PRIu64 " cannot be", sequence);
    }
    world_say(world, "sequence %" PRIu64 " is %" PRIu32 " of %" PRIu32,
        sequence, message, publisher);
    if (world->seen[sequence].publisher == 0) {
        world->seen[sequence].publisher = publisher + 1;
        world->seen[sequence].message = message;
    } else if (world->seen[sequence].publisher != publisher + 1 ||
               world->seen[sequence].message != message) {
        world_fail(world, "sequence %" PRIu64 " has changed", sequence);
    }
}

void
world_read_message(const struct world *world, const struct broker_frame *frame,
    uint32_t *publisher, uint32_t *message)
{
    struct broker_publish publish;
    char text[64] = "";
    if (broker_publish_decode(frame, &publish) != BROKER_OK ||
        publish.payload.len >= sizeof text) {
        world_fail(world, "a message is malformed");
    }
    memcpy(text, publish.payload.data, publish.payload.len);
    if (sscanf(text, "%" SCNu32 " %" SCNu32, publisher, message) != 2 ||
        *publisher >= PUBLISHERS ||
        *message >= world->publishers[*publisher].message_count) {
        world_fail(world, "a message is changed");
    }
}

static void
note_dead(struct world *world, uint64_t sequence, uint32_t publisher,
    uint32_t message)
{
    uint64_t *dead = &world->dead[publisher][message];
    if (*dead != 0 && *dead != sequence) {
        world_fail(world, "%" PRIu32 " of %" PRIu32 " is a dead letter twice",
            message, publisher);
    }
    *dead = sequence;
    program_saw(world->program, "there are dead letters");
}

static void
on_message(struct world *world, struct stream_reader *reader,
    const struct broker_frame *frame)
{
    uint32_t publisher;
    uint32_t message;
    if (reader->left == 0) {
        world_fail(world, "a reader gets what no POSITION told of");
    }
    world_read_message(world, frame, &publisher, &message);
    if (reader->next <= reader->last) {
        world_fail(world, "sequences do not rise");
    }
    if (reader->of_dead_letters) {
        note_dead(world, reader->next, publisher, message);
    } else {
        world_note_seen(world, reader->next, publisher, message);
    }
    reader->last = reader->next++;
    reader->left--;
}

static void
on_position(struct world *world, struct stream_reader *reader,
    const struct broker_frame *frame)
{
    struct broker_position position;
    if (reader->left != 0 ||
        broker_position_decode(frame, &position) != BROKER_OK ||
        position.id != READER_ID) {
        world_fail(world, "POSITION has no place here");
    }
    reader->next = position.sequence;
    reader->left = position.count;
    reader->at_end = reader->at_end || position.count == 0;
}

void
reader_read(struct world *world, struct stream_reader *reader)
{
    struct broker_frame frame;
    if (random_chance(&world->random, 30)) {
        (void)fake_take(reader->peer, 1 + random_below(&world->random, 500));
    } else {
        fake_take_all(reader->peer);
    }
    while (fake_next(reader->peer, &frame)) {
        switch (frame.type) {
        case BROKER_FRAME_POSITION:
            on_position(world, reader, &frame);
            break;
        case BROKER_FRAME_PUBLISH:
            on_message(world, reader, &frame);
            break;
        case BROKER_FRAME_WELCOME:
        case BROKER_FRAME_CONSUME_REPLY:
        case BROKER_FRAME_CONTEXT:
        case BROKER_FRAME_PING:
            break;
        default:
            world_fail(world, "a reader gets type 0x%04x", frame.type);
        }
    }
}
