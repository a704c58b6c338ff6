/* SPDX-License-Identifier: MIT
 *
 * A world of publishers and readers on one stream, on one to four workers, over
 * the local store on files that fail and lose power. What is checked: what was
 * acknowledged as stored is there, once, in order, with the sequence that was
 * told; what was refused is not; what a reader has seen stays (G1 to G3, G6,
 * G7).
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
};

struct world {
    const struct program *program;
    struct random random;
    struct file_system *files;
    struct base *base;
    struct store *store;
    struct fake_net net;
    struct publisher publishers[PUBLISHERS];
    struct stream_reader readers[READERS];
    struct fake_peer *admin;
    uint32_t publisher_count;
    uint32_t lives;
    bool stream_is_made;
    bool failed; /* the store said so: a restart is due */
    /* What readers have seen, by sequence: publisher + 1 and message. */
    struct {
        uint32_t publisher, message;
    } seen[SEQUENCES];
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

#endif
