/* SPDX-License-Identifier: MIT
 *
 * One subscribing connection. The first deliveries are parsed and compared
 * byte for byte with what the protocol should send. After that bytes are
 * counted and thrown away in the kernel, and the size of a frame makes
 * messages of them; where a broker puts frames of its own between the messages
 * (brokerd, when a connection has several subscriptions), headers are followed
 * one by one instead. */
#ifndef BROKER_BENCH_RECEIVER_H
#define BROKER_BENCH_RECEIVER_H

#include "protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum receiver_mode {
    RECEIVER_CHECK, /* the first messages */
    RECEIVER_COUNT, /* bytes */
    RECEIVER_FOLLOW /* headers */
};

/* What deliveries look like in this load; the same for all receivers. */
struct expectation {
    const uint8_t *payload;
    size_t payload_len;
    size_t frame_bytes;   /* of a delivery */
    size_t topic_at;      /* where the topic stands in it */
    bool numbered;        /* publishes carry ids */
    unsigned id_of_topic; /* not 0: subscription ids are this + topic */
};

struct receiver {
    const struct protocol *protocol;
    const struct expectation *expected;
    int fd;
    enum receiver_mode mode;
    bool follow;       /* after the check, follow headers */
    uint64_t messages; /* found by parsing */
    uint64_t bytes;    /* counted since, from the start of a frame on */
    uint8_t *head;     /* what is being checked */
    size_t head_len;
    uint64_t skip_bytes; /* of the frame that is being followed */
    bool skip_message;   /* it is a message */
    uint8_t part[16];    /* of its header */
    size_t part_len;
};

/* Fill in *expected; payload stays the caller's. */
void expectation_init(struct expectation *expected,
    const struct protocol *protocol, const uint8_t *payload, size_t payload_len,
    bool numbered, bool many);

/* Connect and greet; nothing is subscribed yet. `many`: several subscriptions
 * will be made. */
void receiver_open(struct receiver *receiver, const struct protocol *protocol,
    const struct expectation *expected, uint16_t port, unsigned channel,
    bool many);
void receiver_close(struct receiver *receiver);

/* Subscribe to topics first, first + step, ... below `end`, wait until the
 * broker has done so, and make the socket non-blocking. */
void receiver_subscribe(struct receiver *receiver, unsigned first,
    unsigned step, unsigned end, enum filter_shape shape, const char *group);

/* One read. False if there was nothing. Gives up when the connection ends or
 * something comes that does not belong here. */
bool receiver_read(struct receiver *receiver);

/* Whole messages so far. */
uint64_t receiver_messages(const struct receiver *receiver);

/* Nothing but whole messages so far? */
bool receiver_is_whole(const struct receiver *receiver);

#endif
