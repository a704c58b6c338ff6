/* SPDX-License-Identifier: MIT
 *
 * Routes and their cache; see route.h. The cache is a fixed number of sets of
 * WAYS routes, bounded by weight as well: no eviction lists, and a topic that
 * is published steadily stays in. A set is one cache line; it remembers the
 * topics that were asked for last, so that only what comes again displaces
 * anything. */
#include "route.h"

#include "fetch.h"
#include "same.h"
#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SETS 16384u /* a power of two */
#define WAYS 4u
/* Targets and members of all cached routes together; at more the cache starts
 * over. One route can have as many as there are subscriptions. */
#define WEIGHT_MAX 1000000u

/* With fewer nodes than this the index and what it leads to are near enough. */
#define FAR_NODES 1024u

/* Tags are bits of the topic's hash; 0: none. */
struct route_set {
    uint32_t tags[WAYS]; /* of the routes */
    uint32_t seen[WAYS]; /* of topics that have none; the last one first */
    struct route *routes[WAYS];
};

#define FILTERS_MAX 64u
#define NO_FILTER   UINT32_MAX

/* What is known of topics that come soon and have no kept route, as long as no
 * subscription changes. */
struct expectation {
    uint64_t epoch;
    uint32_t topic_count, next; /* the topics before `next` have come */
    uint32_t incomplete; /* topics with more filters than these: a bit each */
    uint32_t count;      /* of filters */
    uint64_t hashes[ROUTE_EXPECT_MAX];
    const uint8_t *topics[ROUTE_EXPECT_MAX]; /* where they stand, or stood */
    uint32_t first[ROUTE_EXPECT_MAX]; /* of their filters, or NO_FILTER */
    struct expected_filter {
        struct filter *filter;
        uint32_t next; /* of the same topic, or NO_FILTER */
    } filters[FILTERS_MAX];
};

/* Gathers what a topic matches; grows to the largest route seen. */
struct route_builder {
    struct route_builder *next;
    struct route route; /* the one that is not kept */
    struct subscription **plain;
    uint32_t plain_count, plain_capacity;
    struct broker_bytes topic;
    struct group **groups;
    uint32_t group_count, group_capacity;
    struct route_target *targets;
    uint32_t target_capacity;
    uint64_t workers;
    struct capture *capture;
    bool shares_groups;
    bool failed;
};

bool
route_cache_init(struct route_cache *cache, struct index *index,
    struct context_table *contexts, uint64_t seed)
{
    *cache = (struct route_cache){
        .index = index, .contexts = contexts, .seed = seed};
    cache->memory = calloc(SETS + 1, sizeof *cache->sets);
    cache->builders = calloc(1, sizeof *cache->builders);
    uintptr_t start = (uintptr_t)cache->memory + FETCH_LINE_BYTES - 1;
    cache->sets =
        (struct route_set *)(start & ~(uintptr_t)(FETCH_LINE_BYTES - 1));
    cache->expectation = calloc(1, sizeof *cache->expectation);
    return cache->memory != NULL && cache->builders != NULL &&
           cache->expectation != NULL;
}

static void
empty_way(struct route_cache *cache, struct route_set *set, uint32_t way)
{
    struct route *route = set->routes[way];
    if (route != NULL) {
        cache->weight -= route->weight;
        set->routes[way] = NULL;
        set->tags[way] = 0;
        route_unref(route);
    }
}

static void
forget_all(struct route_cache *cache)
{
    for (uint32_t i = 0; i < SETS; i++) {
        for (uint32_t way = 0; way < WAYS; way++) {
            empty_way(cache, &cache->sets[i], way);
        }
    }
}

void
route_cache_fini(struct route_cache *cache)
{
    if (cache->memory != NULL) {
        forget_all(cache);
    }
    free(cache->memory);
    free(cache->expectation);
    while (cache->builders != NULL) {
        struct route_builder *builder = cache->builders;
        cache->builders = builder->next;
        free(builder->plain);
        free(builder->groups);
        free(builder->targets);
        free(builder);
    }
}

void
route_unref(struct route *route)
{
    if (--route->references > 0) {
        return;
    }
    for (uint32_t i = 0; route->has_references && i < route->target_count;
         i++) {
        context_unref(route->targets[i].context);
    }
    if (route->is_kept) {
        free(route);
    }
}

/* ---- building ------------------------------------------------------------ */

static bool
grow(void *array, uint32_t *capacity, size_t size)
{
    void **at = array;
    uint32_t want = *capacity == 0 ? 16 : *capacity * 2;
    void *grown = realloc(*at, want * size);
    if (grown == NULL) {
        return false;
    }
    *at = grown;
    *capacity = want;
    return true;
}

static void
add_plain(struct route_builder *builder, struct subscription *subscription)
{
    if (subscription->is_partial &&
        !rights_may_receive(subscription->session->rights, builder->topic)) {
        return;
    }
    if (builder->plain_count == builder->plain_capacity &&
        !grow(&builder->plain, &builder->plain_capacity,
            sizeof *builder->plain)) {
        builder->failed = true;
        return;
    }
    builder->plain[builder->plain_count++] = subscription;
}

static void
add_group(struct route_builder *builder, struct group *group)
{
    if (builder->group_count == builder->group_capacity &&
        !grow(&builder->groups, &builder->group_capacity,
            sizeof *builder->groups)) {
        builder->failed = true;
        return;
    }
    builder->groups[builder->group_count++] = group;
}

static bool
has_members_elsewhere(const struct group *group)
{
    const struct group_remote *remote;
    LIST_FOREACH(remote, &group->remotes, of_group)
    {
        if (remote->members > 0) {
            return true;
        }
    }
    return false;
}

static void
add_filter(void *arg, struct filter *filter)
{
    struct route_builder *builder = arg;
    builder->workers |= filter->workers;
    if (filter->capture != NULL) {
        builder->capture = filter->capture;
    }
    struct subscription *subscription;
    LIST_FOREACH(subscription, &filter->plain, of_filter)
    {
        add_plain(builder, subscription);
    }
    struct group *group;
    LIST_FOREACH(group, &filter->groups, of_filter)
    {
        bool elsewhere = has_members_elsewhere(group);
        if (group->count > 0 || elsewhere) {
            add_group(builder, group);
            builder->shares_groups |= elsewhere;
        }
    }
}

static int
by_session(const void *a, const void *b)
{
    const struct subscription *const *left = a;
    const struct subscription *const *right = b;
    uint64_t l = (*left)->session->id;
    uint64_t r = (*right)->session->id;
    return (l > r) - (l < r);
}

/* Sorted by session, are two of them of the same one? */
static bool
has_sets(const struct route_builder *builder)
{
    for (uint32_t i = 1; i < builder->plain_count; i++) {
        if (builder->plain[i]->session == builder->plain[i - 1]->session) {
            return true;
        }
    }
    return false;
}

/* One target a session; the builder's list is sorted by session. */
static bool
fill_targets(struct route_cache *cache, struct route_builder *builder)
{
    struct route *route = &builder->route;
    bool sets = route->has_references = has_sets(builder);
    uint32_t first = 0;
    while (first < builder->plain_count) {
        struct session *session = builder->plain[first]->session;
        uint32_t end = first + 1;
        while (sets && end < builder->plain_count &&
               builder->plain[end]->session == session) {
            end++;
        }
        struct context *context =
            sets ? context_get(cache->contexts, builder->plain + first,
                       end - first, false)
                 : &builder->plain[first]->own;
        if (context == NULL) {
            return false;
        }
        route->targets[route->target_count++] =
            (struct route_target){session, context};
        first = end;
    }
    return true;
}

static bool
fill(struct route_cache *cache, struct route_builder *builder)
{
    struct route *route = &builder->route;
    route->matched = builder->plain_count + builder->group_count;
    route->groups = builder->groups;
    route->group_count = builder->group_count;
    while (builder->target_capacity < builder->plain_count) {
        if (!grow(&builder->targets, &builder->target_capacity,
                sizeof *builder->targets)) {
            return false;
        }
    }
    route->targets = builder->targets;
    if (builder->plain_count > 1) {
        qsort(builder->plain, builder->plain_count, sizeof *builder->plain,
            by_session);
    }
    return fill_targets(cache, builder);
}

/* One whose last route is not in use any more: nearly always the first, but
 * where a run ends something that had to wait for it, there may be another run
 * inside. NULL if memory is out. */
static struct route_builder *
idle_builder(struct route_cache *cache)
{
    struct route_builder *builder = cache->builders;
    while (builder != NULL && builder->route.references > 0) {
        builder = builder->next;
    }
    if (builder == NULL) {
        builder = calloc(1, sizeof *builder);
        if (builder != NULL) {
            builder->next = cache->builders;
            cache->builders = builder;
        }
    }
    return builder;
}

/* Gather what matches: as was found before, if the topic was expected. It has
 * to be the same memory as well as the same hash: neither alone would do. What
 * stood there may be overwritten, and where messages go to must not hang on two
 * topics never having the same hash. */
static void
gather(struct route_cache *cache, struct route_builder *builder,
    struct broker_bytes topic, uint64_t hash)
{
    struct expectation *expectation = cache->expectation;
    uint32_t i = expectation->next;
    uint32_t count = expectation->epoch == cache->index->epoch
                         ? expectation->topic_count
                         : 0;
    while (i < count && (expectation->hashes[i] != hash ||
                            expectation->topics[i] != topic.data)) {
        i++;
    }
    if (i >= count || (expectation->incomplete >> i & 1) != 0) {
        cache->work += index_match(cache->index, topic, add_filter, builder);
        return;
    }
    expectation->next = i + 1;
    for (uint32_t f = expectation->first[i]; f != NO_FILTER;
         f = expectation->filters[f].next) {
        add_filter(builder, expectation->filters[f].filter);
    }
}

/* In the builder's memory, while it has references. */
static struct route *
build(struct route_cache *cache, struct broker_bytes topic, uint64_t hash)
{
    struct route_builder *builder = idle_builder(cache);
    if (builder == NULL) {
        return NULL;
    }
    struct route *route = &builder->route;
    builder->plain_count = builder->group_count = 0;
    builder->topic = topic;
    builder->workers = 0;
    builder->capture = NULL;
    builder->shares_groups = builder->failed = false;
    gather(cache, builder, topic, hash);
    cache->work += builder->plain_count + builder->group_count;
    *route = (struct route){.epoch = cache->index->epoch,
        .workers = builder->workers,
        .capture = builder->capture,
        .shares_groups = builder->shares_groups,
        .references = 1};
    if (builder->failed || !fill(cache, builder)) {
        route_unref(route);
        return NULL;
    }
    return route;
}

/* The same route in memory of its own, which takes over what it refers to. NULL
 * if memory is out; then nothing changed. */
static struct route *
keep(struct route *route, struct broker_bytes topic)
{
    size_t target_bytes = route->target_count * sizeof *route->targets;
    size_t group_bytes = route->group_count * sizeof(struct group *);
    struct route *kept =
        malloc(sizeof *kept + target_bytes + group_bytes + topic.len);
    if (kept == NULL) {
        return NULL;
    }
    *kept = *route;
    route->references = 0;
    uint8_t *at = (uint8_t *)(kept + 1);
    kept->is_kept = true;
    kept->weight = route->target_count + route->matched;
    if (target_bytes > 0) {
        kept->targets = memcpy(at, route->targets, target_bytes);
    }
    at += target_bytes;
    if (group_bytes > 0) {
        kept->groups = memcpy(at, route->groups, group_bytes);
    }
    at += group_bytes;
    kept->topic = memcpy(at, topic.data, topic.len);
    kept->topic_bytes = (uint16_t)topic.len;
    return kept;
}

/* ---- looking up ---------------------------------------------------------- */

static bool
is_route_of(const struct route *route, struct broker_bytes topic)
{
    return route->topic_bytes == topic.len &&
           same_bytes(route->topic, topic.data, topic.len);
}

/* The way of the topic's route, or WAYS. */
static uint32_t
find(const struct route_set *set, uint32_t tag, struct broker_bytes topic)
{
    uint32_t way = 0;
    while (way < WAYS &&
           (set->tags[way] != tag || !is_route_of(set->routes[way], topic))) {
        way++;
    }
    return way;
}

/* Was a topic with this tag asked for not long ago? From now on, yes. */
static bool
was_seen(struct route_set *set, uint32_t tag)
{
    for (uint32_t i = 0; i < WAYS; i++) {
        if (set->seen[i] == tag) {
            set->seen[i] = 0;
            return true;
        }
    }
    memmove(set->seen + 1, set->seen, sizeof set->seen - sizeof *set->seen);
    set->seen[0] = tag;
    return false;
}

/* A way for a route: an empty or outdated one, or one chosen by the tag. */
static uint32_t
choose_way(
    const struct route_cache *cache, const struct route_set *set, uint32_t tag)
{
    uint32_t chosen = (tag >> 8) % WAYS;
    for (uint32_t way = 0; way < WAYS; way++) {
        if (set->routes[way] == NULL) {
            return way;
        }
        if (set->routes[way]->epoch != cache->index->epoch) {
            chosen = way;
        }
    }
    return chosen;
}

/* Put a route into the cache, in this way. Without memory for that it is good
 * as it is, for this once. */
static struct route *
enter(struct route_cache *cache, struct route_set *set, uint32_t way,
    uint32_t tag, struct route *route, struct broker_bytes topic)
{
    struct route *kept = keep(route, topic);
    if (kept == NULL) {
        return route;
    }
    empty_way(cache, set, way);
    if (cache->weight + kept->weight > WEIGHT_MAX) {
        forget_all(cache);
    }
    cache->weight += kept->weight;
    set->tags[way] = tag;
    set->routes[way] = kept;
    kept->references++;
    return kept;
}

static struct route_set *
set_of(const struct route_cache *cache, uint64_t hash)
{
    return &cache->sets[hash & (SETS - 1)];
}

static uint32_t
tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32) | 1;
}

struct route *
route_get(struct route_cache *cache, struct broker_bytes topic,
    route_check *check, void *arg, enum broker_status *status)
{
    uint64_t hash = table_hash(topic.data, topic.len, cache->seed);
    struct route_set *set = set_of(cache, hash);
    uint32_t tag = tag_of(hash);
    uint32_t way = find(set, tag, topic);
    bool known = way < WAYS;
    cache->lookups++;
    if (known && set->routes[way]->epoch == cache->index->epoch) {
        set->routes[way]->references++;
        return set->routes[way];
    }
    if (!known && (*status = check(arg, topic)) != BROKER_OK) {
        return NULL;
    }
    cache->misses++;
    struct route *route = build(cache, topic, hash);
    if (route == NULL) {
        *status = BROKER_E_MEMORY;
        return NULL;
    }
    if (!known && !was_seen(set, tag)) {
        return route;
    }
    if (!known) {
        way = choose_way(cache, set, tag);
    }
    return enter(cache, set, way, tag, route, topic);
}

/* ---- looking ahead ------------------------------------------------------- */

bool
route_should_expect(const struct route_cache *cache)
{
    return cache->index->tree.nodes.count >= FAR_NODES;
}

static void
expect_filter(void *arg, size_t topic, struct filter *filter)
{
    struct expectation *expectation = arg;
    uint32_t *first = &expectation->first[topic];
    if (expectation->count == FILTERS_MAX) {
        expectation->incomplete |= UINT32_C(1) << topic;
        return;
    }
    expectation->filters[expectation->count] =
        (struct expected_filter){filter, *first};
    *first = expectation->count++;
    const struct subscription *subscription = LIST_FIRST(&filter->plain);
    if (subscription != NULL) {
        context_fetch(&subscription->own);
    }
}

/* Divide the topics into those with a kept route, most likely, and others. */
static size_t
divide(struct route_cache *cache, const struct broker_bytes *topics,
    size_t count, const struct route **kept, struct broker_bytes *others)
{
    struct expectation *expectation = cache->expectation;
    uint64_t hashes[ROUTE_EXPECT_MAX];
    for (size_t i = 0; i < count; i++) {
        hashes[i] = table_hash(topics[i].data, topics[i].len, cache->seed);
        fetch_at(set_of(cache, hashes[i]));
    }
    size_t kept_count = 0;
    uint32_t other = 0;
    for (size_t i = 0; i < count; i++) {
        const struct route_set *set = set_of(cache, hashes[i]);
        uint32_t way = 0;
        while (way < WAYS && set->tags[way] != tag_of(hashes[i])) {
            way++;
        }
        if (way < WAYS) {
            const struct route *route = kept[kept_count++] = set->routes[way];
            fetch_range(route, route + 2); /* targets and topic are behind */
            continue;
        }
        expectation->hashes[other] = hashes[i];
        expectation->topics[other] = topics[i].data;
        expectation->first[other] = NO_FILTER;
        others[other++] = topics[i];
    }
    expectation->topic_count = other;
    return kept_count;
}

static void
fetch_sessions(const struct route_cache *cache, const struct route **kept,
    size_t kept_count)
{
    const struct expectation *expectation = cache->expectation;
    const struct session *sessions[ROUTE_EXPECT_MAX];
    for (size_t i = 0; i < kept_count; i++) {
        const struct route *route = kept[i];
        sessions[i] = NULL;
        if (route->epoch == cache->index->epoch && route->target_count > 0) {
            sessions[i] = route->targets[0].session;
            context_fetch(route->targets[0].context);
        }
    }
    for (size_t i = 0; i < kept_count; i++) {
        if (sessions[i] != NULL) {
            fetch_range(&sessions[i]->output, &sessions[i]->output + 1);
        }
    }
    for (uint32_t i = 0; i < expectation->count; i++) {
        const struct filter *filter = expectation->filters[i].filter;
        const struct subscription *first = LIST_FIRST(&filter->plain);
        if (first != NULL) {
            const struct output *output = &first->session->output;
            fetch_range(output, output + 1);
        }
    }
}

void
route_expect(
    struct route_cache *cache, const struct broker_bytes *topics, size_t count)
{
    struct expectation *expectation = cache->expectation;
    const struct route *kept[ROUTE_EXPECT_MAX];
    struct broker_bytes others[ROUTE_EXPECT_MAX] = {{NULL, 0}};
    expectation->epoch = cache->index->epoch;
    expectation->next = expectation->count = expectation->incomplete = 0;
    size_t kept_count = divide(cache, topics, count, kept, others);
    if (kept_count < count) {
        expectation->incomplete |= index_match_batch(cache->index, others,
            count - kept_count, expect_filter, expectation);
    }
    fetch_sessions(cache, kept, kept_count);
}
