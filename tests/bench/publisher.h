/* SPDX-License-Identifier: MIT
 *
 * One publishing connection: frames that were built before, written round and
 * round, and what comes back. */
#ifndef BROKER_BENCH_PUBLISHER_H
#define BROKER_BENCH_PUBLISHER_H

#include "protocol.h"
#include "receiver.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct publisher {
    const struct protocol *protocol;
    int fd;
    uint8_t *frames;
    size_t frames_len;
    size_t frame_bytes;
    size_t at;           /* next byte of frames to write */
    uint64_t sent_bytes; /* in all */
    bool writable;       /* the last write did not say EAGAIN */
    bool numbered;       /* publish numbers go up from 1 */
    uint32_t next_id;
    struct replies replies;
};

/* Which topics the frames are for, one after the other. */
struct topic_walk {
    unsigned first;
    unsigned count;
    bool random; /* any of them each time; else in turn */
    size_t frames;
};

/* Connect, greet, build the frames; the socket does not block.
 * receivers: deliveries of each publish, for the broker's answers. */
void publisher_open(struct publisher *publisher,
    const struct protocol *protocol, const struct expectation *expected,
    uint16_t port, unsigned channel, struct topic_walk walk,
    unsigned receivers);
void publisher_close(struct publisher *publisher);

/* One write of at most max_bytes. */
void publisher_write(struct publisher *publisher, uint64_t max_bytes);

/* Read all that came back. Gives up if it is not what belongs here. */
void publisher_read(struct publisher *publisher);

/* Publishes begun; the last one may be cut. */
uint64_t publisher_messages(const struct publisher *publisher);

/* Bytes to the end of a frame that was cut; 0 if none was. */
uint64_t publisher_cut_bytes(const struct publisher *publisher);

#endif
