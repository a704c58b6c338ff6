/* SPDX-License-Identifier: MIT
 *
 * Random lives of a durable consumer: connections on three workers come, take,
 * acknowledge, give back, bury and go, while messages are published, time
 * passes and the broker crashes. In the end every message was either
 * acknowledged or is a dead letter, and none was left out (promise G4). */
#include "consumer_rig.h"

#include "consumers.h"
#include "memory.h"
#include "random.h"
#include "session.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#define PEERS    4u
#define WORKERS  3u
#define STEPS    400u
#define SEEDS    12u
#define MESSAGES 3000u

struct life {
    struct rig rig;
    struct random random;
    struct fake_peer *asker;
    struct worker_peer peers[PEERS]; /* peer NULL: not there */
    uint64_t published;
    bool done[MESSAGES + 1];      /* its holder said that it is */
    uint32_t first[MESSAGES + 1]; /* first deliveries, since the last crash */
    bool crashes;
};

static struct life life;

static void
look_at(struct worker_peer *worker, size_t from)
{
    for (size_t i = from; i < worker->count; i++) {
        const struct delivery *got = &worker->got[i];
        cr_assert_leq(got->sequence, life.published);
        life.first[got->sequence] += got->deliveries == 1 ? 1 : 0;
        cr_assert(life.crashes || life.first[got->sequence] <= 1,
            "%llu is new twice", (unsigned long long)got->sequence);
        cr_assert(life.crashes || !life.done[got->sequence], "%llu comes again",
            (unsigned long long)got->sequence);
    }
}

static void
take(struct worker_peer *worker)
{
    size_t before = worker->count;
    (void)work_take(worker);
    look_at(worker, before);
}

static void
come(struct worker_peer *worker)
{
    struct fake_peer *peer = expect_open_at(
        &life.rig.net, random_below(&life.random, WORKERS), &say_hello_default);
    work_consume(worker, peer, "C", random_between(&life.random, 1, 30));
    take(worker);
}

static void
leave(struct worker_peer *worker)
{
    if (random_chance(&life.random, 50)) {
        take(worker);
    }
    fake_drop(worker->peer);
    worker->peer = NULL;
}

/* Say something of the first messages that it has. */
static void
settle(struct worker_peer *worker)
{
    uint32_t n = random_between(&life.random, 1, 8);
    uint32_t what = random_below(&life.random, 10);
    n = n < worker->count ? n : (uint32_t)worker->count;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t sequence = worker->got[i].sequence;
        if (what < 7) {
            work_ack(worker, sequence, sequence);
            life.done[sequence] = true;
        } else if (what < 8) {
            work_say(worker, BROKER_FRAME_NACK, BROKER_NACK_BURY, 0, sequence,
                sequence);
            life.done[sequence] = true;
        } else {
            work_say(worker, BROKER_FRAME_NACK, BROKER_NACK_AGAIN,
                random_below(&life.random, 300), sequence, sequence);
        }
    }
    worker->count -= n;
    memmove(
        worker->got, worker->got + n, worker->count * sizeof worker->got[0]);
    take(worker);
}

static void
crash(void)
{
    rig_restart(&life.rig, true);
    for (uint32_t i = 0; i < PEERS; i++) {
        life.peers[i].peer = NULL;
    }
    life.asker = work_asker(&life.rig);
    life.crashes = true;
}

static void
step(void)
{
    struct worker_peer *worker = &life.peers[random_below(&life.random, PEERS)];
    uint32_t what = random_below(&life.random, 100);
    if (what < 15 && life.published + 40 < MESSAGES) {
        uint32_t n = random_between(&life.random, 1, 40);
        work_publish(life.asker, n);
        life.published += n;
    } else if (what < 20) {
        work_wait(&life.rig, random_below(&life.random, 400));
    } else if (worker->peer == NULL) {
        come(worker);
    } else if (what < 25) {
        leave(worker);
    } else {
        settle(worker);
    }
}

/* What is left goes to one who acknowledges everything. */
static void
drain(void)
{
    struct worker_peer *last = &life.peers[0];
    for (uint32_t i = 0; i < PEERS; i++) {
        if (life.peers[i].peer != NULL) {
            leave(&life.peers[i]);
        }
    }
    work_join(last, &life.rig, 1);
    look_at(last, 0);
    do {
        for (size_t i = 0; i < last->count; i++) {
            work_ack(last, last->got[i].sequence, last->got[i].sequence);
            life.done[last->got[i].sequence] = true;
        }
        last->count = 0;
        work_wait(&life.rig, 500);
        take(last);
    } while (last->count > 0);
}

static void
check(void)
{
    struct cursor_view view;
    const struct cursor *cursor =
        consumers_find(life.rig.net.core, say_text("C"));
    cursor_look(life.rig.net.core, cursor, &view);
    cr_assert_eq(view.last_sequence, life.published);
    cr_assert_eq(view.info.floor, life.published + 1);
    cr_assert(consumer_info_balances(&view.info));
    cr_assert_eq(
        rig_messages(&life.rig, "D"), view.info.count[CONSUMER_DEAD_LETTERED]);
    for (uint64_t sequence = 1; sequence <= life.published; sequence++) {
        cr_assert(life.done[sequence], "%llu was left out",
            (unsigned long long)sequence);
    }
}

static void
live(uint64_t seed, bool crashes)
{
    memset(&life, 0, sizeof life);
    life.random.state = seed;
    work_init(&life.rig, WORKERS,
        ",\"window\":50,\"ack_wait_ms\":0,\"dead_letter\":\"dead\"");
    life.asker = work_asker(&life.rig);
    (void)rig_ask(life.asker, "$sys/stream/add",
        "{\"name\":\"D\",\"topics\":[\"dead\"]}");
    for (uint32_t i = 0; i < STEPS; i++) {
        if (crashes && random_chance(&life.random, 2)) {
            crash();
        }
        step();
    }
    drain();
    check();
    rig_fini(&life.rig);
}

Test(consumers_random, lives, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        live(seed, false);
    }
}

Test(consumers_random, lives_with_crashes, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        live(seed, true);
    }
}
