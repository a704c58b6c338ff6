/* SPDX-License-Identifier: MIT
 *
 * The topic tree against a slow matcher, over random filters and topics of few
 * different levels, so that they meet often. PROTOCOL.md section 6. */
#include "random.h"
#include "slow_match.h"
#include "topic_tree.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATHS 250

struct path {
    char text[64];
    struct topic_node *node; /* NULL: not in the tree */
    bool visited;
};

static struct broker_bytes
bytes_of(const char *text)
{
    return (struct broker_bytes){(const uint8_t *)text, strlen(text)};
}

static void
set_path(struct topic_node *node, struct path *path)
{
    *(struct path **)topic_node_value(node) = path;
    node->has_value = path != NULL;
}

/* One to five levels, some empty, some of the broker's own. */
static void
random_path(struct random *random, char *dst, bool filter)
{
    static const char *const levels[] = {"a", "b", "", "$x", "ab", "+", "#"};
    uint32_t count = random_between(random, 1, 5);
    dst[0] = '\0';
    for (uint32_t i = 0; i < count; i++) {
        uint32_t kinds = !filter ? 5 : i + 1 == count ? 7 : 6;
        strcat(dst, i == 0 ? "" : "/");
        strcat(dst, levels[random_below(random, kinds)]);
    }
    if (dst[0] == '\0') {
        strcpy(dst, "a");
    }
}

static bool
insert(struct topic_tree *tree, struct path *path)
{
    struct broker_bytes text = bytes_of(path->text);
    path->node = topic_tree_insert(tree, text.data, text.len);
    cr_assert_not_null(path->node);
    if (path->node->has_value) {
        path->node = NULL; /* this path is there already */
        return false;
    }
    set_path(path->node, path);
    char back[64];
    size_t len = topic_node_path(path->node, back, sizeof back);
    cr_assert_eq(len, text.len);
    cr_assert_eq(memcmp(back, path->text, len), 0);
    cr_assert_eq(topic_node_path(path->node, back, len - 1), len);
    cr_assert_eq(topic_tree_find(tree, text.data, text.len), path->node);
    return true;
}

static void
take_out(struct topic_tree *tree, struct path *path)
{
    if (path->node != NULL) {
        set_path(path->node, NULL);
        topic_tree_prune(tree, path->node);
        path->node = NULL;
    }
}

static void
visit(void *arg, struct topic_node *node)
{
    uint32_t *visits = arg;
    struct path *path = *(struct path **)topic_node_value(node);
    cr_assert_not(path->visited, "%s is visited twice", path->text);
    path->visited = true;
    (*visits)++;
}

struct batch_visits {
    struct path *seen[TOPIC_TREE_BATCH_MAX][PATHS];
    size_t count[TOPIC_TREE_BATCH_MAX];
};

static void
visit_batch(void *arg, size_t topic, struct topic_node *node)
{
    struct batch_visits *visits = arg;
    cr_assert_lt(topic, TOPIC_TREE_BATCH_MAX);
    cr_assert_lt(visits->count[topic], PATHS);
    visits->seen[topic][visits->count[topic]++] =
        *(struct path **)topic_node_value(node);
}

/* What the batch visited for one topic is what the tree visits for it alone;
 * less, if it says so. */
static void
compare(struct path *paths, struct broker_bytes topic, struct path **seen,
    size_t count, bool incomplete)
{
    for (size_t i = 0; i < count; i++) {
        cr_assert_not(seen[i]->visited, "%s visited twice", seen[i]->text);
        seen[i]->visited = true;
    }
    for (int i = 0; i < PATHS; i++) {
        bool want =
            paths[i].node != NULL && slow_match(bytes_of(paths[i].text), topic);
        cr_assert(paths[i].visited == want || (incomplete && want), "%s and %s",
            paths[i].text, (const char *)topic.data);
        paths[i].visited = false;
    }
}

/* Ask for several topics at once: these, or random ones. Returns for how many
 * not all was visited. */
static uint32_t
ask_batch(struct topic_tree *tree, struct path *paths, struct random *random,
    const char *topic)
{
    char texts[TOPIC_TREE_BATCH_MAX][64];
    struct topic_path topics[TOPIC_TREE_BATCH_MAX];
    static struct batch_visits visits;
    size_t count = random_between(random, 1, TOPIC_TREE_BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        random_path(random, texts[i], false);
        if (topic != NULL) {
            strcpy(texts[i], topic);
        }
        struct broker_bytes text = bytes_of(texts[i]);
        topics[i] = (struct topic_path){text.data, text.len};
    }
    visits = (struct batch_visits){.count = {0}};
    uint32_t incomplete =
        topic_tree_match_batch(tree, topics, count, visit_batch, &visits);
    cr_assert_eq(incomplete >> count, 0);
    for (size_t i = 0; i < count; i++) {
        compare(paths, bytes_of(texts[i]), visits.seen[i], visits.count[i],
            (incomplete >> i & 1) != 0);
    }
    return (uint32_t)__builtin_popcount(incomplete);
}

/* Ask the tree, whose paths are filters if `filters`, and compare. */
static void
ask(struct topic_tree *tree, struct path *paths, const char *question,
    bool filters)
{
    struct broker_bytes asked = bytes_of(question);
    uint32_t visits = 0;
    (filters ? topic_tree_match : topic_tree_collect)(
        tree, asked.data, asked.len, visit, &visits);
    for (int i = 0; i < PATHS; i++) {
        struct broker_bytes path = bytes_of(paths[i].text);
        bool want =
            paths[i].node != NULL &&
            (filters ? slow_match(path, asked) : slow_match(asked, path));
        cr_assert_eq(
            paths[i].visited, want, "%s and %s", paths[i].text, question);
        paths[i].visited = false;
    }
}

static void
run(uint64_t seed, bool filters)
{
    struct random random = {seed};
    struct topic_tree tree;
    struct path *paths = calloc(PATHS, sizeof *paths);
    cr_assert(topic_tree_init(&tree, sizeof(struct path *), seed));
    for (int i = 0; i < PATHS; i++) {
        random_path(&random, paths[i].text, filters);
    }
    for (int i = 0; i < 1000; i++) {
        struct path *path = &paths[random_below(&random, PATHS)];
        if (path->node == NULL) {
            (void)insert(&tree, path);
        } else {
            take_out(&tree, path);
        }
        char question[64];
        random_path(&random, question, !filters);
        ask(&tree, paths, question, filters);
        if (filters) {
            (void)ask_batch(&tree, paths, &random, NULL);
        }
    }
    for (int i = 0; i < PATHS; i++) {
        take_out(&tree, &paths[i]);
    }
    cr_assert(LIST_EMPTY(&tree.root->children), "prune leaves something");
    cr_assert_eq(tree.nodes.count, 0);
    topic_tree_fini(&tree);
    free(paths);
}

Test(topic_tree, match_against_the_slow_one)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        run(seed, true);
    }
}

Test(topic_tree, collect_against_the_slow_one)
{
    for (uint64_t seed = 101; seed <= 120; seed++) {
        run(seed, false);
    }
}

Test(topic_tree, prune_stops_at_what_is_used)
{
    struct topic_tree tree;
    cr_assert(topic_tree_init(&tree, sizeof(struct path *), 1));
    struct topic_node *low = topic_tree_insert(&tree, (uint8_t *)"a/b/c", 5);
    struct topic_node *high = topic_tree_insert(&tree, (uint8_t *)"a", 1);
    high->has_value = true;
    topic_tree_prune(&tree, low);
    cr_assert_null(topic_tree_find(&tree, (uint8_t *)"a/b", 3));
    cr_assert_eq(topic_tree_find(&tree, (uint8_t *)"a", 1), high);
    topic_tree_prune(&tree, high); /* holds a value: stays */
    cr_assert_eq(topic_tree_find(&tree, (uint8_t *)"a", 1), high);
    high->has_value = false;
    topic_tree_prune(&tree, high);
    cr_assert_null(topic_tree_find(&tree, (uint8_t *)"a", 1));
    topic_tree_fini(&tree);
}

/* All filters match all topics of the batch, more and more of them: what it
 * cannot remember it owns up to, and the others are exact. */
Test(topic_tree, a_batch_knows_what_it_leaves_out)
{
    struct random random = {3};
    struct topic_tree tree;
    struct path *paths = calloc(PATHS, sizeof *paths);
    cr_assert(topic_tree_init(&tree, sizeof(struct path *), 3));
    uint32_t incomplete = 0;
    for (int i = 0; i < 16; i++) {
        snprintf(paths[i].text, sizeof paths[i].text, "%s/%s/%s/%s",
            i & 1 ? "+" : "a", i & 2 ? "+" : "b", i & 4 ? "+" : "a",
            i & 8 ? "#" : "b");
        cr_assert(insert(&tree, &paths[i]));
        uint32_t left_out = ask_batch(&tree, paths, &random, "a/b/a/b");
        cr_assert(i > 0 || left_out == 0);
        incomplete += left_out;
    }
    cr_assert_gt(incomplete, 0);
    for (int i = 0; i < 16; i++) {
        take_out(&tree, &paths[i]);
    }
    topic_tree_fini(&tree);
    free(paths);
}

/* So many nodes and questions that some share all that the table keeps of a
 * hash: what was not asked for is not visited. */
Test(topic_tree, a_batch_looks_twice)
{
    enum { NODES = 50000, QUESTIONS = 25000 };
    struct topic_tree tree;
    struct path path = {.text = "any"};
    struct topic_node **nodes = calloc(NODES, sizeof(*nodes));
    static struct batch_visits visits;
    char texts[TOPIC_TREE_BATCH_MAX][16];
    struct topic_path topics[TOPIC_TREE_BATCH_MAX];
    cr_assert(topic_tree_init(&tree, sizeof(struct path *), 4));
    for (int i = 0; i < NODES; i++) {
        snprintf(texts[0], sizeof texts[0], "w/%d", i);
        nodes[i] =
            topic_tree_insert(&tree, (uint8_t *)texts[0], strlen(texts[0]));
        set_path(nodes[i], &path);
    }
    for (int i = 0; i < QUESTIONS; i++) {
        for (int j = 0; j < TOPIC_TREE_BATCH_MAX; j++) {
            int len = snprintf(texts[j], sizeof texts[j], "w/%d",
                NODES + i * TOPIC_TREE_BATCH_MAX + j);
            topics[j] = (struct topic_path){(uint8_t *)texts[j], (size_t)len};
        }
        cr_assert_eq(topic_tree_match_batch(&tree, topics, TOPIC_TREE_BATCH_MAX,
                         visit_batch, &visits),
            0);
    }
    for (int j = 0; j < TOPIC_TREE_BATCH_MAX; j++) {
        cr_assert_eq(visits.count[j], 0);
    }
    for (int i = 0; i < NODES; i++) {
        set_path(nodes[i], NULL);
        topic_tree_prune(&tree, nodes[i]);
    }
    topic_tree_fini(&tree);
    free(nodes);
}

/* As deep and as wide as limits allow. */
Test(topic_tree, deep_and_wide)
{
    struct topic_tree tree;
    cr_assert(topic_tree_init(&tree, sizeof(struct path *), 9));
    uint8_t deep[1023];
    for (size_t i = 0; i < sizeof deep; i++) {
        deep[i] = i % 2 == 0 ? '+' : '/';
    }
    struct topic_node *node = topic_tree_insert(&tree, deep, sizeof deep);
    struct path path = {.text = "deep"};
    set_path(node, &path);
    uint32_t visits = 0;
    memset(deep, '/', sizeof deep);
    topic_tree_match(&tree, deep, 511, visit, &visits);
    cr_assert_eq(visits, 1);
    set_path(node, NULL);
    topic_tree_prune(&tree, node);
    struct topic_node *nodes[5000];
    for (int i = 0; i < 5000; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "w/%d", i);
        nodes[i] = topic_tree_insert(&tree, (uint8_t *)text, (size_t)len);
        set_path(nodes[i], &path);
    }
    for (int i = 0; i < 5000; i++) {
        set_path(nodes[i], NULL);
        topic_tree_prune(&tree, nodes[i]);
    }
    cr_assert_eq(tree.nodes.count, 0);
    topic_tree_fini(&tree);
}

/* A filter for each choice of "a" or "+" in each of six levels: all match, and
 * half way down more of them are followed than are followed at once. */
Test(topic_tree, every_mixture_of_wildcards)
{
    struct topic_tree tree;
    struct path paths[64] = {0};
    cr_assert(topic_tree_init(&tree, sizeof(struct path *), 9));
    for (uint32_t i = 0; i < 64; i++) {
        for (uint32_t level = 0; level < 6; level++) {
            strcat(paths[i].text, level == 0 ? "" : "/");
            strcat(paths[i].text, (i >> level & 1) != 0 ? "+" : "a");
        }
        cr_assert(insert(&tree, &paths[i]));
    }
    uint32_t visits = 0;
    topic_tree_match(&tree, (const uint8_t *)"a/a/a/a/a/a", 11, visit, &visits);
    cr_assert_eq(visits, 64);
    for (uint32_t i = 0; i < 64; i++) {
        cr_assert(paths[i].visited);
        take_out(&tree, &paths[i]);
    }
    cr_assert_eq(tree.nodes.count, 0);
    topic_tree_fini(&tree);
}
