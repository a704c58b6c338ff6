/* SPDX-License-Identifier: MIT
 *
 * Durable consumers as connections know them: joining, messages, what is
 * acknowledged and what comes back; on one and on several workers, over a store
 * in memory. PROTOCOL.md section 5.14. */
#include "consumer_rig.h"

#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

static struct worker_peer a, b;

static void
expect_sequences(const struct worker_peer *worker, size_t from, uint64_t first,
    uint64_t last, uint32_t deliveries)
{
    for (uint64_t sequence = first; sequence <= last; sequence++) {
        const struct delivery *got = &worker->got[from + (sequence - first)];
        cr_assert_eq(got->sequence, sequence, "%llu for %llu",
            (unsigned long long)got->sequence, (unsigned long long)sequence);
        cr_assert_eq(got->deliveries, deliveries);
    }
}

static void
join_deliver_and_ack(uint32_t workers, uint32_t on)
{
    struct rig rig;
    work_init(&rig, workers, ",\"window\":10");
    struct fake_peer *asker = work_asker(&rig);
    work_publish(asker, 15);
    work_join(&a, &rig, on);
    cr_assert_eq(a.reply.ack, BROKER_ACK_EACH);
    cr_assert_eq(a.reply.window, 10);
    cr_assert_eq(a.reply.last_sequence, 15);
    cr_assert_eq(a.reply.next_sequence, 1);
    cr_assert_eq(a.count, 10, "%zu", a.count);
    expect_sequences(&a, 0, 1, 10, 1);
    work_ack(&a, 1, 4);
    cr_assert_eq(work_take(&a), 4);
    expect_sequences(&a, 10, 11, 14, 1);
    cr_assert_eq(work_number(asker, "acknowledged"), 4);
    cr_assert_eq(work_number(asker, "floor"), 4);
    cr_assert_eq(work_number(asker, "outstanding"), 10);
    work_ack(&a, 5, 14);
    cr_assert_eq(work_take(&a), 1);
    work_publish(asker, 3);
    cr_assert_eq(work_take(&a), 3);
    work_ack(&a, 15, 18);
    cr_assert_eq(work_number(asker, "floor"), 18);
    rig_fini(&rig);
}

Test(consumers, join_deliver_and_acknowledge)
{
    join_deliver_and_ack(1, 0);
}

Test(consumers, join_deliver_and_acknowledge_from_another_worker)
{
    join_deliver_and_ack(2, 1);
}

/* Every sequence from 1 to `last` once, at one of both. */
static void
expect_shared(uint64_t last)
{
    static uint32_t seen[DELIVERIES_MAX];
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < a.count; i++) {
        seen[a.got[i].sequence]++;
    }
    for (size_t i = 0; i < b.count; i++) {
        seen[b.got[i].sequence]++;
    }
    for (uint64_t sequence = 1; sequence <= last; sequence++) {
        cr_assert_eq(seen[sequence], 1, "%llu: %u",
            (unsigned long long)sequence, seen[sequence]);
    }
    cr_assert_eq(a.count + b.count, last);
}

Test(consumers, several_connections_share_the_work)
{
    struct rig rig;
    work_init(&rig, 3, ",\"window\":100");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 1);
    work_join(&b, &rig, 2);
    work_publish(asker, 60);
    (void)work_take(&a);
    (void)work_take(&b);
    expect_shared(60);
    cr_assert_eq(a.count, 30, "%zu", a.count);
    cr_assert_eq(work_number(asker, "connections"), 2);
    rig_fini(&rig);
}

Test(consumers, what_a_connection_leaves_the_other_gets)
{
    struct rig rig;
    work_init(&rig, 2, ",\"window\":100");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 1);
    work_publish(asker, 20);
    cr_assert_eq(work_take(&a), 20);
    work_ack(&a, 1, 5);
    work_join(&b, &rig, 0);
    cr_assert_eq(b.count, 0);
    fake_drop(a.peer);
    cr_assert_eq(work_take(&b), 15);
    expect_sequences(&b, 0, 6, 20, 2);
    cr_assert_eq(work_number(asker, "returned"), 15);
    cr_assert_eq(work_number(asker, "connections"), 1);
    rig_fini(&rig);
}

static void
unsubscribe(struct worker_peer *worker, uint16_t flags)
{
    struct say say = {0};
    say_unsubscribe(&say, CONSUMER_ID, flags);
    expect_fed(worker->peer, &say);
    fake_mail_settle(worker->peer->net);
}

/* It waits for replies, and will acknowledge nothing any more. */
Test(consumers, who_has_half_closed_gets_no_more_work)
{
    struct rig rig;
    work_init(&rig, 2, "");
    struct fake_peer *asker = work_asker(&rig);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    (void)rig_ask(peer, "$sys/consumer/list", "");
    work_consume(&a, peer, "C", 0);
    work_join(&b, &rig, 0);
    work_publish(asker, 4);
    cr_assert_eq(work_take(&a) + work_take(&b), 4);
    session_end_of_input(peer->session);
    fake_mail_settle(&rig.net);
    cr_assert_eq(work_take(&b), 2, "what it had");
    work_publish(asker, 4);
    cr_assert_eq(work_take(&b), 4);
    rig_fini(&rig);
}

Test(consumers, unsubscribing_gives_back_at_once_or_after_what_is_queued)
{
    struct rig rig;
    work_init(&rig, 2, "");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 1);
    work_publish(asker, 5);
    unsubscribe(&a, 0);
    cr_assert_eq(work_take(&a), 0);
    cr_assert_eq(a.unsubacks, 1);
    cr_assert_eq(work_number(asker, "connections"), 0);
    cr_assert_eq(work_number(asker, "waiting"), 5);
    work_consume(&a, a.peer, "C", 3); /* the id is free again */
    unsubscribe(&a, BROKER_UNSUBSCRIBE_DRAIN);
    cr_assert_eq(work_take(&a), 3);
    cr_assert_eq(a.unsubacks, 1);
    work_ack(&a, 1, 3);
    (void)work_take(&a);
    cr_assert_eq(a.failed, BROKER_E_UNKNOWN_SUBSCRIPTION);
    cr_assert_eq(work_number(asker, "waiting"), 5);
    rig_fini(&rig);
}

Test(consumers, none_is_done_when_it_is_delivered)
{
    struct rig rig;
    work_init(&rig, 2, ",\"ack\":\"none\"");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 1);
    cr_assert_eq(a.reply.ack, BROKER_ACK_NONE);
    work_publish(asker, 50);
    cr_assert_eq(work_take(&a), 50);
    cr_assert_eq(work_number(asker, "outstanding"), 0);
    fake_drop(a.peer);
    work_join(&b, &rig, 0);
    cr_assert_eq(b.count, 0);
    cr_assert_eq(b.reply.next_sequence, 51);
    rig_fini(&rig);
}

Test(consumers, cumulative_is_for_one_at_a_time)
{
    struct rig rig;
    work_init(&rig, 2, ",\"ack\":\"cumulative\",\"window\":10");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 1);
    work_join(&b, &rig, 0);
    work_publish(asker, 15);
    cr_assert_eq(work_take(&a), 10);
    cr_assert_eq(work_take(&b), 0);
    const char *why =
        rig_ask(asker, "$sys/consumer/explain", "{\"name\":\"C\"}");
    cr_assert(strstr(why, "standby"), "%s", why);
    cr_assert(strstr(why, "10 of its 10 messages"), "%s", why);
    work_say(&a, BROKER_FRAME_ACK, BROKER_ACK_UP_TO, 0, 8, 8);
    cr_assert_eq(work_take(&a), 5);
    cr_assert_eq(work_number(asker, "floor"), 8);
    fake_drop(a.peer);
    cr_assert_eq(work_take(&b), 7);
    expect_sequences(&b, 0, 9, 15, 2);
    rig_fini(&rig);
}

Test(consumers, the_smaller_window_holds)
{
    struct rig rig;
    work_init(&rig, 1, ",\"window\":10");
    struct fake_peer *asker = work_asker(&rig);
    work_publish(asker, 30);
    struct fake_peer *peer = expect_open_at(&rig.net, 0, &say_hello_default);
    work_consume(&a, peer, "C", 4);
    cr_assert_eq(work_take(&a), 4);
    work_join(&b, &rig, 0);
    cr_assert_eq(b.count, 6);
    cr_assert_eq(work_number(asker, "outstanding"), 10);
    rig_fini(&rig);
}

Test(consumers, one_that_is_not_there_is_refused)
{
    struct rig rig;
    work_init(&rig, 2, NULL);
    struct fake_peer *peer = expect_open_at(&rig.net, 1, &say_hello_default);
    work_consume(&a, peer, "C", 0);
    (void)work_take(&a);
    cr_assert_eq(a.failed, BROKER_E_UNKNOWN_CONSUMER);
    work_consume(&a, peer, "C", 0); /* the id is not taken */
    (void)work_take(&a);
    cr_assert_eq(a.failed, BROKER_E_UNKNOWN_CONSUMER);
    rig_fini(&rig);
}

Test(consumers, a_filter_a_time_to_live_and_a_trim_leave_messages_out)
{
    struct rig rig;
    work_init(&rig, 1, ",\"filter\":\"s/x/#\"");
    struct fake_peer *asker = work_asker(&rig);
    rig_publish(asker, "s/t", 3);
    rig_publish(asker, "s/x/y", 4);
    rig_publish(asker, "s/t", 3);
    rig_publish(asker, "s/x", 2);
    (void)rig_ask(asker, "$sys/stream/purge", "{\"name\":\"S\",\"before\":5}");
    work_join(&a, &rig, 0);
    cr_assert_eq(a.count, 5, "%zu", a.count);
    expect_sequences(&a, 0, 5, 7, 1);
    expect_sequences(&a, 3, 11, 12, 1);
    cr_assert_eq(work_number(asker, "trimmed"), 4);
    rig_fini(&rig);
}

/* What is queued for one that reads nothing is bounded; then it gets all. */
Test(consumers, a_slow_peer_has_a_bounded_number_of_bytes_queued, .timeout = 60)
{
    static char payload[4001];
    struct rig rig;
    work_init(&rig, 2, ",\"window\":2000");
    struct fake_peer *asker = work_asker(&rig);
    memset(payload, 'x', sizeof payload - 1);
    work_join(&a, &rig, 1);
    for (uint32_t i = 0; i < 1000; i++) {
        struct say say = {0};
        say_publish(&say, 0, "s/t", payload);
        expect_fed(asker, &say);
    }
    fake_mail_settle(&rig.net);
    uint64_t queued = session_queued_bytes(a.peer->session);
    cr_assert_gt(queued, 256u * 1024u, "%llu", (unsigned long long)queued);
    cr_assert_lt(
        queued, (512u + 72u) * 1024u, "%llu", (unsigned long long)queued);
    const char *why =
        rig_ask(asker, "$sys/consumer/explain", "{\"name\":\"C\"}");
    cr_assert(strstr(why, "paused"), "%s", why);
    while (work_take(&a) > 0) {
    }
    cr_assert_eq(a.count, 1000, "%zu", a.count);
    expect_sequences(&a, 0, 1, 1000, 1);
    rig_fini(&rig);
}

Test(consumers, each_message_has_the_time_at_which_it_was_stored)
{
    struct rig rig;
    work_init(&rig, 1, "");
    struct fake_peer *asker = work_asker(&rig);
    uint64_t then_ms = FAKE_WALL_MS + rig.net.now_ms;
    for (uint32_t i = 0; i < 5; i++) {
        work_publish(asker, 2);
        work_wait(&rig, 100);
    }
    work_join(&a, &rig, 0);
    cr_assert_eq(a.count, 10);
    for (uint32_t i = 0; i < 10; i++) {
        cr_assert_eq(a.got[i].time_ms, then_ms + 100 * (i / 2));
    }
    rig_fini(&rig);
}

Test(consumers, what_is_acknowledged_in_one_turn_is_no_more_than_was_said)
{
    uint8_t frame[64], range[BROKER_RANGE_BYTES];
    static const uint64_t said[] = {1, 2, 4, 6, 7, 9};
    size_t n;
    struct rig rig;
    struct say say = {0};
    work_init(&rig, 2, "");
    struct fake_peer *asker = work_asker(&rig);
    work_publish(asker, 10);
    work_join(&a, &rig, 1);
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        broker_ranges_set(range, 0, said[i], said[i]);
        struct broker_settle settle = {.type = BROKER_FRAME_ACK,
            .kind = BROKER_ACK_THESE,
            .id = CONSUMER_ID,
            .ranges = {range, 1}};
        cr_assert_eq(
            broker_settle_encode(&settle, frame, sizeof frame, &n), BROKER_OK);
        say_bytes(&say, frame, n);
    }
    expect_fed(a.peer, &say);
    fake_mail_settle(&rig.net);
    cr_assert_eq(work_number(asker, "acknowledged"), 6);
    fake_drop(a.peer);
    work_join(&b, &rig, 0);
    cr_assert_eq(b.count, 4);
    cr_assert_eq(b.got[0].sequence, 3);
    cr_assert_eq(b.got[3].sequence, 10);
    rig_fini(&rig);
}

/* ---- rights -------------------------------------------------------------- */

static struct rights *
rights_to(const char *filter)
{
    struct rights *rights = rights_new();
    cr_assert(rights_add(
        rights, true, RIGHTS_SUBSCRIBE, say_text(filter), "the rule"));
    return rights;
}

Test(consumers, rights_are_for_all_that_it_delivers)
{
    struct rig rig;
    work_init(&rig, 2, "");
    struct fake_peer *asker = work_asker(&rig);
    work_publish(asker, 3);
    struct fake_peer *peer = expect_open_at(&rig.net, 1, &say_hello_default);
    session_set_rights(peer->session, rights_to("s/t"));
    work_consume(&a, peer, "C", 0);
    cr_assert_eq(work_take(&a), 0);
    cr_assert_eq(a.failed, BROKER_E_SUBSCRIBE_DENIED);
    cr_assert_eq(work_number(asker, "connections"), 0);
    cr_assert_eq(work_number(asker, "delivered"), 0);
    session_set_rights(peer->session, rights_to("s/#"));
    work_consume(&a, peer, "C", 0);
    cr_assert_eq(work_take(&a), 3);
    session_set_rights(peer->session, rights_to("t"));
    fake_mail_settle(&rig.net);
    (void)work_take(&a);
    cr_assert_eq(a.failed, BROKER_E_REVOKED);
    cr_assert_eq(work_number(asker, "connections"), 0);
    cr_assert_eq(work_number(asker, "waiting"), 3);
    rig_fini(&rig);
}

/* ---- readers ------------------------------------------------------------- */

Test(consumers, a_reader_whose_connection_goes_leaves_nothing)
{
    uint8_t bytes[256];
    size_t n;
    struct rig rig;
    struct say say = {0};
    work_init(&rig, 2, NULL);
    struct fake_peer *asker = work_asker(&rig);
    work_publish(asker, 3);
    struct broker_consume consume = {
        .id = 3, .stream = say_text("S"), .start = BROKER_START_FIRST};
    cr_assert_eq(
        broker_consume_encode(&consume, bytes, sizeof bytes, &n), BROKER_OK);
    for (uint32_t id = 3; id < 6; id++) {
        consume.id = id;
        cr_assert_eq(broker_consume_encode(&consume, bytes, sizeof bytes, &n),
            BROKER_OK);
        say_bytes(&say, bytes, n);
    }
    struct fake_peer *peer = expect_open_at(&rig.net, 1, &say_hello_default);
    expect_fed(peer, &say);
    fake_drop(peer);
    work_publish(asker, 1);
    rig_fini(&rig);
}
