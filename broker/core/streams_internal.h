/* SPDX-License-Identifier: MIT
 *
 * The inside of streams: for streams.c (the table, loading, requests) and
 * stream_steps.c (what is done step by step) only.
 */
#ifndef BROKER_CORE_STREAMS_INTERNAL_H
#define BROKER_CORE_STREAMS_INTERNAL_H

#include "captures.h"
#include "streams.h"

#define STREAM_WHY_BYTES 160u

struct operation;

/* A step. It sets the next one and perhaps waits for an answer, or ends the
 * operation. False: it could do nothing now, and is to be tried again. */
typedef bool stream_step(struct streams *streams, struct operation *operation);

/* A change of one stream on its way. */
struct operation {
    TAILQ_ENTRY(operation) link;
    struct core *core;
    struct stream_request request;    /* its views are those of `wanted` */
    struct stream_definition *wanted; /* name, and what was given */
    struct stream_definition *next;   /* what the stream is to become */
    struct stream *stream;            /* that it is about, once found */
    stream_step *step;
    struct capture_order order;
    struct store_result result; /* of the last step */
    bool is_waiting;            /* for an answer to that */
    bool is_restoring;          /* at the start */
    bool is_listed;
    stream_done *done; /* NULL: nobody asked */
    void *arg;
    enum broker_status status; /* the first thing that went wrong */
    char why[STREAM_WHY_BYTES];
};
TAILQ_HEAD(operation_queue, operation);
TAILQ_HEAD(stream_list, stream);

struct streams {
    struct core *core;
    struct stream_list all;
    size_t count;
    struct operation_queue operations; /* the first one is under way */
    size_t restoring;
    uint64_t unknown;
    uint64_t retry_ms; /* UINT64_MAX: nothing is to be tried again */
    bool scanning, scanned, scan_failed;
};

/* ---- streams.c ----------------------------------------------------------- */

/* With a definition, which it takes over; NULL if memory is out. */
struct stream *stream_add(
    struct streams *streams, struct stream_definition *definition);
void stream_drop(struct streams *streams, struct stream *stream);
struct stream *stream_find(
    const struct streams *streams, struct broker_bytes name);
/* Answer and forget it. */
void operation_end(struct streams *streams, struct operation *operation);

/* ---- stream_steps.c: where operations begin ------------------------------ */

stream_step step_check;         /* what was asked for */
stream_step step_restore;       /* a stream at the start */
stream_step step_finish_remove; /* one that was being removed */

#endif
