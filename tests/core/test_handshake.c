/* SPDX-License-Identifier: MIT
 *
 * HELLO and what may come instead of it. PROTOCOL.md sections 2.1, 3.4, 4.1 and
 * 4.2. */
#include "expect.h"

#include <criterion/criterion.h>

#include <string.h>

/* What the broker says to a peer that begins with this. */
static struct fake_peer *
begin(struct fake_net *net, struct say *say)
{
    expect_net(net);
    struct fake_peer *peer = fake_connect(net);
    expect_fed(peer, say);
    return peer;
}

Test(handshake, welcome_states_what_is_in_force)
{
    struct fake_net net;
    expect_net(&net);
    struct broker_hello hello = say_hello_default;
    hello.id = 77;
    hello.features = UINT64_MAX;
    hello.max_body_bytes = 100000;
    struct broker_welcome welcome;
    expect_open_with(&net, &hello, &welcome);
    cr_assert_eq(welcome.id, 77);
    cr_assert_eq(welcome.version, 1);
    cr_assert_eq(welcome.features, BROKER_FEATURE_STREAMS);
    cr_assert_eq(welcome.max_body_bytes, 100000);
    cr_assert_eq(welcome.heartbeat_ms, 15000);
    cr_assert_eq(welcome.max_subscriptions, 100);
    cr_assert_eq(welcome.max_topic_bytes, 1024);
    cr_assert_eq(welcome.max_topic_levels, 64);
    cr_assert_eq(welcome.last_publish, 0);
    static const uint8_t zero[BROKER_SESSION_BYTES];
    cr_assert_neq(memcmp(welcome.session, zero, sizeof zero), 0);
    cr_assert_eq(net.logged[CORE_EVENT_OPENED], 1);
    fake_net_fini(&net);
}

Test(handshake, heartbeat_is_kept_in_bounds)
{
    static const uint32_t asked[] = {0, 1, 999, 1000, 5000, 300000, UINT32_MAX};
    static const uint32_t given[] = {
        15000, 1000, 1000, 1000, 5000, 300000, 300000};
    struct fake_net net;
    expect_net(&net);
    for (int i = 0; i < 7; i++) {
        struct broker_hello hello = say_hello_default;
        hello.heartbeat_ms = asked[i];
        struct broker_welcome welcome;
        expect_open_with(&net, &hello, &welcome);
        cr_assert_eq(welcome.heartbeat_ms, given[i]);
    }
    fake_net_fini(&net);
}

Test(handshake, version_ranges)
{
    for (uint8_t low = 1; low < 4; low++) {
        for (uint8_t high = low; high < 4; high++) {
            struct broker_hello hello = say_hello_default;
            hello.version_min = low;
            hello.version_max = high;
            struct say say = {0};
            say_hello_with(&say, &hello);
            struct fake_net net;
            struct fake_peer *peer = begin(&net, &say);
            if (low == 1) {
                expect_frame(peer, BROKER_FRAME_WELCOME);
            } else {
                expect_error(peer, BROKER_E_VERSION, 1, BROKER_FRAME_HELLO);
                expect_goaway(peer, BROKER_E_VERSION);
            }
            fake_net_fini(&net);
        }
    }
}

Test(handshake, bad_hello_is_refused)
{
    static const struct {
        size_t offset;
        uint8_t byte;
        enum broker_status code;
    } faults[] = {{12, 'X', BROKER_E_BAD_MAGIC}, {16, 0, BROKER_E_MALFORMED},
        {17, 0, BROKER_E_MALFORMED}, {18, 1, BROKER_E_MALFORMED},
        {29, 0, BROKER_E_MALFORMED}, {7, 1, BROKER_E_BAD_FLAGS}};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct say say = {0};
        struct broker_hello hello = say_hello_default;
        hello.max_body_bytes = BROKER_BODY_BYTES_MIN;
        say_hello_with(&say, &hello);
        say.bytes[faults[i].offset] = faults[i].byte;
        struct fake_net net;
        struct fake_peer *peer = begin(&net, &say);
        expect_error(peer, faults[i].code, 1, BROKER_FRAME_HELLO);
        expect_goaway(peer, faults[i].code);
        cr_assert_eq(net.logged[CORE_EVENT_PROTOCOL_ERROR], 1);
        fake_net_fini(&net);
    }
}

Test(handshake, nothing_else_comes_first)
{
    const struct broker_frame_info *info;
    for (size_t row = 0; (info = broker_frame_info_at(row)) != NULL; row++) {
        if (info->type == BROKER_FRAME_HELLO ||
            info->type >= BROKER_FRAME_SKIPPABLE) {
            continue;
        }
        struct say say = {0};
        say_frame(&say, info->type, 0, 9, info->min_body_bytes);
        struct fake_net net;
        struct fake_peer *peer = begin(&net, &say);
        expect_error(peer, BROKER_E_UNEXPECTED_FRAME, 9, info->type);
        expect_goaway(peer, BROKER_E_UNEXPECTED_FRAME);
        fake_net_fini(&net);
    }
}

Test(handshake, what_may_be_skipped_is_skipped)
{
    struct say say = {0};
    say_frame(&say, 0x9999, 0xFF, 9, 100);
    say_frame(&say, BROKER_FRAME_TRACE, 0, 9, 0);
    say_hello(&say);
    struct fake_net net;
    struct fake_peer *peer = begin(&net, &say);
    expect_frame(peer, BROKER_FRAME_WELCOME);
    expect_nothing(peer);
    fake_net_fini(&net);
}

Test(handshake, frames_may_follow_hello_directly)
{
    struct say say = {0};
    say_hello(&say);
    say_subscribe(&say, 1, "a");
    say_publish(&say, 1, "a", "x");
    struct fake_net net;
    struct fake_peer *peer = begin(&net, &say);
    expect_frame(peer, BROKER_FRAME_WELCOME);
    expect_suback(peer, 1, 0);
    expect_puback(peer, 1, 1, 1, 0);
    expect_context(peer, 1, 0, 0);
    expect_publish(peer, "a", "x");
    fake_net_fini(&net);
}

Test(handshake, only_one_hello)
{
    struct say say = {0};
    say_hello(&say);
    say_hello(&say);
    struct fake_net net;
    struct fake_peer *peer = begin(&net, &say);
    expect_frame(peer, BROKER_FRAME_WELCOME);
    expect_error(peer, BROKER_E_UNEXPECTED_FRAME, 1, BROKER_FRAME_HELLO);
    expect_goaway(peer, BROKER_E_UNEXPECTED_FRAME);
    fake_net_fini(&net);
}

Test(handshake, no_hello_in_time)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = fake_connect(&net);
    fake_advance(&net, 4999);
    expect_nothing(peer);
    fake_advance(&net, 1);
    expect_error(peer, BROKER_E_HANDSHAKE_TIMEOUT, 0, 0);
    expect_goaway(peer, BROKER_E_HANDSHAKE_TIMEOUT);
    fake_net_fini(&net);
}

/* ---- strangers ----------------------------------------------------------- */

static const struct {
    const char *says;
    size_t len;
    const char *hears;
} strangers[] = {{"GET / HTTP/1.1\r\n\r\n", 18, "HTTP/1.1 400"},
    {"PRI * HTTP/2.0\r\n", 16, "HTTP/1.1 400"},
    {"\x16\x03\x01\x02\x00", 5, "\x15\x03\x01"},
    {"\x10\x0c\x00\x04MQTT", 8, "\x20\x02"},
    {"*1\r\n$4\r\nPING\r\n", 14, "-ERR "}, {"hello?\n", 7, "this port"},
    {"GETAWAY", 7, "this port"}};

static void
assert_heard(const struct fake_peer *peer, const char *hears)
{
    cr_assert_geq(peer->received_bytes, strlen(hears));
    cr_assert_eq(memcmp(peer->received, hears, strlen(hears)), 0,
        "not \"%s\" but \"%.*s\"", hears, (int)peer->received_bytes,
        (const char *)peer->received);
    cr_assert_null(peer->session);
}

Test(handshake, a_stranger_is_answered_in_its_own_tongue)
{
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        for (size_t step = 1; step <= strangers[i].len; step++) {
            struct say say = {0};
            say_bytes(&say, strangers[i].says, strangers[i].len);
            struct fake_net net;
            expect_net(&net);
            struct fake_peer *peer = fake_connect(&net);
            fake_feed_say(peer, &say, step);
            fake_take_all(peer);
            assert_heard(peer, strangers[i].hears);
            say_fini(&say);
            fake_net_fini(&net);
        }
    }
}

Test(handshake, a_stranger_who_stops_in_the_middle)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = fake_connect(&net);
    fake_feed(peer, "GE", 2);
    expect_nothing(peer);
    fake_end_input(peer);
    fake_take_all(peer);
    assert_heard(peer, "this port");
    peer = fake_connect(&net);
    fake_feed(peer, "GE", 2);
    fake_advance(&net, 5000);
    fake_take_all(peer);
    assert_heard(peer, "this port");
    fake_net_fini(&net);
}
