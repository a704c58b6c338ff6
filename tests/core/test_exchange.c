/* SPDX-License-Identifier: MIT
 *
 * Several workers whose mail waits until the test delivers it: what a client
 * sees must not depend on how long that takes. exchange.h, PROTOCOL.md section
 * 5. Single cases; simulate_mail.c mixes them. */
#include "expect.h"
#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

#define HOME  0
#define OTHER 1

static void
net_of_two(struct fake_net *net)
{
    struct core_options options = fake_options();
    options.workers = 2;
    fake_net_init(net, &options, 1, NULL);
    cr_assert_not_null(net->core);
}

static struct fake_peer *
open_plain(struct fake_net *net, uint32_t worker)
{
    return expect_open_at(net, worker, &say_hello_default);
}

/* And subscribed. */
static struct fake_peer *
open_subscribed(
    struct fake_net *net, uint32_t worker, const struct say_subscription *want)
{
    struct fake_peer *peer = open_plain(net, worker);
    struct say say = {0};
    say_subscribe_with(&say, want);
    expect_fed(peer, &say);
    fake_mail_settle(net);
    expect_suback(peer, want->id, 0);
    return peer;
}

static void
publish(
    struct fake_peer *peer, uint32_t id, const char *topic, const char *payload)
{
    struct say say = {0};
    say_publish(&say, id, topic, payload);
    expect_fed(peer, &say);
}

static void
publish_many(struct fake_peer *peer, uint32_t count, const char *topic)
{
    struct say say = {0};
    for (uint32_t id = 1; id <= count; id++) {
        say_publish(&say, id, topic, "one of many");
    }
    expect_fed(peer, &say);
}

/* Messages that the peer has got until now; other frames are passed over. */
static uint32_t
count_messages(struct fake_peer *peer)
{
    struct broker_frame frame;
    uint32_t count = 0;
    fake_take_all(peer);
    while (fake_next(peer, &frame)) {
        cr_assert_neq(frame.type, BROKER_FRAME_GAP);
        count += frame.type == BROKER_FRAME_PUBLISH ? 1 : 0;
    }
    return count;
}

static const struct say_subscription plain = {.id = 1, .filter = "a"};
static const struct say_subscription member = {
    .id = 1, .filter = "a", .group = "g"};

/* ---- answers in their order ---------------------------------------------- */

Test(exchange, answers_wait_for_those_before_them)
{
    struct fake_net net;
    net_of_two(&net);
    struct fake_peer *reader = open_subscribed(&net, HOME, &plain);
    struct fake_peer *writer = open_plain(&net, OTHER);
    fake_mail_hold(&net);
    struct say say = {0};
    say_publish(&say, 1, "a", "x");
    say_publish(&say, 2, "nobody", "x");
    say_publish(&say, 3, "a/+", "x");
    say_ping(&say, 4);
    expect_fed(writer, &say);
    expect_nothing(writer);
    fake_mail_settle(&net);
    expect_puback(writer, 1, 1, 1, 0);
    expect_puback(writer, 2, 1, 0, 0);
    expect_error(writer, BROKER_E_BAD_TOPIC, 3, BROKER_FRAME_PUBLISH);
    (void)expect_frame(writer, BROKER_FRAME_PONG);
    cr_assert_eq(count_messages(reader), 1);
    fake_net_fini(&net);
}

/* SUBACK would wait for the acknowledgement before it, but messages would not:
 * so neither begins. */
Test(exchange, suback_comes_before_its_messages)
{
    struct fake_net net;
    net_of_two(&net);
    static const struct say_subscription other = {.id = 1, .filter = "b"};
    static const struct say_subscription same = {
        .id = 7, .filter = "b", .options = BROKER_SUBSCRIBE_NO_RETAINED};
    (void)open_subscribed(&net, HOME, &plain);
    struct fake_peer *neighbour = open_subscribed(&net, OTHER, &other);
    struct fake_peer *peer = open_plain(&net, OTHER);
    fake_mail_hold(&net);
    struct say say = {0};
    say_publish(&say, 1, "a", "x");
    say_subscribe_with(&say, &same);
    expect_fed(peer, &say);
    publish(neighbour, 0, "b", "early");
    expect_nothing(peer);
    fake_mail_settle(&net);
    publish(neighbour, 0, "b", "late");
    expect_puback(peer, 1, 1, 1, 0);
    expect_suback(peer, 7, 0);
    expect_context(peer, 7, 0, 0);
    expect_publish(peer, "b", "late");
    fake_net_fini(&net);
}

Test(exchange, nothing_follows_goaway)
{
    struct fake_net net;
    net_of_two(&net);
    struct broker_hello hello = say_hello_default;
    memset(hello.session, 9, sizeof hello.session);
    struct fake_peer *asker = expect_open_at(&net, OTHER, &hello);
    static const struct say_message question = {.id = 1,
        .topic = "$sys/echo",
        .reply_to = "inbox",
        .payload = "x",
        .payload_bytes = 1};
    fake_mail_hold(&net);
    struct say say = {0};
    say_message(&say, &question);
    expect_fed(asker, &say);
    struct fake_peer *newer = fake_connect_to(&net, HOME);
    say_hello_with(&say, &hello);
    expect_fed(newer, &say);
    fake_mail_end_turn(&net, HOME); /* it claims the id, from itself */
    fake_mail_step(&net, HOME);
    fake_mail_end_turn(&net, HOME);
    fake_mail_step(&net, OTHER); /* and there it is taken */
    fake_mail_settle(&net);      /* the answer comes to a closed session */
    expect_goaway(asker, BROKER_E_SESSION_TAKEN);
    (void)expect_frame(newer, BROKER_FRAME_WELCOME);
    fake_net_fini(&net);
}

/* ---- session ids --------------------------------------------------------- */

/* What was taken in before the id went to another worker is not to be published
 * again, even if nobody was told what became of it. */
Test(exchange, welcome_knows_what_was_published_elsewhere)
{
    struct fake_net net;
    net_of_two(&net);
    struct broker_hello hello = say_hello_default;
    memset(hello.session, 9, sizeof hello.session);
    struct fake_peer *reader = open_subscribed(&net, HOME, &plain);
    struct fake_peer *older = expect_open_at(&net, OTHER, &hello);
    fake_mail_hold(&net);
    publish_many(older, 3, "a");
    struct fake_peer *newer = fake_connect_to(&net, HOME);
    struct say say = {0};
    say_hello_with(&say, &hello);
    expect_fed(newer, &say);
    expect_nothing(newer);
    fake_mail_settle(&net);
    struct broker_frame frame = expect_frame(newer, BROKER_FRAME_WELCOME);
    struct broker_welcome welcome;
    cr_assert_eq(broker_welcome_decode(&frame, &welcome), BROKER_OK);
    cr_assert_eq(welcome.last_publish, 3);
    cr_assert_eq(count_messages(reader), 3);
    fake_net_fini(&net);
}

/* ---- retained values ----------------------------------------------------- */

/* Home believes that somebody wants it until it hears otherwise. By then the
 * value is kept. */
Test(exchange, a_request_that_was_retained_is_not_refused)
{
    struct fake_net net;
    net_of_two(&net);
    struct fake_peer *gone = open_subscribed(&net, OTHER, &plain);
    struct fake_peer *asker = open_plain(&net, HOME);
    fake_mail_hold(&net);
    fake_drop(gone);
    static const struct say_message request = {.id = 1,
        .flags = BROKER_PUBLISH_RETAIN,
        .topic = "a",
        .reply_to = "inbox",
        .payload = "x",
        .payload_bytes = 1};
    struct say say = {0};
    say_message(&say, &request);
    expect_fed(asker, &say);
    fake_mail_settle(&net);
    expect_puback(asker, 1, 1, 0, 0);
    say_subscribe_with(&say, &plain);
    expect_fed(asker, &say);
    fake_mail_settle(&net);
    expect_suback(asker, 1, 1);
    fake_net_fini(&net);
}

/* ---- queue groups -------------------------------------------------------- */

/* Other workers know of a member before it is one. */
Test(exchange, who_joins_a_group_costs_it_no_message)
{
    struct fake_net net;
    net_of_two(&net);
    struct fake_peer *older = open_subscribed(&net, HOME, &member);
    struct fake_peer *newer = open_plain(&net, OTHER);
    struct fake_peer *writer = open_plain(&net, HOME);
    fake_mail_hold(&net);
    struct say say = {0};
    say_subscribe_with(&say, &member);
    expect_fed(newer, &say);
    fake_mail_end_turn(&net, OTHER);
    fake_mail_step(&net, HOME);
    publish_many(writer, 8, "a");
    fake_mail_settle(&net);
    expect_puback(writer, 8, 8, 1, 0);
    expect_suback(newer, 1, 0);
    cr_assert_eq(count_messages(older) + count_messages(newer), 8);
    fake_net_fini(&net);
}

Test(exchange, the_first_member_is_known_when_suback_comes)
{
    struct fake_net net;
    net_of_two(&net);
    struct fake_peer *reader = open_plain(&net, OTHER);
    struct fake_peer *writer = open_plain(&net, HOME);
    fake_mail_hold(&net);
    struct say say = {0};
    say_subscribe_with(&say, &member);
    expect_fed(reader, &say);
    fake_mail_end_turn(&net, OTHER);
    fake_mail_step(&net, HOME);
    fake_mail_end_turn(&net, HOME);
    fake_mail_step(&net, OTHER);
    expect_suback(reader, 1, 0);
    publish(writer, 1, "a", "x");
    fake_mail_settle(&net);
    expect_puback(writer, 1, 1, 1, 0);
    cr_assert_eq(count_messages(reader), 1);
    fake_net_fini(&net);
}

/* Messages are on their way to the last member of a worker when it leaves. */
Test(exchange, who_leaves_a_group_costs_it_no_message)
{
    struct fake_net net;
    net_of_two(&net);
    struct fake_peer *stays = open_subscribed(&net, HOME, &member);
    struct fake_peer *leaves = open_subscribed(&net, OTHER, &member);
    struct fake_peer *writer = open_plain(&net, HOME);
    fake_mail_hold(&net);
    uint64_t before = fake_mail_mark(leaves);
    publish_many(writer, 8, "a");
    fake_mail_end_turn(&net, HOME);
    struct say say = {0};
    say_unsubscribe(&say, 1, BROKER_UNSUBSCRIBE_DRAIN);
    fake_feed_said(leaves, say.bytes, say.len, before);
    say_fini(&say);
    fake_mail_settle(&net);
    expect_puback(writer, 8, 8, 1, 0);
    uint32_t there = count_messages(leaves);
    cr_assert_gt(there, 0);
    cr_assert_eq(count_messages(stays) + there, 8);
    fake_net_fini(&net);
}

/* Frames of one connection count in their order, wherever they are routed. */
Test(exchange, who_has_left_a_group_is_not_matched)
{
    struct fake_net net;
    net_of_two(&net);
    struct fake_peer *peer = open_subscribed(&net, OTHER, &member);
    fake_mail_hold(&net);
    static const struct say_message value = {.id = 1,
        .flags = BROKER_PUBLISH_RETAIN,
        .topic = "a",
        .payload = "x",
        .payload_bytes = 1};
    struct say say = {0};
    say_unsubscribe(&say, 1, 0);
    say_message(&say, &value); /* home routes it */
    expect_fed(peer, &say);
    fake_mail_settle(&net);
    expect_unsuback(peer, 1, 0, 0, 0);
    expect_puback(peer, 1, 1, 0, 0);
    fake_net_fini(&net);
}

/* The connection of the last member is lost while messages are on their way to
 * it: nobody gets them, and the publisher is told so. */
Test(exchange, what_finds_no_member_is_refused)
{
    struct fake_net net;
    net_of_two(&net);
    struct fake_peer *lost = open_subscribed(&net, OTHER, &member);
    struct fake_peer *writer = open_plain(&net, HOME);
    fake_mail_hold(&net);
    publish_many(writer, 3, "a");
    fake_mail_end_turn(&net, HOME);
    fake_drop(lost);
    fake_mail_settle(&net);
    expect_puback(writer, 3, 3, 1, 1);
    publish(writer, 4, "a", "nobody is there");
    fake_mail_settle(&net);
    expect_puback(writer, 4, 1, 0, 0);
    fake_net_fini(&net);
}

/* ---- congestion ---------------------------------------------------------- */

#define FLOOD_MESSAGES 3000u
#define FLOOD_STEP     4096u

/* Feed until no more is taken; returns where that was. */
static size_t
feed_until_full(
    struct fake_net *net, struct fake_peer *peer, const struct say *say)
{
    size_t pos = 0;
    while (pos < say->len) {
        size_t left = say->len - pos;
        size_t fed = fake_feed_said(
            peer, say->bytes + pos, left < FLOOD_STEP ? left : FLOOD_STEP, 0);
        fake_mail_end_turn(net, HOME);
        fake_check(net);
        if (fed == 0) {
            break;
        }
        pos += fed;
    }
    return pos;
}

/* A worker that sends more than another one processes stops reading, and goes
 * on when that one has caught up. */
Test(exchange, what_is_not_processed_elsewhere_stops_reading)
{
    struct fake_net net;
    net_of_two(&net);
    struct fake_peer *reader = open_subscribed(&net, OTHER, &plain);
    struct fake_peer *writer = open_plain(&net, HOME);
    struct exchange *exchange = net.core->exchange;
    exchange->congested_bytes = 100000;
    fake_mail_hold(&net);
    char payload[1001] = {0};
    memset(payload, 'x', sizeof payload - 1);
    struct say say = {0};
    for (uint32_t id = 1; id <= FLOOD_MESSAGES; id++) {
        say_publish(&say, id, "a", payload);
    }
    size_t fed = feed_until_full(&net, writer, &say);
    cr_assert(exchange_is_congested(exchange));
    cr_assert_gt(fed, 50000);
    cr_assert_lt(fed, 100000 + 2 * FLOOD_STEP);
    uint32_t received = 0;
    while (fed < say.len) {
        cr_assert_eq(fake_feed_said(writer, say.bytes + fed, 1, 0), 0);
        while (fake_mail_step(&net, OTHER)) {
        }
        received += count_messages(reader); /* and that it did is posted */
        cr_assert(exchange_is_congested(exchange));
        while (fake_mail_step(&net, HOME)) {
        }
        cr_assert_not(exchange_is_congested(exchange));
        struct say rest = {.bytes = say.bytes + fed, .len = say.len - fed};
        size_t more = feed_until_full(&net, writer, &rest);
        cr_assert_gt(more, 0);
        fed += more;
    }
    say_fini(&say);
    fake_mail_settle(&net);
    received += count_messages(reader);
    cr_assert_eq(received, FLOOD_MESSAGES, "%u came", received);
    fake_net_fini(&net);
}
