/* SPDX-License-Identifier: MIT
 *
 * Captures: which topics go to which stream, as one worker knows it. A stream's
 * filters stand in the index beside the subscriptions, so that a route says
 * whether its topic is captured without a look-up of its own. Home has the
 * streams and tells all workers (streams.h).
 *
 * Knows nothing of what a stream is. One thread; each worker has its own.
 */
#ifndef BROKER_CORE_CAPTURE_H
#define BROKER_CORE_CAPTURE_H

#include <broker/codec.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct index;

struct capture {
    LIST_ENTRY(capture) link; /* of the worker's; see captures.h */
    uint32_t references;
    uint32_t stream; /* the store's number */
    size_t filter_count;
    struct broker_bytes name;
    struct broker_bytes *filters; /* that are in the index */
};

/* These filters are captured from now on. NULL: memory is out, nothing changed.
 * No filter may be in another capture. One reference is the caller's. */
struct capture *capture_new(struct index *index, uint32_t stream,
    struct broker_bytes name, const struct broker_bytes *filters, size_t count);
/* The stream has these filters from now on, and others no more. NULL: memory is
 * out, nothing changed. Else `old` has ended, and one reference of the new one
 * is the caller's. */
struct capture *capture_replace(struct index *index, struct capture *old,
    const struct broker_bytes *filters, size_t count);
/* And no more. The object stays while somebody has a reference. */
void capture_end(struct index *index, struct capture *capture);

static inline struct capture *
capture_ref(struct capture *capture)
{
    capture->references++;
    return capture;
}
/* NULL is allowed. */
void capture_unref(struct capture *capture);

#endif
