/* SPDX-License-Identifier: MIT
 *
 * Publishes to streams beside what else goes on: messages reach subscribers in
 * the order in which they were published, whichever way they go, and what was
 * not stored is never said to be. Over a store in memory. PROTOCOL.md sections
 * 5.1, 5.3 and 5.13. */
#include "stream_say.h"

#include "memory.h"
#include "memory_internal.h"
#include "session.h"

#include <criterion/criterion.h>

#define TWO        2
#define SESSION    5u
#define DELIVER_AT (BROKER_TAG_CRITICAL | BROKER_TAG_DELIVER_AT)

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
    expect_duplicate(peer, 1); /* answered, nobody knows how */
    expect_nothing(peer);
    cr_assert_eq(rig_messages(&rig, "S"), 1);
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
