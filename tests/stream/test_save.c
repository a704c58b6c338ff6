/* SPDX-License-Identifier: MIT
 *
 * The cursor as bytes: what is in it, and what is not taken for one. */
#include "consumer_rig.h"
#include "random.h"

#include <stdlib.h>
#include <string.h>

#define HEAD (16u + 8u * CONSUMER_COUNTERS)

/* 2 to 4 acknowledged, 5 nacked, 7 buried, 6 skipped, 1, 8 and 9 out. */
static void
make_cursor(struct rig *rig)
{
    rig_init(rig, NULL);
    struct consumer_attachment *a = rig_attach(rig, 50);
    rig_offer(rig, 5, a);
    cr_assert(consumer_skip(rig->consumer, 6, 1, CONSUMER_SKIP_FILTER));
    rig_offer(rig, 3, a);
    cr_assert_eq(consumer_ack(rig->consumer, a, 2, 4), 3);
    cr_assert_eq(consumer_nack(rig->consumer, a, 5, 5, 9999, 5000), 1);
    cr_assert_eq(consumer_bury(rig->consumer, a, 7, 7), 1);
    rig_check(rig);
}

Test(consumer_save, what_was_out_is_delivered_again_and_nothing_else)
{
    struct rig rig;
    make_cursor(&rig);
    rig_restart(&rig);
    cr_assert_not(consumer_is_dirty(rig.consumer));
    struct consumer_attachment *a = rig_attach(&rig, 50);
    static const uint64_t again[] = {1, 5, 8, 9};
    for (int i = 0; i < 4; i++) {
        rig_redeliver(&rig, again[i], a, 2);
    }
    rig_redeliver_none(&rig);
    rig_dead(&rig, 7, 1);
    cr_assert_eq(rig_offer(&rig, 1, a), 10);
    cr_assert_eq(rig_count(&rig, CONSUMER_ACKNOWLEDGED), 3);
    cr_assert_eq(rig_count(&rig, CONSUMER_SKIPPED + CONSUMER_SKIP_FILTER), 1);
    rig_restart(&rig);
    a = rig_attach(&rig, 50);
    rig_redeliver(&rig, 1, a, 3);
    rig_fini(&rig);
}

Test(consumer_save, the_last_delivery_is_over_when_the_broker_ends)
{
    struct rig rig;
    struct consumer_settings settings = rig_settings();
    settings.max_deliveries = 1;
    rig_init(&rig, &settings);
    rig_offer(&rig, 2, rig_attach(&rig, 50));
    rig_restart(&rig);
    cr_assert(consumer_is_dirty(rig.consumer));
    (void)rig_attach(&rig, 50);
    rig_redeliver_none(&rig);
    rig_dead(&rig, 1, 1);
    rig.settings.dead_topic.len = 0;
    rig_restart(&rig);
    cr_assert_eq(rig_count(&rig, CONSUMER_DISCARDED), 2);
    cr_assert_eq(rig_info(&rig).floor, 3);
    rig_fini(&rig);
}

Test(consumer_save, these_bytes_are_in_files)
{
    struct rig rig;
    make_cursor(&rig);
    uint8_t bytes[1024];
    size_t len = consumer_save(rig.consumer, NULL, 0, bytes, sizeof bytes);
    static const uint8_t head[] = {
        0, 1, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 10};
    static const uint8_t runs[] = {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
        1, 0, 0, 0, 0,                                               /* 1 */
        0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0,  /* 5 */
        0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1,  /* 7 */
        0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0}; /* 8, 9 */
    cr_assert_eq(CONSUMER_COUNTERS, 25);
    cr_assert_eq(len, HEAD + sizeof runs);
    cr_assert_arr_eq(bytes, head, sizeof head);
    cr_assert_arr_eq(bytes + HEAD, runs, sizeof runs);
    cr_assert_eq(bytes[16 + 7], 8);          /* offered */
    cr_assert_eq(bytes[16 + 2 * 8 + 7], 3);  /* acknowledged */
    cr_assert_eq(bytes[16 + 17 * 8 + 7], 1); /* skipped by the filter */
    rig_fini(&rig);
}

static void
expect_dirty(struct rig *rig, bool dirty)
{
    uint8_t bytes[1024];
    cr_assert_eq(consumer_is_dirty(rig->consumer), dirty);
    (void)consumer_save(rig->consumer, NULL, 0, bytes, sizeof bytes);
    cr_assert_not(consumer_is_dirty(rig->consumer));
}

Test(consumer_save, dirty_is_what_a_save_would_keep)
{
    struct rig rig;
    rig_init(&rig, NULL);
    expect_dirty(&rig, true);
    struct consumer_attachment *a = rig_attach(&rig, 50);
    rig_pass(&rig, 10, 0);
    cr_assert_eq(consumer_ack(rig.consumer, a, 1, 1), 0);
    expect_dirty(&rig, false);
    rig_offer(&rig, 5, a);
    expect_dirty(&rig, true);
    cr_assert_eq(consumer_touch(rig.consumer, a, 1, 1, rig.now_ms), 1);
    expect_dirty(&rig, false);
    cr_assert_eq(consumer_ack(rig.consumer, a, 1, 1), 1);
    expect_dirty(&rig, true);
    cr_assert_eq(consumer_nack(rig.consumer, a, 2, 2, 0, rig.now_ms), 1);
    expect_dirty(&rig, true);
    rig_redeliver(&rig, 2, a, 2);
    expect_dirty(&rig, true);
    cr_assert_eq(consumer_bury(rig.consumer, a, 3, 3), 1);
    expect_dirty(&rig, true);
    rig_dead(&rig, 3, 1);
    expect_dirty(&rig, false);
    consumer_dead_done(rig.consumer, 3);
    expect_dirty(&rig, true);
    cr_assert(consumer_skip(rig.consumer, 6, 1, CONSUMER_SKIP_GONE));
    expect_dirty(&rig, true);
    cr_assert(consumer_skip(rig.consumer, 7, 0, CONSUMER_SKIP_GONE));
    expect_dirty(&rig, false);
    rig_pass(&rig, 1000, 3);
    expect_dirty(&rig, true);
    consumer_set_dirty(rig.consumer);
    expect_dirty(&rig, true);
    consumer_reset(rig.consumer, 1);
    expect_dirty(&rig, true);
    rig_fini(&rig);
}

/* Load a copy in memory of its own, so that reading beyond it is noticed. What
 * is refused leaves the consumer as it was. */
static bool
loads(const struct consumer_settings *settings, const uint8_t *src, size_t len)
{
    struct rig rig;
    uint8_t *bytes = malloc(len + (len == 0));
    memcpy(bytes, src, len);
    rig_init(&rig, settings);
    bool loaded = consumer_load(rig.consumer, bytes, len) == CONSUMER_LOADED;
    cr_assert(loaded || rig_info(&rig).next == rig.settings.start);
    rig_fini(&rig);
    free(bytes);
    return loaded;
}

Test(consumer_save, garbage_is_refused)
{
    struct rig rig;
    make_cursor(&rig);
    uint8_t good[1024] = {0}, bad[1024];
    size_t len = consumer_save(rig.consumer, NULL, 0, good, sizeof good);
    rig_fini(&rig);
    for (size_t cut = 0; cut <= len + 1; cut++) {
        cr_assert_eq(loads(NULL, good, cut), cut == len);
    }
    /* One byte, one value: what must not be there. */
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {
        {1, 2},                   /* format */
        {3, 1},                   /* zero */
        {7, 3}, {7, 5}, {4, 255}, /* runs */
        {15, 0}, {15, 9},         /* next, below what is outstanding */
        {HEAD + 7, 0},            /* a run begins at 0 */
        {HEAD + 11, 0},           /* without messages */
        {HEAD + 8, 255},          /* with too many */
        {HEAD + 15, 0},           /* never delivered */
        {HEAD + 19, 2},           /* of no kind */
        {HEAD + 11, 2},           /* books do not balance */
        {HEAD + 20 + 7, 1},       /* not above the one before */
        {16 + 7, 9},              /* books do not balance */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memcpy(bad, good, len);
        bad[wrong[i].at] = wrong[i].value;
        cr_assert_not(loads(NULL, bad, len), "%zu", i);
    }
    /* Without runs as well, there is no sequence 0. */
    memset(bad, 0, HEAD);
    bad[1] = 1;
    cr_assert_not(loads(NULL, bad, HEAD));
    bad[15] = 1;
    cr_assert(loads(NULL, bad, HEAD));
    struct consumer_settings none = {
        .start = 1, .mode = CONSUMER_ACK_NONE, .window = 1};
    cr_assert_not(loads(&none, good, len));
}

Test(consumer_save, nothing_random_breaks_it)
{
    struct rig rig;
    struct random random = {7};
    make_cursor(&rig);
    uint8_t good[1024] = {0}, bad[1024];
    size_t len = consumer_save(rig.consumer, NULL, 0, good, sizeof good);
    rig_fini(&rig);
    uint32_t loaded = 0;
    for (int i = 0; i < 20000; i++) {
        memcpy(bad, good, len);
        for (uint32_t k = random_below(&random, 4) + 1; k-- > 0;) {
            bad[random_below(&random, (uint32_t)len)] =
                (uint8_t)random_below(&random, 256);
        }
        loaded += loads(NULL, bad, len);
    }
    /* Counters that are in no book, delivery counts. */
    cr_assert(loaded > 0 && loaded < 20000);
}

Test(consumer_save, a_delivery_count_does_not_begin_anew)
{
    struct rig rig;
    make_cursor(&rig);
    uint8_t bytes[1024];
    size_t len = consumer_save(rig.consumer, NULL, 0, bytes, sizeof bytes);
    rig_fini(&rig);
    memset(bytes + HEAD + 12, 255, 4);
    rig_init(&rig, NULL);
    cr_assert_eq(consumer_load(rig.consumer, bytes, len), CONSUMER_LOADED);
    rig_redeliver(&rig, 1, rig_attach(&rig, 50), UINT32_MAX);
    rig_fini(&rig);
}
