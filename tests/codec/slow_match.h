/* SPDX-License-Identifier: MIT
 *
 * The rules of PROTOCOL.md section 6 a second time, written to be obviously
 * right and not to be fast: what topic.c is compared with.
 */
#ifndef BROKER_TESTS_SLOW_MATCH_H
#define BROKER_TESTS_SLOW_MATCH_H

#include <broker/codec.h>

/* As broker_topic_check, broker_filter_check and broker_filter_matches. */
bool slow_topic_is_valid(
    const struct broker_limits *limits, struct broker_bytes topic);
bool slow_filter_is_valid(
    const struct broker_limits *limits, struct broker_bytes filter);
bool slow_match(struct broker_bytes filter, struct broker_bytes topic);

#endif
