/* SPDX-License-Identifier: MIT
 *
 * A paced pair beside a flood. See fair.h.
 *
 * A message's time is counted from when it was due, not from when it was
 * written, and the pace does not wait for anything: a broker that stops for a
 * while makes every message late that was due meanwhile, and all of them are
 * counted (no coordinated omission). Messages arrive in order, so the n-th
 * that arrives is the n-th that was due. */
#include "fair.h"

#include "measure.h"
#include "result.h"

#include <stdio.h>

/* The flood writes so much at most before the pair is looked at again: what
 * the load generator itself does must not look like the broker's delay. */
#define FLOOD_WRITE_BYTES (64u * 1024u)
#define WAIT_MS           1
/* A paced message that is later than this has no figure. */
#define LATE_MAX_NS (10 * NS_PER_S)

struct pace {
    uint64_t interval_ns;
    uint64_t start_ns; /* when the first message was due */
    uint64_t sent;     /* messages that were due, written or not */
    uint64_t arrived;
};

static void
flood(struct rig *rig)
{
    for (size_t i = 1; i < rig->flow_count; i++) {
        struct flow *flow = &rig->flows[i];
        struct publisher *publisher = &flow->publisher;
        uint64_t limit =
            flow_done(flow) * publisher->frame_bytes + flow->window_bytes;
        if (publisher->writable && publisher->sent_bytes < limit) {
            uint64_t bytes = limit - publisher->sent_bytes;
            publisher_write(publisher,
                bytes < FLOOD_WRITE_BYTES ? bytes : FLOOD_WRITE_BYTES);
        }
    }
}

/* Write what is due, as far as the socket takes it. */
static void
send_due(struct pace *pace, struct publisher *publisher)
{
    uint64_t now = now_ns();
    while (pace->start_ns + pace->sent * pace->interval_ns <= now) {
        pace->sent++;
    }
    uint64_t bytes = pace->sent * publisher->frame_bytes;
    if (publisher->sent_bytes < bytes && publisher->writable) {
        publisher_write(publisher, bytes - publisher->sent_bytes);
    }
}

static void
take_arrived(
    struct pace *pace, struct receiver *receiver, struct samples *samples)
{
    receiver_read(receiver);
    uint64_t arrived = receiver_messages(receiver);
    uint64_t now = now_ns();
    for (; pace->arrived < arrived; pace->arrived++) {
        uint64_t due = pace->start_ns + pace->arrived * pace->interval_ns;
        if (samples != NULL) {
            samples_add(samples, now - due);
        }
    }
}

/* For so long, and then until everything has arrived that was due by then: the
 * latest messages are those that matter. samples NULL: to warm up. */
static void
fair_for(struct rig *rig, struct pace *pace, uint64_t duration_ns,
    struct samples *samples, bool with_flood)
{
    uint64_t end = now_ns() + duration_ns;
    uint64_t due = UINT64_MAX;
    for (uint64_t now = now_ns(); now < end || pace->arrived < due;
         now = now_ns()) {
        if (now >= end && due == UINT64_MAX) {
            due = pace->sent;
        }
        if (now > end && now - end > LATE_MAX_NS) {
            give_up("paced messages did not arrive");
        }
        send_due(pace, &rig->flows[0].publisher);
        take_arrived(pace, &rig->receivers[0], samples);
        if (with_flood) {
            flood(rig);
            take_arrived(pace, &rig->receivers[0], samples);
        }
        rig_turn(rig, WAIT_MS);
    }
}

void
load_fair(struct rig *rig)
{
    const struct options *options = rig->options;
    struct pace pace = {
        .interval_ns = NS_PER_S / options->rate, .start_ns = now_ns()};
    struct samples quiet = {0};
    struct samples flooded = {0};
    char more[512];
    fair_for(rig, &pace, options->warmup_ns, NULL, false);
    struct reading quiet_from = reading_now(rig);
    fair_for(rig, &pace, options->measure_ns, &quiet, false);
    struct reading quiet_to = reading_now(rig);
    fair_for(rig, &pace, options->warmup_ns, NULL, true);
    struct reading from = reading_now(rig);
    fair_for(rig, &pace, options->measure_ns, &flooded, true);
    struct reading to = reading_now(rig);
    rig_drain(rig);
    samples_sort(&quiet);
    samples_sort(&flooded);
    snprintf(more, sizeof(more),
        ", \"quiet_wall_s\": %.6f, \"quiet_waited_s\": %.6f, "
        "\"quiet_load_waited_s\": %.6f, \"quiet_p50_us\": %.3f, "
        "\"quiet_p90_us\": %.3f, \"quiet_p99_us\": %.3f, \"p50_us\": %.3f, "
        "\"p90_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f",
        (double)(quiet_to.time_ns - quiet_from.time_ns) / 1e9,
        (double)(quiet_to.waited_ns - quiet_from.waited_ns) / 1e9,
        (double)(quiet_to.own_waited_ns - quiet_from.own_waited_ns) / 1e9,
        samples_us(&quiet, 500), samples_us(&quiet, 900),
        samples_us(&quiet, 990), samples_us(&flooded, 500),
        samples_us(&flooded, 900), samples_us(&flooded, 990),
        samples_us(&flooded, 1000));
    result_print(rig, from, to, more);
    samples_fini(&quiet);
    samples_fini(&flooded);
}
