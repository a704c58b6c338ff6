/* SPDX-License-Identifier: MIT
 *
 * Who the client is (PROTOCOL.md 5.10, 5.11, 5.12): credentials in HELLO, the
 * user in WELCOME and what it makes of the inbox, subscriptions that the broker
 * ends, notices.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "fake_broker.h"

#define BUFFER_BYTES ((size_t)1 << 20)
#define S            UINT64_C(1000000)
#define RANDOM       "abcd0000000000000000000000000000"

static struct fake *fake;

static void
setup(void)
{
    fake = fake_new(BUFFER_BYTES, BUFFER_BYTES);
}

static void
teardown(void)
{
    fake_free(fake);
}

TestSuite(user, .init = setup, .fini = teardown, .timeout = 30);

static bool
equals(struct broker_bytes bytes, const char *text)
{
    return bytes.len == strlen(text) &&
           memcmp(bytes.data, text, bytes.len) == 0;
}

/* ---- credentials --------------------------------------------------------- */

static const struct broker_tlv *
next_field(struct broker_bytes *rest)
{
    static struct broker_tlv field;
    return broker_tlv_next(rest, &field) == BROKER_OK ? &field : NULL;
}

/* The tag of the field at the front, with its critical bit. */
static unsigned
raw_tag(struct broker_bytes rest)
{
    return (unsigned)rest.data[0] << 8 | rest.data[1];
}

Test(user, hello_has_the_credentials_each_time)
{
    struct credentials credentials;
    struct broker_frame frame;
    struct broker_hello hello;
    cr_assert(credentials_init(&credentials, "me", "s3cret", NULL));
    fake->session.config.credentials = &credentials;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(
            session_connected(&fake->session, fake->now_us), BROKER_OK);
        cr_assert(fake_take_frame(fake, &frame));
        cr_assert_eq(broker_hello_decode(&frame, &hello), BROKER_OK);
        struct broker_bytes rest = hello.tlvs;
        cr_assert(equals(next_field(&rest)->value, "test"));
        cr_assert_eq(raw_tag(rest), BROKER_TAG_USER | BROKER_TAG_CRITICAL);
        cr_assert(equals(next_field(&rest)->value, "me"));
        cr_assert_eq(
            raw_tag(rest), BROKER_TAG_AUTH_METHOD | BROKER_TAG_CRITICAL);
        cr_assert(equals(next_field(&rest)->value, "password"));
        cr_assert_eq(raw_tag(rest), BROKER_TAG_AUTH_DATA | BROKER_TAG_CRITICAL);
        cr_assert(equals(next_field(&rest)->value, "s3cret"));
        cr_assert_null(next_field(&rest));
        fake_lose(fake);
    }
    credentials_fini(&credentials);
    cr_assert_null(credentials.secret);
}

/* What was written is wiped, and so is what was not. */
Test(user, hello_leaves_no_secret_behind)
{
    struct credentials credentials;
    const struct session_preamble *preamble = &fake->session.preamble;
    cr_assert(credentials_init(&credentials, "me", NULL, "s3cret"));
    fake->session.config.credentials = &credentials;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(
            session_connected(&fake->session, fake->now_us), BROKER_OK);
        size_t size = preamble->size;
        const uint8_t *data = preamble->data;
        cr_assert_not_null(memmem(data, size, "s3cret", 6));
        if (i == 0) {
            fake_write(fake, SIZE_MAX);
        } else {
            fake_lose(fake);
        }
        cr_assert_eq(preamble->data, data);
        cr_assert_null(memmem(data, size, "s3cret", 6));
        if (i == 0) {
            fake_lose(fake);
        }
    }
    credentials_fini(&credentials);
}

/* ---- the inbox ----------------------------------------------------------- */

static void
expect_inbox(const char *filter)
{
    struct broker_frame frame;
    struct broker_subscribe subscribe;
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(broker_subscribe_decode(&frame, &subscribe), BROKER_OK);
    cr_assert(equals(subscribe.filter, filter));
}

/* The reply topic of the request that was written next. */
static void
expect_request(const char *topic, const char *reply_to)
{
    struct broker_publish publish = fake_take_publish(fake);
    struct broker_bytes found;
    cr_assert(equals(publish.topic, topic));
    cr_assert(broker_tlv_find(publish.headers, BROKER_TAG_REPLY_TO, &found));
    cr_assert(equals(found, reply_to), "%.*s", (int)found.len, found.data);
}

static void
reply_to_request(const char *topic)
{
    uint32_t inbox = fake->session.replies_id;
    cr_assert_eq(fake_suback(fake, inbox), BROKER_OK);
    cr_assert_eq(fake_context(fake, &inbox, 1, 0), BROKER_OK);
    cr_assert_eq(fake_message(fake, topic, "answer"), BROKER_OK);
    const struct fake_call *call = fake_call(fake);
    cr_assert_eq(call->kind, FAKE_REPLY);
    cr_assert_eq(call->status, BROKER_OK);
}

Test(user, the_inbox_has_the_user_in_it)
{
    fake_open_user(fake, "al.ice@x");
    cr_assert_str_eq(fake->session.agreed.user, "al.ice@x");
    cr_assert_eq(fake_request(fake, "q", S), BROKER_OK);
    expect_inbox("_inbox/al.ice@x/" RANDOM "/+");
    expect_request("q", "_inbox/al.ice@x/" RANDOM "/0000000000000001");
    reply_to_request("_inbox/al.ice@x/" RANDOM "/0000000000000001");
}

/* Requests and others are in the log already, in an order that is kept. */
Test(user, requests_from_before_welcome_move)
{
    struct broker_frame frame;
    cr_assert_eq(fake_publish(fake, "a", "1", true), BROKER_OK);
    cr_assert_eq(fake_request(fake, "q", 10 * S), BROKER_OK);
    cr_assert_eq(fake_publish(fake, "b", "2", false), BROKER_OK);
    cr_assert_eq(fake_request(fake, "r", 10 * S), BROKER_OK);
    fake_open_user(fake, "bob");
    expect_inbox("_inbox/bob/" RANDOM "/+");
    cr_assert(equals(fake_take_publish(fake).topic, "a"));
    expect_request("q", "_inbox/bob/" RANDOM "/0000000000000001");
    cr_assert(equals(fake_take_publish(fake).topic, "b"));
    expect_request("r", "_inbox/bob/" RANDOM "/0000000000000002");
    cr_assert_not(fake_take_frame(fake, &frame));
    cr_assert_eq(fake_puback(fake, 3, 3, 1), BROKER_OK);
    cr_assert_eq(fake_call(fake)->kind, FAKE_PUBLISHED);
    reply_to_request("_inbox/bob/" RANDOM "/0000000000000002");
    cr_assert_eq(fake->session.publishes.count, 0);
    cr_assert_eq(fake->session.log.bytes, 0);
}

/* What is sent again is what was sent. */
Test(user, messages_of_before_survive_the_move)
{
    cr_assert_eq(fake_request(fake, "q", 10 * S), BROKER_OK);
    cr_assert_eq(fake_publish(fake, "a", "1", true), BROKER_OK);
    fake_open_user(fake, "bob");
    fake_write(fake, SIZE_MAX);
    fake_lose(fake); /* ends the request, which was written */
    cr_assert_eq(fake_call(fake)->status, BROKER_E_CONNECTION_LOST);
    cr_assert_eq(fake_request(fake, "r", 10 * S), BROKER_OK);
    fake_open_user(fake, "carol"); /* as the broker now says */
    expect_inbox("_inbox/carol/" RANDOM "/+");
    struct broker_publish publish = fake_take_publish(fake);
    cr_assert(equals(publish.topic, "a"));
    cr_assert_eq(publish.flags, BROKER_PUBLISH_RETRY);
    expect_request("r", "_inbox/carol/" RANDOM "/0000000000000002");
    cr_assert_eq(fake_puback(fake, 3, 2, 1), BROKER_OK);
    cr_assert_eq(fake->session.log.bytes, 0);
}

Test(user, without_a_user_all_stays_as_it_is)
{
    cr_assert_eq(fake_request(fake, "q", 10 * S), BROKER_OK);
    uint32_t inbox = fake->session.replies_id;
    fake_open_user(fake, "");
    cr_assert_eq(fake->session.replies_id, inbox);
    expect_inbox("_inbox/" RANDOM "/+");
    expect_request("q", "_inbox/" RANDOM "/0000000000000001");
}

/* It would become a part of topics and filters. */
Test(user, a_name_that_is_none_ends_the_connection)
{
    static const char *const bad[] = {"a/b", "+", "#", "a b", "\xc3\xa4",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(
            session_connected(&fake->session, fake->now_us), BROKER_OK);
        cr_assert_eq(fake_welcome_user(fake, bad[i], 1), BROKER_E_MALFORMED);
        fake_lose(fake);
    }
}

/* The session of the one who asks is another user's. */
Test(user, another_session_is_taken_and_told)
{
    fake_open_user(fake, "bob");
    fake_lose(fake);
    cr_assert_eq(session_connected(&fake->session, fake->now_us), BROKER_OK);
    cr_assert_eq(fake_welcome_user(fake, "carol", 7), BROKER_OK);
    cr_assert(fake->session.broker_restarted);
    cr_assert_eq(fake->session.agreed.session[0], 7);
    fake_lose(fake);
    cr_assert_eq(session_connected(&fake->session, fake->now_us), BROKER_OK);
    cr_assert_eq(fake_welcome_user(fake, "carol", 7), BROKER_OK);
    cr_assert_not(fake->session.broker_restarted);
}

/* ---- subscriptions that the broker ends ---------------------------------- */

static enum broker_status
revoke(uint32_t id)
{
    return fake_error(fake, id, BROKER_E_REVOKED, BROKER_FRAME_SUBSCRIBE,
        BROKER_CLASS_SUBSCRIPTION);
}

Test(user, a_revoked_subscription_ends_and_is_not_made_again)
{
    struct broker_frame frame;
    fake_open(fake, 0);
    uint32_t id = fake_subscribe(fake, "a"), other = fake_subscribe(fake, "b");
    const uint32_t both[] = {id, other};
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    cr_assert_eq(fake_suback(fake, other), BROKER_OK);
    cr_assert_eq(fake_context(fake, both, 2, 0), BROKER_OK);
    fake->call_next = fake->call_count;
    cr_assert_eq(revoke(id), BROKER_OK);
    const struct fake_call *call = fake_call(fake);
    cr_assert_eq(call->kind, FAKE_ERROR);
    cr_assert_eq(call->status, BROKER_E_REVOKED);
    cr_assert_eq(call->subscription, id);
    cr_assert_str_eq(call->topic, "a");
    cr_assert_null(fake_call(fake));
    /* What the context still names is the other's alone. */
    cr_assert_eq(fake_message(fake, "a", "x"), BROKER_OK);
    cr_assert_eq(fake_call(fake)->subscription, other);
    cr_assert_null(fake_call(fake));
    cr_assert_eq(session_unsubscribe(&fake->session, id, true, NULL, NULL),
        BROKER_E_UNKNOWN_SUBSCRIPTION);
    fake_forget(fake);
    fake_lose(fake);
    fake_open(fake, 0);
    cr_assert(fake_take_frame(fake, &frame));
    cr_assert_eq(frame.id, other);
    cr_assert_not(fake_take_frame(fake, &frame));
}

Test(user, who_fetches_sees_the_end_in_its_place)
{
    fake_open(fake, 0);
    uint32_t id = fake_subscribe_next(fake, "a");
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    cr_assert_eq(fake_context(fake, &id, 1, 0), BROKER_OK);
    cr_assert_eq(fake_message(fake, "a", "x"), BROKER_OK);
    cr_assert_eq(revoke(id), BROKER_OK);
    struct inbox_entry *entry = session_take_event(&fake->session);
    cr_assert_eq(entry->event.kind, BROKER_CLIENT_EVENT_MESSAGE);
    broker_client_event_free(&entry->event);
    entry = session_take_event(&fake->session);
    cr_assert_eq(entry->event.kind, BROKER_CLIENT_EVENT_GAP);
    cr_assert_eq(entry->gap.reason, BROKER_CLIENT_GAP_ENDED);
    cr_assert_eq(entry->gap.subscriptions[0], id);
    broker_client_event_free(&entry->event);
    cr_assert_null(session_take_event(&fake->session));
}

static enum broker_status ended_status;
static unsigned ended_count;

static void
ended(struct broker_client *client,
    const struct broker_client_unsubscribed *unsubscribed, void *user)
{
    (void)client;
    (void)user;
    ended_status = unsubscribed->status;
    ended_count++;
}

/* REVOKED and UNSUBSCRIBE cross; the broker does not know what it is to end. */
Test(user, revoked_while_it_was_ending)
{
    fake_open(fake, 0);
    uint32_t id = fake_subscribe(fake, "a");
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    cr_assert_eq(
        session_unsubscribe(&fake->session, id, true, ended, NULL), BROKER_OK);
    fake->call_next = fake->call_count;
    cr_assert_eq(revoke(id), BROKER_OK);
    cr_assert_eq(ended_count, 0);
    cr_assert_eq(fake_error(fake, id, BROKER_E_UNKNOWN_SUBSCRIPTION,
                     BROKER_FRAME_UNSUBSCRIBE, BROKER_CLASS_REQUEST),
        BROKER_OK);
    cr_assert_eq(ended_count, 1);
    cr_assert_eq(ended_status, BROKER_E_REVOKED);
    cr_assert_null(fake->session.subscriptions.first);
}

/* The next request subscribes again. */
Test(user, a_revoked_inbox)
{
    struct broker_frame frame;
    fake_open(fake, 0);
    cr_assert_eq(fake_request(fake, "q", S), BROKER_OK);
    cr_assert_eq(fake_suback(fake, fake->session.replies_id), BROKER_OK);
    fake_forget(fake);
    cr_assert_eq(revoke(fake->session.replies_id), BROKER_OK);
    cr_assert_eq(fake_call(fake)->kind, FAKE_ERROR);
    cr_assert_eq(fake_request(fake, "q", S), BROKER_OK);
    cr_assert(fake_skip_to(fake, BROKER_FRAME_SUBSCRIBE, &frame));
}

/* ---- notices ------------------------------------------------------------- */

Test(user, every_notice_is_passed_on)
{
    fake_open(fake, 0);
    for (unsigned code = BROKER_E_QUEUE_HIGH; code <= BROKER_E_BLOCKED + 1;
         code++) {
        cr_assert_eq(fake_notice(fake, code), BROKER_OK);
        const struct fake_call *call = fake_call(fake);
        cr_assert_eq(call->kind, FAKE_NOTICE);
        cr_assert_eq(call->reason, code);
    }
}
