/* SPDX-License-Identifier: MIT
 *
 * Retained values; see retained.h. */
#include "retained.h"

#include <stdlib.h>
#include <string.h>

bool
retained_init(struct retained *retained, struct block_pool *pool,
    uint64_t max_topics, uint64_t max_bytes, uint64_t seed)
{
    *retained = (struct retained){
        .pool = pool, .max_topics = max_topics, .max_bytes = max_bytes};
    return topic_tree_init(
        &retained->tree, sizeof(struct retained_value), seed);
}

static void
remove_value(struct retained *retained, struct topic_node *node)
{
    struct retained_value *value = topic_node_value(node);
    retained->topics--;
    retained->bytes -= value->frame->fill;
    block_unref(value->frame);
    value->frame = NULL;
    node->has_value = false;
    topic_tree_prune(&retained->tree, node);
}

/* Allocates nothing: it has to succeed when memory is out. */
void
retained_fini(struct retained *retained)
{
    struct topic_node *root = retained->tree.root;
    while (root != NULL && !LIST_EMPTY(&root->children)) {
        struct topic_node *leaf = LIST_FIRST(&root->children);
        while (!LIST_EMPTY(&leaf->children)) {
            leaf = LIST_FIRST(&leaf->children);
        }
        remove_value(retained, leaf);
    }
    topic_tree_fini(&retained->tree);
}

static bool
fits(const struct retained *retained, const struct retained_value *old,
    size_t bytes)
{
    uint64_t others =
        retained->bytes - (old == NULL ? 0 : (uint64_t)old->frame->fill);
    uint64_t topics = retained->topics + (old == NULL ? 1 : 0);
    return topics <= retained->max_topics && others <= retained->max_bytes &&
           bytes <= retained->max_bytes - others;
}

static struct block *
copy_frame(struct retained *retained, struct broker_bytes frame)
{
    struct block *block = block_new(retained->pool, frame.len);
    if (block != NULL) {
        memcpy(block->data, frame.data, frame.len);
        block->fill = (uint32_t)frame.len;
    }
    return block;
}

static struct retained_value *
value_new(struct retained *retained, struct broker_bytes topic)
{
    struct topic_node *node =
        topic_tree_insert(&retained->tree, topic.data, topic.len);
    if (node == NULL) {
        return NULL;
    }
    node->has_value = true;
    retained->topics++;
    return topic_node_value(node);
}

enum broker_status
retained_put(struct retained *retained, struct broker_bytes topic,
    struct broker_bytes frame)
{
    struct topic_node *node =
        topic_tree_find(&retained->tree, topic.data, topic.len);
    struct retained_value *value =
        node == NULL || !node->has_value ? NULL : topic_node_value(node);
    if (!fits(retained, value, frame.len)) {
        return BROKER_E_RETAINED_LIMIT;
    }
    struct block *block = copy_frame(retained, frame);
    if (block == NULL) {
        return BROKER_E_MEMORY;
    }
    if (value == NULL) {
        value = value_new(retained, topic);
        if (value == NULL) {
            block_unref(block);
            return BROKER_E_MEMORY;
        }
    } else {
        retained->bytes -= value->frame->fill;
        block_unref(value->frame);
    }
    value->frame = block;
    value->serial = ++retained->serial;
    retained->bytes += block->fill;
    return BROKER_OK;
}

enum broker_status
retained_restore(struct retained *retained, struct broker_bytes topic,
    struct broker_bytes frame, uint64_t serial)
{
    uint64_t last = retained->serial;
    enum broker_status status = retained_put(retained, topic, frame);
    if (status == BROKER_OK) {
        struct topic_node *node =
            topic_tree_find(&retained->tree, topic.data, topic.len);
        struct retained_value *value = topic_node_value(node);
        value->serial = serial;
        retained->serial = serial > last ? serial : last;
    }
    return status;
}

void
retained_clear(struct retained *retained, struct broker_bytes topic)
{
    struct topic_node *node =
        topic_tree_find(&retained->tree, topic.data, topic.len);
    if (node != NULL && node->has_value) {
        remove_value(retained, node);
    }
}

struct collection {
    struct retained_value **values;
    size_t count, capacity;
    bool failed;
};

static void
collect(void *arg, struct topic_node *node)
{
    struct collection *collection = arg;
    if (collection->count == collection->capacity) {
        size_t capacity =
            collection->capacity == 0 ? 16 : collection->capacity * 2;
        struct retained_value **values =
            realloc(collection->values, capacity * sizeof *values);
        if (values == NULL) {
            collection->failed = true;
            return;
        }
        collection->values = values;
        collection->capacity = capacity;
    }
    collection->values[collection->count++] = topic_node_value(node);
}

static int
by_serial(const void *a, const void *b)
{
    const struct retained_value *const *left = a;
    const struct retained_value *const *right = b;
    return ((*left)->serial > (*right)->serial) -
           ((*left)->serial < (*right)->serial);
}

struct retained_value **
retained_collect(
    const struct retained *retained, struct broker_bytes filter, size_t *count)
{
    struct collection collection = {0};
    topic_tree_collect(
        &retained->tree, filter.data, filter.len, collect, &collection);
    if (collection.failed) {
        free(collection.values);
        *count = SIZE_MAX;
        return NULL;
    }
    if (collection.count > 1) {
        qsort(collection.values, collection.count, sizeof *collection.values,
            by_serial);
    }
    *count = collection.count;
    return collection.values;
}

struct retained_copy *
retained_copies(
    const struct retained *retained, struct broker_bytes filter, size_t *count)
{
    struct retained_value **values = retained_collect(retained, filter, count);
    if (values == NULL) {
        return NULL;
    }
    struct retained_copy *copies = calloc(*count, sizeof *copies);
    for (size_t i = 0; copies != NULL && i < *count; i++) {
        struct block *frame = values[i]->frame;
        copies[i] = (struct retained_copy){frame, frame->data, frame->fill};
    }
    free(values);
    return copies;
}
