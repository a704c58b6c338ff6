/* SPDX-License-Identifier: MIT
 *
 * The tree of topic levels; see topic_tree.h. The depth of every recursion is
 * the number of levels, which the limits bound. */
#include "topic_tree.h"

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

static const char *
text_of(const struct topic_node *node)
{
    return (const char *)(node + 1) + node->value_bytes;
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

static struct topic_node *
find_literal(const struct topic_tree *tree, const struct topic_node *parent,
    struct level level, uint64_t hash)
{
    struct table_link *link = table_first(&tree->nodes, hash);
    for (; link != NULL; link = table_next(&tree->nodes, link)) {
        struct topic_node *node = table_entry(link, struct topic_node, link);
        if (node->parent == parent && node->level_bytes == level.len &&
            memcmp(text_of(node), level.bytes, level.len) == 0) {
            return node;
        }
    }
    return NULL;
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
    if (parent->literal_children == 0) {
        return NULL;
    }
    return find_literal(
        tree, parent, level, node_hash(parent, level_hash(tree, level)));
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

/* Nodes that are followed side by side. While memory answers for one of them,
 * the questions for the others are on their way: with very many filters each of
 * these look-ups waits for memory. */
#define WIDTH 8

/* The children of nodes[0..count) that stand for this level, which are at most
 * twice as many. Returns their number. */
static size_t
match_level(const struct search *search, struct topic_node *const *nodes,
    size_t count, struct level level, bool wild, struct topic_node **below)
{
    const struct topic_tree *tree = search->tree;
    uint64_t hash_of_level = level_hash(tree, level);
    for (size_t i = 0; i < count && count > 1; i++) {
        if (nodes[i]->literal_children > 0) {
            table_prefetch(&tree->nodes, node_hash(nodes[i], hash_of_level));
        }
    }
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (wild && nodes[i]->one != NULL) {
            below[found++] = nodes[i]->one;
        }
        struct topic_node *child =
            nodes[i]->literal_children == 0
                ? NULL
                : find_literal(tree, nodes[i], level,
                      node_hash(nodes[i], hash_of_level));
        if (child != NULL) {
            below[found++] = child;
        }
    }
    return found;
}

/* Each of nodes[0..count), at most WIDTH of them, stands for the levels before
 * `pos`. */
static void
match_below(const struct search *search, struct topic_node *const *nodes,
    size_t count, size_t pos)
{
    /* Wildcards in the first level do not see the broker's own topics. */
    bool wild = !(pos == 0 && search->len > 0 && search->path[0] == '$');
    for (size_t i = 0; wild && i < count; i++) {
        visit_value(search, nodes[i]->tail);
    }
    if (pos > search->len) {
        for (size_t i = 0; i < count; i++) {
            visit_value(search, nodes[i]);
        }
        return;
    }
    struct topic_node *below[2 * WIDTH];
    struct level level = next_level(search->path, search->len, &pos);
    size_t found = match_level(search, nodes, count, level, wild, below);
    for (size_t i = 0; i < found; i += WIDTH) {
        size_t part = found - i < WIDTH ? found - i : WIDTH;
        match_below(search, below + i, part, pos);
    }
}

void
topic_tree_match(const struct topic_tree *tree, const uint8_t *topic,
    size_t len, topic_tree_visit *visit, void *arg)
{
    struct search search = {tree, topic, len, visit, arg};
    match_below(&search, &tree->root, 1, 0);
}

static bool
hidden_from_wildcards(const struct search *search,
    const struct topic_node *node, const struct topic_node *child)
{
    return node == search->tree->root && child->level_bytes > 0 &&
           text_of(child)[0] == '$';
}

static void
collect_all(const struct search *search, struct topic_node *node)
{
    visit_value(search, node);
    struct topic_node *child;
    LIST_FOREACH(child, &node->children, sibling)
    {
        if (!hidden_from_wildcards(search, node, child)) {
            collect_all(search, child);
        }
    }
}

static void
collect_below(const struct search *search, struct topic_node *node, size_t pos)
{
    if (pos > search->len) {
        visit_value(search, node);
        return;
    }
    size_t next = pos;
    struct level level = next_level(search->path, search->len, &next);
    if (level_is(level, '#')) {
        collect_all(search, node);
        return;
    }
    if (!level_is(level, '+')) {
        struct topic_node *child = child_of(search->tree, node, level);
        if (child != NULL) {
            collect_below(search, child, next);
        }
        return;
    }
    struct topic_node *child;
    LIST_FOREACH(child, &node->children, sibling)
    {
        if (!hidden_from_wildcards(search, node, child)) {
            collect_below(search, child, next);
        }
    }
}

void
topic_tree_collect(const struct topic_tree *tree, const uint8_t *filter,
    size_t len, topic_tree_visit *visit, void *arg)
{
    struct search search = {tree, filter, len, visit, arg};
    collect_below(&search, tree->root, 0);
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
