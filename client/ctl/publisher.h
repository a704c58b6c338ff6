/* SPDX-License-Identifier: MIT
 *
 * Sends messages and keeps the books of their acknowledgements. Any number may
 * be in flight; the library's buffer bounds them. Knows nothing of where the
 * payloads come from.
 */
#ifndef BROKERCTL_PUBLISHER_H
#define BROKERCTL_PUBLISHER_H

#include <stdbool.h>
#include <stdint.h>

#include "link.h"

/* The first refusals are said one by one, the rest is counted. */
#define PUBLISHER_SAID_MAX 5

struct publisher {
    struct link *link;
    struct broker_client_outgoing message; /* all but the payload */
    bool acknowledge;
    uint64_t idle_limit_ns; /* longest time without an answer; 0: no limit */

    size_t batch;       /* messages of the batch that is under way; else 0 */
    uint64_t sent;      /* handed to the library, which took them */
    uint64_t settled;   /* of these: acknowledged or refused by the broker */
    uint64_t refused;   /* of these: refused by the broker */
    uint64_t unmatched; /* acknowledged, and nobody was subscribed */
    uint64_t matched;   /* sum over all messages */
    uint64_t queue_refused;     /* of matched: had no room for it */
    enum broker_status refusal; /* the first one */
    uint64_t progress_ns;       /* when something was settled last */
};

enum publisher_result {
    PUBLISHER_SENT,
    PUBLISHER_FULL,   /* let the client work, then try again */
    PUBLISHER_FAILED, /* said; the exit code is in *code */
};

/* Hand one message to the library, which copies it. `where` names it in a
 * message, "line 7: "; it may be "". */
enum publisher_result publisher_send(struct publisher *publisher,
    const void *payload, size_t payload_len, const char *where,
    enum ctl_exit *code);

/* The same for several messages that are stored together; they count as one. */
enum publisher_result publisher_send_batch(struct publisher *publisher,
    const struct broker_client_outgoing *messages, size_t count,
    enum ctl_exit *code);

/* Is the broker silent for too long, or gone? CTL_EXIT_OK if not; else it was
 * said. Call it when nothing else happens. */
enum ctl_exit publisher_check(struct publisher *publisher);

/* When publisher_check() has to be called at the latest. */
uint64_t publisher_deadline_ns(const struct publisher *publisher);

/* Wait until the broker has answered everything. CTL_EXIT_OK, or said. */
enum ctl_exit publisher_flush(struct publisher *publisher);

/* What the books say, once all is settled: refusals and missing room become
 * sentences and an exit code. */
enum ctl_exit publisher_verdict(
    const struct publisher *publisher, bool require_subscribers);

#endif
