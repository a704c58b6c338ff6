/* SPDX-License-Identifier: MIT
 *
 * Rights: lists of up to three rules over every short filter, against the sets
 * of topics that they allow; and texts, validity and references.
 */
#include "rights.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "every_filter.h"
#include "random.h"

#define BOTH      (RIGHTS_PUBLISH | RIGHTS_SUBSCRIBE)
#define WORDS_MAX 32

static struct broker_bytes
bytes_of(const char *text)
{
    return (struct broker_bytes){(const uint8_t *)text, strlen(text)};
}

/* A list of rules and what it means. */
struct world {
    const struct every_filter *every;
    struct rights *rights;
    uint64_t decided[WORDS_MAX]; /* topics that some rule matches */
    uint64_t allowed[WORDS_MAX];
};

static struct world
world_new(const struct every_filter *every)
{
    struct world world = {.every = every, .rights = rights_new()};

    cr_assert_not_null(world.rights);
    cr_assert_leq(every->words, WORDS_MAX);
    return world;
}

static void
world_add(struct world *world, bool allow, size_t filter)
{
    const uint64_t *set = every_set(world->every, filter);
    char text[64];

    snprintf(text, sizeof text, "%s %s", allow ? "allow" : "deny",
        world->every->filters[filter].text);
    cr_assert(rights_add(world->rights, allow, BOTH,
        every_bytes(&world->every->filters[filter]), text));
    for (size_t i = 0; i < world->every->words; i++) {
        if (allow) {
            world->allowed[i] |= set[i] & ~world->decided[i];
        }
        world->decided[i] |= set[i];
    }
}

static void
check_topics(const struct world *world)
{
    for (size_t t = 0; t < world->every->topic_count; t++) {
        bool allowed = (world->allowed[t / 64] >> (t % 64) & 1) != 0;
        bool decided = (world->decided[t / 64] >> (t % 64) & 1) != 0;
        struct broker_bytes topic = every_bytes(&world->every->topics[t]);
        const char *rule = NULL;

        cr_assert_eq(rights_may_publish(world->rights, topic, &rule), allowed);
        cr_assert_eq(rights_may_receive(world->rights, topic), allowed);
        cr_assert_eq(strcmp(rule, RIGHTS_NO_RULE) != 0, decided);
    }
}

/* Returns how often the answer was PARTLY where it need not have been. */
static size_t
check_subscriptions(const struct world *world)
{
    const struct every_filter *every = world->every;
    size_t divided = 0;

    for (size_t i = 0; i < every->filter_count; i++) {
        const uint64_t *set = every_set(every, i);
        bool all = every_is_within(every, set, world->allowed);
        bool any = every_meets(every, set, world->allowed);
        enum rights_grant grant = rights_may_subscribe(
            world->rights, every_bytes(&every->filters[i]), NULL);

        cr_assert(grant != RIGHTS_GRANTED || all, "granted too much: %s",
            every->filters[i].text);
        cr_assert(grant != RIGHTS_DENIED || !any, "denied too much: %s",
            every->filters[i].text);
        divided += grant == RIGHTS_PARTLY && (all || !any);
    }
    return divided;
}

Test(rights, every_list_of_two_rules)
{
    struct every_filter every = every_filter_new(2);
    size_t rules = every.filter_count * 2;

    for (size_t i = 0; i < rules; i++) {
        for (size_t j = 0; j < rules; j++) {
            struct world world = world_new(&every);

            world_add(&world, i % 2 != 0, i / 2);
            world_add(&world, j % 2 != 0, j / 2);
            check_topics(&world);
            (void)check_subscriptions(&world);
            rights_unref(world.rights);
        }
    }
    every_filter_free(&every);
}

/* PARTLY only where it is true. */
Test(rights, one_rule_is_judged_exactly)
{
    struct every_filter every = every_filter_new(3);

    for (size_t i = 0; i < every.filter_count; i++) {
        struct world world = world_new(&every);

        world_add(&world, true, i);
        cr_assert_eq(
            check_subscriptions(&world), 0, "allow %s", every.filters[i].text);
        rights_unref(world.rights);
    }
    every_filter_free(&every);
}

Test(rights, random_lists, .timeout = 60)
{
    struct every_filter every = every_filter_new(3);
    struct random random = {7};
    size_t divided = 0, asked = 0;

    for (size_t n = 0; n < 4000; n++) {
        struct world world = world_new(&every);
        size_t count = 1 + random_below(&random, 6);

        for (size_t i = 0; i < count; i++) {
            world_add(&world, random_below(&random, 2) != 0,
                random_below(&random, (uint32_t)every.filter_count));
        }
        if (n % 8 == 0) {
            check_topics(&world);
        }
        divided += check_subscriptions(&world);
        asked += every.filter_count;
        rights_unref(world.rights);
    }
    cr_assert_gt(asked, 100000);
    cr_assert_lt(divided, asked / 100, "%zu of %zu", divided, asked);
    every_filter_free(&every);
}

/* ---- by name ------------------------------------------------------------- */

static struct rights *
rights_of(const char *const *lines, size_t count)
{
    struct rights *rights = rights_new();

    for (size_t i = 0; i < count; i++) {
        const char *filter = strrchr(lines[i], ' ') + 1;
        unsigned actions =
            strstr(lines[i], " publish ") != NULL     ? RIGHTS_PUBLISH
            : strstr(lines[i], " subscribe ") != NULL ? RIGHTS_SUBSCRIBE
                                                      : BOTH;

        cr_assert(rights_add(
            rights, lines[i][0] == 'a', actions, bytes_of(filter), lines[i]));
    }
    return rights;
}

Test(rights, the_rule_is_told)
{
    static const char *const lines[] = {
        "deny all secret/#",
        "deny subscribe orders/+/price",
        "allow publish orders/#",
        "allow subscribe orders/new",
        "allow subscribe $sys/#",
    };
    struct rights *rights = rights_of(lines, 5);
    const char *rule = NULL;

    cr_assert_not(rights_may_publish(rights, bytes_of("secret"), &rule));
    cr_assert_str_eq(rule, lines[0]);
    cr_assert_not(rights_may_publish(rights, bytes_of("secret/a"), NULL));
    cr_assert_not(rights_may_publish(rights, bytes_of("secrets"), &rule));
    cr_assert_str_eq(rule, "no rule allows it");
    cr_assert(rights_may_publish(rights, bytes_of("orders/1/price"), &rule));
    cr_assert_str_eq(rule, lines[2]);
    cr_assert_not(rights_may_receive(rights, bytes_of("orders/1/price")));
    cr_assert(rights_may_receive(rights, bytes_of("orders/new")));
    cr_assert(rights_may_receive(rights, bytes_of("$sys")));

    cr_assert_eq(rights_may_subscribe(rights, bytes_of("secret/+"), &rule),
        RIGHTS_DENIED);
    cr_assert_str_eq(rule, lines[0]);
    cr_assert_eq(rights_may_subscribe(rights, bytes_of("orders/old"), &rule),
        RIGHTS_DENIED);
    cr_assert_str_eq(rule, "no rule allows it");
    cr_assert_eq(
        rights_may_subscribe(rights, bytes_of("#"), NULL), RIGHTS_PARTLY);
    cr_assert_eq(rights_may_subscribe(rights, bytes_of("orders/+"), &rule),
        RIGHTS_PARTLY);
    cr_assert_eq(rights_may_subscribe(rights, bytes_of("$sys/+"), &rule),
        RIGHTS_GRANTED);
    rights_unref(rights);
}

/* A rule that an earlier one hides does not divide a subscription. */
Test(rights, a_hidden_rule_does_not_count)
{
    static const char *const lines[] = {
        "allow subscribe home/me/#",
        "deny subscribe home/me/door",
        "allow all #",
    };
    struct rights *rights = rights_of(lines, 3);

    cr_assert_eq(
        rights_may_subscribe(rights, bytes_of("home/#"), NULL), RIGHTS_GRANTED);
    rights_unref(rights);
}

/* Only rules for subscribing hide rules for subscribing. */
Test(rights, rules_for_publishing_hide_nothing)
{
    static const char *const lines[] = {
        "allow publish home/#",
        "deny subscribe home/me/door",
        "allow subscribe home/#",
    };
    struct rights *rights = rights_of(lines, 3);

    cr_assert_eq(
        rights_may_subscribe(rights, bytes_of("home/#"), NULL), RIGHTS_PARTLY);
    cr_assert_not(rights_may_receive(rights, bytes_of("home/me/door")));
    rights_unref(rights);
}

Test(rights, nothing_is_allowed_without_a_rule)
{
    struct rights *rights = rights_new();
    const char *rule = NULL;

    cr_assert_not(rights_may_publish(rights, bytes_of("a"), &rule));
    cr_assert_str_eq(rule, RIGHTS_NO_RULE);
    cr_assert_not(rights_may_receive(rights, bytes_of("a")));
    cr_assert_eq(
        rights_may_subscribe(rights, bytes_of("#"), &rule), RIGHTS_DENIED);
    rights_unref(rights);
    rights_unref(NULL);
}

Test(rights, unlimited_is_everything)
{
    struct rights *rights = rights_new_unlimited();

    cr_assert(rights_may_publish(rights, bytes_of("$any/topic"), NULL));
    cr_assert(rights_may_receive(rights, bytes_of("a")));
    cr_assert_eq(
        rights_may_subscribe(rights, bytes_of("$any/#"), NULL), RIGHTS_GRANTED);
    rights_unref(rights);
}

Test(rights, a_bad_filter_is_no_rule)
{
    static const char *const bad[] = {
        "", "a#", "#/a", "a/+b", "\xFF", "a/\xC3"};
    struct rights *rights = rights_new();

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(rights_add(rights, true, BOTH, bytes_of(bad[i]), ""));
    }
    cr_assert_not(rights_may_publish(rights, bytes_of("a"), NULL));
    rights_unref(rights);
}

/* ---- references ---------------------------------------------------------- */

/* Take memory that was just freed, and spoil it. */
static void
reuse_memory(void *taken[16])
{
    for (size_t i = 0; i < 16; i++) {
        taken[i] = malloc(8 * (i + 1));
        memset(taken[i], 0x5a, 8 * (i + 1));
    }
}

Test(rights, only_the_last_reference_frees)
{
    struct rights *rights = rights_of((const char *[]){"allow all a/#"}, 1);

    cr_assert_eq(rights_ref(rights), rights);
    for (int i = 0; i < 2; i++) {
        void *taken[16];

        cr_assert(rights_may_publish(rights, bytes_of("a/b"), NULL));
        rights_unref(rights);
        reuse_memory(taken);
        for (size_t t = 0; t < 16; t++) {
            free(taken[t]);
        }
    }
}

static void *
use_rights(void *argument)
{
    struct rights *rights = argument;

    for (int i = 0; i < 20000; i++) {
        struct rights *mine = rights_ref(rights);

        if (!rights_may_publish(mine, bytes_of("a/b"), NULL)) {
            return argument;
        }
        rights_unref(mine);
    }
    rights_unref(rights);
    return NULL;
}

Test(rights, many_threads_share_them)
{
    struct rights *rights = rights_of((const char *[]){"allow all a/#"}, 1);
    pthread_t threads[4];

    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(
            pthread_create(&threads[i], NULL, use_rights, rights_ref(rights)),
            0);
    }
    rights_unref(rights);
    for (size_t i = 0; i < 4; i++) {
        void *failed = rights;

        cr_assert_eq(pthread_join(threads[i], &failed), 0);
        cr_assert_null(failed);
    }
}
