/* SPDX-License-Identifier: MIT
 *
 * Routes: what a topic's messages go to. A route lists each connection once,
 * with the context of all its matching subscriptions, and the queue groups that
 * get one copy each.
 *
 * What is asked for a second time is kept until a subscription anywhere changes
 * (the index's epoch). A topic that is asked for once gets a route in memory
 * that all such topics share: with more topics than the cache has room for,
 * looking one up allocates nothing and drops nothing.
 *
 * Knows nothing of frames or sockets. One thread.
 */
#ifndef BROKER_CORE_ROUTE_H
#define BROKER_CORE_ROUTE_H

#include "context.h"
#include "index.h"

#include <stdbool.h>
#include <stdint.h>

struct route_target {
    struct session *session;
    struct context *context;
};

struct route {
    uint64_t epoch;
    struct route_target *targets;
    struct group **groups;
    const uint8_t *topic;    /* of one that is kept */
    uint64_t workers;        /* others with plain subscriptions: a bit each */
    struct capture *capture; /* the stream that captures the topic, or NULL */
    uint32_t target_count;
    uint32_t group_count;
    uint32_t matched; /* subscriptions here; a group counts once, wherever */
    uint32_t references;
    uint32_t weight;
    uint16_t topic_bytes;
    bool shares_groups; /* a group has members on other workers */
    bool is_kept;
    /* To the targets' contexts. Without, because each is of one subscription
     * and lives as long as that: which is as long as the route may be used. */
    bool has_references;
};

struct route_cache {
    struct route_set *sets;
    struct index *index;
    struct context_table *contexts;
    uint64_t seed;
    uint64_t weight; /* targets and members of the cached routes */
    uint64_t lookups, misses;
    uint64_t work; /* done for misses: nodes and subscriptions looked at */
    struct route_builder *builders;
    struct expectation *expectation;
    void *memory; /* that the sets stand in */
};

/* False if memory is out. */
bool route_cache_init(struct route_cache *cache, struct index *index,
    struct context_table *contexts, uint64_t seed);
void route_cache_fini(struct route_cache *cache);

/* The route of a topic, with a reference for the caller. A topic that is not in
 * the cache is given to `check` first. NULL and *status: what check said, or
 * BROKER_E_MEMORY. The route must be used before any subscription changes. */
typedef enum broker_status route_check(void *arg, struct broker_bytes topic);
struct route *route_get(struct route_cache *cache, struct broker_bytes topic,
    route_check *check, void *arg, enum broker_status *status);

void route_unref(struct route *route);

/* May a route be used that was got some time ago? One that is not kept may not,
 * whatever this says. */
static inline bool
route_holds(const struct route_cache *cache, const struct route *route)
{
    return route->epoch == cache->index->epoch;
}

/* Topics that will be asked for soon, in this order. */
#define ROUTE_EXPECT_MAX TOPIC_TREE_BATCH_MAX

/* Is it worth while to call route_expect? When the index is larger than the
 * processor's caches. */
bool route_should_expect(const struct route_cache *cache);

/* These topics, at most ROUTE_EXPECT_MAX, will be asked for soon: look at
 * memory for all of them together. That something else comes does no harm. */
void route_expect(
    struct route_cache *cache, const struct broker_bytes *topics, size_t count);

/* Nobody gets messages on this route, here or on other workers. */
static inline bool
route_is_empty(const struct route *route)
{
    return route->matched == 0 && route->workers == 0;
}

#endif
