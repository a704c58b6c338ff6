/* SPDX-License-Identifier: MIT
 *
 * Peers that work on durable consumers, for Criterion tests: what they were
 * given, and what they say to it.
 */
#ifndef BROKER_TESTS_CONSUMER_RIG_H
#define BROKER_TESTS_CONSUMER_RIG_H

#include "stream_rig.h"

#define CONSUMER_ID    7u /* of the subscription */
#define DELIVERIES_MAX 4096u

struct delivery {
    uint64_t sequence, time_ms;
    uint32_t deliveries;
    size_t payload_bytes;
    char payload[24]; /* its beginning */
};

struct worker_peer {
    struct fake_peer *peer;
    struct broker_consume_reply reply;
    struct delivery got[DELIVERIES_MAX];
    size_t count;
    size_t bytes;              /* of frames, in all */
    enum broker_status failed; /* of the last ERROR */
    size_t unsubacks;
};

/* A broker with a stream S of "s/#" and, unless `consumer` is NULL, a consumer
 * C of it with these settings: JSON after the name and the stream. */
void work_init(struct rig *rig, uint32_t workers, const char *consumer);
/* Who asks, and publishes. */
struct fake_peer *work_asker(struct rig *rig);

/* A new connection on that worker joins C. */
void work_join(struct worker_peer *worker, struct rig *rig, uint32_t on);
/* The same, without looking at the answer. */
void work_consume(struct worker_peer *worker, struct fake_peer *peer,
    const char *name, uint32_t window);
/* Take what has come, into `got`. Returns how many messages are new. */
size_t work_take(struct worker_peer *worker);
/* One of them. */
void work_say(struct worker_peer *worker, uint16_t type, uint8_t kind,
    uint32_t delay_ms, uint64_t first, uint64_t last);
void work_ack(struct worker_peer *worker, uint64_t first, uint64_t last);
/* So many milliseconds pass, in steps. */
void work_wait(struct rig *rig, uint64_t ms);
/* A number of the consumer's info. */
long long work_number(struct fake_peer *asker, const char *key);
/* Messages "s/t" with a payload that is their number. */
void work_publish(struct fake_peer *asker, uint32_t count);

#endif
