/* SPDX-License-Identifier: MIT
 *
 * SUBSCRIBE, UNSUBSCRIBE, queue groups and the end of subscriptions.
 * PROTOCOL.md sections 4.8 to 4.11, 5.1, 5.4 and 5.6. */
#include "expect.h"
#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

static void
subscribe(struct fake_peer *peer, const struct say_subscription *want)
{
    struct say say = {0};
    say_subscribe_with(&say, want);
    expect_fed(peer, &say);
    expect_suback(peer, want->id, 0);
}

static void
publish(struct fake_peer *peer, const char *topic, uint32_t n)
{
    struct say say = {0};
    for (uint32_t i = 0; i < n; i++) {
        say_publish(&say, 0, topic, "0123456789");
    }
    expect_fed(peer, &say);
}

Test(subscribe, refusals)
{
    static const struct {
        struct say_subscription want;
        enum broker_status code;
    } refused[] = {{{.id = 0, .filter = "a"}, BROKER_E_BAD_REQUEST},
        {{.id = 1, .filter = "b"}, BROKER_E_DUPLICATE_SUBSCRIPTION},
        {{.id = 2, .filter = "a#"}, BROKER_E_BAD_FILTER},
        {{.id = 2, .filter = "#/a"}, BROKER_E_BAD_FILTER},
        {{.id = 2, .filter = "a", .group = "a+"}, BROKER_E_BAD_GROUP},
        {{.id = 2, .filter = "a", .overflow = (enum broker_overflow)6},
            BROKER_E_UNSUPPORTED_POLICY},
        {{.id = 2, .filter = "a", .overflow = (enum broker_overflow)9},
            BROKER_E_UNSUPPORTED_POLICY}};
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    subscribe(peer, &(struct say_subscription){.id = 1, .filter = "a"});
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct say say = {0};
        say_subscribe_with(&say, &refused[i].want);
        expect_fed(peer, &say);
        expect_error(
            peer, refused[i].code, refused[i].want.id, BROKER_FRAME_SUBSCRIBE);
    }
    cr_assert_eq(net.core->index.count, 1);
    fake_net_fini(&net);
}

Test(subscribe, as_many_as_allowed)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    for (uint32_t id = 1; id <= 100; id++) {
        subscribe(peer, &(struct say_subscription){.id = id, .filter = "a"});
    }
    struct say say = {0};
    say_subscribe(&say, 101, "a");
    expect_fed(peer, &say);
    expect_error(
        peer, BROKER_E_TOO_MANY_SUBSCRIPTIONS, 101, BROKER_FRAME_SUBSCRIBE);
    say_unsubscribe(&say, 50, 0);
    say_subscribe(&say, 101, "a");
    expect_fed(peer, &say);
    expect_unsuback(peer, 50, 0, 0, 0);
    expect_suback(peer, 101, 0);
    fake_net_fini(&net);
}

Test(subscribe, the_policy_in_force_is_said)
{
    static const enum broker_overflow asked[] = {BROKER_OVERFLOW_DEFAULT,
        BROKER_OVERFLOW_DROP_OLDEST, BROKER_OVERFLOW_DROP_NEWEST,
        BROKER_OVERFLOW_DISCONNECT, BROKER_OVERFLOW_CONFLATE};
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    for (uint32_t i = 0; i < 5; i++) {
        struct say say = {0};
        say_subscribe_with(
            &say, &(struct say_subscription){
                      .id = i + 1, .filter = "a", .overflow = asked[i]});
        expect_fed(peer, &say);
        struct broker_frame frame = expect_frame(peer, BROKER_FRAME_SUBACK);
        struct broker_suback suback;
        cr_assert_eq(broker_suback_decode(&frame, &suback), BROKER_OK);
        cr_assert_eq(
            suback.overflow, i == 0 ? BROKER_OVERFLOW_DROP_OLDEST : asked[i]);
    }
    fake_net_fini(&net);
}

/* ---- the end of subscriptions -------------------------------------------- */

Test(subscribe, unsubscribe_of_what_is_not_there)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_unsubscribe(&say, 5, 0);
    expect_fed(peer, &say);
    expect_error(
        peer, BROKER_E_UNKNOWN_SUBSCRIPTION, 5, BROKER_FRAME_UNSUBSCRIBE);
    fake_net_fini(&net);
}

Test(subscribe, without_drain_what_is_queued_is_dropped)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    subscribe(peer, &(struct say_subscription){.id = 1, .filter = "a"});
    subscribe(peer, &(struct say_subscription){.id = 2, .filter = "+"});
    publish(peer, "a", 5);
    publish(peer, "b", 2);
    struct say say = {0};
    say_unsubscribe(&say, 2, 0);
    expect_fed(peer, &say);
    publish(peer, "b", 9);
    expect_unsuback(peer, 2, 7, 0, 7);
    expect_context(peer, 1, 0, 0);
    for (int i = 0; i < 5; i++) {
        expect_publish(peer, "a", "0123456789");
    }
    expect_nothing(peer);
    fake_net_fini(&net);
}

Test(subscribe, with_drain_what_is_queued_comes_first)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    subscribe(peer, &(struct say_subscription){.id = 1, .filter = "a"});
    publish(peer, "a", 5);
    struct say say = {0};
    say_unsubscribe(&say, 1, BROKER_UNSUBSCRIBE_DRAIN);
    say_unsubscribe(&say, 1, BROKER_UNSUBSCRIBE_DRAIN);
    say_subscribe(&say, 1, "b");
    expect_fed(peer, &say);
    publish(peer, "a", 5);
    expect_error(
        peer, BROKER_E_UNKNOWN_SUBSCRIPTION, 1, BROKER_FRAME_UNSUBSCRIBE);
    expect_error(
        peer, BROKER_E_DUPLICATE_SUBSCRIPTION, 1, BROKER_FRAME_SUBSCRIBE);
    expect_context(peer, 1, 0, 0);
    for (int i = 0; i < 5; i++) {
        expect_publish(peer, "a", "0123456789");
    }
    expect_unsuback(peer, 1, 5, 5, 0);
    subscribe(peer, &(struct say_subscription){.id = 1, .filter = "b"});
    publish(peer, "b", 1);
    expect_context(peer, 1, 0, 0);
    expect_publish(peer, "b", "0123456789");
    fake_net_fini(&net);
}

/* What was refused is reported before UNSUBACK, even if it is all there is. */
Test(subscribe, with_drain_gaps_come_first_too)
{
    struct core_options options = fake_options();
    options.max_output_bytes = 300;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *peer = expect_open(&net);
    subscribe(peer,
        &(struct say_subscription){
            .id = 1, .filter = "a", .overflow = BROKER_OVERFLOW_DROP_NEWEST});
    subscribe(peer,
        &(struct say_subscription){
            .id = 2, .filter = "b", .overflow = BROKER_OVERFLOW_DROP_NEWEST});
    for (int i = 0; i < 8; i++) {
        publish(peer, "b", 1);
    }
    uint64_t kept = peer->session->output.messages;
    publish(peer, "a", 3);
    struct say say = {0};
    say_unsubscribe(&say, 1, BROKER_UNSUBSCRIBE_DRAIN);
    expect_fed(peer, &say);
    expect_context(peer, 2, 0, 0);
    for (uint64_t i = 0; i < kept; i++) {
        expect_publish(peer, "b", "0123456789");
    }
    expect_gap(peer, BROKER_GAP_OVERFLOW, 8 - kept, 2);
    expect_gap(peer, BROKER_GAP_OVERFLOW, 3, 1);
    expect_unsuback(peer, 1, 3, 0, 3);
    fake_net_fini(&net);
}

/* A draining subscription ends before GOAWAY, whatever the reason for it. */
Test(subscribe, draining_when_the_connection_is_closed)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    subscribe(peer, &(struct say_subscription){.id = 1, .filter = "a"});
    publish(peer, "a", 3);
    struct say say = {0};
    say_unsubscribe(&say, 1, BROKER_UNSUBSCRIBE_DRAIN);
    say_hello(&say);
    expect_fed(peer, &say);
    expect_error(peer, BROKER_E_UNEXPECTED_FRAME, 1, BROKER_FRAME_HELLO);
    expect_unsuback(peer, 1, 3, 0, 3);
    expect_goaway(peer, BROKER_E_UNEXPECTED_FRAME);
    fake_net_fini(&net);
}

/* ---- queue groups -------------------------------------------------------- */

static uint64_t
received(struct fake_peer *peer)
{
    struct broker_frame frame;
    uint64_t count = 0;
    fake_take_all(peer);
    while (fake_next(peer, &frame)) {
        count += frame.type == BROKER_FRAME_PUBLISH ? 1 : 0;
    }
    return count;
}

Test(subscribe, a_group_shares_the_work)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *members[3];
    for (int i = 0; i < 3; i++) {
        members[i] = expect_open(&net);
        subscribe(members[i],
            &(struct say_subscription){.id = 1, .filter = "a", .group = "g"});
    }
    struct fake_peer *other = expect_open(&net);
    subscribe(other,
        &(struct say_subscription){.id = 1, .filter = "a", .group = "h"});
    struct fake_peer *writer = expect_open(&net);
    struct say say = {0};
    for (uint32_t id = 1; id <= 30; id++) {
        say_publish(&say, id, "a", "x");
    }
    expect_fed(writer, &say);
    expect_puback(writer, 30, 30, 2, 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(received(members[i]), 10);
    }
    cr_assert_eq(received(other), 30);
    fake_net_fini(&net);
}

#define SHARE_MAX 16 /* PROTOCOL.md section 5.1 */

/* Takes everything; returns the most messages with numbers that follow each
 * other. Numbers only go up. */
static uint32_t
most_in_a_row(struct fake_peer *peer, uint32_t *count)
{
    struct broker_frame frame;
    uint32_t last = 0;
    uint32_t row = 0;
    uint32_t most = 0;
    fake_take_all(peer);
    while (fake_next(peer, &frame)) {
        if (frame.type != BROKER_FRAME_PUBLISH) {
            continue;
        }
        cr_assert_gt(frame.id, last);
        row = frame.id == last + 1 ? row + 1 : 1;
        most = row > most ? row : most;
        last = frame.id;
        ++*count;
    }
    return most;
}

/* Publishes so many at once; every member gets `least` to `most` of them. */
static void
expect_shared(uint32_t messages, uint32_t least, uint32_t most, uint32_t in_row)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *members[4];
    for (int i = 0; i < 4; i++) {
        members[i] = expect_open(&net);
        subscribe(members[i],
            &(struct say_subscription){.id = 1, .filter = "a", .group = "g"});
    }
    struct fake_peer *writer = expect_open(&net);
    struct say say = {0};
    for (uint32_t id = 1; id <= messages; id++) {
        say_publish(&say, id, "a", "x");
    }
    expect_fed(writer, &say);
    expect_puback(writer, messages, messages, 1, 0);
    uint32_t all = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t count = 0;
        cr_assert_leq(most_in_a_row(members[i], &count), in_row);
        cr_assert(count >= least && count <= most, "%u of %u", count, messages);
        all += count;
    }
    cr_assert_eq(all, messages);
    fake_net_fini(&net);
}

Test(subscribe, a_member_takes_several_of_a_long_run_in_a_row)
{
    expect_shared(8, 2, 2, 1);
    expect_shared(31, 7, 8, 1);
    expect_shared(32, 8, 8, 2);
    expect_shared(100, 24, 30, 6);
    expect_shared(1000, 250 - SHARE_MAX, 250 + SHARE_MAX, SHARE_MAX);
}

Test(subscribe, the_least_loaded_member_gets_it)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *slow = expect_open(&net);
    struct fake_peer *quick = expect_open(&net);
    subscribe(
        slow, &(struct say_subscription){.id = 1, .filter = "a", .group = "g"});
    subscribe(quick,
        &(struct say_subscription){.id = 1, .filter = "a", .group = "g"});
    uint64_t quick_count = 0;
    for (int i = 0; i < 100; i++) {
        publish(quick, "a", 1);
        quick_count += received(quick);
    }
    cr_assert_geq(quick_count, 98);
    cr_assert_eq(received(slow), 100 - quick_count);
    fake_net_fini(&net);
}

/* A group's message and a plain one of the same connection come as one. */
Test(subscribe, a_member_with_plain_subscriptions_gets_it_once)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    subscribe(peer, &(struct say_subscription){.id = 3, .filter = "a"});
    subscribe(
        peer, &(struct say_subscription){.id = 1, .filter = "a", .group = "g"});
    subscribe(
        peer, &(struct say_subscription){.id = 2, .filter = "+", .group = "g"});
    publish(peer, "a", 1);
    expect_context(peer, 1, 2, 3);
    expect_publish(peer, "a", "0123456789");
    expect_nothing(peer);
    fake_net_fini(&net);
}

Test(subscribe, who_leaves_a_group_gets_nothing_more)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *stays = expect_open(&net);
    struct fake_peer *leaves = expect_open(&net);
    struct say_subscription want = {.id = 1, .filter = "a", .group = "g"};
    subscribe(leaves, &want);
    subscribe(stays, &want);
    fake_end_input(leaves);
    publish(stays, "a", 4);
    cr_assert_eq(received(leaves), 0);
    cr_assert_null(leaves->session);
    cr_assert_eq(received(stays), 4);
    fake_net_fini(&net);
}

/* ---- slow readers -------------------------------------------------------- */

Test(subscribe, who_chose_to_be_disconnected_is)
{
    struct core_options options = fake_options();
    options.max_output_bytes = 1000;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *peer = expect_open(&net);
    struct fake_peer *writer = expect_open(&net);
    subscribe(peer,
        &(struct say_subscription){
            .id = 1, .filter = "a", .overflow = BROKER_OVERFLOW_DISCONNECT});
    publish(writer, "a", 50);
    cr_assert_eq(net.core->index.count, 0);
    expect_frame(peer, BROKER_FRAME_NOTICE);
    expect_goaway(peer, BROKER_E_SLOW_CONSUMER);
    fake_net_fini(&net);
}

Test(subscribe, queue_high_is_said_once_until_it_was_low)
{
    struct core_options options = fake_options();
    options.max_output_bytes = 10000;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *peer = expect_open(&net);
    subscribe(peer, &(struct say_subscription){.id = 1, .filter = "a"});
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 500; i++) {
            publish(peer, "a", 1);
        }
        struct broker_frame frame = expect_frame(peer, BROKER_FRAME_NOTICE);
        struct broker_notice notice;
        cr_assert_eq(broker_notice_decode(&frame, &notice), BROKER_OK);
        cr_assert_eq(notice.code, BROKER_E_QUEUE_HIGH);
        while (fake_next(peer, &frame)) {
            cr_assert_neq(frame.type, BROKER_FRAME_NOTICE);
        }
    }
    cr_assert_eq(net.logged[CORE_EVENT_SLOW], 1);
    fake_net_fini(&net);
}
