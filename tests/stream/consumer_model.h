/* SPDX-License-Identifier: MIT
 *
 * A world around one consumer: a stream with up to WORLD_MESSAGES messages,
 * connections that come and go, a store that commits cursors and dead letters
 * later or not at all, and crashes. Beside the consumer lives a model of it
 * that keeps one plain record for each message and searches all of them each
 * time; every answer of the consumer is compared with it. world_step() does one
 * random thing, the same for the same seed.
 */
#ifndef BROKER_TESTS_STREAM_CONSUMER_MODEL_H
#define BROKER_TESTS_STREAM_CONSUMER_MODEL_H

#include "consumer_check.h"
#include "random.h"

#define WORLD_MESSAGES    240u
#define WORLD_ATTACHMENTS 5u
#define WORLD_SNAPSHOTS   6u /* durable cursors that a crash may come back to */
#define WORLD_COMMITS     3u /* in flight */
#define WORLD_BYTES       (512u + 20u * WORLD_MESSAGES)

enum message_state {
    MESSAGE_AHEAD, /* neither offered nor skipped */
    MESSAGE_SKIPPED,
    MESSAGE_OUTSTANDING,
    MESSAGE_WAITING,
    MESSAGE_FETCHING,
    MESSAGE_DEAD,
    MESSAGE_STORING,
    MESSAGE_ENDED,
};

struct message {
    enum message_state state;
    uint32_t deliveries;
    uint32_t holder; /* an attachment's id; 0: nobody */
    uint64_t time_ms;
    uint64_t given; /* when its holder got it first, among all that was given */
};

/* What the consumer should be. */
struct model {
    uint64_t next;
    uint64_t count[CONSUMER_COUNTERS];
    struct message messages[WORLD_MESSAGES + 1]; /* by sequence */
};

struct peer {
    struct consumer_attachment *attachment;
    uint32_t id, wanted, window;
    bool stands_by;
    uint64_t acknowledged; /* the highest sequence that it has named */
    uint64_t high;         /* the highest one that it was given */
    uint64_t again;        /* that, when it last was given a lower one */
};

struct commit {
    struct model model; /* as it is in the bytes */
    uint8_t bytes[WORLD_BYTES];
    size_t len;
    uint64_t stored[WORLD_MESSAGES]; /* dead letters in it */
    uint32_t stored_count;
};

struct world {
    uint64_t seed;
    uint32_t step;
    struct random random;
    struct consumer_settings settings;
    struct consumer *consumer;
    struct model model;
    uint64_t now_ms, last_now_ms, clock_ms;
    bool clock_runs;
    bool dead_failed;
    uint64_t dead_due_ms;
    uint64_t last_seq; /* published */
    /* Of a message: CONSUMER_SKIPS if it matches, or why it is skipped; how
     * often it has really ended; whether a reset went past it. */
    uint8_t kind[WORLD_MESSAGES + 1];
    uint32_t ended[WORLD_MESSAGES + 1];
    bool excused[WORLD_MESSAGES + 1];
    struct peer peers[WORLD_ATTACHMENTS];
    uint32_t peer_count, next_id;
    struct commit durable[WORLD_SNAPSHOTS];
    uint32_t durable_count;
    struct commit in_flight[WORLD_COMMITS];
    uint32_t in_flight_count;
    uint64_t given;   /* ever */
    uint64_t crashes; /* that came back to a cursor */
};

void world_init(struct world *world, uint64_t seed);
void world_fini(struct world *world);
void world_step(struct world *world);
/* All goes well from now on: everything comes to an end, and nothing was lost.
 */
void world_drain(struct world *world);

/* ---- between consumer_model.c, world.c and world_store.c ----------------- */

/* A consumer from the beginning. */
void world_start(struct world *world);
/* Take some dead letters, and commit them with the cursor. */
void world_commit(struct world *world);
/* The first commit in flight is good, or not. */
void world_committed(struct world *world, bool good);
/* On with any of the cursors that are durable. */
void world_crash(struct world *world);

#define EXPECT(world, condition)                                               \
    world_expect(world, condition, __FILE__, __LINE__, #condition)
void world_expect(const struct world *world, bool condition, const char *file,
    int line, const char *text);

/* The consumer and the model are the same. */
void world_compare(struct world *world);

uint64_t model_clock(struct world *world);
uint32_t model_count(const struct world *world, enum message_state state);
uint32_t model_unfinished(const struct world *world);
uint32_t model_outstanding(const struct world *world, uint32_t id);
uint64_t model_room(const struct world *world);
uint32_t model_consumer_room(const struct world *world);
uint64_t model_due(const struct world *world);
/* Is something to be given again before anything new may be? */
bool model_comes_back_first(const struct world *world);
/* The one to be delivered again now; 0: none. */
uint64_t model_next_redelivery(const struct world *world);
void model_end(
    struct world *world, uint64_t sequence, enum consumer_counter counter);
void model_die(struct world *world, uint64_t sequence);
void model_come_back(struct world *world, uint64_t sequence, uint64_t delay_ms);
uint64_t model_backoff(const struct world *world, uint32_t deliveries);
struct peer *world_peer_of(
    struct world *world, const struct consumer_attachment *attachment);
/* It has room, and nobody with room has less to do. */
void world_expect_least(struct world *world, const struct peer *peer);

#endif
