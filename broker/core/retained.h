/* SPDX-License-Identifier: MIT
 *
 * Retained values: the last message of each topic that was published with
 * RETAIN, in memory (PROTOCOL.md section 5.5). Values are copies of whole
 * frames in blocks of their own, so that a retained value never keeps a receive
 * block alive. Knows nothing of sessions.
 */
#ifndef BROKER_CORE_RETAINED_H
#define BROKER_CORE_RETAINED_H

#include "block.h"
#include "topic_tree.h"

#include <broker/codec.h>

/* The value of a tree node. */
struct retained_value {
    struct block *frame; /* data[0..fill) is the PUBLISH frame */
    uint64_t serial;     /* in the order of retaining */
};

struct retained {
    struct topic_tree tree;
    struct block_pool *pool;
    uint64_t max_topics, max_bytes;
    uint64_t topics, bytes;
    uint64_t serial;
};

/* False if memory is out. */
bool retained_init(struct retained *retained, struct block_pool *pool,
    uint64_t max_topics, uint64_t max_bytes, uint64_t seed);
void retained_fini(struct retained *retained);

/* Replace the topic's value by this frame. BROKER_OK,
 * BROKER_E_RETAINED_LIMIT or BROKER_E_MEMORY; then nothing changed. */
enum broker_status retained_put(struct retained *retained,
    struct broker_bytes topic, struct broker_bytes frame);

/* The same with the place that it had among the others. */
enum broker_status retained_restore(struct retained *retained,
    struct broker_bytes topic, struct broker_bytes frame, uint64_t serial);

/* Remove the topic's value, if it has one. */
void retained_clear(struct retained *retained, struct broker_bytes topic);

/* All values whose topic matches, oldest first: an array for the caller to
 * free, of pointers that are valid until the next change. NULL and *count = 0
 * if there are none; NULL and *count = SIZE_MAX if memory is out. */
struct retained_value **retained_collect(
    const struct retained *retained, struct broker_bytes filter, size_t *count);

/* A value as it is sent; whose reference `block` is depends on the place. */
struct retained_copy {
    struct block *block;
    const uint8_t *data;
    size_t bytes;
};

/* The same as views, without references. */
struct retained_copy *retained_copies(
    const struct retained *retained, struct broker_bytes filter, size_t *count);

#endif
