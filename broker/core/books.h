/* SPDX-License-Identifier: MIT
 *
 * The books of a subscription: what became of every message that it was meant
 * to get. Plain data; context.c enters, when told by output*.c. */
#ifndef BROKER_CORE_BOOKS_H
#define BROKER_CORE_BOOKS_H

#include <stdint.h>

/* Why a matched message was not delivered. */
enum drop_reason {
    DROP_OVERFLOW,  /* the connection's output budget */
    DROP_CONFLATED, /* the same, and a newer one of the topic was queued */
    DROP_TOO_LARGE, /* larger than the connection's max_body_bytes */
    DROP_MEMORY,    /* no memory to queue it */
    DROP_EXPIRED,   /* of a stream: TTL_MS was over */
    DROP_TRIMMED,   /* of a stream: a limit or a purge took it */
    DROP_DAMAGED,   /* of a stream: its checksum failed */
    DROP_CLOSED,    /* still queued when connection or subscription ended */
    DROP_REASONS,
};

/* Always: matched == delivered + queued + the sum of dropped. Each counter is
 * changed where the thing happens, none is computed from the others, so that
 * the sum is a check. */
struct books {
    uint64_t matched;
    uint64_t queued;
    uint64_t delivered; /* handed to the socket */
    uint64_t dropped[DROP_REASONS];
};

static inline uint64_t
books_dropped(const struct books *books)
{
    uint64_t sum = 0;
    for (int reason = 0; reason < DROP_REASONS; reason++) {
        sum += books->dropped[reason];
    }
    return sum;
}

#endif
