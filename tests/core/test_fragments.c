/* SPDX-License-Identifier: MIT
 *
 * The same sessions, whole, byte by byte and cut at each offset: the same
 * answers and the same messages come. PROTOCOL.md section 2. */
#include "expect.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

/* What a peer was sent, told so that it does not depend on how the input was
 * cut: PUBACKs one by one; answers, acknowledgements and messages apart, since
 * only among themselves is their order given. */
struct story {
    struct say answers, acks, messages;
};

static void
tell_puback(struct story *story, const struct broker_frame *frame)
{
    struct broker_puback puback;
    cr_assert_eq(broker_puback_decode(frame, &puback), BROKER_OK);
    for (uint32_t i = puback.count; i-- > 0;) {
        char text[64];
        int len = snprintf(text, sizeof text, "%u %u %u %u\n", puback.id - i,
            puback.matched, puback.refused, puback.flags);
        say_bytes(&story->acks, text, (size_t)len);
    }
}

static void
tell(struct story *story, struct fake_peer *peer)
{
    struct broker_frame frame;
    fake_take_all(peer);
    while (fake_next(peer, &frame)) {
        struct say *say = &story->answers;
        if (frame.type == BROKER_FRAME_PUBACK) {
            tell_puback(story, &frame);
            continue;
        }
        if (frame.type == BROKER_FRAME_PUBLISH ||
            frame.type == BROKER_FRAME_CONTEXT ||
            frame.type == BROKER_FRAME_GAP) {
            say = &story->messages;
        }
        say_bytes(say, frame.body.data - BROKER_HEADER_BYTES,
            frame.body.len + BROKER_HEADER_BYTES);
    }
}

static void
assert_same(
    const struct say *a, const struct say *b, const char *what, size_t cut)
{
    cr_assert_eq(a->len, b->len, "%s differ when cut at %zu", what, cut);
    cr_assert(a->len == 0 || memcmp(a->bytes, b->bytes, a->len) == 0,
        "%s differ when cut at %zu", what, cut);
}

typedef void script(struct say *say);

static struct story
play(script *write, size_t cut, size_t step)
{
    struct fake_net net;
    expect_net(&net);
    struct story story = {0};
    struct fake_peer *peer = fake_connect(&net);
    struct say say = {0};
    write(&say);
    fake_feed(peer, say.bytes, cut < say.len ? cut : say.len);
    fake_check(&net);
    for (size_t pos = cut; pos < say.len; pos += step) {
        size_t n = step < say.len - pos ? step : say.len - pos;
        fake_feed(peer, say.bytes + pos, n);
    }
    say_fini(&say);
    fake_end_input(peer);
    fake_check(&net);
    tell(&story, peer);
    fake_advance(&net, net.options.half_close_linger_ms);
    tell(&story, peer);
    cr_assert_null(peer->session);
    fake_net_fini(&net);
    return story;
}

static void
story_fini(struct story *story)
{
    say_fini(&story->answers);
    say_fini(&story->acks);
    say_fini(&story->messages);
}

static void
play_in_pieces(script *write)
{
    struct say say = {0};
    write(&say);
    size_t len = say.len;
    say_fini(&say);
    struct story whole = play(write, SIZE_MAX, 1);
    cr_assert_gt(whole.answers.len, 0);
    for (size_t cut = 0; cut <= len; cut++) {
        struct story story = play(write, cut, cut == 0 ? 1 : len);
        assert_same(&whole.answers, &story.answers, "answers", cut);
        assert_same(&whole.acks, &story.acks, "acknowledgements", cut);
        assert_same(&whole.messages, &story.messages, "messages", cut);
        story_fini(&story);
    }
    story_fini(&whole);
}

static void
say_flow(struct say *say)
{
    say_hello(say);
    say_subscribe(say, 1, "a/#");
    say_subscribe(say, 2, "+/b");
    for (uint32_t id = 1; id <= 5; id++) {
        say_publish(say, id, id % 2 == 0 ? "a/b" : "a", "payload");
        say_publish(say, 0, "a", "");
    }
    say_request(say, 6, "a/b", "a/reply");
    say_ping(say, 4);
    say_frame(say, 0x9999, 0, 0, 40);
    say_unsubscribe(say, 2, BROKER_UNSUBSCRIBE_DRAIN);
    say_publish(say, 7, "a/b", "last");
}

Test(fragments, of_a_flow)
{
    play_in_pieces(say_flow);
}

static void
say_refused(struct say *say)
{
    say_hello(say);
    say_publish(say, 1, "a/+", "x");
    say_publish(say, 2, "nobody", "x");
    say_request(say, 3, "nobody", "r");
    say_unsubscribe(say, 9, 0);
    say_frame(say, 0x0030, 0, 5, 30);
    say_frame(say, 0x7777, 0xFF, 6, 12);
    say_publish(say, 0, "$own", "x");
    say_publish(say, 4, "a", "x");
}

Test(fragments, of_what_is_refused)
{
    play_in_pieces(say_refused);
}

static void
say_fault(struct say *say)
{
    say_hello(say);
    say_subscribe(say, 1, "a");
    say_publish(say, 1, "b", "x");
    say_frame(say, BROKER_FRAME_PUBLISH, 0, 2, 30);
    say_publish(say, 3, "a", "x");
}

Test(fragments, of_a_fault)
{
    play_in_pieces(say_fault);
}

static void
say_retained(struct say *say)
{
    struct say_message message = {.id = 1,
        .flags = BROKER_PUBLISH_RETAIN,
        .topic = "a",
        .payload = "kept",
        .payload_bytes = 4};
    say_hello(say);
    say_message(say, &message);
    message.id = 2;
    message.flags |= BROKER_PUBLISH_RETRY;
    say_message(say, &message);
    say_subscribe(say, 1, "#");
    message.id = 1;
    say_message(say, &message);
    say_goaway(say);
    say_publish(say, 9, "a", "too late");
}

Test(fragments, of_retained_values_and_retries)
{
    play_in_pieces(say_retained);
}

/* Frames larger than a receive block, in steps. */
Test(fragments, of_large_frames)
{
    static uint8_t payload[700000];
    for (size_t i = 0; i < sizeof payload; i++) {
        payload[i] = (uint8_t)(i * 31 >> 3);
    }
    static const size_t steps[] = {1000, 4096, 65536, 100001, SIZE_MAX};
    for (int i = 0; i < 5; i++) {
        struct fake_net net;
        expect_net(&net);
        struct fake_peer *peer = expect_open(&net);
        struct say say = {0};
        say_subscribe(&say, 1, "a");
        for (size_t n = 60000; n <= sizeof payload; n += 160000) {
            struct say_message message = {
                .topic = "a", .payload = payload, .payload_bytes = n};
            say_message(&say, &message);
            say_publish(&say, 0, "a", "small");
        }
        fake_feed_say(peer, &say, steps[i]);
        say_fini(&say);
        fake_check(&net);
        expect_suback(peer, 1, 0);
        expect_context(peer, 1, 0, 0);
        for (size_t n = 60000; n <= sizeof payload; n += 160000) {
            struct broker_frame frame =
                expect_frame(peer, BROKER_FRAME_PUBLISH);
            cr_assert_eq(frame.body.len, n + 5);
            cr_assert_eq(memcmp(frame.body.data + 5, payload, n), 0);
            expect_publish(peer, "a", "small");
        }
        expect_nothing(peer);
        fake_net_fini(&net);
    }
}
