/* SPDX-License-Identifier: MIT
 *
 * The captures of one worker: which streams there are, as far as it has been
 * told. Home orders all workers, itself included, to capture for a stream, and
 * goes on when each has confirmed it; see streams.h.
 *
 * Must not know: the store, and what home has streams for.
 */
#ifndef BROKER_CORE_CAPTURES_H
#define BROKER_CORE_CAPTURES_H

#include "capture.h"

struct core;

LIST_HEAD(capture_list, capture);

/* Home's, until every worker has confirmed it; the others read what is above
 * the line. */
struct capture_order {
    uint32_t stream;
    struct broker_bytes name;
    const struct broker_bytes *filters;
    size_t filter_count; /* 0: the stream ends */
    /* -- */
    uint32_t owed; /* workers that have not answered */
    bool failed;   /* memory was out for one of them */
    /* All have answered. */
    void (*done)(struct core *core, struct capture_order *order);
};

/* Send it to all workers; false: memory is out, nothing was sent. */
bool captures_order(struct core *core, struct capture_order *order);

/* Of this worker; NULL: it knows of none. */
struct capture *core_find_capture(
    const struct core *core, struct broker_bytes name);
struct capture *core_find_capture_of(const struct core *core, uint32_t stream);
/* A capture that may have messages which the filter matches, and how many
 * captures there are of which that is true. */
struct capture *core_overlapping_captures(
    const struct core *core, struct broker_bytes filter, size_t *count);

/* The core ends. */
void captures_drop_all(struct core *core);

/* Letters. */
void captures_on_capture(
    struct core *core, uint32_t from, struct capture_order *order);
void captures_on_captured(
    struct core *core, struct capture_order *order, bool failed);

#endif
