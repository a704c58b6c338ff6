/* SPDX-License-Identifier: MIT
 *
 * What `brokerctl bench` makes of its options, and the stamp in its payloads.
 * What it does is tested with a broker in test_bench.py.
 */
#include <criterion/criterion.h>

#include <string.h>

#include "bench_plan.h"
#include "bench_stamp.h"

#define S UINT64_C(1000000000)

static struct bench_plan
plan_of(const struct bench_settings *settings, const char *mode)
{
    struct bench_plan plan;

    cr_assert_eq(bench_plan_make(&plan, settings, mode), CTL_EXIT_OK);
    return plan;
}

Test(bench_plan, defaults_of_every_mode)
{
    struct bench_plan plan = plan_of(&bench_defaults, "both");

    cr_assert_eq(plan.payload_bytes, 128);
    cr_assert_eq(plan.duration_ns, 5 * S);
    cr_assert_eq(plan.warmup_ns, S);
    cr_assert_eq(plan.publishers, 1);
    cr_assert_eq(plan.subscribers, 1);
    cr_assert_eq(plan.topics, 1);
    cr_assert_eq(plan.window, 1000);
    cr_assert(plan.acknowledged);
    cr_assert(plan.stamped);
    plan = plan_of(&bench_defaults, "fanout");
    cr_assert_eq(plan.publishers, 1);
    cr_assert_eq(plan.subscribers, 100);
    plan = plan_of(&bench_defaults, "pub");
    cr_assert_eq(plan.subscribers, 0);
    cr_assert(plan.stamped); /* for a bench sub elsewhere */
    plan = plan_of(&bench_defaults, "sub");
    cr_assert_eq(plan.publishers, 0);
    cr_assert_eq(plan.warmup_ns, 0);
    plan = plan_of(&bench_defaults, "request");
    cr_assert_eq(plan.window, 1);
    cr_assert(plan.latency);
    cr_assert_not(plan.stamped); /* who asked knows when */
}

Test(bench_plan, a_count_needs_no_time)
{
    struct bench_settings settings = bench_defaults;
    struct bench_plan plan;

    settings.count = 10;
    plan = plan_of(&settings, "both");
    cr_assert_eq(plan.count, 10);
    cr_assert_eq(plan.duration_ns, 0);
    settings.duration_ns = 2 * S;
    plan = plan_of(&settings, "both");
    cr_assert_eq(plan.duration_ns, 2 * S);
}

/* The window is counted in messages, but bounded in bytes. */
Test(bench_plan, large_payloads_have_small_windows)
{
    struct bench_settings settings = bench_defaults;

    settings.payload_bytes = 65536;
    cr_assert_eq(plan_of(&settings, "both").window, 15);
    settings.payload_bytes = 8 << 20;
    cr_assert_eq(plan_of(&settings, "both").window, 1);
    settings.window = 7;
    cr_assert_eq(plan_of(&settings, "both").window, 7);
    settings.window = 0;
    settings.no_ack = true;
    cr_assert_eq(plan_of(&settings, "both").window, 0);
}

Test(bench_plan, who_gets_a_message)
{
    struct bench_settings settings = bench_defaults;
    struct bench_plan plan;

    settings.subscribers = 3;
    plan = plan_of(&settings, "both");
    cr_assert_eq(bench_plan_receivers(&plan), 3);
    settings.group = "g";
    plan = plan_of(&settings, "both");
    cr_assert_eq(bench_plan_receivers(&plan), 1);
    settings.group = NULL;
    plan = plan_of(&settings, "request");
    cr_assert_not_null(plan.group);
    cr_assert_eq(bench_plan_receivers(&plan), 1);
    settings.subscribers = 0;
    plan = plan_of(&settings, "pub");
    cr_assert_eq(bench_plan_receivers(&plan), 0);
}

Test(bench_plan, stamps_need_room)
{
    struct bench_settings settings = bench_defaults;

    settings.payload_bytes = BENCH_STAMP_BYTES;
    cr_assert(plan_of(&settings, "both").stamped);
    settings.payload_bytes = BENCH_STAMP_BYTES - 1;
    cr_assert_not(plan_of(&settings, "both").stamped);
    cr_assert(plan_of(&settings, "both").latency);
    settings.payload_bytes = 128;
    settings.no_latency = true;
    cr_assert_not(plan_of(&settings, "both").stamped);
}

Test(bench_stamp, there_and_back)
{
    const struct bench_stamp stamps[] = {
        {.machine = 1, .warmup = false, .due_ns = 2},
        {.machine = UINT32_MAX, .warmup = true, .due_ns = UINT64_MAX},
    };
    uint8_t payload[BENCH_STAMP_BYTES + 1];

    for (size_t i = 0; i < 2; i++) {
        struct bench_stamp read;

        memset(payload, 'x', sizeof payload);
        bench_stamp_write(payload, &stamps[i]);
        cr_assert_eq(payload[BENCH_STAMP_BYTES], 'x');
        cr_assert(bench_stamp_read(payload, sizeof payload, &read));
        cr_assert_eq(read.machine, stamps[i].machine);
        cr_assert_eq(read.warmup, stamps[i].warmup);
        cr_assert_eq(read.due_ns, stamps[i].due_ns);
        cr_assert_not(bench_stamp_read(payload, BENCH_STAMP_BYTES - 1, &read));
    }
}

Test(bench_stamp, other_bytes_are_none)
{
    uint8_t payload[BENCH_STAMP_BYTES];
    struct bench_stamp stamp;

    memset(payload, 'x', sizeof payload);
    cr_assert_not(bench_stamp_read(payload, sizeof payload, &stamp));
    cr_assert_not(bench_stamp_read(NULL, 0, &stamp));
    cr_assert_eq(bench_stamp_machine(), bench_stamp_machine());
}
