/* SPDX-License-Identifier: MIT
 *
 * The lines of an input as messages of one batch. Knows nothing of the broker
 * but how much it takes at once.
 */
#ifndef BROKERCTL_BATCH_H
#define BROKERCTL_BATCH_H

#include <broker/client.h>

#include "source.h"

struct batch {
    struct broker_client_outgoing *messages; /* payloads are owned */
    size_t count, capacity;
    size_t bytes; /* of all payloads */
};

/* Read everything that the source has, at most `most` lines, as messages like
 * `like`; only the first expects a last sequence. CTL_EXIT_OK, or said; either
 * way batch_fini() is due. */
enum ctl_exit batch_read(struct batch *batch, struct source *source,
    const struct broker_client_outgoing *like, uint64_t most);
void batch_fini(struct batch *batch);

#endif
