/* SPDX-License-Identifier: MIT
 *
 * The tree of topic levels; see topic_tree.h. The depth of every recursion is
 * the number of levels, which the limits bound. */
#include "topic_tree.h"

#include "fetch.h"
#include "same.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct level {
    const uint8_t *bytes;
    size_t len;
};

/* Take the first level off path[*pos..len]. *pos is len + 1 after the last. */
static struct level
next_level(const uint8_t *path, size_t len, size_t *pos)
{
    const uint8_t *start = path + *pos;
    const uint8_t *slash = memchr(start, '/', len - *pos);
    size_t level_len = slash == NULL ? len - *pos : (size_t)(slash - start);
    *pos += level_len + 1;
    return (struct level){start, level_len};
}

static bool
level_is(struct level level, char wildcard)
{
    return level.len == 1 && level.bytes[0] == (uint8_t)wildcard;
}

static const uint8_t *
text_of(const struct topic_node *node)
{
    return (const uint8_t *)(node + 1) + node->value_bytes;
}

static uint64_t
level_hash(const struct topic_tree *tree, struct level level)
{
    return table_hash(level.bytes, level.len, tree->seed);
}

/* The place of a child among all nodes: a level has to be hashed only once for
 * all the parents that it is looked for under. */
static uint64_t
node_hash(const struct topic_node *parent, uint64_t hash_of_level)
{
    /* The parent's address is unique while it lives, and children do not
     * outlive their parent. The factor spreads it over all bits. */
    return (hash_of_level ^ (uint64_t)(uintptr_t)parent) *
           UINT64_C(0x9E3779B97F4A7C15);
}

static bool
is_child(const struct topic_node *node, const struct topic_node *parent,
    struct level level)
{
    return node->parent == parent && node->level_bytes == level.len &&
           same_bytes(text_of(node), level.bytes, level.len);
}

static struct topic_node *
find_literal(const struct topic_tree *tree, const struct topic_node *parent,
    struct level level, uint64_t hash)
{
    struct table_link *link = table_first(&tree->nodes, hash);
    for (; link != NULL; link = table_next(&tree->nodes, link)) {
        struct topic_node *node = table_entry(link, struct topic_node, link);
        if (is_child(node, parent, level)) {
            return node;
        }
    }
    return NULL;
}

static struct topic_node *
literal_child(const struct topic_tree *tree, const struct topic_node *parent,
    struct level level)
{
    if (parent->literal_children == 0) {
        return NULL;
    }
    return find_literal(
        tree, parent, level, node_hash(parent, level_hash(tree, level)));
}

static struct topic_node *
child_of(const struct topic_tree *tree, const struct topic_node *parent,
    struct level level)
{
    if (level_is(level, '+')) {
        return parent->one;
    }
    if (level_is(level, '#')) {
        return parent->tail;
    }
    return literal_child(tree, parent, level);
}

static struct topic_node *
node_new(struct topic_tree *tree, struct topic_node *parent, struct level level)
{
    size_t value_bytes = tree->value_bytes;
    struct topic_node *node = calloc(1, sizeof *node + value_bytes + level.len);
    if (node == NULL) {
        return NULL;
    }
    node->parent = parent;
    node->value_bytes = tree->value_bytes;
    node->level_bytes = (uint16_t)level.len;
    if (level.len > 0) {
        memcpy((char *)(node + 1) + value_bytes, level.bytes, level.len);
    }
    LIST_INIT(&node->children);
    return node;
}

static struct topic_node *
add_child(
    struct topic_tree *tree, struct topic_node *parent, struct level level)
{
    struct topic_node *node = node_new(tree, parent, level);
    if (node == NULL) {
        return NULL;
    }
    if (level_is(level, '+')) {
        parent->one = node;
    } else if (level_is(level, '#')) {
        parent->tail = node;
    } else {
        if (!table_insert(&tree->nodes, &node->link,
                node_hash(parent, level_hash(tree, level)))) {
            free(node);
            return NULL;
        }
        parent->literal_children++;
    }
    LIST_INSERT_HEAD(&parent->children, node, sibling);
    return node;
}

bool
topic_tree_init(struct topic_tree *tree, uint8_t value_bytes, uint64_t seed)
{
    *tree = (struct topic_tree){.seed = seed, .value_bytes = value_bytes};
    tree->root = node_new(tree, NULL, (struct level){NULL, 0});
    return tree->root != NULL;
}

void
topic_tree_fini(struct topic_tree *tree)
{
    assert(tree->root == NULL || LIST_EMPTY(&tree->root->children));
    free(tree->root);
    tree->root = NULL;
    table_fini(&tree->nodes);
}

struct topic_node *
topic_tree_insert(struct topic_tree *tree, const uint8_t *path, size_t len)
{
    struct topic_node *node = tree->root;
    for (size_t pos = 0; pos <= len;) {
        struct level level = next_level(path, len, &pos);
        struct topic_node *child = child_of(tree, node, level);
        if (child == NULL) {
            child = add_child(tree, node, level);
        }
        if (child == NULL) {
            topic_tree_prune(tree, node);
            return NULL;
        }
        node = child;
    }
    return node;
}

struct topic_node *
topic_tree_find(const struct topic_tree *tree, const uint8_t *path, size_t len)
{
    struct topic_node *node = tree->root;
    for (size_t pos = 0; pos <= len && node != NULL;) {
        node = child_of(tree, node, next_level(path, len, &pos));
    }
    return node;
}

static void
unlink_child(struct topic_tree *tree, struct topic_node *node)
{
    struct topic_node *parent = node->parent;
    if (parent->one == node) {
        parent->one = NULL;
    } else if (parent->tail == node) {
        parent->tail = NULL;
    } else {
        table_remove(&tree->nodes, &node->link);
        parent->literal_children--;
    }
    LIST_REMOVE(node, sibling);
}

void
topic_tree_prune(struct topic_tree *tree, struct topic_node *node)
{
    while (
        node != tree->root && !node->has_value && LIST_EMPTY(&node->children)) {
        struct topic_node *parent = node->parent;
        unlink_child(tree, node);
        free(node);
        node = parent;
    }
}

/* Wildcards in the first level do not see the broker's own topics. */
static bool
hides_from_wildcards(const uint8_t *topic, size_t len, size_t pos)
{
    return pos == 0 && len > 0 && topic[0] == '$';
}

struct search {
    const struct topic_tree *tree;
    const uint8_t *path;
    size_t len;
    topic_tree_visit *visit;
    void *arg;
};

static void
visit_value(const struct search *search, struct topic_node *node)
{
    if (node != NULL && node->has_value) {
        search->visit(search->arg, node);
    }
}

/* `node` stands for the levels before `pos`. Returns the nodes looked at. */
static size_t
match_below(const struct search *search, struct topic_node *node, size_t pos)
{
    bool wild = !hides_from_wildcards(search->path, search->len, pos);
    size_t seen = 1;
    if (wild) {
        visit_value(search, node->tail);
    }
    if (pos > search->len) {
        visit_value(search, node);
        return seen;
    }
    size_t next = pos;
    struct level level = next_level(search->path, search->len, &next);
    if (wild && node->one != NULL) {
        seen += match_below(search, node->one, next);
    }
    struct topic_node *child = literal_child(search->tree, node, level);
    if (child != NULL) {
        seen += match_below(search, child, next);
    }
    return seen;
}

size_t
topic_tree_match(const struct topic_tree *tree, const uint8_t *topic,
    size_t len, topic_tree_visit *visit, void *arg)
{
    struct search search = {tree, topic, len, visit, arg};
    return match_below(&search, tree->root, 0);
}

/* ---- matching many ------------------------------------------------------- */

#define FRONT_MAX 64

/* How far the searches have come: nodes that stand for the same number of
 * levels, each on its way from memory. */
struct front {
    size_t count;
    struct topic_node *nodes[FRONT_MAX];
    /* Where the node was looked for by its level, and may not be the one: to
     * compare at once would be to wait for it. Else NULL. */
    const struct topic_node *parents[FRONT_MAX];
    uint8_t topics[FRONT_MAX];
};

struct walk {
    size_t pos;
    struct level level; /* the last one before pos */
    uint64_t hash_of_level;
    bool wild; /* here wildcards match */
    bool done; /* there is no level left */
};

struct batch {
    const struct topic_tree *tree;
    uint32_t
        incomplete; /* topics for which a front was too small: a bit each */
    struct walk walks[TOPIC_TREE_BATCH_MAX];
    struct front fronts[2], ends;
};

static void
front_add(struct batch *batch, struct front *front, struct topic_node *node,
    const struct topic_node *parent, uint8_t topic)
{
    if (front->count == FRONT_MAX) {
        batch->incomplete |= UINT32_C(1) << topic;
        return;
    }
    const uint8_t *value = (const uint8_t *)(node + 1);
    fetch_range(&node->parent, value + batch->tree->value_bytes + 1);
    front->nodes[front->count] = node;
    front->parents[front->count] = parent;
    front->topics[front->count++] = topic;
}

/* By now the nodes are there. Put those right that were not what was looked
 * for, or drop them. */
static void
verify(const struct batch *batch, struct front *front)
{
    size_t kept = 0;
    for (size_t i = 0; i < front->count; i++) {
        struct topic_node *node = front->nodes[i];
        const struct topic_node *parent = front->parents[i];
        const struct walk *walk = &batch->walks[front->topics[i]];
        if (parent != NULL && !is_child(node, parent, walk->level)) {
            node = find_literal(batch->tree, parent, walk->level,
                node_hash(parent, walk->hash_of_level));
        }
        if (node != NULL) {
            front->nodes[kept] = node;
            front->topics[kept++] = front->topics[i];
        }
    }
    front->count = kept;
}

static void
walk_on(const struct batch *batch, struct walk *walk,
    const struct topic_path *topic)
{
    walk->wild = !hides_from_wildcards(topic->bytes, topic->len, walk->pos);
    walk->done = walk->pos > topic->len;
    if (!walk->done) {
        walk->level = next_level(topic->bytes, topic->len, &walk->pos);
        walk->hash_of_level = level_hash(batch->tree, walk->level);
    }
}

/* Add the literal children of the nodes to the next front. */
static void
look_for_children(
    struct batch *batch, const struct front *now, struct front *next)
{
    const struct table *nodes = &batch->tree->nodes;
    uint64_t hashes[FRONT_MAX];
    size_t slots[FRONT_MAX];
    for (size_t i = 0; i < now->count; i++) {
        hashes[i] = node_hash(
            now->nodes[i], batch->walks[now->topics[i]].hash_of_level);
        table_fetch(nodes, hashes[i]);
    }
    for (size_t i = 0; i < now->count; i++) {
        slots[i] = now->nodes[i]->literal_children > 0
                       ? table_search(nodes, hashes[i])
                       : TABLE_NO_SLOT;
    }
    for (size_t i = 0; i < now->count; i++) {
        if (slots[i] != TABLE_NO_SLOT) {
            struct table_link *link = table_at(nodes, slots[i]);
            front_add(batch, next, table_entry(link, struct topic_node, link),
                now->nodes[i], now->topics[i]);
        }
    }
}

/* From the nodes of one level to those of the next, and to those where a
 * search ends. */
static void
match_level(struct batch *batch, struct front *now, struct front *next)
{
    size_t going = 0;
    for (size_t i = 0; i < now->count; i++) {
        struct topic_node *node = now->nodes[i];
        uint8_t topic = now->topics[i];
        const struct walk *walk = &batch->walks[topic];
        if (walk->wild && node->tail != NULL) {
            front_add(batch, &batch->ends, node->tail, NULL, topic);
        }
        if (walk->done) {
            front_add(batch, &batch->ends, node, NULL, topic);
            continue;
        }
        if (walk->wild && node->one != NULL) {
            front_add(batch, next, node->one, NULL, topic);
        }
        now->nodes[going] = node;
        now->topics[going++] = topic;
    }
    now->count = going;
    look_for_children(batch, now, next);
}

uint32_t
topic_tree_match_batch(const struct topic_tree *tree,
    const struct topic_path *topics, size_t count,
    topic_tree_visit_batch *visit, void *arg)
{
    struct batch batch; /* large, and only what is in use is ever written */
    struct front *now = &batch.fronts[0];
    struct front *next = &batch.fronts[1];
    assert(count <= TOPIC_TREE_BATCH_MAX);
    batch.tree = tree;
    batch.incomplete = 0;
    batch.ends.count = now->count = next->count = 0;
    for (size_t i = 0; i < count; i++) {
        batch.walks[i].pos = 0;
        front_add(&batch, now, tree->root, NULL, (uint8_t)i);
    }
    while (now->count > 0) {
        verify(&batch, now);
        for (size_t i = 0; i < count; i++) {
            walk_on(&batch, &batch.walks[i], &topics[i]);
        }
        match_level(&batch, now, next);
        struct front *matched = now;
        now = next;
        next = matched;
        next->count = 0;
    }
    for (size_t i = 0; i < batch.ends.count; i++) {
        if (batch.ends.nodes[i]->has_value) {
            visit(arg, batch.ends.topics[i], batch.ends.nodes[i]);
        }
    }
    return batch.incomplete;
}

/* ---- collecting ---------------------------------------------------------- */

static bool
hidden_from_wildcards(const struct search *search,
    const struct topic_node *node, const struct topic_node *child)
{
    return node == search->tree->root && child->level_bytes > 0 &&
           text_of(child)[0] == '$';
}

static size_t
collect_all(const struct search *search, struct topic_node *node)
{
    size_t seen = 1;
    visit_value(search, node);
    struct topic_node *child;
    LIST_FOREACH(child, &node->children, sibling)
    {
        if (!hidden_from_wildcards(search, node, child)) {
            seen += collect_all(search, child);
        }
    }
    return seen;
}

static size_t
collect_below(const struct search *search, struct topic_node *node, size_t pos)
{
    if (pos > search->len) {
        visit_value(search, node);
        return 1;
    }
    size_t next = pos;
    struct level level = next_level(search->path, search->len, &next);
    if (level_is(level, '#')) {
        return collect_all(search, node);
    }
    struct topic_node *child;
    if (!level_is(level, '+')) {
        child = child_of(search->tree, node, level);
        return child == NULL ? 1 : 1 + collect_below(search, child, next);
    }
    size_t seen = 1;
    LIST_FOREACH(child, &node->children, sibling)
    {
        if (!hidden_from_wildcards(search, node, child)) {
            seen += collect_below(search, child, next);
        }
    }
    return seen;
}

size_t
topic_tree_collect(const struct topic_tree *tree, const uint8_t *filter,
    size_t len, topic_tree_visit *visit, void *arg)
{
    struct search search = {tree, filter, len, visit, arg};
    return collect_below(&search, tree->root, 0);
}

size_t
topic_node_path(const struct topic_node *node, char *dst, size_t cap)
{
    size_t len = 0;
    for (const struct topic_node *at = node; at->parent != NULL;
         at = at->parent) {
        len += at->level_bytes + (at == node ? 0u : 1u);
    }
    if (len > cap) {
        return len;
    }
    size_t pos = len;
    for (const struct topic_node *at = node; at->parent != NULL;
         at = at->parent) {
        if (at != node) {
            dst[--pos] = '/';
        }
        pos -= at->level_bytes;
        memcpy(dst + pos, text_of(at), at->level_bytes);
    }
    return len;
}
