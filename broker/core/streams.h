/* SPDX-License-Identifier: MIT
 *
 * The streams of the broker, at home (worker 0). PROTOCOL.md section 5.13.
 *
 * A stream is three things: a definition in the store, the stream of records
 * there, and a capture at each worker (captures.h). Changes are made one after
 * the other, each in steps, and answered when the store has committed and every
 * worker has confirmed. The definition comes first and goes last, and while a
 * stream is removed it says so. Whatever happens in between, a start finishes
 * what it finds: there is a record stream for each definition, or the removal
 * ends. What has no definition is left alone: this never deletes what it does
 * not know.
 *
 * Adding:   definition, record stream, captures.
 * Editing:  definition, limits, captures.
 * Removing: definition "being removed", captures end, record stream, nothing.
 * What fails is undone in the opposite order. Where that fails for the store as
 * well, the next start finishes the change after all.
 *
 * Must not know: JSON, sessions.
 */
#ifndef BROKER_CORE_STREAMS_H
#define BROKER_CORE_STREAMS_H

#include "stream_definition.h"

#include <sys/queue.h>

struct core;
struct streams;

#define STREAMS_MAX 1000u

struct stream {
    TAILQ_ENTRY(stream) link; /* in the order of names */
    const struct stream_definition *definition;
    uint32_t number;  /* of the store; 0: not known yet */
    bool is_removing; /* nobody sees it any more */
};

enum stream_verb { STREAM_ADD, STREAM_EDIT, STREAM_PURGE, STREAM_REMOVE };

struct stream_request {
    enum stream_verb verb;
    struct broker_bytes name;
    /* To add; or to edit, where no filters means: those that it has. */
    const struct broker_bytes *filters;
    size_t filter_count;
    struct store_limits limits;
    /* To edit: which limits are to be changed. */
    bool sets_records, sets_bytes, sets_age, sets_discard;
    /* To purge, at most one of them; without, everything. */
    bool has_before, has_keep;
    uint64_t before, keep; /* a sequence; a number of messages */
};

struct stream_outcome {
    enum broker_status status;
    const char *why;             /* more than the code's own text, or NULL */
    const struct stream *stream; /* NULL: refused, or removed */
};
typedef void stream_done(
    void *arg, struct core *core, const struct stream_outcome *outcome);

/* Do it. `done` is called once, inside the call or later. What the request
 * points to is copied. */
void streams_ask(struct core *core, const struct stream_request *request,
    stream_done *done, void *arg);

/* NULL: there is none. */
const struct stream *streams_find(
    const struct core *core, struct broker_bytes name);
/* The next one in the order of names; NULL: the first, and at the end. */
const struct stream *streams_next(
    const struct core *core, const struct stream *after);
/* What the store knows of it. */
bool streams_get_info(const struct core *core, const struct stream *stream,
    struct store_stream_info *out);
uint64_t streams_count(const struct core *core);
/* Definitions that could not be read, and streams without a definition. */
uint64_t streams_unknown(const struct core *core);

/* ---- for core.c and durable.c -------------------------------------------- */

/* NULL if memory is out. */
struct streams *streams_new(struct core *core);
/* The core ends: what is under way is answered with SHUTTING_DOWN. NULL is
 * allowed. */
void streams_free(struct streams *streams);
/* Go on: the store, another worker or the clock has moved. */
void streams_run(struct core *core);
/* When to call that at the latest; UINT64_MAX. */
uint64_t streams_due(const struct core *core);
bool streams_are_ready(const struct core *core);

#endif
