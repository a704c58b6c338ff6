/* SPDX-License-Identifier: MIT
 *
 * As test_no_memory.c, of single situations: outcomes of many messages from one
 * worker to another, retained values, refusals, gaps. Whichever allocation
 * fails, every frame that asks for an answer gets one, in its order, or the
 * connection is given up. */
#include "allocator.h"
#include "expect.h"
#include "session.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDS   3000 /* in one frame: more than a queue keeps memory for */
#define HOME  0
#define OTHER 1

static struct fake_peer *
open_at(struct fake_net *net, uint32_t worker)
{
    return expect_open_at(net, worker, &say_hello_default);
}

static void
net_of(struct fake_net *net, uint32_t workers, uint64_t max_output_bytes)
{
    struct core_options options = fake_options();
    options.workers = workers;
    options.max_output_bytes = max_output_bytes;
    options.max_subscriptions = IDS;
    fake_net_init(net, &options, 1, allocator_guard);
    cr_assert_not_null(net->core);
}

/* A situation that is played until it has fewer than n allocations: the n-th
 * fails. Nothing may be left of it. */
typedef void situation(uint32_t workers);

static void
play_all(situation *play, uint32_t workers, uint64_t at_least)
{
    uint64_t n = 0;
    do {
        int64_t live = allocator.live;
        n++;
        allocator.failed = false;
        allocator.and_all_after = false;
        /* The situation sets the countdown when it begins. */
        allocator.countdown = n;
        play(workers);
        allocator.countdown = 0;
        cr_assert_eq(allocator.live, live, "allocation %llu: %lld are left",
            (unsigned long long)n, (long long)(allocator.live - live));
    } while (allocator.failed);
    cr_assert_gt(n, at_least, "only %llu allocations", (unsigned long long)n);
}

/* What comes before the situation is not to fail. */
static uint64_t
pause_failing(void)
{
    uint64_t n = allocator.countdown;
    allocator.countdown = 0;
    return n;
}

/* ---- outcomes ------------------------------------------------------------ */

#define MESSAGES 80 /* with more outcomes than there is room for letters */

/* The first fills the queue, but for a little: large ones do not fit into the
 * rest, and small ones do. Together they are one run. */
#define OUTPUT_BYTES (1u << 20)
#define FIRST_BYTES  (OUTPUT_BYTES - 5000)
#define LARGE_BYTES  6000

static bool
is_large(uint32_t id)
{
    return id % 3 == 0 || id % 5 == 0;
}

/* Takes everything: every number from 1 on was answered once, in order, and
 * those of large messages were refused. Without memory to note who was refused,
 * more may be said to be. */
static void
check_outcomes(struct fake_peer *writer)
{
    struct broker_frame frame;
    struct broker_puback puback;
    uint32_t next = 1;
    fake_take_all(writer);
    while (fake_next(writer, &frame)) {
        if (frame.type == BROKER_FRAME_ERROR) {
            cr_assert_eq(frame.id, next); /* MEMORY */
            next++;
        }
        if (frame.type != BROKER_FRAME_PUBACK) {
            continue;
        }
        cr_assert_eq(broker_puback_decode(&frame, &puback), BROKER_OK);
        cr_assert_eq(puback.id, next + puback.count - 1);
        for (uint32_t i = 0; i < puback.count; i++, next++) {
            cr_assert(puback.refused == 1 || !is_large(next),
                "message %u was not refused", next);
        }
    }
    cr_assert(writer->session == NULL || next == MESSAGES + 1,
        "%u messages are answered", next - 1);
}

static void
many_outcomes(uint32_t workers)
{
    static const struct say_subscription newest = {
        .id = 1, .filter = "a", .overflow = BROKER_OVERFLOW_DROP_NEWEST};
    static uint8_t payload[FIRST_BYTES];
    uint64_t n = pause_failing();
    struct fake_net net;
    net_of(&net, workers, OUTPUT_BYTES);
    struct fake_peer *slow = open_at(&net, HOME);
    struct fake_peer *writer = open_at(&net, workers - 1);
    struct say say = {0};
    say_subscribe_with(&say, &newest);
    expect_fed(slow, &say);
    expect_suback(slow, 1, 0);
    struct say_message message = {
        .topic = "a", .payload = payload, .payload_bytes = FIRST_BYTES};
    say_message(&say, &message);
    expect_fed(writer, &say);
    for (message.id = 1; message.id <= MESSAGES; message.id++) {
        message.payload_bytes = is_large(message.id) ? LARGE_BYTES : 1;
        say_message(&say, &message);
    }
    allocator.countdown = n;
    fake_feed_say(writer, &say, SIZE_MAX);
    (void)pause_failing();
    say_fini(&say);
    fake_check(&net);
    check_outcomes(writer);
    fake_net_fini(&net);
}

Test(no_memory_edges, outcomes_are_said_sooner_or_later)
{
    play_all(many_outcomes, 1, 5);
    play_all(many_outcomes, 2, 10);
}

/* ---- mail ---------------------------------------------------------------- */

/* Takes the bags that wait for home out of the mail. */
static struct mailbag *
take_bags(struct fake_net *net)
{
    struct fake_mail *mail = &net->mail[HOME];
    struct mailbag *bags = mail->first;
    cr_assert_not_null(bags);
    mail->first = mail->last = NULL;
    mail->read = mail->posted;
    return bags;
}

/* Bags that could not be read are read before those that came after them. */
Test(no_memory_edges, mail_is_read_in_the_order_of_coming)
{
    enum { BAGS = 6 };
    static const char *const payloads[BAGS] = {"0", "1", "2", "3", "4", "5"};
    struct fake_net net;
    net_of(&net, 2, 1u << 20);
    struct fake_peer *reader = open_at(&net, HOME);
    struct fake_peer *writer = open_at(&net, OTHER);
    struct say say = {0};
    say_subscribe(&say, 1, "a");
    expect_fed(reader, &say);
    expect_suback(reader, 1, 0);
    fake_mail_hold(&net);
    allocator.and_all_after = true;
    for (uint32_t i = 0; i < BAGS; i++) {
        say_publish(&say, 1 + 2 * i, "a", payloads[i]);
        expect_fed(writer, &say);
        fake_mail_end_turn(&net, OTHER);
        if (i % 3 != 2) {
            continue; /* three at a time */
        }
        struct mailbag *bags = take_bags(&net);
        allocator.countdown = 1;
        allocator_guard(true);
        core_receive_mail(net.core, bags);
        allocator_guard(false);
        allocator.countdown = 0;
        cr_assert_not_null(net.core->exchange->postponed);
    }
    allocator.and_all_after = false;
    fake_mail_settle(&net);
    expect_context(reader, 1, 0, 0);
    for (uint32_t i = 0; i < BAGS; i++) {
        expect_publish(reader, "a", payloads[i]);
        expect_puback(writer, 1 + 2 * i, 1, 1, 0);
    }
    fake_net_fini(&net);
}

/* ---- retained values ----------------------------------------------------- */

#define VALUES 20

/* In the place of a message. */
static int
missing(const struct broker_frame *frame)
{
    struct broker_gap gap;
    cr_assert_eq(broker_gap_decode(frame, &gap), BROKER_OK);
    return (int)gap.count;
}

/* Returns what the subscription got, or -1 if it was refused. */
static int
count_retained(struct fake_peer *peer, uint32_t id)
{
    struct broker_frame frame;
    struct broker_suback suback;
    int retained = -1;
    int messages = 0;
    bool answered = false;
    fake_take_all(peer);
    while (fake_next(peer, &frame)) {
        if (frame.type == BROKER_FRAME_SUBACK) {
            cr_assert_eq(broker_suback_decode(&frame, &suback), BROKER_OK);
            cr_assert_eq(suback.id, id);
            retained = (int)suback.retained;
        }
        answered = answered || frame.type == BROKER_FRAME_SUBACK ||
                   frame.type == BROKER_FRAME_ERROR;
        messages += frame.type == BROKER_FRAME_PUBLISH ? 1
                    : frame.type == BROKER_FRAME_GAP   ? missing(&frame)
                                                       : 0;
    }
    cr_assert(answered || peer->session == NULL, "no answer");
    cr_assert(retained == -1 || peer->session == NULL || messages == retained,
        "%d values of %d", messages, retained);
    return retained;
}

static void
subscribe_retained(uint32_t workers)
{
    uint64_t n = pause_failing();
    struct fake_net net;
    net_of(&net, workers, 1u << 20);
    struct fake_peer *writer = open_at(&net, HOME);
    struct fake_peer *reader = open_at(&net, workers - 1);
    struct say say = {0};
    for (int i = 0; i < VALUES; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "v/%d", i);
        struct say_message value = {.flags = BROKER_PUBLISH_RETAIN,
            .topic = topic,
            .payload = topic,
            .payload_bytes = strlen(topic)};
        say_message(&say, &value);
    }
    expect_fed(writer, &say);
    say_subscribe(&say, 1, "v/+");
    allocator.countdown = n;
    fake_feed_say(reader, &say, SIZE_MAX);
    (void)pause_failing();
    say_fini(&say);
    fake_check(&net);
    int count = count_retained(reader, 1);
    cr_assert(count == VALUES || count == -1, "%d values", count);
    if (reader->session != NULL && count == -1) {
        say_subscribe(&say, 1, "v/+"); /* now there is memory */
        expect_fed(reader, &say);
        cr_assert_eq(count_retained(reader, 1), VALUES);
    }
    fake_net_fini(&net);
}

Test(no_memory_edges, retained_values_all_or_none)
{
    play_all(subscribe_retained, 1, 5);
    play_all(subscribe_retained, 2, 20);
    play_all(subscribe_retained, 3, 20);
}

/* Kept and acknowledged, or refused and not kept. */
static void
publish_retained_value(uint32_t workers)
{
    uint64_t n = pause_failing();
    struct fake_net net;
    net_of(&net, workers, 1u << 20);
    struct fake_peer *writer = open_at(&net, workers - 1);
    static const struct say_message value = {.id = 1,
        .flags = BROKER_PUBLISH_RETAIN,
        .topic = "v",
        .payload = "x",
        .payload_bytes = 1};
    struct say say = {0};
    say_message(&say, &value);
    say_publish(&say, 2, "nobody", "x");
    allocator.countdown = n;
    fake_feed_say(writer, &say, SIZE_MAX);
    (void)pause_failing();
    say_fini(&say);
    fake_check(&net);
    struct broker_frame frame;
    fake_take_all(writer);
    if (fake_next(writer, &frame)) {
        bool kept = net.core->retained.topics == 1;
        cr_assert_eq(
            frame.type, kept ? BROKER_FRAME_PUBACK : BROKER_FRAME_ERROR);
        cr_assert(frame.type == BROKER_FRAME_ERROR || frame.id == 2 ||
                  fake_next(writer, &frame));
    } else {
        cr_assert_null(writer->session, "no answer");
    }
    fake_net_fini(&net);
}

Test(no_memory_edges, a_retained_value_is_kept_or_refused)
{
    play_all(publish_retained_value, 1, 3);
    play_all(publish_retained_value, 2, 5);
}

/* ---- requests ------------------------------------------------------------ */

/* The broker's reply comes and is acknowledged, or the request is refused, or
 * nobody is there to be told. */
static void
ask_broker(uint32_t workers)
{
    uint64_t n = pause_failing();
    struct fake_net net;
    net_of(&net, workers, 1u << 20);
    struct fake_peer *asker = open_at(&net, workers - 1);
    struct say say = {0};
    say_subscribe(&say, 1, "own");
    expect_fed(asker, &say);
    expect_suback(asker, 1, 0);
    say_request(&say, 1, "$sys/echo", "own");
    allocator.countdown = n;
    fake_feed_say(asker, &say, SIZE_MAX);
    (void)pause_failing();
    say_fini(&say);
    fake_check(&net);
    struct broker_frame frame;
    bool answered = false;
    bool replied = false;
    bool missed = false;
    fake_take_all(asker);
    while (fake_next(asker, &frame)) {
        cr_assert(!answered || frame.type != BROKER_FRAME_ERROR);
        answered = answered || frame.type == BROKER_FRAME_PUBACK ||
                   frame.type == BROKER_FRAME_ERROR;
        replied = replied || frame.type == BROKER_FRAME_PUBLISH;
        missed = missed || frame.type == BROKER_FRAME_GAP ||
                 frame.type == BROKER_FRAME_ERROR;
    }
    cr_assert(asker->session == NULL || (answered && replied != missed));
    fake_net_fini(&net);
}

Test(no_memory_edges, a_request_to_the_broker)
{
    play_all(ask_broker, 1, 3);
    play_all(ask_broker, 2, 5);
}

/* ---- refusals and gaps --------------------------------------------------- */

static void
refuse_long_topic(uint32_t workers)
{
    uint64_t n = pause_failing();
    char topic[1000];
    memset(topic, 't', sizeof topic);
    topic[sizeof topic - 2] = '+';
    topic[sizeof topic - 1] = '\0';
    struct fake_net net;
    net_of(&net, workers, 1u << 20);
    struct fake_peer *writer = open_at(&net, HOME);
    struct say say = {0};
    say_publish(&say, 0, topic, "x");
    allocator.countdown = n;
    fake_feed_say(writer, &say, SIZE_MAX);
    fake_take_all(writer);
    (void)pause_failing();
    say_fini(&say);
    struct broker_frame frame;
    bool answered = fake_next(writer, &frame);
    cr_assert(answered == (writer->session != NULL), "silence");
    cr_assert(!answered || frame.type == BROKER_FRAME_ERROR);
    fake_net_fini(&net);
}

static void
answer_stranger(uint32_t workers)
{
    uint64_t n = pause_failing();
    struct fake_net net;
    net_of(&net, workers, 1u << 20);
    struct fake_peer *peer = fake_connect(&net);
    allocator.countdown = n;
    fake_feed(peer, "GET / HTTP/1.1\r\n\r\n", 18);
    fake_take_all(peer);
    fake_feed(peer, "GET / HTTP/1.1\r\n\r\n", 18); /* if it was not read */
    fake_take_all(peer);
    (void)pause_failing();
    cr_assert_null(peer->session, "it goes on with a stranger");
    fake_net_fini(&net);
}

/* A peer whose only news is a gap: it gets it, or is given up. */
static void
report_gap(uint32_t workers)
{
    uint64_t n = pause_failing();
    struct broker_hello small = say_hello_default;
    small.max_body_bytes = BROKER_BODY_BYTES_MIN;
    uint8_t *large = calloc(1, BROKER_BODY_BYTES_MIN);
    struct fake_net net;
    net_of(&net, workers, 1u << 20);
    struct fake_peer *narrow = expect_open_at(&net, HOME, &small);
    struct fake_peer *writer = open_at(&net, HOME);
    struct say say = {0};
    for (uint32_t id = 1; id <= IDS; id++) {
        say_subscribe(&say, id, "a");
    }
    fake_feed_say(narrow, &say, SIZE_MAX);
    for (uint32_t id = 1; id <= IDS; id++) {
        expect_suback(narrow, id, 0);
    }
    struct say_message message = {
        .topic = "a", .payload = large, .payload_bytes = BROKER_BODY_BYTES_MIN};
    say_message(&say, &message);
    expect_fed(writer, &say);
    allocator.countdown = n;
    fake_take_all(narrow);
    (void)pause_failing();
    struct broker_frame frame;
    if (narrow->session != NULL) {
        cr_assert(fake_next(narrow, &frame));
        cr_assert_eq(frame.type, BROKER_FRAME_GAP);
    } else {
        cr_assert_not(fake_next(narrow, &frame));
    }
    fake_net_fini(&net);
    free(large);
}

Test(no_memory_edges, a_refusal_is_told_or_the_peer_given_up)
{
    play_all(refuse_long_topic, 1, 2);
}

Test(no_memory_edges, a_stranger_is_answered_or_given_up)
{
    play_all(answer_stranger, 1, 1);
}

Test(no_memory_edges, a_gap_is_reported_or_the_peer_given_up)
{
    play_all(report_gap, 1, 1);
}

/* ---- a large frame ------------------------------------------------------- */

/* There is no memory for a block of its own, and nobody else has any: the frame
 * is refused and skipped, and the connection lives. */
Test(no_memory_edges, a_large_frame_is_refused)
{
    enum { BYTES = 400000 };
    struct fake_net net;
    net_of(&net, 1, 1u << 20);
    struct fake_peer *writer = open_at(&net, HOME);
    struct fake_peer *other = open_at(&net, HOME);
    uint8_t *large = calloc(1, BYTES);
    struct say_message message = {
        .id = 1, .topic = "a", .payload = large, .payload_bytes = BYTES};
    struct say say = {0};
    say_message(&say, &message);
    cr_assert_eq(fake_feed(writer, say.bytes, 5000), 5000);
    fake_feed(other, "\0\0", 2); /* stands behind it in the same block */
    uint64_t tight = net.core->pool.bytes_tight;
    net.core->pool.bytes_tight = 0;
    cr_assert_eq(
        fake_feed(writer, say.bytes + 5000, say.len - 5000), say.len - 5000);
    net.core->pool.bytes_tight = tight;
    expect_error(writer, BROKER_E_MEMORY, 1, BROKER_FRAME_PUBLISH);
    say.len = 0;
    say_publish(&say, 2, "a", "x");
    expect_fed(writer, &say);
    expect_puback(writer, 2, 1, 0, 0);
    free(large);
    fake_net_fini(&net);
}
