/* SPDX-License-Identifier: MIT
 *
 * The data lane where subscriptions want only the newest of each topic.
 * PROTOCOL.md section 5.6. The rig's reader checks the order and the sums; here
 * is what must stay and go. Linked with --wrap for the allocator and for
 * table_hash, which a pass calls for nearly every message that it looks at. */
#include "allocator.h"
#include "output_rig.h"

#include <criterion/criterion.h>

enum { A = 1, B = 2, C = 4, D = 8 };

uint64_t __real_table_hash(const void *bytes, size_t len, uint64_t seed);
uint64_t __wrap_table_hash(const void *bytes, size_t len, uint64_t seed);

static uint64_t hashes;

uint64_t
__wrap_table_hash(const void *bytes, size_t len, uint64_t seed)
{
    hashes++;
    return __real_table_hash(bytes, len, seed);
}

static const enum broker_overflow mixed[RIG_SUBSCRIPTIONS] = {
    BROKER_OVERFLOW_CONFLATE, BROKER_OVERFLOW_CONFLATE,
    BROKER_OVERFLOW_DROP_NEWEST, BROKER_OVERFLOW_DROP_OLDEST};

#define FRAME_BYTES(payload) (12 + 4 + 6 + (payload))

static enum output_result
put(struct rig *rig, uint32_t mask, uint32_t topic, size_t payload_bytes)
{
    rig->topic = topic;
    return rig_append(rig, mask, 1, payload_bytes);
}

static uint64_t
dropped(const struct rig *rig, uint32_t i, enum drop_reason reason)
{
    return rig->subscriptions[i].books.dropped[reason];
}

/* ---- what stays ---------------------------------------------------------- */

Test(conflate, nothing_goes_as_long_as_it_fits)
{
    struct rig *rig = rig_new_simple(10000, BROKER_OVERFLOW_CONFLATE);
    for (uint32_t i = 0; i < 50; i++) {
        cr_assert_eq(put(rig, A, i % 2, 100), OUTPUT_QUEUED);
    }
    rig_finish(rig);
    cr_assert_eq(rig->readers[0].received, 50);
    cr_assert_eq(rig->gap_frames, 0);
    rig_free(rig);
}

Test(conflate, the_newest_of_each_topic_stays_behind_one_gap)
{
    struct rig *rig =
        rig_new_simple(FRAME_BYTES(100) * 100, BROKER_OVERFLOW_CONFLATE);
    uint32_t n = 0;
    while (dropped(rig, 0, DROP_CONFLATED) == 0) {
        cr_assert_eq(put(rig, A, n++ % 10, 100), OUTPUT_QUEUED);
    }
    /* Ten that stayed, and the one that did not fit; in one piece. */
    cr_assert_eq(rig->output.messages, 11);
    cr_assert_leq(rig->output.count, 2);
    rig_finish(rig);
    cr_assert_eq(rig->gap_frames, 1);
    cr_assert_eq(rig->readers[0].received, 11);
    cr_assert_eq(rig->readers[0].conflated, n - 11);
    for (uint32_t i = n - 11; i < n; i++) {
        cr_assert(rig->readers[0].came[i]);
    }
    rig_free(rig);
}

Test(conflate, what_changes_seldom_outlives_what_changes_often)
{
    struct rig *rig = rig_new_simple(20000, BROKER_OVERFLOW_CONFLATE);
    for (uint32_t topic = 1; topic <= 50; topic++) {
        put(rig, A, topic, 100);
    }
    for (int i = 0; i < 3000; i++) {
        cr_assert_eq(put(rig, A, 0, 200), OUTPUT_QUEUED);
    }
    cr_assert_eq(dropped(rig, 0, DROP_OVERFLOW), 0);
    rig_finish(rig);
    for (uint32_t i = 0; i < 50; i++) {
        cr_assert(rig->readers[0].came[i]);
    }
    cr_assert(rig->readers[0].came[rig->frame_count - 1]);
    rig_free(rig);
}

/* Large values that stay and small changes, and the other way round. */
Test(conflate, up_to_half_of_the_limit_nothing_else_is_lost)
{
    for (int large_stay = 0; large_stay < 2; large_stay++) {
        struct rig *rig = rig_new_simple(100000, BROKER_OVERFLOW_CONFLATE);
        uint32_t stay = large_stay ? 5 : 80;
        for (uint32_t topic = 1; topic <= stay; topic++) {
            put(rig, A, topic, large_stay ? 9000 : 500);
        }
        for (int i = 0; i < 3500; i++) {
            put(rig, A, 0, large_stay ? 20 : 9000);
            if (i % 10 == 0) {
                rig_next_block(rig);
            }
        }
        cr_assert_eq(dropped(rig, 0, DROP_OVERFLOW), 0);
        rig_finish(rig);
        rig_free(rig);
    }
}

/* A few large values may take most of the queue, as long as there is room for
 * many small changes. */
Test(conflate, large_values_stay_beside_small_changes)
{
    struct rig *rig = rig_new_simple(100000, BROKER_OVERFLOW_CONFLATE);
    for (uint32_t topic = 1; topic <= 5; topic++) {
        put(rig, A, topic, 17000);
    }
    for (int i = 0; i < 3500; i++) {
        put(rig, A, 0, 20);
    }
    cr_assert_eq(dropped(rig, 0, DROP_OVERFLOW), 0);
    rig_finish(rig);
    rig_free(rig);
}

Test(conflate, beyond_the_limit_the_oldest_go_for_a_reason_of_their_own)
{
    struct rig *rig = rig_new_simple(5000, BROKER_OVERFLOW_CONFLATE);
    for (uint32_t i = 0; i < 1000; i++) {
        cr_assert_eq(
            put(rig, A, i % 5 == 0 ? i / 5 % 90 : i % 2, 100), OUTPUT_QUEUED);
    }
    uint64_t conflated = dropped(rig, 0, DROP_CONFLATED);
    uint64_t overflowed = dropped(rig, 0, DROP_OVERFLOW);
    cr_assert_gt(conflated, 0);
    cr_assert_gt(overflowed, 0);
    rig_finish(rig);
    cr_assert_eq(rig->gap_frames, 2);
    cr_assert_eq(rig->readers[0].conflated, conflated);
    cr_assert_eq(rig->readers[0].missing, conflated + overflowed);
    rig_free(rig);
}

/* ---- beside others ------------------------------------------------------- */

Test(conflate, the_most_preserving_policy_of_a_set_wins)
{
    struct rig *rig = rig_new(2000, mixed);
    put(rig, A | D, 1, 100);
    put(rig, A | D, 1, 100);
    put(rig, A | C, 1, 100);
    put(rig, A | C, 1, 100);
    for (int i = 0; i < 100; i++) {
        put(rig, A | B, 2, 100);
    }
    cr_assert_eq(dropped(rig, 2, DROP_OVERFLOW), 0);
    cr_assert_eq(dropped(rig, 3, DROP_CONFLATED), 0);
    cr_assert_gt(dropped(rig, 0, DROP_CONFLATED), 0);
    cr_assert_eq(
        dropped(rig, 0, DROP_CONFLATED), dropped(rig, 1, DROP_CONFLATED));
    rig_finish(rig);
    rig_free(rig);
}

/* The flood of another subscription drops what is its own. */
Test(conflate, drop_oldest_goes_before_what_was_conflated)
{
    struct rig *rig = rig_new(10000, mixed);
    for (uint32_t topic = 1; topic <= 20; topic++) {
        put(rig, A, topic, 100);
        put(rig, A, topic, 100);
    }
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(put(rig, D, 0, 100), OUTPUT_QUEUED);
        if (i % 50 == 0) {
            cr_assert_eq(put(rig, A, 1, 100), OUTPUT_QUEUED);
        }
    }
    cr_assert_eq(dropped(rig, 0, DROP_OVERFLOW), 0);
    cr_assert_gt(dropped(rig, 3, DROP_OVERFLOW), 0);
    rig_finish(rig);
    rig_free(rig);
}

Test(conflate, a_drop_oldest_message_has_others_conflated)
{
    struct rig *rig = rig_new(2000, mixed);
    while (output_fits(&rig->output, FRAME_BYTES(100))) {
        put(rig, A, 1, 100);
    }
    cr_assert_eq(put(rig, D, 0, 100), OUTPUT_QUEUED);
    cr_assert_eq(dropped(rig, 0, DROP_OVERFLOW), 0);
    cr_assert_eq(rig->output.messages, 2);
    rig_finish(rig);
    rig_free(rig);
}

Test(conflate, between_what_is_kept_a_topic_keeps_its_order)
{
    struct rig *rig = rig_new(4000, mixed);
    put(rig, A | C, 1, 100); /* is not dropped */
    put(rig, A, 1, 100);     /* so its gap could only be behind that one */
    put(rig, A, 1, 100);
    put(rig, A, 2, 100);
    put(rig, A, 2, 100);
    for (int i = 0; i < 100; i++) {
        put(rig, B, 3, 100);
    }
    cr_assert_eq(dropped(rig, 0, DROP_CONFLATED), 1);
    rig_finish(rig);
    rig_free(rig);
}

Test(conflate, only_for_whom_there_is_a_newer_one)
{
    struct rig *rig = rig_new(4000, mixed);
    put(rig, A, 1, 100);     /* goes */
    put(rig, A | B, 1, 100); /* is the newest for B */
    put(rig, A, 1, 100);
    put(rig, A, 2, 100); /* goes: the next is for A as well */
    put(rig, A | C, 2, 100);
    for (int i = 0; i < 100; i++) {
        put(rig, D, 3, 100);
        put(rig, A, 3, 100);
    }
    rig_finish(rig);
    cr_assert_not(rig->readers[0].came[0]);
    cr_assert(rig->readers[1].came[1]);
    cr_assert(rig->readers[0].came[2]);
    cr_assert_not(rig->readers[0].came[3]);
    cr_assert(rig->readers[0].came[4]);
    rig_free(rig);
}

Test(conflate, unsubscribing_with_gaps_pending)
{
    struct rig *rig = rig_new(2000, mixed);
    for (int i = 0; i < 100; i++) {
        put(rig, i % 2 == 0 ? A | B : A, (uint32_t)i % 3, 100);
    }
    cr_assert(output_owes(&rig->output, &rig->subscriptions[1]));
    rig_forget(rig, 0);
    cr_assert(output_owes(&rig->output, &rig->subscriptions[1]));
    rig_finish(rig);
    cr_assert_gt(rig->readers[1].conflated, 0);
    rig_free(rig);
}

Test(conflate, behind_a_frame_that_was_cut)
{
    for (size_t cut = 1; cut < 300; cut += 7) {
        struct rig *rig = rig_new_simple(3000, BROKER_OVERFLOW_CONFLATE);
        for (int turn = 0; turn < 3; turn++) {
            for (uint32_t i = 0; i < 100; i++) {
                put(rig, i % 7 == 0 ? A | B : A, i % 7, 100);
            }
            rig_take(rig, cut);
        }
        rig_finish(rig);
        rig_free(rig);
    }
}

/* ---- memory -------------------------------------------------------------- */

Test(conflate, blocks_are_let_go)
{
    struct rig *rig = rig_new_simple(1 << 20, BROKER_OVERFLOW_CONFLATE);
    for (uint32_t i = 0; i < 1500; i++) {
        put(rig, A, i % 7, 10000);
    }
    cr_assert_leq(rig->pool.bytes_in_use, (2u << 20) + 3 * BLOCK_POOL_BYTES);
    rig_finish(rig);
    rig_free(rig);
}

/* A topic that stays between others that go, all in one segment. */
Test(conflate, many_small_values_in_one_slice)
{
    struct rig *rig = rig_new_simple(10000, BROKER_OVERFLOW_CONFLATE);
    for (uint32_t i = 0; i < 2000; i++) {
        put(rig, A, i % 2 == 0 ? 0 : i / 2 % 99 + 1, 10);
        cr_assert_leq(rig->output.bytes, 10000);
        cr_assert_leq(rig->output.count, 8);
    }
    cr_assert_eq(dropped(rig, 0, DROP_OVERFLOW), 0);
    rig_finish(rig);
    rig_free(rig);
}

Test(conflate, while_memory_is_tight_the_queue_does_not_grow)
{
    struct rig *rig = rig_new_simple(8 << 20, BROKER_OVERFLOW_CONFLATE);
    for (uint32_t i = 0; i < 100; i++) {
        put(rig, A, i % 4, 5000);
    }
    uint64_t bytes = rig->output.bytes;
    for (uint32_t i = 0; i < 300; i++) {
        rig->pool.bytes_tight = UINT64_MAX;
        if (block_room(rig->block) < 6000) {
            rig_next_block(rig);
        }
        rig->pool.bytes_tight = 0;
        cr_assert_eq(put(rig, A, i % 4, 5000), OUTPUT_QUEUED);
        cr_assert_leq(rig->output.bytes, bytes);
    }
    cr_assert_gt(dropped(rig, 0, DROP_CONFLATED), 0);
    cr_assert_eq(dropped(rig, 0, DROP_OVERFLOW), 0);
    rig_finish(rig);
    rig_free(rig);
}

static void
fill_for_no_memory(struct rig *rig)
{
    put(rig, A | B, 99, 50);
    for (uint32_t i = 0; i < 150; i++) {
        put(rig, i % 80 == 79 ? A | B : A, i % 2 == 0 ? 0 : i % 20, 50);
        if (i % 20 == 0) {
            rig_next_block(rig);
        }
    }
}

/* Without memory for a pass it is as with drop-oldest. */
Test(conflate, every_allocation_fails_once)
{
    uint64_t n = 0;
    do {
        n++;
        struct rig *rig = rig_new_simple(4000, BROKER_OVERFLOW_CONFLATE);
        allocator = (struct allocator){.countdown = n};
        rig->guard = allocator_guard;
        fill_for_no_memory(rig);
        rig_finish(rig);
        rig_free(rig);
    } while (allocator.failed);
    cr_assert_gt(n, 5);
}

Test(conflate, without_any_memory_the_oldest_go)
{
    struct rig *rig = rig_new_simple(4000, BROKER_OVERFLOW_CONFLATE);
    for (uint32_t i = 0; i < 10; i++) {
        put(rig, A, i, 200);
    }
    rig->pool.bytes_allowed = rig->pool.bytes_in_use;
    for (uint32_t i = 0; i < 100; i++) {
        cr_assert_eq(put(rig, A, 0, 200), OUTPUT_QUEUED);
    }
    cr_assert_eq(dropped(rig, 0, DROP_CONFLATED), 0);
    cr_assert_gt(dropped(rig, 0, DROP_OVERFLOW), 0);
    rig->pool.bytes_allowed = UINT64_MAX;
    rig_finish(rig);
    rig_free(rig);
}

/* ---- work ---------------------------------------------------------------- */

/* Each a way to have a full queue for long. `topics` in turn. */
static const struct {
    const char *name;
    uint32_t topics;
    uint32_t kept;       /* messages that may not go, at the start */
    uint32_t large_each; /* one of so many messages is large; 0: none */
} loads[] = {
    {"few topics", 3, 0, 0},
    {"the newest take half of the queue", 60, 0, 0},
    {"more topics than the queue holds", 100, 0, 0},
    {"a queue full of others", 60, 112, 0},
    {"some large messages", 60, 0, 50},
    {"many large messages", 100, 0, 3},
};

/* Looking at the whole queue for each message would be about 100 look-ups for
 * each. Measured at most 8. */
Test(conflate, work_is_constant_for_each_message)
{
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
        struct rig *rig = rig_new(FRAME_BYTES(60) * 120, mixed);
        for (uint32_t k = 0; k < loads[i].kept; k++) {
            put(rig, A | C, k % 60, 60);
        }
        hashes = 0;
        uint32_t n;
        for (n = 0; rig->frame_count < RIG_MESSAGES; n++) {
            bool large = loads[i].large_each > 0 &&
                         n % loads[i].large_each == loads[i].large_each - 1;
            put(rig, A, n % loads[i].topics, large ? 3000 : 60);
        }
        cr_assert_gt(hashes, n / 10, "%s: no pass was made", loads[i].name);
        cr_assert_leq(hashes, 12 * (uint64_t)n, "%s: %llu look-ups for %u",
            loads[i].name, (unsigned long long)hashes, n);
        rig_finish(rig);
        rig_free(rig);
    }
}
