/* SPDX-License-Identifier: MIT
 *
 * Every filter and every topic over a few level names, and which matches
 * which according to slow_match: what functions about filters are compared
 * with. Topics are one level deeper than filters and have one name more, so
 * that they stand for all topics: a filter cannot tell apart names that it does
 * not have.
 */
#ifndef BROKER_TESTS_EVERY_FILTER_H
#define BROKER_TESTS_EVERY_FILTER_H

#include <broker/codec.h>

#define EVERY_TEXT_BYTES 24

struct every_text {
    char text[EVERY_TEXT_BYTES];
};

struct every_filter {
    struct every_text *filters, *topics;
    size_t filter_count, topic_count;
    size_t words;   /* of 64 topics, in one set */
    uint64_t *sets; /* one set of topics a filter */
};

/* All filters of up to `levels` levels. */
struct every_filter every_filter_new(size_t levels);
void every_filter_free(struct every_filter *every);

struct broker_bytes every_bytes(const struct every_text *text);

/* The topics that filter i matches: bit t % 64 of word t / 64. */
const uint64_t *every_set(const struct every_filter *every, size_t i);

/* Of two sets: is a within b; have they anything in common? */
bool every_is_within(
    const struct every_filter *every, const uint64_t *a, const uint64_t *b);
bool every_meets(
    const struct every_filter *every, const uint64_t *a, const uint64_t *b);

#endif
