/* SPDX-License-Identifier: MIT
 *
 * Publishing to a stream and reading it, while the N-th allocation of the
 * broker fails, for every N: once, and with all after it. Connections may be
 * shed; but whoever stays misses nothing that was stored, or hears of it, and
 * nothing leaks. */
#include "allocator.h"
#include "stream_say.h"

#include "session.h"

#include <criterion/criterion.h>

#define TWO 2

/* They were there before memory was out. */
struct listeners {
    struct fake_peer *plain[TWO], *readers[TWO];
};

static void
feed(struct fake_peer *peer, struct say *say)
{
    fake_feed_say(peer, say, SIZE_MAX);
    say_fini(say);
    fake_mail_settle(peer->net);
}

static void
publish_all(struct rig *rig, struct fake_peer *peer)
{
    static const char *const topics[] = {"s/0", "s/1", "s/1"};
    const struct say_field fields[] = {
        {.id = 5,
            .flags = BROKER_PUBLISH_RETAIN,
            .topic = "s/r",
            .payload = "value"},
        {.id = 6,
            .tag = BROKER_TAG_CRITICAL | BROKER_TAG_DELIVER_AT,
            .value = FAKE_WALL_MS + rig->net.now_ms + 100,
            .topic = "s/0"},
        {.tag = BROKER_TAG_CRITICAL | BROKER_TAG_DELIVER_AT,
            .value = FAKE_WALL_MS + rig->net.now_ms + 100,
            .topic = "s/1"},
        {.id = 7,
            .tag = BROKER_TAG_CRITICAL | BROKER_TAG_EXPECTED_LAST_SEQUENCE,
            .value = 99,
            .topic = "s/0"},
    };
    struct say say = {0};
    for (uint32_t id = 1; id <= 3; id++) {
        say_publish(&say, id, "s/0", "text");
    }
    say_topics(&say, 4, 0, topics, 3);
    say_publish(&say, 0, "s/0", "without a number");
    feed(peer, &say);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        say_with_field(&say, &fields[i]);
        feed(peer, &say);
    }
}

static void
consume(struct fake_peer *peer, enum broker_start start, const char *filter)
{
    struct say say = {0};
    struct broker_consume consume = {.id = READER,
        .start = start,
        .options = start == BROKER_START_FIRST ? BROKER_CONSUME_END : 0,
        .stream = say_text("S"),
        .filter = say_text(filter)};
    say_consume(&say, &consume);
    feed(peer, &say);
    fake_take_all(peer);
    say_unsubscribe(&say, READER, 0);
    feed(peer, &say);
}

/* What has come, and what is said to be missing. */
static uint64_t
count(struct fake_peer *peer, uint64_t *missing)
{
    struct broker_frame frame;
    struct broker_gap gap;
    uint64_t messages = 0;
    *missing = 0;
    fake_take_all(peer);
    while (fake_next(peer, &frame)) {
        messages += frame.type == BROKER_FRAME_PUBLISH ? 1 : 0;
        if (frame.type == BROKER_FRAME_GAP) {
            cr_assert_eq(broker_gap_decode(&frame, &gap), BROKER_OK);
            *missing += gap.count;
        }
    }
    return messages;
}

static void
check(struct rig *rig, const struct listeners *listeners)
{
    uint64_t stored = rig_messages(rig, "S");
    uint64_t missing;
    for (uint32_t i = 0; i < 2 * TWO; i++) {
        struct fake_peer *peer =
            i < TWO ? listeners->plain[i] : listeners->readers[i - TWO];
        uint64_t got = count(peer, &missing);
        cr_assert(peer->session == NULL || got + missing == stored,
            "%u: %u and %u of %u came", i, (unsigned)got, (unsigned)missing,
            (unsigned)stored);
    }
    struct fake_peer *late = stream_peer(rig, 1);
    feed_consume(late, &(struct broker_consume){.start = BROKER_START_FIRST});
    cr_assert_eq(count(late, &missing), stored);
}

static void
listen(struct rig *rig, struct listeners *listeners)
{
    for (uint32_t worker = 0; worker < TWO; worker++) {
        listeners->plain[worker] = stream_peer(rig, worker);
        feed_subscribe(listeners->plain[worker], "s/+");
        listeners->readers[worker] = stream_peer(rig, worker);
        feed_consume(listeners->readers[worker],
            &(struct broker_consume){.start = BROKER_START_FIRST});
        fake_take_all(listeners->readers[worker]);
    }
}

/* False: nothing failed any more. */
static bool
fail_at(uint64_t countdown, bool and_all_after)
{
    struct rig rig;
    struct listeners listeners;
    int64_t live = allocator.live;
    rig_init_stream(&rig, TWO);
    listen(&rig, &listeners);
    struct fake_peer *publisher = stream_peer(&rig, countdown % TWO);
    struct fake_peer *peer = stream_peer(&rig, 1);
    rig.net.guard = allocator_guard;
    allocator = (struct allocator){.countdown = countdown,
        .and_all_after = and_all_after,
        .live = allocator.live};
    publish_all(&rig, publisher);
    consume(peer, BROKER_START_FIRST, NULL);
    consume(peer, BROKER_START_TIME, "s/1");
    (void)fake_advance(&rig.net, 200);
    bool failed = allocator.failed;
    allocator.countdown = 0;
    for (int i = 0; i < 20; i++) {
        (void)fake_advance(&rig.net, 200);
    }
    rig.net.guard = NULL;
    check(&rig, &listeners);
    rig_fini(&rig);
    cr_assert_eq(allocator.live, live, "leaked, %lu: %ld",
        (unsigned long)countdown, (long)(allocator.live - live));
    return failed;
}

Test(no_memory_readers, once, .timeout = 120)
{
    uint64_t countdown = 1;
    while (fail_at(countdown, false)) {
        countdown++;
    }
    cr_assert_gt(countdown, 100);
}

Test(no_memory_readers, with_all_after, .timeout = 120)
{
    uint64_t countdown = 1;
    while (fail_at(countdown, true)) {
        countdown++;
    }
    cr_assert_gt(countdown, 100);
}
