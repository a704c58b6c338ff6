/* SPDX-License-Identifier: MIT
 *
 * A world of publishers, readers and durable consumers on one stream, on one to
 * four workers, over the local store on files that fail and lose power. What is
 * checked: what was acknowledged as stored is there, once, in order, with the
 * sequence that was told; what was refused is not; what a reader has seen
 * stays; each consumer is given everything until somebody who has seen it says
 * that it is done, or it is a dead letter, once (G1 to G4, G6, G7).
 */
#ifndef BROKER_TESTS_STREAMSIM_H
#define BROKER_TESTS_STREAMSIM_H

#include "fake_net.h"
#include "program.h"
#include "random.h"

#define PUBLISHERS  4u
#define READERS     2u
#define MESSAGES    600u /* of one publisher, at most */
#define SEQUENCES   (PUBLISHERS * MESSAGES + 1)
#define UNANSWERED  64u
#define STREAM_NAME "S"
#define DEAD_NAME   "DEAD" /* the stream of dead letters */
#define CONSUMERS   3u
#define MEMBERS     5u
#define TAKEN       64u

enum message_state {
    MESSAGE_SENT,
    MESSAGE_STORED,  /* acknowledged */
    MESSAGE_REFUSED, /* and never to be there */
    MESSAGE_UNKNOWN, /* may be there, once */
};

struct message {
    enum message_state state;
    uint64_t sequence; /* that was told; 0: none */
    uint32_t batch;    /* the first message of the same batch, plus 1; or 0 */
    uint64_t deliver_at_ms; /* or 0 */
};

/* A publish that was not answered. */
struct pending {
    uint32_t number;
    uint32_t first, count; /* messages */
    bool is_batch;
};

struct publisher {
    struct fake_peer *peer;
    uint8_t session[BROKER_SESSION_BYTES];
    uint32_t number;        /* last used */
    uint32_t message_count; /* sent, ever */
    struct message messages[MESSAGES];
    struct pending pending[UNANSWERED];
    uint32_t pending_count;
};

struct stream_reader {
    struct fake_peer *peer;
    uint64_t next; /* sequence that the next PUBLISH has */
    uint64_t left; /* messages of the POSITION */
    uint64_t last; /* sequence that it has seen */
    bool at_end;
    bool of_dead_letters;
};

/* A connection that works on a durable consumer. */
struct member {
    struct fake_peer *peer;
    uint64_t next, left; /* as of a reader */
    uint32_t deliveries;
    uint64_t high; /* the highest sequence that has come */
    /* What it has and has not settled, in the order in which it came. */
    uint64_t taken[TAKEN];
    uint32_t count;
};

struct world {
    const struct program *program;
    struct random random;
    struct file_system *files;
    struct base *base;
    struct store *store;
    struct fake_net net;
    struct publisher publishers[PUBLISHERS];
    struct stream_reader readers[READERS], undertaker;
    struct member members[MEMBERS];
    struct fake_peer *admin;
    uint32_t publisher_count;
    uint32_t lives;
    struct fake_peer *resetter; /* who has asked for this and waits: */
    uint32_t reset_consumer;
    uint64_t reset_sequence;
    uint32_t answers;    /* that the administrator has got */
    bool stream_is_made; /* and the consumers */
    bool failed;         /* the store said so: a restart is due */
    /* What readers have seen, by sequence: publisher + 1 and message. */
    struct {
        uint32_t publisher, message;
    } seen[SEQUENCES];
    bool done[CONSUMERS][SEQUENCES];     /* somebody acknowledged it */
    uint64_t dead[PUBLISHERS][MESSAGES]; /* sequence of the dead letter */
    uint64_t digest;
};

_Noreturn void world_fail(const struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* With --verbose. */
void world_say(const struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- streamsim_say.c ----------------------------------------------------- */

/* Connect, as the same session as ever, and send again what was not
 * answered. */
void publisher_connect(struct world *world, struct publisher *publisher);
void publisher_publish(struct world *world, struct publisher *publisher);
/* Take what has come for it. */
void publisher_read(struct world *world, struct publisher *publisher);

void reader_connect(struct world *world, struct stream_reader *reader);
void reader_read(struct world *world, struct stream_reader *reader);

void world_say_hello(struct say *say, const uint8_t *session);
/* In pieces. */
void world_feed(struct world *world, struct fake_peer *peer, struct say *say);
/* Whose message it is, and which one. */
void world_read_message(const struct world *world,
    const struct broker_frame *frame, uint32_t *publisher, uint32_t *message);
/* It is the same message under a sequence for ever. */
void world_note_seen(struct world *world, uint64_t sequence, uint32_t publisher,
    uint32_t message);

/* ---- streamsim_work.c ---------------------------------------------------- */

/* The request that makes this consumer. */
const char *member_consumer(uint32_t consumer);
/* Connect, leave, take what has come, settle some of it. */
void member_step(struct world *world);
/* A consumer that nobody works on goes back, and when that is answered all is
 * to be done again; nobody comes to it before. */
void consumer_reset_step(struct world *world);
/* All members take what has come and acknowledge it. */
void members_finish(struct world *world);
/* Every message that readers have seen has come to its end with every
 * consumer. With `fails` the world ends if one has not. */
bool members_are_done(const struct world *world, bool fails);

#endif
