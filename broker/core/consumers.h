/* SPDX-License-Identifier: MIT
 *
 * The durable consumers of the broker, at home (worker 0). PROTOCOL.md section
 * 5.14.
 *
 * A consumer is a state machine (broker/stream/consumer.h), what it reads of
 * its stream, and the seats of those who work on it, which are attachments
 * (attachment.h) at any worker. Here messages are read, given to seats, and
 * what comes back is told to the state machine:
 *
 * - consumer_feed.c reads the stream, one read at a time for each consumer and
 *   no more than its windows allow; at the end of a stream one read for all of
 *   its consumers waits for more. What a consumer gets is copied once, into
 *   blocks that all share, and lent to the workers;
 * - consumer_seats.c has the letters;
 * - consumer_dead.c has the dead letters;
 * - consumer_changes.c has what is asked for: adding, resetting, removing.
 *
 * In the store (space STORE_SPACE_CONSUMER) a consumer is two values. Under its
 * name and a byte 0 what it is: u32 format 1, u32 number of the stream, u32
 * length of the stream's name, the name, and the settings. Under its name and a
 * byte 1 its cursor, which is put at most once a commit. A consumer whose
 * stream is not there any more is forgotten.
 *
 * Must not know: JSON, sessions.
 */
#ifndef BROKER_CORE_CONSUMERS_H
#define BROKER_CORE_CONSUMERS_H

#include <broker/codec.h>

#include "consumer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct core;
struct consumers;
struct cursor;
struct letter;

#define CONSUMERS_MAX 10000u

/* A place at a consumer. */
struct seat {
    uint32_t stream;
    struct broker_bytes filter; /* empty: the whole stream */
    /* -- */
    struct cursor *cursor;  /* NULL: the consumer is no more */
    TAILQ_ENTRY(seat) link; /* of the cursor's; or those that have ended */
    struct attachment *attachment;
    struct consumer_attachment *place;
    uint32_t worker;
    uint32_t window;     /* that it has, when it has room */
    uint32_t window_now; /* that the state machine knows */
    uint32_t max_bytes;  /* of a frame */
    int64_t room;        /* bytes that may be sent to it */
    uint64_t session_id;
    enum broker_status end_status;
    uint8_t text[];
};

enum consumer_verb { CONSUMERS_ADD, CONSUMERS_RESET, CONSUMERS_REMOVE };

/* Where to begin; `kind` is not BROKER_START_CURSOR. */
struct consumer_start {
    enum broker_start kind;
    uint64_t value;
};

struct consumers_request {
    enum consumer_verb verb;
    struct broker_bytes name;
    struct broker_bytes stream;        /* to add */
    struct consumer_settings settings; /* the same, but for `start` */
    struct consumer_start start;       /* to add and to reset */
};

struct consumers_outcome {
    enum broker_status status;
    const char *why;             /* more than the code's own text, or NULL */
    const struct cursor *cursor; /* NULL: refused, or removed */
};
typedef void consumers_done(
    void *arg, struct core *core, const struct consumers_outcome *outcome);

/* Do it. `done` is called once, inside the call or later. What the request
 * points to is copied. */
void consumers_ask(struct core *core, const struct consumers_request *request,
    consumers_done *done, void *arg);

/* NULL: there is none. */
const struct cursor *consumers_find(
    const struct core *core, struct broker_bytes name);
/* The next one; NULL: the first, and at the end. */
const struct cursor *consumers_next(
    const struct core *core, const struct cursor *after);
/* Of this stream. */
uint64_t consumers_of(const struct core *core, uint32_t stream);

struct cursor_view {
    struct broker_bytes name, stream;
    const struct consumer_settings *settings;
    struct consumer_info info;
    uint64_t last_sequence; /* of the stream */
    const char *trouble;    /* of the store, with what this consumer needs */
};
void cursor_look(const struct core *core, const struct cursor *cursor,
    struct cursor_view *out);
/* The owner of a reason's attachment is a seat. */
size_t cursor_explain(const struct core *core, const struct cursor *cursor,
    struct consumer_reason *reasons, size_t max);

/* For topics and filters. */
const struct broker_limits *consumers_limits(const struct core *core);

/* What all consumers have done together, those that are no more included.
 * Returns how many there are. */
uint64_t consumers_add_up(
    const struct core *core, uint64_t sums[CONSUMER_COUNTERS]);

/* ---- for the rest of broker/core ----------------------------------------- */

/* NULL if memory is out. */
struct consumers *consumers_new(struct core *core);
/* The core ends: what is under way is answered with SHUTTING_DOWN. NULL is
 * allowed. */
void consumers_free(struct consumers *consumers);
/* Go on: the store, another worker or the clock has moved. */
void consumers_run(struct core *core);
/* When to call that at the latest; UINT64_MAX. */
uint64_t consumers_due(const struct core *core);
bool consumers_are_ready(const struct core *core);
/* The stream is no more; so are its consumers. */
void consumers_stream_removed(struct core *core, uint32_t stream);
/* A letter from an attachment. */
void consumers_on_letter(
    struct core *core, uint32_t from, const struct letter *letter);

#endif
