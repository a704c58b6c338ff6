/* SPDX-License-Identifier: MIT
 *
 * The publishers and subscribers of one load, connected to a broker. Which of
 * them belong together is a flow. */
#ifndef BROKER_BENCH_RIG_H
#define BROKER_BENCH_RIG_H

#include "protocol.h"
#include "publisher.h"
#include "receiver.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum load { LOAD_STREAM, LOAD_PACED, LOAD_ROUND_TRIP, LOAD_IDLE, LOAD_FAIR };

enum pattern {
    PATTERN_PAIRS,  /* publisher i, topic i, subscriber i */
    PATTERN_FANOUT, /* one publisher, one topic, all subscribers */
    PATTERN_SPREAD, /* one publisher, many topics, each with one subscriber */
    PATTERN_GROUP   /* one publisher, one topic, one queue group */
};

struct options {
    const struct protocol *protocol;
    uint16_t port;
    pid_t broker_pid;
    enum load load;
    enum pattern pattern;
    unsigned publishers;
    unsigned subscribers;
    unsigned topics;
    unsigned first; /* number of the first topic */
    bool random;    /* topics of PATTERN_SPREAD: any, not in turn */
    enum filter_shape shape;
    size_t payload_bytes;
    bool acknowledge;
    uint64_t window_bytes; /* on the way, for all publishers together */
    uint64_t warmup_ns;
    uint64_t measure_ns;
    uint64_t rate; /* messages a second: LOAD_PACED, LOAD_FAIR */
    bool spin;     /* never sleep */
};

struct flow {
    struct publisher publisher;
    struct receiver *receivers;
    size_t receiver_count;
    bool every; /* each of them gets each message; else one does */
    uint64_t window_bytes;
};

struct rig {
    const struct options *options;
    struct expectation expected;
    uint8_t *payload;
    struct flow *flows;
    size_t flow_count;
    struct receiver *receivers;
    size_t receiver_count;
    int epoll_fd;
};

/* Connect everything and wait until all subscriptions are in force. */
void rig_open(struct rig *rig, const struct options *options);
void rig_close(struct rig *rig);

/* Read what can be read, after at most timeout_ms; with options->spin without
 * waiting. */
void rig_turn(struct rig *rig, int timeout_ms);

/* Deliveries to all receivers, and those to the slowest of a flow (where one
 * of them gets each message: to all of them). */
uint64_t rig_delivered(const struct rig *rig);
uint64_t flow_done(const struct flow *flow);

/* Publishes that all flows have sent, deliveries that they should make, and
 * publishes that were acknowledged. */
uint64_t rig_sent(const struct rig *rig);
uint64_t rig_expected(const struct rig *rig);
uint64_t rig_acknowledged(const struct rig *rig);

/* Finish frames that were cut, then wait until every delivery and every
 * acknowledgement is there. Gives up if one is missing or one is too many. */
void rig_drain(struct rig *rig);

#endif
