/* SPDX-License-Identifier: MIT
 *
 * Publishes to streams: what is answered and in which order, what is refused,
 * and what becomes of what was under way when somebody leaves. Over a store in
 * memory. PROTOCOL.md section 5.13. */
#include "stream_say.h"

#include "memory.h"
#include "memory_internal.h"
#include "rights.h"
#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

#define TWO           2
#define PUBLISH       BROKER_FRAME_PUBLISH
#define BATCH         BROKER_FRAME_PUBLISH_BATCH
#define EXPECTED_LAST (BROKER_TAG_CRITICAL | BROKER_TAG_EXPECTED_LAST_SEQUENCE)

/* ---- answers ------------------------------------------------------------- */

Test(durable, a_run_is_stored_at_once_and_acknowledged_at_once)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer(&rig, 1);
    struct say say = {0};
    for (uint32_t id = 1; id <= 5; id++) {
        say_publish(&say, id, "s/a", "text");
    }
    expect_fed(peer, &say);
    expect_stored(peer, 5, 5, "S", 5);
    feed_publish(peer, 6, "s/b");
    expect_stored(peer, 6, 1, "S", 6);
    expect_nothing(peer);
    cr_assert_eq(rig_messages(&rig, "S"), 6);
    cr_assert_eq(rig.net.cores[1]->totals.stored_messages, 6);
    rig_fini(&rig);
}

Test(durable, nothing_is_said_before_it_is_durable_and_all_in_order)
{
    struct rig rig;
    struct say say = {0};
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *peer = stream_peer(&rig, 1);
    say_publish(&say, 1, "s/a", "text");
    say_publish(&say, 2, "plain", "text");
    say_subscribe(&say, PLAIN, "elsewhere");
    say_publish(&say, 3, "s/a", "text");
    say_publish(&say, 4, "s/b", "text");
    say_publish(&say, 5, "s/c", "text");
    say_publish(&say, 6, "plain", "text");
    say_publish(&say, 7, "plain", "text");
    expect_fed(peer, &say);
    expect_nothing(peer);
    rig_commit(&rig);
    expect_stored(peer, 1, 1, "S", 1);
    expect_puback(peer, 2, 1, 0, 0);
    expect_suback(peer, PLAIN, 0);
    expect_stored(peer, 3, 1, "S", 2);
    expect_stored(peer, 4, 1, "S", 3);
    expect_stored(peer, 5, 1, "S", 4);
    expect_puback(peer, 7, 2, 0, 0);
    expect_nothing(peer);
    rig_fini(&rig);
}

/* Those behind an answer that another worker owes are known by the time that it
 * comes, and are told together. */
Test(durable, acknowledgements_of_consecutive_sequences_are_one)
{
    struct rig rig;
    struct say say = {0};
    rig_init_stream(&rig, TWO);
    struct fake_peer *other = stream_peer(&rig, 0);
    feed_subscribe(other, "abroad");
    struct fake_peer *peer = stream_peer(&rig, 1);
    fake_mail_hold(&rig.net);
    say_publish(&say, 1, "abroad", "text");
    say_publish(&say, 2, "s/a", "text");
    say_publish(&say, 3, "s/b", "text");
    say_publish(&say, 4, "s/c", "text");
    expect_fed(peer, &say);
    for (int i = 0; i < 4; i++) {
        fake_mail_end_turn(&rig.net, 1);
    }
    expect_nothing(peer);
    rig.net.holds_mail = false;
    fake_mail_settle(&rig.net);
    expect_puback(peer, 1, 1, 1, 0);
    expect_stored(peer, 4, 3, "S", 3);
    expect_nothing(peer);
    rig_fini(&rig);
}

Test(durable, without_the_feature_it_is_an_ordinary_acknowledgement)
{
    static const char *const topics[] = {"s/a"};
    struct rig rig;
    rig_init_stream(&rig, 1);
    struct fake_peer *peer = expect_open(&rig.net);
    feed_publish(peer, 1, "s/a");
    expect_puback(peer, 1, 1, 0, 0);
    feed_topics(peer, 2, 0, topics, 1);
    expect_puback(peer, 2, 1, 0, 0);
    feed_topics(peer, 2, BROKER_BATCH_RETRY, topics, 1);
    expect_duplicate(peer, 2);
    expect_nothing(peer);
    cr_assert_eq(rig_messages(&rig, "S"), 2);
    rig_fini(&rig);
}

Test(durable, without_a_number_it_is_stored_and_nothing_is_said)
{
    static const char *const topics[] = {"s/a", "s/b"};
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_publish(peer, 0, "s/a");
    feed_topics(peer, 0, 0, topics, 2);
    expect_nothing(peer);
    cr_assert_eq(rig_messages(&rig, "S"), 3);
    rig_fini(&rig);
}

/* Subscribers on every worker, and only when it is durable. */
Test(durable, what_is_durable_goes_to_plain_subscribers)
{
    static const char *const topics[] = {"s/a", "s/a", "s/b"};
    struct rig rig;
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *readers[TWO];
    for (uint32_t worker = 0; worker < TWO; worker++) {
        readers[worker] = stream_peer(&rig, worker);
        feed_subscribe(readers[worker], "s/+");
    }
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_publish(peer, 1, "s/x");
    feed_topics(peer, 2, 0, topics, 3);
    for (uint32_t worker = 0; worker < TWO; worker++) {
        expect_nothing(readers[worker]);
    }
    rig_commit(&rig);
    for (uint32_t worker = 0; worker < TWO; worker++) {
        expect_context(readers[worker], PLAIN, 0, 0);
        expect_publish(readers[worker], "s/x", "text");
        expect_publish(readers[worker], "s/a", "s/a");
        expect_publish(readers[worker], "s/a", "s/a");
        expect_publish(readers[worker], "s/b", "s/b");
        expect_nothing(readers[worker]);
    }
    expect_stored(peer, 1, 1, "S", 1);
    expect_stored(peer, 2, 1, "S", 4);
    rig_fini(&rig);
}

/* ---- refusals ------------------------------------------------------------ */

Test(durable, only_behind_the_expected_sequence)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer(&rig, 1);
    struct say_field message = {
        .id = 1, .tag = EXPECTED_LAST, .value = 0, .topic = "s/a"};
    feed_field(peer, &message);
    expect_stored(peer, 1, 1, "S", 1);
    message.id = 2;
    feed_field(peer, &message);
    expect_wrong_last(peer, 2, PUBLISH, 1);
    message.id = 3;
    message.value = 1;
    feed_field(peer, &message);
    expect_stored(peer, 3, 1, "S", 2);
    message.id = 0; /* named by its topic */
    feed_field(peer, &message);
    expect_wrong_last(peer, 0, PUBLISH, 2);
    expect_nothing(peer);
    cr_assert_eq(rig_messages(&rig, "S"), 2);
    rig_fini(&rig);
}

Test(durable, a_full_stream_refuses)
{
    struct rig rig;
    rig_init(&rig, TWO);
    have_stream(&rig, "S", "s/#", ",\"max_messages\":2,\"discard\":\"new\"");
    struct fake_peer *peer = stream_peer(&rig, 1);
    struct fake_peer *reader = stream_peer(&rig, 1);
    feed_subscribe(reader, "s/+");
    struct say say = {0};
    say_publish(&say, 1, "s/a", "text");
    say_publish(&say, 2, "s/a", "text");
    expect_fed(peer, &say);
    expect_stored(peer, 2, 2, "S", 2);
    say_publish(&say, 3, "s/a", "text");
    say_publish(&say, 4, "s/a", "text");
    say_publish(&say, 0, "s/a", "text");
    say_publish(&say, 0, "s/a", "text");
    expect_fed(peer, &say);
    expect_error(peer, BROKER_E_STREAM_FULL, 3, PUBLISH);
    expect_error(peer, BROKER_E_STREAM_FULL, 4, PUBLISH);
    expect_error(peer, BROKER_E_STREAM_FULL, 0, PUBLISH);
    expect_error(peer, BROKER_E_STREAM_FULL, 0, PUBLISH);
    expect_nothing(peer);
    expect_context(reader, PLAIN, 0, 0);
    expect_publish(reader, "s/a", "text");
    expect_publish(reader, "s/a", "text");
    expect_nothing(reader);
    rig_fini(&rig);
}

Test(durable, a_full_disk_passes_and_a_failed_store_stays)
{
    static const char *const topics[] = {"s/a", "s/b"};
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer(&rig, 1);
    store_memory_fail(rig.store, STORE_NO_SPACE, 1);
    feed_publish(peer, 1, "s/a");
    expect_error(peer, BROKER_E_DISK_FULL, 1, PUBLISH);
    feed_publish(peer, 2, "s/a");
    expect_stored(peer, 2, 1, "S", 1);
    store_memory_fail(rig.store, STORE_FAILED, 1);
    feed_topics(peer, 3, 0, topics, 2);
    expect_error(peer, BROKER_E_STORAGE, 3, BATCH);
    feed_topics(peer, 0, 0, topics, 2);
    expect_error(peer, BROKER_E_STORAGE, 0, BATCH);
    feed_publish(peer, 4, "s/a");
    expect_error(peer, BROKER_E_STORAGE, 4, PUBLISH);
    feed_publish(peer, 5, "plain");
    expect_puback(peer, 5, 1, 0, 0);
    expect_nothing(peer);
    cr_assert_eq(rig_messages(&rig, "S"), 1);
    rig_fini(&rig);
}

Test(durable, what_needs_a_stream_is_refused_without_one)
{
    static const char *const topics[] = {"plain"};
    struct rig rig;
    rig_init_stream(&rig, 1);
    struct fake_peer *peer = stream_peer(&rig, 0);
    struct say_field message = {
        .id = 1, .tag = EXPECTED_LAST, .topic = "plain"};
    feed_field(peer, &message);
    expect_error(peer, BROKER_E_NOT_CAPTURED, 1, PUBLISH);
    message.id = 2;
    message.tag = BROKER_TAG_CRITICAL | BROKER_TAG_DELIVER_AT;
    message.value = 1;
    feed_field(peer, &message);
    expect_error(peer, BROKER_E_NOT_CAPTURED, 2, PUBLISH);
    feed_topics(peer, 3, 0, topics, 1);
    expect_error(peer, BROKER_E_NOT_CAPTURED, 3, BATCH);
    expect_nothing(peer);
    rig_fini(&rig);
}

Test(durable, without_a_store_that_is_said)
{
    static const char *const topics[] = {"plain"};
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    struct say_field message = {
        .id = 1, .tag = EXPECTED_LAST, .topic = "plain"};
    feed_field(peer, &message);
    expect_error(peer, BROKER_E_NO_STORE, 1, PUBLISH);
    feed_topics(peer, 2, 0, topics, 1);
    expect_error(peer, BROKER_E_NO_STORE, 2, BATCH);
    expect_nothing(peer);
    fake_net_fini(&net);
}

Test(durable, rights_are_asked_first)
{
    static const char *const topics[] = {"s/open", "s/secret"};
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer =
        stream_peer_with(&rig, 1, rights_without(RIGHTS_PUBLISH, "s/secret"));
    feed_publish(peer, 1, "s/secret");
    expect_error(peer, BROKER_E_PUBLISH_DENIED, 1, PUBLISH);
    feed_field(peer,
        &(struct say_field){.id = 2, .tag = EXPECTED_LAST, .topic = topics[1]});
    expect_error(peer, BROKER_E_PUBLISH_DENIED, 2, PUBLISH);
    feed_topics(peer, 3, 0, topics, 2);
    expect_error(peer, BROKER_E_PUBLISH_DENIED, 3, BATCH);
    feed_topics(peer, 4, 0, topics, 1);
    expect_stored(peer, 4, 1, "S", 1);
    expect_nothing(peer);
    cr_assert_eq(rig.net.cores[1]->totals.denied_publishes, 3);
    rig_fini(&rig);
}

/* ---- retained ------------------------------------------------------------ */

static void
feed_retained(struct fake_peer *peer, uint32_t id, const char *payload)
{
    feed_field(peer, &(struct say_field){.id = id,
                         .flags = BROKER_PUBLISH_RETAIN,
                         .topic = "s/r",
                         .payload = payload});
}

static void
expect_value(struct rig *rig, const char *payload)
{
    struct say say = {0};
    struct fake_peer *peer = stream_peer(rig, 1);
    say_subscribe(&say, PLAIN, "s/r");
    expect_fed(peer, &say);
    fake_mail_settle(&rig->net);
    expect_suback(peer, PLAIN, payload == NULL ? 0 : 1);
    if (payload != NULL) {
        expect_context(peer, PLAIN, 0, 0);
        expect_publish(peer, "s/r", payload);
    }
    expect_nothing(peer);
    fake_drop(peer);
}

/* At home and at another worker. */
static void
retain_everywhere(uint32_t worker)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *reader = stream_peer(&rig, 0);
    feed_subscribe(reader, "s/+");
    struct fake_peer *peer = stream_peer(&rig, worker);
    feed_retained(peer, 1, "value");
    expect_stored(peer, 1, 1, "S", 1);
    expect_context(reader, PLAIN, 0, 0);
    expect_publish(reader, "s/r", "value");
    expect_value(&rig, "value");
    store_memory_fail(rig.store, STORE_NO_SPACE, 1);
    feed_retained(peer, 2, "other"); /* refused: it stays as it is */
    expect_error(peer, BROKER_E_DISK_FULL, 2, PUBLISH);
    expect_value(&rig, "value");
    feed_retained(peer, 3, "");
    expect_stored(peer, 3, 1, "S", 2);
    expect_value(&rig, NULL);
    rig_fini(&rig);
}

Test(durable, a_value_is_retained_at_home)
{
    retain_everywhere(0);
}

Test(durable, a_value_is_retained_from_elsewhere)
{
    retain_everywhere(1);
}

/* It is stored already: no value rather than the old one. */
static void
retain_too_much(uint32_t worker)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer(&rig, worker);
    feed_retained(peer, 1, "value");
    expect_stored(peer, 1, 1, "S", 1);
    rig.net.core->retained.max_bytes = 1;
    feed_retained(peer, 2, "a value for which there is no room");
    expect_stored(peer, 2, 1, "S", 2);
    expect_nothing(peer);
    expect_value(&rig, NULL);
    rig_fini(&rig);
}

Test(durable, no_room_to_retain_at_home)
{
    retain_too_much(0);
}

Test(durable, no_room_to_retain_from_elsewhere)
{
    retain_too_much(1);
}

/* ---- a store that is busy ------------------------------------------------ */

Test(durable, a_busy_store_holds_publishers_up)
{
    static const char *const topics[] = {"s/a", "s/b"};
    struct rig rig;
    struct say say = {0};
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *peer = stream_peer(&rig, 1);
    struct fake_peer *other = stream_peer(&rig, 1);
    memory_of(rig.store)->options.in_flight_bytes = 1;
    say_publish(&say, 1, "s/a", "text");
    say_publish(&say, 2, "s/b", "text");
    say_publish(&say, 3, "plain", "text");
    expect_fed(peer, &say);
    feed_topics(other, 1, 0, topics, 2);
    cr_assert(peer->session->hold.reasons & HOLD_STORE);
    cr_assert(other->session->hold.reasons & HOLD_STORE);
    cr_assert_eq(rig.net.cores[1]->totals.held_for_store, 2);
    (void)fake_advance(&rig.net, 500);
    expect_nothing(peer);
    (void)fake_advance(&rig.net, 600);
    (void)expect_frame(peer, BROKER_FRAME_NOTICE); /* before any answer */
    struct broker_frame frame = expect_frame(other, BROKER_FRAME_NOTICE);
    struct broker_notice notice;
    cr_assert_eq(broker_notice_decode(&frame, &notice), BROKER_OK);
    cr_assert_eq(notice.code, BROKER_E_STORE_BUSY);
    (void)fake_advance(&rig.net, 5000); /* and is not said again */
    for (int i = 0; i < 3; i++) {
        rig_commit(&rig);
        (void)fake_advance(&rig.net, 1);
    }
    expect_stored(peer, 1, 1, "S", 1);
    cr_assert_eq(peer->session->hold.reasons, 0);
    cr_assert_eq(other->session->hold.reasons, 0);
    cr_assert_eq(rig_messages(&rig, "S"), 4);
    rig_fini(&rig);
}

Test(durable, who_waits_for_the_store_may_leave)
{
    struct rig rig;
    struct say say = {0};
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *peer = stream_peer(&rig, 1);
    memory_of(rig.store)->options.in_flight_bytes = 1;
    say_publish(&say, 1, "s/a", "text");
    say_publish(&say, 2, "s/b", "text");
    expect_fed(peer, &say);
    fake_drop(peer);
    rig_commit(&rig);
    cr_assert_eq(rig_messages(&rig, "S"), 1);
    cr_assert(TAILQ_EMPTY(&rig.net.cores[1]->storing));
    rig_fini(&rig);
}

/* ---- leaving ------------------------------------------------------------- */

Test(durable, what_a_publisher_left_behind_is_routed)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *reader = stream_peer(&rig, 0);
    feed_subscribe(reader, "s/+");
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_publish(peer, 1, "s/a");
    feed_retained(peer, 2, "value");
    fake_drop(peer);
    fake_mail_settle(&rig.net);
    expect_nothing(reader);
    rig_commit(&rig);
    expect_context(reader, PLAIN, 0, 0);
    expect_publish(reader, "s/a", "text");
    expect_publish(reader, "s/r", "value");
    rig_fini(&rig);
}

Test(durable, a_half_closed_publisher_hears_its_answers)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_publish(peer, 1, "s/a");
    fake_end_input(peer);
    expect_nothing(peer);
    rig_commit(&rig);
    expect_stored(peer, 1, 1, "S", 1);
    rig_fini(&rig);
}

Test(durable, a_session_is_taken_over_with_publishes_under_way)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *old = stream_peer_as(&rig, 1, 42);
    feed_publish(old, 1, "s/a");
    struct fake_peer *peer = stream_peer_begin(&rig, 0, 42);
    feed_field(
        peer, &(struct say_field){
                  .id = 1, .flags = BROKER_PUBLISH_RETRY, .topic = "s/a"});
    expect_goaway(old, BROKER_E_SESSION_TAKEN);
    expect_nothing(peer);
    rig_commit(&rig);
    (void)expect_frame(peer, BROKER_FRAME_WELCOME);
    expect_stored_before(peer, 1);
    cr_assert_eq(rig_messages(&rig, "S"), 1);
    rig_fini(&rig);
}

Test(durable, the_broker_ends_with_publishes_under_way)
{
    enum { IS_THERE, HAS_GONE, IS_TAKEN_OVER, ENDS };
    for (int publisher = IS_THERE; publisher < ENDS; publisher++) {
        struct rig rig;
        rig_init_stream(&rig, TWO);
        rig_set_manual(&rig);
        struct fake_peer *peer = stream_peer_as(&rig, 1, 42);
        feed_publish(peer, 1, "s/a");
        feed_retained(peer, 2, "value");
        if (publisher == HAS_GONE) {
            fake_drop(peer);
        } else if (publisher == IS_TAKEN_OVER) {
            (void)stream_peer_begin(&rig, 0, 42);
        }
        rig_stop(&rig, true);
        cr_assert(rig_start(&rig));
        cr_assert_eq(rig_messages(&rig, "S"), 0);
        rig_fini(&rig);
    }
}

/* The stream goes while something is on the way to it. */
Test(durable, a_stream_is_removed_with_publishes_under_way)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *asker = rig_open(&rig.net, 0);
    rig_set_manual(&rig);
    struct fake_peer *peer = stream_peer(&rig, 1);
    rig_send(asker, "$sys/stream/remove", "{\"name\":\"S\"}");
    feed_publish(peer, 1, "s/a");
    for (int i = 0; i < 5; i++) {
        (void)store_memory_commit(rig.store);
        fake_mail_settle(&rig.net);
    }
    feed_publish(peer, 2, "s/a");
    fake_take_all(peer);
    uint32_t refused;
    uint32_t acknowledged = rig_acknowledged(peer, &refused);
    cr_assert_eq(acknowledged + refused, 2);
    rig_fini(&rig);
}
