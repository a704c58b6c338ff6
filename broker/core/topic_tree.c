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

static uint64_t
node_hash(const struct topic_tree *tree, const struct topic_node *parent,
    struct level level)
{
    /* The parent's address is unique while it lives, and children do not
     * outlive their parent. */
    return table_hash(
        level.bytes, level.len, tree->seed ^ (uint64_t)(uintptr_t)parent);
}

static struct topic_node *
find_literal(const struct topic_tree *tree, const struct topic_node *parent,
    struct level level, uint64_t hash)
{
    struct table_link *link = table_first(&tree->nodes, hash);
    for (; link != NULL; link = table_next(&tree->nodes, link)) {
        struct topic_node *node = table_entry(link, struct topic_node, link);
        if (node->parent == parent && node->level_bytes == level.len &&
            memcmp(node->level, level.bytes, level.len) == 0) {
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
    return find_literal(tree, parent, level, node_hash(tree, parent, level));
}

static struct topic_node *
node_new(struct topic_node *parent, struct level level)
{
    struct topic_node *node = calloc(1, sizeof *node + level.len);
    if (node == NULL) {
        return NULL;
    }
    node->parent = parent;
    node->level_bytes = (uint16_t)level.len;
    if (level.len > 0) {
        memcpy(node->level, level.bytes, level.len);
    }
    LIST_INIT(&node->children);
    return node;
}

static struct topic_node *
add_child(
    struct topic_tree *tree, struct topic_node *parent, struct level level)
{
    struct topic_node *node = node_new(parent, level);
    if (node == NULL) {
        return NULL;
    }
    if (level_is(level, '+')) {
        parent->one = node;
    } else if (level_is(level, '#')) {
        parent->tail = node;
    } else {
        if (!table_insert(
                &tree->nodes, &node->link, node_hash(tree, parent, level))) {
            free(node);
            return NULL;
        }
        parent->literal_children++;
    }
    LIST_INSERT_HEAD(&parent->children, node, sibling);
    return node;
}

bool
topic_tree_init(struct topic_tree *tree, uint64_t seed)
{
    *tree = (struct topic_tree){.seed = seed};
    tree->root = node_new(NULL, (struct level){NULL, 0});
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
    while (node != tree->root && node->value == NULL &&
           LIST_EMPTY(&node->children)) {
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
    if (node != NULL && node->value != NULL) {
        search->visit(search->arg, node);
    }
}

/* `node` stands for the levels before `pos`. */
static void
match_below(const struct search *search, struct topic_node *node, size_t pos)
{
    /* Wildcards in the first level do not see the broker's own topics. */
    bool wild = !(pos == 0 && search->len > 0 && search->path[0] == '$');
    if (wild) {
        visit_value(search, node->tail);
    }
    if (pos > search->len) {
        visit_value(search, node);
        return;
    }
    size_t next = pos;
    struct level level = next_level(search->path, search->len, &next);
    if (wild && node->one != NULL) {
        match_below(search, node->one, next);
    }
    if (node->literal_children > 0) {
        struct topic_node *child = find_literal(
            search->tree, node, level, node_hash(search->tree, node, level));
        if (child != NULL) {
            match_below(search, child, next);
        }
    }
}

void
topic_tree_match(const struct topic_tree *tree, const uint8_t *topic,
    size_t len, topic_tree_visit *visit, void *arg)
{
    struct search search = {tree, topic, len, visit, arg};
    match_below(&search, tree->root, 0);
}

static bool
hidden_from_wildcards(const struct search *search,
    const struct topic_node *node, const struct topic_node *child)
{
    return node == search->tree->root && child->level_bytes > 0 &&
           child->level[0] == '$';
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
        memcpy(dst + pos, at->level, at->level_bytes);
    }
    return len;
}
