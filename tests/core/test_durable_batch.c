/* SPDX-License-Identifier: MIT
 *
 * Batches, and publishes that are sent again. Over a store in memory.
 * PROTOCOL.md sections 4.15, 5.3 and 5.13. */
#include "stream_say.h"

#include "account.h"
#include "rights.h"
#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

#define TWO           2
#define BATCH         BROKER_FRAME_PUBLISH_BATCH
#define EXPECTED_LAST (BROKER_TAG_CRITICAL | BROKER_TAG_EXPECTED_LAST_SEQUENCE)

/* ---- batches ------------------------------------------------------------- */

Test(durable_batch, a_batch_has_one_number_and_one_answer)
{
    static const char *const topics[] = {"s/a", "s/b", "s/b"};
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_topics(peer, 1, 0, topics, 3);
    expect_stored(peer, 1, 1, "S", 3);
    feed_topics(peer, 2, 0, topics, 3);
    expect_stored(peer, 2, 1, "S", 6);
    expect_nothing(peer);
    rig_fini(&rig);
}

Test(durable_batch, a_batch_that_makes_no_sense_is_refused_as_a_whole)
{
    static const struct {
        struct say_field first, second;
        enum broker_status code;
    } cases[] = {
        {{.topic = "s/a"}, {.topic = "t/a"}, BROKER_E_BAD_REQUEST},
        {{.topic = "s/a"}, {.topic = "plain"}, BROKER_E_NOT_CAPTURED},
        {{.topic = "s/a"}, {.topic = "$s/a"}, BROKER_E_RESERVED_TOPIC},
        {{.topic = "s/a"}, {.topic = "s/a", .tag = EXPECTED_LAST},
            BROKER_E_BAD_REQUEST},
        {{.topic = "s/a"},
            {.topic = "s/a",
                .tag = BROKER_TAG_CRITICAL | BROKER_TAG_DELIVER_AT,
                .value = 1},
            BROKER_E_BAD_REQUEST},
        {{.topic = "s/a", .tag = EXPECTED_LAST, .value = 9}, {.topic = "s/b"},
            BROKER_E_WRONG_LAST_SEQUENCE},
    };
    struct rig rig;
    rig_init_stream(&rig, TWO);
    have_stream(&rig, "T", "t/#", "");
    struct fake_peer *peer = stream_peer(&rig, 1);
    uint32_t id = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct say frames = {0};
        struct say say = {0};
        say_with_field(&frames, &cases[i].first);
        say_with_field(&frames, &cases[i].second);
        say_batch(&say, ++id, 0, &frames);
        expect_fed(peer, &say);
        expect_error(peer, cases[i].code, id, BATCH);
        say_batch(&say, 0, 0, &frames);
        expect_fed(peer, &say);
        expect_error(peer, cases[i].code, 0, BATCH);
        say_fini(&frames);
    }
    expect_nothing(peer);
    cr_assert_eq(rig_messages(&rig, "S"), 0);
    rig_fini(&rig);
}

Test(durable_batch, other_fields_are_none_of_its_business)
{
    struct rig rig;
    struct say frames = {0};
    struct say say = {0};
    rig_init_stream(&rig, 1);
    struct fake_peer *peer = stream_peer(&rig, 0);
    struct say_field message = {
        .tag = BROKER_TAG_TTL_MS, .value = 5000, .topic = "s/a"};
    say_with_field(&frames, &message);
    say_batch(&say, 1, 0, &frames);
    expect_fed(peer, &say);
    expect_stored(peer, 1, 1, "S", 1);
    message.tag = BROKER_TAG_CRITICAL | 0x0fff; /* nobody knows it */
    say_with_field(&frames, &message);
    say_batch(&say, 2, 0, &frames);
    expect_fed(peer, &say);
    expect_error(peer, BROKER_E_UNKNOWN_TAG, 2, BATCH);
    say_fini(&frames);
    expect_nothing(peer);
    rig_fini(&rig);
}

Test(durable_batch, a_request_has_no_place_in_a_batch)
{
    struct rig rig;
    struct say frames = {0};
    struct say say = {0};
    rig_init_stream(&rig, 1);
    struct fake_peer *peer = stream_peer(&rig, 0);
    say_request(&frames, 0, "s/a", "inbox");
    say_batch(&say, 1, 0, &frames);
    expect_fed(peer, &say);
    expect_error(peer, BROKER_E_BAD_REQUEST, 1, BATCH);
    say_fini(&frames);
    expect_nothing(peer);
    rig_fini(&rig);
}

Test(durable_batch, a_malformed_batch_ends_the_connection)
{
    struct rig rig;
    struct say say = {0};
    rig_init_stream(&rig, 1);
    struct fake_peer *peer = stream_peer(&rig, 0);
    say_frame(&say, BATCH, 0, 1, 20);
    expect_fed(peer, &say);
    expect_error(peer, BROKER_E_MALFORMED, 1, BATCH);
    expect_goaway(peer, BROKER_E_MALFORMED);
    rig_fini(&rig);
}

Test(durable_batch, the_expected_sequence_of_a_batch)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer(&rig, 1);
    for (uint64_t last = 0; last < 4; last += 2) {
        struct say frames = {0};
        struct say say = {0};
        say_with_field(
            &frames, &(struct say_field){
                         .tag = EXPECTED_LAST, .value = last, .topic = "s/a"});
        say_publish(&frames, 0, "s/b", "text");
        say_batch(&say, (uint32_t)last + 1, 0, &frames);
        say_batch(&say, (uint32_t)last + 2, 0, &frames);
        expect_fed(peer, &say);
        expect_stored(peer, (uint32_t)last + 1, 1, "S", last + 2);
        expect_wrong_last(peer, (uint32_t)last + 2, BATCH, last + 2);
        say_fini(&frames);
    }
    rig_fini(&rig);
}

/* ---- retries ------------------------------------------------------------- */

Test(durable_batch, a_retry_is_stored_once)
{
    static const char *const topics[] = {"s/a", "s/b"};
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer_as(&rig, 1, 42);
    feed_publish(peer, 1, "s/a");
    expect_stored(peer, 1, 1, "S", 1);
    feed_topics(peer, 2, 0, topics, 2);
    expect_stored(peer, 2, 1, "S", 3);
    fake_drop(peer);
    fake_mail_settle(&rig.net);
    peer = stream_peer_as(&rig, 0, 42); /* on another worker */
    struct say_field message = {
        .id = 1, .flags = BROKER_PUBLISH_RETRY, .topic = "s/a"};
    feed_field(peer, &message);
    expect_stored_before(peer, 1);
    feed_topics(peer, 2, BROKER_BATCH_RETRY, topics, 2);
    expect_stored_before(peer, 2);
    message.id = 3;
    feed_field(peer, &message);
    expect_stored(peer, 3, 1, "S", 4);
    expect_nothing(peer);
    cr_assert_eq(rig_messages(&rig, "S"), 4);
    rig_fini(&rig);
}

/* It is the store that knows, also after a crash. */
Test(durable_batch, a_retry_after_a_crash_is_stored_once)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer_as(&rig, 1, 42);
    feed_publish(peer, 1, "s/a");
    expect_stored(peer, 1, 1, "S", 1);
    rig_set_manual(&rig);
    feed_publish(peer, 2, "s/a");
    expect_nothing(peer);
    rig_restart(&rig, true);
    peer = stream_peer_as(&rig, 1, 42);
    struct say_field message = {
        .id = 1, .flags = BROKER_PUBLISH_RETRY, .topic = "s/a"};
    feed_field(peer, &message);
    expect_stored_before(peer, 1);
    message.id = 2;
    feed_field(peer, &message);
    expect_stored(peer, 2, 1, "S", 2);
    rig_fini(&rig);
}

/* ---- users --------------------------------------------------------------- */

static void
authenticate(void *owner, const struct core_credentials *credentials)
{
    (void)owner;
    (void)credentials; /* the test itself admits them */
}

static struct fake_peer *
come_in_as(struct rig *rig, const char *user, uint8_t session)
{
    struct fake_peer *peer = fake_connect_to(&rig->net, 1);
    struct broker_hello hello = say_hello_default;
    struct say say = {0};
    hello.features = BROKER_FEATURE_STREAMS;
    memset(hello.session, session, sizeof hello.session);
    say_hello_with(&say, &hello);
    expect_fed(peer, &say);
    session_admit(peer->session, account_new(user), rights_new_unlimited());
    fake_mail_settle(&rig->net);
    (void)expect_frame(peer, BROKER_FRAME_WELCOME);
    return peer;
}

/* A session is one of its user's: its numbers are no other's. */
Test(durable_batch, numbers_are_those_of_a_user)
{
    struct rig rig;
    const struct say_field message = {
        .id = 1, .flags = BROKER_PUBLISH_RETRY, .topic = "s/a"};
    rig_init_stream(&rig, TWO);
    rig.net.cores[1]->hooks.authenticate = authenticate;
    struct fake_peer *ann = come_in_as(&rig, "ann", 42);
    feed_field(ann, &message);
    expect_stored(ann, 1, 1, "S", 1);
    fake_drop(ann);
    ann = come_in_as(&rig, "ann", 42);
    feed_field(ann, &message);
    expect_stored_before(ann, 1);
    struct fake_peer *bob = come_in_as(&rig, "bob", 42);
    feed_field(bob, &message);
    expect_stored(bob, 1, 1, "S", 2);
    rig_fini(&rig);
}
