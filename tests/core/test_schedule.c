/* SPDX-License-Identifier: MIT
 *
 * Messages with DELIVER_AT. PROTOCOL.md section 5.13. */
#include "stream_rig.h"

#include "memory.h"
#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

#define TWO 2

static void
say_later(struct fake_peer *peer, const char *payload, uint64_t in_ms)
{
    rig_say(
        peer, &(struct say_message){.topic = "orders/1",
                  .payload = payload,
                  .payload_bytes = strlen(payload),
                  .deliver_at_ms = FAKE_WALL_MS + peer->net->now_ms + in_ms});
}

static void
publish_later(struct fake_peer *peer, const char *payload, uint64_t in_ms)
{
    uint32_t refused;
    say_later(peer, payload, in_ms);
    cr_assert_eq(rig_acknowledged(peer, &refused), 1);
    cr_assert_eq(refused, 0);
}

static struct fake_peer *
subscribe(struct rig *rig)
{
    struct say say = {0};
    struct fake_peer *peer = rig_open(&rig->net, 1);
    say_subscribe(&say, 2, "orders/#");
    expect_fed(peer, &say);
    fake_mail_settle(&rig->net);
    expect_suback(peer, 2, 0);
    return peer;
}

static void
add_orders(struct rig *rig)
{
    (void)rig_ask(rig_open(&rig->net, 0), "$sys/stream/add",
        "{\"name\":\"ORDERS\",\"topics\":[\"orders/#\"]}");
}

static void
advance(struct rig *rig, uint64_t ms)
{
    (void)fake_advance(&rig->net, ms);
    fake_mail_settle(&rig->net);
}

/* As fake_advance() does when the broker says itself when it is due. */
static void
advance_as_due(struct rig *rig, uint64_t ms)
{
    uint64_t end_ms = rig->net.now_ms + ms;
    while (rig->net.now_ms < end_ms) {
        uint64_t due_ms = core_due(rig->net.core);
        due_ms = due_ms < end_ms ? due_ms : end_ms;
        advance(rig, due_ms > rig->net.now_ms ? due_ms - rig->net.now_ms : 1);
    }
}

Test(schedule, it_comes_at_its_time)
{
    struct rig rig;
    rig_init(&rig, TWO);
    add_orders(&rig);
    struct fake_peer *reader = subscribe(&rig);
    struct fake_peer *here = rig_open(&rig.net, 0);
    struct fake_peer *there = rig_open(&rig.net, 1);
    publish_later(there, "second", 2000);
    publish_later(here, "first", 1000);
    expect_nothing(reader);
    cr_assert_eq(rig_messages(&rig, "ORDERS"), 0);
    advance(&rig, 999);
    expect_nothing(reader);
    advance_as_due(&rig, 1);
    expect_context(reader, 2, 0, 0);
    expect_publish(reader, "orders/1", "first");
    advance_as_due(&rig, 1000);
    expect_publish(reader, "orders/1", "second");
    cr_assert_eq(rig_messages(&rig, "ORDERS"), 2);
    advance_as_due(&rig, 60000);
    expect_nothing(reader);
    rig_fini(&rig);
}

Test(schedule, it_outlives_the_broker_and_enters_once)
{
    struct rig rig;
    rig_init(&rig, TWO);
    add_orders(&rig);
    publish_later(rig_open(&rig.net, 1), "x", 5000);
    publish_later(rig_open(&rig.net, 1), "y", 9000);
    rig_restart(&rig, true);
    cr_assert_eq(rig_messages(&rig, "ORDERS"), 0);
    struct fake_peer *reader = subscribe(&rig);
    advance_as_due(&rig, 8000);
    expect_context(reader, 2, 0, 0);
    expect_publish(reader, "orders/1", "x");
    expect_nothing(reader);
    rig_restart(&rig, true);
    advance_as_due(&rig, 20000);
    cr_assert_eq(rig_messages(&rig, "ORDERS"), 2);
    rig_restart(&rig, true);
    advance_as_due(&rig, 20000);
    cr_assert_eq(rig_messages(&rig, "ORDERS"), 2);
    rig_fini(&rig);
}

Test(schedule, a_crash_at_its_time_neither_loses_nor_repeats_it)
{
    for (uint32_t commits = 0; commits < 4; commits++) {
        struct rig rig;
        rig_init(&rig, TWO);
        add_orders(&rig);
        publish_later(rig_open(&rig.net, 1), "x", 5000);
        rig_set_manual(&rig);
        advance(&rig, 5000);
        for (uint32_t i = 0; i < commits; i++) {
            (void)store_memory_commit(rig.store);
            fake_mail_settle(&rig.net);
        }
        rig_restart(&rig, true);
        advance_as_due(&rig, 20000);
        cr_assert_eq(rig_messages(&rig, "ORDERS"), 1);
        rig_fini(&rig);
    }
}

Test(schedule, without_a_stream_by_then_it_is_only_routed)
{
    struct rig rig;
    rig_init(&rig, TWO);
    add_orders(&rig);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    publish_later(peer, "x", 5000);
    (void)rig_ask(peer, "$sys/stream/remove", "{\"name\":\"ORDERS\"}");
    struct fake_peer *reader = subscribe(&rig);
    advance_as_due(&rig, 5000);
    expect_context(reader, 2, 0, 0);
    expect_publish(reader, "orders/1", "x");
    rig_restart(&rig, true);
    reader = subscribe(&rig);
    advance_as_due(&rig, 10000);
    expect_nothing(reader);
    rig_fini(&rig);
}

Test(schedule, what_is_late_comes_at_once)
{
    struct rig rig;
    rig_init(&rig, TWO);
    add_orders(&rig);
    publish_later(rig_open(&rig.net, 1), "x", 0);
    cr_assert_eq(rig_messages(&rig, "ORDERS"), 1);
    rig_fini(&rig);
}

Test(schedule, a_topic_that_is_not_captured_is_refused)
{
    struct rig rig;
    uint32_t refused;
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    say_later(peer, "x", 1000);
    cr_assert_eq(rig_acknowledged(peer, &refused), 0);
    cr_assert_eq(refused, 1);
    rig_fini(&rig);
}

Test(schedule, a_full_disk_is_told)
{
    struct rig rig;
    uint32_t refused;
    rig_init(&rig, TWO);
    add_orders(&rig);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    store_memory_fail(rig.store, STORE_NO_SPACE, 1);
    say_later(peer, "x", 1000);
    cr_assert_eq(rig_acknowledged(peer, &refused), 0);
    cr_assert_eq(refused, 1);
    rig_fini(&rig);
}

/* And the others are not kept from theirs. */
Test(schedule, a_full_stream_is_tried_again)
{
    struct rig rig;
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    (void)rig_ask(peer, "$sys/stream/add",
        "{\"name\":\"ORDERS\",\"topics\":[\"orders/#\"],"
        "\"max_messages\":1,\"discard\":\"new\"}");
    publish_later(peer, "x", 1000);
    publish_later(peer, "y", 2000);
    advance_as_due(&rig, 10000);
    cr_assert_eq(rig_messages(&rig, "ORDERS"), 1);
    (void)rig_ask(peer, "$sys/stream/purge", "{\"name\":\"ORDERS\"}");
    cr_assert_eq(rig_messages(&rig, "ORDERS"), 0);
    struct fake_peer *reader = subscribe(&rig);
    advance_as_due(&rig, 2000);
    cr_assert_eq(rig_messages(&rig, "ORDERS"), 1);
    expect_context(reader, 2, 0, 0);
    expect_publish(reader, "orders/1", "y");
    rig_fini(&rig);
}

/* More than home knows of at a time. */
Test(schedule, many_come_all_of_them)
{
    enum { COUNT = 9000 };
    struct rig rig;
    rig_init(&rig, TWO);
    add_orders(&rig);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    struct say say = {0};
    uint32_t refused;
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)say_message(&say,
            &(struct say_message){.id = 1000 + i,
                .topic = "orders/1",
                .deliver_at_ms = FAKE_WALL_MS + rig.net.now_ms + 100000 - i});
    }
    expect_fed(peer, &say);
    fake_mail_settle(&rig.net);
    cr_assert_eq(rig_acknowledged(peer, &refused), COUNT);
    rig_restart(&rig, true);
    for (int i = 0; i < 400 && rig_messages(&rig, "ORDERS") < COUNT; i++) {
        advance(&rig, 1000);
    }
    cr_assert_eq(rig_messages(&rig, "ORDERS"), COUNT);
    rig_fini(&rig);
}
