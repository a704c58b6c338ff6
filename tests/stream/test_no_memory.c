/* SPDX-License-Identifier: MIT
 *
 * Every allocation fails once: nothing is lost, and what failed works when it
 * is tried again. */
#include "../core/allocator.h"
#include "consumer_rig.h"

static void
fail_at(uint64_t which)
{
    allocator.inside = which > 0;
    allocator.countdown = which;
    allocator.failed = false;
}

/* A call that may fail, with the which-th allocation failing. */
static bool
failed(void)
{
    bool did = allocator.failed;
    fail_at(0);
    return did;
}

Test(consumer_no_memory, a_consumer_is_there_or_not)
{
    struct consumer_settings settings = rig_settings();
    int64_t live = allocator.live;
    for (uint64_t which = 1;; which++) {
        fail_at(which);
        struct consumer *consumer = consumer_new(&settings);
        bool did = failed();
        cr_assert_eq(consumer == NULL, did);
        consumer_free(consumer);
        cr_assert_eq(allocator.live, live);
        if (!did) {
            cr_assert_eq(which, 3);
            break;
        }
    }
}

Test(consumer_no_memory, an_attachment_is_there_or_not)
{
    for (uint64_t which = 1; which <= 2; which++) {
        struct rig rig;
        rig_init(&rig, NULL);
        fail_at(which);
        cr_assert_null(consumer_attach(rig.consumer, &rig, 5));
        cr_assert(failed());
        rig_check(&rig);
        (void)rig_attach(&rig, 5);
        rig_fini(&rig);
    }
}

/* Which allocations an offer makes changes with what is in the ring: so each of
 * them fails once in a long life. */
Test(consumer_no_memory, an_offer_takes_what_it_can)
{
    uint64_t failures = 0;
    for (uint64_t which = 1; which <= 2; which++) {
        struct rig rig;
        struct consumer_settings settings = rig_settings();
        settings.window = 5000;
        rig_init(&rig, &settings);
        struct consumer_attachment *a = rig_attach(&rig, 5000), *who;
        uint32_t offered = 0;
        uint64_t rig_failures = 0;
        while (offered < 5000) {
            fail_at(which);
            uint32_t taken =
                consumer_offer(rig.consumer, offered + 1, 7, rig.now_ms, &who);
            bool did = failed();
            rig_failures += did;
            cr_assert(did || taken == (offered + 7 <= 5000 ? 7 : 5000 % 7));
            rig_check(&rig);
            struct consumer_reason reason;
            if (did) {
                cr_assert_eq(
                    consumer_explain(rig.consumer, 9999, 0, &reason, 1), 1);
                cr_assert_eq(reason.why, CONSUMER_WHY_MEMORY);
            }
            offered += taken;
            if (did && taken == 0) {
                cr_assert_eq(rig_offer(&rig, 1, a), (uint64_t)offered + 1);
                offered++;
            }
        }
        cr_assert_eq(rig_count(&rig, CONSUMER_OFFERED), 5000);
        cr_assert_eq(rig_count(&rig, CONSUMER_NO_MEMORY), rig_failures);
        cr_assert_eq(consumer_ack(rig.consumer, a, 1, 5000), 5000);
        failures += rig_failures;
        rig_fini(&rig);
    }
    cr_assert(failures > 10);
}

Test(consumer_no_memory, holes_are_room_when_there_is_no_other)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50), *who;
    rig_offer(&rig, 16, a);
    cr_assert_eq(consumer_ack(rig.consumer, a, 4, 8), 5);
    fail_at(1);
    cr_assert_eq(consumer_offer(rig.consumer, 17, 7, rig.now_ms, &who), 5);
    cr_assert(failed());
    rig_check(&rig);
    rig_offer(&rig, 2, a);
    cr_assert_eq(consumer_ack(rig.consumer, a, 1, 23), 18);
    rig_fini(&rig);
}

Test(consumer_no_memory, nothing_is_left_behind)
{
    struct rig rig;
    int64_t live = allocator.live;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 40, a);
    rig_detach(&rig, a);
    for (int i = 0; i < 9; i++) {
        (void)rig_attach(&rig, 1);
    }
    rig_fini(&rig);
    cr_assert_eq(allocator.live, live);
}

/* Nothing but offering and attaching allocates. */
Test(consumer_no_memory, what_has_begun_goes_on_without)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.max_deliveries = 2;
    rig_init(&rig, &settings);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    struct consumer_attachment *b = rig_attach(&rig, 50);
    consumer_set_window(rig.consumer, b, 0);
    rig_offer(&rig, 20, a);
    allocator.and_all_after = true;
    fail_at(1);
    cr_assert_eq(consumer_nack(rig.consumer, a, 1, 10, 0, rig.now_ms), 10);
    rig_redeliver(&rig, 1, a, 2);
    consumer_set_window(rig.consumer, b, 50);
    consumer_detach(rig.consumer, a, rig.now_ms);
    rig_dead(&rig, 1, 2);
    consumer_dead_failed(rig.consumer, 1, rig.now_ms);
    rig_redeliver(&rig, 2, b, 2);
    cr_assert_eq(consumer_tick(rig.consumer, rig.now_ms + 1000), 1);
    uint8_t bytes[2048];
    (void)consumer_save(rig.consumer, NULL, 0, bytes, sizeof bytes);
    consumer_reset(rig.consumer, 1);
    cr_assert_not(failed());
    allocator.and_all_after = false;
    rig_fini(&rig);
}

Test(consumer_no_memory, a_load_can_be_tried_again)
{
    struct rig rig;
    rig_init(&rig, NULL);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_offer(&rig, 40, a);
    uint8_t bytes[2048];
    size_t len = consumer_save(rig.consumer, NULL, 0, bytes, sizeof bytes);
    rig_fini(&rig);
    rig_init(&rig, NULL);
    for (uint64_t which = 1; which <= 2; which++) {
        fail_at(which);
        cr_assert_eq(
            consumer_load(rig.consumer, bytes, len), CONSUMER_LOAD_MEMORY);
        cr_assert(failed());
        cr_assert_eq(rig_info(&rig).next, 1);
        rig_check(&rig);
    }
    cr_assert_eq(consumer_load(rig.consumer, bytes, len), CONSUMER_LOADED);
    cr_assert_eq(rig_info(&rig).waiting, 40);
    rig_fini(&rig);
}
