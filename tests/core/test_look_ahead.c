/* SPDX-License-Identifier: MIT
 *
 * Where there are many topics the core looks at those of the frames to come
 * before it handles the first. Whatever stands there, what is delivered must be
 * the same as if it had not looked: frames are cut, broken or of other types,
 * and subscriptions come and go between them. handle_publish.c. */
#include "expect.h"
#include "random.h"
#include "session.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define FILTERS 1100 /* more than it takes to look ahead */

static struct fake_peer *
open_far(struct fake_net *net)
{
    struct core_options options = fake_options();
    options.max_subscriptions = FILTERS;
    fake_net_init(net, &options, 1, NULL);
    cr_assert_not_null(net->core);
    struct fake_peer *reader = expect_open(net);
    struct say say = {0};
    for (uint32_t i = 0; i < FILTERS; i++) {
        char filter[16];
        snprintf(filter, sizeof filter, "t/%u", i);
        say_subscribe(&say, i + 1, filter);
    }
    expect_fed(reader, &say);
    for (uint32_t i = 0; i < FILTERS; i++) {
        expect_suback(reader, i + 1, 0);
    }
    cr_assert(route_should_expect(&net->core->routes));
    return reader;
}

static void
say_to(struct say *say, uint32_t number, const char *payload)
{
    char topic[16];
    snprintf(topic, sizeof topic, "t/%u", number);
    say_publish(say, 0, topic, payload);
}

/* The reader's next message is this one, under a CONTEXT if that changes. */
static void
expect_message(struct fake_peer *reader, uint32_t *context, uint32_t number,
    const char *payload)
{
    char topic[16];
    snprintf(topic, sizeof topic, "t/%u", number);
    if (*context != number + 1) {
        expect_context(reader, number + 1, 0, 0);
        *context = number + 1;
    }
    expect_publish(reader, topic, payload);
}

/* Runs and single messages on topics in any order, cut in pieces of any size.
 */
Test(look_ahead, messages_go_where_they_belong)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct random random = {seed};
        struct fake_net net;
        struct fake_peer *reader = open_far(&net);
        struct fake_peer *writer = expect_open(&net);
        uint32_t context = 0;
        uint32_t numbers[300];
        struct say say = {0};
        for (uint32_t i = 0; i < 300; i++) {
            numbers[i] = i > 0 && random_chance(&random, 40)
                             ? numbers[i - 1]
                             : random_below(&random, FILTERS);
            say_to(&say, numbers[i], i % 7 == 0 ? "long payload" : "x");
        }
        fake_feed_say(writer, &say, random_between(&random, 1, 3000));
        say_fini(&say);
        for (uint32_t i = 0; i < 300; i++) {
            expect_message(reader, &context, numbers[i],
                i % 7 == 0 ? "long payload" : "x");
        }
        expect_nothing(reader);
        fake_net_fini(&net);
    }
}

/* More frames of one topic than are looked at, then others. */
Test(look_ahead, a_long_run_is_not_looked_through)
{
    struct fake_net net;
    struct fake_peer *reader = open_far(&net);
    struct fake_peer *writer = expect_open(&net);
    uint32_t context = 0;
    struct say say = {0};
    for (uint32_t i = 0; i < 200; i++) {
        say_to(&say, 5, "x");
    }
    say_to(&say, 6, "y");
    say_to(&say, 7, "z");
    expect_fed(writer, &say);
    for (uint32_t i = 0; i < 200; i++) {
        expect_message(reader, &context, 5, "x");
    }
    expect_message(reader, &context, 6, "y");
    expect_message(reader, &context, 7, "z");
    fake_net_fini(&net);
}

/* Other frames among them: looking stops there, and what is behind them is
 * found when its time comes. */
Test(look_ahead, other_frames_stand_between)
{
    struct fake_net net;
    struct fake_peer *reader = open_far(&net);
    struct fake_peer *writer = expect_open(&net);
    uint32_t context = 0;
    struct say say = {0};
    say_to(&say, 1, "x");
    say_to(&say, 2, "x");
    say_ping(&say, 9);
    say_to(&say, 3, "x");
    say_subscribe(&say, 1, "t/4");
    say_to(&say, 4, "x");
    say_to(&say, 1, "x");
    expect_fed(writer, &say);
    expect_message(reader, &context, 1, "x");
    expect_message(reader, &context, 2, "x");
    expect_message(reader, &context, 3, "x");
    expect_message(reader, &context, 4, "x");
    expect_message(reader, &context, 1, "x");
    (void)expect_frame(writer, BROKER_FRAME_PONG);
    expect_suback(writer, 1, 0);
    expect_context(writer, 1, 0, 0);
    expect_publish(writer, "t/4", "x");
    fake_net_fini(&net);
}

/* A frame whose lengths are lies is not looked into, and is refused when its
 * time comes. What was before it is delivered. */
static void
broken_frame(const uint8_t *bytes, size_t len)
{
    struct fake_net net;
    struct fake_peer *reader = open_far(&net);
    struct fake_peer *writer = expect_open(&net);
    uint32_t context = 0;
    struct say say = {0};
    say_to(&say, 1, "x");
    say_to(&say, 2, "x");
    say_bytes(&say, bytes, len);
    say_to(&say, 3, "x");
    expect_fed(writer, &say);
    expect_message(reader, &context, 1, "x");
    expect_message(reader, &context, 2, "x");
    expect_nothing(reader);
    expect_error(writer, BROKER_E_MALFORMED, 7, BROKER_FRAME_PUBLISH);
    expect_goaway(writer, BROKER_E_MALFORMED);
    fake_net_fini(&net);
}

Test(look_ahead, a_topic_longer_than_its_frame)
{
    static const uint8_t bytes[] = {0, 0, 0, 6, BROKER_FRAME_PUBLISH >> 8,
        BROKER_FRAME_PUBLISH & 0xFF, 0, 0, 0, 0, 0, 7, 0xFF, 0xFF, 0, 0, 't',
        '/'};
    broken_frame(bytes, sizeof bytes);
}

Test(look_ahead, a_frame_too_short_for_a_topic)
{
    static const uint8_t bytes[] = {0, 0, 0, 2, BROKER_FRAME_PUBLISH >> 8,
        BROKER_FRAME_PUBLISH & 0xFF, 0, 0, 0, 0, 0, 7, 0, 1};
    broken_frame(bytes, sizeof bytes);
}

/* Who ends a subscription with its own message in sight gets no more. */
Test(look_ahead, subscriptions_end_between)
{
    struct fake_net net;
    struct fake_peer *reader = open_far(&net);
    uint32_t context = 0;
    struct say say = {0};
    say_to(&say, 1, "x");
    say_unsubscribe(&say, 3, 0);
    say_to(&say, 2, "x");
    say_to(&say, 3, "x");
    say_to(&say, 2, "x");
    expect_fed(reader, &say);
    expect_unsuback(reader, 3, 0, 0, 0);
    expect_message(reader, &context, 1, "x");
    expect_message(reader, &context, 3, "x");
    expect_nothing(reader);
    fake_net_fini(&net);
}
