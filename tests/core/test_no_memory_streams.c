/* SPDX-License-Identifier: MIT
 *
 * Streams, retained values and messages for later, while the N-th allocation of
 * the broker fails, for every N: once, and with so many after it. Connections
 * may be shed; nothing crashes, leaks or stays half done. */
#include "allocator.h"
#include "stream_say.h"

#include "memory.h"
#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

#define TWO 2

struct request {
    const char *topic, *payload;
};

static const struct request requests[] = {
    {"$sys/stream/add", "{\"name\":\"A\",\"topics\":[\"a/#\",\"b\"]}"},
    {"$sys/stream/edit", "{\"name\":\"A\",\"topics\":[\"a/#\",\"c/+/d\"]}"},
    {"$sys/stream/info", "{\"name\":\"A\"}"},
    {"$sys/stream/purge", "{\"name\":\"A\",\"keep\":1}"},
    {"$sys/stream/list", ""},
    {"$sys/stream/add", "{\"name\":\"B\",\"topics\":[\"e/f/g\"]}"},
    {"$sys/stream/remove", "{\"name\":\"A\"}"},
};

/* Say it, whether the connection is still there or not. */
static void
say_it(struct fake_peer *peer, struct say_message message)
{
    static uint32_t id = 100000;
    struct say say = {0};
    message.id = ++id;
    (void)say_message(&say, &message);
    fake_feed_say(peer, &say, SIZE_MAX);
    say_fini(&say);
    fake_mail_settle(peer->net);
    fake_take_all(peer);
    peer->decoded_bytes = peer->received_bytes;
}

static void
say_everything(struct rig *rig, struct fake_peer *peer)
{
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        say_it(peer, (struct say_message){.topic = requests[i].topic,
                         .reply_to = "inbox",
                         .payload = requests[i].payload,
                         .payload_bytes = strlen(requests[i].payload)});
        say_it(peer, (struct say_message){.topic = "a/b",
                         .flags = i % 2 == 0 ? BROKER_PUBLISH_RETAIN : 0,
                         .payload = "x",
                         .payload_bytes = 1});
        say_it(peer, (struct say_message){.topic = "a/later",
                         .payload = "x",
                         .payload_bytes = 1,
                         .deliver_at_ms = FAKE_WALL_MS + rig->net.now_ms + 10});
        (void)fake_advance(&rig->net, 20);
    }
}

/* What every worker captures is what home knows, and what the store has. */
static void
check(struct rig *rig)
{
    size_t streams = 0;
    size_t stored = 0;
    const struct stream *stream = NULL;
    uint32_t number = 0;
    cr_assert(core_is_ready(rig->net.core));
    while ((stream = streams_next(rig->net.core, stream)) != NULL) {
        streams++;
        for (uint32_t worker = 0; worker < TWO; worker++) {
            const struct capture *capture = core_find_capture(
                rig->net.cores[worker], stream->definition->name);
            cr_assert_not_null(capture);
            cr_assert_eq(capture->stream, stream->number);
            cr_assert_eq(
                capture->filter_count, stream->definition->filter_count);
        }
    }
    while ((number = store_next_stream(rig->net.ports[0].port, number)) != 0) {
        stored++;
    }
    cr_assert_eq(streams, stored, "%zu, %zu", streams, stored);
    for (uint32_t worker = 0; worker < TWO; worker++) {
        size_t count;
        (void)core_overlapping_captures(
            rig->net.cores[worker], say_text("#"), &count);
        cr_assert_eq(count, streams);
    }
}

/* False: nothing failed any more. */
static bool
fail_at(uint64_t countdown, bool and_all_after)
{
    struct rig rig;
    int64_t live = allocator.live;
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, countdown % 2);
    rig.net.guard = allocator_guard;
    allocator = (struct allocator){.countdown = countdown,
        .and_all_after = and_all_after,
        .live = allocator.live};
    say_everything(&rig, peer);
    bool failed = allocator.failed;
    allocator.countdown = 0;
    for (int i = 0; i < 20; i++) {
        (void)fake_advance(&rig.net, 200);
    }
    check(&rig);
    rig_restart(&rig, false);
    check(&rig);
    rig_fini(&rig);
    cr_assert_eq(allocator.live, live, "leaked, %lu: %ld",
        (unsigned long)countdown, (long)(allocator.live - live));
    return failed;
}

Test(no_memory_streams, once)
{
    uint64_t countdown = 1;
    while (fail_at(countdown, false)) {
        countdown++;
    }
    cr_assert_gt(countdown, 100);
}

Test(no_memory_streams, with_all_after)
{
    uint64_t countdown = 1;
    while (fail_at(countdown, true)) {
        countdown++;
    }
    cr_assert_gt(countdown, 100);
}

/* ---- an answer that leads to the next append ----------------------------- */

/* A CONSUME waits until the publish before it is answered; the publish behind
 * it is appended inside of that. */
static bool
fail_inside_answer(uint64_t countdown)
{
    struct rig rig;
    struct say say = {0};
    int64_t live = allocator.live;
    rig_init_stream(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *peer = stream_peer(&rig, 1);
    say_publish(&say, 1, "s/a", "x");
    say_consume(&say,
        &(struct broker_consume){
            .id = READER, .stream = say_text("S"), .start = BROKER_START_NEW});
    say_publish(&say, 2, "s/a", "x");
    expect_fed(peer, &say);
    cr_assert(store_memory_commit(rig.store));
    rig.net.guard = allocator_guard;
    allocator =
        (struct allocator){.countdown = countdown, .live = allocator.live};
    fake_mail_settle(&rig.net);
    (void)fake_advance(&rig.net, 100);
    bool failed = allocator.failed;
    allocator.countdown = 0;
    (void)store_memory_commit(rig.store);
    fake_mail_settle(&rig.net);
    cr_assert(TAILQ_EMPTY(&rig.net.cores[1]->durables));
    cr_assert_geq(rig_messages(&rig, "S"), 1);
    rig_fini(&rig);
    cr_assert_eq(allocator.live, live, "leaked, %lu: %ld",
        (unsigned long)countdown, (long)(allocator.live - live));
    return failed;
}

Test(no_memory_streams, an_answer_that_leads_to_the_next_append)
{
    uint64_t countdown = 1;
    while (fail_inside_answer(countdown)) {
        countdown++;
    }
    cr_assert_gt(countdown, 5);
}

/* ---- starting ------------------------------------------------------------ */

static const char *const values[] = {"first", "second", "third"};

static void
fill(struct rig *rig)
{
    struct fake_peer *peer = rig_open(&rig->net, 1);
    for (size_t i = 0; i < 2; i++) {
        (void)rig_ask(peer, "$sys/stream/add", requests[5 * i].payload);
    }
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        say_it(peer, (struct say_message){.topic = values[i],
                         .flags = BROKER_PUBLISH_RETAIN,
                         .payload = "x",
                         .payload_bytes = 1});
        say_it(peer,
            (struct say_message){.topic = "a/later",
                .deliver_at_ms = FAKE_WALL_MS + rig->net.now_ms + 5000 + i});
    }
}

/* Once there is a broker it loads everything, however long it takes; but for
 * retained values, for which there may be too little memory. */
static bool
fail_start_at(uint64_t countdown)
{
    struct rig rig;
    int64_t live = allocator.live;
    rig_init(&rig, TWO);
    fill(&rig);
    rig_stop(&rig, false);
    rig.guard = allocator_guard;
    allocator =
        (struct allocator){.countdown = countdown, .live = allocator.live};
    bool started = rig_start(&rig);
    if (started) {
        for (int i = 0; i < 40; i++) {
            (void)fake_advance(&rig.net, 200);
        }
    }
    bool failed = allocator.failed;
    allocator.countdown = 0;
    if (started) {
        check(&rig);
        cr_assert_eq(streams_count(rig.net.core), 2);
        cr_assert_eq(rig_messages(&rig, "A"), 3);
        cr_assert_geq(rig.net.core->retained.topics, failed ? 2 : 3);
        rig_fini(&rig);
    } else {
        store_close(rig.store);
    }
    cr_assert_eq(allocator.live, live, "leaked, %lu: %ld",
        (unsigned long)countdown, (long)(allocator.live - live));
    return failed;
}

Test(no_memory_streams, at_the_start)
{
    uint64_t countdown = 1;
    while (fail_start_at(countdown)) {
        countdown++;
    }
    cr_assert_gt(countdown, 50);
}
