/* SPDX-License-Identifier: MIT
 *
 * Durable consumers as connections know them: joining, messages, what is
 * acknowledged and what comes back; on one and on several workers, over a store
 * in memory. PROTOCOL.md section 5.14. */
#include "consumer_rig.h"

#include <criterion/criterion.h>

#include <string.h>

static struct worker_peer a;

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
