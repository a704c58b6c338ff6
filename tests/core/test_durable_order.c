/* SPDX-License-Identifier: MIT
 *
 * Publishes to streams beside what else goes on: messages reach subscribers in
 * the order in which they were published, whichever way they go, and what was
 * not stored is never said to be. Over a store in memory. PROTOCOL.md sections
 * 5.1, 5.3 and 5.13. */
#include "stream_say.h"

#include "memory.h"
#include "memory_internal.h"
#include "rights.h"
#include "session.h"

#include <criterion/criterion.h>

#define TWO           2
#define SESSION       5u
#define DELIVER_AT    (BROKER_TAG_CRITICAL | BROKER_TAG_DELIVER_AT)
#define EXPECTED_LAST (BROKER_TAG_CRITICAL | BROKER_TAG_EXPECTED_LAST_SEQUENCE)

static void
say_one(struct say *say, uint32_t id, uint16_t flags, const char *payload)
{
    say_with_field(
        say, &(struct say_field){
                 .id = id, .flags = flags, .topic = "s/a", .payload = payload});
}

static void
feed_one(
    struct fake_peer *peer, uint32_t id, uint16_t flags, const char *payload)
{
    struct say say = {0};
    say_one(&say, id, flags, payload);
    expect_fed(peer, &say);
}

static struct fake_peer *
subscriber(struct rig *rig, uint32_t worker)
{
    struct fake_peer *peer = stream_peer(rig, worker);
    feed_subscribe(peer, "s/+");
    return peer;
}

static void
expect_in_order(struct fake_peer *reader, const char *const *payloads, size_t n)
{
    expect_context(reader, PLAIN, 0, 0);
    for (size_t i = 0; i < n; i++) {
        expect_publish(reader, "s/a", payloads[i]);
    }
    expect_nothing(reader);
}

/* ---- order --------------------------------------------------------------- */

/* Values are retained at home, which routes them: the way of the others is
 * shorter. */
Test(durable_order, what_is_retained_is_not_overtaken)
{
    static const char *const payloads[] = {"1", "2", "3", "4", "5"};
    struct rig rig;
    struct say say = {0};
    rig_init_stream(&rig, TWO);
    struct fake_peer *here = subscriber(&rig, 1);
    struct fake_peer *there = subscriber(&rig, 0);
    struct fake_peer *peer = stream_peer(&rig, 1);
    say_one(&say, 1, 0, "1");
    say_one(&say, 2, BROKER_PUBLISH_RETAIN, "2");
    say_one(&say, 3, BROKER_PUBLISH_RETAIN, "3");
    say_one(&say, 4, 0, "4");
    say_one(&say, 0, 0, "5");
    expect_fed(peer, &say);
    expect_in_order(here, payloads, 5);
    expect_in_order(there, payloads, 5);
    expect_stored(peer, 1, 1, "S", 1);
    expect_stored(peer, 2, 1, "S", 2);
    expect_stored(peer, 3, 1, "S", 3);
    expect_stored(peer, 4, 1, "S", 4);
    expect_nothing(peer);
    rig_fini(&rig);
}

/* It was left to home, and its publisher has gone. */
Test(durable_order, what_is_retained_outlives_its_publisher)
{
    static const char *const payloads[] = {"1", "2"};
    struct rig rig;
    struct say say = {0};
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *reader = subscriber(&rig, 1);
    struct fake_peer *peer = stream_peer(&rig, 1);
    say_one(&say, 1, BROKER_PUBLISH_RETAIN, "1");
    say_one(&say, 2, 0, "2");
    expect_fed(peer, &say);
    fake_drop(peer);
    rig_commit(&rig);
    expect_in_order(reader, payloads, 2);
    rig_fini(&rig);
}

/* A publish that is with the store while the stream goes, or leaves its topic
 * alone, which takes so many commits before the workers are told. */
static void
end_capture(const char *what, const char *payload, int commits)
{
    static const char *const payloads[] = {"1", "2", "3"};
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *admin = rig_open(&rig.net, 0);
    struct fake_peer *reader = subscriber(&rig, 1);
    struct fake_peer *peer = stream_peer(&rig, 1);
    rig_set_manual(&rig);
    rig_send(admin, what, payload);
    for (int i = 1; i < commits; i++) {
        cr_assert(store_memory_commit(rig.store));
        fake_mail_settle(&rig.net);
    }
    cr_assert(store_memory_commit(rig.store));
    fake_mail_hold(&rig.net);
    feed_one(peer, 1, 0, "1"); /* which the stream still captures */
    rig.net.holds_mail = false;
    fake_mail_settle(&rig.net);
    feed_one(peer, 2, 0, "2");
    feed_one(peer, 3, BROKER_PUBLISH_RETAIN, "3");
    expect_nothing(reader);
    rig_commit(&rig);
    (void)fake_advance(&rig.net, 1);
    expect_in_order(reader, payloads, 3);
    expect_stored(peer, 1, 1, "S", 1);
    expect_puback(peer, 2, 1, 1, 0);
    expect_puback(peer, 3, 1, 1, 0);
    expect_nothing(peer);
    rig_fini(&rig);
}

Test(durable_order, the_stream_is_removed_meanwhile)
{
    end_capture("$sys/stream/remove", "{\"name\":\"S\"}", 1);
}

Test(durable_order, the_stream_gets_other_topics_meanwhile)
{
    end_capture("$sys/stream/edit", "{\"name\":\"S\",\"topics\":[\"t/#\"]}", 2);
}

/* The new connection may publish when what the old one had under way is on its
 * way to the subscribers, by whatever worker. */
Test(durable_order, a_session_goes_on_at_another_worker)
{
    static const char *const payloads[] = {"1", "2"};
    struct rig rig;
    struct say say = {0};
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *reader = subscriber(&rig, 0);
    struct fake_peer *peer = stream_peer_as(&rig, 1, SESSION);
    feed_one(peer, 1, 0, "1");
    fake_drop(peer);
    peer = stream_peer_begin(&rig, 0, SESSION);
    say_one(&say, 1, BROKER_PUBLISH_RETRY, "1");
    say_one(&say, 2, 0, "2");
    expect_fed(peer, &say);
    rig_commit(&rig);
    expect_in_order(reader, payloads, 2);
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_WELCOME);
    struct broker_welcome welcome;
    cr_assert_eq(broker_welcome_decode(&frame, &welcome), BROKER_OK);
    cr_assert_eq(welcome.last_publish, 1);
    expect_stored_before(peer, 1);
    expect_stored(peer, 2, 1, "S", 2);
    rig_fini(&rig);
}

/* One that is to be stored later may be refused as well, before its number is
 * said to be settled. */
Test(durable_order, a_session_goes_on_behind_messages_for_later)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *peer = stream_peer_as(&rig, 1, SESSION);
    feed_field(peer,
        &(struct say_field){
            .id = 1, .tag = DELIVER_AT, .value = UINT64_MAX, .topic = "s/a"});
    fake_drop(peer);
    peer = stream_peer_begin(&rig, 0, SESSION);
    expect_nothing(peer);
    rig_commit(&rig);
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_WELCOME);
    struct broker_welcome welcome;
    cr_assert_eq(broker_welcome_decode(&frame, &welcome), BROKER_OK);
    cr_assert_eq(welcome.last_publish, 1);
    rig_fini(&rig);
}

/* ---- while it waits ------------------------------------------------------ */

/* Its own PING is answered behind its publish, so it has to hear the broker's,
 * or that would judge the silence of somebody who was never asked. */
Test(durable_order, a_publisher_that_waits_is_asked_whether_it_is_there)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_one(peer, 1, 0, "1");
    expect_nothing(peer);
    (void)fake_advance(&rig.net, peer->session->heartbeat_ms + 1);
    (void)expect_frame(peer, BROKER_FRAME_PING);
    expect_nothing(peer);
    rig_commit(&rig);
    expect_stored(peer, 1, 1, "S", 1);
    expect_nothing(peer);
    rig_fini(&rig);
}

/* ---- the end of a connection --------------------------------------------- */

/* Nothing is to be said of it, but that it was stored is waited for. */
Test(durable_order, the_last_word_comes_after_what_has_no_number)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_one(peer, 0, 0, "1");
    expect_nothing(peer);
    fake_end_input(peer);
    expect_nothing(peer);
    cr_assert(!peer->output_ready);
    rig_commit(&rig);
    cr_assert(peer->output_ready, "it is not said that there is an end");
    expect_nothing(peer);
    cr_assert_null(peer->session);
    rig_fini(&rig);
}

/* What is with the store was not answered, and may be refused yet. */
Test(durable_order, the_last_word_names_what_was_answered)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    for (uint32_t answered = 0; answered < 3; answered++) {
        struct fake_peer *peer = stream_peer(&rig, 1);
        for (uint32_t id = 1; id <= answered; id++) {
            feed_one(peer, id, 0, "x");
            (void)expect_frame(peer, BROKER_FRAME_PUBACK);
        }
        rig_set_manual(&rig);
        feed_one(peer, answered + 1, 0, "y");
        feed_publish(peer, answered + 2, "plain");
        session_expel(peer->session, BROKER_E_AUTH_FAILED);
        struct broker_frame frame = expect_frame(peer, BROKER_FRAME_GOAWAY);
        cr_assert_eq(frame.id, answered, "%u, not %u", frame.id, answered);
        rig_commit(&rig);
        memory_of(rig.store)->options.auto_commit = true;
    }
    rig_fini(&rig);
}

/* ---- what is said of a retry --------------------------------------------- */

/* The number is below one that was stored, and was not stored itself. */
Test(durable_order, a_refused_message_for_later_is_not_said_to_be_stored)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer_as(&rig, 1, SESSION);
    struct say_field later = {.id = 1,
        .tag = DELIVER_AT,
        .value = FAKE_WALL_MS + rig.net.now_ms + 1000,
        .topic = "s/a",
        .payload = "1"};
    store_memory_fail(rig.store, STORE_NO_SPACE, 1);
    feed_field(peer, &later);
    expect_error(peer, BROKER_E_DISK_FULL, 1, BROKER_FRAME_PUBLISH);
    feed_one(peer, 2, 0, "2");
    expect_stored(peer, 2, 1, "S", 1);
    fake_drop(peer); /* and perhaps the refusal did not come through */
    (void)fake_advance(&rig.net, 2000);
    peer = stream_peer_as(&rig, 1, SESSION);
    later.flags = BROKER_PUBLISH_RETRY;
    feed_field(peer, &later);
    expect_error(peer, BROKER_E_DISK_FULL, 1, BROKER_FRAME_PUBLISH);
    expect_nothing(peer);
    cr_assert_eq(rig_messages(&rig, "S"), 1);
    rig_fini(&rig);
}

/* Before its time, after it, and after a crash. */
Test(durable_order, a_retry_of_a_message_for_later_is_stored_once)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer_as(&rig, 1, SESSION);
    struct say_field later = {.id = 1,
        .tag = DELIVER_AT,
        .value = FAKE_WALL_MS + rig.net.now_ms + 1000,
        .topic = "s/a",
        .payload = "1"};
    feed_field(peer, &later);
    feed_one(peer, 2, 0, "2");
    fake_drop(peer); /* before it has heard anything */
    later.flags = BROKER_PUBLISH_RETRY;
    for (unsigned i = 0; i < 3; i++) {
        peer = stream_peer_as(&rig, i % 2, SESSION);
        feed_field(peer, &later);
        expect_stored_before(peer, 1);
        expect_nothing(peer);
        (void)fake_advance(&rig.net, 2000);
        cr_assert_eq(rig_messages(&rig, "S"), 2);
        if (i == 1) {
            rig_restart(&rig, true);
        } else {
            fake_drop(peer);
        }
    }
    rig_fini(&rig);
}

/* So many were refused that the store knows of the last one alone. */
Test(durable_order, what_was_forgotten_is_not_said_to_be_stored)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    have_stream(&rig, "F", "f", ",\"max_bytes\":1,\"discard\":\"new\"");
    memory_of(rig.store)->options.refusals = 1;
    struct fake_peer *peer = stream_peer_as(&rig, 1, SESSION);
    for (uint32_t id = 1; id <= 4; id++) {
        feed_publish(peer, id, id % 2 == 0 ? "s/a" : "f");
    }
    fake_drop(peer);
    peer = stream_peer_as(&rig, 1, SESSION);
    for (uint32_t id = 1; id <= 4; id++) {
        feed_field(peer, &(struct say_field){.id = id,
                             .flags = BROKER_PUBLISH_RETRY,
                             .topic = id % 2 == 0 ? "s/a" : "f"});
    }
    expect_duplicate(peer, 1);
    expect_stored_before(peer, 2);
    expect_error(peer, BROKER_E_STREAM_FULL, 3, BROKER_FRAME_PUBLISH);
    expect_stored_before(peer, 4);
    expect_nothing(peer);
    cr_assert_eq(rig_messages(&rig, "S"), 2);
    rig_fini(&rig);
}

/* What was refused before it came to the store is below its highest number all
 * the same, and would not be refused any more. */
Test(durable_order, what_the_store_never_saw_is_not_said_to_be_stored)
{
    static const char *const topics[] = {"s/secret"};
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer_as(&rig, 1, SESSION);
    session_set_rights(
        peer->session, rights_without(RIGHTS_PUBLISH, "s/secret"));
    feed_publish(peer, 1, "s/a");
    feed_publish(peer, 2, "s/secret");
    feed_topics(peer, 3, 0, topics, 1);
    feed_publish(peer, 4, "s/a");
    fake_drop(peer);
    for (uint32_t worker = 0; worker < TWO; worker++) {
        peer = stream_peer_as(&rig, worker, SESSION);
        for (uint32_t id = 1; id <= 4; id++) {
            feed_field(peer, &(struct say_field){.id = id,
                                 .flags = BROKER_PUBLISH_RETRY,
                                 .topic = "s/secret"});
        }
        feed_topics(peer, 3, BROKER_BATCH_RETRY, topics, 1);
        for (uint32_t id = 1; id <= 3; id++) {
            expect_duplicate(peer, id);
        }
        expect_stored_before(peer, 4);
        expect_duplicate(peer, 3);
        expect_nothing(peer);
    }
    cr_assert_eq(rig_messages(&rig, "S"), 2);
    rig_fini(&rig);
}

/* What the stream's last sequence will be by then nobody can expect. */
Test(durable_order, a_message_for_later_expects_no_sequence)
{
    struct rig rig;
    struct say say = {0};
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer(&rig, 1);
    for (uint32_t id = 1; id <= 2; id++) {
        uint8_t fields[32];
        uint8_t frame[64];
        size_t field_bytes = 0;
        size_t bytes;
        uint64_t time_ms = FAKE_WALL_MS + rig.net.now_ms;
        cr_assert_eq(broker_tlv_put_u64(fields, sizeof fields, &field_bytes,
                         EXPECTED_LAST, 77),
            BROKER_OK);
        cr_assert_eq(broker_tlv_put_u64(fields, sizeof fields, &field_bytes,
                         DELIVER_AT, id == 1 ? time_ms + 1000 : time_ms - 1),
            BROKER_OK);
        struct broker_publish publish = {.id = id,
            .topic = say_text("s/a"),
            .headers = {fields, field_bytes}};
        cr_assert_eq(
            broker_publish_encode(&publish, frame, sizeof frame, &bytes),
            BROKER_OK);
        say_bytes(&say, frame, bytes);
        expect_fed(peer, &say);
        expect_error(peer, BROKER_E_BAD_REQUEST, id, BROKER_FRAME_PUBLISH);
    }
    (void)fake_advance(&rig.net, 2000);
    expect_nothing(peer);
    cr_assert_eq(rig_messages(&rig, "S"), 0);
    rig_fini(&rig);
}
