/* SPDX-License-Identifier: MIT
 *
 * A client's receiving side, as far as it is the same in every simulation: what
 * comes out of the core is cut into frames and decoded, and what PROTOCOL.md
 * says of any stream is checked (section 4: CONTEXT before PUBLISH, nothing
 * after GOAWAY, sums that balance). What a frame should say is for the
 * simulation to judge, in a call for each kind.
 */
#ifndef BROKER_TESTS_READER_H
#define BROKER_TESTS_READER_H

#include "fake_net.h"

#define READER_CONTEXT_MAX 64

struct sim_reader {
    uint32_t context[READER_CONTEXT_MAX], context_count;
    bool context_retained;
    bool told; /* GOAWAY came */
};

/* What was received, as it was decoded; `world` and `client` are what
 * reader_read was given. All must be set. */
struct reader_calls {
    void (*frame)(void *world, void *client, const struct broker_frame *frame);
    void (*welcome)(void *world, void *client, const struct broker_welcome *m);
    void (*error)(void *world, void *client, const struct broker_error *m);
    void (*ping)(void *world, void *client, const struct broker_ping *m);
    void (*goaway)(void *world, void *client, const struct broker_goaway *m);
    void (*puback)(void *world, void *client, const struct broker_puback *m);
    void (*suback)(void *world, void *client, const struct broker_suback *m);
    void (*unsuback)(
        void *world, void *client, const struct broker_unsuback *m);
    void (*gap)(void *world, void *client, const struct broker_gap *m);
    /* Of a CONTEXT: one of its subscriptions. */
    void (*context)(void *world, void *client, uint32_t id);
    void (*publish)(void *world, void *client, const struct broker_frame *frame,
        const struct broker_publish *m);
};

/* Read all frames that have come to the peer since the last time. A broken
 * promise ends the program, by the peer's net. */
void reader_read(struct sim_reader *reader, struct fake_peer *peer,
    const struct reader_calls *calls, void *world, void *client);

/* Is the subscription one of those that a PUBLISH now is for? */
bool reader_in_context(const struct sim_reader *reader, uint32_t id);

#endif
