/* SPDX-License-Identifier: MIT
 *
 * Every frame type in every state and direction, and every way in which its
 * header can be wrong. PROTOCOL.md sections 2.1 and 3.1. */
#include "expect.h"

#include <criterion/criterion.h>

/* Say one header and its body to an open connection, and PING behind it. */
static struct fake_peer *
say_one(struct fake_net *net, uint16_t type, uint16_t flags, uint32_t body)
{
    expect_net(net);
    struct fake_peer *peer = expect_open(net);
    struct say say = {0};
    say_frame(&say, type, flags, 9, body);
    say_ping(&say, 10);
    expect_fed(peer, &say);
    return peer;
}

static void
assert_closed(struct fake_net *net, struct fake_peer *peer,
    enum broker_status code, uint16_t type)
{
    expect_error(peer, code, 9, type);
    expect_goaway(peer, code);
    fake_net_fini(net);
}

static void
assert_lives(struct fake_net *net, struct fake_peer *peer)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_PONG);
    cr_assert_eq(frame.id, 10);
    expect_nothing(peer);
    fake_net_fini(net);
}

Test(frames, of_the_server_are_not_for_the_client_to_send)
{
    const struct broker_frame_info *info;
    for (size_t row = 0; (info = broker_frame_info_at(row)) != NULL; row++) {
        if (!info->reserved && (info->senders == BROKER_SENDER_SERVER ||
                                   info->type == BROKER_FRAME_HELLO)) {
            struct fake_net net;
            struct fake_peer *peer =
                say_one(&net, info->type, 0, info->min_body_bytes);
            assert_closed(&net, peer, BROKER_E_UNEXPECTED_FRAME, info->type);
        }
    }
}

Test(frames, reserved_and_unknown_types)
{
    for (uint32_t type = 0; type <= UINT16_MAX; type += type < 0x60 ? 1 : 251) {
        const struct broker_frame_info *info =
            broker_frame_info((uint16_t)type);
        if (info != NULL && !info->reserved) {
            continue;
        }
        struct fake_net net;
        struct fake_peer *peer = say_one(&net, (uint16_t)type, 0xFF, 33);
        if (type < BROKER_FRAME_SKIPPABLE) {
            expect_error(peer, BROKER_E_UNSUPPORTED_TYPE, 9, (uint16_t)type);
        }
        assert_lives(&net, peer);
    }
    struct fake_net net;
    struct fake_peer *peer = say_one(&net, 0xFFFF, 0, 5);
    expect_error(peer, BROKER_E_UNSUPPORTED_TYPE, 9, 0xFFFF);
    assert_lives(&net, peer);
}

Test(frames, undefined_flags_and_hints)
{
    static const uint16_t types[] = {BROKER_FRAME_PING, BROKER_FRAME_PONG,
        BROKER_FRAME_GOAWAY, BROKER_FRAME_PUBLISH, BROKER_FRAME_SUBSCRIBE,
        BROKER_FRAME_UNSUBSCRIBE};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const struct broker_frame_info *info = broker_frame_info(types[i]);
        for (uint32_t bit = 1; bit < 0x100; bit <<= 1) {
            if ((info->flags & bit) != 0) {
                continue;
            }
            struct fake_net net;
            struct fake_peer *peer =
                say_one(&net, types[i], (uint16_t)bit, info->min_body_bytes);
            assert_closed(&net, peer, BROKER_E_BAD_FLAGS, types[i]);
        }
    }
    struct fake_net net;
    struct fake_peer *peer = say_one(&net, BROKER_FRAME_PONG, 0xFF00, 8);
    assert_lives(&net, peer);
}

Test(frames, bodies_shorter_or_longer_than_the_type_allows)
{
    const struct broker_frame_info *info;
    for (size_t row = 0; (info = broker_frame_info_at(row)) != NULL; row++) {
        if (info->reserved) {
            continue;
        }
        if (info->min_body_bytes > 0) {
            struct fake_net net;
            struct fake_peer *peer =
                say_one(&net, info->type, 0, info->min_body_bytes - 1);
            assert_closed(&net, peer, BROKER_E_MALFORMED, info->type);
        }
        if (info->max_body_bytes > 0) {
            struct fake_net net;
            struct fake_peer *peer =
                say_one(&net, info->type, 0, info->max_body_bytes + 1);
            assert_closed(&net, peer, BROKER_E_MALFORMED, info->type);
        }
    }
}

Test(frames, bodies_of_zeros)
{
    static const uint16_t types[] = {
        BROKER_FRAME_PUBLISH, BROKER_FRAME_SUBSCRIBE};
    for (int i = 0; i < 2; i++) {
        struct fake_net net;
        struct fake_peer *peer = say_one(&net, types[i], 0, 20);
        assert_closed(&net, peer, BROKER_E_MALFORMED, types[i]);
    }
}

Test(frames, the_first_byte_of_each_is_zero)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    fake_feed(peer, "\1", 1);
    expect_error(peer, BROKER_E_BAD_START, 0, 0);
    expect_goaway(peer, BROKER_E_BAD_START);
    fake_net_fini(&net);
}

/* Whatever is said to a closing connection is discarded. */
Test(frames, nothing_is_processed_when_closing)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_hello(&say);
    say_publish(&say, 1, "a", "x");
    expect_fed(peer, &say);
    for (int i = 0; i < 3; i++) {
        say_publish(&say, 1, "a", "x");
        say_bytes(&say, "rubbish", 7);
        expect_fed(peer, &say);
    }
    expect_error(peer, BROKER_E_UNEXPECTED_FRAME, 1, BROKER_FRAME_HELLO);
    expect_goaway(peer, BROKER_E_UNEXPECTED_FRAME);
    fake_net_fini(&net);
}

/* A header is judged before its body is waited for. */
Test(frames, are_judged_by_their_header_alone)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say say = {0};
    say_frame(&say, BROKER_FRAME_PUBLISH, 0x80, 9, 1000);
    say.len = BROKER_HEADER_BYTES;
    expect_fed(peer, &say);
    assert_closed(&net, peer, BROKER_E_BAD_FLAGS, BROKER_FRAME_PUBLISH);
}
