/* SPDX-License-Identifier: MIT
 *
 * A fixed session in which the N-th allocation of the core fails, for every N:
 * once, and with all after it. The core may shed connections then, but it does
 * not crash, leak or miscount. Linked with --wrap for the allocator. */
#include "allocator.h"
#include "expect.h"
#include "session.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

/* ---- the session --------------------------------------------------------- */

static void
feed(struct fake_peer *peer, struct say *say)
{
    fake_feed_say(peer, say, SIZE_MAX);
    say_fini(say);
    fake_check(peer->net);
}

static void
take(struct fake_peer *peer, size_t bytes)
{
    struct broker_frame frame;
    fake_take(peer, bytes);
    while (fake_next(peer, &frame)) {
    }
    fake_check(peer->net);
}

static void
say_reader(struct say *say)
{
    static const struct say_subscription group = {
        .id = 3, .filter = "a", .group = "g"};
    static const struct say_subscription other = {
        .id = 4, .filter = "+", .group = "g"};
    say_hello(say);
    say_subscribe(say, 1, "a");
    say_subscribe(say, 2, "#");
    say_subscribe_with(say, &group);
    say_subscribe_with(say, &other);
    say_subscribe(say, 5, "+");
}

static void
say_slow(struct say *say)
{
    struct broker_hello hello = say_hello_default;
    hello.max_body_bytes = BROKER_BODY_BYTES_MIN;
    memset(hello.session, 9, sizeof hello.session);
    static const uint8_t name[] = {0, 1, 0, 4, 's', 'l', 'o', 'w'};
    hello.tlvs = (struct broker_bytes){name, sizeof name};
    say_hello_with(say, &hello);
    for (uint32_t id = 1; id <= 3; id++) {
        struct say_subscription want = {.id = id,
            .filter = "+",
            .overflow = id == 2 ? BROKER_OVERFLOW_DROP_NEWEST
                                : BROKER_OVERFLOW_DROP_OLDEST};
        say_subscribe_with(say, &want);
    }
    struct say_subscription oldest = {.id = 4, .filter = "b"};
    say_subscribe_with(say, &oldest);
}

static void
say_writer(struct say *say, uint32_t first)
{
    static const struct say_message kept = {.id = 1000,
        .flags = BROKER_PUBLISH_RETAIN,
        .topic = "c",
        .payload = "kept",
        .payload_bytes = 4};
    static uint8_t large[70000];
    static const struct say_message too_large = {
        .topic = "a", .payload = large, .payload_bytes = sizeof large};
    struct say_message echo = {.id = first + 40,
        .topic = "$sys/echo",
        .reply_to = "a",
        .payload = "echo",
        .payload_bytes = 4};
    for (uint32_t i = 0; i < 30; i++) {
        say_publish(say, first + i, i % 3 == 0 ? "b" : "a", "some payload");
    }
    say_message(say, &kept);
    say_message(say, &too_large);
    say_publish(say, 0, "a", "after");
    say_publish(say, first + 39, "a/+", "bad");
    say_message(say, &echo);
    say_ping(say, 1);
}

static void
play_to_the_end(struct fake_net *net, struct fake_peer *reader,
    struct fake_peer *slow, struct fake_peer *writer)
{
    struct say say = {0};
    for (uint32_t id = 1; id <= 3; id++) {
        say_unsubscribe(&say, id, 0); /* with gaps and messages pending */
        feed(slow, &say);
    }
    say_unsubscribe(&say, 4, BROKER_UNSUBSCRIBE_DRAIN);
    feed(slow, &say);
    say_unsubscribe(&say, 2, BROKER_UNSUBSCRIBE_DRAIN);
    feed(reader, &say);
    take(reader, 700);
    fake_advance(net, 15000);
    take(slow, SIZE_MAX);
    struct broker_hello again = say_hello_default;
    memset(again.session, 9, sizeof again.session);
    say_hello_with(&say, &again);
    struct fake_peer *newer = fake_connect(net);
    feed(newer, &say);
    fake_end_input(writer);
    take(writer, SIZE_MAX);
    if (net->core != NULL) {
        allocator_guard(true);
        core_shut_down(net->core, 1);
        allocator_guard(false);
    }
    take(newer, SIZE_MAX);
    take(slow, SIZE_MAX);
    take(reader, SIZE_MAX);
}

static void
play(uint32_t workers)
{
    struct core_options options = fake_options();
    options.max_output_bytes = 1500;
    options.workers = workers;
    struct fake_net net;
    fake_net_init(&net, &options, 1, allocator_guard);
    if (net.core != NULL) {
        struct fake_peer *reader = fake_connect(&net);
        struct fake_peer *slow = fake_connect(&net);
        struct fake_peer *writer = fake_connect(&net);
        struct say say = {0};
        say_reader(&say);
        feed(reader, &say);
        say_slow(&say);
        feed(slow, &say);
        say_hello(&say);
        say_writer(&say, 1);
        feed(writer, &say);
        take(reader, 300);
        say_writer(&say, 100);
        feed(writer, &say);
        fake_feed(slow, "\0\0", 2);
        fake_feed(slow, "\0\10\0\5\0\0\0\0\0\1", 10);
        fake_feed(slow, "abcdefgh", 8);
        take(slow, 100);
        play_to_the_end(&net, reader, slow, writer);
    }
    if (allocator.and_all_after) {
        allocator.countdown = 0; /* else they could not tell each other */
    }
    fake_net_fini(&net);
}

/* Returns false when the session has fewer than n allocations. */
static bool
play_failing(uint32_t workers, uint64_t n, bool and_all_after)
{
    int64_t live = allocator.live;
    allocator.countdown = n;
    allocator.and_all_after = and_all_after;
    allocator.failed = false;
    play(workers);
    allocator.countdown = 0;
    cr_assert_eq(allocator.live, live, "allocation %llu: %lld are left",
        (unsigned long long)n, (long long)(allocator.live - live));
    return allocator.failed;
}

/* With several workers, as with one. */
#define WORKERS_MAX 3u

Test(no_memory, nothing_is_left_when_nothing_fails)
{
    for (uint32_t workers = 1; workers <= WORKERS_MAX; workers++) {
        cr_assert_not(play_failing(workers, 0, false));
    }
}

Test(no_memory, one_allocation_fails)
{
    for (uint32_t workers = 1; workers <= WORKERS_MAX; workers++) {
        uint64_t n = 1;
        while (play_failing(workers, n, false)) {
            n++;
        }
        cr_assert_gt(n, 150, "%llu allocations", (unsigned long long)n);
    }
}

Test(no_memory, all_fail_from_then_on)
{
    for (uint32_t workers = 1; workers <= WORKERS_MAX; workers++) {
        uint64_t n = 1;
        while (play_failing(workers, n, true)) {
            n++;
        }
    }
}

/* ---- one message to groups ----------------------------------------------- */

static uint64_t
sum_matched(const struct fake_peer *peer)
{
    uint64_t matched = 0;
    const struct subscription *subscription = NULL;
    while (
        peer->session != NULL && (subscription = session_next_subscription(
                                      peer->session, subscription)) != NULL) {
        matched += subscription->books.matched;
    }
    return matched;
}

/* Publish one message while the n-th allocation fails. Whatever that is: either
 * the number is refused, or each subscription and group that it matched has it
 * in its books. */
static void
publish_failing(uint32_t workers, uint64_t n)
{
    struct core_options options = fake_options();
    options.workers = workers;
    struct fake_net net;
    fake_net_init(&net, &options, 1, allocator_guard);
    struct fake_peer *reader = fake_connect(&net);
    struct fake_peer *other = fake_connect(&net);
    struct fake_peer *writer = fake_connect(&net);
    struct say say = {0};
    say_reader(&say);
    feed(reader, &say);
    say_reader(&say);
    feed(other, &say);
    say_hello(&say);
    feed(writer, &say);
    take(writer, SIZE_MAX);
    say_publish(&say, 1, "a", "x");
    allocator.countdown = n;
    feed(writer, &say);
    allocator.countdown = 0;
    struct broker_frame frame;
    fake_take_all(writer);
    if (fake_next(writer, &frame) && frame.type == BROKER_FRAME_PUBACK) {
        struct broker_puback puback;
        cr_assert_eq(broker_puback_decode(&frame, &puback), BROKER_OK);
        cr_assert_eq(sum_matched(reader) + sum_matched(other), puback.matched,
            "%u workers, allocation %llu", workers, (unsigned long long)n);
    }
    fake_net_fini(&net);
}

Test(no_memory, what_is_acknowledged_is_in_the_books)
{
    for (uint32_t workers = 1; workers <= WORKERS_MAX; workers++) {
        for (uint64_t n = 1; n < 40; n++) {
            publish_failing(workers, n);
        }
    }
}
