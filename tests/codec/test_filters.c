/* SPDX-License-Identifier: MIT
 *
 * What two filters have in common: every pair of short filters against the
 * topics that they match, and some pairs by name.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <broker/codec.h>

#include "every_filter.h"

#define LEVELS 4

Test(filters, every_pair)
{
    struct every_filter every = every_filter_new(LEVELS);
    size_t covers = 0, overlaps = 0;

    for (size_t i = 0; i < every.filter_count; i++) {
        struct broker_bytes a = every_bytes(&every.filters[i]);
        const uint64_t *set = every_set(&every, i);

        for (size_t j = 0; j < every.filter_count; j++) {
            struct broker_bytes b = every_bytes(&every.filters[j]);
            const uint64_t *other = every_set(&every, j);
            bool within = every_is_within(&every, other, set);
            bool meet = every_meets(&every, set, other);

            covers += within;
            overlaps += meet;
            cr_assert_eq(broker_filter_covers(a, b), within, "'%s' covers '%s'",
                every.filters[i].text, every.filters[j].text);
            cr_assert_eq(broker_filters_overlap(a, b), meet,
                "'%s' overlaps '%s'", every.filters[i].text,
                every.filters[j].text);
        }
    }
    cr_assert_gt(covers, every.filter_count * 5);
    cr_assert_gt(overlaps, covers * 2);
    every_filter_free(&every);
}

struct pair {
    const char *a, *b;
    bool covers, overlaps;
};

Test(filters, pairs_by_name)
{
    static const struct pair pairs[] = {
        {"a/#", "a", true, true},
        {"a/#", "a/+", true, true},
        {"a/+", "a/#", false, true},
        {"a", "a/#", false, true},
        {"#", "$SYS/#", false, false},
        {"+/a", "$x/a", false, false},
        {"$x/+", "$x/$y", true, true},
        {"+/#", "#", true, true},
        {"/+/#", "/#", true, true},
        {"a/+/#", "a/#", false, true},
        {"+", "/#", false, false},
        {"sensors/1", "sensors/12", false, false},
        {"sensors/+/on", "sensors/12/off", false, false},
        {"\xC3\xA9/+", "\xC3\xA9/\xC3\xA9", true, true},
        {"\xC3\xA9/+", "\xC3\xA8/\xC3\xA9", false, false},
    };

    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct broker_bytes a = {
            (const uint8_t *)pairs[i].a, strlen(pairs[i].a)};
        struct broker_bytes b = {
            (const uint8_t *)pairs[i].b, strlen(pairs[i].b)};

        cr_assert_eq(broker_filter_covers(a, b), pairs[i].covers, "%s and %s",
            pairs[i].a, pairs[i].b);
        cr_assert_eq(broker_filters_overlap(a, b), pairs[i].overlaps,
            "%s and %s", pairs[i].a, pairs[i].b);
    }
}

/* Filters right before the end of their memory: nothing is read beyond. */
Test(filters, no_read_beyond_the_end)
{
    static const char *const texts[] = {"a", "a/", "/", "+", "#", "a/+", "/#"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (size_t j = 0; j < sizeof texts / sizeof texts[0]; j++) {
            uint8_t *a = malloc(strlen(texts[i]));
            uint8_t *b = malloc(strlen(texts[j]));
            struct broker_bytes one = {a, strlen(texts[i])};
            struct broker_bytes other = {b, strlen(texts[j])};

            memcpy(a, texts[i], one.len);
            memcpy(b, texts[j], other.len);
            (void)broker_filter_covers(one, other);
            (void)broker_filters_overlap(one, other);
            free(a);
            free(b);
        }
    }
}
