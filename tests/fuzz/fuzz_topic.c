/* SPDX-License-Identifier: MIT
 *
 * Topics and filters against the slow second implementation (slow_match.h).
 * The input: a byte for the limits, a byte for the length of the filter, the
 * filter, the topic.
 */
#include "fuzz.h"

#include "slow_match.h"

static void
check_pair(const struct broker_limits *limits, struct broker_bytes filter,
    struct broker_bytes topic)
{
    enum broker_status f = broker_filter_check(limits, filter);
    enum broker_status t = broker_topic_check(limits, topic);

    FUZZ_REQUIRE(f == BROKER_OK || f == BROKER_E_BAD_FILTER, "filter status");
    FUZZ_REQUIRE(t == BROKER_OK || t == BROKER_E_BAD_TOPIC, "topic status");
    FUZZ_REQUIRE((f == BROKER_OK) == slow_filter_is_valid(limits, filter),
        "filter check differs");
    FUZZ_REQUIRE((t == BROKER_OK) == slow_topic_is_valid(limits, topic),
        "topic check differs");
    if (f == BROKER_OK && t == BROKER_OK) {
        FUZZ_REQUIRE(
            broker_filter_matches(filter, topic) == slow_match(filter, topic),
            "match differs");
    }
}

/* A group is a topic of one level and at most 255 bytes. */
static void
check_group(struct broker_bytes group)
{
    const struct broker_limits limits = {
        BROKER_BODY_BYTES_MAX, BROKER_GROUP_BYTES_MAX, 1};

    FUZZ_REQUIRE((broker_group_check(group) == BROKER_OK) ==
                     slow_topic_is_valid(&limits, group),
        "group check differs");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    struct broker_bytes filter, topic;
    uint8_t *filter_copy, *topic_copy;
    size_t filter_len;

    if (size < 2) {
        return 0;
    }
    if (data[0] != 0) {
        limits.max_topic_bytes = data[0];
        limits.max_topic_levels = (uint16_t)(data[0] % 8 + 1);
    }
    filter_len = data[1] < size - 2 ? data[1] : size - 2;
    filter_copy = fuzz_copy(data + 2, filter_len);
    topic_copy = fuzz_copy(data + 2 + filter_len, size - 2 - filter_len);
    filter.data = filter_copy;
    filter.len = filter_len;
    topic.data = topic_copy;
    topic.len = size - 2 - filter_len;
    check_pair(&limits, filter, topic);
    check_pair(&limits, topic, filter);
    check_group(filter);
    check_group(topic);
    free(filter_copy);
    free(topic_copy);
    return 0;
}
