/* SPDX-License-Identifier: MIT
 *
 * Losing the connection and taking up again: what is sent again, what is not,
 * and what is told (PROTOCOL.md 5.3).
 */
#include <criterion/criterion.h>

#include "fake_broker.h"

#define S      UINT64_C(1000000)
#define BUFFER ((size_t)1 << 20)

static struct fake *fake;

static void
open_fake(void)
{
    fake = fake_new(BUFFER, BUFFER);
    fake_open(fake, 0);
}

static void
close_fake(void)
{
    fake_free(fake);
}

TestSuite(resume, .init = open_fake, .fini = close_fake, .timeout = 20);

static void
expect_publish(const char *payload, uint32_t id, bool retry)
{
    struct broker_publish publish = fake_take_publish(fake);
    char got[32] = "";
    cr_assert_lt(publish.payload.len, sizeof got);
    if (publish.payload.len > 0) {
        memcpy(got, publish.payload.data, publish.payload.len);
    }
    cr_assert_str_eq(got, payload);
    cr_assert_eq(publish.id, id, "%u for %u", publish.id, id);
    cr_assert_eq((publish.flags & BROKER_PUBLISH_RETRY) != 0, retry,
        "RETRY of %s", payload);
}

static void
expect_nothing_written(void)
{
    struct broker_frame frame;
    cr_assert_not(fake_take_frame(fake, &frame));
}

static void
expect_published(enum broker_status status, bool duplicate)
{
    const struct fake_call *call = fake_call(fake);
    cr_assert_not_null(call);
    cr_assert_eq(call->kind, FAKE_PUBLISHED);
    cr_assert_eq(call->status, status);
    cr_assert_eq(call->duplicate, duplicate);
}

Test(resume, what_was_not_acknowledged_is_sent_again_in_order)
{
    for (int i = 0; i < 4; i++) {
        char payload[] = {(char)('1' + i), '\0'};
        cr_assert_eq(fake_publish(fake, "a", payload, true), BROKER_OK);
    }
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(fake_puback(fake, 1, 1, 0), BROKER_OK);
    fake_lose(fake);
    cr_assert_eq(fake_publish(fake, "a", "5", true), BROKER_OK);
    fake_open(fake, 0);
    expect_publish("2", 2, true);
    expect_publish("3", 3, true);
    expect_publish("4", 4, true);
    expect_publish("5", 5, false);
    expect_nothing_written();
    cr_assert_eq(fake_puback(fake, 5, 4, 0), BROKER_OK);
    cr_assert_eq(fake->call_count, 5);
    cr_assert_eq(fake->session.stats.messages_resent, 3);
}

/* An answer that was lost may have been a refusal. */
Test(resume, what_the_broker_answered_is_sent_again_as_well)
{
    for (int i = 0; i < 4; i++) {
        char payload[] = {(char)('1' + i), '\0'};
        cr_assert_eq(fake_publish(fake, "a", payload, true), BROKER_OK);
    }
    fake_write(fake, SIZE_MAX);
    fake_lose(fake);
    cr_assert_null(fake_call(fake));
    fake_open(fake, 3);
    cr_assert_null(fake_call(fake));
    for (uint32_t i = 1; i <= 4; i++) {
        const char payload[] = {(char)('0' + i), '\0'};
        expect_publish(payload, i, true);
    }
    expect_nothing_written();
    cr_assert_eq(fake_error(fake, 1, BROKER_E_STREAM_FULL, BROKER_FRAME_PUBLISH,
                     BROKER_CLASS_REQUEST),
        BROKER_OK);
    expect_published(BROKER_E_STREAM_FULL, false);
    cr_assert_eq(fake_puback_duplicate(fake, 3, 2), BROKER_OK);
    expect_published(BROKER_OK, true);
    expect_published(BROKER_OK, true);
    cr_assert_eq(fake->session.stats.messages_duplicate, 2);
}

Test(resume, a_broker_that_knows_more_than_was_written_settles_nothing)
{
    cr_assert_eq(fake_publish(fake, "a", "1", true), BROKER_OK);
    fake_write(fake, SIZE_MAX);
    fake_lose(fake);
    cr_assert_eq(fake_publish(fake, "a", "2", true), BROKER_OK);
    fake_open(fake, 1000);
    cr_assert_null(fake_call(fake));
    expect_publish("1", 1, true);
    expect_publish("2", 2, false);
}

Test(resume, every_cut_of_the_output_keeps_every_message)
{
    struct broker_frame frame;
    size_t total = 0;
    /* Two with a number, one without, one with, a flush in between. */
    for (size_t cut = 0;; cut++) {
        fake_free(fake);
        open_fake();
        cr_assert_eq(fake_publish(fake, "a", "1", true), BROKER_OK);
        cr_assert_eq(fake_publish(fake, "a", "2", true), BROKER_OK);
        cr_assert_eq(fake_publish(fake, "a", "f", false), BROKER_OK);
        cr_assert_eq(fake_publish(fake, "a", "3", true), BROKER_OK);
        total = fake->session.log.unsent;
        if (cut > total) {
            break;
        }
        fake_write(fake, cut);
        size_t size = total / 4;
        bool fire_written = cut >= 3 * size;
        fake_lose(fake);
        cr_assert_eq(fake->session.unknown_publishes, fire_written);
        fake_open(fake, 0);
        expect_publish("1", 1, cut >= size);
        expect_publish("2", 2, cut >= 2 * size);
        if (!fire_written) {
            expect_publish("f", 0, false);
        }
        expect_publish("3", 3, cut >= total);
        cr_assert_not(fake_take_frame(fake, &frame));
        cr_assert_eq(fake_puback(fake, 3, 3, 0), BROKER_OK);
        cr_assert_eq(fake->session.log.bytes, 0);
    }
    cr_assert_gt(total, 40);
}

Test(resume, losing_it_again_and_again)
{
    cr_assert_eq(fake_publish(fake, "a", "1", true), BROKER_OK);
    cr_assert_eq(fake_publish(fake, "a", "f", false), BROKER_OK);
    for (int i = 0; i < 5; i++) {
        fake_lose(fake);
        fake_open(fake, 0);
    }
    fake_lose(fake);
    cr_assert_eq(session_connected(&fake->session, fake->now_us), BROKER_OK);
    fake_lose(fake); /* in the handshake */
    fake_open(fake, 0);
    expect_publish("1", 1, false);
    expect_publish("f", 0, false);
    expect_nothing_written();
}

Test(resume, numbers_go_on_across_the_wrap)
{
    fake_free(fake);
    fake = fake_new(BUFFER, BUFFER);
    fake_open(fake, 0xFFFFFFFDu);
    for (int i = 0; i < 4; i++) { /* FFFFFFFE, FFFFFFFF, 1, 2 */
        char payload[] = {(char)('1' + i), '\0'};
        cr_assert_eq(fake_publish(fake, "a", payload, true), BROKER_OK);
    }
    fake_write(fake, SIZE_MAX);
    fake_lose(fake);
    fake_open(fake, 1);
    cr_assert_null(fake_call(fake));
    expect_publish("1", 0xFFFFFFFEu, true);
    expect_publish("2", 0xFFFFFFFFu, true);
    expect_publish("3", 1, true);
    expect_publish("4", 2, true);
    expect_nothing_written();
}

Test(resume, a_session_of_an_earlier_process_goes_on_with_its_numbers)
{
    fake_free(fake);
    fake = fake_new(BUFFER, BUFFER);
    cr_assert_eq(fake_publish(fake, "a", "1", true), BROKER_OK);
    cr_assert_eq(fake_request(fake, "q", S), BROKER_OK);
    cr_assert_eq(fake_publish(fake, "a", "3", true), BROKER_OK);
    fake_open(fake, 500);
    struct broker_frame frame;
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(frame.type, BROKER_FRAME_SUBSCRIBE);
    expect_publish("1", 501, false);
    expect_publish("", 502, false);
    expect_publish("3", 503, false);
    cr_assert_eq(fake_error(fake, 502, BROKER_E_NO_SUBSCRIBERS,
                     BROKER_FRAME_PUBLISH, BROKER_CLASS_REQUEST),
        BROKER_OK);
    const struct fake_call *call = fake_call(fake);
    cr_assert_eq(call->kind, FAKE_REPLY);
    cr_assert_eq(call->status, BROKER_E_NO_SUBSCRIBERS);
}

Test(resume, subscriptions_are_made_again_and_a_gap_is_told)
{
    struct broker_frame frame;
    uint32_t first = fake_subscribe(fake, "a");
    uint32_t second = fake_subscribe(fake, "b");
    cr_assert_eq(fake_suback(fake, first), BROKER_OK);
    cr_assert_eq(fake_context(fake, &first, 1, 0), BROKER_OK);
    cr_assert_eq(fake_call(fake)->kind, FAKE_SUBSCRIBED);
    fake_lose(fake);
    cr_assert_null(fake_call(fake));
    cr_assert_eq(fake_publish(fake, "x", "1", true), BROKER_OK);
    fake_open(fake, 0);
    const struct fake_call *call = fake_call(fake);
    cr_assert_eq(call->kind, FAKE_GAP);
    cr_assert_eq(call->reason, BROKER_CLIENT_GAP_CONNECTION);
    cr_assert_eq(call->count, 0);
    /* The second had not been granted: it missed nothing that was promised. */
    cr_assert_eq(call->matched, 1);
    cr_assert_eq(call->subscription, first);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert(fake_take_frame(fake, &frame));
        cr_assert_eq(frame.type, BROKER_FRAME_SUBSCRIBE);
        cr_assert_eq(frame.id, i == 0 ? first : second);
    }
    expect_publish("1", 1, false);
    cr_assert_eq(fake_suback(fake, first), BROKER_OK);
    cr_assert_null(fake_call(fake), "on_subscribed runs once");
    cr_assert_eq(fake_suback(fake, second), BROKER_OK);
    cr_assert_eq(fake_call(fake)->kind, FAKE_SUBSCRIBED);
    /* The context of before is forgotten. */
    cr_assert_eq(fake_message(fake, "a", "x"), BROKER_E_UNEXPECTED_FRAME);
}

Test(resume, a_subscription_that_is_refused_later_goes_to_on_error)
{
    uint32_t id = fake_subscribe(fake, "a");
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    fake_lose(fake);
    fake_open(fake, 0);
    fake->call_next = fake->call_count;
    cr_assert_eq(fake_error(fake, id, BROKER_E_TOO_MANY_SUBSCRIPTIONS,
                     BROKER_FRAME_SUBSCRIBE, BROKER_CLASS_REQUEST),
        BROKER_OK);
    const struct fake_call *call = fake_call(fake);
    cr_assert_eq(call->kind, FAKE_ERROR);
    cr_assert_eq(call->subscription, id);
    cr_assert_null(fake->session.subscriptions.first);
}

static enum broker_status ended_status;
static void
ended(struct broker_client *client,
    const struct broker_client_unsubscribed *unsubscribed, void *user)
{
    (void)client;
    (void)user;
    ended_status = unsubscribed->status;
}

Test(resume, an_unsubscribe_that_was_under_way_ends)
{
    struct broker_frame frame;
    uint32_t id = fake_subscribe(fake, "a");
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    cr_assert_eq(
        session_unsubscribe(&fake->session, id, true, ended, NULL), BROKER_OK);
    fake_lose(fake);
    cr_assert_eq(session_deadline_us(&fake->session), 0);
    cr_assert_eq(session_tick(&fake->session, fake->now_us), BROKER_OK);
    cr_assert_eq(ended_status, BROKER_E_CONNECTION_LOST);
    fake_open(fake, 0);
    cr_assert_not(fake_take_frame(fake, &frame));
}

Test(resume, requests_end_if_they_were_written_and_wait_if_not)
{
    struct broker_frame frame;
    cr_assert_eq(fake_request(fake, "acked", 10 * S), BROKER_OK);
    cr_assert_eq(fake_request(fake, "written", 10 * S), BROKER_OK);
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(fake_suback(fake, 1), BROKER_OK);
    cr_assert_eq(fake_puback(fake, 1, 1, 1), BROKER_OK);
    cr_assert_eq(fake_request(fake, "waits", 10 * S), BROKER_OK);
    cr_assert_eq(fake_request(fake, "too late", S), BROKER_OK);
    fake_lose(fake);
    for (int i = 0; i < 2; i++) {
        const struct fake_call *call = fake_call(fake);
        cr_assert_eq(call->kind, FAKE_REPLY);
        cr_assert_eq(call->status, BROKER_E_CONNECTION_LOST);
    }
    cr_assert_null(fake_call(fake));
    fake->now_us += 2 * S;
    cr_assert_eq(session_tick(&fake->session, fake->now_us), BROKER_OK);
    cr_assert_eq(fake_call(fake)->status, BROKER_E_TIMEOUT);
    fake_open(fake, 0);
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(frame.type, BROKER_FRAME_SUBSCRIBE);
    struct broker_publish publish = fake_take_publish(fake);
    cr_assert_eq(memcmp(publish.topic.data, "waits", 5), 0);
    cr_assert_eq(publish.id, 3);
    cr_assert_not(fake_take_frame(fake, &frame), "a request was repeated");
    cr_assert_eq(fake_puback(fake, 3, 1, 1), BROKER_OK);
    cr_assert_eq(fake->session.publishes.count, 0);
    cr_assert_eq(fake->session.log.bytes, 0);
}

Test(resume, a_flush_goes_on_if_it_can_promise_anything)
{
    struct broker_frame frame;
    cr_assert_eq(fake_publish(fake, "a", "1", true), BROKER_OK);
    fake_flush(fake);
    fake_write(fake, SIZE_MAX);
    fake_lose(fake);
    cr_assert_null(fake_call(fake));
    fake_open(fake, 0);
    cr_assert(fake_skip_to(fake, BROKER_FRAME_PING, &frame));
    cr_assert_eq(fake_pong(fake, frame.id), BROKER_OK);
    cr_assert_null(fake_call(fake));
    cr_assert_eq(fake_puback(fake, 1, 1, 0), BROKER_OK);
    expect_published(BROKER_OK, false);
    cr_assert_eq(fake_call(fake)->status, BROKER_OK);

    cr_assert_eq(fake_publish(fake, "a", "f", false), BROKER_OK);
    fake_flush(fake);
    fake_write(fake, SIZE_MAX);
    fake_lose(fake);
    const struct fake_call *call = fake_call(fake);
    cr_assert_eq(call->kind, FAKE_PONGED);
    cr_assert_eq(call->status, BROKER_E_CONNECTION_LOST);
    cr_assert_eq(fake->session.stats.messages_unknown, 1);
}

Test(resume, a_pong_confirms_what_has_no_number)
{
    struct broker_frame frame;
    cr_assert_eq(fake_publish(fake, "a", "f", false), BROKER_OK);
    fake_flush(fake);
    cr_assert(fake_skip_to(fake, BROKER_FRAME_PING, &frame));
    cr_assert_not(session_is_settled(&fake->session));
    cr_assert_eq(fake_pong(fake, frame.id), BROKER_OK);
    cr_assert(session_is_settled(&fake->session));
    fake_lose(fake);
    cr_assert_eq(fake->session.unknown_publishes, 0);
}

Test(resume, a_restarted_broker_is_noticed)
{
    cr_assert_not(fake->session.broker_restarted);
    fake_lose(fake);
    fake_open(fake, 0);
    cr_assert_not(fake->session.broker_restarted);
    fake_lose(fake);
    cr_assert_eq(session_connected(&fake->session, fake->now_us), BROKER_OK);
    fake_write(fake, SIZE_MAX);
    fake_forget(fake);
    cr_assert_eq(fake_welcome(fake, 0, 77, BROKER_BODY_BYTES_MAX), BROKER_OK);
    cr_assert(fake->session.broker_restarted);
}

Test(resume, the_end_tells_everything_once)
{
    cr_assert_eq(fake_publish(fake, "a", "1", true), BROKER_OK);
    cr_assert_neq(fake_subscribe(fake, "a"), 0);
    cr_assert_eq(fake_request(fake, "q", S), BROKER_OK);
    fake_flush(fake);
    fake_lose(fake);
    session_end_all(&fake->session, "the end");
    bool seen[FAKE_NOTICE + 1] = {false};
    const struct fake_call *call;
    while ((call = fake_call(fake)) != NULL) {
        cr_assert_eq(call->status, BROKER_E_CLOSED);
        cr_assert_not(seen[call->kind]);
        seen[call->kind] = true;
    }
    cr_assert(seen[FAKE_PUBLISHED] && seen[FAKE_SUBSCRIBED] &&
              seen[FAKE_REPLY] && seen[FAKE_PONGED]);
}
