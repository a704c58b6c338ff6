/* SPDX-License-Identifier: MIT
 *
 * Messages with DELIVER_AT: values to be retained, a store that is busy or
 * full, publishers that leave, and what stands in the store and makes no sense.
 * PROTOCOL.md section 5.13. */
#include "stream_say.h"

#include "memory.h"
#include "memory_internal.h"
#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

#define TWO        2
#define DELIVER_AT (BROKER_TAG_CRITICAL | BROKER_TAG_DELIVER_AT)
#define LATER_MS   1000u

static void
feed_later(struct fake_peer *peer, uint32_t id, uint16_t flags)
{
    feed_field(peer, &(struct say_field){.id = id,
                         .flags = flags,
                         .tag = DELIVER_AT,
                         .value = FAKE_WALL_MS + peer->net->now_ms + LATER_MS,
                         .topic = "s/r",
                         .payload = "value"});
}

static void
advance(struct rig *rig, uint64_t ms)
{
    (void)fake_advance(&rig->net, ms);
    fake_mail_settle(&rig->net);
}

Test(schedule_edges, a_value_is_retained_at_its_time)
{
    for (uint32_t worker = 0; worker < TWO; worker++) {
        struct rig rig;
        struct say say = {0};
        rig_init_stream(&rig, TWO);
        struct fake_peer *peer = stream_peer(&rig, worker);
        feed_later(peer, 1, BROKER_PUBLISH_RETAIN);
        expect_stored(peer, 1, 1, "S", 0);
        cr_assert_eq(rig.net.core->retained.topics, 0);
        advance(&rig, LATER_MS);
        cr_assert_eq(rig.net.core->retained.topics, 1);
        cr_assert_eq(rig_messages(&rig, "S"), 1);
        say_subscribe(&say, PLAIN, "s/r");
        expect_fed(peer, &say);
        fake_mail_settle(&rig.net);
        expect_suback(peer, PLAIN, 1);
        rig_fini(&rig);
    }
}

Test(schedule_edges, a_full_disk_is_told_by_the_topic)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer(&rig, 1);
    store_memory_fail(rig.store, STORE_NO_SPACE, 1);
    feed_later(peer, 0, 0);
    expect_error(peer, BROKER_E_DISK_FULL, 0, BROKER_FRAME_PUBLISH);
    feed_later(peer, 0, 0);
    expect_nothing(peer);
    advance(&rig, LATER_MS);
    cr_assert_eq(rig_messages(&rig, "S"), 1);
    rig_fini(&rig);
}

Test(schedule_edges, a_busy_store_holds_the_publisher_up)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    struct fake_peer *peer = stream_peer(&rig, 1);
    rig_set_manual(&rig);
    memory_of(rig.store)->options.in_flight_bytes = 1;
    feed_publish(peer, 1, "s/0");
    feed_later(peer, 2, 0);
    feed_later(peer, 3, 0);
    cr_assert(peer->session->hold.reasons & HOLD_STORE);
    for (int i = 0; i < 10; i++) {
        (void)store_memory_commit(rig.store);
        advance(&rig, 1);
    }
    expect_stored(peer, 1, 1, "S", 1);
    expect_stored(peer, 2, 1, "S", 0);
    expect_stored(peer, 3, 1, "S", 0);
    rig_fini(&rig);
}

Test(schedule_edges, its_publisher_may_leave)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_later(peer, 1, 0);
    fake_drop(peer);
    rig_commit(&rig);
    memory_of(rig.store)->options.auto_commit = true;
    advance(&rig, LATER_MS);
    cr_assert_eq(rig_messages(&rig, "S"), 1);
    rig_fini(&rig);
}

Test(schedule_edges, the_broker_ends_before_it_is_durable)
{
    struct rig rig;
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_later(peer, 1, 0);
    feed_later(stream_peer(&rig, 0), 1, 0);
    rig_restart(&rig, true);
    advance(&rig, 2 * LATER_MS);
    cr_assert_eq(rig_messages(&rig, "S"), 0);
    rig_fini(&rig);
}

/* It stays where it is, and nothing waits for it. */
Test(schedule_edges, what_makes_no_sense_is_left_alone)
{
    static const char junk[] = "junk that is no frame";
    static const uint8_t no_frame[] = {0, 1, 0, 0, 9, 9, 9, 9};
    static const uint8_t ping[] = {
        0, 1, 0, 0, 0, 0, 0, 8, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    static const struct {
        const char *key;
        const void *data;
        size_t bytes;
    } values[] = {
        {"\0\0\0\0\0\0\0", NULL, 0}, /* 8 bytes: no key of a message */
        {"\0\0\0\0\0\0\0\1p1", junk, sizeof junk},
        {"\0\0\0\0\0\0\0\1p2", junk, 3},
        {"\0\0\0\0\0\0\0\1p3", no_frame, sizeof no_frame},
        {"\0\0\0\0\0\0\0\1p4", ping, sizeof ping},
        {"\0\0\0\0\0\0\0\1p5", ping, sizeof ping - 1},
    };
    struct rig rig;
    rig_init_stream(&rig, TWO);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct store_value value = {.space = STORE_SPACE_SCHEDULE,
            .key = values[i].key,
            .key_bytes = i == 0 ? 8 : 10,
            .data = i == 0 ? junk : values[i].data,
            .bytes = i == 0 ? 1 : values[i].bytes};
        cr_assert_eq(rig_put(&rig, &value), STORE_OK);
    }
    rig_restart(&rig, false);
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_later(peer, 1, 0);
    expect_stored(peer, 1, 1, "S", 0);
    for (int i = 0; i < 20; i++) {
        advance(&rig, 100);
    }
    cr_assert_eq(rig_messages(&rig, "S"), 1);
    cr_assert_eq(memory_of(rig.store)->values[STORE_SPACE_SCHEDULE].count, 6);
    rig_fini(&rig);
}
