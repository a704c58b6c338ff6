/* SPDX-License-Identifier: MIT
 *
 * Queues whose middle was dropped: what is left of gaps that were merged, gaps
 * of different reasons, more gaps than are reported at once; and a socket that
 * takes nothing. output.h. */
#include "output_rig.h"

#include "output_ring.h"

#include <criterion/criterion.h>

enum { A = 1, B = 2, C = 4, D = 8 };

/* At most, beside its payload. */
#define FRAME_BYTES 32

/* B is kept, whatever comes; A and D lose their oldest. */
static const enum broker_overflow mixed[RIG_SUBSCRIPTIONS] = {
    BROKER_OVERFLOW_DROP_OLDEST, BROKER_OVERFLOW_DROP_NEWEST,
    BROKER_OVERFLOW_DISCONNECT, BROKER_OVERFLOW_DROP_OLDEST};

/* A message in a small block of its own: nothing is gained by copying it
 * together with others. */
static enum output_result
append_one(struct rig *rig, uint32_t mask, size_t bytes)
{
    rig->block_bytes = bytes + FRAME_BYTES;
    rig_next_block(rig);
    return rig_append(rig, mask, 1, bytes);
}

/* Single messages of A behind a kept one of B. */
static struct rig *
rig_behind_kept(uint64_t max_bytes, size_t kept_bytes, uint32_t n, size_t bytes)
{
    struct rig *rig = rig_new(max_bytes, mixed);
    cr_assert_eq(rig_append(rig, B, 1, kept_bytes), OUTPUT_QUEUED);
    for (uint32_t i = 0; i < n; i++) {
        cr_assert_eq(append_one(rig, A, bytes), OUTPUT_QUEUED);
    }
    return rig;
}

/* Messages that are dropped one by one leave one gap, and for each of the
 * others a hole. Holes are no reason to refuse a message. */
Test(output_edges, holes_make_room)
{
    enum { N = 300, KEPT = 30000, EACH = 100, LAST = 45000 };
    uint64_t holes = N * sizeof(struct segment);
    uint64_t max_bytes = KEPT + N * (EACH + FRAME_BYTES) + holes;
    cr_assert_gt(KEPT + LAST + holes, max_bytes, "there is room anyway");
    cr_assert_lt(KEPT + LAST + 1000, max_bytes);
    struct rig *rig = rig_behind_kept(max_bytes, KEPT, N, EACH);
    cr_assert_eq(append_one(rig, A, LAST), OUTPUT_QUEUED);
    cr_assert_eq(rig->output.count, 3); /* kept, the gap, the last */
    cr_assert_eq(rig->output.holes, 0);
    cr_assert_eq(rig->output.messages, 2);
    rig_finish(rig);
    cr_assert_eq(rig->gap_frames, 1);
    cr_assert_eq(rig->readers[0].missing, N);
    cr_assert_eq(rig->readers[0].received, 1);
    rig_free(rig);
}

/* All that may go is gone, and the message still does not fit: it is refused,
 * and everything is accounted for. */
Test(output_edges, refused_when_nothing_more_may_go)
{
    enum { N = 20 };
    struct rig *rig = rig_behind_kept(10000, 4000, N, 100);
    cr_assert_eq(append_one(rig, A, 9000), OUTPUT_REFUSED);
    rig_finish(rig);
    cr_assert_eq(rig->readers[0].missing, N + 1);
    rig_free(rig);
}

/* Also where many that are kept stand behind what went. */
Test(output_edges, refused_behind_many_kept)
{
    enum { N = 100, KEPT = 300 };
    struct rig *rig = rig_behind_kept(1 << 20, 100, N, 100);
    for (uint32_t i = 0; i < KEPT; i++) {
        cr_assert_eq(append_one(rig, B, 100), OUTPUT_QUEUED);
    }
    cr_assert_eq(append_one(rig, A, 2 << 20), OUTPUT_REFUSED);
    rig_finish(rig);
    cr_assert_eq(rig->readers[1].received, KEPT + 1);
    rig_free(rig);
}

/* A gap says one reason. */
Test(output_edges, gaps_of_two_reasons_are_two)
{
    struct rig *rig = rig_behind_kept(10000, 1000, 0, 0);
    rig_refuse(rig, A, 2, 30, BROKER_GAP_TOO_LARGE);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(append_one(rig, A, 500), OUTPUT_QUEUED);
    }
    cr_assert_eq(append_one(rig, A, 8500), OUTPUT_QUEUED);
    rig_finish(rig);
    cr_assert_eq(rig->gap_frames, 2);
    cr_assert_eq(rig->readers[0].missing, 5);
    cr_assert_eq(rig->subscriptions[0].books.dropped[DROP_TOO_LARGE], 2);
    cr_assert_eq(rig->subscriptions[0].books.dropped[DROP_OVERFLOW], 3);
    rig_free(rig);
}

/* Gaps of two sets in turn cannot be merged. They are reported in portions, in
 * their places, and none is forgotten. */
Test(output_edges, more_gaps_than_are_reported_at_once)
{
    enum { N = 3500, PORTION = 64 * 1024 };
    struct rig *rig = rig_behind_kept(300000, 1000, 0, 0);
    for (uint32_t i = 0; i < N; i++) {
        (void)append_one(rig, i % 2 == 0 ? A : A | D, 2000);
    }
    rig->spans_max = 2; /* CONTEXT and the first message */
    cr_assert_gt(rig_take(rig, SIZE_MAX), 1000);
    cr_assert_eq(rig->gap_frames, 0);
    rig->spans_max = 1;
    size_t taken = rig_take(rig, SIZE_MAX);
    cr_assert(taken > PORTION && taken < PORTION + 100, "%zu bytes", taken);
    rig->spans_max = 64;
    rig_finish(rig);
    cr_assert_gt(rig->gap_frames * 40, PORTION);
    cr_assert_eq(rig->gap_frames, rig->readers[0].missing);
    cr_assert_eq(rig->readers[0].missing + rig->readers[0].received, N);
    rig_free(rig);
}

/* The rest of a large message goes first, then what the broker has to say. */
Test(output_edges, one_span_at_a_time)
{
    struct output_span spans[4];
    struct rig *rig = rig_new(1 << 20, mixed);
    rig_append(rig, A, 1, 100000);
    cr_assert_eq(output_spans(&rig->output, spans, 0), 0);
    cr_assert_gt(rig_take(rig, 5000), 0);
    cr_assert_gt(rig->output.rest_bytes, 0, "it was copied");
    rig_control(rig, 1);
    cr_assert_eq(output_spans(&rig->output, spans, 0), 0);
    cr_assert_eq(output_spans(&rig->output, spans, 1), 1);
    cr_assert_eq(spans[0].data, rig->output.rest);
    rig->spans_max = 1;
    rig_finish(rig);
    cr_assert_eq(rig->control_frames, 1);
    rig_free(rig);
}
