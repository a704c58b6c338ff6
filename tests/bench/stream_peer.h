/* SPDX-License-Identifier: MIT
 *
 * One connection of bench_streams to a broker that stores: what it has to know
 * of the broker's protocol to publish and be acknowledged, and to read a stream
 * back. Topics are numbered as in protocol.h; with more than one, each has a
 * stream of its own. */
#ifndef BROKER_BENCH_STREAM_PEER_H
#define BROKER_BENCH_STREAM_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream_peer;

enum stream_reading {
    READING_PLAIN,   /* from the first message on, nothing is acknowledged */
    READING_DURABLE, /* by a durable consumer, each is acknowledged */
    READING_SINGLE,  /* the same, and in a frame of its own */
};

struct stream_side {
    const char *name;
    bool numbered; /* publishes have numbers that go up from 1 */
    void (*greet)(struct stream_peer *peer);
    /* Make the stream of this topic; NULL: whoever starts the broker does. */
    void (*create)(struct stream_peer *peer, unsigned topic);
    /* One publish to be acknowledged; its bytes, at most the payload and
     * STREAM_OVERHEAD_MAX, the same for all topics. */
    size_t (*publish)(
        uint8_t *dst, unsigned topic, const uint8_t *payload, size_t bytes);
    /* Have topic 1 read from the first message on. */
    void (*read)(struct stream_peer *peer, enum stream_reading reading);
    /* What stands at the start of src: counts it, gives up if it does not
     * belong here. Its bytes, or 0 if it is not all there. */
    size_t (*take)(struct stream_peer *peer, const uint8_t *src, size_t len);
};

#define STREAM_OVERHEAD_MAX 256

extern const struct stream_side stream_brokerd;
extern const struct stream_side stream_jetstream;
extern const struct stream_side stream_redis;

struct stream_peer {
    const struct stream_side *side;
    int fd;
    uint8_t *in;
    size_t in_bytes;
    uint8_t *out; /* what is to be said between publishes */
    size_t out_bytes, out_at;
    uint64_t acknowledged, messages;
    enum stream_reading reading;
    uint64_t asked; /* messages that a consumer was asked for */
    /* brokerd: the POSITION whose messages come. */
    uint64_t position;
    uint32_t position_count, position_seen;
};

void stream_peer_open(
    struct stream_peer *peer, const struct stream_side *side, uint16_t port);
void stream_peer_close(struct stream_peer *peer);

/* Say this with the next flush. */
void stream_peer_say(struct stream_peer *peer, const void *data, size_t bytes);

/* Wait until there is something to read (or to write, with `writes`), for
 * timeout_ms at most; then read all that is there, and flush. */
void stream_peer_turn(struct stream_peer *peer, bool writes, int timeout_ms);

#endif
