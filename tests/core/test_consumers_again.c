/* SPDX-License-Identifier: MIT
 *
 * Durable consumers: what comes again, what dies, what ends, and what a crash
 * leaves. PROTOCOL.md section 5.14, and promise G4: what was offered is
 * delivered until it is acknowledged, dead-lettered or gone. */
#include "consumer_rig.h"

#include "memory.h"
#include "session.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct worker_peer a, b;

static void
expect_got(const struct worker_peer *worker, size_t i, uint64_t sequence,
    uint32_t deliveries)
{
    cr_assert_lt(i, worker->count);
    cr_assert_eq(worker->got[i].sequence, sequence, "%llu for %llu",
        (unsigned long long)worker->got[i].sequence,
        (unsigned long long)sequence);
    cr_assert_eq(worker->got[i].deliveries, deliveries, "%u for %u",
        worker->got[i].deliveries, deliveries);
}

static void
expect_why(struct fake_peer *asker, const char *word)
{
    const char *why =
        rig_ask(asker, "$sys/consumer/explain", "{\"name\":\"C\"}");
    cr_assert(strstr(why, word), "%s", why);
}

/* ---- again --------------------------------------------------------------- */

Test(consumers_again, what_is_given_back_comes_after_its_delay)
{
    struct rig rig;
    work_init(&rig, 2, "");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 1);
    work_publish(asker, 5);
    cr_assert_eq(work_take(&a), 5);
    work_say(&a, BROKER_FRAME_NACK, BROKER_NACK_AGAIN, 0, 2, 3);
    work_say(&a, BROKER_FRAME_NACK, BROKER_NACK_AGAIN, 1000, 5, 5);
    cr_assert_eq(work_take(&a), 2);
    expect_got(&a, 5, 2, 2);
    expect_got(&a, 6, 3, 2);
    expect_why(asker, "waiting");
    work_wait(&rig, 900);
    cr_assert_eq(work_take(&a), 0);
    work_wait(&rig, 200);
    cr_assert_eq(work_take(&a), 1);
    expect_got(&a, 7, 5, 2);
    work_ack(&a, 1, 5);
    cr_assert_eq(work_number(asker, "floor"), 5);
    cr_assert_eq(work_number(asker, "redelivered"), 3);
    rig_fini(&rig);
}

Test(consumers_again, a_deadline_passes_and_a_touch_puts_it_off)
{
    struct rig rig;
    work_init(&rig, 2, ",\"ack_wait_ms\":1000,\"backoff_ms\":[500,2000]");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 1);
    work_publish(asker, 2);
    cr_assert_eq(work_take(&a), 2);
    work_wait(&rig, 800);
    work_say(&a, BROKER_FRAME_TOUCH, BROKER_TOUCH_THESE, 0, 2, 2);
    work_wait(&rig, 600); /* 1.4 s: past the deadline, not past the back-off */
    cr_assert_eq(work_take(&a), 0);
    work_wait(&rig, 200);
    cr_assert_eq(work_take(&a), 1);
    expect_got(&a, 2, 1, 2);
    work_ack(&a, 1, 1);
    work_wait(&rig, 800); /* 2.4 s: number 2 had until 1.8 s and 0.5 s */
    cr_assert_eq(work_take(&a), 1);
    expect_got(&a, 3, 2, 2);
    work_wait(&rig, 2500);
    cr_assert_eq(work_take(&a), 0);
    work_wait(&rig, 600);
    cr_assert_eq(work_take(&a), 1);
    expect_got(&a, 4, 2, 3);
    cr_assert_eq(work_number(asker, "timed_out"), 3);
    rig_fini(&rig);
}

/* What was said while the broker slept is heard before deadlines are judged. */
Test(consumers_again, a_broker_that_has_slept_hears_first)
{
    struct rig rig;
    work_init(&rig, 1, ",\"ack_wait_ms\":1000,\"max_deliveries\":1");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 0);
    for (int round = 0; round < 2; round++) {
        work_publish(asker, 3);
        cr_assert_eq(work_take(&a), 3);
        rig.net.now_ms += 60000;
        core_set_now(rig.net.core, rig.net.now_ms);
        (void)core_tick(rig.net.core);
        if (round == 0) {
            work_ack(&a, 1, 3);
        }
        work_wait(&rig, 2000);
    }
    cr_assert_eq(work_number(asker, "acknowledged"), 3);
    cr_assert_eq(work_number(asker, "discarded"), 3);
    rig_fini(&rig);
}

Test(consumers_again, many_come_again_in_order)
{
    struct rig rig;
    work_init(&rig, 2, ",\"window\":500");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 1);
    work_publish(asker, 300);
    cr_assert_eq(work_take(&a), 300);
    work_say(&a, BROKER_FRAME_NACK, BROKER_NACK_AGAIN, 0, 1, 300);
    cr_assert_eq(work_take(&a), 300);
    for (uint32_t i = 0; i < 300; i++) {
        expect_got(&a, 300 + i, i + 1, 2);
    }
    rig_fini(&rig);
}

Test(consumers_again, what_was_trimmed_meanwhile_is_counted)
{
    struct rig rig;
    work_init(&rig, 1, "");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 0);
    work_publish(asker, 6);
    cr_assert_eq(work_take(&a), 6);
    (void)rig_ask(asker, "$sys/stream/purge", "{\"name\":\"S\",\"before\":4}");
    work_say(&a, BROKER_FRAME_NACK, BROKER_NACK_AGAIN, 0, 1, 6);
    cr_assert_eq(work_take(&a), 3);
    expect_got(&a, 6, 4, 2);
    cr_assert_eq(work_number(asker, "trimmed"), 3);
    rig_fini(&rig);
}

/* ---- dead letters -------------------------------------------------------- */

/* The next PUBLISH that the peer gets, with its headers as text. */
static bool
next_message(struct fake_peer *peer, struct broker_publish *publish, char *text,
    size_t room)
{
    struct broker_frame frame;
    struct broker_bytes rest, key, value;
    size_t len = 0;
    fake_take_all(peer);
    do {
        if (!fake_next(peer, &frame)) {
            return false;
        }
    } while (frame.type != BROKER_FRAME_PUBLISH);
    cr_assert_eq(broker_publish_decode(&frame, publish), BROKER_OK);
    rest = publish->headers;
    text[0] = '\0';
    while (broker_header_next(&rest, &key, &value) == BROKER_OK) {
        len += (size_t)snprintf(text + len, room - len, "%.*s=%.*s;",
            (int)key.len, key.data, (int)value.len, value.data);
    }
    return true;
}

static void
expect_dead_letter(struct fake_peer *peer, unsigned sequence, unsigned times)
{
    char text[512], wanted[256];
    struct broker_publish publish;
    cr_assert(next_message(peer, &publish, text, sizeof text));
    snprintf(wanted, sizeof wanted,
        "dead-letter-stream=S;dead-letter-sequence=%u;dead-letter-topic=s/t;"
        "dead-letter-deliveries=%u;dead-letter-consumer=C;",
        sequence, times);
    cr_assert_str_eq(text, wanted);
    cr_assert_eq(publish.payload.len, 7);
    cr_assert(memcmp(publish.payload.data, "message", 7) == 0);
}

static struct fake_peer *
listen_for(struct rig *rig, const char *filter)
{
    struct say say = {0};
    struct fake_peer *peer =
        expect_open_at(&rig->net, rig->workers - 1, &say_hello_default);
    say_subscribe(&say, 5, filter);
    expect_fed(peer, &say);
    fake_mail_settle(&rig->net);
    expect_suback(peer, 5, 0);
    return peer;
}

Test(consumers_again, a_message_dies_after_its_last_delivery)
{
    struct rig rig;
    work_init(&rig, 2, ",\"max_deliveries\":2,\"dead_letter\":\"dead/c\"");
    struct fake_peer *asker = work_asker(&rig);
    struct fake_peer *undertaker = listen_for(&rig, "dead/#");
    work_join(&a, &rig, 1);
    work_publish(asker, 3);
    cr_assert_eq(work_take(&a), 3);
    work_say(&a, BROKER_FRAME_NACK, BROKER_NACK_AGAIN, 0, 2, 2);
    cr_assert_eq(work_take(&a), 1);
    work_say(&a, BROKER_FRAME_NACK, BROKER_NACK_AGAIN, 0, 2, 2);
    cr_assert_eq(work_take(&a), 0);
    expect_dead_letter(undertaker, 2, 2);
    work_say(&a, BROKER_FRAME_NACK, BROKER_NACK_BURY, 0, 3, 3);
    expect_dead_letter(undertaker, 3, 1);
    cr_assert_eq(work_number(asker, "dead_lettered"), 2);
    work_ack(&a, 1, 1);
    cr_assert_eq(work_number(asker, "floor"), 3);
    rig_fini(&rig);
}

Test(consumers_again, without_a_topic_the_dead_are_discarded)
{
    struct rig rig;
    work_init(&rig, 1, "");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 0);
    work_publish(asker, 1);
    cr_assert_eq(work_take(&a), 1);
    work_say(&a, BROKER_FRAME_NACK, BROKER_NACK_BURY, 0, 1, 1);
    cr_assert_eq(work_number(asker, "discarded"), 1);
    cr_assert_eq(work_number(asker, "floor"), 1);
    rig_fini(&rig);
}

static void
add_graveyard(struct fake_peer *asker)
{
    (void)rig_ask(
        asker, "$sys/stream/add", "{\"name\":\"D\",\"topics\":[\"dead/#\"]}");
}

static long long
stored_dead(struct fake_peer *asker)
{
    const char *reply = rig_ask(asker, "$sys/stream/info", "{\"name\":\"D\"}");
    const char *at = strstr(reply, "\"messages\":");
    cr_assert_not_null(at);
    return strtoll(at + strlen("\"messages\":"), NULL, 10);
}

Test(consumers_again, a_captured_dead_letter_is_stored_with_the_cursor)
{
    struct rig rig;
    work_init(&rig, 2, ",\"dead_letter\":\"dead/c\"");
    struct fake_peer *asker = work_asker(&rig);
    add_graveyard(asker);
    struct fake_peer *undertaker = listen_for(&rig, "dead/#");
    work_join(&a, &rig, 1);
    work_publish(asker, 3);
    cr_assert_eq(work_take(&a), 3);
    work_say(&a, BROKER_FRAME_NACK, BROKER_NACK_BURY, 0, 1, 3);
    for (unsigned i = 1; i <= 3; i++) {
        expect_dead_letter(undertaker, i, 1);
    }
    cr_assert_eq(stored_dead(asker), 3);
    rig_restart(&rig, true);
    asker = work_asker(&rig);
    cr_assert_eq(stored_dead(asker), 3);
    work_join(&b, &rig, 0);
    cr_assert_eq(b.count, 0, "a dead letter and the message as well");
    cr_assert_eq(work_number(asker, "dead_lettered"), 3);
    rig_fini(&rig);
}

Test(consumers_again, a_dead_letter_that_cannot_be_stored_is_tried_again)
{
    struct rig rig;
    work_init(&rig, 1, ",\"dead_letter\":\"dead/c\"");
    struct fake_peer *asker = work_asker(&rig);
    add_graveyard(asker);
    work_join(&a, &rig, 0);
    work_publish(asker, 1);
    cr_assert_eq(work_take(&a), 1);
    store_memory_fail(rig.store, STORE_NO_SPACE, 1000);
    work_say(&a, BROKER_FRAME_NACK, BROKER_NACK_BURY, 0, 1, 1);
    work_wait(&rig, 100);
    expect_why(asker, "dead_letters");
    expect_why(asker, "the store: ");
    cr_assert_eq(stored_dead(asker), 0);
    store_memory_fail(rig.store, STORE_NO_SPACE, 0);
    work_wait(&rig, 2500);
    cr_assert_eq(stored_dead(asker), 1);
    cr_assert_eq(work_number(asker, "dead_lettered"), 1);
    rig_fini(&rig);
}

Test(consumers_again, what_is_too_large_for_a_connection_dies)
{
    static char large[70000];
    struct rig rig;
    work_init(&rig, 1, ",\"dead_letter\":\"dead/c\"");
    struct fake_peer *asker = work_asker(&rig);
    struct broker_hello hello = say_hello_default;
    hello.max_body_bytes = BROKER_BODY_BYTES_MIN;
    struct fake_peer *peer = expect_open_at(&rig.net, 0, &hello);
    memset(large, 'x', sizeof large - 1);
    cr_assert_gt(sizeof large, BROKER_BODY_BYTES_MIN);
    work_publish(asker, 2);
    struct say say = {0};
    say_publish(&say, 0, "s/t", large);
    expect_fed(asker, &say);
    work_publish(asker, 2);
    work_consume(&a, peer, "C", 0);
    cr_assert_eq(work_take(&a), 4);
    expect_got(&a, 2, 4, 1);
    cr_assert_eq(work_number(asker, "dead_lettered"), 1);
    rig_fini(&rig);
}

Test(consumers_again, what_is_too_large_was_not_delivered)
{
    static char large[70000];
    struct rig rig;
    work_init(&rig, 1, ",\"ack\":\"none\"");
    struct fake_peer *asker = work_asker(&rig);
    struct broker_hello hello = say_hello_default;
    hello.max_body_bytes = BROKER_BODY_BYTES_MIN;
    struct fake_peer *peer = expect_open_at(&rig.net, 0, &hello);
    memset(large, 'x', sizeof large - 1);
    struct say say = {0};
    say_publish(&say, 0, "s/t", large);
    expect_fed(asker, &say);
    work_publish(asker, 2);
    work_consume(&a, peer, "C", 0);
    cr_assert_eq(work_take(&a), 2);
    cr_assert_eq(work_number(asker, "unacknowledged"), 2);
    cr_assert_eq(work_number(asker, "discarded"), 1);
    rig_fini(&rig);
}

/* ---- ends ---------------------------------------------------------------- */

Test(consumers_again, removing_it_ends_those_who_work_on_it)
{
    struct rig rig;
    work_init(&rig, 2, "");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 1);
    work_join(&b, &rig, 0);
    work_publish(asker, 5);
    (void)rig_ask(asker, "$sys/consumer/remove", "{\"name\":\"C\"}");
    (void)work_take(&a);
    (void)work_take(&b);
    cr_assert_eq(a.failed, BROKER_E_UNKNOWN_CONSUMER);
    cr_assert_eq(b.failed, BROKER_E_UNKNOWN_CONSUMER);
    rig_expect_refused(asker, "$sys/consumer/info", "{\"name\":\"C\"}",
        BROKER_E_UNKNOWN_CONSUMER, NULL);
    rig_restart(&rig, true);
    asker = work_asker(&rig);
    const char *list = rig_ask(asker, "$sys/consumer/list", "");
    cr_assert(strstr(list, "\"total\":0"), "%s", list);
    rig_fini(&rig);
}

Test(consumers_again, removing_the_stream_ends_its_consumers)
{
    struct rig rig;
    work_init(&rig, 2, "");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 1);
    work_publish(asker, 5);
    const char *info = rig_ask(asker, "$sys/stream/info", "{\"name\":\"S\"}");
    cr_assert(strstr(info, "\"consumers\":1"), "%s", info);
    (void)rig_ask(asker, "$sys/stream/remove", "{\"name\":\"S\"}");
    (void)work_take(&a);
    cr_assert_eq(a.failed, BROKER_E_UNKNOWN_STREAM);
    rig_restart(&rig, true);
    asker = work_asker(&rig);
    (void)rig_ask(
        asker, "$sys/stream/add", "{\"name\":\"S\",\"topics\":[\"s/#\"]}");
    const char *list = rig_ask(asker, "$sys/consumer/list", "");
    cr_assert(strstr(list, "\"total\":0"), "%s", list);
    rig_fini(&rig);
}

Test(consumers_again, adding_and_resetting)
{
    struct rig rig;
    work_init(&rig, 2, ",\"from\":\"new\"");
    struct fake_peer *asker = work_asker(&rig);
    (void)rig_ask(asker, "$sys/consumer/add",
        "{\"name\":\"C\",\"stream\":\"S\",\"from\":\"first\"}");
    rig_expect_refused(asker, "$sys/consumer/add",
        "{\"name\":\"C\",\"stream\":\"S\",\"window\":5}", BROKER_E_NAME_IN_USE,
        "C");
    rig_expect_refused(asker, "$sys/consumer/add",
        "{\"name\":\"E\",\"stream\":\"T\"}", BROKER_E_UNKNOWN_STREAM, "T");
    rig_expect_refused(asker, "$sys/consumer/add",
        "{\"name\":\"E\",\"stream\":\"S\",\"filter\":\"t/#\"}",
        BROKER_E_BAD_REQUEST, "filter: ");
    rig_expect_refused(asker, "$sys/consumer/add",
        "{\"name\":\"a b\",\"stream\":\"S\"}", BROKER_E_BAD_REQUEST, "name: ");
    rig_expect_refused(asker, "$sys/consumer/reset", "{\"name\":\"C\"}",
        BROKER_E_BAD_REQUEST, "from: ");
    rig_expect_refused(asker, "$sys/consumer/reset",
        "{\"name\":\"X\",\"from\":\"new\"}", BROKER_E_UNKNOWN_CONSUMER, "X");
    work_join(&a, &rig, 1);
    work_publish(asker, 10);
    cr_assert_eq(work_take(&a), 10);
    (void)rig_ask(asker, "$sys/consumer/reset",
        "{\"name\":\"C\",\"from\":{\"sequence\":8}}");
    cr_assert_eq(work_take(&a), 3);
    expect_got(&a, 10, 8, 1);
    cr_assert_eq(work_number(asker, "abandoned"), 10);
    (void)rig_ask(asker, "$sys/consumer/reset",
        "{\"name\":\"C\",\"from\":{\"ago_ms\":100000}}");
    cr_assert_eq(work_take(&a), 10);
    expect_got(&a, 13, 1, 1);
    rig_fini(&rig);
}

/* ---- a crash ------------------------------------------------------------- */

/* Whatever was committed when the broker died: nothing that was not
 * acknowledged is left out, and nothing comes that was before the cursor. */
static void
crash_after(uint32_t commits)
{
    static bool seen[DELIVERIES_MAX];
    struct rig rig;
    work_init(&rig, 2, ",\"window\":20");
    struct fake_peer *asker = work_asker(&rig);
    work_publish(asker, 40);
    work_join(&a, &rig, 1);
    cr_assert_eq(a.count, 20);
    rig_set_manual(&rig);
    for (uint32_t round = 0; round < 4; round++) {
        work_ack(&a, 1 + 5 * round, 5 + 5 * round);
        if (round < commits) {
            (void)store_memory_commit(rig.store);
            fake_mail_settle(&rig.net);
        }
        (void)work_take(&a);
    }
    rig_restart(&rig, true);
    memset(seen, 0, sizeof seen);
    work_join(&b, &rig, 1);
    while (b.count > 0) {
        for (size_t i = 0; i < b.count; i++) {
            seen[b.got[i].sequence] = true;
        }
        work_ack(&b, b.got[0].sequence, 40);
        b.count = 0;
        (void)work_take(&b);
    }
    for (uint64_t sequence = 21; sequence <= 40; sequence++) {
        cr_assert(seen[sequence], "%llu after %u commits",
            (unsigned long long)sequence, commits);
    }
    cr_assert_eq(seen[1], commits == 0, "after %u commits", commits);
    cr_assert_eq(work_number(work_asker(&rig), "floor"), 40);
    rig_fini(&rig);
}

Test(consumers_again, a_crash_leaves_nothing_out)
{
    for (uint32_t commits = 0; commits <= 4; commits++) {
        crash_after(commits);
    }
}

Test(consumers_again, a_cursor_that_could_not_be_stored_is_stored_later)
{
    struct rig rig;
    work_init(&rig, 1, "");
    struct fake_peer *asker = work_asker(&rig);
    work_publish(asker, 10);
    work_join(&a, &rig, 0);
    store_memory_fail(rig.store, STORE_NO_SPACE, 1);
    work_ack(&a, 1, 5);
    work_wait(&rig, 2000);
    rig_restart(&rig, true);
    work_join(&b, &rig, 0);
    cr_assert_eq(b.count, 5, "%zu", b.count);
    expect_got(&b, 0, 6, 2);
    rig_fini(&rig);
}

Test(consumers_again, an_orderly_end_keeps_the_cursor)
{
    struct rig rig;
    work_init(&rig, 2, "");
    struct fake_peer *asker = work_asker(&rig);
    work_publish(asker, 10);
    work_join(&a, &rig, 1);
    work_ack(&a, 1, 7);
    rig_restart(&rig, false);
    work_join(&b, &rig, 0);
    cr_assert_eq(b.count, 3, "%zu", b.count);
    expect_got(&b, 0, 8, 2);
    rig_fini(&rig);
}

/* The dead letter is stored, and nothing that came after it. */
Test(consumers_again, a_crash_leaves_a_message_or_its_dead_letter)
{
    struct rig rig;
    work_init(&rig, 1, ",\"dead_letter\":\"dead/c\"");
    struct fake_peer *asker = work_asker(&rig);
    add_graveyard(asker);
    work_publish(asker, 1);
    work_join(&a, &rig, 0);
    rig_set_manual(&rig);
    work_say(&a, BROKER_FRAME_NACK, BROKER_NACK_BURY, 0, 1, 1);
    for (int i = 0; i < 10 && rig_messages(&rig, "D") == 0; i++) {
        fake_mail_settle(&rig.net);
        (void)store_memory_commit(rig.store);
    }
    cr_assert_eq(rig_messages(&rig, "D"), 1);
    rig_restart(&rig, true);
    work_join(&b, &rig, 0);
    cr_assert_eq(b.count, 0);
    cr_assert_eq(work_number(work_asker(&rig), "dead_lettered"), 1);
    work_wait(&rig, 100);
    cr_assert_eq(rig_messages(&rig, "D"), 1, "it died twice");
    rig_fini(&rig);
}

static void
count_value(
    void *arg, enum store_status status, const struct store_value *value)
{
    size_t *count = arg;
    (void)status;
    *count += value != NULL && value->key != NULL ? 1 : 0;
}

static size_t
count_values(struct rig *rig)
{
    size_t count = 0;
    cr_assert_eq(store_scan(rig->net.ports[0].port, STORE_SPACE_CONSUMER,
                     count_value, &count),
        STORE_OK);
    fake_mail_settle(&rig->net);
    return count;
}

/* However far the stream's removal came: no consumer without its stream, and
 * in the end nothing of it in the store. */
static void
crash_while_removing(uint32_t commits)
{
    struct rig rig;
    work_init(&rig, 2, "");
    struct fake_peer *asker = work_asker(&rig);
    work_publish(asker, 3);
    rig_set_manual(&rig);
    rig_send(asker, "$sys/stream/remove", "{\"name\":\"S\"}");
    for (uint32_t i = 0; i < commits; i++) {
        (void)store_memory_commit(rig.store);
        fake_mail_settle(&rig.net);
    }
    rig_restart(&rig, true);
    asker = work_asker(&rig);
    const char *list = rig_ask(asker, "$sys/stream/list", "");
    bool is_there = strstr(list, "\"total\":1") != NULL;
    list = rig_ask(asker, "$sys/consumer/list", "");
    cr_assert(strstr(list, is_there ? "\"total\":1" : "\"total\":0"),
        "after %u commits: %s", commits, list);
    cr_assert_eq(
        count_values(&rig), is_there ? 2 : 0, "after %u commits", commits);
    rig_fini(&rig);
}

Test(consumers_again, a_crash_leaves_no_consumer_without_a_stream)
{
    for (uint32_t commits = 0; commits <= 8; commits++) {
        crash_while_removing(commits);
    }
}

/* What was being read when it was reset is not what comes next. */
Test(consumers_again, a_reset_while_the_stream_is_read)
{
    struct rig rig;
    struct say say = {0};
    uint8_t frame[64], range[BROKER_RANGE_BYTES];
    size_t n;
    work_init(&rig, 1, ",\"window\":10");
    struct fake_peer *asker = work_asker(&rig);
    work_publish(asker, 30);
    work_join(&a, &rig, 0);
    fake_mail_hold(&rig.net);
    broker_ranges_set(range, 0, 1, 10);
    struct broker_settle settle = {.type = BROKER_FRAME_ACK,
        .kind = BROKER_ACK_THESE,
        .id = CONSUMER_ID,
        .ranges = {range, 1}};
    cr_assert_eq(
        broker_settle_encode(&settle, frame, sizeof frame, &n), BROKER_OK);
    say_bytes(&say, frame, n);
    expect_fed(a.peer, &say);
    static const char reset[] = "{\"name\":\"C\",\"from\":\"first\"}";
    (void)say_message(&say, &(struct say_message){.id = 100000,
                                .topic = "$sys/consumer/reset",
                                .reply_to = "inbox",
                                .payload = reset,
                                .payload_bytes = sizeof reset - 1});
    fake_mail_end_turn(&rig.net, 0);
    while (fake_mail_step(&rig.net, 0)) {
    }
    expect_fed(asker, &say);
    fake_mail_end_turn(&rig.net, 0); /* now it is read from 11 on */
    while (fake_mail_step(&rig.net, 0)) {
    }
    rig.net.holds_mail = false;
    fake_mail_settle(&rig.net);
    cr_assert_eq(work_take(&a), 10);
    expect_got(&a, 10, 1, 1);
    rig_fini(&rig);
}
