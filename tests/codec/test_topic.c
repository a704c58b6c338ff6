/* SPDX-License-Identifier: MIT
 *
 * Topics beyond the tables of proto/vectors: all short strings over an alphabet
 * that has everything special in it, against a second implementation of the
 * rules (slow_match.h); and empty views.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <broker/codec.h>

#include "slow_match.h"

static const struct broker_limits defaults = BROKER_LIMITS_DEFAULT;

#define LENGTH_MAX 5

struct strings {
    char (*text)[LENGTH_MAX + 1];
    size_t count;
};

static struct broker_bytes
bytes_of(const char *text)
{
    struct broker_bytes bytes = {(const uint8_t *)text, strlen(text)};

    return bytes;
}

/* All strings of 1 to `length` bytes over `alphabet`, shortest first. */
static struct strings
all_strings(const char *alphabet, size_t length)
{
    size_t letters = strlen(alphabet), total = 0, power = 1, done = 0;
    struct strings out;

    for (size_t i = 0; i < length; i++) {
        power *= letters;
        total += power;
    }
    out.text = calloc(total, sizeof *out.text);
    out.count = total;
    cr_assert_not_null(out.text);
    for (size_t i = 0; i < letters; i++) {
        out.text[done++][0] = alphabet[i];
    }
    for (size_t from = 0; done < total; from++) {
        size_t len = strlen(out.text[from]);

        for (size_t i = 0; i < letters; i++, done++) {
            memcpy(out.text[done], out.text[from], len);
            out.text[done][len] = alphabet[i];
        }
    }
    return out;
}

Test(topic, every_short_name_and_filter)
{
    struct strings all = all_strings("a/+#$\xC3\xA9", LENGTH_MAX);

    for (size_t i = 0; i < all.count; i++) {
        struct broker_bytes text = bytes_of(all.text[i]);

        cr_assert_eq(broker_topic_check(&defaults, text) == BROKER_OK,
            slow_topic_is_valid(&defaults, text), "topic '%s'", all.text[i]);
        cr_assert_eq(broker_filter_check(&defaults, text) == BROKER_OK,
            slow_filter_is_valid(&defaults, text), "filter '%s'", all.text[i]);
    }
    free(all.text);
}

Test(topic, every_short_match)
{
    struct strings filters = all_strings("a/+#$", LENGTH_MAX);
    struct strings topics = all_strings("a/$", LENGTH_MAX);
    size_t matches = 0;

    for (size_t i = 0; i < filters.count; i++) {
        struct broker_bytes filter = bytes_of(filters.text[i]);

        if (broker_filter_check(&defaults, filter) != BROKER_OK) {
            continue;
        }
        for (size_t j = 0; j < topics.count; j++) {
            struct broker_bytes topic = bytes_of(topics.text[j]);
            bool match = broker_filter_matches(filter, topic);

            matches += match;
            cr_assert_eq(match, slow_match(filter, topic), "'%s' and '%s'",
                filters.text[i], topics.text[j]);
        }
    }
    cr_assert(matches > 1000);
    free(filters.text);
    free(topics.text);
}

/* Bytes right before the end of their memory: nothing is read beyond. */
Test(topic, no_read_beyond_the_end)
{
    static const char *const texts[] = {
        "a", "a/", "/", "+", "#", "a/+", "a/#", "\xC3\xA9", "\xE2\x82\xAC"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (size_t len = 1; len <= strlen(texts[i]); len++) {
            uint8_t *copy = malloc(len);
            struct broker_bytes text = {copy, len};

            memcpy(copy, texts[i], len);
            cr_assert_eq(broker_topic_check(&defaults, text) == BROKER_OK,
                slow_topic_is_valid(&defaults, text));
            cr_assert_eq(broker_filter_check(&defaults, text) == BROKER_OK,
                slow_filter_is_valid(&defaults, text));
            (void)broker_filter_matches(text, text);
            free(copy);
        }
    }
}

Test(topic, empty_views)
{
    const struct broker_bytes nothing = {NULL, 0};

    cr_assert_eq(broker_topic_check(&defaults, nothing), BROKER_E_BAD_TOPIC);
    cr_assert_eq(broker_filter_check(&defaults, nothing), BROKER_E_BAD_FILTER);
    cr_assert_eq(broker_group_check(nothing), BROKER_E_BAD_GROUP);
    cr_assert(broker_utf8_check(nothing));
}

/* Every code point there is, encoded by the rule and not by a table. */
Test(topic, every_code_point)
{
    for (uint32_t c = 0; c <= 0x110000; c++) {
        uint8_t b[4];
        size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        struct broker_bytes text = {b, len};
        bool good = c != 0 && c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF);

        for (size_t i = len; i-- > 1;) {
            b[i] = (uint8_t)(0x80 | ((c >> (6 * (len - 1 - i))) & 0x3F));
        }
        b[0] = (uint8_t)(len == 1   ? c
                         : len == 2 ? 0xC0 | c >> 6
                         : len == 3 ? 0xE0 | c >> 12
                                    : 0xF0 | c >> 18);
        cr_assert_eq(broker_utf8_check(text), good, "U+%04X", (unsigned)c);
    }
}
