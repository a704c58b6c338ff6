/* SPDX-License-Identifier: MIT
 *
 * A tree of topic levels, used twice: with filters as paths it finds the
 * filters that match a topic (subscriptions), with topics as paths it finds the
 * topics that match a filter (retained values). The first visits at most two
 * children for each level of the topic; the second visits what the wildcards of
 * the filter stand for.
 *
 * All nodes stand in one hash table under (parent, level), so that a step down
 * is one look-up however many children a node has.
 *
 * Knows nothing of sessions, frames or what the values are. One thread.
 * PROTOCOL.md section 6.
 */
#ifndef BROKER_CORE_TOPIC_TREE_H
#define BROKER_CORE_TOPIC_TREE_H

#include "table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* In memory a node is followed by the caller's value and then by the text of
 * its level: all that topic_tree_match reads, from `parent` on, stands
 * together. */
struct topic_node {
    LIST_HEAD(, topic_node) children;
    LIST_ENTRY(topic_node) sibling;
    struct topic_node *parent;
    struct topic_node *one;    /* child "+", or NULL */
    struct topic_node *tail;   /* child "#", or NULL */
    uint32_t literal_children; /* children that are neither "+" nor "#" */
    struct table_link link;    /* in the tree's table */
    uint16_t level_bytes;
    uint8_t value_bytes;
    bool has_value; /* the caller's; a node without value and children goes */
};

struct topic_tree {
    struct table nodes;
    struct topic_node *root;
    uint64_t seed;
    uint8_t value_bytes;
};

/* A tree whose nodes hold values of this size. False if memory is out. */
bool topic_tree_init(
    struct topic_tree *tree, uint8_t value_bytes, uint64_t seed);
/* All values must have been taken out. */
void topic_tree_fini(struct topic_tree *tree);

/* The value of a node, zeroed when the node is made. The caller sets has_value
 * while there is something in it. */
static inline void *
topic_node_value(struct topic_node *node)
{
    return node + 1;
}

/* The node of this path, made if it is not there; NULL if memory is out. A node
 * that is made must get a value, or topic_tree_prune. */
struct topic_node *topic_tree_insert(
    struct topic_tree *tree, const uint8_t *path, size_t len);

/* The node of this path, or NULL. */
struct topic_node *topic_tree_find(
    const struct topic_tree *tree, const uint8_t *path, size_t len);

/* Free the node, and those above it, as far as they hold neither value nor
 * children. */
void topic_tree_prune(struct topic_tree *tree, struct topic_node *node);

typedef void topic_tree_visit(void *arg, struct topic_node *node);

/* Visit each node with a value whose path, as a filter, matches `topic`. The
 * tree must not be changed meanwhile. Returns how many nodes were looked at,
 * which is what it cost. */
size_t topic_tree_match(const struct topic_tree *tree, const uint8_t *topic,
    size_t len, topic_tree_visit *visit, void *arg);

/* Several topics together: their look-ups wait for memory side by side, which
 * takes little longer than for one where memory is what it takes time for. What
 * is visited is on its way from memory, too. Returns topics for which not all
 * was visited, because it was too much to remember: a bit each. */
#define TOPIC_TREE_BATCH_MAX 16
struct topic_path {
    const uint8_t *bytes;
    size_t len;
};
typedef void topic_tree_visit_batch(
    void *arg, size_t topic, struct topic_node *node);
uint32_t topic_tree_match_batch(const struct topic_tree *tree,
    const struct topic_path *topics, size_t count,
    topic_tree_visit_batch *visit, void *arg);

/* Visit each node with a value whose path, as a topic, is matched by `filter`.
 * The tree must not be changed meanwhile. Returns the nodes looked at. */
size_t topic_tree_collect(const struct topic_tree *tree, const uint8_t *filter,
    size_t len, topic_tree_visit *visit, void *arg);

/* Write the node's path to dst[0..cap), without a NUL; returns its length, and
 * writes nothing if that is more than cap. */
size_t topic_node_path(const struct topic_node *node, char *dst, size_t cap);

#endif
