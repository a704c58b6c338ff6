/* SPDX-License-Identifier: MIT
 *
 * The bounds of settings, and their bytes. */
#include "consumer_rig.h"

#include <stdlib.h>
#include <string.h>

static void
expect_wrong(const struct consumer_settings *settings, const char *word)
{
    const char *wrong = consumer_settings_check(settings);
    cr_assert_not_null(wrong, "%s", word);
    cr_assert_not_null(strstr(wrong, word), "%s: %s", word, wrong);
}

Test(consumer_settings, what_is_out_of_bounds_is_named)
{
    struct consumer_settings good = rig_settings(), bad;
    cr_assert_null(consumer_settings_check(&good));
    bad = good;
    bad.start = 0;
    expect_wrong(&bad, "sequences");
    bad = good;
    bad.mode = (enum consumer_mode)3;
    expect_wrong(&bad, "mode");
    bad = good;
    bad.window = 0;
    expect_wrong(&bad, "window");
    bad = good;
    bad.window = CONSUMER_WINDOW_MAX + 1;
    expect_wrong(&bad, "window");
    bad = good;
    bad.ack_deadline_ms = CONSUMER_TIME_MAX_MS + 1;
    expect_wrong(&bad, "deadline");
    bad = good;
    bad.backoff_count = CONSUMER_BACKOFF_MAX + 1;
    expect_wrong(&bad, "back-off");
    bad = good;
    bad.backoff_count = 2;
    bad.backoff_ms[1] = CONSUMER_TIME_MAX_MS + 1;
    expect_wrong(&bad, "back-off");
    bad = good;
    bad.max_deliveries = CONSUMER_DELIVERIES_MAX + 1;
    expect_wrong(&bad, "deliveries");
    bad = good;
    bad.mode = CONSUMER_ACK_NONE;
    expect_wrong(&bad, "without acknowledgements");
}

Test(consumer_settings, all_bounds_are_allowed_themselves)
{
    struct consumer_settings settings = rig_settings();
    settings.start = UINT64_MAX;
    settings.window = CONSUMER_WINDOW_MAX;
    settings.ack_deadline_ms = CONSUMER_TIME_MAX_MS;
    settings.backoff_count = CONSUMER_BACKOFF_MAX;
    settings.backoff_ms[15] = CONSUMER_TIME_MAX_MS;
    settings.max_deliveries = CONSUMER_DELIVERIES_MAX;
    cr_assert_null(consumer_settings_check(&settings));
    uint8_t bytes[256];
    struct consumer_settings loaded;
    consumer_settings_save(&settings, bytes);
    cr_assert(consumer_settings_load(
        &loaded, bytes, consumer_settings_size(&settings)));
    cr_assert_eq(loaded.backoff_ms[15], CONSUMER_TIME_MAX_MS);
}

static struct consumer_settings
many_settings(void)
{
    static const uint8_t filter[] = "orders/+/new";
    struct consumer_settings settings = rig_settings();
    settings.filter = (struct consumer_topic){filter, 12};
    settings.start = UINT64_C(0x0102030405060708);
    settings.window = 65536;
    settings.max_deliveries = 7;
    settings.backoff_count = 3;
    for (uint32_t i = 0; i < 3; i++) {
        settings.backoff_ms[i] = 1000 * i;
    }
    return settings;
}

Test(consumer_settings, are_the_same_after_a_load)
{
    struct consumer_settings settings = many_settings(), loaded;
    uint8_t bytes[256], again[256];
    size_t len = consumer_settings_size(&settings);
    cr_assert_eq(len, 32 + 3 * 8 + 2 + 12 + 2 + 4);
    consumer_settings_save(&settings, bytes);
    /* The first bytes are in files: never change them. */
    static const uint8_t head[] = {
        0, 1, 0, 2, 0, 1, 0, 0, 0, 0, 0, 7, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8};
    cr_assert_arr_eq(bytes, head, sizeof head);
    cr_assert(consumer_settings_load(&loaded, bytes, len));
    cr_assert_eq(loaded.filter.len, 12);
    cr_assert_arr_eq(loaded.filter.bytes, settings.filter.bytes, 12);
    cr_assert_eq(consumer_settings_size(&loaded), len);
    consumer_settings_save(&loaded, again);
    cr_assert_arr_eq(bytes, again, len);
    /* A consumer has its own copy. */
    struct consumer *consumer = consumer_new(&loaded);
    memset(bytes, 0, sizeof bytes);
    cr_assert_arr_eq(consumer_get_settings(consumer)->filter.bytes,
        settings.filter.bytes, 12);
    cr_assert_arr_eq(
        consumer_get_settings(consumer)->dead_topic.bytes, "dead", 4);
    consumer_free(consumer);
    consumer_free(NULL);
}

Test(consumer_settings, nothing_that_is_cut_or_longer_is_taken)
{
    struct consumer_settings settings = many_settings(), loaded;
    size_t len = consumer_settings_size(&settings);
    for (size_t cut = 0; cut <= len + 1; cut++) {
        /* In memory of its own, so that reading beyond it is noticed. */
        uint8_t *all = calloc(1, len + 1);
        consumer_settings_save(&settings, all);
        uint8_t *bytes = malloc(cut + (cut == 0));
        memcpy(bytes, all, cut);
        cr_assert_eq(consumer_settings_load(&loaded, bytes, cut), cut == len);
        free(bytes);
        free(all);
    }
}
