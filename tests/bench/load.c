/* SPDX-License-Identifier: MIT
 *
 * bench_load: puts one load on one broker and prints one line of JSON with
 * what was delivered and what CPU time it cost the broker. tests/bench/run
 * starts it; --help says how to do so by hand.
 *
 * One thread, raw sockets, frames built before. The window bounds what is on
 * its way between a publisher and its slowest subscriber, so that no broker
 * has a reason to drop; at the end every message must have arrived, once. */
#include "fair.h"
#include "measure.h"
#include "options.h"
#include "result.h"
#include "rig.h"
#include "sock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define WRITE_BYTES_MAX (256u * 1024u)
#define WAIT_MS         1

/* ---- as much as goes through --------------------------------------------- */

static void
push(struct rig *rig)
{
    for (size_t i = 0; i < rig->flow_count; i++) {
        struct flow *flow = &rig->flows[i];
        struct publisher *publisher = &flow->publisher;
        if (!publisher->writable) {
            continue;
        }
        uint64_t done = flow_done(flow);
        if (rig->options->acknowledge &&
            publisher->replies.acknowledged < done) {
            done = publisher->replies.acknowledged;
        }
        /* A message longer than the window still goes out alone. */
        uint64_t limit = done * publisher->frame_bytes + flow->window_bytes;
        uint64_t least = (done + 1) * publisher->frame_bytes;
        limit = limit > least ? limit : least;
        if (publisher->sent_bytes < limit) {
            uint64_t bytes = limit - publisher->sent_bytes;
            publisher_write(
                publisher, bytes < WRITE_BYTES_MAX ? bytes : WRITE_BYTES_MAX);
        }
    }
}

static void
stream_for(struct rig *rig, uint64_t duration_ns)
{
    uint64_t end = now_ns() + duration_ns;
    while (now_ns() < end) {
        rig_turn(rig, WAIT_MS);
        push(rig);
    }
}

static void
load_stream(struct rig *rig)
{
    stream_for(rig, rig->options->warmup_ns);
    struct reading from = reading_now(rig);
    stream_for(rig, rig->options->measure_ns);
    struct reading to = reading_now(rig);
    rig_drain(rig);
    result_print(rig, from, to, "");
}

/* ---- single messages at a rate ------------------------------------------- */

/* One message each `interval`, from one publisher after the other. */
static void
pace_for(struct rig *rig, uint64_t duration_ns, size_t *turn)
{
    uint64_t interval_ns = NS_PER_S / rig->options->rate;
    uint64_t start = now_ns();
    uint64_t end = start + duration_ns;
    uint64_t due = start;
    for (uint64_t now = start; now < end; now = now_ns()) {
        rig_turn(rig, WAIT_MS);
        for (; due <= now; due += interval_ns) {
            struct publisher *publisher =
                &rig->flows[*turn % rig->flow_count].publisher;
            uint64_t cut = publisher_cut_bytes(publisher);
            publisher_write(publisher, cut > 0 ? cut : publisher->frame_bytes);
            *turn += 1;
        }
    }
}

static void
load_paced(struct rig *rig)
{
    size_t turn = 0;
    pace_for(rig, rig->options->warmup_ns, &turn);
    struct reading from = reading_now(rig);
    pace_for(rig, rig->options->measure_ns, &turn);
    struct reading to = reading_now(rig);
    rig_drain(rig);
    result_print(rig, from, to, "");
}

/* ---- one message at a time ----------------------------------------------- */

/* Send one message and wait until it is there; how long that took. */
static uint64_t
round_trip(struct rig *rig)
{
    struct publisher *publisher = &rig->flows[0].publisher;
    struct receiver *receiver = &rig->receivers[0];
    uint64_t wanted = receiver_messages(receiver) + 1;
    uint64_t start = now_ns();
    uint64_t bytes = publisher->frame_bytes;
    do {
        publisher_write(publisher, bytes);
        bytes = publisher_cut_bytes(publisher);
    } while (bytes > 0);
    while (receiver_messages(receiver) < wanted) {
        if (!receiver_read(receiver) &&
            (!rig->options->spin || now_ns() - start > NS_PER_S)) {
            rig_turn(rig, WAIT_MS);
        }
        if (now_ns() - start > 10 * NS_PER_S) {
            give_up("a message did not arrive");
        }
    }
    return now_ns() - start;
}

static void
round_trips_for(struct rig *rig, uint64_t duration_ns, struct samples *samples)
{
    uint64_t end = now_ns() + duration_ns;
    while (now_ns() < end) {
        samples_add(samples, round_trip(rig));
    }
}

static void
load_round_trip(struct rig *rig)
{
    struct samples samples = {0};
    char more[160];
    round_trips_for(rig, rig->options->warmup_ns, &samples);
    samples.count = 0;
    struct reading from = reading_now(rig);
    round_trips_for(rig, rig->options->measure_ns, &samples);
    struct reading to = reading_now(rig);
    rig_drain(rig);
    samples_sort(&samples);
    snprintf(more, sizeof(more),
        ", \"p50_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f",
        samples_us(&samples, 500), samples_us(&samples, 990),
        samples_us(&samples, 1000));
    result_print(rig, from, to, more);
    samples_fini(&samples);
}

/* ---- connections that do nothing ----------------------------------------- */

static uint64_t
settled_resident_bytes(pid_t pid, uint64_t settle_ns)
{
    uint64_t end = now_ns() + settle_ns;
    while (now_ns() < end) {
        struct timespec pause = {.tv_nsec = 10 * (long)NS_PER_MS};
        nanosleep(&pause, NULL);
    }
    return process_resident_bytes(pid);
}

/* Memory of the broker with one connection, and with all of them. Every
 * connection has one subscription, to a topic of its own. */
static void
load_idle(const struct options *options)
{
    struct expectation expected;
    const uint8_t payload = 'a';
    unsigned count = options->subscribers;
    struct receiver *receivers = allocate(count * sizeof(*receivers));
    uint64_t before = 0;
    expectation_init(&expected, options->protocol, &payload, 1, false, false);
    for (unsigned i = 0; i < count; i++) {
        receiver_open(&receivers[i], options->protocol, &expected,
            options->port, i, false);
        receiver_subscribe(&receivers[i], i, 1, i + 1, options->shape, NULL);
        if (i == 0) {
            before =
                settled_resident_bytes(options->broker_pid, options->warmup_ns);
        }
    }
    uint64_t after =
        settled_resident_bytes(options->broker_pid, options->measure_ns);
    printf("{\"ok\": true, \"connections\": %u, \"resident_before\": %llu, "
           "\"resident_after\": %llu, \"bytes_per_connection\": %.1f}\n",
        count, (unsigned long long)before, (unsigned long long)after,
        ((double)after - (double)before) / (count > 1 ? count - 1 : 1));
    for (unsigned i = 0; i < count; i++) {
        receiver_close(&receivers[i]);
    }
    free(receivers);
}

/* ---- the program --------------------------------------------------------- */

static void
raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int
main(int argc, char **argv)
{
    struct options options;
    struct rig rig;
    options_parse(&options, argc, argv);
    raise_file_limit();
    if (options.load == LOAD_IDLE) {
        load_idle(&options);
        return EXIT_SUCCESS;
    }
    rig_open(&rig, &options);
    switch (options.load) {
    case LOAD_PACED:
        load_paced(&rig);
        break;
    case LOAD_ROUND_TRIP:
        load_round_trip(&rig);
        break;
    case LOAD_FAIR:
        load_fair(&rig);
        break;
    default:
        load_stream(&rig);
        break;
    }
    rig_close(&rig);
    return EXIT_SUCCESS;
}
