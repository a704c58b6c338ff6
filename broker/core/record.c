/* SPDX-License-Identifier: MIT
 *
 * Records of streams; see record.h. */
#include "record.h"

#include "wire.h"

#include <string.h>

bool
record_is_expired(const uint8_t *record, uint64_t time_ms, uint64_t now_ms)
{
    const uint8_t *body = record + BROKER_HEADER_BYTES;
    size_t field_bytes = (size_t)body[2] << 8 | body[3];
    if (field_bytes == 0) {
        return false;
    }
    struct broker_bytes fields = {
        body + 4 + wire_publish_topic_bytes(record), field_bytes};
    struct broker_bytes value;
    uint64_t ttl_ms;
    return broker_tlv_find(fields, BROKER_TAG_TTL_MS, &value) &&
           broker_tlv_u64(value, &ttl_ms) && now_ms > time_ms &&
           now_ms - time_ms > ttl_ms;
}

bool
record_is_wanted(struct record_filter *filter, const uint8_t *record)
{
    if (filter->filter.len == 0) {
        return true;
    }
    const uint8_t *topic = wire_publish_topic(record);
    size_t bytes = wire_publish_topic_bytes(record);
    if (filter->topic == NULL || filter->topic_bytes != bytes ||
        memcmp(filter->topic, topic, bytes) != 0) {
        filter->topic = topic;
        filter->topic_bytes = bytes;
        filter->matches = broker_filter_matches(
            filter->filter, (struct broker_bytes){topic, bytes});
    }
    return filter->matches;
}
