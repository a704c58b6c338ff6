/* SPDX-License-Identifier: MIT
 *
 * Every allocation of durable consumers fails once, or all fail from then on:
 * nothing leaks, nothing is left out, and once there is memory again everything
 * is delivered. */
#include "allocator.h"
#include "consumer_rig.h"

#include "consumers.h"
#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

static struct worker_peer a, b;

/* A life: some of it may not happen. */
static void
live(struct rig *rig, struct fake_peer *asker, struct fake_peer *peer)
{
    uint8_t ranges[BROKER_RANGE_BYTES * 3];
    uint8_t frame[128];
    size_t n;
    struct say say = {0};
    work_consume(&a, peer, "C", 0);
    for (uint32_t i = 0; i < 12; i++) {
        say_publish(&say, 0, "s/t", "message");
    }
    expect_fed(asker, &say);
    fake_mail_settle(&rig->net);
    fake_take_all(peer);
    broker_ranges_set(ranges, 0, 1, 2);
    broker_ranges_set(ranges, 1, 4, 5);
    broker_ranges_set(ranges, 2, 7, 7);
    struct broker_settle settle = {.type = BROKER_FRAME_ACK,
        .kind = BROKER_ACK_THESE,
        .id = CONSUMER_ID,
        .ranges = {ranges, 3}};
    cr_assert_eq(
        broker_settle_encode(&settle, frame, sizeof frame, &n), BROKER_OK);
    say_bytes(&say, frame, n);
    expect_fed(peer, &say);
    if (peer->session != NULL) {
        work_say(&a, BROKER_FRAME_NACK, BROKER_NACK_AGAIN, 0, 3, 3);
        work_say(&a, BROKER_FRAME_NACK, BROKER_NACK_BURY, 0, 6, 6);
    }
    fake_take_all(peer);
    rig_send(asker, "$sys/consumer/reset",
        "{\"name\":\"C\",\"from\":{\"ago_ms\":0}}");
    rig_send(asker, "$sys/consumer/add", "{\"name\":\"E\",\"stream\":\"S\"}");
    rig_send(asker, "$sys/consumer/remove", "{\"name\":\"E\"}");
    fake_drop(peer);
}

/* Whoever comes now gets all that is left. */
static void
drain(struct rig *rig)
{
    const struct cursor *cursor = consumers_find(rig->net.core, say_text("C"));
    struct cursor_view view;
    cr_assert_not_null(cursor);
    work_join(&b, rig, 1);
    do {
        for (size_t i = 0; i < b.count; i++) {
            work_ack(&b, b.got[i].sequence, b.got[i].sequence);
        }
        b.count = 0;
        (void)fake_advance(&rig->net, 2000);
    } while (work_take(&b) > 0);
    cursor_look(rig->net.core, cursor, &view);
    cr_assert_eq(view.info.floor, view.last_sequence + 1);
    cr_assert(consumer_info_balances(&view.info));
    fake_drop(b.peer);
}

/* False: nothing failed any more. */
static bool
fail_at(uint64_t countdown, bool and_all_after)
{
    struct rig rig;
    int64_t live_before = allocator.live;
    work_init(&rig, 2, ",\"dead_letter\":\"s/dead\",\"window\":10");
    struct fake_peer *asker = work_asker(&rig);
    struct fake_peer *peer =
        expect_open_at(&rig.net, countdown % 2, &say_hello_default);
    rig.net.guard = allocator_guard;
    allocator = (struct allocator){.countdown = countdown,
        .and_all_after = and_all_after,
        .live = allocator.live};
    live(&rig, asker, peer);
    bool failed = allocator.failed;
    allocator.countdown = 0;
    for (int i = 0; i < 20; i++) {
        (void)fake_advance(&rig.net, 200);
    }
    drain(&rig);
    rig_restart(&rig, false);
    drain(&rig);
    rig_fini(&rig);
    cr_assert_eq(allocator.live, live_before, "leaked, %lu: %ld",
        (unsigned long)countdown, (long)(allocator.live - live_before));
    return failed;
}

Test(no_memory_consumers, once, .timeout = 120)
{
    uint64_t countdown = 1;
    while (fail_at(countdown, false)) {
        countdown++;
    }
    cr_assert_gt(countdown, 60);
}

Test(no_memory_consumers, from_then_on, .timeout = 120)
{
    uint64_t countdown = 1;
    while (fail_at(countdown, true)) {
        countdown += 1;
    }
    cr_assert_gt(countdown, 60);
}
