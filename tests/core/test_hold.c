/* SPDX-License-Identifier: MIT
 *
 * Input that waits: rates of users and connections, memory that becomes short,
 * subscribers that chose to block, and queues that are too old. hold.h,
 * PROTOCOL.md section 5.12. */
#include "account.h"
#include "expect.h"
#include "meter.h"
#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

#define HOME  0
#define OTHER 1

static struct fake_peer *
open_at(struct fake_net *net, uint32_t worker)
{
    struct fake_peer *peer = fake_connect_to(net, worker);
    struct say say = {0};
    say_hello(&say);
    expect_fed(peer, &say);
    (void)expect_frame(peer, BROKER_FRAME_WELCOME);
    return peer;
}

static void
expect_notice(struct fake_peer *peer, enum broker_status code)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_NOTICE);
    struct broker_notice notice;
    cr_assert_eq(broker_notice_decode(&frame, &notice), BROKER_OK);
    cr_assert_eq(notice.code, code);
}

/* Takes everything; PUBLISH frames among it, and whether this notice is. */
static uint32_t
count_messages(
    struct fake_peer *peer, enum broker_status code, uint32_t *notices)
{
    struct broker_frame frame;
    struct broker_notice notice;
    uint32_t count = 0;
    *notices = 0;
    fake_take_all(peer);
    while (fake_next(peer, &frame)) {
        count += frame.type == BROKER_FRAME_PUBLISH ? 1 : 0;
        if (frame.type == BROKER_FRAME_NOTICE) {
            cr_assert_eq(broker_notice_decode(&frame, &notice), BROKER_OK);
            *notices += notice.code == (uint16_t)code ? 1 : 0;
        }
    }
    return count;
}

/* ---- meters -------------------------------------------------------------- */

Test(hold, a_meter_has_a_burst_of_a_second)
{
    struct meter meter = {0};
    cr_assert_eq(meter_take(&meter, 5000, 0, 1000), 0, "0 is no limit");
    cr_assert_eq(meter_take(&meter, 5000, 10, 10), 0);
    cr_assert_eq(meter_take(&meter, 5000, 10, 1), 101);
    cr_assert_eq(meter_take(&meter, 5101, 10, 1), 100);
    cr_assert_eq(meter_take(&meter, 100000, 10, 10), 0); /* a long rest */
    cr_assert_eq(meter_take(&meter, 100000, 1, UINT32_MAX), METER_WAIT_MAX);
}

/* ---- rates --------------------------------------------------------------- */

/* How long the fake net let pass until all was processed. */
static uint64_t
time_for(struct fake_net *net, struct fake_peer *peer, struct say *say)
{
    uint64_t before = net->now_ms;
    expect_fed(peer, say);
    return net->now_ms - before;
}

static void
admit_ann(void *owner, const struct core_credentials *credentials)
{
    struct fake_peer *peer = owner;
    (void)credentials;
    session_admit(peer->session, account_ref(peer->net->peers->user), NULL);
}

/* All connections of a user have one rate; another publisher is not slowed. */
static void
user_rate(uint64_t messages_per_s, uint64_t bytes_per_s)
{
    enum { N = 50 };
    struct core_options options = fake_options();
    options.max_user_messages_per_s = messages_per_s;
    options.max_user_bytes_per_s = bytes_per_s;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *free_one = open_at(&net, HOME);
    struct account *account = account_new("ann");
    struct fake_peer *peers[2];
    for (int i = 0; i < 2; i++) {
        peers[i] = fake_connect(&net);
        net.peers->user = account;
        net.core->hooks.authenticate = admit_ann;
        struct say hello = {0};
        say_hello(&hello);
        expect_fed(peers[i], &hello);
        (void)expect_frame(peers[i], BROKER_FRAME_WELCOME);
    }
    struct say say = {0};
    for (uint32_t id = 1; id <= N; id++) {
        /* Two topics: each message is a run, else the run would go first. */
        say_publish(&say, id, id % 2 == 0 ? "a" : "b", "x");
    }
    size_t bytes = say.len;
    uint64_t ms = time_for(&net, peers[0], &say);
    uint64_t least = messages_per_s > 0
                         ? (N - messages_per_s) * 1000 / messages_per_s
                         : (bytes - bytes_per_s) * 1000 / bytes_per_s;
    cr_assert(ms >= least && ms <= least + 1000, "%llu ms, not %llu",
        (unsigned long long)ms, (unsigned long long)least);
    uint32_t notices;
    (void)count_messages(peers[0], BROKER_E_RATE_HIGH, &notices);
    cr_assert(notices >= 1 && notices <= ms / 1000 + 1, "%u", notices);
    cr_assert_gt(net.core->totals.held_for_rate, 0);
    say_publish(&say, 1, "a", "x");
    say_publish(&say, 2, "b", "x");
    cr_assert_gt(time_for(&net, peers[1], &say), 0, "its own rate");
    for (uint32_t id = 1; id <= N; id++) {
        say_publish(&say, id, "a", "x");
    }
    cr_assert_eq(time_for(&net, free_one, &say), 0);
    fake_net_fini(&net);
    account_unref(account);
}

Test(hold, a_user_publishes_so_many_messages_a_second)
{
    user_rate(10, 0);
}

Test(hold, a_user_publishes_so_many_bytes_a_second)
{
    user_rate(0, 200);
}

Test(hold, a_connection_subscribes_so_often_a_second)
{
    struct core_options options = fake_options();
    options.max_subscribes_per_s = 5;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *peer = open_at(&net, HOME);
    struct say say = {0};
    for (uint32_t id = 1; id <= 5; id++) {
        say_subscribe(&say, id, "a");
    }
    cr_assert_eq(time_for(&net, peer, &say), 0);
    for (uint32_t id = 1; id <= 5; id++) {
        expect_suback(peer, id, 0);
        say_unsubscribe(&say, id, 0);
    }
    cr_assert_geq(time_for(&net, peer, &say), 1000);
    expect_notice(peer, BROKER_E_RATE_HIGH);
    expect_unsuback(peer, 1, 0, 0, 0);
    fake_net_fini(&net);
}

/* ---- memory -------------------------------------------------------------- */

/* Memory is short: publishers are slowed, and nothing is lost by that. */
Test(hold, publishers_are_slowed_when_memory_is_short)
{
    enum { N = 200 };
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *writer = expect_open(&net);
    struct fake_peer *reader = expect_open(&net);
    struct say say = {0};
    say_subscribe(&say, 1, "#");
    expect_fed(reader, &say);
    expect_suback(reader, 1, 0);
    char payload[3000];
    memset(payload, 'x', sizeof payload);
    payload[sizeof payload - 1] = '\0';
    for (uint32_t i = 0; i < N; i++) {
        say_publish(&say, 0, i % 2 == 0 ? "a" : "b", payload);
    }
    struct say again = {0};
    say_bytes(&again, say.bytes, say.len);
    cr_assert_eq(time_for(&net, writer, &again), 0);
    uint64_t slow = net.core->pool.bytes_slow;
    net.core->pool.bytes_slow = 0;
    net.core->pool.bytes_allowed = 4 * block_pool_bytes(&net.core->pool);
    cr_assert_gt(time_for(&net, writer, &say), 0);
    net.core->pool.bytes_slow = slow;
    uint32_t notices;
    (void)count_messages(writer, BROKER_E_MEMORY_HIGH, &notices);
    cr_assert_geq(notices, 1);
    cr_assert_gt(net.core->totals.held_for_memory, 0);
    cr_assert_eq(count_messages(reader, BROKER_E_MEMORY_HIGH, &notices), 2 * N);
    fake_net_fini(&net);
}

/* ---- a full subscriber --------------------------------------------------- */

#define OUTPUT_BYTES 40000

/* A reader that blocks and a writer, which has said N messages, more than fit,
 * and waits. */
struct blocked {
    struct fake_net net;
    struct fake_peer *reader, *writer;
};
#define N 100

static void
block(struct blocked *blocked, uint32_t workers)
{
    static const struct say_subscription want = {
        .id = 1, .filter = "#", .overflow = BROKER_OVERFLOW_BLOCK};
    struct core_options options = fake_options();
    options.max_output_bytes = OUTPUT_BYTES;
    options.workers = workers;
    fake_net_init(&blocked->net, &options, 1, NULL);
    blocked->reader = open_at(&blocked->net, HOME);
    blocked->writer = open_at(&blocked->net, workers - 1);
    char payload[1000];
    memset(payload, 'x', sizeof payload);
    payload[sizeof payload - 1] = '\0';
    struct say say = {0};
    say_subscribe_with(&say, &want);
    expect_fed(blocked->reader, &say);
    struct broker_frame frame =
        expect_frame(blocked->reader, BROKER_FRAME_SUBACK);
    cr_assert_eq(frame.id, 1);
    for (uint32_t i = 0; i < N; i++) {
        say_publish(&say, 0, i % 2 == 0 ? "a" : "b", payload);
    }
    /* In pieces: another worker hears in time that there is no more room. */
    fake_feed_say(blocked->writer, &say, 3000);
    say_fini(&say);
    fake_check(&blocked->net);
    cr_assert_not(session_wants_input(blocked->writer->session));
    expect_notice(blocked->writer, BROKER_E_BLOCKED);
    cr_assert_leq(session_queued_bytes(blocked->reader->session), OUTPUT_BYTES);
}

/* Takes everything, in turns. */
static uint32_t
read_all(struct fake_net *net, struct fake_peer *reader)
{
    uint32_t notices;
    uint32_t count = 0;
    uint32_t more;
    do {
        more = count_messages(reader, BROKER_E_BLOCKED, &notices);
        fake_advance(net, 1);
        count += more;
    } while (more > 0);
    return count;
}

static void
blocks_and_goes_on(uint32_t workers)
{
    struct blocked blocked;
    block(&blocked, workers);
    uint32_t count = read_all(&blocked.net, blocked.reader);
    /* What another worker had on its way may not fit, and is missed. */
    uint64_t dropped = blocked.reader->session->output.dropped;
    cr_assert_eq(count + dropped, N, "%u workers: %u messages", workers, count);
    cr_assert(workers > 1 || dropped == 0);
    cr_assert(session_wants_input(blocked.writer->session));
    cr_assert_not(blocked.reader->session->hold.is_full);
    fake_net_fini(&blocked.net);
}

Test(hold, a_publisher_waits_for_a_full_subscriber)
{
    blocks_and_goes_on(1);
    blocks_and_goes_on(2);
}

/* It takes nothing for block_timeout_ms: then it loses what does not fit, and
 * publishers go on. When it reads again it is waited for again. */
static void
blocks_for_a_time(uint32_t workers)
{
    struct blocked blocked;
    block(&blocked, workers);
    struct fake_net *net = &blocked.net;
    fake_advance(net, 1999);
    cr_assert_not(session_wants_input(blocked.writer->session));
    fake_advance(net, 1);
    fake_advance(net, 1);
    cr_assert(session_wants_input(blocked.writer->session));
    cr_assert(blocked.reader->session->hold.gave_up);
    uint32_t count = read_all(net, blocked.reader);
    cr_assert(count > 0 && count < N, "%u messages", count);
    cr_assert_not(blocked.reader->session->hold.gave_up);
    fake_net_fini(net);
}

Test(hold, nobody_waits_for_ever)
{
    blocks_for_a_time(1);
    blocks_for_a_time(2);
}

Test(hold, either_side_may_go)
{
    for (uint32_t workers = 1; workers <= 2; workers++) {
        struct blocked blocked;
        block(&blocked, workers);
        fake_drop(blocked.writer);
        (void)read_all(&blocked.net, blocked.reader);
        fake_net_fini(&blocked.net);

        block(&blocked, workers);
        fake_drop(blocked.reader);
        fake_mail_settle(&blocked.net);
        fake_advance(&blocked.net, 1);
        cr_assert(session_wants_input(blocked.writer->session));
        fake_net_fini(&blocked.net);
    }
}

/* Should it never hear that there is room, it looks by itself. */
Test(hold, a_publisher_looks_by_itself)
{
    struct blocked blocked;
    block(&blocked, 2);
    struct fake_net *net = &blocked.net;
    fake_mail_hold(net);
    uint32_t notices;
    fake_advance(net, 3999);
    (void)count_messages(blocked.writer, BROKER_E_BLOCKED, &notices);
    cr_assert_not(session_wants_input(blocked.writer->session));
    fake_advance(net, 1);
    cr_assert_eq(blocked.writer->session->hold.reasons & HOLD_FULL, 0);
    fake_mail_settle(net);
    fake_net_fini(net);
}

/* ---- old queues ---------------------------------------------------------- */

/* What is queued may be so old, and no older; whoever reads slowly, but reads,
 * is left in peace. */
Test(hold, a_queue_that_is_too_old)
{
    struct core_options options = fake_options();
    options.max_output_age_ms = 1000;
    options.write_timeout_ms = 600000;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *peers[2] = {open_at(&net, HOME), open_at(&net, HOME)};
    struct fake_peer *writer = open_at(&net, HOME);
    struct say say = {0};
    for (int i = 0; i < 2; i++) {
        say_subscribe(&say, 1, "a");
        expect_fed(peers[i], &say);
        expect_suback(peers[i], 1, 0);
    }
    uint64_t dead_ms = 0;
    for (int i = 0; i < 10; i++) {
        say_publish(&say, 0, "a", "x");
        expect_fed(writer, &say);
        fake_advance(&net, 400);
        fake_take(peers[1], SIZE_MAX);
        if (peers[0]->session != NULL &&
            peers[0]->session->state == SESSION_CLOSING && dead_ms == 0) {
            dead_ms = (uint64_t)(i + 1) * 400;
        }
    }
    cr_assert(dead_ms >= 1000 && dead_ms <= 2000, "after %llu ms",
        (unsigned long long)dead_ms);
    expect_goaway(peers[0], BROKER_E_SLOW_CONSUMER);
    cr_assert_eq(peers[1]->session->state, SESSION_OPEN);
    fake_net_fini(&net);
}
