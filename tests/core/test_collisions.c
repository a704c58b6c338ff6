/* SPDX-License-Identifier: MIT
 *
 * Two things that look the same in a hash table are still two: sets of
 * subscriptions, session ids, subscription ids, filters and groups that the
 * workers tell each other of. Somebody who guesses a hash must not get what is
 * another's. */
#include "collide.h"
#include "expect.h"
#include "interest.h"
#include "session.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

/* ---- sets of subscriptions ----------------------------------------------- */

#define SET_MAX 3

/* Set i: {1, i + 3} below the split, {1, 2, i + 3} from there on. */
struct sets {
    uint64_t seed;
    uint32_t split;
};

static uint32_t
set_of(const struct sets *sets, uint32_t i, uint64_t serials[SET_MAX])
{
    uint32_t count = 0;
    serials[count++] = 1;
    if (i >= sets->split) {
        serials[count++] = 2;
    }
    serials[count++] = i + 3;
    return count;
}

static uint64_t
set_hash(const void *arg, uint32_t i)
{
    const struct sets *sets = arg;
    uint64_t serials[SET_MAX];
    uint32_t count = set_of(sets, i, serials);
    uint64_t hash = sets->seed;
    for (uint32_t k = 0; k < count; k++) {
        hash = table_hash(&serials[k], sizeof serials[k], hash);
    }
    return hash;
}

static struct context *
get_set(struct context_table *table, const struct sets *sets, uint32_t i)
{
    static struct subscription subscriptions[2][SET_MAX];
    static uint32_t turn;
    struct subscription *set[SET_MAX];
    uint64_t serials[SET_MAX];
    uint32_t count = set_of(sets, i, serials);
    turn ^= 1;
    for (uint32_t k = 0; k < count; k++) {
        set[k] = &subscriptions[turn][k];
        *set[k] = (struct subscription){.id = k + 1};
        context_init_own(
            table, set[k], serials[k], BROKER_OVERFLOW_DROP_OLDEST);
    }
    return context_get(table, set, count, false);
}

static void
sets_are_two(uint32_t split)
{
    struct context_table table = {.seed = 77};
    struct sets sets = {table.seed, split};
    uint32_t a, b;
    collide_find(set_hash, &sets, split == UINT32_MAX ? 0 : split, &a, &b);
    struct context *first = get_set(&table, &sets, a);
    struct context *second = get_set(&table, &sets, b);
    cr_assert_eq(first->link.tag, second->link.tag, "they do not collide");
    cr_assert_neq(first, second);
    struct context *again = get_set(&table, &sets, b);
    cr_assert_eq(again, second);
    context_unref(again);
    context_unref(second);
    context_unref(first);
    table_fini(&table.contexts);
}

Test(collisions, sets_of_other_subscriptions)
{
    sets_are_two(UINT32_MAX);
}

Test(collisions, sets_of_other_sizes)
{
    sets_are_two(200000);
}

/* The same set with and without RETAINED: told apart by more than the hash,
 * which here is made the same by the seed. */
Test(collisions, retained_sets)
{
    struct subscription subscriptions[2] = {{.id = 1}, {.id = 2}};
    struct subscription *set[] = {&subscriptions[0], &subscriptions[1]};
    struct context_table table = {.seed = 8};
    for (uint32_t i = 0; i < 2; i++) {
        context_init_own(&table, set[i], i + 1, BROKER_OVERFLOW_DROP_OLDEST);
    }
    struct context *plain = context_get(&table, set, 2, false);
    table.seed ^= 1;
    struct context *retained = context_get(&table, set, 2, true);
    cr_assert_eq(plain->link.tag, retained->link.tag, "they do not collide");
    cr_assert_neq(plain, retained);
    cr_assert(retained->retained && !plain->retained);
    context_unref(plain);
    context_unref(retained);
    table_fini(&table.contexts);
}

/* ---- session ids --------------------------------------------------------- */

#define OWNER 5

static void
identity_id(uint32_t i, uint8_t id[BROKER_SESSION_BYTES])
{
    memset(id, 1, BROKER_SESSION_BYTES);
    memcpy(id, &i, sizeof i);
}

static uint64_t
identity_hash(const void *arg, uint32_t i)
{
    const struct identities *identities = arg;
    uint8_t id[BROKER_SESSION_BYTES];
    identity_id(i, id);
    return table_hash(id, sizeof id, identities->seed);
}

Test(collisions, session_ids)
{
    struct identities identities;
    uint8_t id[BROKER_SESSION_BYTES];
    uint32_t a, b;
    identities_init(&identities, 10, 1000, 99);
    collide_find(identity_hash, &identities, 0, &a, &b);
    identity_id(a, id);
    struct identity *first = identity_take(&identities, id, OWNER, 0);
    identity_id(b, id);
    struct identity *second = identity_take(&identities, id, OWNER, 0);
    cr_assert_eq(first->link.tag, second->link.tag, "they do not collide");
    cr_assert_neq(first, second);
    first->last_publish = 5;
    identity_leave(&identities, first, 0);
    cr_assert_eq(identity_take(&identities, id, OWNER, 1), second);
    cr_assert_eq(second->last_publish, 0, "the other's numbers");
    identity_leave(&identities, second, 1);
    identities_fini(&identities);
}

/* ---- subscription ids ---------------------------------------------------- */

/* Ids of two sessions: i + 1 of the first below the split, of the second from
 * there on. */
struct owners {
    uint64_t seed, session[2];
    uint32_t split;
};

static uint64_t
subscription_hash(const void *arg, uint32_t i)
{
    const struct owners *owners = arg;
    uint64_t key[2] = {owners->session[i < owners->split ? 0 : 1], i + 1};
    return table_hash(key, sizeof key, owners->seed);
}

static void
subscribe(struct fake_peer *peer, uint32_t id, const char *filter)
{
    struct say say = {0};
    say_subscribe(&say, id, filter);
    expect_fed(peer, &say);
    expect_suback(peer, id, 0);
}

static void
unsubscribe(struct fake_peer *peer, uint32_t id, uint64_t matched)
{
    struct say say = {0};
    say_unsubscribe(&say, id, 0);
    expect_fed(peer, &say);
    expect_unsuback(peer, id, matched, matched, 0);
}

static void
publish(struct fake_peer *peer, const char *topic)
{
    struct say say = {0};
    say_publish(&say, 0, topic, topic);
    expect_fed(peer, &say);
}

static void
get_one(struct fake_peer *peer, uint32_t id, const char *topic)
{
    expect_context(peer, id, 0, 0);
    expect_publish(peer, topic, topic);
}

static void
subscriptions_are_two(bool of_one_session)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peers[2] = {expect_open(&net), expect_open(&net)};
    struct owners owners = {.seed = net.core->seed,
        .session = {peers[0]->session->id, peers[1]->session->id},
        .split = of_one_session ? UINT32_MAX : 200000};
    uint32_t a, b;
    collide_find(
        subscription_hash, &owners, of_one_session ? 0 : owners.split, &a, &b);
    struct fake_peer *first = peers[a < owners.split ? 0 : 1];
    struct fake_peer *second = peers[b < owners.split ? 0 : 1];
    subscribe(first, a + 1, "a");
    subscribe(second, b + 1, "b");
    cr_assert_eq(session_next_subscription(first->session, NULL)->link.tag,
        session_next_subscription(second->session, NULL)->link.tag,
        "they do not collide");
    publish(first, "b");
    get_one(second, b + 1, "b");
    unsubscribe(second, b + 1, 1);
    publish(second, "a");
    get_one(first, a + 1, "a");
    unsubscribe(first, a + 1, 1);
    cr_assert_eq(net.core->subscriptions.count, 0);
    fake_net_fini(&net);
}

Test(collisions, subscriptions_of_one_session)
{
    subscriptions_are_two(true);
}

Test(collisions, subscriptions_of_two_sessions)
{
    subscriptions_are_two(false);
}

/* ---- what workers tell each other ---------------------------------------- */

#define OTHER      1
#define TEXT_BYTES 16

static void
name_text(uint32_t i, char text[TEXT_BYTES])
{
    snprintf(text, TEXT_BYTES, "f%u", i);
}

static uint64_t
filter_hash(const void *arg, uint32_t i)
{
    const struct exchange *exchange = arg;
    char text[TEXT_BYTES];
    name_text(i, text);
    return table_hash(text, strlen(text), exchange->seed);
}

/* The hash of group i with the filter "f". */
static uint64_t
group_hash(const void *arg, uint32_t i)
{
    const struct exchange *exchange = arg;
    char text[TEXT_BYTES];
    name_text(i, text);
    return table_hash(text, strlen(text), table_hash("f", 1, exchange->seed));
}

static void
net_of_two(struct fake_net *net)
{
    struct core_options options = fake_options();
    options.workers = 2;
    fake_net_init(net, &options, 1, NULL);
    cr_assert_not_null(net->core);
}

static struct fake_peer *
open_at(struct fake_net *net, uint32_t worker)
{
    struct fake_peer *peer = fake_connect_to(net, worker);
    struct say say = {0};
    say_hello(&say);
    expect_fed(peer, &say);
    (void)expect_frame(peer, BROKER_FRAME_WELCOME);
    return peer;
}

static const struct interest *
interest_of(const struct fake_peer *peer)
{
    return session_next_subscription(peer->session, NULL)->interest;
}

/* The split is where numbers become longer. */
static void
filters_are_two(uint32_t split)
{
    struct fake_net net;
    net_of_two(&net);
    char first_text[TEXT_BYTES], second_text[TEXT_BYTES];
    uint32_t a, b;
    collide_find(filter_hash, net.cores[OTHER]->exchange, split, &a, &b);
    name_text(a, first_text);
    name_text(b, second_text);
    struct fake_peer *first = open_at(&net, OTHER);
    struct fake_peer *second = open_at(&net, OTHER);
    struct fake_peer *writer = open_at(&net, EXCHANGE_HOME);
    subscribe(first, 1, first_text);
    subscribe(second, 1, second_text);
    cr_assert_eq(interest_of(first)->link.tag, interest_of(second)->link.tag,
        "they do not collide");
    publish(writer, second_text);
    get_one(second, 1, second_text);
    expect_nothing(first);
    unsubscribe(second, 1, 1);
    publish(writer, first_text);
    get_one(first, 1, first_text);
    unsubscribe(first, 1, 1);
    fake_net_fini(&net);
}

Test(collisions, filters_of_one_length)
{
    filters_are_two(0);
}

Test(collisions, filters_of_two_lengths)
{
    filters_are_two(100000);
}

Test(collisions, groups)
{
    struct fake_net net;
    net_of_two(&net);
    char texts[2][TEXT_BYTES];
    struct fake_peer *peers[2];
    uint32_t a, b;
    collide_find(group_hash, net.cores[OTHER]->exchange, 0, &a, &b);
    name_text(a, texts[0]);
    name_text(b, texts[1]);
    struct fake_peer *writer = open_at(&net, EXCHANGE_HOME);
    for (uint32_t i = 0; i < 2; i++) {
        struct say_subscription want = {
            .id = 1, .filter = "f", .group = texts[i]};
        struct say say = {0};
        peers[i] = open_at(&net, OTHER);
        say_subscribe_with(&say, &want);
        expect_fed(peers[i], &say);
        expect_suback(peers[i], 1, 0);
    }
    cr_assert_eq(interest_of(peers[0])->link.tag,
        interest_of(peers[1])->link.tag, "they do not collide");
    publish(writer, "f"); /* each group gets it */
    get_one(peers[0], 1, "f");
    get_one(peers[1], 1, "f");
    fake_net_fini(&net);
}
