/* SPDX-License-Identifier: MIT
 *
 * The subscription index: which subscriptions does a topic reach? A topic tree
 * with filters as paths; at each filter its plain subscriptions and its queue
 * groups. `epoch` moves with every change, so that what was looked up before
 * can be told to be out of date. Knows nothing of frames or queues.
 */
#ifndef BROKER_CORE_INDEX_H
#define BROKER_CORE_INDEX_H

#include "subscription.h"
#include "topic_tree.h"

#include <broker/codec.h>

struct capture;

/* The value of a tree node. */
struct filter {
    struct subscription_list plain;
    struct group_list groups;
    uint64_t workers; /* others that have plain subscriptions: a bit each */
    struct capture *capture; /* the stream whose filter it is, or NULL */
};

struct index {
    struct topic_tree tree;
    uint64_t epoch;
    uint64_t count; /* subscriptions */
};

/* False if memory is out. */
bool index_init(struct index *index, uint64_t seed);
/* All subscriptions must have been removed. */
void index_fini(struct index *index);

/* Enter the subscription under `filter`, in the queue group of that name unless
 * it is empty. Sets its node and group. False if memory is out; then nothing
 * changed. */
bool index_add(struct index *index, struct subscription *subscription,
    struct broker_bytes filter, struct broker_bytes group);

/* Take it out, if it is in; its node and group are NULL afterwards. */
void index_remove(struct index *index, struct subscription *subscription);

/* Another worker has plain subscriptions with this filter. False if memory is
 * out. */
bool index_add_worker(
    struct index *index, struct broker_bytes filter, uint32_t worker);
void index_remove_worker(
    struct index *index, struct broker_bytes filter, uint32_t worker);

/* A stream captures what the filter matches; no other one has this filter.
 * False if memory is out. */
bool index_add_capture(
    struct index *index, struct broker_bytes filter, struct capture *capture);
void index_remove_capture(struct index *index, struct broker_bytes filter);

/* Another worker has a member of this queue group. NULL if memory is out. */
struct group_remote *index_join_remote(struct index *index,
    struct broker_bytes filter, struct broker_bytes group, uint32_t worker,
    struct interest *interest);
void index_leave_remote(struct index *index, struct group_remote *remote);

/* Call for each filter that matches the topic. Returns what it cost: the nodes
 * of the tree that were looked at. */
typedef void index_visit(void *arg, struct filter *filter);
size_t index_match(const struct index *index, struct broker_bytes topic,
    index_visit *visit, void *arg);

/* The same for several topics, at most TOPIC_TREE_BATCH_MAX; as
 * topic_tree_match_batch. */
typedef void index_visit_batch(void *arg, size_t topic, struct filter *filter);
uint32_t index_match_batch(const struct index *index,
    const struct broker_bytes *topics, size_t count, index_visit_batch *visit,
    void *arg);

#endif
