/* SPDX-License-Identifier: MIT
 *
 * Heartbeats, time limits, half-close, take-over, shutting down. PROTOCOL.md
 * sections 2, 4.1, 4.5, 5.8 and 5.9. */
#include "expect.h"
#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

static struct fake_peer *
subscriber(struct fake_net *net, const char *filter)
{
    struct fake_peer *peer = expect_open(net);
    struct say say = {0};
    say_subscribe(&say, 1, filter);
    expect_fed(peer, &say);
    expect_suback(peer, 1, 0);
    return peer;
}

static void
publish(struct fake_peer *peer, const char *topic)
{
    struct say say = {0};
    say_publish(&say, 0, topic, "x");
    expect_fed(peer, &say);
}

/* ---- heartbeats ---------------------------------------------------------- */

Test(time, a_quiet_peer_is_pinged_and_then_given_up)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    fake_advance(&net, 14999);
    expect_nothing(peer);
    fake_advance(&net, 1);
    expect_frame(peer, BROKER_FRAME_PING);
    fake_advance(&net, 29999);
    expect_nothing(peer);
    cr_assert_not_null(peer->session);
    fake_advance(&net, 1);
    cr_assert_null(peer->session, "it waits for a peer that is dead");
    cr_assert_eq(net.logged_code, BROKER_E_HEARTBEAT_TIMEOUT);
    fake_net_fini(&net);
}

Test(time, any_byte_is_life)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_publish(&say, 0, "a", "a long message, one byte at a time");
    for (size_t i = 0; i < say.len; i++) {
        fake_advance(&net, 14000);
        fake_feed(peer, say.bytes + i, 1);
        expect_nothing(peer);
        fake_check(&net);
    }
    say_fini(&say);
    fake_net_fini(&net);
}

Test(time, a_pong_is_enough)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    for (int i = 0; i < 20; i++) {
        fake_advance(&net, 15000);
        struct broker_frame frame = expect_frame(peer, BROKER_FRAME_PING);
        struct say say = {0};
        say_pong(&say, frame.id);
        expect_fed(peer, &say);
    }
    fake_net_fini(&net);
}

/* Who was suspended itself asks once more before it judges. */
Test(time, after_a_pause_of_the_broker_peers_are_asked_once_more)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    fake_advance(&net, 15000);
    expect_frame(peer, BROKER_FRAME_PING);
    fake_advance(&net, 600000);
    cr_assert_not_null(peer->session);
    expect_frame(peer, BROKER_FRAME_PING);
    fake_advance(&net, 14999);
    cr_assert_not_null(peer->session);
    fake_advance(&net, 1);
    cr_assert_null(peer->session);
    fake_net_fini(&net);
}

Test(time, a_ping_is_answered_in_order)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_publish(&say, 1, "a", "x");
    say_ping(&say, 42);
    say_publish(&say, 2, "a", "x");
    expect_fed(peer, &say);
    expect_puback(peer, 1, 1, 0, 0);
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_PONG);
    cr_assert_eq(frame.id, 42);
    cr_assert_eq(memcmp(frame.body.data, "abcdefg", 8), 0);
    expect_puback(peer, 2, 1, 0, 0);
    fake_net_fini(&net);
}

/* While memory is out nobody is listened to; then heartbeats go on. */
Test(time, heartbeats_go_on_after_starving)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    uint64_t allowed = net.core->pool.bytes_allowed;
    block_unref(net.core->intake.current);
    net.core->intake.current = NULL;
    net.core->pool.bytes_allowed = 0;
    cr_assert_eq(fake_feed(peer, "", 1), 0);
    fake_advance(&net, 100000);
    expect_nothing(peer);
    net.core->pool.bytes_allowed = allowed;
    cr_assert_eq(fake_feed(peer, "", 1), 1);
    fake_advance(&net, 15000);
    expect_frame(peer, BROKER_FRAME_PING);
    fake_net_fini(&net);
}

/* ---- slow sockets -------------------------------------------------------- */

Test(time, a_peer_that_takes_nothing_is_given_up)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = subscriber(&net, "a");
    publish(peer, "a");
    fake_take(peer, 3);
    for (int i = 0; i < 2; i++) {
        fake_advance(&net, 14000);
        struct say say = {0};
        say_pong(&say, 0);
        expect_fed(peer, &say);
    }
    cr_assert_not_null(peer->session);
    fake_take(peer, 3); /* takes a little: new time */
    for (int i = 0; i < 2; i++) {
        fake_advance(&net, 14000);
        struct say say = {0};
        say_pong(&say, 0);
        expect_fed(peer, &say);
    }
    fake_advance(&net, 1999);
    cr_assert_not_null(peer->session);
    fake_advance(&net, 1);
    cr_assert_null(peer->session);
    cr_assert_eq(net.logged_code, BROKER_E_WRITE_TIMEOUT);
    fake_net_fini(&net);
}

/* As after suspend: the peer had no time to take anything. */
Test(time, a_broker_that_was_away_gives_the_peer_its_time_again)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = subscriber(&net, "a");
    publish(peer, "a");
    uint32_t timeout_ms = net.options.write_timeout_ms;
    fake_advance(&net, timeout_ms + 5u * 3600 * 1000);
    cr_assert_not_null(peer->session);
    struct say say = {0};
    for (uint32_t at = 0; at < timeout_ms - 10000; at += 10000) {
        fake_advance(&net, 10000);
        say_pong(&say, 0);
        expect_fed(peer, &say);
    }
    fake_advance(&net, 9999);
    cr_assert_not_null(peer->session);
    fake_advance(&net, 1);
    cr_assert_null(peer->session, "it had its time");
    cr_assert_eq(net.logged_code, BROKER_E_WRITE_TIMEOUT);
    fake_net_fini(&net);
}

/* The same of how old the queue may be. */
Test(time, what_grew_old_while_the_broker_was_away_is_kept)
{
    struct fake_net net;
    struct core_options options = fake_options();
    options.max_output_age_ms = 20000;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *peer = subscriber(&net, "a");
    publish(peer, "a");
    fake_advance(&net, 5u * 3600 * 1000);
    cr_assert_eq(net.logged[CORE_EVENT_CLOSING], 0);
    struct say say = {0};
    say_pong(&say, 0);
    expect_fed(peer, &say);
    fake_advance(&net, 19999);
    cr_assert_eq(net.logged[CORE_EVENT_CLOSING], 0);
    fake_advance(&net, 1);
    cr_assert_eq(net.logged[CORE_EVENT_CLOSING], 1, "it had its time");
    cr_assert_eq(net.logged_code, BROKER_E_SLOW_CONSUMER);
    fake_net_fini(&net);
}

Test(time, who_reads_no_answers_is_not_read_from)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    for (uint32_t i = 0; i < 20000; i++) {
        say_ping(&say, i);
    }
    fake_feed_say(peer, &say, SIZE_MAX);
    say_fini(&say);
    cr_assert_not(session_wants_input(peer->session));
    fake_take(peer, 200000);
    cr_assert(session_wants_input(peer->session));
    fake_net_fini(&net);
}

/* ---- half-close ---------------------------------------------------------- */

Test(time, after_a_half_close_everything_is_still_sent)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = subscriber(&net, "a");
    struct say say = {0};
    say_publish(&say, 1, "a", "x");
    expect_fed(peer, &say);
    fake_end_input(peer);
    fake_end_input(peer);
    cr_assert_eq(net.core->index.count, 0);
    expect_puback(peer, 1, 1, 1, 0);
    expect_context(peer, 1, 0, 0);
    expect_publish(peer, "a", "x");
    expect_nothing(peer);
    cr_assert_null(peer->session);
    cr_assert_eq(peer->end, SESSION_FINISHED);
    fake_net_fini(&net);
}

Test(time, goaway_of_the_client_is_like_a_half_close)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = subscriber(&net, "a");
    struct say say = {0};
    say_publish(&say, 1, "a", "x");
    say_goaway(&say);
    say_publish(&say, 2, "a", "y");
    expect_fed(peer, &say);
    expect_puback(peer, 1, 1, 1, 0);
    expect_context(peer, 1, 0, 0);
    expect_publish(peer, "a", "x");
    expect_nothing(peer);
    cr_assert_null(peer->session);
    fake_net_fini(&net);
}

Test(time, replies_are_waited_for)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *server = subscriber(&net, "time");
    struct fake_peer *asker = subscriber(&net, "inbox/1");
    struct say say = {0};
    say_request(&say, 1, "time", "inbox/1");
    expect_fed(asker, &say);
    fake_end_input(asker);
    expect_puback(asker, 1, 1, 1, 0);
    cr_assert_not_null(asker->session, "it does not wait for the reply");
    fake_advance(&net, 4999);
    publish(server, "inbox/1");
    expect_context(asker, 1, 0, 0);
    expect_publish(asker, "inbox/1", "x");
    fake_advance(&net, 1);
    expect_nothing(asker);
    cr_assert_null(asker->session);
    fake_net_fini(&net);
}

Test(time, without_a_request_nothing_is_waited_for)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = subscriber(&net, "inbox/1");
    fake_end_input(peer);
    expect_nothing(peer);
    cr_assert_null(peer->session);
    fake_net_fini(&net);
}

Test(time, memberships_end_with_the_half_close)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *server = subscriber(&net, "time");
    struct fake_peer *asker = subscriber(&net, "inbox/1");
    struct say say = {0};
    struct say_subscription want = {.id = 2, .filter = "work", .group = "g"};
    say_subscribe_with(&say, &want);
    say_request(&say, 1, "time", "inbox/1");
    expect_fed(asker, &say);
    expect_suback(asker, 2, 0);
    fake_end_input(asker);
    publish(server, "work");
    expect_puback(asker, 1, 1, 1, 0);
    expect_nothing(asker);
    fake_net_fini(&net);
}

Test(time, an_end_in_the_middle_of_a_frame_is_noted)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    fake_feed(peer, "\0\0\0", 3);
    fake_end_input(peer);
    expect_nothing(peer);
    cr_assert_null(peer->session);
    cr_assert_eq(net.logged[CORE_EVENT_PROTOCOL_ERROR], 1);
    fake_net_fini(&net);
}

/* ---- take-over ----------------------------------------------------------- */

Test(time, a_session_is_taken_over)
{
    struct fake_net net;
    expect_net(&net);
    struct broker_hello hello = say_hello_default;
    memset(hello.session, 3, sizeof hello.session);
    struct broker_welcome welcome;
    struct fake_peer *older = expect_open_with(&net, &hello, &welcome);
    struct say say = {0};
    say_subscribe(&say, 1, "a");
    say_publish(&say, 6, "a", "x");
    expect_fed(older, &say);
    struct fake_peer *newer = expect_open_with(&net, &hello, &welcome);
    cr_assert_eq(welcome.last_publish, 6);
    expect_suback(older, 1, 0);
    expect_puback(older, 6, 1, 1, 0);
    expect_goaway(older, BROKER_E_SESSION_TAKEN);
    cr_assert_eq(net.core->index.count, 0);
    fake_drop(newer);
    expect_open_with(&net, &hello, &welcome);
    cr_assert_eq(welcome.last_publish, 6);
    fake_net_fini(&net);
}

/* ---- shutting down ------------------------------------------------------- */

Test(time, shutting_down_sends_everything_first)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = subscriber(&net, "a");
    struct fake_peer *silent = fake_connect(&net);
    publish(peer, "a");
    core_shut_down(net.core, 1234);
    fake_check(&net);
    expect_context(peer, 1, 0, 0);
    expect_publish(peer, "a", "x");
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_GOAWAY);
    struct broker_goaway goaway;
    cr_assert_eq(broker_goaway_decode(&frame, &goaway), BROKER_OK);
    cr_assert_eq(goaway.code, BROKER_E_SHUTTING_DOWN);
    cr_assert_eq(goaway.retry_after_ms, 1234);
    cr_assert_null(peer->session);
    expect_goaway(silent, BROKER_E_SHUTTING_DOWN);
    struct fake_peer *late = fake_connect(&net);
    fake_feed(late, "\0", 1);
    expect_goaway(late, BROKER_E_SHUTTING_DOWN);
    fake_net_fini(&net);
}

Test(time, goaway_names_the_last_number)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_publish(&say, 17, "a", "x");
    expect_fed(peer, &say);
    expect_puback(peer, 17, 1, 0, 0);
    core_shut_down(net.core, 0);
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_GOAWAY);
    cr_assert_eq(frame.id, 17);
    fake_net_fini(&net);
}

Test(time, a_rejected_connection_is_told_why)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = fake_connect(&net);
    session_reject(peer->session, BROKER_E_TOO_MANY_CONNECTIONS);
    expect_goaway(peer, BROKER_E_TOO_MANY_CONNECTIONS);
    struct core_stats stats;
    core_get_stats(net.core, &stats);
    cr_assert_eq(stats.rejected_connections, 1);
    fake_net_fini(&net);
}

Test(time, a_closing_session_that_nobody_reads_ends_in_time)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = subscriber(&net, "a");
    publish(peer, "a");
    core_shut_down(net.core, 0);
    fake_advance(&net, 29999);
    cr_assert_not_null(peer->session);
    fake_advance(&net, 1);
    cr_assert_null(peer->session);
    fake_net_fini(&net);
}

Test(time, the_clock_does_not_go_back)
{
    struct fake_net net;
    expect_net(&net);
    expect_open(&net);
    core_set_now(net.core, 0);
    cr_assert_eq(net.core->now_ms, net.now_ms);
    fake_net_fini(&net);
}
