/* SPDX-License-Identifier: MIT
 *
 * The local store where memory is out: what is refused for it is remembered as
 * refused. Linked with --wrap=malloc and so on. */
#include "allocator.h"
#include "local_rig.h"

#include <criterion/criterion.h>

#define RECORD_BYTES 100u

static enum store_status
publish(struct rig *rig, uint32_t stream, uint32_t number, uint32_t count,
    bool is_retry)
{
    struct store_append append = {.stream = stream,
        .count = count,
        .publisher = "me",
        .publisher_bytes = 2,
        .number = number,
        .is_retry = is_retry};
    return rig_append_full(rig, &append, RECORD_BYTES, number);
}

/* The same while the allocation with this number fails. */
static enum store_status
publish_without(
    struct rig *rig, uint32_t stream, uint32_t number, uint64_t allocation)
{
    uint8_t records[40 * RECORD_BYTES];
    struct store_append append = {.stream = stream,
        .records = records,
        .bytes = sizeof records,
        .count = 40,
        .publisher = "me",
        .publisher_bytes = 2,
        .number = number,
        .time_ms = rig->now_ms};
    for (uint32_t i = 0; i < append.count; i++) {
        rig_record(records + i * RECORD_BYTES, RECORD_BYTES, i);
    }
    allocator.failed = false;
    allocator.countdown = allocation;
    allocator.inside = true;
    enum store_status status =
        store_append(rig->port, &append, rig_change_done, rig);
    allocator.inside = false;
    allocator.countdown = 0;
    rig_settle(rig);
    return status == STORE_OK ? rig->last.status : status;
}

/* Each allocation of an append fails once; then something else is stored, and
 * what was refused is tried again. */
Test(no_memory, what_was_refused_is_no_duplicate)
{
    unsigned int refused = 0;
    for (uint64_t allocation = 1;; allocation++) {
        static struct rig rig;
        rig_init(&rig);
        rig_open(&rig);
        uint32_t stream = rig_ensure(&rig, "S", NULL);
        cr_assert_eq(publish(&rig, stream, 1, 1, false), STORE_OK);
        enum store_status status =
            publish_without(&rig, stream, 41, allocation);
        bool failed = allocator.failed;
        cr_assert_eq(publish(&rig, stream, 42, 1, false), STORE_OK);
        for (int round = 0; round < 2 && status == STORE_MEMORY; round++) {
            for (uint32_t number = 2; number <= 41; number += 13) {
                cr_assert_eq(
                    publish(&rig, stream, number, 1, true), STORE_MEMORY);
            }
            rig_crash(&rig);
            rig_open(&rig);
            refused++;
        }
        cr_assert_eq(publish(&rig, stream, 42, 1, true), STORE_DUPLICATE);
        rig_fini(&rig);
        if (!failed) {
            break;
        }
    }
    cr_assert_gt(refused, 0);
}
