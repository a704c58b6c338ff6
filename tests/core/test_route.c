/* SPDX-License-Identifier: MIT
 *
 * Index, routes and contexts: who is on a topic's route, in which set, and that
 * what is cached is never out of date. */
#include "random.h"
#include "route.h"
#include "session.h"
#include "slow_match.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUBSCRIPTIONS 40
#define SESSIONS      4

struct world {
    struct index index;
    struct context_table contexts;
    struct route_cache routes;
    struct subscription *subscriptions[SUBSCRIPTIONS]; /* NULL: not there */
    const char *filters[SUBSCRIPTIONS];
    const char *groups[SUBSCRIPTIONS];
    uint32_t checks;
};

static struct broker_bytes
bytes_of(const char *text)
{
    return (struct broker_bytes){
        (const uint8_t *)text, text == NULL ? 0 : strlen(text)};
}

/* Of a session only the id is looked at. */
static struct session *
session_at(uint32_t i)
{
    static struct session sessions[SESSIONS];
    sessions[i].id = i + 1;
    return &sessions[i];
}

static struct world *
world_new(void)
{
    struct world *world = calloc(1, sizeof *world);
    cr_assert(index_init(&world->index, 3));
    world->contexts.seed = 4;
    cr_assert(
        route_cache_init(&world->routes, &world->index, &world->contexts, 5));
    return world;
}

static void
add(struct world *world, uint32_t i, uint32_t session, const char *filter,
    const char *group)
{
    static uint64_t serial;
    struct subscription *s = calloc(1, sizeof *s);
    world->subscriptions[i] = s;
    s->session = session_at(session);
    s->id = 1000 - i;
    context_init_own(
        &world->contexts, s, ++serial, BROKER_OVERFLOW_DROP_OLDEST);
    cr_assert(index_add(&world->index, s, bytes_of(filter), bytes_of(group)));
    world->filters[i] = filter;
    world->groups[i] = group;
}

static void
take_out(struct world *world, uint32_t i)
{
    struct subscription *s = world->subscriptions[i];
    if (s == NULL) {
        return;
    }
    index_remove(&world->index, s);
    index_remove(&world->index, s); /* not in any more: nothing happens */
    cr_assert_null(s->node);
    cr_assert_null(s->group);
    context_unref(&s->own);
    world->subscriptions[i] = NULL;
}

static void
world_free(struct world *world)
{
    for (uint32_t i = 0; i < SUBSCRIPTIONS; i++) {
        take_out(world, i);
    }
    cr_assert_eq(world->index.count, 0);
    route_cache_fini(&world->routes);
    cr_assert_eq(world->contexts.contexts.count, 0, "contexts are left");
    table_fini(&world->contexts.contexts);
    index_fini(&world->index);
    free(world);
}

static enum broker_status
check(void *arg, struct broker_bytes topic)
{
    struct world *world = arg;
    world->checks++;
    return topic.data[0] == '!' ? BROKER_E_BAD_TOPIC : BROKER_OK;
}

static struct route *
get(struct world *world, const char *topic)
{
    enum broker_status status = BROKER_OK;
    struct route *route =
        route_get(&world->routes, bytes_of(topic), check, world, &status);
    cr_assert_not_null(route);
    return route;
}

Test(route, lists_each_session_once_with_its_set)
{
    struct world *world = world_new();
    add(world, 0, 0, "a/+", NULL);
    add(world, 1, 0, "#", NULL);
    add(world, 2, 1, "a/b", NULL);
    add(world, 3, 1, "b", NULL);
    struct route *route = get(world, "a/b");
    cr_assert_eq(route->matched, 3);
    cr_assert_eq(route->target_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const struct route_target *target = &route->targets[i];
        cr_assert_eq(
            target->context->count, target->session == session_at(0) ? 2 : 1);
    }
    /* Sets are ordered by id. */
    for (uint32_t i = 0; i < 2; i++) {
        const struct context *context = route->targets[i].context;
        cr_assert(
            context->count == 1 || context->members[0].subscription->id <
                                       context->members[1].subscription->id);
    }
    route_unref(route);
    world_free(world);
}

/* The first time that a topic is asked for it leaves only a trace. */
static struct route *
get_kept(struct world *world, const char *topic)
{
    route_unref(get(world, topic));
    struct route *route = get(world, topic);
    cr_assert(route->is_kept);
    return route;
}

Test(route, is_kept_until_a_subscription_changes)
{
    struct world *world = world_new();
    add(world, 0, 0, "a", NULL);
    struct route *first = get_kept(world, "a");
    struct context *context = first->targets[0].context;
    cr_assert_eq(context, &world->subscriptions[0]->own);
    struct route *again = get(world, "a");
    cr_assert_eq(first, again);
    cr_assert_eq(world->checks, 2, "what is cached needs no check");
    route_unref(again);
    route_unref(first);
    add(world, 1, 1, "unrelated", NULL);
    again = get(world, "a");
    cr_assert_eq(again->epoch, world->index.epoch);
    cr_assert_eq(
        again->targets[0].context, context, "the same set is the same pointer");
    route_unref(again);
    take_out(world, 0);
    again = get(world, "a");
    cr_assert(again->is_kept);
    cr_assert_eq(again->matched, 0);
    cr_assert_eq(again->target_count, 0);
    route_unref(again);
    cr_assert_eq(world->checks, 2);
    world_free(world);
}

/* Each has memory of its own while it is in use. */
Test(route, several_at_once)
{
    struct world *world = world_new();
    add(world, 0, 0, "+", NULL);
    struct route *routes[9];
    for (uint32_t i = 0; i < 9; i++) {
        char topic[8];
        snprintf(topic, sizeof topic, "%u", i);
        add(world, i + 1, 1, "#", NULL);
        routes[i] = get(world, topic);
    }
    for (uint32_t i = 0; i < 9; i++) {
        cr_assert_eq(routes[i]->matched, i + 2);
        cr_assert_eq(routes[i]->target_count, 2);
        route_unref(routes[i]);
    }
    world_free(world);
}

Test(route, is_not_kept_for_a_topic_that_comes_once)
{
    struct world *world = world_new();
    add(world, 0, 0, "#", NULL);
    add(world, 1, 0, "+", NULL);
    struct route *kept = get_kept(world, "a");
    for (int i = 0; i < 100000; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "%d", i);
        struct route *route = get(world, topic);
        cr_assert_not(route->is_kept);
        cr_assert_eq(route->targets[0].context->count, 2);
        route_unref(route);
    }
    cr_assert_eq(get(world, "a"), kept, "displaced by topics that came once");
    route_unref(kept);
    route_unref(kept);
    world_free(world);
}

Test(route, what_the_check_refuses_is_not_kept)
{
    struct world *world = world_new();
    for (int i = 0; i < 3; i++) {
        enum broker_status status = BROKER_OK;
        cr_assert_null(
            route_get(&world->routes, bytes_of("!bad"), check, world, &status));
        cr_assert_eq(status, BROKER_E_BAD_TOPIC);
    }
    cr_assert_eq(world->checks, 3);
    world_free(world);
}

Test(route, groups_count_once)
{
    struct world *world = world_new();
    add(world, 0, 0, "a", "g");
    add(world, 1, 1, "a", "g");
    add(world, 2, 2, "a", "h");
    add(world, 3, 2, "+", "g");
    add(world, 4, 3, "a", NULL);
    struct route *route = get(world, "a");
    cr_assert_eq(route->matched, 4);
    cr_assert_eq(route->group_count, 3);
    cr_assert_eq(route->target_count, 1);
    route_unref(route);
    take_out(world, 0);
    take_out(world, 1);
    route = get(world, "a");
    cr_assert_eq(route->group_count, 2);
    route_unref(route);
    world_free(world);
}

/* What the route of a topic must say, counted by hand. */
static uint32_t
count_matched(const struct world *world, const char *topic, uint32_t *sessions)
{
    uint32_t matched = 0;
    uint32_t mask = 0;
    for (uint32_t i = 0; i < SUBSCRIPTIONS; i++) {
        if (world->subscriptions[i] == NULL ||
            !slow_match(bytes_of(world->filters[i]), bytes_of(topic))) {
            continue;
        }
        bool first = true;
        for (uint32_t j = 0; j < i && world->groups[i] != NULL; j++) {
            first = first && !(world->subscriptions[j] != NULL &&
                                 world->groups[j] == world->groups[i] &&
                                 world->filters[j] == world->filters[i]);
        }
        matched += first ? 1 : 0;
        for (uint32_t s = 0; s < SESSIONS && world->groups[i] == NULL; s++) {
            mask |=
                world->subscriptions[i]->session == session_at(s) ? 1u << s : 0;
        }
    }
    *sessions = (uint32_t)__builtin_popcount(mask);
    return matched;
}

Test(route, random_changes)
{
    static const char *const filters[] = {
        "a", "a/b", "#", "+", "a/#", "+/b", "b/+/c", "$x/#"};
    static const char *const topics[] = {"a", "a/b", "b", "b/x/c", "$x/y", ""};
    static const char *const groups[] = {"g", "h"};
    struct random random = {11};
    struct world *world = world_new();
    for (int step = 0; step < 5000; step++) {
        uint32_t i = random_below(&random, SUBSCRIPTIONS);
        if (world->subscriptions[i] != NULL) {
            take_out(world, i);
        } else {
            add(world, i, random_below(&random, SESSIONS),
                filters[random_below(&random, 8)],
                random_chance(&random, 30) ? groups[random_below(&random, 2)]
                                           : NULL);
        }
        const char *topic = topics[random_below(&random, 5)];
        struct route *route = get(world, topic);
        uint32_t sessions;
        cr_assert_eq(route->matched, count_matched(world, topic, &sessions));
        cr_assert_eq(route->target_count, sessions);
        route_unref(route);
    }
    world_free(world);
}

/* ---- looking ahead ------------------------------------------------------- */

#define FAR_FILTERS 3000

/* Enough filters that it is worth while. */
static struct subscription **
add_far(struct world *world)
{
    static uint64_t serial = 1u << 20;
    struct subscription **far = calloc(FAR_FILTERS, sizeof(*far));
    for (uint32_t i = 0; i < FAR_FILTERS; i++) {
        char filter[16];
        snprintf(filter, sizeof filter, "far/%u", i);
        far[i] = calloc(1, sizeof **far);
        far[i]->session = session_at(i % SESSIONS);
        far[i]->id = 5000 + i;
        context_init_own(
            &world->contexts, far[i], ++serial, BROKER_OVERFLOW_DROP_OLDEST);
        cr_assert(
            index_add(&world->index, far[i], bytes_of(filter), bytes_of(NULL)));
    }
    cr_assert(route_should_expect(&world->routes));
    return far;
}

static void
free_far(struct world *world, struct subscription **far)
{
    for (uint32_t i = 0; i < FAR_FILTERS; i++) {
        index_remove(&world->index, far[i]);
        context_unref(&far[i]->own);
    }
    free(far);
}

/* The route of the topic at this very place. */
static void
check_route(struct world *world, struct broker_bytes topic, uint32_t matched)
{
    enum broker_status status = BROKER_OK;
    struct route *route =
        route_get(&world->routes, topic, check, world, &status);
    cr_assert_not_null(route);
    cr_assert_eq(route->matched, matched, "%.*s: %u", (int)topic.len,
        (const char *)topic.data, route->matched);
    route_unref(route);
}

/* Whatever was expected, and comes or does not come: a route is that of its
 * topic as things stand when it is asked for. */
Test(route, expectations_change_nothing)
{
    static const char *const filters[] = {
        "far/+", "far/#", "+/7", "#", "far/7", "near/7", "$x/#"};
    struct random random = {5};
    struct world *world = world_new();
    struct subscription **far = add_far(world);
    for (int round = 0; round < 3000; round++) {
        char texts[ROUTE_EXPECT_MAX][16];
        struct broker_bytes topics[ROUTE_EXPECT_MAX];
        for (uint32_t i = 0; i < ROUTE_EXPECT_MAX; i++) {
            snprintf(texts[i], sizeof texts[i], "%s/%u",
                random_chance(&random, 95) ? "far" : "near",
                random_below(&random, random_chance(&random, 30) ? 9 : 9999));
            topics[i] = bytes_of(texts[i]);
        }
        route_expect(&world->routes, topics,
            random_between(&random, 1, ROUTE_EXPECT_MAX));
        for (uint32_t i = 0; i < ROUTE_EXPECT_MAX; i++) {
            uint32_t s = random_below(&random, SUBSCRIPTIONS);
            if (random_chance(&random, 3) && world->subscriptions[s] != NULL) {
                take_out(world, s);
            } else if (random_chance(&random, 3) &&
                       world->subscriptions[s] == NULL) {
                add(world, s, s % SESSIONS, filters[random_below(&random, 7)],
                    NULL);
            }
            if (random_chance(&random, 5)) {
                continue; /* it does not come */
            }
            if (random_chance(&random, 5)) {
                texts[i][topics[i].len - 1] ^= 1; /* something else is there */
            }
            uint32_t sessions;
            uint32_t number = FAR_FILTERS;
            bool is_far = sscanf(texts[i], "far/%u", &number) == 1;
            check_route(world, topics[i],
                count_matched(world, texts[i], &sessions) +
                    (is_far && number < FAR_FILTERS ? 1 : 0));
        }
    }
    free_far(world, far);
    world_free(world);
}

/* The other memory with the same bytes, and the same memory with other bytes,
 * are both not what was expected. */
Test(route, an_expectation_is_for_a_place)
{
    struct world *world = world_new();
    struct subscription **far = add_far(world);
    char here[] = "far/1";
    char there[] = "far/1";
    struct broker_bytes topic = bytes_of(here);
    route_expect(&world->routes, &topic, 1);
    check_route(world, bytes_of(there), 1);
    strcpy(here, "far/x");
    check_route(world, bytes_of(here), 0);
    free_far(world, far);
    world_free(world);
}

/* With more filters than an expectation has room for nobody is left out. */
Test(route, expectations_of_many_filters)
{
    static const char *const filters[] = {
        "far/+", "far/#", "+/+", "+/#", "#", "+/+/#", "far/+/#"};
    struct world *world = world_new();
    struct subscription **far = add_far(world);
    for (uint32_t i = 0; i < 7; i++) {
        add(world, i, i % SESSIONS, filters[i], NULL);
    }
    char texts[ROUTE_EXPECT_MAX][16];
    struct broker_bytes topics[ROUTE_EXPECT_MAX];
    for (uint32_t i = 0; i < ROUTE_EXPECT_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "far/%u", i);
        topics[i] = bytes_of(texts[i]);
    }
    route_expect(&world->routes, topics, ROUTE_EXPECT_MAX);
    for (uint32_t i = 0; i < ROUTE_EXPECT_MAX; i++) {
        check_route(world, topics[i], 8);
    }
    free_far(world, far);
    world_free(world);
}

/* And with so many that not even one topic has room for all of its own. */
Test(route, expectations_of_too_many_filters)
{
    static const char *const filters[] = {"far/+", "far/#", "+/+", "+/#", "#",
        "+/+/#", "far/+/#", "far/7", "far/8", "+/7", "+/8"};
    struct world *world = world_new();
    struct subscription **far = add_far(world);
    for (uint32_t i = 0; i < 11; i++) {
        add(world, i, i % SESSIONS, filters[i], NULL);
    }
    char texts[ROUTE_EXPECT_MAX][16];
    struct broker_bytes topics[ROUTE_EXPECT_MAX];
    for (uint32_t i = 0; i < ROUTE_EXPECT_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "far/%u", i % 2 + 7);
        topics[i] = bytes_of(texts[i]);
    }
    route_expect(&world->routes, topics, ROUTE_EXPECT_MAX);
    for (uint32_t i = 0; i < ROUTE_EXPECT_MAX; i++) {
        check_route(world, topics[i], 10);
    }
    free_far(world, far);
    world_free(world);
}

/* A filter that only a queue group has, a kept route that is out of date, and
 * one that leads nowhere. */
Test(route, expectations_without_a_session_to_fetch)
{
    static const char *const texts[] = {"near/group", "near/old", "near/no"};
    struct world *world = world_new();
    struct subscription **far = add_far(world);
    struct broker_bytes topics[3];
    add(world, 0, 0, "near/old", NULL);
    for (int i = 0; i < 3; i++) {
        topics[i] = bytes_of(texts[i]);
        for (int time = 0; i > 0 && time < 3; time++) {
            check_route(world, topics[i], i == 1 ? 1 : 0); /* and keep it */
        }
    }
    route_expect(&world->routes, topics, 3);
    add(world, 1, 1, "near/group", "g");
    add(world, 2, 2, "near/old", NULL);
    route_expect(&world->routes, topics, 3);
    check_route(world, topics[0], 1);
    check_route(world, topics[1], 2);
    check_route(world, topics[2], 0);
    free_far(world, far);
    world_free(world);
}

/* ---- many ---------------------------------------------------------------- */

/* Routes of many subscriptions take much memory: so few of them are kept that
 * it stays bounded, and each is good as ever. */
Test(route, heavy_routes_are_forgotten_together)
{
    struct world *world = world_new();
    struct subscription **far = calloc(FAR_FILTERS, sizeof(*far));
    static struct session sessions[FAR_FILTERS];
    for (uint32_t i = 0; i < FAR_FILTERS; i++) {
        far[i] = calloc(1, sizeof **far);
        sessions[i].id = i + 1;
        far[i]->session = &sessions[i];
        far[i]->id = i + 1;
        context_init_own(
            &world->contexts, far[i], i + 1, BROKER_OVERFLOW_DROP_OLDEST);
        cr_assert(
            index_add(&world->index, far[i], bytes_of("#"), bytes_of(NULL)));
    }
    uint64_t heaviest = 0;
    uint64_t forgotten = 0;
    for (uint32_t i = 0; i < 600; i++) { /* each twice, so that it is kept */
        char topic[16];
        snprintf(topic, sizeof topic, "t/%u", i / 2);
        uint64_t before = world->routes.weight;
        check_route(world, bytes_of(topic), FAR_FILTERS);
        forgotten += world->routes.weight < before ? 1 : 0;
        heaviest =
            world->routes.weight > heaviest ? world->routes.weight : heaviest;
    }
    cr_assert_gt(forgotten, 0);
    cr_assert_leq(heaviest, 1000000);
    free_far(world, far);
    world_free(world);
}

/* More topics than the cache has room for. */
Test(route, many_topics)
{
    struct world *world = world_new();
    add(world, 0, 0, "#", NULL);
    for (uint32_t i = 0; i < 200000; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "t/%u", i % 150000);
        struct route *route = get(world, topic);
        cr_assert_eq(route->matched, 1);
        route_unref(route);
    }
    world_free(world);
}

/* ---- contexts ------------------------------------------------------------ */

Test(context, one_object_for_each_set)
{
    struct world *world = world_new();
    add(world, 0, 0, "a", NULL);
    add(world, 1, 0, "b", NULL);
    struct subscription *ab[] = {
        world->subscriptions[0], world->subscriptions[1]};
    struct subscription *ba[] = {
        world->subscriptions[1], world->subscriptions[0]};
    struct context *first = context_get(&world->contexts, ab, 2, false);
    struct context *second = context_get(&world->contexts, ba, 2, false);
    struct context *retained = context_get(&world->contexts, ab, 2, true);
    cr_assert_eq(first, second);
    cr_assert_neq(first, retained);
    cr_assert(context_has(first, ab[0]) && context_has(first, ab[1]));
    struct context *without = context_without(first, world->subscriptions[0]);
    cr_assert_eq(without, &world->subscriptions[1]->own);
    cr_assert_null(context_without(without, world->subscriptions[1]));
    context_unref(without);
    context_unref(first);
    context_unref(second);
    context_unref(retained);
    context_unref(NULL);
    world_free(world);
}

/* The same id again is another subscription. */
Test(context, sets_are_told_apart_by_serial)
{
    struct world *world = world_new();
    add(world, 0, 0, "a", NULL);
    struct context *before = context_ref(&world->subscriptions[0]->own);
    take_out(world, 0);
    add(world, 0, 0, "a", NULL);
    cr_assert_neq(before, &world->subscriptions[0]->own);
    cr_assert_not(context_has(before, world->subscriptions[0]));
    context_unref(before);
    world_free(world);
}
