/* SPDX-License-Identifier: MIT
 *
 * What the load generator has to know of a broker's protocol: how to greet and
 * subscribe, how a publish looks, and how what it delivers looks. Only
 * set-up and the checks of the first deliveries come through here; while a
 * measurement runs, frames built before are written and bytes counted.
 *
 * Topics are numbered. All have the same length, so that within one load all
 * frames have the same size. */
#ifndef BROKER_BENCH_PROTOCOL_H
#define BROKER_BENCH_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "bench/topic/" and seven digits; the separator differs. */
#define TOPIC_BYTES        19
#define TOPIC_PREFIX_BYTES 12
#define TOPICS_MAX         10000000u

enum filter_shape {
    FILTER_EXACT,
    FILTER_WILD /* three or four shapes with wildcards, by number */
};

struct message {
    unsigned topic;
    const uint8_t *payload;
    size_t payload_len;
    /* Of the publish, if it is to be acknowledged; else 0. */
    uint32_t id;
    /* Of the subscription that it is delivered for. */
    unsigned subscription_id;
};

struct subscription {
    unsigned topic;
    enum filter_shape shape;
    const char *group; /* NULL: none */
    unsigned id;
};

/* What stands at the start of some received bytes. */
enum unit {
    UNIT_MESSAGE,
    UNIT_OTHER, /* something harmless that is not a message */
    UNIT_MORE,  /* too few bytes to tell */
    UNIT_BAD    /* a gap, an error, or nothing that belongs here */
};

/* What comes back on a publishing connection. */
struct replies {
    unsigned receivers;    /* given: deliveries of each publish */
    uint64_t acknowledged; /* publishes */
    uint64_t bytes;
    uint8_t part[64];
    size_t part_len;
};

struct protocol {
    const char *name;
    char separator;
    const char *any_level; /* wildcard for one level */
    const char *any_below; /* for the levels below and the one above, or NULL */
    bool acknowledges;     /* publishes, whether asked or not */
    bool can_acknowledge;  /* publishes that have an id */
    bool has_groups;
    bool has_context; /* puts frames of its own between messages */
    /* Harmless bytes that may turn up anywhere once, or NULL. */
    const char *interjection;

    void (*greet)(int fd, bool publisher, unsigned channel);
    /* Append the request to dst; bytes written, at most SUBSCRIBE_BYTES_MAX. */
    size_t (*subscribe)(uint8_t *dst, const struct subscription *subscription);
    /* Wait until the broker has done `count` subscribes. */
    void (*settle)(int fd, size_t count);
    /* One publish and what a subscriber gets for it; bytes written, at most
     * the payload and FRAME_OVERHEAD_MAX. */
    size_t (*publish)(uint8_t *dst, const struct message *message);
    size_t (*deliver)(uint8_t *dst, const struct message *message);
    /* For UNIT_MESSAGE and UNIT_OTHER *bytes is its whole size, which may be
     * more than len. */
    enum unit (*unit)(const uint8_t *src, size_t len, size_t *bytes);
    /* Take bytes that came back to a publisher; false if they are bad. */
    bool (*reply)(struct replies *replies, const uint8_t *src, size_t len);
};

#define SUBSCRIBE_BYTES_MAX 256
#define FRAME_OVERHEAD_MAX  256

extern const struct protocol protocol_brokerd;
extern const struct protocol protocol_relay;
extern const struct protocol protocol_nats;
extern const struct protocol protocol_redis;
extern const struct protocol protocol_mqtt;

/* By name, or NULL. */
const struct protocol *protocol_find(const char *name);

/* The topic with this number: TOPIC_BYTES bytes and a NUL. */
void topic_name(char dst[TOPIC_BYTES + 1], char separator, unsigned topic);

/* A filter that matches this topic and none with another number: at most
 * TOPIC_BYTES + 2 bytes and a NUL. */
void topic_filter(char dst[TOPIC_BYTES + 3], const struct protocol *protocol,
    unsigned topic, enum filter_shape shape);

#endif
