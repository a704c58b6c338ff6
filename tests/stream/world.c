/* SPDX-License-Identifier: MIT
 *
 * What happens in a random life of a consumer; see consumer_model.h. */
#include "consumer_model.h"

#include <string.h>

static uint32_t
below(struct world *world, uint32_t n)
{
    return random_below(&world->random, n);
}

static bool
chance(struct world *world, uint32_t percent)
{
    return random_chance(&world->random, percent);
}

/* ---- the stream ---------------------------------------------------------- */

static void
publish(struct world *world)
{
    uint32_t n = 1 + below(world, 20);
    uint32_t matching = chance(world, 30) ? 20 : 95;
    while (n-- > 0 && world->last_seq < WORLD_MESSAGES) {
        world->kind[++world->last_seq] =
            chance(world, matching) ? (uint8_t)CONSUMER_SKIPS
                                    : (uint8_t)below(world, CONSUMER_SKIPS);
    }
}

static void
skip(struct world *world)
{
    uint64_t first = world->model.next, last = first;
    enum consumer_skip reason = (enum consumer_skip)world->kind[first];
    while (last < world->last_seq && world->kind[last + 1] == reason) {
        last++;
    }
    EXPECT(world, !consumer_skip(world->consumer, first + 1, 1, reason));
    EXPECT(
        world, consumer_skip(world->consumer, first, last - first + 1, reason));
    for (uint64_t i = first; i <= last; i++) {
        world->model.messages[i].state = MESSAGE_SKIPPED;
        world->model.count[CONSUMER_SKIPPED + reason]++;
        world->ended[i]++;
    }
    world->model.next = last + 1;
}

/* Offer one run of messages that match. False: nobody takes them. */
static bool
offer(struct world *world)
{
    uint64_t first = world->model.next;
    uint32_t n = 1, most = chance(world, 40) ? 1 : WORLD_MESSAGES;
    while (n < most && first + n <= world->last_seq &&
           world->kind[first + n] == CONSUMER_SKIPS) {
        n++;
    }
    uint32_t room = model_consumer_room(world);
    uint64_t clock_ms = model_clock(world);
    struct consumer_attachment *attachment = NULL;
    EXPECT(world, consumer_offer(world->consumer, first + 1, n, world->now_ms,
                      &attachment) == 0);
    uint32_t taken =
        consumer_offer(world->consumer, first, n, world->now_ms, &attachment);
    EXPECT(world, (taken > 0) == (room > 0) && taken <= n && taken <= room);
    if (taken == 0) {
        return false;
    }
    struct peer *peer = world_peer_of(world, attachment);
    world_expect_least(world, peer);
    bool ends = world->settings.mode == CONSUMER_ACK_NONE;
    for (uint64_t i = first; i < first + taken; i++) {
        world->model.messages[i] = (struct message){
            MESSAGE_OUTSTANDING, 1, peer->id, clock_ms, world->given++};
        if (ends) {
            model_end(world, i, CONSUMER_UNACKNOWLEDGED);
        }
    }
    EXPECT(world, ends || model_outstanding(world, peer->id) <= peer->window);
    peer->high = ends ? 0 : first + taken - 1;
    world->model.count[CONSUMER_OFFERED] += taken;
    world->model.next += taken;
    return true;
}

static void
read_on(struct world *world, uint32_t rounds)
{
    while (rounds-- > 0 && world->model.next <= world->last_seq) {
        if (world->kind[world->model.next] != CONSUMER_SKIPS) {
            skip(world);
        } else if (!offer(world)) {
            return;
        }
    }
}

/* ---- connections --------------------------------------------------------- */

static void
attach(struct world *world)
{
    if (world->peer_count == WORLD_ATTACHMENTS) {
        return;
    }
    struct peer *peer = &world->peers[world->peer_count];
    peer->window = chance(world, 10) ? 0 : 1 + below(world, 20);
    peer->id = ++world->next_id;
    peer->acknowledged = peer->high = peer->again = 0;
    peer->wanted = peer->window;
    peer->stands_by = world->settings.mode == CONSUMER_ACK_CUMULATIVE &&
                      world->peer_count > 0;
    peer->attachment = consumer_attach(world->consumer, peer, peer->window);
    EXPECT(world, peer->attachment != NULL);
    peer->window = peer->stands_by ? 0 : peer->wanted;
    world->peer_count++;
}

/* The oldest one that stands by takes over. */
static void
relieve(struct world *world)
{
    struct peer *first = NULL;
    for (uint32_t i = 0; i < world->peer_count; i++) {
        struct peer *peer = &world->peers[i];
        if (peer->stands_by && (first == NULL || peer->id < first->id)) {
            first = peer;
        }
    }
    if (first != NULL) {
        first->stands_by = false;
        first->window = first->wanted;
    }
}

static void
detach(struct world *world)
{
    if (world->peer_count == 0) {
        return;
    }
    struct peer *peer = &world->peers[below(world, world->peer_count)];
    (void)model_clock(world);
    for (uint64_t i = 1; i <= world->last_seq; i++) {
        struct message *message = &world->model.messages[i];
        if (message->holder != peer->id) {
            continue;
        }
        message->holder = 0;
        if (message->state == MESSAGE_OUTSTANDING) {
            world->model.count[CONSUMER_RETURNED]++;
            model_come_back(world, i, 0);
        }
    }
    consumer_detach(world->consumer, peer->attachment, world->now_ms);
    bool stood_by = peer->stands_by;
    *peer = world->peers[--world->peer_count];
    if (!stood_by) {
        relieve(world);
    }
}

static void
change_window(struct world *world)
{
    if (world->peer_count > 0) {
        struct peer *peer = &world->peers[below(world, world->peer_count)];
        peer->wanted = below(world, 20);
        peer->window = peer->stands_by ? 0 : peer->wanted;
        consumer_set_window(world->consumer, peer->attachment, peer->wanted);
    }
}

/* ---- what connections say ------------------------------------------------ */

enum word { WORD_ACK, WORD_UP_TO, WORD_NACK, WORD_TOUCH, WORD_BURY, WORDS };

static bool
is_meant(const struct world *world, const struct message *message,
    enum word word, const struct peer *peer)
{
    if (message->holder != peer->id) {
        return false;
    }
    (void)world;
    return message->state == MESSAGE_OUTSTANDING ||
           (word != WORD_TOUCH && (message->state == MESSAGE_WAITING ||
                                      message->state == MESSAGE_FETCHING));
}

/* What the word does to a message that is meant. */
static void
model_word(
    struct world *world, uint64_t sequence, enum word word, uint64_t delay_ms)
{
    struct message *message = &world->model.messages[sequence];
    switch (word) {
    case WORD_NACK:
        world->model.count[CONSUMER_NACKED]++;
        message->holder = 0;
        if (message->state != MESSAGE_OUTSTANDING) {
            break; /* it comes again anyway */
        }
        model_come_back(world, sequence,
            delay_ms == CONSUMER_DELAY_DEFAULT
                ? model_backoff(world, message->deliveries)
                : delay_ms);
        break;
    case WORD_TOUCH:
        world->model.count[CONSUMER_TOUCHED]++;
        message->time_ms = world->clock_ms;
        break;
    case WORD_BURY:
        world->model.count[CONSUMER_BURIED]++;
        model_die(world, sequence);
        break;
    default:
        model_end(world, sequence, CONSUMER_ACKNOWLEDGED);
        break;
    }
}

static uint32_t
say_word(struct world *world, const struct peer *peer, enum word word,
    uint64_t first, uint64_t last, uint64_t delay_ms)
{
    struct consumer *consumer = world->consumer;
    struct consumer_attachment *attachment = peer->attachment;
    switch (word) {
    case WORD_NACK:
        return consumer_nack(
            consumer, attachment, first, last, delay_ms, world->now_ms);
    case WORD_TOUCH:
        return consumer_touch(consumer, attachment, first, last, world->now_ms);
    case WORD_BURY:
        return consumer_bury(consumer, attachment, first, last);
    case WORD_UP_TO:
        return consumer_ack_up_to(consumer, attachment, last);
    default:
        return consumer_ack(consumer, attachment, first, last);
    }
}

/* Sometimes any range, mostly one that begins with what the peer has. */
static void
choose_range(struct world *world, const struct peer *peer, uint64_t *first,
    uint64_t *last)
{
    *first = below(world, (uint32_t)world->last_seq + 3);
    for (uint64_t i = *first; i <= world->last_seq && !chance(world, 5); i++) {
        if (world->model.messages[i].holder == peer->id) {
            *first = i;
            break;
        }
    }
    *last = *first + (chance(world, 60) ? 0 : below(world, 12));
    if (chance(world, 1)) {
        *last = UINT64_MAX;
    }
}

/* What it was given before this many is what it has seen for certain, as it
 * says that it has seen `last`. */
static uint64_t
model_seen(const struct world *world, const struct peer *peer, uint64_t last)
{
    for (uint64_t i = last < world->model.next ? last : 0; i > 0; i--) {
        const struct message *message = &world->model.messages[i];
        if (i != last && i <= peer->acknowledged) {
            return 0;
        }
        bool came_before =
            i == last || last > peer->again || message->deliveries == 1;
        if (came_before && is_meant(world, message, WORD_UP_TO, peer)) {
            return message->given + 1;
        }
    }
    return 0;
}

static void
say(struct world *world)
{
    if (world->peer_count == 0) {
        return;
    }
    struct peer *peer = &world->peers[below(world, world->peer_count)];
    enum word word =
        chance(world, 60) ? WORD_ACK : (enum word)below(world, WORDS);
    uint64_t delay_ms =
        chance(world, 50) ? CONSUMER_DELAY_DEFAULT : below(world, 5000);
    uint64_t first, last;
    choose_range(world, peer, &first, &last);
    if (word == WORD_NACK || word == WORD_TOUCH) {
        (void)model_clock(world);
    }
    uint32_t said = say_word(world, peer, word, first, last, delay_ms);
    uint64_t seen = world->given;
    if (word == WORD_UP_TO) {
        first = 0;
        seen = model_seen(world, peer, last);
    }
    uint32_t changed = 0;
    for (uint64_t i = first; i <= last && i <= world->last_seq; i++) {
        const struct message *message = &world->model.messages[i];
        if (message->given < seen && is_meant(world, message, word, peer)) {
            model_word(world, i, word, delay_ms);
            changed++;
        }
    }
    if (word == WORD_ACK || (word == WORD_UP_TO && seen > 0)) {
        uint64_t named =
            last < world->model.next ? last : world->model.next - 1;
        peer->acknowledged =
            named > peer->acknowledged ? named : peer->acknowledged;
    }
    world->model.count[CONSUMER_LATE] += changed == 0;
    EXPECT(world, said == changed);
}

/* ---- time ---------------------------------------------------------------- */

static void
pass_time(struct world *world)
{
    uint32_t what = below(world, 100);
    if (what < 10) {
        uint64_t back_ms = below(world, 100000);
        world->now_ms -= back_ms < world->now_ms ? back_ms : 0;
    } else if (what < 13) {
        world->now_ms += UINT32_MAX;
    } else if (what < 50) {
        uint64_t due_ms = consumer_due(world->consumer);
        if (due_ms != CONSUMER_NEVER && due_ms > world->now_ms) {
            world->now_ms = due_ms - below(world, 2);
        }
    } else {
        world->now_ms += below(world, 3000);
    }
}

static void
tick(struct world *world)
{
    uint64_t clock_ms = model_clock(world);
    uint64_t deadline_ms = world->settings.ack_deadline_ms;
    uint32_t passed = 0;
    for (uint64_t i = 1; i <= world->last_seq && deadline_ms != 0; i++) {
        struct message *message = &world->model.messages[i];
        if (message->state == MESSAGE_OUTSTANDING &&
            message->time_ms + deadline_ms <= clock_ms) {
            passed++;
            model_come_back(
                world, i, model_backoff(world, message->deliveries));
        }
    }
    world->model.count[CONSUMER_DEADLINES] += passed;
    EXPECT(world, consumer_tick(world->consumer, world->now_ms) == passed);
}

/* ---- fetching again ------------------------------------------------------ */

static void
ask_redelivery(struct world *world)
{
    uint64_t sequence = 0;
    (void)model_clock(world);
    uint64_t expected = model_next_redelivery(world);
    bool got =
        consumer_next_redelivery(world->consumer, world->now_ms, &sequence);
    EXPECT(world, got == (expected != 0) && sequence == expected);
    if (got) {
        world->model.messages[sequence].state = MESSAGE_FETCHING;
    }
}

/* Any message, most often one in that state; 0: there is none. */
static uint64_t
choose(struct world *world, enum message_state state)
{
    uint64_t from = 1 + below(world, (uint32_t)world->last_seq + 1);
    for (uint64_t i = from; i <= world->last_seq; i++) {
        if (world->model.messages[i].state == state) {
            return i;
        }
    }
    return chance(world, 5) ? from : 0;
}

static void
redeliver(struct world *world, uint64_t sequence)
{
    struct message stale = {0};
    struct message *message =
        sequence <= world->last_seq ? &world->model.messages[sequence] : &stale;
    bool wanted = message->state == MESSAGE_FETCHING;
    bool room = model_room(world) > 0;
    uint64_t clock_ms = model_clock(world);
    uint32_t deliveries = 0;
    struct consumer_attachment *attachment = consumer_redeliver(
        world->consumer, sequence, world->now_ms, &deliveries);
    EXPECT(world, (attachment != NULL) == (wanted && room));
    if (attachment == NULL) {
        world->model.count[CONSUMER_LOST_RACE]++;
        if (wanted) {
            message->state = MESSAGE_WAITING;
        }
        return;
    }
    struct peer *peer = world_peer_of(world, attachment);
    world_expect_least(world, peer);
    if (message->holder != peer->id && sequence < peer->high) {
        peer->again = peer->high;
    } else if (message->holder != peer->id) {
        peer->high = sequence;
    }
    *message = (struct message){MESSAGE_OUTSTANDING, message->deliveries + 1,
        peer->id, clock_ms,
        message->holder == peer->id ? message->given : world->given++};
    world->model.count[CONSUMER_REDELIVERED]++;
    EXPECT(world, deliveries == message->deliveries);
}

static void
lose(struct world *world, uint64_t sequence)
{
    enum consumer_skip reason = (enum consumer_skip)below(world, 4);
    consumer_gone(world->consumer, sequence, reason);
    enum message_state state = sequence <= world->last_seq
                                   ? world->model.messages[sequence].state
                                   : MESSAGE_AHEAD;
    if (state == MESSAGE_FETCHING || state == MESSAGE_STORING) {
        model_end(world, sequence,
            (enum consumer_counter)(CONSUMER_GONE + (uint32_t)reason));
    }
}

static void
fetched(struct world *world)
{
    uint64_t sequence = choose(world, MESSAGE_FETCHING);
    uint32_t what = below(world, 100);
    if (sequence == 0) {
        return;
    }
    if (what < 70) {
        redeliver(world, sequence);
    } else if (what < 85) {
        lose(world, sequence);
    } else {
        uint64_t clock_ms = model_clock(world);
        consumer_fetch_failed(world->consumer, sequence, 700, world->now_ms);
        if (sequence <= world->last_seq &&
            world->model.messages[sequence].state == MESSAGE_FETCHING) {
            world->model.count[CONSUMER_FETCH_FAILURES]++;
            world->model.messages[sequence].state = MESSAGE_WAITING;
            world->model.messages[sequence].time_ms = clock_ms + 700;
        }
    }
}

/* ---- everything --------------------------------------------------------- */

static void
reset(struct world *world)
{
    uint64_t sequence = 1 + below(world, (uint32_t)world->last_seq + 1);
    world->model.count[CONSUMER_ABANDONED] += model_unfinished(world);
    for (uint64_t i = 1; i <= WORLD_MESSAGES; i++) {
        world->model.messages[i] = (struct message){0};
        world->excused[i] |= i < sequence && i <= world->last_seq;
    }
    world->model.next = sequence;
    world->dead_failed = false;
    for (uint32_t i = 0; i < world->peer_count; i++) {
        struct peer *peer = &world->peers[i];
        peer->acknowledged = peer->high = peer->again = 0;
    }
    consumer_reset(world->consumer, sequence);
}

void
world_step(struct world *world)
{
    uint32_t what = below(world, 1000);
    world->step++;
    if (what < 100) {
        publish(world);
    } else if (what < 280) {
        read_on(world, 1 + below(world, 4));
    } else if (what < 320) {
        attach(world);
    } else if (what < 340) {
        detach(world);
    } else if (what < 370) {
        change_window(world);
    } else if (what < 620) {
        say(world);
    } else if (what < 690) {
        pass_time(world);
    } else if (what < 740) {
        tick(world);
    } else if (what < 830) {
        ask_redelivery(world);
    } else if (what < 910) {
        fetched(world);
    } else if (what < 950) {
        world_commit(world);
    } else if (what < 990) {
        world_committed(world, !chance(world, 25));
    } else if (what < 998) {
        world_crash(world);
    } else {
        reset(world);
    }
    world_compare(world);
}

/* A consumer with settings of all kinds. */
void
world_init(struct world *world, uint64_t seed)
{
    static const uint8_t dead[] = "dead";
    *world = (struct world){.seed = seed, .random = {seed}};
    struct consumer_settings *settings = &world->settings;
    settings->start = chance(world, 80) ? 1 : 1 + below(world, 20);
    settings->mode = chance(world, 10)   ? CONSUMER_ACK_NONE
                     : chance(world, 30) ? CONSUMER_ACK_CUMULATIVE
                                         : CONSUMER_ACK_EACH;
    settings->window = chance(world, 50) ? 1 + below(world, 10)
                                         : 1 + below(world, WORLD_MESSAGES);
    if (settings->mode != CONSUMER_ACK_NONE) {
        settings->ack_deadline_ms = chance(world, 20) ? 0 : 1000;
        settings->max_deliveries = chance(world, 40) ? 0 : 1 + below(world, 4);
        settings->backoff_count = below(world, 4);
        for (uint32_t i = 0; i < settings->backoff_count; i++) {
            settings->backoff_ms[i] = below(world, 3000);
        }
        if (chance(world, 70)) {
            settings->dead_topic = (struct consumer_topic){dead, 4};
        }
    }
    for (uint64_t i = 1; i < settings->start; i++) {
        world->excused[i] = true;
    }
    /* Near an edge of 32 bits, near 0, or today. */
    world->now_ms = chance(world, 30)   ? UINT32_MAX - below(world, 5000)
                    : chance(world, 20) ? below(world, 10)
                                        : UINT64_C(1795000000000);
    world_start(world);
    attach(world);
}

void
world_fini(struct world *world)
{
    consumer_free(world->consumer);
}

/* One round in which everything goes well. */
static void
drain_once(struct world *world)
{
    world->now_ms += 10000;
    tick(world);
    while (world->in_flight_count > 0) {
        world_committed(world, true);
    }
    for (uint64_t i = 1; i <= world->last_seq; i++) {
        if (world->model.messages[i].state == MESSAGE_FETCHING) {
            redeliver(world, i);
        }
    }
    while (model_next_redelivery(world) != 0) {
        uint64_t sequence = model_next_redelivery(world);
        ask_redelivery(world);
        redeliver(world, sequence);
    }
    read_on(world, WORLD_MESSAGES);
    for (uint64_t i = 1; i <= world->last_seq; i++) {
        const struct message *message = &world->model.messages[i];
        if (message->state == MESSAGE_OUTSTANDING) {
            for (uint32_t k = 0; k < world->peer_count; k++) {
                if (world->peers[k].id == message->holder) {
                    EXPECT(world, say_word(world, &world->peers[k], WORD_UP_TO,
                                      i, i, 0) == 1);
                }
            }
            model_end(world, i, CONSUMER_ACKNOWLEDGED);
        }
    }
    world_commit(world);
    world_compare(world);
}

void
world_drain(struct world *world)
{
    while (world->peer_count > 0) {
        detach(world);
    }
    attach(world);
    world->peers[0].window = 10;
    consumer_set_window(world->consumer, world->peers[0].attachment, 10);
    uint32_t rounds = 0;
    while (model_unfinished(world) > 0 || world->in_flight_count > 0 ||
           world->model.next <= world->last_seq) {
        EXPECT(world, rounds++ < 4 * WORLD_MESSAGES + 100);
        drain_once(world);
        if (model_unfinished(world) == 0 &&
            world->model.next > world->last_seq) {
            break;
        }
    }
    for (uint64_t i = 1; i <= world->last_seq; i++) {
        EXPECT(world, world->ended[i] > 0 || world->excused[i]);
    }
}
