/* SPDX-License-Identifier: MIT
 *
 * The subscription index; see index.h. */
#include "index.h"

#include <stdlib.h>
#include <string.h>

bool
index_init(struct index *index, uint64_t seed)
{
    *index = (struct index){.epoch = 1};
    return topic_tree_init(&index->tree, sizeof(struct filter), seed);
}

void
index_fini(struct index *index)
{
    topic_tree_fini(&index->tree);
}

static struct filter *
filter_at(struct topic_node *node)
{
    struct filter *filter = topic_node_value(node);
    if (!node->has_value) {
        LIST_INIT(&filter->plain);
        LIST_INIT(&filter->groups);
        filter->workers = 0;
        filter->capture = NULL;
        node->has_value = true;
    }
    return filter;
}

static void
drop_filter_if_unused(struct index *index, struct topic_node *node)
{
    const struct filter *filter = topic_node_value(node);
    if (LIST_EMPTY(&filter->plain) && LIST_EMPTY(&filter->groups) &&
        filter->workers == 0 && filter->capture == NULL) {
        node->has_value = false;
    }
    topic_tree_prune(&index->tree, node);
}

static struct group *
find_group(struct filter *filter, struct broker_bytes name)
{
    struct group *group;
    LIST_FOREACH(group, &filter->groups, of_filter)
    {
        if (group->name_bytes == name.len &&
            memcmp(group->name, name.data, name.len) == 0) {
            return group;
        }
    }
    return NULL;
}

static struct group *
group_new(struct topic_node *node, struct broker_bytes name)
{
    struct group *group = calloc(1, sizeof *group + name.len);
    if (group != NULL) {
        struct filter *filter = topic_node_value(node);
        group->node = node;
        group->name_bytes = (uint8_t)name.len;
        memcpy(group->name, name.data, name.len);
        LIST_INSERT_HEAD(&filter->groups, group, of_filter);
    }
    return group;
}

static void
drop_group_if_empty(struct group *group)
{
    if (group->count == 0 && LIST_EMPTY(&group->remotes)) {
        LIST_REMOVE(group, of_filter);
        free(group->members);
        free(group);
    }
}

static bool
group_join(struct group *group, struct subscription *subscription)
{
    if (group->count == group->capacity) {
        uint32_t capacity = group->capacity == 0 ? 4 : group->capacity * 2;
        struct subscription **members =
            realloc(group->members, capacity * sizeof *members);
        if (members == NULL) {
            return false;
        }
        group->members = members;
        group->capacity = capacity;
    }
    subscription->group = group;
    subscription->group_slot = group->count;
    group->members[group->count++] = subscription;
    return true;
}

static void
group_leave(struct subscription *subscription)
{
    struct group *group = subscription->group;
    struct subscription *last = group->members[--group->count];
    group->members[subscription->group_slot] = last;
    last->group_slot = subscription->group_slot;
    subscription->group = NULL;
    drop_group_if_empty(group);
}

static bool
join_group_at(struct topic_node *node, struct subscription *subscription,
    struct broker_bytes name)
{
    struct group *group = find_group(topic_node_value(node), name);
    if (group == NULL) {
        group = group_new(node, name);
    }
    if (group == NULL) {
        return false;
    }
    if (!group_join(group, subscription)) {
        drop_group_if_empty(group);
        return false;
    }
    return true;
}

bool
index_add(struct index *index, struct subscription *subscription,
    struct broker_bytes filter, struct broker_bytes group)
{
    struct topic_node *node =
        topic_tree_insert(&index->tree, filter.data, filter.len);
    if (node == NULL) {
        return false;
    }
    struct filter *at = filter_at(node);
    if (group.len > 0 && !join_group_at(node, subscription, group)) {
        drop_filter_if_unused(index, node);
        return false;
    }
    if (group.len == 0) {
        LIST_INSERT_HEAD(&at->plain, subscription, of_filter);
    }
    subscription->node = node;
    index->epoch++;
    index->count++;
    return true;
}

void
index_remove(struct index *index, struct subscription *subscription)
{
    struct topic_node *node = subscription->node;
    if (node == NULL) {
        return;
    }
    if (subscription->group != NULL) {
        group_leave(subscription);
    } else {
        LIST_REMOVE(subscription, of_filter);
    }
    subscription->node = NULL;
    drop_filter_if_unused(index, node);
    index->epoch++;
    index->count--;
}

/* ---- other workers ------------------------------------------------------- */

bool
index_add_worker(
    struct index *index, struct broker_bytes filter, uint32_t worker)
{
    struct topic_node *node =
        topic_tree_insert(&index->tree, filter.data, filter.len);
    if (node == NULL) {
        return false;
    }
    filter_at(node)->workers |= UINT64_C(1) << worker;
    index->epoch++;
    return true;
}

void
index_remove_worker(
    struct index *index, struct broker_bytes filter, uint32_t worker)
{
    struct topic_node *node =
        topic_tree_find(&index->tree, filter.data, filter.len);
    struct filter *at = topic_node_value(node);
    at->workers &= ~(UINT64_C(1) << worker);
    drop_filter_if_unused(index, node);
    index->epoch++;
}

/* ---- streams ------------------------------------------------------------- */

bool
index_add_capture(
    struct index *index, struct broker_bytes filter, struct capture *capture)
{
    struct topic_node *node =
        topic_tree_insert(&index->tree, filter.data, filter.len);
    if (node == NULL) {
        return false;
    }
    filter_at(node)->capture = capture;
    index->epoch++;
    return true;
}

void
index_remove_capture(struct index *index, struct broker_bytes filter)
{
    struct topic_node *node =
        topic_tree_find(&index->tree, filter.data, filter.len);
    struct filter *at = topic_node_value(node);
    at->capture = NULL;
    drop_filter_if_unused(index, node);
    index->epoch++;
}

/* ---- groups of other workers --------------------------------------------- */

struct group_remote *
index_join_remote(struct index *index, struct broker_bytes filter,
    struct broker_bytes name, uint32_t worker, struct interest *interest)
{
    struct topic_node *node =
        topic_tree_insert(&index->tree, filter.data, filter.len);
    if (node == NULL) {
        return NULL;
    }
    struct group *group = find_group(filter_at(node), name);
    if (group == NULL) {
        group = group_new(node, name);
    }
    struct group_remote *remote =
        group == NULL ? NULL : calloc(1, sizeof *remote);
    if (remote == NULL) {
        if (group != NULL) {
            drop_group_if_empty(group);
        }
        drop_filter_if_unused(index, node);
        return NULL;
    }
    remote->group = group;
    remote->worker = worker;
    remote->interest = interest;
    LIST_INSERT_HEAD(&group->remotes, remote, of_group);
    index->epoch++;
    return remote;
}

void
index_leave_remote(struct index *index, struct group_remote *remote)
{
    struct group *group = remote->group;
    struct topic_node *node = group->node;
    LIST_REMOVE(remote, of_group);
    free(remote);
    drop_group_if_empty(group);
    drop_filter_if_unused(index, node);
    index->epoch++;
}

/* ---- matching ------------------------------------------------------------ */

struct match {
    index_visit *visit;
    void *arg;
};

static void
visit_node(void *arg, struct topic_node *node)
{
    const struct match *match = arg;
    match->visit(match->arg, topic_node_value(node));
}

size_t
index_match(const struct index *index, struct broker_bytes topic,
    index_visit *visit, void *arg)
{
    struct match match = {visit, arg};
    return topic_tree_match(
        &index->tree, topic.data, topic.len, visit_node, &match);
}

struct match_batch {
    index_visit_batch *visit;
    void *arg;
};

static void
visit_batch_node(void *arg, size_t topic, struct topic_node *node)
{
    const struct match_batch *match = arg;
    match->visit(match->arg, topic, topic_node_value(node));
}

uint32_t
index_match_batch(const struct index *index, const struct broker_bytes *topics,
    size_t count, index_visit_batch *visit, void *arg)
{
    struct match_batch match = {visit, arg};
    struct topic_path paths[TOPIC_TREE_BATCH_MAX];
    for (size_t i = 0; i < count; i++) {
        paths[i] = (struct topic_path){topics[i].data, topics[i].len};
    }
    return topic_tree_match_batch(
        &index->tree, paths, count, visit_batch_node, &match);
}
