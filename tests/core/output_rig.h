/* SPDX-License-Identifier: MIT
 *
 * An output with subscriptions, and a reader at its other end that knows what
 * it should get: which message is next for each subscription, and which
 * CONTEXT it must stand under. Where subscriptions conflate, it is open which
 * messages are missing until later ones come. Every step is checked; a broken
 * promise fails the Criterion test that runs.
 */
#ifndef BROKER_TESTS_OUTPUT_RIG_H
#define BROKER_TESTS_OUTPUT_RIG_H

#include "output.h"
#include "subscription.h"

#define RIG_SUBSCRIPTIONS 4
#define RIG_MESSAGES      4096
#define RIG_TOPICS        100
#define RIG_WIRE_BYTES    (4u * 1024u * 1024u)

/* What one subscription should get, and how far it has come. */
struct rig_reader {
    uint32_t matched[RIG_MESSAGES]; /* messages, in order */
    uint32_t count;
    uint32_t next; /* received and reported missing so far */
    uint64_t received, missing;
    bool ended;
    /* Of one that conflates: what is missing was reported before, but it is
     * open which messages those are until a later one comes. */
    bool conflates;
    uint64_t conflated; /* of missing: reported to be so */
    uint64_t passed;    /* of missing: turned out by what came after them */
    bool came[RIG_MESSAGES];
    uint32_t last_of[RIG_TOPICS];    /* 1 + its index in matched */
    uint64_t missing_at[RIG_TOPICS]; /* when that came */
};

struct rig {
    struct block_pool pool;
    struct context_table contexts;
    struct output output;
    struct subscription subscriptions[RIG_SUBSCRIPTIONS];
    struct rig_reader readers[RIG_SUBSCRIPTIONS];
    struct block *block; /* that messages are put into */
    const uint8_t *frames[RIG_MESSAGES];
    uint32_t topics[RIG_MESSAGES];
    uint32_t topic; /* of the next messages; one of RIG_TOPICS */
    uint32_t frame_count;
    uint8_t *wire; /* everything that was taken */
    size_t wire_bytes, decoded_bytes;
    uint32_t context_mask; /* of the last CONTEXT; 0 before the first */
    uint64_t gap_frames, context_frames, control_frames;
    size_t spans_max;
    size_t block_bytes;         /* of the next receive block */
    void (*guard)(bool inside); /* called around output_append; may be NULL */
};

/* Subscription i has id i + 1 and this policy. */
struct rig *rig_new(
    uint64_t max_bytes, const enum broker_overflow policies[RIG_SUBSCRIPTIONS]);
struct rig *rig_new_simple(uint64_t max_bytes, enum broker_overflow policy);
/* What is left is dropped; nothing may be referenced afterwards. */
void rig_free(struct rig *rig);

/* Queue n messages with this many bytes of payload (at least 4) for the
 * subscriptions of the mask, as one run. */
enum output_result rig_append(
    struct rig *rig, uint32_t mask, uint32_t n, size_t payload_bytes);
/* The same, refused for a reason that is not the budget. */
void rig_refuse(struct rig *rig, uint32_t mask, uint32_t n,
    size_t payload_bytes, enum broker_gap_reason reason);
/* A new receive block: what comes next stands elsewhere. */
void rig_next_block(struct rig *rig);
/* A frame in the control lane: PING with this id. */
void rig_control(struct rig *rig, uint32_t id);
/* End subscription i. */
void rig_forget(struct rig *rig, uint32_t i);

/* Let the socket take at most this many bytes, once; returns how many. */
size_t rig_take(struct rig *rig, size_t bytes);
/* Take everything, this many bytes at a time. */
void rig_take_all(struct rig *rig, size_t step);

/* Check the accounts; done after each of the above. */
void rig_check(const struct rig *rig);
/* Take everything; every message was received or reported missing. */
void rig_finish(struct rig *rig);

#endif
