/* SPDX-License-Identifier: MIT
 *
 * Expectations; see expect.h. */
#include "expect.h"

#include <criterion/criterion.h>

#include <string.h>

void
expect_net(struct fake_net *net)
{
    struct core_options options = fake_options();
    fake_net_init(net, &options, 1, NULL);
    cr_assert_not_null(net->core);
}

void
expect_fed(struct fake_peer *peer, struct say *say)
{
    fake_feed_say(peer, say, SIZE_MAX);
    fake_check(peer->net);
    say_fini(say);
}

struct fake_peer *
expect_open_with(struct fake_net *net, const struct broker_hello *hello,
    struct broker_welcome *welcome)
{
    struct fake_peer *peer = fake_connect(net);
    struct say say = {0};
    say_hello_with(&say, hello);
    expect_fed(peer, &say);
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_WELCOME);
    cr_assert_eq(broker_welcome_decode(&frame, welcome), BROKER_OK);
    return peer;
}

struct fake_peer *
expect_open(struct fake_net *net)
{
    struct broker_welcome welcome;
    return expect_open_with(net, &say_hello_default, &welcome);
}

struct fake_peer *
expect_open_at(
    struct fake_net *net, uint32_t worker, const struct broker_hello *hello)
{
    struct fake_peer *peer = fake_connect_to(net, worker);
    struct say say = {0};
    say_hello_with(&say, hello);
    expect_fed(peer, &say);
    fake_mail_settle(net);
    (void)expect_frame(peer, BROKER_FRAME_WELCOME);
    return peer;
}

struct broker_frame
expect_frame(struct fake_peer *peer, uint16_t type)
{
    struct broker_frame frame;
    fake_take_all(peer);
    cr_assert(fake_next(peer, &frame), "nothing came, not 0x%04x", type);
    cr_assert_eq(frame.type, type, "0x%04x came, not 0x%04x", frame.type, type);
    return frame;
}

void
expect_nothing(struct fake_peer *peer)
{
    struct broker_frame frame;
    fake_take_all(peer);
    if (fake_next(peer, &frame)) {
        cr_assert_fail("0x%04x came, not nothing", frame.type);
    }
    cr_assert_eq(peer->decoded_bytes, peer->received_bytes);
}

void
expect_error(struct fake_peer *peer, enum broker_status code, uint32_t id,
    uint16_t frame_type)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_ERROR);
    struct broker_error error;
    cr_assert_eq(broker_error_decode(&frame, &error), BROKER_OK);
    cr_assert_eq(error.code, code, "%s, not %s", broker_status_name(error.code),
        broker_status_name(code));
    cr_assert_eq(error.id, id);
    cr_assert_eq(error.frame_type, frame_type);
    cr_assert_eq(error.error_class, broker_status_class(code));
    cr_assert_eq(error.may_retry, broker_status_may_retry(code));
}

void
expect_goaway(struct fake_peer *peer, enum broker_status code)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_GOAWAY);
    struct broker_goaway goaway;
    cr_assert_eq(broker_goaway_decode(&frame, &goaway), BROKER_OK);
    cr_assert_eq(goaway.code, code, "%s, not %s",
        broker_status_name(goaway.code), broker_status_name(code));
    expect_nothing(peer);
    cr_assert_null(peer->session, "the connection lives after GOAWAY");
}

static void
expect_ack(struct fake_peer *peer, const struct broker_puback *want)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_PUBACK);
    struct broker_puback puback;
    cr_assert_eq(broker_puback_decode(&frame, &puback), BROKER_OK);
    cr_assert_eq(puback.id, want->id, "PUBACK %u, not %u", puback.id, want->id);
    cr_assert_eq(puback.count, want->count, "count %u", puback.count);
    cr_assert_eq(puback.matched, want->matched, "matched %u", puback.matched);
    cr_assert_eq(puback.refused, want->refused, "refused %u", puback.refused);
    cr_assert_eq(puback.flags, want->flags);
    cr_assert_eq(puback.level, BROKER_LEVEL_ROUTED);
}

void
expect_puback(struct fake_peer *peer, uint32_t id, uint32_t count,
    uint32_t matched, uint32_t refused)
{
    struct broker_puback want = {
        .id = id, .count = count, .matched = matched, .refused = refused};
    expect_ack(peer, &want);
}

void
expect_duplicate(struct fake_peer *peer, uint32_t id)
{
    struct broker_puback want = {
        .id = id, .count = 1, .flags = BROKER_PUBACK_DUPLICATE};
    expect_ack(peer, &want);
}

void
expect_suback(struct fake_peer *peer, uint32_t id, uint32_t retained)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_SUBACK);
    struct broker_suback suback;
    cr_assert_eq(broker_suback_decode(&frame, &suback), BROKER_OK);
    cr_assert_eq(suback.id, id);
    cr_assert_eq(suback.retained, retained);
}

void
expect_unsuback(struct fake_peer *peer, uint32_t id, uint64_t matched,
    uint64_t delivered, uint64_t dropped)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_UNSUBACK);
    struct broker_unsuback unsuback;
    cr_assert_eq(broker_unsuback_decode(&frame, &unsuback), BROKER_OK);
    cr_assert_eq(unsuback.id, id);
    cr_assert_eq(unsuback.matched, matched);
    cr_assert_eq(unsuback.delivered, delivered);
    cr_assert_eq(unsuback.dropped, dropped);
}

void
expect_context(struct fake_peer *peer, uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t want[] = {a, b, c};
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_CONTEXT);
    struct broker_context context;
    cr_assert_eq(broker_context_decode(&frame, &context), BROKER_OK);
    for (size_t i = 0; i < 3; i++) {
        uint32_t id =
            i < context.ids.count ? broker_ids_get(context.ids, i) : 0;
        cr_assert_eq(id, want[i], "id %u, not %u", id, want[i]);
    }
    cr_assert_leq(context.ids.count, 3);
}

static bool
is_text(struct broker_bytes bytes, const char *text)
{
    return bytes.len == strlen(text) &&
           (bytes.len == 0 || memcmp(bytes.data, text, bytes.len) == 0);
}

void
expect_publish(struct fake_peer *peer, const char *topic, const char *payload)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_PUBLISH);
    struct broker_publish publish;
    cr_assert_eq(broker_publish_decode(&frame, &publish), BROKER_OK);
    cr_assert(is_text(publish.topic, topic), "another topic than %s", topic);
    cr_assert(is_text(publish.payload, payload),
        "another payload than %s: %.*s", payload, (int)publish.payload.len,
        (const char *)publish.payload.data);
}

void
expect_gap(struct fake_peer *peer, enum broker_gap_reason reason,
    uint64_t count, uint32_t id)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_GAP);
    struct broker_gap gap;
    cr_assert_eq(broker_gap_decode(&frame, &gap), BROKER_OK);
    cr_assert_eq(gap.reason, reason);
    cr_assert_eq(gap.count, count);
    cr_assert_eq(gap.ids.count, 1);
    cr_assert_eq(broker_ids_get(gap.ids, 0), id);
}
