/* SPDX-License-Identifier: MIT
 *
 * Every short filter and topic; see every_filter.h.
 */
#include "every_filter.h"

#include <stdlib.h>
#include <string.h>

#include "slow_match.h"

static const char *const filter_names[] = {"", "a", "$x", "+", "#"};
static const char *const topic_names[] = {"", "a", "$x", "b"};

struct names {
    const char *const *name;
    size_t count;
};

/* Append every text of exactly `levels` levels; returns how many there are. */
static size_t
append_all(struct every_text *out, struct names names, size_t levels)
{
    size_t total = 1;

    for (size_t i = 0; i < levels; i++) {
        total *= names.count;
    }
    for (size_t n = 0; out != NULL && n < total; n++) {
        size_t rest = n;

        for (size_t i = 0; i < levels; i++) {
            if (i > 0) {
                strcat(out[n].text, "/");
            }
            strcat(out[n].text, names.name[rest % names.count]);
            rest /= names.count;
        }
    }
    return total;
}

typedef bool (*is_valid_fn)(
    const struct broker_limits *limits, struct broker_bytes text);

/* All texts of up to `levels` levels that are valid. */
static struct every_text *
all_valid(
    struct names names, size_t levels, is_valid_fn is_valid, size_t *count)
{
    static const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    size_t total = 0, kept = 0;
    struct every_text *all;

    for (size_t i = 1; i <= levels; i++) {
        total += append_all(NULL, names, i);
    }
    all = calloc(total, sizeof *all);
    if (all == NULL) {
        abort();
    }
    total = 0;
    for (size_t i = 1; i <= levels; i++) {
        total += append_all(all + total, names, i);
    }
    for (size_t i = 0; i < total; i++) {
        if (is_valid(&limits, every_bytes(&all[i]))) {
            all[kept++] = all[i];
        }
    }
    *count = kept;
    return all;
}

struct every_filter
every_filter_new(size_t levels)
{
    const struct names for_filters = {
        filter_names, sizeof filter_names / sizeof filter_names[0]};
    const struct names for_topics = {
        topic_names, sizeof topic_names / sizeof topic_names[0]};
    struct every_filter every;

    every.filters = all_valid(
        for_filters, levels, slow_filter_is_valid, &every.filter_count);
    every.topics = all_valid(
        for_topics, levels + 1, slow_topic_is_valid, &every.topic_count);
    every.words = (every.topic_count + 63) / 64;
    every.sets = calloc(every.filter_count * every.words, sizeof *every.sets);
    if (every.sets == NULL) {
        abort();
    }
    for (size_t i = 0; i < every.filter_count; i++) {
        uint64_t *set = every.sets + i * every.words;

        for (size_t t = 0; t < every.topic_count; t++) {
            if (slow_match(every_bytes(&every.filters[i]),
                    every_bytes(&every.topics[t]))) {
                set[t / 64] |= UINT64_C(1) << (t % 64);
            }
        }
    }
    return every;
}

void
every_filter_free(struct every_filter *every)
{
    free(every->filters);
    free(every->topics);
    free(every->sets);
}

struct broker_bytes
every_bytes(const struct every_text *text)
{
    return (struct broker_bytes){
        (const uint8_t *)text->text, strlen(text->text)};
}

const uint64_t *
every_set(const struct every_filter *every, size_t i)
{
    return every->sets + i * every->words;
}

bool
every_is_within(
    const struct every_filter *every, const uint64_t *a, const uint64_t *b)
{
    for (size_t i = 0; i < every->words; i++) {
        if ((a[i] & ~b[i]) != 0) {
            return false;
        }
    }
    return true;
}

bool
every_meets(
    const struct every_filter *every, const uint64_t *a, const uint64_t *b)
{
    for (size_t i = 0; i < every->words; i++) {
        if ((a[i] & b[i]) != 0) {
            return true;
        }
    }
    return false;
}
