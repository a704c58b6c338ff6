/* SPDX-License-Identifier: MIT
 *
 * Routes and their cache; see route.h. The cache is a fixed number of sets of
 * WAYS slots, bounded by weight as well: no eviction lists, and a topic that is
 * published steadily stays in. */
#include "route.h"

#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SETS 16384u /* a power of two */
#define WAYS 4u
/* Targets and members of all cached routes together; at more the cache starts
 * over. One route can have as many as there are subscriptions. */
#define WEIGHT_MAX 1000000u

/* Gathers what a topic matches; grows to the largest route seen. */
struct route_builder {
    struct subscription **plain;
    uint32_t plain_count, plain_capacity;
    struct group **groups;
    uint32_t group_count, group_capacity;
    uint64_t workers;
    bool shares_groups;
    bool failed;
};

bool
route_cache_init(struct route_cache *cache, struct index *index,
    struct context_table *contexts, uint64_t seed)
{
    *cache = (struct route_cache){
        .index = index, .contexts = contexts, .seed = seed};
    cache->slots = calloc((size_t)SETS * WAYS, sizeof *cache->slots);
    cache->builder = calloc(1, sizeof *cache->builder);
    return cache->slots != NULL && cache->builder != NULL;
}

static void
forget_all(struct route_cache *cache)
{
    for (size_t i = 0; i < (size_t)SETS * WAYS; i++) {
        if (cache->slots[i] != NULL) {
            route_unref(cache->slots[i]);
            cache->slots[i] = NULL;
        }
    }
    cache->weight = 0;
}

static uint64_t
route_weight(const struct route *route)
{
    uint64_t weight = route->target_count + route->group_count;
    for (uint32_t i = 0; i < route->target_count; i++) {
        weight += route->targets[i].context->frame_bytes / 4;
    }
    return weight;
}

void
route_cache_fini(struct route_cache *cache)
{
    if (cache->slots != NULL) {
        forget_all(cache);
    }
    free(cache->slots);
    if (cache->builder != NULL) {
        free(cache->builder->plain);
        free(cache->builder->groups);
        free(cache->builder);
    }
}

void
route_unref(struct route *route)
{
    if (--route->references > 0) {
        return;
    }
    for (uint32_t i = 0; i < route->target_count; i++) {
        context_unref(route->targets[i].context);
    }
    free(route->targets);
    free(route->groups);
    free(route);
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

static void
add_filter(void *arg, struct filter *filter)
{
    struct route_builder *builder = arg;
    builder->workers |= filter->workers;
    struct subscription *subscription;
    LIST_FOREACH(subscription, &filter->plain, of_filter)
    {
        add_plain(builder, subscription);
    }
    struct group *group;
    LIST_FOREACH(group, &filter->groups, of_filter)
    {
        add_group(builder, group);
        builder->shares_groups |= !LIST_EMPTY(&group->remotes);
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

static struct context *
context_of(struct route_cache *cache, struct subscription **subscriptions,
    uint32_t count)
{
    if (count == 1) {
        return context_ref(subscriptions[0]->context);
    }
    return context_get(cache->contexts, subscriptions, count, false);
}

/* One target a session; the builder's list is sorted by session. */
static bool
fill_targets(struct route_cache *cache, struct route *route)
{
    struct route_builder *builder = cache->builder;
    uint32_t first = 0;
    while (first < builder->plain_count) {
        struct session *session = builder->plain[first]->session;
        uint32_t end = first + 1;
        while (end < builder->plain_count &&
               builder->plain[end]->session == session) {
            end++;
        }
        struct context *context =
            context_of(cache, builder->plain + first, end - first);
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
fill(struct route_cache *cache, struct route *route)
{
    struct route_builder *builder = cache->builder;
    route->matched = builder->plain_count + builder->group_count;
    if (builder->group_count > 0) {
        size_t bytes = builder->group_count * sizeof(struct group *);
        route->groups = malloc(bytes);
        if (route->groups == NULL) {
            return false;
        }
        memcpy(route->groups, builder->groups, bytes);
        route->group_count = builder->group_count;
    }
    if (builder->plain_count == 0) {
        return true;
    }
    if (builder->plain_count > 1) {
        qsort(builder->plain, builder->plain_count, sizeof *builder->plain,
            by_session);
    }
    route->targets = malloc(builder->plain_count * sizeof *route->targets);
    return route->targets != NULL && fill_targets(cache, route);
}

static struct route *
build(struct route_cache *cache, struct broker_bytes topic, uint64_t hash)
{
    struct route_builder *builder = cache->builder;
    builder->plain_count = builder->group_count = 0;
    builder->workers = 0;
    builder->shares_groups = builder->failed = false;
    index_match(cache->index, topic, add_filter, builder);
    struct route *route = calloc(1, sizeof *route + topic.len);
    if (route == NULL) {
        return NULL;
    }
    route->references = 1;
    route->epoch = cache->index->epoch;
    route->workers = builder->workers;
    route->shares_groups = builder->shares_groups;
    route->hash = hash;
    route->topic_bytes = (uint16_t)topic.len;
    memcpy(route->topic, topic.data, topic.len);
    if (builder->failed || !fill(cache, route)) {
        route_unref(route);
        return NULL;
    }
    return route;
}

/* ---- looking up ---------------------------------------------------------- */

static bool
is_route_of(const struct route *route, struct broker_bytes topic, uint64_t hash)
{
    return route != NULL && route->hash == hash &&
           route->topic_bytes == topic.len &&
           memcmp(route->topic, topic.data, topic.len) == 0;
}

/* The slot to use for a route: its own, or an empty or outdated one, or one
 * chosen by the hash. */
static struct route **
slot_for(struct route_cache *cache, struct broker_bytes topic, uint64_t hash)
{
    struct route **set = &cache->slots[(hash & (SETS - 1)) * WAYS];
    struct route **spare = NULL;
    for (uint32_t i = 0; i < WAYS; i++) {
        if (is_route_of(set[i], topic, hash)) {
            return &set[i];
        }
        if (set[i] == NULL || set[i]->epoch != cache->index->epoch) {
            spare = &set[i];
        }
    }
    return spare != NULL ? spare : &set[(hash >> 32) % WAYS];
}

struct route *
route_get(struct route_cache *cache, struct broker_bytes topic,
    route_check *check, void *arg, enum broker_status *status)
{
    uint64_t hash = table_hash(topic.data, topic.len, cache->seed);
    struct route **slot = slot_for(cache, topic, hash);
    struct route *route = *slot;
    bool known = is_route_of(route, topic, hash);
    cache->lookups++;
    if (known && route->epoch == cache->index->epoch) {
        route->references++;
        return route;
    }
    if (!known && (*status = check(arg, topic)) != BROKER_OK) {
        return NULL;
    }
    cache->misses++;
    route = build(cache, topic, hash);
    if (route == NULL) {
        *status = BROKER_E_MEMORY;
        return NULL;
    }
    if (*slot != NULL) {
        cache->weight -= route_weight(*slot);
        route_unref(*slot);
        *slot = NULL;
    }
    if (cache->weight + route_weight(route) > WEIGHT_MAX) {
        forget_all(cache);
    }
    cache->weight += route_weight(route);
    *slot = route;
    route->references++;
    return route;
}
