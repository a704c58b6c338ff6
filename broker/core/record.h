/* SPDX-License-Identifier: MIT
 *
 * What is asked of a record of a stream, which is a whole PUBLISH frame: has
 * its time passed, is it wanted. Knows nothing of who asks.
 */
#ifndef BROKER_CORE_RECORD_H
#define BROKER_CORE_RECORD_H

#include <broker/codec.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is its TTL_MS over, if it was stored at `time_ms`? By the wall clock. */
bool record_is_expired(
    const uint8_t *record, uint64_t time_ms, uint64_t now_ms);

/* A filter, and what it said of the last topic: streams often have many records
 * of one topic in a row. */
struct record_filter {
    struct broker_bytes filter; /* empty: everything matches */
    const uint8_t *topic;       /* valid as long as the records are */
    size_t topic_bytes;
    bool matches;
};
bool record_is_wanted(struct record_filter *filter, const uint8_t *record);

#endif
